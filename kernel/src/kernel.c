/* Life of a kernel: its configuration, its memory. */
#include <stdlib.h> /* calloc, free */

#include "internal.h"

#define EVENTS_SPARE 1024
#define ATOMS_PER_TICKLOT_MAX 100000000
#define FEE_UNIT_ATOMS_MAX ((int64_t)1 << 60)
#define SLIP_TICKS_MAX ((int64_t)1 << 40)
#define LEVERAGE_MAX 1000

static bool is_between(int64_t value, int64_t low, int64_t high)
{
    return value >= low && value <= high;
}

/* From lane to lane no assumption may become kinder. */
static bool lanes_are_valid(const flow_config *c)
{
    for (int l = 0; l < FLOW_LANES; l++) {
        const flow_lane *lane = &c->lanes[l], *before = &c->lanes[l > 0 ? l - 1 : 0];
        if (!is_between(lane->queue_ppm, before->queue_ppm, FLOW_QUEUE_NEVER) ||
            lane->queue_ppm < 0 ||
            !is_between(lane->participation_ppm, 1, before->participation_ppm) ||
            lane->participation_ppm > FLOW_PPM ||
            !is_between(lane->slip_ticks, before->slip_ticks, SLIP_TICKS_MAX) ||
            lane->slip_ticks < 0 || !is_between(lane->own_side_only, before->own_side_only, 1) ||
            lane->own_side_only < 0)
            return false;
    }
    return true;
}

static bool fees_are_valid(const flow_config *c)
{
    if (!is_between(c->fee_tier_count, 1, FLOW_FEE_TIERS) ||
        !is_between(c->fee_unit_atoms, 1, FEE_UNIT_ATOMS_MAX) ||
        i128_of(c->fee_tiers[0].from_atoms) != 0)
        return false;
    for (int64_t i = 0; i < c->fee_tier_count; i++) {
        const flow_fee_tier *tier = &c->fee_tiers[i];
        if (!is_between(tier->maker_ppb, -FLOW_PPB, FLOW_PPB) ||
            !is_between(tier->taker_ppb, -FLOW_PPB, FLOW_PPB) ||
            (i > 0 && i128_of(tier->from_atoms) <= i128_of(tier[-1].from_atoms)))
            return false;
    }
    return true;
}

static bool config_is_valid(const flow_config *c)
{
    const i128 cash = i128_of(c->initial_cash_atoms), cash_max = (i128)1 << 100;
    for (int i = 0; i < FLOW_LATENCY_POINTS; i++)
        if (!is_between(c->latency_us[i], 0, FLOW_TS_US_MAX)) return false;
    return is_between(c->orders_max, 1, FLOW_ORDERS_MAX) && c->decide_trades_count >= 0 &&
           is_between(c->decide_grid_us, 0, FLOW_TS_US_MAX) &&
           is_between(c->decide_on_fill, 0, 1) &&
           is_between(c->equity_grid_us, 0, FLOW_TS_US_MAX) &&
           is_between(c->fill_model, FLOW_FILLS_QUEUED, FLOW_FILLS_SPREAD) &&
           is_between(c->account_kind, FLOW_ACCOUNT_FREE, FLOW_ACCOUNT_ISOLATED) &&
           (c->lane_count == 1 || c->lane_count == FLOW_LANES) && is_between(c->trace, 0, 1) &&
           is_between(c->queue_window, 0, FLOW_QUEUE_WINDOW_MAX) &&
           is_between(c->touch_stale_us, 0, FLOW_TS_US_MAX) &&
           is_between(c->ioc_window_us, 0, FLOW_TS_US_MAX) &&
           is_between(c->spread_ppm, 0, FLOW_PPM) && cash <= cash_max && cash >= -cash_max &&
           lanes_are_valid(c) && fees_are_valid(c);
}

bool venue_rules_are_valid(const flow_venue_rules *r)
{
    return is_between(r->price_step_ticks, 1, FLOW_PRICE_TICKS_MAX) &&
           is_between(r->price_min_ticks, 0, FLOW_PRICE_TICKS_MAX) &&
           is_between(r->price_max_ticks, 0, FLOW_PRICE_TICKS_MAX) &&
           is_between(r->qty_step_lots, 1, FLOW_QTY_LOTS_MAX) &&
           is_between(r->qty_min_lots, 0, FLOW_QTY_LOTS_MAX) &&
           is_between(r->qty_max_lots, 0, FLOW_QTY_LOTS_MAX) &&
           is_between(r->market_qty_max_lots, 0, FLOW_QTY_LOTS_MAX) &&
           r->notional_min_ticklots >= 0 && r->price_up_ppm >= 0 && r->price_down_ppm >= 0;
}

