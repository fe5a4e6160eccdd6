/* The life of orders between prints: arrival, rest, amendment, end of their time. */
#include "internal.h"

/* What can become due; at the same moment in this order. */
typedef enum due { ARRIVAL, CANCEL, EXPIRY, AMENDMENT, MOMENT_OVER } due;

typedef struct appointment {
    int64_t ts_us;
    due what;
    flow_order *order;
} appointment;

static int64_t due_moment(const flow_kernel *k, const flow_order *o, due what)
{
    switch (what) {
    case ARRIVAL:
        return o->stage == FLOW_PENDING ? o->active_us : NEVER_US;
    case CANCEL:
        return o->cancel_us;
    case EXPIRY:
        return o->request.time_in_force == FLOW_GTD ? o->request.expire_us : NEVER_US;
    case AMENDMENT:
        return o->amend_us;
    case MOMENT_OVER:
        if (o->request.time_in_force != FLOW_IOC || o->first_ticks == 0) return NEVER_US;
        return o->first_us + k->config.ioc_window_us;
    }
    return NEVER_US;
}

/* The earliest thing of an order. */
static appointment next_of(const flow_kernel *k, flow_order *o)
{
    appointment next = {NEVER_US, ARRIVAL, o};
    for (due what = ARRIVAL; what <= MOMENT_OVER; what++) {
        const int64_t ts_us = due_moment(k, o, what);
        if (ts_us < next.ts_us) next = (appointment){ts_us, what, o};
    }
    return next;
}

static bool is_marketable(const flow_kernel *k, const flow_order *o)
{
    const int64_t touch = prices_touch(k, &k->markets[o->request.market], o->request.side);
    return o->request.side > 0 ? touch <= o->request.price_ticks : touch >= o->request.price_ticks;
}

/* What is ahead of an order in a lane; never less than what is ahead of an own one before it.
 * Untouched: as if nothing had traded at its price. */
int64_t orders_queue_ahead(flow_kernel *k, const flow_order *o, int lane, bool untouched)
{
    if (k->config.fill_model == FLOW_FILLS_SPREAD) return 0;
    const market *m = &k->markets[o->request.market];
    const int side = o->request.side;
    const int64_t own_touch = prices_known(m) ? prices_touch(k, m, -side) : 0;
    int64_t queue = levels_queue(&m->levels, side, o->request.price_ticks, own_touch,
                                 k->config.lanes[lane].queue_ppm, untouched);
    for (size_t i = 0; i < k->order_count; i++) {
        const flow_order *other = &k->orders[i];
        if (other != o && other->stage == FLOW_RESTING && !other->lanes[lane].done &&
            other->request.market == o->request.market && other->request.side == side &&
            other->request.price_ticks == o->request.price_ticks)
            queue = max_i64(queue, other->lanes[lane].queue_lots);
    }
    return queue;
}

void orders_come_to_rest(flow_kernel *k, flow_order *o, int64_t ts_us, const print *trade)
{
    o->stage = FLOW_RESTING;
    o->rank = k->core.next_rank++;
    FOR_LANES(k, l)
    {
        flow_order_lane *in = &o->lanes[l];
        if (in->done) continue;
        in->queue_lots = orders_queue_ahead(k, o, l, false);
        in->shown_lots = min_i64(o->request.display_lots, in->remaining_lots);
        orders_tell(k, o, l, ts_us, FLOW_ORDER_RESTING, FLOW_NO_REASON, 0, trade);
    }
}

