/* Life of a kernel, its inputs, and its commands. */
#include <stdlib.h> /* calloc, free */
#include <string.h> /* memset */

#include "internal.h"

#define EVENTS_SPARE 1024
#define PPM_MAX 1000000
#define ATOMS_PER_TICKLOT_MAX 100000000
#define FEE_UNIT_ATOMS_MAX ((int64_t)1 << 60)

static bool config_is_valid(const flow_config *c)
{
    i128 cash = i128_of(c->initial_cash_atoms), cash_max = (i128)1 << 100;
    return c->orders_max >= 1 && c->orders_max <= FLOW_ORDERS_MAX &&
           orderflow_config_is_valid(&c->orderflow) && c->decide_trades_count >= 0 &&
           c->decide_grid_us >= 0 && c->decide_grid_us <= FLOW_TS_US_MAX &&
           (c->decide_on_fill == 0 || c->decide_on_fill == 1) && c->equity_grid_us >= 0 &&
           c->equity_grid_us <= FLOW_TS_US_MAX && c->latency_us >= 0 &&
           c->latency_us <= FLOW_TS_US_MAX && c->maker_fee_ppm >= -PPM_MAX &&
           c->maker_fee_ppm <= PPM_MAX && c->taker_fee_ppm >= -PPM_MAX &&
           c->taker_fee_ppm <= PPM_MAX && c->atoms_per_ticklot >= 1 &&
           c->atoms_per_ticklot <= ATOMS_PER_TICKLOT_MAX && c->fee_unit_atoms >= 1 &&
           c->fee_unit_atoms <= FEE_UNIT_ATOMS_MAX && cash <= cash_max && cash >= -cash_max;
}

flow_status flow_create(const flow_config *config, flow_kernel **kernel_out)
{
    RETURN_IF(!kernel_out, FLOW_NULL_POINTER);
    *kernel_out = NULL;
    RETURN_IF(!config, FLOW_NULL_POINTER);
    RETURN_IF(config->abi_version != FLOW_ABI_VERSION, FLOW_ABI_MISMATCH);
    RETURN_IF(!config_is_valid(config), FLOW_BAD_CONFIG);

    flow_kernel *k = calloc(1, sizeof *k);
    RETURN_IF(!k, FLOW_NO_MEMORY);
    size_t orders = config->orders_max;
    k->config = *config;
    k->fills.capacity = orders + EVENTS_SPARE;
    k->order_events.capacity = 2 * orders + EVENTS_SPARE;
    k->equity.capacity = orders + EVENTS_SPARE;
    k->orders = calloc(orders, sizeof *k->orders);
    k->spare_orders = calloc(orders, sizeof *k->spare_orders);
    k->fills.items = calloc(k->fills.capacity, sizeof *k->fills.items);
    k->order_events.items = calloc(k->order_events.capacity, sizeof *k->order_events.items);
    k->equity.items = calloc(k->equity.capacity, sizeof *k->equity.items);
    if (!orderflow_init(&k->flow, &config->orderflow) || !k->orders || !k->spare_orders ||
        !k->fills.items || !k->order_events.items || !k->equity.items) {
        flow_destroy(k);
        return FLOW_NO_MEMORY;
    }
    k->core.next_order_id = 1;
    k->core.decide_next_us = k->core.equity_next_us = NEVER_US;
    k->core.account.cash_atoms = i128_of(config->initial_cash_atoms);
    orders_plan(k);
    *kernel_out = k;
    return FLOW_OK;
}

void flow_destroy(flow_kernel *k)
{
    if (!k) return;
    orderflow_free(&k->flow);
    free(k->orders);
    free(k->spare_orders);
    free(k->fills.items);
    free(k->order_events.items);
    free(k->equity.items);
    free(k);
}

static flow_status check_row(const flow_batch *b, size_t row)
{
    if (b->ts_us[row] < 0 || b->ts_us[row] > FLOW_TS_US_MAX) return FLOW_BAD_TIME;
    if (b->price_ticks[row] < 1 || b->price_ticks[row] > FLOW_PRICE_TICKS_MAX)
        return FLOW_BAD_PRICE;
    if (b->qty_lots[row] < 1 || b->qty_lots[row] > FLOW_QTY_LOTS_MAX) return FLOW_BAD_QTY;
    if (b->side[row] != 1 && b->side[row] != -1) return FLOW_BAD_SIDE;
    return FLOW_OK;
}

/* Rows summed at once: their quantities, at most 2^56 each, stay within 64 bits. */
#define CHECK_BLOCK 64

