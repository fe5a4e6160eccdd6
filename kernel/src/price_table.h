/*
 * Volume by price in bounded memory.
 *
 * Rows are row_ticks x 2^fold wide and start at multiples of that. Row r lives in cell r modulo the
 * number of cells, so the rows of any range of that many fit. When a range outgrows them, rows
 * become twice as wide. Cells of all rows outside of the range are zero.
 */
#ifndef FLOW_PRICE_TABLE_H
#define FLOW_PRICE_TABLE_H

#include "codec.h"

typedef struct price_cell {
    int64_t lots[2]; /* [0] sellers, [1] buyers were the aggressors */
} price_cell;

typedef struct price_table {
    price_cell *cells;
    price_cell *spare; /* all zero */
    int64_t mask;      /* cells - 1 */
    int64_t row_ticks;
    uint64_t reciprocal; /* of row_ticks; see price_table_row */
    int32_t shift;
    int32_t fold;
} price_table;

/* Make a table of rows_max cells, a power of two from 2 on; false when memory is short. */
bool price_table_init(price_table *t, int64_t rows_max, int64_t row_ticks);
void price_table_free(price_table *t);

/* Make rows so wide that [low, high] fits; the table holds volume in [old_low, old_high] only. */
void price_table_fit(price_table *t, int64_t old_low, int64_t old_high, int64_t low, int64_t high);

/* Canonical bytes of the rows with volume in [low, high]; loading needs an empty table and the
 * volume of sellers and buyers that it must hold. */
void price_table_save(const price_table *t, writer *w, int64_t low, int64_t high);
bool price_table_load(price_table *t, reader *r, int64_t low, int64_t high, int64_t sell_lots,
                      int64_t buy_lots);

/*
 * The row of a price: floor(price / row_ticks) >> fold. With 2^shift <= row_ticks the reciprocal
 * floor(2^(63 + shift) / row_ticks) + 1 exceeds the exact one by less than 2^-(63 + shift), which
 * cannot reach the next whole number for prices to 2^50.
 */
static inline int64_t price_table_row(const price_table *t, int64_t price_ticks)
{
    u128 product = (u128)((uint64_t)price_ticks << 1) * t->reciprocal;
    return (int64_t)((uint64_t)(product >> 64) >> (t->shift + t->fold));
}

static inline int64_t price_table_width(const price_table *t) { return t->row_ticks << t->fold; }

static inline const price_cell *price_table_cell(const price_table *t, int64_t row)
{
    return &t->cells[row & t->mask];
}

static inline void price_table_add(price_table *t, int64_t price_ticks, bool buyer, int64_t lots)
{
    t->cells[price_table_row(t, price_ticks) & t->mask].lots[buyer] += lots;
}

/* Rows from the lowest to the highest of a range. */
static inline size_t price_table_row_count(const price_table *t, int64_t low, int64_t high)
{
    return (size_t)(price_table_row(t, high) - price_table_row(t, low) + 1);
}

/* An area of rows around the one with the most volume; see flow_footprint for the rule. */
typedef struct value_area {
    size_t poc, low, high; /* indexes of rows */
    int64_t area_lots;
    int64_t total_lots;
} value_area;

/* The area around the row poc of `count` neighbouring rows, one at least. */
value_area value_area_around(const int64_t *lots, size_t count, size_t poc, int64_t total_lots,
                             int64_t area_ppm);

/* `lots` holds the volume of `count` neighbouring rows, one at least. */
value_area value_area_of(const int64_t *lots, size_t count, int64_t area_ppm);

#endif
