/* Many accounts through one pass of prints: all of a chunk's sets before the next chunk. */
#include <stdlib.h> /* calloc, free */

#include "sweep.h"

#define TARGETS_AT_ONCE 32
#define ROWS_TRIED 8

flow_status flow_sweep_create(const flow_config *config, const flow_market *market,
                              size_t set_count, flow_sweep **sweep_out)
{
    RETURN_IF(!sweep_out, FLOW_NULL_POINTER);
    *sweep_out = NULL;
    RETURN_IF(!config || !market, FLOW_NULL_POINTER);
    /* A kernel knows best which settings are good. */
    flow_kernel *kernel = NULL;
    const flow_status status = flow_create(config, market, 1, &kernel);
    RETURN_IF(status != FLOW_OK, status);
    flow_destroy(kernel);
    RETURN_IF(config->account_kind != FLOW_ACCOUNT_FREE || config->decide_on_fill, FLOW_BAD_CONFIG);
    RETURN_IF(set_count > SIZE_MAX / sizeof(taker) / config->orders_max, FLOW_NO_MEMORY);

    flow_sweep *w = calloc(1, sizeof *w);
    RETURN_IF(!w, FLOW_NO_MEMORY);
    const size_t places = set_count > 0 ? set_count : 1;
    w->config = *config;
    w->market = *market;
    w->set_count = set_count;
    w->books = calloc(places, sizeof *w->books);
    w->takers = calloc(places, config->orders_max * sizeof *w->takers);
    if (config->fee_tier_count > 1) w->volumes = calloc(places, sizeof *w->volumes);
    if (!w->books || !w->takers || (config->fee_tier_count > 1 && !w->volumes)) {
        flow_sweep_destroy(w);
        return FLOW_NO_MEMORY;
    }
    w->decisions.decide_trades_count = config->decide_trades_count;
    w->decisions.decide_grid_us = config->decide_grid_us;
    quote_forget(&w->quote);
    const i128 cash = i128_of(config->initial_cash_atoms);
    for (size_t i = 0; i < set_count; i++)
        w->books[i] = (book){
            .cash_atoms = cash,
            .equity_min_atoms = cash,
            .equity_max_atoms = cash,
            .refused_decision = -1,
        };
    *sweep_out = w;
    return FLOW_OK;
}

void flow_sweep_destroy(flow_sweep *w)
{
    if (!w) return;
    free(w->books);
    free(w->takers);
    free(w->volumes);
    free(w);
}

