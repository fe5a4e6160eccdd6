"""Adding trades to a tape: merged by id with what is there, all days in one transaction.

The grid of a tape is the finest that any of its trades ever needed. When new trades need a finer
one, the days already there are rewritten on it in the same transaction: their numbers are
multiplied by powers of ten, so nothing is rounded.
"""

from collections.abc import Iterable
from collections.abc import Sequence as Rows
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Self

import msgspec
import numpy as np

from flowtape.replay import layout
from flowtape.replay.health import (
    DayHealth,
    FileHealth,
    read_day,
    scan_part,
    void_array,
    write_day,
)
from flowtape.replay.merge import CONFLICTS_KEPT
from flowtape.replay.parts import Part
from flowtape.replay.schema import SourceFile
from flowtape.replay.sorter import DaySorter, SortedDays, merge_runs
from flowtape.replay.tapes import TapeStore
from flowtape.replay.transaction import TapeTransaction
from flowtape.stream.instrument import Instrument
from flowtape.stream.trades import I64, Trades


@dataclass(frozen=True, slots=True)
class DayChange:
    """What happened to one day of a tape.

    `added_count` rows were new; `conflict_count` rows were dropped because the tape, or an earlier
    file, says something else about their ids.
    """

    day: date
    row_count: int
    added_count: int
    conflict_count: int


class TapeWriter:
    """One addition to the tape of `instrument` in `store`.

    Use as a context manager: make a sorter for each source and fill it, then `commit` once.
    Leaving without `commit` changes nothing. The decimals of `instrument` are the coarsest grid
    to use; raises TapeError when another addition to the tape is under way.
    """

    def __init__(self, store: TapeStore, instrument: Instrument) -> None:
        self._store = store
        self._tape = layout.tape_folder(store.root, instrument)
        self._transaction = TapeTransaction(store.root, instrument)
        self._sorters: list[DaySorter] = []
        self._existing: dict[date, list[Part]] = {}
        self.instrument = instrument

    def __enter__(self) -> Self:
        self._transaction.__enter__()
        try:
            if layout.list_days(self._tape):
                for part in self._store.parts(self._tape):
                    day = date.fromisoformat(part.path.parent.name.removeprefix("date="))
                    self._existing.setdefault(day, []).append(part)
                    self.instrument = finer(self.instrument, part.meta.instrument)
        except BaseException:
            self._transaction.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for sorter in self._sorters:
            sorter.abandon()
        self._transaction.__exit__()

    def sorter(self, *sources: SourceFile) -> DaySorter:
        """Return a new place to put the trades of one source into."""
        folder = self._transaction.folder / f"source-{len(self._sorters)}"
        folder.mkdir()
        self._sorters.append(DaySorter(folder, *sources))
        return self._sorters[-1]

    def commit(self, added: Rows[tuple[SortedDays, FileHealth | None]]) -> list[DayChange]:
        """Merge what finished sorters hold into the tape; return the days that they touch.

        Where ids are there more than once, the tape wins over sources, and earlier sources win
        over later ones. Days that would not change are left alone.
        """
        for days, _ in added:
            for part in days.parts.values():
                self.instrument = finer(self.instrument, part.meta.instrument)
        touched = {day_of_number(n) for days, _ in added for n in (*days.parts, *days.voids)}
        changes = []
        for day in sorted(touched | set(self._existing)):
            change = self._merge_day(day, added)
            if change is not None and day in touched:
                changes.append(change)
        self._transaction.commit()
        return changes

    def _merge_day(
        self, day: date, added: Rows[tuple[SortedDays, FileHealth | None]]
    ) -> DayChange | None:
        old = self._existing.get(day, [])
        number = (day - date(1970, 1, 1)).days
        here = [(days, report) for days, report in added if number in days.parts]
        runs = [*old, *(days.parts[number] for days, _ in here)]
        if not runs:
            return None
        voids = _all_voids(old, [days.voids[number] for days, _ in added if number in days.voids])
        target = self._transaction.folder / f"{day.isoformat()}.parquet"
        part, duplicates = merge_runs(runs, self.instrument, target, voids)
        if len(old) == 1 and _same(part, old[0]):
            part = old[0]
        if part in old and not here:
            return None
        folder = layout.day_folder(self._tape, day)
        if part not in old:
            self._transaction.place(part.path, folder / layout.part_name(part.meta.first_id))
            for gone in old:
                self._transaction.delete(gone.path)
                self._store.cache.drop(gone.meta.sha256)
        known = [d.sequences[number] for d, _ in here if d.parts[number] is part]
        sequence = known[0] if known else scan_part(part)
        health = DayHealth(
            symbol=self.instrument.symbol,
            market=self.instrument.market,
            day=day,
            sha256=part.meta.sha256,
            sequence=sequence,
            imports=tuple(report for _, report in here if report is not None),
            conflicts=tuple(duplicates.conflicts),
        )
        self._report(folder, health)
        before = sum(piece.meta.row_count for piece in old)
        return DayChange(
            day,
            part.meta.row_count,
            part.meta.row_count - before,
            duplicates.conflict_count,
        )

    def _report(self, folder: Path, health: DayHealth) -> None:
        old = read_day(folder)
        if old is not None:
            imports = {report.sha256: report for report in (*old.imports, *health.imports)}
            conflicts = dict.fromkeys((*old.conflicts, *health.conflicts))
            health = msgspec.structs.replace(
                health,
                imports=tuple(imports.values()),
                conflicts=tuple(conflicts)[:CONFLICTS_KEPT],
            )
        if health != old:
            staged = self._transaction.folder / f"{health.day.isoformat()}.json"
            write_day(staged, health)
            self._transaction.place(staged, folder / layout.HEALTH_NAME)


def add_trades(
    store: TapeStore, instrument: Instrument, pieces: Iterable[Trades], *sources: SourceFile
) -> list[DayChange]:
    """Merge trades on the grid of `instrument` into its tape; return the days they touch."""
    with TapeWriter(store, instrument) as writer:
        sorter = writer.sorter(*sources)
        for piece in pieces:
            sorter.add(piece, instrument)
        return writer.commit([(sorter.finish(instrument), None)])


def finer(one: Instrument, two: Instrument) -> Instrument:
    """Return `one` on the coarsest grid that holds every number of both."""
    return replace(
        one,
        price_decimals=max(one.price_decimals, two.price_decimals),
        qty_decimals=max(one.qty_decimals, two.qty_decimals),
    )


def day_of_number(number: int) -> date:
    """Return the day that is `number` days after 1970-01-01."""
    return layout.day_of(number * layout.DAY_US)


def _all_voids(old: list[Part], new: list[I64]) -> I64:
    found = [*(void_array(part.meta.void_ids) for part in old), *new]
    return np.unique(np.concatenate([np.empty(0, np.int64), *found]))


def _same(one: Part, two: Part) -> bool:
    return (one.meta.instrument, one.meta.sha256, one.meta.void_ids) == (
        two.meta.instrument,
        two.meta.sha256,
        two.meta.void_ids,
    )
