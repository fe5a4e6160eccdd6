"""The messages of a journal's segment, and how their sequence is checked.

A segment is an Arrow IPC stream: the schema, one message per batch, a closing batch of no rows,
the end mark. Each message has a `Stamp` in its custom metadata, under the key `journal`. The
stamp holds the CRC-32 of the whole message, so that a message is known to be whole before
anything else of it is believed, and that of the message before it.
"""

import re
import struct
import zlib
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from flowtape.stream.journal_files import JournalDamagedError, JournalError, segment_path, segments
from flowtape.stream.journal_templates import (
    TEMPLATE_ROWS_MAX,
    Template,
    plain_kinds,
    sample_batch,
)

NO_CRC = "0" * 8
END_MARK = b"\xff\xff\xff\xff\x00\x00\x00\x00"

_STAMP_KEY = "journal"
_MESSAGE_MARK = b"\xff\xff\xff\xff"
_STAMP = re.compile(
    rb"journal=([0-9A-Za-z-]{1,64}) segment=(\d{6}) kind=(schema|batch|close) seq=(\d{19})"
    rb" rows=(\d{19}) bytes=(\d{12}) prev=([0-9a-f]{8}) values=([0-9a-f]{8})"
    rb" message=([0-9a-f]{8})"
)
_SIZE_GROUP, _CRC_GROUP = 6, 9
# More than the text of a stamp and what Arrow puts around it take.
_STAMP_ROOM_BYTES = 1024
# A closing message is far shorter than this, unless a schema has a thousand columns.
_TAIL_BYTES = 1 << 16
_SEQ_AND_ROWS = struct.Struct("<QQ")
_CRC_CHARS = 8


class Stamp(NamedTuple):
    """What a message says about itself.

    Attributes:
        journal: the journal's name for itself, given when it was made.
        segment: number of the segment.
        kind: `schema` and `close` begin and end a segment.
        seq: number of the batch; of the one that comes next for the other kinds.
        row_count: rows of the journal up to and with this message.
        size_bytes: of the whole message.
        prev: `crc` of the message before, across segments; zeros for the first of all.
        values_crc: CRC-32 of the batch's number, row count and canonical values, in hex.
        crc: CRC-32 of the whole message, with zeros in the place of this field, in hex.
    """

    journal: str
    segment: int
    kind: Literal["schema", "batch", "close"]
    seq: int
    row_count: int
    size_bytes: int
    prev: str
    values_crc: str
    crc: str

    @property
    def next_seq(self) -> int:
        """Number of the batch that comes next."""
        return self.seq + (self.kind == "batch")

    def text(self) -> str:
        """Write the stamp; it always has the same length for the same journal."""
        return (
            f"journal={self.journal} segment={self.segment:06} kind={self.kind}"
            f" seq={self.seq:019} rows={self.row_count:019} bytes={self.size_bytes:012}"
            f" prev={self.prev} values={self.values_crc} message={self.crc}"
        )


def finish_stamp(message: bytearray, start: int, end: int) -> tuple[int, str]:
    """Fill in the size and the checksum of the encoded message at `start`; return both."""
    match = _search(message, start)
    assert match is not None, "a message is stamped before it is encoded"
    size = end - start
    message[slice(*match.span(_SIZE_GROUP))] = b"%012d" % size
    message[slice(*match.span(_CRC_GROUP))] = NO_CRC.encode()
    crc = b"%08x" % zlib.crc32(memoryview(message)[start:end])
    message[slice(*match.span(_CRC_GROUP))] = crc
    return size, crc.decode()


def message_at(data: bytes, start: int) -> Stamp | None:
    """Return the stamp of the message at `start`, or None unless it is whole and as written."""
    match = _search(data, start)
    if match is None:
        return None
    end = start + int(match[_SIZE_GROUP])
    crc_start, crc_end = match.span(_CRC_GROUP)
    if not crc_end <= end <= len(data):
        return None
    view = memoryview(data)
    crc = zlib.crc32(view[start:crc_start])
    crc = zlib.crc32(view[crc_end:end], zlib.crc32(NO_CRC.encode(), crc))
    return _stamp(match) if int(match[_CRC_GROUP], 16) == crc else None


def fitting(data: bytes, number: int, before: Stamp | None) -> Iterator[tuple[int, Stamp]]:
    """Yield offset and stamp of a segment's messages, up to the first that does not fit.

    Args:
        data: the segment.
        number: the segment's number.
        before: stamp of the message before the segment's first; None at the journal's start.
    """
    start, last = 0, before
    while (stamp := message_at(data, start)) is not None and not misfit(stamp, last, number):
        yield start, stamp
        start, last = start + stamp.size_bytes, stamp
        if stamp.kind == "close":
            break


