"""The engine: results do not depend on how inputs are cut, checkpoints lead to the same end."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowtape.replay.parts import BlockExtremes
from flowtape.stream.config import EngineConfig
from flowtape.stream.decisions import StrategyError
from flowtape.stream.engine import Engine
from flowtape.stream.errors import InputError, KernelError
from flowtape.stream.execution import AccountKind, Role
from flowtape.stream.orderflow import TickBars
from flowtape.stream.ports import Clock, Funding, Gap, Mark
from flowtape.stream.records import i128
from flowtape.stream.trades import Trades
from flowtape.stream.view import Cursor
from tests.stream.strategies import Broken, Flipper
from tests.stream.tapes import INSTRUMENT, make_columns

COLUMNS = make_columns(4000, seed=5)
CONFIG = EngineConfig(equity_grid_us=10_000_000, bubble_band_ticks=3)


def play(cuts: list[int], *, poll: bool = False) -> Engine:
    engine = Engine(INSTRUMENT, CONFIG, Flipper())
    cursor, at, turn = Cursor(), 0, 0
    while at < len(COLUMNS):
        size = cuts[turn % len(cuts)]
        engine.apply(COLUMNS.slice(at, at + size))
        at, turn = at + size, turn + 1
        if poll:
            engine.view.read(cursor, with_profile=True)
            engine.digest()
    engine.end()
    return engine


@pytest.fixture(scope="module")
def whole() -> Engine:
    return play([len(COLUMNS)])


@given(cuts=st.lists(st.integers(1, 900), min_size=1, max_size=5), poll=st.booleans())
@settings(max_examples=max(12, settings().max_examples // 4))
def test_cuts_and_looks_change_no_result(whole: Engine, cuts: list[int], poll: bool) -> None:
    engine = play(cuts, poll=poll)
    assert engine.ledger.fills.head > 50
    assert engine.digest() == whole.digest()
    assert engine.ledger.fills.all().tobytes() == whole.ledger.fills.all().tobytes()


@pytest.mark.parametrize("at", [1, 777, 2500, 3999])
def test_going_back_to_a_checkpoint_leads_to_the_same_end(whole: Engine, at: int) -> None:
    engine = Engine(INSTRUMENT, CONFIG, Flipper())
    engine.apply(COLUMNS.slice(0, at))
    checkpoint = engine.checkpoint()
    engine.apply(COLUMNS.slice(at, 4000))
    engine.end()
    epoch = engine.view.epoch
    engine.restore(checkpoint)
    assert engine.view.epoch == epoch + 1
    assert int(engine.snapshot["input"]) == at
    engine.apply(COLUMNS.slice(at, 4000))
    engine.end()
    assert engine.digest() == whole.digest()


def test_strategy_given_is_not_the_one_that_runs() -> None:
    strategy = Flipper()
    engine = Engine(INSTRUMENT, CONFIG, strategy)
    engine.apply(COLUMNS)
    assert not hasattr(strategy, "calls")
    assert engine.strategy is not None


def test_failing_strategy_is_named() -> None:
    engine = Engine(INSTRUMENT, CONFIG, Broken())
    with pytest.raises(StrategyError, match=r"Broken failed at stream time .* out of ideas"):
        engine.apply(COLUMNS)


def test_bad_rows_change_nothing() -> None:
    engine = Engine(INSTRUMENT, CONFIG)
    engine.apply(COLUMNS.slice(0, 100))
    digest = engine.digest()
    bad = make_columns(10, seed=1)
    bad.price_ticks[4] = 0
    with pytest.raises(KernelError, match="row 4"):
        engine.apply(bad)
    assert engine.digest() == digest


def test_live_events_reach_the_kernel() -> None:
    engine = Engine(INSTRUMENT, CONFIG)
    none = np.full(100, -1, np.int64)
    c = COLUMNS.slice(0, 100)
    engine.apply_event(
        Trades(np.arange(100), c.ts_us, c.price_ticks, c.qty_lots, none, none, c.side)
    )
    newest = int(engine.snapshot["stream_us"])
    engine.apply_event(Clock(newest - 5))
    assert int(engine.snapshot["input"]) == 100
    engine.apply_event(Clock(newest + 3_000_000))
    assert int(engine.snapshot["stream_us"]) == newest + 3_000_000
    assert int(engine.snapshot["bar"]["trade_count"]) == 0
    engine.apply_event(Gap(101, 120, "not served"))
    assert engine.view.notice == "gap: 20 trades missing (not served)"
    assert int(engine.snapshot["input"]) == 102


@pytest.mark.parametrize("in_order", [True, False])
@pytest.mark.parametrize("queue_window", [0, 1024])
@pytest.mark.parametrize("size", [97, 1000, 4000])
def test_without_order_flow_orders_fare_the_same(
    in_order: bool, queue_window: int, size: int
) -> None:
    columns = COLUMNS
    if in_order:
        ts_us = np.maximum.accumulate(COLUMNS.ts_us)
        extremes = BlockExtremes.of(ts_us, COLUMNS.price_ticks)
        columns = replace(COLUMNS, ts_us=ts_us, extremes=extremes)
    config = replace(CONFIG, queue_window=queue_window)
    full = Engine(INSTRUMENT, config, Flipper(), shown=False)
    bare = Engine(INSTRUMENT, config.without_order_flow(), Flipper(), shown=False)
    for at in range(0, len(columns), size):
        for engine in (full, bare):
            engine.apply(columns.slice(at, at + size))
            copy = Engine(INSTRUMENT, engine.config, Flipper(), shown=False)
            copy.restore(engine.checkpoint())
            assert copy.checkpoint().state == engine.checkpoint().state
    assert full.ledger.fills.head > 50
    for name in ("fills", "other_fills", "order_events", "equity", "commands"):
        told, expected = getattr(bare.ledger, name).all(), getattr(full.ledger, name).all()
        assert told.tobytes() == expected.tobytes(), name
    for name in (
        *("input", "trade_count", "stream_us", "last_ticks", "last_side", "equity_atoms"),
        *("buy_lots", "sell_lots", "high_ticks", "low_ticks", "notional_ticklots"),
    ):
        assert bare.snapshot[name] == full.snapshot[name], name
    assert len(bare.ledger.bars.all()) == 0


def test_order_flow_is_off_as_a_whole_or_not_at_all() -> None:
    with pytest.raises(InputError, match="all other order flow off"):
        EngineConfig(bars=())
    with pytest.raises(InputError, match="must be time bars"):
        EngineConfig(bars=(TickBars(5),))


def test_marks_and_funding_reach_the_account() -> None:
    config = EngineConfig(
        account=AccountKind.ISOLATED, leverage=10, taker_fee_ppb=0, latency_us=0, bars=CONFIG.bars
    )
    engine = Engine(INSTRUMENT, config)
    engine.apply(COLUMNS.slice(0, 10))
    engine.orders.buy(1_000)
    engine.apply(COLUMNS.slice(10, 200))
    assert engine.snapshot["position_lots"] == 1_000
    now_us = int(engine.snapshot["stream_us"])
    engine.apply_event(Mark(now_us, 100_000))
    engine.apply_event(Funding(now_us, 100_000))
    paid = i128(engine.account()["funding_atoms"])
    assert paid == 100_000 * 1_000 * 10 ** (8 - 7) // 10_000
    engine.apply_event(Mark(now_us, 50_000))
    assert engine.snapshot["position_lots"] == 0
    (liquidation,) = engine.ledger.fills.all()[-1:]
    assert liquidation["role"] == Role.LIQUIDATED
    assert i128(engine.account()["equity_atoms"]) > 0
