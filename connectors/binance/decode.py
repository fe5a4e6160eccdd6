"""Text from Binance to events in exact integers: whatever comes is an event or a DecodeError."""

import contextlib
from dataclasses import dataclass, field
from typing import Any, NoReturn, TypeVar

import msgspec
from msgspec import Raw, Struct

from flowtape.connectors.binance.messages import (
    AggTrade,
    ApiError,
    Combined,
    ExchangeInfo,
    RequestId,
    RestAggTrade,
    ServerShutdown,
    ServerTime,
)
from flowtape.connectors.binance.rows import Row
from flowtape.stream.decimals import parse_decimal
from flowtape.stream.errors import OffGridError, SourceError
from flowtape.stream.instrument import Instrument
from flowtape.stream.limits import PRICE_TICKS_MAX, QTY_LOTS_MAX, TS_US_MAX

MICROSECONDS_FROM = 10**15
"""Times of at least this are microseconds (16 digits), lower ones milliseconds (13 digits)."""

EVENT_SKEW_US_MAX = 24 * 3600 * 1_000_000
"""Trade time further than a day from event time is damage; it would carry stream time away."""

_EXCERPT_CHARS = 120
_BROKEN = (msgspec.MsgspecError, UnicodeError, RecursionError)
_S = TypeVar("_S")


class DecodeError(SourceError):
    """A frame or row is not what Binance documents; the text names what is wrong and where.

    Attributes:
        reason: what is wrong.
        raw: the whole frame, row or page.
    """

    def __init__(self, reason: str, raw: str | bytes) -> None:
        shown = repr(raw[:_EXCERPT_CHARS])
        more = "" if len(raw) <= _EXCERPT_CHARS else "..."
        super().__init__(f"{reason}: {shown}{more}")
        self.reason = reason
        self.raw = raw


@dataclass(frozen=True, slots=True)
class TradeFrame:
    """A trade from the stream with the venue's push time."""

    symbol: str
    row: Row
    event_us: int


@dataclass(frozen=True, slots=True)
class ShutdownNotice:
    """The server will stop; another connection is needed now."""

    event_us: int


@dataclass(frozen=True, slots=True)
class ControlReply:
    """An answer to a control message; `error` is None when it was accepted."""

    id: RequestId
    result: Any
    error: ApiError | None


@dataclass(frozen=True, slots=True)
class OtherFrame:
    """An event of a kind that is not decoded here."""

    kind: str


FrameEvent = TradeFrame | ShutdownNotice | ControlReply | OtherFrame


@dataclass(frozen=True, slots=True)
class Page:
    """The answer to one REST query for aggregate trades.

    `exhausted` says that the venue had no more rows than these; `errors` name the rows that could
    not be decoded, which are not in `rows`; `body` is the answer as it came.
    """

    rows: list[Row]
    errors: list[DecodeError]
    exhausted: bool
    body: bytes = field(default=b"", repr=False)


class _Fields(Struct, frozen=True):
    """Every key by which the kind of a message is told."""

    e: Any = None
    stream: Any = None
    data: Raw = Raw(b"")
    id: Any = None
    result: Any = None
    error: Any = None
    code: Any = None
    msg: Any = None


_fields = msgspec.json.Decoder(_Fields)
_trade = msgspec.json.Decoder(AggTrade)
_tagged = msgspec.json.Decoder(AggTrade | ServerShutdown)
_combined = msgspec.json.Decoder(Combined)
_rows = msgspec.json.Decoder(list[Raw])
_rest_row = msgspec.json.Decoder(RestAggTrade)
_exchange_info = msgspec.json.Decoder(ExchangeInfo)
_server_time = msgspec.json.Decoder(ServerTime)
_api_error = msgspec.json.Decoder(ApiError)


def decode_frame(data: str | bytes, instrument: Instrument) -> FrameEvent:
    """Decode one frame of a raw or combined connection.

    Raises DecodeError for anything that is no JSON object, and for trades with a missing or wrong
    value, a price or quantity off the instrument's grid, or a time out of range.
    """
    try:
        payload: str | bytes | Raw = data
        if data[:9] in ('{"stream"', b'{"stream"'):
            payload = _combined.decode(data).data
        message = _tagged.decode(payload)
    except _BROKEN:
        return _decode_unusual(data, instrument)
    if isinstance(message, ServerShutdown):
        return ShutdownNotice(_time_us(message.event_time, data))
    return _trade_frame(message, instrument, data)


def decode_page(body: bytes, instrument: Instrument, limit: int) -> Page:
    """Decode the answer to a query for at most `limit` aggregate trades.

    Raises DecodeError when the body is no list; a bad row costs that row alone.
    """
    raw_rows = _parse(_rows, body, "the list of trades")
    rows: list[Row] = []
    errors: list[DecodeError] = []
    for raw in raw_rows:
        text = bytes(raw)
        try:
            message = _parse(_rest_row, text, "a trade")
            rows.append(_row(message, _time_us(message.trade_time, text), instrument, text))
        except DecodeError as error:
            errors.append(error)
    rows.sort(key=lambda row: row.agg_id)
    return Page(rows, errors, len(raw_rows) < limit, body)


