"""The kernel alone: trades a second on one core, columns in memory, everything on.

Bars, profile, delta, VWAP sums and bubbles are checked against NumPy; the outputs are taken
as they come, so nothing can be skipped. Speeds are medians over CPU time.
"""

import os
import statistics
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import polars as pl

from benchmarks import data
from flowtape._kernel import Batch, Kernel
from flowtape.replay.parts import TapeColumns
from flowtape.stream.config import EngineConfig, bubble_band_ticks, make_kernel
from flowtape.stream.instrument import Instrument
from flowtape.stream.orders import Request
from flowtape.stream.records import BAR, BUBBLE, SNAPSHOT, i128

TRADES = 50_000_000
REPEATS = 5
SLICE_ROWS = 1 << 17
ORDERS = 64


class Sums(NamedTuple):
    """What a pass found."""

    bar_lots: int
    bar_count: int
    bubble_count: int
    buy_lots: int
    sell_lots: int
    notional: int


def one_pass(columns: TapeColumns, kernel: Kernel) -> Sums:
    bar_lots = bar_count = bubble_count = 0
    for start in range(0, len(columns), SLICE_ROWS):
        piece = columns.slice(start, start + SLICE_ROWS)
        batch = Batch(piece.ts_us, piece.price_ticks, piece.qty_lots, piece.side)
        kernel.run(batch, 0)
        bars = kernel.take_bars().view(BAR)
        bar_lots += int(bars["buy_lots"].sum() + bars["sell_lots"].sum())
        bar_count += len(bars)
        bubbles, count = kernel.take_bubbles()
        assert len(bubbles) >= min(count, 1024) * BUBBLE.itemsize
        bubble_count += count
    kernel.end()
    bars = kernel.take_bars().view(BAR)
    bar_lots += int(bars["buy_lots"].sum() + bars["sell_lots"].sum())
    bar_count += len(bars)
    bubble_count += kernel.take_bubbles()[1]
    snap = kernel.snapshot().view(SNAPSHOT)[0]
    return Sums(
        bar_lots,
        bar_count,
        bubble_count,
        int(snap["buy_lots"]),
        int(snap["sell_lots"]),
        i128(snap["notional_ticklots"]),
    )


def expected(columns: TapeColumns, bar_us: int) -> Sums:
    """The same sums from NumPy; the number of bubbles comes from no other source."""
    stream = np.maximum.accumulate(columns.ts_us)
    buys = int(columns.qty_lots[columns.side > 0].sum())
    total = int(columns.qty_lots.sum())
    products = columns.price_ticks * columns.qty_lots
    notional = sum(map(int, np.add.reduceat(products, np.arange(0, len(products), 1024))))
    bar_count = int((np.diff(stream // bar_us) != 0).sum()) + 1
    return Sums(total, bar_count, -1, buys, total - buys, notional)


def kernel_with(instrument: Instrument, first_ticks: int, orders: int) -> Kernel:
    config = EngineConfig(bubble_band_ticks=bubble_band_ticks(first_ticks), orders_max=256)
    kernel = make_kernel(instrument, config, bubbles_kept=1024)
    for i in range(orders):
        side = 1 if i % 2 else -1
        price = 1 + i if side > 0 else 10**12 - i
        request = Request(side=side, qty_lots=1, limit_ticks=price)
        kernel.place(0, request.record().view(np.uint8))
    return kernel


def candles_by_polars(columns: TapeColumns) -> Callable[[], object]:
    frame = pl.DataFrame(
        {
            "ts": columns.ts_us,
            "price": columns.price_ticks,
            "qty": columns.qty_lots,
            "side": columns.side,
        }
    )
    bucket = (pl.col("ts") // 1_000_000).alias("bucket")
    query = (
        frame.lazy()
        .group_by(bucket, maintain_order=True)
        .agg(
            pl.col("price").first().alias("open"),
            pl.col("price").max().alias("high"),
            pl.col("price").min().alias("low"),
            pl.col("price").last().alias("close"),
            pl.col("qty").sum().alias("volume"),
        )
    )
    return query.collect


def speed(work: Callable[[], object]) -> float:
    """Median of M trades/s over CPU time."""
    found = []
    for _ in range(REPEATS):
        before = time.process_time()
        work()
        found.append(TRADES / (time.process_time() - before) / 1e6)
    return statistics.median(found)


def main() -> None:
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    columns = data.columns(TRADES)
    instrument = data.tape(TRADES).instrument
    first = int(columns.price_ticks[0])

    checked = one_pass(columns, kernel_with(instrument, first, 0))
    assert checked._replace(bubble_count=-1) == expected(columns, 1_000_000)

    free = speed(lambda: one_pass(columns, kernel_with(instrument, first, 0)))
    loaded = speed(lambda: one_pass(columns, kernel_with(instrument, first, ORDERS)))
    polars = speed(candles_by_polars(columns))
    print(f"kernel, everything on            {free:8.1f} M trades/s  (bar: 150)")
    print(f"  with {ORDERS} resting orders         {loaded / free:8.1%} of that  (bar: 80 %)")
    print(f"  against Polars, candles only   {free / polars:8.1f} x  (Polars: {polars:.1f} M/s)")
    print(f"  {checked.bar_count:,} bars, {checked.bubble_count:,} bubbles")


if __name__ == "__main__":
    main()
