/* What the kernel is told, one input after the other. */
#include <string.h> /* memcpy */

#include "internal.h"

/* Rows after which the level sample and the touch are brought up to date. */
#define QUIET_ROWS 8192

bool outboxes_have_room(const flow_kernel *k)
{
    const size_t orders = k->order_count;
    if (k->fills.capacity - k->fills.tail < FILLS_PER_ORDER * orders + FLOW_LANES ||
        k->order_events.capacity - k->order_events.tail < EVENTS_PER_ORDER * orders ||
        k->equity.capacity - k->equity.tail < orders + 2)
        return false;
    for (size_t i = 0; i < k->market_count; i++)
        if (orderflow_room(&k->markets[i].flow) == 0) return false;
    return true;
}

static flow_status check_open(const flow_kernel *k)
{
    RETURN_IF(k->core.ended, FLOW_ENDED);
    RETURN_IF(k->core.halted, FLOW_HALTED);
    return FLOW_OK;
}

/* Check the books where a block of inputs ends; what lies between cannot have changed them. */
static void check_books(flow_kernel *k, uint64_t input_before)
{
    core *c = &k->core;
    if (c->input / FLOW_BLOCK_INPUTS != input_before / FLOW_BLOCK_INPUTS)
        c->halted = !account_books_balance(k);
}

/* Give the next input its time: grid points it crosses, what is due before it. Returns whether it
 * makes a decision point of the grid. */
static bool advance(flow_kernel *k, int64_t ts_us)
{
    core *c = &k->core;
    const int64_t now = max_i64(c->stream_us, ts_us);
    bool decides = false;
    if (c->input == 0) {
        c->decide_next_us = next_on_grid(now, k->config.decide_grid_us);
        c->equity_next_us = next_on_grid(now, k->config.equity_grid_us);
    }
    if (now >= c->equity_next_us) {
        account_point(k, 0, c->equity_next_us);
        c->equity_next_us = next_on_grid(now, k->config.equity_grid_us);
    }
    if (now >= c->decide_next_us) {
        c->decide_next_us = next_on_grid(now, k->config.decide_grid_us);
        decides = true;
    }
    if (now > k->due_next_us) orders_settle_due(k, now);
    c->stream_us = now;
    c->input++;
    return decides;
}

static bool apply_print(flow_kernel *k, uint32_t market_index, const print *trade)
{
    core *c = &k->core;
    market *m = &k->markets[market_index];
    const bool decides = advance(k, trade->ts_us);
    quote_add(&m->quote, trade->price_ticks, trade->side, c->stream_us);
    levels_add(&m->levels, trade->price_ticks, trade->qty_lots, trade->side);
    const bool filled = matching_settle(k, market_index, trade);
    orderflow_print(&m->flow, trade, c->input, c->stream_us);
    c->trade_count++;
    return decides || (filled && k->config.decide_on_fill);
}

/* The first row of [start, limit) whose time is at or behind next_us; times do not fall. */
static size_t row_at(const int64_t *ts_us, size_t start, size_t limit, int64_t next_us)
{
    if (start < limit && ts_us[limit - 1] < next_us) return limit;
    while (start < limit) {
        const size_t middle = start + (limit - start) / 2;
        if (ts_us[middle] < next_us)
            start = middle + 1;
        else
            limit = middle;
    }
    return start;
}

/* The first row of [start, end) whose price lies outside the window. */
static size_t touch_in(const flow_kernel *k, const window *w, const flow_batch *batch, size_t start,
                       size_t end)
{
    const flow_bounds bounds = {w->low_ticks, w->high_ticks, INT64_MAX};
    if (w->low_ticks <= 0 && w->high_ticks == INT64_MAX) return end;
    if (batch->extremes)
        return flow_first_touch_blocks(k->cpu, batch->extremes, NULL, batch->price_ticks, start,
                                       end, &bounds);
    return start + flow_first_touch(k->cpu, batch->price_ticks + start, end - start, w->low_ticks,
                                    w->high_ticks);
}

/* As touch_in, and the sums of the rows before it. Sums know the extremes, so that most pieces are
 * read once. */
