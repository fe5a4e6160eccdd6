/*
 * flow_orderflow: what the kernel makes of the prints of one instrument, whoever trades on them.
 * Part of flow_kernel.h, which explains units, lifecycle and errors.
 *
 * Everything is causal: a record or a sum depends on inputs up to the one that made it, never on
 * later ones, nor on how inputs were cut into calls. "Time" is stream time: the largest time of any
 * input so far. Memory is bounded by the configuration. All arithmetic is exact in integers.
 */
#ifndef FLOW_ORDERFLOW_H
#define FLOW_ORDERFLOW_H

#include "flow_types.h"

#ifdef __cplusplus
extern "C" {
#endif

#define FLOW_SERIES_MAX 8
#define FLOW_SIZE_CLASSES_MAX 8
#define FLOW_ANCHORS_MAX 4
#define FLOW_FOOTPRINT_ROWS_MAX 1024
#define FLOW_RECENT_TRADES_MAX 65536
#define FLOW_RECENT_SLOTS_MAX 4096
#define FLOW_LARGE_WINDOW_MAX 65536
#define FLOW_THRESHOLD_MAX ((int64_t)1 << 62)

/* Never negative; words[0] is the lowest. */
typedef struct flow_u192 {
    uint64_t words[3];
} flow_u192;

/*
 * When a bar of a series ends.
 *
 * A time bar spans threshold microseconds on the grid of that step; it ends at the first input
 * whose time is at or behind its end, and that input, when a print, starts the next bar. Spans
 * without prints have no bar.
 *
 * All others start with a print and end with the print that brings their measure to the threshold
 * or beyond it; a print is never split, so it lies in exactly one bar of each series and a bar may
 * exceed its threshold by the last print. Thresholds are fixed: they follow no expectation.
 */
typedef enum flow_series_kind {
    FLOW_SERIES_TIME = 0,           /* microseconds */
    FLOW_SERIES_TICK = 1,           /* prints */
    FLOW_SERIES_VOLUME = 2,         /* lots */
    FLOW_SERIES_DOLLAR = 3,         /* ticklots: sum of price x quantity */
    FLOW_SERIES_DELTA = 4,          /* lots: |bought - sold| by aggressors */
    FLOW_SERIES_TICK_IMBALANCE = 5, /* prints: |buyers' - sellers'| */
    FLOW_SERIES_TICK_RUN = 6,       /* prints: the larger of buyers' and sellers' */
    FLOW_SERIES_VOLUME_RUN = 7      /* lots: the larger of bought and sold */
} flow_series_kind;

typedef struct flow_series_config {
    int64_t kind;      /* flow_series_kind */
    int64_t threshold; /* in the kind's unit, 1 .. FLOW_THRESHOLD_MAX; times to FLOW_TS_US_MAX */
    int64_t row_ticks; /* price span of a footprint row; 0: no footprints */
} flow_series_config;

typedef struct flow_orderflow_config {
    int64_t series_count; /* 0 .. FLOW_SERIES_MAX; 0: all below must be off too */
    flow_series_config series[FLOW_SERIES_MAX]; /* unused ones are zero */
    int64_t sums_on; /* without series. 1: keep the sums of the session; 0: prints cost next to
                        nothing */
    int64_t footprint_rows_max;    /* a power of two, 2 .. FLOW_FOOTPRINT_ROWS_MAX */
    int64_t value_area_ppm;        /* of footprints and profile, 1 .. 1,000,000 */
    int64_t imbalance_ppm;         /* diagonal ratio, 1 .. 10^9; 0: no marks */
    int64_t imbalance_min_lots;    /* at least 0 */
    int64_t imbalance_stack_count; /* rows that make a stack, at least 1 */

    int64_t bubbles_on;         /* 1 or 0 */
    int64_t bubble_window_us;   /* longest span of a bubble, at least 0 */
    int64_t bubble_band_ticks;  /* furthest price from the bubble's first, at least 0 */
    int64_t large_window_count; /* bubbles that the threshold of large ones looks back; 0: none */
    int64_t large_ppm;          /* the quantile of their volume, 1 .. 1,000,000 */
    int64_t large_min_count;    /* bubbles before any is large, at least 1 */

    int64_t profile_rows_max; /* a power of two, 2 .. FLOW_PROFILE_ROWS_MAX; 0: no profile */

    int64_t vwap_on;           /* 1 or 0: VWAP with squares, of the session and of anchors */
    int64_t anchor_on_utc_day; /* 1: anchor 0 is set before the first print of each UTC day */
    int64_t size_class_count;  /* thresholds in use; 0: no delta by size */
    int64_t size_class_lots[FLOW_SIZE_CLASSES_MAX]; /* rising, from 1 on; unused ones are zero */
    int64_t recent_trades_count; /* prints looked back, to FLOW_RECENT_TRADES_MAX; 0: none */
    int64_t recent_slot_us;      /* step of the grid of recent time; 0: none */
    int64_t recent_slot_count;   /* slots looked back, 1 .. FLOW_RECENT_SLOTS_MAX */

    int64_t sweep_level_count; /* prices that make a sweep, at least 2; 0: none */
    int64_t sweep_window_us;   /* longest span of a sweep, at least 0 */
    int64_t absorption_lots;   /* volume that makes an absorption; 0: none */
    int64_t absorption_window_us;
    int64_t absorption_ticks; /* how far the price must turn back, at least 1 */
    int64_t exhaustion_count; /* falling extremes that make an exhaustion; 0: none */
    int64_t exhaustion_ticks; /* how far the price must turn back, at least 1 */
} flow_orderflow_config;

/*
 * A piece of the tape. ts_us is the start of its span on the grid for time bars, and the time of
 * its first print for all others.
 */
typedef struct flow_bar {
    int64_t ts_us;
    int64_t last_ts_us; /* time of its last print */
    uint64_t first_input;
    uint64_t last_input; /* of its last print */
    int64_t open_ticks;
    int64_t high_ticks;
    int64_t low_ticks;
    int64_t close_ticks;
    int64_t buy_lots; /* buyers were the aggressors */
    int64_t sell_lots;
    int64_t trade_count;
    flow_i128 notional_ticklots; /* sum of price x quantity */
    uint64_t sequence;           /* 0, 1, ... within its series */
} flow_bar;

/*
 * Volume by price of one bar. Rows start at multiples of row_ticks; that is the series' row_ticks
 * times the smallest power of two with which rows from the bar's low to its high are at most
 * footprint_rows_max.
 *
 * Point of control: the row with the most volume, the lowest of equal ones. Value area: the point
 * of control and rows next to it, the one with more volume first, the upper one of equal ones,
 * until it holds at least value_area_ppm of the volume.
 */
typedef struct flow_footprint {
    uint64_t sequence; /* of its bar */
    int64_t ts_us;     /* of its bar */
    int64_t row_ticks;
    int64_t poc_ticks;        /* lowest price of the point of control */
    int64_t area_low_ticks;   /* lowest price of the value area */
    int64_t area_high_ticks;  /* lowest price of its highest row */
    int64_t max_delta_lots;   /* bought - sold since the bar's start: */
    int64_t min_delta_lots;   /* the extremes of its values after each print */
    int32_t row_count;        /* rows with volume */
    int32_t buy_stack_count;  /* longest run of neighbouring rows with a buy imbalance, */
    int32_t sell_stack_count; /* and with a sell imbalance */
    int8_t unfinished_high;   /* 1: both sides traded at the highest row, */
    int8_t unfinished_low;    /* and at the lowest */
    int8_t reserved[2];
} flow_footprint;

/*
 * A row of a footprint that has volume. A buy imbalance: buy_lots is at least imbalance_min_lots,
 * at least 1, and at least imbalance_ppm of the sell_lots of the row below; a sell imbalance
 * likewise with the buy_lots of the row above. The row below the bar's lowest and the one above its
 * highest do not exist, so there the mark is not given. A stack is a run of at least
 * imbalance_stack_count neighbouring rows with the same mark.
 */
typedef struct flow_footprint_row {
    uint64_t sequence;   /* of its bar */
    int64_t price_ticks; /* lowest price of the row */
    int64_t buy_lots;
    int64_t sell_lots;
    int8_t buy_imbalance; /* 1: marked, 2: marked and part of a stack */
    int8_t sell_imbalance;
    int8_t reserved[6];
} flow_footprint_row;

/*
 * Consecutive prints of one aggressor, merged: all within bubble_window_us of the first and within
 * bubble_band_ticks of its price. Every trade lies in exactly one bubble. VWAP is
 * first_ticks + offset_ticklots / qty_lots. The number of its first input identifies a bubble.
 *
 * The threshold in force at its close is the large_ppm quantile of the qty_lots of the last
 * large_window_count bubbles closed before it, as the bound of a logarithmic bucket with eight
 * steps an octave: from the exact quantile to less than an eighth above. It is 0 until
 * large_min_count bubbles have closed. A bubble is large when it reaches a threshold that is not 0.
 */
typedef struct flow_bubble {
    uint64_t input;
    int64_t ts_us;
    int64_t last_ts_us;
    int64_t first_ticks;
    int64_t last_ticks;
    int64_t qty_lots;
    int64_t offset_ticklots; /* sum of (price - first_ticks) x quantity */
    int64_t threshold_lots;  /* 0 while the bubble is open */
    uint32_t trade_count;
    int8_t side;
    int8_t large; /* 1 or 0 */
    int8_t reserved[2];
} flow_bubble;

typedef enum flow_mark_kind {
    /*
     * Consecutive prints of one aggressor, none later than sweep_window_us after the first, each at
     * the price of the one before or further in the aggressor's direction, at sweep_level_count
     * different prices or more. Told when the run has ended: at the print that does not continue
     * it (which may start the next), at a clock statement behind its window, a gap or the end.
     */
    FLOW_MARK_SWEEP = 0,
    /*
     * Aggressors of one side trade at one price, the level, and the price does not go beyond it
     * (above for buyers, below for sellers). For each side one level is watched: it starts with a
     * print of that side when none is watched and adds up that side's prints at exactly its price.
     * It is given up at a print of any side that lies beyond it, comes later than
     * absorption_window_us after its first, or lies absorption_ticks or more on its near side; at
     * the last of these it is told if it has absorption_lots or more. A print that ends one level
     * may start the next. A gap gives up both. lots is that sum.
     */
    FLOW_MARK_ABSORPTION = 1,
    /*
     * Buyers (or sellers) reach higher (lower) prices with less and less volume, then the price
     * turns. Of closed bubbles of one side, those whose last price lies beyond the run's extreme
     * make a new extreme; level_count counts the extremes in a row with less volume than the one
     * before, and starts again from 0 at one with as much or more. Told when a bubble of the other
     * side closes whose last price lies exhaustion_ticks or more back from the extreme, if
     * level_count is at least exhaustion_count; the run then starts anew with the side's next
     * bubble, told or not. A gap starts both runs anew. lots is the volume of the last extreme;
     * first_ticks is the price at which the falling began and last_ticks the extreme.
     */
    FLOW_MARK_EXHAUSTION = 2
} flow_mark_kind;

/*
 * Marks come in the order in which they are told; of one input exhaustion first, then sweep, then
 * absorption of buyers and of sellers.
 */
typedef struct flow_mark {
    uint64_t input;       /* its first print; of an exhaustion: of its last bubble */
    uint64_t known_input; /* the input that told it */
    int64_t ts_us;        /* time of its first print; of an exhaustion: of its last bubble's */
    int64_t known_us;     /* time of known_input */
    int64_t first_ticks;
    int64_t last_ticks;
    int64_t lots;
    int64_t level_count; /* different prices; 1 for absorption */
    int8_t kind;         /* flow_mark_kind */
    int8_t side;         /* of the aggressors */
    int8_t reserved[6];
} flow_mark;

typedef struct flow_profile_row {
    int64_t price_ticks; /* lowest price of the row */
    int64_t buy_lots;
    int64_t sell_lots;
} flow_profile_row;

/* Point of control and value area of rows of volume, by the rules of footprints. */
typedef struct flow_value_area {
    int64_t poc_ticks;
    int64_t low_ticks;
    int64_t high_ticks; /* lowest price of its highest row */
    int64_t area_lots;
    int64_t total_lots;
} flow_value_area;

/*
 * Sums of the prints numbered first_input and above. VWAP is notional / lots; the variance around
 * it is square / lots - VWAP^2, weighted by volume.
 */
typedef struct flow_vwap {
    uint64_t first_input; /* 0: an anchor never set */
    int64_t ts_us;        /* when it was set */
    int64_t lots;
    flow_i128 notional_ticklots;
    flow_u192 square_ticklots; /* sum of price^2 x quantity */
} flow_vwap;

/* Prints with at least min_lots, and less than the next class in use has. */
typedef struct flow_size_class {
    int64_t min_lots;
    int64_t buy_lots;
    int64_t sell_lots;
    int64_t trade_count;
} flow_size_class;

typedef struct flow_recent {
    int64_t span_us; /* of recent time: all its slots; 0 for recent prints */
    int64_t buy_lots;
    int64_t sell_lots;
    int64_t trade_count;
} flow_recent;

/*
 * Sums that run along. What is switched off is zero.
 * recent_trades: the last recent_trades_count prints. recent_time: the prints in the slot of the
 * grid that holds stream time, and in the recent_slot_count - 1 slots before it.
 */
typedef struct flow_session {
    flow_vwap vwap; /* of the session; first_input is 1 */
    flow_vwap anchors[FLOW_ANCHORS_MAX];
    flow_size_class size_classes[9]; /* 0: below the first threshold, ... */
    flow_recent recent_trades;
    flow_recent recent_time;
    int64_t large_threshold_lots; /* what a bubble that closed now would be measured by */
} flow_session;

#ifdef __cplusplus
}
#endif

#endif
