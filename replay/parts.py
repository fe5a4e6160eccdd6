"""One Parquet file of a tape, opened for reading."""

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from flowtape.replay.schema import FAST_COLUMNS, TAPE_SCHEMA, PartMeta, from_table
from flowtape.stream.errors import InputError, TapeError
from flowtape.stream.trades import I8, I64, Trades, side_of

BLOCK_ROWS = 512
"""Rows whose extremes are kept together."""


@dataclass(frozen=True, slots=True, eq=False)
class BlockExtremes:
    """Lowest and highest price and latest time of consecutive blocks of `BLOCK_ROWS` rows.

    The last block may be shorter, and `offset` rows of the first one lie before the first row.
    Extremes of a slice are those of whole blocks: they bound its rows, but may lie further out.
    """

    low_ticks: I64
    high_ticks: I64
    latest_us: I64
    offset: int = 0

    @classmethod
    def of(cls, ts_us: I64, price_ticks: I64) -> Self:
        """Return the extremes of rows, read-only."""
        starts = np.arange(0, len(ts_us), BLOCK_ROWS)
        found = cls(
            np.minimum.reduceat(price_ticks, starts),
            np.maximum.reduceat(price_ticks, starts),
            np.maximum.reduceat(ts_us, starts),
        )
        for column in found.arrays():
            column.flags.writeable = False
        return found

    def arrays(self) -> tuple[I64, I64, I64]:
        """Return lowest prices, highest prices and latest times."""
        return self.low_ticks, self.high_ticks, self.latest_us

    def as_tuple(self) -> tuple[I64, I64, I64, int]:
        """Return them as a search takes them: the arrays, and the offset."""
        return self.low_ticks, self.high_ticks, self.latest_us, self.offset

    def slice(self, start: int, stop: int) -> "BlockExtremes":
        """Return what bounds rows [start, stop), which must be there."""
        first, end = self.offset + start, self.offset + stop
        blocks = slice(first // BLOCK_ROWS, -(-end // BLOCK_ROWS) if stop > start else 0)
        low, high, latest = (column[blocks] for column in self.arrays())
        return BlockExtremes(low, high, latest, first % BLOCK_ROWS)


@dataclass(frozen=True, slots=True, eq=False)
class TapeColumns:
    """What an engine reads of a tape: equally long, C-contiguous, read-only columns.

    `ts_us, price_ticks, qty_lots` are int64, `side` is int8 (+1 buyer was the aggressor, -1
    seller). `extremes` follow from them; columns from the cache have them, copies have not.
    `market` (uint8) numbers each row's instrument where there are several.
    """

    ts_us: I64
    price_ticks: I64
    qty_lots: I64
    side: I8
    extremes: BlockExtremes | None = field(default=None, kw_only=True)
    market: NDArray[np.uint8] | None = field(default=None, kw_only=True)

    def __len__(self) -> int:
        return len(self.ts_us)

    def slice(self, start: int, stop: int) -> "TapeColumns":
        """Return rows [start, stop), as far as they are there, as views of these columns."""
        start, stop, _ = slice(start, stop).indices(len(self))
        return TapeColumns(
            self.ts_us[start:stop],
            self.price_ticks[start:stop],
            self.qty_lots[start:stop],
            self.side[start:stop],
            extremes=self.extremes.slice(start, stop) if self.extremes is not None else None,
            market=self.market[start:stop] if self.market is not None else None,
        )

    def with_extremes(self) -> "TapeColumns":
        """Return the same columns and their block extremes."""
        return TapeColumns(*self.arrays(), extremes=BlockExtremes.of(self.ts_us, self.price_ticks))

    @classmethod
    def concat(cls, pieces: list["TapeColumns"]) -> "TapeColumns":
        """Return the pieces one behind the other, copied into new columns."""
        joined = cls(
            np.concatenate([piece.ts_us for piece in pieces]),
            np.concatenate([piece.price_ticks for piece in pieces]),
            np.concatenate([piece.qty_lots for piece in pieces]),
            np.concatenate([piece.side for piece in pieces]),
        )
        joined.freeze()
        return joined

    def arrays(self) -> tuple[I64, I64, I64, I8]:
        """Return the columns in their order."""
        return self.ts_us, self.price_ticks, self.qty_lots, self.side

    def equals(self, other: "TapeColumns") -> bool:
        """Tell whether the rows are the same."""
        return (
            np.array_equal(self.ts_us, other.ts_us)
            and np.array_equal(self.price_ticks, other.price_ticks)
            and np.array_equal(self.qty_lots, other.qty_lots)
            and np.array_equal(self.side, other.side)
        )

    def freeze(self) -> None:
        """Make every column read-only."""
        for column in self.arrays():
            column.flags.writeable = False


@dataclass(frozen=True, eq=False)
class Part:
    """A Parquet part whose footer was read and checked; rows are read on demand."""

    path: Path
    meta: PartMeta
    size_bytes: int
    mtime_ns: int

    @classmethod
    def open(cls, path: Path) -> Self:
        """Read the footer of a part.

        Raises TapeError when the file is damaged, no tape, or of a newer schema.
        """
        with _damage_named(path):
            stat = path.stat()
            if path.suffix != ".parquet" and not _is_parquet(path):
                raise InputError(f"{path} is no tape; make one of it with `flowtape import`")
            footer = pq.read_metadata(path)
            meta = PartMeta.from_key_values(footer.metadata, str(path))
            schema = footer.schema.to_arrow_schema().remove_metadata()
        if (
            not schema.equals(TAPE_SCHEMA)
            or footer.num_rows != meta.row_count
            or not meta.row_count
        ):
            raise TapeError(f"{path} does not fit its own footer; delete it and import again")
        return cls(path, meta, stat.st_size, stat.st_mtime_ns)

    @functools.cached_property
    def row_group_starts(self) -> I64:
        """First row of each row group, and the row count behind the last."""
        footer = self._footer
        counts = [footer.row_group(i).num_rows for i in range(footer.num_row_groups)]
        return np.cumsum([0, *counts], dtype=np.int64)

    def id_ranges(self) -> list[tuple[int, int, int]]:
        """Return row count, lowest and highest id of each row group."""
        column = TAPE_SCHEMA.get_field_index("agg_id")
        groups = [self._footer.row_group(i) for i in range(self._footer.num_row_groups)]
        return [
            (
                group.num_rows,
                group.column(column).statistics.min,
                group.column(column).statistics.max,
            )
            for group in groups
        ]

    def row_at(self, ts_us: int) -> int:
        """Return the first row whose time has reached `ts_us`, or the row count."""
        column = TAPE_SCHEMA.get_field_index("ts")
        footer = self._footer
        for group in range(footer.num_row_groups):
            if footer.row_group(group).column(column).statistics.max_raw < ts_us:
                continue
            with _damage_named(self.path), self._file() as file:
                times = file.read_row_group(group, columns=["ts"]).column(0)
            reached = times.cast(pa.int64()).to_numpy() >= ts_us
            return int(self.row_group_starts[group]) + int(np.argmax(reached))
        return self.meta.row_count

    def batches(self, start: int, stop: int, rows: int) -> Iterator[TapeColumns]:
        """Yield the fast columns of rows [start, stop) in pieces of at most `rows` rows."""
        groups = self._groups(start, stop)
        if not groups:
            return
        row = int(self.row_group_starts[groups[0]])
        with _damage_named(self.path), self._file() as file:
            found = file.iter_batches(batch_size=rows, row_groups=groups, columns=FAST_COLUMNS)
            for batch in found:
                lower, upper = max(start - row, 0), min(stop - row, len(batch))
                row += len(batch)
                if lower < upper:
                    yield _fast_columns(batch).slice(lower, upper)

    def trades(self, start: int, stop: int) -> Trades:
        """Read all columns of rows [start, stop)."""
        groups = self._groups(start, stop)
        if not groups:
            return Trades.empty()
        with _damage_named(self.path), self._file() as file:
            table = file.read_row_groups(groups, columns=TAPE_SCHEMA.names)
        first = int(self.row_group_starts[groups[0]])
        return from_table(table.slice(start - first, stop - start))

    def sequence(self) -> Iterator[tuple[I64, I64]]:
        """Yield the columns `agg_id` and `ts_us` of all rows, in pieces."""
        with _damage_named(self.path), self._file() as file:
            for group in range(len(self.row_group_starts) - 1):
                table = file.read_row_group(group, columns=["agg_id", "ts"])
                yield table.column(0).to_numpy(), table.column(1).cast(pa.int64()).to_numpy()

    def _groups(self, start: int, stop: int) -> list[int]:
        if start >= stop:
            return []
        starts = self.row_group_starts
        first = int(np.searchsorted(starts, start, "right")) - 1
        last = int(np.searchsorted(starts, stop, "left"))
        return list(range(first, last))

    @functools.cached_property
    def _footer(self) -> pq.FileMetaData:
        with _damage_named(self.path):
            return pq.read_metadata(self.path)

    def _file(self) -> pq.ParquetFile:
        return pq.ParquetFile(self.path, page_checksum_verification=True)


def _is_parquet(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"PAR1"


def _fast_columns(batch: pa.RecordBatch) -> TapeColumns:
    columns = TapeColumns(
        batch.column(0).view(pa.int64()).to_numpy(),
        batch.column(1).to_numpy(),
        batch.column(2).to_numpy(),
        side_of(batch.column(3).to_numpy(zero_copy_only=False)),
    )
    columns.side.flags.writeable = False
    return columns


@contextmanager
def _damage_named(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise TapeError(f"{path} is gone; open the tape again") from None
    except (pa.ArrowException, OSError, EOFError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise TapeError(f"{path} is damaged ({reason}); delete it and import again") from None
