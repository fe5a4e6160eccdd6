/*
 * Bubbles of a block: first where they start, then their records.
 *
 * Whether a print joins the bubble before it is close to a coin toss, so as few branches as can be
 * hang on that. A change of side or a long silence starts a bubble for certain, and within most
 * runs between them no other does: one comparison of many prices tells.
 */
#include "fastpath.h"

#if HAS_AVX2
#include <immintrin.h>
#endif

#define WORD_ROWS 64
#define LOOK_AHEAD 16 /* rows compared at once; few runs are longer */

/* A bit for each of the next LOOK_AHEAD rows whose price lies further than the band from `first`.
 */
typedef uint32_t outsiders(const int32_t *above, int32_t first, int32_t band);

ALWAYS_INLINE uint32_t outside(const int32_t *above, int32_t first, int32_t band)
{
    uint32_t bits = 0;
    for (uint32_t i = 0; i < LOOK_AHEAD; i++) {
        const int32_t away = above[i] - first;
        bits |= (uint32_t)((away > band) | (away < -band)) << i;
    }
    return bits;
}

#if HAS_AVX2
AVX2 ALWAYS_INLINE uint32_t outside_eight(const int32_t *above, __m256i first, __m256i band)
{
    const __m256i price = _mm256_loadu_si256((const __m256i *)above);
    const __m256i away = _mm256_abs_epi32(_mm256_sub_epi32(price, first));
    return (uint32_t)_mm256_movemask_ps(_mm256_castsi256_ps(_mm256_cmpgt_epi32(away, band)));
}

AVX2 ALWAYS_INLINE uint32_t outside_avx2(const int32_t *above, int32_t first, int32_t band)
{
    const __m256i f = _mm256_set1_epi32(first), b = _mm256_set1_epi32(band);
    return outside_eight(above, f, b) | outside_eight(above + 8, f, b) << 8;
}
#endif

/* Rows between which runs lie: row 0, those at which a bubble starts for certain, the block's end.
 */
typedef struct run_bounds {
    uint16_t rows[BLOCK_ROWS + 2];
} run_bounds;

/* A bit for each of WORD_ROWS rows from `at`, not the first one, on: other side, or later than the
 * window after the row before. */
typedef uint64_t breaks(const rows *r, size_t at, int64_t window_us);

ALWAYS_INLINE uint64_t break_at(const rows *r, size_t row, int64_t window_us)
{
    return (r->side[row] != r->side[row - 1]) | (r->ts_us[row] - r->ts_us[row - 1] > window_us);
}

ALWAYS_INLINE uint64_t breaks_from(const rows *r, size_t at, int64_t window_us)
{
    uint64_t bits = 0;
    for (size_t i = 0; i < WORD_ROWS; i++)
        bits |= break_at(r, at + i, window_us) << i;
    return bits;
}

#if HAS_AVX2
AVX2 ALWAYS_INLINE uint64_t breaks_avx2(const rows *r, size_t at, int64_t window_us)
{
    const __m256i most = _mm256_set1_epi64x(window_us);
    uint64_t same = 0, late = 0;
    for (size_t i = 0; i < WORD_ROWS; i += 32) {
        const __m256i now = _mm256_loadu_si256((const __m256i *)(r->side + at + i));
        const __m256i before = _mm256_loadu_si256((const __m256i *)(r->side + at + i - 1));
        same |= (uint64_t)(uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(now, before)) << i;
    }
    for (size_t i = 0; i < WORD_ROWS; i += 4) {
        const int64_t *ts = r->ts_us + at + i;
        const __m256i silence = _mm256_sub_epi64(_mm256_loadu_si256((const __m256i *)ts),
                                                 _mm256_loadu_si256((const __m256i *)(ts - 1)));
        const __m256i is_late = _mm256_cmpgt_epi64(silence, most);
        late |= (uint64_t)(uint32_t)_mm256_movemask_pd(_mm256_castsi256_pd(is_late)) << i;
    }
    return ~same | late;
}
#endif

ALWAYS_INLINE void find_runs(run_bounds *runs, const rows *r, int64_t window_us, breaks *look)
{
    size_t n = 0, at = 1;
    runs->rows[n++] = 0;
    for (; at + WORD_ROWS <= r->count; at += WORD_ROWS)
        for (uint64_t bits = look(r, at, window_us); bits != 0; bits &= bits - 1)
            runs->rows[n++] = (uint16_t)(at + (size_t)__builtin_ctzll(bits));
    for (; at < r->count; at++) {
        runs->rows[n] = (uint16_t)at;
        n += break_at(r, at, window_us);
    }
    runs->rows[n] = (uint16_t)r->count;
}

/* The first row behind `row` that does not join the bubble which starts there; all up to `end` are
 * of one side. */
