"""Tapes to measure on: made once from a seed, kept in build/benchmarks."""

from pathlib import Path

import numpy as np

from flowtape.replay.generate import GeneratorConfig, generate
from flowtape.replay.parts import TapeColumns
from flowtape.replay.tape_writer import add_trades
from flowtape.replay.tapes import Tape, TapeStore

BUILD = Path(__file__).parents[1] / "build" / "benchmarks"
SEED = 1


def tape(trades_count: int, preset: str = "fine") -> Tape:
    """Return a tape of the generator, with its fast copy made."""
    root = BUILD / f"tapes-{preset}-{trades_count}"
    store = TapeStore(root)
    done = root / "done"
    config = GeneratorConfig.preset(preset)
    if not done.exists():
        print(f"making a tape of {trades_count:,} trades in {root} ...", flush=True)
        add_trades(store, config.instrument, generate(config, seed=SEED, trades_count=trades_count))
        done.touch()
    opened = store.open(config.instrument.symbol)
    opened.segments()
    return opened


def columns(trades_count: int, preset: str = "fine") -> TapeColumns:
    """Return the tape's columns in memory, touched."""
    found = tape(trades_count, preset)
    copied = TapeColumns.concat(found.segments())
    for column in (copied.ts_us, copied.price_ticks, copied.qty_lots, copied.side):
        assert int(np.add.reduce(column, dtype=np.int64)) != 0
    return copied
