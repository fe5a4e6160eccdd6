/*
 * Canonical state bytes.
 *
 * "FLOWST01", then 8-byte little-endian words: semantics version, configuration, core, open orders
 * behind their number, profile rows with volume behind theirs. 128-bit numbers are two words, low
 * first. Nothing else of the kernel is state.
 */
#include <string.h> /* memcmp, memset */

#include "internal.h"

static const uint8_t MAGIC[8] = {'F', 'L', 'O', 'W', 'S', 'T', '0', '1'};

/* A writer that only counts when out is null. */
typedef struct writer {
    uint8_t *out;
    size_t at;
} writer;

typedef struct reader {
    const uint8_t *bytes;
    size_t at, count;
    bool bad;
} reader;

static void put(writer *w, uint64_t word)
{
    if (w->out)
        for (int i = 0; i < 8; i++)
            w->out[w->at + (size_t)i] = (uint8_t)(word >> (8 * i));
    w->at += 8;
}

static uint64_t get(reader *r)
{
    if (r->count - r->at < 8) {
        r->bad = true;
        return 0;
    }
    uint64_t word = 0;
    for (int i = 0; i < 8; i++)
        word |= (uint64_t)r->bytes[r->at + (size_t)i] << (8 * i);
    r->at += 8;
    return word;
}

static void put_i64(writer *w, int64_t value) { put(w, (uint64_t)value); }

static int64_t get_i64(reader *r) { return (int64_t)get(r); }

static void put_i128(writer *w, i128 value)
{
    put(w, (uint64_t)value);
    put(w, (uint64_t)((u128)value >> 64));
}

static i128 get_i128(reader *r)
{
    uint64_t low = get(r);
    return (i128)(((u128)get(r) << 64) | low);
}

static void put_config(writer *w, const flow_config *c)
{
    put(w, FLOW_SEMANTICS_VERSION);
    put(w, c->orders_max);
    put_i64(w, c->bar_us);
    put_i64(w, c->bubble_window_us);
    put_i64(w, c->bubble_band_ticks);
    put_i64(w, c->profile_rows_max);
    put_i64(w, c->decide_trades_count);
    put_i64(w, c->decide_grid_us);
    put_i64(w, c->decide_on_fill);
    put_i64(w, c->equity_grid_us);
    put_i64(w, c->latency_us);
    put_i64(w, c->maker_fee_ppm);
    put_i64(w, c->taker_fee_ppm);
    put_i64(w, c->atoms_per_ticklot);
    put_i64(w, c->fee_unit_atoms);
    put_i128(w, i128_of(c->initial_cash_atoms));
}

static void put_core(writer *w, const core *c)
{
    put(w, c->input);
    put(w, c->trade_count);
    put(w, c->next_order_id);
    put_i64(w, c->stream_us);
    put_i64(w, c->last_ticks);
    put_i64(w, c->last_side);
    put_i64(w, c->high_ticks);
    put_i64(w, c->low_ticks);
    put_i64(w, c->closed_buy_lots);
    put_i64(w, c->closed_sell_lots);
    put_i128(w, c->closed_notional);
    put_i64(w, c->decide_next_us);
    put_i64(w, c->equity_next_us);
    put(w, c->ended);
    put_i64(w, c->bar.ts_us);
    put_i64(w, c->bar.open_ticks);
    put_i64(w, c->bar.high_ticks);
    put_i64(w, c->bar.low_ticks);
    put_i64(w, c->bar.close_ticks);
    put_i64(w, c->bar.buy_lots);
    put_i64(w, c->bar.sell_lots);
    put_i64(w, c->bar.trade_count);
    put_i128(w, i128_of(c->bar.notional_ticklots));
    put(w, c->bubble.input);
    put_i64(w, c->bubble.ts_us);
    put_i64(w, c->bubble.last_ts_us);
    put_i64(w, c->bubble.first_ticks);
    put_i64(w, c->bubble.last_ticks);
    put_i64(w, c->bubble.qty_lots);
    put_i64(w, c->bubble.offset_ticklots);
    put(w, c->bubble.trade_count);
    put_i64(w, c->bubble.side);
    put_i64(w, c->account.position_lots);
    put_i128(w, c->account.cash_atoms);
    put_i128(w, c->account.cost_atoms);
    put_i128(w, c->account.realized_atoms);
    put_i128(w, c->account.fees_atoms);
}

