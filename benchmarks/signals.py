"""A thousand sets of target positions over 10 M trades, on one core.

Crossing averages on a grid of one second; making the targets is not part of the time. Against the
same sets one after the other, through the kernel and through sweeps of one set each, and against a
loop that numba compiles, which follows position and P&L at the same decision points and settles no
order. Some sets stand for all where one after the other would take minutes. Figures are CPU time,
medians of rounds in which the contenders take turns.
"""

import os
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import data
from flowtape._kernel import TargetRun
from flowtape.replay.parts import TapeColumns
from flowtape.replay.signals import ArrayEngine, decision_points
from flowtape.replay.sweep_arrays import sweep_targets
from flowtape.stream.config import SECOND_US, Decide, EngineConfig
from flowtape.stream.instrument import Instrument
from flowtape.stream.records import i128

try:
    import numba
except ImportError:
    numba = None  # type: ignore[assignment]

TRADES = 10_000_000
SETS = 1000
SAMPLE = 5
ROUNDS = 3
LOTS = 1000
# Without the optimistic and the pessimistic lane, and without notes on prints that gave nothing.
CONFIG = EngineConfig(decide=Decide(grid_us=SECOND_US), all_lanes=False, trace=False)
Targets = NDArray[np.int32]


def crossings(price: NDArray[np.int64], sets: int) -> Targets:
    """Long while the average of the last few decision points is above that of more of them."""
    sums = np.concatenate([[0], np.cumsum(price)])
    ends = np.arange(1, len(sums))

    def average(count: int) -> NDArray[np.float64]:
        starts = np.maximum(ends - count, 0)
        mean: NDArray[np.float64] = (sums[ends] - sums[starts]) / (ends - starts)
        return mean

    rng = np.random.default_rng(data.SEED)
    found = np.empty((sets, len(price)), np.int32)
    for row in found:
        fast = int(rng.integers(5, 61))
        slow = fast * int(rng.integers(2, 11))
        row[:] = np.where(average(fast) > average(slow), LOTS, -LOTS)
    return found


def by_kernel(instrument: Instrument, columns: TapeColumns, targets: Targets) -> ArrayEngine:
    engine = ArrayEngine(instrument, CONFIG, TargetRun(targets.astype(np.int64)))
    engine.apply(columns)
    engine.end()
    return engine


def compiled_loop() -> Callable[..., object]:
    """Position and P&L at the decision points, at the price of the print and without fees."""

    def loop(ts: Any, price: Any, targets: Any, grid_us: int) -> Any:
        position = cash = peak = fall = decision = 0
        now = ts[0]
        due = (now // grid_us + 1) * grid_us
        for i in range(len(ts)):
            now = max(now, ts[i])
            if now >= due:
                due = (now // grid_us + 1) * grid_us
                equity = cash + position * price[i]
                peak = max(peak, equity)
                fall = max(fall, peak - equity)
                cash -= (targets[decision] - position) * price[i]
                position = targets[decision]
                decision += 1
        return cash + position * price[-1], fall

    compiled: Callable[..., object] = numba.njit(loop)
    return compiled


def cpu_seconds(work: Callable[[], object]) -> float:
    before = time.process_time()
    work()
    return time.process_time() - before


def main() -> None:
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    columns = data.columns(TRADES)
    instrument = data.tape(TRADES).instrument
    rows, _ = decision_points(columns, CONFIG)
    targets = crossings(columns.price_ticks[rows], SETS)
    some = np.ascontiguousarray(targets[:: SETS // SAMPLE])

    def sweep(sets: Targets) -> Any:
        return sweep_targets(instrument, columns, CONFIG, sets)

    swept = sweep(some)
    for place, row in enumerate(some):
        engine = by_kernel(instrument, columns, row)
        assert i128(engine.snapshot["equity_atoms"]) == swept.atoms("equity_atoms")[place]
        assert engine.ledger.fills.head == swept.records["fill_count"][place] > 0

    contenders: dict[str, tuple[int, Callable[[], object]]] = {
        "all": (SETS, lambda: sweep(targets)),
        "kernel": (SAMPLE, lambda: [by_kernel(instrument, columns, row) for row in some]),
        "single": (SAMPLE, lambda: [sweep(row[None]) for row in some]),
    }
    if numba is not None:
        loop = compiled_loop()
        arrays = columns.ts_us, columns.price_ticks
        loop(*(a[:1000] for a in arrays), some[0], SECOND_US)
        contenders["numba"] = (
            SAMPLE,
            lambda: [loop(*arrays, row, SECOND_US) for row in some],
        )
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(ROUNDS):
        for name, (sets, work) in contenders.items():
            times[name].append(cpu_seconds(work) / sets)
    per_set = {name: statistics.median(found) for name, found in times.items()}

    ours = per_set["all"]
    orders = int((np.diff(some, axis=1) != 0).sum()) / SAMPLE
    fills = float(swept.records["fill_count"].mean())
    print(f"sweep of {SETS:,} sets              {TRADES / ours / 1e9:8.2f} G set-trades/s")
    print(f"  one after the other, kernel    {per_set['kernel'] / ours:8.1f} x  (bar: 10)")
    print(f"  one after the other, sweeps    {per_set['single'] / ours:8.1f} x")
    if "numba" in per_set:
        speed = TRADES / per_set["numba"] / 1e9
        ratio = per_set["numba"] / ours
        print(f"  a loop of numba, no orders     {ratio:8.1f} x  (bar: 1; numba: {speed:.2f} G/s)")
    else:
        print("  a loop of numba                 not measured: numba is not installed")
    print(f"  {len(rows):,} decision points; a set has {orders:,.0f} orders, {fills:,.0f} fills")


if __name__ == "__main__":
    main()
