/* The state of a kernel and what its parts offer each other. */
#ifndef FLOW_INTERNAL_H
#define FLOW_INTERNAL_H

#include <stdbool.h> /* bool */

#include "flow_kernel.h"

__extension__ typedef __int128 i128;
__extension__ typedef unsigned __int128 u128;

#define UNLIKELY(condition) __builtin_expect(!!(condition), 0)

#define RETURN_IF(condition, status) \
    do { \
        if (condition) return status; \
    } while (0)

#define NEVER_US INT64_MAX
#define ALWAYS_US INT64_MIN

/* Records on their way out; empty again once all were taken. */
#define FLOW_OUTBOX(type) \
    struct { \
        type *items; \
        size_t head, tail, capacity; \
    }

typedef struct profile_cell {
    int64_t lots[2]; /* [0] sellers, [1] buyers were the aggressors */
} profile_cell;

/*
 * A table of rows 2^shift ticks wide in which row r lives in cell r modulo the number of cells: the
 * rows between the session's low and high always fit. Cells of all other rows are zero.
 */
typedef struct profile {
    profile_cell *cells;
    profile_cell *spare; /* all zero */
    int64_t mask;
    int32_t shift;
} profile;

typedef struct account {
    int64_t position_lots;
    i128 cash_atoms;
    i128 cost_atoms;
    i128 realized_atoms;
    i128 fees_atoms;
} account;

/* All of the logical state but profile cells and orders. */
typedef struct core {
    uint64_t input;
    uint64_t trade_count;
    uint64_t next_order_id;
    int64_t stream_us;
    int64_t last_ticks;
    int64_t last_side;
    int64_t high_ticks;
    int64_t low_ticks;
    int64_t closed_buy_lots; /* of closed bars; the open one's come on top */
    int64_t closed_sell_lots;
    i128 closed_notional;
    int64_t decide_next_us;
    int64_t equity_next_us;
    flow_bar bar;
    flow_bubble bubble;
    account account;
    bool ended;
} core;

struct flow_kernel {
    flow_config config;
    core core;
    profile profile;
    flow_order *orders; /* by id */
    size_t order_count;
    flow_order *spare_orders;

    /* Derived from the orders by orders_plan: a print concerns one when stream time reaches
     * match_next_us or its price lies outside [match_low, match_high]; a cancel takes effect when
     * stream time passes cancel_next_us. */
    int64_t match_next_us;
    int64_t match_low;
    int64_t match_high;
    int64_t cancel_next_us;

    /* Derived from all of the above by plan_next: a print needs more than sums when stream time
     * reaches next_us or its price lies outside [trigger_low, trigger_high]. */
    int64_t next_us;
    int64_t trigger_low;
    int64_t trigger_high;

    FLOW_OUTBOX(flow_bar) bars;
    FLOW_OUTBOX(flow_bubble) bubbles;
    FLOW_OUTBOX(flow_fill) fills;
    FLOW_OUTBOX(flow_order_event) order_events;
    FLOW_OUTBOX(flow_equity) equity;
};

typedef struct print {
    int64_t ts_us;
    int64_t price_ticks;
    int64_t qty_lots;
    int8_t side;
} print;

static inline i128 i128_of(flow_i128 pair)
{
    return (i128)(((u128)(uint64_t)pair.hi << 64) | pair.lo);
}

static inline flow_i128 i128_pair(i128 value)
{
    return (flow_i128){.lo = (uint64_t)value, .hi = (int64_t)(value >> 64)};
}

static inline int64_t min_i64(int64_t a, int64_t b) { return a < b ? a : b; }

static inline int64_t max_i64(int64_t a, int64_t b) { return a > b ? a : b; }

/* The first point of the grid behind ts_us; NEVER_US without a grid. */
static inline int64_t next_on_grid(int64_t ts_us, int64_t grid_us)
{
    return grid_us > 0 ? (ts_us / grid_us + 1) * grid_us : NEVER_US;
}

/* orderflow.c */
void orderflow_add_to_bubble(flow_kernel *kernel, const print *trade);
void orderflow_print(flow_kernel *kernel, const print *trade);
void orderflow_close_bar(flow_kernel *kernel);
void orderflow_close_bubble(flow_kernel *kernel);

/* account.c */
i128 account_notional(const flow_kernel *kernel, int64_t price_ticks, int64_t qty_lots);
i128 account_fee(const flow_kernel *kernel, i128 notional_atoms, flow_role role);
void account_fill(flow_kernel *kernel, int8_t side, int64_t price_ticks, int64_t qty_lots,
                  i128 fee_atoms);
void account_point(flow_kernel *kernel, int64_t ts_us);
bool account_has_room(const flow_kernel *kernel, int64_t more_lots);

/* orders.c */
void orders_expire(flow_kernel *kernel);
bool orders_match(flow_kernel *kernel, const print *trade);
void orders_plan(flow_kernel *kernel);

/* fastpath.c */
size_t fastpath_run(flow_kernel *kernel, const flow_batch *batch, size_t start, size_t limit);

/* kernel.c */
void plan_next(flow_kernel *kernel);

#endif
