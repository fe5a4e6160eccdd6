/* Memory, folding, value areas and canonical bytes of a price table. */
#include <stdlib.h> /* calloc, free */
#include <string.h> /* memset */

#include "price_table.h"

#define PRICE_BITS 50
#define PPM 1000000

bool price_table_init(price_table *t, int64_t rows_max, int64_t row_ticks)
{
    *t = (price_table){.mask = rows_max - 1, .row_ticks = row_ticks};
    while (row_ticks >> (t->shift + 1))
        t->shift++;
    t->reciprocal = (uint64_t)(((u128)1 << (63 + t->shift)) / (uint64_t)row_ticks) + 1;
    t->cells = calloc((size_t)rows_max, sizeof *t->cells);
    t->spare = calloc((size_t)rows_max, sizeof *t->spare);
    if (t->cells && t->spare) return true;
    price_table_free(t);
    return false;
}

void price_table_free(price_table *t)
{
    free(t->cells);
    free(t->spare);
    *t = (price_table){0};
}

void price_table_fit(price_table *t, int64_t old_low, int64_t old_high, int64_t low, int64_t high)
{
    const int64_t first = price_table_row(t, low), last = price_table_row(t, high);
    int32_t more = 0;
    while ((last >> more) - (first >> more) > t->mask)
        more++;
    if (more == 0) return;
    const int64_t old_last = price_table_row(t, old_high);
    for (int64_t row = price_table_row(t, old_low); row <= old_last; row++) {
        price_cell *from = &t->cells[row & t->mask];
        price_cell *to = &t->spare[(row >> more) & t->mask];
        to->lots[0] += from->lots[0];
        to->lots[1] += from->lots[1];
        *from = (price_cell){{0, 0}};
    }
    price_cell *cells = t->cells;
    t->cells = t->spare;
    t->spare = cells;
    t->fold += more;
}

value_area value_area_around(const int64_t *lots, size_t count, size_t poc, int64_t total_lots,
                             int64_t area_ppm)
{
    value_area a = {poc, poc, poc, lots[poc], total_lots};
    const u128 want = (u128)(uint64_t)total_lots * (uint64_t)area_ppm;
    while (a.high - a.low + 1 < count && (u128)(uint64_t)a.area_lots * PPM < want) {
        const bool up = a.low == 0 || (a.high + 1 < count && lots[a.high + 1] >= lots[a.low - 1]);
        a.area_lots += up ? lots[a.high + 1] : lots[a.low - 1];
        a.high += up;
        a.low -= !up;
    }
    return a;
}

value_area value_area_of(const int64_t *lots, size_t count, int64_t area_ppm)
{
    int64_t total = lots[0];
    size_t poc = 0;
    for (size_t i = 1; i < count; i++) {
        total += lots[i];
        poc = lots[i] > lots[poc] ? i : poc;
    }
    return value_area_around(lots, count, poc, total, area_ppm);
}

/* The fold, the number of rows with volume, and each of them: number, sellers', buyers' lots. */
void price_table_save(const price_table *t, writer *w, int64_t low, int64_t high)
{
    put_i64(w, t->fold);
    const size_t count_at = w->at;
    put(w, 0);
    uint64_t count = 0;
    const int64_t last = price_table_row(t, high);
    for (int64_t row = price_table_row(t, low); row <= last; row++) {
        const price_cell *cell = price_table_cell(t, row);
        if (cell->lots[0] == 0 && cell->lots[1] == 0) continue;
        put_i64(w, row);
        put_i64(w, cell->lots[0]);
        put_i64(w, cell->lots[1]);
        count++;
    }
    writer count_writer = {w->out, count_at};
    put(&count_writer, count);
}

bool price_table_load(price_table *t, reader *r, int64_t low, int64_t high, int64_t sell_lots,
                      int64_t buy_lots)
{
    t->fold = (int32_t)get_between(r, 0, PRICE_BITS - t->shift);
    const uint64_t count = get(r);
    if (r->bad) return false;
    const int64_t first = price_table_row(t, low), last = price_table_row(t, high);
    if (last - first > t->mask) return false;
    int64_t before = first - 1;
    for (uint64_t i = 0; i < count; i++) {
        const int64_t row = get_i64(r);
        const int64_t sellers = get_between(r, 0, sell_lots), buyers = get_between(r, 0, buy_lots);
        if (r->bad || row <= before || row > last) return false;
        t->cells[row & t->mask] = (price_cell){{sellers, buyers}};
        sell_lots -= sellers;
        buy_lots -= buyers;
        before = row;
    }
    return sell_lots == 0 && buy_lots == 0;
}
