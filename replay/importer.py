"""Importing files of trades into a tape.

A file is read, looked at, sorted and merged with what the tape holds; nothing becomes visible
before everything is done, and the files themselves are only read.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from flowtape.replay.archive_csv import ArchiveFile, Block
from flowtape.replay.file_scan import FileScan
from flowtape.replay.health import FileHealth, join, missing_days
from flowtape.replay.line_captures import LineCapture, is_capture
from flowtape.replay.packed_files import ByteCount
from flowtape.replay.schema import SourceFile
from flowtape.replay.sorter import DaySorter, SortedDays
from flowtape.replay.tape_writer import DayChange, TapeWriter, day_of_number
from flowtape.replay.tapes import TapeStore
from flowtape.stream.errors import InputError, OffGridError
from flowtape.stream.instrument import Instrument, Market

Progress = Callable[[int, int], None]
"""Told the bytes done and the bytes there are in all."""

_DAYS_SHOWN = 20


class TradeFile(Protocol):
    """A file of trades of some kind, read block by block; see `ArchiveFile`."""

    path: Path
    kind: str
    text_bytes: int

    def sha256(self, count: ByteCount) -> str:
        """Return the hash of the file's bytes."""

    def blocks(self, count: ByteCount, *, mixed_units: bool = ...) -> Iterator[Block]:
        """Yield the rows of the file."""


@dataclass(frozen=True, slots=True)
class ImportResult:
    """What an import did: a report on each file, and each day of the tape that they touch."""

    instrument: Instrument
    files: tuple[FileHealth, ...]
    days: tuple[DayChange, ...]


def import_files(
    store: TapeStore,
    paths: Sequence[Path],
    symbol: str,
    market: Market,
    *,
    columns: Mapping[str, str] | None = None,
    progress: Progress | None = None,
) -> ImportResult:
    """Add the trades of all files to the tape of `symbol`, all or nothing.

    Rows are sorted by id; repeated ids and rows without a trade are dropped and counted. Importing
    a file again changes nothing. `columns` maps fields to columns, as `parse_columns` returns it,
    for tables that are not Binance's own; without it, captures of lines are told by their content.
    Of those, only the trades of `symbol` are taken, and lines that contradict each other refused.

    Raises InputError, naming file, row and value, for a file that cannot be used, and TapeError
    when the tape cannot be written.
    """
    meter = Meter(progress)
    files = [open_file(path, columns, symbol, market) for path in paths]
    for file in files:
        _check_market(file, market)
        meter.expect(file)
    hashes = [file.sha256(meter.count) for file in files]
    with TapeWriter(store, Instrument(symbol, market, 0, 0)) as writer:
        added = []
        for file, sha256 in zip(files, hashes, strict=True):
            sorter = writer.sorter(SourceFile(file.path.name, sha256))
            days, report = read_file(file, sha256, sorter, writer.instrument, meter)
            if isinstance(file, LineCapture):
                file.refuse_conflicts(report)
            added.append((days, report))
        if not any(days.parts for days, _ in added):
            if isinstance(files[0], LineCapture):
                files[0].refuse_empty()
            raise InputError(f"{paths[0]} holds no trade; nothing was imported")
        changes = writer.commit(added)
        return ImportResult(writer.instrument, tuple(report for _, report in added), tuple(changes))


def open_file(
    path: Path,
    columns: Mapping[str, str] | None = None,
    symbol: str | None = None,
    market: Market | None = None,
) -> TradeFile:
    """Open a file of trades as what its first lines say it is; raises InputError.

    Symbol and market choose among the trades of a capture; without them the first trade does.
    """
    if columns is None and is_capture(path):
        return LineCapture(path, symbol, market)
    return ArchiveFile(path, columns)


class Meter:
    """Adds up bytes over several files for one progress callback."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress = progress
        self._done = 0
        self._total = 0

    def expect(self, file: TradeFile) -> None:
        """Reckon with a file: its bytes are hashed, and its text is read."""
        self._total += file.path.stat().st_size + file.text_bytes

    def count(self, more_bytes: int) -> None:
        """Say that so many more bytes are done."""
        self._done += more_bytes
        if self._progress is not None:
            self._progress(self._done, self._total)


def read_file(
    file: TradeFile,
    sha256: str,
    sorter: DaySorter,
    instrument: Instrument,
    meter: Meter,
    *,
    mixed_units: bool = False,
) -> tuple[SortedDays, FileHealth]:
    """Put the trades of a file into `sorter` and return them sorted, with the report on the file.

    `instrument` names what is traded; its decimals do not matter.
    """
    scan = FileScan()
    grid = Instrument(instrument.symbol, instrument.market, 0, 0)
    size_bytes, mtime_ns = _stamp(file.path)
    for block in file.blocks(meter.count, mixed_units=mixed_units):
        scan.add(block)
        grid = Instrument(
            instrument.symbol, instrument.market, block.price_decimals, block.qty_decimals
        )
        sorter.add(block.trades, grid)
    scan.finish()
    if _stamp(file.path) != (size_bytes, mtime_ns):
        raise InputError(f"{file.path} was changed while it was read; import it again")
    try:
        days = sorter.finish(grid)
    except OffGridError as error:
        raise OffGridError(f"{file.path}: {error}") from None
    missing = missing_days([day_of_number(number) for number in days.parts])
    return days, FileHealth(
        name=file.path.name,
        sha256=sha256,
        size_bytes=size_bytes,
        layout=file.kind,
        time_unit=scan.time_unit,
        row_count=scan.row_count,
        unsorted_count=scan.unsorted_count,
        interleaved_count=scan.interleaved_count,
        exact_duplicate_count=days.duplicates.exact_count,
        conflict_count=days.duplicates.conflict_count,
        conflicts=tuple(days.duplicates.conflicts),
        sentinel_count=scan.sentinel_count,
        zero_qty_count=scan.zero_qty_count,
        unit_change_count=scan.unit_change_count,
        missing_day_count=len(missing),
        missing_days=tuple(missing[:_DAYS_SHOWN]),
        sequence=join(days.sequences.values()),
        capture=file.health() if isinstance(file, LineCapture) else None,
    )


def _check_market(file: TradeFile, market: Market) -> None:
    other = {"spot": "futures", "um": "spot", "cm": "spot"}
    if file.kind == other.get(market):
        have = "7 columns, as futures have" if file.kind == "futures" else "8 columns, as spot has"
        raise InputError(
            f"{file.path} has {have}, but the market is {market}; check --market, or name the "
            "columns with --columns"
        )


def _stamp(path: Path) -> tuple[int, int]:
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns
