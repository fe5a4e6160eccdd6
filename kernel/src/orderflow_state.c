/* Canonical bytes of order flow. */
#include "orderflow.h"

void orderflow_put_config(writer *w, const flow_orderflow_config *c)
{
    put_i64(w, c->bar_us);
    put_i64(w, c->bubble_window_us);
    put_i64(w, c->bubble_band_ticks);
    put_i64(w, c->profile_rows_max);
}

static void put_bar(writer *w, const flow_bar *bar)
{
    put_i64(w, bar->ts_us);
    put_i64(w, bar->open_ticks);
    put_i64(w, bar->high_ticks);
    put_i64(w, bar->low_ticks);
    put_i64(w, bar->close_ticks);
    put_i64(w, bar->buy_lots);
    put_i64(w, bar->sell_lots);
    put_i64(w, bar->trade_count);
    put_i128(w, i128_of(bar->notional_ticklots));
}

static void get_bar(reader *r, flow_bar *bar, int64_t stream_us)
{
    bar->ts_us = get_between(r, 0, stream_us);
    bar->open_ticks = get_i64(r);
    bar->high_ticks = get_i64(r);
    bar->low_ticks = get_i64(r);
    bar->close_ticks = get_i64(r);
    bar->buy_lots = get_between(r, 0, INT64_MAX);
    bar->sell_lots = get_between(r, 0, INT64_MAX);
    bar->trade_count = get_between(r, 0, INT64_MAX);
    bar->notional_ticklots = i128_pair(get_i128(r));
}

static void put_bubble(writer *w, const flow_bubble *bubble)
{
    put(w, bubble->input);
    put_i64(w, bubble->ts_us);
    put_i64(w, bubble->last_ts_us);
    put_i64(w, bubble->first_ticks);
    put_i64(w, bubble->last_ticks);
    put_i64(w, bubble->qty_lots);
    put_i64(w, bubble->offset_ticklots);
    put(w, bubble->trade_count);
    put_i64(w, bubble->side);
}

static void get_bubble(reader *r, flow_bubble *bubble, int64_t stream_us)
{
    bubble->input = get(r);
    bubble->ts_us = get_between(r, 0, stream_us);
    bubble->last_ts_us = get_i64(r);
    bubble->first_ticks = get_i64(r);
    bubble->last_ticks = get_i64(r);
    bubble->qty_lots = get_between(r, 0, INT64_MAX);
    bubble->offset_ticklots = get_i64(r);
    bubble->trade_count = (uint32_t)get_between(r, 0, UINT32_MAX);
    bubble->side = (int8_t)get_between(r, -1, 1);
}

static void put_profile(writer *w, const orderflow *f)
{
    const profile *p = &f->profile;
    put_i64(w, p->shift);
    size_t count_at = w->at;
    put(w, 0);
    uint64_t count = 0;
    if (f->trade_count > 0) {
        int64_t last = f->high_ticks >> p->shift;
        for (int64_t row = f->low_ticks >> p->shift; row <= last; row++) {
            const profile_cell *cell = &p->cells[row & p->mask];
            if (cell->lots[0] == 0 && cell->lots[1] == 0) continue;
            put_i64(w, row);
            put_i64(w, cell->lots[0]);
            put_i64(w, cell->lots[1]);
            count++;
        }
    }
    writer count_writer = {w->out, count_at};
    put(&count_writer, count);
}

static bool get_profile(reader *r, orderflow *f)
{
    profile *p = &f->profile;
    p->shift = (int32_t)get_between(r, 0, 50);
    uint64_t count = get(r);
    if (r->bad) return false;
    int64_t first = f->low_ticks >> p->shift, last = f->high_ticks >> p->shift;
    if (f->trade_count == 0) return count == 0 && p->shift == 0;
    if (last - first > p->mask) return false;
    int64_t before = first - 1;
    for (uint64_t i = 0; i < count; i++) {
        int64_t row = get_i64(r), sellers = get_i64(r), buyers = get_i64(r);
        if (r->bad || row <= before || row > last || sellers < 0 || buyers < 0) return false;
        p->cells[row & p->mask] = (profile_cell){{sellers, buyers}};
        before = row;
    }
    return true;
}

void orderflow_save(const orderflow *f, writer *w)
{
    put(w, f->trade_count);
    put_i64(w, f->last_ticks);
    put_i64(w, f->last_side);
    put_i64(w, f->high_ticks);
    put_i64(w, f->low_ticks);
    put_i64(w, f->closed_buy_lots);
    put_i64(w, f->closed_sell_lots);
    put_i128(w, f->closed_notional);
    put_bar(w, &f->bar);
    put_bubble(w, &f->bubble);
    put_profile(w, f);
}

bool orderflow_load(orderflow *f, reader *r, int64_t stream_us)
{
    f->trade_count = get(r);
    f->last_ticks = get_i64(r);
    f->last_side = get_between(r, -1, 1);
    f->high_ticks = get_i64(r);
    f->low_ticks = get_i64(r);
    f->closed_buy_lots = get_between(r, 0, INT64_MAX);
    f->closed_sell_lots = get_between(r, 0, INT64_MAX);
    f->closed_notional = get_i128(r);
    get_bar(r, &f->bar, stream_us);
    get_bubble(r, &f->bubble, stream_us);
    if (r->bad) return false;
    if (f->trade_count > 0 && (!price_is_valid(f->low_ticks) || !price_is_valid(f->high_ticks) ||
                               f->low_ticks > f->high_ticks || !price_is_valid(f->last_ticks)))
        return false;
    if ((i128)f->closed_buy_lots + f->closed_sell_lots + f->bar.buy_lots + f->bar.sell_lots >
        INT64_MAX)
        return false;
    return get_profile(r, f);
}
