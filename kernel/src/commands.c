/* What strategies and people ask for: place, cancel, amend. Refused whole or done whole. */
#include "internal.h"
#include "latency.h"

static flow_status check_kind(const flow_request *r)
{
    const bool trigger = r->kind >= FLOW_STOP, trailing = r->kind == FLOW_TRAILING_STOP;
    const bool limit =
        r->kind == FLOW_LIMIT || r->kind == FLOW_STOP_LIMIT || r->kind == FLOW_TAKE_PROFIT_LIMIT;
    const bool waits = r->time_in_force == FLOW_GTC || r->time_in_force == FLOW_GTD;
    const bool closes = (r->flags & FLOW_CLOSE_POSITION) != 0;
    RETURN_IF(r->kind > FLOW_TRAILING_STOP || r->time_in_force > FLOW_GTD || r->flags > 31,
              FLOW_BAD_ORDER);
    RETURN_IF((r->flags & FLOW_POST_ONLY) && !(limit && waits), FLOW_BAD_ORDER);
    RETURN_IF((r->flags & FLOW_ON_MARK) && !trigger, FLOW_BAD_ORDER);
    RETURN_IF((r->flags & FLOW_TRAIL_PPM) && (!trailing || r->trail >= FLOW_PPM), FLOW_BAD_ORDER);
    RETURN_IF(trailing ? r->trail < 1 || r->trail > FLOW_PRICE_TICKS_MAX : r->trail != 0,
              FLOW_BAD_ORDER);
    RETURN_IF(closes && r->kind != FLOW_MARKET && r->kind != FLOW_STOP &&
                  r->kind != FLOW_TAKE_PROFIT,
              FLOW_BAD_ORDER);
    RETURN_IF(r->display_lots != 0 &&
                  (!limit || !waits || r->display_lots < 1 || r->display_lots >= r->qty_lots),
              FLOW_BAD_ORDER);
    RETURN_IF(r->time_in_force != FLOW_GTD && r->expire_us != 0, FLOW_BAD_ORDER);
    RETURN_IF(closes ? r->qty_lots != 0 : r->qty_lots < 1 || r->qty_lots > FLOW_QTY_LOTS_MAX,
              FLOW_BAD_QTY);
    RETURN_IF(limit ? !price_is_valid(r->price_ticks) : r->price_ticks != 0, FLOW_BAD_PRICE);
    const bool trigger_is_free = trailing && r->trigger_ticks == 0;
    RETURN_IF(trigger ? !trigger_is_free && !price_is_valid(r->trigger_ticks)
                      : r->trigger_ticks != 0,
              FLOW_BAD_PRICE);
    return FLOW_OK;
}

static bool breaks_price_filter(const flow_venue_rules *rules, int64_t price)
{
    return price != 0 && (price % rules->price_step_ticks != 0 ||
                          (rules->price_min_ticks > 0 && price < rules->price_min_ticks) ||
                          (rules->price_max_ticks > 0 && price > rules->price_max_ticks));
}

/* What the venue would refuse by the names of its filters. */
static flow_status check_rules(const flow_kernel *k, const flow_request *r)
{
    const market *m = &k->markets[r->market];
    const flow_venue_rules *rules = &m->config.rules;
    const int64_t last = m->quote.last_ticks;
    const int64_t price = r->price_ticks > 0 ? r->price_ticks : last;
    RETURN_IF(breaks_price_filter(rules, r->price_ticks) ||
                  breaks_price_filter(rules, r->trigger_ticks),
              FLOW_PRICE_FILTER);
    if (r->qty_lots > 0) {
        RETURN_IF(r->qty_lots % rules->qty_step_lots != 0 || r->qty_lots < rules->qty_min_lots ||
                      (rules->qty_max_lots > 0 && r->qty_lots > rules->qty_max_lots),
                  FLOW_LOT_SIZE);
        RETURN_IF(r->price_ticks == 0 && rules->market_qty_max_lots > 0 &&
                      r->qty_lots > rules->market_qty_max_lots,
                  FLOW_MARKET_LOT_SIZE);
        RETURN_IF(!(r->flags & FLOW_REDUCE_ONLY) && price > 0 &&
                      (i128)price * r->qty_lots < rules->notional_min_ticklots,
                  FLOW_NOTIONAL);
    }
    if (r->price_ticks > 0 && last > 0) {
        const i128 scaled = (i128)r->price_ticks * FLOW_PPM;
        RETURN_IF(rules->price_up_ppm > 0 && scaled > (i128)last * rules->price_up_ppm,
                  FLOW_PERCENT_PRICE);
        RETURN_IF(rules->price_down_ppm > 0 && scaled < (i128)last * rules->price_down_ppm,
                  FLOW_PERCENT_PRICE);
    }
    return FLOW_OK;
}

