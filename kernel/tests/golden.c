/*
 * Digests of all that the kernel says on fixed corpora: one line each, the same from every compiler
 * on every machine. tests/kernel/golden.txt holds what they must be.
 *
 * A digest cannot tell right from wrong, only that something changed.
 */
#include "tests.h"

#define STEP_TRADES 20
#define ORDERS_MAX 12
#define ROWS_MAX 4096
#define DAY_US ((int64_t)86400 * 1000000)

/* Two hashes that have nothing in common, so that no accident hides a change from both. */
typedef struct digest {
    uint64_t fnv, turned;
} digest;

static const digest EMPTY = {1469598103934665603u, 0x2545F4914F6CDD1Du};

static void add(digest *d, const void *bytes, size_t count)
{
    d->fnv = hashed(d->fnv, bytes, count);
    for (size_t i = 0; i < count; i++) {
        const uint64_t turned = (d->turned << 23) | (d->turned >> 41);
        d->turned = (turned ^ ((const uint8_t *)bytes)[i]) * 0x9FB21C651E98DF25u;
    }
}

typedef enum tape { QUIET, NORMAL, CASCADE, DAYS } tape;

typedef struct corpus {
    const char *name;
    tape tape;
    int64_t account_kind;
    int64_t fill_model;
    int64_t lane_count;
    enum { PLAIN, BARE, NARROW } trim; /* see configure */
    uint64_t seed;
} corpus;

static const corpus CORPORA[] = {
    {"quiet-free", QUIET, FLOW_ACCOUNT_FREE, FLOW_FILLS_QUEUED, 3, PLAIN, 11},
    {"quiet-spot-one-lane", QUIET, FLOW_ACCOUNT_SPOT, FLOW_FILLS_QUEUED, 1, PLAIN, 12},
    {"normal-free", NORMAL, FLOW_ACCOUNT_FREE, FLOW_FILLS_QUEUED, 3, PLAIN, 21},
    {"normal-spot", NORMAL, FLOW_ACCOUNT_SPOT, FLOW_FILLS_QUEUED, 3, PLAIN, 22},
    {"normal-isolated", NORMAL, FLOW_ACCOUNT_ISOLATED, FLOW_FILLS_QUEUED, 3, PLAIN, 23},
    {"normal-free-spread", NORMAL, FLOW_ACCOUNT_FREE, FLOW_FILLS_SPREAD, 3, PLAIN, 24},
    {"normal-free-narrow", NORMAL, FLOW_ACCOUNT_FREE, FLOW_FILLS_QUEUED, 3, NARROW, 26},
    {"normal-spot-spread", NORMAL, FLOW_ACCOUNT_SPOT, FLOW_FILLS_SPREAD, 1, PLAIN, 25},
    {"cascade-free-one-lane", CASCADE, FLOW_ACCOUNT_FREE, FLOW_FILLS_QUEUED, 1, PLAIN, 31},
    {"cascade-isolated", CASCADE, FLOW_ACCOUNT_ISOLATED, FLOW_FILLS_QUEUED, 3, PLAIN, 32},
    {"cascade-isolated-spread", CASCADE, FLOW_ACCOUNT_ISOLATED, FLOW_FILLS_SPREAD, 3, PLAIN, 33},
    {"days-free", DAYS, FLOW_ACCOUNT_FREE, FLOW_FILLS_QUEUED, 3, PLAIN, 41},
    {"days-isolated", DAYS, FLOW_ACCOUNT_ISOLATED, FLOW_FILLS_QUEUED, 3, PLAIN, 42},
    {"bare-normal", NORMAL, FLOW_ACCOUNT_FREE, FLOW_FILLS_QUEUED, 3, BARE, 51},
    {"bare-cascade-spot", CASCADE, FLOW_ACCOUNT_SPOT, FLOW_FILLS_QUEUED, 1, BARE, 52},
};

/* What all corpora together have seen, a bit each. */
static uint64_t kinds_seen, changes_seen, reasons_seen, statuses_seen;

typedef struct play {
    flow_kernel *kernel;
    const flow_market *markets;
    digest out;
    uint64_t fills, liquidations, events, bars, rows, bubbles, marks, equity;
} play;

/* ---- tapes */

