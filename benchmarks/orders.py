"""What own orders cost the kernel: far ones, near ones, and all three lanes, on one core.

50 M trades, columns checked once. Order flow is off, so that nothing but orders is measured; a last
part measures near orders with everything on. Medians of CPU time, contenders taking turns.
"""

import ctypes
import os
from dataclasses import replace

import numpy as np

from benchmarks import data
from benchmarks.native_code import compiled
from benchmarks.scan import reader, seconds
from flowtape._kernel import Batch, block_extremes
from flowtape.replay.parts import TapeColumns
from flowtape.stream.config import EngineConfig, bubble_band_ticks, make_kernel
from flowtape.stream.instrument import Instrument
from flowtape.stream.orders import Request
from flowtape.stream.records import SNAPSHOT, i128

TRADES = 50_000_000
NEAR_TRADES = 2_000_000
FAR_COUNTS = (1, 64, 4096)
REQUOTE_TRADES = 5_000
SETTLED_TRADES = 1_000
"""After these, all far orders have arrived and rest."""


def batch_of(columns: TapeColumns, *, extremes: bool) -> Batch:
    found = block_extremes(columns.ts_us, columns.price_ticks) if extremes else None
    return Batch(
        columns.ts_us,
        columns.price_ticks,
        columns.qty_lots,
        columns.side,
        extremes=None if found is None else (*found, 0),
    )


def far_orders(count: int) -> np.ndarray:
    """Limit orders of both sides that no price reaches."""
    requests = [
        Request(
            side=1 if i % 2 else -1,
            qty_lots=1,
            limit_ticks=1 + i if i % 2 else 10**12 - i,
        ).record()
        for i in range(count)
    ]
    return np.concatenate(requests)


class Run:
    """A run over a batch with far orders; only the run itself is timed."""

    def __init__(
        self,
        instrument: Instrument,
        config: EngineConfig,
        columns: TapeColumns,
        batch: Batch,
        count: int,
    ) -> None:
        self.kernel = make_kernel(instrument, config, bubbles_kept=0)
        self.kernel.place(0, far_orders(count).view(np.uint8))
        first = batch_of(columns.slice(0, SETTLED_TRADES), extremes=False)
        self.kernel.run(first, 0)
        self.kernel.take_order_events()
        self._batch = batch
        self._start = self.kernel.save_state()

    def __call__(self) -> None:
        assert self.kernel.run(self._batch, SETTLED_TRADES) == (len(self._batch), False)

    def reset(self) -> None:
        self.kernel.load_state(self._start)


def plain(columns: TapeColumns, count: int) -> int:
    orders = far_orders(count)
    limit = np.ascontiguousarray(orders["price_ticks"])
    side = np.ascontiguousarray(orders["side"].astype(np.int64))
    function = compiled("order_loop.c", "-fno-tree-vectorize").plain_loop
    function.restype = ctypes.c_size_t
    function.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_void_p] * 2, ctypes.c_size_t]
    price = columns.price_ticks
    fills = function(price.ctypes.data, len(price), limit.ctypes.data, side.ctypes.data, count)
    return int(fills)


def requote(instrument: Instrument, config: EngineConfig, columns: TapeColumns) -> int:
    """Keep 32 orders around the price, placed anew every so many trades; return the fills."""
    kernel = make_kernel(instrument, config, bubbles_kept=0)
    for at in range(0, len(columns), REQUOTE_TRADES):
        piece = columns.slice(at, at + REQUOTE_TRADES)
        kernel.run(Batch(piece.ts_us, piece.price_ticks, piece.qty_lots, piece.side), 0)
        snap = kernel.snapshot().view(SNAPSHOT)[0]
        now, last = int(snap["stream_us"]), int(snap["last_ticks"])
        kernel.cancel_all(now, -1)
        requests = [
            Request(side=side, qty_lots=1000, limit_ticks=last - side * away).record()
            for side in (1, -1)
            for away in range(5, 165, 10)
        ]
        kernel.place(now, np.concatenate(requests).view(np.uint8))
    return len(kernel.take_fills())


def main() -> None:
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    columns = data.columns(TRADES)
    instrument = data.tape(TRADES).instrument
    full = EngineConfig(
        orders_max=4096,
        queue_window=0,
        trace=False,
        bubble_band_ticks=bubble_band_ticks(int(columns.price_ticks[0])),
    )
    bare = full.without_order_flow(sums=False)
    sums = full.without_order_flow()
    rows, blocks = batch_of(columns, extremes=False), batch_of(columns, extremes=True)

    products = columns.price_ticks * columns.qty_lots
    notional = sum(map(int, np.add.reduceat(products, np.arange(0, len(products), 1024))))
    checked = Run(instrument, sums, columns, rows, 1)
    checked()
    snap = checked.kernel.snapshot().view(SNAPSHOT)[0]
    assert i128(snap["notional_ticklots"]) == notional
    assert int(snap["buy_lots"]) + int(snap["sell_lots"]) == int(columns.qty_lots.sum())

    runs = [
        Run(instrument, bare, columns, batch, n) for batch in (rows, blocks) for n in FAR_COUNTS
    ]
    checked.reset()
    read = reader(columns.price_ticks, columns.qty_lots, columns.side)
    times = seconds(*runs, checked, read)
    for name, found in (("far orders", times[:3]), ("with block extremes", times[3:6])):
        for count, taken in zip(FAR_COUNTS, found, strict=True):
            speed, share = TRADES / taken / 1e6, taken / found[0]
            print(f"{count:5} {name:20} {speed:10,.0f} M trades/s, {share:6.1%} of one's time")
    share = times[7] / times[6]
    print(f"session sums, exact        {share:10.1%} of the speed of reading  (bar: 60 %)")

    few = columns.slice(0, NEAR_TRADES)
    (loop,) = seconds(lambda: plain(few, 64))
    plain_speed = NEAR_TRADES / loop / 1e6
    assert plain(few, 64) == 0
    ratio = TRADES / times[1] / 1e6 / plain_speed
    print(f"64 far orders against a plain loop {ratio:6.0f} x  ({plain_speed:.1f} M/s; bar: 50 x)")

    for name, config in (("orders alone", bare), ("everything on", full)):
        busy = replace(config, queue_window=1024)
        alone = replace(busy, all_lanes=False)
        assert requote(instrument, busy, few) > requote(instrument, alone, few) > 0
        one, three = seconds(
            lambda c=alone: requote(instrument, c, few), lambda c=busy: requote(instrument, c, few)
        )
        print(
            f"32 near orders, {name:14} {NEAR_TRADES / three / 1e6:8.1f} M trades/s in all lanes, "
            f"{three / one:.2f} x the time of one lane  (bar: 2)"
        )


if __name__ == "__main__":
    main()
