/*
 * Runs the kernel through its C interface; meant for builds with AddressSanitizer and UBSan.
 * Bad calls must be refused by name and leave the state as it was; a long random session must give
 * the same state however its batches are cut and whenever it is saved and loaded.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "flow_kernel.h"
#include "tests.h"

#define TRADES 20000
#define STATE_BYTES_MAX (1 << 20)

int failures;

#define REFUSED(call, status) EXPECT((call) == (status))

static uint64_t rng_state;

static uint64_t rng(void)
{
    rng_state ^= rng_state << 13;
    rng_state ^= rng_state >> 7;
    rng_state ^= rng_state << 17;
    return rng_state;
}

static const flow_config CONFIG = {
    .abi_version = FLOW_ABI_VERSION,
    .orders_max = 8,
    .decide_trades_count = 700,
    .decide_grid_us = 5000,
    .decide_on_fill = 1,
    .equity_grid_us = 3000,
    .latency_us = 20,
    .maker_fee_ppm = -50,
    .taker_fee_ppm = 400,
    .atoms_per_ticklot = 10,
    .fee_unit_atoms = 3,
    .initial_cash_atoms = {.lo = 1000000},
    .orderflow =
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
};

static int64_t ts[TRADES], price[TRADES], qty[TRADES];
static int8_t side[TRADES];

static void make_trades(uint64_t seed)
{
    int64_t now = 1000, at = 500;
    int8_t aggressor = 1;
    rng_state = seed;
    for (size_t i = 0; i < TRADES; i++) {
        uint64_t r = rng();
        if (r % 3 == 0) now += (int64_t)(r >> 8) % 40;
        if (r % 500 == 0 && now > 100) now -= 50;
        if ((r >> 16) % 4 == 0) aggressor = (int8_t)-aggressor;
        if ((r >> 20) % 3 == 0) at += aggressor;
        if ((r >> 24) % 2000 == 0) at += 300;
        if (at < 1) at = 1;
        ts[i] = now;
        price[i] = at;
        qty[i] = 1 + (int64_t)(r >> 32) % 1000;
        side[i] = aggressor;
    }
}

static flow_kernel *make_kernel(void)
{
    flow_kernel *kernel = NULL;
    EXPECT(flow_create(&CONFIG, &kernel) == FLOW_OK);
    return kernel;
}

static void drain(flow_kernel *kernel)
{
    static flow_bar bars[64];
    static flow_footprint footprints[64];
    static flow_footprint_row rows[64];
    static flow_mark marks[64];
    static flow_bubble bubbles[64];
    static flow_fill fills[64];
    static flow_order_event events[64];
    static flow_equity equity[64];
    flow_orderflow_counts flow;
    size_t pending[3], count, waiting;
    do {
        for (size_t i = 0; i < 8; i++) {
            EXPECT(flow_take_bars(kernel, i, bars, 64, &count) == FLOW_OK);
            EXPECT(flow_take_footprints(kernel, i, footprints, 64, &count) == FLOW_OK);
            EXPECT(flow_take_footprint_rows(kernel, i, rows, 64, &count) == FLOW_OK);
        }
        REFUSED(flow_take_bars(kernel, 8, bars, 64, &count), FLOW_BAD_SERIES);
        EXPECT(flow_take_bubbles(kernel, bubbles, 64, &count) == FLOW_OK);
        EXPECT(flow_take_marks(kernel, marks, 64, &count) == FLOW_OK);
        EXPECT(flow_take_fills(kernel, fills, 64, &count) == FLOW_OK);
        EXPECT(flow_take_order_events(kernel, events, 64, &count) == FLOW_OK);
        EXPECT(flow_take_equity(kernel, equity, 64, &count) == FLOW_OK);
        EXPECT(flow_pending(kernel, pending) == FLOW_OK);
        EXPECT(flow_orderflow_pending(kernel, &flow) == FLOW_OK);
        waiting = pending[0] + pending[1] + pending[2] + flow.bubbles + flow.marks;
        for (size_t i = 0; i < 8; i++)
            waiting += flow.bars[i] + flow.footprints[i] + flow.footprint_rows[i];
    } while (waiting > 0);
}

static size_t save(flow_kernel *kernel, uint8_t *out)
{
    size_t bytes = 0, need = 0;
    drain(kernel);
    EXPECT(flow_save_state(kernel, out, STATE_BYTES_MAX, &bytes) == FLOW_OK);
    EXPECT(flow_state_bytes(kernel, &need) == FLOW_OK && need == bytes);
    return bytes;
}

/* The whole session with batches of at most `cut` trades, orders at fixed inputs; returns the
 * bytes of its final state. Every `reload` batches the state moves to a fresh kernel. */
