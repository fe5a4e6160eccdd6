"""Everything a session put out, but bubbles, and the digest that names it."""

import hashlib
from dataclasses import dataclass

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


class Ledger:
    """Closed bars, footprints, marks, fills, order events, equity points and orders asked for.

    All of them, in order. `fills` are those of the base lane, `other_fills` those of the optimistic
    and the pessimistic one. Each kind is hashed as it grows, so the digest of a session does not
    depend on how its inputs were cut. Without `keeps_bars`, bars and footprints are hashed only: a
    year of them is gigabytes.
    """

    def __init__(self, *, keeps_bars: bool = True, series_count: int = 1) -> None:
        self.keeps_bars = keeps_bars
        self.series = tuple(
            BarHistory(Series(BAR), Series(FOOTPRINT), Series(FOOTPRINT_ROW))
            for _ in range(series_count)
        )
        self._no_bars = Series(BAR)
        self.marks = Series(MARK)
        self.fills = Series(FILL)
        self.order_events = Series(ORDER_EVENT)
        self.equity = Series(EQUITY)
        self.commands = Series(COMMAND)
        self.other_fills = Series(FILL)
        self._kept = {
            "marks": self.marks,
            "fills": self.fills,
            "order_events": self.order_events,
            "equity": self.equity,
            "commands": self.commands,
        }
        self._kinds = dict(self._kept)
        for i, one in enumerate(self.series):
            self._kinds[f"bars.{i}"] = one.bars
            self._kinds[f"footprints.{i}"] = one.footprints
            self._kinds[f"footprint_rows.{i}"] = one.footprint_rows
        self._hashes = {kind: hashlib.sha256() for kind in self._kinds}

    @property
    def bars(self) -> Series:
        """Closed bars of the first series; none where there is no series."""
        return self.series[0].bars if self.series else self._no_bars

    def append(self, kind: str, records: Records) -> None:
        """Add records of a kind: `marks`, `fills`, `order_events`, `equity` or `commands`.

        Those of a series carry its number: `bars.0`, `footprints.0`, `footprint_rows.0`.
        """
        if len(records) == 0:
            return
        self._hashes[kind].update(records.tobytes())
        if kind == "fills":
            base = records["lane"] == Lane.BASE
            self.other_fills.append(records[~base])
            records = records[base]
        if kind in self._kept or self.keeps_bars:
            self._kinds[kind].append(records)

    def digest(self, state: bytes) -> str:
        """Return the hex digest of a state and of all that led to it."""
        whole = hashlib.sha256(state)
        for kind in sorted(self._hashes):
            whole.update(self._hashes[kind].digest())
        return whole.hexdigest()

    def mark(self) -> "LedgerMark":
        """Return where the ledger stands, to come back to."""
        heads = {kind: series.head for kind, series in self._kinds.items()}
        heads["other_fills"] = self.other_fills.head
        return LedgerMark(heads, {kind: h.copy() for kind, h in self._hashes.items()})

    def restore(self, mark: "LedgerMark") -> None:
        """Go back, or forward again, to a mark of this ledger."""
        self.other_fills.rewind(mark.heads["other_fills"])
        for kind, series in self._kinds.items():
            series.rewind(mark.heads[kind])
            self._hashes[kind] = mark.hashes[kind].copy()


@dataclass(frozen=True, slots=True)
class LedgerMark:
    """A place in a ledger."""

    heads: dict[str, int]
    hashes: dict[str, "hashlib._Hash"]
