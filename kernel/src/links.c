/* How orders end, and what that does to the orders they hang together with. */
#include "internal.h"

void orders_tell(flow_kernel *k, const flow_order *o, int lane, int64_t ts_us,
                 flow_order_change change, flow_reason reason, int64_t detail, const print *trade)
{
    const flow_order_lane *in = &o->lanes[lane == FLOW_ALL_LANES ? FLOW_BASE : lane];
    k->order_events.items[k->order_events.tail++] = (flow_order_event){
        .input = k->core.input,
        .ts_us = ts_us,
        .order_id = o->order_id,
        .print_ticks = trade ? trade->price_ticks : 0,
        .print_lots = trade ? trade->qty_lots : 0,
        .remaining_lots = in->remaining_lots,
        .queue_lots = in->queue_lots,
        .detail = detail,
        .change = (int8_t)change,
        .reason = (int8_t)reason,
        .lane = (int8_t)lane,
    };
}

bool order_is_open(const flow_kernel *k, const flow_order *o)
{
    FOR_LANES(k, l)
    {
        if (!o->lanes[l].done) return true;
    }
    return false;
}

/* The open order with this id, or null; orders stand by id. */
flow_order *links_find(const flow_kernel *k, uint64_t order_id)
{
    size_t low = 0, high = k->order_count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (k->orders[middle].order_id < order_id)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == k->order_count || k->orders[low].order_id != order_id) return NULL;
    return order_is_open(k, &k->orders[low]) ? &k->orders[low] : NULL;
}

/* The order with this id that is open in the base lane, or null: what commands may name. */
flow_order *links_find_base(const flow_kernel *k, uint64_t order_id)
{
    flow_order *o = links_find(k, order_id);
    return o && !o->lanes[FLOW_BASE].done ? o : NULL;
}

size_t links_base_count(const flow_kernel *k)
{
    size_t count = 0;
    for (size_t i = 0; i < k->order_count; i++)
        count += !k->orders[i].lanes[FLOW_BASE].done;
    return count;
}

/* Whether an order has no parent to wait for: in the base lane it has filled or ended. */
bool links_is_free(const flow_kernel *k, const flow_order *o)
{
    const flow_order *parent = links_find_base(k, o->request.parent_id);
    return !parent || parent->lanes[FLOW_BASE].filled_lots > 0;
}

/* Whether an order's parent may still give it more in a lane. */
static bool parent_is_open(flow_kernel *k, const flow_order *o, int lane)
{
    if (o->request.parent_id == 0) return false;
    const flow_order *parent = links_find(k, o->request.parent_id);
    return parent && !parent->lanes[lane].done;
}

static void children_lose_parent(flow_kernel *k, const flow_order *parent, int lane, int64_t ts_us)
{
    for (size_t i = 0; i < k->order_count; i++) {
        flow_order *child = &k->orders[i];
        flow_order_lane *in = &child->lanes[lane];
        if (child->request.parent_id != parent->order_id || in->done) continue;
        if (parent->lanes[lane].filled_lots == 0)
            links_end_lane(k, child, lane, ts_us, FLOW_ORDER_CANCELED, FLOW_BY_PARENT, NULL);
        else if (in->remaining_lots > 0 ||
                 (has_flag(child, FLOW_CLOSE_POSITION) && child->stage < FLOW_TAKING))
            continue; /* has something to do yet, or does not know what */
        else if (in->filled_lots > 0)
            links_end_lane(k, child, lane, ts_us, FLOW_ORDER_FILLED, FLOW_NO_REASON, NULL);
        else
            links_end_lane(k, child, lane, ts_us, FLOW_ORDER_CANCELED, FLOW_BY_SIBLING, NULL);
    }
}

void links_end_lane(flow_kernel *k, flow_order *o, int lane, int64_t ts_us,
                    flow_order_change change, flow_reason reason, const print *trade)
{
    if (o->lanes[lane].done) return;
    o->lanes[lane].done = 1;
    orders_tell(k, o, lane, ts_us, change, reason, 0, trade);
    children_lose_parent(k, o, lane, ts_us);
}

