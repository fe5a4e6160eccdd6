"""Trading a whole tape from arrays, without a strategy: target positions, or orders.

An array has an entry for each decision point of the session, which `decision_points` tells. They
are those of `EngineConfig.decide`, but never follow fills: arrays are made before there are any.
"""

from collections.abc import Iterator
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from flowtape._kernel import Batch, Decisions, OrderRun, TargetRun
from flowtape.replay.backtest import Result
from flowtape.replay.metrics import measure
from flowtape.replay.parts import TapeColumns
from flowtape.replay.track import SLICE_ROWS, fold
from flowtape.stream.commands import CommandKind, Origin
from flowtape.stream.config import EngineConfig
from flowtape.stream.engine import Engine
from flowtape.stream.errors import FlowError, InputError
from flowtape.stream.instrument import Instrument
from flowtape.stream.ledger import Ledger
from flowtape.stream.outputs import Columns
from flowtape.stream.records import COMMAND, PLACED, REQUEST, Records
from flowtape.stream.trades import I64


@runtime_checkable
class TapeRows(Protocol):
    """A tape, as far as arrays need it."""

    def segments(self) -> list[TapeColumns]:
        """Return all rows as contiguous pieces, in order."""
        ...


Source = Columns | TapeRows
"""Trades in memory, or a tape."""


class RefusedOrderError(FlowError):
    """An order was refused; the session stopped there, and what was done before stands.

    Attributes:
        status: name of the kernel status, for example `LOT_SIZE`.
        decision: its decision point.
        order: its place in the array of orders; of targets, how many were placed before it.
        ledger: what the session had put out until then.
        snapshot: its state then, one record of `records.SNAPSHOT`.
    """

    def __init__(
        self, refusal: tuple[str, str, int, int], ledger: Ledger, snapshot: np.void
    ) -> None:
        self.status, text, self.decision, self.order = refusal
        self.ledger = ledger
        self.snapshot = snapshot
        super().__init__(f"order {self.order}, at decision point {self.decision}: {text}")


def decision_points(source: Source, config: EngineConfig) -> tuple[I64, I64]:
    """Return the row of each decision point, counted over the whole source, and stream time there.

    Raises InputError when decision points would follow fills.
    """
    finder = decisions_of(config)
    rows, stamps, start = [], [], 0
    for times in times_of(source):
        found, stamped = finder.find(times)
        rows.append(found + start)
        stamps.append(stamped)
        start += len(times)
    none = np.empty(0, np.int64)
    return np.concatenate([none, *rows]), np.concatenate([none, *stamps])


def count_decisions(source: Source, config: EngineConfig) -> int:
    """Return the number of decision points; raises as `decision_points`."""
    finder = decisions_of(config)
    return sum(finder.count(times) for times in times_of(source))


def run_targets(
    instrument: Instrument, source: Source, config: EngineConfig, targets: NDArray[Any]
) -> Result:
    """Follow target positions and return the finished session.

    `targets` are whole lots, one for each decision point. There a market order is placed for the
    difference between a target and the one before it, the first against 0: of targets, not of
    positions, so an order still on its way is not placed twice. Floats are refused, whole or not:
    whoever rounds should know how.

    Raises InputError for an array that does not fit, RefusedOrderError.
    """
    lots = whole_lots(targets, "targets", dimensions=1).astype(np.int64)
    check_columns("targets", len(lots), source, config)
    engine = ArrayEngine(instrument, config, TargetRun(lots))
    return _finish(engine, source, "targets", {"decision_count": len(lots)})


def run_orders(
    instrument: Instrument,
    source: Source,
    config: EngineConfig,
    orders: Records,
    decisions: NDArray[Any],
) -> Result:
    """Place orders at decision points and return the finished session.

    `orders` are records of `records.REQUEST`, `decisions` has the decision point of each, counted
    from 0 and never falling. They are placed one by one, at the stream time of the decision point;
    `orders.GROUP + i` as parent or sibling names the i-th order of the array, an earlier one.

    Raises InputError for arrays that do not fit, RefusedOrderError.
    """
    if orders.dtype != REQUEST or orders.ndim != 1:
        raise InputError("orders must be a one-dimensional array of records.REQUEST")
    places = whole_lots(decisions, "decisions", dimensions=1).astype(np.int64)
    try:
        run = OrderRun(np.ascontiguousarray(orders).view(np.uint8), places)
    except ValueError as error:
        raise InputError(f"decisions do not fit: {error}") from None
    count = count_decisions(source, config)
    if len(places) and places[-1] >= count:
        raise InputError(
            f"an order is for decision point {places[-1]}, but there are {count}, "
            "counted from 0; decision_points() tells them"
        )
    engine = ArrayEngine(instrument, config, run)
    return _finish(engine, source, "orders", {"order_count": len(orders)})


