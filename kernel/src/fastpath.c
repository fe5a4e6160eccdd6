/*
 * Runs of prints that concern order flow alone.
 *
 * A run is cut into blocks that stay in the processor's first cache. Each block is looked over once
 * for what it must not hold; then every part of order flow that is switched on goes over it in a
 * tight loop of its own. Each part ends where its function for single prints would.
 */
#include "orderflow.h"

#define BLOCK_ROWS 512
#define LOOK_ROWS 64
#define ALWAYS_INLINE static inline __attribute__((always_inline))

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
} rows;

typedef struct bubble_starts {
    size_t count;
    uint32_t rows[BLOCK_ROWS + 1];           /* rows of the block at which bubbles start */
    int64_t lots_before[BLOCK_ROWS + 1];     /* sums of the block's rows before each row; */
    uint64_t product_before[BLOCK_ROWS + 1]; /* of price x quantity modulo 2^64 */
} bubble_starts;

/*
 * How many of `count` rows, from the first on, are in order of time, before next_us and within the
 * prices? They become the rows of r, with their lowest and highest price and their volume.
 */
static size_t look_over(rows *r, const window *w, int64_t next_us, size_t count)
{
    const int64_t least = max_i64(w->low_ticks, 1);
    const int64_t most = min_i64(w->high_ticks, FLOW_PRICE_TICKS_MAX);
    int64_t now = w->stream_us, low = INT64_MAX, high = 0, lots = 0;
    size_t at = 0;
    while (at < count) {
        const size_t stop = count - at < LOOK_ROWS ? count : at + LOOK_ROWS;
        const int64_t *restrict ts = r->ts_us, *restrict price = r->price_ticks;
        const int64_t *restrict qty = r->qty_lots;
        int64_t piece_low = price[at], piece_high = price[at], piece_lots = 0, late = ts[at] - now;
        for (size_t i = at + 1; i < stop; i++)
            late |= ts[i] - ts[i - 1];
        for (size_t i = at; i < stop; i++) {
            piece_low = min_i64(piece_low, price[i]);
            piece_high = max_i64(piece_high, price[i]);
            piece_lots += qty[i];
        }
        if (late < 0 || ts[stop - 1] >= next_us || piece_low < least || piece_high > most) break;
        low = min_i64(low, piece_low);
        high = max_i64(high, piece_high);
        lots += piece_lots;
        now = ts[stop - 1];
        at = stop;
    }
    for (; at < count; at++) {
        const int64_t t = r->ts_us[at], p = r->price_ticks[at];
        if (t < now || t >= next_us || p < least || p > most) break;
        low = min_i64(low, p);
        high = max_i64(high, p);
        lots += r->qty_lots[at];
        now = t;
    }
    r->count = at;
    r->low_ticks = low;
    r->high_ticks = high;
    r->lots = lots;
    return at;
}

/* Whether the sums that the loops below make of a block stay within 64 bits. */
static bool sums_are_small(const orderflow *f, const rows *r)
{
    const i128 limit = INT64_MAX / 2, lots = r->lots;
    const i128 spread = r->high_ticks - r->low_ticks;
    return lots * r->high_ticks <= limit &&
           (lots + f->bubble.qty_lots) * f->config->bubble_band_ticks <= limit &&
           f->bubble.trade_count < UINT32_MAX / 2 &&
           (!f->config->vwap_on || spread * spread <= limit / (lots > 0 ? lots : 1));
}

/* ---- bubbles */

/*
 * Where bubbles start is found without a branch on it: whether a print joins a bubble is close to a
 * coin toss. The running sums of all rows are noted; sums of bubbles are differences of them.
 */
typedef struct bubble_scan {
    int64_t band_ticks, window_us;
    int64_t open_ticks;  /* first price of the open bubble, */
    int64_t deadline_us; /* last time of a print that joins it, */
    int64_t side;        /* and its side, or the negative of any when none is open */
    int64_t lots;
    uint64_t product;
    size_t start_count;
} bubble_scan;

