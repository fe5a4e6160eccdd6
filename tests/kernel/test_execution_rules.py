"""docs/EXECUTION.md rule by rule: time, the touch, and the order kinds."""

import pytest

from tests.kernel.config import (
    Change,
    Flag,
    Kind,
    Market,
    Request,
    Rules,
    Tif,
)
from tests.kernel.conftest import MakeDesk
from tests.kernel.desk import BUY, SELL, Fill

MAKER, TAKER = "MAKER", "TAKER"


# Time


def test_a_print_fills_only_later_than_the_arrival(desk: MakeDesk) -> None:
    d = desk(latencies_us=(10,))
    d.print(1000, 100, 5, BUY)
    order = d.market(BUY, 3)
    d.print(1010, 100, 5, BUY)
    assert d.fills(order) == []
    d.print(1011, 100, 5, BUY)
    assert d.fills(order) == [Fill(100, 3, TAKER)]
    (placed,) = d.events(order, Change.PLACED)
    assert (placed[0], placed[1], placed[7]) == (1, 1000, 10)
    (taking,) = d.events(order, Change.TAKING)
    assert (taking[0], taking[1]) == (2, 1010)  # the input before, the moment


def test_each_order_draws_its_own_latency_for_each_leg(desk: MakeDesk) -> None:
    """With seed 7 the draws are 28, 50, 5 for order 1 and 32, 26, 35 for order 2."""
    d = desk(seed=7, latencies_us=tuple(range(100, 164)))
    d.print(1000, 100, 5, BUY)
    for order, draws in (
        (d.limit(BUY, 9, 90), (128, 150, 105)),
        (d.limit(BUY, 9, 91), (132, 126, 135)),
    ):
        d.cancel(order)
        d.amend(order, qty=5)
        changes = (Change.PLACED, Change.CANCEL_ASKED, Change.AMEND_ASKED)
        assert tuple(d.events(order, change)[0][7] for change in changes) == draws


def test_a_cancel_never_arrives_before_its_order(desk: MakeDesk) -> None:
    """Order 1 draws 28 for its way and 50 for its cancel; the table turns that round."""
    table = [0] * 64
    table[28], table[50] = 50, 10
    d = desk(seed=7, latencies_us=tuple(table))
    d.print(1000, 100, 5, BUY)
    order = d.limit(BUY, 9, 90)
    d.cancel(order)
    d.print(1051, 100, 5, BUY)
    assert d.story(order) == ["PLACED", "CANCEL_ASKED", "RESTING", "CANCELED:BY_COMMAND"]
    assert d.events(order, Change.CANCELED)[0][:2] == (1, 1050)


def test_what_is_due_happens_in_the_order_of_its_moments(desk: MakeDesk) -> None:
    """The GTD order ends at 1005, the cancel arrives at 1010, the second order at 1012."""
    d = desk(latencies_us=(10,))
    d.print(980, 100, 5, BUY)
    short = d.limit(BUY, 1, 90, time_in_force=Tif.GTD, expire_us=1005)
    first = d.limit(BUY, 1, 91)
    d.side.clock(1000)
    d.cancel(first)
    second = d.limit(BUY, 1, 92, at=1002)
    d.side.clock(1100)
    due = [row for row in d.side.out["order_events"] if row[0] == 2]
    assert [(row[1], row[2], Change(row[8]).name) for row in due] == [
        (1000, first, "CANCEL_ASKED"),
        (1002, second, "PLACED"),
        (1005, short, "EXPIRED"),
        (1010, first, "CANCELED"),
        (1012, second, "RESTING"),
    ]


def test_late_prints_fill_what_was_active_at_their_own_time(desk: MakeDesk) -> None:
    d = desk()
    d.print(1000, 100, 5, BUY)
    order = d.market(BUY, 3)
    d.side.clock(1100)
    d.print(1000, 100, 5, BUY)
    assert d.fills(order) == []
    d.print(1050, 99, 5, BUY)
    assert d.fills(order) == [Fill(99, 3, TAKER)]
    assert d.side.out["fills"][0][1] == 1050
    assert d.side.out["equity"][0][1] == 1100


