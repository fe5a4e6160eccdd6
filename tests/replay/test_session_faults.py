"""Disks that fill, fail and forget below a live session: it stops, loses nothing, and goes on."""

import asyncio
import errno
import os
import re
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import AsyncGenerator, Iterable, Iterator
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from flowtape.replay.player import Player
from flowtape.replay.sessions import live_genesis
from flowtape.replay.track import Track
from flowtape.replay.verifying import verify
from flowtape.stream import journal_files
from flowtape.stream.config import EngineConfig
from flowtape.stream.desk import carry_out
from flowtape.stream.engine import Engine
from flowtape.stream.errors import FlowError, InputError
from flowtape.stream.genesis import Genesis, TapeRef
from flowtape.stream.journal import JournalError, SyncPolicy
from flowtape.stream.live import LiveSession
from flowtape.stream.ports import Event, Ticket
from flowtape.stream.session import Session, SessionWriter
from tests.replay.courses import Course, Run, copied, kept, many_checkpoints, people_of, short_parts
from tests.replay.faulty_files import WORDS, Fault, FaultyFiles, below_parquet
from tests.replay.live_sessions import NOW, no_tape
from tests.stream.tapes import INSTRUMENT, MemoryTape, make_columns


@pytest.fixture(autouse=True)
def _short_parts() -> Iterator[None]:
    with short_parts():
        yield


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> Course:
    with short_parts():
        return Course.run(tmp_path_factory.mktemp("course"), 48)


@pytest.fixture(scope="module")
def long_course(tmp_path_factory: pytest.TempPathFactory) -> Course:
    with short_parts():
        return Course.run(tmp_path_factory.mktemp("course"), 260)


def check_is_dead(run: Run, files: FaultyFiles | None = None) -> None:
    """Nothing is applied, written or acknowledged any more, though the disk may be well again."""
    engine, session = run.engine, Session.open(run.writer.folder)
    stopped = engine.input
    before = kept(session) if files is None else files.written
    event = run.course.events[min(run.at, len(run.course.events) - 1)]
    for _ in range(2):
        with pytest.raises(JournalError):
            engine.apply_event(event)
        with pytest.raises(FlowError):
            carry_out(engine, Ticket("order", side=1, qty_lots=1_000), 0)
    assert engine.input == stopped
    assert before == (kept(session) if files is None else files.written)


def run_until_it_fails(
    course: Course, root: Path, files: FaultyFiles | None
) -> tuple[Run | None, FlowError | None]:
    """Run a session; returns it, unless it could not begin, and what stopped it."""
    run = None
    try:
        run = Run.begin(course, root, files)
        run.go_on()
    except FlowError as error:
        return run, error
    return run, None


def check_fault(course: Course, root: Path, fault: Fault, *, resumed: bool = True) -> str:
    """Have a session meet a fault, and maybe go on with it; returns what could not be written."""
    files = FaultyFiles(fault)
    with below_parquet(files):
        run, error = run_until_it_fails(course, root, files)
        try:
            assert isinstance(error, JournalError)
            assert re.fullmatch(f".*{WORDS[fault.error]}", str(error))
            if run is not None:
                check_is_dead(run, files if fault.at % 8 else None)
            (left,) = root.iterdir()
            if fault.at % 2 == 0:
                left = copied(left, root / "killed")
        finally:
            if run is not None:
                run.leave()
        assert files.retried == []
        what = Path(*files.failed[0].relative_to(root).parts[1:])
        files.heal()
        check_sound(course, left, run.acknowledged if run else [])
        if resumed:
            check_goes_on(course, left, files)
    return kind_of(what)


def check_sound(course: Course, folder: Path, acknowledged: list[bytes]) -> None:
    """A session that was left is what it was, and nothing is missing that was acknowledged."""
    session = Session.open(folder)
    assert session.summary is None
    people = [one.tobytes() for one in people_of(session)]
    assert people[: len(acknowledged)] == acknowledged
    verdict = verify(session, no_tape, course.strategy() if len(people) % 2 else None)
    assert verdict.difference is None
    assert verdict.block_count == len(session.links())


def check_goes_on(course: Course, folder: Path, files: FaultyFiles | None = None) -> None:
    """A session that was left comes to what an undisturbed one comes to."""
    run = Run.again(course, folder, files)
    try:
        run.go_on()
    finally:
        run.leave()
    session = Session.open(folder)
    assert session.summary == course.summary
    assert people_of(session).tobytes() == people_of(Session.open(course.folder)).tobytes()


def kind_of(path: Path) -> str:
    """What a file of a session is."""
    return "parquet" if path.suffix == ".parquet" else (path.parts or ["folder"])[0]


