/* Bars of a block that end by other measures than time. */
#include "fastpath.h"

/* The prices whose rows fit a table together with those of a bar. */
typedef struct fit {
    int64_t low_ticks;
    uint64_t span_ticks;
} fit;

ALWAYS_INLINE fit fit_of(const price_table *t, int64_t low, int64_t high)
{
    const int64_t first = price_table_row(t, low), width = price_table_width(t);
    const int64_t spare = t->mask - (price_table_row(t, high) - first);
    return (fit){(first - spare / 2) * width, (uint64_t)((t->mask + 1) * width - 1)};
}

/* Whether a bar with these sums ends; `product` counts from where `dollars_left` were left. */
ALWAYS_INLINE
bool reaches(flow_series_kind kind, int64_t threshold, int64_t dollars_left, int64_t trades,
             int64_t lots, uint64_t product, int64_t delta, int64_t buys)
{
    switch (kind) {
    case FLOW_SERIES_TIME:
        return false;
    case FLOW_SERIES_TICK:
        return trades >= threshold;
    case FLOW_SERIES_VOLUME:
        return lots >= threshold;
    case FLOW_SERIES_DOLLAR:
        return (int64_t)product >= dollars_left;
    case FLOW_SERIES_DELTA:
        return delta >= threshold || delta <= -threshold;
    case FLOW_SERIES_TICK_IMBALANCE:
        return 2 * buys - trades >= threshold || trades - 2 * buys >= threshold;
    case FLOW_SERIES_TICK_RUN:
        return buys >= threshold || trades - buys >= threshold;
    case FLOW_SERIES_VOLUME_RUN:
        return ((uint64_t)lots + (uint64_t)delta) / 2 >= (uint64_t)threshold ||
               ((uint64_t)lots - (uint64_t)delta) / 2 >= (uint64_t)threshold;
    }
    return false;
}

/*
 * Bars of one series; kind and footprints are constants of each copy that is made of this. Sums
 * count from the bar's start, but `product` from the first row of the piece.
 */
ALWAYS_INLINE void series_rows(series *s, const rows *r, const flow_series_kind kind,
                               const bool footprints)
{
    const int64_t *restrict ts = r->ts_us, *restrict price = r->price_ticks;
    const int64_t *restrict qty = r->qty_lots;
    const int8_t *restrict side = r->side;
    const int64_t threshold = s->config.threshold;
    const bool counts_buyers = kind == FLOW_SERIES_TICK_IMBALANCE || kind == FLOW_SERIES_TICK_RUN;
    flow_bar *bar = &s->bar;
    size_t i = 0;
    while (i < r->count) {
        if (bar->trade_count == 0) series_open(s, price[i], r->input + i + 1, ts[i]);

        const size_t from = i;
        const int64_t trades_before = bar->trade_count;
        const int64_t dollars_left =
            kind == FLOW_SERIES_DOLLAR ? threshold - (int64_t)bar->notional_ticklots.lo : 0;
        const int64_t lots_before = bar->buy_lots + bar->sell_lots;
        const int64_t delta_before = bar->buy_lots - bar->sell_lots;
        int64_t high = bar->high_ticks, low = bar->low_ticks;
        int64_t lots = lots_before, delta = delta_before, buys = s->buy_count;
        int64_t most = s->max_delta_lots, least = s->min_delta_lots;
        uint64_t product = 0;
        bool done = false, outside = false;
        const price_table table = footprints ? s->table : (price_table){0};
        const fit fits = footprints ? fit_of(&table, low, high) : (fit){0, 0};

        for (; i < r->count; i++) {
            const int64_t p = price[i], q = qty[i], sign = side[i];
            if (footprints) {
                if (UNLIKELY((uint64_t)(p - fits.low_ticks) > fits.span_ticks)) {
                    outside = true;
                    break;
                }
                table.cells[price_table_row(&table, p) & table.mask].lots[sign > 0] += q;
            }
            high = max_i64(high, p);
            low = min_i64(low, p);
            lots += q;
            product += (uint64_t)p * (uint64_t)q;
            delta += q * sign;
            if (footprints) {
                most = max_i64(most, delta);
                least = min_i64(least, delta);
            }
            if (counts_buyers) buys += sign > 0;
            if (reaches(kind, threshold, dollars_left, trades_before + (int64_t)(i - from) + 1,
                        lots, product, delta, buys)) {
                i++;
                done = true;
                break;
            }
        }
        if (i > from) {
            const int64_t lots_more = lots - lots_before, delta_more = delta - delta_before;
            bar->high_ticks = high;
            bar->low_ticks = low;
            bar->close_ticks = price[i - 1];
            bar->last_ts_us = ts[i - 1];
            bar->last_input = r->input + i;
            bar->buy_lots += (lots_more + delta_more) / 2;
            bar->sell_lots += (lots_more - delta_more) / 2;
            bar->trade_count += (int64_t)(i - from);
            bar->notional_ticklots = i128_pair(i128_of(bar->notional_ticklots) + (i128)product);
            s->buy_count = buys;
            s->max_delta_lots = most;
            s->min_delta_lots = least;
        }
        if (done) series_close(s);
        if (outside) {
            const print trade = {ts[i], price[i], qty[i], side[i]};
            series_print(s, &trade, r->input + i + 1, ts[i]);
            i++;
        }
    }
}

#define SERIES_CASE(kind) \
    case kind: \
        if (series_has_footprints(s)) \
            series_rows(s, r, kind, true); \
        else \
            series_rows(s, r, kind, false); \
        return;

void bars_add(series *s, const rows *r)
{
    switch ((flow_series_kind)s->config.kind) {
    case FLOW_SERIES_TIME:
        return;
        SERIES_CASE(FLOW_SERIES_TICK)
        SERIES_CASE(FLOW_SERIES_VOLUME)
        SERIES_CASE(FLOW_SERIES_DOLLAR)
        SERIES_CASE(FLOW_SERIES_DELTA)
        SERIES_CASE(FLOW_SERIES_TICK_IMBALANCE)
        SERIES_CASE(FLOW_SERIES_TICK_RUN)
        SERIES_CASE(FLOW_SERIES_VOLUME_RUN)
    }
}