static size_t play(size_t cut, size_t reload, uint8_t *state)
{
    static uint8_t moved[STATE_BYTES_MAX];
    flow_kernel *kernel = make_kernel();
    size_t done = 0, batches = 0;
    rng_state = 99;
    while (done < TRADES) {
        size_t stop = done + cut < TRADES ? done + cut : TRADES;
        size_t boundary = (done / 100 + 1) * 100;
        if (stop > boundary) stop = boundary;
        flow_batch batch = {ts + done, price + done, qty + done, side + done, stop - done, 0};
        size_t at = 0, bad = 0;
        flow_stop why;
        EXPECT(flow_check_batch(&batch, &bad) == FLOW_OK);
        while (at < batch.count) {
            EXPECT(flow_run(kernel, &batch, at, &at, &why) == FLOW_OK);
            if (why == FLOW_STOP_DRAIN) drain(kernel);
        }
        done = stop;
        if (done % 100 == 0) {
            flow_snapshot snap;
            uint64_t id = 0, r = rng();
            EXPECT(flow_get_snapshot(kernel, &snap) == FLOW_OK);
            flow_status status =
                flow_place(kernel, snap.stream_us, r % 3 ? FLOW_LIMIT : FLOW_MARKET, r % 2 ? 1 : -1,
                           1 + (int64_t)(r >> 8) % 2000,
                           r % 3 ? snap.last_ticks + (int64_t)(r % 7) - 3 : 0, &id);
            EXPECT(status == FLOW_OK || status == FLOW_CAPACITY || status == FLOW_BAD_PRICE);
            if (status == FLOW_OK && r % 5 == 0)
                EXPECT(flow_cancel(kernel, snap.stream_us, id) == FLOW_OK);
        }
        if (++batches % reload == 0) {
            size_t bytes = save(kernel, moved);
            flow_destroy(kernel);
            kernel = make_kernel();
            EXPECT(flow_load_state(kernel, moved, bytes) == FLOW_OK);
        }
    }
    drain(kernel);
    EXPECT(flow_end(kernel) == FLOW_OK);
    size_t bytes = save(kernel, state);
    flow_destroy(kernel);
    return bytes;
}

static void test_cuts_and_reloads_change_nothing(void)
{
    static uint8_t first[STATE_BYTES_MAX], other[STATE_BYTES_MAX];
    const size_t cuts[] = {1, 7, 100};
    make_trades(12345);
    size_t bytes = play(TRADES, SIZE_MAX, first);
    EXPECT(bytes > 500);
    for (size_t i = 0; i < sizeof cuts / sizeof cuts[0]; i++) {
        EXPECT(play(cuts[i], 50, other) == bytes);
        EXPECT(memcmp(first, other, bytes) == 0);
    }
}