static void get_core(reader *r, core *c)
{
    c->input = get(r);
    c->trade_count = get(r);
    c->next_order_id = get(r);
    c->stream_us = get_i64(r);
    c->last_ticks = get_i64(r);
    c->last_side = get_i64(r);
    c->high_ticks = get_i64(r);
    c->low_ticks = get_i64(r);
    c->closed_buy_lots = get_i64(r);
    c->closed_sell_lots = get_i64(r);
    c->closed_notional = get_i128(r);
    c->decide_next_us = get_i64(r);
    c->equity_next_us = get_i64(r);
    uint64_t ended = get(r);
    r->bad |= ended > 1;
    c->ended = ended == 1;
    c->bar.ts_us = get_i64(r);
    c->bar.open_ticks = get_i64(r);
    c->bar.high_ticks = get_i64(r);
    c->bar.low_ticks = get_i64(r);
    c->bar.close_ticks = get_i64(r);
    c->bar.buy_lots = get_i64(r);
    c->bar.sell_lots = get_i64(r);
    c->bar.trade_count = get_i64(r);
    c->bar.notional_ticklots = i128_pair(get_i128(r));
    c->bubble.input = get(r);
    c->bubble.ts_us = get_i64(r);
    c->bubble.last_ts_us = get_i64(r);
    c->bubble.first_ticks = get_i64(r);
    c->bubble.last_ticks = get_i64(r);
    c->bubble.qty_lots = get_i64(r);
    c->bubble.offset_ticklots = get_i64(r);
    uint64_t trades = get(r);
    int64_t side = get_i64(r);
    r->bad |= trades > UINT32_MAX || side < -1 || side > 1;
    c->bubble.trade_count = (uint32_t)trades;
    c->bubble.side = (int8_t)side;
    c->account.position_lots = get_i64(r);
    c->account.cash_atoms = get_i128(r);
    c->account.cost_atoms = get_i128(r);
    c->account.realized_atoms = get_i128(r);
    c->account.fees_atoms = get_i128(r);
}

static bool price_is_valid(int64_t price_ticks)
{
    return price_ticks >= 1 && price_ticks <= FLOW_PRICE_TICKS_MAX;
}

/* What the rest of the kernel relies on for its memory and its arithmetic. */
static bool core_is_valid(const core *c, const flow_config *config)
{
    int64_t lots_max = INT64_MAX / 4;
    if (c->stream_us < 0 || c->stream_us > FLOW_TS_US_MAX || c->next_order_id < 1) return false;
    if (c->trade_count > c->input || c->bar.trade_count < 0) return false;
    if (c->trade_count > 0 && (!price_is_valid(c->low_ticks) || !price_is_valid(c->high_ticks) ||
                               c->low_ticks > c->high_ticks || !price_is_valid(c->last_ticks)))
        return false;
    if (c->closed_buy_lots < 0 || c->closed_sell_lots < 0 || c->bar.buy_lots < 0 ||
        c->bar.sell_lots < 0 || c->bubble.qty_lots < 0)
        return false;
    if ((i128)c->closed_buy_lots + c->closed_sell_lots + c->bar.buy_lots + c->bar.sell_lots >
        INT64_MAX)
        return false;
    if (c->bar.ts_us < 0 || c->bar.ts_us > c->stream_us || c->bubble.ts_us < 0 ||
        c->bubble.ts_us > c->stream_us)
        return false;
    if (c->account.position_lots > lots_max || c->account.position_lots < -lots_max) return false;
    /* A grid's next point is set by the first input and then always lies ahead. */
    if (c->decide_next_us <= c->stream_us || c->equity_next_us <= c->stream_us) return false;
    return config->decide_grid_us > 0 || c->decide_next_us == NEVER_US;
}

static void put_order(writer *w, const flow_order *o)
{
    put(w, o->order_id);
    put(w, o->placed_input);
    put_i64(w, o->price_ticks);
    put_i64(w, o->qty_lots);
    put_i64(w, o->remaining_lots);
    put_i64(w, o->active_us);
    put_i64(w, o->cancel_us);
    put_i64(w, o->side);
    put_i64(w, o->kind);
    put_i64(w, o->stage);
}

static bool get_order(reader *r, flow_order *o, uint64_t after_id, uint64_t before_id)
{
    *o = (flow_order){0};
    o->order_id = get(r);
    o->placed_input = get(r);
    o->price_ticks = get_i64(r);
    o->qty_lots = get_i64(r);
    o->remaining_lots = get_i64(r);
    o->active_us = get_i64(r);
    o->cancel_us = get_i64(r);
    int64_t side = get_i64(r), kind = get_i64(r), stage = get_i64(r);
    o->side = (int8_t)side;
    o->kind = (int8_t)kind;
    o->stage = (int8_t)stage;
    return !r->bad && o->order_id > after_id && o->order_id < before_id &&
           (side == 1 || side == -1) && (kind == FLOW_MARKET || kind == FLOW_LIMIT) &&
           stage >= FLOW_PENDING && stage <= FLOW_RESTING &&
           (kind == FLOW_LIMIT ? price_is_valid(o->price_ticks) : o->price_ticks == 0) &&
           o->qty_lots >= 1 && o->qty_lots <= FLOW_QTY_LOTS_MAX && o->remaining_lots >= 1 &&
           o->remaining_lots <= o->qty_lots && o->active_us >= 0 &&
           o->active_us <= 2 * FLOW_TS_US_MAX && o->cancel_us >= 0;
}

static void put_profile(writer *w, const flow_kernel *k)
{
    const profile *p = &k->profile;
    put_i64(w, p->shift);
    size_t count_at = w->at;
    put(w, 0);
    uint64_t count = 0;
    if (k->core.trade_count > 0) {
        int64_t last = k->core.high_ticks >> p->shift;
        for (int64_t row = k->core.low_ticks >> p->shift; row <= last; row++) {
            const profile_cell *cell = &p->cells[row & p->mask];
            if (cell->lots[0] == 0 && cell->lots[1] == 0) continue;
            put_i64(w, row);
            put_i64(w, cell->lots[0]);
            put_i64(w, cell->lots[1]);
            count++;
        }
    }
    writer count_writer = {w->out, count_at};
    put(&count_writer, count);
}

