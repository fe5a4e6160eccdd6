"""Sessions over tapes: kept, found again, verified; what differs is named."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar

import pytest

from flowtape.replay import verifying
from flowtape.replay.demo_tape import DEMO_SYMBOL, demo_store
from flowtape.replay.session_store import SessionStore
from flowtape.replay.sessions import Range, genesis_of
from flowtape.replay.summary import summary_of
from flowtape.replay.tapes import Tape
from flowtape.replay.verifying import OtherSemanticsError
from flowtape.stream.commands import Origin
from flowtape.stream.config import Decide, EngineConfig
from flowtape.stream.decisions import StrategyError
from flowtape.stream.engine import Engine
from flowtape.stream.errors import InputError
from flowtape.stream.journal import JournalDamagedError
from flowtape.stream.orderflow import OrderFlow
from flowtape.stream.session import Session, SessionError, SessionWriter, new_id
from flowtape.stream.strategy import Market, Orders, Strategy
from tests.stream.strategies import Flipper

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
CONFIG = EngineConfig(
    equity_grid_us=60_000_000, bubble_band_ticks=400, orderflow=OrderFlow(vwap=True)
)
END_US = 1_767_268_800_000_000 + 3_600_000_000 * 2
"""Two hours into the demo tape."""


def open_tape(_: str, from_us: int | None, to_us: int | None) -> Tape:
    return demo_store().open(DEMO_SYMBOL, from_us, to_us)


@dataclass
class Slow(Flipper):
    """Few orders, so that the tests take little time."""

    decide: ClassVar[Decide] = Decide(grid_us=30_000_000)


def run(
    root: Path,
    strategy: Strategy,
    *,
    person: Callable[[Engine], None] | None = None,
    stop_row: int | None = None,
) -> Session:
    """Keep a session, in pieces of odd sizes; with `stop_row` it is left there."""
    tape = open_tape("demo", None, END_US)
    genesis = genesis_of([Range(tape, None, END_US)], CONFIG, strategy, None)
    writer = SessionWriter.create(root, genesis, NOW, label="try", places=("demo",), sync="none")
    engine = Engine(tape.instrument, genesis.config, strategy, recorded=(writer.chain, writer))
    columns, at = tape.columns(), 0
    while at < len(columns) and (stop_row is None or at < stop_row):
        engine.apply(columns.slice(at, at + 9_999))
        at += 9_999
        if person is not None:
            person(engine)
    if stop_row is None:
        engine.end()
        writer.finish(summary_of(engine, writer.chain.value))
    else:
        writer.close()
    return Session.open(writer.folder)


def click(engine: Engine) -> None:
    """What a person may do between two pieces."""
    last = int(engine.snapshot["last_ticks"])
    order_id = engine.orders.buy(700, last - 50)
    engine.orders.amend(order_id, limit_ticks=last - 60)
    engine.market.set_anchor(2)
    if order_id % 3 == 0:
        engine.orders.cancel_all()


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Session:
    return run(tmp_path_factory.mktemp("sessions"), Slow(), person=click)


def test_a_session_is_the_same_when_its_commands_are_given_again(kept: Session) -> None:
    verdict = verifying.verify(kept, open_tape)
    assert verdict.difference is None
    assert verdict.ended
    assert kept.summary is not None
    assert verdict.digest == kept.summary.digest
    assert verdict.block_count == len(kept.links()) >= 2
    assert verdict.input_count == kept.summary.input_count
    assert verdict.command_count == len(kept.commands())


def test_a_session_is_the_same_when_its_strategy_decides_again(kept: Session) -> None:
    commands = kept.commands()
    assert {Origin.PERSON, Origin.STRATEGY} == set(commands["origin"])
    done: list[int] = []
    verdict = verifying.verify(kept, open_tape, Slow(), done.append)
    assert verdict.difference is None
    assert verdict.command_count == (commands["origin"] == Origin.STRATEGY).sum()
    assert done[-1] == sum(ref.row_count for ref in kept.genesis.tapes)


def test_equal_sessions_have_one_digest(kept: Session, tmp_path: Path) -> None:
    again = run(tmp_path, Slow(), person=click)
    assert again.summary is not None
    assert kept.summary is not None
    assert again.summary == kept.summary
    assert again.id != kept.id
    assert again.commands().tobytes() == kept.commands().tobytes()
    assert again.links().tobytes() == kept.links().tobytes()


def test_a_session_that_was_left_is_compared_as_far_as_it_goes(tmp_path: Path) -> None:
    session = run(tmp_path, Slow(), person=click, stop_row=80_000)
    assert session.summary is None
    for strategy in (None, Slow()):
        verdict = verifying.verify(session, open_tape, strategy)
        if strategy is None:
            assert verdict.difference is None
        assert not verdict.ended
        assert verdict.input_count == 65_536
        assert verdict.block_count == 1


@dataclass
class Moody(Slow):
    """Decides by something that is none of its parameters."""

    moods: ClassVar[list[int]] = [0]

    def on_decision(self, market: Market, orders: Orders) -> None:
        super().on_decision(market, orders)
        if self.calls == 100 and self.moods[0]:
            orders.buy(123)


def test_the_first_command_that_differs_is_named(tmp_path: Path) -> None:
    session = run(tmp_path, Moody())
    Moody.moods[0] = 1
    try:
        verdict = verifying.verify(session, open_tape, Moody())
    finally:
        Moody.moods[0] = 0
    assert verdict.difference is not None
    assert "differs: recorded is" in verdict.difference
    assert "now it is buy 123 lots behind input" in verdict.difference
    assert verifying.verify(session, open_tape).difference is None


def test_a_command_that_is_missing_is_named(tmp_path: Path) -> None:
    Moody.moods[0] = 1
    session = run(tmp_path, Moody())
    Moody.moods[0] = 0
    verdict = verifying.verify(session, open_tape, Moody())
    assert verdict.difference is not None
    assert "recorded is buy 123 lots behind input" in verdict.difference


@dataclass
class Fails(Slow):
    def on_decision(self, market: Market, orders: Orders) -> None:
        super().on_decision(market, orders)
        if self.calls == 60:
            raise RuntimeError("out of ideas")


def test_what_a_failing_strategy_asked_for_is_kept(tmp_path: Path) -> None:
    with pytest.raises(StrategyError, match="out of ideas"):
        run(tmp_path, Fails())
    (session,) = SessionStore(tmp_path).sessions()
    assert session.summary is None
    assert len(session.commands()) > 10


def rewritten(session: Session, root: Path, change: Callable[[dict[str, object]], None]) -> Session:
    """Copy a session with another genesis.json."""
    folder = root / new_id(NOW)
    folder.mkdir(parents=True)
    made = json.loads((session.folder / "genesis.json").read_text())
    change(made)
    (folder / "genesis.json").write_text(json.dumps(made))
    for name in ("commands", "links"):
        (folder / name).symlink_to(session.folder / name)
    (folder / "summary.json").write_text((session.folder / "summary.json").read_text())
    return Session.open(folder)


def test_what_was_changed_afterwards_is_found(kept: Session, tmp_path: Path) -> None:
    def richer(made: dict[str, object]) -> None:
        made["genesis"]["config"]["initial_cash"] = "100001"  # type: ignore[index]

    verdict = verifying.verify(rewritten(kept, tmp_path, richer), open_tape)
    assert verdict.difference is not None
    assert verdict.difference.startswith("block 0 (inputs 1 to 65,536) differs in fills")

    def seeded(made: dict[str, object]) -> None:
        made["genesis"]["strategy"]["sha256"] = "00" * 32  # type: ignore[index]

    verdict = verifying.verify(rewritten(kept, tmp_path, seeded), open_tape)
    assert (
        verdict.difference == "block 0 (inputs 1 to 65,536) differs in its link to the block before"
    )


def test_another_tape_is_refused(kept: Session) -> None:
    def shorter(_: str, from_us: int | None, to_us: int | None) -> Tape:
        assert to_us is not None
        return open_tape("demo", from_us, to_us - 60_000_000)

    with pytest.raises(SessionError, match="tape demo is not what it was"):
        verifying.verify(kept, shorter)

    def gone(*_: object) -> Tape:
        raise InputError("there is no tape demo")

    with pytest.raises(SessionError, match="is gone: there is no tape demo"):
        verifying.verify(kept, gone)


def test_other_semantics_are_refused(kept: Session, tmp_path: Path) -> None:
    def older(made: dict[str, object]) -> None:
        made["genesis"]["semantics_version"] = 1  # type: ignore[index]

    with pytest.raises(OtherSemanticsError, match="made with semantics 1"):
        verifying.verify(rewritten(kept, tmp_path, older), open_tape)


def test_damaged_journals_are_refused(tmp_path: Path) -> None:
    session = run(tmp_path, Slow())
    path = session.folder / "commands" / "000001.arrows"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)
    with pytest.raises(JournalDamagedError):
        verifying.verify(session, open_tape)


def test_sessions_are_found_by_id_beginning_folder_and_last(kept: Session, tmp_path: Path) -> None:
    store = SessionStore(kept.folder.parent)
    assert [one.id for one in store.sessions()] == [kept.id]
    for ref in (kept.id, kept.id[:6].lower(), str(kept.folder), "last"):
        assert store.open(ref).id == kept.id
    for ref in ("01", "ZZZZZ", str(tmp_path)):
        with pytest.raises(InputError, match="there is no session"):
            store.open(ref)
    assert SessionStore(tmp_path / "none").sessions() == []


def test_ids_sort_by_time_and_are_never_equal() -> None:
    later = NOW.replace(microsecond=5000)
    ids = [new_id(NOW), new_id(NOW), new_id(later)]
    assert len(set(ids)) == 3
    assert ids[0][:10] == ids[1][:10] < ids[2][:10]
    assert all(len(one) == 26 for one in ids)


@pytest.mark.parametrize("text", ["", "{}", '{"genesis": {}}', "[1]"])
def test_folders_that_are_no_sessions_are_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "genesis.json").write_text(text)
    with pytest.raises(SessionError, match="cannot be read as a session"):
        Session.open(tmp_path)
    with pytest.raises(SessionError, match=r"it has no genesis\.json"):
        Session.open(tmp_path / "nowhere")
