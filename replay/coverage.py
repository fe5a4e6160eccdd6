"""Which days of a tape are whole, where their trades came from, and which ids they lack."""

import itertools
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Self

import numpy as np

from flowtape.replay import layout
from flowtape.replay.health import IdRange, Sequence, join, read_day, scan_part, void_array
from flowtape.replay.parts import Part
from flowtape.replay.tapes import TapeStore
from flowtape.replay.transaction import settle
from flowtape.stream.instrument import Instrument, Market

_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class DayCoverage:
    """One day of a tape.

    `hashes` are those of the files that its trades were imported from, by their base names.
    """

    parts: tuple[Part, ...]
    sequence: Sequence
    hashes: dict[str, str]


class Coverage:
    """The days that the tape of a symbol has, by what its health reports say."""

    def __init__(self, days: dict[date, DayCoverage]) -> None:
        self.days = days

    @classmethod
    def of(cls, store: TapeStore, symbol: str, market: Market) -> Self:
        """Look at a tape; one that does not exist has no days. Raises TapeError for damage."""
        store.check()
        settle(store.root)
        tape = layout.tape_folder(store.root, Instrument(symbol, market, 0, 0))
        return cls({day: _look(store, folder) for day, folder in layout.list_days(tape)})

    @property
    def instrument(self) -> Instrument | None:
        """Return the instrument of the tape, with its grid, if there is any day."""
        for day in self.days.values():
            return day.parts[0].meta.instrument
        return None

    def is_joined(self, day: date) -> bool:
        """Tell whether the ids of a day lack nothing, up to those of the days on both sides."""
        before, here, after = (self.days.get(one) for one in (day - _DAY, day, day + _DAY))
        return (
            before is not None
            and here is not None
            and after is not None
            and not here.sequence.missing_count
            and before.sequence.last_id + 1 >= here.sequence.first_id
            and here.sequence.last_id + 1 >= after.sequence.first_id
        )

    def missing_ids(self, asked: Collection[date]) -> list[IdRange]:
        """Return the ids that the days asked for lack, inside and up to the days beside them.

        Between two days of the tape, ids count where every day in between is asked for.
        """
        found: list[IdRange] = []
        known = sorted(self.days)
        for day, after in itertools.zip_longest(known, known[1:]):
            if day in asked:
                found += _holes(self.days[day])
            if after is None or not _reach(day, after, asked):
                continue
            from_id = self.days[day].sequence.last_id + 1
            to_id = self.days[after].sequence.first_id - 1
            if from_id <= to_id:
                found.append(IdRange(from_id, to_id))
        return found


def _look(store: TapeStore, folder: Path) -> DayCoverage:
    parts = store.parts(folder)
    report = read_day(folder)
    if report is not None and [report.sha256] == [part.meta.sha256 for part in parts]:
        sequence: Sequence | None = report.sequence
    else:
        sequence = join(scan_part(part) for part in parts)
    assert sequence is not None
    hashes = {source.name: source.sha256 for part in parts for source in part.meta.sources}
    if report is not None:
        hashes |= {file.name: file.sha256 for file in report.imports}
    return DayCoverage(tuple(parts), sequence, hashes)


def _reach(day: date, after: date, asked: Collection[date]) -> bool:
    between = list(_days_between(day, after))
    return all(one in asked for one in between) and (
        bool(between) or day in asked or after in asked
    )


def _days_between(day: date, after: date) -> Iterator[date]:
    for number in range(1, (after - day).days):
        yield day + timedelta(days=number)


def _holes(day: DayCoverage) -> list[IdRange]:
    if len(day.sequence.holes) == day.sequence.hole_count:
        return list(day.sequence.holes)
    # The report shows only the first ones.
    pieces = [ids for part in day.parts for ids, _ in part.sequence()]
    voids = [void_array(part.meta.void_ids) for part in day.parts]
    ids = np.union1d(np.concatenate(pieces), np.concatenate(voids))
    jumps = np.flatnonzero(np.diff(ids) > 1)
    return [
        IdRange(low + 1, high - 1)
        for low, high in zip(ids[jumps].tolist(), ids[jumps + 1].tolist(), strict=True)
    ]