ALWAYS_INLINE bubble_scan scan_from(const orderflow *f, const rows *r)
{
    const bool open = f->bubble.trade_count > 0;
    return (bubble_scan){
        .band_ticks = f->config->bubble_band_ticks,
        .window_us = f->config->bubble_window_us,
        .open_ticks = f->bubble.first_ticks,
        .deadline_us = f->bubble.ts_us + f->config->bubble_window_us,
        .side = open ? f->bubble.side : -r->side[0],
    };
}

ALWAYS_INLINE void scan_row(bubble_scan *scan, bubble_starts *out, size_t i, int64_t t, int64_t p,
                            int64_t q, int64_t side, uint64_t value)
{
    const int64_t below = (p + scan->band_ticks) - scan->open_ticks;
    const int64_t above = scan->open_ticks - (p - scan->band_ticks);
    /* Negative when any of the conditions to join is broken. */
    const int64_t joins = (below | above) | ((scan->deadline_us - t) | (side ^ scan->side));
    const int64_t next_deadline_us = t + scan->window_us;
    const int64_t starts = joins >> 63; /* all ones, or zero when the print joins */
    out->rows[scan->start_count] = (uint32_t)i;
    out->lots_before[i] = scan->lots;
    out->product_before[i] = scan->product;
    scan->start_count -= (size_t)starts;
    scan->open_ticks ^= (scan->open_ticks ^ p) & starts;
    scan->deadline_us ^= (scan->deadline_us ^ next_deadline_us) & starts;
    scan->side = side;
    scan->lots += q;
    scan->product += value;
}

ALWAYS_INLINE void scan_end(const bubble_scan *scan, bubble_starts *out, size_t count)
{
    out->count = scan->start_count;
    out->rows[scan->start_count] = (uint32_t)count;
    out->lots_before[count] = scan->lots;
    out->product_before[count] = scan->product;
}

static void find_bubbles(const orderflow *f, const rows *r, bubble_starts *out)
{
    bubble_scan scan = scan_from(f, r);
    for (size_t i = 0; i < r->count; i++)
        scan_row(&scan, out, i, r->ts_us[i], r->price_ticks[i], r->qty_lots[i], r->side[i],
                 (uint64_t)r->price_ticks[i] * (uint64_t)r->qty_lots[i]);
    scan_end(&scan, out, r->count);
}

/* Add rows [row, end) to the bubble whose first price and time are set. */
ALWAYS_INLINE void extend_bubble(flow_bubble *bubble, const rows *r, const bubble_starts *from,
                                 size_t row, size_t end)
{
    const int64_t lots = from->lots_before[end] - from->lots_before[row];
    const uint64_t product = from->product_before[end] - from->product_before[row];
    bubble->last_ts_us = r->ts_us[end - 1];
    bubble->last_ticks = r->price_ticks[end - 1];
    bubble->qty_lots += lots;
    bubble->offset_ticklots += (int64_t)(product - (uint64_t)bubble->first_ticks * (uint64_t)lots);
    bubble->trade_count += (uint32_t)(end - row);
}

ALWAYS_INLINE void start_bubble(flow_bubble *bubble, const rows *r, size_t row)
{
    bubble->input = r->input + row + 1;
    bubble->ts_us = r->ts_us[row];
    bubble->first_ticks = r->price_ticks[row];
    bubble->qty_lots = 0;
    bubble->offset_ticklots = 0;
    bubble->threshold_lots = 0;
    bubble->trade_count = 0;
    bubble->side = r->side[row];
    bubble->large = 0;
}

/* Close the open bubble where another starts; the last one stays open. */
static void add_bubbles(orderflow *f, const rows *r, const bubble_starts *from)
{
    flow_bubble *place = f->bubbles.items + f->bubbles.tail;
    size_t n = 0;
    if (f->bubble.trade_count > 0) {
        *place = f->bubble;
        if (from->rows[0] > 0) extend_bubble(place, r, from, 0, from->rows[0]);
    } else {
        start_bubble(place, r, 0);
        extend_bubble(place, r, from, 0, from->rows[1]);
        n = 1;
    }
    for (; n < from->count; n++) {
        orderflow_measure_bubble(f, place);
        place++;
        start_bubble(place, r, from->rows[n]);
        extend_bubble(place, r, from, from->rows[n], from->rows[n + 1]);
    }
    f->bubble = *place;
    f->bubbles.tail = (size_t)(place - f->bubbles.items);
}

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

