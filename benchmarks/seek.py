"""Seeking in a busy day of 2 M trades, with and without a strategy."""

import random
import statistics
import time

from benchmarks import data
from flowtape.replay.track import Track
from flowtape.stream.config import EngineConfig, bubble_band_ticks
from flowtape.stream.engine import Engine
from flowtape.stream.loading import load_strategy
from flowtape.stream.strategy import Strategy

TRADES = 2_000_000
SEEKS = 60
STRATEGY = "examples/delta_divergence.py:DeltaDivergence"


def seeks_ms(strategy: Strategy | None) -> list[float]:
    """Times of seeks to random rows of a tape that was played to its end once."""
    tape = data.tape(TRADES)
    first = int(tape.full_trades(0, 1).price_ticks[0])
    config = EngineConfig(bubble_band_ticks=bubble_band_ticks(first))
    track = Track(Engine(tape.instrument, config, strategy), tape)
    track.seek(track.row_count)
    rng = random.Random(1)
    found = []
    for _ in range(SEEKS):
        row = rng.randrange(track.row_count)
        before = time.perf_counter()
        track.seek(row)
        found.append(1e3 * (time.perf_counter() - before))
    return found


def main() -> None:
    for name, strategy in (("no strategy", None), ("a strategy", load_strategy(STRATEGY))):
        found = seeks_ms(strategy)
        print(
            f"seek in a day, {name:<12}       {statistics.median(found):8.1f} ms median, "
            f"{max(found):.1f} ms at most  (bar: 200)"
        )


if __name__ == "__main__":
    main()
