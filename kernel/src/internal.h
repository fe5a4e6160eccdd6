/* The state of a kernel and what its parts offer each other. */
#ifndef FLOW_INTERNAL_H
#define FLOW_INTERNAL_H

#include "orderflow.h"

typedef struct account {
    int64_t position_lots;
    i128 cash_atoms;
    i128 cost_atoms;
    i128 realized_atoms;
    i128 fees_atoms;
} account;

/* All of the logical state but order flow and orders. */
typedef struct core {
    uint64_t input;
    uint64_t next_order_id;
    int64_t stream_us;
    int64_t decide_next_us;
    int64_t equity_next_us;
    account account;
    bool ended;
} core;

struct flow_kernel {
    flow_config config;
    core core;
    orderflow flow;
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

    FLOW_OUTBOX(flow_fill) fills;
    FLOW_OUTBOX(flow_order_event) order_events;
    FLOW_OUTBOX(flow_equity) equity;
};

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

#endif
