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
        s.low_ticks = min_i64(s.low_ticks, p);
        s.high_ticks = max_i64(s.high_ticks, p);
        s.bad_qty |= (q < 1) | (q > FLOW_QTY_LOTS_MAX);
        s.bad_side |= (side[i] != 1) & (side[i] != -1);
        s.lots += (uint64_t)q;
        s.sell_lots += (uint64_t)q & sold;
        s.notional += (u128)(uint64_t)p * (uint64_t)q;
    }
    for (size_t i = start; ts != NULL && i < stop; i++)
        s.latest_us = max_i64(s.latest_us, ts[i]);
    *sums = s;
}

flow_status scan_sums_end(const scan_sums *sums, size_t count, bool timed, flow_totals *out)
{
    if (count == 0) {
        *out = (flow_totals){0};
        return FLOW_OK;
    }
    RETURN_IF(!price_is_valid(sums->low_ticks) || !price_is_valid(sums->high_ticks),
              FLOW_BAD_PRICE);
    RETURN_IF(sums->bad_qty, FLOW_BAD_QTY);
    RETURN_IF(sums->bad_side, FLOW_BAD_SIDE);
    RETURN_IF(sums->lots > INT64_MAX, FLOW_OVERFLOW);
    *out = (flow_totals){
        .latest_us = timed ? sums->latest_us : 0,
        .low_ticks = sums->low_ticks,
        .high_ticks = sums->high_ticks,
        .buy_lots = (int64_t)(sums->lots - sums->sell_lots),
        .sell_lots = (int64_t)sums->sell_lots,
        .notional_ticklots = i128_pair((i128)sums->notional),
    };
    return FLOW_OK;
}

flow_status flow_sums(flow_cpu cpu, const int64_t *ts_us, const int64_t *price_ticks,
                      const int64_t *qty_lots, const int8_t *side, size_t count, flow_totals *out)
{
    const bool missing = price_ticks == NULL || qty_lots == NULL || side == NULL;
    RETURN_IF(out == NULL || (count > 0 && missing), FLOW_NULL_POINTER);
    const scan_columns columns = {ts_us, price_ticks, qty_lots, side};
    scan_sums sums;
    scan_sums_start(&sums);
#if HAS_AVX2
    if (cpu == FLOW_CPU_AVX2)
        scan_add_avx2(&sums, &columns, 0, count);
    else
#else
    (void)cpu;
#endif
        scan_add_portable(&sums, &columns, 0, count);
    return scan_sums_end(&sums, count, ts_us != NULL, out);
}