def raw_rows(body: bytes) -> dict[int, bytes]:
    """Return the text of each trade of a page that was decoded, by its id."""
    texts: dict[int, bytes] = {}
    for raw in _rows.decode(body):
        with contextlib.suppress(*_BROKEN):
            texts[_rest_row.decode(raw).agg_id] = bytes(raw)
    return texts


def decode_error(body: bytes) -> ApiError | None:
    """Return the error object of a REST answer, or None when the body holds none."""
    try:
        return _api_error.decode(body)
    except _BROKEN:
        return None


def decode_exchange_info(body: bytes) -> ExchangeInfo:
    """Decode exchangeInfo; raises DecodeError."""
    return _parse(_exchange_info, body, "exchangeInfo")


def decode_server_time(body: bytes) -> int:
    """Decode the answer to `time`, in the venue's unit; raises DecodeError."""
    return _parse(_server_time, body, "time").server_time


def _decode_unusual(data: str | bytes, instrument: Instrument) -> FrameEvent:
    fields = _parse(_fields, data, "a frame")
    payload = bytes(fields.data)
    if not payload:
        if fields.e is None:
            return _control(fields, data)
        return _event(fields.e, data, data, instrument)
    try:
        kind = _fields.decode(payload).e
    except _BROKEN:
        kind = None
    if kind is None:
        return OtherFrame(str(fields.stream))
    return _event(kind, payload, data, instrument)


def _event(
    kind: Any, payload: str | bytes, data: str | bytes, instrument: Instrument
) -> FrameEvent:
    if kind == AggTrade.__struct_config__.tag:
        return _trade_frame(_parse(_trade, payload, "a trade"), instrument, data)
    if kind == ServerShutdown.__struct_config__.tag:
        return ShutdownNotice(0)
    return OtherFrame(str(kind))


def _control(fields: _Fields, data: str | bytes) -> ControlReply:
    reply_id = fields.id if isinstance(fields.id, str | int) else None
    if isinstance(fields.error, dict):
        code, msg = fields.error.get("code"), fields.error.get("msg")
    elif fields.code is not None:
        code, msg = fields.code, fields.msg
    elif reply_id is not None:
        return ControlReply(reply_id, fields.result, None)
    else:
        _refuse("a frame is neither an event nor a reply", data)
    if not isinstance(code, int) or not isinstance(msg, str):
        _refuse("an error reply has no code and message", data)
    return ControlReply(reply_id, None, ApiError(code, msg))


def _trade_frame(message: AggTrade, instrument: Instrument, data: str | bytes) -> TradeFrame:
    event_us = _time_us(message.event_time, data)
    ts_us = _time_us(message.trade_time, data)
    if abs(ts_us - event_us) > EVENT_SKEW_US_MAX:
        _refuse(f"trade time {ts_us} us is over a day from event time {event_us} us", data)
    return TradeFrame(message.symbol, _row(message, ts_us, instrument, data), event_us)


def _row(
    message: AggTrade | RestAggTrade, ts_us: int, instrument: Instrument, data: str | bytes
) -> Row:
    try:
        price_ticks = parse_decimal(message.price, instrument.price_decimals)
        qty_lots = parse_decimal(message.qty, instrument.qty_decimals)
    except OffGridError as error:
        _refuse(f"trade {message.agg_id} of {instrument.symbol}: {error}", data)
    if not (0 <= price_ticks <= PRICE_TICKS_MAX and 0 <= qty_lots <= QTY_LOTS_MAX):
        _refuse(f"trade {message.agg_id}: price or quantity is out of range", data)
    if message.last_id < message.first_id:
        _refuse(f"trade {message.agg_id}: last id is below first id", data)
    return Row(
        message.agg_id,
        ts_us,
        price_ticks,
        qty_lots,
        message.first_id,
        message.last_id,
        message.is_buyer_maker,
    )


def time_us(time: int) -> int:
    """Return a time of the venue in microseconds, whichever unit it has."""
    return time if time >= MICROSECONDS_FROM else time * 1_000


def _time_us(time: int, data: str | bytes) -> int:
    found_us = time_us(time)
    if found_us > TS_US_MAX:
        _refuse(f"time {time} is out of range", data)
    return found_us


def _parse(decoder: msgspec.json.Decoder[_S], data: str | bytes, what: str) -> _S:
    try:
        return decoder.decode(data)
    except _BROKEN as error:
        raise DecodeError(f"{what} cannot be read: {error}", data) from None


def _refuse(what: str, data: str | bytes) -> NoReturn:
    raise DecodeError(what, data)
