"""Looking back on a session that goes on touches nothing of it."""

import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from flowtape.replay import look_back
from flowtape.replay.look_back import LookBack, past_before, past_of_playback
from flowtape.replay.player import Player
from flowtape.replay.session_rows import SessionRows
from flowtape.replay.sessions import live_genesis
from flowtape.replay.track import Track
from flowtape.stream.desk import carry_out
from flowtape.stream.engine import Engine
from flowtape.stream.errors import InputError
from flowtape.stream.live import LiveSession
from flowtape.stream.ports import Clock, Event, Gap, Ticket
from flowtape.stream.session import Session, SessionWriter
from tests.replay.courses import short_parts
from tests.replay.live_sessions import CONFIG, NOW, events, no_tape, people_at
from tests.stream.tapes import INSTRUMENT

WAIT_S = 20.0


class Running:
    """A live session that is fed by hand."""

    def __init__(self, root: Path) -> None:
        genesis = live_genesis(INSTRUMENT, CONFIG, None, None)
        self.writer = SessionWriter.create(root, genesis, NOW, sync="none")
        self.engine = Engine(
            genesis.instruments, genesis.config, recorded=(self.writer.chain, self.writer)
        )
        self.live = LiveSession([self], self.engine, now_s=lambda: 0.0)
        self.session = Session.open(self.writer.folder)
        self.instrument = INSTRUMENT
        self.screen = LookBack(self.live, self.engine.views, self.past, self.live)

    def past(self, ts_us: int) -> Track:
        return past_before(self.session, no_tape, ts_us)

    def feed(self, some: list[Event], first: int = 0) -> None:
        for number, event in enumerate(some, first):
            self.engine.apply_event(event)
            for ticket in people_at(number):
                carry_out(self.engine, ticket, 0)
            if not isinstance(event, Clock | Gap):
                # As the loop of a live session notes it.
                self.live._start_us = self.live._start_us or int(event.ts_us[0])
                self.live._event_us = max(self.live._event_us, int(event.ts_us.max()))


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    one = Running(tmp_path)
    one.feed(list(events(40_000))[:60])
    yield one
    one.screen.to_now()
    one.writer.close()


def until(what: Callable[[], bool]) -> None:
    end_s = time.monotonic() + WAIT_S
    while not what():
        assert time.monotonic() < end_s
        time.sleep(0.005)


def middle_of(one: Running) -> int:
    state = one.live.state()
    return (state.start_us + state.clock_us) // 2


def test_the_past_is_what_it_was_and_now_goes_on(running: Running) -> None:
    screen, at_us = running.screen, middle_of(running)
    assert screen.state().now_us == screen.state().clock_us > 0
    assert not screen.state().looking_back
    before = running.engine.digest()
    screen.seek(at_us)
    screen.pause()
    until(lambda: not screen.state().playing)
    state = screen.state()
    assert state.looking_back
    assert not state.live
    assert state.now_us == running.live.state().clock_us
    view = screen.look()
    assert view is not running.engine.view
    until(lambda: 0 < int(view.snapshot["stream_us"]) <= at_us + 1_000_000)
    now = running.engine.view.bars.all()
    then = view.bars.all()
    assert 0 < len(then) < len(now)
    assert np.array_equal(then, now[: len(then)])
    assert np.array_equal(
        view.fills.since(0), running.engine.view.fills.since(0)[: view.fills.head]
    )
    assert running.engine.digest() == before
    running.feed(list(events(40_000))[60:70], 60)
    assert screen.look() is view
    screen.to_now()
    assert screen.look() is running.engine.view
    assert not screen.state().looking_back


def test_it_plays_up_to_now_and_ends_there(running: Running) -> None:
    screen = running.screen
    screen.seek(running.live.state().clock_us - 2_000_000)
    screen.set_speed(10_000)
    until(lambda: not screen.state().looking_back)
    assert screen.look() is running.engine.view


