"""Sorting the trades of one source by UTC day and aggregate id, in bounded memory.

Every day gets a few Parquet files in rising order of id, called lanes; rows in order, the usual
case, stream through a single lane. Rows that fit behind no lane are gathered and sorted in
memory, a million at a time. `finish` merges the lanes of each day into one part.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from flowtape.replay import layout
from flowtape.replay.health import Sequence, scan_part, void_ranges
from flowtape.replay.merge import Duplicates, merge_parts, regrid, sort_by_id, take
from flowtape.replay.part_writer import PartWriter
from flowtape.replay.parts import Part
from flowtape.replay.schema import SourceFile
from flowtape.stream.instrument import Instrument
from flowtape.stream.trades import I64, Trades

_LANES_MAX = 4
_PIECES_MAX = 16
_LOOSE_ROWS = 1 << 20
_PENDING_ROWS = 1 << 21


@dataclass(slots=True)
class SortedDays:
    """What a source holds: one part for each day number (days since 1970), and what was dropped.

    `sequences` says how complete each day is. `voids` are the sorted ids of rows without a trade,
    by day number; they may stand for days that have no part.
    """

    parts: dict[int, Part]
    sequences: dict[int, Sequence]
    voids: dict[int, I64]
    duplicates: Duplicates


class DaySorter:
    """Takes the trades of `sources` in any order; their files are made in `folder`."""

    def __init__(self, folder: Path, *sources: SourceFile) -> None:
        self._folder = folder
        self._sources = sources
        self._days: dict[int, _Day] = {}
        self._duplicates = Duplicates()

    def add(self, trades: Trades, instrument: Instrument) -> None:
        """Add rows whose numbers lie on the grid of `instrument`.

        The grid may become finer from call to call, never coarser. Rows of price or quantity 0 are
        not trades: only their ids are kept.
        """
        real = (trades.price_ticks != 0) & (trades.qty_lots != 0)
        if not real.all():
            for number, rows in _by_day(take(trades, ~real & (trades.agg_id >= 0))):
                self._day(number).voids.append(rows.agg_id)
            trades = take(trades, real)
        trades, dropped = sort_by_id(trades, instrument)
        self._duplicates.add(dropped)
        for number, rows in _by_day(trades):
            self._day(number).add(rows, instrument)
        for day in self._days.values():
            if sum(d.pending_rows for d in self._days.values()) <= _PENDING_ROWS:
                break
            day.write_out()

    def _day(self, number: int) -> "_Day":
        # Taken out and put back, so that the least recently used day comes first.
        day = self._days.pop(number, None) or _Day(self._folder / str(number), self._sources)
        self._days[number] = day
        return day

    def finish(self, instrument: Instrument) -> SortedDays:
        """Merge what was added into one part a day, on the grid of `instrument`."""
        parts, sequences, voids = {}, {}, {}
        for number, day in sorted(self._days.items()):
            runs = day.runs()
            self._duplicates.add(day.duplicates)
            if runs:
                part, dropped = merge_runs(runs, instrument, day.folder / "sorted.parquet")
                self._duplicates.add(dropped)
                parts[number] = part
            if day.voids:
                voids[number] = np.unique(np.concatenate(day.voids))
            if runs:
                sequences[number] = scan_part(part, voids.get(number))
        return SortedDays(parts, sequences, voids, self._duplicates)

    def abandon(self) -> None:
        """Close all files; nothing can be added any more."""
        for day in self._days.values():
            day.abandon()


def merge_runs(
    runs: list[Part], instrument: Instrument, target: Path, void_ids: I64 | None = None
) -> tuple[Part, Duplicates]:
    """Return one part with the rows of all runs on the grid of `instrument`, and `void_ids`.

    Void ids that turn out to have a trade are left out. A single run that fits as it is, is
    returned as it is.
    """
    first = runs[0]
    ranges = void_ranges(void_ids) if void_ids is not None else ()
    if len(runs) == 1 and first.meta.instrument == instrument and first.meta.void_ids == ranges:
        return first, Duplicates()
    sources = dict.fromkeys(source for run in runs for source in run.meta.sources)
    with PartWriter(target, instrument) as writer:
        duplicates = merge_parts(runs, writer)
        if void_ids is not None and len(void_ids):
            real = [np.isin(void_ids, ids) for run in runs for ids, _ in run.sequence()]
            ranges = void_ranges(void_ids[~np.any(real, axis=0)])
        writer.finish(tuple(sources), ranges)
    return Part.open(target), duplicates


@dataclass(slots=True)
class _Lane:
    path: Path
    first_id: int
    last_id: int
    writer: PartWriter | None

    def overlaps(self, first_id: int, last_id: int) -> bool:
        return self.first_id <= last_id and first_id <= self.last_id

    def write(self, trades: Trades) -> None:
        assert self.writer is not None
        self.writer.write(trades)
        self.last_id = self.writer.last_id

    def close(self, sources: tuple[SourceFile, ...]) -> None:
        # The writer goes, because an unsorted file may need thousands of lanes.
        if self.writer is not None:
            self.writer.finish(sources)
            self.writer = None


@dataclass(slots=True)
class _Day:
    folder: Path
    sources: tuple[SourceFile, ...]
    voids: list[I64] = field(default_factory=list)
    duplicates: Duplicates = field(default_factory=Duplicates)
    _lanes: list[_Lane] = field(default_factory=list)
    _open: list[_Lane] = field(default_factory=list)
    _loose: list[Trades] = field(default_factory=list)
    _loose_rows: int = 0
    _instrument: Instrument | None = None

    def add(self, trades: Trades, instrument: Instrument) -> None:
        if instrument != self._instrument:
            self._change_grid(instrument)
        if self._fitting_lane(trades) is not None:
            self._place(trades, instrument)
            return
        for piece in _split_at_jumps(trades):
            self._place(piece, instrument)

    @property
    def pending_rows(self) -> int:
        writers = [lane.writer for lane in self._open if lane.writer is not None]
        return self._loose_rows + sum(writer.pending_rows for writer in writers)

    def write_out(self) -> None:
        if self._instrument is not None:
            self._sort_loose(self._instrument)
        self._close_lanes()

    def runs(self) -> list[Part]:
        self.write_out()
        return [Part.open(lane.path) for lane in self._lanes]

    def abandon(self) -> None:
        for lane in self._open:
            if lane.writer is not None:
                lane.writer.abandon()

    def _place(self, trades: Trades, instrument: Instrument) -> None:
        lane = self._fitting_lane(trades)
        if lane is None and not self._loose and len(self._open) < _LANES_MAX:
            lane = self._new_lane(trades, instrument)
            self._open.append(lane)
        if lane is not None:
            lane.write(trades)
            return
        self._loose.append(trades)
        self._loose_rows += len(trades)
        if self._loose_rows >= _LOOSE_ROWS:
            self._sort_loose(instrument)

    def _fitting_lane(self, trades: Trades) -> _Lane | None:
        # Of equal ids the one that came first must lie in the lane made first, hence the look at
        # later lanes and at loose rows.
        first_id, last_id = int(trades.agg_id[0]), int(trades.agg_id[-1])
        if any(p.agg_id[0] <= last_id and first_id <= p.agg_id[-1] for p in self._loose):
            return None
        fitting = [lane for lane in self._open if lane.last_id < first_id]
        for lane in sorted(fitting, key=lambda fit: -fit.last_id):
            later = self._lanes[self._lanes.index(lane) + 1 :]
            if not any(other.overlaps(first_id, last_id) for other in later):
                return lane
        return None

    def _sort_loose(self, instrument: Instrument) -> None:
        if not self._loose:
            return
        trades, dropped = sort_by_id(Trades.concat(self._loose), instrument)
        self.duplicates.add(dropped)
        lane = self._new_lane(trades, instrument)
        lane.write(trades)
        lane.close(self.sources)
        self._loose, self._loose_rows = [], 0

    def _new_lane(self, trades: Trades, instrument: Instrument) -> _Lane:
        self.folder.mkdir(exist_ok=True)
        path = self.folder / f"lane-{len(self._lanes)}.parquet"
        first_id = int(trades.agg_id[0])
        lane = _Lane(path, first_id, first_id, PartWriter(path, instrument))
        self._lanes.append(lane)
        return lane

    def _change_grid(self, instrument: Instrument) -> None:
        if self._instrument is not None:
            self._loose = [regrid(piece, self._instrument, instrument) for piece in self._loose]
        self._close_lanes()
        self._instrument = instrument

    def _close_lanes(self) -> None:
        for lane in self._open:
            lane.close(self.sources)
        self._open = []


def _by_day(trades: Trades) -> Iterator[tuple[int, Trades]]:
    days = trades.ts_us // layout.DAY_US
    if len(days) and days.min() == days.max():
        yield int(days[0]), trades
        return
    for day in np.unique(days).tolist():
        yield day, take(trades, days == day)


def _split_at_jumps(trades: Trades) -> Iterator[Trades]:
    # Interleaved runs of ids, once sorted, are pieces with jumps longer than the block between.
    steps = np.diff(trades.agg_id)
    jumps = np.flatnonzero(steps > len(trades)) + 1
    if len(jumps) >= _PIECES_MAX:
        jumps = np.sort(jumps[np.argsort(steps[jumps - 1])[1 - _PIECES_MAX :]])
    for start, stop in zip([0, *jumps], [*jumps, len(trades)], strict=True):
        yield trades.slice(start, stop)