def disk_full(at: int) -> Fault:
    """The disk is full at a write: it takes nothing, some bytes, or says that it took some."""
    how = at // 2 % 4
    return Fault("write", at, taken=(0, 0.4, 0.9, 0)[how], raises=how < 2, lasts=at % 3 > 0)


def check_faults(course: Course, root: Path, faults: list[Fault], every: int = 1) -> Counter[str]:
    """Have sessions meet one fault each, and go on with some; returns what could not be written."""
    seen: Counter[str] = Counter()
    for number, fault in enumerate(faults):
        with many_checkpoints() if number % 4 == 0 else nullcontext():
            resumed = number % every == 0
            seen[check_fault(course, root / f"{number}", fault, resumed=resumed)] += 1
    return seen


KINDS = {"inputs", "commands", "links", "parquet"}


def test_a_disk_that_is_full_at_any_write(course: Course, tmp_path: Path) -> None:
    seen = check_faults(course, tmp_path, [disk_full(at) for at in range(1, 101)], every=5)
    assert set(seen) == KINDS, seen


@pytest.mark.deep
def test_a_disk_that_is_full_at_any_of_many_writes(long_course: Course, tmp_path: Path) -> None:
    seen = check_faults(long_course, tmp_path, [disk_full(at) for at in range(1, 501)])
    assert set(seen) == KINDS, seen


def failing_calls(course: Course, root: Path, count: int) -> list[Fault]:
    """Faults of the disk, spread over all that a session does with its files."""
    files = FaultyFiles()
    with below_parquet(files):
        run = Run.begin(course, root, files)
        run.go_on()
    shares = {"sync": 4, "write": 3, "rename": 3, "sync_folder": 2, "create": 1, "make_folder": 1}
    faults = []
    for call, share in shares.items():
        calls = files.counts[call]
        places = min(calls, round(count * share / sum(shares.values())))
        for at in np.linspace(1, calls, places).astype(int).tolist():
            taken = (0, 0.5)[at % 2] if call == "write" else 0
            faults.append(Fault(call, at, errno.EIO, taken=taken, lasts=len(faults) % 2 == 0))
    return faults


def test_a_disk_with_errors(course: Course, tmp_path: Path) -> None:
    faults = failing_calls(course, tmp_path / "whole", 42)
    assert len(faults) >= 40
    check_faults(course, tmp_path, faults, every=4)


@pytest.mark.deep
def test_a_disk_with_errors_anywhere(long_course: Course, tmp_path: Path) -> None:
    faults = failing_calls(long_course, tmp_path / "whole", 260)
    assert len(faults) >= 200
    seen = check_faults(long_course, tmp_path, faults)
    assert seen.keys() >= KINDS, seen


