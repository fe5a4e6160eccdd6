"""Whatever a strategy does, the engine says so in one line, and what was kept stays sound."""

import itertools
import os
import re
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from flowtape.replay.generate import GeneratorConfig
from flowtape.replay.session_store import SessionStore
from flowtape.replay.verifying import Verdict, verify
from flowtape.stream.chain import GRID_INPUTS
from flowtape.stream.commands import Origin
from flowtape.stream.config import EngineConfig, TimeBars
from flowtape.stream.decisions import StrategyError
from flowtape.stream.engine import Engine
from flowtape.stream.orderflow import OrderFlow
from flowtape.stream.session import Session
from flowtape.stream.strategy import Strategy
from tests.replay import misbehaving
from tests.replay.kept_sessions import Person, Place
from tests.replay.misbehaving import Trader

ROWS = 75_000
SYMBOL = "COARSEUSDT"
CONFIG = EngineConfig(
    initial_cash="1000000",
    bars=(TimeBars(1_000_000, row_ticks=5),),
    orderflow=OrderFlow(vwap=True),
    bubble_band_ticks=5,
)

Run = Callable[..., tuple[Session, Engine]]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a tape of three hours: a whole block of inputs and a part of another."""
    root = tmp_path_factory.mktemp("home")
    Place.below(root).add(GeneratorConfig.preset("coarse"), seed=3, trades_count=ROWS)
    return root


@pytest.fixture
def place(home: Path, tmp_path: Path) -> Place:
    return Place(Place.below(home).tapes, tmp_path / "sessions")


def keep(place: Place, strategy: Strategy | None, person: Person | None = None) -> Session:
    return place.keep([SYMBOL], CONFIG, strategy, person=person)[0]


def again(place: Place, session: Session, strategy: Strategy | None = None) -> Verdict:
    return verify(session, place.open_tape, strategy)


def left_behind(place: Place) -> Session:
    """The session of a strategy that failed."""
    (session,) = SessionStore(place.sessions).sessions()
    assert not session.ended
    return session


FAILURES = {
    "at its start": (misbehaving.Raises(at=0), "at its start: RuntimeError: out of ideas"),
    "at once": (misbehaving.Raises(), "RuntimeError: out of ideas"),
    "in the first block": (misbehaving.Raises(at=200), "RuntimeError: out of ideas"),
    "in the second block": (misbehaving.Raises(at=330), "RuntimeError: out of ideas"),
    "by exit": (misbehaving.Raises(at=50, how="SystemExit"), "SystemExit: enough of it"),
    "by recursion": (misbehaving.Raises(at=50, how="RecursionError"), "RecursionError: maximum "),
    "by memory": (misbehaving.Raises(at=50, how="MemoryError"), "MemoryError: out of ideas"),
    "without end": (misbehaving.WithoutEnd(), "the configured number of open orders is reached"),
}


@pytest.mark.parametrize("name", FAILURES)
def test_a_failure_is_one_line_and_leaves_a_sound_session(name: str, place: Place) -> None:
    strategy, said = FAILURES[name]
    with pytest.raises(StrategyError) as caught:
        keep(place, strategy)
    line = str(caught.value)
    when = r"at its start: |at stream time 2026-01-01T0\d:\d\d:\d\d\.\d{6}Z: "
    assert re.match(rf"strategy {type(strategy).__name__} failed ({when})", line)
    assert said in line
    assert "\n" not in line
    session = left_behind(place)
    verdict = again(place, session)
    assert verdict.difference is None
    assert verdict.block_count == (name == "in the second block")
    if name == "at its start":
        with pytest.raises(StrategyError, match=re.escape(line)):
            again(place, session, strategy)
    else:
        assert again(place, session, strategy).difference is None
    asked = len(session.commands())
    assert (
        asked == EngineConfig().orders_max
        if name == "without end"
        else (asked > 50) == (getattr(strategy, "at", 0) > 1)
    )


def test_a_task_that_is_cancelled_is_a_failure_of_the_strategy(place: Place) -> None:
    with pytest.raises(StrategyError, match="CancelledError"):
        keep(place, misbehaving.Raises(at=50, how="CancelledError"))


def test_a_slow_strategy_is_the_same(place: Place) -> None:
    slow, quick = keep(place, misbehaving.Sleeps()), keep(place, Trader())
    assert slow.commands().tobytes() == quick.commands().tobytes()
    verdict = again(place, slow, misbehaving.Sleeps())
    assert verdict.difference is None
    assert verdict.command_count == len(slow.commands()) > 500


FIRST = (
    r"the strategy's command 1 differs: recorded is buy \d+ lots at 8298 ticks behind input 265; "
    r"now it is buy \d+ lots at 8298 ticks behind input 265"
)


@pytest.mark.parametrize(
    "kind", [misbehaving.WallClock, misbehaving.Unseeded, misbehaving.Addresses]
)
def test_what_no_data_decides_is_found_at_the_first_command(
    kind: type[Trader], place: Place
) -> None:
    # The engine stays alive, and the addresses of its strategy with it.
    session, engine = place.keep([SYMBOL], CONFIG, kind())
    assert engine.ended
    verdict = again(place, session, kind())
    assert verdict.difference is not None
    assert re.fullmatch(FIRST, verdict.difference)
    assert verdict.block_count == 0
    assert again(place, session).difference is None


def test_state_of_the_module_is_found_where_it_decides(place: Place) -> None:
    misbehaving.CountsRuns.runs[0] = 0
    session, other = (keep(place, misbehaving.CountsRuns()) for _ in range(2))
    one, two = session.commands(), other.commands()
    first = int(np.flatnonzero(one != two[: len(one)])[0])
    assert first > 20
    verdict = again(place, session, misbehaving.CountsRuns())
    assert verdict.difference is not None
    behind = rf"lots at \d+ ticks behind input {int(one['input'][first]):,}"
    assert re.fullmatch(
        rf"the strategy's command {first + 1} differs: recorded is buy 101 {behind}; now it is "
        rf"buy 103 {behind}",
        verdict.difference,
    )
    assert verdict.command_count == first


def test_a_file_that_changes_is_found(place: Place, tmp_path: Path) -> None:
    path = tmp_path / "lots"
    path.write_text("120")
    session = keep(place, misbehaving.ReadsFile(path=str(path)))
    assert again(place, session, misbehaving.ReadsFile(path=str(path))).difference is None
    path.write_text("121")
    difference = again(place, session, misbehaving.ReadsFile(path=str(path))).difference
    assert difference is not None
    assert re.fullmatch(FIRST, difference)
    assert "recorded is buy 120 lots" in difference
    assert "now it is buy 121 lots" in difference


def test_an_environment_that_changes_is_found(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLOWTAPE_TEST_LOTS", "120")
    session = keep(place, misbehaving.ReadsEnvironment())
    assert again(place, session, misbehaving.ReadsEnvironment()).difference is None
    monkeypatch.setenv("FLOWTAPE_TEST_LOTS", "121")
    difference = again(place, session, misbehaving.ReadsEnvironment()).difference
    assert difference is not None
    assert "now it is buy 121 lots" in difference


def flowtape(home: Path, hash_seed: int, *words: str) -> tuple[int, str]:
    """Run the command line in a process of its own; returns its exit code and all it said."""
    ran = subprocess.run(
        [sys.executable, "-m", "flowtape.cli.main", *words],
        env={**os.environ, "FLOWTAPE_HOME": str(home), "PYTHONHASHSEED": str(hash_seed)},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    return ran.returncode, ran.stdout + ran.stderr


@pytest.fixture(scope="module")
def recorded(home: Path) -> Callable[[str], str]:
    """Returns the id of a strategy's session, kept by a process with hash seed 1."""

    @cache
    def keep_by(name: str) -> str:
        # Without the report of a backtest, which takes the longest for so many fills.
        words = ("replay", SYMBOL, "--speed", "max", "--no-dashboard", "--record")
        words += ("--strategy", f"{misbehaving.__file__}:{name}")
        kept, said = flowtape(home, 1, *words)
        assert kept == 0, said
        (session,) = re.findall(r"^session (\w{26}) digest", said, re.MULTILINE)
        opened = SessionStore(home / "sessions").open(session)
        assert verify(opened, Place.below(home).open_tape).difference is None
        return str(session)

    return keep_by


