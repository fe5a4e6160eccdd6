"""The seams of the pipeline: what sources give, what sinks take, what a screen may command."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from flowtape.stream.instrument import Instrument
from flowtape.stream.trades import Trades

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


Event = Trades | Clock | Gap | Mark | Funding


class Source(Protocol):
    """A live stream of one instrument's events, in their final order."""

    @property
    def instrument(self) -> Instrument:
        """Return what the events are about; known once the source was opened."""
        ...

    def events(self) -> AsyncIterator[Event]:
        """Yield trades in sequence order with gaps already repaired or declared."""
        ...


class TradeSink(Protocol):
    """Something that keeps trades, such as a recorder."""

    def write(self, event: Event) -> None:
        """Keep one event; returns when it is safe from a killed process."""
        ...

    def close(self) -> None:
        """Seal what was kept."""
        ...


@dataclass(frozen=True, slots=True)
class TransportState:
    """Where a playback stands.

    `speed` is stream seconds for each wall second, `inf` at full speed; `clock_us` is the stream
    time the playback has reached, which moves on in quiet markets too. `lag_us` is how far the
    results stand behind the clock. Live feeds have `live` set, no end and cannot seek.
    """

    playing: bool
    speed: float
    clock_us: int
    start_us: int
    end_us: int
    lag_us: int
    live: bool
    ended: bool


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
        """Go to the stream time `ts_us`, clamped to the tape, forward or backward."""
        ...

    def overview(self, bins_count: int) -> NDArray[np.int64]:
        """Return the volume in lots of `bins_count` equal spans of the tape; empty when live."""
        ...
