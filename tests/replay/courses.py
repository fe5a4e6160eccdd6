"""Live sessions in small steps, left anywhere and gone on with; all parts of them are short."""

import bisect
import contextlib
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from flowtape.replay.resuming import resume
from flowtape.replay.sessions import live_genesis
from flowtape.replay.summary import summary_of
from flowtape.stream import chain, checkpoints, input_log, recording, waypoints
from flowtape.stream.commands import Origin
from flowtape.stream.config import Decide
from flowtape.stream.desk import carry_out
from flowtape.stream.engine import Engine
from flowtape.stream.journal_files import OsFiles
from flowtape.stream.ports import Clock, Event, Gap, Mark, Ticket
from flowtape.stream.session import Session, SessionWriter, Summary
from flowtape.stream.strategy import Strategy
from tests.replay.live_sessions import CONFIG, NOW, no_tape, trades
from tests.stream.strategies import Flipper
from tests.stream.tapes import INSTRUMENT

PART_INPUTS, GRID_INPUTS = 160, 110


class Brisk(Flipper):
    """Decides a few times in every part."""

    decide: ClassVar[Decide] = Decide(grid_us=1_500_000)


@contextlib.contextmanager
def short_parts() -> Iterator[None]:
    """Parts and blocks that a short session has several of, with a waypoint behind each block."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(input_log, "PART_INPUTS", PART_INPUTS)
        patch.setattr(chain, "GRID_INPUTS", GRID_INPUTS)
        patch.setattr(recording, "GRID_INPUTS", GRID_INPUTS)
        patch.setattr(waypoints, "EVERY_BLOCKS", 1)
        patch.setattr(waypoints, "EVERY_S", 0.0)
        yield


@contextlib.contextmanager
def many_checkpoints() -> Iterator[None]:
    """A checkpoint whenever one is offered."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoints, "FIRST_S", 0.0)
        patch.setattr(checkpoints, "EVERY_S", 0.0)
        patch.setattr(checkpoints, "COST_MAX", 1e9)
        yield


