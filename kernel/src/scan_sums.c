/* The sums: which pass to take, the portable pass, and what is refused. */
#include "scan_internal.h"

void scan_sums_start(scan_sums *sums)
{
    *sums = (scan_sums){
        .latest_us = INT64_MIN,
        .low_ticks = INT64_MAX,
        .high_ticks = INT64_MIN,
    };
}

void scan_add_portable(scan_sums *sums, const scan_columns *columns, size_t start, size_t stop)
{
    const int64_t *ts = columns->ts_us, *price = columns->price_ticks, *qty = columns->qty_lots;
    const int8_t *side = columns->side;
    scan_sums s = *sums;
    for (size_t i = start; i < stop; i++) {
        const int64_t p = price[i], q = qty[i];
        const uint64_t sold = 0 - (uint64_t)(side[i] < 0);
        s.low_ticks = p < s.low_ticks ? p : s.low_ticks;
        s.high_ticks = p > s.high_ticks ? p : s.high_ticks;
        s.bad_qty |= (q < 1) | (q > FLOW_QTY_LOTS_MAX);
        s.bad_side |= (side[i] != 1) & (side[i] != -1);
        s.lots += (uint64_t)q;
        s.sell_lots += (uint64_t)q & sold;
        s.notional += (scan_u128)(uint64_t)p * (uint64_t)q;
    }
    for (size_t i = start; ts != NULL && i < stop; i++)
        s.latest_us = ts[i] > s.latest_us ? ts[i] : s.latest_us;
    *sums = s;
}

flow_status scan_sums_end(const scan_sums *sums, size_t count, bool timed, flow_totals *out)
{
    if (count == 0) {
        *out = (flow_totals){0};
        return FLOW_OK;
    }
    if (sums->low_ticks < 1 || sums->high_ticks > FLOW_PRICE_TICKS_MAX) return FLOW_BAD_PRICE;
    if (sums->bad_qty) return FLOW_BAD_QTY;
    if (sums->bad_side) return FLOW_BAD_SIDE;
    if (sums->lots > INT64_MAX) return FLOW_OVERFLOW;
    *out = (flow_totals){
        .latest_us = timed ? sums->latest_us : 0,
        .low_ticks = sums->low_ticks,
        .high_ticks = sums->high_ticks,
        .buy_lots = (int64_t)(sums->lots - sums->sell_lots),
        .sell_lots = (int64_t)sums->sell_lots,
        .notional_ticklots = {.lo = (uint64_t)sums->notional,
                              .hi = (int64_t)(uint64_t)(sums->notional >> 64)},
    };
    return FLOW_OK;
}

flow_status flow_sums(const int64_t *ts_us, const int64_t *price_ticks, const int64_t *qty_lots,
                      const int8_t *side, size_t count, flow_totals *out)
{
    if (out == NULL) return FLOW_NULL_POINTER;
    if (count > 0 && (price_ticks == NULL || qty_lots == NULL || side == NULL))
        return FLOW_NULL_POINTER;
    const scan_columns columns = {ts_us, price_ticks, qty_lots, side};
    scan_sums sums;
    scan_sums_start(&sums);
#if SCAN_HAS_AVX2
    if (scan_avx2_here())
        scan_add_avx2(&sums, &columns, 0, count);
    else
#endif
        scan_add_portable(&sums, &columns, 0, count);
    return scan_sums_end(&sums, count, ts_us != NULL, out);
}
