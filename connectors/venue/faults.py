"""What may go wrong at a venue, on purpose: faults as data, tied to aggregate ids.

Each fault happens when the trade `at` is due; the ids of a span are inclusive.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from msgspec import Struct

from flowtape.connectors.binance.rows import Row


class Drop(Struct, frozen=True, tag="drop"):
    """Trades that the stream leaves out; REST has them unless `everywhere`."""

    from_id: int
    to_id: int
    everywhere: bool = False


class Duplicate(Struct, frozen=True, tag="duplicate"):
    """A trade that is sent again, `times` more often."""

    at: int
    times: int = 1


class Delay(Struct, frozen=True, tag="delay"):
    """A trade that comes after the `by` trades that follow it."""

    at: int
    by: int = 1


class Garble(Struct, frozen=True, tag="garble"):
    """A trade whose frame is broken; REST has it."""

    at: int
    how: Literal["truncated", "garbage", "binary", "wrong_types"] = "truncated"


class Abort(Struct, frozen=True, tag="abort"):
    """Every connection is reset without a goodbye, before the trade is sent."""

    at: int


class Close(Struct, frozen=True, tag="close"):
    """Every connection is closed properly, before the trade is sent."""

    at: int
    code: int = 1001
    reason: str = ""


class Stall(Struct, frozen=True, tag="stall"):
    """Connections stay open and go mute, from this trade on; new ones are served."""

    at: int


class Shutdown(Struct, frozen=True, tag="shutdown"):
    """The server announces its end; the trade and all that follow are still sent."""

    at: int


Fault = Drop | Duplicate | Delay | Garble | Abort | Close | Stall | Shutdown


class RestFault(Struct, frozen=True, tag="rest"):
    """What the next `count` queries of one kind get.

    `status` 200 is the right answer, `delay_s` late; others carry `body`, which is an error object
    by default. `retry_after_s` is sent with 418 and 429.
    """

    status: int = 200
    count: int = 1
    query: Literal["aggTrades", "exchangeInfo"] = "aggTrades"
    delay_s: float = 0.0
    retry_after_s: int | None = None
    body: str = ""


@dataclass(frozen=True, slots=True)
class Send:
    """Send the frame of a trade, broken if `garble` says how."""

    row: Row
    garble: str | None = None


Action = Send | Abort | Close | Stall | Shutdown


class FaultyStream:
    """Turn trades into what the venue does about them."""

    def __init__(self) -> None:
        self._drops: list[Drop] = []
        self._at: dict[int, list[Fault]] = {}
        self._delayed: list[tuple[int, Row]] = []
        self._count = 0

    def inject(self, fault: Fault) -> None:
        """Let a fault happen when its time comes."""
        if isinstance(fault, Drop):
            self._drops.append(fault)
        else:
            self._at.setdefault(fault.at, []).append(fault)

    def actions(self, rows: Iterable[Row]) -> Iterator[Action]:
        """Return what to do for trades that just happened, in order."""
        for row in rows:
            self._count += 1
            yield from self._row_actions(row)
            due = [late for when, late in self._delayed if when <= self._count]
            self._delayed = [(when, late) for when, late in self._delayed if when > self._count]
            yield from (Send(late) for late in due)

    def _row_actions(self, row: Row) -> Iterator[Action]:
        garble: str | None = None
        sends = 1
        for fault in self._at.pop(row.agg_id, ()):
            match fault:
                case Duplicate(times=times):
                    sends += times
                case Garble(how=how):
                    garble = how
                case Delay(by=by):
                    self._delayed.append((self._count + by, row))
                    sends = 0
                case Abort() | Close() | Stall() | Shutdown():
                    yield fault
        if any(drop.from_id <= row.agg_id <= drop.to_id for drop in self._drops):
            return
        for _ in range(sends):
            yield Send(row, garble)
