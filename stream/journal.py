"""An append-only log of Arrow record batches of one schema, kept in a folder.

Batches are numbered from 0 without holes; what is in them is not looked at. `JournalWriter.append`
returns when the operating system has the batch, so a killed process loses nothing. `recover` takes
up what a killed process or a full disk left behind. `JournalReader` gives out only what is known to
be as it was written. How segments look like: `stream.journal_files`.
"""

import re
import uuid
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, NoReturn, Self, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from flowtape.stream.journal_files import (
    FolderLock,
    JournalDamagedError,
    JournalError,
    OsFiles,
    Syncer,
    either_name,
    explain,
    segment_path,
    segments,
    write_whole,
)
from flowtape.stream.journal_messages import (
    NO_CRC,
    Encoder,
    Stamp,
    Values,
    check_schema,
    closing_of,
    damaged,
    ends_closed,
    fitting,
    is_sealed_end,
    missing,
    opening_of,
    template_of,
    values_seed,
    walk,
    whole_message_behind,
)
from flowtape.stream.journal_recovery import Recovery, recover
from flowtape.stream.journal_templates import TEMPLATE_ROWS_MAX, Template

__all__ = [
    "JournalDamagedError",
    "JournalError",
    "JournalReader",
    "JournalWriter",
    "Recovery",
    "array_of",
    "recover",
]

T = TypeVar("T")

SyncPolicy = Literal["none", "1s", "batch"]