/* ---- time bars, with bubbles found in the same loop */

/* A bar as it is built. Sums count from its start. */
typedef struct open_bar {
    int64_t ts_us, end_us, open, high, low, lots, delta, trades;
    uint64_t first_input, sequence;
    i128 notional;
} open_bar;

/* Every field by itself: a copy of the whole would wait for the stores that have just made it. */
ALWAYS_INLINE void write_bar(flow_bar *out, const open_bar *bar, const rows *r, size_t end)
{
    out->ts_us = bar->ts_us;
    out->first_input = bar->first_input;
    out->open_ticks = bar->open;
    out->high_ticks = bar->high;
    out->low_ticks = bar->low;
    out->buy_lots = (bar->lots + bar->delta) / 2;
    out->sell_lots = (bar->lots - bar->delta) / 2;
    out->trade_count = bar->trades;
    out->notional_ticklots.lo = (uint64_t)bar->notional;
    out->notional_ticklots.hi = (int64_t)(bar->notional >> 64);
    out->sequence = bar->sequence;
    if (end == 0) return; /* no print of this block lies in it */
    out->last_ts_us = r->ts_us[end - 1];
    out->last_input = r->input + end;
    out->close_ticks = r->price_ticks[end - 1];
}

ALWAYS_INLINE void start_bar(open_bar *bar, const rows *r, size_t row, int64_t span_us)
{
    const int64_t t = r->ts_us[row];
    bar->ts_us = bar->end_us;
    if (UNLIKELY((uint64_t)(t - bar->ts_us) >= (uint64_t)span_us))
        bar->ts_us = t / span_us * span_us;
    bar->end_us = bar->ts_us + span_us;
    bar->first_input = r->input + row + 1;
    bar->open = bar->high = bar->low = r->price_ticks[row];
    bar->lots = bar->delta = bar->trades = 0;
    bar->notional = 0;
}

/* How the cells of a footprint are found. */
typedef enum footprint_way {
    FOOTPRINT_NONE,
    FOOTPRINT_INDEXED, /* all rows of the block fit the table; their cells were worked out before */
    FOOTPRINT_CHECKED  /* each print may need wider rows */
} footprint_way;

#define NARROW_TICKS ((int64_t)1 << 30)

/*
 * Work out the cells of a block's prints in one vector loop: twice the cell's number, plus 1 for
 * buyers. False when the block and the open bar may not fit rows of row_ticks.
 */
static bool index_cells(const series *s, const rows *r, uint32_t *out)
{
    const price_table *t = &s->table;
    const bool open = s->bar.trade_count > 0;
    const int64_t low = open ? min_i64(s->bar.low_ticks, r->low_ticks) : r->low_ticks;
    const int64_t high = open ? max_i64(s->bar.high_ticks, r->high_ticks) : r->high_ticks;
    if (t->fold != 0 || t->row_ticks >= NARROW_TICKS || high - low >= NARROW_TICKS / 2 ||
        price_table_row(t, high) - price_table_row(t, low) > t->mask)
        return false;
    /* As in price_table_row, for numbers below 2^30 that count from a row's start. */
    const int64_t first = price_table_row(t, r->low_ticks), base = first * t->row_ticks;
    const uint32_t reciprocal =
        (uint32_t)((((uint64_t)1 << (31 + t->shift)) / (uint64_t)t->row_ticks) + 1);
    const uint32_t shift = (uint32_t)(31 + t->shift), mask = (uint32_t)t->mask;
    const uint32_t start = (uint32_t)first;
    const int64_t *restrict price = r->price_ticks;
    const int8_t *restrict side = r->side;
    for (size_t i = 0; i < r->count; i++) {
        const uint64_t away = (uint32_t)(price[i] - base);
        const uint32_t row = start + (uint32_t)((away * reciprocal) >> shift);
        out[i] = 2 * (row & mask) + (side[i] > 0);
    }
    return true;
}

