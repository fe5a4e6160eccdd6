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

/* Sums of a block's rows before each row; of price x quantity modulo 2^64. */
typedef struct running_sums {
    int64_t lots[BLOCK_ROWS + 1];
    int64_t delta[BLOCK_ROWS + 1];
    uint64_t product[BLOCK_ROWS + 1];
} running_sums;

typedef struct bubble_starts {
    size_t count;
    uint32_t rows[BLOCK_ROWS + 1]; /* rows of the block at which bubbles start, and its end */
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
        int64_t piece_low = price[at], piece_high = price[at], piece_lots = 0;
        /* Negative when a time is, or is earlier than the one before: of two that are not
         * negative the difference cannot wrap. */
        uint64_t qty_bits = 0;
        uint64_t late = (uint64_t)ts[at] | ((uint64_t)ts[at] - (uint64_t)now);
        for (size_t i = at + 1; i < stop; i++)
            late |= (uint64_t)ts[i] | ((uint64_t)ts[i] - (uint64_t)ts[i - 1]);
        for (size_t i = at; i < stop; i++) {
            piece_low = min_i64(piece_low, price[i]);
            piece_high = max_i64(piece_high, price[i]);
            piece_lots += qty[i];
            qty_bits |= (uint64_t)qty[i] - 1;
        }
        if (qty_bits >= (uint64_t)FLOW_QTY_LOTS_MAX) break; /* changed behind the check */
        if (late >> 63 || ts[stop - 1] >= next_us || piece_low < least || piece_high > most) break;
        low = min_i64(low, piece_low);
        high = max_i64(high, piece_high);
        lots += piece_lots;
        now = ts[stop - 1];
        at = stop;
    }
    for (; at < count; at++) {
        const int64_t t = r->ts_us[at], p = r->price_ticks[at];
        const bool is_bad = (uint64_t)r->qty_lots[at] - 1 >= (uint64_t)FLOW_QTY_LOTS_MAX;
        if (t < now || t >= next_us || p < least || p > most || is_bad) break;
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

/*
 * Where bubbles start, and the running sums of the block. There is no branch on the first: whether
 * a print joins a bubble is close to a coin toss.
 */
static void find_bubbles(const orderflow *f, const rows *r, running_sums *restrict sums,
                         bubble_starts *restrict starts)
{
    const int64_t *restrict ts = r->ts_us, *restrict price = r->price_ticks;
    const int64_t *restrict qty = r->qty_lots;
    const int8_t *restrict sides = r->side;
    const int64_t band_ticks = f->config->bubble_band_ticks;
    const int64_t window_us = f->config->bubble_window_us;
    const size_t row_count = r->count;
    /* First price of the open bubble, last time of a print that joins it, and its side. */
    int64_t open_ticks = f->bubble.first_ticks, deadline_us = f->bubble.ts_us + window_us;
    int64_t side = f->bubble.trade_count > 0 ? f->bubble.side : -sides[0];
    int64_t lots = 0, delta = 0;
    uint64_t product = 0;
    size_t count = 0;
    for (size_t i = 0; i < row_count; i++) {
        const int64_t p = price[i], q = qty[i], s = sides[i];
        sums->lots[i] = lots;
        sums->delta[i] = delta;
        sums->product[i] = product;
        lots += q;
        delta += q * s;
        product += (uint64_t)p * (uint64_t)q;
        const int64_t t = ts[i];
        const int64_t below = (p + band_ticks) - open_ticks, above = open_ticks - (p - band_ticks);
        /* Negative when a condition to join is broken; then all ones, otherwise zero. */
        const int64_t started = ((below | above) | ((deadline_us - t) | (s ^ side))) >> 63;
        starts->rows[count] = (uint32_t)i;
        count -= (size_t)started;
        open_ticks ^= (open_ticks ^ p) & started;
        deadline_us ^= (deadline_us ^ (t + window_us)) & started;
        side = s;
    }
    sums->lots[row_count] = lots;
    sums->delta[row_count] = delta;
    sums->product[row_count] = product;
    starts->count = count;
    starts->rows[count] = (uint32_t)row_count;
}

/* ---- bubbles */

/* Add rows [row, end) to the bubble whose first price and time are set. */
ALWAYS_INLINE void extend_bubble(flow_bubble *bubble, const rows *r, const running_sums *sums,
                                 size_t row, size_t end)
{
    const int64_t lots = sums->lots[end] - sums->lots[row];
    const uint64_t product = sums->product[end] - sums->product[row];
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
static void add_bubbles(orderflow *f, const rows *r, const running_sums *sums,
                        const bubble_starts *from)
{
    flow_bubble *place = f->bubbles.items + f->bubbles.tail;
    size_t n = 0;
    if (f->bubble.trade_count > 0) {
        *place = f->bubble;
        if (from->rows[0] > 0) extend_bubble(place, r, sums, 0, from->rows[0]);
    } else {
        start_bubble(place, r, 0);
        extend_bubble(place, r, sums, 0, from->rows[1]);
        n = 1;
    }
    for (; n < from->count; n++) {
        orderflow_measure_bubble(f, place);
        place++;
        start_bubble(place, r, from->rows[n]);
        extend_bubble(place, r, sums, from->rows[n], from->rows[n + 1]);
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

/* ---- time bars */

/* A bar as it is built. Sums count from its start. */
typedef struct open_bar {
    int64_t ts_us, end_us, open, high, low, lots, delta, most, least, trades;
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
    bar->most = INT64_MIN;
    bar->least = INT64_MAX;
    bar->notional = 0;
}

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

/*
 * Add rows from `from` on to a bar until it ends; returns the row behind the last one. One loop
 * does all that differences of running sums cannot give, or without running sums all there is: the
 * end of each loop is a wrong guess of the processor for each bar.
 */
ALWAYS_INLINE size_t add_to_bar(open_bar *bar, const rows *r, const running_sums *sums, size_t from,
                                int64_t *cells, const uint32_t *restrict indexes,
                                const bool footprints, const bool summed)
{
    const int64_t *restrict ts = r->ts_us, *restrict price = r->price_ticks;
    const int64_t *restrict qty = r->qty_lots;
    const int8_t *restrict side = r->side;
    const int64_t *restrict running = summed ? sums->delta + 1 : NULL;
    const int64_t end_us = bar->end_us;
    const size_t count = r->count;
    int64_t high = bar->high, low = bar->low, lots = 0, delta = 0;
    int64_t most = INT64_MIN, least = INT64_MAX;
    uint64_t product = 0;
    size_t i = from;
    for (; i < count && ts[i] < end_us; i++) {
        const int64_t p = price[i], q = qty[i];
        high = max_i64(high, p);
        low = min_i64(low, p);
        if (!summed) {
            lots += q;
            delta += q * side[i];
            product += (uint64_t)p * (uint64_t)q;
        }
        if (footprints) {
            const int64_t d = summed ? running[i] : delta;
            cells[indexes[i]] += q;
            most = max_i64(most, d);
            least = min_i64(least, d);
        }
    }
    if (footprints && i > from) {
        const int64_t base = bar->delta - (summed ? sums->delta[from] : 0);
        bar->most = max_i64(bar->most, base + most);
        bar->least = min_i64(bar->least, base + least);
    }
    bar->high = high;
    bar->low = low;
    bar->lots += summed ? sums->lots[i] - sums->lots[from] : lots;
    bar->delta += summed ? sums->delta[i] - sums->delta[from] : delta;
    bar->notional += (i128)(summed ? sums->product[i] - sums->product[from] : product);
    bar->trades += (int64_t)(i - from);
    return i;
}

/* Put a bar out that ended before row `end`, with its footprint. */
ALWAYS_INLINE void put_bar(series *s, open_bar *bar, const rows *r, size_t end,
                           const bool footprints)
{
    flow_bar *out = &s->bars.items[s->bars.tail++];
    write_bar(out, bar, r, end);
    if (UNLIKELY(end == 0)) {
        out->last_ts_us = s->bar.last_ts_us;
        out->last_input = s->bar.last_input;
        out->close_ticks = s->bar.close_ticks;
    }
    s->closed_buy_lots += out->buy_lots;
    s->closed_sell_lots += out->sell_lots;
    s->closed_notional += bar->notional;
    if (footprints) series_put_footprint(s, out, bar->most, bar->least);
    bar->sequence++;
}

/*
 * The bars of a series of time bars; the flags are constants of each copy. With footprints
 * `indexes` are the cells of the prints.
 */
ALWAYS_INLINE void time_rows(series *s, const rows *r, const running_sums *sums,
                             const uint32_t *restrict indexes, const bool footprints,
                             const bool summed)
{
    const int64_t span_us = s->config.threshold;
    const flow_bar *before = &s->bar;
    int64_t *const cells = footprints ? s->table.cells[0].lots : NULL;
    open_bar bar = {
        .ts_us = before->ts_us,
        .end_us = before->ts_us + span_us,
        .open = before->open_ticks,
        .high = before->high_ticks,
        .low = before->low_ticks,
        .lots = before->buy_lots + before->sell_lots,
        .delta = before->buy_lots - before->sell_lots,
        .most = s->max_delta_lots,
        .least = s->min_delta_lots,
        .trades = before->trade_count,
        .first_input = before->first_input,
        .sequence = before->sequence,
        .notional = i128_of(before->notional_ticklots),
    };
    size_t i = 0;
    if (bar.trades == 0) start_bar(&bar, r, 0, span_us);
    for (;;) {
        i = add_to_bar(&bar, r, sums, i, cells, indexes, footprints, summed);
        if (i == r->count) break;
        put_bar(s, &bar, r, i, footprints);
        start_bar(&bar, r, i, span_us);
    }
    write_bar(&s->bar, &bar, r, r->count);
    s->max_delta_lots = bar.most;
    s->min_delta_lots = bar.least;
}

/* `sums` is null when nothing else needs them. */
static void add_to_time_bars(series *s, const rows *r, const running_sums *sums)
{
    uint32_t indexes[BLOCK_ROWS];
    if (!series_has_footprints(s)) {
        if (sums)
            time_rows(s, r, sums, NULL, false, true);
        else
            time_rows(s, r, NULL, NULL, false, false);
    } else if (index_cells(s, r, indexes)) {
        if (sums)
            time_rows(s, r, sums, indexes, true, true);
        else
            time_rows(s, r, NULL, indexes, true, false);
    } else {
        /* Rows may have to become wider at any print. */
        for (size_t i = 0; i < r->count; i++) {
            const print trade = {r->ts_us[i], r->price_ticks[i], r->qty_lots[i], r->side[i]};
            series_print(s, &trade, r->input + i + 1, trade.ts_us);
        }
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
    running_sums sums;
    bubble_starts starts;
    starts.count = 0;
    const size_t tail = f->bubbles.tail;
    if (c->profile_rows_max > 0) add_to_profile(f, r);
    f->low_ticks = min_i64(f->low_ticks, r->low_ticks);
    f->high_ticks = max_i64(f->high_ticks, r->high_ticks);
    if (c->bubbles_on) find_bubbles(f, r, &sums, &starts);
    for (size_t i = 0; i < f->series_count; i++) {
        series *one = &f->series[i];
        if (one->config.kind == FLOW_SERIES_TIME)
            add_to_time_bars(one, r, c->bubbles_on ? &sums : NULL);
        else
            add_to_series(one, r);
    }
    if (c->bubbles_on) add_bubbles(f, r, &sums, &starts);
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
