"""The passes over whole columns: how near they come to the speed of memory, on one core.

50 M trades, far more than the caches hold, against loops of `native/scan_loops.c`, which the
system's C compiler (`CC`, or `cc`) builds with -O3. Results are compared before anything is timed;
figures are medians of rounds in which the contenders take turns.
"""

import ctypes
import os
import statistics
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from benchmarks import data
from benchmarks.native_code import compiled
from flowtape._kernel import block_extremes, first_touch, session_sums
from flowtape.replay.parts import BlockExtremes, TapeColumns

TRADES = 50_000_000
ROUNDS = 7
BANDS_PPM = (1_000, 3_000, 10_000)
I64 = NDArray[np.int64]
Search = Callable[[int, int, int], int]


def scalar_search(price: I64) -> Search:
    """Return the early-exit loop as a search for (low, high, start)."""
    function = compiled("scan_loops.c", "-fno-tree-vectorize").scalar_first_touch
    function.restype = ctypes.c_size_t
    function.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int64, ctypes.c_int64]
    address, count = price.ctypes.data, len(price)
    return lambda low, high, start: start + function(address + 8 * start, count - start, low, high)


def reader(*columns: NDArray[np.integer]) -> Callable[[], int]:
    """Return a function that reads all bytes of the columns, eight at a time."""
    function = compiled("scan_loops.c", "-march=native").read_sum
    function.restype = ctypes.c_uint64
    function.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    words = [(column.ctypes.data, column.nbytes // 8) for column in columns]
    return lambda: sum(function(address, count) for address, count in words)


def rearm(price: I64, search: Search, ppm: int) -> int:
    """Search for the way out of a band around the price, again from each row found; count them."""
    row = touch_count = 0
    while row < len(price):
        center = int(price[row])
        band = center * ppm // 1_000_000
        row = search(center - band, center + band, row)
        touch_count += 1
    return touch_count


def seconds(*contenders: Callable[[], object]) -> list[float]:
    """Median CPU seconds of each, taking turns; what has a `reset` is reset between them."""
    found: list[list[float]] = [[] for _ in contenders]
    for _ in range(ROUNDS):
        for times, work in zip(found, contenders, strict=True):
            before = time.process_time()
            work()
            times.append(time.process_time() - before)
            if hasattr(work, "reset"):
                work.reset()
    return [statistics.median(times) for times in found]


def check_sums(columns: TapeColumns) -> None:
    price, qty, buys = columns.price_ticks, columns.qty_lots, columns.side > 0
    products = np.add.reduceat(price * qty, np.arange(0, len(price), 1024))
    buy_lots = int(qty[buys].sum())
    assert session_sums(price, qty, columns.side) == (
        buy_lots,
        int(qty.sum()) - buy_lots,
        int(price.min()),
        int(price.max()),
        sum(map(int, products)),
        0,
    )


def main() -> None:
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    columns = data.columns(TRADES)
    ts, price = columns.ts_us, columns.price_ticks
    extremes = (*block_extremes(ts, price), 0)
    for ours, theirs in zip(extremes, BlockExtremes.of(ts, price).arrays(), strict=False):
        assert np.array_equal(ours, theirs)
    check_sums(columns)

    scalar = scalar_search(price)
    searches: tuple[Search, ...] = (
        scalar,
        lambda low, high, start: first_touch(price, low, high, start),
        lambda low, high, start: first_touch(price, low, high, start, extremes),
    )
    ends = int(price.min()), int(price.max())
    assert {search(*ends, 0) for search in searches} == {TRADES}
    loop, raw, skipping = seconds(*((lambda s=search: s(*ends, 0)) for search in searches))
    print(f"first touch, none in all rows    {TRADES / raw / 1e6:8.0f} M rows/s")
    print(f"  against a compiled loop        {loop / raw:8.2f} x  (bar: 1.7 with AVX2)")
    print(f"  with block extremes            {loop / skipping:8.0f} x  (bar: 10)")
    for ppm in BANDS_PPM:
        counts = [rearm(price, search, ppm) for search in searches]
        assert len(set(counts)) == 1
        loop, raw, skipping = seconds(
            *((lambda s=search, p=ppm: rearm(price, s, p)) for search in searches)
        )
        print(
            f"  band of {ppm / 10_000:g} %, a touch every {TRADES // counts[0]:,} rows: "
            f"{loop / raw:.2f} x, with block extremes {loop / skipping:.1f} x"
        )

    summed = price, columns.qty_lots, columns.side
    size_gb = sum(column.nbytes for column in summed) / 1e9
    reading, sums = seconds(reader(*summed), lambda: session_sums(*summed))
    print(f"reading 17 bytes a trade         {size_gb / reading:8.1f} GB/s")
    print(f"  session sums of the same       {reading / sums:8.1%} of that  (bar: 60 %)")
    reading, making = seconds(reader(ts, price), lambda: block_extremes(ts, price))
    print(f"  block extremes, 16 bytes       {reading / making:8.1%} of that")


if __name__ == "__main__":
    main()
