/*
 * Scripts of calls made of any bytes: whatever a caller does, the kernel stays within its memory,
 * refuses without a trace, keeps its books and never halts.
 *
 * With -fsanitize=fuzzer this is libFuzzer's target. With FUZZ_STANDALONE it has a main of its own:
 *     fuzz_kernel [-s SEED] [-n SCRIPTS] [-t SECONDS] [FILE...]
 * plays files, then random scripts; a failure names the seed that repeats it.
 *
 * FUZZ_DAMAGE lets kernels that accepted a damaged state go on. Their numbers are any numbers, so
 * build it with -fwrapv, as the product is; without it the build may look for signed overflow.
 */
#include <signal.h>
#include <time.h>

#include "tests.h"

#define ROWS_MAX 640
#define INPUTS_MAX 20000
#define KEPT_MAX 64 /* orders_max of most configurations is below */
#define BYTES_MAX (1 << 20)

#if defined(FUZZ_DAMAGE)
#define GOES_ON true
#else
#define GOES_ON false
#endif

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

static void fail(int line, const char *what)
{
    fprintf(stderr, "%s:%d: expected %s\n", __FILE__, line, what);
    if (script_seed) name_script();
    signal(SIGABRT, SIG_DFL);
    abort();
}

#define CHECK(condition) \
    do { \
        if (!(condition)) fail(__LINE__, #condition); \
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

static int64_t print_lots[INPUTS_MAX];          /* of an input; 0: it was no print */
static i128 given_lots[INPUTS_MAX][FLOW_LANES]; /* to own orders */
static uint8_t before[BYTES_MAX], after[BYTES_MAX];

static void check_fill(const fuzz *f, const flow_fill *fill)
{
    CHECK(fill->lane >= 0 && fill->lane < FLOW_LANES);
    CHECK(fill->qty_lots > 0 && fill->price_ticks >= 0);
    if (fill->role == FLOW_LIQUIDATED || f->config.fill_model == FLOW_FILLS_SPREAD) return;
    CHECK(fill->input < INPUTS_MAX && print_lots[fill->input] > 0);
    const i128 share =
        ((i128)print_lots[fill->input] * f->config.lanes[fill->lane].participation_ppm + FLOW_PPM -
         1) /
        FLOW_PPM;
    i128 *given = &given_lots[fill->input][fill->lane];
    *given += fill->qty_lots;
    CHECK(*given <= share);
}

#define TAKE_SOME(call, type) \
    do { \
        static type taken[64]; \
        size_t count = 0; \
        do { \
            CHECK((call) == FLOW_OK); \
            CHECK(count <= capacity && capacity <= sizeof taken / sizeof *taken); \
            records += count; \
        } while (count > 0 && all); \
    } while (0)

static size_t take_fills(const fuzz *f, flow_kernel *k, size_t capacity, bool all)
{
    static flow_fill taken[64];
    size_t records = 0, count;
    do {
        CHECK(flow_take_fills(k, taken, capacity, &count) == FLOW_OK);
        for (size_t i = 0; i < count && k == f->kernel; i++)
            check_fill(f, &taken[i]);
        records += count;
    } while (count > 0 && all);
    return records;
}

/* Take up to `capacity` records of each outbox, again and again if all; returns how many. */
static size_t take(const fuzz *f, flow_kernel *k, size_t capacity, bool all)
{
    size_t records = 0;
    for (uint32_t m = 0; m < f->market_count; m++) {
        for (size_t s = 0; s < (size_t)f->markets[m].flow.series_count; s++) {
            TAKE_SOME(flow_take_bars(k, m, s, taken, capacity, &count), flow_bar);
            TAKE_SOME(flow_take_footprints(k, m, s, taken, capacity, &count), flow_footprint);
            TAKE_SOME(flow_take_footprint_rows(k, m, s, taken, capacity, &count),
                      flow_footprint_row);
        }
        TAKE_SOME(flow_take_bubbles(k, m, taken, capacity, &count), flow_bubble);
        TAKE_SOME(flow_take_marks(k, m, taken, capacity, &count), flow_mark);
    }
    records += take_fills(f, k, capacity, all);
    TAKE_SOME(flow_take_order_events(k, taken, capacity, &count), flow_order_event);
    TAKE_SOME(flow_take_equity(k, taken, capacity, &count), flow_equity);
    return records;
}

static size_t empty_outboxes(const fuzz *f, flow_kernel *k) { return take(f, k, 64, true); }

static size_t saved(const fuzz *f, uint8_t *out)
{
    size_t bytes = 0, need = 0;
    CHECK(flow_save_state(f->kernel, out, BYTES_MAX, &bytes) == FLOW_OK);
    CHECK(flow_state_bytes(f->kernel, &need) == FLOW_OK && need == bytes);
    return bytes;
}

/* ---- what always holds */

static void check_account(const fuzz *f, int lane)
{
    flow_account a;
    CHECK(flow_get_account(f->kernel, lane, &a) == FLOW_OK);
    i128 value = 0, cost = 0;
    for (uint32_t m = 0; m < f->market_count; m++) {
        flow_position p;
        CHECK(flow_get_position(f->kernel, m, lane, &p) == FLOW_OK);
        value += (i128)p.position_lots * p.mark_ticks * f->markets[m].atoms_per_ticklot;
        cost += wide(p.cost_atoms);
        CHECK(p.position_lots != 0 || (wide(p.cost_atoms) == 0 && wide(p.margin_atoms) == 0));
        CHECK(wide(p.margin_atoms) >= 0);
        if (f->config.account_kind == FLOW_ACCOUNT_SPOT) CHECK(p.position_lots >= 0);
        if (f->config.account_kind != FLOW_ACCOUNT_ISOLATED) CHECK(wide(p.margin_atoms) == 0);
    }
    const i128 equity = wide(a.equity_atoms);
    CHECK(equity == wide(a.cash_atoms) + value);
    CHECK(wide(a.unrealized_atoms) == value - cost);
    CHECK(equity - wide(f->config.initial_cash_atoms) ==
          wide(a.realized_atoms) + wide(a.unrealized_atoms) - wide(a.fees_atoms) -
              wide(a.funding_atoms));
}

static void check_orders(const fuzz *f)
{
    static flow_order orders[3 * KEPT_MAX];
    size_t count = 0, base_count = 0;
    uint64_t id = 0;
    CHECK(flow_get_orders(f->kernel, orders, 3 * KEPT_MAX, &count) == FLOW_OK);
    CHECK(count <= 2 * f->config.orders_max);
    for (size_t i = 0; i < count; i++) {
        const flow_order *o = &orders[i];
        bool open = false;
        CHECK(o->order_id > id);
        id = o->order_id;
        for (int l = 0; l < FLOW_LANES; l++) {
            const flow_order_lane *in = &o->lanes[l];
            CHECK(in->remaining_lots >= 0 && in->filled_lots >= 0 && in->queue_lots >= 0);
            CHECK(in->shown_lots >= 0 && in->shown_lots <= in->remaining_lots);
            CHECK(in->done == 0 || in->done == 1);
            open |= !in->done;
            if (in->done || (o->request.flags & FLOW_CLOSE_POSITION)) continue;
            CHECK(in->remaining_lots + in->filled_lots <= o->request.qty_lots);
        }
        CHECK(open);
        base_count += !o->lanes[FLOW_BASE].done;
    }
    CHECK(base_count <= f->config.orders_max);
}

static void check_everything(fuzz *f)
{
    for (int lane = 0; lane < FLOW_LANES; lane++)
        check_account(f, lane);
    check_orders(f);
    for (uint32_t m = 0; m < f->market_count; m++) {
        flow_snapshot snap;
        CHECK(flow_get_snapshot(f->kernel, m, &snap) == FLOW_OK);
        CHECK(snap.stream_us >= f->now);
        f->now = snap.stream_us;
        if (snap.last_ticks > 0) f->last[m] = snap.last_ticks;
        if (f->markets[m].flow.series_count > 0 || f->markets[m].flow.sums_on)
            CHECK((i128)snap.buy_lots + snap.sell_lots == f->volume_lots[m]);
        CHECK((snap.bid_ticks > 0) == (snap.last_ticks > 0));
    }
}

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

/* ---- calls */

static void begin(fuzz *f, size_t *bytes)
{
    if (!f->strict) return;
    empty_outboxes(f, f->kernel);
    *bytes = saved(f, before);
}

/* A call is over: what it refused must not have left a trace. */
static void finish(fuzz *f, size_t bytes, flow_status status)
{
    CHECK(status >= FLOW_OK && status < FLOW_STATUS_COUNT);
    CHECK(status != FLOW_HALTED && status != FLOW_NO_MEMORY);
    if (f->ended) CHECK(status != FLOW_OK);
    if (f->strict && status != FLOW_OK) {
        CHECK(empty_outboxes(f, f->kernel) == 0);
        CHECK(saved(f, after) == bytes && memcmp(before, after, bytes) == 0);
    }
    if (status == FLOW_NOT_DRAINED) {
        CHECK(!f->strict);
        empty_outboxes(f, f->kernel);
    }
    check_everything(f);
}

static int64_t next_time(fuzz *f)
{
    return mostly(&f->in, f->now + pick(&f->in, 4) * pick(&f->in, 200));
}

static int64_t near_price(fuzz *f, uint32_t m)
{
    const int64_t ticks = f->last[m] + pick(&f->in, 13) - 6;
    return mostly(&f->in, ticks < 1 ? 1 : ticks);
}

static uint32_t a_market(fuzz *f)
{
    return (uint32_t)mostly(&f->in, pick(&f->in, (int64_t)f->market_count));
}

/* What flow_check_batch must say of a row. */
static flow_status row_status(const flow_batch *b, size_t i)
{
    if (b->ts_us[i] < 0 || b->ts_us[i] > FLOW_TS_US_MAX) return FLOW_BAD_TIME;
    if (b->price_ticks[i] < 1 || b->price_ticks[i] > FLOW_PRICE_TICKS_MAX) return FLOW_BAD_PRICE;
    if (b->qty_lots[i] < 1 || b->qty_lots[i] > FLOW_QTY_LOTS_MAX) return FLOW_BAD_QTY;
    return b->side[i] == 1 || b->side[i] == -1 ? FLOW_OK : FLOW_BAD_SIDE;
}

static flow_batch make_batch(fuzz *f)
{
    script *s = &f->in;
    const size_t few = 1 + (size_t)pick(s, 12);
    const size_t count = pick(s, 6) == 0 ? few * 50 : few;
    uint64_t r = some(s, 4) * 2 + 1;
    int64_t now = f->now, at = f->last[0];
    uint8_t m = 0;
    const bool spoilt = pick(s, 10) == 0;
    for (size_t i = 0; i < count; i++) {
        if (count == few) {
            r = some(s, 4);
        } else {
            r ^= r << 13;
            r ^= r >> 7;
            r ^= r << 17;
        }
        if (r % 5 == 0 && f->market_count > 1) {
            m = (uint8_t)(1 - m);
            at = f->last[m];
        }
        now += (int64_t)((r >> 4) % 4) * (int64_t)((r >> 8) % 30) - (r % 61 == 0 ? 25 : 0);
        at += (int64_t)((r >> 12) % 7) - 3;
        if (at < 1) at = 1;
        ts[i] = now < 0 ? 0 : now > FLOW_TS_US_MAX ? FLOW_TS_US_MAX : now;
        price[i] = at > FLOW_PRICE_TICKS_MAX ? FLOW_PRICE_TICKS_MAX : at;
        qty[i] = 1 + (int64_t)((r >> 16) % 500);
        side[i] = (r >> 30) % 2 ? 1 : -1;
        traded_on[i] = m;
    }
    if (spoilt) {
        const size_t row = some(s, 2) % count;
        const int64_t value = wild(s);
        switch (pick(s, 5)) {
        case 0:
            ts[row] = value;
            break;
        case 1:
            price[row] = value;
            break;
        case 2:
            qty[row] = value;
            break;
        case 3:
            side[row] = (int8_t)value;
            break;
        default:
            traded_on[row] = (uint8_t)value;
            break;
        }
    }
    return (flow_batch){.ts_us = ts,
                        .price_ticks = price,
                        .qty_lots = qty,
                        .side = side,
                        .market = pick(s, 4) == 0 && f->market_count == 1 ? NULL : traded_on,
                        .count = count};
}

static void note_prints(fuzz *f, const flow_batch *batch, size_t start, size_t end, uint64_t input)
{
    for (size_t i = start; i < end; i++) {
        const uint64_t number = input + 1 + (i - start);
        CHECK(number < INPUTS_MAX);
        print_lots[number] = batch->qty_lots[i];
        f->volume_lots[batch->market ? batch->market[i] : 0] += batch->qty_lots[i];
    }
}

/* Prints must be known before their fills are taken, so the outboxes may only be emptied here. */
static void run_batch(fuzz *f)
{
    flow_batch batch = make_batch(f);
    size_t bad = 0, at = 0, expected = 0, bytes = 0;
    i128 total = 0;
    while (expected < batch.count && row_status(&batch, expected) == FLOW_OK)
        total += batch.qty_lots[expected++];
    const flow_status checked = flow_check_batch(&batch, &bad);
    if (expected < batch.count) {
        CHECK(checked == FLOW_OVERFLOW ||
              (checked == row_status(&batch, expected) && bad == expected));
        return;
    }
    CHECK(checked == (total > INT64_MAX ? FLOW_OVERFLOW : FLOW_OK));
    if (checked != FLOW_OK) return;
    do {
        flow_snapshot snap;
        flow_stop stop;
        const size_t start = at;
        CHECK(flow_get_snapshot(f->kernel, 0, &snap) == FLOW_OK);
        begin(f, &bytes);
        const flow_status status = flow_run(f->kernel, &batch, at, &at, &stop);
        if (status == FLOW_OK) note_prints(f, &batch, start, at, snap.input);
        finish(f, bytes, status);
        if (status != FLOW_OK) return;
        CHECK(at > start || stop == FLOW_STOP_DRAIN);
        if (stop == FLOW_STOP_DRAIN) {
            CHECK(!f->strict || at > start);
            empty_outboxes(f, f->kernel);
        }
    } while (at < batch.count);
}

static flow_request make_request(fuzz *f, size_t index)
{
    script *s = &f->in;
    const uint32_t m = (uint32_t)pick(s, (int64_t)f->market_count);
    flow_request r = random_request(some(s, 8), f->last[m]);
    r.market = m;
    if (pick(s, 5) == 0 && r.time_in_force == FLOW_GTC) {
        r.time_in_force = FLOW_GTD;
        r.expire_us = f->now + 1 + pick(s, 500);
    }
    if (pick(s, 6) == 0 &&
        (r.kind == FLOW_MARKET || r.kind == FLOW_STOP || r.kind == FLOW_TAKE_PROFIT)) {
        r.flags |= FLOW_CLOSE_POSITION;
        r.qty_lots = 0;
    }
    if (r.kind >= FLOW_STOP && pick(s, 4) == 0) r.flags |= FLOW_ON_MARK;
    if (r.kind == FLOW_TRAILING_STOP && pick(s, 3) == 0) r.flags |= FLOW_TRAIL_PPM;
    if (index > 0 && pick(s, 2)) r.parent_id = FLOW_GROUP;
    if (index > 0 && pick(s, 2)) r.sibling_id = FLOW_GROUP + (uint64_t)pick(s, (int64_t)index);
    if (pick(s, 8) == 0) r.parent_id = some(s, 1);
    if (pick(s, 8) == 0) r.qty_lots = FLOW_QTY_LOTS_MAX >> pick(s, 40);
    if (pick(s, 12) == 0) {
        const int64_t value = wild(s);
        const size_t word = some(s, 1) % (sizeof r / 8);
        memcpy((uint8_t *)&r + 8 * word, &value, 8);
    }
    return r;
}

static flow_status place(fuzz *f)
{
    flow_request requests[3] = {{0}};
    uint64_t ids[KEPT_MAX] = {0};
    const size_t count = pick(&f->in, 3) == 0 ? (size_t)pick(&f->in, 4) : 1;
    for (size_t i = 0; i < count; i++)
        requests[i] = make_request(f, i);
    return flow_place(f->kernel, next_time(f), requests, count, ids);
}

static uint64_t an_order(fuzz *f)
{
    static flow_order orders[3 * KEPT_MAX];
    size_t count = 0;
    CHECK(flow_get_orders(f->kernel, orders, 3 * KEPT_MAX, &count) == FLOW_OK);
    const uint64_t which = some(&f->in, 1);
    return count ? orders[which % count].order_id : which;
}

static flow_status amend(fuzz *f)
{
    const uint64_t id = an_order(f);
    const int64_t what = pick(&f->in, 7) + 1;
    const int64_t lots = what & 1 ? mostly(&f->in, 1 + pick(&f->in, 2000)) : 0;
    const int64_t limit = what & 2 ? near_price(f, 0) : 0;
    const int64_t trigger = what & 4 ? near_price(f, 0) : 0;
    return flow_amend(f->kernel, next_time(f), id, lots, limit, trigger);
}

/* ---- states */

static flow_kernel *sibling_of(const fuzz *f)
{
    flow_kernel *other = NULL;
    CHECK(flow_create(&f->config, f->markets, f->market_count, &other) == FLOW_OK);
    return other;
}

static void move_to_a_fresh_kernel(fuzz *f)
{
    empty_outboxes(f, f->kernel);
    const size_t bytes = saved(f, before);
    flow_kernel *other = sibling_of(f);
    CHECK(flow_load_state(other, before, bytes) == FLOW_OK);
    flow_destroy(f->kernel);
    f->kernel = other;
    CHECK(saved(f, after) == bytes && memcmp(before, after, bytes) == 0);
    check_everything(f);
}

/* A kernel with anything for a state: only its memory is to stay whole. */
static void abuse(fuzz *f, flow_kernel *victim)
{
    flow_batch batch = make_batch(f);
    const flow_request request = make_request(f, 0);
    flow_stop stop;
    size_t bad, at = 0, bytes;
    uint64_t id;
    flow_snapshot snap;
    CHECK(flow_get_snapshot(victim, 0, &snap) == FLOW_OK);
    flow_place(victim, snap.stream_us, &request, 1, &id);
    flow_mark_price(victim, 0, snap.stream_us, near_price(f, 0), &stop);
    flow_funding(victim, 0, snap.stream_us, 1000, &stop);
    if (flow_check_batch(&batch, &bad) == FLOW_OK) flow_run(victim, &batch, 0, &at, &stop);
    flow_gap(victim, 0);
    flow_clock(victim, snap.stream_us + pick(&f->in, 200), &stop);
    flow_cancel_all(victim, FLOW_TS_US_MAX, -1, &bad);
    empty_outboxes(f, victim);
    if (flow_save_state(victim, after, BYTES_MAX, &bytes) == FLOW_OK)
        flow_load_state(victim, after, bytes);
    flow_end(victim);
}

static void load_a_damaged_state(fuzz *f)
{
    empty_outboxes(f, f->kernel);
    size_t bytes = saved(f, before);
    flow_kernel *victim = sibling_of(f);
    if (pick(&f->in, 4) == 0) bytes = some(&f->in, 3) % (bytes + 1);
    for (int64_t left = 1 + pick(&f->in, 3); left > 0 && bytes > 0; left--) {
        const size_t at = some(&f->in, 3) % bytes;
        if (pick(&f->in, 2)) {
            before[at] ^= (uint8_t)(1 << pick(&f->in, 8));
        } else {
            const int64_t value = wild(&f->in);
            const size_t word = at / 8 * 8;
            memcpy(before + word, &value, bytes - word < 8 ? bytes - word : 8);
        }
    }
    const flow_status status = flow_load_state(victim, before, bytes);
    CHECK(status == FLOW_OK || status == FLOW_BAD_STATE);
    if (status == FLOW_OK && GOES_ON) abuse(f, victim);
    flow_destroy(victim);
}

/* Rows that changed behind the check: wrong results, never wrong memory accesses. */
static void run_behind_the_check(fuzz *f)
{
    if (!GOES_ON) return;
    empty_outboxes(f, f->kernel);
    const size_t bytes = saved(f, before);
    flow_kernel *victim = sibling_of(f);
    CHECK(flow_load_state(victim, before, bytes) == FLOW_OK);
    flow_batch batch = make_batch(f);
    size_t bad = 0, at = 0;
    flow_stop stop;
    if (flow_check_batch(&batch, &bad) == FLOW_OK) {
        for (int i = 0; i < 3; i++) {
            const size_t row = some(&f->in, 2) % batch.count;
            (i == 0 ? ts : i == 1 ? price : qty)[row] = wild(&f->in);
            side[row] = (int8_t)some(&f->in, 1);
            traded_on[row] = (uint8_t)some(&f->in, 1);
        }
        flow_run(victim, &batch, 0, &at, &stop);
    }
    flow_destroy(victim);
}

/* ---- scripts */

static void step(fuzz *f)
{
    script *s = &f->in;
    flow_status status = FLOW_OK;
    flow_stop stop;
    size_t bytes = 0, count = 0;
    const int64_t what = pick(s, 64);
    if (what < 24) {
        run_batch(f);
        return;
    }
    if (what == 24) {
        move_to_a_fresh_kernel(f);
        return;
    }
    if (what == 25) {
        load_a_damaged_state(f);
        return;
    }
    if (what == 26) {
        run_behind_the_check(f);
        return;
    }
    begin(f, &bytes);
    if (what < 42) {
        status = place(f);
    } else if (what < 45) {
        status = flow_cancel(f->kernel, next_time(f), an_order(f));
    } else if (what == 45) {
        status = flow_cancel_all(f->kernel, next_time(f), mostly(s, pick(s, 3) - 1), &count);
    } else if (what < 50) {
        status = amend(f);
    } else if (what < 53) {
        status = flow_clock(f->kernel, next_time(f), &stop);
    } else if (what < 57) {
        const uint32_t m = a_market(f);
        int64_t mark = near_price(f, m < MARKETS ? m : 0);
        if (pick(s, 8) == 0) mark = f->last[0] * 2;
        status = flow_mark_price(f->kernel, m, next_time(f), mark, &stop);
    } else if (what < 59) {
        const int64_t rate = mostly(s, (int64_t)some(s, 2) * 100 - 3000000);
        status = flow_funding(f->kernel, a_market(f), next_time(f), rate, &stop);
    } else if (what == 59) {
        status = flow_gap(f->kernel, a_market(f));
    } else if (what == 60) {
        status = flow_anchor(f->kernel, a_market(f), some(s, 1) % (FLOW_ANCHORS_MAX + 1));
    } else if (what == 61) {
        take(f, f->kernel, (size_t)pick(s, 64), false);
    } else if (what == 62 && pick(s, 8) == 0) {
        status = flow_end(f->kernel);
        finish(f, bytes, status);
        f->ended |= status == FLOW_OK;
        return;
    } else {
        empty_outboxes(f, f->kernel);
    }
    if (what >= 61 && f->ended) return;
    finish(f, bytes, status);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    fuzz f = {.in = {bytes, 0, count}, .last = {500, 500}};
    f.strict = pick(&f.in, 2) == 1;
    if (!create(&f)) return 0;
    memset(print_lots, 0, sizeof print_lots);
    memset(given_lots, 0, sizeof given_lots);
    flow_snapshot snap = {0};
    while (f.in.at < f.in.count && snap.input < INPUTS_MAX - ROWS_MAX - 1) {
        step(&f);
        CHECK(flow_get_snapshot(f.kernel, 0, &snap) == FLOW_OK);
    }
    if (!f.ended) {
        empty_outboxes(&f, f.kernel);
        CHECK(flow_end(f.kernel) == FLOW_OK);
    }
    empty_outboxes(&f, f.kernel);
    check_everything(&f);
    flow_destroy(f.kernel);
    return 0;
}

#if defined(FUZZ_STANDALONE)

/* Sanitizers end the program by a signal, or by the callback. */
extern void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));

