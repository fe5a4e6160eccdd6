/*
 * One print against own orders: triggers, then takers, then resting orders.
 *
 * In each lane all own orders share one part of the print.
 */
#include "internal.h"

static bool is_live(const flow_kernel *k, const flow_order *o, const print *trade)
{
    return trade->ts_us > o->active_us && k->core.input > o->live_input && order_is_open(k, o);
}

static budget share_of(const flow_kernel *k, const print *trade)
{
    budget b = {{0}, {0}};
    FOR_LANES(k, l)
    {
        b.left_lots[l] = (int64_t)(((i128)trade->qty_lots * k->config.lanes[l].participation_ppm +
                                    FLOW_PPM - 1) /
                                   FLOW_PPM);
        if (k->config.fill_model == FLOW_FILLS_SPREAD) b.left_lots[l] = INT64_MAX;
    }
    return b;
}

static void fill(flow_kernel *k, flow_order *o, int lane, int64_t price_ticks, int64_t qty_lots,
                 flow_role role, const print *trade)
{
    market *m = market_of(k, o);
    flow_order_lane *in = &o->lanes[lane];
    const i128 notional = money_notional(m, price_ticks, qty_lots);
    const i128 fee = money_fee(k, notional, money_fee_rate(k, role));
    in->remaining_lots -= qty_lots;
    in->filled_lots += qty_lots;
    in->filled_ticklots = i128_pair(i128_of(in->filled_ticklots) + (i128)price_ticks * qty_lots);
    account_fill(k, m, lane, o->request.side, price_ticks, qty_lots, fee);
    if (lane == FLOW_BASE) money_add_volume(k, notional);
    k->fills.items[k->fills.tail++] = (flow_fill){
        .input = k->core.input,
        .ts_us = trade->ts_us,
        .order_id = o->order_id,
        .price_ticks = price_ticks,
        .qty_lots = qty_lots,
        .remaining_lots = in->remaining_lots,
        .fee_atoms = i128_pair(fee),
        .market = o->request.market,
        .side = o->request.side,
        .role = (int8_t)role,
        .lane = (int8_t)lane,
    };
    if (lane == FLOW_BASE) account_point(k, o->request.market, k->core.stream_us);
    links_after_fill(k, o, lane, trade->ts_us, qty_lots, trade);
}

/* Fill up to `offered` lots as far as the lane's account allows; without allowance it ends. */
static int64_t fill_allowed(flow_kernel *k, flow_order *o, int lane, int64_t price_ticks,
                            int64_t offered, flow_role role, const print *trade)
{
    flow_reason reason = FLOW_NO_REASON;
    const int64_t want = min_i64(o->lanes[lane].remaining_lots, offered);
    const int64_t qty = limits_at_fill(k, o, lane, price_ticks, want, role, &reason);
    if (qty > 0)
        fill(k, o, lane, price_ticks, qty, role, trade);
    else
        links_end_lane(k, o, lane, trade->ts_us, FLOW_ORDER_CANCELED, reason, trade);
    return qty;
}

static void starve(flow_kernel *k, const flow_order *o, int lane, flow_reason reason,
                   const print *trade)
{
    if (lane == FLOW_BASE && k->config.trace)
        orders_tell(k, o, lane, trade->ts_us, FLOW_ORDER_STARVED, reason, 0, trade);
}

/* The worse of two prices for an order's side. */
static int64_t worse(int side, int64_t a, int64_t b)
{
    return side > 0 ? max_i64(a, b) : min_i64(a, b);
}

/* What a taker pays in a lane: the touch, no better than at its first print, and the slip. */
static int64_t taker_price(const flow_kernel *k, const flow_order *o, int lane, int64_t touch)
{
    const int side = o->request.side;
    if (k->config.fill_model == FLOW_FILLS_SPREAD) return touch;
    int64_t price = worse(side, touch, o->first_ticks) + side * k->config.lanes[lane].slip_ticks;
    if (is_limit_kind(o) && (price - o->request.price_ticks) * side > 0)
        price = o->request.price_ticks;
    return max_i64(price, 1);
}

