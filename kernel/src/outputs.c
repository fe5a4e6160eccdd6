/* What can be taken out of a kernel and what can be looked at. */
#include <string.h> /* memcpy */

#include "internal.h"

#define TAKE(box) \
    do { \
        RETURN_IF(!count_out || (!out && capacity), FLOW_NULL_POINTER); \
        size_t count = (box).tail - (box).head; \
        if (count > capacity) count = capacity; \
        if (count) memcpy(out, (box).items + (box).head, count * sizeof *out); \
        (box).head += count; \
        if ((box).head == (box).tail) (box).head = (box).tail = 0; \
        *count_out = count; \
        return FLOW_OK; \
    } while (0)

flow_status flow_take_fills(flow_kernel *k, flow_fill *out, size_t capacity, size_t *count_out)
{
    RETURN_IF(!k, FLOW_NULL_POINTER);
    TAKE(k->fills);
}

flow_status flow_take_order_events(flow_kernel *k, flow_order_event *out, size_t capacity,
                                   size_t *count_out)
{
    RETURN_IF(!k, FLOW_NULL_POINTER);
    TAKE(k->order_events);
}

flow_status flow_take_equity(flow_kernel *k, flow_equity *out, size_t capacity, size_t *count_out)
{
    RETURN_IF(!k, FLOW_NULL_POINTER);
    TAKE(k->equity);
}

flow_status flow_get_snapshot(const flow_kernel *k, uint32_t market_index, flow_snapshot *out)
{
    RETURN_IF(!k || !out, FLOW_NULL_POINTER);
    RETURN_IF(market_index >= k->market_count, FLOW_BAD_MARKET);
    const core *c = &k->core;
    const market *m = &k->markets[market_index];
    const orderflow *f = &m->flow;
    const account *a = &c->accounts[FLOW_BASE];
    const position *p = &m->positions[FLOW_BASE];
    const bool all = k->config.lane_count == FLOW_LANES;
    const i128 equity = account_equity(k, FLOW_BASE);
    *out = (flow_snapshot){
        .input = c->input,
        .trade_count = f->trade_count,
        .stream_us = c->stream_us,
        .last_ticks = f->last_ticks,
        .last_side = f->last_side,
        .bid_ticks = prices_touch(k, m, -1),
        .ask_ticks = prices_touch(k, m, 1),
        .mark_ticks = m->mark_ticks,
        .buy_lots = orderflow_buy_lots(f),
        .sell_lots = orderflow_sell_lots(f),
        .high_ticks = f->high_ticks,
        .low_ticks = f->low_ticks,
        .profile_row_ticks = orderflow_profile_row_ticks(f),
        .profile_row_count = (int64_t)orderflow_profile_row_count(f),
        .open_order_count = (int64_t)links_base_count(k),
        .order_count = (int64_t)k->order_count,
        .next_order_id = c->next_order_id,
        .position_lots = p->lots,
        .notional_ticklots = i128_pair(orderflow_notional(f)),
        .cost_atoms = i128_pair(p->cost_atoms),
        .cash_atoms = i128_pair(a->cash_atoms),
        .realized_atoms = i128_pair(a->realized_atoms),
        .unrealized_atoms = i128_pair(account_unrealized(k, FLOW_BASE)),
        .fees_atoms = i128_pair(a->fees_atoms),
        .funding_atoms = i128_pair(a->funding_atoms),
        .equity_atoms = i128_pair(equity),
        .optimistic_atoms = i128_pair(all ? account_equity(k, FLOW_OPTIMISTIC) : equity),
        .pessimistic_atoms = i128_pair(all ? account_equity(k, FLOW_PESSIMISTIC) : equity),
        .bar = f->series[0].bar,
        .bubble = f->bubble,
    };
    return FLOW_OK;
}

/* The lane in use for a lane asked for; -1: there is none. */
static int lane_used(const flow_kernel *k, int64_t lane)
{
    if (lane < 0 || lane >= FLOW_LANES) return -1;
    return k->config.lane_count == 1 ? FLOW_BASE : (int)lane;
}

flow_status flow_get_account(const flow_kernel *k, int64_t lane, flow_account *out)
{
    RETURN_IF(!k || !out, FLOW_NULL_POINTER);
    const int l = lane_used(k, lane);
    RETURN_IF(l < 0, FLOW_BAD_ORDER);
    const account *a = &k->core.accounts[l];
    *out = (flow_account){
        .cash_atoms = i128_pair(a->cash_atoms),
        .realized_atoms = i128_pair(a->realized_atoms),
        .unrealized_atoms = i128_pair(account_unrealized(k, l)),
        .fees_atoms = i128_pair(a->fees_atoms),
        .funding_atoms = i128_pair(a->funding_atoms),
        .equity_atoms = i128_pair(account_equity(k, l)),
        .free_atoms = i128_pair(account_free(k, l)),
    };
    return FLOW_OK;
}

flow_status flow_get_rules(const flow_kernel *k, uint32_t market_index, flow_venue_rules *out)
{
    RETURN_IF(!k || !out, FLOW_NULL_POINTER);
    RETURN_IF(market_index >= k->market_count, FLOW_BAD_MARKET);
    *out = k->markets[market_index].config.rules;
    return FLOW_OK;
}

flow_status flow_get_position(const flow_kernel *k, uint32_t market_index, int64_t lane,
                              flow_position *out)
{
    RETURN_IF(!k || !out, FLOW_NULL_POINTER);
    RETURN_IF(market_index >= k->market_count, FLOW_BAD_MARKET);
    const int l = lane_used(k, lane);
    RETURN_IF(l < 0, FLOW_BAD_ORDER);
    const market *m = &k->markets[market_index];
    const position *p = &m->positions[l];
    *out = (flow_position){
        .position_lots = p->lots,
        .mark_ticks = prices_mark(m),
        .cost_atoms = i128_pair(p->cost_atoms),
        .margin_atoms = i128_pair(p->margin_atoms),
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
