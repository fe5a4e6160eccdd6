/* The searches: which pass to take, the portable passes, and skipping by block extremes. */
#include "scan_internal.h"

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

static size_t find(const scan_view *view, const flow_bounds *bounds)
{
#if SCAN_HAS_AVX2
    if (view->count >= SCAN_SHORT_ROWS && scan_avx2_here()) return scan_find_avx2(view, bounds);
#endif
    return scan_find_portable(view, bounds);
}

size_t flow_first_touch(const int64_t *price_ticks, size_t count, int64_t low_ticks,
                        int64_t high_ticks)
{
    const flow_bounds bounds = {low_ticks, high_ticks, 0};
    return find(&(scan_view){price_ticks, price_ticks, NULL, count}, &bounds);
}

size_t flow_first_touch_until(const int64_t *ts_us, const int64_t *price_ticks, size_t count,
                              const flow_bounds *bounds)
{
    return find(&(scan_view){price_ticks, price_ticks, ts_us, count}, bounds);
}

size_t flow_block_count(size_t offset_rows, size_t count)
{
    return count == 0 ? 0 : (offset_rows + count - 1) / FLOW_SCAN_BLOCK_ROWS + 1;
}

size_t flow_first_touch_blocks(const flow_extremes *extremes, const int64_t *ts_us,
                               const int64_t *price_ticks, size_t start, size_t count,
                               const flow_bounds *bounds)
{
    const size_t offset = extremes->offset_rows, blocks = flow_block_count(offset, count);
    const bool timed = ts_us != NULL;
    for (size_t row = start; row < count;) {
        const size_t block = (row + offset) / FLOW_SCAN_BLOCK_ROWS;
        const scan_view later = {extremes->low_ticks + block, extremes->high_ticks + block,
                                 timed ? extremes->latest_us + block : NULL, blocks - block};
        const size_t skipped = find(&later, bounds);
        if (skipped == later.count) break;
        if (skipped > 0) row = (block + skipped) * FLOW_SCAN_BLOCK_ROWS - offset;
        const size_t block_end = (block + skipped + 1) * FLOW_SCAN_BLOCK_ROWS - offset;
        const size_t end = block_end < count ? block_end : count;
        const scan_view rows = {price_ticks + row, price_ticks + row, timed ? ts_us + row : NULL,
                                end - row};
        row += find(&rows, bounds);
        if (row < end) return row;
    }
    return count;
}

void scan_extremes_portable(const int64_t *ts_us, const int64_t *price_ticks, size_t count,
                            int64_t *low_out, int64_t *high_out, int64_t *latest_out)
{
    scan_block_extremes(ts_us, price_ticks, count, low_out, high_out, latest_out);
}

void flow_block_extremes(const int64_t *ts_us, const int64_t *price_ticks, size_t count,
                         int64_t *low_ticks_out, int64_t *high_ticks_out, int64_t *latest_us_out)
{
#if SCAN_HAS_AVX2
    if (scan_avx2_here()) {
        scan_extremes_avx2(ts_us, price_ticks, count, low_ticks_out, high_ticks_out, latest_us_out);
        return;
    }
#endif
    scan_extremes_portable(ts_us, price_ticks, count, low_ticks_out, high_ticks_out, latest_us_out);
}