static void take_in_lane(flow_kernel *k, flow_order *o, int lane, int64_t touch, budget *share,
                         const print *trade)
{
    flow_order_lane *in = &o->lanes[lane];
    if (in->done || in->remaining_lots == 0) return;
    const bool other_side = k->config.fill_model == FLOW_FILLS_QUEUED &&
                            k->config.lanes[lane].own_side_only && trade->side != o->request.side;
    const int64_t offered = other_side ? 0 : share->left_lots[lane];
    const int64_t price = taker_price(k, o, lane, touch);
    if (o->request.time_in_force == FLOW_FOK) {
        flow_reason reason = FLOW_NO_REASON;
        const int64_t all = in->remaining_lots;
        if (offered < all || limits_at_fill(k, o, lane, price, all, FLOW_TAKER, &reason) < all) {
            links_end_lane(k, o, lane, trade->ts_us, FLOW_ORDER_EXPIRED, FLOW_NOT_ENOUGH, trade);
            return;
        }
    }
    if (offered == 0)
        starve(k, o, lane, other_side ? FLOW_OTHER_SIDE : FLOW_BUDGET_SPENT, trade);
    else
        share->left_lots[lane] -= fill_allowed(k, o, lane, price, offered, FLOW_TAKER, trade);
}

static void take(flow_kernel *k, flow_order *o, budget *share, const print *trade)
{
    const int64_t touch = prices_touch(k, market_of(k, o), o->request.side);
    const uint8_t force = o->request.time_in_force;
    if (is_limit_kind(o) && (touch - o->request.price_ticks) * o->request.side > 0) {
        if (force == FLOW_IOC || force == FLOW_FOK) {
            links_end_all(k, o, trade->ts_us, FLOW_ORDER_EXPIRED,
                          force == FLOW_IOC ? FLOW_NOTHING_LEFT : FLOW_NOT_ENOUGH, trade);
        } else {
            o->live_input = k->core.input;
            orders_come_to_rest(k, o, trade->ts_us, trade);
        }
        return;
    }
    if (o->first_ticks == 0) {
        o->first_ticks = touch;
        o->first_us = k->core.stream_us;
    }
    FOR_LANES(k, l) { take_in_lane(k, o, l, touch, share, trade); }
}

/* Triggered stops, then triggered take-profits, then the others. */
static int taker_class(const flow_order *o)
{
    if (!is_trigger_kind(o)) return 2;
    return is_take_profit(o) ? 1 : 0;
}

static void settle_takers(flow_kernel *k, uint32_t market_index, budget *share, const print *trade)
{
    for (int class = 0; class <= 2; class++) {
        for (size_t i = 0; i < k->order_count; i++) {
            flow_order *o = &k->orders[i];
            if (o->stage == FLOW_TAKING && o->request.market == market_index &&
                taker_class(o) == class && is_live(k, o, trade))
                take(k, o, share, trade);
        }
    }
}

/* Whether a print proves that an order's price was reached whoever stood before it. */
static bool goes_through(const flow_kernel *k, const flow_order *o, const print *trade)
{
    const int64_t price = o->request.price_ticks;
    if (k->config.fill_model == FLOW_FILLS_SPREAD)
        return (prices_touch(k, &k->markets[o->request.market], o->request.side) - price) *
                   o->request.side <=
               0;
    return (trade->price_ticks - price) * o->request.side < 0 ||
           (trade->price_ticks == price && trade->side == o->request.side);
}

static void show_next_part(flow_kernel *k, flow_order *o, int lane, const print *trade)
{
    flow_order_lane *in = &o->lanes[lane];
    in->shown_lots = min_i64(o->request.display_lots, in->remaining_lots);
    in->queue_lots = orders_queue_ahead(k, o, lane, true);
    orders_tell(k, o, lane, trade->ts_us, FLOW_ORDER_SLICED, FLOW_NO_REASON, 0, trade);
}

static void fill_through(flow_kernel *k, flow_order *o, int lane, budget *share, const print *trade)
{
    flow_order_lane *in = &o->lanes[lane];
    if (in->queue_lots != INT64_MAX || k->config.lanes[lane].queue_ppm <= FLOW_PPM)
        in->queue_lots = 0;
    if (in->remaining_lots == 0) return;
    if (share->left_lots[lane] == 0) {
        starve(k, o, lane, FLOW_BUDGET_SPENT, trade);
        return;
    }
    share->left_lots[lane] -=
        fill_allowed(k, o, lane, o->request.price_ticks, share->left_lots[lane], FLOW_MAKER, trade);
    in->shown_lots = min_i64(o->request.display_lots, in->remaining_lots);
}

