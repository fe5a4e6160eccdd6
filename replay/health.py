"""What is known about the quality of a file, a day of a tape, and a tape."""

from collections.abc import Iterable
from datetime import date, timedelta
from pathlib import Path

import msgspec
import numpy as np

from flowtape.replay import layout
from flowtape.replay.merge import Conflict
from flowtape.replay.parts import Part
from flowtape.stream.errors import TapeError
from flowtape.stream.trades import I64

HEALTH_VERSION = 1

_SHOWN = 20


class IdRange(msgspec.Struct, frozen=True):
    """Aggregate ids, both ends inclusive."""

    from_id: int
    to_id: int


class Sequence(msgspec.Struct, frozen=True, kw_only=True):
    """How complete and orderly rows are once they are sorted by id.

    A hole is a range of ids that nothing was seen of, neither a trade nor a void row; `holes` shows
    the first few. `backward_count` counts rows that are earlier than a row before them.
    """

    row_count: int
    void_count: int
    first_id: int
    last_id: int
    first_us: int
    last_us: int
    hole_count: int
    missing_count: int
    holes: tuple[IdRange, ...]
    backward_count: int


class CaptureHealth(msgspec.Struct, frozen=True, kw_only=True):
    """What stands in a capture of lines beside the trades that were asked for.

    Attributes:
        line_count: lines that are not blank.
        other_symbol_count: trades of other symbols.
        other_market_count: trades of the symbol on the other kind of market, spot or futures.
        other_message_count: whole messages that are no aggregate trade.
        broken_count: lines that hold no whole message, or a trade with an impossible value.
        first_broken_line: the first of them, counted from 1; 0 when there is none.
        first_broken: what it says, or what is wrong with its trade.
        cut_short: the packed file ends in the middle; what came before was read.
    """

    line_count: int
    other_symbol_count: int
    other_market_count: int
    other_message_count: int
    broken_count: int
    first_broken_line: int
    first_broken: str
    cut_short: bool


class FileHealth(msgspec.Struct, frozen=True, kw_only=True):
    """The report on one file.

    Attributes:
        name: base name of the file.
        sha256: hash of its bytes.
        size_bytes: size of the file.
        layout: what kind of file it was read as: `spot`, `futures`, `columns` or `capture`.
        time_unit: `ms`, `us` or `mixed`.
        row_count: rows in the file, whatever they are; in a capture the trades asked for.
        unsorted_count: rows whose id is below that of a row before them.
        interleaved_count: rising runs of ids whose range overlaps that of the run before.
        exact_duplicate_count: rows equal to one with the same id.
        conflict_count: rows different from the one that was kept with the same id.
        conflicts: the first of them.
        sentinel_count: rows with price 0, which venues publish in place of invalid trades.
        zero_qty_count: other rows with quantity 0.
        unit_change_count: rows with another time unit than the row before.
        missing_day_count: UTC days without a row between the first and the last day.
        missing_days: the first of them.
        sequence: the rows that are trades, sorted by id; none when there is no trade.
        capture: what else a capture of lines holds; none for other files.
    """

    name: str
    sha256: str
    size_bytes: int
    layout: str
    time_unit: str
    row_count: int
    unsorted_count: int
    interleaved_count: int
    exact_duplicate_count: int
    conflict_count: int
    conflicts: tuple[Conflict, ...]
    sentinel_count: int
    zero_qty_count: int
    unit_change_count: int
    missing_day_count: int
    missing_days: tuple[date, ...]
    sequence: Sequence | None
    capture: CaptureHealth | None = None


class DayHealth(msgspec.Struct, frozen=True, kw_only=True):
    """The report beside one day of a tape.

    `sha256` is that of the part it speaks of; `imports` are the reports on the files that the day
    was made from, and `conflicts` the rows of one of them that disagreed with another.
    """

    version: int = HEALTH_VERSION
    symbol: str
    market: str
    day: date
    sha256: str
    sequence: Sequence
    imports: tuple[FileHealth, ...]
    conflicts: tuple[Conflict, ...]


