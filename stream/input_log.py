"""The inputs of a session on the disk: journals while they are written, Parquet behind them.

<first input>.journal/     a journal of inputs, the newest of which is being written
<first input>.parquet      what such a journal held, once it was full

Names are the numbers of the first inputs. A journal takes `PART_INPUTS` of them or `PART_BYTES`,
more when one event holds more; then it is closed, the next is begun, and a thread puts its Parquet
file in its place, from a copy of the inputs that the log holds. A killed process leaves at worst
both: the file counts, for it is whole when it appears.
"""

import itertools
import re
import shutil
from collections.abc import Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from flowtape.stream.inputs import INPUT_SCHEMA, InputKind, Inputs
from flowtape.stream.journal import (
    JournalDamagedError,
    JournalError,
    JournalReader,
    JournalWriter,
    SyncPolicy,
    recover,
)
from flowtape.stream.journal_files import OsFiles, explain

PART_INPUTS = 1 << 16
PART_BYTES = 4 << 20
"""An event of one trade takes 17 times its values: in a quiet market this is reached first."""

READERS = 2
"""Sealed parts that are read at once."""

_PART = re.compile(r"(\d{12})\.(journal|parquet)")


class InputLog:
    """Appends inputs; there is one writer of a folder at a time.

    Raises JournalError, as `JournalWriter` does, when the disk fails; the log is dead then.
    """

    def __init__(
        self, folder: Path, *, sync: SyncPolicy = "none", files: OsFiles | None = None
    ) -> None:
        self.folder = folder
        self._sync = sync
        self._files = files or OsFiles()
        self._sealer = ThreadPoolExecutor(1, "input-log-sealer")
        self._sealing: Future[None] | None = None
        starts = sorted(_parts(folder)) if folder.is_dir() else []
        for first in starts[:-1]:
            _seal(folder, first, self._files)
        self._first = starts[-1] if starts else 1
        if starts and (folder / _name(self._first, "parquet")).exists():
            _seal(folder, self._first, self._files)
            self._first += _row_count(folder, self._first)
        self._journal = self._open(self._first)
        self._held = self._nothing_held()

    @property
    def input_count(self) -> int:
        """Inputs in the log."""
        return self._first - 1 + self._journal.row_count

    def append(self, inputs: Inputs) -> None:
        """Write inputs behind those before; the operating system has them on return."""
        if not len(inputs):
            return
        if self._journal.row_count >= PART_INPUTS or self._journal.size_bytes >= PART_BYTES:
            self._roll()
        self._journal.append_columns(inputs.columns())
        if self._held is not None:
            self._held.append(inputs)

    def sync(self) -> None:
        """Return when everything appended survives a loss of power."""
        self._journal.sync()

    def close(self) -> None:
        """Close the newest journal and put Parquet in its place; the second time does nothing."""
        self._sealer.shutdown()
        try:
            self._take_failure()
        finally:
            self._journal.close()
        if self._journal.row_count:
            _seal(self.folder, self._first, self._files, self._held)

    def abandon(self) -> None:
        """Let go of a log that failed; what it holds is for `recover_inputs`."""
        self._sealer.shutdown()
        with suppress(JournalError):
            self._journal.close()

    def _open(self, first: int) -> JournalWriter:
        folder = self.folder / _name(first, "journal")
        return JournalWriter(folder, INPUT_SCHEMA, sync=self._sync, files=self._files)

    def _roll(self) -> None:
        self._take_failure()
        self._journal.close()
        full, held, first = self._first, self._held, self._first + self._journal.row_count
        self._journal = self._open(first)
        self._first = first
        self._held = self._nothing_held()
        self._sealing = self._sealer.submit(_seal, self.folder, full, self._files, held)

    def _nothing_held(self) -> list[Inputs] | None:
        """Begin to hold what comes; a journal that was gone on with is read later."""
        return None if self._journal.row_count else []

    def _take_failure(self) -> None:
        """Raise what went wrong on the thread: a full disk must not go unnoticed."""
        if self._sealing is not None:
            self._sealing.result()


def recover_inputs(folder: Path, files: OsFiles | None = None) -> int:
    """Make a log fit to be gone on with, whatever moment its writer ended at; return its inputs.

    Raises JournalDamagedError and JournalError as `journal.recover` does.
    """
    parts = _parts(folder)
    expected = 1
    for first in sorted(parts):
        if first != expected:
            raise _hole(folder, expected)
        if "parquet" not in parts[first]:
            rows = recover(folder / _name(first, "journal"), INPUT_SCHEMA, files=files).row_count
        else:
            rows = _row_count(folder, first)
        expected += rows
    return expected - 1


def last_kind(folder: Path) -> InputKind | None:
    """Return of what kind the last input is that a closed log holds, None when it holds none.

    Raises JournalDamagedError where that is not as it was written.
    """
    parts = _parts(folder)
    for first in sorted(parts, reverse=True):
        if "parquet" in parts[first]:
            columns = [piece.kind for piece in _read_sealed(folder, first)]
        else:
            reader = JournalReader(folder / _name(first, "journal"), INPUT_SCHEMA)
            last_seq = max(reader.batch_count - 1, 0)
            columns = [Inputs(*found).kind for _, found in reader.columns(last_seq)]
        if columns:
            return InputKind(int(columns[-1][-1]))
    return None


