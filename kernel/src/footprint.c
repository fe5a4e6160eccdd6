/* What a footprint says of the rows of a bar. */
#include "series.h"

#define PPM 1000000
#define RATIO_PPM_MAX 1000000000
#define STACKED 2

#define ALWAYS_INLINE static inline __attribute__((always_inline))

/* Whether volume is at least ratio_ppm of that across; `narrow`: products fit 64 bits. */
ALWAYS_INLINE int64_t outweighs(int64_t lots, int64_t across_lots, int64_t least_lots,
                                int64_t ratio_ppm, const bool narrow)
{
    const int64_t enough = narrow ? lots * PPM >= across_lots * ratio_ppm
                                  : (i128)lots * PPM >= (i128)across_lots * ratio_ppm;
    return (lots >= least_lots) & enough;
}

/* Rows on their way out; `put` of them so far, the last one still without its sell imbalance. */
typedef struct row_writer {
    flow_footprint_row *out;
    size_t put;
    int64_t width;
    uint64_t sequence;
} row_writer;

/* Write a row, which stays only if it has volume. */
static inline void put_row(row_writer *w, int64_t row, price_cell cell, int64_t buy_marked,
                           int64_t sell_marked)
{
    flow_footprint_row *out = &w->out[w->put];
    out->sequence = w->sequence;
    out->price_ticks = row * w->width;
    out->buy_lots = cell.lots[1];
    out->sell_lots = cell.lots[0];
    out->buy_imbalance = (int8_t)buy_marked;
    out->sell_imbalance = (int8_t)sell_marked;
    w->put += cell.lots[0] + cell.lots[1] > 0;
}

/* Runs of marked rows that are long enough become stacks; rows come in order of price. */
static void mark_stacks(flow_footprint_row *rows, size_t count, int64_t width, int64_t stack_count)
{
    int64_t buy_run = 0, sell_run = 0, before = 0;
    for (size_t i = 0; i < count; i++) {
        const bool next = i > 0 && rows[i].price_ticks == before + width;
        before = rows[i].price_ticks;
        buy_run = rows[i].buy_imbalance ? (next ? buy_run : 0) + 1 : 0;
        sell_run = rows[i].sell_imbalance ? (next ? sell_run : 0) + 1 : 0;
        for (int64_t back = buy_run >= stack_count ? buy_run : 0; back > 0; back--)
            rows[i + 1 - (size_t)back].buy_imbalance = STACKED;
        for (int64_t back = sell_run >= stack_count ? sell_run : 0; back > 0; back--)
            rows[i + 1 - (size_t)back].sell_imbalance = STACKED;
    }
}

/* Make a footprint and its rows of a bar. With `clears` the rows of the table become zero. */
ALWAYS_INLINE void footprint_of(const price_table *t, const footprint_rules *rules,
                                const flow_bar *bar, int64_t most, int64_t least,
                                flow_footprint *out, flow_footprint_row *rows_out,
                                const bool clears, const bool narrow)
{
    const int64_t first = price_table_row(t, bar->low_ticks);
    const int64_t last = price_table_row(t, bar->high_ticks);
    const size_t count = (size_t)(last - first) + 1;
    const int64_t ratio_ppm = rules->imbalance_ppm, mask = t->mask;
    /* Without marks nothing is as much as this. */
    const int64_t least_lots = ratio_ppm > 0 ? max_i64(rules->imbalance_min_lots, 1) : INT64_MAX;
    int64_t lots[FLOW_FOOTPRINT_ROWS_MAX];
    row_writer w = {rows_out, 0, price_table_width(t), bar->sequence};
    const price_cell low = t->cells[first & mask];
    int64_t buy_marked = 0, buy_run = 0, sell_run = 0, buy_stack = 0, sell_stack = 0;
    int64_t total_lots = low.lots[0] + low.lots[1], best = total_lots;
    size_t poc = 0;
    price_cell before = low;
    lots[0] = total_lots;
    if (clears) t->cells[first & mask] = (price_cell){{0, 0}};
    for (size_t i = 1; i < count; i++) {
        price_cell *place = &t->cells[(first + (int64_t)i) & mask];
        const price_cell cell = {{place->lots[0], place->lots[1]}};
        if (clears) place->lots[0] = place->lots[1] = 0;
        const int64_t row_lots = cell.lots[0] + cell.lots[1];
        lots[i] = row_lots;
        total_lots += row_lots;
        poc = row_lots > best ? i : poc;
        best = max_i64(best, row_lots);
        const int64_t sell_marked =
            outweighs(before.lots[0], cell.lots[1], least_lots, ratio_ppm, narrow);
        put_row(&w, first + (int64_t)i - 1, before, buy_marked, sell_marked);
        buy_marked = outweighs(cell.lots[1], before.lots[0], least_lots, ratio_ppm, narrow);
        buy_run = (buy_run + 1) & -buy_marked;
        sell_run = (sell_run + 1) & -sell_marked;
        buy_stack = max_i64(buy_stack, buy_run);
        sell_stack = max_i64(sell_stack, sell_run);
        before = cell;
    }
    const price_cell high = before;
    put_row(&w, last, before, buy_marked, 0);
    if (UNLIKELY(max_i64(buy_stack, sell_stack) >= rules->stack_count))
        mark_stacks(rows_out, w.put, w.width, rules->stack_count);

    const value_area area = value_area_around(lots, count, poc, total_lots, rules->area_ppm);
    out->sequence = bar->sequence;
    out->ts_us = bar->ts_us;
    out->row_ticks = w.width;
    out->poc_ticks = (first + (int64_t)area.poc) * w.width;
    out->area_low_ticks = (first + (int64_t)area.low) * w.width;
    out->area_high_ticks = (first + (int64_t)area.high) * w.width;
    out->max_delta_lots = most;
    out->min_delta_lots = least;
    out->row_count = (int32_t)w.put;
    out->buy_stack_count = (int32_t)buy_stack;
    out->sell_stack_count = (int32_t)sell_stack;
    out->unfinished_high = (high.lots[0] > 0) & (high.lots[1] > 0);
    out->unfinished_low = (low.lots[0] > 0) & (low.lots[1] > 0);
    out->reserved[0] = out->reserved[1] = 0;
}

/* Whether no product of a row's volume with a ratio leaves 64 bits. */
static inline bool is_narrow(const series *s, const flow_bar *bar)
{
    const int64_t most = max_i64(s->rules.imbalance_ppm, PPM);
    return bar->buy_lots + bar->sell_lots < ((int64_t)1 << 62) / RATIO_PPM_MAX ||
           (i128)(bar->buy_lots + bar->sell_lots) * most < INT64_MAX;
}

void series_footprint(const series *s, flow_footprint *out, flow_footprint_row *rows)
{
    footprint_of(&s->table, &s->rules, &s->bar, s->max_delta_lots, s->min_delta_lots, out, rows,
                 false, false);
}

void series_put_footprint(series *s, const flow_bar *bar, int64_t most, int64_t least)
{
    flow_footprint *out = &s->footprints.items[s->footprints.tail++];
    flow_footprint_row *rows = s->rows.items + s->rows.tail;
    if (LIKELY(is_narrow(s, bar)))
        footprint_of(&s->table, &s->rules, bar, most, least, out, rows, true, true);
    else
        footprint_of(&s->table, &s->rules, bar, most, least, out, rows, true, false);
    s->rows.tail += (size_t)out->row_count;
    s->table.fold = 0;
}
