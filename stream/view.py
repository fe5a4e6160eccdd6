"""What people look at: the recent history of one instrument, fed by the engine, read by screens.

The engine's thread appends; any thread reads. Readers hold a `Cursor` and ask for what came since,
so a slow reader never holds anyone up: it gets a longer piece, or, when the ring has gone round or
the playback was moved, a fresh start (`Update.restart`).
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from flowtape.stream.instrument import Instrument
from flowtape.stream.records import BAR, BUBBLE, EQUITY, FILL, MARK, PRINT, PROFILE_ROW, Records

if TYPE_CHECKING:
    from flowtape.stream.ledger import BarHistory

BUBBLES_KEPT = 1 << 16
PRINTS_KEPT = 1 << 12
FILLS_KEPT = 1 << 14
EQUITY_KEPT = 1 << 16


def _raw(records: Records) -> NDArray[np.uint8]:
    """The bytes of records, one row each; NumPy copies these at once, but structs one by one."""
    return np.ascontiguousarray(records).view(np.uint8).reshape(len(records), -1)


def _records(rows: NDArray[np.uint8], dtype: np.dtype[np.void]) -> Records:
    """The records whose bytes these are."""
    return rows.reshape(-1).view(dtype)


class Ring:
    """The last `capacity` records of an endless numbered row; record i is the i-th ever added."""

    def __init__(self, dtype: np.dtype[np.void], capacity: int) -> None:
        self._slots = np.zeros(capacity, dtype)
        self._bytes = _raw(self._slots)
        self._first = 0
        self.head = 0

    def append(self, records: Records) -> None:
        """Add records behind the newest."""
        capacity = len(self._slots)
        if len(records) >= capacity:
            self.head += len(records) - capacity
            records = records[-capacity:]
        if len(records) == 0:
            return
        at, new = self.head % capacity, _raw(records)
        first = min(len(new), capacity - at)
        self._bytes[at : at + first] = new[:first]
        self._bytes[: len(new) - first] = new[first:]
        self.head += len(new)

    def since(self, index: int) -> Records:
        """Return a copy of the records from `index` on that are still kept, oldest first."""
        capacity = len(self._slots)
        start = min(max(index, self.head - capacity, self._first), self.head)
        at, stop = start % capacity, self.head % capacity
        if start == self.head:
            return self._slots[:0].copy()
        if at < stop:
            rows = self._bytes[at:stop].copy()
        else:
            rows = np.concatenate([self._bytes[at:], self._bytes[:stop]])
        return _records(rows, self._slots.dtype)

    def holds(self, index: int) -> bool:
        """Tell whether nothing from `index` on was overwritten."""
        return max(self.head - len(self._slots), self._first) <= index

    def clear(self, first: int = 0) -> None:
        """Start again, at record 0 or a later one."""
        self.head = self._first = first


class Series:
    """A growing row of records that are all kept."""

    def __init__(self, dtype: np.dtype[np.void]) -> None:
        self.dtype = dtype
        self._records = np.empty(1024, dtype)
        self._bytes = _raw(self._records)
        self.head = 0

    def reserve(self, count: int) -> None:
        """Make room for `count` records in all; memory is taken only as records fill it."""
        if count > len(self._records):
            grown = np.empty(count, self._records.dtype)
            grown_bytes = _raw(grown)
            # Records behind the head may be taken up again after going back.
            grown_bytes[: len(self._records)] = self._bytes
            self._records, self._bytes = grown, grown_bytes

    def append(self, records: Records) -> None:
        """Add records behind the newest."""
        if len(records) == 0:
            return
        need = self.head + len(records)
        if need > len(self._records):
            self.reserve(max(need, 2 * len(self._records)))
        self._bytes[self.head : need] = _raw(records)
        self.head = need

    def since(self, index: int) -> Records:
        """Return a copy of the records from `index` on."""
        return _records(self._bytes[index : self.head].copy(), self._records.dtype)

    def all(self) -> Records:
        """Return a view of every record; do not write to it."""
        return self._records[: self.head]

    def rewind(self, head: int) -> None:
        """Stand at record `head`; going forward again takes up records that were there before."""
        self.head = head


@dataclass(slots=True)
class Cursor:
    """How far one reader has read."""

    epoch: int = -1
    bars: int = 0
    bubbles: int = 0
    prints: int = 0
    fills: int = 0
    equity: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Update:
    """What came since a cursor; every array is the reader's own copy.

    With `restart` the arrays hold the whole kept history and what the reader had is void.
    `snapshot` is one record of `records.SNAPSHOT` with the open bar and bubble; `profile` is given
    when asked for; `orders` are the open orders.
    """

    epoch: int
    restart: bool
    snapshot: np.void
    bars: NDArray[np.void]
    bubbles: NDArray[np.void]
    prints: NDArray[np.void]
    fills: NDArray[np.void]
    equity: NDArray[np.void]
    orders: NDArray[np.void]
    profile: NDArray[np.void] | None


@dataclass(eq=False)
class MarketView:
    """The recent history of one instrument.

    `bars` (closed, on a grid of `bar_us`), `marks`, and the bars and footprints of every `series`
    are kept whole; `bubbles`, `prints`, `fills` and `equity`
    as far as their rings reach. `epoch` grows whenever history is replaced, as by a seek.
    The profile is what `read_profile` returns, or else `profile`.
    `notice` is a line for people, empty when all is well (for example "gap: 120 trades missing").
    `atoms_per_ticklot` is the account's scale: money in the records counts atoms, and one tick
    times one lot is that many of them.
    """

    instrument: Instrument
    bar_us: int
    snapshot: np.void
    epoch: int = 0
    notice: str = ""
    atoms_per_ticklot: int = 1
    bars: Series = field(default_factory=lambda: Series(BAR))
    series: Sequence["BarHistory"] = ()
    marks: Series = field(default_factory=lambda: Series(MARK))
    bubbles: Ring = field(default_factory=lambda: Ring(BUBBLE, BUBBLES_KEPT))
    prints: Ring = field(default_factory=lambda: Ring(PRINT, PRINTS_KEPT))
    fills: Ring = field(default_factory=lambda: Ring(FILL, FILLS_KEPT))
    equity: Ring = field(default_factory=lambda: Ring(EQUITY, EQUITY_KEPT))
    orders: Records = field(default_factory=lambda: np.zeros(0, np.dtype([])))
    profile: Records = field(default_factory=lambda: np.zeros(0, PROFILE_ROW))
    read_profile: Callable[[], Records] | None = None
    lock: threading.RLock = field(default_factory=threading.RLock)

    def read(self, cursor: Cursor, *, with_profile: bool = False) -> Update:
        """Return what came since `cursor` and move it on."""
        with self.lock:
            restart = cursor.epoch != self.epoch or not (
                self.bubbles.holds(cursor.bubbles)
                and self.prints.holds(cursor.prints)
                and self.fills.holds(cursor.fills)
            )
            at = Cursor() if restart else cursor
            update = Update(
                epoch=self.epoch,
                restart=restart,
                snapshot=self.snapshot.copy(),
                bars=self.bars.since(at.bars),
                bubbles=self.bubbles.since(at.bubbles),
                prints=self.prints.since(at.prints),
                fills=self.fills.since(at.fills),
                equity=self.equity.since(at.equity),
                orders=self.orders.copy(),
                profile=self._profile() if with_profile else None,
            )
            cursor.epoch = self.epoch
            cursor.bars, cursor.bubbles = self.bars.head, self.bubbles.head
            cursor.prints, cursor.fills = self.prints.head, self.fills.head
            cursor.equity = self.equity.head
            return update

    def _profile(self) -> Records:
        return self.profile.copy() if self.read_profile is None else self.read_profile()
