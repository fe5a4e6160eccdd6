/*
 * Own orders, what fills them, and the account.
 *
 * docs/EXECUTION.md states the rules one by one; here is what crosses the border.
 *
 * Lanes
 *   Every order is settled three times in one pass, under optimistic, base and pessimistic
 *   assumptions, each with an account of its own. The base lane is what a strategy sees. With
 *   lane_count 1 there is the base lane alone.
 */
#ifndef FLOW_EXECUTION_H
#define FLOW_EXECUTION_H

#include "flow_types.h"

#define FLOW_LANES 3
#define FLOW_OPTIMISTIC 0
#define FLOW_BASE 1
#define FLOW_PESSIMISTIC 2
#define FLOW_ALL_LANES (-1) /* in events: the change is the same in every lane */

#define FLOW_LATENCY_POINTS 64
#define FLOW_FEE_TIERS 10
#define FLOW_QUEUE_WINDOW_MAX 4096

/* queue_ppm of a lane whose resting orders fill only when prints go through their price. */
#define FLOW_QUEUE_NEVER (FLOW_PPM + 1)

/* parent_id and sibling_id from here on name orders of the same flow_place call, by index. */
#define FLOW_GROUP ((uint64_t)1 << 63)

typedef enum flow_order_kind {
    FLOW_MARKET = 0,
    FLOW_LIMIT = 1,
    FLOW_STOP = 2,              /* market order once the trigger trades against the trader */
    FLOW_STOP_LIMIT = 3,        /* limit order then */
    FLOW_TAKE_PROFIT = 4,       /* market order once the trigger trades in the trader's favour */
    FLOW_TAKE_PROFIT_LIMIT = 5, /* limit order then */
    FLOW_TRAILING_STOP = 6,     /* market order once the price turns by `trail` */
    FLOW_LIQUIDATION = 7        /* in fills only: the venue closed the position */
} flow_order_kind;

typedef enum flow_time_in_force {
    FLOW_GTC = 0,
    FLOW_IOC = 1, /* whatever its first print and those of the same moment give */
    FLOW_FOK = 2, /* all of it from its first print, or nothing */
    FLOW_GTD = 3  /* until expire_us */
} flow_time_in_force;

/* flags of a request */
#define FLOW_POST_ONLY 1      /* rejected instead of taking */
#define FLOW_REDUCE_ONLY 2    /* never makes the position larger or turns it */
#define FLOW_CLOSE_POSITION 4 /* all of the position there is then; qty_lots is 0 */
#define FLOW_TRAIL_PPM 8      /* trail is a share of the best price, not ticks */
#define FLOW_ON_MARK 16       /* the mark price triggers, not the last one */

typedef enum flow_order_stage {
    FLOW_PENDING = 0, /* on its way to the venue */
    FLOW_HELD = 1,    /* waits for fills of its parent */
    FLOW_WAITING = 2, /* waits for its trigger */
    FLOW_TAKING = 3,  /* takes what prints offer */
    FLOW_RESTING = 4  /* rests in the book as a maker */
} flow_order_stage;

typedef enum flow_role { FLOW_MAKER = 0, FLOW_TAKER = 1, FLOW_LIQUIDATED = 2 } flow_role;

/* What happened to an order; `detail` of the event is given in brackets. */
typedef enum flow_order_change {
    FLOW_ORDER_PLACED = 0,       /* [latency drawn, us] */
    FLOW_ORDER_RESTING = 1,      /* rests with queue_lots ahead; one event a lane */
    FLOW_ORDER_TAKING = 2,       /* takes from the next print on */
    FLOW_ORDER_WAITING = 3,      /* waits for its trigger [trigger price; 0: not yet known] */
    FLOW_ORDER_TRIGGERED = 4,    /* [trigger price] */
    FLOW_ORDER_QUEUED = 5,       /* base lane: a print at its price went to those ahead */
    FLOW_ORDER_STARVED = 6,      /* base lane: a print in reach gave nothing (reason) */
    FLOW_ORDER_FILLED = 7,       /* completely, in this lane */
    FLOW_ORDER_CANCEL_ASKED = 8, /* [latency drawn, us] */
    FLOW_ORDER_CANCELED = 9,     /* (reason) */
    FLOW_ORDER_AMEND_ASKED = 10, /* [latency drawn, us] */
    FLOW_ORDER_AMENDED = 11,     /* [price now] */
    FLOW_ORDER_EXPIRED = 12,     /* (reason) */
    FLOW_ORDER_REJECTED = 13,    /* (reason) */
    FLOW_ORDER_RELEASED = 14,    /* its parent filled [lots more] */
    FLOW_ORDER_REDUCED = 15,     /* its sibling filled [lots less] */
    FLOW_ORDER_SLICED = 16,      /* shows its next part behind queue_lots */
    FLOW_ORDER_UNKNOWN = 17      /* trades are missing: what they did to the queue is not known */
} flow_order_change;