static void test_bad_configurations_are_refused(void)
{
    flow_kernel *kernel = (flow_kernel *)&failures;
    REFUSED(flow_create(NULL, &kernel), FLOW_NULL_POINTER);
    EXPECT(kernel == NULL);
    REFUSED(flow_create(&CONFIG, NULL), FLOW_NULL_POINTER);
    flow_config c = CONFIG;
    c.abi_version++;
    REFUSED(flow_create(&c, &kernel), FLOW_ABI_MISMATCH);
#define BAD(field, value) \
    do { \
        c = CONFIG; \
        c.field = (value); \
        REFUSED(flow_create(&c, &kernel), FLOW_BAD_CONFIG); \
    } while (0)
    BAD(orders_max, 0);
    BAD(orders_max, FLOW_ORDERS_MAX + 1);
    BAD(orderflow.series_count, 0);
    BAD(orderflow.series_count, 9);
    BAD(orderflow.series_count, 7);
    BAD(orderflow.series[0].threshold, 0);
    BAD(orderflow.series[0].threshold, FLOW_TS_US_MAX + 1);
    BAD(orderflow.series[1].threshold, INT64_MAX);
    BAD(orderflow.series[2].kind, 8);
    BAD(orderflow.series[2].kind, -1);
    BAD(orderflow.series[3].row_ticks, -1);
    BAD(orderflow.footprint_rows_max, 48);
    BAD(orderflow.footprint_rows_max, 2 * FLOW_FOOTPRINT_ROWS_MAX);
    BAD(orderflow.value_area_ppm, 0);
    BAD(orderflow.value_area_ppm, 1000001);
    BAD(orderflow.imbalance_ppm, -1);
    BAD(orderflow.imbalance_min_lots, -1);
    BAD(orderflow.imbalance_stack_count, 0);
    BAD(orderflow.bubbles_on, 2);
    BAD(orderflow.bubbles_on, 0); /* large bubbles and exhaustion need them */
    BAD(orderflow.large_window_count, FLOW_LARGE_WINDOW_MAX + 1);
    BAD(orderflow.large_ppm, 0);
    BAD(orderflow.large_min_count, 65);
    BAD(orderflow.vwap_on, 2);
    BAD(orderflow.vwap_on, 0); /* the anchor needs it */
    BAD(orderflow.size_class_count, 9);
    BAD(orderflow.size_class_count, 1);
    BAD(orderflow.size_class_lots[1], 100);
    BAD(orderflow.recent_trades_count, FLOW_RECENT_TRADES_MAX + 1);
    BAD(orderflow.recent_slot_us, -1);
    BAD(orderflow.recent_slot_count, 0);
    BAD(orderflow.recent_slot_count, FLOW_RECENT_SLOTS_MAX + 1);
    BAD(orderflow.sweep_level_count, 1);
    BAD(orderflow.sweep_window_us, -1);
    BAD(orderflow.absorption_lots, -1);
    BAD(orderflow.absorption_ticks, 0);
    BAD(orderflow.absorption_window_us, FLOW_TS_US_MAX + 1);
    BAD(orderflow.exhaustion_count, -1);
    BAD(orderflow.exhaustion_ticks, 0);
    BAD(orderflow.bubble_window_us, -1);
    BAD(orderflow.bubble_band_ticks, -1);
    BAD(orderflow.profile_rows_max, 12);
    BAD(orderflow.profile_rows_max, 1);
    BAD(orderflow.profile_rows_max, 2 * FLOW_PROFILE_ROWS_MAX);
    BAD(decide_trades_count, -1);
    BAD(decide_grid_us, -1);
    BAD(decide_on_fill, 2);
    BAD(equity_grid_us, -1);
    BAD(latency_us, -1);
    BAD(maker_fee_ppm, 1000001);
    BAD(taker_fee_ppm, -1000001);
    BAD(atoms_per_ticklot, 0);
    BAD(fee_unit_atoms, 0);
    BAD(initial_cash_atoms.hi, INT64_MAX);
#undef BAD
    flow_destroy(NULL);
}

