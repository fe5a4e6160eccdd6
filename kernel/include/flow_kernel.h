/*
 * flow_kernel: the deterministic engine of flowtape.
 *
 * Purpose
 *   A state machine over numbered inputs (trades, clock statements, gaps, the end) and commands
 *   (place, cancel). Everything it says - bars, bubbles, profile, fills, equity - is a function of
 *   that one sequence alone: how the inputs are cut into calls changes no byte of any output.
 *
 * Units
 *   ts_us        microseconds since 1970 UTC
 *   price_ticks  10^-price_decimals of the quote asset, 1 .. FLOW_PRICE_TICKS_MAX
 *   qty_lots     10^-qty_decimals of the base asset, 1 .. FLOW_QTY_LOTS_MAX
 *   *_atoms      money: one ticklot (tick x lot) is atoms_per_ticklot atoms; 128 bits wide
 *   side         +1 buyer was the aggressor (or: buy), -1 seller was (or: sell)
 *   *_ppm        parts per million
 *
 * Lifecycle
 *   flow_create -> any number of calls -> flow_destroy. One handle belongs to one thread at a time.
 *   Memory is allocated in flow_create and flow_load_state only.
 *
 * Simple use
 *   flow_run until it has consumed the batch; at each FLOW_STOP_DRAIN, and whenever results are
 *   wanted, empty the outboxes with the flow_take_* functions.
 *
 * Errors
 *   Every function validates first and commits after: anything but FLOW_OK means that the state is
 *   what it was before the call.
 */
#ifndef FLOW_KERNEL_H
#define FLOW_KERNEL_H

#include <stddef.h> /* size_t, offsetof */
#include <stdint.h> /* int64_t and its kin */

#include "flow_orderflow.h"

