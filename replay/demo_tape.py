"""The tape that ships with flowtape: six synthetic hours, made from a fixed seed.

`replay/demo/` is `write_demo(Path("replay/demo"))`; a test keeps the two equal.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import platformdirs

from flowtape.replay.generate import GeneratorConfig, generate
from flowtape.replay.tape_writer import add_trades
from flowtape.replay.tapes import TapeStore
from flowtape.stream.instrument import Instrument
from flowtape.stream.trades import Trades

DEMO_SYMBOL = "DEMOUSDT"

_SEED = 10
_TRADES_COUNT = 320_000
_START_US = 1_767_268_800_000_000  # 2026-01-01 12:00 UTC


def demo_store(cache_root: Path | None = None) -> TapeStore:
    """Return the store with the bundled tape.

    Its fast copy goes into the user's cache folder, or below `cache_root`: where flowtape is
    installed may be read-only.
    """
    cache = cache_root or platformdirs.user_cache_path("flowtape") / "tapes"
    return TapeStore(Path(__file__).parent / "demo", cache)


def demo_trades() -> Iterator[Trades]:
    """Yield the trades of the bundled tape, made anew."""
    yield from generate(_config(), seed=_SEED, trades_count=_TRADES_COUNT)


def write_demo(root: Path) -> None:
    """Write the bundled tape into the store at `root`."""
    add_trades(TapeStore(root), _config().instrument, demo_trades())


def _config() -> GeneratorConfig:
    return replace(
        GeneratorConfig.preset("fine"),
        instrument=Instrument(DEMO_SYMBOL, "spot", 2, 5),
        start_us=_START_US,
        first_agg_id=1_000_000,
        order_rate_mhz=3_500,
    )
