"""A session that goes on from a waypoint is the one that began at its start."""

import hashlib
import itertools
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flowtape.replay.look_back import past_before, past_of
from flowtape.replay.resuming import Resumed, resume
from flowtape.replay.session_rows import SessionRows
from flowtape.replay.sessions import live_genesis
from flowtape.replay.summary import summary_of
from flowtape.stream import chain, recording, waypoints
from flowtape.stream.config import Decide, EngineConfig
from flowtape.stream.engine import Engine
from flowtape.stream.instrument import Instrument
from flowtape.stream.orderflow import OrderFlow, Sweeps, TimeBars
from flowtape.stream.records import BUBBLE
from flowtape.stream.session import Session, SessionWriter
from flowtape.stream.strategy import Market, Orders, Request
from flowtape.stream.view import Cursor
from flowtape.stream.waypoints import WaypointKeeper
from tests.replay.courses import (
    Brisk,
    Course,
    Run,
    copied,
    events_of,
    many_checkpoints,
    short_parts,
)
from tests.replay.live_sessions import NOW, no_tape
from tests.stream.tapes import INSTRUMENT

EVENTS = 60


class Watcher(Brisk):
    """Asks for lots that depend on all it was ever shown."""

    decide = Decide(grid_us=2_700_000)

    def on_start(self, market: Market) -> None:
        super().on_start(market)
        self.seen = 0

    def on_decision(self, market: Market, orders: Orders) -> None:
        bubbles, bars = market.new_bubbles, market.bars
        for number in (
            *(len(bubbles), int(bubbles["qty_lots"].sum()), int(bubbles["input"].sum())),
            *(len(bars), int(bars["buy_lots"].sum()), int(market.new_fills["qty_lots"].sum())),
        ):
            self.seen = (self.seen * 1_000_003 + number) % 999_983
        orders.buy(1 + self.seen % 50, market.last_ticks - self.seen % 3)
        if self.seen % 7 == 0:
            orders.flatten(market.position_lots)


@pytest.fixture(autouse=True)
def _short_parts() -> Iterator[None]:
    with short_parts():
        yield


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> Course:
    """What an undisturbed session of the watcher comes to."""
    with short_parts():
        course = Course(events_of(EVENTS, 9), Watcher)
        run = Run.begin(course, tmp_path_factory.mktemp("course"))
        for number in range(EVENTS):
            run.step(number)
            course.ends.append(run.engine.input)
        run.finish()
        course.folder = run.writer.folder
        course.summary = Session.open(course.folder).summary
        return course