def test_gtd_ends_behind_its_moment_without_latency(desk: MakeDesk) -> None:
    d = desk(latencies_us=(10,))
    d.print(1000, 100, 5, BUY)
    order = d.limit(BUY, 9, 99, time_in_force=Tif.GTD, expire_us=1030)
    d.print(1030, 99, 4, SELL)
    assert d.fills(order) == [Fill(99, 4, MAKER)]
    d.print(1031, 99, 4, SELL)
    assert d.filled(order) == (4,)
    assert d.last(order) == "EXPIRED:TIME_IS_UP"
    assert d.events(order, Change.EXPIRED)[0][1] == 1030


def test_gtd_must_lie_later_than_the_command(desk: MakeDesk) -> None:
    d = desk()
    d.print(1000, 100, 5, BUY)
    asked = Request(qty_lots=1, price_ticks=9, time_in_force=Tif.GTD, expire_us=1000)
    assert d.refusal(asked) == "BAD_TIME"


# The touch


def test_the_touch_is_the_last_print_of_each_side(desk: MakeDesk) -> None:
    d = desk(touch_stale_us=50)
    assert d.touch() == (0, 0)
    d.print(1000, 100, 1, BUY)
    assert d.touch() == (99, 100)  # no seller yet: one tick away
    d.print(1010, 97, 1, SELL)
    assert d.touch() == (97, 100)
    d.print(1050, 97, 1, SELL)
    assert d.touch() == (97, 100)  # the buyer's print is 50 us old, and no older
    d.print(1051, 97, 1, SELL)
    assert d.touch() == (97, 98)
    d.print(1062, 103, 1, BUY)
    assert d.touch() == (97, 103)
    d.print(1063, 104, 1, SELL)
    assert d.touch() == (104, 105)  # 103 does not lie beyond 104


def test_behind_a_gap_the_touch_is_stale(desk: MakeDesk) -> None:
    d = desk()
    d.print(1000, 97, 1, SELL)
    d.print(1001, 100, 1, BUY)
    d.side.gap(0)
    assert d.touch() == (99, 100)
    d.print(1002, 101, 1, BUY)
    assert d.touch() == (100, 101)


def test_the_other_side_is_one_venue_tick_away_and_never_below_one(desk: MakeDesk) -> None:
    d = desk(markets=(Market(rules=Rules(price_step_ticks=5)),))
    d.print(1000, 100, 1, BUY)
    assert d.touch() == (95, 100)
    d.print(1001, 3, 1, BUY)
    assert d.touch() == (1, 3)


# Order kinds


def test_market_takes_until_it_is_filled(desk: MakeDesk) -> None:
    d = desk()
    d.print(1000, 100, 5, BUY)
    order = d.market(SELL, 8)
    d.print(1001, 100, 5, BUY)  # the bid is one tick below
    d.print(1002, 98, 5, SELL)
    assert d.fills(order) == [Fill(99, 5, TAKER), Fill(98, 3, TAKER)]
    assert d.story(order) == ["PLACED", "TAKING", "FILLED"]
    assert d.position() == -8
    assert d.account()["cash"] == 5 * 99 + 3 * 98


def test_a_taker_never_gets_better_than_the_touch_at_its_first_print(desk: MakeDesk) -> None:
    d = desk()
    d.print(1000, 100, 5, BUY)
    order = d.market(BUY, 8)
    d.print(1001, 102, 5, BUY)
    d.print(1002, 99, 5, BUY)
    assert d.fills(order) == [Fill(102, 5, TAKER), Fill(102, 3, TAKER)]


def test_limit_takes_at_its_price_or_better_and_rests_otherwise(desk: MakeDesk) -> None:
    d = desk()
    d.print(1000, 100, 5, BUY)
    takes, rests = d.limit(BUY, 2, 101), d.limit(BUY, 2, 99)
    d.print(1001, 100, 5, BUY)
    assert d.fills(takes) == [Fill(100, 2, TAKER)]
    assert d.story(rests) == ["PLACED", "RESTING"]
    d.print(1002, 98, 5, SELL)
    assert d.fills(rests) == [Fill(99, 2, MAKER)]


def test_limit_before_any_print_is_decided_by_its_first_print(desk: MakeDesk) -> None:
    d = desk()
    d.side.clock(1000)
    takes, rests = d.limit(BUY, 2, 100), d.limit(BUY, 2, 99)
    d.side.clock(1001)
    assert d.story(takes) == d.story(rests) == ["PLACED", "TAKING"]
    d.print(1002, 100, 5, BUY)
    assert d.fills(takes) == [Fill(100, 2, TAKER)]
    assert d.last(rests) == "RESTING"


