/*
 * The border of the kernel in C, for builds with AddressSanitizer and UBSan: bad calls are refused
 * by name and leave the state as it was.
 */
#include "tests.h"

static void test_bad_configurations_are_refused(void)
{
    flow_kernel *kernel = (flow_kernel *)&failures;
    REFUSED(flow_create(NULL, MARKET_CONFIGS, 1, &kernel), FLOW_NULL_POINTER);
    EXPECT(kernel == NULL);
    REFUSED(flow_create(&CONFIG, NULL, 1, &kernel), FLOW_NULL_POINTER);
    REFUSED(flow_create(&CONFIG, MARKET_CONFIGS, 1, NULL), FLOW_NULL_POINTER);
    REFUSED(flow_create(&CONFIG, MARKET_CONFIGS, 0, &kernel), FLOW_BAD_CONFIG);
    REFUSED(flow_create(&CONFIG, MARKET_CONFIGS, FLOW_MARKETS_MAX + 1, &kernel), FLOW_BAD_CONFIG);
    flow_config c = CONFIG;
    flow_market m;
    c.abi_version++;
    REFUSED(flow_create(&c, MARKET_CONFIGS, 1, &kernel), FLOW_ABI_MISMATCH);
#define BAD(field, value) \
    do { \
        c = CONFIG; \
        c.field = (value); \
        REFUSED(flow_create(&c, MARKET_CONFIGS, 1, &kernel), FLOW_BAD_CONFIG); \
    } while (0)
#define BAD_MARKET(field, value) \
    do { \
        m = MARKET_CONFIGS[0]; \
        m.field = (value); \
        REFUSED(flow_create(&CONFIG, &m, 1, &kernel), FLOW_BAD_CONFIG); \
    } while (0)
    BAD(orders_max, 0);
    BAD(orders_max, FLOW_ORDERS_MAX + 1);
    BAD_MARKET(flow.series_count, 0);
    BAD_MARKET(flow.series_count, 9);
    BAD_MARKET(flow.series_count, 7);
    BAD_MARKET(flow.series[0].threshold, 0);
    BAD_MARKET(flow.series[0].threshold, FLOW_TS_US_MAX + 1);
    BAD_MARKET(flow.series[1].threshold, INT64_MAX);
    BAD_MARKET(flow.series[2].kind, 8);
    BAD_MARKET(flow.series[2].kind, -1);
    BAD_MARKET(flow.series[3].row_ticks, -1);
    BAD_MARKET(flow.footprint_rows_max, 48);
    BAD_MARKET(flow.footprint_rows_max, 2 * FLOW_FOOTPRINT_ROWS_MAX);
    BAD_MARKET(flow.value_area_ppm, 0);
    BAD_MARKET(flow.value_area_ppm, 1000001);
    BAD_MARKET(flow.imbalance_ppm, -1);
    BAD_MARKET(flow.imbalance_min_lots, -1);
    BAD_MARKET(flow.imbalance_stack_count, 0);
    BAD_MARKET(flow.bubbles_on, 2);
    BAD_MARKET(flow.bubbles_on, 0); /* large bubbles and exhaustion need them */
    BAD_MARKET(flow.large_window_count, FLOW_LARGE_WINDOW_MAX + 1);
    BAD_MARKET(flow.large_ppm, 0);
    BAD_MARKET(flow.large_min_count, 65);
    BAD_MARKET(flow.vwap_on, 2);
    BAD_MARKET(flow.vwap_on, 0); /* the anchor needs it */
    BAD_MARKET(flow.size_class_count, 9);
    BAD_MARKET(flow.size_class_count, 1);
    BAD_MARKET(flow.size_class_lots[1], 100);
    BAD_MARKET(flow.recent_trades_count, FLOW_RECENT_TRADES_MAX + 1);
    BAD_MARKET(flow.recent_slot_us, -1);
    BAD_MARKET(flow.recent_slot_count, 0);
    BAD_MARKET(flow.recent_slot_count, FLOW_RECENT_SLOTS_MAX + 1);
    BAD_MARKET(flow.sweep_level_count, 1);
    BAD_MARKET(flow.sweep_window_us, -1);
    BAD_MARKET(flow.absorption_lots, -1);
    BAD_MARKET(flow.absorption_ticks, 0);
    BAD_MARKET(flow.absorption_window_us, FLOW_TS_US_MAX + 1);
    BAD_MARKET(flow.exhaustion_count, -1);
    BAD_MARKET(flow.exhaustion_ticks, 0);
    BAD_MARKET(flow.bubble_window_us, -1);
    BAD_MARKET(flow.bubble_band_ticks, -1);
    BAD_MARKET(flow.profile_rows_max, 12);
    BAD_MARKET(flow.profile_rows_max, 1);
    BAD_MARKET(flow.profile_rows_max, 2 * FLOW_PROFILE_ROWS_MAX);
    BAD(decide_trades_count, -1);
    BAD(decide_grid_us, -1);
    BAD(decide_on_fill, 2);
    BAD(equity_grid_us, -1);
    BAD(fill_model, 2);
    BAD(account_kind, 3);
    BAD(lane_count, 2);
    BAD(trace, 2);
    BAD(queue_window, -1);
    BAD(queue_window, FLOW_QUEUE_WINDOW_MAX + 1);
    BAD(touch_stale_us, -1);
    BAD(ioc_window_us, -1);
    BAD(spread_ppm, -1);
    BAD(fee_unit_atoms, 0);
    BAD(fee_tier_count, 0);
    BAD(fee_tier_count, FLOW_FEE_TIERS + 1);
    BAD(fee_tiers[0].maker_ppb, FLOW_PPB + 1);
    BAD(fee_tiers[1].taker_ppb, -FLOW_PPB - 1);
    BAD(fee_tiers[0].from_atoms.lo, 1);
    BAD(fee_tiers[1].from_atoms.lo, 0);
    BAD(latency_us[63], -1);
    BAD(lanes[0].queue_ppm, -1);
    BAD(lanes[0].queue_ppm, 500001); /* kinder from lane to lane */
    BAD(lanes[2].queue_ppm, FLOW_QUEUE_NEVER + 1);
    BAD(lanes[1].participation_ppm, 0);
    BAD(lanes[2].participation_ppm, 500001);
    BAD(lanes[0].slip_ticks, 1);
    BAD(lanes[1].own_side_only, 2);
    BAD_MARKET(atoms_per_ticklot, 0);
    BAD_MARKET(leverage, 0);
    BAD_MARKET(maintenance_ppm, -1);
    BAD_MARKET(rules.price_step_ticks, 0);
    BAD_MARKET(rules.qty_step_lots, 0);
    BAD_MARKET(rules.notional_min_ticklots, -1);
    BAD(initial_cash_atoms.hi, INT64_MAX);
#undef BAD
#undef BAD_MARKET
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
        flow_batch batch = {
            .ts_us = ts, .price_ticks = price, .qty_lots = qty, .side = side, .count = 200};
        REFUSED(flow_check_batch(&batch, &bad), rows[i].status);
        EXPECT(bad == row);
    }
    make_trades(7);
    ts[3] = FLOW_TS_US_MAX;
    price[3] = FLOW_PRICE_TICKS_MAX;
    qty[3] = FLOW_QTY_LOTS_MAX;
    flow_batch edge = {
        .ts_us = ts, .price_ticks = price, .qty_lots = qty, .side = side, .count = 200};
    EXPECT(flow_check_batch(&edge, &bad) == FLOW_OK);
    for (size_t i = 0; i < 200; i++)
        qty[i] = FLOW_QTY_LOTS_MAX;
    REFUSED(flow_check_batch(&edge, &bad), FLOW_OVERFLOW);
    REFUSED(flow_check_batch(NULL, &bad), FLOW_NULL_POINTER);
    flow_batch hollow = {.price_ticks = price, .qty_lots = qty, .side = side, .count = 1};
    REFUSED(flow_check_batch(&hollow, &bad), FLOW_NULL_POINTER);
}

