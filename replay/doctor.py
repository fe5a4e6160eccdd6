"""Examining files and tapes, and putting right what can be derived anew.

Repairing never touches trades or the user's files: it rewrites reports, rebuilds or drops fast
copies, and finishes or drops interrupted imports.
"""

import contextlib
import itertools
import tempfile
from collections.abc import Mapping
from datetime import date
from pathlib import Path

import msgspec

from flowtape.replay import layout
from flowtape.replay.health import (
    CaptureHealth,
    DayHealth,
    FileHealth,
    IdRange,
    Sequence,
    join,
    missing_days,
    read_day,
    scan_part,
    write_day,
)
from flowtape.replay.importer import Meter, Progress, open_file, read_file
from flowtape.replay.parts import Part
from flowtape.replay.schema import ColumnsDigest, SourceFile
from flowtape.replay.sorter import DaySorter
from flowtape.replay.tapes import TapeStore
from flowtape.replay.transaction import drop_leftovers, leftovers, settle
from flowtape.replay.words import counted
from flowtape.stream.errors import TapeError
from flowtape.stream.instrument import Instrument, Market

_READ_ROWS = 1 << 20
_DAYS_SHOWN = 20


class TapeHealth(msgspec.Struct, frozen=True, kw_only=True):
    """The report on a tape as it lies on disk.

    Attributes:
        symbol: what is traded.
        market: where.
        folder: the folder or file that was examined.
        day_count: UTC days with trades.
        sequence: all rows, joined over the days; none when no part could be read.
        missing_day_count: UTC days without trades between the first and the last.
        missing_days: the first of them.
        overlap_count: days that begin with ids of the day before, or lower ones.
        damaged: parts that cannot be read or do not hold what they say, with the reason.
        stale: reports and fast copies that do not fit their part, and interrupted imports.
        files: the reports on the files that the tape was made from.
        conflict_count: rows in which one file disagreed with another, as far as reports say.
    """

    symbol: str
    market: str
    folder: str
    day_count: int
    sequence: Sequence | None
    missing_day_count: int
    missing_days: tuple[date, ...]
    overlap_count: int
    damaged: tuple[str, ...]
    stale: tuple[str, ...]
    files: tuple[FileHealth, ...]
    conflict_count: int


