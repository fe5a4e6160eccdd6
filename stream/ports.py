"""The seams of the pipeline: what sources give, what sinks take, what a screen may command."""

from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from flowtape.stream.execution import VenueRules
from flowtape.stream.instrument import Instrument
from flowtape.stream.trades import Trades
from flowtape.stream.view import MarketView

StepUnit = Literal["trade", "batch", "bar"]


@dataclass(frozen=True, slots=True)
class Clock:
    """Statement of a live source that stream time is at least `ts_us`."""

    ts_us: int


@dataclass(frozen=True, slots=True)
class Gap:
    """Aggregate ids from `from_id` to `to_id`, both inclusive, that no one could deliver."""

    from_id: int
    to_id: int
    reason: str


@dataclass(frozen=True, slots=True)
class Mark:
    """Statement of a venue's mark price at a stream time."""

    ts_us: int
    mark_ticks: int


@dataclass(frozen=True, slots=True)
class Funding:
    """Statement that longs pay shorts `rate_ppb` billionths of their position's value."""

    ts_us: int
    rate_ppb: int


@dataclass(frozen=True, slots=True)
class Rules:
    """Statement of all that a venue takes as an order now.

    It holds from where it is told on; `ts_us` counts only where nothing was told before. Rules
    named in `unknown` stay as they are.
    """

    ts_us: int
    rules: VenueRules
    unknown: tuple[str, ...] = ()


Event = Trades | Clock | Gap | Mark | Funding | Rules


class Source(Protocol):
    """A live stream of one instrument's events, in their final order."""

    @property
    def instrument(self) -> Instrument:
        """Return what the events are about; known once the source was opened."""
        ...

    def events(self) -> AsyncGenerator[Event]:
        """Yield trades in sequence order with gaps already repaired or declared."""
        ...


@dataclass(frozen=True, slots=True)
class TransportState:
    """Where a playback stands.

    `speed` is stream seconds for each wall second, `inf` at full speed; `clock_us` is the stream
    time the playback has reached, which moves on in quiet markets too. `lag_us` is how far the
    results stand behind the clock. Live feeds have `live` set and no end.

    A session that goes on whatever the screen shows has `now_us`, the stream time that it has
    reached itself; otherwise that is 0. It can be looked back on: `looking_back` is set while the
    screen shows its past, which is then a playback like any other. Live feeds without `now_us`
    cannot seek. `trouble` says what is wrong with a feed now, empty when nothing is.
    """

    playing: bool
    speed: float
    clock_us: int
    start_us: int
    end_us: int
    lag_us: int
    live: bool
    ended: bool
    now_us: int = 0
    looking_back: bool = False
    trouble: str = ""


class Transport(Protocol):
    """The command side of a playback; every method may be called from any thread."""

    def state(self) -> TransportState:
        """Return where the playback stands now."""
        ...

    def play(self) -> None:
        """Go on; a playback that has ended starts again."""
        ...

    def pause(self) -> None:
        """Stop the clock."""
        ...

    def set_speed(self, speed: float) -> None:
        """Set the factor: 0.1 to 10000, or `inf` for full speed; raises InputError otherwise."""
        ...

    def step(self, unit: StepUnit) -> None:
        """Pause, then go on by one trade, one batch or to the end of the current bar."""
        ...

    def seek(self, ts_us: int) -> None:
        """Go to the stream time `ts_us`, clamped to the tape, forward or backward.

        In a session that goes on by itself that is a look back.
        """
        ...

    def to_now(self) -> None:
        """End a look back; does nothing when there is none."""
        ...

    def overview(self, bins_count: int) -> NDArray[np.int64]:
        """Return the volume in lots of `bins_count` equal spans of the tape; empty when live."""
        ...


@dataclass(frozen=True, slots=True)
class Ticket:
    """What a person asks for.

    `market` numbers the instrument. An `order` has a `side` (+1 buys, -1 sells), a quantity, and a
    limit, without which it is a market order; a `cancel` names an order. `flatten` cancels all
    orders of the instrument and closes its position.
    """

    kind: Literal["order", "cancel", "cancel_all", "flatten"]
    market: int = 0
    side: int = 0
    qty_lots: int = 0
    limit_ticks: int = 0
    order_id: int = 0


class Desk(Protocol):
    """Where people's orders are taken."""

    def ask(self, ticket: Ticket) -> int:
        """Carry out a ticket; return the order's number, 0 when it made none.

        May be called from any thread and waits until the command is safe on the disk, if the
        session is kept. Raises FlowError with the venue's reason, and then nothing has changed but
        that a `flatten` has canceled the orders.
        """
        ...


@dataclass(frozen=True, slots=True)
class Feed:
    """What one screen shows and steers.

    Attributes:
        transport: its playback; feeds on one clock share one.
        look: gives the view to show now, another one while the screen looks back.
        desk: takes the orders of the person before it; None where no one may trade.
        market: number of the instrument at the desk.
    """

    transport: Transport
    look: Callable[[], MarketView]
    desk: Desk | None = None
    market: int = 0

    @classmethod
    def of(
        cls, view: MarketView, transport: Transport, desk: Desk | None = None, market: int = 0
    ) -> "Feed":
        """Return a feed that always shows one view."""
        return cls(transport, lambda: view, desk, market)
