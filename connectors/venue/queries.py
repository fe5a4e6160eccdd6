"""A REST query: what was asked, checked as Binance checks it, and what is answered."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from flowtape.connectors.binance.decode import MICROSECONDS_FROM
from flowtape.connectors.binance.markets import MarketApi
from flowtape.connectors.binance.messages import ApiError, encode
from flowtape.connectors.venue.listing import Listing

FOREVER_US = 2**63 - 1

_symbols = msgspec.json.Decoder(list[str])


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer; a body of JSON unless it begins like HTML."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


class BadQueryError(Exception):
    """A query that is refused, with Binance's code and text, and `data` where there is more."""

    def __init__(
        self, code: int, msg: str, status: int = 400, data: dict[str, Any] | None = None
    ) -> None:
        super().__init__(msg)
        self.code = code
        self.status = status
        self.data = data

    def body(self) -> dict[str, Any]:
        """Return the error as JSON's object."""
        more = {} if self.data is None else {"data": self.data}
        return {"code": self.code, "msg": str(self), **more}


@dataclass(frozen=True, slots=True)
class Query:
    """One query: its parameters, and what the venue is at that moment.

    `now_us` is the venue's time; `unit_us` the unit of the times in the answer.
    """

    values: Mapping[str, str]
    listings: Mapping[str, Listing]
    api: MarketApi
    now_us: int
    unit_us: int

    def listing(self) -> Listing:
        """Return the listing that must be named."""
        symbol = self.values.get("symbol", "")
        if not symbol:
            raise BadQueryError(
                -1102, "Mandatory parameter 'symbol' was not sent, was empty/null, or malformed."
            )
        return self._listed(symbol)

    def chosen(self) -> list[Listing]:
        """Return the listings of `symbol`, of `symbols`, or all of them."""
        if "symbol" in self.values and "symbols" in self.values:
            raise BadQueryError(-1128, "Combination of optional parameters invalid.")
        if "symbol" in self.values:
            return [self.listing()]
        if "symbols" not in self.values:
            return list(self.listings.values())
        try:
            names = _symbols.decode(self.values["symbols"])
        except msgspec.MsgspecError:
            names = []
        if not names:
            raise BadQueryError(
                -1100,
                "Illegal characters found in parameter 'symbols'; legal range is a JSON array.",
            )
        return [self._listed(name) for name in names]

    def one_or_many(self, found: list[dict[str, Any]]) -> Answer:
        """Return one object for one named symbol, else a list."""
        return Answer(200, encode(found[0] if "symbol" in self.values else found))

    def number(self, name: str) -> int | None:
        """Return a parameter that is a whole number."""
        text = self.values.get(name)
        if text is None:
            return None
        if not (text.isascii() and text.isdecimal() and len(text) <= 19):
            raise BadQueryError(
                -1100,
                f"Illegal characters found in parameter '{name}'; "
                "legal range is '^[0-9]{1,19}$'.",
            )
        return min(int(text), FOREVER_US)

    def time_us(self, name: str) -> int | None:
        """Return a parameter that is a time, in milliseconds or microseconds."""
        time = self.number(name)
        if time is None or time >= MICROSECONDS_FROM:
            return time
        return time * 1_000

    def limit(self, default: int, most: int) -> int:
        """Return how many rows are wanted."""
        limit = self.number("limit")
        limit = default if limit is None else limit
        if not 1 <= limit <= most:
            raise BadQueryError(-1130, "Data sent for parameter 'limit' is not valid.")
        return limit

    def _listed(self, symbol: str) -> Listing:
        listing = self.listings.get(symbol)
        if listing is None:
            raise BadQueryError(-1121, "Invalid symbol.")
        return listing


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A query there is: its name, the parameters it reads, its answer and its weight."""

    name: str
    reads: frozenset[str]
    answer: Callable[[Query], Answer]
    weight: Callable[[Query], int]


def refusal(status: int, code: int, msg: str) -> Answer:
    """Return an error answer."""
    return Answer(status, encode(ApiError(code, msg)))
