/* Bars, bubbles, profile and session sums, one print at a time. */
#include <stdlib.h> /* calloc, free */

#include "orderflow.h"

#define BARS_CAPACITY 4096
#define BUBBLES_CAPACITY 4096

bool orderflow_config_is_valid(const flow_orderflow_config *c)
{
    return c->bar_us >= 1 && c->bar_us <= FLOW_TS_US_MAX && c->bubble_window_us >= 0 &&
           c->bubble_window_us <= FLOW_TS_US_MAX && c->bubble_band_ticks >= 0 &&
           c->bubble_band_ticks <= FLOW_PRICE_TICKS_MAX && c->profile_rows_max >= 2 &&
           c->profile_rows_max <= FLOW_PROFILE_ROWS_MAX &&
           (c->profile_rows_max & (c->profile_rows_max - 1)) == 0;
}

bool orderflow_init(orderflow *f, const flow_orderflow_config *config)
{
    size_t rows = (size_t)config->profile_rows_max;
    *f = (orderflow){.config = *config};
    f->profile.mask = config->profile_rows_max - 1;
    f->bars.capacity = BARS_CAPACITY;
    f->bubbles.capacity = BUBBLES_CAPACITY;
    f->profile.cells = calloc(rows, sizeof *f->profile.cells);
    f->profile.spare = calloc(rows, sizeof *f->profile.spare);
    f->bars.items = calloc(f->bars.capacity, sizeof *f->bars.items);
    /* One more for the open bubble, which fastpath_run grows in place. */
    f->bubbles.items = calloc(f->bubbles.capacity + 1, sizeof *f->bubbles.items);
    if (f->profile.cells && f->profile.spare && f->bars.items && f->bubbles.items) return true;
    orderflow_free(f);
    return false;
}

void orderflow_free(orderflow *f)
{
    free(f->profile.cells);
    free(f->profile.spare);
    free(f->bars.items);
    free(f->bubbles.items);
    *f = (orderflow){0};
}

size_t orderflow_room(const orderflow *f)
{
    size_t bars = f->bars.capacity - f->bars.tail, bubbles = f->bubbles.capacity - f->bubbles.tail;
    return bars < bubbles ? bars : bubbles;
}

bool orderflow_is_drained(const orderflow *f)
{
    return f->bars.head == f->bars.tail && f->bubbles.head == f->bubbles.tail;
}

int64_t orderflow_buy_lots(const orderflow *f) { return f->closed_buy_lots + f->bar.buy_lots; }

int64_t orderflow_sell_lots(const orderflow *f) { return f->closed_sell_lots + f->bar.sell_lots; }

i128 orderflow_notional(const orderflow *f)
{
    return f->closed_notional + i128_of(f->bar.notional_ticklots);
}

bool orderflow_has_volume_left(const orderflow *f, int64_t total_lots)
{
    return total_lots <= INT64_MAX - orderflow_buy_lots(f) - orderflow_sell_lots(f);
}

static void close_bar(orderflow *f)
{
    if (f->bar.trade_count == 0) return;
    f->closed_buy_lots += f->bar.buy_lots;
    f->closed_sell_lots += f->bar.sell_lots;
    f->closed_notional += i128_of(f->bar.notional_ticklots);
    f->bars.items[f->bars.tail++] = f->bar;
    f->bar = (flow_bar){0};
}

static void close_bubble(orderflow *f)
{
    if (f->bubble.trade_count == 0) return;
    f->bubbles.items[f->bubbles.tail++] = f->bubble;
    f->bubble = (flow_bubble){0};
}

/* Make rows twice as wide until the session's range fits the table. */
static void profile_fold(orderflow *f, int64_t low_ticks, int64_t high_ticks)
{
    profile *p = &f->profile;
    int64_t first = f->low_ticks >> p->shift, last = f->high_ticks >> p->shift;
    int32_t shift = p->shift;
    while ((high_ticks >> shift) - (low_ticks >> shift) > p->mask)
        shift++;
    if (shift == p->shift) return;
    for (int64_t row = first; row <= last; row++) {
        profile_cell *from = &p->cells[row & p->mask];
        profile_cell *to = &p->spare[(row >> (shift - p->shift)) & p->mask];
        to->lots[0] += from->lots[0];
        to->lots[1] += from->lots[1];
        *from = (profile_cell){{0, 0}};
    }
    profile_cell *cells = p->cells;
    p->cells = p->spare;
    p->spare = cells;
    p->shift = shift;
}