static size_t sum_until_touch(const flow_kernel *k, market *m, const window *w,
                              const flow_batch *batch, size_t start, size_t end)
{
    flow_totals sums;
    const int64_t *price = batch->price_ticks + start, *qty = batch->qty_lots + start;
    const int8_t *side = batch->side + start;
    size_t at = end;
    flow_status status = flow_sums(k->cpu, NULL, price, qty, side, at - start, &sums);
    if (status == FLOW_OK && at > start &&
        (sums.low_ticks < w->low_ticks || sums.high_ticks > w->high_ticks)) {
        at = touch_in(k, w, batch, start, end);
        status = flow_sums(k->cpu, NULL, price, qty, side, at - start, &sums);
    }
    if (status != FLOW_OK) return start; /* rows changed behind the check: one by one then */
    if (at > start) orderflow_add_sums(&m->flow, &sums);
    return at;
}

/* Where order flow is off: look for the first print that concerns anything at all. */
static size_t skip_prints(const flow_kernel *k, market *m, window *w, const flow_batch *batch,
                          size_t start, size_t limit)
{
    /* The first input of all sets the grids. */
    if (w->input == 0 || !batch->ascending || batch->ts_us[start] < w->stream_us ||
        w->low_ticks > w->high_ticks)
        return start;
    const size_t end = row_at(batch->ts_us, start, limit, w->next_us);
    if (end > start &&
        (batch->ts_us[end - 1] < w->stream_us || batch->ts_us[end - 1] > FLOW_TS_US_MAX))
        return start; /* changed behind the check: the caller bounds them one by one */
    const size_t at = m->flow.config->sums_on ? sum_until_touch(k, m, w, batch, start, end)
                                              : touch_in(k, w, batch, start, end);
    if (at == start) return at;
    const int64_t last_us = batch->ts_us[at - 1];
    m->flow.trade_count += at - start;
    m->flow.last_ticks = batch->price_ticks[at - 1];
    m->flow.last_side = batch->side[at - 1];
    w->input += at - start;
    w->stream_us = max_i64(w->stream_us, min_i64(last_us, FLOW_TS_US_MAX));
    return at;
}

/* Apply prints of one market that concern no order, clock or grid; returns the row behind. */
static size_t run_quiet(flow_kernel *k, market *m, const flow_batch *batch, size_t start,
                        size_t limit)
{
    core *c = &k->core;
    /* What is due is so for stream times behind its moment. */
    const int64_t due = k->due_next_us == NEVER_US ? NEVER_US : k->due_next_us + 1;
    window w = {
        .input = c->input,
        .stream_us = c->stream_us,
        .next_us =
            min_i64(min_i64(c->decide_next_us, c->equity_next_us), min_i64(m->match_next_us, due)),
        .low_ticks = m->match_low,
        .high_ticks = m->match_high,
        .cpu = k->cpu,
    };
    const size_t at = orderflow_is_off(&m->flow) ? skip_prints(k, m, &w, batch, start, limit)
                                                 : fastpath_run(&m->flow, &w, batch, start, limit);
    quote_add_rows(&m->quote, batch, start, at);
    levels_add_rows(&m->levels, batch, start, at);
    c->input = w.input;
    c->stream_us = w.stream_us;
    c->trade_count += at - start;
    return at;
}

/* The row behind the last one of the market that row start is of. */
static size_t end_of_market(const flow_batch *batch, size_t start, size_t limit)
{
    if (!batch->market) return limit;
    const uint8_t market_index = batch->market[start];
    size_t end = start + 1;
    while (end < limit && batch->market[end] == market_index)
        end++;
    return end;
}

/* Whether the rows from start on keep all volumes within 64 bits; those before may be in them. */
static bool volume_fits(const flow_kernel *k, const flow_batch *batch, size_t start)
{
    bool fits = true;
    for (size_t i = 0; i < k->market_count; i++)
        fits &= orderflow_has_volume_left(&k->markets[i].flow, batch->total_lots);
    if (fits) return true;
    i128 rest = 0;
    for (size_t row = start; row < batch->count; row++)
        rest += batch->qty_lots[row];
    if (rest < 0 || rest > batch->total_lots) return false;
    for (size_t i = 0; i < k->market_count; i++)
        if (!orderflow_has_volume_left(&k->markets[i].flow, (int64_t)rest)) return false;
    return true;
}

