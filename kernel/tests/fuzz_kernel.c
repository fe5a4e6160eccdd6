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
#include "fuzz_checks.h"

#if defined(FUZZ_DAMAGE)
#define GOES_ON true
#else
#define GOES_ON false
#endif

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
    int64_t low[BLOCKS_MAX], high[BLOCKS_MAX], latest[BLOCKS_MAX];
    const flow_extremes extremes = {low, high, latest, 0};
    if (pick(&f->in, 2)) {
        flow_block_extremes(flow_cpu_here(), ts, price, batch.count, low, high, latest);
        batch.extremes = &extremes;
    }
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
    if (index > 0 && pick(s, 3)) r.parent_id = FLOW_GROUP;
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
    /* Pairs want one side, children mostly the other one. */
    for (size_t i = 1; i < count && pick(&f->in, 4); i++) {
        requests[i].market = requests[0].market;
        const bool child = requests[i].parent_id == FLOW_GROUP;
        requests[i].side = child ? (int8_t)-requests[0].side : requests[0].side;
        if (requests[i].sibling_id == FLOW_GROUP + 1) requests[i].parent_id = requests[1].parent_id;
    }
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

/* Everything that can be looked at, with room or without; looking changes nothing. */
static void look(fuzz *f)
{
    static flow_profile_row profile[4096];
    static flow_footprint_row rows[FLOW_FOOTPRINT_ROWS_MAX];
    static int64_t scratch[4096];
    script *s = &f->in;
    const uint32_t m = a_market(f);
    const size_t series = (size_t)pick(s, 9), capacity = pick(s, 2) ? 4096 : (size_t)pick(s, 4);
    flow_session session;
    flow_bar bar;
    flow_footprint footprint;
    flow_value_area area;
    size_t count = 0;
    const bool known = m < f->market_count;
    CHECK((flow_get_session(f->kernel, m, &session) == FLOW_OK) == known);
    if (flow_get_profile(f->kernel, m, profile, capacity, &count) == FLOW_OK && count > 0) {
        CHECK(flow_value_area_of(profile, count, 1 + some(s, 2), scratch, &area) == FLOW_OK);
        CHECK((i128)area.total_lots == f->volume_lots[m]);
        CHECK(area.area_lots <= area.total_lots && area.low_ticks <= area.poc_ticks &&
              area.poc_ticks <= area.high_ticks);
    }
    const flow_status status = flow_get_bar(f->kernel, m, series, &bar);
    const size_t room = capacity < FLOW_FOOTPRINT_ROWS_MAX ? capacity : FLOW_FOOTPRINT_ROWS_MAX;
    if (flow_get_footprint(f->kernel, m, series, &footprint, rows, room, &count) == FLOW_OK) {
        i128 lots = 0;
        for (size_t i = 0; i < count; i++)
            lots += (i128)rows[i].buy_lots + rows[i].sell_lots;
        CHECK(status == FLOW_OK && count <= room);
        CHECK(count == 0 || lots == (i128)bar.buy_lots + bar.sell_lots);
    }
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
    flow_set_rule(victim, 0, snap.stream_us, pick(&f->in, 12), pick(&f->in, 9), &stop);
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
    const int64_t what = pick(s, 65);
    if (what < 24 || what == 64) {
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
    } else if (what == 60 && pick(s, 2) == 0) {
        const int64_t rule = mostly(s, pick(s, 10)), value = mostly(s, pick(s, 4));
        status = flow_set_rule(f->kernel, a_market(f), next_time(f), rule, value, &stop);
    } else if (what == 60) {
        status = flow_anchor(f->kernel, a_market(f), some(s, 1) % (FLOW_ANCHORS_MAX + 1));
    } else if (what == 61) {
        look(f);
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
#include "fuzz_main.h"
#endif
