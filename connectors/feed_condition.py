"""Whether live feeds bring what they should, in words for the person before the screen."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from flowtape.connectors.binance.source_types import SourceStatistics
from flowtape.stream.instrument import Instrument

REPAIR_S = 1.0
LATE_S = 1.0
SILENT_S = 30.0
"""From these on it is worth a word; most repairs are over before anyone could read it."""


class Reporting(Protocol):
    """A source that says how it stands."""

    @property
    def instrument(self) -> Instrument:
        """What its trades are about."""
        ...

    @property
    def statistics(self) -> SourceStatistics:
        """What it has seen so far."""
        ...


@dataclass(slots=True)
class _Since:
    """When a source was last well, in seconds of our clock."""

    connected_s: float
    whole_s: float
    frame_s: float
    frames: int = 0


class FeedCondition:
    """Watches sources whenever it is asked.

    Args:
        sources: opened, so that their instruments are known.
        now_s: a steady clock in seconds.
    """

    def __init__(
        self, sources: Sequence[Reporting], now_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._sources = sources
        self._now_s = now_s
        now = now_s()
        self._since = [_Since(now, now, now) for _ in sources]

    def trouble(self) -> str:
        """Return what is wrong now, empty when all is well."""
        found = (
            self._trouble_of(source, since)
            for source, since in zip(self._sources, self._since, strict=True)
        )
        return "; ".join(text for text in found if text)

    def _trouble_of(self, source: Reporting, since: _Since) -> str:
        now_s, standing, symbol = self._now_s(), source.statistics, source.instrument.symbol
        if standing.connected:
            since.connected_s = now_s
        if not standing.repairing:
            since.whole_s = now_s
        if standing.frames != since.frames:
            since.frames, since.frame_s = standing.frames, now_s
        if standing.halted:
            return f"{symbol} is not traded now, says the venue"
        away_s, silent_s = now_s - since.connected_s, now_s - since.frame_s
        if away_s > 0:
            return f"{symbol}: no connection for {away_s:.0f} s, trying again"
        if now_s - since.whole_s >= REPAIR_S:
            return f"{symbol}: missing trades are being fetched"
        if silent_s >= SILENT_S:
            return f"{symbol}: nothing came for {silent_s:.0f} s"
        if standing.lag_us >= LATE_S * 1e6:
            return f"{symbol}: trades arrive {standing.lag_us / 1e6:.1f} s late"
        return ""
