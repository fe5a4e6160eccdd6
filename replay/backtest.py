"""Tapes through a strategy at full speed, and the files that come out of it."""

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal
from pathlib import Path

import numpy as np

from flowtape.replay.metrics import Metrics, measure
from flowtape.replay.tapes import Tape
from flowtape.replay.together import Tapes
from flowtape.replay.track import fold
from flowtape.stream.config import EngineConfig, money_decimals
from flowtape.stream.engine import Engine
from flowtape.stream.errors import InputError
from flowtape.stream.execution import AccountKind
from flowtape.stream.instrument import Instrument
from flowtape.stream.ledger import Ledger
from flowtape.stream.loading import parameters_of
from flowtape.stream.strategy import Strategy

EQUITY_GRID_US = 60_000_000


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """A finished session.

    Attributes:
        strategy: name of the strategy's class.
        parameters: its parameters by name.
        trade_count: trades of the tape.
        start_us: stream time of the first trade.
        end_us: stream time of the last.
        digest: hex digest of all results; equal sessions have equal ones.
    """

    instruments: tuple[Instrument, ...]
    config: EngineConfig
    strategy: str
    parameters: dict[str, object]
    trade_count: int
    start_us: int
    end_us: int
    ledger: Ledger
    snapshot: np.void
    metrics: Metrics
    digest: str

    @property
    def instrument(self) -> Instrument:
        """The first instrument."""
        return self.instruments[0]

    @property
    def symbols(self) -> str:
        """The symbols, with a plus between them."""
        return "+".join(one.symbol for one in self.instruments)

    @property
    def money_decimals(self) -> int:
        """Decimals of the quote asset that one atom of money stands for."""
        return money_decimals(*self.instruments)


def backtest(
    instruments: Instrument | Sequence[Instrument],
    tape: Tape | Tapes,
    strategy: Strategy,
    config: EngineConfig,
    tick: Callable[[int], None] | None = None,
) -> Result:
    """Run a strategy over a tape, or over several with one account.

    `tick` is called with the rows done every now and then.
    """
    engine = Engine(instruments, config, strategy, shown=False)
    fold(engine, tape.read_batches(cached=True), tick)
    return result_of(engine)


NO_STRATEGY = "none"
"""What stands for a strategy where orders were a person's, or given as they are recorded."""


def result_of(engine: Engine) -> Result:
    """Return the result of an engine whose stream has ended."""
    strategy = engine.strategy
    if not engine.ended:
        raise InputError("only a session that has ended has a result")
    snapshot = engine.snapshot
    return Result(
        instruments=engine.instruments,
        config=engine.config,
        strategy=NO_STRATEGY if strategy is None else type(strategy).__name__,
        parameters={} if strategy is None else parameters_of(strategy),
        trade_count=engine.trade_count,
        start_us=engine.start_us,
        end_us=int(snapshot["stream_us"]),
        ledger=engine.ledger,
        snapshot=snapshot,
        metrics=measure(engine.instruments, engine.config, engine.ledger, snapshot),
        digest=engine.digest(),
    )


def metrics_json(result: Result) -> str:
    """Return `metrics.json`: what was run, its metrics and its digest."""
    return json.dumps(
        {
            "symbol": result.symbols,
            "market": result.instrument.market,
            "strategy": result.strategy,
            "parameters": result.parameters,
            "trade_count": result.trade_count,
            "start_us": result.start_us,
            "end_us": result.end_us,
            "latency_us": result.config.latency_us,
            "maker_fee_ppm": result.config.maker_fee_ppb / 1000,
            "taker_fee_ppm": result.config.taker_fee_ppb / 1000,
            **asdict(result.metrics),
            **_margin_words(result),
            "digest": result.digest,
        },
        indent=2,
    )


def _margin_words(result: Result) -> dict[str, str]:
    """What isolated margin did without: nothing is guessed where no mark price was stated."""
    if result.config.account is not AccountKind.ISOLATED:
        return {}
    marked = bool(result.snapshot["mark_ticks"])
    return {"liquidation_and_funding": "by mark price" if marked else "disabled: no mark price"}


def write_files(folder: Path, files: dict[str, str]) -> None:
    """Write files into a folder, all of them or none; files of other names there stay."""
    staging: Path | None = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        for name, text in files.items():
            (staging / name).write_text(text, encoding="utf-8")
        folder.mkdir(exist_ok=True)
        for name in files:
            os.replace(staging / name, folder / name)
    except OSError as error:
        raise _unwritable(folder, error.strerror) from None
    finally:
        if staging is not None:
            shutil.rmtree(staging, ignore_errors=True)


def check_folder(folder: Path) -> None:
    """Raise InputError when it is plain already that no results can be written to `folder`."""
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not there.is_dir():
        raise _unwritable(folder, f"{there} is a file")
    if not os.access(there, os.W_OK | os.X_OK):
        raise _unwritable(folder, f"{there} is not yours to write to")


def _unwritable(folder: Path, why: str | None) -> InputError:
    return InputError(f"cannot write the results to {folder}: {why}; give another --out")


def _money(atoms: int, decimals: int) -> str:
    return f"{Decimal(atoms).scaleb(-decimals):f}"
