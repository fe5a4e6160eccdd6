/* The state of a kernel and what its parts offer each other. */
#ifndef FLOW_INTERNAL_H
#define FLOW_INTERNAL_H

#include "levels.h"
#include "orderflow.h"

/* One lane's position. Bought and sold lots are kept beside it for the check of the books. */
typedef struct position {
    int64_t lots;
    i128 cost_atoms;
    i128 margin_atoms;
    i128 bought_lots;
    i128 sold_lots;
} position;

typedef struct account {
    i128 cash_atoms;
    i128 realized_atoms;
    i128 fees_atoms;
    i128 funding_atoms;
} account;

/* Own notional of this and the 30 days before, base lane; a day has the place day % VOLUME_DAYS. */
#define VOLUME_DAYS 31
typedef struct volume {
    int64_t day;
    i128 day_atoms[VOLUME_DAYS];
} volume;

typedef struct market {
    flow_market config;
    orderflow flow;
    quote quote;
    levels levels;
    int64_t mark_ticks; /* 0: never stated */
    position positions[FLOW_LANES];

    /* Derived from the orders by orders_plan: a print concerns one of them when stream time
     * reaches match_next_us or its price lies outside [match_low, match_high]. */
    int64_t match_next_us;
    int64_t match_low;
    int64_t match_high;
    int64_t best_buy_ticks;  /* of resting orders; 0: none */
    int64_t best_sell_ticks; /* INT64_MAX: none */
    size_t waiting_count;
    size_t taking_count;
} market;

/* All of the logical state but markets and orders. */
typedef struct core {
    uint64_t input;
    uint64_t trade_count; /* of all markets */
    uint64_t next_order_id;
    uint64_t next_rank;
    int64_t stream_us;
    int64_t decide_next_us;
    int64_t equity_next_us;
    account accounts[FLOW_LANES];
    volume volume;
    bool ended;
    bool halted;
} core;

struct flow_kernel {
    flow_config config;
    flow_cpu cpu;
    core core;
    market *markets;
    size_t market_count;
    int lane_first; /* the lanes in use */
    int lane_last;

    flow_order *orders; /* by id */
    size_t order_count;
    flow_order **picked; /* orders a print reaches */

    /* Derived from the orders by orders_plan: something of them is due when stream time passes. */
    int64_t due_next_us;
    size_t held_count;

    FLOW_OUTBOX(flow_fill) fills;
    FLOW_OUTBOX(flow_order_event) order_events;
    FLOW_OUTBOX(flow_equity) equity;
};

#define FOR_LANES(kernel, lane) \
    for (int lane = (kernel)->lane_first; lane <= (kernel)->lane_last; lane++)

/* Orders open in the base lane are at most orders_max; those that only other lanes still have open
 * may be as many again, and a call of flow_place needs room for as many more. */
#define KEPT_PER_OPEN 2
#define ROOM_PER_OPEN 3

/* Upper bounds of what an order can put out at one input. */
#define FILLS_PER_ORDER 3
#define EVENTS_PER_ORDER 32

/* A share of a print for each lane, and what own orders at the print's price got of it. */
typedef struct budget {
    int64_t left_lots[FLOW_LANES];
    int64_t at_price_lots[FLOW_LANES];
} budget;

static inline bool is_limit_kind(const flow_order *o)
{
    return o->request.kind == FLOW_LIMIT || o->request.kind == FLOW_STOP_LIMIT ||
           o->request.kind == FLOW_TAKE_PROFIT_LIMIT;
}

static inline bool is_trigger_kind(const flow_order *o) { return o->request.kind >= FLOW_STOP; }

static inline bool is_take_profit(const flow_order *o)
{
    return o->request.kind == FLOW_TAKE_PROFIT || o->request.kind == FLOW_TAKE_PROFIT_LIMIT;
}

static inline bool has_flag(const flow_order *o, int flag)
{
    return (o->request.flags & flag) != 0;
}

static inline market *market_of(flow_kernel *k, const flow_order *o)
{
    return &k->markets[o->request.market];
}

/* kernel.c */
bool venue_rules_are_valid(const flow_venue_rules *rules);