def test_a_taking_limit_rests_once_the_touch_is_beyond_its_price(desk: MakeDesk) -> None:
    d = desk()
    d.print(1000, 100, 1, BUY)
    order = d.limit(BUY, 9, 100)
    d.print(1001, 100, 4, BUY)
    d.print(1002, 101, 4, BUY)  # ask 101: rests
    d.print(1003, 100, 2, BUY)  # a buyer paid our price: we would have bought
    assert d.fills(order) == [Fill(100, 4, TAKER), Fill(100, 2, MAKER)]
    assert d.story(order) == ["PLACED", "TAKING", "RESTING"]


@pytest.mark.parametrize(
    ("kind", "side", "trigger", "quiet", "reached"),
    [
        (Kind.STOP, BUY, 105, 104, 105),
        (Kind.STOP, SELL, 95, 96, 95),
        (Kind.TAKE_PROFIT, BUY, 95, 96, 94),
        (Kind.TAKE_PROFIT, SELL, 105, 104, 106),
    ],
)
def test_triggers_become_market_orders_that_trade_from_the_next_print(
    desk: MakeDesk, kind: Kind, side: int, trigger: int, quiet: int, reached: int
) -> None:
    d = desk()
    d.print(1000, 100, 5, BUY)
    order = d.order(kind, side, 3, trigger_ticks=trigger)
    d.print(1001, quiet, 5, side)
    assert d.story(order) == ["PLACED", "WAITING"]
    d.print(1002, reached, 5, side)
    assert d.story(order)[2:] == ["TRIGGERED", "TAKING"]
    assert d.events(order, Change.TRIGGERED)[0][3:8] == (reached, 5, 3, 0, trigger)
    assert d.fills(order) == []
    d.print(1003, 100 + 20 * side, 5, side)  # gaps fill worse
    assert d.fills(order) == [Fill(100 + 20 * side, 3, TAKER)]


@pytest.mark.parametrize(
    ("kind", "side", "trigger"),
    [
        (Kind.STOP, BUY, 100),
        (Kind.STOP_LIMIT, SELL, 100),
        (Kind.TAKE_PROFIT, SELL, 99),
        (Kind.TAKE_PROFIT_LIMIT, BUY, 101),
    ],
)
def test_a_trigger_on_the_wrong_side_is_rejected(
    desk: MakeDesk, kind: Kind, side: int, trigger: int
) -> None:
    d = desk()
    d.print(1000, 100, 5, BUY)
    price = 100 if kind in (Kind.STOP_LIMIT, Kind.TAKE_PROFIT_LIMIT) else 0
    order = d.order(kind, side, 3, price, trigger_ticks=trigger)
    d.side.clock(1001)
    assert d.story(order) == ["PLACED", "REJECTED:WOULD_TRIGGER"]


def test_stop_limit_becomes_a_limit_order_by_the_touch_after_the_print(desk: MakeDesk) -> None:
    d = desk()
    d.print(1000, 100, 5, BUY)
    takes = d.order(Kind.STOP_LIMIT, BUY, 3, 106, trigger_ticks=105)
    rests = d.order(Kind.STOP_LIMIT, BUY, 3, 103, trigger_ticks=105)
    d.print(1001, 105, 5, BUY)
    assert d.story(takes)[2:] == ["TRIGGERED", "TAKING"]
    assert d.story(rests)[2:] == ["TRIGGERED", "RESTING"]
    d.print(1002, 106, 5, BUY)
    assert d.fills(takes) == [Fill(106, 3, TAKER)]
    d.print(1003, 102, 2, SELL)
    assert d.fills(rests) == [Fill(103, 2, MAKER)]


def test_take_profit_limit_becomes_a_limit_order(desk: MakeDesk) -> None:
    d = desk()
    d.print(1000, 100, 5, BUY)
    order = d.order(Kind.TAKE_PROFIT_LIMIT, SELL, 3, 107, trigger_ticks=105)
    d.print(1001, 105, 5, BUY)
    assert d.story(order)[2:] == ["TRIGGERED", "RESTING"]
    d.print(1002, 108, 2, BUY)
    assert d.fills(order) == [Fill(107, 2, MAKER)]


