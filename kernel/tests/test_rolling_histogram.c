/* The rolling histogram against sorting the values it should hold. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../src/rolling_histogram.h"
#include "tests.h"

#define VALUES 5000

static int compare(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* The bucket bound at the exact quantile of the last values, by sorting them. */
static int64_t expected(const int64_t *values, size_t count, int64_t ppm)
{
    static int64_t sorted[VALUES];
    if (count == 0) return 0;
    memcpy(sorted, values, count * sizeof *sorted);
    qsort(sorted, count, sizeof *sorted, compare);
    size_t rank = (size_t)(((uint64_t)ppm * count + 999999) / 1000000);
    return histogram_bound_of(histogram_bucket_of(sorted[rank - 1]));
}

static void test_buckets_are_in_order_and_narrow(void)
{
    EXPECT(histogram_bucket_of(INT64_MAX) == HISTOGRAM_BUCKETS - 1);
    EXPECT(histogram_bound_of(HISTOGRAM_BUCKETS - 1) == INT64_MAX);
    for (size_t bucket = 1; bucket < HISTOGRAM_BUCKETS; bucket++) {
        int64_t bound = histogram_bound_of(bucket), before = histogram_bound_of(bucket - 1);
        EXPECT(bound > before);
        EXPECT(histogram_bucket_of(bound) == bucket);
        EXPECT(histogram_bucket_of(before + 1) == bucket);
        EXPECT(bound - (before + 1) <= (before + 1) / 8);
    }
}

static void test_quantiles_equal_sorting(size_t capacity, int64_t ppm)
{
    static int64_t values[VALUES];
    static uint8_t state[VALUES * 8], again[VALUES * 8];
    rolling_histogram h, copy;
    uint64_t seed = 88172645463325252u;
    EXPECT(rolling_histogram_init(&h, (int64_t)capacity, ppm));
    for (size_t i = 0; i < VALUES; i++) {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        values[i] = (int64_t)(seed >> 1) >> (seed % 61);
        rolling_histogram_add(&h, values[i]);
        size_t kept = i + 1 < capacity ? i + 1 : capacity;
        if (i % 7 == 0 || i < 20) {
            EXPECT(rolling_histogram_tracked(&h) == expected(values + i + 1 - kept, kept, ppm));
            EXPECT(rolling_histogram_quantile(&h, 300000) ==
                   expected(values + i + 1 - kept, kept, 300000));
        }
    }
    writer w = {state, 0};
    rolling_histogram_save(&h, &w);
    reader r = {state, 0, w.at, false};
    EXPECT(rolling_histogram_init(&copy, (int64_t)capacity, ppm));
    EXPECT(rolling_histogram_load(&copy, &r) && r.at == w.at);
    for (size_t i = 0; i < 100; i++) {
        rolling_histogram_add(&h, values[i]);
        rolling_histogram_add(&copy, values[i]);
        EXPECT(rolling_histogram_tracked(&h) == rolling_histogram_tracked(&copy));
    }
    writer one = {state, 0}, other = {again, 0};
    rolling_histogram_save(&h, &one);
    rolling_histogram_save(&copy, &other);
    EXPECT(one.at == other.at && memcmp(state, again, one.at) == 0);
    rolling_histogram_free(&h);
    rolling_histogram_free(&copy);
}

int main(void)
{
    test_buckets_are_in_order_and_narrow();
    test_quantiles_equal_sorting(1, 500000);
    test_quantiles_equal_sorting(7, 1);
    test_quantiles_equal_sorting(100, 950000);
    test_quantiles_equal_sorting(4096, 990000);
    test_quantiles_equal_sorting(VALUES, 1000000);
    printf(failures ? "%d failed\n" : "rolling_histogram: all good\n", failures);
    return failures ? 1 : 0;
}