# A file system that is full


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of a megabyte in memory; skips where none may be mounted."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = shutil.which("mount")
    words = [mount or "mount", "-t", "tmpfs", "-o", "size=1m", "flowtape-test", str(folder)]
    if mount is None or subprocess.run(words, capture_output=True, check=False).returncode:
        pytest.skip("no file system may be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def check_small_disk(course: Course, disk: Path, free_pages: int) -> bool:
    """Have a session fill a disk with so many free pages; returns whether it filled it."""
    filling, root, space = disk / "filling", disk / "sessions", os.statvfs(disk)
    filling.write_bytes(bytes((space.f_bavail - free_pages) * space.f_bsize))
    run, error = run_until_it_fails(course, root, None)
    if run is None:
        assert re.search("No space left on device|the disk is full", str(error))
    else:
        if error is not None:
            assert isinstance(error, JournalError)
            assert re.fullmatch(f".*{WORDS[errno.ENOSPC]}", str(error))
            check_is_dead(run)
        run.leave()
        filling.unlink()
        if error is not None:
            check_sound(course, run.writer.folder, run.acknowledged)
            check_goes_on(course, run.writer.folder)
    filling.unlink(missing_ok=True)
    shutil.rmtree(root)
    return error is not None


def check_small_disks(course: Course, disk: Path, pages: Iterable[int]) -> int:
    with many_checkpoints():
        full = [check_small_disk(course, disk, free_pages) for free_pages in pages]
    assert not full[-1], "at last there is room for all of it"
    return sum(full)


def test_a_real_disk_that_is_full(course: Course, small_disk: Path) -> None:
    assert check_small_disks(course, small_disk, (0, 2, 4, 7, 11, 16, 21, 27, 150)) >= 8


@pytest.mark.deep
def test_a_real_disk_that_is_full_anywhere(course: Course, small_disk: Path) -> None:
    assert check_small_disks(course, small_disk, [*range(30), 150]) >= 28


def test_checkpoints_are_done_without_where_they_cannot_be_kept(
    course: Course, tmp_path: Path
) -> None:
    with many_checkpoints():
        run = Run.begin(course, tmp_path)
        (run.writer.folder / "checkpoints").touch()
        run.go_on()
    assert Session.open(run.writer.folder).summary == course.summary


# What people see

TAPE = TapeRef(INSTRUMENT.market, INSTRUMENT.symbol, "0" * 64, 20_000, None, None)


def ask_on(live: LiveSession) -> FlowError:
    """Ask for orders until one is refused for another reason than that it is too early."""
    while True:
        try:
            live.ask(Ticket("order", side=1, qty_lots=1_000, limit_ticks=99_000))
        except InputError:
            pass
        except FlowError as error:
            return error
        time.sleep(0.003)


@dataclass
class Fed:
    """A source of a course's events."""

    events_left: list[Event]

    async def events(self) -> AsyncGenerator[Event]:
        for event in self.events_left:
            await asyncio.sleep(0.001)
            yield event


@pytest.mark.parametrize("of", ["inputs/", "commands/", "links/", ".parquet"])
async def test_a_live_screen_says_that_it_halted(of: str, course: Course, tmp_path: Path) -> None:
    files = FaultyFiles(Fault("write", 2, of=of, lasts=False))
    with below_parquet(files):
        run = Run.begin(course, tmp_path, files, shown=True)
        live = LiveSession([Fed(course.events)], run.engine)  # type: ignore[arg-type]
        asked = asyncio.create_task(asyncio.to_thread(ask_on, live))
        with pytest.raises(JournalError) as caught:
            await live.run()
        assert str(await asked) == str(caught.value)
    notice, state = run.engine.view.notice, live.state()
    assert notice == f"halted: {caught.value}"
    assert re.fullmatch(r"halted: .*: the disk is full: .*; free space and resume", notice)
    assert state.ended
    assert not state.playing
    files.heal()
    before = kept(Session.open(run.writer.folder))
    for ticket in (Ticket("order", side=1, qty_lots=1_000), Ticket("cancel_all")):
        with pytest.raises(JournalError, match="the disk is full"):
            await asyncio.to_thread(live.ask, ticket)
    assert kept(Session.open(run.writer.folder)) == before
    assert live.state().clock_us == state.clock_us
    run.leave()


@pytest.mark.parametrize("call", ["write", "sync"])
def test_a_replay_that_is_kept_says_that_it_stands_still(call: str, tmp_path: Path) -> None:
    columns = make_columns(20_000, seed=3)
    genesis = Genesis((INSTRUMENT,), EngineConfig(), None, (TAPE,))
    # A person's order is the first thing that must be on the disk.
    error = errno.ENOSPC if call == "write" else errno.EIO
    files = FaultyFiles(Fault(call, 2, error, lasts=False))
    writer = SessionWriter.create(
        tmp_path, genesis, NOW, places=["tape"], sync="batch", files=files
    )
    engine = Engine(INSTRUMENT, genesis.config, recorded=(writer.chain, writer))
    player = Player([Track(engine, MemoryTape(columns))], speed=60.0)
    player.start()
    ticket = Ticket("order", side=1, qty_lots=1_000)
    try:
        with pytest.raises(FlowError):
            _ = [player.ask(ticket) for _ in range(3)]
        assert files.failed
        deadline = time.monotonic() + 20
        while player.error is None:
            assert time.monotonic() < deadline, "it goes on as if nothing were"
            time.sleep(0.002)
        state, before = player.state(), len(Session.open(writer.folder).commands())
        assert not state.playing
        assert isinstance(player.error, JournalError)
        assert engine.view.notice == f"halted: {player.error}"
        player.play()
        with pytest.raises(FlowError, match="the replay stands still"):
            player.ask(ticket)
        assert player.state().clock_us == state.clock_us
        assert len(Session.open(writer.folder).commands()) == before
    finally:
        with pytest.raises(JournalError):
            player.stop()
        with suppress(JournalError):
            writer.close()


@pytest.mark.parametrize("sync", ["1s", "none"])
def test_a_failed_sync_of_the_thread_stops_the_session(
    sync: SyncPolicy, course: Course, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_files, "_SYNC_DELAY_S", 0)
    files = FaultyFiles(Fault("sync", 1, errno.EIO, lasts=False))
    genesis = live_genesis(INSTRUMENT, EngineConfig(), None, None)
    writer = SessionWriter.create(tmp_path, genesis, NOW, sync=sync, files=files)
    engine = Engine(INSTRUMENT, genesis.config, shown=False, recorded=(writer.chain, writer))
    run = Run(course, writer, engine)
    try:
        with pytest.raises(JournalError, match="Input/output error; check the disk and resume"):
            run.go_on()
        check_is_dead(run)
    finally:
        run.leave()
    assert files.retried == []
    people = [one.tobytes() for one in people_of(Session.open(writer.folder))]
    assert people[: len(run.acknowledged)] == run.acknowledged
