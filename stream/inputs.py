"""Inputs as columns: trades, and what else an engine is told, in one numbered order."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from enum import IntEnum
from typing import Any, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from flowtape._kernel import Kernel
from flowtape.stream.ports import Clock, Funding, Gap, Mark
from flowtape.stream.trades import I8, I64, Trades

U8 = NDArray[np.uint8]


class InputKind(IntEnum):
    """What an input is; its two numbers are named behind it."""

    TRADE = 1
    """price_ticks, qty_lots"""
    CLOCK = 2
    """0, 0"""
    GAP = 3
    """First and last missing id."""
    MARK = 4
    """mark_ticks, 0"""
    FUNDING = 5
    """rate_ppb, 0"""
    END = 6
    """0, 0"""
    INSTRUMENT = 7
    """A rule of the venue by its number, which is the place of its field in `VenueRules` from 0
    on, and its value from now on."""


Statement = tuple[InputKind, int, int, int, int]
"""Kind, instrument, time and the two numbers of an input that is no trade."""

# An enum's member takes longer to look up than a column of few rows to fill.
_TRADE = int(InputKind.TRADE)


@dataclass(frozen=True, slots=True, eq=False)
class Inputs:
    """Equally long, C-contiguous columns of consecutive inputs.

    `kind` (uint8) is an `InputKind` and `market` (uint8) numbers the instrument. Trades fill every
    column as `Trades` has them; of other inputs `price_ticks` and `qty_lots` are the two numbers
    of their kind, and ids and side are 0.
    """

    kind: U8
    market: U8
    side: I8
    ts_us: I64
    price_ticks: I64
    qty_lots: I64
    agg_id: I64
    first_id: I64
    last_id: I64

    def __len__(self) -> int:
        return len(self.kind)

    @classmethod
    def zeros(cls, count: int) -> Self:
        """Return so many rows of zeros, to be filled in."""
        return cls(
            *(np.zeros(count, np.uint8), np.zeros(count, np.uint8), np.zeros(count, np.int8)),
            *(np.zeros(count, np.int64) for _ in range(6)),
        )

    def columns(self) -> tuple[NDArray[Any], ...]:
        """Return the columns, in their order."""
        return (
            *(self.kind, self.market, self.side, self.ts_us, self.price_ticks, self.qty_lots),
            *(self.agg_id, self.first_id, self.last_id),
        )

    @classmethod
    def of_trades(cls, trades: Trades, market: int = 0) -> Self:
        """Return the trades of one instrument as inputs."""
        count = len(trades)
        return cls(
            np.full(count, _TRADE, np.uint8),
            np.full(count, market, np.uint8),
            trades.side,
            trades.ts_us,
            trades.price_ticks,
            trades.qty_lots,
            trades.agg_id,
            trades.first_id,
            trades.last_id,
        )

    @classmethod
    def one(
        cls, kind: InputKind, *, market: int = 0, ts_us: int = 0, a: int = 0, b: int = 0
    ) -> Self:
        """Return one input that is no trade."""
        small = (np.array([kind], np.uint8), np.array([market], np.uint8), np.zeros(1, np.int8))
        return cls(*small, *(np.array([value], np.int64) for value in (ts_us, a, b, 0, 0, 0)))

    @classmethod
    def of_rules(cls, changes: Sequence[tuple[int, int]], market: int, ts_us: int) -> Self:
        """Return rules of an instrument's venue that changed, numbers and values, as inputs."""
        inputs = cls.zeros(len(changes))
        inputs.kind[:], inputs.market[:], inputs.ts_us[:] = InputKind.INSTRUMENT, market, ts_us
        for row, change in enumerate(changes):
            inputs.price_ticks[row], inputs.qty_lots[row] = change
        return inputs

    @classmethod
    def of(cls, event: Trades | Clock | Gap | Mark | Funding, market: int, stream_us: int) -> Self:
        """Return an event as inputs behind stream time `stream_us`; none when it says nothing new.

        A late clock says nothing new; a late mark or rate holds from now on.
        """
        if isinstance(event, Trades):
            return cls.of_trades(event, market)
        if isinstance(event, Gap):
            return cls.one(InputKind.GAP, market=market, a=event.from_id, b=event.to_id)
        ts_us = max(event.ts_us, stream_us)
        if isinstance(event, Mark):
            return cls.one(InputKind.MARK, market=market, ts_us=ts_us, a=event.mark_ticks)
        if isinstance(event, Funding):
            return cls.one(InputKind.FUNDING, market=market, ts_us=ts_us, a=event.rate_ppb)
        assert isinstance(event, Clock)
        clock = cls.one(InputKind.CLOCK, ts_us=ts_us)
        return clock.slice(0, int(ts_us == event.ts_us))

    def slice(self, start: int, stop: int) -> Self:
        """Return rows [start, stop) as views of these columns."""
        if start == 0 and stop >= len(self):
            return self
        return type(self)(*[column[start:stop] for column in self.columns()])

    def take(self, rows: NDArray[np.intp]) -> Self:
        """Return some rows, copied into new columns."""
        return type(self)(*[column[rows] for column in self.columns()])

    @classmethod
    def concat(cls, parts: list[Self]) -> Self:
        """Return the parts one behind the other, copied into new columns; at least one part."""
        return cls(*(np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(cls)))

    def runs(self) -> Iterator[Self]:
        """Yield runs of trades, and other inputs one by one, in order."""
        at, count = 0, len(self)
        for other in np.flatnonzero(self.kind != InputKind.TRADE).tolist():
            if other > at:
                yield self.slice(at, other)
            yield self.slice(other, other + 1)
            at = other + 1
        if at < count:
            yield self.slice(at, count)

    def statement(self) -> Statement:
        """Return the one input there is, which is no trade."""
        columns = (self.market, self.ts_us, self.price_ticks, self.qty_lots)
        market, ts_us, a, b = (int(column[0]) for column in columns)
        return InputKind(int(self.kind[0])), market, ts_us, a, b

    def trades(self, market: int) -> Trades:
        """Return the trades of one instrument among them."""
        own = np.flatnonzero((self.kind == InputKind.TRADE) & (self.market == market))
        return Trades(*(getattr(self, f.name)[own] for f in fields(Trades)))

    def to_batch(self) -> pa.RecordBatch:
        """Return them as an Arrow batch of `INPUT_SCHEMA`."""
        columns = [np.ascontiguousarray(column) for column in self.columns()]
        return pa.RecordBatch.from_arrays(list(map(pa.array, columns)), schema=INPUT_SCHEMA)

    @classmethod
    def from_batch(cls, batch: pa.RecordBatch) -> Self:
        """Return the inputs of an Arrow batch, as views of it."""
        return cls(*(column.to_numpy() for column in batch.columns))


INPUT_SCHEMA = pa.schema(
    [
        *(pa.field(name, pa.uint8(), nullable=False) for name in ("kind", "market")),
        pa.field("side", pa.int8(), nullable=False),
        *(pa.field(f.name, pa.int64(), nullable=False) for f in fields(Inputs)[3:]),
    ]
)


def tell(kernel: Kernel, statement: Statement) -> bool:
    """Apply an input that is no trade; return whether it makes a decision point."""
    kind, market, ts_us, a, b = statement
    if kind is InputKind.CLOCK:
        return kernel.clock(ts_us)
    if kind is InputKind.MARK:
        return kernel.mark(market, ts_us, a)
    if kind is InputKind.FUNDING:
        return kernel.funding(market, ts_us, a)
    if kind is InputKind.INSTRUMENT:
        return kernel.set_rule(market, ts_us, a, b)
    if kind is InputKind.GAP:
        kernel.gap(market)
    else:
        kernel.end()
    return False