#ifdef __cplusplus
extern "C" {
#endif

#define FLOW_ABI_VERSION 2u

/* Results of the same inputs may differ between two semantics versions, never within one. */
#define FLOW_SEMANTICS_VERSION 2u

#define FLOW_PRICE_TICKS_MAX ((int64_t)1 << 50)
#define FLOW_QTY_LOTS_MAX ((int64_t)1 << 56)
#define FLOW_TS_US_MAX ((int64_t)1 << 53) /* the year 2255 */
#define FLOW_ORDERS_MAX 4096

/* ITEM(name, text) */
#define FLOW_STATUS_LIST(ITEM) \
    ITEM(OK, "no error") \
    ITEM(NULL_POINTER, "a required pointer is null") \
    ITEM(ABI_MISMATCH, "header and library are of different versions") \
    ITEM(BAD_CONFIG, "a configuration value is out of its range") \
    ITEM(NO_MEMORY, "out of memory") \
    ITEM(BAD_TIME, "a time is negative or beyond the year 2255") \
    ITEM(BAD_PRICE, "a price is not between 1 and the largest price") \
    ITEM(BAD_QTY, "a quantity is not between 1 and the largest quantity") \
    ITEM(BAD_SIDE, "a side is neither +1 nor -1") \
    ITEM(BAD_ORDER, "an order is neither market nor limit") \
    ITEM(UNKNOWN_ORDER, "no open order has this id") \
    ITEM(CAPACITY, "the configured number of open orders is reached") \
    ITEM(OVERFLOW, "a sum would leave its range") \
    ITEM(BAD_ROW, "a row index lies behind the batch") \
    ITEM(TIME_REVERSED, "a clock or command lies before stream time") \
    ITEM(ENDED, "the stream has ended") \
    ITEM(NOT_DRAINED, "an outbox must be emptied first") \
    ITEM(BAD_STATE, "the bytes are no state of this version and configuration") \
    ITEM(SMALL_BUFFER, "the buffer is too small") \
    ITEM(BAD_SERIES, "there is no series of this number") \
    ITEM(BAD_ANCHOR, "there is no such anchor, or VWAP is switched off")

typedef enum flow_status {
#define FLOW_STATUS_ENUM(name, text) FLOW_##name,
    FLOW_STATUS_LIST(FLOW_STATUS_ENUM)
#undef FLOW_STATUS_ENUM
        FLOW_STATUS_COUNT
} flow_status;

/* Why flow_run came back. */
typedef enum flow_stop {
    FLOW_STOP_END = 0,      /* the whole batch was consumed */
    FLOW_STOP_DECISION = 1, /* the last input consumed makes a decision point */
    FLOW_STOP_DRAIN = 2     /* an outbox has no room for the next input */
} flow_stop;

typedef enum flow_order_kind { FLOW_MARKET = 0, FLOW_LIMIT = 1 } flow_order_kind;
typedef enum flow_order_stage {
    FLOW_PENDING = 0, /* on its way to the venue */
    FLOW_TAKING = 1,  /* arrived, takes what prints offer */
    FLOW_RESTING = 2  /* arrived, rests as a maker */
} flow_order_stage;
typedef enum flow_role { FLOW_MAKER = 0, FLOW_TAKER = 1 } flow_role;
typedef enum flow_order_change {
    FLOW_ORDER_RESTING = 0, /* arrived at the venue and rests as a maker */
    FLOW_ORDER_FILLED = 1,
    FLOW_ORDER_CANCELED = 2
} flow_order_change;

typedef struct flow_kernel flow_kernel; /* incomplete on purpose */

typedef struct flow_config {
    uint32_t abi_version;        /* FLOW_ABI_VERSION */
    uint32_t orders_max;         /* open orders, 1 .. FLOW_ORDERS_MAX */
    int64_t decide_trades_count; /* decision point at every m-th trade; 0: none */
    int64_t decide_grid_us;      /* decision point at each crossing of this grid; 0: none */
    int64_t decide_on_fill;      /* 1: decision point after an input that filled an own order */
    int64_t equity_grid_us;      /* equity point at each crossing of this grid; 0: fills only */
    int64_t latency_us;          /* from command to its arrival at the venue, at least 0 */
    int64_t maker_fee_ppm;       /* -1,000,000 .. 1,000,000 */
    int64_t taker_fee_ppm;
    int64_t atoms_per_ticklot; /* a power of ten, at most 10^8 */
    int64_t fee_unit_atoms;    /* fees are whole multiples of this, rounded up; at least 1 */
    flow_i128 initial_cash_atoms;
    flow_orderflow_config orderflow;
} flow_config;

/* Trades as equally long columns of the caller; nothing is kept of them after a call. */
typedef struct flow_batch {
    const int64_t *ts_us;
    const int64_t *price_ticks;
    const int64_t *qty_lots;
    const int8_t *side;
    size_t count;
    int64_t total_lots; /* set by flow_check_batch */
} flow_batch;

typedef struct flow_fill {
    uint64_t input;
    int64_t ts_us;
    uint64_t order_id;
    int64_t price_ticks;
    int64_t qty_lots;
    int64_t remaining_lots;
    flow_i128 fee_atoms;
    int8_t side;
    int8_t role; /* flow_role */
    int8_t reserved[6];
} flow_fill;

typedef struct flow_order_event {
    uint64_t input; /* the last input before the change took effect, or the one that made it */
    int64_t ts_us;
    uint64_t order_id;
    int64_t remaining_lots;
    int64_t change; /* flow_order_change */
} flow_order_event;

/* The account after a fill, or, on the grid, before the input that crossed it. */
typedef struct flow_equity {
    uint64_t input;
    int64_t ts_us;
    int64_t position_lots;
    int64_t mark_ticks;
    flow_i128 equity_atoms;
    flow_i128 realized_atoms; /* before fees */
    flow_i128 fees_atoms;
} flow_equity;

typedef struct flow_order {
    uint64_t order_id;
    uint64_t placed_input; /* the command stands after this input */
    int64_t price_ticks;   /* 0 for market orders */
    int64_t qty_lots;
    int64_t remaining_lots;
    int64_t active_us; /* prints after this time may fill it */
    int64_t cancel_us; /* prints after this time may not; INT64_MAX: no cancel asked */
    int8_t side;
    int8_t kind;  /* flow_order_kind */
    int8_t stage; /* flow_order_stage */
    int8_t reserved[5];
} flow_order;

/* What people look at. Taking it changes nothing. */
typedef struct flow_snapshot {
    uint64_t input;
    uint64_t trade_count;
    int64_t stream_us; /* stream time; 0 before the first input */
    int64_t last_ticks;
    int64_t last_side;
    int64_t buy_lots;
    int64_t sell_lots;
    int64_t high_ticks;
    int64_t low_ticks;
    int64_t profile_row_ticks;
    int64_t profile_row_count; /* rows from the lowest to the highest price; 0: no profile */
    int64_t open_order_count;
    int64_t position_lots;
    flow_i128 notional_ticklots;
    flow_i128 cash_atoms;
    flow_i128 cost_atoms; /* paid for the open position; negative when short */
    flow_i128 realized_atoms;
    flow_i128 unrealized_atoms;
    flow_i128 fees_atoms;
    flow_i128 equity_atoms;
    flow_bar bar;       /* the open bar of series 0; trade_count 0: none */
    flow_bubble bubble; /* the open bubble; trade_count 0: none */
} flow_snapshot;

/* Return the text of a status; a pointer to static memory, never null. */
const char *flow_status_text(flow_status status);

/* Return the name of a status without its prefix, for example "CAPACITY". */
const char *flow_status_name(flow_status status);

/* Make a kernel. *kernel_out is set to null on failure. */
flow_status flow_create(const flow_config *config, flow_kernel **kernel_out);

/* Free a kernel; null is allowed. */
void flow_destroy(flow_kernel *kernel);

/*
 * Check the columns of a batch and set total_lots. FLOW_BAD_TIME, FLOW_BAD_PRICE, FLOW_BAD_QTY,
 * FLOW_BAD_SIDE; then *bad_row_out is the first bad row. FLOW_OVERFLOW: the volume of all rows.
 */
flow_status flow_check_batch(flow_batch *batch, size_t *bad_row_out);

/*
 * Apply trades from row start on, until a reason of flow_stop. *consumed_out is the index behind
 * the last trade applied. The batch must have passed flow_check_batch and not have changed since;
 * other rows make wrong results, never wrong memory accesses. FLOW_OVERFLOW when the volume of the
 * session would leave 64 bits, FLOW_ENDED.
 */
flow_status flow_run(flow_kernel *kernel, const flow_batch *batch, size_t start,
                     size_t *consumed_out, flow_stop *stop_out);

/* State that stream time is at least ts_us. FLOW_TIME_REVERSED, FLOW_NOT_DRAINED, FLOW_ENDED. */
flow_status flow_clock(flow_kernel *kernel, int64_t ts_us, flow_stop *stop_out);

/* State that trades are missing here: the open bubble closes. FLOW_NOT_DRAINED, FLOW_ENDED. */
flow_status flow_gap(flow_kernel *kernel);

/* End the stream: the open bar and bubble close. FLOW_NOT_DRAINED, FLOW_ENDED. */
flow_status flow_end(flow_kernel *kernel);

/*
 * Place an order at command time ts_us, not before stream time. price_ticks is 0 for a market
 * order. It may trade with prints later than ts_us + latency_us and numbered after this command.
 */
flow_status flow_place(flow_kernel *kernel, int64_t ts_us, flow_order_kind kind, int8_t side,
                       int64_t qty_lots, int64_t price_ticks, uint64_t *order_id_out);

/* Ask to cancel: prints up to ts_us + latency_us may still fill the order. FLOW_UNKNOWN_ORDER. */
flow_status flow_cancel(flow_kernel *kernel, int64_t ts_us, uint64_t order_id);

/* Set an anchor of VWAP behind the last input: its sums start with the next print.
 * FLOW_BAD_ANCHOR, FLOW_ENDED. */
flow_status flow_anchor(flow_kernel *kernel, size_t anchor);

/*
 * Move up to capacity records out of an outbox, oldest first. Each series has outboxes of its own;
 * FLOW_BAD_SERIES.
 */
flow_status flow_take_bars(flow_kernel *kernel, size_t series, flow_bar *out, size_t capacity,
                           size_t *count_out);
flow_status flow_take_footprints(flow_kernel *kernel, size_t series, flow_footprint *out,
                                 size_t capacity, size_t *count_out);
flow_status flow_take_footprint_rows(flow_kernel *kernel, size_t series, flow_footprint_row *out,
                                     size_t capacity, size_t *count_out);
flow_status flow_take_bubbles(flow_kernel *kernel, flow_bubble *out, size_t capacity,
                              size_t *count_out);
flow_status flow_take_marks(flow_kernel *kernel, flow_mark *out, size_t capacity,
                            size_t *count_out);
flow_status flow_take_fills(flow_kernel *kernel, flow_fill *out, size_t capacity,
                            size_t *count_out);
flow_status flow_take_order_events(flow_kernel *kernel, flow_order_event *out, size_t capacity,
                                   size_t *count_out);
flow_status flow_take_equity(flow_kernel *kernel, flow_equity *out, size_t capacity,
                             size_t *count_out);

/* How many records the outboxes of fills, order events and equity hold now: 3 numbers. */
flow_status flow_pending(const flow_kernel *kernel, size_t *out);

/* How many records each outbox of order flow holds now. */
flow_status flow_orderflow_pending(const flow_kernel *kernel, flow_orderflow_counts *out);

flow_status flow_get_snapshot(const flow_kernel *kernel, flow_snapshot *out);

/* Copy the open orders, oldest first. FLOW_SMALL_BUFFER when capacity is below their number. */
flow_status flow_get_orders(const flow_kernel *kernel, flow_order *out, size_t capacity,
                            size_t *count_out);

/* Copy the session's profile from low to high, rows without volume included. Rows are the smallest
 * power of two of ticks wide with which they are at most profile_rows_max. FLOW_SMALL_BUFFER. */
flow_status flow_get_profile(const flow_kernel *kernel, flow_profile_row *out, size_t capacity,
                             size_t *count_out);

/* The open bar of a series; trade_count 0: none. FLOW_BAD_SERIES. */
flow_status flow_get_bar(const flow_kernel *kernel, size_t series, flow_bar *out);

/* The footprint of a series' open bar so far; all zero when there is none. FLOW_BAD_SERIES,
 * FLOW_SMALL_BUFFER when capacity is below footprint_rows_max and not enough. */
flow_status flow_get_footprint(const flow_kernel *kernel, size_t series, flow_footprint *out,
                               flow_footprint_row *rows, size_t capacity, size_t *count_out);

/* Sums that run along. */
flow_status flow_get_session(const flow_kernel *kernel, flow_session *out);

/*
 * Point of control and value area of neighbouring rows, from low to high, rows without volume
 * included, as flow_get_profile gives them; all zero without rows. scratch has room for count
 * numbers. FLOW_BAD_QTY, FLOW_OVERFLOW, FLOW_BAD_CONFIG for area_ppm.
 */
flow_status flow_value_area_of(const flow_profile_row *rows, size_t count, int64_t area_ppm,
                               int64_t *scratch, flow_value_area *out);

/* Bytes that flow_save_state will write now. */
flow_status flow_state_bytes(const flow_kernel *kernel, size_t *bytes_out);

/*
 * Write the canonical state: little-endian, no padding, equal states give equal bytes.
 * FLOW_NOT_DRAINED, FLOW_SMALL_BUFFER.
 */
flow_status flow_save_state(const flow_kernel *kernel, uint8_t *out, size_t capacity,
                            size_t *bytes_out);

/*
 * Take over a saved state of an equal configuration. FLOW_BAD_STATE, FLOW_NO_MEMORY. Outboxes
 * become empty.
 */
flow_status flow_load_state(flow_kernel *kernel, const uint8_t *bytes, size_t byte_count);

#ifdef __cplusplus
}
#endif

#endif
