"""From the archive into tapes: downloads side by side, imports one after the other."""

import asyncio
import contextlib
import fcntl
import random
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Literal, Protocol

from flowtape.cli.refilling import Refilled, Refiller, open_edges
from flowtape.connectors.binance.archive import ArchiveEntry, Choice, plan
from flowtape.connectors.binance.archive_client import (
    ArchiveClient,
    ArchiveDownError,
    NotServedError,
)
from flowtape.connectors.binance.part_file import drop, quarantine
from flowtape.connectors.binance.rest import RestClient
from flowtape.replay.coverage import Coverage, DayCoverage
from flowtape.replay.doctor import file_problems
from flowtape.replay.health import IdRange
from flowtape.replay.importer import ImportResult, import_files
from flowtape.replay.tapes import TapeStore
from flowtape.replay.words import counted
from flowtape.stream.errors import InputError, SourceError, TapeError
from flowtape.stream.instrument import Market

DOWNLOADS = ".downloads"
FAILURES_IN_A_ROW = 3

_BATCH_FILES = 16
_DAY = timedelta(days=1)
_REST_SPAN = timedelta(days=2)  # of futures, REST has the last 48 hours

State = Literal["there", "fetched", "refilled", "unserved", "failed"]


@dataclass(slots=True)
class SymbolFetch:
    """What became of the days of one symbol.

    `reasons` says of each day that failed why; `notes` are lines for people; `missing` are the ids
    that the days lack in the end.
    """

    symbol: str
    states: dict[date, State] = field(default_factory=dict)
    reasons: dict[date, str] = field(default_factory=dict)
    row_counts: dict[date, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    added_count: int = 0
    file_bytes: int = 0
    refilled: Refilled = field(default_factory=Refilled)
    missing: list[IdRange] = field(default_factory=list)

    def note(self, entry: ArchiveEntry, state: State, reason: str = "") -> None:
        """Note what became of a file of a day; of a month only what is worth a line."""
        if not entry.monthly:
            self.states[entry.day] = state
            if reason:
                self.reasons[entry.day] = reason
        elif reason:
            self.notes.append(f"{reason}; its days were asked for one by one")

    def days_that(self, state: State) -> list[date]:
        """Return the days that became `state`."""
        return sorted(day for day, found in self.states.items() if found == state)

    @property
    def complete(self) -> bool:
        """Tell whether every day is there, without a hole."""
        left = self.days_that("unserved") or self.days_that("failed")
        return not left and not self.missing


class Watcher(Protocol):
    """Who looks on."""

    def planned(self, file_count: int) -> None:
        """Reckon with so many more files."""

    def progress(self, entry: ArchiveEntry, have_bytes: int, size_bytes: int) -> None:
        """Take how much of a file is there; its size is 0 while unknown."""

    def doing(self, what: str) -> None:
        """Take what is done now beside downloads."""


class Fetcher:
    """One `fetch`: the days asked for of some symbols of a market, into `store`.

    Downloads lie in a folder of the store until they are imported, or for good with `keep`.
    """

    def __init__(
        self,
        store: TapeStore,
        market: Market,
        days: list[date],
        client: ArchiveClient,
        *,
        jobs: int,
        choice: Choice,
        keep: bool,
        watcher: Watcher,
    ) -> None:
        self.folder = store.root / DOWNLOADS / market
        self._store = store
        self._market = market
        self._days = days
        self._client = client
        self._jobs = jobs
        self._choice = choice
        self._keep = keep
        self._watcher = watcher
        self._coverage: dict[str, Coverage] = {}
        self._failures = 0
        self.found: dict[str, SymbolFetch] = {}
        self.down: SourceError | None = None

    async def run(self, symbols: list[str]) -> None:
        """Fetch; what became of it is in `found`, and in `down` why it was not gone on with.

        Raises InputError when the disk or a tape does not take it.
        """
        entries: list[ArchiveEntry] = []
        for symbol in symbols:
            coverage = self._coverage[symbol] = Coverage.of(self._store, symbol, self._market)
            found = self.found[symbol] = SymbolFetch(symbol)
            found.states = {day: "there" for day in self._days if _is_there(coverage, day, symbol)}
            entries += self._missing(symbol)
        with self._locked(entries):
            await self._round(entries)
            # What no month had, or no whole one, is asked for by day.
            self._choice = "daily"
            await self._round([entry for symbol in symbols for entry in self._missing(symbol)])
        for found in self.found.values():
            for day in self._days:
                if day not in found.states:
                    found.states[day] = "failed"
                    found.reasons[day] = str(self.down)
            self._take_stock(found, "there")

    async def refill(self, client: RestClient, today: date) -> None:
        """Ask REST for what the days lack; where it cannot be asked, that is noted."""
        for symbol, found in self.found.items():
            coverage = Coverage.of(self._store, symbol, self._market)
            if coverage.instrument is None:
                continue
            since = today - _REST_SPAN if self._market == "um" else date.min
            refiller = Refiller(
                client,
                self._store,
                coverage.instrument,
                rng=random.Random(),
                tell=lambda done, total: self._watcher.doing(
                    f"asking REST: {done:,} of {total:,} missing ids"
                ),
            )
            found.refilled = await refiller.run(
                found.missing, open_edges(coverage, self._days, since)
            )
            self._take_stock(found, "refilled")

    def _missing(self, symbol: str) -> list[ArchiveEntry]:
        states = self.found[symbol].states
        needed = [day for day in self._days if day not in states]
        return plan(symbol, self._market, self._days, needed, self._choice)

    def _take_stock(self, found: SymbolFetch, whole: State) -> None:
        """Look at the tape again; days that turn out to have all ids become `whole`."""
        coverage = Coverage.of(self._store, found.symbol, self._market)
        for day in (*found.days_that("unserved"), *found.days_that("failed")):
            if coverage.is_joined(day):
                found.states[day] = whole
                found.reasons.pop(day, None)
        found.missing = coverage.missing_ids(self._days)
        found.row_counts = {
            day: coverage.days[day].sequence.row_count for day in self._days if day in coverage.days
        }

    async def _round(self, entries: list[ArchiveEntry]) -> None:
        if not entries or self.down is not None:
            return
        self._watcher.planned(len(entries))
        todo = deque(entries)
        ready: asyncio.Queue[tuple[ArchiveEntry, Path] | None] = asyncio.Queue(_BATCH_FILES)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._import_all(ready))
                workers = [
                    group.create_task(self._download_all(todo, ready))
                    for _ in range(min(self._jobs, len(entries)))
                ]
                await asyncio.wait(workers)
                await ready.put(None)
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None

    async def _download_all(
        self,
        todo: deque[ArchiveEntry],
        ready: "asyncio.Queue[tuple[ArchiveEntry, Path] | None]",
    ) -> None:
        while todo and self.down is None:
            entry = todo.popleft()
            found = self.found[entry.symbol]
            try:
                sha256 = await self._client.checksum(entry)
                day = self._coverage[entry.symbol].days.get(entry.day)
                if day is not None and day.hashes.get(entry.name) == sha256:
                    found.note(entry, "there")
                    continue
                path = await self._client.download(
                    entry, sha256, self.folder, self._watcher.progress
                )
                self._failures = 0
                await ready.put((entry, path))
            except NotServedError:
                self._failures = 0
                found.note(entry, "unserved")
            except ArchiveDownError as error:
                self._stop(error)
            except SourceError as error:
                found.note(entry, "failed", str(error))
                self._failures += 1
                if self._failures >= FAILURES_IN_A_ROW:
                    files = counted(self._failures, "file")
                    self._stop(SourceError(f"{files} in a row failed, the last one: {error}"))

    def _stop(self, error: SourceError) -> None:
        if self.down is None:
            self.down = error

    async def _import_all(self, ready: "asyncio.Queue[tuple[ArchiveEntry, Path] | None]") -> None:
        waiting: list[tuple[ArchiveEntry, Path]] = []
        ended = False
        while not ended or waiting:
            while not ended and (not waiting or not ready.empty()):
                item = await ready.get()
                if item is None:
                    ended = True
                else:
                    waiting.append(item)
            if waiting:
                symbol = waiting[0][0].symbol
                batch = [item for item in waiting if item[0].symbol == symbol][:_BATCH_FILES]
                waiting = [item for item in waiting if item not in batch]
                self._watcher.doing(f"importing {counted(len(batch), 'file')} of {symbol}")
                # A thread goes on to its end when this task is cancelled.
                await asyncio.to_thread(self._import, batch)

    def _import(self, batch: list[tuple[ArchiveEntry, Path]]) -> None:
        symbol = batch[0][0].symbol
        found = self.found[symbol]
        try:
            result = import_files(self._store, [path for _, path in batch], symbol, self._market)
        except TapeError:
            raise
        except InputError as error:
            if len(batch) > 1:
                for one in batch:
                    self._import([one])
                return
            entry, path = batch[0]
            found.note(entry, "failed", str(error).replace(str(path), str(quarantine(path))))
            return
        found.added_count += sum(day.added_count for day in result.days)
        found.notes += _notes(result)
        days = {day.day for day in result.days}
        for entry, path in batch:
            found.file_bytes += path.stat().st_size
            for day in entry.days:
                if day in days:
                    found.states[day] = "fetched"
                elif not entry.monthly:
                    found.note(entry, "failed", f"{entry.name} holds no trade of that day")
            if not self._keep:
                drop(path)

    @contextlib.contextmanager
    def _locked(self, entries: list[ArchiveEntry]) -> Iterator[None]:
        """Keep other processes from writing to the same downloads."""
        try:
            with contextlib.ExitStack() as locks:
                for symbol in sorted({entry.symbol for entry in entries}):
                    locks.enter_context(self._lock(symbol))
                yield
        finally:
            with contextlib.suppress(OSError):
                self.folder.rmdir()
                self.folder.parent.rmdir()

    @contextlib.contextmanager
    def _lock(self, symbol: str) -> Iterator[None]:
        path = self.folder / f".{symbol}.lock"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = path.open("ab")
        except OSError as error:
            raise InputError(f"{path} cannot be written: {error.strerror or error}") from None
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise InputError(
                    f"another fetch of {self._market}/{symbol} is running; wait until it is done"
                ) from None
            try:
                yield
            finally:
                path.unlink(missing_ok=True)


def _is_there(coverage: Coverage, day: date, symbol: str) -> bool:
    """Tell whether a day is whole by its ids, or came from the archive and shows no fault."""
    here = coverage.days.get(day)
    if here is None:
        return False
    if coverage.is_joined(day):
        return True
    before, after = coverage.days.get(day - _DAY), coverage.days.get(day + _DAY)
    return (
        _is_known(here, symbol, day)
        and not here.sequence.missing_count
        and (before is None or before.sequence.last_id + 1 >= here.sequence.first_id)
        and (after is None or here.sequence.last_id + 1 >= after.sequence.first_id)
    )


def _is_known(here: DayCoverage, symbol: str, day: date) -> bool:
    names = {ArchiveEntry(symbol, "spot", day, monthly=monthly).name for monthly in (False, True)}
    return not names.isdisjoint(here.hashes)


def _notes(result: ImportResult) -> list[str]:
    notes = [f"{file.name}: {problem}" for file in result.files for problem in file_problems(file)]
    for day in result.days:
        if day.conflict_count:
            rows = counted(day.conflict_count, "row")
            notes.append(f"{day.day}: {rows} of the archive unlike the tape's, so left out")
    return notes