static void make_tape(tape kind, uint64_t seed)
{
    int64_t now = kind == DAYS ? 3 * DAY_US : 1000, at = 500;
    int64_t burst = 0;
    int8_t aggressor = 1;
    uint8_t instrument = 0;
    rng_state = seed * 0x9E3779B97F4A7C15u;
    for (size_t i = 0; i < TRADES; i++) {
        const uint64_t r = rng(), s = rng();
        int64_t lots = 1 + (int64_t)(s % 1000);
        if ((r >> 16) % 4 == 0 && burst == 0) aggressor = (int8_t)-aggressor;
        if ((r >> 40) % 9 == 0) instrument = (uint8_t)(1 - instrument);
        switch (kind) {
        case QUIET:
            now += (int64_t)(r % 3000);
            if ((r >> 20) % 20 == 0) at += aggressor;
            lots = 1 + (int64_t)(s % 50);
            break;
        case NORMAL:
        case DAYS:
            if (kind == DAYS) now += (int64_t)(r % 330000000);
            if (r % 3 == 0) now += (int64_t)(r >> 8) % 40;
            if ((r >> 20) % 3 == 0) at += aggressor;
            if ((r >> 24) % 2000 == 0) at += 300;
            break;
        case CASCADE:
            if (burst == 0 && s % 300 == 0) {
                burst = 20 + (int64_t)(r % 60);
                aggressor = at > 400 ? -1 : 1;
            }
            if (burst > 0) {
                burst--;
                at += aggressor * (int64_t)((r >> 8) % 6);
                lots *= 5;
                now += r % 8 == 0;
            } else {
                now += (int64_t)(r % 60);
                if ((r >> 20) % 3 == 0) at += aggressor;
            }
            break;
        }
        if (r % 500 == 0) now -= 40; /* prints come late at times */
        if (at < 1) at = 1;
        ts[i] = now > 0 ? now : 0;
        price[i] = at;
        qty[i] = lots;
        side[i] = aggressor;
        traded_on[i] = instrument;
    }
}

static int64_t block_low[TRADES / FLOW_SCAN_BLOCK_ROWS + 1];
static int64_t block_high[TRADES / FLOW_SCAN_BLOCK_ROWS + 1];
static int64_t block_latest[TRADES / FLOW_SCAN_BLOCK_ROWS + 1];

/* ---- what is said */

#define ADD_ALL(call, type, total) \
    do { \
        static type taken[64]; \
        size_t count = 0; \
        do { \
            EXPECT((call) == FLOW_OK); \
            add(&p->out, taken, count * sizeof *taken); \
            total += count; \
        } while (count > 0); \
    } while (0)

static void take_fills(play *p)
{
    static flow_fill taken[64];
    size_t count;
    do {
        EXPECT(flow_take_fills(p->kernel, taken, 64, &count) == FLOW_OK);
        add(&p->out, taken, count * sizeof *taken);
        p->fills += count;
        for (size_t i = 0; i < count; i++)
            p->liquidations += taken[i].role == FLOW_LIQUIDATED;
    } while (count > 0);
}

static void take_events(play *p)
{
    static flow_order_event taken[64];
    size_t count;
    do {
        EXPECT(flow_take_order_events(p->kernel, taken, 64, &count) == FLOW_OK);
        add(&p->out, taken, count * sizeof *taken);
        p->events += count;
        for (size_t i = 0; i < count; i++) {
            changes_seen |= (uint64_t)1 << taken[i].change;
            reasons_seen |= (uint64_t)1 << taken[i].reason;
        }
    } while (count > 0);
}

static void drain_all(play *p)
{
    flow_kernel *k = p->kernel;
    for (uint32_t m = 0; m < MARKETS; m++) {
        for (size_t s = 0; s < (size_t)p->markets[m].flow.series_count; s++) {
            ADD_ALL(flow_take_bars(k, m, s, taken, 64, &count), flow_bar, p->bars);
            ADD_ALL(flow_take_footprints(k, m, s, taken, 64, &count), flow_footprint, p->rows);
            ADD_ALL(flow_take_footprint_rows(k, m, s, taken, 64, &count), flow_footprint_row,
                    p->rows);
        }
        ADD_ALL(flow_take_bubbles(k, m, taken, 64, &count), flow_bubble, p->bubbles);
        ADD_ALL(flow_take_marks(k, m, taken, 64, &count), flow_mark, p->marks);
    }
    take_fills(p);
    take_events(p);
    ADD_ALL(flow_take_equity(k, taken, 64, &count), flow_equity, p->equity);
}

/* Everything that can be looked at. */
static void look(play *p)
{
    static flow_profile_row profile[ROWS_MAX];
    static flow_footprint_row rows[ROWS_MAX];
    static flow_order orders[3 * ORDERS_MAX];
    size_t count = 0;
    for (uint32_t m = 0; m < MARKETS; m++) {
        flow_snapshot snap;
        flow_session session;
        EXPECT(flow_get_snapshot(p->kernel, m, &snap) == FLOW_OK);
        EXPECT(flow_get_session(p->kernel, m, &session) == FLOW_OK);
        add(&p->out, &snap, sizeof snap);
        add(&p->out, &session, sizeof session);
        EXPECT(flow_get_profile(p->kernel, m, profile, ROWS_MAX, &count) == FLOW_OK);
        add(&p->out, profile, count * sizeof *profile);
        for (size_t s = 0; s < (size_t)p->markets[m].flow.series_count; s++) {
            flow_footprint footprint;
            EXPECT(flow_get_footprint(p->kernel, m, s, &footprint, rows, ROWS_MAX, &count) ==
                   FLOW_OK);
            add(&p->out, &footprint, sizeof footprint);
            add(&p->out, rows, count * sizeof *rows);
        }
        for (int lane = 0; lane < FLOW_LANES; lane++) {
            flow_position position;
            EXPECT(flow_get_position(p->kernel, m, lane, &position) == FLOW_OK);
            add(&p->out, &position, sizeof position);
        }
    }
    for (int lane = 0; lane < FLOW_LANES; lane++) {
        flow_account account;
        EXPECT(flow_get_account(p->kernel, lane, &account) == FLOW_OK);
        add(&p->out, &account, sizeof account);
    }
    EXPECT(flow_get_orders(p->kernel, orders, 3 * ORDERS_MAX, &count) == FLOW_OK);
    add(&p->out, orders, count * sizeof *orders);
}

/* ---- what is asked for */

/* As random_request, and with all that it leaves out. */
static flow_request wide_request(uint64_t r, int64_t last, int64_t now)
{
    flow_request request = random_request(r, last);
    const uint64_t s = rng();
    const bool trigger = request.kind >= FLOW_STOP;
    if (s % 6 == 0 && request.time_in_force == FLOW_GTC) {
        request.time_in_force = FLOW_GTD;
        request.expire_us = now + 1 + (int64_t)((s >> 8) % 3000);
    }
    if (trigger && (s >> 16) % 5 == 0) request.flags |= FLOW_ON_MARK;
    if (request.kind == FLOW_TRAILING_STOP) {
        if ((s >> 20) % 3 == 0) {
            request.flags |= FLOW_TRAIL_PPM;
            request.trail *= 1500;
        }
        if ((s >> 24) % 3 == 0) request.trigger_ticks = last + (int64_t)((s >> 28) % 9) - 4;
    }
    const bool closes = request.kind == FLOW_MARKET || request.kind == FLOW_STOP ||
                        request.kind == FLOW_TAKE_PROFIT;
    if (closes && (s >> 32) % 8 == 0) {
        request.flags |= FLOW_CLOSE_POSITION;
        request.qty_lots = 0;
    }
    if ((s >> 40) % 10 == 0) request.qty_lots *= 20;
    return request;
}

static void answered(play *p, flow_status status)
{
    statuses_seen |= (uint64_t)1 << status;
    add(&p->out, &(int64_t){(int64_t)status}, sizeof(int64_t));
}

static void place(play *p, int64_t now, const flow_request *requests, size_t count)
{
    uint64_t ids[3] = {0};
    const flow_status status = flow_place(p->kernel, now, requests, count, ids);
    for (size_t i = 0; i < count && status == FLOW_OK; i++)
        kinds_seen |= (uint64_t)1 << requests[i].kind;
    answered(p, status);
    add(&p->out, ids, sizeof ids);
}

static void place_bracket(play *p, uint64_t r, int64_t last, int64_t now)
{
    flow_request group[3] = {wide_request(r, last, now), {0}, {0}};
    const flow_request exits = {
        .qty_lots = group[0].qty_lots,
        .parent_id = FLOW_GROUP,
        .market = group[0].market,
        .side = (int8_t)-group[0].side,
        .flags = FLOW_REDUCE_ONLY,
    };
    group[1] = group[2] = exits;
    group[1].kind = FLOW_LIMIT;
    group[1].price_ticks = last + 3 * group[0].side;
    group[2].kind = FLOW_STOP;
    group[2].trigger_ticks = last - 3 * group[0].side;
    group[2].sibling_id = FLOW_GROUP + 1;
    place(p, now, group, 3);
}

