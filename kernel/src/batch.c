/* The check that columns of trades pass once, before any of them is applied. */
#include <stdatomic.h> /* atomic_int */

#include "internal.h"

static flow_status check_row(const flow_batch *b, size_t row)
{
    if (b->ts_us[row] < 0 || b->ts_us[row] > FLOW_TS_US_MAX) return FLOW_BAD_TIME;
    if (!price_is_valid(b->price_ticks[row])) return FLOW_BAD_PRICE;
    if (b->qty_lots[row] < 1 || b->qty_lots[row] > FLOW_QTY_LOTS_MAX) return FLOW_BAD_QTY;
    if (b->side[row] != 1 && b->side[row] != -1) return FLOW_BAD_SIDE;
    return FLOW_OK;
}

/* Rows summed at once: their quantities, at most 2^56 each, stay within 64 bits. */
#define CHECK_BLOCK 64

/* What is said of the rows before one. */
typedef struct findings {
    i128 lots;
    int64_t last_us;
    uint64_t falls; /* its highest bit: a time has fallen */
} findings;

/* Rows from `at` on as far as they are good, CHECK_BLOCK of them at a time. */
ALWAYS_INLINE size_t pass_good(const flow_batch *b, findings *found)
{
    const int64_t *restrict ts = b->ts_us, *restrict price = b->price_ticks;
    const int64_t *restrict qty = b->qty_lots;
    const int8_t *restrict side = b->side;
    const uint64_t ts_max = (uint64_t)FLOW_TS_US_MAX;
    size_t at = 0;
    while (at < b->count) {
        const size_t stop = b->count - at < CHECK_BLOCK ? b->count : at + CHECK_BLOCK;
        /* A number below 1 wraps to one with high bits set. */
        uint64_t ts_bits = 0, price_bits = 0, qty_bits = 0, sum = 0;
        uint64_t falls = (uint64_t)ts[at] - (uint64_t)found->last_us;
        uint8_t bad_sides = 0;
        for (size_t i = at; i < stop; i++) {
            ts_bits |= (uint64_t)ts[i];
            price_bits |= (uint64_t)price[i] - 1;
            qty_bits |= (uint64_t)qty[i] - 1;
            sum += (uint64_t)qty[i];
        }
        for (size_t i = at + 1; i < stop; i++)
            falls |= (uint64_t)ts[i] - (uint64_t)ts[i - 1];
        for (size_t i = at; i < stop; i++)
            bad_sides |= (uint8_t)((side[i] != 1) & (side[i] != -1));
        if (ts_bits >= ts_max || price_bits >= (uint64_t)FLOW_PRICE_TICKS_MAX ||
            qty_bits >= (uint64_t)FLOW_QTY_LOTS_MAX || bad_sides)
            for (size_t i = at; i < stop; i++)
                if (check_row(b, i) != FLOW_OK) return i;
        found->lots += (i128)sum;
        if (found->lots > INT64_MAX) return at;
        found->falls |= falls;
        found->last_us = ts[stop - 1];
        at = stop;
    }
    return at;
}

#if HAS_AVX2
AVX2 static size_t pass_good_avx2(const flow_batch *b, findings *found)
{
    return pass_good(b, found);
}

/* Asked for once: the answer costs as much as checking a thousand rows. */
static bool has_avx2(void)
{
    static atomic_int known = -1;
    int cpu = atomic_load_explicit(&known, memory_order_relaxed);
    if (cpu < 0) atomic_store_explicit(&known, cpu = (int)flow_cpu_here(), memory_order_relaxed);
    return cpu == FLOW_CPU_AVX2;
}
#endif

static size_t pass_good_here(const flow_batch *b, findings *found)
{
#if HAS_AVX2
    if (has_avx2()) return pass_good_avx2(b, found);
#endif
    return pass_good(b, found);
}

flow_status flow_check_batch(flow_batch *batch, size_t *bad_row_out)
{
    RETURN_IF(!batch || !bad_row_out, FLOW_NULL_POINTER);
    *bad_row_out = 0;
    batch->total_lots = 0;
    batch->market_last = 0;
    batch->ascending = 1;
    RETURN_IF(batch->count == 0, FLOW_OK);
    RETURN_IF(!batch->ts_us || !batch->price_ticks || !batch->qty_lots || !batch->side,
              FLOW_NULL_POINTER);

    findings found = {.last_us = batch->ts_us[0]};
    const size_t good = pass_good_here(batch, &found);
    if (good < batch->count) {
        RETURN_IF(found.lots > INT64_MAX, FLOW_OVERFLOW);
        *bad_row_out = good;
        return check_row(batch, good);
    }
    if (batch->market) {
        uint8_t last = 0;
        for (size_t i = 0; i < batch->count; i++)
            last = batch->market[i] > last ? batch->market[i] : last;
        batch->market_last = last;
    }
    batch->ascending = found.falls >> 63 == 0;
    batch->total_lots = (int64_t)found.lots;
    return FLOW_OK;
}
