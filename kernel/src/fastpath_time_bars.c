/*
 * Time bars of a block. Their ends are found first, together with what the rows of each give; the
 * records are made from that.
 */
#include <string.h> /* memcpy */

#include "fastpath.h"

#if HAS_AVX2
#include <immintrin.h>
#endif

#define LANES 4
#define NARROW_TICKS ((int64_t)1 << 30)

/* What the rows [from, end) of a block give to one bar; prices mean nothing where there are none.
 */
typedef struct part {
    size_t end;
    int64_t low_ticks;
    int64_t high_ticks;
    int64_t lots;
    int64_t delta;
    uint64_t product;
} part;

typedef void part_maker(part *p, const rows *r, size_t from, int64_t end_us);

/* ---- one part, portable */

ALWAYS_INLINE void sum_part(part *p, const rows *r, size_t from, int64_t end_us)
{
    const int64_t *restrict ts = r->ts_us, *restrict price = r->price_ticks;
    const int64_t *restrict qty = r->qty_lots;
    const int8_t *restrict side = r->side;
    int64_t high = INT64_MIN, low = INT64_MAX, lots = 0, delta = 0;
    uint64_t product = 0;
    size_t i = from;
    for (; i < r->count && ts[i] < end_us; i++) {
        const int64_t q = qty[i];
        high = max_i64(high, price[i]);
        low = min_i64(low, price[i]);
        lots += q;
        delta += q * side[i];
        product += (uint64_t)price[i] * (uint64_t)q;
    }
    *p = (part){i, low, high, lots, delta, product};
}

/* ---- one part, AVX2 */

#if HAS_AVX2
/* From LANES - n on the first n lanes are all ones. */
static const int64_t FIRST_LANES[2 * LANES] = {-1, -1, -1, -1};

AVX2 ALWAYS_INLINE __m256i first_lanes(size_t count)
{
    return _mm256_loadu_si256((const __m256i *)(FIRST_LANES + LANES - count));
}

AVX2 ALWAYS_INLINE __m256i load(const int64_t *from)
{
    return _mm256_loadu_si256((const __m256i *)from);
}

typedef struct lanes_of_part {
    __m256i low, high, lots, sold, product;
} lanes_of_part;

/* Add the rows whose lanes are set in `in`, all below 2^32; `four_sides` are theirs. */
AVX2 ALWAYS_INLINE void add_lanes(lanes_of_part *sums, __m256i price, __m256i qty,
                                  int32_t four_sides, __m256i in)
{
    const __m256i side = _mm256_cvtepi8_epi64(_mm_cvtsi32_si128(four_sides));
    const __m256i low = _mm256_blendv_epi8(sums->low, price, in);
    const __m256i sold = _mm256_cmpgt_epi64(_mm256_setzero_si256(), side);
    sums->low = _mm256_blendv_epi8(sums->low, low, _mm256_cmpgt_epi64(sums->low, low));
    sums->high = _mm256_blendv_epi8(sums->high, price, _mm256_cmpgt_epi64(price, sums->high));
    sums->lots = _mm256_add_epi64(sums->lots, qty);
    sums->sold = _mm256_add_epi64(sums->sold, _mm256_and_si256(qty, sold));
    sums->product = _mm256_add_epi64(sums->product, _mm256_mul_epu32(price, qty));
}

