/* What a run of prints means to any taker: times, touch, shares, decision points. */

#include "sweep.h"

flow_status flow_find_decisions(flow_decisions *at, const int64_t *ts_us, size_t row_count,
                                flow_decision *out, size_t capacity, size_t *rows_out,
                                size_t *found_out)
{
    RETURN_IF(!at || !rows_out || !found_out || (!ts_us && row_count), FLOW_NULL_POINTER);
    RETURN_IF(at->decide_trades_count < 0 || at->decide_grid_us < 0, FLOW_BAD_CONFIG);
    const uint64_t every = (uint64_t)at->decide_trades_count;
    uint64_t until = every ? every - at->trade_count % every : UINT64_MAX;
    int64_t now = at->stream_us, next = at->next_us;
    size_t row = 0, found = 0;
    if (at->trade_count == 0 && row_count > 0)
        next = next_on_grid(max_i64(now, ts_us[0]), at->decide_grid_us);
    while (row < row_count && (!out || found < capacity)) {
        now = max_i64(now, ts_us[row]);
        bool decides = false;
        if (UNLIKELY(now >= next)) {
            next = next_on_grid(now, at->decide_grid_us);
            decides = true;
        }
        if (UNLIKELY(--until == 0)) {
            until = every;
            decides = true;
        }
        if (decides) {
            if (out) out[found] = (flow_decision){.row = row, .ts_us = now};
            found++;
        }
        row++;
    }
    at->trade_count += row;
    at->stream_us = now;
    at->next_us = next;
    *rows_out = row;
    *found_out = found;
    return FLOW_OK;
}

/* As a lane of the kernel shares out a print. */
static int64_t share_of(int64_t qty_lots, int64_t participation_ppm)
{
    if (qty_lots < (int64_t)1 << 43)
        return (int64_t)(((uint64_t)qty_lots * (uint64_t)participation_ppm + FLOW_PPM - 1) /
                         FLOW_PPM);
    return (int64_t)(((i128)qty_lots * participation_ppm + FLOW_PPM - 1) / FLOW_PPM);
}

/* The other side of the touch: its own last print while that is fresh and lies beyond the last
 * print, else one price step away. */
static int64_t other_side(const quote *q, int64_t price_ticks, int64_t stale_us, int64_t step_ticks)
{
    const int other = q->last_side < 0;
    const int64_t ticks = q->ticks[other], seen_us = q->stream_us[other];
    const bool beyond = other ? ticks > price_ticks : ticks > 0 && ticks < price_ticks;
    if (beyond && seen_us != ALWAYS_US && q->last_us - seen_us <= stale_us) return ticks;
    return other ? price_ticks + step_ticks : max_i64(price_ticks - step_ticks, 1);
}

/* The touch behind each print, and the share of it. */
static void add_prints(flow_sweep *w, const int64_t *price, const int64_t *qty)
{
    chunk *c = &w->chunk;
    quote *q = &w->quote;
    const int64_t part = w->config.lanes[FLOW_BASE].participation_ppm;
    const int64_t stale_us = w->config.touch_stale_us, step = w->market.rules.price_step_ticks;
    for (size_t i = 0; i < c->row_count; i++) {
        quote_add(q, price[i], c->side[i], c->stream_us[i]);
        const int64_t other = other_side(q, price[i], stale_us, step);
        const bool buyer = c->side[i] > 0;
        c->touch_ticks[0][i] = buyer ? other : price[i];
        c->touch_ticks[1][i] = buyer ? price[i] : other;
        c->share_lots[i] = share_of(qty[i], part);
    }
}

/* The same of the simple spread model, in which a print fills whatever is asked for. */
static void add_spread(flow_sweep *w, const int64_t *price)
{
    chunk *c = &w->chunk;
    const int64_t step = w->market.rules.price_step_ticks;
    const i128 divisor = (i128)2 * FLOW_PPM * step;
    for (size_t i = 0; i < c->row_count; i++) {
        const i128 steps = ((i128)price[i] * w->config.spread_ppm + divisor - 1) / divisor;
        const int64_t half = steps < 1 ? step : (int64_t)steps * step;
        c->touch_ticks[0][i] = max_i64(price[i] - half, 1);
        c->touch_ticks[1][i] = price[i] + half;
        c->share_lots[i] = INT64_MAX;
    }
}

static span of_mark(int64_t ticks) { return (span){ticks, ticks, 0, 0}; }

static void join(span *s, const span *later)
{
    s->fall_ticks =
        max_i64(max_i64(s->fall_ticks, later->fall_ticks), s->high_ticks - later->low_ticks);
    s->rise_ticks =
        max_i64(max_i64(s->rise_ticks, later->rise_ticks), later->high_ticks - s->low_ticks);
    s->low_ticks = min_i64(s->low_ticks, later->low_ticks);
    s->high_ticks = max_i64(s->high_ticks, later->high_ticks);
}

static void join_marks(span *s, const int64_t *mark_ticks, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const span one = of_mark(mark_ticks[i]);
        join(s, &one);
    }
}

span chunk_marks(const chunk *c, size_t start, size_t end)
{
    span s = of_mark(c->mark_ticks[start]);
    const size_t full = (start + SPAN_DECISIONS - 1) / SPAN_DECISIONS;
    const size_t full_end = end / SPAN_DECISIONS;
    if (full >= full_end) {
        join_marks(&s, c->mark_ticks + start, end - start);
        return s;
    }
    join_marks(&s, c->mark_ticks + start, full * SPAN_DECISIONS - start);
    for (size_t i = full; i < full_end; i++)
        join(&s, &c->spans[i]);
    join_marks(&s, c->mark_ticks + full_end * SPAN_DECISIONS, end - full_end * SPAN_DECISIONS);
    return s;
}

static void add_decisions(flow_sweep *w, const int64_t *price)
{
    chunk *c = &w->chunk;
    size_t rows;
    flow_find_decisions(&w->decisions, c->ts_us, c->row_count, c->decisions, CHUNK_ROWS, &rows,
                        &c->decision_count);
    size_t row = 0;
    for (size_t i = 0; i < c->decision_count; i++) {
        for (; row <= c->decisions[i].row; row++)
            c->decisions_before[row] = (uint32_t)i;
        c->mark_ticks[i] = price[c->decisions[i].row];
    }
    for (; row < c->row_count; row++)
        c->decisions_before[row] = (uint32_t)c->decision_count;
    for (size_t i = 0; i < c->decision_count / SPAN_DECISIONS; i++) {
        c->spans[i] = of_mark(c->mark_ticks[i * SPAN_DECISIONS]);
        join_marks(&c->spans[i], c->mark_ticks + i * SPAN_DECISIONS, SPAN_DECISIONS);
    }
}

void chunk_prepare(flow_sweep *w, const flow_batch *batch, size_t start)
{
    chunk *c = &w->chunk;
    const int64_t *price = batch->price_ticks + start;
    c->row_count = batch->count - start < CHUNK_ROWS ? batch->count - start : CHUNK_ROWS;
    c->ts_us = batch->ts_us + start;
    c->side = batch->side + start;
    int64_t now = w->decisions.stream_us;
    for (size_t i = 0; i < c->row_count; i++)
        c->stream_us[i] = now = max_i64(now, c->ts_us[i]);
    if (w->config.fill_model == FLOW_FILLS_SPREAD) {
        add_spread(w, price);
        for (size_t i = 0; i < c->row_count; i++)
            quote_add(&w->quote, price[i], c->side[i], c->stream_us[i]);
    } else {
        add_prints(w, price, batch->qty_lots + start);
    }
    add_decisions(w, price);
}
