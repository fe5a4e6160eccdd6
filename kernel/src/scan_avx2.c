/* The passes for AVX2: four numbers at a time, chosen at run time. */
#include "scan_internal.h"

#if HAS_AVX2
#include <immintrin.h>
#include <string.h> /* memcpy */

#define LANES 4
#define FIND_VECTORS 4 /* looked at before one branch */
#define SIDES 32       /* in a vector */
#define LINE_ROWS 8    /* int64_t in a cache line */
#define AHEAD_BYTES 2048

/* The volume of so many rows of so many bits stays within 62 bits. */
#define SUM_ROWS 1024
#define SUM_LOTS_BITS 52

AVX2 ALWAYS_INLINE __m256i load(const int64_t *from)
{
    return _mm256_loadu_si256((const __m256i *)from);
}

/* Have a line fetched that is read soon, or not at all: an address never does harm here. */
AVX2 ALWAYS_INLINE void fetch_ahead(const int64_t *from)
{
    _mm_prefetch((const char *)((uintptr_t)from + AHEAD_BYTES), _MM_HINT_T0);
}

AVX2 ALWAYS_INLINE __m256i min_of(__m256i a, __m256i b)
{
    return _mm256_blendv_epi8(a, b, _mm256_cmpgt_epi64(a, b));
}

AVX2 ALWAYS_INLINE __m256i max_of(__m256i a, __m256i b)
{
    return _mm256_blendv_epi8(a, b, _mm256_cmpgt_epi64(b, a));
}

/* All ones in lanes whose entry touches; the last entry before a time is `before`. */
AVX2 ALWAYS_INLINE __m256i touches(const int64_t *low, const int64_t *high, const int64_t *us,
                                   size_t at, __m256i floor, __m256i ceiling, __m256i before)
{
    __m256i found = _mm256_or_si256(_mm256_cmpgt_epi64(floor, load(low + at)),
                                    _mm256_cmpgt_epi64(load(high + at), ceiling));
    if (us != NULL) found = _mm256_or_si256(found, _mm256_cmpgt_epi64(load(us + at), before));
    return found;
}

/* Inlined once for each kind of view, so that nothing is loaded or compared in vain. */
AVX2 ALWAYS_INLINE size_t find_first(const int64_t *low, const int64_t *high, const int64_t *us,
                                     size_t count, const flow_bounds *bounds)
{
    const __m256i floor = _mm256_set1_epi64x(bounds->low_ticks);
    const __m256i ceiling = _mm256_set1_epi64x(bounds->high_ticks);
    const __m256i before = _mm256_set1_epi64x(us != NULL ? bounds->until_us - 1 : 0);
    size_t at = 0;
    for (; at + LANES * FIND_VECTORS <= count; at += LANES * FIND_VECTORS) {
        __m256i found[FIND_VECTORS];
        for (size_t v = 0; v < FIND_VECTORS; v++)
            found[v] = touches(low, high, us, at + v * LANES, floor, ceiling, before);
        const __m256i any = _mm256_or_si256(_mm256_or_si256(found[0], found[1]),
                                            _mm256_or_si256(found[2], found[3]));
        if (_mm256_testz_si256(any, any)) continue;
        unsigned rows = 0;
        for (size_t v = 0; v < FIND_VECTORS; v++)
            rows |= (unsigned)_mm256_movemask_pd(_mm256_castsi256_pd(found[v])) << (v * LANES);
        return at + (size_t)__builtin_ctz(rows);
    }
    const scan_view rest = {low + at, high + at, us != NULL ? us + at : NULL, count - at};
    return at + scan_find_portable(&rest, bounds);
}

AVX2 size_t scan_find_avx2(const scan_view *view, const flow_bounds *bounds)
{
    const int64_t *low = view->low, *high = view->high, *us = view->us;
    if (us != NULL && bounds->until_us == INT64_MIN) return 0;
    if (low == high)
        return us != NULL ? find_first(low, low, us, view->count, bounds)
                          : find_first(low, low, NULL, view->count, bounds);
    return us != NULL ? find_first(low, high, us, view->count, bounds)
                      : find_first(low, high, NULL, view->count, bounds);
}

AVX2 void scan_extremes_avx2(const int64_t *ts_us, const int64_t *price_ticks, size_t count,
                             int64_t *low_out, int64_t *high_out, int64_t *latest_out)
{
    scan_block_extremes(ts_us, price_ticks, count, low_out, high_out, latest_out);
}

AVX2 ALWAYS_INLINE uint64_t lane_sum(__m256i lanes)
{
    uint64_t values[LANES];
    memcpy(values, &lanes, sizeof values);
    return values[0] + values[1] + values[2] + values[3];
}

