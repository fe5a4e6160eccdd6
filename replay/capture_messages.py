"""The message in a line of a capture: an aggTrade event, however the recorder wrapped it."""

from collections.abc import Iterable, Iterator
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Raw, Struct

from flowtape.stream.limits import TS_US_MAX

BROKEN = (msgspec.MsgspecError, UnicodeError, RecursionError)
"""What reading a message raises that is not whole, or whose trade is none."""

Id = Annotated[int, Meta(ge=0, le=2**63 - 1)]
RawId = Annotated[int, Meta(ge=-1, le=2**63 - 1)]
Time = Annotated[int, Meta(ge=10**11, le=TS_US_MAX)]  # less would count seconds


class CapturedTrade(
    Struct,
    frozen=True,
    kw_only=True,
    gc=False,
    tag_field="e",
    tag="aggTrade",
    rename={
        "event_time": "E",
        "symbol": "s",
        "agg_id": "a",
        "price": "p",
        "qty": "q",
        "qty_without_rpi": "nq",
        "first_id": "f",
        "last_id": "l",
        "time": "T",
        "is_buyer_maker": "m",
        "is_best_match": "M",
        "contract_kind": "st",
    },
):
    """An aggTrade event of either market; times are in milliseconds or microseconds.

    Spot has `is_best_match`, which futures never have; futures may have the other two that may be
    missing.
    """

    event_time: Time | None = None
    symbol: str
    agg_id: Id
    price: str
    qty: str
    qty_without_rpi: str | None = None
    first_id: RawId
    last_id: RawId
    time: Time
    is_buyer_maker: bool
    is_best_match: bool | None = None
    contract_kind: int | None = None


class Envelope(Struct, frozen=True, gc=False):
    """A trade in a message of a combined stream."""

    data: CapturedTrade


class _Kind(Struct, frozen=True):
    e: Any = None


TRADE = msgspec.json.Decoder(CapturedTrade)
"""Reads a trade that is all of a message; raises one of BROKEN."""
ENVELOPE = msgspec.json.Decoder(Envelope)
"""Reads a trade in the envelope of a combined stream; raises one of BROKEN."""
_kind = msgspec.json.Decoder(_Kind)
_object = msgspec.json.Decoder(dict[str, Raw])
_array = msgspec.json.Decoder(list[Raw])
_text = msgspec.json.Decoder(str)


def wrapped_trade(line: bytes) -> CapturedTrade | None:
    """Return the trade somewhere inside the message of a line; None for another message.

    Raises one of BROKEN.
    """
    trades = list(_trades_in(line[_start(line) :]))
    if len(trades) > 1:
        raise msgspec.ValidationError("more than one trade in a line")
    return TRADE.decode(trades[0]) if trades else None


def _start(line: bytes) -> int:
    """Return where the message of a line begins, behind its receive time."""
    brace = line.find(b"{")
    # Receive times may stand in brackets as well.
    bracket = line.rfind(b"[", 0, max(brace, 0)) if line.rstrip().endswith(b"]") else -1
    start = bracket if bracket >= 0 else brace
    if start < 0:
        raise msgspec.DecodeError("no message")
    return start


def _trades_in(message: bytes) -> Iterator[bytes]:
    """Yield the trades that a message is or has in it, those written as text as well."""
    values: Iterable[Raw] = ()
    if message.startswith(b"{"):
        if _kind.decode(message).e == "aggTrade":
            yield message
            return
        if b"aggTrade" in message:
            values = _object.decode(message).values()
    else:
        values = _array.decode(message)
    for value in map(bytes, values):
        if b"aggTrade" in value:
            inner = _text.decode(value).encode() if value.startswith(b'"') else value
            if inner.startswith((b"{", b"[")):
                yield from _trades_in(inner)
