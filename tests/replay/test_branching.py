"""Branches of sessions: the same up to a place, and kept like any other session."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from flowtape.replay.branching import Fork, OrdersAgain, branch, fork_at, fork_before
from flowtape.replay.resuming import resume
from flowtape.replay.session_rows import SessionRows
from flowtape.replay.sessions import run_again
from flowtape.replay.summary import summary_of
from flowtape.replay.track import Track
from flowtape.replay.verifying import verify
from flowtape.stream.commands import CommandKind, Origin
from flowtape.stream.engine import Engine
from flowtape.stream.errors import InputError
from flowtape.stream.session import Session
from flowtape.stream.strategy import Strategy
from tests.replay.live_sessions import NOW, Calm, no_tape, run_live

COUNT = 30_000


@dataclass
class Calmer(Calm):
    """Another strategy."""

    every: int = 2


@pytest.fixture(scope="module")
def by_hand(tmp_path_factory: pytest.TempPathFactory) -> Session:
    return run_live(tmp_path_factory.mktemp("by_hand"), COUNT)


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Session:
    return run_live(tmp_path_factory.mktemp("mixed"), COUNT, Calm())


def go(
    parent: Session,
    root: Path,
    fork: Fork,
    strategy: Strategy | None,
    again: OrdersAgain | None = None,
) -> tuple[Session, Engine]:
    made = branch(parent, fork, root, NOW, strategy=strategy, name=None)
    resumed = resume(made, no_tape, strategy, until=fork.input)
    assert resumed.notice == ""
    assert resumed.engine.input == fork.input
    track = Track(resumed.engine, resumed.rows, again)
    track.advance(track.row_count)
    resumed.writer.finish(summary_of(resumed.engine, resumed.writer.chain.value))
    return Session.open(made.folder), resumed.engine


def trail(commands: np.ndarray) -> list[tuple[int, ...]]:
    names = ("input", "place", "kind", "origin", "ts_us", "order_id")
    return [tuple(int(command[name]) for name in names) for command in commands]


def common(session: Session, fork: Fork) -> list[tuple[int, ...]]:
    return [one for one in trail(session.commands()) if one[:2] <= (fork.input, fork.place)]


def test_the_strategy_goes_on_and_people_do_not(mixed: Session, tmp_path: Path) -> None:
    rows = SessionRows.of(mixed, no_tape)
    fork = fork_at(mixed, rows, int(rows.segments()[0].ts_us[12_000]))
    assert 0 < fork.input <= 12_000
    made, _ = go(mixed, tmp_path, fork, Calm())
    assert made.genesis.parent is not None
    assert made.genesis.parent.id == mixed.id
    assert not made.genesis.parent.strategy_begins
    assert common(made, fork) == common(mixed, fork)
    later = made.commands()[made.commands()["input"] > fork.input]
    assert set(later["origin"].tolist()) == {Origin.STRATEGY}
    for strategy in (None, Calm()):
        assert verify(made, no_tape, strategy).difference is None
    _, digest = run_again(made, no_tape, Calm())
    assert made.summary is not None
    assert digest.hex() == made.summary.digest


@pytest.mark.parametrize("strategy", [Calmer(), Calm(every=7)])
def test_another_strategy_begins_at_the_fork(
    mixed: Session, tmp_path: Path, strategy: Calm
) -> None:
    fork = Fork(15_000, 0)
    made, engine = go(mixed, tmp_path, fork, strategy)
    assert made.genesis.parent is not None
    assert made.genesis.parent.strategy_begins
    assert common(made, fork) == common(mixed, fork)
    later = made.commands()["input"] > fork.input
    assert later.any()
    decided = engine.strategy
    assert isinstance(decided, Calm)
    # It decided in the second half only.
    whole, _ = run_again(mixed, no_tape, Calm())
    assert isinstance(whole.strategy, Calm)
    assert 0 < decided.calls < whole.strategy.calls * 0.7
    for again in (None, type(strategy)(every=strategy.every)):
        assert verify(made, no_tape, again).difference is None
    _, digest = run_again(made, no_tape, type(strategy)(every=strategy.every))
    assert made.summary is not None
    assert digest.hex() == made.summary.digest


def test_a_branch_that_is_left_goes_on_to_the_same(mixed: Session, tmp_path: Path) -> None:
    fork = Fork(9_000, 0)
    whole, _ = go(mixed, tmp_path / "whole", fork, Calmer())
    left = branch(mixed, fork, tmp_path / "left", NOW, strategy=Calmer(), name=None)
    resumed = resume(left, no_tape, Calmer(), until=fork.input)
    Track(resumed.engine, resumed.rows).advance(20_000)
    resumed.writer.close()
    resumed = resume(Session.open(left.folder), no_tape, Calmer())
    assert fork.input < resumed.engine.input <= 20_000
    track = Track(resumed.engine, resumed.rows)
    track.advance(track.row_count)
    resumed.writer.finish(summary_of(resumed.engine, resumed.writer.chain.value))
    assert trail(Session.open(left.folder).commands()) == trail(whole.commands())
    assert np.array_equal(Session.open(left.folder).links()["state"], whole.links()["state"])


def test_everything_again_but_one_order(by_hand: Session, tmp_path: Path) -> None:
    placed = by_hand.commands()
    placed = placed[placed["kind"] == CommandKind.PLACE]
    victim = int(placed["order_id"][len(placed) // 2])
    fork = fork_before(by_hand, victim, decides_again=False)
    again = OrdersAgain(by_hand, fork, victim)
    made, engine = go(by_hand, tmp_path, fork, None, again)
    then, now = by_hand.commands(), made.commands()
    assert len(now) == len(then) - 1
    expected = [one for one in trail(then) if one[5] != victim or one[2] != CommandKind.PLACE]
    assert [(a[0], a[2]) for a in trail(now)] == [(b[0], b[2]) for b in expected]
    # Later orders have the numbers before them.
    ids = now["order_id"][now["kind"] == CommandKind.PLACE].tolist()
    assert ids == list(range(1, len(ids) + 1))
    assert len(engine.ledger.placed()) == len(placed) - 1
    assert verify(made, no_tape).difference is None


def test_leaving_nothing_out_is_the_same_again(by_hand: Session, tmp_path: Path) -> None:
    again = OrdersAgain(by_hand, Fork(0, 0), without=0)
    made, _ = go(by_hand, tmp_path, Fork(0, 0), None, again)
    assert again.refused == []
    assert trail(made.commands()) == trail(by_hand.commands())
    assert np.array_equal(made.links()["state"], by_hand.links()["state"])


def test_what_names_nothing_is_told(mixed: Session) -> None:
    rows = SessionRows.of(mixed, no_tape)
    with pytest.raises(InputError, match="ends before that time"):
        fork_at(mixed, rows, 2**62)
    with pytest.raises(InputError, match="has no order 99999"):
        fork_before(mixed, 99_999, decides_again=False)
    commands = mixed.commands()
    placed = commands["kind"] == CommandKind.PLACE
    own = int(commands["order_id"][placed & (commands["origin"] == Origin.STRATEGY)][0])
    with pytest.raises(InputError, match="was the strategy's, which would place it again"):
        fork_before(mixed, own, decides_again=True)
    assert fork_before(mixed, own, decides_again=False).input > 0