AVX2 ALWAYS_INLINE int64_t lane_min(__m256i lanes)
{
    int64_t values[LANES], found = INT64_MAX;
    memcpy(values, &lanes, sizeof values);
    for (size_t i = 0; i < LANES; i++)
        found = min_i64(found, values[i]);
    return found;
}

AVX2 ALWAYS_INLINE int64_t lane_max(__m256i lanes)
{
    int64_t values[LANES], found = INT64_MIN;
    memcpy(values, &lanes, sizeof values);
    for (size_t i = 0; i < LANES; i++)
        found = max_i64(found, values[i]);
    return found;
}

/*
 * Add a block of a whole number of SIDES rows, at most SUM_ROWS; false, and nothing is added, when
 * its sums might leave 64 bits or a quantity or side is none. Products are made of 32-bit halves
 * modulo 2^64, and the sum of them all is tested to lie below that.
 */
AVX2 ALWAYS_INLINE bool add_block(scan_sums *sums, const scan_columns *columns, size_t at,
                                  size_t rows, const int64_t *ts)
{
    const __m256i zero = _mm256_setzero_si256(), minus_one = _mm256_set1_epi64x(-1);
    const int64_t *price = columns->price_ticks + at, *qty = columns->qty_lots + at;
    const int8_t *side = columns->side + at;
    __m256i low = _mm256_set1_epi64x(INT64_MAX), high = _mm256_set1_epi64x(INT64_MIN);
    __m256i latest = high, good_sides = minus_one, qty_bits = zero;
    __m256i lots = zero, sold = zero, direct = zero, crossed = zero;
    for (size_t i = 0; i < rows; i += SIDES) {
        const __m256i sides = _mm256_loadu_si256((const __m256i *)(side + i));
        const __m256i ones = _mm256_cmpeq_epi8(_mm256_abs_epi8(sides), _mm256_set1_epi8(1));
        good_sides = _mm256_and_si256(good_sides, ones);
        for (size_t j = i; j < i + SIDES; j += LINE_ROWS) {
            fetch_ahead(price + j);
            fetch_ahead(qty + j);
        }
        for (size_t j = i; j < i + SIDES; j += LANES) {
            int32_t four_sides;
            memcpy(&four_sides, side + j, sizeof four_sides);
            const __m256i s = _mm256_cvtepi8_epi64(_mm_cvtsi32_si128(four_sides));
            const __m256i p = load(price + j), q = load(qty + j);
            const __m256i below = _mm256_add_epi64(q, minus_one); /* 0 lots become 2^64 - 1 */
            qty_bits = _mm256_or_si256(qty_bits, below);
            lots = _mm256_add_epi64(lots, below);
            sold = _mm256_add_epi64(sold, _mm256_and_si256(q, _mm256_cmpgt_epi64(zero, s)));
            low = min_of(low, p);
            high = max_of(high, p);
            direct = _mm256_add_epi64(direct, _mm256_mul_epu32(p, q));
            crossed = _mm256_add_epi64(crossed, _mm256_mul_epu32(_mm256_srli_epi64(p, 32), q));
            crossed = _mm256_add_epi64(crossed, _mm256_mul_epu32(p, _mm256_srli_epi64(q, 32)));
            if (ts != NULL) latest = max_of(latest, load(ts + at + j));
        }
    }
    const __m256i large = _mm256_srli_epi64(qty_bits, SUM_LOTS_BITS);
    const int64_t high_ticks = lane_max(high);
    if (!_mm256_testz_si256(large, large) || _mm256_movemask_epi8(good_sides) != -1) return false;
    const uint64_t block_lots = lane_sum(lots) + rows;
    if ((u128)(uint64_t)high_ticks * block_lots > UINT64_MAX) return false;
    sums->low_ticks = min_i64(sums->low_ticks, lane_min(low));
    sums->high_ticks = max_i64(sums->high_ticks, high_ticks);
    sums->lots += block_lots;
    sums->sell_lots += lane_sum(sold);
    sums->notional += lane_sum(direct) + (lane_sum(crossed) << 32);
    if (ts != NULL) sums->latest_us = max_i64(sums->latest_us, lane_max(latest));
    return true;
}

AVX2 void scan_add_avx2(scan_sums *sums, const scan_columns *columns, size_t start, size_t stop)
{
    const int64_t *ts = columns->ts_us;
    while (start < stop) {
        const size_t left = stop - start;
        const size_t whole = left < SUM_ROWS ? left / SIDES * SIDES : SUM_ROWS;
        const size_t rows = whole > 0 ? whole : left;
        const bool added = whole > 0 && (ts != NULL ? add_block(sums, columns, start, rows, ts)
                                                    : add_block(sums, columns, start, rows, NULL));
        if (!added) scan_add_portable(sums, columns, start, start + rows);
        start += rows;
    }
}
#endif