flow_status flow_check_batch(flow_batch *batch, size_t *bad_row_out)
{
    RETURN_IF(!batch || !bad_row_out, FLOW_NULL_POINTER);
    *bad_row_out = 0;
    batch->total_lots = 0;
    RETURN_IF(batch->count == 0, FLOW_OK);
    const int64_t *restrict ts = batch->ts_us, *restrict price = batch->price_ticks;
    const int64_t *restrict qty = batch->qty_lots;
    const int8_t *restrict side = batch->side;
    RETURN_IF(!ts || !price || !qty || !side, FLOW_NULL_POINTER);

    const uint64_t ts_max = (uint64_t)FLOW_TS_US_MAX;
    i128 total = 0;
    for (size_t at = 0; at < batch->count; at += CHECK_BLOCK) {
        size_t stop = batch->count - at < CHECK_BLOCK ? batch->count : at + CHECK_BLOCK;
        /* A number below 1 wraps to one with high bits set. */
        uint64_t ts_bits = 0, price_bits = 0, qty_bits = 0, sum = 0;
        int bad_sides = 0;
        for (size_t i = at; i < stop; i++) {
            ts_bits |= (uint64_t)ts[i];
            price_bits |= (uint64_t)price[i] - 1;
            qty_bits |= (uint64_t)qty[i] - 1;
            sum += (uint64_t)qty[i];
        }
        for (size_t i = at; i < stop; i++)
            bad_sides |= (side[i] != 1) & (side[i] != -1);
        if (ts_bits >= ts_max || price_bits >= (uint64_t)FLOW_PRICE_TICKS_MAX ||
            qty_bits >= (uint64_t)FLOW_QTY_LOTS_MAX || bad_sides) {
            for (size_t i = at; i < stop; i++) {
                flow_status status = check_row(batch, i);
                if (status != FLOW_OK) {
                    *bad_row_out = i;
                    return status;
                }
            }
        }
        total += (i128)sum;
        RETURN_IF(total > INT64_MAX, FLOW_OVERFLOW);
    }
    batch->total_lots = (int64_t)total;
    return FLOW_OK;
}

/* Room for all that one input can put out. */
static bool outboxes_have_room(const flow_kernel *k)
{
    return orderflow_room(&k->flow) > 0 && k->fills.capacity - k->fills.tail >= k->order_count &&
           k->order_events.capacity - k->order_events.tail >= 2 * k->order_count &&
           k->equity.capacity - k->equity.tail > k->order_count;
}

/* Apply the prints that concern nothing but order flow; returns the row behind the last one. */
static size_t run_quiet(flow_kernel *k, const flow_batch *batch, size_t start, size_t limit)
{
    core *c = &k->core;
    window w = {
        .input = c->input,
        .stream_us = c->stream_us,
        .next_us = min_i64(min_i64(c->decide_next_us, c->equity_next_us),
                           min_i64(k->match_next_us, k->cancel_next_us)),
        .low_ticks = k->match_low,
        .high_ticks = k->match_high,
    };
    size_t at = fastpath_run(&k->flow, &w, batch, start, limit);
    c->input = w.input;
    c->stream_us = w.stream_us;
    return at;
}

/* Give the next input its time: grid points it crosses, orders that end. Returns whether it makes
 * a decision point of the grid. */
static bool advance(flow_kernel *k, int64_t ts_us)
{
    core *c = &k->core;
    int64_t now = max_i64(c->stream_us, ts_us);
    bool decides = false;
    if (c->input == 0) {
        c->decide_next_us = next_on_grid(now, k->config.decide_grid_us);
        c->equity_next_us = next_on_grid(now, k->config.equity_grid_us);
    }
    if (now >= c->equity_next_us) {
        account_point(k, c->equity_next_us);
        c->equity_next_us = next_on_grid(now, k->config.equity_grid_us);
    }
    if (now >= c->decide_next_us) {
        c->decide_next_us = next_on_grid(now, k->config.decide_grid_us);
        decides = true;
    }
    c->stream_us = now;
    c->input++;
    if (now > k->cancel_next_us) orders_expire(k);
    return decides;
}

static bool apply_print(flow_kernel *k, const print *trade)
{
    bool decides = advance(k, trade->ts_us);
    k->flow.last_ticks = trade->price_ticks;
    bool filled = orders_match(k, trade);
    orderflow_print(&k->flow, trade, k->core.input, k->core.stream_us);
    return decides || (filled && k->config.decide_on_fill);
}

