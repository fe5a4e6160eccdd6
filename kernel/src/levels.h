/*
 * What the prints say about prices that stand in the book: the touch, and how much trades at a
 * level before it breaks.
 */
#ifndef FLOW_LEVELS_H
#define FLOW_LEVELS_H

#include "orderflow.h"
#include "rolling_histogram.h"

#define LEVELS_LEAST 16 /* broken levels before a quantile means anything */

/* The newest print of each side, [0] sellers' and [1] buyers'. */
typedef struct quote {
    int64_t ticks[2];     /* 0: none yet */
    int64_t stream_us[2]; /* ALWAYS_US: stale */
    int64_t last_us;      /* stream time of the newest print */
    int64_t last_ticks;   /* 0: none yet */
    int64_t last_side;
} quote;

/* The volumes of the last levels that broke, as buckets of the scale of rolling_histogram.h. */
typedef struct broken_levels {
    uint16_t *slots; /* a ring */
    size_t capacity;
    size_t count;
    size_t next; /* the slot of the next one */
} broken_levels;

/* The level now trading on each side, [0] where sellers hit, and a sample of those that broke. */
typedef struct levels {
    int64_t ticks[2]; /* 0: none */
    int64_t lots[2];
    broken_levels broken[2]; /* capacity 0: not sampled */
} levels;

bool levels_init(levels *l, int64_t capacity);
void levels_free(levels *l);

/* Take in rows [start, end) of a batch; the same as levels_add on each of them. */
void levels_add_rows(levels *l, const flow_batch *batch, size_t start, size_t end);
void levels_add(levels *l, int64_t price_ticks, int64_t qty_lots, int8_t side);
void levels_forget(levels *l);

/*
 * Queue ahead of an order of `side` that comes to rest at price_ticks; untouched: as if nothing had
 * traded there. INT64_MAX: never reached.
 */
int64_t levels_queue(const levels *l, int side, int64_t price_ticks, int64_t touch_ticks,
                     int64_t queue_ppm, bool untouched);

void quote_add(quote *t, int64_t price_ticks, int8_t side, int64_t stream_us);
void quote_add_rows(quote *t, const flow_batch *batch, size_t start, size_t end);
void quote_forget(quote *t);

void levels_save(const levels *l, writer *w);
bool levels_load(levels *l, reader *r);
void quote_save(const quote *t, writer *w);
bool quote_load(quote *t, reader *r, int64_t stream_us);

#endif
