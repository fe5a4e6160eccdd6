"""REST queries about the venue's market, answered as Binance answers them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from flowtape.connectors.binance.decode import MICROSECONDS_FROM
from flowtape.connectors.binance.messages import ApiError, encode
from flowtape.connectors.venue.market import VenueMarket
from flowtape.connectors.venue.wire import Wire

LIMIT_DEFAULT = 500
LIMIT_MAX = 1_000
FOREVER_US = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer with a JSON body."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class WeightMeter:
    """Request weight in fixed windows of a minute."""

    limit: int
    used: int = 0
    _window: int = -1

    def charge(self, weight: int, now_s: float) -> int | None:
        """Count a query; returns the seconds to wait when it goes over the limit."""
        window = int(now_s // 60)
        if window != self._window:
            self._window, self.used = window, 0
        self.used += weight
        if self.used <= self.limit:
            return None
        return math.ceil((window + 1) * 60 - now_s)


def agg_trades(
    market: VenueMarket, wire: Wire, query: Mapping[str, str], *, micros: bool
) -> Answer:
    """Answer `GET aggTrades`."""
    try:
        _check_symbol(wire, query)
        limit = _number(query, "limit")
        limit = LIMIT_DEFAULT if limit is None else limit
        if not 1 <= limit <= LIMIT_MAX:
            raise _BadQueryError(-1130, "Data sent for parameter 'limit' is not valid.")
        from_id = _number(query, "fromId")
        start_us, end_us = _time(query, "startTime"), _time(query, "endTime")
        if from_id is not None and (start_us is not None or end_us is not None):
            raise _BadQueryError(-1128, "Combination of optional parameters invalid.")
    except _BadQueryError as error:
        return refusal(400, error.code, str(error))
    if from_id is not None:
        rows = market.from_id(from_id, limit)
    elif start_us is not None:
        rows = market.from_time(start_us, FOREVER_US if end_us is None else end_us, limit)
    else:
        rows = market.newest(limit, end_us)
    return Answer(200, wire.rest_rows(rows, micros=micros))


def exchange_info(wire: Wire, now_us: int, query: Mapping[str, str], *, micros: bool) -> Answer:
    """Answer `GET exchangeInfo`."""
    if "symbol" in query:
        try:
            _check_symbol(wire, query)
        except _BadQueryError as error:
            return refusal(400, error.code, str(error))
    return Answer(200, wire.exchange_info(now_us, micros=micros))


def server_time(now_us: int, *, micros: bool) -> Answer:
    """Answer `GET time` with the market's own time."""
    return Answer(200, encode({"serverTime": now_us // (1 if micros else 1_000)}))


def refusal(status: int, code: int, msg: str) -> Answer:
    """Return an error answer."""
    return Answer(status, encode(ApiError(code, msg)))


class _BadQueryError(Exception):
    def __init__(self, code: int, msg: str) -> None:
        super().__init__(msg)
        self.code = code


def _check_symbol(wire: Wire, query: Mapping[str, str]) -> None:
    symbol = query.get("symbol", "")
    if not symbol:
        raise _BadQueryError(
            -1102,
            "Mandatory parameter 'symbol' was not sent, was empty/null, or malformed.",
        )
    if symbol != wire.instrument.symbol:
        raise _BadQueryError(-1121, "Invalid symbol.")


def _number(query: Mapping[str, str], name: str) -> int | None:
    text = query.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) <= 19):
        raise _BadQueryError(
            -1100,
            f"Illegal characters found in parameter '{name}'; legal range is '^[0-9]{{1,19}}$'.",
        )
    return min(int(text), FOREVER_US)


def _time(query: Mapping[str, str], name: str) -> int | None:
    time = _number(query, name)
    if time is None or time >= MICROSECONDS_FROM:
        return time
    return time * 1_000
