/*
 * Order flow of one instrument: everything that follows from its prints alone.
 *
 * It knows neither orders nor accounts. The kernel gives each input its number and stream time and
 * calls in; results wait in the outboxes here.
 */
#ifndef FLOW_ORDERFLOW_INTERNAL_H
#define FLOW_ORDERFLOW_INTERNAL_H

#include "codec.h"

typedef struct print {
    int64_t ts_us;
    int64_t price_ticks;
    int64_t qty_lots;
    int8_t side;
} print;

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

typedef struct orderflow {
    flow_orderflow_config config;
    uint64_t trade_count;
    int64_t last_ticks;
    int64_t last_side;
    int64_t high_ticks;
    int64_t low_ticks;
    int64_t closed_buy_lots; /* of closed bars; the open one's come on top */
    int64_t closed_sell_lots;
    i128 closed_notional;
    flow_bar bar;
    flow_bubble bubble;
    profile profile;

    FLOW_OUTBOX(flow_bar) bars;
    FLOW_OUTBOX(flow_bubble) bubbles;
} orderflow;

/* What limits a run of prints, and where it stands. */
typedef struct window {
    uint64_t input;     /* the last input applied; moved on */
    int64_t stream_us;  /* its stream time; moved on */
    int64_t next_us;    /* a print at or behind this time is left to the caller, */
    int64_t low_ticks;  /* and so is one below this price */
    int64_t high_ticks; /* or above this one */
} window;

bool orderflow_config_is_valid(const flow_orderflow_config *config);

/* Make an empty order flow; false when memory is short, and then nothing is held. */
bool orderflow_init(orderflow *flow, const flow_orderflow_config *config);
void orderflow_free(orderflow *flow);

/* Whether a batch of this volume keeps all sums within 64 bits. */
bool orderflow_has_volume_left(const orderflow *flow, int64_t total_lots);

/* How many prints certainly find room in the outboxes. Any other input needs room for one. */
size_t orderflow_room(const orderflow *flow);
bool orderflow_is_drained(const orderflow *flow);

/* Inputs, with the number and stream time that the kernel has given them. */
void orderflow_print(orderflow *flow, const print *trade, uint64_t input, int64_t stream_us);
void orderflow_clock(orderflow *flow, uint64_t input, int64_t stream_us);
void orderflow_gap(orderflow *flow, uint64_t input, int64_t stream_us);
void orderflow_end(orderflow *flow, uint64_t input, int64_t stream_us);

int64_t orderflow_buy_lots(const orderflow *flow);
int64_t orderflow_sell_lots(const orderflow *flow);
i128 orderflow_notional(const orderflow *flow);
size_t orderflow_profile_row_count(const orderflow *flow);
void orderflow_copy_profile(const orderflow *flow, flow_profile_row *out);

/* Canonical bytes. Loading needs a fresh order flow of the same configuration; when it returns
 * false, that one is good for orderflow_free only. */
void orderflow_put_config(writer *w, const flow_orderflow_config *config);
void orderflow_save(const orderflow *flow, writer *w);
bool orderflow_load(orderflow *flow, reader *r, int64_t stream_us);

/*
 * fastpath.c: apply prints [start, limit) of a batch, until one is left to the caller: the same as
 * orderflow_print on each of them. Returns the row behind the last one applied. The outboxes must
 * have room for all of them.
 */
size_t fastpath_run(orderflow *flow, window *at, const flow_batch *batch, size_t start,
                    size_t limit);

#endif
