"""docs/EXECUTION.md rule by rule: spread model, ghosts of lanes, decision and equity points."""

import pytest

from flowtape.stream.errors import KernelError
from tests.kernel.config import (
    PESSIMISTIC,
    PPM,
    Change,
    Config,
    FillModel,
    Lane,
    Market,
    Request,
    Rules,
)
from tests.kernel.conftest import MakeDesk
from tests.kernel.desk import BUY, SELL, Fill
from tests.kernel.drive import make_kernel

MAKER, TAKER = "MAKER", "TAKER"
KIND, HARSH = Lane(0, PPM), Lane(500_000, 500_000, 1, 1)

# The simple spread model


@pytest.mark.parametrize(
    ("spread_ppm", "step", "last", "touch"),
    [
        (20_000, 1, 100, (99, 101)),
        (20_000, 1, 150, (148, 152)),
        (20_000, 5, 100, (95, 105)),
        (0, 1, 100, (99, 101)),
        (1_000_000, 1, 1, (1, 2)),
    ],
)
def test_spread_model_touch(
    desk: MakeDesk, spread_ppm: int, step: int, last: int, touch: tuple[int, int]
) -> None:
    market = Market(rules=Rules(price_step_ticks=step))
    d = desk(fill_model=FillModel.SPREAD, spread_ppm=spread_ppm, markets=(market,))
    d.print(1000, last, 1, SELL)
    assert d.touch() == touch


def test_spread_model_fills_any_size_alike_in_all_lanes(desk: MakeDesk) -> None:
    d = desk(Config(fill_model=FillModel.SPREAD, spread_ppm=20_000))
    d.print(1000, 100, 1, BUY)
    takes, rests = d.market(BUY, 1000), d.limit(BUY, 500, 95)
    d.print(1001, 100, 1, SELL)
    assert d.filled(takes) == (1000, 1000, 1000)
    assert d.fills(takes, PESSIMISTIC) == [Fill(101, 1000, TAKER)]
    d.print(1002, 95, 1, SELL)  # ask 96
    assert d.filled(rests) == (0, 0, 0)
    d.print(1003, 94, 1, BUY)  # ask 95
    assert d.filled(rests) == (500, 500, 500)
    assert d.fills(rests) == [Fill(95, 500, MAKER)]


# Lanes and ghosts


def test_an_order_done_in_the_base_lane_is_unknown_to_commands(desk: MakeDesk) -> None:
    d = desk(Config())
    d.print(1000, 100, 5, BUY)
    ghost = d.limit(BUY, 5, 99)
    d.print(1001, 98, 10, SELL)
    assert d.filled(ghost) == (5, 5, 2)
    assert d.refusal(lambda: d.cancel(ghost)) == "UNKNOWN_ORDER"
    assert d.refusal(lambda: d.amend(ghost, qty=9)) == "UNKNOWN_ORDER"
    assert d.refusal(Request(qty_lots=1, price_ticks=9, parent_id=ghost)) == "UNKNOWN_ORDER"
    assert d.refusal(Request(qty_lots=1, price_ticks=9, sibling_id=ghost)) == "UNKNOWN_ORDER"
    snapshot = d.side.snapshot(0)
    assert (snapshot["open_order_count"], snapshot["order_count"]) == (0, 1)
    assert d.side.cancel_all(1001, -1) == 0
    d.side.clock(1002)
    assert d.last(ghost, PESSIMISTIC) == "CANCELED:BY_COMMAND"


def test_capacity_counts_the_base_lane_and_drops_the_oldest_ghosts(desk: MakeDesk) -> None:
    d = desk(Config(orders_max=1))
    d.print(1000, 100, 5, BUY)
    ghosts = []
    for ts in (1001, 1002):
        ghosts.append(d.limit(BUY, 5, 99))
        d.print(ts, 98, 10, SELL)
    assert all(d.is_open(ghost) for ghost in ghosts)
    order = d.limit(BUY, 5, 50)
    assert d.last(ghosts[0], PESSIMISTIC) == "CANCELED:BY_CAPACITY"
    assert d.events(ghosts[0], Change.CANCELED, PESSIMISTIC)[0][1] == 1002
    assert d.is_open(ghosts[1])
    assert d.refusal(Request(qty_lots=1, price_ticks=9)) == "CAPACITY"
    assert d.is_open(order)


@pytest.mark.parametrize(
    "worse",
    [
        (KIND, HARSH, Lane(400_000, 500_000, 1, 1)),
        (KIND, HARSH, Lane(500_000, 600_000, 1, 1)),
        (KIND, HARSH, Lane(500_000, 500_000, 0, 1)),
        (KIND, HARSH, Lane(500_000, 500_000, 1, 0)),
        (HARSH, KIND, HARSH),
    ],
)
def test_from_lane_to_lane_no_assumption_may_become_kinder(worse: tuple[Lane, ...]) -> None:
    with pytest.raises(KernelError) as caught:
        make_kernel(Config(lanes=worse))
    assert caught.value.status == "BAD_CONFIG"
    make_kernel(Config(lanes=(KIND, HARSH, HARSH)))


# Decision points and equity


def test_decision_points_at_every_so_many_trades_of_all_instruments(desk: MakeDesk) -> None:
    d = desk(decide_trades_count=2, markets=(Market(), Market()))
    for ts, market in ((1000, 0), (1001, 1), (1002, 1), (1003, 0)):
        d.print(ts, 100, 1, BUY, market)
    assert d.side.decisions == [2, 4]


def test_decision_points_on_a_grid(desk: MakeDesk) -> None:
    d = desk(decide_grid_us=100)
    for ts in (1000, 1099, 1100, 1350, 1399):
        d.side.clock(ts)
    d.print(1401, 100, 1, BUY)
    assert d.side.decisions == [3, 4, 6]


def test_decision_points_at_fills_of_the_base_lane(desk: MakeDesk) -> None:
    d = desk(Config(decide_on_fill=1))
    d.print(1000, 101, 5, BUY)
    d.limit(BUY, 9, 100)
    d.print(1001, 100, 2, SELL)  # the optimistic lane alone
    assert d.side.decisions == []
    d.print(1002, 99, 2, SELL)
    assert d.side.decisions == [3]


def test_equity_points_after_base_fills_and_before_grid_crossings(desk: MakeDesk) -> None:
    d = desk(equity_grid_us=100, initial_cash_atoms=1000)
    d.print(1000, 100, 5, BUY)
    d.market(BUY, 2)
    d.print(1001, 100, 5, BUY)
    d.print(1101, 110, 5, BUY)
    d.print(1350, 120, 5, BUY)
    points = [(row[0], row[1], row[5]) for row in d.side.out["equity"]]
    assert points == [(2, 1001, 1000), (2, 1100, 1000), (3, 1200, 1020)]