/* Two orders of which one ends the other. */
static void place_pair(play *p, uint64_t r, int64_t last, int64_t now)
{
    flow_request pair[2] = {wide_request(r, last, now), {0}};
    pair[1] = pair[0];
    pair[1].kind = FLOW_STOP;
    pair[1].flags = 0;
    pair[1].price_ticks = pair[1].trail = pair[1].display_lots = 0;
    pair[1].trigger_ticks = last + 4 * pair[0].side;
    pair[1].sibling_id = FLOW_GROUP;
    place(p, now, pair, 2);
}

static void command(play *p)
{
    static flow_order orders[3 * ORDERS_MAX];
    const uint64_t r = rng(), more = rng();
    const uint32_t m = (uint32_t)(more >> 60) % MARKETS;
    flow_kernel *k = p->kernel;
    flow_snapshot snap;
    flow_stop stop;
    size_t count = 0;
    EXPECT(flow_get_snapshot(k, m, &snap) == FLOW_OK);
    EXPECT(flow_get_orders(k, orders, 3 * ORDERS_MAX, &count) == FLOW_OK);
    const uint64_t some = count ? orders[(more >> 32) % count].order_id : 1;
    const int64_t now = snap.stream_us, last = snap.last_ticks ? snap.last_ticks : 500;
    switch (more % 20) {
    case 0:
        answered(p, flow_cancel(k, now + (int64_t)(r % 10), some));
        break;
    case 1:
        answered(p, flow_amend(k, now, some, 1 + (int64_t)(r >> 8) % 900, 0, 0));
        break;
    case 2:
        answered(p, flow_amend(k, now, some, 0, last + (int64_t)(r % 7) - 3, 0));
        break;
    case 3:
        answered(p, flow_amend(k, now, some, 0, 0, last + (int64_t)(r % 13) - 6));
        break;
    case 4:
    case 5:
        place_bracket(p, r, last, now);
        break;
    case 6:
        place_pair(p, r, last, now);
        break;
    case 7:
        if (r % 4 == 0) answered(p, flow_gap(k, m));
        break;
    case 8:
    case 9: {
        const int64_t apart = r % 6 == 0 ? last / 7 : (int64_t)(r >> 8) % 4;
        const int64_t mark = last + ((r >> 16) % 2 ? apart : -apart);
        answered(p, flow_mark_price(k, m, now + (int64_t)(r >> 24) % 20, mark, &stop));
        answered(p, (flow_status)stop);
        break;
    }
    case 10:
        answered(p, flow_funding(k, m, now, (int64_t)((r >> 32) % 2000000) - 1000000, &stop));
        break;
    case 11:
        if (r % 4 == 0) answered(p, flow_cancel_all(k, now, (int64_t)(r >> 8) % 3 - 1, &count));
        break;
    case 12:
        answered(p, flow_clock(k, now + (int64_t)(r % 200), &stop));
        break;
    case 13:
        if (r % 4 == 0) answered(p, flow_anchor(k, m, (r >> 8) % FLOW_ANCHORS_MAX));
        break;
    default: {
        const flow_request request = wide_request(r, last, now);
        place(p, now + (int64_t)(r % 30), &request, 1);
    }
    }
}

/* ---- corpora */

/* NARROW: room for few orders, many of which stay open in the pessimistic lane alone; takers of
 * the base lane get nothing from the other side. */
