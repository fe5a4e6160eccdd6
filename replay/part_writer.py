"""Writing one Parquet part of a tape."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from flowtape.replay.schema import (
    ROW_GROUP_ROWS,
    TAPE_SCHEMA,
    ColumnsDigest,
    PartMeta,
    SourceFile,
    to_table,
    write_options,
)
from flowtape.stream.instrument import Instrument
from flowtape.stream.trades import Trades


class PartWriter:
    """Streams trades, in rising order of `agg_id`, into a new Parquet file.

    How the rows are cut into calls leaves no trace in the file. The file is complete and durable
    once `finish` has returned; a caller that cannot go on calls `abandon`.
    """

    def __init__(self, path: Path, instrument: Instrument) -> None:
        self.path = path
        self.instrument = instrument
        self.row_count = 0
        self.last_id = -1
        self._first_id = -1
        self._first_us = 0
        self._last_us = 0
        self._digest = ColumnsDigest()
        self._pending: list[Trades] = []
        self.pending_rows = 0
        self._file = path.open("wb")
        self._writer = pq.ParquetWriter(self._file, TAPE_SCHEMA, **write_options())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.abandon()

    def write(self, trades: Trades) -> None:
        """Add rows behind those written before."""
        if not len(trades):
            return
        if not self.row_count:
            self._first_id, self._first_us = int(trades.agg_id[0]), int(trades.ts_us[0])
            self._last_us = self._first_us
        self.row_count += len(trades)
        self.last_id = int(trades.agg_id[-1])
        self._last_us = max(self._last_us, int(np.max(trades.ts_us)))
        self._digest.update(trades)
        self._pending.append(trades)
        self.pending_rows += len(trades)
        if self.pending_rows >= ROW_GROUP_ROWS:
            self._flush(self.pending_rows // ROW_GROUP_ROWS * ROW_GROUP_ROWS)

    def finish(
        self,
        sources: Sequence[SourceFile] = (),
        void_ids: Sequence[tuple[int, int]] = (),
    ) -> PartMeta:
        """Complete the file, sync it to disk and return what its key-values say."""
        self._flush(self.pending_rows)
        meta = PartMeta(
            self.instrument,
            self.row_count,
            self._first_id,
            self.last_id,
            self._first_us,
            self._last_us,
            self._digest.hexdigest(),
            tuple(sources),
            tuple(void_ids),
        )
        self._writer.add_key_value_metadata(meta.key_values())
        self._writer.close()
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        return meta

    def abandon(self) -> None:
        """Close a file that will not be finished; does nothing after `finish`."""
        if not self._file.closed:
            self._writer.close()
            self._file.close()

    def _flush(self, rows: int) -> None:
        if not rows:
            return
        table = pa.concat_tables([to_table(trades) for trades in self._pending])
        self._writer.write_table(table.slice(0, rows), row_group_size=ROW_GROUP_ROWS)
        self.pending_rows -= rows
        last = self._pending[-1]
        self._pending = [last.slice(len(last) - self.pending_rows, len(last))]