static const flow_request LIMIT = {.qty_lots = 1, .price_ticks = 1, .side = 1, .kind = FLOW_LIMIT};

#define BAD_REQUEST(field, value, status) \
    do { \
        flow_request bad_request = LIMIT; \
        bad_request.field = (value); \
        REFUSED(flow_place(kernel, now, &bad_request, 1, ids), status); \
    } while (0)

static void refuse_requests(flow_kernel *kernel, int64_t now)
{
    uint64_t ids[2];
    BAD_REQUEST(market, MARKETS, FLOW_BAD_MARKET);
    BAD_REQUEST(side, 0, FLOW_BAD_SIDE);
    BAD_REQUEST(kind, 99, FLOW_BAD_ORDER);
    BAD_REQUEST(time_in_force, 4, FLOW_BAD_ORDER);
    BAD_REQUEST(flags, 64, FLOW_BAD_ORDER);
    BAD_REQUEST(flags, FLOW_TRAIL_PPM, FLOW_BAD_ORDER);
    BAD_REQUEST(flags, FLOW_ON_MARK, FLOW_BAD_ORDER);
    BAD_REQUEST(flags, FLOW_CLOSE_POSITION, FLOW_BAD_ORDER);
    BAD_REQUEST(trail, 1, FLOW_BAD_ORDER);
    BAD_REQUEST(display_lots, 1, FLOW_BAD_ORDER);
    BAD_REQUEST(expire_us, 1, FLOW_BAD_ORDER);
    BAD_REQUEST(time_in_force, FLOW_GTD, FLOW_BAD_TIME);
    BAD_REQUEST(qty_lots, 0, FLOW_BAD_QTY);
    BAD_REQUEST(qty_lots, -5, FLOW_BAD_QTY);
    BAD_REQUEST(qty_lots, FLOW_QTY_LOTS_MAX + 1, FLOW_BAD_QTY);
    BAD_REQUEST(price_ticks, 0, FLOW_BAD_PRICE);
    BAD_REQUEST(price_ticks, FLOW_PRICE_TICKS_MAX + 1, FLOW_BAD_PRICE);
    BAD_REQUEST(trigger_ticks, 7, FLOW_BAD_PRICE);
    BAD_REQUEST(parent_id, 12345, FLOW_UNKNOWN_ORDER);
    BAD_REQUEST(sibling_id, FLOW_GROUP, FLOW_UNKNOWN_ORDER);
    BAD_REQUEST(sibling_id, UINT64_MAX, FLOW_UNKNOWN_ORDER);
    flow_request pair[2] = {LIMIT, LIMIT};
    REFUSED(flow_place(kernel, now - 1, pair, 1, ids), FLOW_TIME_REVERSED);
    REFUSED(flow_place(kernel, -1, pair, 1, ids), FLOW_BAD_TIME);
    REFUSED(flow_place(kernel, now, NULL, 1, ids), FLOW_NULL_POINTER);
}

