"""The public market data queries, answered from trades.

What trades do not tell is answered as by a venue with an empty book: `depth` has no levels and best
quotes are zeros.
"""

import re
from collections.abc import Callable
from typing import Any

from flowtape.connectors.binance.markets import MarketApi
from flowtape.connectors.binance.messages import encode
from flowtape.connectors.venue.exchange_info import exchange_info, symbol_info
from flowtape.connectors.venue.klines import INTERVALS, SECOND_US, Bar, Interval, klines, whole
from flowtape.connectors.venue.listing import Listing
from flowtape.connectors.venue.queries import FOREVER_US, Answer, BadQueryError, Endpoint, Query
from flowtape.connectors.venue.tickers import average_price, empty_book, rest_ticker, ticker_at
from flowtape.connectors.venue.wire import Wire

HOUR_US = 3_600 * SECOND_US
AVERAGE_MINS = 5

_ZONE = re.compile(r"([+-]?)(\d{1,2})(?::(\d{2}))?")
_ZONE_MINUTES = (-12 * 60, 14 * 60)


def endpoints(api: MarketApi) -> list[Endpoint]:
    """Return the queries of a market."""
    spot = api.market == "spot"
    symbols = ("symbol", "symbols", "symbolStatus") if spot else ("symbol",)
    book = ("symbol", "limit")
    table: list[tuple[str, tuple[str, ...], Callable[[Query], Answer], Callable[[Query], int]]] = [
        ("ping", (), _ping, _always(1)),
        ("time", (), _time, _always(1)),
        (
            "exchangeInfo",
            (*symbols, "permissions", "showPermissionSets"),
            _exchange_info,
            _always(api.exchange_info_weight),
        ),
        (
            "aggTrades",
            ("symbol", "fromId", "startTime", "endTime", "limit"),
            _agg_trades,
            _always(api.agg_trades_weight),
        ),
        ("trades", book, _trades, _always(25 if spot else 5)),
        (
            "klines",
            ("symbol", "interval", "startTime", "endTime", "timeZone", "limit"),
            _klines,
            _always(2) if spot else _kline_weight,
        ),
        ("depth", (*book, "symbolStatus"), _depth, _depth_weight),
        ("ticker/price", symbols, _price, _each(2, 4) if spot else _each(1, 2)),
        ("ticker/24hr", (*symbols, "type"), _day, _day_weight if spot else _each(1, 40)),
        ("ticker/bookTicker", symbols, _book, _each(2, 4) if spot else _each(2, 5)),
    ]
    if spot:
        table.append(("avgPrice", ("symbol",), _average, _always(2)))
    return [
        Endpoint(name, frozenset(reads), answer, weight) for name, reads, answer, weight in table
    ]


def _always(weight: int) -> Callable[[Query], int]:
    return lambda _query: weight


def _each(one: int, many: int) -> Callable[[Query], int]:
    return lambda query: one if "symbol" in query.values else many


def _day_weight(query: Query) -> int:
    if "symbol" in query.values:
        return 2
    count = len(query.chosen())
    return 80 if "symbols" not in query.values or count > 100 else 2 if count <= 20 else 40


def _stepped(value: int, steps: tuple[tuple[int, int], ...]) -> int:
    return next((weight for most, weight in steps if value <= most), steps[-1][1])


def _kline_weight(query: Query) -> int:
    return _stepped(query.number("limit") or 500, ((99, 1), (499, 2), (1_000, 5), (1_500, 10)))


def _depth_weight(query: Query) -> int:
    if query.api.market == "spot":
        limit = query.number("limit") or 100
        return _stepped(limit, ((100, 5), (500, 25), (1_000, 50), (5_000, 250)))
    return _stepped(query.number("limit") or 500, ((50, 2), (100, 5), (500, 10), (1_000, 20)))


def _ping(_query: Query) -> Answer:
    return Answer(200, b"{}")


