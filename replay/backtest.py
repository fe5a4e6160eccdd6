"""A tape through a strategy at full speed, and the files that come out of it."""

import csv
import io
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from decimal import Decimal
from pathlib import Path

import numpy as np

from flowtape.replay.metrics import Metrics, measure
from flowtape.replay.tapes import Tape
from flowtape.replay.track import fold
from flowtape.stream.config import EngineConfig, money_decimals
from flowtape.stream.decimals import format_decimal
from flowtape.stream.engine import Engine
from flowtape.stream.errors import InputError
from flowtape.stream.execution import Lane, Role
from flowtape.stream.instrument import Instrument
from flowtape.stream.ledger import Ledger
from flowtape.stream.loading import parameters_of
from flowtape.stream.records import i128
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

    instrument: Instrument
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


def backtest(
    instrument: Instrument,
    tape: Tape,
    strategy: Strategy,
    config: EngineConfig,
    tick: Callable[[int], None] | None = None,
) -> Result:
    """Run a strategy over a tape; `tick` is called with the rows done every now and then."""
    engine = Engine(instrument, config, strategy, shown=False)
    fold(engine, tape.read_batches(cached=True), tick)
    return result_of(engine)


def result_of(engine: Engine) -> Result:
    """Return the result of an engine whose stream has ended."""
    strategy = engine.strategy
    if not engine.ended or strategy is None:
        raise InputError("only a finished session with a strategy has a result")
    snapshot = engine.snapshot
    return Result(
        instrument=engine.instrument,
        config=engine.config,
        strategy=type(strategy).__name__,
        parameters=parameters_of(strategy),
        trade_count=int(snapshot["trade_count"]),
        start_us=engine.start_us,
        end_us=int(snapshot["stream_us"]),
        ledger=engine.ledger,
        snapshot=snapshot,
        metrics=measure(engine.instrument, engine.config, engine.ledger, snapshot),
        digest=engine.digest(),
    )


def metrics_json(result: Result) -> str:
    """Return `metrics.json`: what was run, its metrics and its digest."""
    return json.dumps(
        {
            "symbol": result.instrument.symbol,
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
            "digest": result.digest,
        },
        indent=2,
    )


def equity_csv(result: Result) -> str:
    """Return `equity.csv`: the account at each fill and each point of the equity grid."""
    decimals = money_decimals(result.instrument)
    qty_decimals, price_decimals = result.instrument.qty_decimals, result.instrument.price_decimals
    header = ("ts_us", "equity", "position", "mark", "realized_pnl", "fees")
    return _csv(
        header,
        (
            (
                int(p["ts_us"]),
                _money(i128(p["equity_atoms"]), decimals),
                format_decimal(int(p["position_lots"]), qty_decimals),
                format_decimal(int(p["mark_ticks"]), price_decimals),
                _money(i128(p["realized_atoms"]), decimals),
                _money(i128(p["fees_atoms"]), decimals),
            )
            for p in result.ledger.equity.all()
        ),
    )


def fills_csv(result: Result) -> str:
    """Return `fills.csv`: one line for each fill of each lane, exact decimals."""
    decimals = money_decimals(result.instrument)
    ledger = result.ledger
    fills = np.concatenate([ledger.fills.all(), ledger.other_fills.all()])
    client_ids = {
        int(c["order_id"]): int(c["request"]["client_id"])
        for c in ledger.commands.all()
        if c["request"]["client_id"]
    }
    header = ("order_id", "client_id", "lane", "ts_us", "side", "price", "qty", "role", "fee")
    return _csv(
        header,
        (
            (
                int(f["order_id"]),
                client_ids.get(int(f["order_id"]), ""),
                Lane(int(f["lane"])).name.lower(),
                int(f["ts_us"]),
                "buy" if f["side"] > 0 else "sell",
                format_decimal(int(f["price_ticks"]), result.instrument.price_decimals),
                format_decimal(int(f["qty_lots"]), result.instrument.qty_decimals),
                Role(int(f["role"])).name.lower(),
                _money(i128(f["fee_atoms"]), decimals),
            )
            for f in fills[np.argsort(fills["input"], kind="stable")]
        ),
    )


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


def _csv(header: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()
