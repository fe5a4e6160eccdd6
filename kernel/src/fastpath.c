/*
 * Prints that change nothing but sums.
 *
 * A block of prints is taken twice. The first pass adds up bars and profile, and notes the running
 * sums and the rows at which bubbles start; whether a print joins a bubble is close to a coin toss,
 * so nothing there branches on it. The second pass makes a bubble of each piece, from differences
 * of the running sums.
 */
#include "orderflow.h"

#define BLOCK_ROWS 512

typedef struct block {
    size_t start_count;
    uint32_t starts[BLOCK_ROWS + 1];         /* rows of the block at which bubbles start */
    int64_t lots_before[BLOCK_ROWS + 1];     /* sums of the block's rows before each row; */
    uint64_t product_before[BLOCK_ROWS + 1]; /* of price x quantity modulo 2^64 */
} block;

/*
 * Close the open bar and start the one that a print lies in. Field by field: a copy of the whole
 * struct would have to wait for the stores that have just filled it.
 */
static void roll_bar(orderflow *f, int64_t ts_us, int64_t price_ticks)
{
    flow_bar *bar = &f->bar, *out = &f->bars.items[f->bars.tail];
    if (bar->trade_count > 0) {
        out->ts_us = bar->ts_us;
        out->open_ticks = bar->open_ticks;
        out->high_ticks = bar->high_ticks;
        out->low_ticks = bar->low_ticks;
        out->close_ticks = bar->close_ticks;
        out->buy_lots = bar->buy_lots;
        out->sell_lots = bar->sell_lots;
        out->trade_count = bar->trade_count;
        out->notional_ticklots.lo = bar->notional_ticklots.lo;
        out->notional_ticklots.hi = bar->notional_ticklots.hi;
        f->closed_buy_lots += bar->buy_lots;
        f->closed_sell_lots += bar->sell_lots;
        f->closed_notional += i128_of(bar->notional_ticklots);
        f->bars.tail++;
    }
    const int64_t bar_us = f->config.bar_us;
    bar->ts_us += bar_us;
    if (UNLIKELY(ts_us - bar->ts_us >= bar_us)) bar->ts_us = ts_us / bar_us * bar_us;
    bar->open_ticks = bar->high_ticks = bar->low_ticks = price_ticks;
    bar->buy_lots = bar->sell_lots = bar->trade_count = 0;
    bar->notional_ticklots.lo = 0;
    bar->notional_ticklots.hi = 0;
}

/* The first pass over up to `count` rows from `at` on; returns how many need nothing but sums. */
static size_t add_sums(orderflow *f, window *w, const flow_batch *b, size_t at, size_t count,
                       block *out)
{
    const int64_t *restrict ts = b->ts_us + at, *restrict price = b->price_ticks + at;
    const int64_t *restrict qty = b->qty_lots + at;
    const int8_t *restrict side = b->side + at;
    const int64_t next_us = w->next_us, low = max_i64(w->low_ticks, f->low_ticks);
    const uint64_t span = (uint64_t)(min_i64(w->high_ticks, f->high_ticks) - low);
    const int64_t window_us = f->config.bubble_window_us;
    const int64_t band_ticks = f->config.bubble_band_ticks;
    const int64_t mask = f->profile.mask;
    const int32_t shift = f->profile.shift;
    profile_cell *const cells = f->profile.cells;

    int64_t open_ts = f->bubble.ts_us, open_ticks = f->bubble.first_ticks;
    int64_t open_side = f->bubble.side;
    int64_t now = w->stream_us, lots = 0;
    uint64_t product = 0;
    size_t i = 0, start_count = 0;
    for (;;) {
        flow_bar *bar = &f->bar;
        const size_t bar_row = i;
        const int64_t lots_before_bar = lots, bar_end = bar->ts_us + f->config.bar_us;
        const int64_t stop_us = min_i64(next_us, bar_end);
        int64_t bar_high = bar->high_ticks, bar_low = bar->low_ticks, delta_lots = 0;
        u128 notional = (u128)i128_of(bar->notional_ticklots);
        for (; i < count; i++) {
            const int64_t t = ts[i], p = price[i], q = qty[i], s = side[i];
            if (UNLIKELY(t < now || t >= stop_us || (uint64_t)(p - low) > span)) break;
            const u128 value = (u128)(uint64_t)p * (uint64_t)q;
            const int64_t away = p - open_ticks;
            const int64_t starts = (s != open_side) | (t - open_ts > window_us) |
                                   ((uint64_t)(away + band_ticks) > 2 * (uint64_t)band_ticks);
            const int64_t keep = starts - 1; /* all ones when the print joins */
            now = t;
            bar_high = max_i64(bar_high, p);
            bar_low = min_i64(bar_low, p);
            notional += value;
            delta_lots += q * s;
            cells[(p >> shift) & mask].lots[(s + 1) >> 1] += q;
            open_ticks = p - (away & keep);
            open_ts = t ^ ((t ^ open_ts) & keep);
            open_side = s;
            out->starts[start_count] = (uint32_t)i;
            out->lots_before[i] = lots;
            out->product_before[i] = product;
            start_count += (size_t)starts;
            lots += q;
            product += (uint64_t)value;
        }
        if (i > bar_row) {
            const int64_t bar_lots = lots - lots_before_bar;
            bar->high_ticks = bar_high;
            bar->low_ticks = bar_low;
            bar->close_ticks = price[i - 1];
            bar->buy_lots += (bar_lots + delta_lots) / 2;
            bar->sell_lots += (bar_lots - delta_lots) / 2;
            bar->trade_count += (int64_t)(i - bar_row);
            bar->notional_ticklots = i128_pair((i128)notional);
        }
        if (i == count || ts[i] < bar_end || ts[i] >= next_us ||
            (uint64_t)(price[i] - low) > span || f->bars.tail == f->bars.capacity)
            break;
        roll_bar(f, ts[i], price[i]);
    }
    w->stream_us = now;
    out->start_count = start_count;
    out->starts[start_count] = (uint32_t)i;
    out->lots_before[i] = lots;
    out->product_before[i] = product;
    return i;
}

