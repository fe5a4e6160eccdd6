/* Bars and footprints, one print at a time. */
#include <stdlib.h> /* calloc, free */

#include "series.h"

#define BARS_CAPACITY 4096

bool series_config_is_valid(const flow_series_config *c)
{
    const int64_t most = c->kind == FLOW_SERIES_TIME ? FLOW_TS_US_MAX : FLOW_THRESHOLD_MAX;
    return c->kind >= FLOW_SERIES_TIME && c->kind <= FLOW_SERIES_VOLUME_RUN && c->threshold >= 1 &&
           c->threshold <= most && c->row_ticks >= 0 && c->row_ticks <= FLOW_PRICE_TICKS_MAX;
}

bool series_init(series *s, const flow_series_config *config, const footprint_rules *rules)
{
    *s = (series){.config = *config, .rules = *rules};
    s->bars.capacity = BARS_CAPACITY;
    s->bars.items = calloc(s->bars.capacity, sizeof *s->bars.items);
    if (!series_has_footprints(s)) return s->bars.items != NULL;
    s->footprints.capacity = BARS_CAPACITY;
    s->footprints.items = calloc(s->footprints.capacity, sizeof *s->footprints.items);
    /* All rows of the open bar, and at most one for each print that follows. */
    s->rows.capacity = (size_t)rules->rows_max + BARS_CAPACITY;
    s->rows.items = calloc(s->rows.capacity, sizeof *s->rows.items);
    if (s->bars.items && s->footprints.items && s->rows.items &&
        price_table_init(&s->table, rules->rows_max, config->row_ticks))
        return true;
    series_free(s);
    return false;
}

void series_free(series *s)
{
    price_table_free(&s->table);
    free(s->bars.items);
    free(s->footprints.items);
    free(s->rows.items);
    *s = (series){0};
}

size_t series_room(const series *s)
{
    size_t room = s->bars.capacity - s->bars.tail;
    if (!series_has_footprints(s)) return room;
    const size_t footprints = s->footprints.capacity - s->footprints.tail;
    const size_t rows = s->rows.capacity - s->rows.tail, open = (size_t)s->rules.rows_max;
    if (footprints < room) room = footprints;
    if (rows <= open) return 0;
    return rows - open < room ? rows - open : room;
}

bool series_is_drained(const series *s)
{
    return s->bars.head == s->bars.tail && s->footprints.head == s->footprints.tail &&
           s->rows.head == s->rows.tail;
}

void series_open(series *s, int64_t price_ticks, uint64_t input, int64_t stream_us)
{
    const int64_t span = s->config.threshold;
    s->bar = (flow_bar){
        .ts_us = s->config.kind == FLOW_SERIES_TIME ? stream_us / span * span : stream_us,
        .first_input = input,
        .open_ticks = price_ticks,
        .high_ticks = price_ticks,
        .low_ticks = price_ticks,
        .sequence = s->bar.sequence,
    };
    s->buy_count = 0;
    s->max_delta_lots = INT64_MIN;
    s->min_delta_lots = INT64_MAX;
}

void series_close(series *s)
{
    const flow_bar *bar = &s->bar;
    if (bar->trade_count == 0) return;
    s->closed_buy_lots += bar->buy_lots;
    s->closed_sell_lots += bar->sell_lots;
    s->closed_notional += i128_of(bar->notional_ticklots);
    s->bars.items[s->bars.tail++] = *bar;
    if (series_has_footprints(s))
        series_put_footprint(s, bar, s->max_delta_lots, s->min_delta_lots);
    s->bar = (flow_bar){.sequence = bar->sequence + 1};
    s->buy_count = s->max_delta_lots = s->min_delta_lots = 0;
}

static bool reaches_threshold(const series *s)
{
    const flow_bar *bar = &s->bar;
    const int64_t threshold = s->config.threshold;
    const int64_t delta = bar->buy_lots - bar->sell_lots;
    const int64_t sell_count = bar->trade_count - s->buy_count;
    switch ((flow_series_kind)s->config.kind) {
    case FLOW_SERIES_TIME:
        return false;
    case FLOW_SERIES_TICK:
        return bar->trade_count >= threshold;
    case FLOW_SERIES_VOLUME:
        return bar->buy_lots + bar->sell_lots >= threshold;
    case FLOW_SERIES_DOLLAR:
        return i128_of(bar->notional_ticklots) >= threshold;
    case FLOW_SERIES_DELTA:
        return delta >= threshold || delta <= -threshold;
    case FLOW_SERIES_TICK_IMBALANCE:
        return s->buy_count - sell_count >= threshold || sell_count - s->buy_count >= threshold;
    case FLOW_SERIES_TICK_RUN:
        return s->buy_count >= threshold || sell_count >= threshold;
    case FLOW_SERIES_VOLUME_RUN:
        return bar->buy_lots >= threshold || bar->sell_lots >= threshold;
    }
    return false;
}

