/* Bars, bubbles, profile and session sums, one print at a time. */
#include "internal.h"

void orderflow_close_bar(flow_kernel *kernel)
{
    core *c = &kernel->core;
    if (c->bar.trade_count == 0) return;
    c->closed_buy_lots += c->bar.buy_lots;
    c->closed_sell_lots += c->bar.sell_lots;
    c->closed_notional += i128_of(c->bar.notional_ticklots);
    kernel->bars.items[kernel->bars.tail++] = c->bar;
    c->bar = (flow_bar){0};
}

void orderflow_close_bubble(flow_kernel *kernel)
{
    core *c = &kernel->core;
    if (c->bubble.trade_count == 0) return;
    kernel->bubbles.items[kernel->bubbles.tail++] = c->bubble;
    c->bubble = (flow_bubble){0};
}

/* Make rows twice as wide until the session's range fits the table. */
static void profile_fold(flow_kernel *kernel, int64_t low_ticks, int64_t high_ticks)
{
    profile *p = &kernel->profile;
    const core *c = &kernel->core;
    int64_t first = c->low_ticks >> p->shift, last = c->high_ticks >> p->shift;
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

static void profile_add(flow_kernel *kernel, const print *trade)
{
    core *c = &kernel->core;
    profile *p = &kernel->profile;
    if (c->trade_count == 0) {
        c->low_ticks = c->high_ticks = trade->price_ticks;
    } else if (trade->price_ticks < c->low_ticks || trade->price_ticks > c->high_ticks) {
        int64_t low = min_i64(c->low_ticks, trade->price_ticks);
        int64_t high = max_i64(c->high_ticks, trade->price_ticks);
        profile_fold(kernel, low, high);
        c->low_ticks = low;
        c->high_ticks = high;
    }
    p->cells[(trade->price_ticks >> p->shift) & p->mask].lots[trade->side > 0] += trade->qty_lots;
}

static void bar_add(flow_kernel *kernel, const print *trade)
{
    core *c = &kernel->core;
    flow_bar *bar = &c->bar;
    int64_t span = kernel->config.bar_us;
    if (bar->trade_count > 0 && c->stream_us - bar->ts_us >= span) orderflow_close_bar(kernel);
    if (bar->trade_count == 0) {
        bar->ts_us = c->stream_us / span * span;
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

void orderflow_add_to_bubble(flow_kernel *kernel, const print *trade)
{
    core *c = &kernel->core;
    flow_bubble *bubble = &c->bubble;
    int64_t away = trade->price_ticks - bubble->first_ticks;
    int64_t offset = 0;
    bool joins = bubble->trade_count > 0 && trade->side == bubble->side &&
                 c->stream_us - bubble->ts_us <= kernel->config.bubble_window_us &&
                 (away < 0 ? -away : away) <= kernel->config.bubble_band_ticks &&
                 bubble->trade_count < UINT32_MAX &&
                 !__builtin_mul_overflow(away, trade->qty_lots, &offset) &&
                 !__builtin_add_overflow(bubble->offset_ticklots, offset, &offset);
    if (!joins) {
        orderflow_close_bubble(kernel);
        *bubble = (flow_bubble){
            .input = c->input,
            .ts_us = c->stream_us,
            .first_ticks = trade->price_ticks,
            .side = trade->side,
        };
        offset = 0;
    }
    bubble->last_ts_us = c->stream_us;
    bubble->last_ticks = trade->price_ticks;
    bubble->qty_lots += trade->qty_lots;
    bubble->offset_ticklots = offset;
    bubble->trade_count++;
}

/* Add a print whose number and stream time are already the core's. */
void orderflow_print(flow_kernel *kernel, const print *trade)
{
    core *c = &kernel->core;
    profile_add(kernel, trade);
    bar_add(kernel, trade);
    orderflow_add_to_bubble(kernel, trade);
    c->trade_count++;
    c->last_ticks = trade->price_ticks;
    c->last_side = trade->side;
}