@pytest.mark.parametrize(
    ("name", "seed", "code"),
    [("OrderOfSet", 1, 0), ("OrderOfSet", 2, 1), ("WallClock", 1, 1), ("Trader", 2, 0)],
)
def test_another_process_decides_otherwise(
    name: str, seed: int, code: int, home: Path, recorded: Callable[[str], str]
) -> None:
    session = recorded(name)
    found, said = flowtape(home, seed, "verify", session, "--deep")
    assert found == code, said
    if code:
        assert re.search(rf"^session {session} differs: {FIRST}$", said, re.MULTILINE)


def test_a_failure_in_the_command_line_is_one_line(home: Path, tmp_path: Path) -> None:
    strategy = f"{misbehaving.__file__}:Raises"
    words = ("backtest", SYMBOL, "--strategy", strategy, "--set", "at=330", "--record")
    code, said = flowtape(home, 1, *words, "--out", str(tmp_path / "out"))
    assert code == 2
    (line,) = [line for line in said.splitlines() if line.startswith("flowtape: ")]
    assert re.match(
        r"flowtape: strategy Raises failed at stream time .*: RuntimeError: out of", line
    )
    assert "Traceback" not in said
    for deep in ((), ("--deep",)):
        code, said = flowtape(home, 2, "verify", "last", *deep)
        assert code == 0, said
        assert "65,536 inputs" in said