/* Become a market or limit order at the venue: take, rest, or end. */
void orders_go_live(flow_kernel *k, flow_order *o, int64_t ts_us)
{
    const bool limit = is_limit_kind(o), post_only = has_flag(o, FLOW_POST_ONLY);
    const bool known = prices_known(market_of(k, o));
    const uint8_t force = o->request.time_in_force;
    if (limit && known && !is_marketable(k, o)) {
        if (force == FLOW_IOC || force == FLOW_FOK)
            links_end_all(k, o, ts_us, FLOW_ORDER_EXPIRED,
                          force == FLOW_IOC ? FLOW_NOTHING_LEFT : FLOW_NOT_ENOUGH, NULL);
        else
            orders_come_to_rest(k, o, ts_us, NULL);
    } else if (post_only && known) {
        links_end_all(k, o, ts_us, FLOW_ORDER_REJECTED, FLOW_WOULD_TAKE, NULL);
    } else if (post_only) {
        orders_come_to_rest(k, o, ts_us, NULL);
    } else {
        o->stage = FLOW_TAKING;
        o->first_ticks = o->first_us = 0;
        FOR_LANES(k, l) { o->lanes[l].queue_lots = o->lanes[l].shown_lots = 0; }
        orders_tell(k, o, FLOW_ALL_LANES, ts_us, FLOW_ORDER_TAKING, FLOW_NO_REASON, 0, NULL);
    }
}

/* Ask for all of the position there is; lanes without one end. */
void orders_size_to_position(flow_kernel *k, flow_order *o, int64_t ts_us)
{
    if (!has_flag(o, FLOW_CLOSE_POSITION)) return;
    FOR_LANES(k, l)
    {
        flow_order_lane *in = &o->lanes[l];
        const int64_t lots = market_of(k, o)->positions[l].lots;
        if (in->done) continue;
        in->remaining_lots = lots * o->request.side < 0 ? (lots < 0 ? -lots : lots) : 0;
        if (in->remaining_lots == 0)
            links_end_lane(k, o, l, ts_us, FLOW_ORDER_CANCELED, FLOW_NOTHING_TO_REDUCE, NULL);
    }
}

/* An order reaches the venue, or its parent's first fill sets it free. */
static void enter(flow_kernel *k, flow_order *o, int64_t ts_us)
{
    const flow_reason reason = limits_at_arrival(k, o);
    if (reason != FLOW_NO_REASON) {
        links_end_all(k, o, ts_us, FLOW_ORDER_REJECTED, reason, NULL);
    } else if (is_trigger_kind(o)) {
        if (o->request.parent_id == 0 && triggers_would_fire(k, market_of(k, o), o)) {
            links_end_all(k, o, ts_us, FLOW_ORDER_REJECTED, FLOW_WOULD_TRIGGER, NULL);
            return;
        }
        o->stage = FLOW_WAITING;
        orders_tell(k, o, FLOW_ALL_LANES, ts_us, FLOW_ORDER_WAITING, FLOW_NO_REASON,
                    triggers_start(market_of(k, o), o), NULL);
    } else {
        orders_size_to_position(k, o, ts_us);
        if (order_is_open(k, o)) orders_go_live(k, o, ts_us);
    }
}

static void arrive(flow_kernel *k, flow_order *o, int64_t ts_us)
{
    if (!links_is_free(k, o))
        o->stage = FLOW_HELD;
    else
        enter(k, o, ts_us);
}

/* Set free the held orders whose parents have filled or ended. */
void orders_release(flow_kernel *k)
{
    for (size_t i = 0; i < k->order_count; i++) {
        flow_order *o = &k->orders[i];
        if (o->stage != FLOW_HELD || !order_is_open(k, o) || !links_is_free(k, o)) continue;
        o->live_input = k->core.input;
        enter(k, o, k->core.stream_us);
    }
}

static void amend(flow_kernel *k, flow_order *o)
{
    const int64_t ts_us = o->amend_us;
    flow_request *r = &o->request;
    const int64_t more = o->amend_qty_lots > 0 ? o->amend_qty_lots - r->qty_lots : 0;
    const bool moves = o->amend_price_ticks > 0 && o->amend_price_ticks != r->price_ticks;
    r->qty_lots += more;
    if (o->amend_price_ticks > 0) r->price_ticks = o->amend_price_ticks;
    if (o->amend_trigger_ticks > 0) r->trigger_ticks = o->amend_trigger_ticks;
    o->amend_us = NEVER_US;
    o->amend_qty_lots = o->amend_price_ticks = o->amend_trigger_ticks = 0;
    FOR_LANES(k, l)
    {
        flow_order_lane *in = &o->lanes[l];
        in->remaining_lots = in->done ? in->remaining_lots : max_i64(in->remaining_lots + more, 0);
        in->shown_lots = min_i64(in->shown_lots, in->remaining_lots);
    }
    orders_tell(k, o, FLOW_ALL_LANES, ts_us, FLOW_ORDER_AMENDED, FLOW_NO_REASON, r->price_ticks,
                NULL);
    FOR_LANES(k, l)
    {
        if (more < 0 && o->lanes[l].remaining_lots == 0)
            links_end_lane(k, o, l, ts_us, FLOW_ORDER_CANCELED, FLOW_BY_AMENDMENT, NULL);
    }
    if (o->stage == FLOW_RESTING && (moves || more > 0) && order_is_open(k, o))
        orders_go_live(k, o, ts_us);
}