class JournalWriter:
    """Appends to a journal; there is one writer of a folder at a time.

    The folder is made, or gone on with where `recover` or `close` left it. After a failure of the
    disk the writer is dead: every later call raises the same JournalError, and `recover` decides
    what was kept. A batch whose `append` raised may or may not be in the journal afterwards.

    Args:
        folder: the journal's folder.
        schema: of all batches; columns of integers, fixed-size binary and text.
        sync: when batches are sent on to the disk, to outlive a loss of power: `none` leaves it to
            the operating system, `1s` does it within a second, `batch` before `append` returns.
        segment_bytes: size at which a segment is sealed and the next one begun.
        journal_id: name of a new journal, up to 64 letters, digits and hyphens; random by default.
        files: access to the disk.

    Raises JournalError when the folder cannot be written, is being written by another, holds
    another schema or was not closed; JournalDamagedError when its end is damaged.
    """

    def __init__(
        self,
        folder: Path,
        schema: pa.Schema,
        *,
        sync: SyncPolicy = "none",
        segment_bytes: int = 64 << 20,
        journal_id: str | None = None,
        files: OsFiles | None = None,
    ) -> None:
        journal_id = journal_id or uuid.uuid4().hex
        if re.fullmatch("[0-9A-Za-z-]{1,64}", journal_id) is None:
            raise ValueError(f"{journal_id!r} is no name for a journal")
        self.folder = folder
        self.schema = schema
        self._values = Values(schema)
        self._sync_policy = sync
        self._segment_bytes = segment_bytes
        self._files = files or OsFiles()
        self._encoder = Encoder(schema)
        self._descriptor = -1
        self._size = 0
        self.size_bytes = 0
        """What this writer has written."""
        self._failure: JournalError | None = None
        self._closed = False
        self._path = folder
        try:
            self._files.make_folder(folder)
            self._files.sync_folder(folder.parent)
            self._lock = FolderLock(folder)
            try:
                self._last = _sealed_end(folder, schema)
            except BaseException:
                self._lock.release()
                raise
        except OSError as error:
            raise explain(folder, error) from error
        self._number = self._last.segment if self._last else 0
        self.journal_id = self._last.journal if self._last else journal_id
        self._syncer = Syncer(self._files) if sync == "1s" else None

    @property
    def batch_count(self) -> int:
        """Batches in the journal: the number that the next one gets."""
        return self._last.next_seq if self._last else 0

    @property
    def row_count(self) -> int:
        """Rows in the journal."""
        return self._last.row_count if self._last else 0

    def append(self, batch: pa.RecordBatch, *, durable: bool = False) -> int:
        """Write a batch of at least one row; return its number.

        With `durable` it is on the disk on return. Raises ValueError for a batch of another schema
        or with nulls, and then has written nothing; JournalError when the disk fails.
        """
        self._check()
        if not batch.num_rows or not batch.schema.equals(self.schema):
            raise ValueError("a journal takes batches of its own schema with at least one row")
        values_crc = self._values.crc32(self.batch_count, batch)
        return self._append(batch.num_rows, values_crc, batch, durable=durable)

    def append_columns(self, columns: Sequence[NDArray[np.generic]]) -> int:
        """Write a batch as `append` does, of a schema of integers, given column by column.

        The columns are C-contiguous, equally long and of the schema's types. Few rows take a
        fraction of the time that Arrow would take for them.
        """
        self._check()
        if not len(columns[0]):
            raise ValueError("a journal takes batches of at least one row")
        return self._append(len(columns[0]), NO_CRC, columns, durable=False)

    def _append(
        self,
        row_count: int,
        values_crc: str,
        body: pa.RecordBatch | Sequence[NDArray[np.generic]],
        *,
        durable: bool,
    ) -> int:
        seq, rows = self.batch_count, self.row_count + row_count
        try:
            if self._descriptor >= 0 and self._size >= self._segment_bytes:
                self._seal()
            if self._descriptor < 0:
                self._begin()
            self._put("batch", seq, rows, values_crc, body)
            if durable or self._sync_policy == "batch":
                self._sync(self._descriptor)
            elif self._syncer is not None:
                self._syncer.wrote()
        except BaseException as error:
            self._die(error)
        return seq

    def sync(self) -> None:
        """Return when everything appended is on the disk."""
        self._check()
        try:
            if self._descriptor >= 0:
                self._sync(self._descriptor)
        except BaseException as error:
            self._die(error)

    def roll(self) -> None:
        """Seal the current segment, durably; the next batch begins a new one."""
        self._check()
        try:
            self._seal()
        except BaseException as error:
            self._die(error)

    def close(self) -> None:
        """Seal the current segment and give the folder free; does nothing the second time."""
        if self._closed:
            return
        self.roll()
        self._closed = True
        self._release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._failure is None:
            self.close()

    def _check(self) -> None:
        if self._closed:
            raise JournalError(f"{self.folder} was closed; open it again to write")
        if self._failure is not None:
            raise self._failure
        if self._syncer is not None and self._syncer.error is not None:
            self._die(self._syncer.error)

    def _begin(self) -> None:
        self._path = segment_path(self.folder, self._number + 1, is_open=True)
        self._number += 1
        self._descriptor, self._size = self._files.create(self._path), 0
        self._files.sync_folder(self.folder)
        self._put("schema", self.batch_count, self.row_count, NO_CRC, None)
        if self._syncer is not None:
            self._syncer.attach(self._descriptor)

    def _seal(self) -> None:
        if self._descriptor < 0:
            return
        self._put("close", self.batch_count, self.row_count, NO_CRC, None)
        descriptor, self._descriptor = self._descriptor, -1
        if self._syncer is not None:
            self._syncer.attach(-1)
        try:
            self._sync(descriptor)
        finally:
            self._files.close(descriptor)
        self._files.rename(self._path, segment_path(self.folder, self._number, is_open=False))
        self._files.sync_folder(self.folder)

    def _sync(self, descriptor: int) -> None:
        if self._syncer is None:
            self._files.sync(descriptor)
        else:
            self._syncer.sync_now(descriptor)

    def _put(
        self,
        kind: Literal["schema", "batch", "close"],
        seq: int,
        rows: int,
        values_crc: str,
        body: pa.RecordBatch | Sequence[NDArray[np.generic]] | None,
    ) -> None:
        prev = self._last.crc if self._last else NO_CRC
        stamp = Stamp(self.journal_id, self._number, kind, seq, rows, 0, prev, values_crc, NO_CRC)
        if body is None or isinstance(body, pa.RecordBatch):
            stamp, message = self._encoder.encode(stamp, body)
        elif (filled := self._encoder.filled(stamp, body)) is not None:
            stamp, message = filled
        else:
            batch = pa.RecordBatch.from_arrays(list(map(pa.array, body)), schema=self.schema)
            stamp = stamp._replace(values_crc=self._values.crc32(seq, batch))
            stamp, message = self._encoder.encode(stamp, batch)
        write_whole(self._files, self._descriptor, message, self._path)
        self._size += len(message)
        self.size_bytes += len(message)
        self._last = stamp

    def _die(self, error: BaseException) -> NoReturn:
        """Let go of everything and never write again: what reached the disk is unknown."""
        if isinstance(error, OSError):
            self._failure = explain(self._path, error)
        elif isinstance(error, JournalError):
            self._failure = error
        else:
            self._failure = JournalError(f"{self._path}: a write was broken off; recover it")
        self._release()
        raise (self._failure if isinstance(error, OSError) else error) from None

    def _release(self) -> None:
        if self._syncer is not None:
            self._syncer.stop()
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            with suppress(OSError):
                self._files.close(descriptor)
        self._lock.release()


