/* Runs of prints: cutting them into blocks, and which parts go over each. */
#include "fastpath.h"

/* Whether the sums that the loops below make of a block stay within 64 bits. */
static bool sums_are_small(const orderflow *f, const rows *r)
{
    const i128 limit = INT64_MAX / 2, lots = r->lots;
    const i128 spread = r->high_ticks - r->low_ticks;
    return lots * r->high_ticks <= limit &&
           (lots + f->bubble.qty_lots) * f->config->bubble_band_ticks <= limit &&
           f->bubble.trade_count < UINT32_MAX / 2 &&
           (!f->config->vwap_on || spread * spread <= limit / (lots > 0 ? lots : 1));
}

static bool needs_columns(const orderflow *f)
{
    bool needs = f->config->bubbles_on != 0;
    for (size_t i = 0; i < f->series_count; i++)
        needs |=
            f->series[i].config.kind == FLOW_SERIES_TIME && series_has_footprints(&f->series[i]);
    return needs;
}

/* c is null when no part needs columns. */
static void add_rows(orderflow *f, const rows *r, const columns *c)
{
    const flow_orderflow_config *config = f->config;
    bubble_starts starts;
    starts.count = 0;
    const size_t tail = f->bubbles.tail;
    if (config->profile_rows_max > 0) profile_add(f, r);
    f->low_ticks = min_i64(f->low_ticks, r->low_ticks);
    f->high_ticks = max_i64(f->high_ticks, r->high_ticks);
    for (size_t i = 0; i < f->series_count; i++) {
        if (f->series[i].config.kind == FLOW_SERIES_TIME)
            time_bars_add(&f->series[i], r, c);
        else
            bars_add(&f->series[i], r);
    }
    if (config->bubbles_on) {
        bubbles_find(f, r, c, &starts);
        bubbles_add(f, r, c, &starts);
    }
    session_add(&f->session, r);
    if (marks_are_on(config)) {
        const size_t closed = f->bubbles.tail - tail;
        marks_add(&f->marks, r, closed ? f->bubbles.items + tail : NULL, closed,
                  starts.rows + (starts.count - closed));
    }
    f->trade_count += r->count;
    f->last_ticks = r->price_ticks[r->count - 1];
    f->last_side = r->side[r->count - 1];
}

size_t fastpath_run(orderflow *f, window *w, const flow_batch *b, size_t start, size_t limit)
{
    size_t at = start, block_rows = BLOCK_ROWS;
    columns c;
    columns *const filled = needs_columns(f) ? &c : NULL;
    const int64_t next_us =
        min_i64(min_i64(w->next_us, session_next_us(&f->session)), FLOW_TS_US_MAX + 1);
    if (f->trade_count == 0 || w->low_ticks > w->high_ticks || next_us == ALWAYS_US) return start;
    while (at < limit) {
        const size_t want = limit - at < block_rows ? limit - at : block_rows;
        rows r = {
            .ts_us = b->ts_us + at,
            .price_ticks = b->price_ticks + at,
            .qty_lots = b->qty_lots + at,
            .side = b->side + at,
            .input = w->input,
            .cpu = w->cpu,
        };
        if (rows_look_over(&r, w, next_us, want) == 0) break;
        if (!sums_are_small(f, &r) || (filled && !columns_fill(filled, &r))) {
            if (block_rows == BLOCK_PIECE) break;
            block_rows = BLOCK_PIECE;
            continue;
        }
        add_rows(f, &r, filled);
        at += r.count;
        w->input += r.count;
        w->stream_us = r.ts_us[r.count - 1];
        if (r.count < want) break;
    }
    return at;
}