def scan_part(part: Part, void_ids: I64 | None = None) -> Sequence:
    """Read the ids and times of a part; its own void ids are used unless others are given."""
    voids = void_array(part.meta.void_ids) if void_ids is None else void_ids
    gaps = _Gaps()
    backward_count, latest_us, used = 0, -1, 0
    for agg_id, ts_us in part.sequence():
        before = np.maximum.accumulate(np.concatenate([[latest_us], ts_us]))
        backward_count += int(np.sum(ts_us < before[:-1]))
        latest_us = int(before[-1])
        upto = int(np.searchsorted(voids, agg_id[-1]))
        gaps.add(np.union1d(agg_id, voids[used:upto]) if upto > used else agg_id)
        used = upto
    if used < len(voids):
        gaps.add(voids[used:])
    return Sequence(
        row_count=part.meta.row_count,
        void_count=len(voids),
        first_id=gaps.first_id,
        last_id=gaps.last_id,
        first_us=part.meta.first_us,
        last_us=part.meta.last_us,
        hole_count=gaps.hole_count,
        missing_count=gaps.missing_count,
        holes=tuple(gaps.holes),
        backward_count=backward_count,
    )


class _Gaps:
    def __init__(self) -> None:
        self.first_id = self.last_id = -1
        self.hole_count = self.missing_count = 0
        self.holes: list[IdRange] = []

    def add(self, ids: I64) -> None:
        if self.first_id < 0:
            self.first_id, self.last_id = int(ids[0]), int(ids[0]) - 1
        steps = np.diff(ids, prepend=self.last_id)
        at = np.flatnonzero(steps > 1)
        self.hole_count += len(at)
        self.missing_count += int(np.sum(steps[at] - 1))
        for i in at[: _SHOWN - len(self.holes)]:
            self.holes.append(IdRange(int(ids[i] - steps[i]) + 1, int(ids[i]) - 1))
        self.last_id = int(ids[-1])


def join(days: Iterable[Sequence]) -> Sequence | None:
    """Return what several days, oldest first, are together; holes between them count."""
    joined: Sequence | None = None
    for day in days:
        joined = day if joined is None else _join_two(joined, day)
    return joined


def missing_days(days: list[date]) -> list[date]:
    """Return the days that lie between the first and the last of sorted days without being one."""
    if not days:
        return []
    span = (days[-1] - days[0]).days + 1
    return sorted({days[0] + timedelta(i) for i in range(span)} - set(days))


def void_ranges(void_ids: I64) -> tuple[tuple[int, int], ...]:
    """Return sorted ids as inclusive ranges."""
    if not len(void_ids):
        return ()
    ends = np.flatnonzero(np.diff(void_ids) != 1)
    first = void_ids[np.concatenate([[0], ends + 1])]
    last = void_ids[np.concatenate([ends, [len(void_ids) - 1]])]
    return tuple(zip(first.tolist(), last.tolist(), strict=True))


def void_array(ranges: tuple[tuple[int, int], ...]) -> I64:
    """Return inclusive ranges as sorted ids."""
    return np.concatenate(
        [np.empty(0, np.int64), *(np.arange(low, high + 1) for low, high in ranges)]
    )


def read_day(folder: Path) -> DayHealth | None:
    """Return the report in a day's folder; None when there is none that can be read."""
    try:
        return msgspec.json.decode((folder / layout.HEALTH_NAME).read_bytes(), type=DayHealth)
    except (OSError, msgspec.MsgspecError):
        return None


def write_day(path: Path, health: DayHealth) -> None:
    """Write a report, laid out for people, to a new file."""
    try:
        path.write_bytes(msgspec.json.format(msgspec.json.encode(health), indent=2) + b"\n")
    except OSError as error:
        raise TapeError(f"{path} cannot be written: {error.strerror}") from None


def _join_two(one: Sequence, two: Sequence) -> Sequence:
    holes = one.holes
    between = two.first_id - one.last_id - 1
    if between > 0:
        holes = (*holes, IdRange(one.last_id + 1, two.first_id - 1))
    return Sequence(
        row_count=one.row_count + two.row_count,
        void_count=one.void_count + two.void_count,
        first_id=min(one.first_id, two.first_id),
        last_id=max(one.last_id, two.last_id),
        first_us=one.first_us,
        last_us=max(one.last_us, two.last_us),
        hole_count=one.hole_count + two.hole_count + (between > 0),
        missing_count=one.missing_count + two.missing_count + max(between, 0),
        holes=(*holes, *two.holes)[:_SHOWN],
        backward_count=one.backward_count + two.backward_count,
    )