class JournalReader:
    """Reads a journal, also while it is being written.

    Every batch is checked before it is given out: number, place, the bytes of its message, those
    of the message before it, and its values.
    """

    def __init__(self, folder: Path, schema: pa.Schema) -> None:
        self.folder = folder
        self.schema = schema
        self._values = Values(schema)
        self._template: Template | None = None
        self._asked_for_template = False

    @property
    def batch_count(self) -> int:
        """Whole batches in the journal now."""
        last = self._last()
        return last.next_seq if last else 0

    @property
    def row_count(self) -> int:
        """Rows of the whole batches in the journal now."""
        last = self._last()
        return last.row_count if last else 0

    def batches(self, first_seq: int = 0) -> Iterator[tuple[int, pa.RecordBatch]]:
        """Yield number and batch from `first_seq` on, up to the last whole batch.

        Earlier segments are not read: each one says at its start which batch it begins with.
        Of earlier batches in the same one only the messages are checked.
        Raises JournalDamagedError where something is not as it was written, and JournalError when
        the disk cannot be read or the journal has another schema.
        """
        return self._read(first_seq, self._decode)

    def columns(self, first_seq: int = 0) -> Iterator[tuple[int, list[NDArray[Any]]]]:
        """Yield number and columns of batches of a schema without text, as `batches` does.

        Batches of few rows take a fraction of the time that Arrow would take for them.
        """
        return self._read(first_seq, self._decode_columns)

    def _read(
        self, first_seq: int, decode: Callable[[Path, bytes, int, int, Stamp], T]
    ) -> Iterator[tuple[int, T]]:
        number, last = self._start(first_seq)
        while (segment := self._segment(number)) is not None:
            path, data = segment
            end = 0
            for start, stamp in fitting(data, number, last):
                row_count = stamp.row_count - (last.row_count if last else 0)
                end, last = start + stamp.size_bytes, stamp
                if stamp.kind == "schema":
                    check_schema(path, data[:end], self.schema)
                elif stamp.kind == "batch" and stamp.seq >= first_seq:
                    yield stamp.seq, decode(path, data, start, row_count, stamp)
            if path.suffix == ".open":
                if whole_message_behind(data, end):
                    raise damaged(path, data, end, last, number)
                if not ends_closed(end, last):
                    return
            elif not is_sealed_end(data, end, last):
                raise damaged(path, data, end, last, number)
            number += 1

    def _decode(
        self, path: Path, data: bytes, start: int, row_count: int, stamp: Stamp
    ) -> pa.RecordBatch:
        try:
            source = pa.BufferReader(pa.py_buffer(data).slice(start))
            batch = pa.ipc.read_record_batch(pa.ipc.read_message(source), self.schema)
            if (
                source.tell() == stamp.size_bytes
                and batch.num_rows == row_count
                and self._values.crc32(stamp.seq, batch) == stamp.values_crc
            ):
                return batch
        except (pa.ArrowException, OSError, ValueError):
            pass
        what = "the values are not those that were written"
        raise JournalDamagedError(path, start, what, stamp.seq)

    def _decode_columns(
        self, path: Path, data: bytes, start: int, row_count: int, stamp: Stamp
    ) -> list[NDArray[np.generic]]:
        if not self._asked_for_template:
            self._asked_for_template = True
            self._template = template_of(self.schema, stamp)
        if self._template is not None and row_count <= TEMPLATE_ROWS_MAX:
            seed, stamp_bytes = values_seed(stamp.seq, row_count), len(stamp.text())
            found = self._template.read(data, start, stamp_bytes, row_count, seed)
            if found is not None and f"{found[1]:08x}" == stamp.values_crc:
                return found[0]
        batch = self._decode(path, data, start, row_count, stamp)
        return [array_of(column) for column in batch.columns]

    def _start(self, first_seq: int) -> tuple[int, Stamp | None]:
        """Choose the segment to begin with, and the stamp of the message before it."""
        try:
            numbers = range(1, 1 + max(segments(self.folder), default=0))

            def begins_with(number: int) -> int:
                opening = either_name(self.folder, number, opening_of)
                return opening.seq if opening and opening.segment == number else 1 << 64

            number = max(1, bisect_right(numbers, first_seq, key=begins_with))
            # Where a segment's end cannot be trusted, begin with it: reading shows why.
            while number > 1:
                last = closing_of(segment_path(self.folder, number - 1, is_open=False))
                if last is not None and last.segment == number - 1:
                    return number, last
                number -= 1
        except OSError as error:
            raise explain(self.folder, error) from error
        return 1, None

    def _segment(self, number: int) -> tuple[Path, bytes] | None:
        """Read a segment, or return None when the journal ends before it."""
        try:
            segment = either_name(self.folder, number, lambda path: (path, path.read_bytes()))
            if segment is None and any(n >= number for n in segments(self.folder)):
                # It may have been begun a moment ago.
                segment = either_name(self.folder, number, lambda path: (path, path.read_bytes()))
                if segment is None:
                    raise missing(self.folder, number)
        except OSError as error:
            raise explain(segment_path(self.folder, number, is_open=False), error) from error
        return segment

    def _last(self) -> Stamp | None:
        number, last = self._start(1 << 63)
        try:
            found = segments(self.folder)
            for i in range(1, max(found, default=0) + 1):
                # The list may lack a segment that is being sealed.
                there = i in found and not found[i].in_quarantine
                if not there and either_name(self.folder, i, Path.stat) is None:
                    raise missing(self.folder, i)
            closing = closing_of(segment_path(self.folder, number, is_open=False))
        except OSError as error:
            raise explain(self.folder, error) from error
        if closing is not None:
            return closing
        segment = self._segment(number)
        if segment is not None:
            path, data = segment
            end, last = walk(data, number, last)
            if path.suffix != ".open" or whole_message_behind(data, end):
                raise damaged(path, data, end, last, number)
        return last


def array_of(column: pa.Array) -> NDArray[np.generic]:
    """Return a column of integers or fixed-size binary, without nulls, as a view."""
    if not pa.types.is_fixed_size_binary(column.type):
        array: NDArray[np.generic] = column.to_numpy()
        return array
    kind = np.dtype((np.void, column.type.byte_width))
    return np.frombuffer(column.buffers()[1], kind, len(column), column.offset * kind.itemsize)


def _sealed_end(folder: Path, schema: pa.Schema) -> Stamp | None:
    """Return the closing stamp of a journal that is fit to be gone on with."""
    found = segments(folder)
    for number in range(1, max(found, default=0) + 1):
        segment = found.get(number)
        if segment is None or segment.in_quarantine:
            raise missing(folder, number)
        if segment.is_open:
            raise JournalError(f"{segment.path} was not closed; recover the journal first")
    if not found:
        return None
    path = segment_path(folder, max(found), is_open=False)
    opening, last = opening_of(path), closing_of(path)
    if opening is None or last is None or last.segment != max(found):
        raise JournalDamagedError(path, 0, "it has no right beginning and end", 0)
    with path.open("rb") as file:
        check_schema(path, file.read(opening.size_bytes), schema)
    return last