class ArrayEngine(Engine):
    """An engine that takes its orders from an array instead of a strategy."""

    def __init__(
        self, instrument: Instrument, config: EngineConfig, run: TargetRun | OrderRun
    ) -> None:
        super().__init__(instrument, config, shown=False)
        self.ledger.keeps_bars = True
        self._run = run

    def apply(self, trades: Columns) -> None:
        """Apply trades in order, placing orders at decision points.

        Raises KernelError, with nothing applied, when a row is no valid trade, and
        RefusedOrderError.
        """
        batch = Batch(trades.ts_us, trades.price_ticks, trades.qty_lots, trades.side)
        if self.start_us == 0 and len(batch):
            self.start_us = int(trades.ts_us[0])
        refusal = self._run.run(self._kernel, batch)
        self.ledger.append("commands", _commands_of(self._run.take_placed().view(PLACED)))
        self._collect(None, 0)
        if refusal is not None:
            raise RefusedOrderError(refusal, self.ledger, self.snapshot)


def _commands_of(placed: Records) -> Records:
    """Orders placed one by one, as the commands of a strategy."""
    commands = np.zeros(len(placed), COMMAND)
    for name in PLACED.names or ():
        commands[name] = placed[name]
    rows = np.arange(len(placed))
    first = np.searchsorted(placed["input"], placed["input"])
    commands["place"] = rows - first + 1
    commands["kind"], commands["origin"] = CommandKind.PLACE, Origin.STRATEGY
    return commands


def _finish(
    engine: ArrayEngine, source: Source, name: str, parameters: dict[str, object]
) -> Result:
    if isinstance(source, TapeRows):
        fold(engine, pieces_of(source))
    else:
        engine.apply(source)
        engine.end()
    snapshot = engine.snapshot
    return Result(
        instruments=engine.instruments,
        config=engine.config,
        strategy=name,
        parameters=parameters,
        trade_count=int(snapshot["trade_count"]),
        start_us=engine.start_us,
        end_us=int(snapshot["stream_us"]),
        ledger=engine.ledger,
        snapshot=snapshot,
        metrics=measure(engine.instruments, engine.config, engine.ledger, snapshot),
        digest=engine.digest(),
    )


def pieces_of(tape: TapeRows) -> Iterator[TapeColumns]:
    """Yield the trades of a tape in order."""
    for segment in tape.segments():
        for start in range(0, len(segment), SLICE_ROWS):
            yield segment.slice(start, start + SLICE_ROWS)


def times_of(source: Source) -> Iterator[I64]:
    """Yield the times of all trades in order."""
    if isinstance(source, TapeRows):
        yield from (segment.ts_us for segment in source.segments())
    else:
        yield source.ts_us


def decisions_of(config: EngineConfig) -> Decisions:
    """Return what finds decision points; raises InputError when they would follow fills."""
    decide = config.decide
    if decide.on_fill:
        raise InputError("decision points of arrays cannot follow fills: set decide.on_fill=False")
    if decide.trades_count < 0 or decide.grid_us < 0:
        raise InputError("decide.trades_count and decide.grid_us must not be negative")
    return Decisions(decide.trades_count, decide.grid_us)


def whole_lots(array: NDArray[Any], name: str, dimensions: int) -> NDArray[Any]:
    """Return an array of integers that 64 bits hold; raises InputError for any other."""
    found = np.asarray(array)
    if found.ndim != dimensions:
        raise InputError(f"{name} must have {dimensions} dimension(s), had {found.ndim}")
    if found.size == 0 and found.dtype == np.float64:
        return found.astype(np.int64)
    if found.dtype.kind == "f":
        missing = np.argwhere(np.isnan(found))
        if len(missing):
            place = ", ".join(map(str, missing[0]))
            raise InputError(f"{name}[{place}] is NaN: there is no such position; fill it first")
    if found.dtype.kind not in "iu" or not np.can_cast(found.dtype, np.int64):
        raise InputError(
            f"{name} must be signed integers, was {found.dtype}; round it as you mean it, "
            "for example np.rint(x).astype(np.int64)"
        )
    return found


def check_columns(name: str, given: int, source: Source, config: EngineConfig) -> None:
    """Raise InputError unless there are as many columns as decision points."""
    count = count_decisions(source, config)
    if given != count:
        raise InputError(
            f"the session has {count} decision points, {name} has {given}; "
            "decision_points() tells their rows and times"
        )
