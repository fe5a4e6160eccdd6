/* The parts of order flow together, one input at a time. */
#include <stdlib.h> /* calloc, free, malloc */

#include "orderflow.h"

#define BUBBLES_CAPACITY 4096
#define PPM_MAX 1000000
#define RATIO_PPM_MAX 1000000000

static bool is_power_of_two(int64_t value, int64_t most)
{
    return value >= 2 && value <= most && (value & (value - 1)) == 0;
}

static bool series_are_valid(const flow_orderflow_config *c)
{
    if (c->sums_on != 0 && (c->sums_on != 1 || c->series_count > 0)) return false;
    if (c->series_count < 0 || c->series_count > FLOW_SERIES_MAX) return false;
    for (int64_t i = 0; i < FLOW_SERIES_MAX; i++) {
        const flow_series_config *one = &c->series[i];
        if (i < c->series_count ? !series_config_is_valid(one)
                                : one->kind || one->threshold || one->row_ticks)
            return false;
    }
    return is_power_of_two(c->footprint_rows_max, FLOW_FOOTPRINT_ROWS_MAX) &&
           c->value_area_ppm >= 1 && c->value_area_ppm <= PPM_MAX && c->imbalance_ppm >= 0 &&
           c->imbalance_ppm <= RATIO_PPM_MAX && c->imbalance_min_lots >= 0 &&
           c->imbalance_stack_count >= 1;
}

static bool bubbles_are_valid(const flow_orderflow_config *c)
{
    if ((c->bubbles_on != 0 && c->bubbles_on != 1) || c->bubble_window_us < 0 ||
        c->bubble_window_us > FLOW_TS_US_MAX || c->bubble_band_ticks < 0 ||
        c->bubble_band_ticks > FLOW_PRICE_TICKS_MAX || c->large_window_count < 0 ||
        c->large_window_count > FLOW_LARGE_WINDOW_MAX)
        return false;
    return c->large_window_count == 0 ||
           (c->bubbles_on && c->large_ppm >= 1 && c->large_ppm <= PPM_MAX &&
            c->large_min_count >= 1 && c->large_min_count <= c->large_window_count);
}

/* Without series nothing else may be asked for. */
static bool asks_for_nothing(const flow_orderflow_config *c)
{
    return !c->bubbles_on && c->profile_rows_max == 0 && !c->vwap_on && c->size_class_count == 0 &&
           c->recent_trades_count == 0 && c->recent_slot_us == 0 && c->sweep_level_count == 0 &&
           c->absorption_lots == 0 && c->exhaustion_count == 0;
}

bool orderflow_config_is_valid(const flow_orderflow_config *c)
{
    return (c->series_count > 0 || asks_for_nothing(c)) && series_are_valid(c) &&
           bubbles_are_valid(c) &&
           (c->profile_rows_max == 0 ||
            is_power_of_two(c->profile_rows_max, FLOW_PROFILE_ROWS_MAX)) &&
           session_config_is_valid(c) && marks_config_is_valid(c);
}

static bool init_parts(orderflow *f)
{
    const flow_orderflow_config *c = f->config;
    const footprint_rules rules = {
        .rows_max = c->footprint_rows_max,
        .area_ppm = c->value_area_ppm,
        .imbalance_ppm = c->imbalance_ppm,
        .imbalance_min_lots = c->imbalance_min_lots,
        .stack_count = c->imbalance_stack_count,
    };
    for (; f->series_count < (size_t)c->series_count; f->series_count++)
        if (!series_init(&f->series[f->series_count], &c->series[f->series_count], &rules))
            return false;
    if (c->bubbles_on) {
        f->bubbles.capacity = BUBBLES_CAPACITY;
        /* One more for the open bubble, which fastpath_run grows in place. */
        f->bubbles.items = calloc(f->bubbles.capacity + 1, sizeof *f->bubbles.items);
        if (!f->bubbles.items) return false;
    }
    if (c->large_window_count > 0 &&
        !rolling_histogram_init(&f->sizes, c->large_window_count, c->large_ppm))
        return false;
    if (c->profile_rows_max > 0 && !price_table_init(&f->profile, c->profile_rows_max, 1))
        return false;
    return session_init(&f->session, c) && marks_init(&f->marks, c);
}

bool orderflow_init(orderflow *f, const flow_orderflow_config *config)
{
    *f = (orderflow){.config = malloc(sizeof *f->config)};
    if (!f->config) return false;
    *f->config = *config;
    if (init_parts(f)) return true;
    orderflow_free(f);
    return false;
}

