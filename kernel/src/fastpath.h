/*
 * Runs of prints that concern order flow alone: what its files share.
 *
 * A run is cut into blocks that stay in the processor's first cache. Each block is looked over once
 * for what it must not hold; then every part of order flow that is switched on goes over it in
 * tight loops of its own. Each part ends where its function for single prints would.
 *
 * Columns may be changed by others while they are read. Nothing that is read of them twice may
 * decide how far an array is used.
 */
#ifndef FLOW_FASTPATH_H
#define FLOW_FASTPATH_H

#include "orderflow.h"

#define BLOCK_ROWS 512
#define BLOCK_PIECE 64
#define PADDING 16 /* entries behind a column that vectors may read */

/* Prints in order of time, none of which sets an anchor, and what bounds their sums. */
typedef struct rows {
    const int64_t *ts_us;
    const int64_t *price_ticks;
    const int64_t *qty_lots;
    const int8_t *side;
    size_t count;
    uint64_t input; /* the number before the first one's */
    int64_t low_ticks;
    int64_t high_ticks;
    int64_t lots;
    bool narrow; /* all prices and quantities are below 2^32 */
    flow_cpu cpu;
} rows;

/*
 * What more than one part needs of a block. Sums are of the rows before each row; where all rows
 * are of one side, the change of delta is their volume.
 */
typedef struct columns {
    int64_t delta[BLOCK_ROWS + 1];
    uint64_t product[BLOCK_ROWS + 1];    /* of price and quantity, modulo 2^64 */
    int32_t above[BLOCK_ROWS + PADDING]; /* price from the block's lowest on */
} columns;

/* Rows of a block at which bubbles start, and its end. */
typedef struct bubble_starts {
    size_t count;
    uint16_t rows[BLOCK_ROWS + 1];
} bubble_starts;

/*
 * fastpath_block.c: how many of `count` rows, from the first on, are in order of time, before
 * next_us and within the prices? They become the rows of r, with what bounds them.
 */
size_t rows_look_over(rows *r, const window *w, int64_t next_us, size_t count);

/* False, and nothing is filled in, where prices lie too far apart. */
bool columns_fill(columns *c, const rows *r);

/* fastpath_bubbles.c */
void bubbles_find(const orderflow *f, const rows *r, const columns *c, bubble_starts *starts);
void bubbles_add(orderflow *f, const rows *r, const columns *c, const bubble_starts *starts);

static inline int64_t lots_of_one_side(const columns *c, size_t row, size_t end)
{
    const int64_t delta = c->delta[end] - c->delta[row];
    return delta < 0 ? -delta : delta;
}

/* fastpath_time_bars.c: c may be null for a series without footprints. */
void time_bars_add(series *s, const rows *r, const columns *c);

/* fastpath_bars.c: bars that end by other measures. */
void bars_add(series *s, const rows *r);

/* fastpath_session.c: profile, session sums and marks. `closed` are the bubbles that closed in the
 * block; bubble i did so at row at[i]. */
void profile_add(orderflow *f, const rows *r);
void session_add(session *s, const rows *r);
void marks_add(marks *m, const rows *r, const flow_bubble *closed, size_t closed_count,
               const uint16_t *at);

#endif