static void settle(flow_kernel *k, const appointment *a)
{
    flow_order *o = a->order;
    switch (a->what) {
    case ARRIVAL:
        arrive(k, o, a->ts_us);
        break;
    case CANCEL:
        links_end_all(k, o, a->ts_us, FLOW_ORDER_CANCELED, FLOW_BY_COMMAND, NULL);
        break;
    case EXPIRY:
        links_end_all(k, o, a->ts_us, FLOW_ORDER_EXPIRED, FLOW_TIME_IS_UP, NULL);
        break;
    case AMENDMENT:
        amend(k, o);
        break;
    case MOMENT_OVER:
        links_end_all(k, o, a->ts_us, FLOW_ORDER_EXPIRED, FLOW_NOTHING_LEFT, NULL);
        break;
    }
}

/* Do what is due before stream time moves on to now_us. */
void orders_settle_due(flow_kernel *k, int64_t now_us)
{
    for (;;) {
        appointment first = {NEVER_US, ARRIVAL, NULL};
        for (size_t i = 0; i < k->order_count; i++) {
            if (!order_is_open(k, &k->orders[i])) continue;
            const appointment next = next_of(k, &k->orders[i]);
            if (next.ts_us < first.ts_us ||
                (first.order && next.ts_us == first.ts_us && next.what < first.what))
                first = next;
        }
        if (!first.order || first.ts_us >= now_us) break;
        settle(k, &first);
    }
    orders_release(k);
    orders_remove_done(k);
    orders_plan(k);
}

void orders_remove_done(flow_kernel *k)
{
    size_t kept = 0;
    for (size_t i = 0; i < k->order_count; i++) {
        if (!order_is_open(k, &k->orders[i])) continue;
        if (kept != i) k->orders[kept] = k->orders[i];
        kept++;
    }
    k->order_count = kept;
}

/* Work out which prints can concern an order at all, and when something is due. */
void orders_plan(flow_kernel *k)
{
    k->due_next_us = NEVER_US;
    k->held_count = 0;
    for (size_t i = 0; i < k->market_count; i++) {
        market *m = &k->markets[i];
        m->waiting_count = m->taking_count = 0;
        m->best_buy_ticks = 0;
        m->best_sell_ticks = INT64_MAX;
        m->match_next_us = NEVER_US;
        m->match_low = 0;
        m->match_high = INT64_MAX;
    }
    for (size_t i = 0; i < k->order_count; i++) {
        flow_order *o = &k->orders[i];
        market *m = market_of(k, o);
        k->due_next_us = min_i64(k->due_next_us, next_of(k, o).ts_us);
        if (o->stage == FLOW_HELD) {
            k->held_count++;
        } else if (o->stage == FLOW_TAKING) {
            m->taking_count++;
            m->match_next_us = ALWAYS_US;
        } else if (o->stage == FLOW_WAITING) {
            m->waiting_count++;
            triggers_plan(m, o);
        } else if (o->stage == FLOW_RESTING && o->request.side > 0) {
            m->best_buy_ticks = max_i64(m->best_buy_ticks, o->request.price_ticks);
        } else if (o->stage == FLOW_RESTING) {
            m->best_sell_ticks = min_i64(m->best_sell_ticks, o->request.price_ticks);
        }
    }
    for (size_t i = 0; i < k->market_count; i++) {
        market *m = &k->markets[i];
        m->match_low = max_i64(m->match_low, m->best_buy_ticks + 1);
        m->match_high = min_i64(m->match_high, m->best_sell_ticks - 1);
    }
}
