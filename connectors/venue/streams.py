"""Names of streams, which of them a venue carries where, and those that are told by the clock."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, Protocol

from flowtape.connectors.binance.messages import encode
from flowtape.connectors.venue.klines import INTERVALS, SECOND_US, Bar, GrowingBar, Interval
from flowtape.connectors.venue.market import VenueMarket
from flowtape.connectors.venue.tickers import (
    Ticker,
    mini_ticker_event,
    ticker_at,
    ticker_event,
)
from flowtape.connectors.venue.wire import Wire
from flowtape.stream.trades import Trades

EAST_8_US = 8 * 3_600 * SECOND_US

_NAME = re.compile(r"([^@]+)@(aggTrade|trade|miniTicker|ticker|kline_([0-9]+[smhdwM])(@\+08:00)?)")

Message = Callable[[int], bytes]
"""An event by the unit of its times, in microseconds."""


@dataclass(frozen=True, slots=True)
class Stream:
    """A stream that the venue can carry: of a symbol in lower case, and of one kind."""

    name: str
    symbol: str
    kind: str
    interval: Interval | None = None


@lru_cache(maxsize=4_096)
def stream_named(name: str, *, spot: bool) -> Stream | None:
    """Return what a name stands for, or None for names that stay silent."""
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    symbol, kind, interval, east = match.groups()
    if interval is None:
        return Stream(name, symbol, kind)
    if interval not in INTERVALS or (not spot and (interval == "1s" or east)):
        return None
    return Stream(name, symbol, "kline", Interval(interval, EAST_8_US if east else 0))


def carried(kind: str, route: str, *, spot: bool) -> bool:
    """Tell whether a kind of stream flows on connections of a route, which is "" for the plain one.

    Futures split them by kind in 2026; elsewhere they are accepted and silent.
    """
    if spot:
        return route in ("ws", "stream")
    if kind == "trade":
        return route in ("ws", "stream", "public")
    return route == "market"


class Pulse(Protocol):
    """A stream that tells of changes at regular times; `next_us` is when it is due."""

    next_us: int

    def add(self, trades: Trades) -> None:
        """Take in trades that just happened, all before `next_us`."""

    def turn(self, now_us: int) -> list[Message]:
        """Return what to tell at a time, which is `next_us` or later."""


def pulse_of(stream: Stream, market: VenueMarket, wire: Wire, at_us: int) -> Pulse | None:
    """Return the clock-driven side of a stream, if it has one."""
    if stream.interval is not None:
        return KlinePulse(market, wire, stream.interval, at_us)
    if stream.kind == "miniTicker":
        return TickerPulse(market, wire, mini_ticker_event, at_us)
    if stream.kind == "ticker":
        return TickerPulse(market, wire, ticker_event, at_us)
    return None


class KlinePulse:
    """`@kline_...`: every 2 s, every second for `1s`, and on futures every 250 ms."""

    def __init__(self, market: VenueMarket, wire: Wire, interval: Interval, at_us: int) -> None:
        self._wire = wire
        self._interval = interval
        self._bar = GrowingBar(market, interval, at_us)
        every_us = 2 * SECOND_US if wire.spot else SECOND_US // 4
        self._every_us = SECOND_US if interval.name == "1s" else every_us
        self.next_us = _next(at_us, self._every_us)

    def add(self, trades: Trades) -> None:
        """Take in trades that just happened, all before `next_us`."""
        self._bar.add(trades)

    def turn(self, now_us: int) -> list[Message]:
        """Return the klines that are over, and the one that is not if it changed."""
        self.next_us = _next(now_us, self._every_us)
        now_us = self.next_us - self._every_us
        told: list[Message] = []
        for bar, over in self._bar.turn(now_us):
            event_us = self._interval.next_us(bar.open_us) if over else now_us
            told.append(partial(self._event, bar, over, event_us))
        return told

    def _event(self, bar: Bar, over: bool, event_us: int, unit_us: int) -> bytes:
        wire, symbol = self._wire, self._wire.instrument.symbol
        end_us = self._interval.next_us(bar.open_us)
        return encode(
            {
                "e": "kline",
                "E": event_us // unit_us,
                "s": symbol,
                "k": {
                    "t": bar.open_us // unit_us,
                    "T": end_us // unit_us - 1,
                    "s": symbol,
                    "i": self._interval.name,
                    "f": bar.first_id,
                    "L": bar.last_id,
                    "o": wire.price(bar.open),
                    "c": wire.price(bar.close),
                    "h": wire.price(bar.high),
                    "l": wire.price(bar.low),
                    "v": wire.qty(bar.lots),
                    "n": bar.count,
                    "x": over,
                    "q": wire.quote(bar.tick_lots),
                    "V": wire.qty(bar.taker_lots),
                    "Q": wire.quote(bar.taker_tick_lots),
                    "B": "0",
                },
            }
        )


class TickerPulse:
    """`@ticker` and `@miniTicker`: every second, on futures every two, when something traded."""

    def __init__(
        self,
        market: VenueMarket,
        wire: Wire,
        event: Callable[[Wire, Ticker, int, int], dict[str, Any]],
        at_us: int,
    ) -> None:
        self._wire = wire
        self._market = market
        self._event = event
        self._changed = False
        self._every_us = SECOND_US if wire.spot else 2 * SECOND_US
        self.next_us = _next(at_us, self._every_us)

    def add(self, trades: Trades) -> None:
        """Take in trades that just happened, all before `next_us`."""
        self._changed = self._changed or len(trades) > 0

    def turn(self, now_us: int) -> list[Message]:
        """Return the statistics if something traded since."""
        self.next_us = _next(now_us, self._every_us)
        now_us = self.next_us - self._every_us
        ticker = ticker_at(self._market, now_us) if self._changed else None
        self._changed = False
        return [] if ticker is None else [partial(self._message, ticker, now_us)]

    def _message(self, ticker: Ticker, event_us: int, unit_us: int) -> bytes:
        return encode(self._event(self._wire, ticker, event_us, unit_us))


def _next(at_us: int, every_us: int) -> int:
    return (at_us // every_us + 1) * every_us
