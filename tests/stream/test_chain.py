"""The chain that names a session: made anew from its definition, whatever the cuts."""

import hashlib
import struct
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowtape.stream.chain import GRID_INPUTS, Chain
from flowtape.stream.commands import CommandKind, DiffersError, Origin
from flowtape.stream.config import EngineConfig
from flowtape.stream.engine import Engine
from flowtape.stream.errors import InputError
from flowtape.stream.execution import VenueRules
from flowtape.stream.inputs import InputKind, Inputs
from flowtape.stream.ports import Clock, Funding, Gap, Mark, Rules
from flowtape.stream.records import COMMAND, LINK, Records
from flowtape.stream.trades import Trades
from flowtape.stream.waypoints import BlockEnd
from tests.stream.strategies import Flipper
from tests.stream.tapes import INSTRUMENT, make_columns

COLUMNS = make_columns(140_000, seed=8, mean_gap_us=4_000)
CONFIG = EngineConfig(equity_grid_us=5_000_000, all_lanes=True)
GENESIS = hashlib.sha256(b"a genesis").digest()
END = Inputs.one(InputKind.END)


@dataclass
class Kept:
    """A sink in memory."""

    all_commands: list[Records] = field(default_factory=list)
    durable: list[bool] = field(default_factory=list)
    links: list[Records] = field(default_factory=list)
    all_inputs: list[Inputs] = field(default_factory=list)

    def settled(self, engine: Engine) -> None:
        pass

    def inputs(self, inputs: Inputs) -> None:
        self.all_inputs.append(inputs)

    def commands(self, commands: Records, *, durable: bool) -> None:
        self.all_commands.append(commands)
        self.durable.append(durable)

    def link(self, link: Records, end: BlockEnd) -> None:
        self.links.append(link)


def recorded(strategy: Flipper | None = None) -> tuple[Engine, Kept, Chain]:
    kept, chain = Kept(), Chain(GENESIS, ids=False)
    return Engine(INSTRUMENT, CONFIG, strategy, shown=False, recorded=(chain, kept)), kept, chain


def play(cuts: list[int]) -> tuple[Engine, Kept, Chain]:
    engine, kept, chain = recorded(Flipper(every=40))
    at, turn = 0, 0
    while at < len(COLUMNS):
        size = cuts[turn % len(cuts)]
        engine.apply(COLUMNS.slice(at, at + size))
        at, turn = at + size, turn + 1
    engine.end()
    return engine, kept, chain


@pytest.fixture(scope="module")
def whole() -> tuple[Engine, Kept, Chain]:
    return play([len(COLUMNS)])


def sized(*columns: bytes) -> bytes:
    return b"".join(len(column).to_bytes(8, "little") + column for column in columns)


def test_links_are_what_their_definition_says(whole: tuple[Engine, Kept, Chain]) -> None:
    engine, kept, chain = whole
    ledger = engine.ledger
    assert [int(link["input"][0]) for link in kept.links] == [
        GRID_INPUTS, 2 * GRID_INPUTS, len(COLUMNS) + 1
    ]  # fmt: skip
    before, start = GENESIS, 0
    for block, link in enumerate(kept.links):
        stop = int(link["input"][0])
        number = block.to_bytes(8, "little")
        rows = COLUMNS.slice(start, min(stop, len(COLUMNS)))
        ends = stop > len(COLUMNS)
        commands = ledger.commands.all()
        commands = commands[(commands["input"] > start) & (commands["input"] <= stop)]
        inputs = hashlib.sha256(
            b"flowtape inputs 1"
            + number
            + sized(
                bytes([1]) * len(rows) + bytes([6]) * ends,
                bytes(len(rows) + ends),
                rows.side.tobytes() + bytes(ends),
                rows.ts_us.tobytes() + bytes(8 * ends),
                rows.price_ticks.tobytes() + bytes(8 * ends),
                rows.qty_lots.tobytes() + bytes(8 * ends),
                commands.tobytes(),
            )
        )
        assert inputs.digest() == link["inputs"].tobytes()
        outputs = hashlib.sha256(b"flowtape outputs 1" + number)
        for series in (ledger.fills, ledger.other_fills, ledger.order_events, ledger.equity):
            records = series.all()
            own = records[(records["input"] > start) & (records["input"] <= stop)]
            outputs.update(sized(own.tobytes()))
        if block == 0:
            # Points of the equity grid lie before the input that crosses it.
            assert outputs.digest() == link["outputs"].tobytes()
        head = struct.pack("<QQIq", block, stop, int(link["place"][0]), int(link["stream_us"][0]))
        body = b"".join(link[name].tobytes() for name in ("inputs", "outputs", "state"))
        before = hashlib.sha256(b"flowtape chain 1" + before + head + body).digest()
        assert before == link["chain"].tobytes()
        start = stop
    assert chain.value == before


