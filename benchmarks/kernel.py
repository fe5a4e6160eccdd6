"""The kernel alone: trades a second on one core, columns in memory, by what is switched on.

Bars, delta, notional and footprint rows are checked against NumPy; the outputs are taken as they
come, so nothing can be skipped. Speeds are medians over CPU time, the kinds measured in turns.
"""

import os
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import polars as pl

from benchmarks import data
from flowtape._kernel import Batch, Kernel
from flowtape.replay.parts import TapeColumns
from flowtape.stream.config import EngineConfig, bubble_band_ticks, make_kernel
from flowtape.stream.instrument import Instrument
from flowtape.stream.orderflow import (
    Absorption,
    Exhaustion,
    LargeBubbles,
    OrderFlow,
    Sweeps,
    TickBars,
    TimeBars,
    VolumeBars,
)
from flowtape.stream.orders import Request
from flowtape.stream.records import BAR, BUBBLE, FOOTPRINT_ROW, SNAPSHOT, i128

TRADES = 50_000_000
REPEATS = 5
SLICE_ROWS = 1 << 15
ORDERS = 64
ROW_TICKS = 100
NOTHING = OrderFlow(large_bubbles=None, vwap=False, recent_time=None)


class Sums(NamedTuple):
    """What a pass found."""

    bar_lots: int
    row_lots: int
    bar_count: int
    bubble_count: int
    buy_lots: int
    sell_lots: int
    notional: int


def one_pass(columns: TapeColumns, kernel: Kernel) -> Sums:
    bar_lots = row_lots = bar_count = bubble_count = 0
    for start in range(0, len(columns), SLICE_ROWS):
        piece = columns.slice(start, start + SLICE_ROWS)
        batch = Batch(piece.ts_us, piece.price_ticks, piece.qty_lots, piece.side)
        kernel.run(batch, 0)
        bars = kernel.take_bars().view(BAR)
        bar_lots += int(bars["buy_lots"].sum() + bars["sell_lots"].sum())
        bar_count += len(bars)
        rows = kernel.take_footprints()[1].view(FOOTPRINT_ROW)
        row_lots += int(rows["buy_lots"].sum() + rows["sell_lots"].sum())
        kernel.take_marks()
        bubbles, count = kernel.take_bubbles()
        assert len(bubbles) >= min(count, 1024) * BUBBLE.itemsize
        bubble_count += count
    kernel.end()
    bars = kernel.take_bars().view(BAR)
    bar_lots += int(bars["buy_lots"].sum() + bars["sell_lots"].sum())
    bar_count += len(bars)
    rows = kernel.take_footprints()[1].view(FOOTPRINT_ROW)
    row_lots += int(rows["buy_lots"].sum() + rows["sell_lots"].sum())
    bubble_count += kernel.take_bubbles()[1]
    snap = kernel.snapshot().view(SNAPSHOT)[0]
    return Sums(
        bar_lots,
        row_lots,
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
    return Sums(total, total, bar_count, -1, buys, total - buys, notional)


def kernel_with(instrument: Instrument, config: EngineConfig, orders: int = 0) -> Kernel:
    kernel = make_kernel(instrument, config, bubbles_kept=1024)
    for i in range(orders):
        side = 1 if i % 2 else -1
        price = 1 + i if side > 0 else 10**12 - i
        request = Request(side=side, qty_lots=1, limit_ticks=price)
        kernel.place(0, request.record().view(np.uint8))
    return kernel


def kinds(first_ticks: int, mean_lots: int) -> dict[str, EngineConfig]:
    """What is switched on in each kind."""
    band, second = bubble_band_ticks(first_ticks), 1_000_000
    flow = OrderFlow(large_bubbles=LargeBubbles(), vwap=False, recent_time=None)
    marks = OrderFlow(
        size_class_lots=(mean_lots, 10 * mean_lots),
        recent_trades_count=1000,
        sweeps=Sweeps(5, 10_000),
        absorption=Absorption(20 * mean_lots, 10 * second, 100),
        exhaustion=Exhaustion(3, 100),
    )
    found = {
        "1 s bars": EngineConfig(bubbles=False, profile_rows_max=0, orderflow=NOTHING),
        "bars, bubbles, profile": EngineConfig(bubble_band_ticks=band, orderflow=NOTHING),
        "bars, footprints, large bubbles": EngineConfig(
            bars=(TimeBars(second, ROW_TICKS),),
            bubble_band_ticks=band,
            profile_rows_max=0,
            orderflow=flow,
        ),
        "what an engine does by default": EngineConfig(bubble_band_ticks=band),
        "3 series, footprints, marks, all sums": EngineConfig(
            bars=(TimeBars(second, ROW_TICKS), TickBars(500), VolumeBars(500 * mean_lots)),
            bubble_band_ticks=band,
            orderflow=marks,
        ),
    }
    # What queue estimates are made of is sampled where someone trades only.
    found = {name: replace(config, queue_window=0) for name, config in found.items()}
    default = found["what an engine does by default"]
    return found | {"that, and the sample for queues": replace(default, queue_window=1024)}


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


def speeds(works: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Medians of M trades/s over CPU time."""
    found: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(REPEATS):
        for name, work in works.items():
            before = time.process_time()
            work()
            found[name].append(TRADES / (time.process_time() - before) / 1e6)
    return {name: statistics.median(all_) for name, all_ in found.items()}


def main() -> None:
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    columns = data.columns(TRADES)
    instrument = data.tape(TRADES).instrument
    configs = kinds(int(columns.price_ticks[0]), int(columns.qty_lots.mean()))

    wanted = expected(columns, 1_000_000)
    for config in configs.values():
        checked = one_pass(columns, kernel_with(instrument, config))
        row_lots = wanted.row_lots if config.bars[0].row_ticks else 0
        assert checked._replace(bubble_count=-1) == wanted._replace(row_lots=row_lots)

    def run_of(config: EngineConfig, orders: int) -> Callable[[], object]:
        return lambda: one_pass(columns, kernel_with(instrument, config, orders))

    works = {name: run_of(config, 0) for name, config in configs.items()}
    works["orders"] = run_of(configs["bars, bubbles, profile"], ORDERS)
    works["polars"] = candles_by_polars(columns)
    found = speeds(works)
    for name in configs:
        print(f"kernel, {name:40} {found[name]:6.1f} M trades/s")
    free = found["bars, bubbles, profile"]
    print(f"  with {ORDERS} resting orders {found['orders'] / free:8.1%} of that  (bar: 80 %)")
    ratio, polars = found["1 s bars"] / found["polars"], found["polars"]
    print(f"  1 s bars against Polars {ratio:8.1f} x  (Polars: {polars:.1f} M/s; bar: 10 x)")
    print("  (bar for footprints and large bubbles: 150)")


if __name__ == "__main__":
    main()
