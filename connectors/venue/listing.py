"""One symbol of a venue."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from flowtape.connectors.binance.markets import MarketApi, market_api
from flowtape.connectors.venue.faulty_stream import FaultyStream
from flowtape.connectors.venue.market import VenueMarket
from flowtape.connectors.venue.streams import Pulse, pulse_of, stream_named
from flowtape.connectors.venue.wire import Wire
from flowtape.stream.instrument import Instrument
from flowtape.stream.trades import I64, Trades

_PIECE = 1 << 16

FUTURES_KEPT_US = 48 * 3_600 * 1_000_000
"""USD-M serves aggregate trades of the last 48 hours."""


class Listing:
    """A symbol's trades, how they are written, what is wrong with them, and how it stands.

    Args:
        instrument: on market `spot` or `um`.
        trades: ascending by id; several parts are taken as they are needed.
        happened_count: so many trades have happened before the venue opens.
        raw_trades: give `@trade` and `trades` each aggregate as one trade, which it may not be;
            without it they are silent and refused, as the raw trades are not known.
    """

    def __init__(
        self,
        instrument: Instrument,
        trades: Trades | Iterable[Trades],
        *,
        happened_count: int = 0,
        raw_trades: bool = False,
    ) -> None:
        self.api: MarketApi = market_api(instrument.market)
        self.instrument = instrument
        self.symbol = instrument.symbol
        self.wire = Wire(instrument)
        self.market = VenueMarket(trades, kept_us=None if self.wire.spot else FUTURES_KEPT_US)
        while happened_count > 0:
            past = self.market.advance(min(happened_count, _PIECE))
            happened_count = happened_count - len(past) if len(past) else 0
        self.faults = FaultyStream()
        self.lags: list[int] = []
        """So many of the newest trades are unknown to each of the next queries."""
        self.raw_trades = raw_trades
        self.status = "TRADING"
        self.filters: dict[str, dict[str, Any]] = {}
        """Values of filters, by their type, that are not the venue's own."""
        self.skew_us = 0
        self._event_us = self.market.now_us
        self._pulses: dict[str, Pulse] = {}

    @property
    def raw_stream(self) -> str:
        """The name of the stream of raw trades."""
        return f"{self.symbol.lower()}@trade"

    def follow(self, names: Iterable[str], now_us: int) -> None:
        """Keep up what clock-driven streams of these names tell, and no others."""
        known, self._pulses = self._pulses, {}
        for name in names:
            stream = stream_named(name, spot=self.wire.spot)
            if stream is None or stream.symbol != self.symbol.lower():
                continue
            pulse = known.get(name) or pulse_of(stream, self.market, self.wire, now_us)
            if pulse is not None:
                self._pulses[name] = pulse

    @property
    def pulses(self) -> dict[str, Pulse]:
        """The clock-driven streams that are followed, by name."""
        return self._pulses

    def due_us(self) -> int | None:
        """Return when the next clock-driven stream is due."""
        return min((pulse.next_us for pulse in self._pulses.values()), default=None)

    def event_times(self, trades: Trades) -> I64:
        """Return when trades are pushed: never before they happen, and never in wrong order."""
        times = np.maximum.accumulate(np.maximum(trades.ts_us, self._event_us))
        if len(times):
            self._event_us = int(times[-1])
        return times + self.skew_us

    @property
    def event_us(self) -> int:
        """The push time of the newest event."""
        return self._event_us + self.skew_us

    def shift(self, by_us: int) -> None:
        """Move all times, before anything is asked for."""
        self.market.shift(by_us)
        self._event_us = self.market.now_us