/* Replace a reference into the group by the id it will have; 0 for one that is not earlier. */
static uint64_t resolved(const flow_kernel *k, uint64_t id, size_t own_index)
{
    if (id < FLOW_GROUP) return id;
    return id - FLOW_GROUP < own_index ? k->core.next_order_id + (id - FLOW_GROUP) : 0;
}

static flow_status check_links(flow_kernel *k, const flow_request *given, const flow_request *r)
{
    if (given->parent_id != 0) {
        const flow_order *parent = links_find_base(k, r->parent_id);
        RETURN_IF(!parent, FLOW_UNKNOWN_ORDER);
        RETURN_IF(parent->request.market != r->market || parent->request.parent_id != 0 ||
                      has_flag(parent, FLOW_CLOSE_POSITION),
                  FLOW_BAD_ORDER);
    }
    if (given->sibling_id != 0) {
        const flow_order *sibling = links_find_base(k, r->sibling_id);
        RETURN_IF(!sibling, FLOW_UNKNOWN_ORDER);
        RETURN_IF(sibling->request.market != r->market || sibling->request.side != r->side ||
                      sibling->request.sibling_id != 0 ||
                      sibling->request.parent_id != r->parent_id,
                  FLOW_BAD_ORDER);
        for (size_t i = 0; i < k->order_count; i++)
            RETURN_IF(k->orders[i].request.sibling_id == r->sibling_id, FLOW_BAD_ORDER);
    }
    return FLOW_OK;
}

/* What a call of flow_place adds up as it goes. */
typedef struct staging {
    size_t base_count; /* orders open in the base lane */
    const market *of;  /* whose open orders ask for wanted_lots; null: not added up yet */
    i128 wanted_lots;
} staging;

/* Put the order of a request behind the open ones, or say why not. */
static flow_status stage_order(flow_kernel *k, staging *all, int64_t ts_us,
                               const flow_request *given, size_t index)
{
    flow_request r = *given;
    const uint64_t id = k->core.next_order_id + index;
    RETURN_IF(r.market >= k->market_count, FLOW_BAD_MARKET);
    RETURN_IF(r.side != 1 && r.side != -1, FLOW_BAD_SIDE);
    const flow_status kind = check_kind(&r);
    RETURN_IF(kind != FLOW_OK, kind);
    RETURN_IF(r.time_in_force == FLOW_GTD && (r.expire_us <= ts_us || r.expire_us > FLOW_TS_US_MAX),
              FLOW_BAD_TIME);
    r.parent_id = resolved(k, r.parent_id, index);
    r.sibling_id = resolved(k, r.sibling_id, index);
    const flow_status links = check_links(k, given, &r);
    RETURN_IF(links != FLOW_OK, links);
    const flow_status rules = check_rules(k, &r);
    RETURN_IF(rules != FLOW_OK, rules);
    RETURN_IF(all->base_count >= k->config.orders_max, FLOW_CAPACITY);
    const market *m = &k->markets[r.market];
    if (all->of != m) *all = (staging){all->base_count, m, money_lots_wanted(k, m)};
    all->wanted_lots += r.qty_lots;
    all->base_count++;
    RETURN_IF(!money_has_room(k, m, all->wanted_lots), FLOW_OVERFLOW);

    const flow_order *parent = links_find_base(k, r.parent_id);
    flow_order *o = &k->orders[k->order_count++];
    *o = (flow_order){
        .order_id = id,
        .placed_input = k->core.input,
        .live_input = k->core.input,
        .active_us = ts_us + latency_of(&k->config, id, LEG_SUBMIT),
        .cancel_us = NEVER_US,
        .amend_us = NEVER_US,
        .request = r,
        .stage = FLOW_PENDING,
    };
    for (int l = 0; l < FLOW_LANES; l++) {
        const flow_order_lane *above = parent ? &parent->lanes[l] : NULL;
        o->lanes[l].done = l < k->lane_first || l > k->lane_last ||
                           (above && above->done && above->filled_lots == 0);
        o->lanes[l].remaining_lots = above ? min_i64(r.qty_lots, above->filled_lots) : r.qty_lots;
    }
    return FLOW_OK;
}