/* Add rows [row, end) of the block to the bubble whose first price and time are set. */
static inline void extend_bubble(flow_bubble *bubble, const flow_batch *b, size_t at,
                                 const block *from, size_t row, size_t end)
{
    const int64_t lots = from->lots_before[end] - from->lots_before[row];
    const uint64_t product = from->product_before[end] - from->product_before[row];
    bubble->last_ts_us = b->ts_us[at + end - 1];
    bubble->last_ticks = b->price_ticks[at + end - 1];
    bubble->qty_lots += lots;
    bubble->offset_ticklots += (int64_t)(product - (uint64_t)bubble->first_ticks * (uint64_t)lots);
    bubble->trade_count += (uint32_t)(end - row);
}

/* The second pass: close the open bubble where another starts; the last one stays open. */
static void add_bubbles(orderflow *f, uint64_t input, const flow_batch *b, size_t at,
                        const block *from)
{
    flow_bubble *place = f->bubbles.items + f->bubbles.tail;
    *place = f->bubble;
    if (from->starts[0] > 0) extend_bubble(place, b, at, from, 0, from->starts[0]);
    for (size_t n = 0; n < from->start_count; n++) {
        const size_t row = from->starts[n];
        place++;
        place->input = input + row + 1;
        place->ts_us = b->ts_us[at + row];
        place->first_ticks = b->price_ticks[at + row];
        place->qty_lots = 0;
        place->offset_ticklots = 0;
        place->trade_count = 0;
        place->side = b->side[at + row];
        extend_bubble(place, b, at, from, row, from->starts[n + 1]);
    }
    f->bubble = *place;
    f->bubbles.tail = (size_t)(place - f->bubbles.items);
}

/* Whether no sum of a bubble can leave 64 bits within a batch. */
static bool bubble_sums_are_small(const orderflow *f, const flow_batch *b)
{
    const flow_bubble *open = &f->bubble;
    i128 lots = (i128)b->total_lots + open->qty_lots;
    return lots * f->config.bubble_band_ticks <= INT64_MAX / 2 &&
           open->trade_count < UINT32_MAX / 2 && b->count < UINT32_MAX / 2;
}

size_t fastpath_run(orderflow *f, window *w, const flow_batch *b, size_t start, size_t limit)
{
    block found;
    size_t at = start;
    if (f->bar.trade_count == 0 || f->bubble.trade_count == 0 || w->next_us == ALWAYS_US ||
        max_i64(w->low_ticks, f->low_ticks) > min_i64(w->high_ticks, f->high_ticks) ||
        !bubble_sums_are_small(f, b))
        return start;
    while (at < limit) {
        const size_t want = limit - at < BLOCK_ROWS ? limit - at : BLOCK_ROWS;
        const size_t count = add_sums(f, w, b, at, want, &found);
        if (count > 0) {
            add_bubbles(f, w->input, b, at, &found);
            at += count;
            w->input += count;
            f->trade_count += count;
            f->last_ticks = b->price_ticks[at - 1];
            f->last_side = b->side[at - 1];
        }
        if (count < want) break;
    }
    return at;
}
