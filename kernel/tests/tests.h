/* What the test programs share: expectations, a random tape, a kernel with everything on. */
#ifndef FLOW_TESTS_H
#define FLOW_TESTS_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "flow_kernel.h"

static int failures;

#define EXPECT(condition) \
    do { \
        if (!(condition)) { \
            printf("%s:%d: expected %s\n", __FILE__, __LINE__, #condition); \
            failures++; \
        } \
    } while (0)

#define REFUSED(call, status) EXPECT((call) == (status))

static uint64_t rng_state = 1;

static inline uint64_t rng(void)
{
    rng_state ^= rng_state << 13;
    rng_state ^= rng_state >> 7;
    rng_state ^= rng_state << 17;
    return rng_state;
}

#define MARKETS 2

static const flow_config CONFIG = {
    .abi_version = FLOW_ABI_VERSION,
    .orders_max = 8,
    .seed = 5,
    .decide_trades_count = 700,
    .decide_grid_us = 5000,
    .decide_on_fill = 1,
    .equity_grid_us = 3000,
    .lane_count = FLOW_LANES,
    .trace = 1,
    .queue_window = 64,
    .touch_stale_us = 300,
    .ioc_window_us = 20,
    .spread_ppm = 2000,
    .fee_unit_atoms = 3,
    .fee_tier_count = 2,
    .initial_cash_atoms = {.lo = 1000000000},
    .lanes =
        {
            {.queue_ppm = 0, .participation_ppm = FLOW_PPM},
            {.queue_ppm = 500000, .participation_ppm = 500000},
            {FLOW_QUEUE_NEVER, 200000, 1, 1},
        },
    .fee_tiers = {{{0, 0}, -50000, 400000}, {{.lo = 40000000}, -90000, 300000}},
    .latency_us = {20, 7, 90, 0, 35},
};

#define RULES {.price_step_ticks = 1, .qty_step_lots = 1}

/* The first has every kind of order flow, the second the least. */
static const flow_market MARKET_CONFIGS[MARKETS] = {
    {
        .atoms_per_ticklot = 10,
        .leverage = 10,
        .maintenance_ppm = 5000,
        .rules = RULES,
        .flow =
            {
                .series_count = 8,
                .series =
                    {
                        {FLOW_SERIES_TIME, 1000, 3},
                        {FLOW_SERIES_TICK, 13, 0},
                        {FLOW_SERIES_VOLUME, 20000, 1},
                        {FLOW_SERIES_DOLLAR, 9000000, 0},
                        {FLOW_SERIES_DELTA, 5000, 7},
                        {FLOW_SERIES_TICK_IMBALANCE, 9, 1},
                        {FLOW_SERIES_TICK_RUN, 30, 0},
                        {FLOW_SERIES_VOLUME_RUN, 15000, 2},
                    },
                .footprint_rows_max = 16,
                .value_area_ppm = 700000,
                .imbalance_ppm = 1500000,
                .imbalance_stack_count = 2,
                .bubbles_on = 1,
                .bubble_window_us = 100,
                .bubble_band_ticks = 2,
                .large_window_count = 64,
                .large_ppm = 900000,
                .large_min_count = 10,
                .profile_rows_max = 16,
                .vwap_on = 1,
                .anchor_on_utc_day = 1,
                .size_class_count = 2,
                .size_class_lots = {100, 900},
                .recent_trades_count = 50,
                .recent_slot_us = 300,
                .recent_slot_count = 5,
                .sweep_level_count = 2,
                .sweep_window_us = 5,
                .absorption_lots = 2000,
                .absorption_window_us = 2000,
                .absorption_ticks = 2,
                .exhaustion_count = 2,
                .exhaustion_ticks = 3,
            },
    },
    {
        .atoms_per_ticklot = 1,
        .leverage = 2,
        .rules = RULES,
        .flow =
            {
                .series_count = 1,
                .series = {{FLOW_SERIES_TIME, 500, 0}},
                .footprint_rows_max = 2,
                .value_area_ppm = 1,
                .imbalance_stack_count = 1,
                .large_ppm = 1,
                .large_min_count = 1,
                .recent_slot_count = 1,
                .absorption_ticks = 1,
                .exhaustion_ticks = 1,
            },
    },
};

#define TRADES 20000
#define STATE_BYTES_MAX (1 << 20)

static int64_t ts[TRADES], price[TRADES], qty[TRADES];
static int8_t side[TRADES];
static uint8_t traded_on[TRADES];

static inline void make_trades(uint64_t seed)
{
    int64_t now = 1000, at = 500;
    int8_t aggressor = 1;
    uint8_t instrument = 0;
    rng_state = seed;
    for (size_t i = 0; i < TRADES; i++) {
        uint64_t r = rng();
        if (r % 3 == 0) now += (int64_t)(r >> 8) % 40;
        if (r % 500 == 0 && now > 100) now -= 50;
        if ((r >> 16) % 4 == 0) aggressor = (int8_t)-aggressor;
        if ((r >> 20) % 3 == 0) at += aggressor;
        if ((r >> 24) % 2000 == 0) at += 300;
        if ((r >> 40) % 9 == 0) instrument = (uint8_t)(1 - instrument);
        if (at < 1) at = 1;
        ts[i] = now;
        price[i] = at;
        qty[i] = 1 + (int64_t)(r >> 32) % 1000;
        side[i] = aggressor;
        traded_on[i] = instrument;
    }
}

static inline flow_batch batch_of(size_t start, size_t count)
{
    flow_batch batch = {.ts_us = ts + start,
                        .price_ticks = price + start,
                        .qty_lots = qty + start,
                        .side = side + start,
                        .market = traded_on + start,
                        .count = count};
    size_t bad = 0;
    EXPECT(flow_check_batch(&batch, &bad) == FLOW_OK);
    return batch;
}

static inline flow_kernel *make_kernel(void)
{
    flow_kernel *kernel = NULL;
    EXPECT(flow_create(&CONFIG, MARKET_CONFIGS, MARKETS, &kernel) == FLOW_OK);
    return kernel;
}

/* FNV-1a, to compare what was put out. */
static inline uint64_t hashed(uint64_t hash, const void *bytes, size_t count)
{
    for (size_t i = 0; i < count; i++)
        hash = (hash ^ ((const uint8_t *)bytes)[i]) * 1099511628211u;
    return hash;
}

#define TAKE_ALL(call, type) \
    do { \
        static type taken[64]; \
        size_t count = 0; \
        do { \
            EXPECT((call) == FLOW_OK); \
            hash = hashed(hash, taken, count * sizeof *taken); \
        } while (count > 0); \
    } while (0)

/* Empty all outboxes; returns a hash of what they held and of `hash`. */
static inline uint64_t drain(flow_kernel *kernel, uint64_t hash)
{
    for (uint32_t m = 0; m < MARKETS; m++) {
        for (size_t s = 0; s < (m == 0 ? 8 : 1); s++) {
            TAKE_ALL(flow_take_bars(kernel, m, s, taken, 64, &count), flow_bar);
            TAKE_ALL(flow_take_footprints(kernel, m, s, taken, 64, &count), flow_footprint);
            TAKE_ALL(flow_take_footprint_rows(kernel, m, s, taken, 64, &count), flow_footprint_row);
        }
        TAKE_ALL(flow_take_bubbles(kernel, m, taken, 64, &count), flow_bubble);
        TAKE_ALL(flow_take_marks(kernel, m, taken, 64, &count), flow_mark);
    }
    TAKE_ALL(flow_take_fills(kernel, taken, 64, &count), flow_fill);
    TAKE_ALL(flow_take_order_events(kernel, taken, 64, &count), flow_order_event);
    TAKE_ALL(flow_take_equity(kernel, taken, 64, &count), flow_equity);
    return hash;
}

static inline size_t save(flow_kernel *kernel, uint8_t *out)
{
    size_t bytes = 0, need = 0;
    drain(kernel, 0);
    EXPECT(flow_save_state(kernel, out, STATE_BYTES_MAX, &bytes) == FLOW_OK);
    EXPECT(flow_state_bytes(kernel, &need) == FLOW_OK && need == bytes);
    return bytes;
}

/* A random request, mostly a sound one, around the last price. */
static inline flow_request random_request(uint64_t r, int64_t last)
{
    flow_request request = {
        .client_id = r % 5,
        .qty_lots = 1 + (int64_t)(r >> 8) % 2000,
        .market = (uint32_t)(r >> 20) % MARKETS,
        .side = (r >> 21) % 2 ? 1 : -1,
        .kind = (uint8_t)((r >> 22) % 7),
        .time_in_force = (uint8_t)((r >> 25) % 8 == 0 ? (r >> 28) % 3 : 0),
    };
    const bool limit = request.kind == FLOW_LIMIT || request.kind == FLOW_STOP_LIMIT ||
                       request.kind == FLOW_TAKE_PROFIT_LIMIT;
    if (limit) request.price_ticks = last + (int64_t)((r >> 30) % 9) - 4;
    if (request.kind == FLOW_TRAILING_STOP)
        request.trail = 1 + (int64_t)((r >> 34) % 20);
    else if (request.kind >= FLOW_STOP)
        request.trigger_ticks = last + (int64_t)((r >> 34) % 21) - 10;
    if (limit && (r >> 40) % 6 == 0 && request.time_in_force == FLOW_GTC)
        request.flags |= FLOW_POST_ONLY;
    if ((r >> 44) % 6 == 0) request.flags |= FLOW_REDUCE_ONLY;
    if (limit && (r >> 48) % 6 == 0 && request.time_in_force == FLOW_GTC)
        request.display_lots = 1 + request.qty_lots / 4;
    return request;
}

#endif
