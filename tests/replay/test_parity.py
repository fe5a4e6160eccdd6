"""One digest for one session, however it was paced, cut, watched, killed and run again."""

import asyncio
import itertools
import math
import random
import shutil
import sys
import threading
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flowtape.replay import player as player_module
from flowtape.replay import track as track_module
from flowtape.replay.look_back import LookBack, past_before, past_of, past_of_playback
from flowtape.replay.player import Player
from flowtape.replay.resuming import resume
from flowtape.replay.session_rows import SessionRows
from flowtape.replay.sessions import Range, genesis_of, live_genesis, repeated, run_again
from flowtape.replay.summary import summary_of
from flowtape.replay.tape_writer import add_trades
from flowtape.replay.tapes import Tape, TapeStore
from flowtape.replay.track import Rows, Track, fold
from flowtape.replay.verifying import verify
from flowtape.stream.config import EngineConfig
from flowtape.stream.desk import carry_out
from flowtape.stream.engine import Engine
from flowtape.stream.errors import FlowError, InputError
from flowtape.stream.instrument import Instrument
from flowtape.stream.live import LiveSession
from flowtape.stream.ports import Clock, Event, Funding, Mark, Rules, Ticket
from flowtape.stream.session import Session, SessionWriter
from flowtape.stream.trades import Trades
from flowtape.stream.view import Cursor, MarketView
from tests.replay.corpora import (
    BLOCK_INPUTS,
    INSTRUMENT,
    NAMES,
    Asked,
    Corpus,
    Mixed,
    first_difference,
    live_corpus,
    shrink_grids,
    tape_corpus,
)

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
WHOLE = 1 << 30
LOOKS = 4
"""Looks back at a session while it goes on."""
TRADES = 12_000
DEEP_TRADES = 60_000

COMPARED: Counter[str] = Counter()
"""Digests compared so far, by what with."""


@pytest.fixture(scope="module", autouse=True)
def small_grids() -> Iterator[None]:
    """Have slices small too, and a player that does not dawdle."""
    with pytest.MonkeyPatch.context() as patch:
        shrink_grids(patch)
        patch.setattr(player_module, "TICK_S", 0.0005)
        patch.setattr(track_module, "CHECKPOINT_ROWS", BLOCK_INPUTS)
        for module in (player_module, track_module):
            patch.setattr(module, "SLICE_ROWS", 1_777)
        yield