flow_status flow_run(flow_kernel *k, const flow_batch *batch, size_t start, size_t *consumed_out,
                     flow_stop *stop_out)
{
    RETURN_IF(!k || !batch || !consumed_out || !stop_out, FLOW_NULL_POINTER);
    *consumed_out = start;
    *stop_out = FLOW_STOP_END;
    RETURN_IF(start > batch->count, FLOW_BAD_ROW);
    RETURN_IF(k->core.ended, FLOW_ENDED);
    RETURN_IF(!orderflow_has_volume_left(&k->flow, batch->total_lots), FLOW_OVERFLOW);

    const uint64_t every = (uint64_t)k->config.decide_trades_count;
    size_t i = start;
    bool decides = false;
    while (i < batch->count && !decides) {
        if (!outboxes_have_room(k)) {
            *stop_out = FLOW_STOP_DRAIN;
            break;
        }
        size_t limit = batch->count;
        size_t room = orderflow_room(&k->flow);
        if (limit - i > room) limit = i + room;
        if (every && limit - i > every - k->flow.trade_count % every)
            limit = i + (size_t)(every - k->flow.trade_count % every);
        i = run_quiet(k, batch, i, limit);
        if (i < limit && outboxes_have_room(k)) {
            /* Columns that were changed behind the check must not reach beyond any table. */
            const print trade = {
                max_i64(0, min_i64(batch->ts_us[i], FLOW_TS_US_MAX)),
                max_i64(1, min_i64(batch->price_ticks[i], FLOW_PRICE_TICKS_MAX)),
                max_i64(1, min_i64(batch->qty_lots[i], FLOW_QTY_LOTS_MAX)),
                batch->side[i] > 0 ? 1 : -1,
            };
            decides = apply_print(k, &trade);
            i++;
        }
        decides |= every && i > start && k->flow.trade_count % every == 0;
    }
    if (decides) *stop_out = FLOW_STOP_DECISION;
    *consumed_out = i;
    return FLOW_OK;
}

flow_status flow_clock(flow_kernel *k, int64_t ts_us, flow_stop *stop_out)
{
    RETURN_IF(!k || !stop_out, FLOW_NULL_POINTER);
    *stop_out = FLOW_STOP_END;
    RETURN_IF(ts_us < 0 || ts_us > FLOW_TS_US_MAX, FLOW_BAD_TIME);
    core *c = &k->core;
    RETURN_IF(c->ended, FLOW_ENDED);
    RETURN_IF(ts_us < c->stream_us, FLOW_TIME_REVERSED);
    RETURN_IF(!outboxes_have_room(k), FLOW_NOT_DRAINED);
    if (advance(k, ts_us)) *stop_out = FLOW_STOP_DECISION;
    orderflow_clock(&k->flow, c->input, c->stream_us);
    return FLOW_OK;
}

flow_status flow_gap(flow_kernel *k)
{
    RETURN_IF(!k, FLOW_NULL_POINTER);
    RETURN_IF(k->core.ended, FLOW_ENDED);
    RETURN_IF(!outboxes_have_room(k), FLOW_NOT_DRAINED);
    advance(k, k->core.stream_us);
    orderflow_gap(&k->flow, k->core.input, k->core.stream_us);
    return FLOW_OK;
}

flow_status flow_end(flow_kernel *k)
{
    RETURN_IF(!k, FLOW_NULL_POINTER);
    RETURN_IF(k->core.ended, FLOW_ENDED);
    RETURN_IF(!outboxes_have_room(k), FLOW_NOT_DRAINED);
    advance(k, k->core.stream_us);
    orderflow_end(&k->flow, k->core.input, k->core.stream_us);
    k->core.ended = true;
    return FLOW_OK;
}

flow_status flow_place(flow_kernel *k, int64_t ts_us, flow_order_kind kind, int8_t side,
                       int64_t qty_lots, int64_t price_ticks, uint64_t *order_id_out)
{
    RETURN_IF(!k || !order_id_out, FLOW_NULL_POINTER);
    *order_id_out = 0;
    RETURN_IF(k->core.ended, FLOW_ENDED);
    RETURN_IF(ts_us < 0 || ts_us > FLOW_TS_US_MAX, FLOW_BAD_TIME);
    RETURN_IF(ts_us < k->core.stream_us, FLOW_TIME_REVERSED);
    RETURN_IF(kind != FLOW_MARKET && kind != FLOW_LIMIT, FLOW_BAD_ORDER);
    RETURN_IF(side != 1 && side != -1, FLOW_BAD_SIDE);
    RETURN_IF(qty_lots < 1 || qty_lots > FLOW_QTY_LOTS_MAX, FLOW_BAD_QTY);
    RETURN_IF(kind == FLOW_MARKET && price_ticks != 0, FLOW_BAD_PRICE);
    RETURN_IF(kind == FLOW_LIMIT && (price_ticks < 1 || price_ticks > FLOW_PRICE_TICKS_MAX),
              FLOW_BAD_PRICE);
    RETURN_IF(k->order_count == k->config.orders_max, FLOW_CAPACITY);
    RETURN_IF(!account_has_room(k, qty_lots), FLOW_OVERFLOW);
    k->orders[k->order_count++] = (flow_order){
        .order_id = k->core.next_order_id,
        .placed_input = k->core.input,
        .price_ticks = price_ticks,
        .qty_lots = qty_lots,
        .remaining_lots = qty_lots,
        .active_us = ts_us + k->config.latency_us,
        .cancel_us = NEVER_US,
        .side = side,
        .kind = (int8_t)kind,
        .stage = FLOW_PENDING,
    };
    *order_id_out = k->core.next_order_id++;
    orders_plan(k);
    return FLOW_OK;
}