AVX2 ALWAYS_INLINE int64_t lane_sum(__m256i v)
{
    const __m128i pair = _mm_add_epi64(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    return _mm_cvtsi128_si64(pair) + _mm_extract_epi64(pair, 1);
}

/* Prices and quantities are below 2^32. */
AVX2 ALWAYS_INLINE void sum_part_avx2(part *p, const rows *r, size_t from, int64_t end_us)
{
    const __m256i end = _mm256_set1_epi64x(end_us), zero = _mm256_setzero_si256();
    const __m256i all = _mm256_set1_epi64x(-1);
    lanes_of_part sums = {_mm256_set1_epi64x(INT64_MAX), zero, zero, zero, zero};
    size_t i = from;
    uint32_t late = 0;
    for (; i + LANES <= r->count; i += LANES) {
        const __m256i before = _mm256_cmpgt_epi64(end, load(r->ts_us + i));
        late = ~(uint32_t)_mm256_movemask_pd(_mm256_castsi256_pd(before)) & 15;
        if (late) break;
        int32_t four_sides;
        memcpy(&four_sides, r->side + i, sizeof four_sides);
        add_lanes(&sums, load(r->price_ticks + i), load(r->qty_lots + i), four_sides, all);
    }
    size_t more = late ? (size_t)__builtin_ctz(late) : 0;
    if (UNLIKELY(!late))
        while (i + more < r->count && r->ts_us[i + more] < end_us)
            more++;
    const size_t stop = i + more;
    const __m256i in = first_lanes(more);
    int32_t four_sides = 0;
    if (LIKELY(i + LANES <= r->count))
        memcpy(&four_sides, r->side + i, sizeof four_sides);
    else
        memcpy(&four_sides, r->side + i, more);
    add_lanes(&sums, _mm256_maskload_epi64((const long long *)(r->price_ticks + i), in),
              _mm256_maskload_epi64((const long long *)(r->qty_lots + i), in), four_sides, in);
    int64_t low[LANES], high[LANES];
    memcpy(low, &sums.low, sizeof low);
    memcpy(high, &sums.high, sizeof high);
    p->end = stop;
    p->low_ticks = min_i64(min_i64(low[0], low[1]), min_i64(low[2], low[3]));
    p->high_ticks = max_i64(max_i64(high[0], high[1]), max_i64(high[2], high[3]));
    p->lots = lane_sum(sums.lots);
    p->delta = p->lots - 2 * lane_sum(sums.sold);
    p->product = (uint64_t)lane_sum(sums.product);
}
#endif

/* ---- all parts of a block */

ALWAYS_INLINE int64_t next_end(int64_t end_us, int64_t ts_us, int64_t span_us)
{
    if (LIKELY((uint64_t)(ts_us - end_us) < (uint64_t)span_us)) return end_us + span_us;
    return ts_us / span_us * span_us + span_us;
}

/* Cut a block where bars end, the first one at end_us; returns the number of parts. Each but the
 * first has a row at least, whatever is read. */
ALWAYS_INLINE size_t cut(part *parts, const rows *r, int64_t end_us, int64_t span_us,
                         part_maker *make)
{
    size_t row = 0, n = 0;
    for (;;) {
        part *p = &parts[n];
        make(p, r, row, end_us);
        if (UNLIKELY(n > 0 && p->end == row)) p->end++;
        row = p->end;
        n++;
        if (row == r->count) return n;
        end_us = next_end(end_us, r->ts_us[row], span_us);
    }
}

#if HAS_AVX2
AVX2 static size_t cut_avx2(part *parts, const rows *r, int64_t end_us, int64_t span_us)
{
    return cut(parts, r, end_us, span_us, sum_part_avx2);
}
#endif

static size_t find_parts(part *parts, const rows *r, int64_t end_us, int64_t span_us)
{
#if HAS_AVX2
    if (r->cpu == FLOW_CPU_AVX2 && r->narrow) return cut_avx2(parts, r, end_us, span_us);
#endif
    return cut(parts, r, end_us, span_us, sum_part);
}

/* ---- cells of a footprint */

/*
 * Work out the cells of a block's prints in one vector loop: twice the cell's number, plus 1 for
 * buyers. False when the block and the open bar may not fit rows of row_ticks.
 */
static bool find_cells(uint32_t *restrict cells, const series *s, const rows *r, const columns *c)
{
    const price_table *t = &s->table;
    const bool open = s->bar.trade_count > 0;
    const int64_t low = open ? min_i64(s->bar.low_ticks, r->low_ticks) : r->low_ticks;
    const int64_t high = open ? max_i64(s->bar.high_ticks, r->high_ticks) : r->high_ticks;
    if (t->fold != 0 || t->row_ticks >= NARROW_TICKS || high - low >= NARROW_TICKS / 2 ||
        price_table_row(t, high) - price_table_row(t, low) > t->mask)
        return false;
    /* As in price_table_row, for numbers below 2^30 that count from a row's start. */
    const int64_t first = price_table_row(t, r->low_ticks);
    const uint32_t start = (uint32_t)(r->low_ticks - first * t->row_ticks);
    const uint32_t reciprocal =
        (uint32_t)((((uint64_t)1 << (31 + t->shift)) / (uint64_t)t->row_ticks) + 1);
    const uint32_t shift = (uint32_t)(31 + t->shift), mask = (uint32_t)t->mask;
    const uint32_t number = (uint32_t)first;
    const int32_t *restrict above = c->above;
    const int8_t *restrict side = r->side;
    for (size_t i = 0; i < r->count; i++) {
        const uint64_t away = (uint32_t)above[i] + start;
        const uint32_t row = number + (uint32_t)((away * reciprocal) >> shift);
        cells[i] = 2 * (row & mask) + (side[i] > 0);
    }
    return true;
}

/* ---- bars */

/* A bar as it is built; most and least are the extremes of its delta after each print. */
typedef struct open_bar {
    int64_t ts_us, open, high, low, lots, delta, most, least, trades;
    uint64_t first_input, sequence;
    i128 notional;
} open_bar;

/* Every field by itself: a copy of the whole would wait for the stores that have just made it. */
ALWAYS_INLINE void write_bar(flow_bar *out, const open_bar *bar, const rows *r, size_t end)
{
    out->ts_us = bar->ts_us;
    out->first_input = bar->first_input;
    out->open_ticks = bar->open;
    out->high_ticks = bar->high;
    out->low_ticks = bar->low;
    out->buy_lots = (bar->lots + bar->delta) / 2;
    out->sell_lots = (bar->lots - bar->delta) / 2;
    out->trade_count = bar->trades;
    out->notional_ticklots.lo = (uint64_t)bar->notional;
    out->notional_ticklots.hi = (int64_t)(bar->notional >> 64);
    out->sequence = bar->sequence;
    if (end == 0) return; /* no print of this block lies in it */
    out->last_ts_us = r->ts_us[end - 1];
    out->last_input = r->input + end;
    out->close_ticks = r->price_ticks[end - 1];
}

ALWAYS_INLINE open_bar open_bar_of(const series *s)
{
    const flow_bar *bar = &s->bar;
    return (open_bar){
        .ts_us = bar->ts_us,
        .open = bar->open_ticks,
        .high = bar->high_ticks,
        .low = bar->low_ticks,
        .lots = bar->buy_lots + bar->sell_lots,
        .delta = bar->buy_lots - bar->sell_lots,
        .most = s->max_delta_lots,
        .least = s->min_delta_lots,
        .trades = bar->trade_count,
        .first_input = bar->first_input,
        .sequence = bar->sequence,
        .notional = i128_of(bar->notional_ticklots),
    };
}

/* Start a bar with row `row`; c is null without footprints. */
ALWAYS_INLINE void start_bar(open_bar *bar, const rows *r, const columns *c, size_t row)
{
    bar->open = c ? r->low_ticks + c->above[row] : r->price_ticks[row];
    bar->high = bar->low = bar->open;
    bar->lots = bar->delta = bar->trades = 0;
    bar->first_input = r->input + row + 1;
    bar->most = INT64_MIN;
    bar->least = INT64_MAX;
    bar->notional = 0;
}

ALWAYS_INLINE void add_part(open_bar *bar, const part *p, size_t from)
{
    if (UNLIKELY(p->end == from)) return;
    bar->high = max_i64(bar->high, p->high_ticks);
    bar->low = min_i64(bar->low, p->low_ticks);
    bar->lots += p->lots;
    bar->delta += p->delta;
    bar->notional += (i128)p->product;
    bar->trades += (int64_t)(p->end - from);
}

/*
 * Add rows from `from` on to a bar with a footprint until it ends; returns the row behind the last
 * one. One loop does all that differences of running sums cannot give: the end of each loop is a
 * wrong guess of the processor for each bar.
 */
ALWAYS_INLINE size_t add_with_cells(open_bar *bar, const rows *r, const columns *c, size_t from,
                                    int64_t end_us, int64_t *cells, const uint32_t *indexes)
{
    const int64_t *restrict ts = r->ts_us, *restrict qty = r->qty_lots;
    const int64_t *restrict delta = c->delta + 1;
    int64_t most = INT64_MIN, least = INT64_MAX, lots = 0;
    int32_t high = INT32_MIN, low = INT32_MAX;
    size_t i = from;
    for (; i < r->count && ts[i] < end_us; i++) {
        const int32_t price = c->above[i];
        const int64_t q = qty[i], d = delta[i];
        high = price > high ? price : high;
        low = price < low ? price : low;
        lots += q;
        cells[indexes[i]] += q;
        most = max_i64(most, d);
        least = min_i64(least, d);
    }
    if (UNLIKELY(i == from)) return i;
    const int64_t before = bar->delta - c->delta[from];
    bar->most = max_i64(bar->most, before + most);
    bar->least = min_i64(bar->least, before + least);
    bar->high = max_i64(bar->high, r->low_ticks + high);
    bar->low = min_i64(bar->low, r->low_ticks + low);
    bar->lots += lots;
    bar->delta = before + c->delta[i];
    bar->notional += (i128)(c->product[i] - c->product[from]);
    bar->trades += (int64_t)(i - from);
    return i;
}

/* Put a bar out that ended before row `end`. */
ALWAYS_INLINE flow_bar *put_bar(series *s, const open_bar *bar, const rows *r, size_t end)
{
    flow_bar *out = &s->bars.items[s->bars.tail++];
    write_bar(out, bar, r, end);
    if (UNLIKELY(end == 0)) {
        out->last_ts_us = s->bar.last_ts_us;
        out->last_input = s->bar.last_input;
        out->close_ticks = s->bar.close_ticks;
    }
    s->closed_buy_lots += out->buy_lots;
    s->closed_sell_lots += out->sell_lots;
    s->closed_notional += bar->notional;
    return out;
}

/* Take up the open bar of a series, or start one with the first row. */
ALWAYS_INLINE void resume_bar(open_bar *bar, const series *s, const rows *r, const columns *c)
{
    *bar = open_bar_of(s);
    if (bar->trades > 0) return;
    bar->ts_us = r->ts_us[0] / s->config.threshold * s->config.threshold;
    start_bar(bar, r, c, 0);
}

/* Start the bar that row `row` lies in, behind the one that has been put out. */
ALWAYS_INLINE void next_bar(open_bar *bar, const rows *r, const columns *c, size_t row,
                            int64_t span_us)
{
    bar->ts_us = next_end(bar->ts_us + span_us, r->ts_us[row], span_us) - span_us;
    bar->sequence++;
    start_bar(bar, r, c, row);
}

ALWAYS_INLINE void keep_bar(series *s, const open_bar *bar, const rows *r)
{
    write_bar(&s->bar, bar, r, r->count);
    s->max_delta_lots = bar->most;
    s->min_delta_lots = bar->least;
}

static void add_plain(series *s, const rows *r)
{
    const int64_t span_us = s->config.threshold;
    part parts[BLOCK_ROWS + 1];
    open_bar bar;
    resume_bar(&bar, s, r, NULL);
    const size_t last = find_parts(parts, r, bar.ts_us + span_us, span_us) - 1;
    size_t from = 0;
    for (size_t n = 0; n < last; n++) {
        add_part(&bar, &parts[n], from);
        from = parts[n].end;
        put_bar(s, &bar, r, from);
        next_bar(&bar, r, NULL, from, span_us);
    }
    add_part(&bar, &parts[last], from);
    keep_bar(s, &bar, r);
}

static void add_with_footprints(series *s, const rows *r, const columns *c, const uint32_t *indexes)
{
    const int64_t span_us = s->config.threshold;
    int64_t *const cells = s->table.cells[0].lots;
    open_bar bar;
    size_t row = 0;
    resume_bar(&bar, s, r, c);
    for (;;) {
        row = add_with_cells(&bar, r, c, row, bar.ts_us + span_us, cells, indexes);
        if (row == r->count) break;
        const flow_bar *out = put_bar(s, &bar, r, row);
        series_put_footprint(s, out, bar.most, bar.least);
        next_bar(&bar, r, c, row, span_us);
    }
    keep_bar(s, &bar, r);
}

void time_bars_add(series *s, const rows *r, const columns *c)
{
    uint32_t indexes[BLOCK_ROWS];
    if (!series_has_footprints(s)) {
        add_plain(s, r);
    } else if (find_cells(indexes, s, r, c)) {
        add_with_footprints(s, r, c, indexes);
    } else {
        /* Rows may have to become wider at any print. */
        for (size_t i = 0; i < r->count; i++) {
            const print trade = {r->ts_us[i], r->price_ticks[i], r->qty_lots[i], r->side[i]};
            series_print(s, &trade, r->input + i + 1, trade.ts_us);
        }
    }
}