/* The bars of a series of time bars; `way` and `bubbles` are constants of each copy. */
ALWAYS_INLINE void time_rows(orderflow *f, series *s, const rows *r, bubble_starts *starts,
                             const uint32_t *restrict indexes, const footprint_way way,
                             const bool bubbles)
{
    const bool footprints = way != FOOTPRINT_NONE, checked = way == FOOTPRINT_CHECKED;
    const int64_t *restrict ts = r->ts_us, *restrict price = r->price_ticks;
    const int64_t *restrict qty = r->qty_lots;
    const int8_t *restrict side = r->side;
    const int64_t span_us = s->config.threshold;
    const flow_bar *before = &s->bar;
    bubble_scan scan = {0};
    if (bubbles) scan = scan_from(f, r);
    open_bar bar = {
        .ts_us = before->ts_us,
        .end_us = before->ts_us + span_us,
        .open = before->open_ticks,
        .high = before->high_ticks,
        .low = before->low_ticks,
        .lots = before->buy_lots + before->sell_lots,
        .delta = before->buy_lots - before->sell_lots,
        .trades = before->trade_count,
        .first_input = before->first_input,
        .sequence = before->sequence,
        .notional = i128_of(before->notional_ticklots),
    };
    int64_t most = s->max_delta_lots, least = s->min_delta_lots;
    price_table table = checked ? s->table : (price_table){0};
    int64_t *const cells = footprints ? s->table.cells[0].lots : NULL;
    size_t i = 0;
    if (bar.trades == 0) {
        start_bar(&bar, r, 0, span_us);
        most = INT64_MIN;
        least = INT64_MAX;
    }
    for (;;) {
        const size_t from = i;
        const fit fits = checked ? fit_of(&table, bar.low, bar.high) : (fit){0, 0};
        const int64_t end_us = bar.end_us;
        int64_t high = bar.high, low = bar.low, lots = bar.lots, delta = bar.delta;
        uint64_t product = 0;
        for (; i < r->count; i++) {
            const int64_t t = ts[i], p = price[i], q = qty[i], sign = side[i];
            if (t >= end_us) break;
            if (way == FOOTPRINT_INDEXED) cells[indexes[i]] += q;
            if (checked) {
                if (UNLIKELY((uint64_t)(p - fits.low_ticks) > fits.span_ticks)) break;
                table.cells[price_table_row(&table, p) & table.mask].lots[sign > 0] += q;
            }
            const uint64_t value = (uint64_t)p * (uint64_t)q;
            high = max_i64(high, p);
            low = min_i64(low, p);
            lots += q;
            product += value;
            delta += q * sign;
            if (footprints) {
                most = max_i64(most, delta);
                least = min_i64(least, delta);
            }
            if (bubbles) scan_row(&scan, starts, i, t, p, q, sign, value);
        }
        bar.high = high;
        bar.low = low;
        bar.lots = lots;
        bar.delta = delta;
        bar.trades += (int64_t)(i - from);
        bar.notional += (i128)product;
        if (i == r->count) break;
        if (ts[i] >= end_us) {
            flow_bar *out = &s->bars.items[s->bars.tail++];
            write_bar(out, &bar, r, i);
            if (UNLIKELY(i == 0)) {
                out->last_ts_us = before->last_ts_us;
                out->last_input = before->last_input;
                out->close_ticks = before->close_ticks;
            }
            s->closed_buy_lots += out->buy_lots;
            s->closed_sell_lots += out->sell_lots;
            s->closed_notional += bar.notional;
            if (footprints) {
                series_put_footprint(s, out, most, least);
                if (checked) table.fold = 0;
                most = INT64_MIN;
                least = INT64_MAX;
            }
            bar.sequence++;
            start_bar(&bar, r, i, span_us);
        } else {
            /* A price whose row may not fit: make room for it and go on. */
            price_table_fit(&s->table, bar.low, bar.high, min_i64(bar.low, price[i]),
                            max_i64(bar.high, price[i]));
            table = s->table;
            bar.low = min_i64(bar.low, price[i]);
            bar.high = max_i64(bar.high, price[i]);
        }
    }
    write_bar(&s->bar, &bar, r, r->count);
    s->max_delta_lots = most;
    s->min_delta_lots = least;
    if (bubbles) scan_end(&scan, starts, r->count);
}