flow_status flow_cancel(flow_kernel *k, int64_t ts_us, uint64_t order_id)
{
    RETURN_IF(!k, FLOW_NULL_POINTER);
    RETURN_IF(k->core.ended, FLOW_ENDED);
    RETURN_IF(ts_us < 0 || ts_us > FLOW_TS_US_MAX, FLOW_BAD_TIME);
    RETURN_IF(ts_us < k->core.stream_us, FLOW_TIME_REVERSED);
    for (size_t i = 0; i < k->order_count; i++) {
        flow_order *order = &k->orders[i];
        if (order->order_id != order_id) continue;
        order->cancel_us = min_i64(order->cancel_us, ts_us + k->config.latency_us);
        orders_plan(k);
        return FLOW_OK;
    }
    return FLOW_UNKNOWN_ORDER;
}

#define DEFINE_TAKE(function, type, box) \
    flow_status function(flow_kernel *k, type *out, size_t capacity, size_t *count_out) \
    { \
        RETURN_IF(!k || !count_out || (!out && capacity), FLOW_NULL_POINTER); \
        size_t count = k->box.tail - k->box.head; \
        if (count > capacity) count = capacity; \
        if (count) memcpy(out, k->box.items + k->box.head, count * sizeof *out); \
        k->box.head += count; \
        if (k->box.head == k->box.tail) k->box.head = k->box.tail = 0; \
        *count_out = count; \
        return FLOW_OK; \
    }

DEFINE_TAKE(flow_take_fills, flow_fill, fills)
DEFINE_TAKE(flow_take_order_events, flow_order_event, order_events)
DEFINE_TAKE(flow_take_equity, flow_equity, equity)

flow_status flow_pending(const flow_kernel *k, size_t *out)
{
    RETURN_IF(!k || !out, FLOW_NULL_POINTER);
    out[0] = k->fills.tail - k->fills.head;
    out[1] = k->order_events.tail - k->order_events.head;
    out[2] = k->equity.tail - k->equity.head;
    return FLOW_OK;
}

flow_status flow_get_snapshot(const flow_kernel *k, flow_snapshot *out)
{
    RETURN_IF(!k || !out, FLOW_NULL_POINTER);
    const core *c = &k->core;
    const account *a = &c->account;
    const orderflow *f = &k->flow;
    i128 value = account_notional(k, f->last_ticks, a->position_lots);
    *out = (flow_snapshot){
        .input = c->input,
        .trade_count = f->trade_count,
        .stream_us = c->stream_us,
        .last_ticks = f->last_ticks,
        .last_side = f->last_side,
        .buy_lots = orderflow_buy_lots(f),
        .sell_lots = orderflow_sell_lots(f),
        .high_ticks = f->high_ticks,
        .low_ticks = f->low_ticks,
        .profile_row_ticks = orderflow_profile_row_ticks(f),
        .profile_row_count = (int64_t)orderflow_profile_row_count(f),
        .open_order_count = (int64_t)k->order_count,
        .position_lots = a->position_lots,
        .notional_ticklots = i128_pair(orderflow_notional(f)),
        .cash_atoms = i128_pair(a->cash_atoms),
        .cost_atoms = i128_pair(a->cost_atoms),
        .realized_atoms = i128_pair(a->realized_atoms),
        .unrealized_atoms = i128_pair(value - a->cost_atoms),
        .fees_atoms = i128_pair(a->fees_atoms),
        .equity_atoms = i128_pair(a->cash_atoms + value),
        .bar = f->series[0].bar,
        .bubble = f->bubble,
    };
    return FLOW_OK;
}

flow_status flow_get_orders(const flow_kernel *k, flow_order *out, size_t capacity,
                            size_t *count_out)
{
    RETURN_IF(!k || !count_out || (!out && capacity), FLOW_NULL_POINTER);
    RETURN_IF(capacity < k->order_count, FLOW_SMALL_BUFFER);
    if (k->order_count) memcpy(out, k->orders, k->order_count * sizeof *out);
    *count_out = k->order_count;
    return FLOW_OK;
}
