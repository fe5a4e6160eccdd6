/* What a footprint says of the rows of a bar. */
#include "series.h"

#define PPM 1000000
#define MARKED 1
#define STACKED 2

static bool outweighs(int64_t lots, int64_t across_lots, const footprint_rules *rules)
{
    return lots > 0 && lots >= rules->imbalance_min_lots &&
           (u128)(uint64_t)lots * PPM >=
               (u128)(uint64_t)across_lots * (uint64_t)rules->imbalance_ppm;
}

/* Note that a row is marked; the run of marked rows that it ends becomes a stack when it is long
 * enough. */
static int64_t mark(int8_t *marks, size_t row, int64_t run, int64_t stack_count)
{
    marks[row] = MARKED;
    if (++run < stack_count) return run;
    const size_t first = run == stack_count ? row + 1 - (size_t)run : row;
    for (size_t i = first; i <= row; i++)
        marks[i] = STACKED;
    return run;
}

static void find_imbalances(const price_table *t, int64_t first, size_t count,
                            const footprint_rules *rules, int8_t *buy, int8_t *sell,
                            flow_footprint *out)
{
    int64_t buy_run = 0, sell_run = 0;
    for (size_t i = 0; i + 1 < count; i++) {
        const price_cell *lower = price_table_cell(t, first + (int64_t)i);
        const price_cell *upper = price_table_cell(t, first + (int64_t)i + 1);
        sell_run = outweighs(lower->lots[0], upper->lots[1], rules)
                       ? mark(sell, i, sell_run, rules->stack_count)
                       : 0;
        buy_run = outweighs(upper->lots[1], lower->lots[0], rules)
                      ? mark(buy, i + 1, buy_run, rules->stack_count)
                      : 0;
        out->sell_stack_count = (int32_t)max_i64(out->sell_stack_count, sell_run);
        out->buy_stack_count = (int32_t)max_i64(out->buy_stack_count, buy_run);
    }
}

void series_footprint(const series *s, flow_footprint *out, flow_footprint_row *rows)
{
    const price_table *t = &s->table;
    const flow_bar *bar = &s->bar;
    const int64_t first = price_table_row(t, bar->low_ticks), width = price_table_width(t);
    const size_t count = (size_t)(price_table_row(t, bar->high_ticks) - first) + 1;
    int64_t lots[FLOW_FOOTPRINT_ROWS_MAX];
    int8_t buy[FLOW_FOOTPRINT_ROWS_MAX], sell[FLOW_FOOTPRINT_ROWS_MAX];
    for (size_t i = 0; i < count; i++) {
        const price_cell *cell = price_table_cell(t, first + (int64_t)i);
        lots[i] = cell->lots[0] + cell->lots[1];
        buy[i] = sell[i] = 0;
    }
    const value_area area = value_area_of(lots, count, s->rules.area_ppm);
    const price_cell *high = price_table_cell(t, first + (int64_t)count - 1);
    const price_cell *low = price_table_cell(t, first);
    *out = (flow_footprint){
        .sequence = bar->sequence,
        .ts_us = bar->ts_us,
        .row_ticks = width,
        .poc_ticks = (first + (int64_t)area.poc) * width,
        .area_low_ticks = (first + (int64_t)area.low) * width,
        .area_high_ticks = (first + (int64_t)area.high) * width,
        .max_delta_lots = s->max_delta_lots,
        .min_delta_lots = s->min_delta_lots,
        .unfinished_high = high->lots[0] > 0 && high->lots[1] > 0,
        .unfinished_low = low->lots[0] > 0 && low->lots[1] > 0,
    };
    if (s->rules.imbalance_ppm > 0) find_imbalances(t, first, count, &s->rules, buy, sell, out);
    for (size_t i = 0; i < count; i++) {
        const price_cell *cell = price_table_cell(t, first + (int64_t)i);
        if (lots[i] == 0) continue;
        rows[out->row_count++] = (flow_footprint_row){
            .sequence = bar->sequence,
            .price_ticks = (first + (int64_t)i) * width,
            .buy_lots = cell->lots[1],
            .sell_lots = cell->lots[0],
            .buy_imbalance = buy[i],
            .sell_imbalance = sell[i],
        };
    }
}