static void profile_add(orderflow *f, const print *trade)
{
    profile *p = &f->profile;
    if (f->trade_count == 0) {
        f->low_ticks = f->high_ticks = trade->price_ticks;
    } else if (trade->price_ticks < f->low_ticks || trade->price_ticks > f->high_ticks) {
        int64_t low = min_i64(f->low_ticks, trade->price_ticks);
        int64_t high = max_i64(f->high_ticks, trade->price_ticks);
        profile_fold(f, low, high);
        f->low_ticks = low;
        f->high_ticks = high;
    }
    p->cells[(trade->price_ticks >> p->shift) & p->mask].lots[trade->side > 0] += trade->qty_lots;
}

static void bar_add(orderflow *f, const print *trade, int64_t stream_us)
{
    flow_bar *bar = &f->bar;
    int64_t span = f->config.bar_us;
    if (bar->trade_count > 0 && stream_us - bar->ts_us >= span) close_bar(f);
    if (bar->trade_count == 0) {
        bar->ts_us = stream_us / span * span;
        bar->open_ticks = bar->high_ticks = bar->low_ticks = trade->price_ticks;
    }
    bar->high_ticks = max_i64(bar->high_ticks, trade->price_ticks);
    bar->low_ticks = min_i64(bar->low_ticks, trade->price_ticks);
    bar->close_ticks = trade->price_ticks;
    *(trade->side > 0 ? &bar->buy_lots : &bar->sell_lots) += trade->qty_lots;
    bar->trade_count++;
    bar->notional_ticklots =
        i128_pair(i128_of(bar->notional_ticklots) + (i128)trade->price_ticks * trade->qty_lots);
}

static void bubble_add(orderflow *f, const print *trade, uint64_t input, int64_t stream_us)
{
    flow_bubble *bubble = &f->bubble;
    int64_t away = trade->price_ticks - bubble->first_ticks;
    int64_t offset = 0;
    bool joins = bubble->trade_count > 0 && trade->side == bubble->side &&
                 stream_us - bubble->ts_us <= f->config.bubble_window_us &&
                 (away < 0 ? -away : away) <= f->config.bubble_band_ticks &&
                 bubble->trade_count < UINT32_MAX &&
                 !__builtin_mul_overflow(away, trade->qty_lots, &offset) &&
                 !__builtin_add_overflow(bubble->offset_ticklots, offset, &offset);
    if (!joins) {
        close_bubble(f);
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

void orderflow_print(orderflow *f, const print *trade, uint64_t input, int64_t stream_us)
{
    profile_add(f, trade);
    bar_add(f, trade, stream_us);
    bubble_add(f, trade, input, stream_us);
    f->trade_count++;
    f->last_ticks = trade->price_ticks;
    f->last_side = trade->side;
}

void orderflow_clock(orderflow *f, uint64_t input, int64_t stream_us)
{
    (void)input;
    if (stream_us - f->bar.ts_us >= f->config.bar_us) close_bar(f);
    if (stream_us - f->bubble.ts_us > f->config.bubble_window_us) close_bubble(f);
}

void orderflow_gap(orderflow *f, uint64_t input, int64_t stream_us)
{
    (void)input;
    (void)stream_us;
    close_bubble(f);
}

void orderflow_end(orderflow *f, uint64_t input, int64_t stream_us)
{
    (void)input;
    (void)stream_us;
    close_bar(f);
    close_bubble(f);
}

size_t orderflow_profile_row_count(const orderflow *f)
{
    const profile *p = &f->profile;
    if (f->trade_count == 0) return 0;
    return (size_t)((f->high_ticks >> p->shift) - (f->low_ticks >> p->shift) + 1);
}

void orderflow_copy_profile(const orderflow *f, flow_profile_row *out)
{
    const profile *p = &f->profile;
    int64_t first = f->low_ticks >> p->shift, count = (int64_t)orderflow_profile_row_count(f);
    for (int64_t i = 0; i < count; i++) {
        const profile_cell *cell = &p->cells[(first + i) & p->mask];
        out[i] = (flow_profile_row){
            .price_ticks = (first + i) << p->shift,
            .buy_lots = cell->lots[1],
            .sell_lots = cell->lots[0],
        };
    }
}
