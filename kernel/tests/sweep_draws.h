/* Tapes, configurations and markets for tests of sweeps, made of random numbers. */
#ifndef FLOW_SWEEP_DRAWS_H
#define FLOW_SWEEP_DRAWS_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "flow_sweep.h"

__extension__ typedef __int128 i128;

static int failures;

#define EXPECT(condition) \
    do { \
        if (!(condition)) { \
            if (failures++ < 20) printf("%s:%d: expected %s\n", __FILE__, __LINE__, #condition); \
        } \
    } while (0)

static uint64_t rng_state = 88172645463325252u;

static uint64_t rng(void)
{
    rng_state ^= rng_state << 13;
    rng_state ^= rng_state >> 7;
    rng_state ^= rng_state << 17;
    return rng_state;
}

static int64_t below(int64_t limit) { return (int64_t)(rng() % (uint64_t)limit); }

static i128 whole(flow_i128 pair) { return (i128)pair.hi * ((i128)1 << 64) + pair.lo; }

static flow_i128 pair_of(i128 value)
{
    return (flow_i128){.lo = (uint64_t)value, .hi = (int64_t)(value >> 64)};
}

static void *allocated(size_t bytes)
{
    void *memory = malloc(bytes > 0 ? bytes : 1);
    if (!memory) abort();
    return memory;
}

typedef struct tape {
    size_t count;
    int64_t *ts_us, *price_ticks, *qty_lots;
    int8_t *side;
} tape;

static tape make_tape(size_t count, int64_t gap_us, int64_t lots)
{
    tape t = {count, allocated(count * 8), allocated(count * 8), allocated(count * 8),
              allocated(count)};
    int64_t now = 86400000000, price = 1 + below(below(2) ? 400 : 5);
    int8_t side = 1;
    for (size_t i = 0; i < count; i++) {
        now += below(3) ? below(gap_us) : 0;
        if (below(4) == 0) side = (int8_t)-side;
        price += below(3) == 0 ? side * below(3) : 0;
        price = price < 1 ? 1 : price;
        t.ts_us[i] = below(50) ? now : now - below(4 * gap_us + 1);
        t.ts_us[i] = t.ts_us[i] < 0 ? 0 : t.ts_us[i];
        t.price_ticks[i] = price;
        t.qty_lots[i] = 1 + below(lots);
        t.side[i] = side;
    }
    return t;
}

static void free_tape(tape *t)
{
    free(t->ts_us);
    free(t->price_ticks);
    free(t->qty_lots);
    free(t->side);
}

static flow_batch batch_of(const tape *t, size_t start, size_t count)
{
    flow_batch b = {
        .ts_us = t->ts_us + start,
        .price_ticks = t->price_ticks + start,
        .qty_lots = t->qty_lots + start,
        .side = t->side + start,
        .count = count,
    };
    size_t bad;
    EXPECT(flow_check_batch(&b, &bad) == FLOW_OK);
    return b;
}

static flow_config plain_config(void)
{
    flow_config c = {
        .abi_version = FLOW_ABI_VERSION,
        .orders_max = 8,
        .decide_grid_us = 1000,
        .lane_count = 1,
        .touch_stale_us = 1000,
        .fee_unit_atoms = 1,
        .fee_tier_count = 1,
        .initial_cash_atoms = {.lo = 1000000},
    };
    for (int l = 0; l < FLOW_LANES; l++)
        c.lanes[l] = (flow_lane){.participation_ppm = FLOW_PPM};
    return c;
}

static flow_market plain_market(void)
{
    return (flow_market){
        .atoms_per_ticklot = 1,
        .leverage = 1,
        .rules = {.price_step_ticks = 1, .qty_step_lots = 1},
        .flow =
            {
                .series_count = 1,
                .series = {{FLOW_SERIES_TIME, 1000000, 0}},
                .footprint_rows_max = 2,
                .value_area_ppm = 1,
                .imbalance_stack_count = 1,
                .large_ppm = 1,
                .large_min_count = 1,
                .recent_slot_count = 1,
                .absorption_ticks = 1,
                .exhaustion_ticks = 1,
            },
    };
}

static flow_config any_config(int64_t gap_us)
{
    flow_config c = plain_config();
    c.seed = rng();
    c.orders_max = (uint32_t)(1 + below(6));
    c.decide_grid_us = below(3) ? 1 + below(40 * gap_us) : 0;
    c.decide_trades_count = below(3) == 0 ? 1 + below(60) : 0;
    c.equity_grid_us = below(2) ? 1 + below(30 * gap_us) : 0;
    c.fill_model = below(4) == 0 ? FLOW_FILLS_SPREAD : FLOW_FILLS_QUEUED;
    c.spread_ppm = below(20000);
    c.touch_stale_us = below(10 * gap_us);
    c.fee_unit_atoms = 1 + below(5);
    c.fee_tiers[0].taker_ppb = below(3) ? below(3000000) : -below(3000000);
    c.fee_tier_count = 1 + below(3);
    const int64_t most_atoms = below(2) ? 60 : 20000;
    for (int64_t i = 1; i < c.fee_tier_count; i++) {
        c.fee_tiers[i].from_atoms =
            pair_of(whole(c.fee_tiers[i - 1].from_atoms) + 1 + below(most_atoms));
        c.fee_tiers[i].taker_ppb = below(2000000) - 1000000;
    }
    const int64_t part = 1 + below(FLOW_PPM), slip = below(3), own = below(2);
    for (int l = 0; l < FLOW_LANES; l++)
        c.lanes[l] =
            (flow_lane){.participation_ppm = part, .slip_ticks = slip, .own_side_only = own};
    const int64_t most = below(3) ? below(60 * gap_us) : 0;
    for (int i = 0; i < FLOW_LATENCY_POINTS; i++)
        c.latency_us[i] = most > 0 ? below(most) : 0;
    return c;
}

static flow_market any_market(void)
{
    flow_market m = plain_market();
    m.atoms_per_ticklot = below(2) ? 1 : 1000;
    m.rules.price_step_ticks = 1 + below(3);
    if (below(4) == 0) m.rules.qty_max_lots = 20 + below(100);
    if (below(4) == 0) m.rules.market_qty_max_lots = 20 + below(100);
    if (below(4) == 0) m.rules.notional_min_ticklots = below(below(2) ? 300 : 12);
    if (below(8) == 0) m.rules.qty_step_lots = 2;
    return m;
}

#endif