static flow_status check_time(const flow_kernel *k, int64_t ts_us)
{
    RETURN_IF(k->core.ended, FLOW_ENDED);
    RETURN_IF(k->core.halted, FLOW_HALTED);
    RETURN_IF(ts_us < 0 || ts_us > FLOW_TS_US_MAX, FLOW_BAD_TIME);
    RETURN_IF(ts_us < k->core.stream_us, FLOW_TIME_REVERSED);
    return FLOW_OK;
}

/* End the oldest orders that only other lanes still have open, as far as there are too many. */
static void drop_oldest(flow_kernel *k, int64_t ts_us)
{
    const size_t kept = (size_t)KEPT_PER_OPEN * k->config.orders_max;
    for (size_t i = 0, count = k->order_count; i < k->order_count && count > kept; i++) {
        flow_order *o = &k->orders[i];
        if (!o->lanes[FLOW_BASE].done) continue;
        FOR_LANES(k, l)
        {
            links_end_lane(k, o, l, ts_us, FLOW_ORDER_CANCELED, FLOW_BY_CAPACITY, NULL);
        }
        count--;
    }
    orders_remove_done(k);
}

static bool events_have_room(const flow_kernel *k, size_t count)
{
    return k->order_events.capacity - k->order_events.tail >= count;
}

flow_status flow_place(flow_kernel *k, int64_t ts_us, const flow_request *requests, size_t count,
                       uint64_t *ids_out)
{
    RETURN_IF(!k || !ids_out || (!requests && count), FLOW_NULL_POINTER);
    flow_status status = check_time(k, ts_us);
    RETURN_IF(status != FLOW_OK, status);
    RETURN_IF(count > k->config.orders_max, FLOW_CAPACITY);
    RETURN_IF(!events_have_room(k, count + EVENTS_PER_ORDER * k->order_count), FLOW_NOT_DRAINED);
    const size_t before = k->order_count;
    staging all = {.base_count = links_base_count(k)};
    for (size_t i = 0; i < count && status == FLOW_OK; i++)
        status = stage_order(k, &all, ts_us, &requests[i], i);
    if (status != FLOW_OK) {
        k->order_count = before;
        return status;
    }
    for (size_t i = 0; i < count; i++) {
        const flow_order *o = &k->orders[before + i];
        flow_order *sibling = links_find(k, o->request.sibling_id);
        if (sibling) sibling->request.sibling_id = o->order_id;
        ids_out[i] = o->order_id;
        orders_tell(k, o, FLOW_ALL_LANES, ts_us, FLOW_ORDER_PLACED, FLOW_NO_REASON,
                    o->active_us - ts_us, NULL);
    }
    k->core.next_order_id += count;
    if (k->order_count > (size_t)KEPT_PER_OPEN * k->config.orders_max) drop_oldest(k, ts_us);
    orders_plan(k);
    return FLOW_OK;
}

static void ask_to_cancel(flow_kernel *k, int64_t ts_us, flow_order *o)
{
    const int64_t latency = latency_of(&k->config, o->order_id, LEG_CANCEL);
    o->cancel_us = min_i64(o->cancel_us, max_i64(o->active_us, ts_us + latency));
    orders_tell(k, o, FLOW_ALL_LANES, ts_us, FLOW_ORDER_CANCEL_ASKED, FLOW_NO_REASON, latency,
                NULL);
}

