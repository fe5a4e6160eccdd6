/*
 * flow_kernel: the deterministic engine of flowtape.
 *
 * Purpose
 *   A state machine over numbered inputs (trades, clock statements, gaps, marks, funding, the end)
 *   and commands (place, cancel, amend) for one account and up to FLOW_MARKETS_MAX instruments.
 *   Everything it says - bars, bubbles, profile, fills, equity - is a function of that one sequence
 *   alone: how the inputs are cut into calls changes no byte of any output.
 *
 * Units and statuses are in flow_types.h, orders and accounts in flow_execution.h.
 *
 * Lifecycle
 *   flow_create -> any number of calls -> flow_destroy. One handle belongs to one thread at a time.
 *   Memory is allocated in flow_create only.
 *
 * Simple use
 *   flow_run until it has consumed the batch; at each FLOW_STOP_DRAIN, and whenever results are
 *   wanted, empty the outboxes with the flow_take_* functions.
 *
 * Errors
 *   Every function validates first and commits after: anything but FLOW_OK means that the state is
 *   what it was before the call. FLOW_HALTED is the one exception, and final.
 */
#ifndef FLOW_KERNEL_H
#define FLOW_KERNEL_H

#include "flow_execution.h"
#include "flow_orderflow.h"
#include "flow_scan.h"
#include "flow_types.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Every that many inputs the books are checked. */
#define FLOW_BLOCK_INPUTS 65536

/* Why flow_run came back. */
typedef enum flow_stop {
    FLOW_STOP_END = 0,      /* the whole batch was consumed */
    FLOW_STOP_DECISION = 1, /* the last input consumed makes a decision point */
    FLOW_STOP_DRAIN = 2     /* an outbox has no room for the next input */
} flow_stop;

typedef struct flow_kernel flow_kernel; /* incomplete on purpose */

typedef struct flow_config {
    uint32_t abi_version;        /* FLOW_ABI_VERSION */
    uint32_t orders_max;         /* open orders, 1 .. FLOW_ORDERS_MAX */
    uint64_t seed;               /* of the latency draws */
    int64_t decide_trades_count; /* decision point at every m-th trade; 0: none */
    int64_t decide_grid_us;      /* decision point at each crossing of this grid; 0: none */
    int64_t decide_on_fill;      /* 1: decision point after an input with a base lane fill */
    int64_t equity_grid_us;      /* equity point at each crossing of this grid; 0: fills only */
    int64_t fill_model;          /* flow_fill_model */
    int64_t account_kind;        /* flow_account_kind */
    int64_t lane_count;          /* 1: the base lane alone; FLOW_LANES */
    int64_t trace;               /* 1: tell FLOW_ORDER_QUEUED and FLOW_ORDER_STARVED */
    int64_t queue_window;        /* levels sampled a side, 0 .. FLOW_QUEUE_WINDOW_MAX */
    int64_t touch_stale_us;      /* at least 0 */
    int64_t ioc_window_us;       /* at least 0 */
    int64_t spread_ppm;          /* of FLOW_FILLS_SPREAD, 0 .. 1,000,000 */
    int64_t fee_unit_atoms;      /* fees are whole multiples of this; at least 1 */
    int64_t fee_tier_count;      /* 1 .. FLOW_FEE_TIERS, ascending */
    flow_i128 initial_cash_atoms;
    flow_lane lanes[FLOW_LANES];
    flow_fee_tier fee_tiers[FLOW_FEE_TIERS];
    int64_t latency_us[FLOW_LATENCY_POINTS]; /* equally likely; at least 0 */
} flow_config;

/* One instrument. */
typedef struct flow_market {
    int64_t atoms_per_ticklot; /* a power of ten, at most 10^8 */
    int64_t leverage;          /* isolated accounts: at least 1 */
    int64_t maintenance_ppm;   /* isolated accounts: 0 .. 1,000,000 */
    flow_venue_rules rules;
    flow_orderflow_config flow;
} flow_market;

/* Trades as equally long columns of the caller; nothing is kept of them after a call. */
typedef struct flow_batch {
    const int64_t *ts_us;
    const int64_t *price_ticks;
    const int64_t *qty_lots;
    const int8_t *side;
    const uint8_t *market; /* instrument of each row; null: the first of all rows */
    size_t count;
    const flow_extremes *extremes; /* of prices and times by block; null: none */
    int64_t total_lots;            /* set by flow_check_batch */
    int64_t market_last;           /* highest instrument of a row; set by flow_check_batch */
    int64_t ascending;             /* 1: times never fall; set by flow_check_batch */
} flow_batch;