def test_the_last_state_is_the_kernels(whole: tuple[Engine, Kept, Chain]) -> None:
    engine, kept, _ = whole
    state = engine.checkpoint().state
    number = (len(kept.links) - 1).to_bytes(8, "little")
    expected = hashlib.sha256(b"flowtape state 1" + number + state).digest()
    assert kept.links[-1]["state"].tobytes() == expected


@given(cuts=st.lists(st.integers(1, 90_000), min_size=1, max_size=4).filter(lambda c: sum(c) > 999))
@settings(max_examples=5)
def test_cuts_change_no_link(whole: tuple[Engine, Kept, Chain], cuts: list[int]) -> None:
    _, kept, chain = play(cuts)
    assert chain.value == whole[2].value
    assert [link.tobytes() for link in kept.links] == [link.tobytes() for link in whole[1].links]


def test_commands_are_written_before_the_next_input(whole: tuple[Engine, Kept, Chain]) -> None:
    engine, kept, _ = whole
    commands = np.concatenate(kept.all_commands)
    assert commands.tobytes() == engine.ledger.commands.all().tobytes()
    assert not any(kept.durable)
    assert set(commands["origin"]) == {Origin.STRATEGY}
    assert {CommandKind.PLACE, CommandKind.CANCEL} <= set(commands["kind"])
    for call in kept.all_commands:
        assert len(set(call["input"])) == 1
        assert sorted(call["place"]) == list(call["place"])
        assert call["place"][0] == 1


def test_commands_given_again_lead_to_the_same_chain(whole: tuple[Engine, Kept, Chain]) -> None:
    kept, chain = Kept(), Chain(GENESIS, ids=False)
    config = replace(CONFIG, decide=Flipper.decide)
    engine = Engine(INSTRUMENT, config, shown=False, recorded=(chain, kept))
    at = 0
    commands = whole[0].ledger.commands.all()
    for position in np.unique(commands["input"]):
        engine.apply(COLUMNS.slice(at, int(position)))
        engine.repeat(commands[commands["input"] == position])
        at = int(position)
    engine.apply(COLUMNS.slice(at, len(COLUMNS)))
    engine.end()
    assert chain.value == whole[2].value
    assert not kept.all_commands


def test_people_and_statements_are_in_the_chain() -> None:
    def run(
        *, mark: int = 1234, to_id: int = 9, anchor: int = 1, least: int = 5
    ) -> tuple[bytes, Kept, Engine]:
        engine, kept, chain = recorded()
        engine.apply(COLUMNS.slice(0, 100))
        now_us = int(engine.snapshot["stream_us"])
        first = engine.orders.buy(10, 90_000)
        engine.orders.amend(first, limit_ticks=90_001)
        engine.orders.cancel_all()
        if anchor:
            engine.orders.buy(anchor)
        engine.apply_event(Clock(now_us + 10))
        engine.apply_event(Mark(now_us, mark))
        engine.apply_event(Funding(now_us + 20, 5))
        engine.apply_event(Gap(5, to_id, "lost"))
        engine.apply_event(Rules(0, VenueRules(qty_min_lots=least)))
        engine.end()
        return chain.value, kept, engine

    value, kept, engine = run()
    assert value == run()[0]
    others = {run(mark=1235)[0], run(to_id=10)[0], run(anchor=2)[0], run(least=6)[0]}
    assert len(others | {value}) == 5
    assert kept.durable == [True] * 4
    commands = np.concatenate(kept.all_commands)
    assert list(commands["kind"]) == [
        CommandKind.PLACE, CommandKind.AMEND, CommandKind.CANCEL_ALL, CommandKind.PLACE
    ]  # fmt: skip
    assert list(commands["place"]) == [1, 2, 3, 4]
    assert set(commands["origin"]) == {Origin.PERSON}
    chain = Chain(GENESIS, ids=False)
    again = Engine(INSTRUMENT, CONFIG, shown=False, recorded=(chain, Kept()))
    again.apply(COLUMNS.slice(0, 100))
    again.repeat(commands)
    now_us = int(again.snapshot["stream_us"])
    for event in (Clock(now_us + 10), Mark(now_us, 1234), Funding(now_us + 20, 5), Gap(5, 9, "")):
        again.apply_event(event)
    again.apply_event(Rules(0, VenueRules(qty_min_lots=5)))
    again.end()
    assert chain.value == value
    assert again.digest() == engine.digest()