flow_status flow_run(flow_kernel *k, const flow_batch *batch, size_t start, size_t *consumed_out,
                     flow_stop *stop_out)
{
    RETURN_IF(!k || !batch || !consumed_out || !stop_out, FLOW_NULL_POINTER);
    *consumed_out = start;
    *stop_out = FLOW_STOP_END;
    RETURN_IF(start > batch->count, FLOW_BAD_ROW);
    const flow_status open = check_open(k);
    RETURN_IF(open != FLOW_OK, open);
    RETURN_IF(batch->market_last >= (int64_t)k->market_count, FLOW_BAD_MARKET);
    RETURN_IF(!volume_fits(k, batch, start), FLOW_OVERFLOW);

    core *c = &k->core;
    const uint64_t every = (uint64_t)k->config.decide_trades_count;
    size_t i = start;
    bool decides = false;
    while (i < batch->count && !decides && !c->halted) {
        if (!outboxes_have_room(k)) {
            *stop_out = FLOW_STOP_DRAIN;
            break;
        }
        /* A row that was changed behind our back must not lead out of the array. */
        const uint32_t index =
            batch->market && batch->market[i] < k->market_count ? batch->market[i] : 0;
        market *m = &k->markets[index];
        const uint64_t input_before = c->input;
        const bool in_pieces =
            !orderflow_is_off(&m->flow) || m->flow.config->sums_on || k->config.queue_window > 0;
        size_t limit = batch->count;
        if (in_pieces && limit - i > QUIET_ROWS) limit = i + QUIET_ROWS;
        const size_t room = orderflow_room(&m->flow);
        if (limit - i > room) limit = i + room;
        if (every && limit - i > every - c->trade_count % every)
            limit = i + (size_t)(every - c->trade_count % every);
        limit = end_of_market(batch, i, limit);
        const size_t first = i;
        i = run_quiet(k, m, batch, i, limit);
        if (i < limit && outboxes_have_room(k)) {
            /* Columns that were changed behind the check must not reach beyond any table. */
            const print trade = {
                max_i64(0, min_i64(batch->ts_us[i], FLOW_TS_US_MAX)),
                max_i64(1, min_i64(batch->price_ticks[i], FLOW_PRICE_TICKS_MAX)),
                max_i64(1, min_i64(batch->qty_lots[i], FLOW_QTY_LOTS_MAX)),
                batch->side[i] > 0 ? 1 : -1,
            };
            decides = apply_print(k, index, &trade);
            i++;
        }
        decides |= every && i > first && c->trade_count % every == 0;
        check_books(k, input_before);
    }
    if (decides) *stop_out = FLOW_STOP_DECISION;
    *consumed_out = i;
    return c->halted ? FLOW_HALTED : FLOW_OK;
}

/* What every input but a trade must meet. */
static flow_status check_input(const flow_kernel *k, int64_t ts_us)
{
    RETURN_IF(ts_us < 0 || ts_us > FLOW_TS_US_MAX, FLOW_BAD_TIME);
    const flow_status open = check_open(k);
    RETURN_IF(open != FLOW_OK, open);
    RETURN_IF(ts_us < k->core.stream_us, FLOW_TIME_REVERSED);
    RETURN_IF(!outboxes_have_room(k), FLOW_NOT_DRAINED);
    return FLOW_OK;
}

static flow_status finish_input(flow_kernel *k)
{
    check_books(k, k->core.input - 1);
    return k->core.halted ? FLOW_HALTED : FLOW_OK;
}

flow_status flow_clock(flow_kernel *k, int64_t ts_us, flow_stop *stop_out)
{
    RETURN_IF(!k || !stop_out, FLOW_NULL_POINTER);
    *stop_out = FLOW_STOP_END;
    const flow_status status = check_input(k, ts_us);
    RETURN_IF(status != FLOW_OK, status);
    if (advance(k, ts_us)) *stop_out = FLOW_STOP_DECISION;
    for (size_t i = 0; i < k->market_count; i++)
        orderflow_clock(&k->markets[i].flow, k->core.input, k->core.stream_us);
    return finish_input(k);
}

