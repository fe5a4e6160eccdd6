/* What all parts need to know of a block. */
#include <string.h> /* memcpy */

#include "fastpath.h"

#if HAS_AVX2
#include <immintrin.h>
#endif

#define NARROW_MAX ((uint64_t)UINT32_MAX)

ALWAYS_INLINE size_t look_over(rows *r, const window *w, int64_t next_us, size_t count)
{
    const int64_t least = max_i64(w->low_ticks, 1);
    const int64_t most = min_i64(w->high_ticks, FLOW_PRICE_TICKS_MAX);
    const int64_t *restrict ts = r->ts_us, *restrict price = r->price_ticks;
    const int64_t *restrict qty = r->qty_lots;
    int64_t now = w->stream_us, low = INT64_MAX, high = 0, lots = 0;
    uint64_t wide = 0;
    size_t at = 0;
    while (at < count) {
        const size_t stop = count - at < BLOCK_PIECE ? count : at + BLOCK_PIECE;
        int64_t piece_low = price[at], piece_high = price[at], piece_lots = 0;
        /* Negative when a time is, or is earlier than the one before: of two that are not
         * negative the difference cannot wrap. */
        uint64_t qty_bits = 0;
        uint64_t late = (uint64_t)ts[at] | ((uint64_t)ts[at] - (uint64_t)now);
        for (size_t i = at + 1; i < stop; i++)
            late |= (uint64_t)ts[i] | ((uint64_t)ts[i] - (uint64_t)ts[i - 1]);
        for (size_t i = at; i < stop; i++) {
            piece_low = min_i64(piece_low, price[i]);
            piece_high = max_i64(piece_high, price[i]);
            piece_lots += qty[i];
            qty_bits |= (uint64_t)qty[i] - 1;
        }
        if (qty_bits >= (uint64_t)FLOW_QTY_LOTS_MAX) break; /* changed behind the check */
        if (late >> 63 || ts[stop - 1] >= next_us || piece_low < least || piece_high > most) break;
        low = min_i64(low, piece_low);
        high = max_i64(high, piece_high);
        lots += piece_lots;
        wide |= qty_bits;
        now = ts[stop - 1];
        at = stop;
    }
    for (; at < count; at++) {
        const int64_t t = ts[at], p = price[at];
        const uint64_t qty_bits = (uint64_t)qty[at] - 1;
        if (t < now || t >= next_us || p < least || p > most ||
            qty_bits >= (uint64_t)FLOW_QTY_LOTS_MAX)
            break;
        low = min_i64(low, p);
        high = max_i64(high, p);
        lots += qty[at];
        wide |= qty_bits;
        now = t;
    }
    r->count = at;
    r->low_ticks = low;
    r->high_ticks = high;
    r->lots = lots;
    r->narrow = (uint64_t)high <= NARROW_MAX && wide < NARROW_MAX;
    return at;
}

/* Prices from the lowest one on; false when one lies outside of what was seen before. */
ALWAYS_INLINE bool fill_prices(int32_t *restrict above, const rows *r)
{
    const int64_t *restrict price = r->price_ticks;
    const int64_t low = r->low_ticks;
    uint32_t most = 0;
    for (size_t i = 0; i < r->count; i++) {
        const uint32_t p = (uint32_t)((uint64_t)price[i] - (uint64_t)low);
        above[i] = (int32_t)p;
        most = p > most ? p : most;
    }
    for (size_t i = 0; i < PADDING; i++)
        above[r->count + i] = 0;
    return most <= (uint32_t)(r->high_ticks - low);
}

/* Sums of the rows before `row` and the ones behind, from what is there for `row`. */
ALWAYS_INLINE void fill_sums(columns *c, const rows *r, size_t row)
{
    const int64_t *restrict price = r->price_ticks, *restrict qty = r->qty_lots;
    int64_t delta = c->delta[row];
    uint64_t product = c->product[row];
    for (size_t i = row; i < r->count; i++) {
        delta += qty[i] * r->side[i];
        product += (uint64_t)price[i] * (uint64_t)qty[i];
        c->delta[i + 1] = delta;
        c->product[i + 1] = product;
    }
}

#if HAS_AVX2
AVX2 static size_t look_over_avx2(rows *r, const window *w, int64_t next_us, size_t count)
{
    return look_over(r, w, next_us, count);
}

AVX2 static bool fill_prices_avx2(int32_t *above, const rows *r) { return fill_prices(above, r); }

/* The sums of each lane and those before it, and of what was before them. */
AVX2 ALWAYS_INLINE __m256i running(__m256i v, __m256i before)
{
    v = _mm256_add_epi64(v, _mm256_slli_si256(v, 8));
    const __m256i low = _mm256_permute2x128_si256(v, v, 0x08); /* the lower half above zeros */
    v = _mm256_add_epi64(v, _mm256_unpackhi_epi64(low, low));
    return _mm256_add_epi64(v, before);
}

/* Prices and quantities are below 2^32. */
AVX2 static void fill_sums_avx2(columns *c, const rows *r)
{
    const __m256i zero = _mm256_setzero_si256();
    __m256i delta = zero, product = zero;
    size_t i = 0;
    for (; i + 4 <= r->count; i += 4) {
        int32_t four_sides;
        memcpy(&four_sides, r->side + i, sizeof four_sides);
        const __m256i q = _mm256_loadu_si256((const __m256i *)(r->qty_lots + i));
        const __m256i p = _mm256_loadu_si256((const __m256i *)(r->price_ticks + i));
        const __m256i sold =
            _mm256_cmpgt_epi64(zero, _mm256_cvtepi8_epi64(_mm_cvtsi32_si128(four_sides)));
        const __m256i signed_lots = _mm256_sub_epi64(_mm256_xor_si256(q, sold), sold);
        delta = running(signed_lots, _mm256_permute4x64_epi64(delta, 0xff));
        product = running(_mm256_mul_epu32(p, q), _mm256_permute4x64_epi64(product, 0xff));
        _mm256_storeu_si256((__m256i *)(c->delta + i + 1), delta);
        _mm256_storeu_si256((__m256i *)(c->product + i + 1), product);
    }
    fill_sums(c, r, i);
}
#endif

size_t rows_look_over(rows *r, const window *w, int64_t next_us, size_t count)
{
#if HAS_AVX2
    if (r->cpu == FLOW_CPU_AVX2) return look_over_avx2(r, w, next_us, count);
#endif
    return look_over(r, w, next_us, count);
}

bool columns_fill(columns *c, const rows *r)
{
    if (r->high_ticks - r->low_ticks > INT32_MAX) return false;
    c->delta[0] = 0;
    c->product[0] = 0;
#if HAS_AVX2
    if (r->cpu == FLOW_CPU_AVX2 && r->narrow) {
        if (!fill_prices_avx2(c->above, r)) return false;
        fill_sums_avx2(c, r);
        return true;
    }
#endif
    if (!fill_prices(c->above, r)) return false;
    fill_sums(c, r, 0);
    return true;
}