ALWAYS_INLINE size_t bubble_end(const rows *r, const columns *c, size_t row, size_t end,
                                int32_t band, int64_t window_us, outsiders *look)
{
    const int32_t first = c->above[row];
    const int64_t deadline_us = r->ts_us[row] + window_us;
    size_t at = row;
    for (; at < end; at += LOOK_AHEAD) {
        const uint32_t bits = look(c->above + at, first, band);
        if (bits != 0) {
            at += (size_t)__builtin_ctz(bits);
            break;
        }
    }
    if (at > end) at = end;
    while (UNLIKELY(r->ts_us[at - 1] > deadline_us) && at > row + 1)
        at--;
    return at;
}

/* The first row that does not join the open bubble. */
static size_t open_bubble_end(const orderflow *f, const rows *r, size_t end)
{
    const flow_bubble *bubble = &f->bubble;
    const int64_t band_ticks = f->config->bubble_band_ticks;
    const int64_t deadline_us = bubble->ts_us + f->config->bubble_window_us;
    size_t row = 0;
    if (bubble->trade_count == 0 || bubble->side != r->side[0]) return 0;
    for (; row < end && r->ts_us[row] <= deadline_us; row++) {
        const int64_t away = r->price_ticks[row] - bubble->first_ticks;
        if (away > band_ticks || away < -band_ticks) break;
    }
    return row;
}

ALWAYS_INLINE void find(const orderflow *f, const rows *r, const columns *c, bubble_starts *starts,
                        breaks *look_for_breaks, outsiders *look_for_outsiders)
{
    const int32_t band = (int32_t)min_i64(f->config->bubble_band_ticks, INT32_MAX);
    const int64_t window_us = f->config->bubble_window_us;
    run_bounds runs;
    find_runs(&runs, r, window_us, look_for_breaks);
    size_t row = open_bubble_end(f, r, runs.rows[1]), count = 0;
    for (const uint16_t *end = runs.rows + 1; row < r->count; end++)
        while (row < *end) {
            starts->rows[count++] = (uint16_t)row;
            row = bubble_end(r, c, row, *end, band, window_us, look_for_outsiders);
        }
    starts->rows[count] = (uint16_t)r->count;
    starts->count = count;
}

#if HAS_AVX2
AVX2 static void find_avx2(const orderflow *f, const rows *r, const columns *c,
                           bubble_starts *starts)
{
    find(f, r, c, starts, breaks_avx2, outside_avx2);
}
#endif

void bubbles_find(const orderflow *f, const rows *r, const columns *c, bubble_starts *starts)
{
#if HAS_AVX2
    if (r->cpu == FLOW_CPU_AVX2) {
        find_avx2(f, r, c, starts);
        return;
    }
#endif
    find(f, r, c, starts, breaks_from, outside);
}

/* Add rows [row, end) to the bubble whose first price and time are set. */
ALWAYS_INLINE void extend_bubble(flow_bubble *bubble, const rows *r, const columns *c, size_t row,
                                 size_t end)
{
    const int64_t lots = lots_of_one_side(c, row, end);
    const uint64_t product = c->product[end] - c->product[row];
    bubble->last_ts_us = r->ts_us[end - 1];
    bubble->last_ticks = r->price_ticks[end - 1];
    bubble->qty_lots += lots;
    bubble->offset_ticklots += (int64_t)(product - (uint64_t)bubble->first_ticks * (uint64_t)lots);
    bubble->trade_count += (uint32_t)(end - row);
}

/* Every field by itself: a copy of the whole would wait for the stores that have just made it. */
ALWAYS_INLINE void write_bubble(flow_bubble *out, const rows *r, const columns *c, size_t row,
                                size_t end)
{
    const int64_t lots = lots_of_one_side(c, row, end), first_ticks = r->price_ticks[row];
    const uint64_t product = c->product[end] - c->product[row];
    out->input = r->input + row + 1;
    out->ts_us = r->ts_us[row];
    out->last_ts_us = r->ts_us[end - 1];
    out->first_ticks = first_ticks;
    out->last_ticks = r->price_ticks[end - 1];
    out->qty_lots = lots;
    out->offset_ticklots = (int64_t)(product - (uint64_t)first_ticks * (uint64_t)lots);
    out->threshold_lots = 0;
    out->trade_count = (uint32_t)(end - row);
    out->side = r->side[row];
    out->large = 0;
    out->reserved[0] = out->reserved[1] = 0;
}

/* Close the open bubble where another starts; the last one stays open. */
void bubbles_add(orderflow *f, const rows *r, const columns *c, const bubble_starts *starts)
{
    flow_bubble *const first = f->bubbles.items + f->bubbles.tail, *place = first;
    if (f->bubble.trade_count > 0) {
        if (starts->rows[0] > 0) extend_bubble(&f->bubble, r, c, 0, starts->rows[0]);
        if (starts->count == 0) return;
        *place++ = f->bubble;
    }
    const size_t last = starts->count - 1;
    for (size_t n = 0; n < last; n++)
        write_bubble(place++, r, c, starts->rows[n], starts->rows[n + 1]);
    write_bubble(&f->bubble, r, c, starts->rows[last], starts->rows[last + 1]);
    f->bubbles.tail += (size_t)(place - first);
    for (flow_bubble *closed = first; closed < place; closed++)
        orderflow_measure_bubble(f, closed);
}