@pytest.fixture(scope="module")
def left(course: Course, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The session as it lies there behind most of its events."""
    return left_behind(course, tmp_path_factory.mktemp("left"), EVENTS - 6)


def left_behind(course: Course, root: Path, stop: int, *, shown: bool = False) -> Path:
    with short_parts(), many_checkpoints():
        run = Run.begin(course, root / "running", shown=shown)
        run.go_to(stop)
        folder = copied(run.writer.folder, root)
        run.leave()
    return folder


def waypoints_of(folder: Path) -> list[Path]:
    return sorted((folder / "waypoints").glob("*.waypoint"))


def resumed_of(course: Course, folder: Path, **options: Any) -> Resumed:
    resumed = resume(Session.open(folder), no_tape, course.strategy(), **options)
    assert resumed.notice == ""
    return resumed


def ledger_of(engine: Engine) -> dict[str, bytes]:
    return {kind: records.tobytes() for kind, records in engine.ledger.since(None).items()}


def input_of(waypoint: Path) -> int:
    return int(json.loads(waypoint.read_bytes().partition(b"\n")[0])["input"])


def keep_first(folder: Path, count: int) -> None:
    """Have a session only the first so many waypoints."""
    for path in waypoints_of(folder)[count:]:
        path.unlink()


def test_the_watcher_sees_bubbles_and_fills(course: Course, left: Path) -> None:
    assert course.summary is not None
    assert course.summary.fill_count > 10
    assert len(waypoints_of(left)) > 4


def test_every_waypoint_leads_to_the_same(course: Course, left: Path, tmp_path: Path) -> None:
    count = len(waypoints_of(left))
    ends = set()
    for number in range(count + 1):
        folder = copied(left, tmp_path / f"{number}")
        keep_first(folder, number)
        began_at = [0, *map(input_of, waypoints_of(folder))][-1]
        resumed = resumed_of(course, folder)
        assert resumed.rows.before == began_at
        engine = resumed.engine
        resumed.writer.close()
        ends.add((engine.digest(), *ledger_of(engine).values()))
        run = Run.again(course, folder)
        run.go_on()
        assert Session.open(folder).summary == course.summary
        ends.add((run.engine.digest(), *ledger_of(run.engine).values()))
    assert len(ends) == 2, "where they were left, and their end"


def test_bubbles_not_yet_told_are_told(course: Course, left: Path, tmp_path: Path) -> None:
    sums = []
    for number in range(len(waypoints_of(left)), 0, -1):
        folder = copied(left, tmp_path / f"{number}")
        keep_first(folder, number)
        one = waypoints.Waypoints(folder / "waypoints", market_count=1, series_count=1).newest(
            lambda _: True, bars=True
        )
        assert one is not None
        sums.append(len(one.bubbles[0].untold))
        assert one.bubbles[0].untold.dtype == BUBBLE
    assert any(sums), "the case is not met"


def test_a_waypoint_behind_the_place_of_the_strategy_does_not_serve(
    course: Course, tmp_path: Path
) -> None:
    with many_checkpoints():
        run = Run.begin(course, tmp_path / "running")
        run.go_to(25)
        earlier = copied(run.writer.folder, tmp_path / "earlier")
        run.go_to(EVENTS - 6)
        folder = copied(run.writer.folder, tmp_path / "later")
        run.leave()
    shutil.rmtree(folder / "checkpoints")
    shutil.copytree(earlier / "checkpoints", folder / "checkpoints")
    standing = max(int(path.name[:12]) for path in (folder / "checkpoints").glob("*.json"))
    fitting = [one for one in map(input_of, waypoints_of(folder)) if one <= standing]
    assert 0 < len(fitting) < len(waypoints_of(folder)), "the case is not met"
    resumed = resumed_of(course, folder)
    resumed.writer.close()
    assert resumed.rows.before == fitting[-1]
    # Without any, the strategy is run again from its start, and so is all else.
    shutil.rmtree(folder / "checkpoints")
    again = resumed_of(course, folder)
    again.writer.close()
    assert again.rows.before == 0
    assert again.engine.digest() == resumed.engine.digest()


def resealed(folder: Path, data: bytes) -> bytes:
    return data + hashlib.sha256(f"{folder.name}\n".encode() + data).digest()


def with_header(path: Path, **values: object) -> bytes:
    """A waypoint with other values and the right checksum."""
    line, _, rest = path.read_bytes()[:-32].partition(b"\n")
    header = json.dumps({**json.loads(line), **values}).encode()
    return resealed(path.parent.parent, header + b"\n" + rest)


def broken_part(path: Path, name: str) -> bytes:
    """A waypoint of whose part the first byte is another one, with the right checksum."""
    data = bytearray(path.read_bytes()[:-32])
    header = json.loads(bytes(data).partition(b"\n")[0])
    at = data.index(b"\n") + 1
    for part, _, packed in header["parts"]:
        if part == name:
            data[at] ^= 64
        at += packed
    return resealed(path.parent.parent, bytes(data))


def other_state(path: Path) -> bytes:
    """A waypoint with a state that is another one's, with the right checksum."""
    other = next(one for one in sorted(path.parent.iterdir()) if one != path)
    parts, line = [], path.read_bytes().partition(b"\n")[0]
    header = json.loads(line)
    for one in (path, other):
        data = one.read_bytes()
        at = data.index(b"\n") + 1
        found = {}
        for name, raw, packed in json.loads(data[:at])["parts"]:
            found[name] = (raw, data[at : at + packed])
            at += packed
        parts.append(found)
    mixed = {**parts[0], "state": parts[1]["state"]}
    header["parts"] = [(name, raw, len(packed)) for name, (raw, packed) in mixed.items()]
    body = b"".join(packed for _, packed in mixed.values())
    return resealed(path.parent.parent, json.dumps(header).encode() + b"\n" + body)


DAMAGED: dict[str, Callable[[Path], bytes]] = {
    "empty": lambda path: b"",
    "torn": lambda path: path.read_bytes()[: path.stat().st_size // 2],
    "a flipped bit": lambda path: path.read_bytes()[:-40] + b"x" + path.read_bytes()[-39:],
    "no JSON": lambda path: resealed(path.parent.parent, b"{\n"),
    "too deep": lambda path: resealed(path.parent.parent, b"[" * 100_000 + b"\n"),
    "no object": lambda path: resealed(path.parent.parent, b"[]\n"),
    "another format": lambda path: with_header(path, version=2),
    "another block": lambda path: with_header(path, block=3_000),
    "another input": lambda path: with_header(path, input=1),
    "a negative input": lambda path: with_header(path, input=-1),
    "another one before it": lambda path: with_header(path, before=0),
    "ahead of the commands": lambda path: with_header(path, command_count=10**9),
    "another chain": lambda path: with_header(path, chain="00" * 32),
    "no chain": lambda path: with_header(path, chain="z"),
    "other instruments": lambda path: with_header(path, bubbles=[1, 2]),
    "no parts": lambda path: with_header(path, parts=[]),
    "a part too large to be": lambda path: with_header(path, parts=[["state", 1 << 40, 8]]),
    "a state that cannot be unpacked": lambda path: broken_part(path, "state"),
    "bars that cannot be unpacked": lambda path: broken_part(path, "records.0.bars.0"),
    "another state": other_state,
}


@pytest.mark.parametrize("which", ["first", "middle", "last"])
@pytest.mark.parametrize("name", DAMAGED)
def test_a_waypoint_that_is_not_sound_is_done_without(
    name: str, which: str, course: Course, left: Path, tmp_path: Path
) -> None:
    folder = copied(left, tmp_path)
    found = waypoints_of(folder)
    at = {"first": 0, "middle": len(found) // 2, "last": len(found) - 1}[which]
    before = [0, *map(input_of, found)][at]
    last = input_of(found[-1])
    found[at].write_bytes(DAMAGED[name](found[at]))
    resumed = resumed_of(course, folder)
    resumed.writer.close()
    if name == "another one before it" and which == "first":
        assert resumed.rows.before == last, "that is the one before the first"
    else:
        # What only the use of it shows leaves those behind it as they are.
        assert resumed.rows.before in {before, last}
        assert which != "last" or resumed.rows.before == before
    Run.again(course, folder).go_on()
    assert Session.open(folder).summary == course.summary


def test_another_sessions_waypoints_are_done_without(
    course: Course, left: Path, tmp_path: Path
) -> None:
    other = left_behind(Course(events_of(EVENTS, 10), Watcher), tmp_path / "other", EVENTS - 6)
    folder = copied(left, tmp_path)
    shutil.rmtree(folder / "waypoints")
    shutil.copytree(other / "waypoints", folder / "waypoints")
    resumed = resumed_of(course, folder)
    resumed.writer.close()
    assert resumed.rows.before == 0
    # Those of the other one are not gone on with.
    assert waypoints_of(folder) == []
    Run.again(course, folder).go_on()
    assert Session.open(folder).summary == course.summary


@pytest.mark.parametrize("shown_first", [False, True])
def test_without_bars_a_screen_starts_at_the_beginning(
    tmp_path: Path, *, shown_first: bool
) -> None:
    """A session that nobody watched keeps no bars; one that is watched needs all of them."""
    course = Course(events_of(EVENTS, 9), lambda: None, people=False)
    folder = left_behind(course, tmp_path / "one", 40, shown=shown_first)
    whole = left_behind(course, tmp_path / "two", 60, shown=True)
    session = Session.open(folder)
    resumed = resume(session, no_tape, None, shown=not shown_first)
    assert (resumed.rows.before > 0) == shown_first
    engine, at = resumed.engine, 40
    for event in course.events[at:]:
        engine.apply_event(event)
    resumed.writer.close()
    # Then the other way round.
    second = resume(Session.open(folder), no_tape, None, shown=True)
    second.writer.close()
    assert second.rows.before > 0
    assert not shown_first or second.rows.before <= resumed.rows.before
    reference = resume(Session.open(whole), no_tape, None, shown=True)
    reference.writer.close()
    assert second.engine.digest() == engine.digest() == reference.engine.digest()
    assert ledger_of(second.engine) == ledger_of(reference.engine)


def test_a_screen_shows_all_bars_and_only_bubbles_there_were(
    course: Course, left: Path, tmp_path: Path
) -> None:
    folder = copied(left, tmp_path)
    resumed = resumed_of(course, folder, shown=True)
    resumed.writer.close()
    assert resumed.rows.before > 0
    shutil.rmtree(folder / "waypoints")
    whole = resumed_of(course, folder, shown=True)
    whole.writer.close()
    now, then = (one.engine.view.read(Cursor()) for one in (resumed, whole))
    assert now.bars.tobytes() == then.bars.tobytes()
    assert now.fills.tobytes() == then.fills.tobytes()
    assert now.equity.tobytes() == then.equity.tobytes()
    assert now.snapshot.tobytes() == then.snapshot.tobytes()
    assert 0 < len(now.bubbles) < len(then.bubbles)
    assert now.bubbles.tobytes() == then.bubbles[-len(now.bubbles) :].tobytes()
    assert np.all(now.bubbles["qty_lots"] > 0)


def test_what_was_is_the_same_from_every_place(course: Course, left: Path, tmp_path: Path) -> None:
    folder = copied(left, tmp_path)
    session = Session.open(folder)
    whole = past_of(session, SessionRows.of(session, no_tape))
    befores = set()
    for row in range(0, whole.row_count, 97):
        ts_us = whole.time_of(row)
        near = past_before(session, no_tape, ts_us)
        befores.add(near.first_row)
        assert near.first_row <= max(row - 110, 0)
        target = near.row_behind(ts_us)
        assert target == whole.row_behind(ts_us)
        near.seek(target)
        whole.seek(target)
        assert near.engine.digest() == whole.engine.digest()
        assert ledger_of(near.engine) == ledger_of(whole.engine)
        assert near.time_of(near.first_row) == whole.time_of(near.first_row)
        near.seek(0)
        assert near.row == near.first_row
        near.seek(near.row_count)
    assert len(befores) > 3


def test_the_end_of_a_session_needs_no_waypoints(course: Course) -> None:
    assert not (course.folder / "waypoints").exists()


def test_a_replay_at_full_speed_is_not_held_up(
    course: Course, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waypoints, "EVERY_BLOCKS", 2)
    monkeypatch.setattr(waypoints, "EVERY_S", 11.0)
    monkeypatch.setattr(recording, "GRID_INPUTS", 40)
    monkeypatch.setattr(chain, "GRID_INPUTS", 40)
    clock_s = 0.0
    monkeypatch.setattr(
        "flowtape.stream.session.WaypointKeeper",
        lambda folder: WaypointKeeper(folder, lambda: clock_s),
    )
    run = Run.begin(course, tmp_path)
    links = Session.open(run.writer.folder)
    kept_at = []
    for number in range(EVENTS - 6):
        before = len(waypoints_of(run.writer.folder))
        run.step(number)
        if len(waypoints_of(run.writer.folder)) > before:
            kept_at.append((clock_s, len(links.links())))
        clock_s += 1.0
    run.leave()
    assert len(kept_at) > 2
    for (earlier_s, earlier), (later_s, later) in itertools.pairwise(kept_at):
        assert later_s - earlier_s >= 11
        assert later - earlier >= 2


def test_a_full_disk_costs_the_waypoint_only(course: Course, tmp_path: Path) -> None:
    run = Run.begin(course, tmp_path)
    (run.writer.folder / "waypoints").write_text("no folder")
    run.go_to(EVENTS - 6)
    folder = copied(run.writer.folder, tmp_path / "copy")
    run.leave()
    (folder / "waypoints").unlink()
    Run.again(course, folder).go_on()
    assert Session.open(folder).summary == course.summary


class Pair(Watcher):
    """Looks at all that is known of two instruments, and trades both."""

    def on_decision(self, market: Market, orders: Orders) -> None:
        super().on_decision(market, orders)
        other = market.all[1]
        seen = (other.new_bubbles, other.bars, other.footprint_rows_of(1), other.marks)
        self.seen = (self.seen * 31 + sum(map(len, seen))) % 999_983
        orders.place(Request(market=1, side=1 if self.seen % 2 else -1, qty_lots=1 + self.seen % 9))


def test_all_of_two_instruments_is_there_again(tmp_path: Path) -> None:
    config = EngineConfig(
        bars=(TimeBars(1_000_000, row_ticks=5), TimeBars(5_000_000, row_ticks=20)),
        bubble_band_ticks=40,
        equity_grid_us=3_000_000,
        orderflow=OrderFlow(vwap=True, sweeps=Sweeps(level_count=2, window_us=900_000)),
    )
    other = Instrument("OTHERUSDT", "spot", 2, 5)
    genesis = live_genesis([INSTRUMENT, other], config, Pair(), None)
    told = list(zip(events_of(EVENTS, 9), events_of(EVENTS, 12), strict=True))

    def go_on(engine: Engine, first: int, stop: int) -> None:
        for pair in told[first:stop]:
            for market, event in enumerate(pair):
                engine.apply_event(event, market)

    ends = set()
    for number in range(2):
        with many_checkpoints():
            writer = SessionWriter.create(tmp_path / f"{number}", genesis, NOW, sync="none")
            engine = Engine(
                genesis.instruments,
                genesis.config,
                Pair(),
                shown=False,
                recorded=(writer.chain, writer),
            )
            go_on(engine, 0, 50)
            if number == 1:
                folder = copied(writer.folder, tmp_path / "copy")
                resumed = resume(Session.open(folder), no_tape, Pair())
                assert resumed.notice == ""
                assert resumed.rows.before > 400
                writer.close()
                engine, writer = resumed.engine, resumed.writer
            go_on(engine, 50, EVENTS)
        engine.end()
        writer.finish(summary_of(engine, writer.chain.value))
        ledger = ledger_of(engine)
        assert all(ledger[kind] for kind in ledger if kind not in {"other_fills"}), ledger.keys()
        ends.add((writer.chain.value, engine.digest(), *ledger.values()))
    assert len(ends) == 1
