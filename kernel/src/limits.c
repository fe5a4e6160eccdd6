/* What an account lets an order do. */
#include "internal.h"

static int64_t size_of(int64_t lots) { return lots < 0 ? -lots : lots; }

static bool reduces_only(const flow_order *o)
{
    return has_flag(o, FLOW_REDUCE_ONLY | FLOW_CLOSE_POSITION);
}

/* Lots of the lane's position that an order could close. */
static int64_t closable(const flow_kernel *k, const flow_order *o, int lane)
{
    const int64_t lots = k->markets[o->request.market].positions[lane].lots;
    return lots * o->request.side < 0 ? size_of(lots) : 0;
}

static int64_t price_of_need(const flow_kernel *k, const flow_order *o)
{
    if (o->request.price_ticks > 0) return o->request.price_ticks;
    if (o->request.trigger_ticks > 0 && o->request.kind != FLOW_TRAILING_STOP)
        return o->request.trigger_ticks;
    return prices_touch(k, &k->markets[o->request.market], o->request.side);
}

static i128 notional_and_fee(const flow_kernel *k, const market *m, int64_t price, int64_t lots,
                             flow_role role)
{
    const i128 notional = money_notional(m, price, lots);
    const int64_t rate = max_i64(money_fee_rate(k, role), 0);
    return notional + money_fee(k, notional, rate);
}

/* What an order will want of a spot account: cash for buys, lots for sells. */
static i128 need_of(const flow_kernel *k, const flow_order *o, int lane)
{
    const int64_t lots = o->lanes[lane].remaining_lots;
    if (o->request.side < 0) return lots;
    return notional_and_fee(k, &k->markets[o->request.market], price_of_need(k, o), lots,
                            FLOW_TAKER);
}

/* Whose needs are added up: orders at the venue of one side, and for sells of one instrument. */
typedef struct needs {
    int lane;
    int side;
    uint32_t market;
    const flow_order *arriving; /* counts before it stands there; or null */
} needs;

static bool counts(const needs *of, const flow_order *o)
{
    if (o == of->arriving) return true;
    return o->stage >= FLOW_WAITING && o->request.side == of->side && o->request.parent_id == 0 &&
           !o->lanes[of->lane].done && (of->side > 0 || o->request.market == of->market);
}

static i128 sum_of(const flow_kernel *k, const needs *of)
{
    i128 sum = 0;
    for (size_t i = 0; i < k->order_count; i++) {
        const flow_order *o = &k->orders[i];
        if (!counts(of, o)) continue;
        const i128 need = need_of(k, o, of->lane);
        const flow_order *sibling = links_find(k, o->request.sibling_id);
        const bool paired = sibling && counts(of, sibling);
        const i128 other = paired ? need_of(k, sibling, of->lane) : 0;
        /* A pair counts once, where its larger part stands. */
        if (paired && (other > need || (other == need && sibling < o))) continue;
        sum += need;
    }
    return sum;
}

/* Cash that the open buys of a spot account want in a lane. */
i128 limits_cash_wanted(const flow_kernel *k, int lane)
{
    return sum_of(k, &(needs){.lane = lane, .side = 1});
}

static bool spot_can_carry(const flow_kernel *k, const flow_order *arriving)
{
    const flow_request *r = &arriving->request;
    const needs of = {FLOW_BASE, r->side, r->market, arriving};
    const i128 sum = sum_of(k, &of);
    if (r->side > 0) return sum <= k->core.accounts[FLOW_BASE].cash_atoms;
    return sum <= k->markets[r->market].positions[FLOW_BASE].lots;
}

static bool margin_can_carry(flow_kernel *k, const flow_order *o)
{
    const market *m = &k->markets[o->request.market];
    const int64_t enlarging = o->lanes[FLOW_BASE].remaining_lots - closable(k, o, FLOW_BASE);
    if (enlarging <= 0 || reduces_only(o)) return true;
    const int64_t price = price_of_need(k, o);
    const i128 notional = money_notional(m, price, enlarging);
    const i128 fee = notional_and_fee(k, m, price, enlarging, FLOW_TAKER) - notional;
    return money_share_up(notional, 1, m->config.leverage) + fee <= account_free(k, FLOW_BASE);
}

/* Why the base lane's account refuses an order that arrives; FLOW_NO_REASON: it does not. */
flow_reason limits_at_arrival(flow_kernel *k, const flow_order *o)
{
    if (o->request.parent_id != 0) return FLOW_NO_REASON;
    if (reduces_only(o) && closable(k, o, FLOW_BASE) == 0) return FLOW_NOTHING_TO_REDUCE;
    const bool can_carry = k->config.account_kind == FLOW_ACCOUNT_FREE   ? true
                           : k->config.account_kind == FLOW_ACCOUNT_SPOT ? spot_can_carry(k, o)
                                                                         : margin_can_carry(k, o);
    return can_carry ? FLOW_NO_REASON : FLOW_INSUFFICIENT_BALANCE;
}

/* The most lots, up to qty_lots, that a lane's cash pays for. */
static int64_t affordable(const flow_kernel *k, const market *m, int lane, int64_t price,
                          int64_t qty_lots, flow_role role)
{
    const i128 cash = k->core.accounts[lane].cash_atoms;
    int64_t low = 0, high = qty_lots;
    while (low < high) {
        const int64_t middle = low + (high - low + 1) / 2;
        if (notional_and_fee(k, m, price, middle, role) <= cash)
            low = middle;
        else
            high = middle - 1;
    }
    return low;
}

/* How much of qty_lots a lane's account lets an order fill, and why not all. */
int64_t limits_at_fill(flow_kernel *k, const flow_order *o, int lane, int64_t price_ticks,
                       int64_t qty_lots, flow_role role, flow_reason *reason_out)
{
    const market *m = &k->markets[o->request.market];
    if (reduces_only(o)) {
        *reason_out = FLOW_NOTHING_TO_REDUCE;
        qty_lots = min_i64(qty_lots, closable(k, o, lane));
        if (qty_lots == 0) return 0;
    }
    if (k->config.account_kind == FLOW_ACCOUNT_SPOT) {
        *reason_out = FLOW_INSUFFICIENT_BALANCE;
        qty_lots = o->request.side > 0 ? affordable(k, m, lane, price_ticks, qty_lots, role)
                                       : min_i64(qty_lots, max_i64(m->positions[lane].lots, 0));
    }
    return qty_lots;
}