#define TIME_CASE(way) \
    case way: \
        if (starts) \
            time_rows(f, s, r, starts, indexes, way, true); \
        else \
            time_rows(f, s, r, NULL, indexes, way, false); \
        return;

/* Bars of a series of time bars; with `starts`, the starts of bubbles as well. */
static void add_to_time_bars(orderflow *f, series *s, const rows *r, bubble_starts *starts)
{
    uint32_t indexes[BLOCK_ROWS];
    footprint_way way = FOOTPRINT_NONE;
    if (series_has_footprints(s))
        way = index_cells(s, r, indexes) ? FOOTPRINT_INDEXED : FOOTPRINT_CHECKED;
    switch (way) {
        TIME_CASE(FOOTPRINT_NONE)
        TIME_CASE(FOOTPRINT_INDEXED)
        TIME_CASE(FOOTPRINT_CHECKED)
    }
}

/* ---- bars that end by other measures */

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

static void add_to_series(series *s, const rows *r)
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

/* ---- profile */

static void add_to_profile(orderflow *f, const rows *r)
{
    const int64_t *restrict price = r->price_ticks, *restrict qty = r->qty_lots;
    const int8_t *restrict side = r->side;
    price_table *t = &f->profile;
    price_table_fit(t, f->low_ticks, f->high_ticks, min_i64(f->low_ticks, r->low_ticks),
                    max_i64(f->high_ticks, r->high_ticks));
    const int64_t mask = t->mask;
    const int32_t fold = t->fold;
    price_cell *const cells = t->cells;
    for (size_t i = 0; i < r->count; i++)
        cells[(price[i] >> fold) & mask].lots[side[i] > 0] += qty[i];
}

/* ---- session sums */

/* Sum of price^2 x quantity from the block's lowest price, so that its terms are small. */
static void add_to_vwap(session *s, const rows *r)
{
    const int64_t *restrict price = r->price_ticks, *restrict qty = r->qty_lots;
    const uint64_t base = (uint64_t)r->low_ticks;
    uint64_t square = 0, moment = 0;
    for (size_t i = 0; i < r->count; i++) {
        const uint64_t d = (uint64_t)price[i] - base, weight = d * (uint64_t)qty[i];
        moment += weight;
        square += d * weight;
    }
    const uint64_t lots = (uint64_t)r->lots;
    flow_vwap *v = &s->vwap;
    v->lots += r->lots;
    v->notional_ticklots =
        i128_pair(i128_of(v->notional_ticklots) + (i128)((u128)base * lots + moment));
    u192_add_product(&v->square_ticklots, (u128)base * base, lots);
    u192_add_product(&v->square_ticklots, (u128)base * 2, moment);
    u192_add_product(&v->square_ticklots, 1, square);
}

static void add_to_size_class(flow_size_class *class, const rows *r)
{
    const int64_t *restrict qty = r->qty_lots;
    const int8_t *restrict side = r->side;
    const int64_t least = class->min_lots;
    int64_t lots = 0, delta = 0, trades = 0;
    for (size_t i = 0; i < r->count; i++) {
        const int64_t in = qty[i] >= least, q = qty[i] & -in;
        lots += q;
        delta += q * side[i];
        trades += in;
    }
    class->buy_lots += (lots + delta) / 2;
    class->sell_lots += (lots - delta) / 2;
    class->trade_count += trades;
}

static void add_to_recent_trades(session *s, const rows *r)
{
    const size_t capacity = (size_t)s->config->recent_trades_count;
    int64_t buy = s->trade_buy_lots, sell = s->trade_sell_lots;
    size_t next = s->trade_next;
    for (size_t i = 0; i < r->count; i++) {
        /* Entries that were never filled are zero. */
        const int64_t out = s->trades[next], in = r->qty_lots[i] * r->side[i];
        buy += max_i64(in, 0) - max_i64(out, 0);
        sell += max_i64(-in, 0) - max_i64(-out, 0);
        s->trades[next] = in;
        next = next + 1 == capacity ? 0 : next + 1;
    }
    s->trade_buy_lots = buy;
    s->trade_sell_lots = sell;
    s->trade_next = next;
    s->trade_count = capacity - s->trade_count < r->count ? capacity : s->trade_count + r->count;
}

