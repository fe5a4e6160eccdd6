"""A journal's messages without Arrow's help, where batches are many and small.

Arrow takes far longer to lay out a message of few rows than to copy their values. The messages of
one schema, in columns of fixed width without nulls, differ in nothing but the stamp, the values and
some numbers that follow from the row count. One that Arrow made is kept; where it has those numbers
is found by looking for them.
"""

import struct
import zlib
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

TEMPLATE_ROWS_MAX = 4_096

_ALIGNMENT_BYTES = 8
_LAYOUTS_KEPT = 512
# Not a number that stands in a message for something else.
_SAMPLE_ROWS = 3_989


class _Layout:
    """Where the numbers, the values and the room between them are, for one row count."""

    def __init__(
        self, kinds: Sequence[np.dtype[np.generic]], row_count: int, message: memoryview, start: int
    ) -> None:
        nodes, buffers = [], []
        self.columns: list[NDArray[np.generic]] = []
        self.offsets: list[int] = []
        self.extents: list[tuple[int, int]] = []
        """Where the values are, in their order; columns without room between them are one."""
        self.gaps: list[memoryview] = []
        at = since = start
        for kind in kinds:
            length = row_count * kind.itemsize
            # A column has a buffer of which values are null, which is empty, and one of values.
            nodes += [row_count, 0]
            buffers += [at - start, 0, at - start, length]
            self.offsets.append(at)
            self.columns.append(np.frombuffer(message, kind, row_count, at))
            at += length
            if gap := -length % _ALIGNMENT_BYTES:
                self.extents.append((since, at))
                self.gaps.append(message[at : at + gap])
                at = since = at + gap
        if at > since:
            self.extents.append((since, at))
        self.spans = [message[first:end] for first, end in self.extents]
        self.message = message[:at]
        self.nodes, self.buffers = _packed(*nodes), _packed(*buffers)
        self.body_bytes = _packed(at - start)
        self.row_count = _packed(row_count)
        self.head: tuple[bytes, bytes] | None = None
        """What comes before the stamp and behind it, once that is known."""


class Template:
    """The message of a batch of up to `TEMPLATE_ROWS_MAX` rows, filled in again and again.

    Args:
        sample: such a message of zeros, as `sample_batch` holds them, as Arrow made it.
        stamp_at: where its stamp's text begins.
        kinds: NumPy's types of the columns.

    Raises ValueError where Arrow lays messages out in another way than is known here.
    """

    def __init__(self, sample: bytes, stamp_at: int, kinds: Sequence[np.dtype[np.generic]]) -> None:
        widths = [kind.itemsize for kind in kinds]
        self._body_at = len(sample) - sum(_padded(_SAMPLE_ROWS * width) for width in widths)
        room = self._body_at + sum(_padded(TEMPLATE_ROWS_MAX * width) for width in widths)
        self._memory = memoryview(bytearray(room))
        self._memory[: self._body_at] = sample[: self._body_at]
        self._kinds = kinds
        self._stamp_at = stamp_at
        self._layouts: dict[int, _Layout] = {}
        layout = self._layout_of(_SAMPLE_ROWS)
        head = bytearray(sample[: self._body_at])
        self._places = []
        for number in (layout.nodes, layout.buffers, layout.body_bytes, layout.row_count):
            if head.count(number) != 1:
                raise ValueError("a message of another layout")
            place = head.index(number)
            head[place : place + len(number)] = b"\xff" * len(number)
            self._places.append(slice(place, place + len(number)))
        self._layout = layout
        """That of the message as it stands."""

    def fill(self, columns: Sequence[NDArray[np.generic]]) -> None:
        """Put values in; with them the message has as many rows as they are."""
        layout = self._layout_of(len(columns[0]))
        self._take_on(layout)
        for place_of, column in zip(layout.columns, columns, strict=True):
            place_of[:] = column

    def read(
        self, data: bytes, start: int, stamp_bytes: int, row_count: int, crc: int
    ) -> tuple[list[NDArray[np.generic]], int] | None:
        """Return the columns of the message at `start`, and the CRC-32 of the values behind `crc`.

        None unless it is laid out as this one is.
        """
        layout = self._layout_of(row_count)
        if layout.head is None:
            self._take_on(layout)
            stamp_end = self._stamp_at + stamp_bytes
            head = self._memory[: self._stamp_at], self._memory[stamp_end : self._body_at]
            layout.head = head[0].tobytes(), head[1].tobytes()
        before, behind = layout.head
        behind_at = start + self._body_at - len(behind)
        if (
            data[start : start + len(before)] != before
            or data[behind_at : behind_at + len(behind)] != behind
            or start + len(layout.message) > len(data)
        ):
            return None
        view = memoryview(data)
        for first, end in layout.extents:
            crc = zlib.crc32(view[start + first : start + end], crc)
        columns = [
            np.frombuffer(data, kind, row_count, start + offset)
            for kind, offset in zip(self._kinds, layout.offsets, strict=True)
        ]
        return columns, crc

    @property
    def message(self) -> memoryview:
        """The message, good until it is filled or stamped again."""
        return self._layout.message

    def values_crc32(self, crc: int) -> int:
        """Return the CRC-32 of the values behind what `crc` is of."""
        for span in self._layout.spans:
            crc = zlib.crc32(span, crc)
        return crc

    def stamp(self, at: int, text: bytes) -> None:
        """Put a part of the stamp in, `at` bytes from its beginning."""
        start = self._stamp_at + at
        self._memory[start : start + len(text)] = text

    def _take_on(self, layout: _Layout) -> None:
        if layout is self._layout:
            return
        numbers = (layout.nodes, layout.buffers, layout.body_bytes, layout.row_count)
        for place, number in zip(self._places, numbers, strict=True):
            self._memory[place] = number
        for gap in layout.gaps:
            gap[:] = bytes(len(gap))
        self._layout = layout

    def _layout_of(self, row_count: int) -> _Layout:
        if (known := self._layouts.get(row_count)) is not None:
            return known
        if len(self._layouts) >= _LAYOUTS_KEPT:
            self._layouts.clear()
        layout = _Layout(self._kinds, row_count, self._memory, self._body_at)
        self._layouts[row_count] = layout
        return layout


def plain_kinds(schema: pa.Schema) -> list[np.dtype[np.generic]] | None:
    """Return NumPy's types of the columns, or None when not all of them are integers."""
    if not all(pa.types.is_integer(field.type) for field in schema):
        return None
    return [np.dtype(field.type.to_pandas_dtype()) for field in schema]


def sample_batch(schema: pa.Schema, kinds: Sequence[np.dtype[np.generic]]) -> pa.RecordBatch:
    """Return the batch that a template is made of."""
    zeros = [pa.array(np.zeros(_SAMPLE_ROWS, kind)) for kind in kinds]
    return pa.RecordBatch.from_arrays(zeros, schema=schema)


def _packed(*numbers: int) -> bytes:
    return struct.pack(f"<{len(numbers)}q", *numbers)


def _padded(length: int) -> int:
    return length + -length % _ALIGNMENT_BYTES
