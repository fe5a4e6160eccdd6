"""The fast copy of tape parts: uncompressed Arrow IPC, read by mmap, made from Parquet on demand.

Each part has one file, named by the part's content hash. Its batches are long, so that a day is
one or a few contiguous columns. Everything here can be deleted at any time.
"""

import os
import threading
from pathlib import Path

import numpy as np
import pyarrow as pa

from flowtape.replay.parts import Part, TapeColumns

_VERSION = 1
_SUFFIX = f"-v{_VERSION}.arrow"
_SEGMENT_ROWS = 1 << 24
_READ_ROWS = 1 << 17
_PROBES = 256
_SCHEMA = pa.schema(
    [
        pa.field("ts_us", pa.int64(), nullable=False),
        pa.field("price_ticks", pa.int64(), nullable=False),
        pa.field("qty_lots", pa.int64(), nullable=False),
        pa.field("side", pa.int8(), nullable=False),
    ]
)


class ColumnCache:
    """Fast columns of parts below one folder, rebuilt when missing, stale or damaged."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path_of(self, sha256: str) -> Path:
        """Return where the fast copy of the part with this content hash lies."""
        return self.root / (sha256 + _SUFFIX)

    def load(self, part: Part) -> list[TapeColumns]:
        """Return a part's columns as long contiguous pieces, mapped from the cache.

        Builds the cache file first where needed. Where none can be written, as on a full disk,
        the columns are read into memory instead.
        """
        path = self.path_of(part.meta.sha256)
        segments = _map(path, part)
        if segments is not None:
            return segments
        try:
            self._build(path, part)
        except OSError:
            return [
                TapeColumns.concat(
                    list(part.batches(start, min(start + _SEGMENT_ROWS, count), _READ_ROWS))
                )
                for count in (part.meta.row_count,)
                for start in range(0, count, _SEGMENT_ROWS)
            ]
        segments = _map(path, part)
        if segments is None:
            raise OSError(f"{path} cannot be read back")
        return segments

    def holds(self, part: Part) -> bool:
        """Tell whether there is a fast copy of the part with the right rows; reads them all."""
        segments = _map(self.path_of(part.meta.sha256), part)
        first = 0
        for segment in segments or ():
            row = 0
            for batch in part.batches(first, first + len(segment), _READ_ROWS):
                if not segment.slice(row, row + len(batch)).equals(batch):
                    return False
                row += len(batch)
            first += row
        return segments is not None

    def drop(self, sha256: str) -> None:
        """Delete the fast copy of a part, if there is one."""
        self.path_of(sha256).unlink(missing_ok=True)

    def names(self) -> set[str]:
        """Return the names of all files kept."""
        return {path.name for path in self.root.glob("*")} if self.root.is_dir() else set()

    def _build(self, path: Path, part: Part) -> None:
        self.root.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}.tmp")
        try:
            with temporary.open("wb") as file:
                with pa.ipc.new_file(file, _SCHEMA.with_metadata(_key(part))) as writer:
                    for start in range(0, part.meta.row_count, _SEGMENT_ROWS):
                        stop = min(start + _SEGMENT_ROWS, part.meta.row_count)
                        writer.write_batch(_read(part, start, stop))
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def _key(part: Part) -> dict[str, str]:
    return {
        "sha256": part.meta.sha256,
        "size_bytes": str(part.size_bytes),
        "mtime_ns": str(part.mtime_ns),
    }


def _read(part: Part, start: int, stop: int) -> pa.RecordBatch:
    columns = [np.empty(stop - start, field.type.to_pandas_dtype()) for field in _SCHEMA]
    row = 0
    for batch in part.batches(start, stop, _READ_ROWS):
        for column, values in zip(columns, batch.arrays(), strict=True):
            column[row : row + len(batch)] = values
        row += len(batch)
    return pa.record_batch([pa.array(column) for column in columns], schema=_SCHEMA)


def _map(path: Path, part: Part) -> list[TapeColumns] | None:
    try:
        with pa.memory_map(str(path)) as mapped:
            reader = pa.ipc.open_file(mapped)
            key = {k.decode(): v.decode() for k, v in (reader.schema.metadata or {}).items()}
            if key != _key(part) or not reader.schema.equals(_SCHEMA):
                return None
            batches = [reader.get_batch(i) for i in range(reader.num_record_batches)]
    except (OSError, pa.ArrowException):
        return None
    segments = [TapeColumns(*(column.to_numpy() for column in b.columns)) for b in batches]
    if sum(map(len, segments)) != part.meta.row_count:
        return None
    # Holes as a crash leaves them are found without touching every page; `holds` looks everywhere.
    if segments[0].ts_us[0] != part.meta.first_us:
        return None
    for segment in segments:
        step = max(len(segment) // _PROBES, 1)
        if not all(array[::step].all() for array in segment.arrays()):
            return None
    return segments