def misfit(stamp: Stamp, last: Stamp | None, number: int) -> str:
    """Say why a whole message cannot come after `last` in a segment; empty when it can."""
    begins = last is None or last.kind == "close"
    seq, rows, prev = (last.next_seq, last.row_count, last.crc) if last else (0, 0, NO_CRC)
    if last is not None and stamp.journal != last.journal:
        return f"a message of another journal, {stamp.journal}"
    if stamp.segment != number:
        return f"a message of segment {stamp.segment}"
    if begins != (stamp.kind == "schema"):
        return f"a {stamp.kind} message out of its place"
    if stamp.seq != seq:
        return f"batch {stamp.seq} in the place of batch {seq}"
    if stamp.prev != prev or (stamp.row_count > rows) != (stamp.kind == "batch"):
        return "a message that was not written behind the one before it"
    return ""


def ends_closed(end: int, last: Stamp | None) -> bool:
    """Tell whether a segment whose messages fit up to `end` has its closing message."""
    # In a segment without a message, `last` is of the one before.
    return end > 0 and last is not None and last.kind == "close"


def is_sealed_end(data: bytes, end: int, last: Stamp | None) -> bool:
    """Tell whether a segment whose messages fit up to `end` is complete."""
    return ends_closed(end, last) and data[end:] == END_MARK


def trouble_at(data: bytes, end: int, last: Stamp | None, number: int) -> str:
    """Say what is wrong behind the last fitting message, which ended at `end`."""
    stamp = message_at(data, end)
    if stamp is not None:
        return misfit(stamp, last, number) or "a message behind the closing one"
    return "bytes are missing" if end >= len(data) else "bytes are not as they were written"


def whole_message_behind(data: bytes, start: int) -> bool:
    """Tell whether any whole message, of this or another journal, begins at or behind `start`.

    An interrupted write leaves a piece of one message, never a whole one.
    """
    for match in _STAMP.finditer(data, start):
        # Metadata before the stamp might by chance hold the mark of a beginning, hence the tries.
        mark = match.start()
        for _ in range(16):
            mark = data.rfind(_MESSAGE_MARK, start, mark + len(_MESSAGE_MARK) - 1)
            if mark < 0:
                break
            if message_at(data, mark) is not None:
                return True
    return False


def closing_of(path: Path) -> Stamp | None:
    """Read the closing stamp of a segment from its end; None when there is no right one."""
    if not path.exists():
        return None
    size = path.stat().st_size
    for tail_bytes in (min(size, _TAIL_BYTES), size):
        with path.open("rb") as file:
            file.seek(size - tail_bytes)
            tail = file.read()
        found = deque(_STAMP.finditer(tail), maxlen=1)
        if found and found[0][3] == b"close":
            start = len(tail) - len(END_MARK) - int(found[0][_SIZE_GROUP])
            if start >= 0 and tail.endswith(END_MARK):
                return message_at(tail, start)
    return None


def opening_of(path: Path) -> Stamp | None:
    """Read the stamp of a segment's schema; None when it is not as written."""
    with path.open("rb") as file:
        head = file.read(_TAIL_BYTES)
        return message_at(head, 0) or message_at(head + file.read(), 0)


def _search(data: bytes | bytearray | memoryview, start: int) -> re.Match[bytes] | None:
    if data[start : start + 4] != _MESSAGE_MARK:
        return None
    metadata_bytes = int.from_bytes(data[start + 4 : start + 8], "little")
    return _STAMP.search(data, start + 8, start + 8 + metadata_bytes)


def _stamp(match: re.Match[bytes]) -> Stamp:
    journal, segment, kind, seq, rows, size, prev, values, crc = match.groups()
    return Stamp(
        journal.decode(),
        int(segment),
        kind.decode(),  # type: ignore[arg-type]
        int(seq),
        int(rows),
        int(size),
        prev.decode(),
        values.decode(),
        crc.decode(),
    )


class Values:
    """Checksums of a schema's column values, whatever way Arrow lays them out."""

    def __init__(self, schema: pa.Schema) -> None:
        self._widths = [self._width_bytes(field.type) for field in schema]

    def crc32(self, seq: int, batch: pa.RecordBatch) -> str:
        """Return the CRC-32 of a batch's number, row count and little-endian values, in hex.

        Text counts as the offsets of its ends from the column's start, then its bytes.
        """
        rows = batch.num_rows
        crc = values_seed(seq, rows)
        for width, column in zip(self._widths, batch.columns, strict=True):
            if column.null_count:
                raise ValueError("a journal takes no nulls")
            _, values, *text = column.buffers()
            first = column.offset
            if width:
                crc = zlib.crc32(memoryview(values)[first * width : (first + rows) * width], crc)
                continue
            ends = np.frombuffer(values, np.dtype("<i4"), rows + 1, first * 4)
            crc = zlib.crc32(ends - ends[0], crc)
            if text[0] is not None:
                crc = zlib.crc32(memoryview(text[0])[ends[0] : ends[-1]], crc)
        return f"{crc:08x}"

    @staticmethod
    def _width_bytes(kind: pa.DataType) -> int:
        if pa.types.is_string(kind):
            return 0
        if pa.types.is_integer(kind) or pa.types.is_fixed_size_binary(kind):
            return int(kind.bit_width) // 8
        raise ValueError(
            f"a journal has columns of integers, fixed-size binary and text, not {kind}"
        )


