/*
 * Own orders against prints alone.
 *
 * A print tells one side of the touch: a buyer lifted the ask at its price, a seller hit the bid.
 * The other side is taken to be one tick away. Orders that take pay that touch; orders that rest
 * fill only when a print goes through their price, at their price. All own orders together never
 * get more than the print's quantity: takers first, then resting ones by price, then by age.
 */
#include "internal.h"

static int64_t touch(const print *trade, int8_t order_side)
{
    if (trade->side == order_side) return trade->price_ticks;
    return order_side > 0 ? trade->price_ticks + 1 : max_i64(trade->price_ticks - 1, 1);
}

static bool marketable(const flow_order *order, const print *trade)
{
    int64_t price = touch(trade, order->side);
    if (order->kind == FLOW_MARKET) return true;
    return order->side > 0 ? order->price_ticks >= price : order->price_ticks <= price;
}

static bool traded_through(const flow_order *order, const print *trade)
{
    return order->side > 0 ? trade->price_ticks < order->price_ticks
                           : trade->price_ticks > order->price_ticks;
}

static void tell(flow_kernel *kernel, const flow_order *order, int64_t ts_us,
                 flow_order_change change)
{
    kernel->order_events.items[kernel->order_events.tail++] = (flow_order_event){
        .input = kernel->core.input,
        .ts_us = ts_us,
        .order_id = order->order_id,
        .remaining_lots = order->remaining_lots,
        .change = change,
    };
}

static void fill(flow_kernel *kernel, flow_order *order, int64_t ts_us, int64_t price_ticks,
                 flow_role role, int64_t *budget_lots)
{
    int64_t qty = min_i64(order->remaining_lots, *budget_lots);
    i128 fee = account_fee(kernel, account_notional(kernel, price_ticks, qty), role);
    order->remaining_lots -= qty;
    *budget_lots -= qty;
    account_fill(kernel, order->side, price_ticks, qty, fee);
    kernel->fills.items[kernel->fills.tail++] = (flow_fill){
        .input = kernel->core.input,
        .ts_us = ts_us,
        .order_id = order->order_id,
        .price_ticks = price_ticks,
        .qty_lots = qty,
        .remaining_lots = order->remaining_lots,
        .fee_atoms = i128_pair(fee),
        .side = order->side,
        .role = (int8_t)role,
    };
    account_point(kernel, kernel->core.stream_us);
    if (order->remaining_lots == 0) tell(kernel, order, ts_us, FLOW_ORDER_FILLED);
}

/* The resting order that is due next: best price of its side first, then the older. */
static flow_order *best_resting(flow_kernel *kernel, const print *trade)
{
    flow_order *best = NULL;
    for (size_t i = 0; i < kernel->order_count; i++) {
        flow_order *order = &kernel->orders[i];
        if (order->stage != FLOW_RESTING || order->remaining_lots == 0 ||
            trade->ts_us <= order->active_us || !traded_through(order, trade))
            continue;
        if (!best || (order->side == best->side &&
                      (order->price_ticks - best->price_ticks) * order->side > 0))
            best = order;
    }
    return best;
}

static void remove_done(flow_kernel *kernel)
{
    size_t kept = 0;
    for (size_t i = 0; i < kernel->order_count; i++)
        if (kernel->orders[i].remaining_lots > 0) kernel->orders[kept++] = kernel->orders[i];
    kernel->order_count = kept;
}

/* Take out the orders whose cancel has reached the venue before the present stream time. */
void orders_expire(flow_kernel *kernel)
{
    for (size_t i = 0; i < kernel->order_count; i++) {
        flow_order *order = &kernel->orders[i];
        if (kernel->core.stream_us <= order->cancel_us) continue;
        tell(kernel, order, order->cancel_us, FLOW_ORDER_CANCELED);
        order->remaining_lots = 0;
    }
    remove_done(kernel);
    orders_plan(kernel);
}

/* Settle one print; the mark must already be its price. Returns whether anything filled. */
bool orders_match(flow_kernel *kernel, const print *trade)
{
    if (kernel->core.stream_us < kernel->match_next_us && trade->price_ticks >= kernel->match_low &&
        trade->price_ticks <= kernel->match_high)
        return false;
    int64_t budget = trade->qty_lots;
    size_t fills_before = kernel->fills.tail;
    for (size_t i = 0; i < kernel->order_count; i++) {
        flow_order *order = &kernel->orders[i];
        if (order->stage == FLOW_RESTING || trade->ts_us <= order->active_us) continue;
        if (marketable(order, trade)) {
            order->stage = FLOW_TAKING;
            if (budget > 0)
                fill(kernel, order, trade->ts_us, touch(trade, order->side), FLOW_TAKER, &budget);
        } else {
            order->stage = FLOW_RESTING;
            tell(kernel, order, trade->ts_us, FLOW_ORDER_RESTING);
        }
    }
    flow_order *order;
    while (budget > 0 && (order = best_resting(kernel, trade)) != NULL)
        fill(kernel, order, trade->ts_us, order->price_ticks, FLOW_MAKER, &budget);
    remove_done(kernel);
    orders_plan(kernel);
    return kernel->fills.tail > fills_before;
}

/* Work out which prints can concern an order at all. */
void orders_plan(flow_kernel *kernel)
{
    int64_t next = NEVER_US, cancel = NEVER_US, low = 0, high = INT64_MAX;
    for (size_t i = 0; i < kernel->order_count; i++) {
        const flow_order *order = &kernel->orders[i];
        cancel = min_i64(cancel, order->cancel_us);
        if (order->stage == FLOW_TAKING)
            next = ALWAYS_US;
        else if (order->stage == FLOW_PENDING)
            next = min_i64(next, order->active_us + 1);
        else if (order->side > 0)
            low = max_i64(low, order->price_ticks);
        else
            high = min_i64(high, order->price_ticks);
    }
    kernel->match_next_us = next;
    kernel->match_low = low;
    kernel->match_high = high;
    kernel->cancel_next_us = cancel;
}