typedef enum flow_reason {
    FLOW_NO_REASON = 0,
    FLOW_BY_COMMAND = 1,         /* canceled as asked */
    FLOW_BY_AMENDMENT = 2,       /* the new quantity was filled already */
    FLOW_BY_SIBLING = 3,         /* the other order of the pair filled or triggered */
    FLOW_BY_PARENT = 4,          /* its parent ended without a fill */
    FLOW_BY_LIQUIDATION = 5,     /* the position was liquidated */
    FLOW_TIME_IS_UP = 6,         /* GTD */
    FLOW_NOTHING_LEFT = 7,       /* IOC: its moment is over */
    FLOW_NOT_ENOUGH = 8,         /* FOK: its first print was too small */
    FLOW_WOULD_TAKE = 9,         /* post-only */
    FLOW_WOULD_TRIGGER = 10,     /* the trigger lies on the wrong side of the price */
    FLOW_NOTHING_TO_REDUCE = 11, /* reduce-only or close-position without a position */
    FLOW_INSUFFICIENT_BALANCE = 12,
    FLOW_BUDGET_SPENT = 13, /* earlier own orders used up the share of the print */
    FLOW_OTHER_SIDE = 14,   /* the lane takes from prints of its own side only */
    FLOW_BY_CAPACITY = 15   /* too many orders that only other lanes still have open */
} flow_reason;

typedef enum flow_fill_model {
    FLOW_FILLS_QUEUED = 0, /* queue, shared volume budget, synthetic touch */
    FLOW_FILLS_SPREAD = 1  /* half a fixed spread either side of the last price, any quantity */
} flow_fill_model;

typedef enum flow_account_kind {
    FLOW_ACCOUNT_FREE = 0,    /* no limits: short and on credit at will */
    FLOW_ACCOUNT_SPOT = 1,    /* buys with the cash there is, sells what there is */
    FLOW_ACCOUNT_ISOLATED = 2 /* linear perpetuals: isolated margin a position */
} flow_account_kind;

/* Assumptions of a lane. From lane to lane none may become kinder. */
typedef struct flow_lane {
    int64_t queue_ppm;         /* quantile of the level sample taken as the queue; or NEVER */
    int64_t participation_ppm; /* own orders' share of a print, 1 .. 1,000,000 */
    int64_t slip_ticks;        /* what takers pay beyond the touch, at least 0 */
    int64_t own_side_only;     /* 1: takers trade with prints of their own side only */
} flow_lane;

typedef struct flow_fee_tier {
    flow_i128 from_atoms; /* own notional of the last 30 UTC days, base lane; the first is 0 */
    int64_t maker_ppb;    /* -10^9 .. 10^9; negative is a rebate */
    int64_t taker_ppb;
} flow_fee_tier;

/* Rules of a venue for one instrument; 0: no such rule. */
typedef struct flow_venue_rules {
    int64_t price_step_ticks; /* at least 1 */
    int64_t price_min_ticks;
    int64_t price_max_ticks;
    int64_t qty_step_lots; /* at least 1 */
    int64_t qty_min_lots;
    int64_t qty_max_lots;
    int64_t market_qty_max_lots;
    int64_t notional_min_ticklots;
    int64_t price_up_ppm;   /* a limit price at most last x this / 10^6 */
    int64_t price_down_ppm; /* and at least last x this / 10^6 */
} flow_venue_rules;

#define FLOW_VENUE_RULE_COUNT ((int64_t)(sizeof(flow_venue_rules) / sizeof(int64_t)))

/* What an order asks for. All other members are 0. */
typedef struct flow_request {
    uint64_t client_id;    /* the caller's own; comes back in fills and orders */
    uint64_t parent_id;    /* an open order: held until it fills, grows with its fills */
    uint64_t sibling_id;   /* an open order: what fills here reduces it, and the other way */
    int64_t qty_lots;      /* 0 with FLOW_CLOSE_POSITION */
    int64_t price_ticks;   /* limit price of the kinds that have one */
    int64_t trigger_ticks; /* of stops and take-profits; trailing: starts there, 0 at once */
    int64_t trail;         /* trailing stops: distance in ticks, or ppm */
    int64_t display_lots;  /* iceberg: shown at a time; 0: all */
    int64_t expire_us;     /* GTD */
    uint32_t market;
    int8_t side;
    uint8_t kind;          /* flow_order_kind */
    uint8_t time_in_force; /* flow_time_in_force */
    uint8_t flags;
} flow_request;