class TapeSummary(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a list of tapes; holes and missing ids are what the reports beside it say.

    `problem` is empty unless the tape cannot be read.
    """

    symbol: str
    market: str
    folder: str
    day_count: int
    first_day: date
    last_day: date
    row_count: int
    size_bytes: int
    hole_count: int
    missing_count: int
    problem: str


def summarize(store: TapeStore) -> list[TapeSummary]:
    """Return a line for each tape of a store, unreadable ones included."""
    store.check()
    settle(store.root)
    return [_summary(store, *found) for found in layout.list_tapes(store.root)]


def examine_file(
    path: Path,
    market: Market = "spot",
    *,
    columns: Mapping[str, str] | None = None,
    progress: Progress | None = None,
) -> FileHealth:
    """Read a file of trades to its end and report on it; nothing is kept.

    Of a capture, trades of the first one's symbol are looked at. A mix of time units is reported,
    not refused. Raises InputError for a file that cannot be read.
    """
    meter = Meter(progress)
    file = open_file(path, columns)
    meter.expect(file)
    sha256 = file.sha256(meter.count)
    with tempfile.TemporaryDirectory(prefix="flowtape-") as folder:
        sorter = DaySorter(Path(folder), SourceFile(path.name, sha256))
        instrument = Instrument("UNKNOWN", market, 0, 0)
        try:
            return read_file(file, sha256, sorter, instrument, meter, mixed_units=True)[1]
        finally:
            sorter.abandon()


def examine_tape(
    store: TapeStore, ref: str | Path, *, progress: Progress | None = None
) -> TapeHealth:
    """Read every row of a tape and report on it.

    Raises InputError when there is no such tape; damage is reported, not raised.
    """
    place = store.find(ref)
    days = layout.list_days(place)
    folders = [folder for _, folder in days] if days else [place]
    paths = [place] if place.is_file() else [p for f in folders for p in layout.list_parts(f)]
    meter_total = sum(path.stat().st_size for path in paths)
    sequences: list[Sequence] = []
    parts: list[Part] = []
    damaged, done = [], 0
    for path in paths:
        try:
            part = Part.open(path)
            _check_content(part)
            sequences.append(scan_part(part))
            parts.append(part)
        except TapeError as error:
            damaged.append(str(error))
        done += path.stat().st_size
        if progress is not None:
            progress(done, meter_total)
    try:
        store.parts(place)
    except TapeError as error:
        damaged = damaged or [str(error)]
    missing = missing_days([day for day, _ in days])
    reports = [report for folder in folders if (report := read_day(folder)) is not None]
    files = {file.sha256: file for report in reports for file in report.imports}
    market, symbol = _names(place, parts)
    return TapeHealth(
        symbol=symbol,
        market=market,
        folder=str(place),
        day_count=len(days),
        sequence=join(sequences),
        missing_day_count=len(missing),
        missing_days=tuple(missing[:_DAYS_SHOWN]),
        overlap_count=sum(
            two.first_id <= one.last_id and before.path.parent != after.path.parent
            for (one, before), (two, after) in itertools.pairwise(
                zip(sequences, parts, strict=True)
            )
        ),
        damaged=tuple(damaged),
        stale=(
            *_stale(store, parts),
            *(["an import into it was interrupted"] * leftovers(store.root, market, symbol)),
        ),
        files=tuple(files.values()),
        conflict_count=sum(len(report.conflicts) for report in reports),
    )


def repair_tape(store: TapeStore, ref: str | Path) -> list[str]:
    """Put right what can be derived anew; return what was done, a line each."""
    done = []
    count = drop_leftovers(store.root)
    if count:
        done.append(f"cleaned up after {counted(count, 'interrupted import')}")
    place = store.find(ref)
    parts = store.parts(place)
    for part in parts:
        if store.cache.path_of(part.meta.sha256).exists() and not store.cache.holds(part):
            store.cache.drop(part.meta.sha256)
            store.cache.load(part)
            done.append(f"rebuilt the fast copy of {part.path.name}")
        if _in_day_folder(part) and not _report_fits(part):
            _rewrite_report(part)
            done.append(f"rewrote the report on {part.path.parent.name}")
    if store.cache.root.is_relative_to(store.root):
        for name in sorted(store.cache.names() - _fast_copies(store)):
            (store.cache.root / name).unlink()
            done.append(f"dropped the unused fast copy {name}")
    return done


def file_problems(file: FileHealth) -> list[str]:
    """Return what is wrong with a file, a line each, for people."""
    runs = file.interleaved_count
    interleaved = f", in {runs:,} interleaved runs of ids" if runs > 1 else ""
    lines = _counts(
        (file.unsorted_count, "row", "out of order" + interleaved),
        (file.exact_duplicate_count, "row", "repeated"),
        (file.conflict_count, "row", "unlike another one with the same id"),
        (file.sentinel_count, "row", "without a price, which stands for no trade"),
        (file.zero_qty_count, "row", "of quantity 0"),
        (file.unit_change_count, "change", "of the unit of time"),
        (file.missing_day_count, "day", "missing"),
    )
    if file.capture is not None:
        lines += _capture_problems(file.capture)
    if file.sequence is None:
        return [*lines, "there is no trade in it"]
    return lines + sequence_problems(file.sequence)


def _capture_problems(capture: CaptureHealth) -> list[str]:
    lines = []
    if capture.broken_count:
        which = "the first is" if capture.broken_count > 1 else "it is"
        lines.append(
            f"{counted(capture.broken_count, 'broken line')}, {which} line "
            f"{capture.first_broken_line} ({capture.first_broken})"
        )
    if capture.cut_short:
        lines.append("the packed file is cut short; what came before was read")
    return lines


def tape_problems(tape: TapeHealth) -> list[str]:
    """Return what is wrong with a tape, a line each, for people."""
    lines = [*tape.damaged, *tape.stale]
    lines += _counts(
        (tape.missing_day_count, "day", "missing"),
        (tape.overlap_count, "day", "beginning with ids of the day before"),
        (tape.conflict_count, "row", "in which its files contradict each other"),
    )
    return lines + (sequence_problems(tape.sequence) if tape.sequence else [])


def sequence_problems(sequence: Sequence) -> list[str]:
    """Return what is wrong with sorted rows, a line each, for people."""
    lines = []
    if sequence.hole_count:
        shown = ", ".join(map(_span, sequence.holes[:3]))
        more = ", ..." if sequence.hole_count > 3 else ""
        lines.append(
            f"{counted(sequence.missing_count, 'id')} missing in "
            f"{counted(sequence.hole_count, 'hole')}: {shown}{more}"
        )
    return lines + _counts((sequence.backward_count, "row", "earlier than a row before"))


def _counts(*counts: tuple[int, str, str]) -> list[str]:
    return [f"{counted(count, thing)} {what}" for count, thing, what in counts if count]


def _span(hole: IdRange) -> str:
    one = hole.from_id == hole.to_id
    return str(hole.from_id) if one else f"{hole.from_id}-{hole.to_id}"


def _names(place: Path, parts: list[Part]) -> tuple[str, str]:
    # Where the folders name a tape, parts of another one in them are what is wrong.
    names = dict(piece.split("=", 1) for piece in place.parts if "=" in piece)
    instrument = parts[0].meta.instrument if parts else None
    market = names.get("market", instrument.market if instrument else "")
    return market, names.get("symbol", instrument.symbol if instrument else "")


def _fast_copies(store: TapeStore) -> set[str]:
    used = set()
    for _, _, folder in layout.list_tapes(store.root):
        for path in (p for _, day in layout.list_days(folder) for p in layout.list_parts(day)):
            # What cannot be read now has no fast copy worth keeping.
            with contextlib.suppress(TapeError):
                used.add(store.cache.path_of(Part.open(path).meta.sha256).name)
    return used


def _summary(store: TapeStore, market: str, symbol: str, folder: Path) -> TapeSummary:
    days = [day for day, _ in layout.list_days(folder)]
    row_count = size_bytes = 0
    problem = ""
    try:
        info = store.info(folder)
        row_count, size_bytes = info.row_count, info.size_bytes
    except TapeError as error:
        problem = str(error)
    reports = [read_day(path) for _, path in layout.list_days(folder)]
    sequence = join(report.sequence for report in reports if report is not None)
    return TapeSummary(
        symbol=symbol,
        market=market,
        folder=str(folder),
        day_count=len(days),
        first_day=days[0],
        last_day=days[-1],
        row_count=row_count,
        size_bytes=size_bytes,
        hole_count=sequence.hole_count if sequence else 0,
        missing_count=sequence.missing_count if sequence else 0,
        problem=problem,
    )


def _check_content(part: Part) -> None:
    digest = ColumnsDigest()
    for start in range(0, part.meta.row_count, _READ_ROWS):
        digest.update(part.trades(start, min(start + _READ_ROWS, part.meta.row_count)))
    if digest.hexdigest() != part.meta.sha256:
        raise TapeError(f"{part.path} does not hash to what it says; delete it and import again")


def _stale(store: TapeStore, parts: list[Part]) -> list[str]:
    found = []
    for part in parts:
        if _in_day_folder(part) and not _report_fits(part):
            found.append(f"the report on {part.path.parent.name} is missing or does not fit")
        if store.cache.path_of(part.meta.sha256).exists() and not store.cache.holds(part):
            found.append(f"the fast copy of {part.path.name} does not fit")
    return found


def _in_day_folder(part: Part) -> bool:
    return part.path.parent.name.startswith("date=")


def _report_fits(part: Part) -> bool:
    report = read_day(part.path.parent)
    return report is not None and report.sha256 == part.meta.sha256


def _rewrite_report(part: Part) -> None:
    folder = part.path.parent
    old = read_day(folder)
    instrument = part.meta.instrument
    report = DayHealth(
        symbol=instrument.symbol,
        market=instrument.market,
        day=layout.day_of(part.meta.first_us),
        sha256=part.meta.sha256,
        sequence=scan_part(part),
        imports=old.imports if old else (),
        conflicts=old.conflicts if old else (),
    )
    staged = folder / (layout.HEALTH_NAME + ".tmp")
    write_day(staged, report)
    staged.replace(folder / layout.HEALTH_NAME)
