"""What may go wrong at a venue, on purpose: faults as data, tied to aggregate ids.

A fault `at` an id happens when that trade is due, or the first one behind it; one without an id
from the start. The ids of a span are inclusive. `symbol` says whose ids are meant where a venue
has several symbols. Both are taken by scripts as they stand here.
"""

from typing import Annotated, Literal

from msgspec import Meta, Struct

Count = Annotated[int, Meta(ge=1, le=1_000_000)]
Seconds = Annotated[float, Meta(ge=0, le=86_400)]
Id = Annotated[int, Meta(ge=0)]
Code = Annotated[int, Meta(ge=1000, le=4999)]
Status = Annotated[int, Meta(ge=200, le=599)]
RefusedStatus = Annotated[int, Meta(ge=400, le=599)]
Text = Annotated[str, Meta(max_length=100)]

Query = Literal[
    "any",
    "ping",
    "time",
    "exchangeInfo",
    "aggTrades",
    "trades",
    "klines",
    "depth",
    "avgPrice",
    "ticker/price",
    "ticker/24hr",
    "ticker/bookTicker",
]
GarbleKind = Literal[
    "truncated",
    "garbage",
    "binary",
    "wrong_types",
    "missing_key",
    "new_keys",
    "unknown_event",
    "other_unit",
    "oversized",
]


class _Fault(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    symbol: str = ""


class Drop(_Fault, frozen=True, tag="drop"):
    """Trades that the stream leaves out; REST has them unless `everywhere`."""

    from_id: Id
    to_id: Id
    everywhere: bool = False


class Void(_Fault, frozen=True, tag="void"):
    """Trades that were taken back: REST has rows of zeros for them, the stream nothing."""

    from_id: Id
    to_id: Id


class Backdate(_Fault, frozen=True, tag="backdate"):
    """Trades whose trade time is earlier, for the stream and for REST."""

    from_id: Id
    to_id: Id
    by_ms: Annotated[int, Meta(ge=1, le=86_000_000)] = 1_000


class Renumber(_Fault, frozen=True, tag="renumber"):
    """Trades whose frames carry an id that is off by `by`; REST has the right ones."""

    from_id: Id
    to_id: Id
    by: int


class Duplicate(_Fault, frozen=True, tag="duplicate"):
    """A trade that is sent again, `times` more often; with another quantity if it `differs`."""

    at: Id
    times: Count = 1
    differs: bool = False


class Delay(_Fault, frozen=True, tag="delay"):
    """A trade that comes after the `by` trades that follow it."""

    at: Id
    by: Count = 1


class Garble(_Fault, frozen=True, tag="garble"):
    """A trade whose frame is not as documented; REST has it.

    `new_keys` and `other_unit` (milliseconds for microseconds, or the reverse) leave it readable;
    an `unknown_event` comes before it, and so does an `oversized` frame of over a mebibyte.
    """

    at: Id
    how: GarbleKind = "truncated"


class Abort(_Fault, frozen=True, tag="abort"):
    """Every connection is reset without a goodbye, before the trade is sent."""

    at: Id


class Close(_Fault, frozen=True, tag="close"):
    """Every connection is closed properly, before the trade is sent."""

    at: Id
    code: Code = 1001
    reason: Text = ""


class Stall(_Fault, frozen=True, tag="stall"):
    """Connections stay open and go mute from this trade on: no frame, no ping, no pong.

    New ones are served.
    """

    at: Id


class Mute(_Fault, frozen=True, tag="mute"):
    """The symbol's streams bring nothing more on open connections, which are alive otherwise.

    They bring trades again when they are subscribed to again, or on another connection alone.
    """

    at: Id
    heals: Literal["subscribe", "connect"] = "connect"


class Hold(_Fault, frozen=True, tag="hold"):
    """Connections bring nothing for so long, and then everything, late; REST is up to date."""

    at: Id
    for_s: Seconds = 5.0


class Halt(_Fault, frozen=True, tag="halt"):
    """Trading stops for so long before the trade; exchangeInfo has this status meanwhile."""

    at: Id
    for_s: Seconds = 5.0
    status: Text = "BREAK"


class Refilter(_Fault, frozen=True, tag="filter"):
    """From this trade on a filter of exchangeInfo has these values instead of its own.

    The venue's paper account obeys the rules that come of it.
    """

    filter: Text
    values: dict[str, Text | bool | int]
    at: Id = 0


class Skew(_Fault, frozen=True, tag="skew"):
    """Event times and the server's own are off by `by_ms` from this trade on."""

    at: Id
    by_ms: Annotated[int, Meta(ge=-86_000_000, le=86_000_000)]


class Shutdown(_Fault, frozen=True, tag="shutdown"):
    """The server announces its end; the trade and all that follow are still sent."""

    at: Id


class Refuse(_Fault, frozen=True, tag="refuse"):
    """The next `count` connections are refused at the handshake."""

    at: Id = 0
    status: RefusedStatus = 503
    count: Count = 1
    retry_after_s: int | None = None


class Deny(_Fault, frozen=True, tag="deny"):
    """What the next `count` SUBSCRIBE messages get: an error, no answer, or an empty promise."""

    at: Id = 0
    how: Literal["error", "unanswered", "acknowledged_only"] = "error"
    count: Count = 1
    code: int = 2
    msg: Text = "Invalid request"


class Lag(_Fault, frozen=True, tag="lag"):
    """The next `count` queries for trades do not know the newest `rows` trades yet."""

    at: Id = 0
    rows: Count = 100
    count: Count = 1


class Forget(_Fault, frozen=True, tag="forget"):
    """REST has no more than the newest `rows` trades from this trade on."""

    at: Id
    rows: Count = 1_000


class RestFault(Struct, frozen=True, tag="rest", forbid_unknown_fields=True, omit_defaults=True):
    """What the next `count` queries of one kind get.

    `status` 200 is the right answer, `delay_s` late; others carry `body`, which is an error object
    by default. `retry_after_s` is sent with 418 and 429. A `cut` answer breaks off half-way.
    """

    status: Status = 200
    count: Count = 1
    query: Query = "aggTrades"
    delay_s: Seconds = 0.0
    retry_after_s: int | None = None
    body: str = ""
    cut: bool = False
    at: Id = 0
    symbol: str = ""


Span = Drop | Void | Renumber
Rewrite = Void | Backdate
Broken = Abort | Close | Stall | Hold | Shutdown
"""What happens to every connection, between trades."""

Standing = Mute | Halt | Refilter | Skew | Refuse | Deny | Lag | Forget | RestFault
"""What changes how the venue behaves from a trade on."""

Fault = Span | Backdate | Duplicate | Delay | Garble | Broken | Standing