flow_status flow_cancel(flow_kernel *k, int64_t ts_us, uint64_t order_id)
{
    RETURN_IF(!k, FLOW_NULL_POINTER);
    const flow_status status = check_time(k, ts_us);
    RETURN_IF(status != FLOW_OK, status);
    flow_order *o = links_find_base(k, order_id);
    RETURN_IF(!o, FLOW_UNKNOWN_ORDER);
    RETURN_IF(!events_have_room(k, 1), FLOW_NOT_DRAINED);
    ask_to_cancel(k, ts_us, o);
    orders_plan(k);
    return FLOW_OK;
}

flow_status flow_cancel_all(flow_kernel *k, int64_t ts_us, int64_t market_index, size_t *count_out)
{
    RETURN_IF(!k || !count_out, FLOW_NULL_POINTER);
    *count_out = 0;
    const flow_status status = check_time(k, ts_us);
    RETURN_IF(status != FLOW_OK, status);
    RETURN_IF(market_index < -1 || market_index >= (int64_t)k->market_count, FLOW_BAD_MARKET);
    RETURN_IF(!events_have_room(k, k->order_count), FLOW_NOT_DRAINED);
    for (size_t i = 0; i < k->order_count; i++) {
        flow_order *o = &k->orders[i];
        if (market_index >= 0 && o->request.market != (uint32_t)market_index) continue;
        ask_to_cancel(k, ts_us, o);
        *count_out += !o->lanes[FLOW_BASE].done;
    }
    orders_plan(k);
    return FLOW_OK;
}

flow_status flow_amend(flow_kernel *k, int64_t ts_us, uint64_t order_id, int64_t qty_lots,
                       int64_t price_ticks, int64_t trigger_ticks)
{
    RETURN_IF(!k, FLOW_NULL_POINTER);
    flow_status status = check_time(k, ts_us);
    RETURN_IF(status != FLOW_OK, status);
    flow_order *o = links_find_base(k, order_id);
    RETURN_IF(!o, FLOW_UNKNOWN_ORDER);
    RETURN_IF(o->amend_us != NEVER_US, FLOW_AMEND_PENDING);
    RETURN_IF(qty_lots < 0 || qty_lots > FLOW_QTY_LOTS_MAX, FLOW_BAD_QTY);
    RETURN_IF(price_ticks < 0 || price_ticks > FLOW_PRICE_TICKS_MAX || trigger_ticks < 0 ||
                  trigger_ticks > FLOW_PRICE_TICKS_MAX,
              FLOW_BAD_PRICE);
    const bool none = qty_lots == 0 && price_ticks == 0 && trigger_ticks == 0;
    const bool has_trigger = is_trigger_kind(o) && o->request.kind != FLOW_TRAILING_STOP;
    RETURN_IF(none || (price_ticks > 0 && !is_limit_kind(o)) ||
                  (trigger_ticks > 0 && !has_trigger) ||
                  (qty_lots > 0 && (o->request.parent_id != 0 || has_flag(o, FLOW_CLOSE_POSITION))),
              FLOW_BAD_ORDER);
    flow_request changed = o->request;
    if (qty_lots > 0) changed.qty_lots = qty_lots;
    if (price_ticks > 0) changed.price_ticks = price_ticks;
    if (trigger_ticks > 0) changed.trigger_ticks = trigger_ticks;
    status = check_rules(k, &changed);
    RETURN_IF(status != FLOW_OK, status);
    const market *m = market_of(k, o);
    RETURN_IF(!money_has_room(k, m, money_lots_wanted(k, m) + qty_lots), FLOW_OVERFLOW);
    RETURN_IF(!events_have_room(k, 1), FLOW_NOT_DRAINED);
    const int64_t latency = latency_of(&k->config, order_id, LEG_AMEND);
    o->amend_us = max_i64(o->active_us, ts_us + latency);
    o->amend_qty_lots = qty_lots;
    o->amend_price_ticks = price_ticks;
    o->amend_trigger_ticks = trigger_ticks;
    orders_tell(k, o, FLOW_ALL_LANES, ts_us, FLOW_ORDER_AMEND_ASKED, FLOW_NO_REASON, latency, NULL);
    orders_plan(k);
    return FLOW_OK;
}