class Encoder:
    """Turns batches into stamped Arrow messages in memory of its own."""

    def __init__(self, schema: pa.Schema) -> None:
        self._schema = schema
        columns = [pa.array([], field.type) for field in schema]
        self._no_rows = pa.record_batch(columns, schema=schema)
        self._template: Template | None = None
        self._asked_for_template = False
        self._memory = bytearray()
        self._renew(1 << 16)

    def encode(self, stamp: Stamp, batch: pa.RecordBatch | None) -> tuple[Stamp, memoryview]:
        """Return the finished stamp and the message, which is good until the next call.

        Behind a closing message comes the end mark of the stream.
        """
        if stamp.kind == "schema":
            metadata = {**(self._schema.metadata or {}), _STAMP_KEY.encode(): stamp.text()}
            data = bytearray(self._schema.with_metadata(metadata).serialize())
            start, end = 0, len(data)
        else:
            batch = self._no_rows if batch is None else batch
            room = pa.ipc.get_record_batch_size(batch) + _STAMP_ROOM_BYTES
            if self._sink.tell() + room > len(self._memory):
                self._renew(room)
            data, start = self._memory, self._sink.tell()
            self._stream.write_batch(batch, custom_metadata={_STAMP_KEY: stamp.text()})
            end = self._sink.tell()
        size, crc = finish_stamp(data, start, end)
        stamp = stamp._replace(size_bytes=size, crc=crc)
        if stamp.kind == "close":
            return stamp, memoryview(data[start:end] + END_MARK)
        return stamp, memoryview(data)[start:end]

    def filled(
        self, stamp: Stamp, columns: Sequence[NDArray[np.generic]]
    ) -> tuple[Stamp, memoryview] | None:
        """Return what `encode` does for a batch of few rows; None where there is no short way.

        The stamp's checksum of the values is made here.
        """
        row_count = len(columns[0])
        if row_count > TEMPLATE_ROWS_MAX:
            return None
        if not self._asked_for_template:
            self._asked_for_template = True
            self._template = template_of(self._schema, stamp)
        template = self._template
        if template is None:
            return None
        template.fill(columns)
        seq, rows = stamp.seq, stamp.row_count
        values_crc = template.values_crc32(values_seed(seq, row_count))
        place = (stamp.journal, stamp.segment, stamp.kind, seq, rows, len(template.message))
        checks = (stamp.prev, f"{values_crc:08x}")
        text = Stamp(*place, *checks, NO_CRC).text().encode()
        template.stamp(0, text)
        crc = f"{zlib.crc32(template.message):08x}"
        template.stamp(len(text) - _CRC_CHARS, crc.encode())
        return Stamp(*place, *checks, crc), template.message

    def _renew(self, room_bytes: int) -> None:
        # An Arrow writer cannot go back in its memory, so another begins there when it is full.
        if len(self._memory) < 2 * room_bytes:
            self._memory = bytearray(4 * room_bytes)
        self._sink = pa.FixedSizeBufferWriter(pa.py_buffer(self._memory))
        self._stream = pa.ipc.new_stream(self._sink, self._schema)
        self._stream.write_batch(self._no_rows)


def template_of(schema: pa.Schema, stamp: Stamp) -> Template | None:
    """Return a template of a schema's batches in the journal of a stamp; None if there is none."""
    kinds = plain_kinds(schema)
    if kinds is None:
        return None
    _, message = Encoder(schema).encode(stamp, sample_batch(schema, kinds))
    match = _search(message, 0)
    assert match is not None
    try:
        return Template(bytes(message), match.start(), kinds)
    except ValueError:
        return None


def values_seed(seq: int, row_count: int) -> int:
    """Return the CRC-32 of what comes before the values in that of the values."""
    return zlib.crc32(_SEQ_AND_ROWS.pack(seq, row_count))


def walk(
    data: bytes, number: int, last: Stamp | None, *, with_closing: bool = True
) -> tuple[int, Stamp | None]:
    """Return where the last fitting message of a segment ends, and its stamp."""
    end = 0
    for start, stamp in fitting(data, number, last):
        if with_closing or stamp.kind != "close":
            end, last = start + stamp.size_bytes, stamp
    return end, last


def damaged(
    path: Path, data: bytes, end: int, last: Stamp | None, number: int
) -> JournalDamagedError:
    """Build the error for a segment whose messages fit up to `end`."""
    what = trouble_at(data, end, last, number)
    return JournalDamagedError(path, end, what, last.next_seq if last else 0)


def missing(folder: Path, number: int) -> JournalDamagedError:
    """Build the error for a segment that is not where it belongs."""
    path = segment_path(folder, number, is_open=False)
    found = segments(folder).get(number)
    what = f"the segment lies in {found.path.parent}" if found else "the segment is missing"
    last = closing_of(segment_path(folder, number - 1, is_open=False))
    return JournalDamagedError(path, 0, what, last.next_seq if last else 0)


def check_schema(path: Path, data: bytes, schema: pa.Schema) -> None:
    """Raise JournalError unless a segment that begins with `data` has these columns."""
    if not pa.ipc.read_schema(pa.py_buffer(data)).equals(schema):
        raise JournalError(f"{path} has other columns than asked for; open it with its own schema")