static void fill_in_queue(flow_kernel *k, flow_order *o, int lane, budget *share,
                          const print *trade)
{
    flow_order_lane *in = &o->lanes[lane];
    const bool never = in->queue_lots == INT64_MAX;
    const int64_t behind = never ? 0 : trade->qty_lots - in->queue_lots;
    if (!never) in->queue_lots = max_i64(in->queue_lots - trade->qty_lots, 0);
    if (in->remaining_lots == 0) return;
    const int64_t left = behind - share->at_price_lots[lane];
    if (behind <= 0) {
        if (lane == FLOW_BASE && k->config.trace)
            orders_tell(k, o, lane, trade->ts_us, FLOW_ORDER_QUEUED, FLOW_NO_REASON, 0, trade);
        return;
    }
    int64_t offered = min_i64(left, share->left_lots[lane]);
    if (o->request.display_lots > 0) offered = min_i64(offered, in->shown_lots);
    if (offered <= 0) {
        starve(k, o, lane, FLOW_BUDGET_SPENT, trade);
        return;
    }
    const int64_t got =
        fill_allowed(k, o, lane, o->request.price_ticks, offered, FLOW_MAKER, trade);
    share->left_lots[lane] -= got;
    share->at_price_lots[lane] += got;
    if (o->request.display_lots == 0) return;
    in->shown_lots -= got;
    if (in->shown_lots == 0 && in->remaining_lots > 0 && !in->done)
        show_next_part(k, o, lane, trade);
}

/* Better price first, then the older at it. */
static bool goes_before(const flow_order *a, const flow_order *b)
{
    const int64_t better = (a->request.price_ticks - b->request.price_ticks) * a->request.side;
    return better != 0 ? better > 0 : a->rank < b->rank;
}

/* Collect the resting orders of a side that a print reaches, in the order they are due. */
static size_t pick(flow_kernel *k, uint32_t market_index, int side, const print *trade)
{
    size_t count = 0;
    for (size_t i = 0; i < k->order_count; i++) {
        flow_order *o = &k->orders[i];
        if (o->stage != FLOW_RESTING || o->request.market != market_index ||
            o->request.side != side || !is_live(k, o, trade))
            continue;
        const bool at_price = trade->price_ticks == o->request.price_ticks && trade->side != side &&
                              k->config.fill_model == FLOW_FILLS_QUEUED;
        if (!at_price && !goes_through(k, o, trade)) continue;
        size_t place = count++;
        for (; place > 0 && goes_before(o, k->picked[place - 1]); place--)
            k->picked[place] = k->picked[place - 1];
        k->picked[place] = o;
    }
    return count;
}

static void settle_resting(flow_kernel *k, uint32_t market_index, int side, budget *share,
                           const print *trade)
{
    const size_t count = pick(k, market_index, side, trade);
    for (size_t i = 0; i < count; i++) {
        flow_order *o = k->picked[i];
        const bool through = goes_through(k, o, trade);
        FOR_LANES(k, l)
        {
            if (o->lanes[l].done) continue;
            if (through)
                fill_through(k, o, l, share, trade);
            else
                fill_in_queue(k, o, l, share, trade);
        }
    }
}

bool matching_concerns(const flow_kernel *k, const market *m, const print *trade)
{
    return k->core.stream_us >= m->match_next_us || trade->price_ticks < m->match_low ||
           trade->price_ticks > m->match_high;
}

/* Whether a print may reach a resting order of a side at all. */
static bool may_reach(const market *m, int side, const print *trade)
{
    return side > 0 ? trade->price_ticks <= m->best_buy_ticks
                    : trade->price_ticks >= m->best_sell_ticks;
}

/* Settle one print, which must already be the last price. Returns whether the base lane filled. */
bool matching_settle(flow_kernel *k, uint32_t market_index, const print *trade)
{
    const market *m = &k->markets[market_index];
    if (!matching_concerns(k, m, trade)) return false;
    budget share = share_of(k, trade);
    const size_t fills_before = k->fills.tail, events_before = k->order_events.tail;
    const bool waiting = m->waiting_count > 0, taking = m->taking_count > 0;
    if (waiting) triggers_on_print(k, market_index, trade);
    if (taking) settle_takers(k, market_index, &share, trade);
    for (int turn = 0, side = -trade->side; turn < 2; turn++, side = -side)
        if (may_reach(m, side, trade)) settle_resting(k, market_index, side, &share, trade);
    if (k->held_count > 0) orders_release(k);
    /* Whatever changes an order is told, but for what it remembers while it waits or takes. */
    if (waiting || taking || k->fills.tail > fills_before || k->order_events.tail > events_before) {
        orders_remove_done(k);
        orders_plan(k);
    }
    for (size_t i = fills_before; i < k->fills.tail; i++)
        if (k->fills.items[i].lane == FLOW_BASE) return true;
    return false;
}
