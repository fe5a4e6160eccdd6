/* What the files of flow_scan offer each other: each pass portable and for AVX2. */
#ifndef FLOW_SCAN_INTERNAL_H
#define FLOW_SCAN_INTERNAL_H

#include "basics.h"
#include "flow_scan.h"

/* Rows below which the portable pass is the faster one. */
#define SCAN_SHORT_ROWS 8

/* Entries to search: of blocks, or of rows, whose low and high are one column. us may be null:
 * no time bound. */
typedef struct scan_view {
    const int64_t *low;
    const int64_t *high;
    const int64_t *us;
    size_t count;
} scan_view;

/* Sums under way. Rows that are no trades leave wrong sums, and traces in prices and flags. */
typedef struct scan_sums {
    int64_t latest_us;
    int64_t low_ticks;
    int64_t high_ticks;
    u128 lots;
    u128 sell_lots;
    u128 notional;
    bool bad_qty;
    bool bad_side;
} scan_sums;

typedef struct scan_columns {
    const int64_t *ts_us; /* may be null */
    const int64_t *price_ticks;
    const int64_t *qty_lots;
    const int8_t *side;
} scan_columns;

/* scan.c: the first entry that touches, or the count. */
size_t scan_find_portable(const scan_view *view, const flow_bounds *bounds);
void scan_extremes_portable(const int64_t *ts_us, const int64_t *price_ticks, size_t count,
                            int64_t *low_out, int64_t *high_out, int64_t *latest_out);

/* scan_sums.c */
void scan_sums_start(scan_sums *sums);
void scan_add_portable(scan_sums *sums, const scan_columns *columns, size_t start, size_t stop);
flow_status scan_sums_end(const scan_sums *sums, size_t count, bool timed, flow_totals *out);

#if HAS_AVX2
/* scan_avx2.c: the same. */
size_t scan_find_avx2(const scan_view *view, const flow_bounds *bounds);
void scan_extremes_avx2(const int64_t *ts_us, const int64_t *price_ticks, size_t count,
                        int64_t *low_out, int64_t *high_out, int64_t *latest_out);
void scan_add_avx2(scan_sums *sums, const scan_columns *columns, size_t start, size_t stop);
#endif

ALWAYS_INLINE void scan_block_extremes(const int64_t *ts_us, const int64_t *price_ticks,
                                       size_t count, int64_t *low_out, int64_t *high_out,
                                       int64_t *latest_out)
{
    for (size_t start = 0, block = 0; start < count; start += FLOW_SCAN_BLOCK_ROWS, block++) {
        const size_t left = count - start;
        const size_t rows = left < FLOW_SCAN_BLOCK_ROWS ? left : FLOW_SCAN_BLOCK_ROWS;
        const int64_t *ts = ts_us + start, *price = price_ticks + start;
        int64_t low = price[0], high = price[0], latest = ts[0];
        for (size_t i = 0; i < rows; i++) {
            low = min_i64(low, price[i]);
            high = max_i64(high, price[i]);
            latest = max_i64(latest, ts[i]);
        }
        low_out[block] = low;
        high_out[block] = high;
        latest_out[block] = latest;
    }
}

#endif