def events_of(count: int, seed: int) -> list[Event]:
    """Small pieces of trades with statements between, each of them an input at least."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 25, count)
    whole, at = trades(int(sizes.sum()), seed), 0
    found: list[Event] = []
    for size in sizes.tolist():
        if len(found) == count:
            break
        piece = whole.slice(at, at + size)
        at += size
        found.append(piece)
        draw, now_us = rng.random(), int(whole.ts_us[:at].max())
        if draw < 0.1:
            found.append(Clock(now_us + 3))
        elif draw < 0.15:
            found.append(Mark(now_us + 1, 100_000 + int(size)))
        elif draw < 0.2:
            found.append(Gap(int(piece.agg_id[-1]), int(piece.agg_id[-1]), "nobody has it"))
    return found[:count]


def tickets_behind(number: int) -> list[Ticket]:
    """What people ask for behind the `number`-th event, each of them one call."""
    if number % 5 == 2:
        return [
            Ticket("order", side=-1, qty_lots=3_000, limit_ticks=100_900),
            Ticket("order", side=1, qty_lots=2_000, limit_ticks=99_100),
        ]
    if number % 7 == 4:
        return [Ticket("order", side=1, qty_lots=4_000)]
    return [Ticket("cancel_all")] if number % 11 == 10 else []


@dataclass
class Course:
    """Events and what people ask for behind them.

    Attributes:
        people: whether anyone asks for anything.
        ends: inputs behind each event.
        summary: what an undisturbed session of it came to.
        folder: that session.
    """

    events: list[Event]
    strategy: Callable[[], Strategy | None]
    people: bool = True
    ends: list[int] = field(default_factory=list)
    summary: Summary | None = None
    folder: Path = Path()

    @classmethod
    def run(cls, root: Path, count: int, *, seed: int = 5, people: bool = True) -> "Course":
        """Run a course without disturbance."""
        course = cls(events_of(count, seed), Brisk, people)
        run = Run.begin(course, root)
        for number in range(count):
            run.step(number)
            course.ends.append(run.engine.input)
        assert course.ends == sorted(set(course.ends)), "each event must be an input at least"
        run.finish()
        course.folder = run.writer.folder
        course.summary = Session.open(course.folder).summary
        return course


@dataclass
class Run:
    """A session on its way through a course.

    Attributes:
        at: the next event.
        asked: tickets behind the event before it that were asked already.
        acknowledged: bytes of the commands that people were told are done.
    """

    course: Course
    writer: SessionWriter
    engine: Engine
    at: int = 0
    asked: int = 0
    acknowledged: list[bytes] = field(default_factory=list)

    @classmethod
    def begin(
        cls, course: Course, root: Path, files: OsFiles | None = None, *, shown: bool = False
    ) -> "Run":
        strategy = course.strategy()
        genesis = live_genesis(INSTRUMENT, CONFIG, strategy, None)
        writer = SessionWriter.create(root, genesis, NOW, sync="none", files=files)
        try:
            engine = Engine(
                genesis.instruments,
                genesis.config,
                strategy,
                shown=shown,
                recorded=(writer.chain, writer),
            )
        except BaseException:
            writer.close()
            raise
        return cls(course, writer, engine)

    @classmethod
    def again(cls, course: Course, folder: Path, files: OsFiles | None = None) -> "Run":
        """Resume a session that was left; its strategy must decide as it did."""
        session = Session.open(folder)
        resumed = resume(session, no_tape, course.strategy(), files=files)
        try:
            assert resumed.notice == ""
            engine = resumed.engine
            run = cls(course, resumed.writer, engine)
            if not engine.ended:
                run.at = bisect.bisect_right(course.ends, engine.input)
                assert engine.input == (course.ends[run.at - 1] if run.at else 0)
                run.asked = calls_behind(session, engine.input)
        except BaseException:
            resumed.writer.close()
            raise
        return run

    def go_on(self) -> None:
        """Go on to the end of the course."""
        self.go_to(len(self.course.events))
        self.finish()

    def go_to(self, stop: int) -> None:
        """Go on to before an event."""
        if self.at and not self.engine.ended:
            self._ask(self.at - 1, self.asked)
        while self.at < stop and not self.engine.ended:
            self.step(self.at)

    def step(self, number: int) -> None:
        """Take in an event and what is asked for behind it."""
        self.engine.apply_event(self.course.events[number])
        self.at, self.asked = number + 1, 0
        self._ask(number, 0)

    def _ask(self, number: int, done: int) -> None:
        for ticket in tickets_behind(number)[done:] if self.course.people else ():
            head = self.engine.ledger.commands.head
            carry_out(self.engine, ticket, 0)
            self.asked += 1
            done_now = self.engine.ledger.commands.since(head)
            self.acknowledged += [one.tobytes() for one in done_now]

    def finish(self) -> None:
        if not self.engine.ended:
            self.engine.end()
        self.writer.finish(summary_of(self.engine, self.writer.chain.value))

    def leave(self) -> None:
        """Seal what can be sealed, as a process does that stops."""
        with contextlib.suppress(Exception):
            self.writer.close()


def calls_behind(session: Session, at_input: int) -> int:
    """How many calls of people are on the disk behind an input."""
    commands = people_of(session)
    return len(set(commands[commands["input"] == at_input]["place"].tolist()))


def people_of(session: Session) -> np.ndarray:
    commands = session.commands()
    return commands[commands["origin"] == Origin.PERSON]


def kept(session: Session) -> tuple[bytes, bytes, bytes]:
    """What is on the disk of a session, whatever form it has."""
    inputs = [piece.to_batch() for piece in session.inputs()]
    columns = [
        np.concatenate([batch.column(number).to_numpy() for batch in inputs]).tobytes()
        for number in range(inputs[0].num_columns if inputs else 0)
    ]
    return b"".join(columns), session.commands().tobytes(), session.links().tobytes()


def copied(folder: Path, root: Path) -> Path:
    """Copy a session as it lies on the disk now, as a process leaves it that is killed."""
    target = root / folder.name
    while True:
        try:
            shutil.copytree(folder, target)
        except (shutil.Error, FileNotFoundError):
            # A part was sealed meanwhile; look again.
            shutil.rmtree(target)
        else:
            return target
