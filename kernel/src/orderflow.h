/*
 * Order flow of one instrument: everything that follows from its prints alone.
 *
 * It knows neither orders nor accounts. The kernel gives each input its number and stream time and
 * calls in; results wait in the outboxes here.
 */
#ifndef FLOW_ORDERFLOW_INTERNAL_H
#define FLOW_ORDERFLOW_INTERNAL_H

#include "flow_scan.h"
#include "marks.h"
#include "rolling_histogram.h"
#include "session.h"

typedef struct orderflow {
    flow_orderflow_config *config; /* of its own; its parts point there */
    uint64_t trade_count;
    flow_totals sums; /* of all prints, where there are no series */
    int64_t last_ticks;
    int64_t last_side;
    int64_t high_ticks;
    int64_t low_ticks;
    size_t series_count;
    series series[FLOW_SERIES_MAX];
    flow_bubble bubble;      /* the open one; trade_count 0: none */
    rolling_histogram sizes; /* of closed bubbles; capacity 0: not kept */
    price_table profile;     /* of the session; no cells: not kept */
    session session;
    marks marks;

    FLOW_OUTBOX(flow_bubble) bubbles;
} orderflow;

/* What limits a run of prints, and where it stands. */
typedef struct window {
    uint64_t input;     /* the last input applied; moved on */
    int64_t stream_us;  /* its stream time; moved on */
    int64_t next_us;    /* a print at or behind this time is left to the caller, */
    int64_t low_ticks;  /* and so is one below this price */
    int64_t high_ticks; /* or above this one */
    flow_cpu cpu;       /* what loops may use */
} window;

bool orderflow_config_is_valid(const flow_orderflow_config *config);

/* Make an empty order flow; false when memory is short, and then nothing is held. The struct may
 * be moved by copying it. */
bool orderflow_init(orderflow *flow, const flow_orderflow_config *config);
void orderflow_free(orderflow *flow);

/* Whether a batch of this volume keeps all sums within 64 bits. */
bool orderflow_has_volume_left(const orderflow *flow, int64_t total_lots);

/* How many prints certainly find room in the outboxes. Any other input needs room for one. */
size_t orderflow_room(const orderflow *flow);
bool orderflow_is_drained(const orderflow *flow);

/* Whether prints leave nothing behind but sums, their number and the last of them. */
static inline bool orderflow_is_off(const orderflow *f) { return f->series_count == 0; }

/* Add up prints where there are no series. */
void orderflow_add_sums(orderflow *flow, const flow_totals *more);

/* Inputs, with the number and stream time that the kernel has given them. */
void orderflow_print(orderflow *flow, const print *trade, uint64_t input, int64_t stream_us);
void orderflow_clock(orderflow *flow, uint64_t input, int64_t stream_us);
void orderflow_gap(orderflow *flow, uint64_t input, int64_t stream_us);
void orderflow_end(orderflow *flow, uint64_t input, int64_t stream_us);

/* A command behind that input. */
void orderflow_anchor(orderflow *flow, size_t anchor, uint64_t input, int64_t stream_us);

int64_t orderflow_buy_lots(const orderflow *flow);
int64_t orderflow_sell_lots(const orderflow *flow);
i128 orderflow_notional(const orderflow *flow);
int64_t orderflow_profile_row_ticks(const orderflow *flow);
size_t orderflow_profile_row_count(const orderflow *flow);
void orderflow_copy_profile(const orderflow *flow, flow_profile_row *out);
void orderflow_read_session(const orderflow *flow, int64_t stream_us, flow_session *out);

/* Give a bubble that has closed what is said at its close, and learn its size. */
static inline void orderflow_measure_bubble(orderflow *f, flow_bubble *bubble)
{
    rolling_histogram *sizes = &f->sizes;
    if (sizes->capacity == 0) return;
    bubble->threshold_lots =
        sizes->count >= (size_t)f->config->large_min_count ? rolling_histogram_tracked(sizes) : 0;
    bubble->large =
        bubble->threshold_lots > 0 && bubble->qty_lots >= bubble->threshold_lots ? 1 : 0;
    rolling_histogram_add(sizes, bubble->qty_lots);
}

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
