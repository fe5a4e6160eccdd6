/* The touch and the sample of broken levels, fed by prints. */
#include "levels.h"

bool levels_init(levels *l, int64_t capacity)
{
    *l = (levels){.sampled = capacity > 0};
    if (!l->sampled) return true;
    if (!rolling_histogram_init(&l->broken[0], capacity, FLOW_PPM / 2)) return false;
    if (rolling_histogram_init(&l->broken[1], capacity, FLOW_PPM / 2)) return true;
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
                     int64_t queue_ppm, bool untouched)
{
    const int s = side < 0; /* own buys wait where sellers hit */
    if (queue_ppm == 0) return 0;
    if (queue_ppm > FLOW_PPM || !l->sampled || l->broken[s].count < LEVELS_LEAST) return INT64_MAX;
    if (!untouched && touch_ticks > 0 &&
        (side > 0 ? price_ticks > touch_ticks : price_ticks < touch_ticks))
        return 0;
    int64_t queue = rolling_histogram_quantile(&l->broken[s], queue_ppm);
    if (!untouched && price_ticks == l->ticks[s]) queue -= l->lots[s];
    return max_i64(queue, 0);
}

void quote_add(quote *t, int64_t price_ticks, int8_t side, int64_t stream_us)
{
    t->ticks[side > 0] = price_ticks;
    t->stream_us[side > 0] = stream_us;
    t->last_us = stream_us;
    t->last_ticks = price_ticks;
    t->last_side = side;
}

/* Rows in order of time: only the newest of each side matters. */
void quote_add_rows(quote *t, const flow_batch *b, size_t start, size_t end)
{
    if (start == end) return;
    const int8_t newest = b->side[end - 1];
    size_t i = end - 1;
    while (i > start && b->side[i] == newest)
        i--;
    if (b->side[i] != newest) quote_add(t, b->price_ticks[i], b->side[i], b->ts_us[i]);
    quote_add(t, b->price_ticks[end - 1], newest, b->ts_us[end - 1]);
}

void quote_forget(quote *t) { t->stream_us[0] = t->stream_us[1] = ALWAYS_US; }

void levels_save(const levels *l, writer *w)
{
    for (int s = 0; s < 2; s++) {
        put_i64(w, l->ticks[s]);
        put_i64(w, l->lots[s]);
        if (l->sampled) rolling_histogram_save(&l->broken[s], w);
    }
}

bool levels_load(levels *l, reader *r)
{
    for (int s = 0; s < 2; s++) {
        l->ticks[s] = get_between(r, 0, FLOW_PRICE_TICKS_MAX);
        l->lots[s] = get_between(r, 0, INT64_MAX);
        if (l->sampled && !rolling_histogram_load(&l->broken[s], r)) return false;
    }
    return !r->bad;
}

void quote_save(const quote *t, writer *w)
{
    for (int s = 0; s < 2; s++) {
        put_i64(w, t->ticks[s]);
        put_i64(w, t->stream_us[s]);
    }
    put_i64(w, t->last_us);
    put_i64(w, t->last_ticks);
    put_i64(w, t->last_side);
}

bool quote_load(quote *t, reader *r, int64_t stream_us)
{
    for (int s = 0; s < 2; s++) {
        t->ticks[s] = get_between(r, 0, FLOW_PRICE_TICKS_MAX);
        t->stream_us[s] = get_i64(r);
        r->bad |=
            t->stream_us[s] > stream_us || (t->stream_us[s] < 0 && t->stream_us[s] != ALWAYS_US);
    }
    t->last_us = get_between(r, 0, stream_us);
    t->last_ticks = get_between(r, 0, FLOW_PRICE_TICKS_MAX);
    t->last_side = get_between(r, -1, 1);
    return !r->bad;
}