static void add_to_recent_time(session *s, const rows *r)
{
    const int64_t step = s->config->recent_slot_us;
    for (size_t i = 0; i < r->count;) {
        recent_slot *slot = session_slot(s, r->ts_us[i]);
        const int64_t end_us = (slot->number + 1) * step;
        const size_t from = i;
        int64_t lots = 0, delta = 0;
        for (; i < r->count && r->ts_us[i] < end_us; i++) {
            lots += r->qty_lots[i];
            delta += r->qty_lots[i] * r->side[i];
        }
        slot->buy_lots += (lots + delta) / 2;
        slot->sell_lots += (lots - delta) / 2;
        slot->trade_count += (int64_t)(i - from);
    }
}

static void add_to_session(session *s, const rows *r)
{
    const flow_orderflow_config *c = s->config;
    if (c->vwap_on) add_to_vwap(s, r);
    for (int64_t i = 0; i < c->size_class_count; i++)
        add_to_size_class(&s->at_least[i], r);
    if (c->recent_trades_count > 0) add_to_recent_trades(s, r);
    if (c->recent_slot_us > 0) add_to_recent_time(s, r);
}

/* ---- marks */

/* `closed` are the bubbles that closed in the block; bubble i did so at row starts[i]. */
static void add_to_marks(marks *m, const rows *r, const flow_bubble *closed, size_t closed_count,
                         const uint32_t *starts)
{
    size_t n = 0;
    for (size_t i = 0; i < r->count; i++) {
        const print trade = {r->ts_us[i], r->price_ticks[i], r->qty_lots[i], r->side[i]};
        if (n < closed_count && starts[n] == i)
            marks_bubble(m, &closed[n++], r->input + i + 1, trade.ts_us);
        marks_print(m, &trade, r->input + i + 1, trade.ts_us);
    }
}

static void add_rows(orderflow *f, const rows *r)
{
    const flow_orderflow_config *c = f->config;
    bubble_starts starts;
    const size_t tail = f->bubbles.tail;
    if (c->profile_rows_max > 0) add_to_profile(f, r);
    f->low_ticks = min_i64(f->low_ticks, r->low_ticks);
    f->high_ticks = max_i64(f->high_ticks, r->high_ticks);
    bool found = false;
    for (size_t i = 0; i < f->series_count; i++) {
        series *one = &f->series[i];
        if (one->config.kind == FLOW_SERIES_TIME) {
            add_to_time_bars(f, one, r, c->bubbles_on && !found ? &starts : NULL);
            found = true;
        } else {
            add_to_series(one, r);
        }
    }
    if (c->bubbles_on) {
        if (!found) find_bubbles(f, r, &starts);
        add_bubbles(f, r, &starts);
    }
    add_to_session(&f->session, r);
    if (marks_are_on(c)) {
        const size_t closed = f->bubbles.tail - tail;
        add_to_marks(&f->marks, r, f->bubbles.items + tail, closed,
                     starts.rows + (starts.count - closed));
    }
    f->trade_count += r->count;
    f->last_ticks = r->price_ticks[r->count - 1];
    f->last_side = r->side[r->count - 1];
}

size_t fastpath_run(orderflow *f, window *w, const flow_batch *b, size_t start, size_t limit)
{
    size_t at = start;
    const int64_t next_us =
        min_i64(min_i64(w->next_us, session_next_us(&f->session)), FLOW_TS_US_MAX + 1);
    if (f->trade_count == 0 || w->low_ticks > w->high_ticks || next_us == ALWAYS_US) return start;
    while (at < limit) {
        const size_t want = limit - at < BLOCK_ROWS ? limit - at : BLOCK_ROWS;
        rows r = {
            .ts_us = b->ts_us + at,
            .price_ticks = b->price_ticks + at,
            .qty_lots = b->qty_lots + at,
            .side = b->side + at,
            .input = w->input,
        };
        if (look_over(&r, w, next_us, want) == 0 || !sums_are_small(f, &r)) break;
        add_rows(f, &r);
        at += r.count;
        w->input += r.count;
        w->stream_us = r.ts_us[r.count - 1];
        if (r.count < want) break;
    }
    return at;
}