/* prices.c */
bool prices_known(const market *m);
int64_t prices_touch(const flow_kernel *k, const market *m, int side);
int64_t prices_mark(const market *m);

/* money.c */
i128 money_notional(const market *m, int64_t price_ticks, int64_t qty_lots);
i128 money_share_up(i128 amount, int64_t numerator, i128 denominator);
i128 money_share_down(i128 amount, int64_t part, int64_t whole);
i128 money_fee(const flow_kernel *k, i128 notional_atoms, int64_t rate_ppb);
int64_t money_fee_rate(const flow_kernel *k, flow_role role);
void money_add_volume(flow_kernel *k, i128 notional_atoms);
i128 money_lots_wanted(const flow_kernel *k, const market *m);
bool money_has_room(const flow_kernel *k, const market *m, i128 wanted_lots);

/* account.c */
void account_fill(flow_kernel *k, market *m, int lane, int side, int64_t price_ticks,
                  int64_t qty_lots, i128 fee_atoms);
void account_close_for(flow_kernel *k, market *m, int lane, i128 flow_atoms);
i128 account_unrealized(const flow_kernel *k, int lane);
i128 account_equity(const flow_kernel *k, int lane);
i128 account_free(const flow_kernel *k, int lane);
void account_point(flow_kernel *k, uint32_t market_index, int64_t ts_us);
bool account_books_balance(const flow_kernel *k);

/* limits.c */
i128 limits_cash_wanted(const flow_kernel *k, int lane);
flow_reason limits_at_arrival(flow_kernel *k, const flow_order *order);
int64_t limits_at_fill(flow_kernel *k, const flow_order *order, int lane, int64_t price_ticks,
                       int64_t qty_lots, flow_role role, flow_reason *reason_out);

/* margin.c */
bool margin_liquidate(flow_kernel *k, uint32_t market_index);
void margin_fund(flow_kernel *k, uint32_t market_index, int64_t rate_ppb);

/* links.c */
flow_order *links_find(const flow_kernel *k, uint64_t order_id);
void links_end_lane(flow_kernel *k, flow_order *order, int lane, int64_t ts_us,
                    flow_order_change change, flow_reason reason, const print *trade);
void links_end_all(flow_kernel *k, flow_order *order, int64_t ts_us, flow_order_change change,
                   flow_reason reason, const print *trade);
void links_end_sibling(flow_kernel *k, const flow_order *order, int64_t ts_us, const print *trade);
void links_after_fill(flow_kernel *k, flow_order *order, int lane, int64_t ts_us, int64_t qty_lots,
                      const print *trade);
flow_order *links_find_base(const flow_kernel *k, uint64_t order_id);
bool links_is_free(const flow_kernel *k, const flow_order *order);
size_t links_base_count(const flow_kernel *k);
bool order_is_open(const flow_kernel *k, const flow_order *order);
void orders_tell(flow_kernel *k, const flow_order *order, int lane, int64_t ts_us,
                 flow_order_change change, flow_reason reason, int64_t detail, const print *trade);

/* orders.c */
void orders_settle_due(flow_kernel *k, int64_t now_us);
void orders_go_live(flow_kernel *k, flow_order *order, int64_t ts_us);
void orders_size_to_position(flow_kernel *k, flow_order *order, int64_t ts_us);
void orders_come_to_rest(flow_kernel *k, flow_order *order, int64_t ts_us, const print *trade);
int64_t orders_queue_ahead(flow_kernel *k, const flow_order *order, int lane, bool untouched);
void orders_release(flow_kernel *k);
void orders_remove_done(flow_kernel *k);
void orders_plan(flow_kernel *k);

/* triggers.c */
int64_t triggers_start(const market *m, flow_order *order);
bool triggers_would_fire(const flow_kernel *k, const market *m, const flow_order *order);
void triggers_on_print(flow_kernel *k, uint32_t market_index, const print *trade);
void triggers_on_mark(flow_kernel *k, uint32_t market_index);
void triggers_plan(market *m, const flow_order *order);

/* matching.c */
bool matching_concerns(const flow_kernel *k, const market *m, const print *trade);
bool matching_settle(flow_kernel *k, uint32_t market_index, const print *trade);

/* inputs.c */
bool outboxes_have_room(const flow_kernel *k);

#endif
