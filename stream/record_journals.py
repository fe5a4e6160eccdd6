"""Records in journals: as Arrow batches and back, read whole, cut, and packed once they are closed.

A folder's journal is written anew beside it, in a hidden folder, and then takes its place.
"""

import functools
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from flowtape.stream.journal import JournalReader, JournalWriter, array_of
from flowtape.stream.journal_files import OsFiles, explain
from flowtape.stream.records import Records

PACKED_BATCHES = 64
"""From so many batches on it is worth while to put them into one."""


@functools.cache
def schema_of(dtype: np.dtype[np.void]) -> pa.Schema:
    """Return the Arrow schema of records: a column for each number or hash."""
    return pa.schema([pa.field(name, _arrow_type(kind), False) for name, kind, _ in _leaves(dtype)])


def to_batch(records: Records) -> pa.RecordBatch:
    """Return records as an Arrow batch of `schema_of` their dtype."""
    columns = []
    for _, kind, path in _leaves(records.dtype):
        column: np.ndarray = records
        for name in path:
            column = column[name]
        if kind.kind == "V":
            raw = pa.py_buffer(np.ascontiguousarray(column).tobytes())
            columns.append(pa.Array.from_buffers(_arrow_type(kind), len(column), [None, raw]))
        else:
            columns.append(pa.array(np.ascontiguousarray(column)))
    return pa.RecordBatch.from_arrays(columns, schema=schema_of(records.dtype))


def from_batch(batch: pa.RecordBatch, dtype: np.dtype[np.void]) -> Records:
    """Return an Arrow batch as records."""
    return _records_of([array_of(column) for column in batch.columns], dtype)


def _records_of(columns: Sequence[np.ndarray], dtype: np.dtype[np.void]) -> Records:
    """Return columns, one for each leaf of a type, as records."""
    records = np.zeros(len(columns[0]), dtype)
    for column, (_, _, path) in zip(columns, _leaves(dtype), strict=True):
        place = records
        for name in path[:-1]:
            place = place[name]
        place[path[-1]] = column
    return records


@functools.cache
def _leaves(dtype: np.dtype[np.void]) -> list[tuple[str, np.dtype[np.generic], tuple[str, ...]]]:
    """Name, type and path of every field that is not reserved, inner ones by their own names."""
    found: list[tuple[str, np.dtype[np.generic], tuple[str, ...]]] = []
    for name in dtype.names or ():
        kind = dtype[name]
        if name.startswith("reserved"):
            continue
        if kind.names:
            found += [(f"{name}_{n}", k, (name, *path)) for n, k, path in _leaves(kind)]
        else:
            found.append((name, kind, (name,)))
    return found


def _arrow_type(kind: np.dtype[np.generic]) -> pa.DataType:
    return pa.binary(kind.itemsize) if kind.kind == "V" else pa.from_numpy_dtype(kind)


def read_records(folder: Path, dtype: np.dtype[np.void], first_seq: int = 0) -> Records:
    """Return the records of a journal from a batch on; raises JournalDamagedError."""
    if not folder.is_dir() and anew_of(folder).is_dir():
        folder = anew_of(folder)
    pieces = [found for _, found in JournalReader(folder, schema_of(dtype)).columns(first_seq)]
    if not pieces:
        return np.zeros(0, dtype)
    return _records_of(list(map(np.concatenate, zip(*pieces, strict=True))), dtype)


def anew_of(folder: Path) -> Path:
    """Where a journal is written anew before it takes the place of the one there."""
    return folder.with_name(f".{folder.name}")


def cut_behind(folder: Path, dtype: np.dtype[np.void], input_count: int, files: OsFiles) -> None:
    """Keep the records of a closed journal whose inputs are there; mostly all of them are."""
    last_seq = max(JournalReader(folder, schema_of(dtype)).batch_count - 1, 0)
    if np.all(read_records(folder, dtype, last_seq)["input"] <= input_count):
        return
    records = read_records(folder, dtype)
    kept = records[records["input"] <= input_count]
    gone = folder.with_name(f"{folder.name}-{os.urandom(4).hex()}.ahead")
    _put_anew(folder, kept, dtype, gone, files)


def pack(folder: Path, dtype: np.dtype[np.void], files: OsFiles) -> None:
    """Put the records of a closed journal into one batch, if they were written in many.

    Of a batch of one record the record is a tenth.
    """
    if JournalReader(folder, schema_of(dtype)).batch_count < PACKED_BATCHES:
        return
    gone = folder.with_name(f".{folder.name}-{os.urandom(4).hex()}.packed")
    _put_anew(folder, read_records(folder, dtype), dtype, gone, files)
    shutil.rmtree(gone, ignore_errors=True)


def _put_anew(
    folder: Path, records: Records, dtype: np.dtype[np.void], gone: Path, files: OsFiles
) -> None:
    """Write a closed journal again with these records, and put the old one aside."""
    made = anew_of(folder)
    shutil.rmtree(made, ignore_errors=True)
    with JournalWriter(made, schema_of(dtype), files=files) as journal:
        if len(records):
            journal.append(to_batch(records), durable=True)
    try:
        files.rename(folder, gone)
        files.rename(made, folder)
        files.sync_folder(folder.parent)
    except OSError as error:
        raise explain(folder, error) from error