static void test_bad_batches_are_refused(void)
{
    struct {
        int64_t ts, price, qty;
        int8_t side;
        flow_status status;
    } rows[] = {
        {-1, 1, 1, 1, FLOW_BAD_TIME},
        {FLOW_TS_US_MAX + 1, 1, 1, 1, FLOW_BAD_TIME},
        {1, 0, 1, 1, FLOW_BAD_PRICE},
        {1, INT64_MIN, 1, 1, FLOW_BAD_PRICE},
        {1, FLOW_PRICE_TICKS_MAX + 1, 1, 1, FLOW_BAD_PRICE},
        {1, 1, 0, 1, FLOW_BAD_QTY},
        {1, 1, -5, 1, FLOW_BAD_QTY},
        {1, 1, FLOW_QTY_LOTS_MAX + 1, 1, FLOW_BAD_QTY},
        {1, 1, 1, 0, FLOW_BAD_SIDE},
        {1, 1, 1, 3, FLOW_BAD_SIDE},
        {1, 1, 1, -128, FLOW_BAD_SIDE},
    };
    size_t bad = 0;
    make_trades(7);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        size_t row = 70 + i;
        make_trades(7);
        ts[row] = rows[i].ts;
        price[row] = rows[i].price;
        qty[row] = rows[i].qty;
        side[row] = rows[i].side;
        flow_batch batch = {ts, price, qty, side, 200, 0};
        REFUSED(flow_check_batch(&batch, &bad), rows[i].status);
        EXPECT(bad == row);
    }
    make_trades(7);
    ts[3] = FLOW_TS_US_MAX;
    price[3] = FLOW_PRICE_TICKS_MAX;
    qty[3] = FLOW_QTY_LOTS_MAX;
    flow_batch edge = {ts, price, qty, side, 200, 0};
    EXPECT(flow_check_batch(&edge, &bad) == FLOW_OK);
    for (size_t i = 0; i < 200; i++)
        qty[i] = FLOW_QTY_LOTS_MAX;
    REFUSED(flow_check_batch(&edge, &bad), FLOW_OVERFLOW);
    REFUSED(flow_check_batch(NULL, &bad), FLOW_NULL_POINTER);
    flow_batch hollow = {NULL, price, qty, side, 1, 0};
    REFUSED(flow_check_batch(&hollow, &bad), FLOW_NULL_POINTER);
}

static void test_bad_calls_leave_the_state(void)
{
    static uint8_t before[STATE_BYTES_MAX], after[STATE_BYTES_MAX];
    flow_kernel *kernel = make_kernel();
    flow_stop stop;
    uint64_t id;
    size_t at = 0, bad = 0;
    make_trades(3);
    flow_batch batch = {ts, price, qty, side, 50, 0};
    EXPECT(flow_check_batch(&batch, &bad) == FLOW_OK);
    EXPECT(flow_run(kernel, &batch, 0, &at, &stop) == FLOW_OK);
    flow_snapshot snap;
    EXPECT(flow_get_snapshot(kernel, &snap) == FLOW_OK);
    int64_t now = snap.stream_us;
    for (int i = 0; i < 8; i++)
        EXPECT(flow_place(kernel, now, FLOW_LIMIT, 1, 1, 1, &id) == FLOW_OK);
    size_t bytes = save(kernel, before);

    REFUSED(flow_place(kernel, now, FLOW_LIMIT, 1, 1, 1, &id), FLOW_CAPACITY);
    EXPECT(id == 0);
    REFUSED(flow_place(kernel, now - 1, FLOW_LIMIT, 1, 1, 1, &id), FLOW_TIME_REVERSED);
    REFUSED(flow_place(kernel, now, (flow_order_kind)9, 1, 1, 1, &id), FLOW_BAD_ORDER);
    REFUSED(flow_place(kernel, now, FLOW_LIMIT, 0, 1, 1, &id), FLOW_BAD_SIDE);
    REFUSED(flow_place(kernel, now, FLOW_LIMIT, 1, 0, 1, &id), FLOW_BAD_QTY);
    REFUSED(flow_place(kernel, now, FLOW_LIMIT, 1, 1, 0, &id), FLOW_BAD_PRICE);
    REFUSED(flow_place(kernel, now, FLOW_MARKET, 1, 1, 5, &id), FLOW_BAD_PRICE);
    REFUSED(flow_cancel(kernel, now, 12345), FLOW_UNKNOWN_ORDER);
    REFUSED(flow_clock(kernel, now - 1, &stop), FLOW_TIME_REVERSED);
    REFUSED(flow_clock(kernel, -1, &stop), FLOW_BAD_TIME);
    REFUSED(flow_run(kernel, &batch, 51, &at, &stop), FLOW_BAD_ROW);
    REFUSED(flow_load_state(kernel, before, bytes - 1), FLOW_BAD_STATE);
    REFUSED(flow_load_state(kernel, before, 3), FLOW_BAD_STATE);
    flow_order orders[4];
    size_t count;
    REFUSED(flow_get_orders(kernel, orders, 4, &count), FLOW_SMALL_BUFFER);
    EXPECT(save(kernel, after) == bytes && memcmp(before, after, bytes) == 0);

    batch.total_lots = INT64_MAX;
    REFUSED(flow_run(kernel, &batch, 0, &at, &stop), FLOW_OVERFLOW);
    EXPECT(flow_end(kernel) == FLOW_OK);
    REFUSED(flow_run(kernel, &batch, 0, &at, &stop), FLOW_ENDED);
    REFUSED(flow_clock(kernel, now, &stop), FLOW_ENDED);
    REFUSED(flow_gap(kernel), FLOW_ENDED);
    REFUSED(flow_end(kernel), FLOW_ENDED);
    REFUSED(flow_place(kernel, now, FLOW_LIMIT, 1, 1, 1, &id), FLOW_ENDED);
    flow_destroy(kernel);

    EXPECT(flow_create(&CONFIG, &kernel) == FLOW_OK);
    REFUSED(flow_place(kernel, 0, FLOW_LIMIT, 1, FLOW_QTY_LOTS_MAX, 1, &id), FLOW_OK);
    for (int i = 0; i < 7; i++)
        flow_place(kernel, 0, FLOW_LIMIT, 1, FLOW_QTY_LOTS_MAX, 1, &id);
    flow_destroy(kernel);
}