def test_trailing_stop_follows_the_best_price_by_ticks(desk: MakeDesk) -> None:
    d = desk()
    d.print(1000, 100, 5, BUY)
    order = d.order(Kind.TRAILING_STOP, SELL, 3, trail=4)
    for ts, price in ((1001, 103), (1002, 110), (1003, 107)):
        d.print(ts, price, 5, BUY)
    assert d.story(order) == ["PLACED", "WAITING"]
    d.print(1004, 106, 5, BUY)  # 110 - 4
    assert d.story(order)[2:] == ["TRIGGERED", "TAKING"]
    assert d.events(order, Change.TRIGGERED)[0][7] == 106
    d.print(1005, 104, 5, SELL)
    assert d.fills(order) == [Fill(104, 3, TAKER)]


def test_trailing_stop_by_ppm_rounds_its_distance_up(desk: MakeDesk) -> None:
    """1.5 % of the best price 101 is 1.515, up to 2 ticks: a buy triggers at 103."""
    d = desk()
    d.print(1000, 110, 5, SELL)
    order = d.order(Kind.TRAILING_STOP, BUY, 3, trail=15_000, flags=Flag.TRAIL_PPM)
    d.print(1001, 101, 5, SELL)
    d.print(1002, 102, 5, SELL)
    assert d.story(order) == ["PLACED", "WAITING"]
    d.print(1003, 103, 5, SELL)
    assert d.story(order)[2:] == ["TRIGGERED", "TAKING"]


def test_trailing_stop_starts_when_its_trigger_is_reached(desk: MakeDesk) -> None:
    d = desk()
    d.print(1000, 100, 5, BUY)
    order = d.order(Kind.TRAILING_STOP, SELL, 3, trail=2, trigger_ticks=105)
    d.print(1001, 104, 5, BUY)
    d.print(1002, 101, 5, BUY)  # three below 104, but not started
    d.print(1003, 106, 5, BUY)
    assert d.story(order) == ["PLACED", "WAITING"]
    d.print(1004, 104, 5, BUY)
    assert d.story(order)[2:] == ["TRIGGERED", "TAKING"]


def test_on_mark_orders_wait_for_the_mark_price(desk: MakeDesk) -> None:
    d = desk()
    d.print(1000, 100, 5, BUY)
    order = d.order(Kind.STOP, SELL, 3, trigger_ticks=95, flags=Flag.ON_MARK)
    d.print(1001, 90, 5, SELL)
    d.side.mark(0, 1002, 96)
    assert d.story(order) == ["PLACED", "WAITING"]
    d.side.mark(0, 1003, 95)
    assert d.story(order)[2:] == ["TRIGGERED", "TAKING"]
    d.print(1004, 91, 5, SELL)
    assert d.fills(order) == [Fill(91, 3, TAKER)]


def test_trailing_stops_may_follow_the_mark_price(desk: MakeDesk) -> None:
    d = desk()
    d.print(1000, 100, 5, BUY)
    d.side.mark(0, 1000, 100)
    order = d.order(Kind.TRAILING_STOP, BUY, 3, trail=5, flags=Flag.ON_MARK)
    for ts, mark in ((1001, 90), (1002, 80), (1003, 84)):
        d.side.mark(0, ts, mark)
        d.print(ts, 200, 1, BUY)
    assert d.story(order) == ["PLACED", "WAITING"]
    assert d.events(order, Change.WAITING)[0][7] == 105
    d.side.mark(0, 1004, 85)
    assert d.last(order) == "TAKING"
    assert d.events(order, Change.TRIGGERED)[0][3:8] == (0, 0, 3, 0, 85)


def test_an_order_that_comes_to_rest_trades_from_the_next_print_on(desk: MakeDesk) -> None:
    """A late print lifts the ask to 105, so the print at 98 makes the order rest."""
    d = desk()
    d.print(1000, 103, 5, BUY)
    order = d.limit(BUY, 3, 103)
    d.side.clock(1001)
    d.print(1000, 105, 5, BUY)
    d.print(1002, 98, 5, SELL)
    assert d.story(order) == ["PLACED", "TAKING", "RESTING"]
    d.print(1003, 98, 5, SELL)
    assert d.fills(order) == [Fill(103, 3, MAKER)]


def test_a_late_print_triggers_only_what_had_arrived_at_its_time(desk: MakeDesk) -> None:
    d = desk()
    d.print(1000, 100, 5, BUY)
    d.side.clock(1050)
    order = d.order(Kind.STOP, SELL, 3, trigger_ticks=95)
    d.side.clock(1100)
    d.print(1040, 90, 5, SELL)
    assert d.story(order) == ["PLACED", "WAITING"]
    d.print(1051, 90, 5, SELL)
    assert "TRIGGERED" in d.story(order)
