"""The engine for single ticks, entry by entry."""

import math

import numpy as np
import pytest

from flowtape.stream.errors import InputError, KernelError
from flowtape.stream.ticks import Engine, EngineConfig, Fill, Order, Snapshot, Tick

FREE = EngineConfig(maker_fee=0.0, taker_fee=0.0, spread_bps=0.0, tick_size=0.5)


def ticks(engine: Engine, *prices: int, start_ms: int = 1000, qty: float = 1.0) -> None:
    for step, price in enumerate(prices):
        engine.step_tick(Tick(start_ms + step, price, qty, "BUY"))


def test_config_defaults_are_those_people_know() -> None:
    config = EngineConfig()
    assert (config.initial_cash, config.maker_fee, config.taker_fee) == (100_000.0, 0.0001, 0.0002)
    assert (config.spread_bps, config.tick_size) == (2.0, 0.01)


def test_equity_of_an_open_position_is_cash_plus_its_value() -> None:
    engine = Engine(EngineConfig(taker_fee=0.0, spread_bps=0.0, tick_size=1.0))
    ticks(engine, 50_000)
    engine.place_order(Order("MARKET", "BUY", 1.0))
    ticks(engine, 50_000, start_ms=1001)
    snap = engine.get_snapshot()
    # The touch is at least a tick from the last price.
    assert (snap.position, snap.cash, snap.avg_entry_price) == (1.0, 49_999.0, 50_001.0)
    assert snap.equity == 99_999.0
    ticks(engine, 51_000, start_ms=1002)
    assert engine.get_snapshot().equity == 100_999.0
    assert engine.get_snapshot().unrealized_pnl == 999.0


def test_step_tick_keeps_a_history() -> None:
    engine = Engine(FREE)
    ticks(engine, 100, 101, 102)
    assert [snap.ts_ms for snap in engine.get_history()] == [1000, 1001, 1002]


@pytest.mark.parametrize("method", ["step_batch", "step_batch_numpy"])
def test_batches_are_the_same_as_single_ticks(method: str) -> None:
    one, many = Engine(FREE), Engine(FREE)
    for engine in (one, many):
        engine.place_order(Order("LIMIT", "BUY", 2.0, price=49.5))
    ticks(one, 100, 99, 98, 101)
    columns: tuple[list[int], list[int], list[float], list[int]]
    columns = ([1000, 1001, 1002, 1003], [100, 99, 98, 101], [1.0] * 4, [0] * 4)
    if method == "step_batch_numpy":
        many.step_batch_numpy(*(np.array(column) for column in columns))
    else:
        many.step_batch(*columns)
    assert one.get_snapshot() == many.get_snapshot()
    assert one.get_fills() == many.get_fills() != []
    assert len(many.get_history()) == 1


def test_market_order_pays_half_the_spread_and_the_taker_fee() -> None:
    engine = Engine(EngineConfig(spread_bps=20.0, taker_fee=0.001, tick_size=0.01))
    ticks(engine, 10_000)
    order_id = engine.place_order(Order("MARKET", "BUY", 2.0))
    ticks(engine, 10_000, start_ms=2000)
    (fill,) = engine.get_fills()
    assert fill == Fill(2000, order_id, "BUY", 100.1, 2.0, 0.2002, "TAKER")


def test_limit_order_fills_at_its_limit_and_pays_the_maker_fee() -> None:
    engine = Engine(EngineConfig(spread_bps=0.0, maker_fee=0.001, tick_size=0.01))
    ticks(engine, 10_000)
    engine.place_order(Order("LIMIT", "BUY", 1.0, price=99.0))
    ticks(engine, 9_950, 9_850, start_ms=2000)
    (fill,) = engine.get_fills()
    assert (fill.price, fill.fee, fill.role) == (99.0, 0.099, "MAKER")


