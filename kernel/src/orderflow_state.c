/* Canonical bytes of order flow. */
#include "orderflow.h"

void orderflow_put_config(writer *w, const flow_orderflow_config *c)
{
    put_i64(w, c->series_count);
    put_i64(w, c->sums_on);
    for (int64_t i = 0; i < c->series_count; i++) {
        put_i64(w, c->series[i].kind);
        put_i64(w, c->series[i].threshold);
        put_i64(w, c->series[i].row_ticks);
    }
    put_i64(w, c->footprint_rows_max);
    put_i64(w, c->value_area_ppm);
    put_i64(w, c->imbalance_ppm);
    put_i64(w, c->imbalance_min_lots);
    put_i64(w, c->imbalance_stack_count);
    put_i64(w, c->bubbles_on);
    put_i64(w, c->bubble_window_us);
    put_i64(w, c->bubble_band_ticks);
    put_i64(w, c->large_window_count);
    put_i64(w, c->large_ppm);
    put_i64(w, c->large_min_count);
    put_i64(w, c->profile_rows_max);
    put_i64(w, c->vwap_on);
    put_i64(w, c->anchor_on_utc_day);
    put_i64(w, c->size_class_count);
    for (int64_t i = 0; i < c->size_class_count; i++)
        put_i64(w, c->size_class_lots[i]);
    put_i64(w, c->recent_trades_count);
    put_i64(w, c->recent_slot_us);
    put_i64(w, c->recent_slot_count);
    put_i64(w, c->sweep_level_count);
    put_i64(w, c->sweep_window_us);
    put_i64(w, c->absorption_lots);
    put_i64(w, c->absorption_window_us);
    put_i64(w, c->absorption_ticks);
    put_i64(w, c->exhaustion_count);
    put_i64(w, c->exhaustion_ticks);
}

static void put_bubble(writer *w, const flow_bubble *bubble)
{
    put(w, bubble->trade_count);
    if (bubble->trade_count == 0) return;
    put(w, bubble->input);
    put_i64(w, bubble->ts_us);
    put_i64(w, bubble->last_ts_us);
    put_i64(w, bubble->first_ticks);
    put_i64(w, bubble->last_ticks);
    put_i64(w, bubble->qty_lots);
    put_i64(w, bubble->offset_ticklots);
    put_i64(w, bubble->side);
}

static void get_bubble(reader *r, flow_bubble *bubble, int64_t stream_us)
{
    bubble->trade_count = (uint32_t)get_between(r, 0, UINT32_MAX);
    if (bubble->trade_count == 0) return;
    bubble->input = get(r);
    bubble->ts_us = get_between(r, 0, stream_us);
    bubble->last_ts_us = get_between(r, 0, stream_us);
    bubble->first_ticks = get_between(r, 1, FLOW_PRICE_TICKS_MAX);
    bubble->last_ticks = get_between(r, 1, FLOW_PRICE_TICKS_MAX);
    bubble->qty_lots = get_between(r, 1, INT64_MAX);
    bubble->offset_ticklots = get_i64(r);
    bubble->side = (int8_t)get_between(r, -1, 1);
}

void orderflow_save(const orderflow *f, writer *w)
{
    put(w, f->trade_count);
    if (f->trade_count > 0) {
        put_i64(w, f->last_ticks);
        put_i64(w, f->last_side);
    }
    if (f->trade_count > 0 && (!orderflow_is_off(f) || f->config->sums_on)) {
        put_i64(w, f->high_ticks);
        put_i64(w, f->low_ticks);
    }
    if (f->config->sums_on) {
        put_i64(w, f->sums.buy_lots);
        put_i64(w, f->sums.sell_lots);
        put_i128(w, i128_of(f->sums.notional_ticklots));
    }
    for (size_t i = 0; i < f->series_count; i++)
        series_save(&f->series[i], w);
    if (f->profile.cells && f->trade_count > 0)
        price_table_save(&f->profile, w, f->low_ticks, f->high_ticks);
    if (f->config->bubbles_on) put_bubble(w, &f->bubble);
    if (f->sizes.capacity > 0) rolling_histogram_save(&f->sizes, w);
    session_save(&f->session, w);
    marks_save(&f->marks, w);
}

bool orderflow_load(orderflow *f, reader *r, int64_t stream_us)
{
    f->trade_count = get(r);
    if (f->trade_count > 0) {
        f->last_ticks = get_between(r, 1, FLOW_PRICE_TICKS_MAX);
        f->last_side = get_between(r, -1, 1);
    }
    if (f->trade_count > 0 && (!orderflow_is_off(f) || f->config->sums_on)) {
        f->high_ticks = get_between(r, 1, FLOW_PRICE_TICKS_MAX);
        f->low_ticks = get_between(r, 1, f->high_ticks);
    }
    if (f->config->sums_on) {
        f->sums.buy_lots = get_between(r, 0, INT64_MAX);
        f->sums.sell_lots = get_between(r, 0, INT64_MAX - f->sums.buy_lots);
        f->sums.notional_ticklots = i128_pair(get_i128(r));
    }
    for (size_t i = 0; i < f->series_count; i++)
        if (r->bad || !series_load(&f->series[i], r, stream_us)) return false;
    if (f->profile.cells && f->trade_count > 0 &&
        !price_table_load(&f->profile, r, f->low_ticks, f->high_ticks, orderflow_sell_lots(f),
                          orderflow_buy_lots(f)))
        return false;
    if (f->config->bubbles_on) get_bubble(r, &f->bubble, stream_us);
    if (f->sizes.capacity > 0 && !rolling_histogram_load(&f->sizes, r)) return false;
    return session_load(&f->session, r, stream_us) && marks_load(&f->marks, r, stream_us) &&
           !r->bad;
}
