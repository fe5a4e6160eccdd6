"""Arrays in Python: the same session as a strategy's, sweeps of them, and clean refusals."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from flowtape.replay.backtest import Result, metrics_json, result_of
from flowtape.replay.result_tables import equity_table, fills_table
from flowtape.replay.signals import (
    RefusedOrderError,
    Source,
    decision_points,
    run_orders,
    run_targets,
)
from flowtape.replay.sweep_arrays import SweepResult, sweep_targets
from flowtape.replay.track import fold
from flowtape.stream.config import Decide, EngineConfig
from flowtape.stream.engine import Engine
from flowtape.stream.errors import InputError, KernelError, TapeError
from flowtape.stream.execution import AccountKind, VenueRules
from flowtape.stream.orders import GROUP, Request
from flowtape.stream.records import i128
from flowtape.stream.strategy import Market, Orders, Strategy
from tests.stream.tapes import INSTRUMENT, MemoryTape, make_columns

COLUMNS = make_columns(6000, seed=7)
GRID = Decide(grid_us=500_000)
CONFIG = EngineConfig(decide=GRID, equity_grid_us=10_000_000, orders_max=64)
ROWS, TIMES = decision_points(COLUMNS, CONFIG)
COUNT = len(ROWS)


@dataclass
class Follower(Strategy):
    """Places what an array says, the slow way."""

    decide: ClassVar[Decide] = GRID
    targets: list[int] = field(default_factory=list)
    orders: list[Request] = field(default_factory=list)
    places: list[int] = field(default_factory=list)

    def on_start(self, market: Market) -> None:
        self.at = 0
        self.before = 0

    def on_decision(self, market: Market, orders: Orders) -> None:
        if self.targets:
            change = self.targets[self.at] - self.before
            self.before = self.targets[self.at]
            if change:
                (orders.buy if change > 0 else orders.sell)(abs(change))
        for order, place in zip(self.orders, self.places, strict=True):
            if place == self.at:
                orders.place(order)
        self.at += 1


def by_strategy(strategy: Strategy, config: EngineConfig = CONFIG) -> Result:
    engine = Engine(INSTRUMENT, config, strategy, shown=False)
    fold(engine, [COLUMNS])
    return result_of(engine)


def crossing(seed: int, sets: int = 1, lots: int = 30_000) -> NDArray[np.int64]:
    rng = np.random.default_rng(seed)
    often = rng.random((sets, COUNT)) < 0.1
    return np.where(np.cumsum(often, axis=1) % 2 == 0, lots, -lots)


# One set


@pytest.mark.parametrize("source", [COLUMNS, MemoryTape(COLUMNS, 1), MemoryTape(COLUMNS, 5)])
def test_targets_give_the_session_of_a_strategy(source: Source) -> None:
    targets = crossing(1)[0]
    ours = run_targets(INSTRUMENT, source, CONFIG, targets)
    theirs = by_strategy(Follower(targets=targets.tolist()))
    assert ours.metrics.fill_count > 50
    assert ours.metrics == theirs.metrics
    assert ours.digest == theirs.digest
    assert (ours.trade_count, ours.start_us, ours.end_us) == (
        theirs.trade_count,
        theirs.start_us,
        theirs.end_us,
    )
    assert fills_table(ours) == fills_table(theirs)
    assert equity_table(ours) == equity_table(theirs)
    assert '"strategy": "targets"' in metrics_json(ours)
    assert len(ours.ledger.bars.all()) == len(theirs.ledger.bars.all()) > 0


def test_orders_give_the_session_of_a_strategy() -> None:
    rng = np.random.default_rng(3)
    places = np.sort(rng.integers(0, COUNT, 60))
    prices = COLUMNS.price_ticks[ROWS[places]]
    requests = [
        Request(
            side=int(side),
            qty_lots=int(lots),
            limit_ticks=int(price - 2 * side) if limit else 0,
            client_id=i,
        )
        for i, (side, lots, price, limit) in enumerate(
            zip(
                rng.choice([1, -1], 60),
                rng.integers(1, 9_000, 60),
                prices,
                rng.random(60) < 0.7,
                strict=True,
            )
        )
    ]
    orders = np.concatenate([request.record() for request in requests])
    ours = run_orders(INSTRUMENT, MemoryTape(COLUMNS, 3), CONFIG, orders, places)
    theirs = by_strategy(Follower(orders=requests, places=places.tolist()))
    assert ours.metrics.fill_count > 20
    assert ours.digest == theirs.digest
    assert ours.ledger.placed()["request"]["client_id"].tolist() == list(range(60))


def test_a_bracket_in_an_array_closes_its_position() -> None:
    last = int(COLUMNS.price_ticks[ROWS[5]])
    requests = [
        Request(side=1, qty_lots=500),
        Request(side=-1, qty_lots=500, limit_ticks=last + 4, parent_id=GROUP, reduce_only=True),
        Request(
            side=-1,
            qty_lots=500,
            stop_ticks=last - 4,
            parent_id=GROUP,
            sibling_id=GROUP + 1,
            reduce_only=True,
        ),
    ]
    orders = np.concatenate([request.record() for request in requests])
    result = run_orders(INSTRUMENT, COLUMNS, CONFIG, orders, np.array([5, 5, 5]))
    assert result.metrics.round_trips == 1
    assert int(result.snapshot["position_lots"]) == 0
    assert int(result.snapshot["open_order_count"]) == 0


@given(st.integers(1, 40), st.sampled_from([0, 1, 700]), st.sampled_from([0, 90_000]))
def test_decision_points_do_not_depend_on_the_cut(pieces: int, every: int, grid_us: int) -> None:
    config = replace(CONFIG, decide=Decide(grid_us=grid_us, trades_count=every))
    rows, times = decision_points(MemoryTape(COLUMNS, pieces), config)
    whole = decision_points(COLUMNS, config)
    assert np.array_equal(rows, whole[0])
    assert np.array_equal(times, whole[1])
    assert np.all(np.diff(rows) > 0)
    assert np.array_equal(times, np.maximum.accumulate(COLUMNS.ts_us)[rows])


def test_without_decisions_there_is_nothing_to_give() -> None:
    config = replace(CONFIG, decide=Decide())
    assert len(decision_points(COLUMNS, config)[0]) == 0
    result = run_targets(INSTRUMENT, COLUMNS, config, np.array([]))
    assert result.metrics.fill_count == 0
    swept = sweep_targets(INSTRUMENT, COLUMNS, config, np.zeros((3, 0), np.int64))
    assert swept.quote("equity_atoms").tolist() == [100_000.0] * 3


# Sweeps


def assert_equals_runs(swept: SweepResult, targets: NDArray[Any], config: EngineConfig) -> None:
    assert len(swept) == len(targets)
    for place, lots in enumerate(targets):
        one = run_targets(INSTRUMENT, COLUMNS, config, lots)
        record = swept.records[place]
        for name in ("cash", "realized", "unrealized", "fees", "equity", "cost"):
            assert i128(record[f"{name}_atoms"]) == i128(one.snapshot[f"{name}_atoms"])
        assert int(record["fill_count"]) == one.metrics.fill_count
        assert int(record["position_lots"]) == int(one.snapshot["position_lots"])
        assert float(one.metrics.volume) == pytest.approx(swept.quote("notional_atoms")[place])
        assert float(one.metrics.final_equity) == pytest.approx(swept.quote("equity_atoms")[place])


@pytest.mark.parametrize("all_lanes", [True, False])
@pytest.mark.parametrize("width", [np.int32, np.int64])
def test_a_sweep_is_many_runs(width: type[np.signedinteger[Any]], all_lanes: bool) -> None:
    config = replace(CONFIG, all_lanes=all_lanes, latency_us=(1_000, 90_000, 2_000_000))
    targets = crossing(5, sets=4, lots=4_000).astype(width)
    swept = sweep_targets(INSTRUMENT, MemoryTape(COLUMNS, 4), config, targets)
    assert swept.decision_count == COUNT
    assert_equals_runs(swept, targets, config)
    assert len(swept.refused) == 0


def test_equity_is_kept_when_asked_for() -> None:
    targets = crossing(6, sets=3)
    swept = sweep_targets(INSTRUMENT, COLUMNS, CONFIG, targets, equity=True)
    curves = swept.equity_quote()
    assert curves.shape == targets.shape
    with_start = np.column_stack([np.full(3, 100_000.0), curves])
    assert swept.quote("equity_min_atoms") == pytest.approx(with_start.min(axis=1))
    assert swept.quote("equity_max_atoms") == pytest.approx(with_start.max(axis=1))
    falls = (np.maximum.accumulate(with_start, axis=1) - with_start).max(axis=1)
    assert swept.quote("drawdown_max_atoms") == pytest.approx(falls)
    without = sweep_targets(INSTRUMENT, COLUMNS, CONFIG, targets)
    assert without.records.tobytes() == swept.records.tobytes()
    with pytest.raises(InputError, match="equity=True"):
        without.equity_quote()


@pytest.mark.parametrize("threads", [2, 3, 9])
def test_threads_change_nothing(threads: int) -> None:
    targets = crossing(7, sets=5)
    one = sweep_targets(INSTRUMENT, COLUMNS, CONFIG, targets, equity=True)
    many = sweep_targets(INSTRUMENT, COLUMNS, CONFIG, targets, equity=True, threads=threads)
    assert one.records.tobytes() == many.records.tobytes()
    assert one.equity is not None
    assert many.equity is not None
    assert one.equity.tobytes() == many.equity.tobytes()


def test_no_sets_give_no_results() -> None:
    none = np.zeros((0, COUNT), np.int32)
    assert len(sweep_targets(INSTRUMENT, COLUMNS, CONFIG, none, threads=2)) == 0


# Refused orders


def test_a_refused_order_stops_the_session_and_leaves_what_was() -> None:
    config = replace(CONFIG, rules=VenueRules(qty_max_lots=30_000))
    targets = np.zeros(COUNT, np.int64)
    targets[20:], targets[60:], targets[100:] = 20_000, 30_000, 70_000
    with pytest.raises(RefusedOrderError, match="order 2, at decision point 100: a quantity") as no:
        run_targets(INSTRUMENT, MemoryTape(COLUMNS, 3), config, targets)
    error = no.value
    assert (error.status, error.decision, error.order) == ("LOT_SIZE", 100, 2)
    assert int(error.snapshot["position_lots"]) == 30_000
    assert int(error.snapshot["trade_count"]) == ROWS[100] + 1
    assert len(error.ledger.placed()) == 2
    swept = sweep_targets(INSTRUMENT, COLUMNS, config, np.stack([targets, targets // 10]))
    assert swept.refused.tolist() == [0]
    assert [swept.status(0), swept.status(1)] == ["LOT_SIZE", "OK"]
    assert swept.records["refused_decision"].tolist() == [100, -1]
    assert swept.atoms("equity_atoms")[0] == i128(error.snapshot["equity_atoms"])


# What does not fit


def both(targets: Any, config: EngineConfig = CONFIG) -> list[Callable[[], object]]:
    rows = np.array([targets])
    return [
        lambda: run_targets(INSTRUMENT, COLUMNS, config, targets),
        lambda: sweep_targets(INSTRUMENT, COLUMNS, config, rows),
    ]


@pytest.mark.parametrize("count", [0, COUNT - 1, COUNT + 1])
def test_an_array_of_another_length_is_told_the_right_one(count: int) -> None:
    for call in both(np.ones(count, np.int64)):
        with pytest.raises(InputError, match=f"{COUNT} decision points, .* has {count};"):
            call()


def test_nan_is_named() -> None:
    targets = np.ones(COUNT)
    targets[17] = np.nan
    for call, place in zip(both(targets), ("17", "0, 17"), strict=True):
        with pytest.raises(InputError, match=rf"targets\[{place}\] is NaN"):
            call()


@pytest.mark.parametrize("kind", [np.float64, np.float32, np.bool_, np.uint64, object, "U3"])
def test_other_types_are_refused_with_a_way_out(kind: Any) -> None:
    for call in both(np.ones(COUNT).astype(kind)):
        with pytest.raises(InputError, match=r"signed integers, was .*astype"):
            call()


@pytest.mark.parametrize("kind", [np.int8, np.int16, np.int32, np.uint32, ">i8"])
def test_every_integer_that_fits_can_be_a_target(kind: Any) -> None:
    targets = (crossing(8)[0] > 0).astype(kind)
    narrow = run_targets(INSTRUMENT, COLUMNS, CONFIG, targets)
    assert narrow.digest == run_targets(INSTRUMENT, COLUMNS, CONFIG, targets.astype(int)).digest


def test_sweeps_read_targets_where_they_are() -> None:
    targets = crossing(9, sets=2)
    for wrong in (targets.astype(np.int16), np.asfortranarray(targets), targets[:, ::-1]):
        with pytest.raises(InputError, match="C-contiguous int32 or int64"):
            sweep_targets(INSTRUMENT, COLUMNS, CONFIG, wrong)
    with pytest.raises(InputError, match="2 dimension"):
        sweep_targets(INSTRUMENT, COLUMNS, CONFIG, targets[0])
    with pytest.raises(InputError, match="1 dimension"):
        run_targets(INSTRUMENT, COLUMNS, CONFIG, targets)


def test_decisions_that_follow_fills_are_refused() -> None:
    config = replace(CONFIG, decide=Decide(grid_us=1000, on_fill=True))
    with pytest.raises(InputError, match="on_fill=False"):
        decision_points(COLUMNS, config)
    for call in both(np.ones(COUNT, np.int64), config):
        with pytest.raises(InputError, match="on_fill=False"):
            call()
    negative = replace(CONFIG, decide=Decide(grid_us=-1))
    with pytest.raises(InputError, match="must not be negative"):
        decision_points(COLUMNS, negative)


def test_a_sweep_needs_a_free_account() -> None:
    config = replace(CONFIG, account=AccountKind.SPOT)
    with pytest.raises(InputError, match=r"AccountKind\.FREE"):
        sweep_targets(INSTRUMENT, COLUMNS, config, np.ones((1, COUNT), np.int32))


def test_orders_that_do_not_fit_are_refused() -> None:
    order = Request(side=1, qty_lots=1).record()
    two = np.concatenate([order, order])

    def run(orders: Any, decisions: Any) -> object:
        return run_orders(INSTRUMENT, COLUMNS, CONFIG, orders, np.array(decisions))

    with pytest.raises(InputError, match=f"decision point {COUNT}, but there are {COUNT}"):
        run(order, [COUNT])
    with pytest.raises(InputError, match="must not fall"):
        run(two, [3, 2])
    with pytest.raises(InputError, match="2 orders but 1"):
        run(two, [3])
    with pytest.raises(InputError, match=r"records\.REQUEST"):
        run(np.ones(3), [1, 2, 3])
    with pytest.raises(InputError, match="NaN"):
        run(order, [np.nan])
    assert isinstance(run(order[:0], []), Result)


def test_rows_that_are_no_trades_are_named() -> None:
    price = COLUMNS.price_ticks.copy()
    price[40] = 0
    bad = replace(COLUMNS, price_ticks=price)
    for source, error in ((bad, KernelError), (MemoryTape(bad), TapeError)):
        with pytest.raises(error, match="row 40"):
            run_targets(INSTRUMENT, source, CONFIG, np.ones(COUNT, np.int64))
        with pytest.raises(error, match="row 40"):
            sweep_targets(INSTRUMENT, source, CONFIG, np.ones((1, COUNT), np.int32))