/* What people look at: one instrument, and the base lane's account. Taking it changes nothing. */
typedef struct flow_snapshot {
    uint64_t input;
    uint64_t trade_count; /* of this instrument */
    int64_t stream_us;    /* stream time; 0 before the first input */
    int64_t last_ticks;
    int64_t last_side;
    int64_t bid_ticks; /* the touch, estimated; 0 before the first print */
    int64_t ask_ticks;
    int64_t mark_ticks; /* stated mark price; 0: none, liquidation is disabled */
    int64_t buy_lots;
    int64_t sell_lots;
    int64_t high_ticks;
    int64_t low_ticks;
    int64_t profile_row_ticks;
    int64_t profile_row_count; /* rows from the lowest to the highest price; 0: no profile */
    int64_t open_order_count;  /* of all instruments, base lane */
    int64_t order_count;       /* of all instruments, any lane: what flow_get_orders copies */
    uint64_t next_order_id;
    int64_t position_lots; /* in this instrument */
    flow_i128 notional_ticklots;
    flow_i128 cost_atoms; /* paid for the open position; negative when short */
    flow_i128 cash_atoms; /* from here on: of all instruments */
    flow_i128 realized_atoms;
    flow_i128 unrealized_atoms;
    flow_i128 fees_atoms;
    flow_i128 funding_atoms;
    flow_i128 equity_atoms;
    flow_i128 optimistic_atoms; /* equity of the other lanes */
    flow_i128 pessimistic_atoms;
    flow_bar bar;       /* the open bar of series 0; trade_count 0: none */
    flow_bubble bubble; /* the open bubble; trade_count 0: none */
} flow_snapshot;

/* Return the text of a status; a pointer to static memory, never null. */
const char *flow_status_text(flow_status status);

/* Return the name of a status without its prefix, for example "CAPACITY". */
const char *flow_status_name(flow_status status);

/* Make a kernel for market_count instruments. *kernel_out is set to null on failure. */
flow_status flow_create(const flow_config *config, const flow_market *markets, size_t market_count,
                        flow_kernel **kernel_out);

/* Free a kernel; null is allowed. */
void flow_destroy(flow_kernel *kernel);

/*
 * Check the columns of a batch and set total_lots, market_last and ascending. FLOW_BAD_TIME,
 * FLOW_BAD_PRICE, FLOW_BAD_QTY, FLOW_BAD_SIDE; then *bad_row_out is the first bad row.
 * FLOW_OVERFLOW: the volume of all rows.
 */
flow_status flow_check_batch(flow_batch *batch, size_t *bad_row_out);

/*
 * Apply trades from row start on, until a reason of flow_stop. *consumed_out is the index behind
 * the last trade applied. The batch must have passed flow_check_batch and not have changed since;
 * other rows make wrong results, never wrong memory accesses. FLOW_OVERFLOW when the volume of an
 * instrument would leave 64 bits, FLOW_BAD_MARKET, FLOW_ENDED, FLOW_HALTED.
 */
flow_status flow_run(flow_kernel *kernel, const flow_batch *batch, size_t start,
                     size_t *consumed_out, flow_stop *stop_out);

/* State that stream time is at least ts_us. FLOW_TIME_REVERSED, FLOW_NOT_DRAINED, FLOW_ENDED. */
flow_status flow_clock(flow_kernel *kernel, int64_t ts_us, flow_stop *stop_out);

/* State that trades of an instrument are missing here: its open bubble closes. */
flow_status flow_gap(flow_kernel *kernel, uint32_t market);

/* State a mark price at stream time ts_us: triggers and liquidations follow it. */
flow_status flow_mark_price(flow_kernel *kernel, uint32_t market, int64_t ts_us, int64_t mark_ticks,
                            flow_stop *stop_out);

/* State that longs pay shorts rate_ppb of their position at the mark price. FLOW_NO_MARK. */
flow_status flow_funding(flow_kernel *kernel, uint32_t market, int64_t ts_us, int64_t rate_ppb,
                         flow_stop *stop_out);

/*
 * State that a rule of an instrument's venue is value from stream time ts_us on; rules are numbered
 * from 0, in the order of flow_venue_rules. Orders and amendments asked for behind this input are
 * held against it; what was asked for before stays as it is. FLOW_BAD_RULE.
 */
flow_status flow_set_rule(flow_kernel *kernel, uint32_t market, int64_t ts_us, int64_t rule,
                          int64_t value, flow_stop *stop_out);

/* End the stream: the open bars and bubbles close. FLOW_NOT_DRAINED, FLOW_ENDED. */
flow_status flow_end(flow_kernel *kernel);

/*
 * Place orders at command time ts_us, not before stream time: all of them or, with the status of
 * the first that is refused, none. ids_out has room for count ids. FLOW_CAPACITY, FLOW_BAD_ORDER,
 * FLOW_UNKNOWN_ORDER (parent or sibling), or a rule of the venue.
 */
flow_status flow_place(flow_kernel *kernel, int64_t ts_us, const flow_request *requests,
                       size_t count, uint64_t *ids_out);

