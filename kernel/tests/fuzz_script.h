/* Scripts of bytes, and the kernels and configurations made of them. */
#ifndef FLOW_FUZZ_SCRIPT_H
#define FLOW_FUZZ_SCRIPT_H

#include <signal.h>

#include "tests.h"

#define ROWS_MAX 640
#define BLOCKS_MAX (ROWS_MAX / FLOW_SCAN_BLOCK_ROWS + 1)
#define INPUTS_MAX 20000
#define KEPT_MAX 64 /* orders_max of most configurations is below */
#define BYTES_MAX (1 << 20)

__extension__ typedef __int128 i128;
__extension__ typedef unsigned __int128 u128;

static i128 wide(flow_i128 pair) { return (i128)(((u128)(uint64_t)pair.hi << 64) | pair.lo); }

/* ---- failures */

static uint64_t script_seed; /* of the script being played; 0: of a file or libFuzzer */

static void name_script(void)
{
    if (script_seed)
        fprintf(stderr, "repeat with: -s %llu -n 1\n", (unsigned long long)script_seed);
}

static void fail(const char *file, int line, const char *what)
{
    fprintf(stderr, "%s:%d: expected %s\n", file, line, what);
    name_script();
    signal(SIGABRT, SIG_DFL);
    abort();
}

#define CHECK(condition) \
    do { \
        if (!(condition)) fail(__FILE__, __LINE__, #condition); \
    } while (0)

/* ---- bytes */

typedef struct script {
    const uint8_t *bytes;
    size_t at, count;
} script;

static uint64_t some(script *s, int bytes)
{
    uint64_t value = 0;
    for (int i = 0; i < bytes; i++)
        value = value << 8 | (s->at < s->count ? s->bytes[s->at++] : 0);
    return value;
}

/* 0 .. below - 1 */
static int64_t pick(script *s, int64_t below)
{
    return (int64_t)(some(s, below > 256 ? 2 : 1) % (uint64_t)below);
}

static const int64_t WILD[] = {
    0,
    -1,
    1,
    2,
    INT64_MAX,
    INT64_MIN,
    INT64_MAX / 2,
    FLOW_PRICE_TICKS_MAX,
    FLOW_PRICE_TICKS_MAX + 1,
    FLOW_QTY_LOTS_MAX,
    FLOW_QTY_LOTS_MAX + 1,
    FLOW_QTY_LOTS_MAX / 3,
    FLOW_TS_US_MAX,
    FLOW_TS_US_MAX - 1,
    FLOW_TS_US_MAX + 1,
    FLOW_PPM,
    FLOW_PPB,
    4095,
};

static int64_t wild(script *s) { return WILD[pick(s, sizeof WILD / sizeof WILD[0])]; }

/* Mostly the value, now and then a wild one. */
static int64_t mostly(script *s, int64_t value) { return pick(s, 40) == 0 ? wild(s) : value; }

/* ---- the kernel under test, and what is known about it */

typedef struct fuzz {
    script in;
    flow_config config;
    flow_market markets[MARKETS];
    size_t market_count;
    flow_kernel *kernel;
    bool strict; /* outboxes are always empty and refused calls must leave no trace */
    bool ended;
    int64_t now, last[MARKETS];
    i128 volume_lots[MARKETS];
    i128 total_lots[MARKETS]; /* that the kernel may be asked for at most */
} fuzz;

/* ---- configurations */

static void make_config(fuzz *f)
{
    script *s = &f->in;
    flow_config *c = &f->config;
    *c = CONFIG;
    memcpy(f->markets, MARKET_CONFIGS, sizeof f->markets);
    c->orders_max = (uint32_t)(1 + pick(s, 6));
    c->account_kind = pick(s, 3);
    c->fill_model = pick(s, 4) == 0;
    c->lane_count = pick(s, 3) == 0 ? 1 : FLOW_LANES;
    c->trace = pick(s, 2);
    c->queue_window = (int64_t[]){0, 16, 20, 64}[pick(s, 4)];
    c->ioc_window_us = pick(s, 30);
    c->fee_unit_atoms = 1 + pick(s, 3) * 499;
    c->decide_trades_count = (int64_t[]){0, 1, 7}[pick(s, 3)];
    c->decide_grid_us = (int64_t[]){0, 1, 900}[pick(s, 3)];
    c->equity_grid_us = (int64_t[]){0, 1, 900}[pick(s, 3)];
    if (pick(s, 2)) c->initial_cash_atoms.lo = some(s, 4);
    if (pick(s, 4) == 0) memset(c->latency_us, 0, sizeof c->latency_us);
    f->market_count = (size_t)(1 + pick(s, MARKETS));
    for (size_t m = 0; m < f->market_count; m++) {
        flow_market *one = &f->markets[m];
        flow_orderflow_config *flow = &one->flow;
        const int64_t keep = pick(s, 4);
        one->atoms_per_ticklot = (int64_t[]){1, 10, 100000000}[pick(s, 3)];
        one->leverage = 1 + pick(s, 20);
        one->maintenance_ppm = pick(s, 3) * 100000;
        one->rules.price_step_ticks = 1 + pick(s, 2);
        for (int64_t i = keep; i < FLOW_SERIES_MAX; i++)
            flow->series[i] = (flow_series_config){0};
        flow->series_count = flow->series_count < keep ? flow->series_count : keep;
        for (int64_t i = 0; i < flow->series_count; i++)
            flow->series[i].kind = pick(s, 8);
        if (flow->series_count > 0) continue;
        *flow = (flow_orderflow_config){
            .footprint_rows_max = 2, .value_area_ppm = 1, .imbalance_stack_count = 1};
        flow->sums_on = pick(s, 2);
    }
}

/* Any word of the configuration may be any number. */
static void spoil_config(fuzz *f)
{
    script *s = &f->in;
    const int64_t value = wild(s);
    if (pick(s, 2)) {
        const size_t word = some(s, 2) % (sizeof f->config / 8);
        memcpy((uint8_t *)&f->config + 8 * word, &value, 8);
    } else {
        const size_t word = some(s, 2) % (sizeof f->markets / 8);
        memcpy((uint8_t *)f->markets + 8 * word, &value, 8);
    }
}

/* Whether a kernel of this configuration would take more memory than a script is worth. */
static bool is_costly(const fuzz *f)
{
    bool costly = f->config.orders_max > KEPT_MAX;
    for (size_t m = 0; m < f->market_count; m++)
        costly |= f->markets[m].flow.profile_rows_max > 4096;
    return costly;
}

static bool create(fuzz *f)
{
    make_config(f);
    if (pick(&f->in, 8) == 0) spoil_config(f);
    if (is_costly(f)) return false;
    f->kernel = (flow_kernel *)f;
    const flow_status status = flow_create(&f->config, f->markets, f->market_count, &f->kernel);
    CHECK(status == FLOW_OK || status == FLOW_BAD_CONFIG || status == FLOW_ABI_MISMATCH);
    CHECK((status == FLOW_OK) == (f->kernel != NULL));
    return status == FLOW_OK;
}

#endif
