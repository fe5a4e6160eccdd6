"""What the rows of a file look like in the order they stand there."""

import numpy as np

from flowtape.replay.archive_csv import Block
from flowtape.stream.trades import I64


class FileScan:
    """Counts, block by block, what sorting would hide."""

    def __init__(self) -> None:
        self.row_count = 0
        self.unsorted_count = 0
        self.interleaved_count = 0
        self.sentinel_count = 0
        self.zero_qty_count = 0
        self.unit_change_count = 0
        self.has_ms = False
        self.has_us = False
        self._last_in_us: bool | None = None
        self._highest_id = -1
        self._run: tuple[int, int] | None = None
        self._run_before: tuple[int, int] | None = None

    @property
    def time_unit(self) -> str:
        """`ms`, `us` or `mixed`."""
        if self.has_ms and self.has_us:
            return "mixed"
        return "us" if self.has_us else "ms"

    def add(self, block: Block) -> None:
        """Look at the rows behind those seen before."""
        trades = block.trades
        self.row_count += len(trades)
        no_price = trades.price_ticks == 0
        self.sentinel_count += int(np.sum(no_price))
        self.zero_qty_count += int(np.sum((trades.qty_lots == 0) & ~no_price))
        self._add_units(block)
        ids = trades.agg_id
        # Sentinel rows need not have an id.
        if ids.min() < 0:
            ids = ids[ids >= 0]
        if len(ids):
            self._add_order(ids)

    def _add_units(self, block: Block) -> None:
        in_us = block.in_us if block.is_trade.all() else block.in_us[block.is_trade]
        if not len(in_us):
            return
        us_count = int(np.sum(in_us))
        self.has_us |= us_count > 0
        self.has_ms |= us_count < len(in_us)
        before = bool(in_us[0]) if self._last_in_us is None else self._last_in_us
        if 0 < us_count < len(in_us) or before != in_us[0]:
            self.unit_change_count += int(np.sum(np.diff(in_us, prepend=before)))
        self._last_in_us = bool(in_us[-1])

    def _add_order(self, ids: I64) -> None:
        first, last = int(ids[0]), int(ids[-1])
        falls = np.flatnonzero(ids[1:] < ids[:-1]) + 1
        if not len(falls) and self._run is not None and first >= self._run[1]:
            self._run = (self._run[0], last)
            self._highest_id = max(self._highest_id, last)
            return
        before = np.maximum.accumulate(np.concatenate([[self._highest_id], ids]))
        self.unsorted_count += int(np.sum(ids < before[:-1]))
        self._highest_id = int(before[-1])
        starts = [0, *falls.tolist()]
        stops = [*falls.tolist(), len(ids)]
        for start, stop in zip(starts, stops, strict=True):
            run = (int(ids[start]), int(ids[stop - 1]))
            if self._run is not None and start == 0 and run[0] >= self._run[1]:
                self._run = (self._run[0], run[1])
                continue
            self._close_run()
            self._run = run

    def finish(self) -> None:
        """Count the last run of ids."""
        self._close_run()

    def _close_run(self) -> None:
        if self._run is None:
            return
        before = self._run_before
        if before is not None and self._run[0] <= before[1] and before[0] <= self._run[1]:
            self.interleaved_count += 1
        self._run_before, self._run = self._run, None