/* Ask to cancel: prints up to the request's arrival may still fill. FLOW_UNKNOWN_ORDER. */
flow_status flow_cancel(flow_kernel *kernel, int64_t ts_us, uint64_t order_id);

/* Ask to cancel every open order of an instrument, or, with market -1, of all. */
flow_status flow_cancel_all(flow_kernel *kernel, int64_t ts_us, int64_t market, size_t *count_out);

/* Ask to change the total quantity, limit price and trigger of an order; 0 leaves one as it is.
 * FLOW_UNKNOWN_ORDER, FLOW_AMEND_PENDING, FLOW_BAD_ORDER, or a rule of the venue. */
flow_status flow_amend(flow_kernel *kernel, int64_t ts_us, uint64_t order_id, int64_t qty_lots,
                       int64_t price_ticks, int64_t trigger_ticks);

/* Set an anchor of VWAP behind the last input: its sums start with the next print.
 * FLOW_BAD_MARKET, FLOW_BAD_ANCHOR, FLOW_ENDED. */
flow_status flow_anchor(flow_kernel *kernel, uint32_t market, size_t anchor);

/*
 * Move up to capacity records out of an outbox, oldest first. Each instrument has its own, and each
 * of its series. FLOW_BAD_MARKET, FLOW_BAD_SERIES.
 */
flow_status flow_take_bars(flow_kernel *kernel, uint32_t market, size_t series, flow_bar *out,
                           size_t capacity, size_t *count_out);
flow_status flow_take_footprints(flow_kernel *kernel, uint32_t market, size_t series,
                                 flow_footprint *out, size_t capacity, size_t *count_out);
flow_status flow_take_footprint_rows(flow_kernel *kernel, uint32_t market, size_t series,
                                     flow_footprint_row *out, size_t capacity, size_t *count_out);
flow_status flow_take_bubbles(flow_kernel *kernel, uint32_t market, flow_bubble *out,
                              size_t capacity, size_t *count_out);
flow_status flow_take_marks(flow_kernel *kernel, uint32_t market, flow_mark *out, size_t capacity,
                            size_t *count_out);
flow_status flow_take_fills(flow_kernel *kernel, flow_fill *out, size_t capacity,
                            size_t *count_out);
flow_status flow_take_order_events(flow_kernel *kernel, flow_order_event *out, size_t capacity,
                                   size_t *count_out);
flow_status flow_take_equity(flow_kernel *kernel, flow_equity *out, size_t capacity,
                             size_t *count_out);

flow_status flow_get_snapshot(const flow_kernel *kernel, uint32_t market, flow_snapshot *out);

/* FLOW_BAD_ORDER: no such lane. With one lane, every lane is the base lane. */
flow_status flow_get_account(const flow_kernel *kernel, int64_t lane, flow_account *out);
flow_status flow_get_position(const flow_kernel *kernel, uint32_t market, int64_t lane,
                              flow_position *out);

/* The rules of an instrument's venue as they are now. FLOW_BAD_MARKET. */
flow_status flow_get_rules(const flow_kernel *kernel, uint32_t market, flow_venue_rules *out);

/* Copy the orders open in any lane, oldest first. FLOW_SMALL_BUFFER when capacity is below their
 * number. */
flow_status flow_get_orders(const flow_kernel *kernel, flow_order *out, size_t capacity,
                            size_t *count_out);

/* Copy the session's profile from low to high, rows without volume included. Rows are the smallest
 * power of two of ticks wide with which they are at most profile_rows_max. FLOW_SMALL_BUFFER. */
flow_status flow_get_profile(const flow_kernel *kernel, uint32_t market, flow_profile_row *out,
                             size_t capacity, size_t *count_out);

/* The open bar of a series; trade_count 0: none. FLOW_BAD_SERIES. */
flow_status flow_get_bar(const flow_kernel *kernel, uint32_t market, size_t series, flow_bar *out);

/* The footprint of a series' open bar so far; all zero when there is none. FLOW_BAD_SERIES,
 * FLOW_SMALL_BUFFER when capacity is below footprint_rows_max and not enough. */
flow_status flow_get_footprint(const flow_kernel *kernel, uint32_t market, size_t series,
                               flow_footprint *out, flow_footprint_row *rows, size_t capacity,
                               size_t *count_out);

/* Sums that run along. */
flow_status flow_get_session(const flow_kernel *kernel, uint32_t market, flow_session *out);

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

/* Take over a saved state of an equal configuration, but for the rules of venues, which may have
 * changed since. FLOW_BAD_STATE. Outboxes become empty. */
flow_status flow_load_state(flow_kernel *kernel, const uint8_t *bytes, size_t byte_count);

#ifdef __cplusplus
}
#endif

#endif