const char *__ubsan_default_options(void);
const char *__ubsan_default_options(void) { return "abort_on_error=1:print_stacktrace=1"; }

static void on_abort(int number)
{
    (void)number;
    name_script();
}

#define SCRIPT_BYTES_MAX 4096

static void play_random(uint64_t seed)
{
    static uint8_t bytes[SCRIPT_BYTES_MAX];
    script_seed = seed;
    rng_state = seed * 0x9E3779B97F4A7C15u | 1;
    const size_t count = 64 + rng() % (rng() % 4 ? 800 : SCRIPT_BYTES_MAX - 64);
    for (size_t i = 0; i < count; i++)
        bytes[i] = (uint8_t)(rng() >> 32);
    LLVMFuzzerTestOneInput(bytes, count);
}

static void play_file(const char *path)
{
    static uint8_t bytes[BYTES_MAX];
    FILE *file = fopen(path, "rb");
    if (!file) {
        perror(path);
        exit(2);
    }
    const size_t count = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    script_seed = 0;
    LLVMFuzzerTestOneInput(bytes, count);
}

int main(int argc, char **argv)
{
    uint64_t seed = 1, scripts = 1000;
    long seconds = 0;
    signal(SIGABRT, on_abort);
    if (__sanitizer_set_death_callback) __sanitizer_set_death_callback(name_script);
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "-s") == 0 && i + 1 < argc)
            seed = strtoull(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "-n") == 0 && i + 1 < argc)
            scripts = strtoull(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "-t") == 0 && i + 1 < argc)
            seconds = strtol(argv[++i], NULL, 10);
        else
            play_file(argv[i]);
    }
    const time_t end = time(NULL) + seconds;
    uint64_t played = 0;
    while (played < scripts && (seconds == 0 || time(NULL) < end))
        play_random(seed + played++);
    printf("fuzz_kernel: %llu scripts\n", (unsigned long long)played);
    return 0;
}

#endif
