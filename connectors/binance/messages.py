"""The JSON of Binance's public market data, as structs that both decode and encode.

Field order is Binance's key order, so encoding gives the bytes Binance sends. Decoding ignores
unknown keys and key order. Prices and quantities stay the decimal text they are on the wire; times
are integers in the unit of the connection, milliseconds or microseconds.
Source: binance-spot-api-docs, web-socket-streams.md and rest-api.md; USD-M futures docs.
"""

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

INT64_MAX = 2**63 - 1

Id = Annotated[int, Meta(ge=0, le=INT64_MAX)]
TradeId = Annotated[int, Meta(ge=-1, le=INT64_MAX)]
Time = Annotated[int, Meta(ge=1, le=INT64_MAX)]
RequestId = int | str | None

_KEYS = {
    "event_time": "E",
    "symbol": "s",
    "agg_id": "a",
    "price": "p",
    "qty": "q",
    "qty_without_rpi": "nq",
    "first_id": "f",
    "last_id": "l",
    "trade_time": "T",
    "is_buyer_maker": "m",
    "is_best_match": "M",
    "contract_kind": "st",
}


class AggTrade(Struct, frozen=True, tag_field="e", tag="aggTrade", rename=_KEYS):
    """One frame of `<symbol>@aggTrade` on spot."""

    event_time: Time
    symbol: str
    agg_id: Id
    price: str
    qty: str
    first_id: TradeId
    last_id: TradeId
    trade_time: Time
    is_buyer_maker: bool
    is_best_match: bool = True


class FuturesAggTrade(Struct, frozen=True, tag_field="e", tag="aggTrade", rename=_KEYS):
    """One frame of `<symbol>@aggTrade` on USD-M futures; `nq` leaves out RPI fills."""

    event_time: Time
    agg_id: Id
    symbol: str
    price: str
    qty: str
    qty_without_rpi: str
    first_id: TradeId
    last_id: TradeId
    trade_time: Time
    is_buyer_maker: bool
    contract_kind: int = 1


class RestAggTrade(Struct, frozen=True, rename=_KEYS):
    """One row of `GET /api/v3/aggTrades`."""

    agg_id: Id
    price: str
    qty: str
    first_id: TradeId
    last_id: TradeId
    trade_time: Time
    is_buyer_maker: bool
    is_best_match: bool = True


class RestFuturesAggTrade(Struct, frozen=True, rename=_KEYS):
    """One row of `GET /fapi/v1/aggTrades`."""

    agg_id: Id
    price: str
    qty: str
    qty_without_rpi: str
    first_id: TradeId
    last_id: TradeId
    trade_time: Time
    is_buyer_maker: bool


class ServerShutdown(Struct, frozen=True, tag_field="e", tag="serverShutdown", rename=_KEYS):
    """Announcement that the server will stop; there is no fixed lead time."""

    event_time: Time


class Combined(Struct, frozen=True):
    """A frame of a combined connection around the bytes of its payload."""

    stream: str
    data: Raw


class ApiError(Struct, frozen=True):
    """Binance's error object, on REST and inside control replies."""

    code: int
    msg: str


class Request(Struct, frozen=True):
    """A control message from a client, before its values are looked at."""

    method: str | UnsetType = UNSET
    params: Any = UNSET
    id: Any = UNSET


class Reply(Struct, frozen=True):
    """The answer to a control message that was understood."""

    result: Any
    id: RequestId


class ErrorReply(Struct, frozen=True):
    """The answer to a control message that was refused, in the form seen on the wire."""

    error: ApiError
    id: RequestId | UnsetType = UNSET


class FlatErrorReply(Struct, frozen=True):
    """The answer to a control message that was refused, in the form the documentation prints."""

    code: int
    msg: str
    id: RequestId | UnsetType = UNSET


class SymbolInfo(Struct, frozen=True, rename="camel"):
    """What `exchangeInfo` says about one symbol; `filters` are looked up by `filterType`."""

    symbol: str
    status: str
    base_asset: str
    base_asset_precision: int
    quote_asset: str
    quote_precision: int
    filters: list[dict[str, Any]]
    quote_asset_precision: int | UnsetType = UNSET
    order_types: list[str] | UnsetType = UNSET
    is_spot_trading_allowed: bool | UnsetType = UNSET
    is_margin_trading_allowed: bool | UnsetType = UNSET
    permissions: list[str] | UnsetType = UNSET
    permission_sets: list[list[str]] | UnsetType = UNSET
    contract_type: str | UnsetType = UNSET
    price_precision: int | UnsetType = UNSET
    quantity_precision: int | UnsetType = UNSET


class ExchangeInfo(Struct, frozen=True, rename="camel"):
    """`GET /api/v3/exchangeInfo` or `/fapi/v1/exchangeInfo`."""

    symbols: list[SymbolInfo]
    timezone: str = "UTC"
    server_time: int = 0
    rate_limits: list[dict[str, Any]] = msgspec.field(default_factory=list)
    exchange_filters: list[Any] = msgspec.field(default_factory=list)


class ServerTime(Struct, frozen=True, rename="camel"):
    """`GET /api/v3/time` or `/fapi/v1/time`."""

    server_time: Time


def encode(message: Struct | list[Any] | dict[str, Any]) -> bytes:
    """Return the compact JSON that Binance would send for `message`."""
    return msgspec.json.encode(message)
