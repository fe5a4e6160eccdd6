"""Everything a session put out, but bubbles, and the digest that names it."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flowtape.stream.commands import CommandKind
from flowtape.stream.execution import Lane
from flowtape.stream.records import (
    BAR,
    COMMAND,
    EQUITY,
    FILL,
    FOOTPRINT,
    FOOTPRINT_ROW,
    MARK,
    ORDER_EVENT,
    Records,
)
from flowtape.stream.running_hash import RunningHash
from flowtape.stream.view import Series


@dataclass(frozen=True, slots=True)
class BarHistory:
    """Closed bars of one series, their footprints, and the rows of those, all in order.

    Without footprints the last two stay empty. The rows of bar `n` have `sequence` n; they start at
    the sum of the `row_count` of the footprints before.
    """

    bars: Series
    footprints: Series
    footprint_rows: Series


@dataclass(frozen=True, slots=True)
class MarketHistory:
    """The series of bars of one instrument, and its marks."""

    series: tuple[BarHistory, ...]
    marks: Series
    bars: Series
    """Closed bars of the first series; stays empty where there is no series."""

    @classmethod
    def empty(cls, series_count: int) -> "MarketHistory":
        """Return a history of so many series before its first input."""
        series = tuple(
            BarHistory(Series(BAR), Series(FOOTPRINT), Series(FOOTPRINT_ROW))
            for _ in range(series_count)
        )
        return cls(series, Series(MARK), series[0].bars if series else Series(BAR))


class Ledger:
    """Closed bars, footprints, marks, fills, order events, equity points and commands.

    All of them, in order: what belongs to one instrument in `markets`, by its number, the account's
    here. `fills` are those of the base lane, `other_fills` those of the optimistic and the
    pessimistic one. Each kind is hashed as it grows, so the digest of a session does not depend on
    how its inputs were cut. Without `keeps_bars`, bars and footprints are hashed only: a year of
    them is gigabytes.
    """

    def __init__(
        self, *, keeps_bars: bool = True, series_count: int = 1, market_count: int = 1
    ) -> None:
        self.keeps_bars = keeps_bars
        self.markets = tuple(MarketHistory.empty(series_count) for _ in range(market_count))
        self.fills = Series(FILL)
        self.order_events = Series(ORDER_EVENT)
        self.equity = Series(EQUITY)
        self.commands = Series(COMMAND)
        self.other_fills = Series(FILL)
        self._kept = {
            "fills": self.fills,
            "order_events": self.order_events,
            "equity": self.equity,
            "commands": self.commands,
        }
        bars: dict[str, Series] = {}
        for number, market in enumerate(self.markets):
            self._kept[f"{number}.marks"] = market.marks
            for i, one in enumerate(market.series):
                bars[f"{number}.bars.{i}"] = one.bars
                bars[f"{number}.footprints.{i}"] = one.footprints
                bars[f"{number}.footprint_rows.{i}"] = one.footprint_rows
        self._kinds = self._kept | bars
        self._hashes = {kind: RunningHash() for kind in self._kinds}

    @property
    def series(self) -> tuple[BarHistory, ...]:
        """The series of the first instrument."""
        return self.markets[0].series

    @property
    def bars(self) -> Series:
        """Closed bars of the first instrument's first series."""
        return self.markets[0].bars

    @property
    def marks(self) -> Series:
        """Marks of the first instrument."""
        return self.markets[0].marks

    def append(self, kind: str, records: Records) -> None:
        """Add records of a kind: `fills`, `order_events`, `equity` or `commands`.

        Those of an instrument carry its number, and that of the series: `0.marks`, `0.bars.0`,
        `0.footprints.0`, `0.footprint_rows.0`.
        """
        if len(records) == 0:
            return
        self.append_bytes(kind, records.view(np.uint8))

    def append_bytes(self, kind: str, taken: NDArray[np.uint8]) -> None:
        """Add the bytes of records of a kind, as a kernel gives them."""
        if len(taken) == 0:
            return
        self._hashes[kind].update(taken.data)
        if kind not in self._kept and not self.keeps_bars:
            return
        records = taken.view(self._kinds[kind].dtype)
        if kind == "fills":
            base = records["lane"] == Lane.BASE
            self.other_fills.append(records[~base])
            records = records[base]
        self._kinds[kind].append(records)

    def digest(self, state: bytes) -> str:
        """Return the hex digest of a state and of all that led to it."""
        whole = hashlib.sha256(state)
        for kind in sorted(self._hashes):
            whole.update(self._hashes[kind].digest())
        return whole.hexdigest()

    def placed(self) -> Records:
        """Return the orders that were placed, of the commands, in order of their ids."""
        commands = self.commands.all()
        placed: Records = commands[commands["kind"] == CommandKind.PLACE]
        return placed

    def mark(self) -> "LedgerMark":
        """Return where the ledger stands, to come back to."""
        heads = {kind: series.head for kind, series in self._all_kinds().items()}
        return LedgerMark(heads, {kind: h.copy() for kind, h in self._hashes.items()})

    def restore(self, mark: "LedgerMark") -> None:
        """Go back, or forward again, to a mark of this ledger."""
        for kind, series in self._all_kinds().items():
            series.rewind(mark.heads[kind])
        self._hashes = {kind: h.copy() for kind, h in mark.hashes.items()}

    def since(self, mark: "LedgerMark | None") -> dict[str, Records]:
        """Return what came since a mark, or all there is, by kind."""
        return {
            kind: series.since(mark.heads[kind] if mark is not None else 0)
            for kind, series in self._all_kinds().items()
        }

    def fill(self, pieces: Mapping[str, Sequence[Records]], mark: "LedgerMark") -> None:
        """Bring an empty ledger to a mark of one like it, by what `since` gave up to that.

        One that keeps no bars takes none.
        """
        for kind, series in self._all_kinds().items():
            if self.keeps_bars or kind in self._kept or kind == "other_fills":
                series.reserve(sum(map(len, pieces[kind])))
                for piece in pieces[kind]:
                    series.append(piece)
        self._hashes = {kind: h.copy() for kind, h in mark.hashes.items()}

    def dtypes(self) -> dict[str, np.dtype[np.void]]:
        """Return the kinds of records that `since` gives, and what each is made of."""
        return {kind: series.dtype for kind, series in self._all_kinds().items()}

    def _all_kinds(self) -> dict[str, Series]:
        return {**self._kinds, "other_fills": self.other_fills}


@dataclass(frozen=True, slots=True)
class LedgerMark:
    """A place in a ledger."""

    heads: dict[str, int]
    hashes: dict[str, RunningHash]