/* Every single corrupted byte is either refused or gives a kernel that works within its memory. */
static void test_damaged_states_do_no_harm(void)
{
    static uint8_t state[STATE_BYTES_MAX];
    flow_kernel *kernel = make_kernel();
    size_t at = 0, bad = 0, refused = 0;
    flow_stop stop;
    make_trades(21);
    flow_batch batch = {ts, price, qty, side, 3000, 0};
    EXPECT(flow_check_batch(&batch, &bad) == FLOW_OK);
    while (at < batch.count) {
        EXPECT(flow_run(kernel, &batch, at, &at, &stop) == FLOW_OK);
        if (stop == FLOW_STOP_DRAIN) drain(kernel);
    }
    size_t bytes = save(kernel, state);
    flow_destroy(kernel);
    for (size_t i = 0; i < bytes; i++) {
        for (int bit = (int)(i % 2) * 7, once = 1; once; once = 0) {
            kernel = make_kernel();
            state[i] ^= (uint8_t)(1 << bit);
            if (flow_load_state(kernel, state, bytes) == FLOW_OK) {
                flow_batch more = {ts, price, qty, side, 64, 0};
                EXPECT(flow_check_batch(&more, &bad) == FLOW_OK);
                flow_run(kernel, &more, 0, &at, &stop);
                drain(kernel);
            } else {
                refused++;
            }
            state[i] ^= (uint8_t)(1 << bit);
            flow_destroy(kernel);
        }
    }
    EXPECT(refused > 100);
}

static void test_every_status_has_a_name(void)
{
    for (int i = 0; i < FLOW_STATUS_COUNT; i++) {
        EXPECT(strlen(flow_status_name((flow_status)i)) > 1);
        EXPECT(strlen(flow_status_text((flow_status)i)) > 5);
    }
    EXPECT(strcmp(flow_status_name((flow_status)999), "UNKNOWN") == 0);
}

int main(void)
{
    test_bad_configurations_are_refused();
    test_bad_batches_are_refused();
    test_bad_calls_leave_the_state();
    test_cuts_and_reloads_change_nothing();
    test_damaged_states_do_no_harm();
    test_every_status_has_a_name();
    test_rolling_histogram();
    printf(failures ? "%d failed\n" : "kernel: all good\n", failures);
    return failures ? 1 : 0;
}
