"""What a browser may say: small JSON texts, each of a kind, with nothing unknown in them."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from flowtape.stream.errors import InputError
from flowtape.stream.ports import StepUnit

TEXT_MAX = 1024


class _Message(msgspec.Struct, forbid_unknown_fields=True, tag_field="kind"):
    pass


class Hello(_Message, tag="hello"):
    """A browser is ready, or came back, and wants a snapshot of one feed."""

    feed: Annotated[int, Meta(ge=0)]


class Ack(_Message, tag="ack"):
    """Frames up to `seq` are on the glass."""

    seq: Annotated[int, Meta(ge=0)]


class Play(_Message, tag="play"):
    """Go on."""


class Pause(_Message, tag="pause"):
    """Stop the clock."""


class Speed(_Message, tag="speed"):
    """Set the factor."""

    factor: float | Literal["max"]


class Step(_Message, tag="step"):
    """Go on by one unit."""

    unit: StepUnit


class Seek(_Message, tag="seek"):
    """Go to a stream time; in a session that goes on by itself, look back at it."""

    ts_us: Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]


class Now(_Message, tag="now"):
    """End a look back."""


CmdId = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,64}\Z")]
"""A browser's name for a command, which is carried out once however often it comes."""

Count = Annotated[int, Meta(ge=1, le=2**63 - 1)]


class Order(_Message, tag="order"):
    """Buy (+1) or sell (-1), at the market or, with `limit_ticks` above 0, at a limit."""

    cmd_id: CmdId
    side: Literal[1, -1]
    qty_lots: Count
    limit_ticks: Annotated[int, Meta(ge=0, le=2**63 - 1)] = 0


class Cancel(_Message, tag="cancel"):
    """Cancel one order."""

    cmd_id: CmdId
    order_id: Count


class CancelAll(_Message, tag="cancel_all"):
    """Cancel all orders of the feed's instrument."""

    cmd_id: CmdId


class Flatten(_Message, tag="flatten"):
    """Cancel all orders of the feed's instrument and close its position."""

    cmd_id: CmdId


Steering = Play | Pause | Speed | Step | Seek | Now
Trading = Order | Cancel | CancelAll | Flatten
Message = Hello | Ack | Steering | Trading

_decoder: msgspec.json.Decoder[Message] = msgspec.json.Decoder(Message)


def decode(text: str) -> Message:
    """Return what a browser said; raises InputError when it is none of ours."""
    if len(text) > TEXT_MAX:
        raise InputError(f"a browser sent a message of {len(text)} characters")
    try:
        return _decoder.decode(text)
    except msgspec.MsgspecError as error:
        raise InputError(f"a browser sent a message that is not understood: {error}") from error
