/* A sweep: what a chunk of prints means to any taker, and the accounts that take. */
#ifndef FLOW_SWEEP_INTERNAL_H
#define FLOW_SWEEP_INTERNAL_H

#include "flow_sweep.h"
#include "levels.h"

/* Rows prepared at once: with a set's own numbers they fit into a second-level cache. */
#define CHUNK_ROWS 8192

/* Decision points whose marks are summed up together; divides CHUNK_ROWS. */
#define SPAN_DECISIONS 16

/* Marks of consecutive decision points: extremes, and the largest fall and rise from one to a later
 * one. */
typedef struct span {
    int64_t low_ticks;
    int64_t high_ticks;
    int64_t fall_ticks;
    int64_t rise_ticks;
} span;

/* Consecutive rows of a batch. */
typedef struct chunk {
    size_t row_count;
    const int64_t *ts_us;
    const int8_t *side;
    int64_t stream_us[CHUNK_ROWS];
    int64_t touch_ticks[2][CHUNK_ROWS]; /* behind the print: [0] for sells, [1] for buys */
    int64_t share_lots[CHUNK_ROWS];     /* what all orders of a set get of the print at most */
    uint32_t decisions_before[CHUNK_ROWS];

    size_t decision_count;
    flow_decision decisions[CHUNK_ROWS]; /* rows of the chunk */
    int64_t mark_ticks[CHUNK_ROWS];      /* price of the print of each decision point */
    span spans[CHUNK_ROWS / SPAN_DECISIONS];
} chunk;

/* A market order on its way or taking. */
typedef struct taker {
    int64_t active_us; /* prints after this time may fill it */
    int64_t qty_lots;
    int64_t left_lots;
    int64_t first_ticks; /* touch at its first print; 0: none yet */
    int64_t side;
} taker;

/* Own notional of a day and the 30 before; a day has the place day % TIER_DAYS. */
#define TIER_DAYS 31
typedef struct tier_volume {
    int64_t day;
    i128 day_atoms[TIER_DAYS];
} tier_volume;

/* The account of a set. */
typedef struct book {
    i128 cash_atoms;
    i128 realized_atoms;
    i128 fees_atoms;
    i128 cost_atoms;
    i128 notional_atoms;
    i128 equity_min_atoms;
    i128 equity_max_atoms;
    i128 drawdown_max_atoms;
    int64_t position_lots;
    int64_t target_lots;
    int64_t wake_us; /* the earliest open order's active_us */
    i128 open_lots;  /* that the open orders were placed for */
    uint64_t order_count;
    uint64_t fill_count;
    size_t open_count;
    flow_status refused_status;
    int64_t refused_decision;
    int64_t refused_ticks; /* the last price then */
} book;

struct flow_sweep {
    flow_config config;
    flow_market market;
    flow_decisions decisions; /* where the session stands */
    uint64_t decision_count;
    int64_t total_lots;
    quote quote;
    chunk chunk;
    size_t set_count;
    book *books;
    taker *takers;        /* orders_max places for each set */
    tier_volume *volumes; /* one for each set; null with a single fee tier */
};

/* One set on its way through a chunk. */
typedef struct visit {
    const flow_sweep *sweep;
    const chunk *chunk;
    book *book;
    taker *takers;
    tier_volume *volume;   /* null with a single fee tier */
    flow_i128 *equity_out; /* of the chunk's decision points; null: not wanted */
    size_t sampled;        /* decision points of the chunk whose equity was taken in */
} visit;

/* sweep_chunk.c: take in rows [start, start + CHUNK_ROWS) of a batch, as far as they are there. */
void chunk_prepare(flow_sweep *sweep, const flow_batch *batch, size_t start);

/* The marks of decision points [start, end), of which there is at least one. */
span chunk_marks(const chunk *c, size_t start, size_t end);

/* sweep_account.c */
void sweep_fill(visit *v, int64_t side, int64_t price_ticks, int64_t qty_lots, int64_t stream_us);
void sweep_sample(visit *v, size_t end);
flow_status sweep_place(visit *v, i128 change_lots, size_t decision);

#endif
