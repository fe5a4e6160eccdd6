/*
 * Rows that were changed behind their check: wrong results, never wrong memory accesses. For builds
 * with AddressSanitizer.
 */
#include "tests.h"

static const int64_t WILD[] = {INT64_MIN, INT64_MIN + 1000, -1, 0, INT64_MAX, FLOW_TS_US_MAX + 1};

static void spoil(size_t row)
{
    const uint64_t r = rng();
    const int64_t wild = WILD[r % (sizeof WILD / sizeof *WILD)];
    switch ((r >> 8) % 5) {
    case 0:
        ts[row] = wild;
        break;
    case 1:
        price[row] = wild;
        break;
    case 2:
        qty[row] = wild;
        break;
    case 3:
        side[row] = (int8_t)(r >> 16);
        break;
    default:
        traded_on[row] = (uint8_t)(r >> 16);
    }
}

#define EMPTY(call) \
    do { \
        count = 0; \
    } while ((call) == FLOW_OK && count > 0)

/* As drain, whatever series there are. */
static void empty(flow_kernel *kernel)
{
    static union {
        flow_bar bars[64];
        flow_footprint footprints[64];
        flow_footprint_row rows[64];
        flow_bubble bubbles[64];
        flow_mark marks[64];
        flow_fill fills[64];
        flow_order_event events[64];
        flow_equity equity[64];
    } out;
    size_t count;
    for (uint32_t m = 0; m < MARKETS; m++) {
        for (size_t s = 0; s < FLOW_SERIES_MAX; s++) {
            EMPTY(flow_take_bars(kernel, m, s, out.bars, 64, &count));
            EMPTY(flow_take_footprints(kernel, m, s, out.footprints, 64, &count));
            EMPTY(flow_take_footprint_rows(kernel, m, s, out.rows, 64, &count));
        }
        EMPTY(flow_take_bubbles(kernel, m, out.bubbles, 64, &count));
        EMPTY(flow_take_marks(kernel, m, out.marks, 64, &count));
    }
    EMPTY(flow_take_fills(kernel, out.fills, 64, &count));
    EMPTY(flow_take_order_events(kernel, out.events, 64, &count));
    EMPTY(flow_take_equity(kernel, out.equity, 64, &count));
}

int main(void)
{
    flow_market markets[MARKETS] = {MARKET_CONFIGS[0], MARKET_CONFIGS[1]};
    const flow_orderflow_config off = {.sums_on = 1,
                                       .footprint_rows_max = 2,
                                       .value_area_ppm = 1,
                                       .imbalance_stack_count = 1,
                                       .recent_slot_count = 1,
                                       .absorption_ticks = 1,
                                       .exhaustion_ticks = 1};
    for (uint64_t seed = 1; seed <= 300; seed++) {
        flow_kernel *kernel = NULL;
        markets[1].flow = seed % 2 ? off : MARKET_CONFIGS[1].flow;
        EXPECT(flow_create(&CONFIG, markets, MARKETS, &kernel) == FLOW_OK);
        make_trades(seed);
        flow_batch batch = batch_of(0, 2000);
        for (int i = 0; i < 20; i++)
            spoil((size_t)(rng() % 2000));
        size_t at = 0;
        flow_stop stop;
        while (at < batch.count && flow_run(kernel, &batch, at, &at, &stop) == FLOW_OK) {
            flow_snapshot snap;
            uint64_t id;
            empty(kernel);
            EXPECT(flow_get_snapshot(kernel, 0, &snap) == FLOW_OK);
            const flow_request request = random_request(rng(), 500);
            flow_place(kernel, snap.stream_us, &request, 1, &id);
            if (stop == FLOW_STOP_END) break;
        }
        flow_destroy(kernel);
    }
    printf(failures ? "%d failed\n" : "changed_rows: all good\n", failures);
    return failures ? 1 : 0;
}