def read_inputs(folder: Path, first_input: int = 1) -> Iterator[Inputs]:
    """Yield the inputs from `first_input` on, also while they are being written.

    Raises JournalDamagedError where something is not as it was written.
    """
    with ThreadPoolExecutor(READERS) as pool:
        parts = _Parts(folder, pool)
        expected = max((n for n in parts.listed if n <= first_input), default=1)
        while parts.has(expected):
            try:
                before = expected
                for piece in parts.read(before):
                    start = max(first_input - expected, 0)
                    expected += len(piece)
                    if start < len(piece):
                        yield piece.slice(start, len(piece))
                if expected == before:
                    break
            except FileNotFoundError:
                # It was sealed this moment; go on with its other form.
                first_input = max(first_input, expected)
                expected = before
    if any(first > expected for first in _parts(folder)):
        raise _hole(folder, expected)


def newest_first(folder: Path) -> Iterator[Inputs]:
    """Yield the inputs of a closed log, its last piece first.

    Raises JournalDamagedError where something is not as it was written.
    """
    parts = _parts(folder)
    for first in sorted(parts, reverse=True):
        sealed = "parquet" in parts[first]
        yield from reversed((_read_sealed if sealed else _read_journal)(folder, first))


class _Parts:
    """The parts of a log that may still grow, the next sealed ones read ahead on threads."""

    def __init__(self, folder: Path, pool: Executor) -> None:
        self._folder = folder
        self._pool = pool
        self._ahead: dict[int, Future[list[Inputs]]] = {}
        self.listed = _parts(folder)

    def has(self, first: int) -> bool:
        """Tell whether there is a part that begins with this input."""
        if "parquet" not in self.listed.get(first, ()):
            self.listed = _parts(self._folder)
        return first in self.listed

    def read(self, first: int) -> list[Inputs]:
        """Return a part; raises FileNotFoundError when it was sealed this moment."""
        sealed = (n for n in sorted(self.listed) if n >= first and "parquet" in self.listed[n])
        for later in itertools.islice(sealed, READERS):
            if later not in self._ahead:
                self._ahead[later] = self._pool.submit(_read_sealed, self._folder, later)
        if "parquet" not in self.listed[first]:
            return _read_journal(self._folder, first)
        return self._ahead.pop(first).result()


def _read_journal(folder: Path, first: int) -> list[Inputs]:
    path = folder / _name(first, "journal")
    pieces = [Inputs(*found) for _, found in JournalReader(path, INPUT_SCHEMA).columns()]
    if not path.is_dir():
        raise FileNotFoundError(path)
    return [Inputs.concat(pieces)] if pieces else []


def _read_sealed(folder: Path, first: int) -> list[Inputs]:
    path = folder / _name(first, "parquet")
    try:
        # Parts are read side by side, so none needs threads of its own.
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            table = file.read(use_threads=False)
        if not table.schema.equals(INPUT_SCHEMA):
            raise OSError("it has other columns")
    except FileNotFoundError:
        raise
    except (pa.ArrowException, OSError, ValueError) as error:
        said = str(error).partition("\n")[0]
        raise JournalDamagedError(path, 0, f"it cannot be read ({said})", 0) from None
    return [Inputs.from_batch(batch) for batch in table.to_batches()]


def _seal(folder: Path, first: int, files: OsFiles, held: list[Inputs] | None = None) -> None:
    """Put the Parquet file of a closed journal in its place; do nothing when that was done.

    `held` is what the journal holds; without it that is read.
    """
    journal, path = folder / _name(first, "journal"), folder / _name(first, "parquet")
    if not journal.is_dir():
        return
    try:
        if not path.exists() and (batches := _held_batches(held) or _batches(journal)):
            staging = path.with_name(f".{path.name}")
            table = pa.Table.from_batches(batches, INPUT_SCHEMA)
            pq.write_table(table, staging, row_group_size=len(table), **_write_options())
            descriptor = files.append(staging)
            try:
                files.sync(descriptor)
            finally:
                files.close(descriptor)
            files.rename(staging, path)
            files.sync_folder(folder)
        # Under another name first, so that no one reads a part of it.
        gone = journal.with_name(f".{journal.name}")
        shutil.rmtree(gone, ignore_errors=True)
        files.rename(journal, gone)
        shutil.rmtree(gone)
    except OSError as error:
        raise explain(path, error) from error


def _held_batches(held: list[Inputs] | None) -> list[pa.RecordBatch]:
    return [Inputs.concat(held).to_batch()] if held else []


def _batches(journal: Path) -> list[pa.RecordBatch]:
    return [batch for _, batch in JournalReader(journal, INPUT_SCHEMA).batches()]


def _write_options() -> dict[str, Any]:
    packed = ("ts_us", "price_ticks", "agg_id", "first_id", "last_id")
    return {
        "compression": "zstd",
        "compression_level": 3,
        "use_dictionary": ["kind", "market", "side", "qty_lots"],
        "column_encoding": dict.fromkeys(packed, "DELTA_BINARY_PACKED"),
        "write_page_checksum": True,
    }


def _name(first: int, kind: str) -> str:
    return f"{first:012d}.{kind}"


def _parts(folder: Path) -> dict[int, set[str]]:
    """The forms that each part has, by its first input."""
    found: dict[int, set[str]] = {}
    if folder.is_dir():
        for path in folder.iterdir():
            if (match := _PART.fullmatch(path.name)) is not None:
                found.setdefault(int(match[1]), set()).add(match[2])
    return found


def _row_count(folder: Path, first: int) -> int:
    path = folder / _name(first, "parquet")
    try:
        return int(pq.read_metadata(path).num_rows)
    except (pa.ArrowException, OSError, ValueError) as error:
        said = str(error).partition("\n")[0]
        raise JournalDamagedError(path, 0, f"it cannot be read ({said})", 0) from None


def _hole(folder: Path, expected: int) -> JournalDamagedError:
    what = f"the part that begins with input {expected} is missing"
    return JournalDamagedError(folder, 0, what, 0)
