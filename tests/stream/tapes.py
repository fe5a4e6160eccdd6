"""Small synthetic tapes for tests, made from a seed."""

import itertools
from dataclasses import dataclass

import numpy as np

from flowtape.replay.parts import TapeColumns
from flowtape.stream.instrument import Instrument

INSTRUMENT = Instrument("TESTUSDT", "spot", 2, 5)
START_US = 1_767_225_600_000_000


@dataclass
class MemoryTape:
    """Columns in memory, cut into pieces; what a track needs of a tape."""

    columns: TapeColumns
    pieces: int = 1

    def segments(self) -> list[TapeColumns]:
        edges = np.linspace(0, len(self.columns), self.pieces + 1).astype(int)
        return [self.columns.slice(int(a), int(b)) for a, b in itertools.pairwise(edges) if a < b]


def make_columns(count: int, seed: int, mean_gap_us: int = 50_000) -> TapeColumns:
    rng = np.random.default_rng(seed)
    gaps = rng.exponential(mean_gap_us, count).astype(np.int64) * (rng.random(count) < 0.6)
    ts = START_US + np.cumsum(gaps)
    late = rng.random(count) < 0.001
    ts[late] -= 1000
    side = np.where(np.cumsum(rng.random(count) < 0.2) % 2 == 0, 1, -1).astype(np.int8)
    price = 100_000 + np.cumsum(side * (rng.random(count) < 0.4))
    return TapeColumns(ts, price.astype(np.int64), rng.integers(1, 50_000, count), side)