def _time(query: Query) -> Answer:
    return Answer(200, encode({"serverTime": query.now_us // query.unit_us}))


def _exchange_info(query: Query) -> Answer:
    spot = query.api.market == "spot"
    # futures have no such filter: they list everything
    chosen = query.chosen() if spot else list(query.listings.values())
    status = query.values.get("symbolStatus")
    if spot and status is not None:
        if "symbol" in query.values or "symbols" in query.values:
            raise BadQueryError(-1128, "Combination of optional parameters invalid.")
        chosen = [listing for listing in chosen if listing.status == status]
    permission_sets = query.values.get("showPermissionSets") != "false"
    listed = [symbol_info(listing, permission_sets=permission_sets) for listing in chosen]
    body = exchange_info(listed, query.api, query.now_us, micros=query.unit_us == 1)
    return Answer(200, body)


def _agg_trades(query: Query) -> Answer:
    listing = query.listing()
    limit = query.limit(500, 1_000)
    from_id = query.number("fromId")
    start_us, end_us = query.time_us("startTime"), query.time_us("endTime")
    if from_id is not None and (start_us is not None or end_us is not None):
        raise BadQueryError(-1128, "Combination of optional parameters invalid.")
    futures = query.api.market != "spot"
    if futures and start_us is not None and end_us is not None and end_us - start_us >= HOUR_US:
        raise BadQueryError(
            -1127,
            "Lookup interval is too big. More than 1 hours between startTime and endTime.",
        )
    market = listing.market
    if from_id is not None:
        rows = market.from_id(from_id, limit)
    elif start_us is not None:
        rows = market.from_time(start_us, FOREVER_US if end_us is None else end_us, limit)
    else:
        rows = market.newest(limit, end_us)
    return Answer(200, listing.wire.rest_rows(rows, micros=query.unit_us == 1))


def _trades(query: Query) -> Answer:
    listing = query.listing()
    limit = query.limit(500, 1_000)
    if not listing.raw_trades:
        raise BadQueryError(
            -1000,
            "This venue has aggregate trades alone; with --raw-trades it gives each as one trade.",
            status=501,
        )
    wire = listing.wire
    found: list[dict[str, Any]] = []
    for row in listing.market.newest(limit):
        if row.void:
            continue
        trade: dict[str, Any] = {
            "id": row.last_id if row.last_id >= 0 else row.agg_id,
            "price": wire.price(row.price_ticks),
            "qty": wire.qty(row.qty_lots),
            "quoteQty": wire.quote(row.price_ticks * row.qty_lots),
            "time": row.ts_us // query.unit_us,
            "isBuyerMaker": row.is_buyer_maker,
        }
        if wire.spot:
            trade["isBestMatch"] = True
        found.append(trade)
    return Answer(200, encode(found))


def _klines(query: Query) -> Answer:
    listing = query.listing()
    spot = query.api.market == "spot"
    name = query.values.get("interval", "")
    if not name:
        raise BadQueryError(
            -1102, "Mandatory parameter 'interval' was not sent, was empty/null, or malformed."
        )
    if name not in INTERVALS or (name == "1s" and not spot):
        raise BadQueryError(-1120, "Invalid interval.")
    interval = Interval(name, _zone_us(query.values.get("timeZone", "0")) if spot else 0)
    bars = klines(
        listing.market,
        interval,
        now_us=query.now_us,
        start_us=query.time_us("startTime"),
        end_us=query.time_us("endTime"),
        limit=query.limit(500, 1_000 if spot else 1_500),
    )
    return Answer(200, encode([_kline(listing.wire, interval, bar, query.unit_us) for bar in bars]))


def _kline(wire: Wire, interval: Interval, bar: Bar, unit_us: int) -> list[Any]:
    return [
        bar.open_us // unit_us,
        wire.price(bar.open),
        wire.price(bar.high),
        wire.price(bar.low),
        wire.price(bar.close),
        wire.qty(bar.lots),
        interval.next_us(bar.open_us) // unit_us - 1,
        wire.quote(bar.tick_lots),
        bar.count,
        wire.qty(bar.taker_lots),
        wire.quote(bar.taker_tick_lots),
        "0",
    ]


def _zone_us(text: str) -> int:
    match = _ZONE.fullmatch(text)
    minutes = 10**6
    if match is not None:
        minutes = int(match.group(2)) * 60 + int(match.group(3) or 0)
        minutes = -minutes if match.group(1) == "-" else minutes
    if not _ZONE_MINUTES[0] <= minutes <= _ZONE_MINUTES[1]:
        raise BadQueryError(-1130, "Data sent for parameter 'timeZone' is not valid.")
    return minutes * 60 * SECOND_US


def _depth(query: Query) -> Answer:
    listing = query.listing()
    spot = query.api.market == "spot"
    limit = query.limit(100 if spot else 500, FOREVER_US if spot else 1_000)
    if not spot and limit not in (5, 10, 20, 50, 100, 500, 1_000):
        raise BadQueryError(-4021, f"'{limit}' is not valid depth limit.")
    times = {} if spot else {"E": listing.event_us // 1_000, "T": listing.market.now_us // 1_000}
    head = {"lastUpdateId": listing.market.last_id or 0}
    return Answer(200, encode(head | times | {"bids": [], "asks": []}))


def _price(query: Query) -> Answer:
    found = []
    for listing in _traded(query):
        price = _last_price(listing)
        row: dict[str, Any] = {"symbol": listing.symbol, "price": listing.wire.price(price)}
        if not listing.wire.spot:
            row["time"] = listing.market.now_us // query.unit_us
        found.append(row)
    return query.one_or_many(found)


def _day(query: Query) -> Answer:
    kind = query.values.get("type", "FULL")
    if kind not in ("FULL", "MINI"):
        raise BadQueryError(-1130, "Data sent for parameter 'type' is not valid.")
    found = []
    for listing in _traded(query):
        ticker = ticker_at(listing.market, max(query.now_us, listing.market.now_us))
        if ticker is not None:
            mini = kind == "MINI" and listing.wire.spot
            found.append(rest_ticker(listing.wire, ticker, query.unit_us, mini=mini))
    if not found and "symbol" in query.values:
        raise _no_trades()
    return query.one_or_many(found)


def _book(query: Query) -> Answer:
    found: list[dict[str, Any]] = []
    for listing in query.chosen():
        row: dict[str, Any] = {"symbol": listing.symbol} | empty_book(listing.wire)
        if not listing.wire.spot:
            row |= {"time": listing.market.now_us // query.unit_us, "lastUpdateId": 0}
        found.append(row)
    return query.one_or_many(found)


def _average(query: Query) -> Answer:
    listing = query.listing()
    now_us = query.now_us
    bar: Bar | None = None
    for piece in listing.market.between(now_us - AVERAGE_MINS * 60 * SECOND_US, now_us):
        found = piece.once("whole", whole)
        if found is not None:
            bar = found if bar is None else bar.joined(found)
    if bar is None:
        price = listing.wire.price(_last_price(listing))
    else:
        price = average_price(listing.wire, bar.tick_lots, bar.lots)
    return Answer(
        200,
        encode(
            {
                "mins": AVERAGE_MINS,
                "price": price,
                "closeTime": listing.market.now_us // query.unit_us,
            }
        ),
    )


def _last_price(listing: Listing) -> int:
    rows = [row for row in listing.market.newest(100) if not row.void]
    if not rows:
        raise _no_trades()
    return rows[-1].price_ticks


def _traded(query: Query) -> list[Listing]:
    chosen = query.chosen()
    if "symbol" in query.values:
        return chosen
    return [listing for listing in chosen if listing.market.last_id is not None]


def _no_trades() -> BadQueryError:
    return BadQueryError(-1000, "This symbol has not traded yet.")