/* The first of [start, end) rows with a stream time behind a moment; end if there is none. */
static size_t first_behind(const int64_t *stream_us, size_t start, size_t end, int64_t moment_us)
{
    for (size_t tried = 0; tried < ROWS_TRIED && start < end; tried++, start++)
        if (stream_us[start] > moment_us) return start;
    if (start == end || stream_us[end - 1] <= moment_us) return end;
    size_t step = ROWS_TRIED;
    while (start + step < end && stream_us[start + step] <= moment_us) {
        start += step;
        step *= 2;
    }
    size_t low = start, high = start + step < end ? start + step : end - 1;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (stream_us[middle] > moment_us)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

/* What a taker pays: the touch, no better than at its first print, and the slip. */
static int64_t taker_price(const flow_config *c, const taker *o, int64_t touch_ticks)
{
    if (c->fill_model == FLOW_FILLS_SPREAD) return touch_ticks;
    const int64_t slip = c->lanes[FLOW_BASE].slip_ticks;
    return o->side > 0 ? max_i64(touch_ticks, o->first_ticks) + slip
                       : max_i64(min_i64(touch_ticks, o->first_ticks) - slip, 1);
}

/* Drop the orders that are filled, and note when the first of the others is active. */
static void keep_open(visit *v)
{
    book *b = v->book;
    size_t kept = 0;
    for (size_t i = 0; i < b->open_count; i++) {
        const taker o = v->takers[i];
        if (o.left_lots == 0) {
            b->open_lots -= o.qty_lots;
            continue;
        }
        b->wake_us = kept > 0 ? min_i64(b->wake_us, o.active_us) : o.active_us;
        v->takers[kept++] = o;
    }
    b->open_count = kept;
}

/* Let the set's orders take, in the order of their ids, what a print offers all of them. */
static void take(visit *v, size_t row)
{
    const chunk *c = v->chunk;
    const flow_config *config = &v->sweep->config;
    const bool own_side_only =
        config->fill_model == FLOW_FILLS_QUEUED && config->lanes[FLOW_BASE].own_side_only;
    int64_t left_lots = c->share_lots[row];
    bool filled = false;
    for (size_t i = 0; i < v->book->open_count; i++) {
        taker *o = &v->takers[i];
        if (c->ts_us[row] <= o->active_us) continue;
        const int64_t touch = c->touch_ticks[o->side > 0][row];
        if (o->first_ticks == 0) o->first_ticks = touch;
        if (left_lots == 0 || (own_side_only && c->side[row] != o->side)) continue;
        const int64_t qty = min_i64(o->left_lots, left_lots);
        sweep_sample(v, c->decisions_before[row]);
        sweep_fill(v, o->side, taker_price(config, o, touch), qty, c->stream_us[row]);
        o->left_lots -= qty;
        left_lots -= qty;
        filled |= o->left_lots == 0;
    }
    if (filled) keep_open(v);
}

static void settle(visit *v, size_t start, size_t end)
{
    for (size_t row = start; v->book->open_count > 0 && row < end; row++) {
        row = first_behind(v->chunk->stream_us, row, end, v->book->wake_us);
        if (row == end) break;
        take(v, row);
    }
}

static size_t first_other_i32(const int32_t *targets, size_t start, size_t end, int64_t lots)
{
    const int32_t same = (int32_t)lots;
    if (same != lots) return start;
    for (; end - start >= TARGETS_AT_ONCE; start += TARGETS_AT_ONCE) {
        int32_t differs = 0;
        for (size_t i = 0; i < TARGETS_AT_ONCE; i++)
            differs |= targets[start + i] ^ same;
        if (differs) break;
    }
    while (start < end && targets[start] == same)
        start++;
    return start;
}

static size_t first_other_i64(const int64_t *targets, size_t start, size_t end, int64_t lots)
{
    for (; end - start >= TARGETS_AT_ONCE; start += TARGETS_AT_ONCE) {
        int64_t differs = 0;
        for (size_t i = 0; i < TARGETS_AT_ONCE; i++)
            differs |= targets[start + i] ^ lots;
        if (differs) break;
    }
    while (start < end && targets[start] == lots)
        start++;
    return start;
}

/* A set's row of targets, from the first decision point of the chunk on. */
typedef struct target_row {
    const int32_t *i32;
    const int64_t *i64;
} target_row;

static target_row row_of(const flow_sweep *w, const flow_targets *t, size_t set)
{
    const size_t place = set * t->stride + (size_t)(w->decision_count - t->first);
    return t->lots_i32 ? (target_row){.i32 = t->lots_i32 + place}
                       : (target_row){.i64 = t->lots_i64 + place};
}

static size_t first_other(const target_row *t, size_t start, size_t end, int64_t lots)
{
    return t->i32 ? first_other_i32(t->i32, start, end, lots)
                  : first_other_i64(t->i64, start, end, lots);
}

/* Stand still from a decision point on. */
static void stop(visit *v, size_t decision, flow_status status)
{
    book *b = v->book;
    sweep_sample(v, decision + 1);
    b->refused_status = status;
    b->refused_decision = (int64_t)(v->sweep->decision_count + decision);
    b->refused_ticks = v->chunk->mark_ticks[decision];
}

static i128 equity_of(const flow_sweep *w, const book *b)
{
    const int64_t mark = b->refused_status == FLOW_OK ? w->quote.last_ticks : b->refused_ticks;
    return b->cash_atoms + (i128)b->position_lots * w->market.atoms_per_ticklot * mark;
}

/* Write the equity of a set that stands still. */
static void repeat_equity(visit *v)
{
    if (!v->equity_out) return;
    const flow_i128 equity = i128_pair(equity_of(v->sweep, v->book));
    for (size_t i = v->sampled; i < v->chunk->decision_count; i++)
        v->equity_out[i] = equity;
}

/* Take a set through the chunk: it wakes when its target changes, and while an order is open. */
static void walk(visit *v, const target_row *targets)
{
    const chunk *c = v->chunk;
    book *b = v->book;
    size_t row = 0, decision = 0;
    for (;;) {
        decision = first_other(targets, decision, c->decision_count, b->target_lots);
        const bool changes = decision < c->decision_count;
        const size_t end = changes ? (size_t)c->decisions[decision].row + 1 : c->row_count;
        settle(v, row, end);
        if (!changes) break;
        const int64_t target = targets->i32 ? targets->i32[decision] : targets->i64[decision];
        const flow_status status = sweep_place(v, (i128)target - b->target_lots, decision);
        if (status != FLOW_OK) {
            stop(v, decision, status);
            repeat_equity(v);
            return;
        }
        b->target_lots = target;
        row = end;
        decision++;
    }
    sweep_sample(v, c->decision_count);
}

static void run_chunk(flow_sweep *w, const flow_targets *targets, flow_i128 *equity_out)
{
    const chunk *c = &w->chunk;
    for (size_t set = 0; set < w->set_count; set++) {
        visit v = {
            .sweep = w,
            .chunk = c,
            .book = &w->books[set],
            .takers = &w->takers[set * w->config.orders_max],
            .volume = w->volumes ? &w->volumes[set] : NULL,
        };
        target_row row = {NULL, NULL};
        if (c->decision_count > 0) {
            row = row_of(w, targets, set);
            if (equity_out)
                v.equity_out = equity_out + set * targets->count +
                               (size_t)(w->decision_count - targets->first);
        }
        if (v.book->refused_status == FLOW_OK)
            walk(&v, &row);
        else
            repeat_equity(&v);
    }
    w->decision_count += c->decision_count;
}

/* Whether there is a target for each of so many decision points to come. */
static bool covers(const flow_targets *t, uint64_t next_decision, size_t count)
{
    if (count == 0) return true;
    return t && (t->lots_i32 || t->lots_i64) && next_decision >= t->first &&
           next_decision - t->first <= t->count && count <= t->count - (next_decision - t->first);
}

flow_status flow_sweep_run(flow_sweep *w, const flow_batch *batch, const flow_targets *targets,
                           flow_i128 *equity_out)
{
    RETURN_IF(!w || !batch || !targets, FLOW_NULL_POINTER);
    RETURN_IF(targets->lots_i32 && targets->lots_i64, FLOW_BAD_CONFIG);
    RETURN_IF(batch->market_last > 0, FLOW_BAD_MARKET);
    RETURN_IF(batch->total_lots > INT64_MAX - w->total_lots, FLOW_OVERFLOW);
    flow_decisions ahead = w->decisions;
    size_t rows, found;
    const flow_status status =
        flow_find_decisions(&ahead, batch->ts_us, batch->count, NULL, 0, &rows, &found);
    RETURN_IF(status != FLOW_OK, status);
    RETURN_IF(!covers(targets, w->decision_count, found), FLOW_SMALL_BUFFER);
    for (size_t start = 0; start < batch->count; start += CHUNK_ROWS) {
        chunk_prepare(w, batch, start);
        run_chunk(w, targets, equity_out);
    }
    w->total_lots += batch->total_lots;
    return FLOW_OK;
}

flow_status flow_sweep_decision_count(const flow_sweep *w, uint64_t *count_out)
{
    RETURN_IF(!w || !count_out, FLOW_NULL_POINTER);
    *count_out = w->decision_count;
    return FLOW_OK;
}

flow_status flow_sweep_get_results(const flow_sweep *w, flow_sweep_result *out, size_t capacity)
{
    RETURN_IF(!w || (!out && w->set_count), FLOW_NULL_POINTER);
    RETURN_IF(capacity < w->set_count, FLOW_SMALL_BUFFER);
    for (size_t i = 0; i < w->set_count; i++) {
        const book *b = &w->books[i];
        const i128 equity = equity_of(w, b);
        out[i] = (flow_sweep_result){
            .cash_atoms = i128_pair(b->cash_atoms),
            .realized_atoms = i128_pair(b->realized_atoms),
            .unrealized_atoms = i128_pair(equity - b->cash_atoms - b->cost_atoms),
            .fees_atoms = i128_pair(b->fees_atoms),
            .equity_atoms = i128_pair(equity),
            .cost_atoms = i128_pair(b->cost_atoms),
            .notional_atoms = i128_pair(b->notional_atoms),
            .equity_min_atoms = i128_pair(b->equity_min_atoms),
            .equity_max_atoms = i128_pair(b->equity_max_atoms),
            .drawdown_max_atoms = i128_pair(b->drawdown_max_atoms),
            .position_lots = b->position_lots,
            .order_count = b->order_count,
            .open_order_count = b->open_count,
            .fill_count = b->fill_count,
            .refused_status = b->refused_status,
            .refused_decision = b->refused_decision,
        };
    }
    return FLOW_OK;
}
