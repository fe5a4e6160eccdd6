"""Payloads to WebSocket frames, many at once and once for all clients that take the same."""

import zlib
from dataclasses import dataclass
from itertools import chain

import msgspec

_TEXT, _BINARY = 0x81, 0x82
_COMPRESSED = 0x40
_SYNC_TAIL = b"\x00\x00\xff\xff"


@dataclass(frozen=True, slots=True)
class Shape:
    """How a connection takes its events.

    `combined` wraps them with the stream's name, `micros` counts times in microseconds; `deflate`
    is the window of permessage-deflate, 0 for none.
    """

    combined: bool
    micros: bool
    deflate: int = 0

    @property
    def unit_us(self) -> int:
        """The unit of times, in microseconds."""
        return 1 if self.micros else 1_000


def wrapped(stream: str, payloads: list[bytes], shape: Shape) -> list[bytes]:
    """Return payloads as a connection of this shape is sent them."""
    if not shape.combined:
        return payloads
    head = b'{"stream":%b,"data":' % msgspec.json.encode(stream)
    return [b"%b%b}" % (head, payload) for payload in payloads]


def text_frames(payloads: list[bytes], deflate: int = 0) -> bytes:
    """Return the bytes of one text frame for each payload.

    With a `deflate` window each is compressed by itself, so that it reads the same on any
    connection, whatever went before.
    """
    if deflate:
        return b"".join(_deflated(payload, deflate) for payload in payloads)
    heads = map(_text_head, map(len, payloads))
    return b"".join(chain.from_iterable(zip(heads, payloads, strict=True)))


def binary_frame(payload: bytes) -> bytes:
    """Return the bytes of a binary frame."""
    return _head(_BINARY, len(payload)) + payload


def _deflated(payload: bytes, window: int) -> bytes:
    packer = zlib.compressobj(wbits=-window)
    packed = packer.compress(payload) + packer.flush(zlib.Z_SYNC_FLUSH)
    packed = packed.removesuffix(_SYNC_TAIL)
    return _head(_TEXT | _COMPRESSED, len(packed)) + packed


def _head(first: int, length: int) -> bytes:
    if length < 126:
        return bytes((first, length))
    if length < 1 << 16:
        return bytes((first, 126)) + length.to_bytes(2, "big")
    return bytes((first, 127)) + length.to_bytes(8, "big")


_SHORT_HEADS = tuple(_head(_TEXT, length) for length in range(1_024))


def _text_head(length: int) -> bytes:
    return _SHORT_HEADS[length] if length < len(_SHORT_HEADS) else _head(_TEXT, length)
