"""Frames that are not as documented."""

import msgspec

from flowtape.connectors.venue.faults import GarbleKind
from flowtape.connectors.venue.frames import Shape, binary_frame, text_frames, wrapped
from flowtape.connectors.venue.wire import Wire
from flowtape.stream.trades import I64, Trades

OVERSIZED_BYTES = 1_200_000


def broken_frame(wire: Wire, trades: Trades, event_us: I64, shape: Shape, how: GarbleKind) -> bytes:
    """Return what is sent for one trade, broken as `how` says."""
    (payload,) = wire.agg_trades(trades, event_us, shape)
    match how:
        case "binary":
            return binary_frame(payload)
        case "truncated":
            sent = [payload[: len(payload) // 2]]
        case "garbage":
            sent = [b"\x00<garbage>"]
        case "wrong_types":
            sent = [payload.replace(b'"a":', b'"a":"x","b":')]
        case "missing_key":
            sent = [payload.replace(b'"a":', b'"gone":')]
        case "new_keys":
            sent = [payload.replace(b'"a":', b'"zz":{"of":["tomorrow",1.5,null]},"a":')]
        case "other_unit":
            other = Shape(shape.combined, not shape.micros, shape.deflate)
            sent = wire.agg_trades(trades, event_us, other)
        case "unknown_event":
            event = msgspec.json.encode({"e": "tomorrow", "E": int(event_us[0]) // shape.unit_us})
            sent = [*wrapped(wire.stream, [event], shape), payload]
        case "oversized":
            event = msgspec.json.encode({"e": "tomorrow", "fill": "x" * OVERSIZED_BYTES})
            sent = [*wrapped(wire.stream, [event], shape), payload]
    return text_frames(sent, shape.deflate)