/* End an order wherever it is still open, told once. */
void links_end_all(flow_kernel *k, flow_order *o, int64_t ts_us, flow_order_change change,
                   flow_reason reason, const print *trade)
{
    bool was_open[FLOW_LANES] = {false};
    FOR_LANES(k, l)
    {
        was_open[l] = !o->lanes[l].done;
        o->lanes[l].done = 1;
    }
    orders_tell(k, o, FLOW_ALL_LANES, ts_us, change, reason, 0, trade);
    FOR_LANES(k, l)
    {
        if (was_open[l]) children_lose_parent(k, o, l, ts_us);
    }
}

/* An order has triggered: its sibling ends in the lanes where the order itself is still open. */
void links_end_sibling(flow_kernel *k, const flow_order *o, int64_t ts_us, const print *trade)
{
    flow_order *sibling = links_find(k, o->request.sibling_id);
    if (!sibling) return;
    bool everywhere = true;
    FOR_LANES(k, l) { everywhere &= sibling->lanes[l].done || !o->lanes[l].done; }
    if (everywhere) {
        links_end_all(k, sibling, ts_us, FLOW_ORDER_CANCELED, FLOW_BY_SIBLING, trade);
        return;
    }
    FOR_LANES(k, l)
    {
        if (!o->lanes[l].done)
            links_end_lane(k, sibling, l, ts_us, FLOW_ORDER_CANCELED, FLOW_BY_SIBLING, trade);
    }
}

static void reduce_sibling(flow_kernel *k, const flow_order *o, int lane, int64_t ts_us,
                           int64_t qty_lots, const print *trade)
{
    flow_order *sibling = links_find(k, o->request.sibling_id);
    if (!sibling || sibling->lanes[lane].done || has_flag(sibling, FLOW_CLOSE_POSITION)) return;
    flow_order_lane *in = &sibling->lanes[lane];
    const int64_t less = min_i64(qty_lots, in->remaining_lots);
    if (less == 0) return;
    in->remaining_lots -= less;
    in->shown_lots = min_i64(in->shown_lots, in->remaining_lots);
    orders_tell(k, sibling, lane, ts_us, FLOW_ORDER_REDUCED, FLOW_NO_REASON, less, trade);
    if (in->remaining_lots == 0 && !parent_is_open(k, sibling, lane))
        links_end_lane(k, sibling, lane, ts_us, FLOW_ORDER_CANCELED, FLOW_BY_SIBLING, trade);
}

static void grow_children(flow_kernel *k, const flow_order *parent, int lane, int64_t ts_us,
                          int64_t qty_lots, const print *trade)
{
    const int64_t now = parent->lanes[lane].filled_lots, before = now - qty_lots;
    for (size_t i = 0; i < k->order_count; i++) {
        flow_order *child = &k->orders[i];
        flow_order_lane *in = &child->lanes[lane];
        if (child->request.parent_id != parent->order_id || in->done ||
            has_flag(child, FLOW_CLOSE_POSITION))
            continue;
        const int64_t own = child->request.qty_lots;
        const int64_t more = min_i64(now, own) - min_i64(before, own);
        if (more == 0) continue;
        in->remaining_lots += more;
        if (child->stage == FLOW_RESTING && in->shown_lots == 0)
            in->shown_lots = min_i64(child->request.display_lots, in->remaining_lots);
        orders_tell(k, child, lane, ts_us, FLOW_ORDER_RELEASED, FLOW_NO_REASON, more, trade);
    }
}

/* An order has filled qty_lots in a lane: its sibling shrinks, its children grow, it may end. */
void links_after_fill(flow_kernel *k, flow_order *o, int lane, int64_t ts_us, int64_t qty_lots,
                      const print *trade)
{
    if (o->request.sibling_id != 0) reduce_sibling(k, o, lane, ts_us, qty_lots, trade);
    grow_children(k, o, lane, ts_us, qty_lots, trade);
    if (o->lanes[lane].remaining_lots == 0 && !parent_is_open(k, o, lane))
        links_end_lane(k, o, lane, ts_us, FLOW_ORDER_FILLED, FLOW_NO_REASON, trade);
}
