/*
 * A plain loop over the orders for each trade, for benchmarks/orders.py to compare with: every
 * resting order is held against every price.
 */
#include <stddef.h>
#include <stdint.h>

/* How often a price would fill one of the orders, buys with side 1 and sells with -1. */
size_t plain_loop(const int64_t *price, size_t count, const int64_t *limit, const int64_t *side,
                  size_t order_count)
{
    size_t fills = 0;
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < order_count; j++)
            if (side[j] > 0 ? price[i] <= limit[j] : price[i] >= limit[j]) fills++;
    return fills;
}
