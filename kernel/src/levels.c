/* The touch and the sample of broken levels, fed by prints. */
#include "levels.h"

bool levels_init(levels *l, int64_t window)
{
    *l = (levels){.sampled = window > 0};
    if (!l->sampled) return true;
    if (!rolling_histogram_init(&l->broken[0], (uint32_t)window)) return false;
    if (rolling_histogram_init(&l->broken[1], (uint32_t)window)) return true;
    rolling_histogram_free(&l->broken[0]);
    return false;
}

void levels_free(levels *l)
{
    if (!l->sampled) return;
    rolling_histogram_free(&l->broken[0]);
    rolling_histogram_free(&l->broken[1]);
}

/* Sellers hit bids: lower breaks the level. Buyers lift asks: higher does. */
static void add(levels *l, int64_t price_ticks, int64_t qty_lots, int8_t side)
{
    const int s = side > 0;
    const int64_t level = l->ticks[s];
    if (price_ticks == level) {
        l->lots[s] += qty_lots;
        return;
    }
    if (level > 0 && (price_ticks > level) == (side > 0))
        rolling_histogram_add(&l->broken[s], l->lots[s]);
    l->ticks[s] = price_ticks;
    l->lots[s] = qty_lots;
}

void levels_add(levels *l, int64_t price_ticks, int64_t qty_lots, int8_t side)
{
    if (l->sampled) add(l, price_ticks, qty_lots, side);
}

void levels_add_rows(levels *l, const flow_batch *b, size_t start, size_t end)
{
    if (!l->sampled) return;
    for (size_t i = start; i < end; i++)
        add(l, b->price_ticks[i], b->qty_lots[i], b->side[i]);
}

void levels_forget(levels *l)
{
    l->ticks[0] = l->ticks[1] = 0;
    l->lots[0] = l->lots[1] = 0;
}

int64_t levels_queue(const levels *l, int side, int64_t price_ticks, int64_t touch_ticks,
                     int64_t queue_ppm)
{
    const int s = side < 0; /* own buys wait where sellers hit */
    if (queue_ppm == 0) return 0;
    if (queue_ppm > FLOW_PPM || !l->sampled ||
        rolling_histogram_count(&l->broken[s]) < LEVELS_LEAST)
        return INT64_MAX;
    if (touch_ticks > 0 && (side > 0 ? price_ticks > touch_ticks : price_ticks < touch_ticks))
        return 0;
    int64_t queue = rolling_histogram_quantile(&l->broken[s], queue_ppm);
    if (price_ticks == l->ticks[s]) queue -= l->lots[s];
    return max_i64(queue, 0);
}

void touch_add(touch *t, int64_t price_ticks, int8_t side, int64_t stream_us)
{
    t->ticks[side > 0] = price_ticks;
    t->stream_us[side > 0] = stream_us;
    t->last_us = stream_us;
    t->last_ticks = price_ticks;
    t->last_side = side;
}

/* Rows in order of time: only the newest of each side matters. */
void touch_add_rows(touch *t, const flow_batch *b, size_t start, size_t end)
{
    if (start == end) return;
    const int8_t newest = b->side[end - 1];
    size_t i = end - 1;
    while (i > start && b->side[i] == newest)
        i--;
    if (b->side[i] != newest) touch_add(t, b->price_ticks[i], b->side[i], b->ts_us[i]);
    touch_add(t, b->price_ticks[end - 1], newest, b->ts_us[end - 1]);
}

void touch_forget(touch *t) { t->stream_us[0] = t->stream_us[1] = ALWAYS_US; }