/* An order in one lane. */
typedef struct flow_order_lane {
    int64_t remaining_lots;
    int64_t filled_lots;
    int64_t queue_lots; /* ahead of it at its price, estimated; INT64_MAX: never reached */
    int64_t shown_lots; /* of an iceberg's part on show; 0 for other orders */
    flow_i128 filled_ticklots;
    int64_t done; /* 1: filled or ended in this lane */
} flow_order_lane;

/* An order that is not done in every lane; open, as far as commands go, while the base lane is. */
typedef struct flow_order {
    uint64_t order_id;
    uint64_t placed_input; /* the command stands after this input */
    uint64_t live_input;   /* prints after this input may fill it */
    uint64_t rank;         /* age at its price: smaller goes first */
    int64_t active_us;     /* prints after this time may fill it */
    int64_t cancel_us;     /* it ends behind this time; INT64_MAX: no cancel asked */
    int64_t amend_us;      /* it changes behind this time; INT64_MAX: no change asked */
    int64_t amend_qty_lots;
    int64_t amend_price_ticks;
    int64_t amend_trigger_ticks;
    int64_t best_ticks;  /* trailing: best price seen; 0: not started */
    int64_t first_ticks; /* taking: touch at its first print; 0: none yet */
    int64_t first_us;    /* taking: stream time of its first print */
    flow_request request;
    flow_order_lane lanes[FLOW_LANES];
    int64_t stage; /* flow_order_stage */
} flow_order;

typedef struct flow_fill {
    uint64_t input;
    int64_t ts_us;
    uint64_t order_id; /* 0: liquidation */
    int64_t price_ticks;
    int64_t qty_lots;
    int64_t remaining_lots;
    flow_i128 fee_atoms;
    uint32_t market;
    int8_t side;
    int8_t role; /* flow_role */
    int8_t lane;
    int8_t reserved;
} flow_fill;

typedef struct flow_order_event {
    uint64_t input; /* the last input before the change took effect, or the one that made it */
    int64_t ts_us;
    uint64_t order_id;
    int64_t print_ticks; /* the print concerned; 0: none */
    int64_t print_lots;
    int64_t remaining_lots; /* in the lane; base lane when the change is the same in all */
    int64_t queue_lots;     /* ahead of it now */
    int64_t detail;         /* see flow_order_change */
    int8_t change;          /* flow_order_change */
    int8_t reason;          /* flow_reason */
    int8_t lane;            /* or FLOW_ALL_LANES */
    int8_t reserved[5];
} flow_order_event;

/* The accounts after a fill, or, on the grid, before the input that crossed it. */
typedef struct flow_equity {
    uint64_t input;
    int64_t ts_us;
    int64_t market;             /* of the fill; the first on the grid */
    int64_t position_lots;      /* in it, base lane */
    int64_t mark_ticks;         /* at which it is valued; 0: no price yet */
    flow_i128 equity_atoms;     /* base lane */
    flow_i128 optimistic_atoms; /* equity of the other lanes; the base lane's with one lane */
    flow_i128 pessimistic_atoms;
    flow_i128 realized_atoms; /* base lane, before fees and funding */
    flow_i128 fees_atoms;
    flow_i128 funding_atoms; /* paid; negative when received */
} flow_equity;

/* One lane's account. equity - initial cash = realized + unrealized - fees - funding. */
typedef struct flow_account {
    flow_i128 cash_atoms;
    flow_i128 realized_atoms;
    flow_i128 unrealized_atoms;
    flow_i128 fees_atoms;
    flow_i128 funding_atoms;
    flow_i128 equity_atoms;
    flow_i128 free_atoms; /* what new orders may use; equity in accounts without limits */
} flow_account;

/* One lane's position in one instrument. */
typedef struct flow_position {
    int64_t position_lots; /* negative when short */
    int64_t mark_ticks;
    flow_i128 cost_atoms;   /* paid for what is held; negative when short */
    flow_i128 margin_atoms; /* isolated accounts: locked for the position */
} flow_position;

#endif