void series_clock(series *s, int64_t stream_us)
{
    if (s->config.kind == FLOW_SERIES_TIME && stream_us - s->bar.ts_us >= s->config.threshold)
        series_close(s);
}

void series_print(series *s, const print *trade, uint64_t input, int64_t stream_us)
{
    flow_bar *bar = &s->bar;
    const int64_t price = trade->price_ticks;
    series_clock(s, stream_us);
    if (bar->trade_count == 0) series_open(s, price, input, stream_us);
    if (series_has_footprints(s)) {
        price_table_fit(&s->table, bar->low_ticks, bar->high_ticks, min_i64(bar->low_ticks, price),
                        max_i64(bar->high_ticks, price));
        price_table_add(&s->table, price, trade->side > 0, trade->qty_lots);
    }
    bar->high_ticks = max_i64(bar->high_ticks, price);
    bar->low_ticks = min_i64(bar->low_ticks, price);
    bar->close_ticks = price;
    bar->last_ts_us = stream_us;
    bar->last_input = input;
    *(trade->side > 0 ? &bar->buy_lots : &bar->sell_lots) += trade->qty_lots;
    bar->trade_count++;
    bar->notional_ticklots =
        i128_pair(i128_of(bar->notional_ticklots) + (i128)price * trade->qty_lots);
    s->buy_count += trade->side > 0;
    s->max_delta_lots = max_i64(s->max_delta_lots, bar->buy_lots - bar->sell_lots);
    s->min_delta_lots = min_i64(s->min_delta_lots, bar->buy_lots - bar->sell_lots);
    if (reaches_threshold(s)) series_close(s);
}

void series_save(const series *s, writer *w)
{
    const flow_bar *bar = &s->bar;
    put(w, bar->sequence);
    put_i64(w, s->closed_buy_lots);
    put_i64(w, s->closed_sell_lots);
    put_i128(w, s->closed_notional);
    put_i64(w, bar->trade_count);
    if (bar->trade_count == 0) return;
    put_i64(w, bar->ts_us);
    put_i64(w, bar->last_ts_us);
    put(w, bar->first_input);
    put(w, bar->last_input);
    put_i64(w, bar->open_ticks);
    put_i64(w, bar->high_ticks);
    put_i64(w, bar->low_ticks);
    put_i64(w, bar->close_ticks);
    put_i64(w, bar->buy_lots);
    put_i64(w, bar->sell_lots);
    put_i128(w, i128_of(bar->notional_ticklots));
    if (series_counts_buyers(s)) put_i64(w, s->buy_count);
    if (!series_has_footprints(s)) return;
    put_i64(w, s->max_delta_lots);
    put_i64(w, s->min_delta_lots);
    price_table_save(&s->table, w, bar->low_ticks, bar->high_ticks);
}

bool series_load(series *s, reader *r, int64_t stream_us)
{
    flow_bar *bar = &s->bar;
    bar->sequence = get(r);
    s->closed_buy_lots = get_between(r, 0, INT64_MAX);
    s->closed_sell_lots = get_between(r, 0, INT64_MAX);
    s->closed_notional = get_i128(r);
    bar->trade_count = get_between(r, 0, INT64_MAX);
    if (bar->trade_count > 0) {
        bar->ts_us = get_between(r, 0, stream_us);
        bar->last_ts_us = get_between(r, 0, stream_us);
        bar->first_input = get(r);
        bar->last_input = get(r);
        bar->open_ticks = get_between(r, 1, FLOW_PRICE_TICKS_MAX);
        bar->high_ticks = get_between(r, 1, FLOW_PRICE_TICKS_MAX);
        bar->low_ticks = get_between(r, 1, bar->high_ticks);
        bar->close_ticks = get_between(r, bar->low_ticks, bar->high_ticks);
        bar->buy_lots = get_between(r, 0, INT64_MAX);
        bar->sell_lots = get_between(r, 0, INT64_MAX);
        bar->notional_ticklots = i128_pair(get_i128(r));
        if (series_counts_buyers(s)) s->buy_count = get_between(r, 0, bar->trade_count);
        if (series_has_footprints(s)) {
            s->max_delta_lots = get_i64(r);
            s->min_delta_lots = get_i64(r);
            if (r->bad || !price_table_load(&s->table, r, bar->low_ticks, bar->high_ticks,
                                            bar->sell_lots, bar->buy_lots))
                return false;
        }
        /* A threshold that is already reached would have closed the bar. */
        if (reaches_threshold(s)) return false;
    }
    const i128 lots =
        (i128)s->closed_buy_lots + s->closed_sell_lots + bar->buy_lots + bar->sell_lots;
    return !r->bad && lots <= INT64_MAX;
}
