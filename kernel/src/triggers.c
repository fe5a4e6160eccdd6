/* Orders that wait for a price. */
#include "internal.h"

static int64_t reference_price(const market *m, const flow_order *o)
{
    return has_flag(o, FLOW_ON_MARK) ? m->mark_ticks : m->quote.last_ticks;
}

/* Whether a price at or beyond the trigger lies above it. */
static bool fires_upward(const flow_order *o)
{
    return is_take_profit(o) ? o->request.side < 0 : o->request.side > 0;
}

static bool reaches(const flow_order *o, int64_t price_ticks)
{
    const int64_t trigger = o->request.trigger_ticks;
    return fires_upward(o) ? price_ticks >= trigger : price_ticks <= trigger;
}

/* Whether the present price would fire an order that arrives. */
bool triggers_would_fire(const flow_kernel *k, const market *m, const flow_order *o)
{
    (void)k;
    if (o->request.kind == FLOW_TRAILING_STOP) return false;
    const int64_t price = reference_price(m, o);
    return price > 0 && reaches(o, price);
}

/* The price at which a trailing stop that has started fires: below the best for sells. */
static int64_t trailing_level(const flow_order *o)
{
    int64_t away = o->request.trail;
    if (has_flag(o, FLOW_TRAIL_PPM))
        away = (int64_t)(((i128)o->best_ticks * away + FLOW_PPM - 1) / FLOW_PPM);
    return o->best_ticks - away * (o->request.side < 0 ? 1 : -1);
}

static void start_trailing(flow_order *o, int64_t price_ticks)
{
    const int64_t start = o->request.trigger_ticks;
    if (start == 0 || (o->request.side < 0 ? price_ticks >= start : price_ticks <= start))
        o->best_ticks = price_ticks;
}

/* An order begins to wait: a trailing stop starts if the present price lets it. Returns the price
 * at which the order fires, 0 if that is not known yet. */
int64_t triggers_start(const market *m, flow_order *o)
{
    if (o->request.kind != FLOW_TRAILING_STOP) return o->request.trigger_ticks;
    const int64_t price = reference_price(m, o);
    if (price > 0) start_trailing(o, price);
    return o->best_ticks > 0 ? trailing_level(o) : 0;
}

/* Show a price to a trailing stop: test it first, then remember it. Returns whether it fires. */
static bool trail(flow_order *o, int64_t price_ticks, int64_t *level_out)
{
    const bool sells = o->request.side < 0;
    if (o->best_ticks == 0) {
        start_trailing(o, price_ticks);
        return false;
    }
    *level_out = trailing_level(o);
    if (sells ? price_ticks <= *level_out : price_ticks >= *level_out) return true;
    if (sells ? price_ticks > o->best_ticks : price_ticks < o->best_ticks)
        o->best_ticks = price_ticks;
    return false;
}

static void fire(flow_kernel *k, flow_order *o, int64_t level_ticks, const print *trade)
{
    const int64_t ts_us = trade ? trade->ts_us : k->core.stream_us;
    o->live_input = k->core.input;
    orders_tell(k, o, FLOW_ALL_LANES, ts_us, FLOW_ORDER_TRIGGERED, FLOW_NO_REASON, level_ticks,
                trade);
    links_end_sibling(k, o, ts_us, trade);
    orders_size_to_position(k, o, ts_us);
    if (order_is_open(k, o)) orders_go_live(k, o, ts_us);
}

static void show(flow_kernel *k, flow_order *o, int64_t price_ticks, const print *trade)
{
    int64_t level = o->request.trigger_ticks;
    const bool fires = o->request.kind == FLOW_TRAILING_STOP ? trail(o, price_ticks, &level)
                                                             : reaches(o, price_ticks);
    if (fires) fire(k, o, level, trade);
}

/* Stops first, then take-profits; by id. */
static void show_all(flow_kernel *k, uint32_t market_index, int64_t price_ticks, bool on_mark,
                     const print *trade)
{
    for (int take_profits = 0; take_profits <= 1; take_profits++) {
        for (size_t i = 0; i < k->order_count; i++) {
            flow_order *o = &k->orders[i];
            if (o->stage != FLOW_WAITING || o->request.market != market_index ||
                is_take_profit(o) != (take_profits == 1) || has_flag(o, FLOW_ON_MARK) != on_mark ||
                !order_is_open(k, o))
                continue;
            if (trade && (trade->ts_us <= o->active_us || k->core.input <= o->live_input)) continue;
            show(k, o, price_ticks, trade);
        }
    }
}

void triggers_on_print(flow_kernel *k, uint32_t market_index, const print *trade)
{
    show_all(k, market_index, trade->price_ticks, false, trade);
}

void triggers_on_mark(flow_kernel *k, uint32_t market_index)
{
    show_all(k, market_index, k->markets[market_index].mark_ticks, true, NULL);
}

/* Narrow a market's free range of prices to those that leave a waiting order alone. */
void triggers_plan(market *m, const flow_order *o)
{
    const bool trailing = o->request.kind == FLOW_TRAILING_STOP, sells = o->request.side < 0;
    if (has_flag(o, FLOW_ON_MARK)) return;
    int64_t low = 0, high = INT64_MAX;
    if (trailing && o->best_ticks > 0) {
        const int64_t level = trailing_level(o);
        low = sells ? level + 1 : o->best_ticks;
        high = sells ? o->best_ticks : level - 1;
    } else if (trailing && o->request.trigger_ticks == 0) {
        high = -1; /* every price starts it */
    } else if (trailing ? sells : fires_upward(o)) {
        high = o->request.trigger_ticks - 1;
    } else {
        low = o->request.trigger_ticks + 1;
    }
    m->match_low = max_i64(m->match_low, low);
    m->match_high = min_i64(m->match_high, high);
}
