/* The searches: which pass to take, the portable passes, and skipping by block extremes. */
#include "scan_internal.h"

#if HAS_AVX2
#include <cpuid.h>

#define CPUID1_ECX_OSXSAVE (1u << 27)
#define CPUID7_EBX_AVX2 (1u << 5)
#define XCR0_XMM_YMM 6u

/* By hand: the compilers' own question needs a library that not every linker is given. */
flow_cpu flow_cpu_here(void)
{
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & CPUID1_ECX_OSXSAVE)) return FLOW_CPU_PORTABLE;
    __asm__ volatile("xgetbv" : "=a"(a), "=d"(d) : "c"(0));
    if ((a & XCR0_XMM_YMM) != XCR0_XMM_YMM) return FLOW_CPU_PORTABLE;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return FLOW_CPU_PORTABLE;
    return b & CPUID7_EBX_AVX2 ? FLOW_CPU_AVX2 : FLOW_CPU_PORTABLE;
}
#else
flow_cpu flow_cpu_here(void) { return FLOW_CPU_PORTABLE; }
#endif

size_t scan_find_portable(const scan_view *view, const flow_bounds *bounds)
{
    const int64_t low = bounds->low_ticks, high = bounds->high_ticks, until = bounds->until_us;
    const int64_t *lows = view->low, *highs = view->high, *us = view->us;
    const size_t count = view->count;
    size_t i = 0;
    if (us != NULL)
        while (i < count && lows[i] >= low && highs[i] <= high && us[i] < until)
            i++;
    else
        while (i < count && lows[i] >= low && highs[i] <= high)
            i++;
    return i;
}

static size_t find(flow_cpu cpu, const scan_view *view, const flow_bounds *bounds)
{
#if HAS_AVX2
    if (cpu == FLOW_CPU_AVX2 && view->count >= SCAN_SHORT_ROWS) return scan_find_avx2(view, bounds);
#else
    (void)cpu;
#endif
    return scan_find_portable(view, bounds);
}

size_t flow_first_touch(flow_cpu cpu, const int64_t *price_ticks, size_t count, int64_t low_ticks,
                        int64_t high_ticks)
{
    const flow_bounds bounds = {low_ticks, high_ticks, 0};
    return find(cpu, &(scan_view){price_ticks, price_ticks, NULL, count}, &bounds);
}

size_t flow_first_touch_until(flow_cpu cpu, const int64_t *ts_us, const int64_t *price_ticks,
                              size_t count, const flow_bounds *bounds)
{
    return find(cpu, &(scan_view){price_ticks, price_ticks, ts_us, count}, bounds);
}

size_t flow_block_count(size_t offset_rows, size_t count)
{
    return count == 0 ? 0 : (offset_rows + count - 1) / FLOW_SCAN_BLOCK_ROWS + 1;
}

size_t flow_first_touch_blocks(flow_cpu cpu, const flow_extremes *extremes, const int64_t *ts_us,
                               const int64_t *price_ticks, size_t start, size_t count,
                               const flow_bounds *bounds)
{
    const size_t offset = extremes->offset_rows, blocks = flow_block_count(offset, count);
    const bool timed = ts_us != NULL;
    for (size_t row = start; row < count;) {
        const size_t block = (row + offset) / FLOW_SCAN_BLOCK_ROWS;
        const scan_view later = {extremes->low_ticks + block, extremes->high_ticks + block,
                                 timed ? extremes->latest_us + block : NULL, blocks - block};
        const size_t skipped = find(cpu, &later, bounds);
        if (skipped == later.count) break;
        if (skipped > 0) row = (block + skipped) * FLOW_SCAN_BLOCK_ROWS - offset;
        const size_t block_end = (block + skipped + 1) * FLOW_SCAN_BLOCK_ROWS - offset;
        const size_t end = block_end < count ? block_end : count;
        const scan_view rows = {price_ticks + row, price_ticks + row, timed ? ts_us + row : NULL,
                                end - row};
        row += find(cpu, &rows, bounds);
        if (row < end) return row;
    }
    return count;
}

void scan_extremes_portable(const int64_t *ts_us, const int64_t *price_ticks, size_t count,
                            int64_t *low_out, int64_t *high_out, int64_t *latest_out)
{
    scan_block_extremes(ts_us, price_ticks, count, low_out, high_out, latest_out);
}

void flow_block_extremes(flow_cpu cpu, const int64_t *ts_us, const int64_t *price_ticks,
                         size_t count, int64_t *low_ticks_out, int64_t *high_ticks_out,
                         int64_t *latest_us_out)
{
#if HAS_AVX2
    if (cpu == FLOW_CPU_AVX2) {
        scan_extremes_avx2(ts_us, price_ticks, count, low_ticks_out, high_ticks_out, latest_us_out);
        return;
    }
#else
    (void)cpu;
#endif
    scan_extremes_portable(ts_us, price_ticks, count, low_ticks_out, high_ticks_out, latest_us_out);
}
