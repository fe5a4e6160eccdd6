/* Prints that change nothing but sums, many at a time. */
#include "internal.h"

/* Prints taken at once by fastpath_run: their columns and the runs stay in the L1 cache. */
#define BLOCK_TRADES 512

/* Consecutive prints of one price and side within a block. */
typedef struct runs {
    size_t count;
    uint32_t first[BLOCK_TRADES + 1];      /* row of the block each starts at, and the end */
    int64_t lots_before[BLOCK_TRADES + 1]; /* volume of the block before each, and in all */
} runs;

/*
 * Split prints [0, count) into runs and return how many prints need nothing but sums: those before
 * the first that crosses a planned time, leaves the trigger prices, or goes back in time.
 */
static size_t find_runs(const flow_kernel *k, const flow_batch *b, size_t at, size_t count,
                        runs *out)
{
    const int64_t *restrict ts = b->ts_us + at, *restrict price = b->price_ticks + at;
    const int64_t *restrict qty = b->qty_lots + at;
    const int8_t *restrict side = b->side + at;
    const int64_t next_us = k->next_us, low = k->trigger_low;
    const uint64_t span = (uint64_t)(k->trigger_high - low);
    int64_t now = k->core.stream_us, lots = 0, price_before = 0;
    int8_t side_before = 0;
    size_t n = 0, i = 0;
    for (; i < count; i++) {
        const int64_t t = ts[i], p = price[i];
        const int8_t s = side[i];
        if (UNLIKELY(t < now || t >= next_us || (uint64_t)(p - low) > span)) break;
        now = t;
        out->first[n] = (uint32_t)i;
        out->lots_before[n] = lots;
        n += (size_t)((p != price_before) | (s != side_before));
        lots += qty[i];
        price_before = p;
        side_before = s;
    }
    out->first[n] = (uint32_t)i;
    out->lots_before[n] = lots;
    out->count = n;
    return i;
}

/* Add a run to a bubble at once; false, with nothing done, when its prints must be added one by one
 * because the bubble ends within it or a sum is near its limit. */
static bool extend_bubble(flow_bubble *bubble, int64_t window_us, int64_t last_ts_us,
                          int64_t price_ticks, int64_t lots, uint32_t trades)
{
    int64_t offset;
    uint32_t trade_count;
    bool split = last_ts_us - bubble->ts_us > window_us;
    split |= __builtin_add_overflow(bubble->trade_count, trades, &trade_count);
    split |= __builtin_mul_overflow(price_ticks - bubble->first_ticks, lots, &offset);
    split |= __builtin_add_overflow(bubble->offset_ticklots, offset, &offset);
    if (split) return false;
    bubble->last_ts_us = last_ts_us;
    bubble->last_ticks = price_ticks;
    bubble->qty_lots += lots;
    bubble->offset_ticklots = offset;
    bubble->trade_count = trade_count;
    return true;
}

/* Start a bubble with a whole run. Field by field: a struct copied as a whole would wait for its
 * own stores. */
static inline void start_bubble(flow_bubble *bubble, uint64_t input, int64_t ts_us,
                                int64_t last_ts_us, int64_t price_ticks, int64_t lots,
                                uint32_t trades, int8_t side)
{
    bubble->input = input;
    bubble->ts_us = ts_us;
    bubble->last_ts_us = last_ts_us;
    bubble->first_ticks = price_ticks;
    bubble->last_ticks = price_ticks;
    bubble->qty_lots = lots;
    bubble->offset_ticklots = 0;
    bubble->trade_count = trades;
    bubble->side = side;
}

/* Add rows [row, end) to the open bubble one by one; `input` is the number before the first. */
static void add_one_by_one(flow_kernel *k, const flow_batch *b, size_t row, size_t end,
                           uint64_t input)
{
    const core before = k->core;
    k->core.bubble = k->bubbles.items[k->bubbles.tail];
    k->core.input = input;
    for (; row < end; row++) {
        const print trade = {b->ts_us[row], b->price_ticks[row], b->qty_lots[row], b->side[row]};
        k->core.input++;
        k->core.stream_us = trade.ts_us;
        orderflow_add_to_bubble(k, &trade);
    }
    k->bubbles.items[k->bubbles.tail] = k->core.bubble;
    k->core = before;
}