flow_status flow_gap(flow_kernel *k, uint32_t market_index)
{
    RETURN_IF(!k, FLOW_NULL_POINTER);
    RETURN_IF(market_index >= k->market_count, FLOW_BAD_MARKET);
    core *c = &k->core;
    const flow_status status = check_input(k, c->stream_us);
    RETURN_IF(status != FLOW_OK, status);
    market *m = &k->markets[market_index];
    advance(k, c->stream_us);
    for (size_t i = 0; i < k->order_count; i++)
        if (k->orders[i].request.market == market_index)
            orders_tell(k, &k->orders[i], FLOW_ALL_LANES, c->stream_us, FLOW_ORDER_UNKNOWN,
                        FLOW_NO_REASON, 0, NULL);
    quote_forget(&m->quote);
    levels_forget(&m->levels);
    orderflow_gap(&m->flow, c->input, c->stream_us);
    return finish_input(k);
}

flow_status flow_mark_price(flow_kernel *k, uint32_t market_index, int64_t ts_us,
                            int64_t mark_ticks, flow_stop *stop_out)
{
    RETURN_IF(!k || !stop_out, FLOW_NULL_POINTER);
    *stop_out = FLOW_STOP_END;
    RETURN_IF(market_index >= k->market_count, FLOW_BAD_MARKET);
    RETURN_IF(!price_is_valid(mark_ticks), FLOW_BAD_PRICE);
    const flow_status status = check_input(k, ts_us);
    RETURN_IF(status != FLOW_OK, status);
    const bool decides = advance(k, ts_us);
    k->markets[market_index].mark_ticks = mark_ticks;
    const bool liquidated = margin_liquidate(k, market_index);
    triggers_on_mark(k, market_index);
    orders_release(k);
    orders_remove_done(k);
    orders_plan(k);
    if (decides || (liquidated && k->config.decide_on_fill)) *stop_out = FLOW_STOP_DECISION;
    return finish_input(k);
}

flow_status flow_funding(flow_kernel *k, uint32_t market_index, int64_t ts_us, int64_t rate_ppb,
                         flow_stop *stop_out)
{
    RETURN_IF(!k || !stop_out, FLOW_NULL_POINTER);
    *stop_out = FLOW_STOP_END;
    RETURN_IF(market_index >= k->market_count, FLOW_BAD_MARKET);
    RETURN_IF(rate_ppb < -FLOW_PPB || rate_ppb > FLOW_PPB, FLOW_BAD_PRICE);
    const flow_status status = check_input(k, ts_us);
    RETURN_IF(status != FLOW_OK, status);
    RETURN_IF(k->markets[market_index].mark_ticks == 0, FLOW_NO_MARK);
    if (advance(k, ts_us)) *stop_out = FLOW_STOP_DECISION;
    margin_fund(k, market_index, rate_ppb);
    return finish_input(k);
}

flow_status flow_set_rule(flow_kernel *k, uint32_t market_index, int64_t ts_us, int64_t rule,
                          int64_t value, flow_stop *stop_out)
{
    RETURN_IF(!k || !stop_out, FLOW_NULL_POINTER);
    *stop_out = FLOW_STOP_END;
    RETURN_IF(market_index >= k->market_count, FLOW_BAD_MARKET);
    RETURN_IF(rule < 0 || rule >= FLOW_VENUE_RULE_COUNT, FLOW_BAD_RULE);
    flow_venue_rules rules = k->markets[market_index].config.rules;
    memcpy((uint8_t *)&rules + (size_t)rule * sizeof value, &value, sizeof value);
    RETURN_IF(!venue_rules_are_valid(&rules), FLOW_BAD_RULE);
    const flow_status status = check_input(k, ts_us);
    RETURN_IF(status != FLOW_OK, status);
    if (advance(k, ts_us)) *stop_out = FLOW_STOP_DECISION;
    k->markets[market_index].config.rules = rules;
    return finish_input(k);
}

flow_status flow_end(flow_kernel *k)
{
    RETURN_IF(!k, FLOW_NULL_POINTER);
    const flow_status status = check_input(k, k->core.stream_us);
    RETURN_IF(status != FLOW_OK, status);
    advance(k, k->core.stream_us);
    for (size_t i = 0; i < k->market_count; i++)
        orderflow_end(&k->markets[i].flow, k->core.input, k->core.stream_us);
    k->core.ended = true;
    k->core.halted = !account_books_balance(k);
    return k->core.halted ? FLOW_HALTED : FLOW_OK;
}