def test_writing_to_what_it_sees_changes_nothing(place: Place) -> None:
    honest, first = place.keep([SYMBOL], CONFIG, misbehaving.Honest())
    writing, second = place.keep([SYMBOL], CONFIG, misbehaving.Writes())
    assert writing.commands().tobytes() == honest.commands().tobytes()
    assert len(set(honest.commands()["request"]["qty_lots"].tolist())) > 100
    for name in ("inputs", "outputs", "state"):
        assert writing.links()[name].tobytes() == honest.links()[name].tobytes()
    assert second.digest() == first.digest()


def test_what_a_strategy_sees_does_not_depend_on_how_inputs_are_cut(place: Place) -> None:
    session = keep(place, misbehaving.Honest())
    assert again(place, session, misbehaving.Honest()).difference is None


def test_an_anchor_that_is_set_at_the_start_is_the_strategys(place: Place) -> None:
    session = keep(place, misbehaving.Anchors())
    assert set(session.commands()["origin"]) == {Origin.STRATEGY}
    assert again(place, session).difference is None
    assert again(place, session, misbehaving.Anchors()).difference is None


def test_a_command_behind_the_last_input_of_a_block_is_given_again(place: Place) -> None:
    session = keep(place, misbehaving.AtBlocks())
    assert session.commands()["input"].tolist() == [GRID_INPUTS, GRID_INPUTS]
    assert again(place, session, misbehaving.AtBlocks()).difference is None
    assert again(place, session).difference is None


def test_a_person_may_act_behind_the_last_input_of_a_block(place: Place) -> None:
    def person(engine: Engine) -> None:
        engine.orders.buy(5, int(engine.snapshot["last_ticks"]) - 40)

    session, _ = place.keep([SYMBOL], CONFIG, None, person=person, piece_rows=GRID_INPUTS)
    assert again(place, session).difference is None


def test_orders_of_a_thread_that_is_waited_for_are_refused(place: Place) -> None:
    session = keep(place, misbehaving.LendsOrders())
    commands = session.commands()
    assert set(commands["origin"]) == {Origin.STRATEGY}
    assert not (commands["request"]["qty_lots"] == 77).any()
    assert "from another thread" in misbehaving.LendsOrders.refused[0]
    assert again(place, session, misbehaving.LendsOrders()).difference is None


def test_orders_outside_of_a_decision_are_a_persons(place: Place) -> None:
    asked = itertools.count()

    def person(engine: Engine) -> None:
        if next(asked) % 2:
            misbehaving.KeepsOrders.given[0].buy(33, int(engine.snapshot["last_ticks"]) - 30)

    session = keep(place, misbehaving.KeepsOrders(), person)
    commands = session.commands()
    persons = commands[commands["origin"] == Origin.PERSON]
    assert set(persons["request"]["qty_lots"]) == {33}
    assert len(persons) == 4
    assert again(place, session).difference is None
    assert again(place, session, misbehaving.KeepsOrders()).difference is None


@pytest.mark.parametrize("attempts", [2, pytest.param(8, marks=pytest.mark.deep)])
def test_threads_that_are_left_behind_leave_the_session_readable(
    home: Path, tmp_path: Path, attempts: int
) -> None:
    kind = misbehaving.LeavesThreads
    for attempt in range(attempts):
        place = Place(Place.below(home).tapes, tmp_path / f"{attempt}")
        kind.stop.clear()
        try:
            keep(place, kind())
        finally:
            kind.stop.set()
            for thread in kind.threads:
                thread.join()
        (session,) = SessionStore(place.sessions).sessions()
        assert again(place, session).difference is None


@pytest.mark.parametrize("kind", misbehaving.GARBAGE)
def test_garbage_is_refused(kind: str, place: Place) -> None:
    session, engine = place.keep([SYMBOL], CONFIG, misbehaving.Garbage(kind=kind))
    assert isinstance(engine.strategy, misbehaving.Garbage)
    assert engine.strategy.calls > 300
    assert engine.strategy.taken == []
    commands = session.commands()
    assert (commands["request"]["qty_lots"] >= 0).all()
    assert again(place, session).difference is None
    assert again(place, session, misbehaving.Garbage(kind=kind)).difference is None


def test_whole_floats_are_whole_numbers_or_refused(place: Place) -> None:
    session = keep(place, misbehaving.Garbage(kind="a whole float"))
    assert again(place, session, misbehaving.Garbage(kind="a whole float")).difference is None
