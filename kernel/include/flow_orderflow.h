/*
 * flow_orderflow: what the kernel makes of the prints of one instrument, whoever trades on them.
 * Part of flow_kernel.h, which explains units, lifecycle and errors.
 */
#ifndef FLOW_ORDERFLOW_H
#define FLOW_ORDERFLOW_H

#include "flow_types.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct flow_orderflow_config {
    int64_t bar_us;            /* span of a bar, at least 1 */
    int64_t bubble_window_us;  /* longest span of a bubble, at least 0 */
    int64_t bubble_band_ticks; /* furthest price from the bubble's first, at least 0 */
    int64_t profile_rows_max;  /* a power of two, 2 .. FLOW_PROFILE_ROWS_MAX */
} flow_orderflow_config;

/* A closed span of the tape. bar.ts_us is the start of its span on the grid of bar_us. */
typedef struct flow_bar {
    int64_t ts_us;
    int64_t open_ticks;
    int64_t high_ticks;
    int64_t low_ticks;
    int64_t close_ticks;
    int64_t buy_lots;
    int64_t sell_lots;
    int64_t trade_count;
    flow_i128 notional_ticklots; /* sum of price x quantity */
} flow_bar;

/*
 * Consecutive prints of one aggressor, merged: all within bubble_window_us of the first and within
 * bubble_band_ticks of its price. Every trade lies in exactly one bubble. VWAP is
 * first_ticks + offset_ticklots / qty_lots. The number of its first input identifies a bubble.
 */
typedef struct flow_bubble {
    uint64_t input;
    int64_t ts_us;
    int64_t last_ts_us;
    int64_t first_ticks;
    int64_t last_ticks;
    int64_t qty_lots;
    int64_t offset_ticklots; /* sum of (price - first_ticks) x quantity */
    uint32_t trade_count;
    int8_t side;
    int8_t reserved[3];
} flow_bubble;

typedef struct flow_profile_row {
    int64_t price_ticks; /* lowest price of the row */
    int64_t buy_lots;
    int64_t sell_lots;
} flow_profile_row;

#ifdef __cplusplus
}
#endif

#endif
