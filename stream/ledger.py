"""Everything a session put out about its own trading, and the digest that names it."""

import hashlib
from dataclasses import dataclass, field

from flowtape.stream.execution import Lane
from flowtape.stream.records import BAR, COMMAND, EQUITY, FILL, ORDER_EVENT, Records
from flowtape.stream.view import Series

KINDS = ("bars", "fills", "order_events", "equity", "commands")
_SERIES = (*KINDS, "other_fills")


@dataclass(eq=False)
class Ledger:
    """Closed bars, fills, order events, equity points and orders asked for, all of them, in order.

    `fills` are those of the base lane, `other_fills` those of the optimistic and pessimistic one.
    Each kind is hashed as it grows, so the digest of a session does not depend on how its inputs
    were cut. Without `keeps_bars`, bars are hashed only: a year of them is gigabytes.
    """

    keeps_bars: bool = True

    bars: Series = field(default_factory=lambda: Series(BAR))
    fills: Series = field(default_factory=lambda: Series(FILL))
    order_events: Series = field(default_factory=lambda: Series(ORDER_EVENT))
    equity: Series = field(default_factory=lambda: Series(EQUITY))
    commands: Series = field(default_factory=lambda: Series(COMMAND))
    other_fills: Series = field(default_factory=lambda: Series(FILL))
    _hashes: dict[str, "hashlib._Hash"] = field(
        default_factory=lambda: {kind: hashlib.sha256() for kind in KINDS}
    )

    def append(self, kind: str, records: Records) -> None:
        """Add records of one of `KINDS`."""
        if len(records) == 0:
            return
        self._hashes[kind].update(records.tobytes())
        if kind == "fills":
            base = records["lane"] == Lane.BASE
            self.other_fills.append(records[~base])
            records = records[base]
        if kind != "bars" or self.keeps_bars:
            series: Series = getattr(self, kind)
            series.append(records)

    def digest(self, state: bytes) -> str:
        """Return the hex digest of a state and of all that led to it."""
        whole = hashlib.sha256(state)
        for kind in KINDS:
            whole.update(self._hashes[kind].digest())
        return whole.hexdigest()

    def mark(self) -> "LedgerMark":
        """Return where the ledger stands, to come back to."""
        heads = {name: getattr(self, name).head for name in _SERIES}
        return LedgerMark(heads, {kind: h.copy() for kind, h in self._hashes.items()})

    def restore(self, mark: "LedgerMark") -> None:
        """Go back, or forward again, to a mark of this ledger."""
        for name in _SERIES:
            getattr(self, name).rewind(mark.heads[name])
        for kind in KINDS:
            self._hashes[kind] = mark.hashes[kind].copy()


@dataclass(frozen=True, slots=True)
class LedgerMark:
    """A place in a ledger."""

    heads: dict[str, int]
    hashes: dict[str, "hashlib._Hash"]
