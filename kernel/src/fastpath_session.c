/* Profile, sums of the session and marks of a block. */
#include "fastpath.h"

void profile_add(orderflow *f, const rows *r)
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

void session_add(session *s, const rows *r)
{
    const flow_orderflow_config *c = s->config;
    if (c->vwap_on) add_to_vwap(s, r);
    for (int64_t i = 0; i < c->size_class_count; i++)
        add_to_size_class(&s->at_least[i], r);
    if (c->recent_trades_count > 0) add_to_recent_trades(s, r);
    if (c->recent_slot_us > 0) add_to_recent_time(s, r);
}

/* ---- marks */

void marks_add(marks *m, const rows *r, const flow_bubble *closed, size_t closed_count,
               const uint16_t *at)
{
    size_t n = 0;
    for (size_t i = 0; i < r->count; i++) {
        const print trade = {r->ts_us[i], r->price_ticks[i], r->qty_lots[i], r->side[i]};
        if (n < closed_count && at[n] == i)
            marks_bubble(m, &closed[n++], r->input + i + 1, trade.ts_us);
        marks_print(m, &trade, r->input + i + 1, trade.ts_us);
    }
}
