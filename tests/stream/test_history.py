"""The order microscope: what it tells is what happened."""

import pytest

from flowtape.stream.config import EngineConfig
from flowtape.stream.engine import Engine
from flowtape.stream.errors import InputError
from flowtape.stream.execution import Change, Lane, Role, TimeInForce
from flowtape.stream.orders import Request
from flowtape.stream.records import i128
from tests.stream.strategies import Flipper
from tests.stream.tapes import INSTRUMENT, make_columns

COLUMNS = make_columns(4000, seed=5)


@pytest.fixture(scope="module")
def session() -> Engine:
    engine = Engine(INSTRUMENT, EngineConfig(bubble_band_ticks=3), Flipper())
    engine.apply(COLUMNS)
    engine.end()
    return engine


def test_every_fill_of_every_lane_is_a_step(session: Engine) -> None:
    ledger = session.ledger
    told = 0
    for order_id in ledger.placed()["order_id"]:
        history = session.order(int(order_id))
        fills = [step for step in history.history() if step.change is None]
        told += len(fills)
        for lane in Lane:
            own = [step.qty_lots for step in fills if step.lane is lane]
            assert sum(own) == history.outcome(lane).filled_lots
        assert history.steps[0].change is Change.PLACED
        assert [s.input for s in history.steps] == sorted(s.input for s in history.steps)
    assert told == ledger.fills.head + ledger.other_fills.head > 100


def test_results_of_orders_add_up_to_the_account(session: Engine) -> None:
    mark = int(session.snapshot["last_ticks"])
    orders = [session.order(int(i)) for i in session.ledger.placed()["order_id"]]
    start = 100_000 * 10**8
    for lane in Lane:
        made = sum(order.pnl_atoms(mark, lane) for order in orders)
        assert start + made == i128(session.account(lane)["equity_atoms"])


def test_a_resting_order_in_words() -> None:
    engine = Engine(INSTRUMENT, EngineConfig(latency_us=0, taker_fee_ppb=0))
    engine.apply(COLUMNS.slice(0, 50))
    last = int(engine.snapshot["last_ticks"])
    (order_id,) = engine.orders.place(Request(side=1, qty_lots=10, limit_ticks=last - 40))
    engine.apply(COLUMNS.slice(50, 60))
    engine.orders.cancel(order_id)
    engine.apply(COLUMNS.slice(60, 80))
    lines = list(engine.order(order_id).lines(Lane.BASE))
    assert lines[0].startswith(f"order {order_id}: buy 0.00010 limit at ")
    text = "\n".join(lines)
    for part in ("placed, arrives 0 ms later", "rests; only a print", "cancel asked", "as asked"):
        assert part in text


def test_an_order_ends_behind_its_last_fill() -> None:
    engine = Engine(INSTRUMENT, EngineConfig(latency_us=0, all_lanes=True))
    engine.apply(COLUMNS.slice(0, 50))
    last = int(engine.snapshot["last_ticks"])
    order_id = engine.orders.buy(10**9, last + 10_000, time_in_force=TimeInForce.IOC)
    engine.apply(COLUMNS.slice(50, 400))
    for lane in (Lane.OPTIMISTIC, Lane.BASE):
        steps = [step for step in engine.order(order_id).steps if step.lane in (None, lane)]
        ends = [number for number, s in enumerate(steps) if s.change is Change.EXPIRED]
        fills = [number for number, s in enumerate(steps) if s.change is None]
        assert ends == [len(steps) - 1]
        assert fills
        assert max(fills) < ends[0]


def test_steps_say_what_role_and_print_they_had(session: Engine) -> None:
    steps = [
        step
        for order_id in session.ledger.placed()["order_id"][:40]
        for step in session.order(int(order_id)).steps
    ]
    assert {step.role for step in steps if step.change is None} == {Role.MAKER, Role.TAKER}
    queued = [step for step in steps if step.change is Change.QUEUED]
    assert queued
    assert all(step.print_lots > 0 for step in queued)


def test_unknown_orders_are_named(session: Engine) -> None:
    with pytest.raises(InputError, match="no order 999999: orders 1 to"):
        session.order(999_999)
    with pytest.raises(InputError, match="no order was placed"):
        Engine(INSTRUMENT, EngineConfig()).order(1)
