"""What traded within the last 24 hours, as the tickers tell it.

A tape has no quotes: best bid and ask are those of an empty book, zeros.
"""

from dataclasses import dataclass
from typing import Any

from flowtape.connectors.venue.klines import Bar, whole
from flowtape.connectors.venue.market import VenueMarket
from flowtape.connectors.venue.wire import SPOT_DECIMALS, Wire
from flowtape.stream.decimals import format_decimal

DAY_US = 86_400_000_000


@dataclass(frozen=True, slots=True)
class Ticker:
    """Statistics of the trades of [start_us, end_us]; `before` is the price they began from."""

    start_us: int
    end_us: int
    bar: Bar
    last_lots: int
    before: int


def ticker_at(market: VenueMarket, now_us: int) -> Ticker | None:
    """Return the statistics of the 24 hours up to a time, or None when nothing traded."""
    start_us = now_us - DAY_US
    bar: Bar | None = None
    for piece in market.between(start_us, now_us):
        found = piece.once("whole", whole)
        if found is not None:
            bar = found if bar is None else bar.joined(found)
    if bar is None:
        return None
    last = market.newest(1, now_us)
    before = market.newest(1, start_us - 1)
    return Ticker(
        start_us,
        now_us,
        bar,
        last[0].qty_lots if last else 0,
        before[0].price_ticks if before else bar.open,
    )


def rest_ticker(wire: Wire, ticker: Ticker, unit_us: int, *, mini: bool) -> dict[str, Any]:
    """Return one object of `ticker/24hr`."""
    bar, change = ticker.bar, _change(wire, ticker)
    head = {"symbol": wire.instrument.symbol}
    ends = {
        "openTime": ticker.start_us // unit_us,
        "closeTime": ticker.end_us // unit_us,
        "firstId": bar.first_id,
        "lastId": bar.last_id,
        "count": bar.count,
    }
    traded = {
        "openPrice": wire.price(bar.open),
        "highPrice": wire.price(bar.high),
        "lowPrice": wire.price(bar.low),
    }
    volumes = {"volume": wire.qty(bar.lots), "quoteVolume": wire.quote(bar.tick_lots)}
    if mini:
        return head | traded | {"lastPrice": wire.price(bar.close)} | volumes | ends
    last = {"lastPrice": wire.price(bar.close), "lastQty": wire.qty(ticker.last_lots)}
    if wire.spot:
        last = {"prevClosePrice": wire.price(ticker.before)} | last | empty_book(wire)
    return head | change | last | traded | volumes | ends


def empty_book(wire: Wire) -> dict[str, str]:
    """Return the best quotes of a book with no order in it."""
    price, qty = wire.price(0), wire.qty(0)
    return {"bidPrice": price, "bidQty": qty, "askPrice": price, "askQty": qty}


def mini_ticker_event(wire: Wire, ticker: Ticker, event_us: int, unit_us: int) -> dict[str, Any]:
    """Return one event of `@miniTicker`."""
    bar = ticker.bar
    return {
        "e": "24hrMiniTicker",
        "E": event_us // unit_us,
        "s": wire.instrument.symbol,
        "c": wire.price(bar.close),
        "o": wire.price(bar.open),
        "h": wire.price(bar.high),
        "l": wire.price(bar.low),
        "v": wire.qty(bar.lots),
        "q": wire.quote(bar.tick_lots),
    }


def ticker_event(wire: Wire, ticker: Ticker, event_us: int, unit_us: int) -> dict[str, Any]:
    """Return one event of `@ticker`."""
    bar, change = ticker.bar, _change(wire, ticker)
    event: dict[str, Any] = {
        "e": "24hrTicker",
        "E": event_us // unit_us,
        "s": wire.instrument.symbol,
        "p": change["priceChange"],
        "P": change["priceChangePercent"],
        "w": change["weightedAvgPrice"],
    }
    if wire.spot:
        event["x"] = wire.price(ticker.before)
    event |= {"c": wire.price(bar.close), "Q": wire.qty(ticker.last_lots)}
    if wire.spot:
        event |= dict(zip("bBaA", empty_book(wire).values(), strict=True))
    return event | {
        "o": wire.price(bar.open),
        "h": wire.price(bar.high),
        "l": wire.price(bar.low),
        "v": wire.qty(bar.lots),
        "q": wire.quote(bar.tick_lots),
        "O": ticker.start_us // unit_us,
        "C": ticker.end_us // unit_us,
        "F": bar.first_id,
        "L": bar.last_id,
        "n": bar.count,
    }


def average_price(wire: Wire, tick_lots: int, lots: int) -> str:
    """Return the average price of what traded, weighted by quantity."""
    decimals = max(wire.instrument.price_decimals, SPOT_DECIMALS if wire.spot else 0)
    scale = 10 ** (decimals - wire.instrument.price_decimals)
    return format_decimal(tick_lots * scale // lots, decimals)


def _change(wire: Wire, ticker: Ticker) -> dict[str, str]:
    bar = ticker.bar
    moved = bar.close - bar.open
    thousandths = (abs(moved) * 200_000 + bar.open) // (2 * bar.open)
    percent = format_decimal(thousandths if moved >= 0 else -thousandths, 3)
    return {
        "priceChange": wire.price(moved),
        "priceChangePercent": percent,
        "weightedAvgPrice": average_price(wire, bar.tick_lots, bar.lots),
    }
