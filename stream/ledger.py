"""Everything a session put out about its own trading, and the digest that names it."""

import hashlib
from dataclasses import dataclass, field

from flowtape.stream.records import BAR, EQUITY, FILL, ORDER_EVENT, Records
from flowtape.stream.view import Series

KINDS = ("bars", "fills", "order_events", "equity")


@dataclass(eq=False)
class Ledger:
    """Closed bars, fills, order events and equity points, all of them, in order.

    Each kind is hashed as it grows, so the digest of a session does not depend on how its inputs
    were cut. Without `keeps_bars`, bars are hashed only: a year of them is gigabytes.
    """

    keeps_bars: bool = True

    bars: Series = field(default_factory=lambda: Series(BAR))
    fills: Series = field(default_factory=lambda: Series(FILL))
    order_events: Series = field(default_factory=lambda: Series(ORDER_EVENT))
    equity: Series = field(default_factory=lambda: Series(EQUITY))
    _hashes: dict[str, "hashlib._Hash"] = field(
        default_factory=lambda: {kind: hashlib.sha256() for kind in KINDS}
    )

    def append(self, kind: str, records: Records) -> None:
        """Add records of one of `KINDS`."""
        if len(records) == 0:
            return
        if kind != "bars" or self.keeps_bars:
            series: Series = getattr(self, kind)
            series.append(records)
        self._hashes[kind].update(records.tobytes())

    def digest(self, state: bytes) -> str:
        """Return the hex digest of a state and of all that led to it."""
        whole = hashlib.sha256(state)
        for kind in KINDS:
            whole.update(self._hashes[kind].digest())
        return whole.hexdigest()

    def mark(self) -> "LedgerMark":
        """Return where the ledger stands, to come back to."""
        heads = {kind: getattr(self, kind).head for kind in KINDS}
        return LedgerMark(heads, {kind: h.copy() for kind, h in self._hashes.items()})

    def restore(self, mark: "LedgerMark") -> None:
        """Go back, or forward again, to a mark of this ledger."""
        for kind in KINDS:
            getattr(self, kind).rewind(mark.heads[kind])
            self._hashes[kind] = mark.hashes[kind].copy()


@dataclass(frozen=True, slots=True)
class LedgerMark:
    """A place in a ledger."""

    heads: dict[str, int]
    hashes: dict[str, "hashlib._Hash"]
