/*
 * flow_sweep: many sets of target positions over one pass of a tape.
 *
 * Purpose
 *   Each set is an account of its own that follows a row of target positions with market orders:
 *   what a flow_kernel with the base lane alone gives a caller who places, at each decision point,
 *   a market order for the difference between this target and the one before. Equal to the last
 *   atom; everything that depends on the trades alone is worked out once for all sets.
 *
 * Lifecycle
 *   flow_sweep_create -> flow_sweep_run over the batches of a session -> flow_sweep_get_results.
 *   How the session is cut into batches changes no result. One handle belongs to one thread at a
 *   time; several handles may share a batch and targets. Memory is allocated in flow_sweep_create
 *   only.
 *
 * Errors
 *   Every function validates first and commits after: anything but FLOW_OK means that nothing was
 *   done. An order that is refused stops its own set, whose result says so.
 */
#ifndef FLOW_SWEEP_H
#define FLOW_SWEEP_H

#include "flow_kernel.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Where a session stands between its decision points. All zero but the first two at its start. */
typedef struct flow_decisions {
    int64_t decide_trades_count; /* as in flow_config */
    int64_t decide_grid_us;
    uint64_t trade_count; /* taken in so far */
    int64_t stream_us;
    int64_t next_us;
} flow_decisions;

/* A decision point: the row that makes it and the stream time there. */
typedef struct flow_decision {
    uint64_t row;
    int64_t ts_us;
} flow_decision;

/*
 * Target positions, in the caller's memory: a row for each set, a column for each decision point.
 * One of the two pointers is null.
 */
typedef struct flow_targets {
    const int32_t *lots_i32;
    const int64_t *lots_i64;
    size_t stride; /* from one row to the next */
    size_t first;  /* decision point of the first column, counted from the start of the session */
    size_t count;  /* columns */
} flow_targets;

/*
 * One set so far. Equity is sampled at its start and at every decision point; a set whose order was
 * refused stands still from that decision point on.
 */
typedef struct flow_sweep_result {
    flow_i128 cash_atoms;
    flow_i128 realized_atoms;   /* before fees */
    flow_i128 unrealized_atoms; /* at the last print */
    flow_i128 fees_atoms;
    flow_i128 equity_atoms;   /* cash and the position at the last print */
    flow_i128 cost_atoms;     /* paid for the position; negative when short */
    flow_i128 notional_atoms; /* traded */
    flow_i128 equity_min_atoms;
    flow_i128 equity_max_atoms;
    flow_i128 drawdown_max_atoms; /* largest fall of a sample from one before */
    int64_t position_lots;
    uint64_t order_count; /* placed */
    uint64_t open_order_count;
    uint64_t fill_count;
    int64_t refused_status;   /* flow_status of the order refused; FLOW_OK: none was */
    int64_t refused_decision; /* its decision point; -1: none was */
} flow_sweep_result;

typedef struct flow_sweep flow_sweep; /* incomplete on purpose */

/*
 * Find decision points in rows that follow those taken in before, at most `capacity`. *rows_out is
 * how many rows were taken in: all, or up to the last decision point there was room for. With out
 * null they are counted only, all of them. Times need not be checked; other times than a batch may
 * have make wrong decision points.
 */
flow_status flow_find_decisions(flow_decisions *at, const int64_t *ts_us, size_t row_count,
                                flow_decision *out, size_t capacity, size_t *rows_out,
                                size_t *found_out);

/*
 * Make set_count accounts. FLOW_BAD_CONFIG also when decision points follow fills or the account
 * has limits: decision points must not depend on orders. Instruments beyond the first, lanes but
 * the base lane, bars and the equity grid play no part. *sweep_out is set to null on failure.
 */
flow_status flow_sweep_create(const flow_config *config, const flow_market *market,
                              size_t set_count, flow_sweep **sweep_out);

/* Free a sweep; null is allowed. */
void flow_sweep_destroy(flow_sweep *sweep);

/*
 * Apply a batch that has passed flow_check_batch and has not changed since; other rows make wrong
 * results, never wrong memory accesses. equity_out is null or has room for a row of targets->count
 * for each set; the columns of the decision points in the batch are written. FLOW_SMALL_BUFFER: the
 * batch has decision points that targets have no column for. FLOW_OVERFLOW: the volume of the
 * session would leave 64 bits. FLOW_BAD_MARKET.
 */
flow_status flow_sweep_run(flow_sweep *sweep, const flow_batch *batch, const flow_targets *targets,
                           flow_i128 *equity_out);

/* How many decision points the batches so far had. */
flow_status flow_sweep_decision_count(const flow_sweep *sweep, uint64_t *count_out);

/* Copy a result for each set. FLOW_SMALL_BUFFER when capacity is below their number. */
flow_status flow_sweep_get_results(const flow_sweep *sweep, flow_sweep_result *out,
                                   size_t capacity);

#ifdef __cplusplus
}
#endif

#endif
