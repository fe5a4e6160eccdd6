/*
 * flow_scan: passes over whole columns at the speed of memory.
 *
 * Purpose
 *   Find the next trade that matters, and add up a session. Results are exact for any values and
 *   the same on every machine.
 *
 * Processor
 *   Every pass takes what the processor can do. Ask flow_cpu_here once and keep the answer: asking
 *   takes microseconds, which is longer than a short search.
 *
 * Memory
 *   Nothing is allocated, nothing is kept. Columns need no alignment.
 *
 * Errors
 *   The searches cannot fail; null columns are allowed only where count is 0 or where it says so.
 */
#ifndef FLOW_SCAN_H
#define FLOW_SCAN_H

#include "flow_types.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum flow_cpu {
    FLOW_CPU_PORTABLE = 0, /* what every processor can */
    FLOW_CPU_AVX2 = 1      /* only where flow_cpu_here says so */
} flow_cpu;

/* Rows whose extremes are kept together. */
#define FLOW_SCAN_BLOCK_ROWS 512

/* A row touches when its price lies outside [low_ticks, high_ticks] or its time has reached
 * until_us. With low_ticks above high_ticks every row does. */
typedef struct flow_bounds {
    int64_t low_ticks;
    int64_t high_ticks;
    int64_t until_us;
} flow_bounds;

/*
 * Extremes of consecutive blocks of FLOW_SCAN_BLOCK_ROWS rows; the last block may be shorter. The
 * rows may begin and end within a block: offset_rows rows of the first one lie before row 0, fewer
 * than a block. Extremes of more rows than asked about cost time, never exactness.
 */
typedef struct flow_extremes {
    const int64_t *low_ticks;
    const int64_t *high_ticks;
    const int64_t *latest_us;
    size_t offset_rows;
} flow_extremes;

/* Sums over rows; all zero without rows, latest_us also without times. */
typedef struct flow_totals {
    int64_t latest_us;
    int64_t low_ticks;
    int64_t high_ticks;
    int64_t buy_lots;
    int64_t sell_lots;
    flow_i128 notional_ticklots; /* sum of price x quantity */
} flow_totals;

/* What this processor and operating system can do. */
flow_cpu flow_cpu_here(void);

/* The first row whose price lies outside [low_ticks, high_ticks]; count if there is none. */
size_t flow_first_touch(flow_cpu cpu, const int64_t *price_ticks, size_t count, int64_t low_ticks,
                        int64_t high_ticks);

/* The first row that touches; count if there is none. Times need not be in order. */
size_t flow_first_touch_until(flow_cpu cpu, const int64_t *ts_us, const int64_t *price_ticks,
                              size_t count, const flow_bounds *bounds);

/* How many blocks the rows lie in. */
size_t flow_block_count(size_t offset_rows, size_t count);

/* Write lowest and highest price and latest time of each block; offset_rows is 0. */
void flow_block_extremes(flow_cpu cpu, const int64_t *ts_us, const int64_t *price_ticks,
                         size_t count, int64_t *low_ticks_out, int64_t *high_ticks_out,
                         int64_t *latest_us_out);

/*
 * The first row from start on that touches; count if there is none. Reads only rows of blocks that
 * hold a touch. ts_us may be null: then there is no time bound. Extremes that do not cover their
 * rows make wrong results, never wrong memory accesses.
 */
size_t flow_first_touch_blocks(flow_cpu cpu, const flow_extremes *extremes, const int64_t *ts_us,
                               const int64_t *price_ticks, size_t start, size_t count,
                               const flow_bounds *bounds);

/*
 * Add up rows; ts_us may be null. Refused by what holds for any row: FLOW_BAD_PRICE, else
 * FLOW_BAD_QTY, else FLOW_BAD_SIDE; FLOW_OVERFLOW when the volume would leave 64 bits;
 * FLOW_NULL_POINTER. *out is then as it was.
 */
flow_status flow_sums(flow_cpu cpu, const int64_t *ts_us, const int64_t *price_ticks,
                      const int64_t *qty_lots, const int8_t *side, size_t count, flow_totals *out);

#ifdef __cplusplus
}
#endif

#endif
