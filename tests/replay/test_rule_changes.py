"""A session in which the venue changes its rules at any place is one session, however it is run."""

import random
import tempfile
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from flowtape.replay.branching import branch, fork_at
from flowtape.replay.look_back import past_of
from flowtape.replay.resuming import resume
from flowtape.replay.session_rows import SessionRows
from flowtape.replay.sessions import live_genesis, run_again
from flowtape.replay.summary import summary_of
from flowtape.replay.verifying import verify
from flowtape.stream.config import Decide, EngineConfig
from flowtape.stream.engine import Engine
from flowtape.stream.errors import KernelError
from flowtape.stream.execution import VenueRules
from flowtape.stream.inputs import InputKind, Inputs
from flowtape.stream.ports import Event, Rules
from flowtape.stream.session import Session, SessionWriter
from flowtape.stream.strategy import Market, Orders, Strategy
from flowtape.stream.venue_rules import RULE_NAMES
from tests.replay.corpora import INSTRUMENT, live_corpus

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
TRADES = live_corpus("normal", 500, people_count=9).trades()

EXAMPLES = 100 if settings().max_examples > 1_000 else 8

RULES = st.builds(
    VenueRules,
    price_step_ticks=st.sampled_from([1, 2, 5]),
    price_min_ticks=st.sampled_from([0, 100_000]),
    price_max_ticks=st.sampled_from([0, 100_000]),
    qty_step_lots=st.sampled_from([1, 2, 7]),
    qty_min_lots=st.sampled_from([0, 20, 35]),
    qty_max_lots=st.sampled_from([0, 20, 35]),
    market_qty_max_lots=st.sampled_from([0, 20]),
    notional_min_ticklots=st.sampled_from([0, 2_500_000]),
    price_up_ppm=st.sampled_from([0, 1_000_010]),
    price_down_ppm=st.sampled_from([0, 999_990]),
)
CHANGES = st.lists(st.tuples(st.integers(0, len(TRADES)), RULES), max_size=12)


@dataclass
class Trying(Strategy):
    """Asks for orders of many sizes and prices, and remembers which rule refused how many."""

    decide: ClassVar[Decide] = Decide(trades_count=7, on_fill=True)

    def on_start(self, market: Market) -> None:
        self.refused: dict[str, int] = {}
        self.tries = 0

    def on_decision(self, market: Market, orders: Orders) -> None:
        self.tries += 1
        lots = 15 + self.tries % 30 + sum(self.refused.values()) % 3
        try:
            if self.tries % 3:
                orders.buy(lots, market.last_ticks - self.tries % 4)
            else:
                orders.sell(lots)
            if self.tries % 20 == 0:
                orders.cancel_all()
        except KernelError as error:
            self.refused[error.status] = self.refused.get(error.status, 0) + 1


def events_of(changes: list[tuple[int, VenueRules]], seed: int) -> list[Event]:
    """Trades in pieces, and changed rules between them."""
    rng, found, at = random.Random(seed), list[Event](), 0
    for place, rules in [*sorted(changes, key=lambda change: change[0]), (len(TRADES), None)]:
        while at < place:
            stop = min(place, at + rng.choice([1, 5, 60, 2_000]))
            found.append(TRADES.slice(at, stop))
            at = stop
        if rules is not None:
            found.append(Rules(1, rules))
    return found


@given(changes=CHANGES, seed=st.integers(0, 9), killed_at=st.integers(0, len(TRADES) + 12))
@settings(max_examples=EXAMPLES, deadline=None)
def test_one_digest_live_killed_repeated_and_in_any_pieces(
    changes: list[tuple[int, VenueRules]], seed: int, killed_at: int
) -> None:
    config = EngineConfig(latency_us=(2_000, 90_000), bubble_band_ticks=12)
    genesis = live_genesis(INSTRUMENT, config, Trying(), None)
    with tempfile.TemporaryDirectory() as root:
        writer = SessionWriter.create(Path(root), genesis, NOW, sync="none")
        engine = Engine(
            INSTRUMENT, genesis.config, Trying(), shown=False, recorded=(writer.chain, writer)
        )
        killed = False
        for event in events_of(changes, seed):
            engine.apply_event(event)
            if not killed and engine.input >= killed_at:
                killed = True
                writer.close()
                resumed = resume(Session.open(writer.folder), no_tape, Trying())
                assert resumed.notice == ""
                assert resumed.engine.digest() == engine.digest()
                engine, writer = resumed.engine, resumed.writer
        engine.end()
        writer.finish(summary_of(engine, writer.chain.value))
        check_all(Session.open(writer.folder), engine, seed)


def test_every_kind_of_refusal_comes_about() -> None:
    engine = Engine(INSTRUMENT, EngineConfig(latency_us=0), Trying(), shown=False)
    each = [{"price_step_ticks": 5}, {"qty_max_lots": 20}, {"market_qty_max_lots": 20}]
    each += [{"notional_min_ticklots": 2_500_000}, {"price_up_ppm": 999_990}]
    changes = [(100 * place, VenueRules(**rules)) for place, rules in enumerate(each)]
    for event in events_of(changes, 1):
        engine.apply_event(event)
    assert isinstance(engine.strategy, Trying)
    names = {"PRICE_FILTER", "LOT_SIZE", "MARKET_LOT_SIZE", "NOTIONAL", "PERCENT_PRICE"}
    assert engine.strategy.refused.keys() == names


def check_all(session: Session, live: Engine, seed: int) -> None:
    assert session.summary is not None
    inputs = Inputs.concat(list(session.inputs()))
    told = inputs.take(np.flatnonzero(inputs.kind == InputKind.INSTRUMENT))
    for strategy in (None, Trying()):
        for cut in (1, 83):
            verdict = verify(session, no_tape, strategy, cut=cut)
            assert verdict.difference is None
            assert verdict.digest == session.summary.digest
        again, value = run_again(session, no_tape, strategy)
        assert value.hex() == session.summary.digest
        assert again.digest() == live.digest()
        assert again.rules() == live.rules()
    past = past_of(session, SessionRows.of(session, no_tape))
    rng = random.Random(seed)
    for row in (rng.randrange(past.row_count), 0, past.row_count):
        past.seek(row)
        changed = told.slice(0, int(np.count_nonzero(inputs.kind[:row] == InputKind.INSTRUMENT)))
        assert past.engine.rules() == rules_after(changed)
    assert past.engine.digest() == live.digest()
    check_branch(session, inputs, int(inputs.ts_us[rng.randrange(len(inputs))]))


def check_branch(session: Session, inputs: Inputs, ts_us: int) -> None:
    fork = fork_at(session, SessionRows.of(session, no_tape), ts_us)
    child = branch(session, fork, session.folder.parent, NOW, strategy=None, name=None)
    resumed = resume(child, no_tape)
    assert resumed.engine.input == fork.input
    common = inputs.slice(0, fork.input)
    told = common.take(np.flatnonzero(common.kind == InputKind.INSTRUMENT))
    assert resumed.engine.rules() == rules_after(told)
    resumed.writer.close()


def rules_after(changed: Inputs) -> VenueRules:
    rules = VenueRules()
    for number, value in zip(changed.price_ticks.tolist(), changed.qty_lots.tolist(), strict=True):
        rules = replace(rules, **{RULE_NAMES[number]: value})
    return rules


def no_tape(*_: object) -> object:
    raise AssertionError("a live session has no tape")
