"""The fast copy of tape parts: uncompressed Arrow IPC, read by mmap, made from Parquet on demand.

Each part has one file, named by the part's content hash. A row of it is a block: lists of the
trades' columns, and the extremes that let searches skip the block. The lists of a batch lie one
behind the other, and batches are long, so that a day is one or a few contiguous columns.
Everything here can be deleted at any time.
"""

import os
import threading
from pathlib import Path

import numpy as np
import pyarrow as pa

from flowtape.replay.parts import BLOCK_ROWS, BlockExtremes, Part, TapeColumns

_VERSION = 2
_SUFFIX = f"-v{_VERSION}.arrow"
_SEGMENT_ROWS = 1 << 24
_READ_ROWS = 1 << 17
_PROBES = 256
_COLUMN_TYPES = {
    "ts_us": pa.int64(),
    "price_ticks": pa.int64(),
    "qty_lots": pa.int64(),
    "side": pa.int8(),
}
_EXTREMES = ("low_ticks", "high_ticks", "latest_us")
_SCHEMA = pa.schema(
    [
        pa.field(name, pa.list_(pa.field("item", value, nullable=False)), nullable=False)
        for name, value in _COLUMN_TYPES.items()
    ]
    + [pa.field(name, pa.int64(), nullable=False) for name in _EXTREMES]
)


class ColumnCache:
    """Fast columns of parts below one folder, rebuilt when missing, stale or damaged."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path_of(self, sha256: str) -> Path:
        """Return where the fast copy of the part with this content hash lies."""
        return self.root / (sha256 + _SUFFIX)

    def load(self, part: Part) -> list[TapeColumns]:
        """Return a part's columns and extremes as long contiguous pieces, mapped from the cache.

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
                _read(part, start, min(start + _SEGMENT_ROWS, count)).with_extremes()
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
            if not _extremes_fit(segment):
                return False
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
                        writer.write_batch(_to_batch(_read(part, start, stop)))
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


def _read(part: Part, start: int, stop: int) -> TapeColumns:
    columns = [np.empty(stop - start, value.to_pandas_dtype()) for value in _COLUMN_TYPES.values()]
    row = 0
    for batch in part.batches(start, stop, _READ_ROWS):
        for column, values in zip(columns, batch.arrays(), strict=True):
            column[row : row + len(batch)] = values
        row += len(batch)
    read = TapeColumns(*columns)
    read.freeze()
    return read


def _to_batch(columns: TapeColumns) -> pa.RecordBatch:
    starts = np.append(np.arange(0, len(columns), BLOCK_ROWS), len(columns)).astype(np.int32)
    blocks = [
        pa.ListArray.from_arrays(pa.array(starts), pa.array(column), type=field.type)
        for field, column in zip(_SCHEMA, columns.arrays(), strict=False)
    ]
    extremes = BlockExtremes.of(columns.ts_us, columns.price_ticks).arrays()
    return pa.record_batch([*blocks, *map(pa.array, extremes)], schema=_SCHEMA)


def _from_batch(batch: pa.RecordBatch) -> TapeColumns:
    count = len(_COLUMN_TYPES)
    # Where the lists begin does not matter: they have one length, and lie one behind the other.
    columns = (column.values.to_numpy() for column in batch.columns[:count])
    extremes = (column.to_numpy() for column in batch.columns[count:])
    return TapeColumns(*columns, extremes=BlockExtremes(*extremes))


def _map(path: Path, part: Part) -> list[TapeColumns] | None:
    try:
        with pa.memory_map(str(path)) as mapped:
            reader = pa.ipc.open_file(mapped)
            key = {k.decode(): v.decode() for k, v in (reader.schema.metadata or {}).items()}
            if key != _key(part) or not reader.schema.equals(_SCHEMA):
                return None
            batches = [reader.get_batch(i) for i in range(reader.num_record_batches)]
    except (OSError, pa.ArrowException, ValueError):
        return None
    segments = [_from_batch(batch) for batch in batches]
    if sum(map(len, segments)) != part.meta.row_count:
        return None
    if not all(map(_looks_whole, segments)) or segments[0].ts_us[0] != part.meta.first_us:
        return None
    return segments


def _looks_whole(columns: TapeColumns) -> bool:
    """Find holes as a crash leaves them, without touching every page; `holds` looks everywhere."""
    extremes = columns.extremes
    if extremes is None or len(columns) == 0:
        return False
    if {len(column) for column in columns.arrays()} != {len(columns)}:
        return False
    if {len(column) for column in extremes.arrays()} != {-(-len(columns) // BLOCK_ROWS)}:
        return False
    # Zeros among the columns are refused by the kernel, those among the extremes would be believed.
    if not all(column.all() for column in extremes.arrays()):
        return False
    step = max(len(columns) // _PROBES, 1)
    ts, price, *_ = probes = [column[::step] for column in columns.arrays()]
    blocks = np.arange(0, len(columns), step) // BLOCK_ROWS
    low, high, latest = (column[blocks] for column in extremes.arrays())
    return all(column.all() for column in probes) and bool(
        np.all((low <= price) & (price <= high) & (ts <= latest))
    )


def _extremes_fit(columns: TapeColumns) -> bool:
    found, expected = columns.extremes, BlockExtremes.of(columns.ts_us, columns.price_ticks)
    return found is not None and all(map(np.array_equal, found.arrays(), expected.arrays()))
