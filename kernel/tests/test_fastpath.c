/*
 * Runs of prints through what this processor can do, through the portable loops and print by print:
 * the same records and the same state. Rows are copied to the end of blocks of memory, so that
 * AddressSanitizer sees what reads behind them.
 */
#include "../src/internal.h"
#include "tests.h"

#define RUNS 120

/* How rows are drawn: most of them small, some at a limit of what loops for vectors take. */
typedef struct shape {
    int64_t price, spread_ticks, lots_max, step_us;
    uint64_t side_every, jump_every, silence_every;
} shape;

static int64_t below(int64_t limit) { return (int64_t)(rng() % (uint64_t)limit); }

static shape draw_shape(void)
{
    const int64_t prices[] = {2000, (int64_t)1 << 31, ((int64_t)1 << 32) - 40, (int64_t)1 << 49};
    const int64_t spreads[] = {1, 4, 60, 5000, (int64_t)1 << 33};
    const int64_t lots[] = {1, 50, 5000, ((int64_t)1 << 32) + 9, (int64_t)1 << 40};
    const int64_t steps[] = {1, 30, 2000};
    const uint64_t often[] = {1, 3, 20, 1000};
    return (shape){prices[rng() % 4], spreads[rng() % 5],   lots[rng() % 5],     steps[rng() % 3],
                   often[rng() % 4],  often[1 + rng() % 3], often[2 + rng() % 2]};
}

static void draw_rows(const shape *s, size_t count)
{
    int64_t now = below(3000), at = s->price;
    int8_t aggressor = 1;
    for (size_t i = 0; i < count; i++) {
        now += below(s->step_us);
        if (rng() % s->silence_every == 0) now += below(5000);
        if (rng() % s->side_every == 0) aggressor = (int8_t)-aggressor;
        if (rng() % s->jump_every == 0) at = s->price + below(s->spread_ticks);
        ts[i] = now;
        price[i] = at;
        /* Most are small, so that the volume of a session does not run out at once. */
        qty[i] = 1 + below(rng() % 64 == 0 ? s->lots_max : 50);
        side[i] = aggressor;
    }
}

static flow_orderflow_config draw_config(void)
{
    flow_orderflow_config c = MARKET_CONFIGS[0].flow;
    c.series_count = 1 + below(2);
    c.series[0] = (flow_series_config){FLOW_SERIES_TIME, 1 + below(4000), below(3) * below(40)};
    c.series[1] = c.series_count > 1 ? (flow_series_config){FLOW_SERIES_TIME, 1 + below(300), 0}
                                     : (flow_series_config){0, 0, 0};
    for (size_t i = 2; i < FLOW_SERIES_MAX; i++)
        c.series[i] = (flow_series_config){0, 0, 0};
    c.bubble_window_us = below(3000);
    c.bubble_band_ticks = rng() % 4 ? below(200) : FLOW_PRICE_TICKS_MAX;
    c.footprint_rows_max = (int64_t)2 << below(8);
    if (rng() % 3 == 0) {
        c.bubbles_on = c.large_window_count = c.exhaustion_count = 0;
    }
    return c;
}

static uint64_t digest;

#define DIGEST_ALL(call, type) \
    do { \
        static type out[512]; \
        do { \
            count = 0; \
            EXPECT((call) == FLOW_OK); \
            for (size_t n = 0; n < count * sizeof(type); n++) \
                *hash = (*hash ^ ((const uint8_t *)out)[n]) * 1099511628211u; \
        } while (count > 0); \
    } while (0)

/* Each kind of record by itself: how they mix depends on when they are taken. */
static void take(flow_kernel *k, uint64_t hashes[9])
{
    size_t count;
    uint64_t *hash = hashes;
    for (size_t s = 0; s < k->markets[0].flow.series_count; s++) {
        DIGEST_ALL(flow_take_bars(k, 0, s, out, 512, &count), flow_bar);
        hash++;
        DIGEST_ALL(flow_take_footprints(k, 0, s, out, 512, &count), flow_footprint);
        hash++;
        DIGEST_ALL(flow_take_footprint_rows(k, 0, s, out, 512, &count), flow_footprint_row);
        hash++;
    }
    DIGEST_ALL(flow_take_bubbles(k, 0, out, 512, &count), flow_bubble);
    hash++;
    DIGEST_ALL(flow_take_marks(k, 0, out, 512, &count), flow_mark);
    hash++;
}

/* A copy whose end is the end of its memory. */
static void *copied(const void *from, size_t bytes)
{
    void *to = malloc(bytes);
    EXPECT(to != NULL);
    memcpy(to, from, bytes);
    return to;
}

/* Apply rows in pieces of `step`; a digest of all that is said, and of the state behind it. */
static uint64_t played(const flow_market *traded, flow_cpu cpu, size_t rows, size_t step)
{
    flow_config config = CONFIG;
    config.decide_trades_count = config.decide_grid_us = config.equity_grid_us = 0;
    flow_kernel *k = NULL;
    uint64_t hashes[9] = {0};
    EXPECT(flow_create(&config, traded, 1, &k) == FLOW_OK);
    if (!k) return 0;
    k->cpu = cpu;
    for (size_t at = 0; at < rows; at += step) {
        const size_t count = rows - at < step ? rows - at : step;
        flow_batch b = {.count = count};
        int64_t *t = copied(ts + at, count * sizeof *t), *p = copied(price + at, count * sizeof *p);
        int64_t *q = copied(qty + at, count * sizeof *q);
        int8_t *s = copied(side + at, count);
        size_t row = 0;
        flow_stop stop = FLOW_STOP_DRAIN;
        b.ts_us = t;
        b.price_ticks = p;
        b.qty_lots = q;
        b.side = s;
        EXPECT(flow_check_batch(&b, &row) == FLOW_OK);
        for (row = 0; stop == FLOW_STOP_DRAIN;) {
            EXPECT(flow_run(k, &b, row, &row, &stop) == FLOW_OK);
            take(k, hashes);
        }
        free(t);
        free(p);
        free(q);
        free(s);
    }
    static uint8_t state[STATE_BYTES_MAX];
    size_t bytes = 0;
    EXPECT(flow_save_state(k, state, sizeof state, &bytes) == FLOW_OK);
    digest = 1469598103934665603u;
    for (size_t i = 0; i < bytes; i++)
        digest = (digest ^ state[i]) * 1099511628211u;
    for (size_t i = 0; i < 9; i++)
        digest = (digest ^ hashes[i]) * 1099511628211u;
    flow_destroy(k);
    return digest;
}

int main(void)
{
    flow_market traded = MARKET_CONFIGS[0];
    for (uint64_t run = 1; run <= RUNS; run++) {
        rng_state = run * 0x9E3779B97F4A7C15u;
        const shape s = draw_shape();
        const size_t rows = (size_t)(1 + below(3000));
        traded.flow = draw_config();
        draw_rows(&s, rows);
        const uint64_t single = played(&traded, FLOW_CPU_PORTABLE, rows, 1);
        EXPECT(played(&traded, FLOW_CPU_PORTABLE, rows, rows) == single);
        EXPECT(played(&traded, flow_cpu_here(), rows, rows) == single);
        EXPECT(played(&traded, flow_cpu_here(), rows, (size_t)(1 + below(700))) == single);
    }
    printf(failures ? "%d failed\n" : "fastpath: all good\n", failures);
    return failures ? 1 : 0;
}