/* Read the profile into the spare table, which the caller clears again when this fails. */
static bool get_profile(reader *r, flow_kernel *k, const core *c, int32_t *shift_out)
{
    int64_t shift = get_i64(r);
    uint64_t count = get(r);
    if (r->bad || shift < 0 || shift > 50) return false;
    int64_t first = c->low_ticks >> shift, last = c->high_ticks >> shift;
    if (c->trade_count == 0) return count == 0 && shift == 0;
    if (last - first > k->profile.mask) return false;
    int64_t before = first - 1;
    for (uint64_t i = 0; i < count; i++) {
        int64_t row = get_i64(r), sellers = get_i64(r), buyers = get_i64(r);
        if (r->bad || row <= before || row > last || sellers < 0 || buyers < 0) return false;
        k->profile.spare[row & k->profile.mask] = (profile_cell){{sellers, buyers}};
        before = row;
    }
    *shift_out = (int32_t)shift;
    return true;
}

static void write_state(const flow_kernel *k, writer *w)
{
    uint64_t magic = 0;
    for (int i = 0; i < 8; i++)
        magic |= (uint64_t)MAGIC[i] << (8 * i);
    put(w, magic);
    put_config(w, &k->config);
    put_core(w, &k->core);
    put(w, k->order_count);
    for (size_t i = 0; i < k->order_count; i++)
        put_order(w, &k->orders[i]);
    put_profile(w, k);
}

static bool is_drained(const flow_kernel *k)
{
    size_t pending[5];
    return flow_pending(k, pending) == FLOW_OK &&
           pending[0] + pending[1] + pending[2] + pending[3] + pending[4] == 0;
}

flow_status flow_state_bytes(const flow_kernel *k, size_t *bytes_out)
{
    RETURN_IF(!k || !bytes_out, FLOW_NULL_POINTER);
    writer w = {NULL, 0};
    write_state(k, &w);
    *bytes_out = w.at;
    return FLOW_OK;
}

flow_status flow_save_state(const flow_kernel *k, uint8_t *out, size_t capacity, size_t *bytes_out)
{
    size_t need;
    RETURN_IF(!k || !out || !bytes_out, FLOW_NULL_POINTER);
    RETURN_IF(!is_drained(k), FLOW_NOT_DRAINED);
    RETURN_IF(flow_state_bytes(k, &need) != FLOW_OK || need > capacity, FLOW_SMALL_BUFFER);
    writer w = {out, 0};
    write_state(k, &w);
    *bytes_out = w.at;
    return FLOW_OK;
}

#define HEAD_BYTES_MAX 160

static void clear_cells(profile_cell *cells, const profile *p)
{
    memset(cells, 0, ((size_t)p->mask + 1) * sizeof *cells);
}

flow_status flow_load_state(flow_kernel *k, const uint8_t *bytes, size_t byte_count)
{
    RETURN_IF(!k || !bytes, FLOW_NULL_POINTER);
    uint8_t head[HEAD_BYTES_MAX];
    writer w = {head, 8};
    put_config(&w, &k->config);
    RETURN_IF(byte_count < w.at || memcmp(bytes, MAGIC, 8) != 0 ||
                  memcmp(bytes + 8, head + 8, w.at - 8) != 0,
              FLOW_BAD_STATE);

    reader r = {bytes, w.at, byte_count, false};
    core c = {0};
    get_core(&r, &c);
    uint64_t order_count = get(&r);
    RETURN_IF(r.bad || !core_is_valid(&c, &k->config) || order_count > k->config.orders_max,
              FLOW_BAD_STATE);
    uint64_t after_id = 0;
    for (uint64_t i = 0; i < order_count; i++) {
        RETURN_IF(!get_order(&r, &k->spare_orders[i], after_id, c.next_order_id), FLOW_BAD_STATE);
        after_id = k->spare_orders[i].order_id;
    }
    int32_t shift = 0;
    if (!get_profile(&r, k, &c, &shift) || r.at != byte_count) {
        clear_cells(k->profile.spare, &k->profile);
        return FLOW_BAD_STATE;
    }

    k->core = c;
    k->order_count = (size_t)order_count;
    flow_order *orders = k->orders;
    k->orders = k->spare_orders;
    k->spare_orders = orders;
    profile_cell *cells = k->profile.cells;
    k->profile.cells = k->profile.spare;
    k->profile.spare = cells;
    k->profile.shift = shift;
    clear_cells(k->profile.spare, &k->profile);
    k->bars.head = k->bars.tail = 0;
    k->bubbles.head = k->bubbles.tail = 0;
    k->fills.head = k->fills.tail = 0;
    k->order_events.head = k->order_events.tail = 0;
    k->equity.head = k->equity.tail = 0;
    orders_plan(k);
    plan_next(k);
    return FLOW_OK;
}