def test_a_late_clock_is_no_input() -> None:
    engine, _, chain = recorded()
    engine.apply(COLUMNS.slice(0, 100))
    engine.apply_event(Clock(int(engine.snapshot["stream_us"]) - 1))
    assert int(engine.snapshot["input"]) == 100
    assert chain.left(100) == GRID_INPUTS - 100


def test_what_cannot_be_given_again_is_named() -> None:
    engine, _, _ = recorded()
    engine.apply(COLUMNS.slice(0, 10))
    command = np.zeros(1, COMMAND)
    command["input"], command["place"], command["kind"] = 10, 1, CommandKind.CANCEL
    command["order_id"], command["ts_us"] = 77, int(engine.snapshot["stream_us"])
    with pytest.raises(DiffersError, match="behind input 10 a recorded command was refused"):
        engine.repeat(command)
    place = command.copy()
    place["kind"], place["request"]["side"], place["request"]["qty_lots"] = CommandKind.PLACE, 1, 5
    with pytest.raises(DiffersError, match="an order was number 77, now it is 1"):
        engine.repeat(place)


def test_a_recorded_session_does_not_go_back() -> None:
    engine, _, _ = recorded()
    checkpoint = engine.checkpoint()
    with pytest.raises(InputError, match="cannot go back"):
        engine.restore(checkpoint)


def test_links_have_no_hidden_bytes() -> None:
    chain = Chain(GENESIS, ids=False)
    chain.add(InputKind.END, 0, 0)
    link = chain.close((1, 0, 0), np.zeros(0, COMMAND), [], b"")
    assert link.dtype == LINK
    assert link["reserved"].tobytes() == bytes(4)


def test_ids_are_in_the_chain_of_inputs_that_no_tape_holds() -> None:
    count = GRID_INPUTS + 100
    ids = np.arange(count, dtype=np.int64)
    whole = Inputs.of_trades(
        Trades(
            *(ids + 7, COLUMNS.ts_us[:count], COLUMNS.price_ticks[:count]),
            *(COLUMNS.qty_lots[:count], ids * 2, ids * 2 + 1, COLUMNS.side[:count]),
        )
    )
    gap = Inputs.one(InputKind.GAP, a=5, b=9)
    inputs = Inputs.concat([whole.slice(0, 40), gap, whole.slice(40, count), END])

    def run(given: Inputs, sizes: int) -> list[bytes]:
        kept, chain = Kept(), Chain(GENESIS, ids=True)
        engine = Engine(INSTRUMENT, CONFIG, shown=False, recorded=(chain, kept))
        for at in range(0, len(given), sizes):
            engine.apply_inputs(given.slice(at, at + sizes))
        return [link["inputs"].tobytes() for link in kept.links]

    told = hashlib.sha256(b"flowtape inputs 1" + bytes(8))
    for column in inputs.slice(0, GRID_INPUTS).columns():
        told.update(sized(column.tobytes()))
    told.update(sized(b""))
    found = run(inputs, len(inputs))
    assert found[0] == told.digest()
    assert run(inputs, 997) == found
    for name in ("agg_id", "first_id", "last_id"):
        other = Inputs.concat([inputs])
        getattr(other, name)[GRID_INPUTS + 50] += 1
        assert [a == b for a, b in zip(run(other, 5_000), found, strict=True)] == [True, False]
