"""Playback: seeking, stepping and pacing lead to the results of one straight run."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowtape.replay.parts import TapeColumns
from flowtape.replay.player import Player, parse_speed
from flowtape.replay.track import CHECKPOINT_ROWS, Track, fold
from flowtape.stream.config import Decide, EngineConfig
from flowtape.stream.engine import Engine
from flowtape.stream.errors import InputError
from flowtape.stream.strategy import Strategy
from tests.stream.strategies import Broken, Flipper
from tests.stream.tapes import INSTRUMENT, MemoryTape, make_columns

LONG = make_columns(10 * CHECKPOINT_ROWS + 1000, seed=1)
SHORT = make_columns(3000, seed=2)
CONFIG = EngineConfig(equity_grid_us=60_000_000)


def track_of(columns: TapeColumns, strategy: Strategy | None = None, pieces: int = 1) -> Track:
    return Track(Engine(INSTRUMENT, CONFIG, strategy), MemoryTape(columns, pieces))


def straight(columns: TapeColumns, strategy: Strategy | None = None) -> str:
    engine = Engine(INSTRUMENT, CONFIG, strategy, shown=False)
    fold(engine, [columns])
    return engine.digest()


@pytest.fixture(scope="module")
def long_digest() -> str:
    return straight(LONG)


@given(st.lists(st.integers(0, len(LONG)), max_size=6), st.integers(1, 5))
@settings(max_examples=15)
def test_any_seeks_lead_to_the_same_end(long_digest: str, rows: list[int], pieces: int) -> None:
    track = track_of(LONG, pieces=pieces)
    for row in rows:
        track.seek(row)
        assert track.row == row
        assert track.finished == (row == track.row_count)
        assert int(track.engine.snapshot["trade_count"]) == row
        bars = track.engine.view.bars.all()
        assert np.all(np.diff(bars["ts_us"]) > 0)
        assert bars["trade_count"].sum() + int(track.engine.snapshot["bar"]["trade_count"]) == row
    track.advance(track.row_count)
    assert track.engine.digest() == long_digest


class Calm(Flipper):
    """Few decisions, so that the test takes little time."""

    decide = Decide(grid_us=10_000_000)


def test_seeks_with_a_strategy_lead_to_the_same_end() -> None:
    columns = LONG.slice(0, 100_000)
    track = track_of(columns, Calm())
    for row in (90_000, 1000, 70_000, 40_000):
        track.seek(row)
    track.advance(track.row_count)
    assert track.engine.digest() == straight(columns, Calm())


def test_seek_shows_the_bubbles_before_its_target() -> None:
    track = track_of(LONG)
    track.seek(300_000)
    track.seek(200_000)
    straight_on = Engine(INSTRUMENT, CONFIG)
    straight_on.apply(LONG.slice(0, 200_000))
    shown = track.engine.view.bubbles.since(0)
    expected = straight_on.view.bubbles.since(0)
    assert len(shown) > 10_000
    assert shown[-10_000:].tobytes() == expected[-10_000:].tobytes()
    prints = track.engine.view.prints.since(0)
    assert list(prints["input"][-3:]) == [199_998, 199_999, 200_000]


def test_volume_overview_holds_every_lot() -> None:
    track = track_of(LONG, pieces=3)
    bins = track.volume(track.time_of(0), track.time_of(track.row_count - 1), 100)
    assert bins.sum() == LONG.qty_lots.sum()
    assert (bins > 0).sum() > 90


@contextmanager
def playing(*tracks: Track, speed: float = 60.0, start: bool = True) -> Iterator[Player]:
    player = Player(tracks, speed=speed)
    player.start(playing=start)
    try:
        yield player
    finally:
        player.stop()


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "waited 20 s in vain"
        time.sleep(0.002)


@pytest.mark.parametrize("speed", [math.inf, 10_000.0])
def test_playing_gives_the_results_of_a_straight_run(speed: float) -> None:
    track = track_of(SHORT, Flipper())
    with playing(track, speed=speed) as player:
        player.wait()
        state = player.state()
    assert state.ended
    assert not state.playing
    assert state.clock_us == state.end_us
    assert track.engine.digest() == straight(SHORT, Flipper())


def test_several_tapes_share_one_clock() -> None:
    other = make_columns(2000, seed=9, mean_gap_us=80_000)
    first, second = track_of(SHORT), track_of(other)
    with playing(first, second, speed=200.0) as player:
        eventually(lambda: first.row > 500 and second.row > 200)
        player.pause()
        eventually(lambda: not player.state().playing)
        at = player.state().clock_us
        assert first.row == first.row_behind(at)
        assert second.row == second.row_behind(at)
        player.set_speed(math.inf)
        player.play()
        player.wait()
    assert first.engine.digest() == straight(SHORT)
    assert second.engine.digest() == straight(other)


def test_clock_runs_at_the_speed_asked_for() -> None:
    now = [0.0]
    player = Player([track_of(SHORT)], speed=100.0, now_s=lambda: now[0])
    player.start()
    try:
        eventually(lambda: player.state().playing)
        before = player.state().clock_us
        now[0] = 0.2
        assert player.state().clock_us - before == pytest.approx(20_000_000, abs=1)
        player.set_speed(10.0)
        eventually(lambda: player.state().speed == 10.0)
        before = player.state().clock_us
        now[0] = 0.5
        assert player.state().clock_us - before == pytest.approx(3_000_000, abs=1)
        target = player.state().clock_us
        eventually(lambda: int(player._tracks[0].engine.snapshot["stream_us"]) > target - 500_000)
    finally:
        player.stop()


def test_pause_stands_still_and_steps_go_on_by_one() -> None:
    track = track_of(SHORT)
    with playing(track, start=False) as player:
        player.step("trade")
        eventually(lambda: track.row == 1)
        player.step("trade")
        eventually(lambda: track.row == 2)
        player.step("batch")
        eventually(lambda: track.row >= 258)
        bars = track.engine.view.bars.head
        player.step("bar")
        eventually(
            lambda: (
                track.time_of(track.row) // 1_000_000 > track.time_of(track.row - 1) // 1_000_000
            )
        )
        assert track.engine.view.bars.head >= bars
        row = track.row
        state = player.state()
        assert not state.playing
        assert track.row == row
        player.step("bar")
        eventually(lambda: track.row > row)


def test_seek_moves_the_clock_and_play_after_the_end_starts_again() -> None:
    track = track_of(SHORT)
    with playing(track, start=False) as player:
        state = player.state()
        middle = (state.start_us + state.end_us) // 2
        player.seek(middle)
        eventually(lambda: player.state().clock_us == middle)
        assert track.row == track.row_behind(middle)
        player.seek(state.end_us + 10**12)
        eventually(lambda: player.state().ended)
        player.play()
        eventually(lambda: player.state().playing and track.row < 100)
        player.seek(-5)
        eventually(lambda: player.state().clock_us < state.start_us + 10**8)


def test_failing_strategy_stops_the_playback_and_says_so() -> None:
    track = track_of(SHORT, Broken())
    player = Player([track], speed=math.inf)
    player.start()
    with pytest.raises(Exception, match="out of ideas"):
        player.wait()
    assert "out of ideas" in track.engine.view.notice
    with pytest.raises(Exception, match="out of ideas"):
        player.stop()


def test_speeds() -> None:
    assert parse_speed("max") == math.inf
    assert parse_speed("100x") == 100
    assert parse_speed("0.1") == 0.1
    for text in ("0", "0.05", "10001", "-1", "fast", "nan", ""):
        with pytest.raises(InputError, match=r"speed must be 0\.1 to 10000 or max"):
            parse_speed(text)
