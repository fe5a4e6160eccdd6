/* The check that columns of trades pass once, before any of them is applied. */
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

flow_status flow_check_batch(flow_batch *batch, size_t *bad_row_out)
{
    RETURN_IF(!batch || !bad_row_out, FLOW_NULL_POINTER);
    *bad_row_out = 0;
    batch->total_lots = 0;
    batch->market_last = 0;
    batch->ascending = 1;
    RETURN_IF(batch->count == 0, FLOW_OK);
    const int64_t *restrict ts = batch->ts_us, *restrict price = batch->price_ticks;
    const int64_t *restrict qty = batch->qty_lots;
    const int8_t *restrict side = batch->side;
    RETURN_IF(!ts || !price || !qty || !side, FLOW_NULL_POINTER);

    const uint64_t ts_max = (uint64_t)FLOW_TS_US_MAX;
    i128 total = 0;
    int64_t before = ts[0];
    uint64_t falls = 0;
    for (size_t at = 0; at < batch->count; at += CHECK_BLOCK) {
        size_t stop = batch->count - at < CHECK_BLOCK ? batch->count : at + CHECK_BLOCK;
        /* A number below 1 wraps to one with high bits set. */
        uint64_t ts_bits = 0, price_bits = 0, qty_bits = 0, sum = 0;
        int bad_sides = 0;
        for (size_t i = at; i < stop; i++) {
            ts_bits |= (uint64_t)ts[i];
            price_bits |= (uint64_t)price[i] - 1;
            qty_bits |= (uint64_t)qty[i] - 1;
            sum += (uint64_t)qty[i];
            falls |= (uint64_t)ts[i] - (uint64_t)before;
            before = ts[i];
        }
        for (size_t i = at; i < stop; i++)
            bad_sides |= (side[i] != 1) & (side[i] != -1);
        if (ts_bits >= ts_max || price_bits >= (uint64_t)FLOW_PRICE_TICKS_MAX ||
            qty_bits >= (uint64_t)FLOW_QTY_LOTS_MAX || bad_sides) {
            for (size_t i = at; i < stop; i++) {
                flow_status status = check_row(batch, i);
                if (status != FLOW_OK) {
                    *bad_row_out = i;
                    return status;
                }
            }
        }
        total += (i128)sum;
        RETURN_IF(total > INT64_MAX, FLOW_OVERFLOW);
    }
    if (batch->market) {
        uint8_t last = 0;
        for (size_t i = 0; i < batch->count; i++)
            last = batch->market[i] > last ? batch->market[i] : last;
        batch->market_last = last;
    }
    batch->ascending = falls >> 63 == 0;
    batch->total_lots = (int64_t)total;
    return FLOW_OK;
}