static void test_bad_calls_leave_the_state(void)
{
    static uint8_t before[STATE_BYTES_MAX], after[STATE_BYTES_MAX];
    flow_kernel *kernel = make_kernel();
    flow_stop stop;
    uint64_t ids[8];
    size_t at = 0, count = 0;
    make_trades(3);
    flow_batch batch = batch_of(0, 50);
    EXPECT(flow_run(kernel, &batch, 0, &at, &stop) == FLOW_OK);
    flow_snapshot snap;
    EXPECT(flow_get_snapshot(kernel, 0, &snap) == FLOW_OK);
    int64_t now = snap.stream_us;
    refuse_requests(kernel, now);
    /* The first of two is sound; neither may stay. */
    flow_request two[2] = {LIMIT, LIMIT};
    two[1].side = 7;
    REFUSED(flow_place(kernel, now, two, 2, ids), FLOW_BAD_SIDE);
    EXPECT(flow_get_snapshot(kernel, 0, &snap) == FLOW_OK && snap.order_count == 0);
    for (int i = 0; i < 8; i++)
        EXPECT(flow_place(kernel, now, &LIMIT, 1, &ids[i]) == FLOW_OK);
    EXPECT(flow_amend(kernel, now, ids[0], 5, 0, 0) == FLOW_OK);
    size_t bytes = save(kernel, before);

    refuse_requests(kernel, now);
    REFUSED(flow_place(kernel, now, &LIMIT, 1, ids), FLOW_CAPACITY);
    REFUSED(flow_cancel(kernel, now, 12345), FLOW_UNKNOWN_ORDER);
    REFUSED(flow_cancel(kernel, now - 1, ids[1]), FLOW_TIME_REVERSED);
    REFUSED(flow_cancel_all(kernel, now, MARKETS, &count), FLOW_BAD_MARKET);
    REFUSED(flow_amend(kernel, now, ids[0], 6, 0, 0), FLOW_AMEND_PENDING);
    REFUSED(flow_amend(kernel, now, ids[1], 0, 0, 0), FLOW_BAD_ORDER);
    REFUSED(flow_amend(kernel, now, ids[1], 0, 0, 5), FLOW_BAD_ORDER);
    REFUSED(flow_amend(kernel, now, ids[1], -1, 0, 0), FLOW_BAD_QTY);
    REFUSED(flow_amend(kernel, now, ids[1], 0, -1, 0), FLOW_BAD_PRICE);
    REFUSED(flow_clock(kernel, now - 1, &stop), FLOW_TIME_REVERSED);
    REFUSED(flow_clock(kernel, -1, &stop), FLOW_BAD_TIME);
    REFUSED(flow_gap(kernel, MARKETS), FLOW_BAD_MARKET);
    REFUSED(flow_mark_price(kernel, MARKETS, now, 5, &stop), FLOW_BAD_MARKET);
    REFUSED(flow_mark_price(kernel, 0, now, 0, &stop), FLOW_BAD_PRICE);
    REFUSED(flow_mark_price(kernel, 0, now - 1, 5, &stop), FLOW_TIME_REVERSED);
    REFUSED(flow_funding(kernel, 0, now, 5, &stop), FLOW_NO_MARK);
    REFUSED(flow_funding(kernel, 0, now, FLOW_PPB + 1, &stop), FLOW_BAD_PRICE);
    REFUSED(flow_set_rule(kernel, MARKETS, now, 4, 5, &stop), FLOW_BAD_MARKET);
    REFUSED(flow_set_rule(kernel, 0, now, -1, 5, &stop), FLOW_BAD_RULE);
    REFUSED(flow_set_rule(kernel, 0, now, FLOW_VENUE_RULE_COUNT, 5, &stop), FLOW_BAD_RULE);
    REFUSED(flow_set_rule(kernel, 0, now, 0, 0, &stop), FLOW_BAD_RULE);
    REFUSED(flow_set_rule(kernel, 0, now, 2, FLOW_PRICE_TICKS_MAX + 1, &stop), FLOW_BAD_RULE);
    REFUSED(flow_set_rule(kernel, 0, now - 1, 4, 5, &stop), FLOW_TIME_REVERSED);
    REFUSED(flow_anchor(kernel, 1, 0), FLOW_BAD_ANCHOR);
    REFUSED(flow_run(kernel, &batch, 51, &at, &stop), FLOW_BAD_ROW);
    REFUSED(flow_load_state(kernel, before, bytes - 1), FLOW_BAD_STATE);
    REFUSED(flow_load_state(kernel, before, 3), FLOW_BAD_STATE);
    flow_order orders[4];
    REFUSED(flow_get_orders(kernel, orders, 4, &count), FLOW_SMALL_BUFFER);
    EXPECT(save(kernel, after) == bytes && memcmp(before, after, bytes) == 0);

    batch.market_last = MARKETS;
    REFUSED(flow_run(kernel, &batch, 0, &at, &stop), FLOW_BAD_MARKET);
    batch.market_last = 0;
    for (size_t i = 0; i < 100; i++)
        qty[i] = FLOW_QTY_LOTS_MAX;
    batch = batch_of(0, 100);
    EXPECT(flow_run(kernel, &batch, 90, &at, &stop) == FLOW_OK);
    REFUSED(flow_run(kernel, &batch, 0, &at, &stop), FLOW_OK);
    drain(kernel, 0);
    REFUSED(flow_run(kernel, &batch, 0, &at, &stop), FLOW_OVERFLOW);
    EXPECT(flow_get_snapshot(kernel, 0, &snap) == FLOW_OK);
    now = snap.stream_us;
    EXPECT(flow_end(kernel) == FLOW_OK);
    REFUSED(flow_run(kernel, &batch, 0, &at, &stop), FLOW_ENDED);
    REFUSED(flow_clock(kernel, now, &stop), FLOW_ENDED);
    REFUSED(flow_gap(kernel, 0), FLOW_ENDED);
    REFUSED(flow_end(kernel), FLOW_ENDED);
    REFUSED(flow_place(kernel, now, &LIMIT, 1, ids), FLOW_ENDED);
    REFUSED(flow_cancel(kernel, now, ids[0]), FLOW_ENDED);
    flow_destroy(kernel);

    flow_market fine = MARKET_CONFIGS[0];
    fine.atoms_per_ticklot = 100000000;
    EXPECT(flow_create(&CONFIG, &fine, 1, &kernel) == FLOW_OK);
    flow_request huge = LIMIT;
    huge.qty_lots = FLOW_QTY_LOTS_MAX;
    REFUSED(flow_place(kernel, 0, &huge, 1, ids), FLOW_OVERFLOW);
    flow_destroy(kernel);
}

/* Every single corrupted byte is either refused or gives a kernel that works within its memory. */
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
    test_every_status_has_a_name();
    printf(failures ? "%d failed\n" : "kernel: all good\n", failures);
    return failures ? 1 : 0;
}