def test_trades_are_the_fills_as_dictionaries() -> None:
    engine = Engine(FREE)
    ticks(engine, 100)
    engine.place_order(Order("MARKET", "SELL", 1.0))
    ticks(engine, 100, start_ms=2000)
    (trade,) = engine.get_trades()
    assert trade["side"] == "SELL"
    assert set(trade) == {"ts_ms", "order_id", "side", "price", "qty", "fee", "role"}


def test_orders_can_be_listed_and_cancelled() -> None:
    engine = Engine(FREE)
    ticks(engine, 100)
    order_id = engine.place_order(Order("LIMIT", "BUY", 1.5, price=10.0))
    assert engine.get_open_orders() == [Order("LIMIT", "BUY", 1.5, 10.0, order_id)]
    engine.cancel_order(order_id)
    ticks(engine, 100, 101, start_ms=2000)
    assert engine.get_open_orders() == []
    with pytest.raises(KernelError, match="no open order"):
        engine.cancel_order(order_id)


def test_reset_starts_anew() -> None:
    engine = Engine(FREE)
    ticks(engine, 100)
    engine.place_order(Order("MARKET", "BUY", 1.0))
    ticks(engine, 100, start_ms=2000)
    engine.reset()
    assert engine.get_history() == engine.get_fills() == engine.get_open_orders() == []
    assert engine.get_snapshot() == Snapshot(0, 100_000.0, 0.0, 0.0, 0.0, 0.0, 100_000.0)


def test_snapshots_can_be_read_by_name() -> None:
    snap = Engine(FREE).get_snapshot()
    assert snap["equity"] == snap.equity
    assert "cash" in snap
    assert "order_id" not in snap
    with pytest.raises(KeyError):
        snap["nonsense"]


def test_without_a_spread_fills_share_what_prints() -> None:
    engine = Engine(EngineConfig(spread_bps=None, taker_fee=0.0, tick_size=1.0))
    ticks(engine, 100)
    engine.place_order(Order("MARKET", "BUY", 10.0))
    ticks(engine, 100, 101, start_ms=2000, qty=3.0)
    assert [(fill.price, fill.qty) for fill in engine.get_fills()] == [(100.0, 1.5), (101.0, 1.5)]


@pytest.mark.parametrize(
    ("order", "text"),
    [
        (Order("LIMIT", "BUY", 1.0), "LIMIT with one"),
        (Order("MARKET", "BUY", 1.0, price=3.0), "MARKET without a price"),
        (Order("LIMIT", "BUY", 1.0, price=10.3), r"no multiple of 0\.5"),
        (Order("LIMIT", "BUY", 1.0, price=math.nan), "must be a number"),
        (Order("MARKET", "BUY", math.nan), "no multiple of"),
        (Order("MARKET", "BUY", -1.0), "not between 1"),
        (Order("MARKET", "HOLD", 1.0), "BUY or SELL"),  # type: ignore[arg-type]
    ],
)
def test_orders_that_are_none_are_refused(order: Order, text: str) -> None:
    engine = Engine(FREE)
    ticks(engine, 100)
    with pytest.raises((InputError, KernelError), match=text):
        engine.place_order(order)
    assert engine.get_open_orders() == []


@pytest.mark.parametrize(
    ("columns", "text"),
    [
        (([1], [100], [math.inf], [0]), "quantity inf of row 0"),
        (([1], [100], [1.0], [7]), "sides must be 0"),
        (([1], [0], [1.0], [0]), "price"),
        (([1, 2], [100, 100], [1.0], [0]), "equally long"),
    ],
)
def test_ticks_that_are_none_are_refused(
    columns: tuple[list[int], list[int], list[float], list[int]], text: str
) -> None:
    engine = Engine(FREE)
    with pytest.raises((InputError, KernelError, ValueError), match=text):
        engine.step_batch_numpy(*columns)
    assert engine.get_history() == []


@pytest.mark.parametrize("setting", [{"tick_size": 0.0}, {"initial_cash": math.nan}])
def test_bad_settings_are_refused(setting: dict[str, float]) -> None:
    with pytest.raises(InputError):
        Engine(EngineConfig(**setting))  # type: ignore[arg-type]
