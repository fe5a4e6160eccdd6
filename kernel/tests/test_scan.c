/*
 * The passes of flow_scan against loops that could not be plainer: every length and alignment, a
 * touch in every place, values from end to end of 64 bits, portable and AVX2 code alike. Columns
 * are copied to the end of their own memory, so that AddressSanitizer sees one byte read too many.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "flow_scan.h"

__extension__ typedef __int128 i128;

#define LENGTHS 200
#define LONG_ROWS 5000
#define BLOCK FLOW_SCAN_BLOCK_ROWS

static int failures;

static const flow_cpu CPUS[] = {FLOW_CPU_PORTABLE, FLOW_CPU_AVX2};
static int cpu_count; /* those that work here */

#define EXPECT(condition) \
    do { \
        if (!(condition)) { \
            if (failures++ < 20) printf("%s:%d: expected %s\n", __FILE__, __LINE__, #condition); \
        } \
    } while (0)

static uint64_t rng_state = 88172645463325252u;

static uint64_t rng(void)
{
    rng_state ^= rng_state << 13;
    rng_state ^= rng_state >> 7;
    rng_state ^= rng_state << 17;
    return rng_state;
}

static size_t below(size_t limit) { return (size_t)(rng() % limit); }

/* A copy of bytes at the very end of an allocation, `skew` bytes off its alignment. */
static void *copied(const void *from, size_t bytes, size_t skew)
{
    char *block = malloc(bytes + skew > 0 ? bytes + skew : 1);
    if (block == NULL) abort();
    if (bytes > 0) memcpy(block + skew, from, bytes);
    return block;
}

static int64_t *column(const int64_t *from, size_t count, size_t skew_rows)
{
    return copied(from, count * sizeof *from, skew_rows * sizeof *from);
}

static const int64_t EDGES[] = {
    INT64_MIN, INT64_MIN + 1, -(1LL << 32),  -1,       0, 1, 2, 0xffffffffLL, 1LL << 32, 1LL << 50,
    1LL << 52, 1LL << 56,     INT64_MAX - 1, INT64_MAX};
#define EDGE_COUNT (sizeof EDGES / sizeof *EDGES)

static int64_t edge(void)
{
    const uint64_t r = rng();
    if (r % 3 == 0) return (int64_t)rng();
    return EDGES[(r >> 8) % EDGE_COUNT];
}

static size_t naive_first(const int64_t *ts, const int64_t *price, size_t start, size_t count,
                          const flow_bounds *bounds)
{
    for (size_t i = start; i < count; i++) {
        if (price[i] < bounds->low_ticks || price[i] > bounds->high_ticks) return i;
        if (ts != NULL && ts[i] >= bounds->until_us) return i;
    }
    return count;
}

/* All ways to search the rows from start on; extremes are of rows that begin `offset` earlier. */
static void check_search(const int64_t *ts, const int64_t *price, size_t start, size_t count,
                         const flow_extremes *extremes, const flow_bounds *bounds)
{
    const size_t timed = naive_first(ts, price, start, count, bounds);
    const size_t untimed = naive_first(NULL, price, start, count, bounds);
    const int64_t *from = price + start, *since = ts + start;
    const size_t rows = count - start;
    const int64_t low = bounds->low_ticks, high = bounds->high_ticks;
    for (int i = 0; i < cpu_count; i++) {
        const flow_cpu cpu = CPUS[i];
        EXPECT(start + flow_first_touch(cpu, from, rows, low, high) == untimed);
        EXPECT(start + flow_first_touch_until(cpu, since, from, rows, bounds) == timed);
        EXPECT(flow_first_touch_blocks(cpu, extremes, ts, price, start, count, bounds) == timed);
        EXPECT(flow_first_touch_blocks(cpu, extremes, NULL, price, start, count, bounds) ==
               untimed);
    }
}

typedef struct blocks {
    int64_t *low, *high, *latest;
    flow_extremes extremes;
} blocks;

static void check_extremes(const int64_t *ts, const int64_t *price, size_t count,
                           const blocks *found)
{
    for (size_t block = 0; block < flow_block_count(0, count); block++) {
        int64_t low = INT64_MAX, high = INT64_MIN, latest = INT64_MIN;
        for (size_t i = block * BLOCK; i < count && i < (block + 1) * BLOCK; i++) {
            if (price[i] < low) low = price[i];
            if (price[i] > high) high = price[i];
            if (ts[i] > latest) latest = ts[i];
        }
        EXPECT(found->low[block] == low && found->high[block] == high);
        EXPECT(found->latest[block] == latest);
    }
}

static blocks blocks_of(const int64_t *ts, const int64_t *price, size_t count)
{
    const size_t bytes = flow_block_count(0, count) * sizeof(int64_t);
    blocks found = {malloc(bytes + 1), malloc(bytes + 1), malloc(bytes + 1), {0}};
    if (found.low == NULL || found.high == NULL || found.latest == NULL) abort();
    for (int i = 0; i < cpu_count; i++) {
        memset(found.low, 1, bytes);
        memset(found.high, 1, bytes);
        memset(found.latest, 1, bytes);
        flow_block_extremes(CPUS[i], ts, price, count, found.low, found.high, found.latest);
        check_extremes(ts, price, count, &found);
    }
    found.extremes = (flow_extremes){found.low, found.high, found.latest, 0};
    return found;
}

static void free_blocks(blocks *found)
{
    free(found->low);
    free(found->high);
    free(found->latest);
}

static void test_searches_of_every_length(void)
{
    int64_t ts[LENGTHS + 1], price[LENGTHS + 1];
    for (size_t count = 0; count <= LENGTHS; count++) {
        for (size_t skew = 0; skew < 4; skew++) {
            for (size_t i = 0; i < count; i++) {
                ts[i] = 1000;
                price[i] = 50;
            }
            int64_t *own_price = column(price, count, skew);
            int64_t *own_ts = column(ts, count, skew);
            int64_t *p = own_price + skew, *t = own_ts + skew;
            const flow_bounds bounds = {50, 50, 1001};
            for (size_t place = 0; place <= count; place++) {
                for (int kind = 0; kind < 3; kind++) {
                    if (place < count && kind == 0) p[place] = 49;
                    if (place < count && kind == 1) p[place] = 51;
                    if (place < count && kind == 2) t[place] = 1001;
                    blocks found = blocks_of(t, p, count);
                    check_search(t, p, count > 0 ? place % count : 0, count, &found.extremes,
                                 &bounds);
                    check_search(t, p, 0, count, &found.extremes, &bounds);
                    EXPECT(naive_first(t, p, 0, count, &bounds) == place);
                    free_blocks(&found);
                    if (place == count) break;
                    p[place] = 50;
                    t[place] = 1000;
                }
            }
            free(own_price);
            free(own_ts);
        }
    }
}

static void test_searches_over_all_values(void)
{
    int64_t ts[64], price[64];
    for (int round = 0; round < 40000; round++) {
        const size_t count = below(64);
        const int64_t common = edge(), moment = edge();
        const bool mixed = round % 4 == 0;
        for (size_t i = 0; i < count; i++) {
            price[i] = mixed || below(24) == 0 ? edge() : common;
            ts[i] = mixed || below(24) == 0 ? edge() : moment;
        }
        flow_bounds bounds = {edge(), edge(), edge()};
        if (round % 2 == 0) bounds.low_ticks = round % 3 == 0 ? common : INT64_MIN;
        if (round % 2 == 0) bounds.high_ticks = round % 5 == 0 ? common : INT64_MAX;
        if (round % 7 == 0) bounds.until_us = moment;
        blocks found = blocks_of(ts, price, count);
        check_search(ts, price, count > 0 ? below(count) : 0, count, &found.extremes, &bounds);
        free_blocks(&found);
    }
}

/* Walks over many blocks, from every kind of start row, also on slices of the blocks' rows. */
static void test_searches_by_blocks(void)
{
    static int64_t ts[LONG_ROWS], price[LONG_ROWS];
    size_t touched_count = 0, missed_count = 0;
    for (int round = 0; round < 400; round++) {
        const size_t whole = LONG_ROWS - below(2 * BLOCK);
        int64_t at = 10000, now = 0;
        for (size_t i = 0; i < whole; i++) {
            const uint64_t r = rng();
            at += (int64_t)(r % 3) - 1;
            now += (int64_t)(r >> 8) % 5 - (r % 50 == 0 ? 40 : 0);
            price[i] = at;
            ts[i] = now;
        }
        blocks found = blocks_of(ts, price, whole);
        for (int search = 0; search < 40; search++) {
            const size_t first = search % 4 == 0 ? 0 : below(whole);
            const size_t count = search % 3 == 0 ? whole - first : below(whole - first + 1);
            size_t start = count > 0 ? below(count) : 0;
            if (search % 5 == 0) start = start / BLOCK * BLOCK;
            const size_t skipped = first / BLOCK;
            const flow_extremes part = {found.low + skipped, found.high + skipped,
                                        found.latest + skipped, first % BLOCK};
            const size_t row = first + start < whole ? first + start : 0;
            const int64_t band = (int64_t)below(120);
            const flow_bounds bounds = {price[row] - band, price[row] + band,
                                        ts[row] + (int64_t)below(20000)};
            check_search(ts + first, price + first, start, count, &part, &bounds);
            if (naive_first(ts + first, price + first, start, count, &bounds) < count)
                touched_count++;
            else
                missed_count++;
        }
        free_blocks(&found);
    }
    EXPECT(touched_count > 1000 && missed_count > 1000);
}

static void test_start_behind_the_rows(void)
{
    const int64_t ts[3] = {1, 2, 3}, price[3] = {5, 5, 5};
    blocks found = blocks_of(ts, price, 3);
    const flow_bounds bounds = {5, 5, 9};
    EXPECT(flow_first_touch_blocks(CPUS[0], &found.extremes, ts, price, 3, 3, &bounds) == 3);
    EXPECT(flow_first_touch_blocks(CPUS[0], &found.extremes, ts, price, 7, 3, &bounds) == 3);
    EXPECT(flow_first_touch(CPUS[0], NULL, 0, 1, 2) == 0);
    EXPECT(flow_first_touch_until(CPUS[0], NULL, NULL, 0, &bounds) == 0);
    EXPECT(flow_block_count(0, 0) == 0 && flow_block_count(BLOCK - 1, 1) == 1);
    EXPECT(flow_block_count(BLOCK - 1, 2) == 2 && flow_block_count(0, BLOCK) == 1);
    free_blocks(&found);
}

typedef struct rows {
    int64_t ts[LONG_ROWS], price[LONG_ROWS], qty[LONG_ROWS];
    int8_t side[LONG_ROWS];
} rows;

/* Plain 128-bit sums of good trades; the first thing that is wrong with any row. */
static flow_status naive_sums(const int64_t *ts, const int64_t *price, const int64_t *qty,
                              const int8_t *side, size_t count, flow_totals *out)
{
    i128 buys = 0, sells = 0, notional = 0;
    flow_totals sums = {INT64_MIN, INT64_MAX, INT64_MIN, 0, 0, {0, 0}};
    for (size_t i = 0; i < count; i++)
        if (price[i] < 1 || price[i] > FLOW_PRICE_TICKS_MAX) return FLOW_BAD_PRICE;
    for (size_t i = 0; i < count; i++)
        if (qty[i] < 1 || qty[i] > FLOW_QTY_LOTS_MAX) return FLOW_BAD_QTY;
    for (size_t i = 0; i < count; i++)
        if (side[i] != 1 && side[i] != -1) return FLOW_BAD_SIDE;
    for (size_t i = 0; i < count; i++) {
        if (ts != NULL && ts[i] > sums.latest_us) sums.latest_us = ts[i];
        if (price[i] < sums.low_ticks) sums.low_ticks = price[i];
        if (price[i] > sums.high_ticks) sums.high_ticks = price[i];
        if (side[i] > 0)
            buys += qty[i];
        else
            sells += qty[i];
        notional += (i128)price[i] * qty[i];
    }
    if (buys + sells > INT64_MAX) return FLOW_OVERFLOW;
    if (count == 0) sums.low_ticks = sums.high_ticks = 0;
    if (count == 0 || ts == NULL) sums.latest_us = 0;
    sums.buy_lots = (int64_t)buys;
    sums.sell_lots = (int64_t)sells;
    sums.notional_ticklots.lo = (uint64_t)notional;
    sums.notional_ticklots.hi = (int64_t)(notional >> 64);
    *out = sums;
    return FLOW_OK;
}

static bool same_totals(const flow_totals *a, const flow_totals *b)
{
    return a->latest_us == b->latest_us && a->low_ticks == b->low_ticks &&
           a->high_ticks == b->high_ticks && a->buy_lots == b->buy_lots &&
           a->sell_lots == b->sell_lots && a->notional_ticklots.lo == b->notional_ticklots.lo &&
           a->notional_ticklots.hi == b->notional_ticklots.hi;
}

/* All ways to add up; returns what the plain loop said. */
static flow_status check_sums(const rows *from, size_t count, size_t skew, bool timed)
{
    const flow_totals untouched = {7, 7, 7, 7, 7, {7, 7}};
    flow_totals expected = untouched, got = untouched;
    int64_t *own_ts = column(from->ts, count, skew);
    int64_t *own_price = column(from->price, count, skew);
    int64_t *own_qty = column(from->qty, count, skew);
    int8_t *own_side = copied(from->side, count, skew);
    const int64_t *ts = timed ? own_ts + skew : NULL;
    const int64_t *price = own_price + skew, *qty = own_qty + skew;
    const int8_t *side = own_side + skew;
    const flow_status status = naive_sums(ts, price, qty, side, count, &expected);
    for (int i = 0; i < cpu_count; i++) {
        got = untouched;
        EXPECT(flow_sums(CPUS[i], ts, price, qty, side, count, &got) == status);
        EXPECT(same_totals(&got, &expected));
    }
    free(own_ts);
    free(own_price);
    free(own_qty);
    free(own_side);
    return status;
}

static int64_t up_to(int bits)
{
    const int64_t limit = (int64_t)1 << bits;
    return rng() % 16 == 0 ? limit : 1 + (int64_t)(rng() % (uint64_t)limit);
}

static void fill(rows *out, size_t count, int price_bits, int qty_bits)
{
    for (size_t i = 0; i < count; i++) {
        out->ts[i] = edge();
        out->price[i] = up_to(price_bits);
        out->qty[i] = up_to(qty_bits);
        out->side[i] = rng() % 2 ? 1 : -1;
    }
}

static void test_sums_of_every_length(void)
{
    static rows made;
    for (size_t count = 0; count <= LENGTHS; count++) {
        for (size_t skew = 0; skew < 4; skew++) {
            fill(&made, count, 20, 30);
            EXPECT(check_sums(&made, count, skew, skew % 2 == 0) == FLOW_OK);
            fill(&made, count, 50, 54);
            EXPECT(check_sums(&made, count, skew, skew % 2 == 1) == FLOW_OK);
        }
    }
}

/* Every size of numbers, so that blocks pass and fail the guards of 64-bit sums. */
static void test_sums_of_every_size(void)
{
    static rows made;
    size_t overflows = 0;
    for (int price_bits = 0; price_bits <= 50; price_bits += 2) {
        for (int qty_bits = 0; qty_bits <= 56; qty_bits += 2) {
            const size_t count = 1 + below(LONG_ROWS);
            fill(&made, count, price_bits, qty_bits);
            const flow_status status = check_sums(&made, count, below(4), count % 2 == 0);
            EXPECT(status == FLOW_OK || (qty_bits > 50 && status == FLOW_OVERFLOW));
            overflows += status == FLOW_OVERFLOW;
        }
    }
    EXPECT(overflows > 5);
}

/* Blocks whose products add up to just below and just above 2^64. */
static void test_sums_at_the_guard(void)
{
    static rows made;
    for (int price_bits = 4; price_bits <= 50; price_bits++) {
        const int qty_bits = 54 - price_bits < 0 ? 0 : 54 - price_bits;
        for (int64_t more = -2; more <= 2; more++) {
            for (size_t i = 0; i < 3072; i++) {
                made.ts[i] = (int64_t)i;
                made.price[i] = (int64_t)1 << price_bits;
                made.qty[i] = ((int64_t)1 << qty_bits) + (i % 64 == 5 ? more : 0);
                if (made.qty[i] < 1) made.qty[i] = 1;
                made.side[i] = i % 3 ? 1 : -1;
            }
            EXPECT(check_sums(&made, 3072, 0, true) == FLOW_OK);
        }
    }
}

/* The volume of a session may be INT64_MAX and not one lot more. */
static void test_sums_at_the_largest_volume(void)
{
    static rows made;
    for (size_t i = 0; i < 128; i++) {
        made.ts[i] = 0;
        made.price[i] = FLOW_PRICE_TICKS_MAX;
        made.qty[i] = FLOW_QTY_LOTS_MAX;
        made.side[i] = i % 2 ? 1 : -1;
    }
    EXPECT(check_sums(&made, 128, 0, true) == FLOW_OVERFLOW);
    made.qty[77]--;
    EXPECT(check_sums(&made, 128, 0, true) == FLOW_OK);
}

/* One bad number in any lane of a block, in its rest, alone or with worse ones. */
static void test_bad_rows_are_refused(void)
{
    static rows made;
    const int64_t bad_prices[] = {0, -1, INT64_MIN, FLOW_PRICE_TICKS_MAX + 1, INT64_MAX};
    const int64_t bad_lots[] = {0, -1, INT64_MIN, FLOW_QTY_LOTS_MAX + 1, INT64_MAX};
    const int8_t bad_sides[] = {0, 2, -2, INT8_MIN, INT8_MAX};
    for (size_t row = 0; row < 1100; row += row < 70 ? 1 : 13) {
        for (size_t kind = 0; kind < 5; kind++) {
            fill(&made, 1100, 20, 20);
            made.side[row] = bad_sides[kind];
            EXPECT(check_sums(&made, 1100, 0, false) == FLOW_BAD_SIDE);
            made.qty[below(1100)] = bad_lots[kind];
            EXPECT(check_sums(&made, 1100, 0, false) == FLOW_BAD_QTY);
            made.price[below(1100)] = bad_prices[kind];
            EXPECT(check_sums(&made, 1100, 0, false) == FLOW_BAD_PRICE);
            fill(&made, 1100, 20, 20);
            made.price[row] = bad_prices[kind];
            EXPECT(check_sums(&made, 1100, 0, false) == FLOW_BAD_PRICE);
            fill(&made, 1100, 20, 20);
            made.qty[row] = bad_lots[kind];
            EXPECT(check_sums(&made, 1100, 0, false) == FLOW_BAD_QTY);
        }
    }
}

static void test_null_columns_are_refused(void)
{
    const int64_t one = 1;
    const int8_t buy = 1;
    flow_totals out = {1, 1, 1, 1, 1, {1, 1}};
    const flow_totals zero = {0};
    EXPECT(flow_sums(CPUS[0], NULL, &one, &one, &buy, 1, NULL) == FLOW_NULL_POINTER);
    EXPECT(flow_sums(CPUS[0], NULL, NULL, &one, &buy, 1, &out) == FLOW_NULL_POINTER);
    EXPECT(flow_sums(CPUS[0], NULL, &one, NULL, &buy, 1, &out) == FLOW_NULL_POINTER);
    EXPECT(flow_sums(CPUS[0], NULL, &one, &one, NULL, 1, &out) == FLOW_NULL_POINTER);
    EXPECT(out.low_ticks == 1);
    EXPECT(flow_sums(CPUS[0], NULL, NULL, NULL, NULL, 0, &out) == FLOW_OK &&
           same_totals(&out, &zero));
}

int main(void)
{
    cpu_count = flow_cpu_here() == FLOW_CPU_AVX2 ? 2 : 1;
    test_searches_of_every_length();
    test_searches_over_all_values();
    test_searches_by_blocks();
    test_start_behind_the_rows();
    test_sums_of_every_length();
    test_sums_of_every_size();
    test_sums_at_the_guard();
    test_sums_at_the_largest_volume();
    test_bad_rows_are_refused();
    test_null_columns_are_refused();
    printf(failures ? "%d failed\n" : "scan: all good\n", failures);
    return failures ? 1 : 0;
}