def test_a_long_past_is_read_piece_by_piece(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(look_back, "AHEAD_BLOCKS", 1)
    with short_parts():
        one = Running(tmp_path)
        one.feed(list(events(40_000))[:6])
        screen = one.screen
        state = one.live.state()
        looks, rows = [], []
        past = one.past

        def counted(ts_us: int) -> Track:
            track = past(ts_us)
            rows.append((track.first_row, track.row_count))
            return track

        screen._past = counted
        screen.seek(state.start_us + 1)
        screen.set_speed(10_000)
        while screen.state().looking_back:
            view = screen.look()
            if not looks or looks[-1] is not view:
                looks.append(view)
            with view.lock:
                then = view.bars.all().copy()
            # The last one may be closed by the end of what was read.
            assert np.array_equal(then[:-1], one.engine.view.bars.all()[: max(len(then) - 1, 0)])
            time.sleep(0.001)
        assert screen.look() is one.engine.view
        one.writer.close()
    firsts, ends = zip(*rows, strict=True)
    assert len(set(ends)) == len(rows) - 1 > 2, "the last time there was no more"
    assert list(ends) == sorted(ends)
    assert firsts[0] == 0 < firsts[-1]
    assert all(end - first < one.engine.input // 2 for first, end in rows)
    assert ends[-1] == one.engine.input
    assert looks


def test_a_later_time_is_now_for_a_feed(running: Running) -> None:
    running.screen.seek(middle_of(running))
    assert running.screen.state().looking_back
    running.screen.seek(running.live.state().clock_us + 10**9)
    assert not running.screen.state().looking_back


def test_no_one_trades_in_the_past(running: Running) -> None:
    running.screen.seek(middle_of(running))
    with pytest.raises(InputError, match="you are looking back; jump to now to trade"):
        running.screen.ask(Ticket("flatten"))
    running.screen.to_now()
    with pytest.raises(InputError, match="the feed has not begun"):
        running.screen.ask(Ticket("flatten"))


def test_what_is_shown_now_of_a_feed_cannot_be_steered(running: Running) -> None:
    for steer in (running.screen.pause, lambda: running.screen.set_speed(2.0)):
        with pytest.raises(InputError):
            steer()
    running.screen.seek(middle_of(running))
    running.screen.step("trade")
    running.screen.play()


def test_the_volume_so_far_is_that_of_the_bars(running: Running) -> None:
    bars = running.engine.view.bars.all()
    volume = running.screen.overview(50)
    assert volume.shape == (50,)
    assert volume.sum() == (bars["buy_lots"] + bars["sell_lots"]).sum()
    assert np.count_nonzero(volume) > 25


def test_a_kept_replay_goes_forward_itself_and_back_by_looking(tmp_path: Path) -> None:
    one = Running(tmp_path / "source")
    one.feed(list(events(40_000))[:60])
    one.writer.close()
    rows = SessionRows.of(one.session, no_tape)
    genesis = live_genesis(INSTRUMENT, CONFIG, None, None)
    writer = SessionWriter.create(tmp_path / "kept", genesis, NOW, sync="none")
    engine = Engine(genesis.instruments, genesis.config, recorded=(writer.chain, writer))
    track = Track(engine, rows)
    player = Player([track], speed=1.0)
    session = Session.open(writer.folder)
    screen = LookBack(
        player,
        engine.views,
        partial(past_of_playback, session, track),
        player,
    )
    player.start(playing=False)
    try:
        state = screen.state()
        half, third = (state.start_us + (state.end_us - state.start_us) // part for part in (2, 3))
        screen.seek(half)
        until(lambda: player.state().clock_us >= half)
        at_input = engine.input
        order_id = screen.ask(Ticket("order", side=1, qty_lots=5))
        assert order_id == 1
        with pytest.raises(InputError, match="only be looked back on"):
            player.seek(third)
        screen.seek(third)
        assert screen.state().looking_back
        until(lambda: 0 < int(screen.look().snapshot["input"]) < at_input)
        assert engine.input == at_input
        screen.to_now()
        assert screen.look() is engine.view
        commands = session.commands()
        assert commands["input"].tolist() == [at_input]
    finally:
        player.stop()
        writer.close()
    assert threading.active_count() < 20
