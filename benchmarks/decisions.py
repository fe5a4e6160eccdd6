"""What calling a Python strategy costs: a decision every 100 ms of a busy day, on one core.

The overhead is the time of a session with the strategy, minus that of one that is never called,
minus that of the strategy's body called as often by a plain loop; per decision.
"""

import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from benchmarks import data
from flowtape.replay.track import fold
from flowtape.stream.config import Decide, EngineConfig, bubble_band_ticks
from flowtape.stream.engine import Engine
from flowtape.stream.strategy import Market, Orders, Strategy

TRADES = 2_000_000
GRID_US = 100_000
ROUNDS = 5


@dataclass
class Silent(Strategy):
    """Is never called."""

    decide: ClassVar[Decide] = Decide()

    def on_decision(self, market: Market, orders: Orders) -> None:
        raise AssertionError


@dataclass
class Counting(Strategy):
    """Does the least that can be done."""

    decide: ClassVar[Decide] = Decide(grid_us=GRID_US)

    def on_start(self, market: Market) -> None:
        self.count = 0

    def on_decision(self, market: Market, orders: Orders) -> None:
        self.count += 1


@dataclass
class Looking(Counting):
    """Reads price, delta and position, as most do."""

    def on_decision(self, market: Market, orders: Orders) -> None:
        self.count += 1
        self.seen = (market.last_ticks, market.delta_lots, market.position_lots)


def cpu_seconds(work: Callable[[], object]) -> float:
    before = time.process_time()
    work()
    return time.process_time() - before


def main() -> None:
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    tape = data.tape(TRADES)
    first = int(tape.full_trades(0, 1).price_ticks[0])
    config = EngineConfig(bubble_band_ticks=bubble_band_ticks(first))

    def session(strategy: Strategy) -> Engine:
        engine = Engine(tape.instrument, config, strategy, shown=False)
        fold(engine, tape.read_batches(cached=True))
        return engine

    for kind in (Counting, Looking):
        found = []
        for _ in range(ROUNDS):
            silent = cpu_seconds(lambda: session(Silent()))
            called = cpu_seconds(lambda k=kind: session(k()))
            engine = session(kind())
            strategy = engine.strategy
            assert isinstance(strategy, Counting)
            market, count = engine.market, strategy.count

            def body(s: Counting = strategy, m: Market = market, n: int = count) -> None:
                for _ in range(n):
                    s.on_decision(m, engine.orders)  # noqa: B023

            found.append((called - silent - cpu_seconds(body)) / count * 1e6)
        figure = statistics.median(found)
        print(f"{kind.__name__:10} {count:,} decisions, {figure:5.2f} us each  (bar: 3 us)")


if __name__ == "__main__":
    main()