void orderflow_free(orderflow *f)
{
    for (size_t i = 0; i < f->series_count; i++)
        series_free(&f->series[i]);
    rolling_histogram_free(&f->sizes);
    price_table_free(&f->profile);
    session_free(&f->session);
    marks_free(&f->marks);
    free(f->bubbles.items);
    free(f->config);
    *f = (orderflow){0};
}

size_t orderflow_room(const orderflow *f)
{
    size_t room = marks_room(&f->marks);
    if (f->config->bubbles_on && f->bubbles.capacity - f->bubbles.tail < room)
        room = f->bubbles.capacity - f->bubbles.tail;
    for (size_t i = 0; i < f->series_count; i++) {
        const size_t bars = series_room(&f->series[i]);
        if (bars < room) room = bars;
    }
    return room;
}

bool orderflow_is_drained(const orderflow *f)
{
    for (size_t i = 0; i < f->series_count; i++)
        if (!series_is_drained(&f->series[i])) return false;
    return f->bubbles.head == f->bubbles.tail && f->marks.out.head == f->marks.out.tail;
}

/* Every print lies in a bar of the first series, so its bars hold the sums of the session. */
int64_t orderflow_buy_lots(const orderflow *f)
{
    if (orderflow_is_off(f)) return f->sums.buy_lots;
    return f->series[0].closed_buy_lots + f->series[0].bar.buy_lots;
}

int64_t orderflow_sell_lots(const orderflow *f)
{
    if (orderflow_is_off(f)) return f->sums.sell_lots;
    return f->series[0].closed_sell_lots + f->series[0].bar.sell_lots;
}

i128 orderflow_notional(const orderflow *f)
{
    if (orderflow_is_off(f)) return i128_of(f->sums.notional_ticklots);
    return f->series[0].closed_notional + i128_of(f->series[0].bar.notional_ticklots);
}

bool orderflow_has_volume_left(const orderflow *f, int64_t total_lots)
{
    return total_lots <= INT64_MAX - orderflow_buy_lots(f) - orderflow_sell_lots(f);
}

static void close_bubble(orderflow *f, uint64_t input, int64_t stream_us)
{
    if (f->bubble.trade_count == 0) return;
    flow_bubble *out = &f->bubbles.items[f->bubbles.tail++];
    *out = f->bubble;
    f->bubble = (flow_bubble){0};
    orderflow_measure_bubble(f, out);
    marks_bubble(&f->marks, out, input, stream_us);
}

static void bubble_print(orderflow *f, const print *trade, uint64_t input, int64_t stream_us)
{
    flow_bubble *bubble = &f->bubble;
    const int64_t away = trade->price_ticks - bubble->first_ticks;
    int64_t offset = 0;
    const bool joins = bubble->trade_count > 0 && trade->side == bubble->side &&
                       stream_us - bubble->ts_us <= f->config->bubble_window_us &&
                       (away < 0 ? -away : away) <= f->config->bubble_band_ticks &&
                       bubble->trade_count < UINT32_MAX &&
                       !__builtin_mul_overflow(away, trade->qty_lots, &offset) &&
                       !__builtin_add_overflow(bubble->offset_ticklots, offset, &offset);
    if (!joins) {
        close_bubble(f, input, stream_us);
        *bubble = (flow_bubble){
            .input = input,
            .ts_us = stream_us,
            .first_ticks = trade->price_ticks,
            .side = trade->side,
        };
        offset = 0;
    }
    bubble->last_ts_us = stream_us;
    bubble->last_ticks = trade->price_ticks;
    bubble->qty_lots += trade->qty_lots;
    bubble->offset_ticklots = offset;
    bubble->trade_count++;
}

static void profile_print(orderflow *f, const print *trade)
{
    const int64_t price = trade->price_ticks;
    const bool first = f->trade_count == 0;
    const int64_t low = first ? price : min_i64(f->low_ticks, price);
    const int64_t high = first ? price : max_i64(f->high_ticks, price);
    if (f->profile.cells) {
        price_table_fit(&f->profile, first ? low : f->low_ticks, first ? high : f->high_ticks, low,
                        high);
        price_table_add(&f->profile, price, trade->side > 0, trade->qty_lots);
    }
    f->low_ticks = low;
    f->high_ticks = high;
}