class Killed(BaseException):
    """A process ended here; `folder` is what it left."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder


@dataclass
class Place:
    """Folders that one run may use, and the tape of its market."""

    root: Path
    tape: Tape | None = None
    _count: "itertools.count[int]" = field(default_factory=itertools.count)

    def new(self) -> Path:
        return self.root / f"{next(self._count)}"

    def open_tape(self, *_: object) -> Tape:
        assert self.tape is not None
        return self.tape

    def left_by(self, writer: SessionWriter) -> Path:
        """Copy what a process leaves that is killed now, and let go of its writer."""
        while True:
            folder = self.new() / writer.folder.name
            try:
                shutil.copytree(writer.folder, folder)
                break
            except shutil.Error:
                # A journal was put into Parquet this moment.
                shutil.rmtree(folder)
        writer.close()
        return folder


def check_same(session: Session, reference: Session, what: str) -> None:
    """Compare everything that is kept of two sessions of one genesis."""
    assert first_difference(session, reference) == ""
    assert session.summary is not None
    assert session.summary == reference.summary
    COMPARED[what] += 1


# Who looks on


class Poller:
    """Reads a view on a thread of its own, over and over."""

    rest_s = 0.003
    """Between two reads, so that the session goes on meanwhile."""

    def __init__(self) -> None:
        self.view: MarketView | None = None
        self.read_count = 0
        self._stop = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run)

    @classmethod
    @contextmanager
    def running(cls, wanted: bool) -> "Iterator[Poller]":
        poller, interval_s = cls(), sys.getswitchinterval()
        if not wanted:
            yield poller
            return
        # Two busy threads would hand each other five milliseconds at a time otherwise.
        sys.setswitchinterval(2e-5)
        poller._thread.start()
        try:
            yield poller
        finally:
            poller._stop.set()
            poller._thread.join()
            sys.setswitchinterval(interval_s)
        assert poller._failure is None, poller._failure
        assert poller.read_count > 0

    def _run(self) -> None:
        try:
            seen, cursor, at_input = None, Cursor(), 0
            while not self._stop.is_set():
                view = self.view
                time.sleep(self.rest_s)
                if view is None:
                    continue
                if view is not seen:
                    seen, cursor, at_input = view, Cursor(), 0
                update = view.read(cursor, with_profile=True)
                assert int(update.snapshot["input"]) >= at_input
                at_input = int(update.snapshot["input"])
                self.read_count += 1
        except BaseException as error:
            self._failure = error


def look_around(screen: LookBack, rng: random.Random) -> None:
    """Look back on a session in some way, or go on with it."""
    state = screen.state()
    back_us = rng.randrange(state.start_us, max(state.now_us, state.start_us + 1))
    acts: list[Callable[[], object]] = [partial(screen.seek, back_us)] * 2
    acts += [screen.to_now, lambda: screen.look().read(Cursor())]
    if state.looking_back:
        # It may end by itself meanwhile; then neither of these does any harm.
        acts += [screen.pause, partial(screen.set_speed, 5_000.0)]
    with suppress(InputError):
        rng.choice(acts)()


# Sessions that keep their own inputs


@dataclass(frozen=True)
class Kills:
    """How often a session is killed, within a call of its sink or between two events.

    With a strategy that is not `plain` no checkpoint can say what it remembers.
    """

    count: int = 0
    inside: bool = False
    plain: bool = True


@dataclass(frozen=True)
class LiveWay:
    """How a session of a live market comes about."""

    sizes: tuple[int, ...] = (WHOLE,)
    by_source: bool = False
    polled: bool = False
    looked: bool = False
    killed: Kills = Kills()
    seed: int = 0


class LiveRun:
    """A session of a live market, killed and gone on with as its way says."""

    def __init__(self, corpus: Corpus, place: Place, way: LiveWay, poller: Poller) -> None:
        self.corpus, self.place, self.way = corpus, place, way
        self.rng = random.Random(way.seed)
        self._poller = poller
        self._shown = way.polled or way.looked
        self.killed_count = self.direct_count = 0
        self.step_count = sum(1 for _ in corpus.steps(way.sizes, way.seed))
        self._plan()
        genesis = live_genesis(INSTRUMENT, corpus.config, Mixed(), None)
        self.writer = SessionWriter.create(place.new(), genesis, NOW, sync="none")
        self.engine = Engine(
            genesis.instruments,
            genesis.config,
            Mixed(),
            shown=self._shown,
            recorded=(self.writer.chain, self.writer),
        )

    def _plan(self) -> None:
        """Choose when to be killed next: at a step, or at a call of the sink."""
        self._steps_left = self._calls_left = WHOLE
        if self.killed_count == self.way.killed.count:
            return
        share = 0.9 * self.rng.random() / self.way.killed.count
        if self.way.killed.inside:
            # People's commands and the inputs of a step are a call each, the strategy's are more.
            self._calls_left = int(share * (self.step_count + len(self.corpus.asked))) + 1
        else:
            self._steps_left = int(share * self.step_count) + 1

    def run(self) -> Session:
        while True:
            self._poller.view = self.engine.view if self.way.polled else None
            self._watch_calls()
            try:
                self._play()
                self.writer.finish(summary_of(self.engine, self.writer.chain.value))
                return Session.open(self.writer.folder)
            except Killed as killed:
                folder = killed.folder
            self.killed_count += 1
            self._plan()
            session = Session.open(folder)
            resumed = resume(session, self.place.open_tape, Mixed(), shown=self._shown)
            assert resumed.notice == ""
            self.engine, self.writer = resumed.engine, resumed.writer

    def _watch_calls(self) -> None:
        for name in ("inputs", "commands", "link"):
            setattr(self.writer, name, partial(self._called, getattr(self.writer, name)))

    def _called(self, call: Callable[..., None], *what: object, **how: bool) -> None:
        self._calls_left -= 1
        dies, first = self._calls_left == 0, self.rng.random() < 0.5
        if not (dies and first):
            call(*what, **how)
        if dies:
            raise Killed(self.place.left_by(self.writer))

    def _play(self) -> None:
        number, done_count = self.corpus.left_to_ask(self.engine)
        if self.engine.ended:
            return
        if done_count:
            self.corpus.asked[number].rest_of(self.engine, done_count)
            number += 1
        steps = self._steps(
            self.corpus.steps(self.way.sizes, self.way.seed, self.engine.input, number)
        )
        if self.way.by_source:
            self._play_source(steps)
            return
        for step in steps:
            if isinstance(step, Asked):
                step.of(self.engine)
            else:
                self.engine.apply_event(step)
        self.engine.end()

    def _steps(self, steps: Iterator[Event | Asked]) -> Iterator[Event | Asked]:
        for step in steps:
            if self._steps_left == 0:
                raise Killed(self.place.left_by(self.writer))
            self._steps_left -= 1
            yield step

    def _play_source(self, steps: Iterator[Event | Asked]) -> None:
        source = Teller(self, steps)
        try:
            asyncio.run(source.live.run())
        finally:
            source.screen.to_now()


class Teller:
    """A source of events, with people at the desk and at the screen of its live session."""

    def __init__(self, run: LiveRun, steps: Iterator[Event | Asked]) -> None:
        self.instrument: Instrument = INSTRUMENT
        self._run, self._told = run, steps
        self._look_share = LOOKS / run.step_count
        self._now_s = self._event_s = 0.0
        self.live = LiveSession([self], run.engine, lambda: self._now_s)
        session = Session.open(run.writer.folder)
        self.screen = LookBack(
            self.live,
            run.engine.views,
            partial(past_before, session, run.place.open_tape),
            self.live,
        )

    async def events(self) -> AsyncGenerator[Event]:
        loop = asyncio.get_running_loop()
        for step in self._told:
            if isinstance(step, Asked):
                await self._ask(loop, step)
            else:
                self._event_s = self._now_s
                yield step
            if self._run.way.looked and self._run.rng.random() < self._look_share:
                await loop.run_in_executor(None, look_around, self.screen, self._run.rng)

    async def _ask(self, loop: asyncio.AbstractEventLoop, asked: Asked) -> None:
        self._now_s = self._event_s + asked.ahead_us / 1e6
        if self.live.state().clock_us != asked.clock_us(self._run.engine):
            # It was begun anew a moment ago and has not heard of stream time yet.
            self._run.direct_count += 1
            asked.of(self._run.engine)
            return
        try:
            await loop.run_in_executor(None, self.live.ask, asked.ticket)
        except FlowError:
            assert asked.command_count == 0


def keep_live(corpus: Corpus, place: Place, way: LiveWay) -> Session:
    """Keep a session of a live market in some way."""
    with Poller.running(way.polled) as poller, pytest.MonkeyPatch.context() as patch:
        patch.setattr(Mixed, "plain", way.killed.plain)
        run = LiveRun(corpus, place, way, poller)
        session = run.run()
    assert run.killed_count == way.killed.count
    assert run.direct_count <= 3 * way.killed.count
    assert run.engine.digest() == corpus.digest
    return session


# Sessions over tapes


@dataclass(frozen=True)
class TapeWay:
    """How a session over a tape comes about."""

    speed: float = math.inf
    pauses: int = 0
    unsteady: bool = False
    """With steps of all kinds, and at another speed each time."""
    polled: bool = False
    looked: bool = False
    killed: Kills = Kills()
    seed: int = 0


class Gate(Track):
    """A track whose rows come no faster than someone lets them."""

    def __init__(self, engine: Engine, tape: Rows) -> None:
        super().__init__(engine, tape)
        self.limit = self.row

    def advance(self, row: int) -> None:
        super().advance(min(row, self.limit))


class Fake:
    """A clock that jumps on at every look, so that a tape takes some sixty of them."""

    def __init__(self, span_s: float, speed: float, seed: int) -> None:
        self.speed = speed
        self._span_s, self._now_s = span_s, 0.0
        self._rng = random.Random(seed)

    def __call__(self) -> float:
        if not math.isinf(self.speed):
            self._now_s += self._rng.random() * self._span_s / self.speed / 30
        return self._now_s


class TapeRun:
    """A session over a tape, played, asked, killed and gone on with as its way says."""

    def __init__(self, corpus: Corpus, place: Place, way: TapeWay, poller: Poller) -> None:
        self.corpus, self.place, self.way = corpus, place, way
        self.rng = random.Random(way.seed)
        self._poller = poller
        self._shown = way.polled or way.looked
        tape = place.open_tape()
        self._span_s = (int(tape.columns().ts_us[-1]) - int(tape.columns().ts_us[0])) / 1e6
        genesis = genesis_of([Range(tape)], corpus.config, Mixed(), None)
        writer = SessionWriter.create(place.new(), genesis, NOW, places=("the tape",), sync="none")
        engine = Engine(
            genesis.instruments,
            genesis.config,
            Mixed(),
            shown=self._shown,
            recorded=(writer.chain, writer),
        )
        self._begin(engine, writer, tape)

    def _begin(self, engine: Engine, writer: SessionWriter, rows: Rows) -> None:
        self.engine, self.writer = engine, writer
        self.track = Gate(engine, rows)
        self.clock = Fake(self._span_s, self.way.speed, self.rng.randrange(1 << 30))
        self.player = Player([self.track], speed=self.way.speed, now_s=self.clock)
        session = Session.open(writer.folder)
        self.screen = LookBack(
            self.player,
            engine.views,
            partial(past_of_playback, session, self.track),
            self.player,
        )
        self._poller.view = engine.view if self.way.polled else None
        self.player.start(playing=False)

    def run(self) -> Session:
        rows = self.corpus.input_count - 1
        stops: list[tuple[int, int, Asked | None]] = [
            (asked.input, number, asked) for number, asked in enumerate(self.corpus.asked)
        ]
        pauses = [self.rng.randrange(1, rows) for _ in range(self.way.pauses)]
        kills = [self.rng.randrange(1, rows) for _ in range(self.way.killed.count)]
        stops += [(row, -1, None) for row in pauses] + [(row, -2, None) for row in kills]
        for row, number, asked in sorted(stops, key=lambda stop: stop[:2]):
            self._go_to(row)
            if asked is not None:
                self._ask(asked)
            elif number == -2:
                self._be_killed()
            if self.way.looked and self.rng.random() < LOOKS / len(stops):
                look_around(self.screen, self.rng)
        self.track.limit = WHOLE
        self.player.play()
        self.player.wait()
        self.screen.to_now()
        self.player.stop()
        self.writer.finish(summary_of(self.engine, self.writer.chain.value))
        return Session.open(self.writer.folder)

    def _ask(self, asked: Asked) -> None:
        if self.screen.state().looking_back:
            with pytest.raises(InputError, match="looking back"):
                self.screen.ask(asked.ticket)
            self.screen.to_now()
        try:
            self.screen.ask(asked.ticket)
        except FlowError:
            assert asked.command_count == 0

    def _be_killed(self) -> None:
        self.screen.to_now()
        self.player.stop()
        session = Session.open(self.place.left_by(self.writer))
        resumed = resume(session, self.place.open_tape, Mixed(), shown=self._shown)
        assert resumed.notice == ""
        self._begin(resumed.engine, resumed.writer, resumed.rows)

    def _go_to(self, row: int) -> None:
        """Play on to a row; its trade is the last move, for then the clock stands at its time."""
        if self.way.unsteady:
            self.clock.speed = self.rng.choice([0.1, 1.0, 50.0, 10_000.0, math.inf])
            self.player.set_speed(self.clock.speed)
            for _ in range(3):
                self._step(row - 1)
        if self.track.row < row - 1:
            self.track.limit = row - 1
            self.player.play()
            self._wait_for(row - 1)
            self.player.pause()
            self._until(lambda: not self.player.state().playing)
        while self.track.row < row:
            self.track.limit = row
            self.player.step("trade")
            self._wait_for(row)
        self._until(lambda: self.player.state().clock_us == self.track.time_of(row - 1))

    def _step(self, last_row: int) -> None:
        """Go on by something that does not lead behind a row."""
        track = self.track
        if track.row >= last_row:
            return
        bar_us = self.engine.config.bar_us
        until_us = {
            "trade": 0,
            "batch": track.time_of(min(track.row + 256, track.row_count) - 1),
            "bar": (track.time_of(track.row) // bar_us + 1) * bar_us - 1,
        }
        unit = self.rng.choice(["trade", "batch", "bar"])
        behind = max(track.row_behind(until_us[unit]), track.row + 1)
        if behind <= last_row:
            track.limit = behind
            self.player.step(unit)  # type: ignore[arg-type]
            self._wait_for(behind)

    def _wait_for(self, row: int) -> None:
        self._until(lambda: self.track.row >= row)

    def _until(self, there: Callable[[], bool]) -> None:
        patience = 100_000
        while not there():
            if self.player.error is not None:
                raise self.player.error
            patience -= 1
            assert patience, (self.track.row, self.track.limit, self.player.state())
            time.sleep(0.0001)


def keep_tape(corpus: Corpus, place: Place, way: TapeWay) -> Session:
    """Keep a session over a tape in some way."""
    with Poller.running(way.polled) as poller, pytest.MonkeyPatch.context() as patch:
        patch.setattr(Mixed, "plain", way.killed.plain)
        run = TapeRun(corpus, place, way, poller)
        try:
            session = run.run()
        finally:
            run.screen.to_now()
            run.player.stop()
    assert run.engine.digest() == corpus.digest
    return session


# What is compared


@dataclass(frozen=True)
class Market:
    """A market live and as a tape, and the session of each that others are compared with."""

    live: Corpus
    taped: Corpus
    place: Place
    live_session: Session
    tape_session: Session


def market_of(live: Corpus, root: Path) -> Market:
    """Keep the sessions of a market that others are compared with."""
    store = TapeStore(root / "tapes")
    add_trades(store, INSTRUMENT, [live.trades()])
    place, taped = Place(root, store.open(INSTRUMENT.symbol)), tape_corpus(live)
    return Market(
        live,
        taped,
        place,
        keep_live(live, place, LiveWay()),
        keep_tape(taped, place, TapeWay()),
    )


@pytest.fixture(scope="module")
def markets(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Market]:
    return {
        name: market_of(live_corpus(name, TRADES), tmp_path_factory.mktemp(name)) for name in NAMES
    }


def all_pairs(factors: Mapping[str, Sequence[Any]], seed: int = 3) -> list[dict[str, Any]]:
    """Return rows of one value for each factor in which any two values of two factors meet."""
    rng = random.Random(seed)
    names = list(factors)
    open_pairs = {
        ((one, i), (other, j))
        for one, other in itertools.combinations(names, 2)
        for i in range(len(factors[one]))
        for j in range(len(factors[other]))
    }
    rows = []
    while open_pairs:
        forced = dict(min(open_pairs))
        tries = [{n: rng.randrange(len(factors[n])) for n in names} | forced for _ in range(400)]
        met = [set(itertools.combinations(row.items(), 2)) & open_pairs for row in tries]
        best = max(range(len(tries)), key=lambda n: len(met[n]))
        open_pairs -= met[best]
        rows.append({name: factors[name][at] for name, at in tries[best].items()})
    return rows


LIVE_FACTORS: dict[str, Sequence[Any]] = {
    "market": NAMES,
    "sizes": ((1, 7, 64, 4096), (64,), (4096,), (WHOLE,)),
    "by_source": (False, True),
    "polled": (False, True),
    "looked": (False, True),
    "killed": (Kills(), Kills(1), Kills(4, inside=True), Kills(4, plain=False)),
}
TAPE_FACTORS: dict[str, Sequence[Any]] = {
    "market": NAMES,
    "speed": (50.0, 10_000.0, math.inf),
    "pauses": (0, 1, 50),
    "unsteady": (False, True),
    "polled": (False, True),
    "looked": (False, True),
    "killed": (Kills(), Kills(1, plain=False), Kills(3)),
}


def shown(row: dict[str, Any]) -> str:
    """Name a way in few words."""
    texts = []
    for name, value in row.items():
        if isinstance(value, bool):
            texts += [name] * value
        elif isinstance(value, Kills):
            texts += [name for name, there in vars(value).items() if there is True]
            texts.append(f"killed={value.count}")
        elif isinstance(value, tuple):
            texts.append("+".join("all" if one == WHOLE else str(one) for one in value))
        else:
            texts.append(str(value) if name == "market" else f"{name}={value:g}")
    return "-".join(texts)


def check_live(market: Market, row: dict[str, Any], seed: int) -> None:
    way = LiveWay(**{name: value for name, value in row.items() if name != "market"}, seed=seed)
    check_same(keep_live(market.live, market.place, way), market.live_session, "live")


def check_tape(market: Market, row: dict[str, Any], seed: int) -> None:
    way = TapeWay(**{name: value for name, value in row.items() if name != "market"}, seed=seed)
    check_same(keep_tape(market.taped, market.place, way), market.tape_session, "tape")


@pytest.mark.parametrize("row", all_pairs(LIVE_FACTORS), ids=shown)
def test_a_live_session_has_one_digest(markets: Mapping[str, Market], row: dict[str, Any]) -> None:
    check_live(markets[row["market"]], row, seed=len(shown(row)))


@pytest.mark.parametrize("row", all_pairs(TAPE_FACTORS), ids=shown)
def test_a_session_over_a_tape_has_one_digest(
    markets: Mapping[str, Market], row: dict[str, Any]
) -> None:
    check_tape(markets[row["market"]], row, seed=len(shown(row)))


@pytest.mark.parametrize("name", NAMES)
def test_inputs_one_by_one_have_the_same_digest(name: str, tmp_path: Path) -> None:
    corpus, place = live_corpus(name, 1_000), Place(tmp_path)
    whole = keep_live(corpus, place, LiveWay())
    for size in (1, 7):
        way = LiveWay(sizes=(size,), killed=Kills(2))
        check_same(keep_live(corpus, place, way), whole, "live")


def check_again(session: Session, place: Place, seed: int) -> None:
    """Run a session again in every way there is, and compare each with what was kept."""
    assert session.summary is not None
    digest = session.summary.digest
    for strategy in (None, Mixed()):
        verdict = verify(session, place.open_tape, strategy)
        assert verdict.difference is None
        assert (verdict.digest, verdict.block_count) == (digest, len(session.links()))
        engine, value = run_again(session, place.open_tape, strategy)
        assert value.hex() == digest
        assert summary_of(engine, value) == session.summary
        COMPARED["again"] += 2
    rng = random.Random(seed)
    past = past_of(session, SessionRows.of(session, place.open_tape))
    for row in [rng.randrange(past.row_count) for _ in range(6)] + [past.row_count]:
        past.seek(row)
    assert past.engine.digest() == engine.digest()
    COMPARED["again"] += 1
    for speed in (50.0, 10_000.0, math.inf):
        rows = SessionRows.of(session, place.open_tape)
        track, chained = repeated(session, rows)
        span_s = (track.time_of(track.row_count - 1) - track.time_of(0)) / 1e6
        player = Player([track], speed=speed, now_s=Fake(span_s, speed, seed))
        player.start()
        for _ in range(8):
            acts: list[Callable[[], None]] = [player.pause, player.play]
            acts.append(partial(player.step, "bar"))
            rng.choice(acts)()
            time.sleep(rng.random() * 0.003)
        player.play()
        player.wait()
        player.stop()
        assert chained.value.hex() == digest
        COMPARED["again"] += 1


@pytest.mark.parametrize("name", NAMES)
def test_a_session_that_is_run_again_has_its_digest(
    markets: Mapping[str, Market], name: str
) -> None:
    market = markets[name]
    check_again(market.live_session, market.place, 1)
    check_again(market.tape_session, market.place, 2)


def test_what_nobody_kept_is_the_same_too(markets: Mapping[str, Market]) -> None:
    """A batch over a tape without people, kept and not kept, through one call and through many."""
    for market in markets.values():
        tape = market.place.open_tape()
        digests = set()
        for size in (WHOLE, 911):
            engine = Engine(INSTRUMENT, market.taped.config, Mixed(), shown=False)
            columns = tape.columns()
            pieces = (columns.slice(at, at + size) for at in range(0, len(columns), size))
            fold(engine, pieces)
            digests.add(engine.digest())
        assert len(digests) == 1


def test_markets_have_many_links_people_and_kinds_of_inputs(
    markets: Mapping[str, Market],
) -> None:
    for market in markets.values():
        for corpus, session in (
            (market.live, market.live_session),
            (market.taped, market.tape_session),
        ):
            assert len(session.links()) == -(-(corpus.input_count - 1) // BLOCK_INPUTS)
            assert sum(asked.command_count > 0 for asked in corpus.asked) >= 30
            origins = Counter(session.commands()["origin"].tolist())
            assert min(origins.values()) >= 30
            ends = session.links()["input"][:-1]
            assert np.isin(ends, session.commands()["input"]).any()
    kinds = {
        name: {type(event) for _, event in market.live.events} for name, market in markets.items()
    }
    assert {Clock, Trades} < kinds["quiet"]
    assert markets["quiet"].live_session.gaps()
    assert {Mark, Funding, Rules} < kinds["cascade"]
    refused = Counter(asked.command_count == 0 for asked in markets["cascade"].live.asked)
    assert min(refused.values()) >= 3


def test_flatten_closes_the_position_there_is_now() -> None:
    """Not the one that someone saw at an earlier flatten or decision."""
    trades = live_corpus("normal", 2_000, people_count=9).trades()
    engine = Engine(INSTRUMENT, EngineConfig(latency_us=0), shown=False)
    for at in range(0, 2_000, 500):
        engine.apply_event(trades.slice(at, at + 500))
        carry_out(engine, Ticket("flatten"), 0)
        carry_out(engine, Ticket("order", side=1, qty_lots=9), 0)
    engine.end()
    assert engine.ledger.placed()["request"]["qty_lots"].tolist() == [9] * 7


def test_what_differs_is_named(markets: Mapping[str, Market]) -> None:
    market = markets["normal"]
    changed = list(market.live.asked)
    at = next(n for n, asked in enumerate(changed) if asked.ticket.kind == "order" and n > 20)
    changed[at] = replace(changed[at], ahead_us=changed[at].ahead_us + 1)
    other = replace(market.live, asked=tuple(changed))
    with Poller.running(False) as poller:
        session = LiveRun(other, market.place, LiveWay(), poller).run()
    block = changed[at].input // BLOCK_INPUTS
    said = first_difference(session, market.live_session)
    assert f"behind input {changed[at].input:,}" in said
    assert f"link {block} " in said


# The deep run


def drawn(factors: Mapping[str, Sequence[Any]], rng: random.Random, name: str) -> dict[str, Any]:
    return {factor: rng.choice(values) for factor, values in factors.items()} | {"market": name}


@pytest.mark.deep
@pytest.mark.parametrize("name", NAMES)
def test_many_ways_lead_to_one_digest(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = sum(COMPARED.values())
    monkeypatch.setattr(Poller, "rest_s", 0.0)
    sizes = (*LIVE_FACTORS["sizes"], (7,), (1, 20, 300), (500, 5_000))
    live_factors = {**LIVE_FACTORS, "sizes": sizes}
    for seed in (1, 2):
        root = tmp_path / f"{seed}"
        market = market_of(live_corpus(name, DEEP_TRADES, seed=seed, people_count=90), root)
        rng = random.Random(seed)
        for number in range(20):
            check_live(market, drawn(live_factors, rng, name), number)
            check_tape(market, drawn(TAPE_FACTORS, rng, name), number)
        check_again(market.live_session, market.place, seed)
        check_again(market.tape_session, market.place, seed)
        shutil.rmtree(root)
    sys.stdout.write(f"{name}: {sum(COMPARED.values()) - before} digests compared, none differs\n")
