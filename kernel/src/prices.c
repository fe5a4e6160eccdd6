/* The prices an order is held against. */
#include "internal.h"

bool prices_known(const market *m) { return m->quote.last_ticks > 0; }

/* Half the spread of the simple model: rounded up to a whole price step, at least one. */
static int64_t half_spread(const flow_kernel *k, const market *m)
{
    const int64_t step = m->config.rules.price_step_ticks;
    const i128 exact = (i128)m->quote.last_ticks * k->config.spread_ppm;
    const i128 steps = (exact + (i128)2 * FLOW_PPM * step - 1) / ((i128)2 * FLOW_PPM * step);
    return steps < 1 ? step : (int64_t)steps * step;
}

/* What an order of `side` would pay: the ask for buys, the bid for sells. 0 before any print. */
int64_t prices_touch(const flow_kernel *k, const market *m, int side)
{
    const quote *t = &m->quote;
    const int64_t last = t->last_ticks;
    if (last == 0) return 0;
    if (k->config.fill_model == FLOW_FILLS_SPREAD) {
        const int64_t half = half_spread(k, m);
        return side > 0 ? last + half : max_i64(last - half, 1);
    }
    if (t->last_side == side) return last;
    const int64_t other = t->ticks[side > 0], seen_us = t->stream_us[side > 0];
    const bool beyond = side > 0 ? other > last : other > 0 && other < last;
    const bool fresh = seen_us != ALWAYS_US && t->last_us - seen_us <= k->config.touch_stale_us;
    if (beyond && fresh) return other;
    const int64_t step = m->config.rules.price_step_ticks;
    return side > 0 ? last + step : max_i64(last - step, 1);
}

int64_t prices_mark(const market *m)
{
    return m->mark_ticks > 0 ? m->mark_ticks : m->quote.last_ticks;
}