/* Add the runs of prints [at, at + count). The open bubble grows in the outbox slot it will leave
 * from. */
static void add_runs(flow_kernel *k, const flow_batch *b, size_t at, const runs *found)
{
    core *c = &k->core;
    const int64_t window_us = k->config.bubble_window_us, mask = k->profile.mask;
    const uint64_t band_ticks = (uint64_t)k->config.bubble_band_ticks;
    const int32_t shift = k->profile.shift;
    profile_cell *const cells = k->profile.cells;
    const int64_t *restrict ts = b->ts_us + at, *restrict price = b->price_ticks + at;
    const int8_t *restrict side = b->side + at;
    int64_t bar_high = c->bar.high_ticks, bar_low = c->bar.low_ticks;
    int64_t all_lots = 0, buy_lots = 0;
    u128 notional = (u128)i128_of(c->bar.notional_ticklots);
    flow_bubble *bubble = k->bubbles.items + k->bubbles.tail;
    *bubble = c->bubble;
    for (size_t r = 0; r < found->count; r++) {
        const uint32_t first = found->first[r], end = found->first[r + 1];
        const int64_t q = found->lots_before[r + 1] - found->lots_before[r];
        const int64_t p = price[first], t = ts[first], t_last = ts[end - 1];
        const int8_t s = side[first];
        const int buyer = s > 0;
        bar_high = max_i64(bar_high, p);
        bar_low = min_i64(bar_low, p);
        all_lots += q;
        buy_lots += buyer ? q : 0;
        notional += (u128)(uint64_t)p * (uint64_t)q;
        cells[(p >> shift) & mask].lots[buyer] += q;

        const int64_t away = p - bubble->first_ticks;
        const bool start = (s != bubble->side) | (t - bubble->ts_us > window_us) |
                           ((uint64_t)(away < 0 ? -away : away) > band_ticks);
        if (start && t_last - t <= window_us) {
            start_bubble(++bubble, c->input + first + 1, t, t_last, p, q, end - first, s);
        } else if (UNLIKELY(start ||
                            !extend_bubble(bubble, window_us, t_last, p, q, end - first))) {
            k->bubbles.tail = (size_t)(bubble - k->bubbles.items);
            add_one_by_one(k, b, at + first, at + end, c->input + first);
            bubble = k->bubbles.items + k->bubbles.tail;
        }
    }
    c->bubble = *bubble;
    k->bubbles.tail = (size_t)(bubble - k->bubbles.items);
    c->bar.high_ticks = bar_high;
    c->bar.low_ticks = bar_low;
    c->bar.sell_lots += all_lots - buy_lots;
    c->bar.buy_lots += buy_lots;
    c->bar.notional_ticklots = i128_pair((i128)notional);
}

/*
 * Apply prints until one needs more than sums: the same as apply_print for a print that crosses no
 * grid point, closes no bar, makes no new high or low and touches no order. Runs of one price and
 * side are added as a whole.
 */
size_t fastpath_run(flow_kernel *k, const flow_batch *b, size_t start, size_t limit)
{
    core *c = &k->core;
    runs found;
    size_t at = start;
    while (at < limit) {
        const size_t want = limit - at < BLOCK_TRADES ? limit - at : BLOCK_TRADES;
        const size_t count = find_runs(k, b, at, want, &found);
        if (count == 0) break;
        add_runs(k, b, at, &found);
        at += count;
        c->input += count;
        c->trade_count += count;
        c->stream_us = b->ts_us[at - 1];
        c->last_ticks = b->price_ticks[at - 1];
        c->last_side = b->side[at - 1];
        c->bar.close_ticks = c->last_ticks;
        c->bar.trade_count += (int64_t)count;
        if (count < want) break;
    }
    return at;
}