static void configure(const corpus *c, flow_config *config, flow_market *markets)
{
    *config = CONFIG;
    config->orders_max = ORDERS_MAX;
    config->account_kind = c->account_kind;
    config->fill_model = c->fill_model;
    config->lane_count = c->lane_count;
    config->seed = c->seed;
    if (c->account_kind == FLOW_ACCOUNT_SPOT) config->initial_cash_atoms.lo = 30000000;
    if (c->tape == DAYS) config->decide_grid_us = config->equity_grid_us = 1000000000;
    if (c->tape == DAYS) config->fee_tiers[1].from_atoms.lo = 2000000000;
    memcpy(markets, MARKET_CONFIGS, sizeof MARKET_CONFIGS);
    markets[0].rules.notional_min_ticklots = 2000;
    markets[0].rules.price_up_ppm = 1006000;
    markets[0].rules.price_down_ppm = 994000;
    markets[1].rules.qty_max_lots = 30000;
    markets[1].rules.market_qty_max_lots = 20000;
    markets[1].rules.price_min_ticks = 2;
    if (c->trim == NARROW) {
        config->orders_max = 3;
        config->lanes[FLOW_PESSIMISTIC].participation_ppm = 1;
        config->lanes[FLOW_BASE].own_side_only = 1;
    }
    if (c->trim != BARE) return;
    /* No order flow but sums with all lanes; the tape comes with its block extremes. */
    config->queue_window = c->lane_count == 1 ? 0 : 64;
    for (int m = 0; m < MARKETS; m++) {
        flow_orderflow_config off = {.footprint_rows_max = 2, .value_area_ppm = 1};
        off.imbalance_stack_count = 1;
        off.sums_on = c->lane_count > 1;
        markets[m].flow = off;
    }
}

static void run(play *p, const flow_batch *batch)
{
    size_t at = 0;
    flow_stop why;
    while (at < batch->count) {
        EXPECT(flow_run(p->kernel, batch, at, &at, &why) == FLOW_OK);
        add(&p->out, &(uint64_t){at * 4 + (uint64_t)why}, sizeof(uint64_t));
        drain_all(p);
    }
}

static void play_corpus(const corpus *c)
{
    static uint8_t state[STATE_BYTES_MAX];
    flow_config config;
    flow_market markets[MARKETS];
    configure(c, &config, markets);
    play p = {.markets = markets, .out = EMPTY};
    EXPECT(flow_create(&config, markets, MARKETS, &p.kernel) == FLOW_OK);
    make_tape(c->tape, c->seed);
    flow_block_extremes(FLOW_CPU_PORTABLE, ts, price, TRADES, block_low, block_high, block_latest);
    for (size_t done = 0; done < TRADES; done += STEP_TRADES) {
        flow_batch batch = batch_of(done, STEP_TRADES);
        const size_t block = done / FLOW_SCAN_BLOCK_ROWS;
        const flow_extremes extremes = {block_low + block, block_high + block, block_latest + block,
                                        done % FLOW_SCAN_BLOCK_ROWS};
        if (c->trim == BARE) batch.extremes = &extremes;
        run(&p, &batch);
        command(&p);
        drain_all(&p);
        if (done % (25 * STEP_TRADES) == 0) look(&p);
    }
    digest kept = EMPTY;
    size_t bytes = 0;
    EXPECT(flow_save_state(p.kernel, state, STATE_BYTES_MAX, &bytes) == FLOW_OK);
    add(&kept, state, bytes);
    EXPECT(flow_end(p.kernel) == FLOW_OK);
    drain_all(&p);
    look(&p);
    EXPECT(flow_save_state(p.kernel, state, STATE_BYTES_MAX, &bytes) == FLOW_OK);
    add(&kept, state, bytes);
    flow_destroy(p.kernel);
    printf("%s out=%016llx%016llx state=%016llx%016llx fills=%llu liquidations=%llu events=%llu "
           "bars=%llu rows=%llu bubbles=%llu marks=%llu equity=%llu\n",
           c->name, (unsigned long long)p.out.fnv, (unsigned long long)p.out.turned,
           (unsigned long long)kept.fnv, (unsigned long long)kept.turned,
           (unsigned long long)p.fills, (unsigned long long)p.liquidations,
           (unsigned long long)p.events, (unsigned long long)p.bars, (unsigned long long)p.rows,
           (unsigned long long)p.bubbles, (unsigned long long)p.marks,
           (unsigned long long)p.equity);
}

int main(void)
{
    printf("semantics version=%u\n", FLOW_SEMANTICS_VERSION);
    for (size_t i = 0; i < sizeof CORPORA / sizeof CORPORA[0]; i++)
        play_corpus(&CORPORA[i]);
    printf("seen kinds=%llx changes=%llx reasons=%llx statuses=%llx\n",
           (unsigned long long)kinds_seen, (unsigned long long)changes_seen,
           (unsigned long long)reasons_seen, (unsigned long long)statuses_seen);
    return failures ? 1 : 0;
}
