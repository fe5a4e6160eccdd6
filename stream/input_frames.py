"""Inputs as bytes for others to fold: numbered, checked, and joined without being made anew.

A message is little-endian:

    magic "FTI1" | frame count: u32 | number of the first input: u64
    | for each frame its row count and checksum: u32, u32 | rows of all frames, one behind the other

A row is the nine columns of `Inputs`, packed: 51 bytes. A frame is what was appended at once, at
most `FRAME_ROWS` of it. Its checksum is a CRC-32 over the session's id, the number of its first
input, its row count and its rows, so inputs of another place or session are noticed too.
"""

import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import fields
from typing import NamedTuple

import numpy as np

from flowtape.stream.errors import SourceError
from flowtape.stream.inputs import Inputs

FRAME_ROWS = 4096
MESSAGE_BYTES = 256 << 10
"""Rows that are joined into one message, about; a frame more at most."""

ROW = np.dtype(
    [
        *(("kind", "u1"), ("market", "u1"), ("side", "i1")),
        *((f.name, "<i8") for f in fields(Inputs)[3:]),
    ]
)
_MAGIC = b"FTI1"
_HEAD = struct.Struct("<4sIQ")
_PLACE = struct.Struct("<QI")
_FRAME = np.dtype([("row_count", "<u4"), ("crc32", "<u4")])

MESSAGE_BYTES_MAX = _HEAD.size + (MESSAGE_BYTES + FRAME_ROWS * ROW.itemsize) * 2
"""No message is longer: a frame of one row takes less than twice its row."""


class DamagedMessageError(SourceError):
    """A message is not as it was sent, or not what should come next."""


class Frame(NamedTuple):
    """Consecutive inputs as bytes."""

    first: int
    """Number of the first input."""
    row_count: int
    crc32: int
    rows: bytes

    @property
    def next(self) -> int:
        """Number of the input behind them."""
        return self.first + self.row_count


class Message(NamedTuple):
    """Frames joined."""

    first: int
    next: int
    """Number of the input behind them."""
    data: bytes


def frames_of(session_id: str, first: int, inputs: Inputs) -> Iterator[Frame]:
    """Yield inputs, the first of which has that number, as frames."""
    seed = zlib.crc32(session_id.encode())
    packed = np.empty(len(inputs), ROW)
    for name, column in zip(ROW.names or (), inputs.columns(), strict=True):
        packed[name] = column
    for at in range(0, len(packed), FRAME_ROWS):
        rows = packed[at : at + FRAME_ROWS].tobytes()
        count = min(FRAME_ROWS, len(packed) - at)
        yield Frame(first + at, count, _crc32(seed, first + at, count, rows), rows)


def cut(session_id: str, frame: Frame, first: int) -> Frame:
    """Return what a frame has from the input of that number on, which is one of its own."""
    if first == frame.first:
        return frame
    rows = frame.rows[(first - frame.first) * ROW.itemsize :]
    count = frame.next - first
    return Frame(first, count, _crc32(zlib.crc32(session_id.encode()), first, count, rows), rows)


def joined(frames: Sequence[Frame]) -> Message:
    """Return one message of consecutive frames, of which there is one at least."""
    heads = np.array([(f.row_count, f.crc32) for f in frames], _FRAME)
    head = _HEAD.pack(_MAGIC, len(frames), frames[0].first)
    data = b"".join([head, heads.tobytes(), *(f.rows for f in frames)])
    return Message(frames[0].first, frames[-1].next, data)


def first_of(data: bytes) -> int:
    """Return the number of a message's first input; raises DamagedMessageError when it is none."""
    if len(data) < _HEAD.size or not data.startswith(_MAGIC):
        raise DamagedMessageError("a message is none of inputs")
    return int(_HEAD.unpack_from(data)[2])


def inputs_of(session_id: str, first: int, data: bytes) -> Inputs:
    """Return the inputs of a message that should begin with number `first`.

    Raises DamagedMessageError when they are not what the session appended there.
    """
    if len(data) < _HEAD.size:
        raise DamagedMessageError("a message of the hub is cut off")
    magic, frame_count, found = _HEAD.unpack_from(data)
    if magic != _MAGIC:
        raise DamagedMessageError("a message of the hub is in another format; use one version")
    if found != first:
        raise DamagedMessageError(f"the hub sent input {found:,} where {first:,} should come")
    at = _HEAD.size + frame_count * _FRAME.itemsize
    if not frame_count or len(data) < at:
        raise DamagedMessageError("a message of the hub is cut off")
    heads = np.frombuffer(data, _FRAME, frame_count, _HEAD.size)
    row_count = int(heads["row_count"].sum(dtype=np.int64))
    if len(data) != at + row_count * ROW.itemsize:
        raise DamagedMessageError("a message of the hub has another length than it says")
    seed, body, number, start = zlib.crc32(session_id.encode()), memoryview(data), first, at
    for count, crc32 in heads.tolist():
        stop = start + count * ROW.itemsize
        if not count or _crc32(seed, number, count, body[start:stop]) != crc32:
            raise DamagedMessageError(f"input {number:,} did not come as it was sent")
        number, start = number + count, stop
    rows = np.frombuffer(data, ROW, row_count, at)
    return Inputs(*(rows[name].copy() for name in ROW.names or ()))


def _crc32(seed: int, first: int, row_count: int, rows: bytes | memoryview) -> int:
    return zlib.crc32(rows, zlib.crc32(_PLACE.pack(first, row_count), seed))