void orderflow_add_sums(orderflow *f, const flow_totals *more)
{
    flow_totals *sums = &f->sums;
    const bool first = sums->buy_lots + sums->sell_lots == 0;
    sums->buy_lots += more->buy_lots;
    sums->sell_lots += more->sell_lots;
    sums->notional_ticklots =
        i128_pair(i128_of(sums->notional_ticklots) + i128_of(more->notional_ticklots));
    f->low_ticks = first ? more->low_ticks : min_i64(f->low_ticks, more->low_ticks);
    f->high_ticks = first ? more->high_ticks : max_i64(f->high_ticks, more->high_ticks);
}

static void sums_print(orderflow *f, const print *trade)
{
    if (!f->config->sums_on) return;
    orderflow_add_sums(
        f, &(flow_totals){
               .low_ticks = trade->price_ticks,
               .high_ticks = trade->price_ticks,
               .buy_lots = trade->side > 0 ? trade->qty_lots : 0,
               .sell_lots = trade->side > 0 ? 0 : trade->qty_lots,
               .notional_ticklots = i128_pair((i128)trade->price_ticks * trade->qty_lots),
           });
}

void orderflow_print(orderflow *f, const print *trade, uint64_t input, int64_t stream_us)
{
    if (orderflow_is_off(f))
        sums_print(f, trade);
    else
        profile_print(f, trade);
    for (size_t i = 0; i < f->series_count; i++)
        series_print(&f->series[i], trade, input, stream_us);
    if (f->config->bubbles_on) bubble_print(f, trade, input, stream_us);
    session_print(&f->session, trade, input, stream_us);
    marks_print(&f->marks, trade, input, stream_us);
    f->trade_count++;
    f->last_ticks = trade->price_ticks;
    f->last_side = trade->side;
}

void orderflow_clock(orderflow *f, uint64_t input, int64_t stream_us)
{
    for (size_t i = 0; i < f->series_count; i++)
        series_clock(&f->series[i], stream_us);
    if (stream_us - f->bubble.ts_us > f->config->bubble_window_us)
        close_bubble(f, input, stream_us);
    marks_clock(&f->marks, input, stream_us);
}

void orderflow_gap(orderflow *f, uint64_t input, int64_t stream_us)
{
    close_bubble(f, input, stream_us);
    marks_gap(&f->marks, input, stream_us);
}

void orderflow_end(orderflow *f, uint64_t input, int64_t stream_us)
{
    for (size_t i = 0; i < f->series_count; i++)
        series_close(&f->series[i]);
    close_bubble(f, input, stream_us);
    marks_end(&f->marks, input, stream_us);
}

void orderflow_anchor(orderflow *f, size_t anchor, uint64_t input, int64_t stream_us)
{
    session_anchor(&f->session, anchor, input, stream_us);
}

int64_t orderflow_profile_row_ticks(const orderflow *f)
{
    return f->profile.cells ? price_table_width(&f->profile) : 0;
}

size_t orderflow_profile_row_count(const orderflow *f)
{
    if (!f->profile.cells || f->trade_count == 0) return 0;
    return price_table_row_count(&f->profile, f->low_ticks, f->high_ticks);
}

void orderflow_copy_profile(const orderflow *f, flow_profile_row *out)
{
    const price_table *t = &f->profile;
    const size_t count = orderflow_profile_row_count(f);
    const int64_t first = count ? price_table_row(t, f->low_ticks) : 0;
    for (size_t i = 0; i < count; i++) {
        const price_cell *cell = price_table_cell(t, first + (int64_t)i);
        out[i] = (flow_profile_row){
            .price_ticks = (first + (int64_t)i) * price_table_width(t),
            .buy_lots = cell->lots[1],
            .sell_lots = cell->lots[0],
        };
    }
}

void orderflow_read_session(const orderflow *f, int64_t stream_us, flow_session *out)
{
    const rolling_histogram *sizes = &f->sizes;
    *out = (flow_session){0};
    session_read(&f->session, stream_us, out);
    if (f->config->size_class_count > 0) {
        const flow_size_class *above = &f->session.at_least[0];
        out->size_classes[0] = (flow_size_class){
            .buy_lots = orderflow_buy_lots(f) - above->buy_lots,
            .sell_lots = orderflow_sell_lots(f) - above->sell_lots,
            .trade_count = (int64_t)f->trade_count - above->trade_count,
        };
    }
    if (sizes->capacity > 0 && sizes->count >= (size_t)f->config->large_min_count)
        out->large_threshold_lots = rolling_histogram_tracked(sizes);
}
