"""Sessions whose processes are killed, over and over, end as if nothing had been.

The processes are forks of one that has read the market already, and the signal is a real SIGKILL:
from outside at random moments, or by the process itself at a point that has a name.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

import flowtape
from flowtape.replay.resuming import resume
from flowtape.replay.sessions import Range, genesis_of, live_genesis
from flowtape.replay.summary import summary_of
from flowtape.replay.tape_writer import add_trades
from flowtape.replay.tapes import Tape, TapeStore
from flowtape.replay.track import Track, fold
from flowtape.replay.verifying import verify
from flowtape.stream import checkpoints, journal_files
from flowtape.stream.commands import Origin
from flowtape.stream.config import Decide
from flowtape.stream.desk import carry_out
from flowtape.stream.engine import Engine
from flowtape.stream.journal_files import OsFiles, Syncer
from flowtape.stream.ports import Ticket
from flowtape.stream.records import Records
from flowtape.stream.session import Session, SessionWriter
from flowtape.stream.strategy import Market, Orders, Strategy
from flowtape.stream.waypoints import BlockEnd
from tests.replay.corpora import (
    BLOCK_INPUTS,
    INSTRUMENT,
    NAMES,
    Mixed,
    first_difference,
    live_corpus,
    shrink_grids,
)
from tests.replay.killed_session import NOW, POINTS, Order, Plan, line_of

WHOLE = 1 << 30
SIZES = ((1, 7, 64), (64,), (4096,), (WHOLE,))


@pytest.fixture(scope="module", autouse=True)
def small_grids() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        shrink_grids(patch)
        yield


@dataclass
class Told:
    """What a life had to say."""

    status: int = -1
    stood_at: int = -1
    recovery_us: int = 0
    acked: list[tuple[int, int, int]] = field(default_factory=list)
    """Number of the order, input and place of the last command, for each ticket."""
    digest: str = ""


class Nursery:
    """Gives lives to sessions, and ends them."""

    def __init__(self) -> None:
        self._alive = 0
        root, package = Path(__file__).parents[2], Path(flowtape.__file__).parents[1]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.replay.killed_session"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=root,
            env={**os.environ, "PYTHONPATH": f"{package}:{root}"},
        )

    def __enter__(self) -> "Nursery":
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        if self._alive:
            os.kill(self._alive, signal.SIGKILL)
        self._process.stdin.close()
        assert self._process.wait(30) == 0
        self._process.stdout.close()

    def life(
        self,
        plan: Plan,
        order: Order,
        *,
        after_s: float | None = None,
        after_acks: int | None = None,
    ) -> Told:
        """Give one life; it is killed after a while, or when it has told of so many tickets."""
        assert self._process.stdin is not None
        self._process.stdin.write(line_of(plan, order))
        self._process.stdin.flush()
        told, timer = Told(), None
        while told.status < 0:
            word, *rest = self._line()
            if word == "born":
                self._alive = pid = int(rest[0])
                if after_s is not None:
                    timer = threading.Timer(after_s, os.kill, (pid, signal.SIGKILL))
                    timer.start()
            elif word == "stands":
                told.stood_at, told.recovery_us = map(int, rest)
            elif word == "acked":
                told.acked.append((int(rest[0]), int(rest[1]), int(rest[2])))
                if len(told.acked) == after_acks:
                    os.kill(self._alive, signal.SIGKILL)
            elif word == "done":
                told.digest = rest[0]
            else:
                told.status = int(rest[0])
                self._alive = 0
        if timer is not None:
            timer.cancel()
            timer.join()
        self._process.stdin.write(b"\n")
        return told

    def _line(self) -> list[str]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline().decode()
        assert line, "the nursery is gone"
        return line.split()


@dataclass
class Tally:
    """What came of many kills."""

    by_point: Counter[str] = field(default_factory=Counter)
    ended_count: int = 0
    acked_count: int = 0
    recovery_us: list[int] = field(default_factory=list)

    @property
    def kill_count(self) -> int:
        return sum(self.by_point.values())

    def words(self) -> str:
        slowest, middle = max(self.recovery_us) / 1e3, float(np.median(self.recovery_us)) / 1e3
        return (
            f"{self.kill_count} kills, {self.ended_count} sessions to their end, "
            f"{self.acked_count} acknowledged tickets, recovery {middle:.0f} ms in the middle and "
            f"{slowest:.0f} ms at most; at {dict(self.by_point.most_common())}"
        )


def planned(root: Path, name: str, trades_count: int, *, on_tape: bool, seed: int = 1) -> Plan:
    """Prepare a market below a folder."""
    root.mkdir()
    if on_tape:
        trades = live_corpus(name, trades_count, seed=seed).trades()
        add_trades(TapeStore(root / "tapes"), INSTRUMENT, [trades])
    return Plan(name, trades_count, seed, str(root), on_tape)


def uninterrupted(nursery: Nursery, plan: Plan) -> Session:
    """Return the session as it is when nobody is killed."""
    told = nursery.life(plan, Order())
    assert told.digest == plan.corpus().digest
    session = plan.session()
    assert session is not None
    assert session.ended
    return session


class Ordeal:
    """One session, killed until it is done."""

    def __init__(self, nursery: Nursery, plan: Plan, rng: random.Random, tally: Tally) -> None:
        self._nursery, self._plan, self._rng, self._tally = nursery, plan, rng, tally
        self._acked: list[tuple[int, int, int]] = []
        self._floor = 0

    def run(self, reference: Session, *, points: Iterator[str], lives_max: int = 200) -> None:
        for _ in range(lives_max):
            told, point = self._life(next(points))
            assert told.status in (0, signal.SIGKILL)
            self._check_standing(told)
            if told.status == 0:
                break
            self._tally.by_point[point] += 1
        else:
            raise AssertionError(f"no end in {lives_max} lives")
        session = self._plan.session()
        assert session is not None
        assert first_difference(session, reference) == ""
        assert session.summary == reference.summary
        verdict = verify(session, lambda *_: self._plan.tape())
        assert verdict.difference is None
        self._tally.ended_count += 1
        self._tally.acked_count += len(self._acked)

    def _life(self, point: str) -> tuple[Told, str]:
        rng = self._rng
        sizes, seed = rng.choice(SIZES), rng.randrange(1 << 30)
        order = Order(sizes, seed)
        if point == "anywhere":
            after_s = rng.random() ** 2 * 0.5
            return self._nursery.life(self._plan, order, after_s=after_s), point
        if point == "acked":
            after_acks = rng.randrange(1, 12)
            return self._nursery.life(self._plan, order, after_acks=after_acks), point
        most, ways = POINTS[point]
        how, at = rng.choice(ways), 1 + int(most * rng.random() ** 2)
        order = Order(sizes, seed, point, at, how)
        return self._nursery.life(self._plan, order), f"{how} {point}"

    def _check_standing(self, told: Told) -> None:
        """Check that nothing that was there before was lost, and take stock of what is."""
        self._acked += told.acked
        if told.stood_at >= 0:
            assert told.stood_at >= self._floor
            self._tally.recovery_us.append(told.recovery_us)
        session = self._plan.session()
        if session is None:
            return
        commands, links = session.commands(), session.links()
        asked = commands[commands["origin"] == Origin.PERSON]
        kept = {(int(one["input"]), int(one["place"])): int(one["order_id"]) for one in asked}
        for order_id, at_input, place in self._acked:
            # Tickets that make no order are told to be number 0.
            assert (at_input, place) in kept
            assert order_id in (0, kept[at_input, place])
        checkpoint = session.checkpoint(None)
        floor = [told.stood_at, *links["input"][-1:].tolist(), *commands["input"][-1:].tolist()]
        floor += [checkpoint.input] if checkpoint is not None else []
        # The end of a tape has a number, but is not among its rows.
        rows = sum(ref.row_count for ref in session.genesis.tapes) or WHOLE
        self._floor = min(max(self._floor, *floor), rows)


def torture(root: Path, trades_count: int, kill_count: int, seed: int) -> Tally:
    """Kill sessions of all markets, live and over tapes, until there were so many kills."""
    rng, tally = random.Random(seed), Tally()

    def points() -> Iterator[str]:
        named = list(POINTS)
        while True:
            rng.shuffle(named)
            for one in named:
                yield from (one, rng.choice(["anywhere", "acked", "anywhere"]))

    endless, references = points(), {}
    with Nursery() as nursery:
        number = 0
        while tally.kill_count < kill_count:
            name, on_tape = NAMES[number % 3], number % 2 == 1
            if (name, on_tape) not in references:
                untouched = planned(root / f"{name}-{on_tape}", name, trades_count, on_tape=on_tape)
                references[name, on_tape] = uninterrupted(nursery, untouched)
            plan = planned(root / f"{number}", name, trades_count, on_tape=on_tape)
            Ordeal(nursery, plan, rng, tally).run(references[name, on_tape], points=endless)
            shutil.rmtree(plan.root)
            number += 1
    return tally


@pytest.mark.timeout(400)
def test_killed_sessions_end_as_if_nothing_had_been(tmp_path: Path) -> None:
    tally = torture(tmp_path, 20_000, 50, seed=1)
    sys.stdout.write(tally.words())
    assert tally.kill_count >= 50
    assert tally.acked_count > 50


def no_tape(*_: object) -> Tape:
    raise AssertionError


class Killed(BaseException):
    """The process would end here."""


def killed_behind_link(plan: Plan, number: int) -> Session:
    """Keep a session whose process ends when a link has been written; 0: when nothing has."""

    def link(one: Records, end: BlockEnd) -> None:
        written(one, end)
        if one["block"][0] == number - 1:
            raise Killed

    config = plan.corpus().config
    genesis = genesis_of([Range(plan.tape())], config, Mixed(), None)
    writer = SessionWriter.create(
        Path(plan.root) / f"{number}", genesis, NOW, places=("the tape",), sync="none"
    )
    written = writer.link
    vars(writer)["link"] = link
    recorded = (writer.chain, writer)
    engine = Engine(genesis.instruments, genesis.config, Mixed(), shown=False, recorded=recorded)
    if number:
        with pytest.raises(Killed):
            fold(engine, plan.tape().segments())
    writer.close()
    return Session.open(writer.folder)


def test_a_person_may_ask_as_soon_as_a_session_goes_on(tmp_path: Path) -> None:
    """No command may follow an input whose block is closed: the session stands behind that."""
    plan = planned(tmp_path / "plan", "normal", 3 * BLOCK_INPUTS, on_tape=True)
    ticket = Ticket("order", side=1, qty_lots=7, limit_ticks=90_000)
    for number in range(5):
        session = killed_behind_link(plan, number)
        resumed = resume(session, lambda *_: plan.tape(), Mixed())
        engine = resumed.engine
        if number >= 3:
            # What was about to come was the end.
            assert engine.ended
        else:
            assert engine.input == number * BLOCK_INPUTS + (number > 0)
            carry_out(engine, ticket, 0)
            Track(engine, plan.tape()).advance(WHOLE)
        resumed.writer.finish(summary_of(engine, resumed.writer.chain.value))
        done = Session.open(session.folder)
        for strategy in (None, Mixed()):
            assert verify(done, lambda *_: plan.tape(), strategy).difference is None


def test_a_journal_may_be_closed_at_the_moment_of_a_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    """What wakes the thread for its end may be cleared as if it were of a write before."""
    monkeypatch.setattr(journal_files, "_SYNC_DELAY_S", 0)
    syncer = Syncer(OsFiles())
    clear = syncer._dirty.clear

    def stopped_and_cleared() -> None:
        syncer._stop.set()
        syncer._dirty.set()
        clear()

    monkeypatch.setattr(syncer._dirty, "clear", stopped_and_cleared)
    syncer.wrote()
    syncer._thread.join(10)
    assert not syncer._thread.is_alive()


@dataclass
class Fickle(Strategy):
    """Asks for something only when it is told to from elsewhere."""

    decide: ClassVar[Decide] = Decide(trades_count=100)
    asks: ClassVar[bool] = False

    def on_start(self, market: Market) -> None:
        self.calls = 0

    def on_decision(self, market: Market, orders: Orders) -> None:
        self.calls += 1
        if self.asks and self.calls == 3:
            orders.buy(5, market.last_ticks - 20)


def test_what_is_asked_for_too_late_is_not_written_before_what_a_person_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "FIRST_S", 1e9)
    corpus = live_corpus("normal", 3_000)
    trades = corpus.trades()
    genesis = live_genesis(INSTRUMENT, corpus.config, Fickle(), None)
    writer = SessionWriter.create(tmp_path, genesis, NOW, sync="none")
    recorded = (writer.chain, writer)
    engine = Engine(genesis.instruments, genesis.config, Fickle(), shown=False, recorded=recorded)
    engine.apply_event(trades.slice(0, 500))
    carry_out(engine, Ticket("order", side=1, qty_lots=7, limit_ticks=90_000), 0)
    engine.apply_event(trades.slice(500, 800))
    writer.close()
    monkeypatch.setattr(Fickle, "asks", True)
    resumed = resume(Session.open(writer.folder), no_tape, Fickle())
    assert "asks for something more behind input 300" in resumed.notice
    resumed.engine.apply_event(trades.slice(800, 3_000))
    resumed.engine.end()
    resumed.writer.finish(summary_of(resumed.engine, resumed.writer.chain.value))
    session = Session.open(writer.folder)
    assert session.commands()["input"].tolist() == [500, 1_100]
    assert verify(session, no_tape).difference is None


@pytest.mark.deep
def test_many_killed_sessions_end_as_if_nothing_had_been(tmp_path: Path) -> None:
    tally = torture(tmp_path, 20_000, 1_000, seed=2)
    sys.stdout.write(tally.words())
    reached = {point.split()[-1] for point in tally.by_point}
    # An empty segment is there to be removed only where the last life ended as it was made.
    assert reached >= {*POINTS, "anywhere", "acked"} - {"remove"}
