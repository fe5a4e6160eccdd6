/*
 * The touch and the sample of broken levels, fed by prints.
 *
 * Sellers hit bids: a lower print breaks the level they hit. Buyers lift asks: a higher one does.
 */
#include <stdlib.h> /* calloc, free */

#include "levels.h"

#define BLOCK_ROWS 1024
#define SLOTS_PER_WORD 4

bool levels_init(levels *l, int64_t capacity)
{
    *l = (levels){0};
    if (capacity == 0) return true;
    for (int s = 0; s < 2; s++) {
        l->broken[s].slots = calloc((size_t)capacity, sizeof *l->broken[s].slots);
        l->broken[s].capacity = (size_t)capacity;
    }
    if (l->broken[0].slots && l->broken[1].slots) return true;
    levels_free(l);
    return false;
}

void levels_free(levels *l)
{
    free(l->broken[0].slots);
    free(l->broken[1].slots);
    *l = (levels){0};
}

static bool are_sampled(const levels *l) { return l->broken[0].capacity > 0; }

static void keep(broken_levels *b, int64_t lots)
{
    b->slots[b->next] = (uint16_t)histogram_bucket_of(lots);
    b->next = b->next + 1 == b->capacity ? 0 : b->next + 1;
    if (b->count < b->capacity) b->count++;
}

void levels_add(levels *l, int64_t price_ticks, int64_t qty_lots, int8_t side)
{
    if (!are_sampled(l)) return;
    const int s = side > 0;
    const int64_t level = l->ticks[s];
    if (price_ticks == level) {
        l->lots[s] += qty_lots;
        return;
    }
    if (level > 0 && (price_ticks > level) == (side > 0)) keep(&l->broken[s], l->lots[s]);
    l->ticks[s] = price_ticks;
    l->lots[s] = qty_lots;
}

/*
 * Whether a print breaks a level is close to a coin toss, so nothing here branches on it: the
 * volumes of broken levels pile up, sellers' from the front of `broken`, buyers' from its end.
 */
void levels_add_rows(levels *l, const flow_batch *b, size_t start, size_t end)
{
    if (!are_sampled(l)) return;
    int64_t broken[BLOCK_ROWS + 2];
    int64_t sell_ticks = l->ticks[0], sell_lots = l->lots[0];
    int64_t buy_ticks = l->ticks[1], buy_lots = l->lots[1];
    while (start < end) {
        const size_t stop = end - start < BLOCK_ROWS ? end : start + BLOCK_ROWS;
        size_t front = 0, back = BLOCK_ROWS + 1;
        for (size_t i = start; i < stop; i++) {
            const int64_t p = b->price_ticks[i], q = b->qty_lots[i];
            const int64_t buy = -(int64_t)(b->side[i] > 0), sell = ~buy; /* all ones or none */
            broken[front] = sell_lots;
            broken[back] = buy_lots;
            front += (size_t)(sell & (int64_t)((p < sell_ticks) & (sell_ticks > 0)));
            back -= (size_t)(buy & (int64_t)((p > buy_ticks) & (buy_ticks > 0)));
            const int64_t sell_stays = -(int64_t)(p == sell_ticks);
            const int64_t buy_stays = -(int64_t)(p == buy_ticks);
            sell_lots = (sell_lots & (buy | sell_stays)) + (q & sell);
            buy_lots = (buy_lots & (sell | buy_stays)) + (q & buy);
            sell_ticks = (p & sell) | (sell_ticks & buy);
            buy_ticks = (p & buy) | (buy_ticks & sell);
        }
        for (size_t i = 0; i < front; i++)
            keep(&l->broken[0], broken[i]);
        for (size_t i = BLOCK_ROWS + 1; i > back; i--)
            keep(&l->broken[1], broken[i]);
        start = stop;
    }
    l->ticks[0] = sell_ticks;
    l->lots[0] = sell_lots;
    l->ticks[1] = buy_ticks;
    l->lots[1] = buy_lots;
}

static int64_t quantile_of(const broken_levels *b, int64_t ppm)
{
    uint16_t counts[HISTOGRAM_BUCKETS] = {0};
    for (size_t i = 0; i < b->count; i++)
        counts[b->slots[i]]++;
    const size_t need = histogram_rank(ppm, b->count);
    size_t seen = 0, bucket = 0;
    while ((seen += counts[bucket]) < need)
        bucket++;
    return histogram_bound_of(bucket);
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
    if (queue_ppm > FLOW_PPM || l->broken[s].count < LEVELS_LEAST) return INT64_MAX;
    if (!untouched && touch_ticks > 0 &&
        (side > 0 ? price_ticks > touch_ticks : price_ticks < touch_ticks))
        return 0;
    int64_t queue = quantile_of(&l->broken[s], queue_ppm);
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

/* The number of levels, then their buckets from the oldest on, four to a word. */
static void save_broken(const broken_levels *b, writer *w)
{
    put(w, b->count);
    const size_t oldest = b->count == b->capacity ? b->next : 0;
    for (size_t i = 0; i < b->count; i += SLOTS_PER_WORD) {
        uint64_t word = 0;
        for (size_t j = i; j < b->count && j < i + SLOTS_PER_WORD; j++)
            word |= (uint64_t)b->slots[(oldest + j) % b->capacity] << (16 * (j - i));
        put(w, word);
    }
}

static bool load_broken(broken_levels *b, reader *r)
{
    const uint64_t count = get(r);
    if (r->bad || count > b->capacity) return false;
    for (uint64_t i = 0; i < count; i += SLOTS_PER_WORD) {
        uint64_t word = get(r);
        for (uint64_t j = i; j < i + SLOTS_PER_WORD; j++, word >>= 16) {
            const uint16_t bucket = word & 0xffff;
            if (r->bad || bucket >= HISTOGRAM_BUCKETS || (j >= count && bucket != 0)) return false;
            if (j < count) b->slots[j] = bucket;
        }
    }
    b->count = (size_t)count;
    b->next = b->count == b->capacity ? 0 : b->count;
    return true;
}

void levels_save(const levels *l, writer *w)
{
    for (int s = 0; s < 2; s++) {
        put_i64(w, l->ticks[s]);
        put_i64(w, l->lots[s]);
        save_broken(&l->broken[s], w);
    }
}

bool levels_load(levels *l, reader *r)
{
    for (int s = 0; s < 2; s++) {
        l->ticks[s] = get_between(r, 0, FLOW_PRICE_TICKS_MAX);
        l->lots[s] = get_between(r, 0, INT64_MAX);
        if (!load_broken(&l->broken[s], r)) return false;
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