static bool market_is_valid(const flow_market *m)
{
    return is_between(m->atoms_per_ticklot, 1, ATOMS_PER_TICKLOT_MAX) &&
           is_between(m->leverage, 1, LEVERAGE_MAX) &&
           is_between(m->maintenance_ppm, 0, FLOW_PPM) && venue_rules_are_valid(&m->rules) &&
           orderflow_config_is_valid(&m->flow);
}

static bool allocate(flow_kernel *k)
{
    const size_t orders = (size_t)ROOM_PER_OPEN * k->config.orders_max;
    k->fills.capacity = FILLS_PER_ORDER * orders + FLOW_LANES + EVENTS_SPARE;
    k->order_events.capacity = EVENTS_PER_ORDER * orders + EVENTS_SPARE;
    k->equity.capacity = orders + EVENTS_SPARE;
    k->orders = calloc(orders, sizeof *k->orders);
    k->picked = calloc(orders, sizeof *k->picked);
    k->fills.items = calloc(k->fills.capacity, sizeof *k->fills.items);
    k->order_events.items = calloc(k->order_events.capacity, sizeof *k->order_events.items);
    k->equity.items = calloc(k->equity.capacity, sizeof *k->equity.items);
    return k->orders && k->picked && k->fills.items && k->order_events.items && k->equity.items;
}

/* Make the markets one by one; market_count says how many are to be freed again. */
static bool open_markets(flow_kernel *k, const flow_market *configs, size_t count)
{
    k->markets = calloc(count, sizeof *k->markets);
    if (!k->markets) return false;
    for (size_t i = 0; i < count; i++) {
        market *m = &k->markets[i];
        m->config = configs[i];
        quote_forget(&m->quote);
        if (!orderflow_init(&m->flow, &configs[i].flow)) return false;
        if (!levels_init(&m->levels, k->config.queue_window)) {
            orderflow_free(&m->flow);
            return false;
        }
        k->market_count++;
    }
    return true;
}

flow_status flow_create(const flow_config *config, const flow_market *markets, size_t market_count,
                        flow_kernel **kernel_out)
{
    RETURN_IF(!kernel_out, FLOW_NULL_POINTER);
    *kernel_out = NULL;
    RETURN_IF(!config || !markets, FLOW_NULL_POINTER);
    RETURN_IF(config->abi_version != FLOW_ABI_VERSION, FLOW_ABI_MISMATCH);
    RETURN_IF(!config_is_valid(config), FLOW_BAD_CONFIG);
    RETURN_IF(market_count < 1 || market_count > FLOW_MARKETS_MAX, FLOW_BAD_CONFIG);
    for (size_t i = 0; i < market_count; i++)
        RETURN_IF(!market_is_valid(&markets[i]), FLOW_BAD_CONFIG);

    flow_kernel *k = calloc(1, sizeof *k);
    RETURN_IF(!k, FLOW_NO_MEMORY);
    k->config = *config;
    k->cpu = flow_cpu_here();
    if (!allocate(k) || !open_markets(k, markets, market_count)) {
        flow_destroy(k);
        return FLOW_NO_MEMORY;
    }
    k->lane_first = config->lane_count == 1 ? FLOW_BASE : FLOW_OPTIMISTIC;
    k->lane_last = config->lane_count == 1 ? FLOW_BASE : FLOW_PESSIMISTIC;
    k->core.next_order_id = 1;
    k->core.decide_next_us = k->core.equity_next_us = NEVER_US;
    for (int l = 0; l < FLOW_LANES; l++)
        k->core.accounts[l].cash_atoms = i128_of(config->initial_cash_atoms);
    orders_plan(k);
    *kernel_out = k;
    return FLOW_OK;
}

void flow_destroy(flow_kernel *k)
{
    if (!k) return;
    for (size_t i = 0; i < k->market_count; i++) {
        orderflow_free(&k->markets[i].flow);
        levels_free(&k->markets[i].levels);
    }
    free(k->markets);
    free(k->orders);
    free(k->picked);
    free(k->fills.items);
    free(k->order_events.items);
    free(k->equity.items);
    free(k);
}
