"""docs/EXECUTION.md rule by rule: one print step by step, the queue ahead, gaps."""

import pytest

from tests.kernel.config import (
    BASE,
    NEVER,
    PESSIMISTIC,
    PPM,
    Change,
    Config,
    Kind,
    Lane,
)
from tests.kernel.conftest import MakeDesk
from tests.kernel.desk import BUY, SELL, Fill

MAKER, TAKER = "MAKER", "TAKER"


# One print


def test_own_orders_get_at_most_their_share_rounded_up(desk: MakeDesk) -> None:
    """40 % of 7 lots is 2.8, up to 3, for takers and resting orders together."""
    d = desk(lanes=(Lane(0, 400_000),) * 3)
    d.print(1000, 100, 5, BUY)
    rests = d.limit(SELL, 9, 101)
    takes = d.market(BUY, 2)
    d.print(1001, 102, 7, BUY)
    assert d.fills(takes) == [Fill(102, 2, TAKER)]
    assert d.fills(rests) == [Fill(101, 1, MAKER)]


def test_triggered_stops_take_before_take_profits_before_others(desk: MakeDesk) -> None:
    d = desk()
    d.print(1000, 100, 5, BUY)
    profit = d.order(Kind.TAKE_PROFIT, BUY, 2, trigger_ticks=95)
    stop = d.order(Kind.STOP, SELL, 2, trigger_ticks=95)
    d.print(1001, 95, 1, SELL)
    market = d.market(BUY, 2)
    d.print(1002, 95, 1, BUY)
    assert (d.filled(stop), d.filled(profit), d.filled(market)) == ((1,), (0,), (0,))
    d.print(1003, 95, 2, BUY)
    assert (d.filled(stop), d.filled(profit), d.filled(market)) == ((2,), (1,), (0,))
    d.print(1004, 95, 5, BUY)
    assert (d.filled(stop), d.filled(profit), d.filled(market)) == ((2,), (2,), (2,))


def test_pessimistic_takers_pay_a_tick_and_need_prints_of_their_own_side(desk: MakeDesk) -> None:
    d = desk(Config(trace=1))
    d.print(1000, 100, 5, BUY)
    order, capped = d.market(BUY, 1), d.limit(BUY, 1, 100)
    d.print(1001, 99, 10, SELL)
    assert d.filled(order) == (1, 1, 0)
    d.print(1002, 100, 10, BUY)
    assert d.fills(order, PESSIMISTIC) == [Fill(101, 1, TAKER)]
    assert d.fills(capped, PESSIMISTIC) == [Fill(100, 1, TAKER)]


def test_the_aggressors_own_counterparts_come_first_then_price_then_age(desk: MakeDesk) -> None:
    d = desk()
    d.print(1000, 100, 5, BUY)
    old, high, young = d.limit(BUY, 2, 98), d.limit(BUY, 2, 99), d.limit(BUY, 2, 98)
    sell = d.limit(SELL, 2, 101)
    d.print(1001, 97, 5, SELL)
    assert [row[2] for row in d.side.out["fills"]] == [high, old, young]
    assert (d.filled(high), d.filled(old), d.filled(young)) == ((2,), (2,), (1,))
    d.print(1002, 101, 9, BUY)
    assert d.filled(sell) == (2,)


@pytest.mark.parametrize("aggressor", [BUY, SELL])
def test_orders_of_both_sides_at_one_price_go_by_the_aggressor(
    desk: MakeDesk, aggressor: int
) -> None:
    """Both rest where the touch left room; of 4 lots the counterpart gets 3, the other the rest."""
    d = desk()
    d.print(1000, 98, 5, SELL)
    d.print(1001, 102, 5, BUY)
    other, counterpart = d.limit(aggressor, 3, 100), d.limit(-aggressor, 3, 100)
    d.print(1002, 100, 4, aggressor)
    assert (d.filled(counterpart), d.filled(other)) == ((3,), (1,))


def test_a_print_of_the_other_aggressor_at_the_price_goes_through(desk: MakeDesk) -> None:
    """A buyer who pays 99 would have met our bid at 99 first: in every lane it is through."""
    d = desk(Config())
    d.print(1000, 101, 5, SELL)
    order = d.limit(BUY, 10, 99)
    d.print(1001, 99, 10, BUY)
    assert d.filled(order) == (10, 5, 2)


def test_own_orders_at_one_price_share_what_the_queue_leaves(desk: MakeDesk) -> None:
    """Levels of 6 ahead: of a print of 10 four are left for both, not four for each."""
    d = desk(Config(lane_count=1, lanes=(Lane(500_000, PPM),) * 3))
    bottom = d.break_levels(1000, SELL, 6)
    one, two = d.limit(BUY, 3, bottom - 5), d.limit(BUY, 3, bottom - 5)
    d.print(1001, bottom - 5, 10, SELL)
    assert (d.filled(one), d.filled(two)) == ((3,), (1,))


def test_own_orders_at_one_price_share_the_participation(desk: MakeDesk) -> None:
    """Nobody is ahead, but of a print of 10 the share is 4: three for one, one for the other."""
    d = desk(lanes=(Lane(0, 400_000),) * 3)
    d.print(1000, 100, 5, BUY)
    one, two = d.limit(BUY, 3, 98), d.limit(BUY, 3, 98)
    d.print(1001, 98, 10, SELL)
    assert (d.filled(one), d.filled(two)) == ((3,), (1,))


def test_a_trace_tells_why_nothing_filled(desk: MakeDesk) -> None:
    base = Lane(500_000, PPM, 0, 1)
    d = desk(Config(lane_count=1, trace=1, lanes=(Lane(0, PPM), base, base)))
    bottom = d.break_levels(1000, SELL, 6)
    rests = d.limit(BUY, 3, bottom - 5)
    taker, starved = d.market(SELL, 2), d.market(SELL, 2)
    d.print(1001, bottom, 2, BUY)
    assert d.last(taker) == "STARVED:OTHER_SIDE"
    d.print(1002, bottom, 2, SELL)
    assert d.last(starved) == "STARVED:BUDGET_SPENT"
    d.cancel(starved)
    d.print(1003, bottom - 5, 2, SELL)
    assert d.last(rests) == "QUEUED"
    assert d.events(rests, Change.QUEUED)[0][3:7] == (bottom - 5, 2, 3, 4)


# The queue ahead


def queue_config(window: int = 256) -> Config:
    return Config(queue_window=window)


def test_the_queue_is_a_quantile_of_what_broken_levels_traded(desk: MakeDesk) -> None:
    """Sixteen levels of 1 to 16: the eighth smallest is the median; below 16 nothing is known."""
    d = desk(queue_config())
    for i in range(16):
        d.print(1000, 500 - i, i + 1, SELL)
    early = d.limit(BUY, 1, 400)
    d.side.clock(1001)
    assert [d.queue(early, lane) for lane in range(3)] == [0, NEVER, NEVER]
    d.print(1002, 484, 99, SELL)
    late = d.limit(BUY, 1, 401)
    d.side.clock(1003)
    assert [d.queue(late, lane) for lane in range(3)] == [0, 8, NEVER]


def test_large_volumes_are_known_to_an_eighth_of_an_octave(desk: MakeDesk) -> None:
    """1000 lies in the step 960..1023."""
    d = desk(queue_config())
    bottom = d.break_levels(1000, SELL, 1000)
    order = d.limit(BUY, 1, bottom - 50)
    d.side.clock(1001)
    assert d.queue(order) == 1023


def test_only_the_last_levels_of_the_window_count(desk: MakeDesk) -> None:
    d = desk(queue_config(16))
    bottom = d.break_levels(1000, SELL, 3)
    bottom = d.break_levels(1001, SELL, 5, 16, bottom - 1)
    order = d.limit(BUY, 1, bottom - 50)
    d.side.clock(1002)
    assert d.queue(order) == 5


def test_a_seller_printing_higher_drops_the_level_unfinished(desk: MakeDesk) -> None:
    """Fifteen levels break; the sixteenth is dropped, so there are too few."""
    d = desk(queue_config())
    bottom = d.break_levels(1000, SELL, 6, 15)
    d.print(1001, bottom + 1, 6, SELL)
    order = d.limit(BUY, 1, bottom - 50)
    d.side.clock(1002)
    assert d.queue(order) == NEVER
    d.print(1003, bottom, 6, SELL)
    other = d.limit(BUY, 1, bottom - 51)
    d.side.clock(1004)
    assert d.queue(other) == 6


def test_asks_are_the_mirror_image(desk: MakeDesk) -> None:
    d = desk(queue_config())
    top = d.break_levels(1000, BUY, 7)
    order = d.limit(SELL, 1, top + 50)
    at_level = d.limit(SELL, 1, top)
    d.print(1001, top - 1, 3, SELL)
    assert d.queue(order) == 7
    assert d.queue(at_level) == 0


def test_at_the_level_that_trades_the_queue_is_what_is_left_of_it(desk: MakeDesk) -> None:
    d = desk(queue_config())
    bottom = d.break_levels(1000, SELL, 6)
    d.print(1001, bottom + 3, 2, SELL)  # a new level with 2 traded
    d.print(1002, bottom + 5, 1, BUY)
    at_level, better = d.limit(BUY, 1, bottom + 3), d.limit(BUY, 1, bottom + 4)
    elsewhere = d.limit(BUY, 1, bottom + 2)
    d.side.clock(1003)
    assert (d.queue(at_level), d.queue(better), d.queue(elsewhere)) == (4, 0, 6)


def test_nobody_overtakes_an_own_order_at_the_same_price(desk: MakeDesk) -> None:
    """The first waits behind 63; then levels of 3 fill the window, but the second is behind it."""
    d = desk(queue_config(16))
    bottom = d.break_levels(1000, SELL, 60)
    first = d.limit(BUY, 5, bottom - 50)
    d.break_levels(1001, SELL, 3)
    second, elsewhere = d.limit(BUY, 5, bottom - 50), d.limit(BUY, 5, bottom - 51)
    d.side.clock(1002)
    assert (d.queue(first), d.queue(second), d.queue(elsewhere)) == (63, 63, 3)


def test_the_queue_of_a_new_order_knows_what_has_traded_since(desk: MakeDesk) -> None:
    """The first waits behind 6; later 4 traded there: 2 are left for it and for the second."""
    d = desk(queue_config())
    bottom = d.break_levels(1000, SELL, 6)
    d.print(1001, bottom + 9, 1, BUY)
    first = d.limit(BUY, 5, bottom - 3)
    d.print(1002, bottom - 3, 4, SELL)
    second = d.limit(BUY, 5, bottom - 3)
    d.side.clock(1004)
    assert (d.queue(first), d.queue(second)) == (6, 2)


def test_prints_at_the_price_take_the_queue_first(desk: MakeDesk) -> None:
    d = desk(queue_config())
    bottom = d.break_levels(1000, SELL, 6)
    order = d.limit(BUY, 9, bottom - 3)
    d.print(1001, bottom - 3, 4, SELL)
    assert d.filled(order) == (4, 0, 0)
    d.print(1002, bottom - 3, 4, SELL)  # 2 of 4 are left behind the queue, and the share is 2
    assert d.filled(order) == (8, 2, 0)
    d.print(1003, bottom - 3, 4, SELL)
    assert d.filled(order) == (9, 4, 0)


def test_prints_through_the_price_clear_the_queue_but_in_a_never_lane(desk: MakeDesk) -> None:
    d = desk(queue_config())
    bottom = d.break_levels(1000, SELL, 600)
    order = d.limit(BUY, 9, bottom - 3)
    d.print(1001, bottom - 4, 2, SELL)
    assert d.filled(order) == (2, 1, 1)
    d.print(1002, bottom - 3, 6, SELL)
    assert d.filled(order) == (8, 4, 1)


def test_leaving_and_coming_back_keeps_the_estimate(desk: MakeDesk) -> None:
    d = desk(queue_config())
    bottom = d.break_levels(1000, SELL, 6)
    order = d.limit(BUY, 9, bottom - 3)
    d.print(1001, bottom - 3, 4, SELL)
    d.print(1002, bottom + 40, 1, BUY)
    d.print(1003, bottom - 3, 3, SELL)
    assert d.filled(order)[BASE] == 1


def test_an_amendment_to_the_back_estimates_anew(desk: MakeDesk) -> None:
    d = desk(queue_config())
    bottom = d.break_levels(1000, SELL, 6)
    order = d.limit(BUY, 9, bottom - 3)
    d.print(1001, bottom - 3, 5, SELL)
    d.print(1002, bottom + 40, 1, BUY)
    d.amend(order, price=bottom - 4)
    d.side.clock(1003)
    assert d.queue(order) == 6


@pytest.mark.parametrize("window", [0, 256])
def test_without_a_sample_only_through_prints_fill(desk: MakeDesk, window: int) -> None:
    d = desk(queue_config(window))
    d.print(1000, 100, 5, BUY)
    order = d.limit(BUY, 9, 98)
    d.print(1001, 98, 10, SELL)
    assert d.filled(order) == (9, 0, 0)
    d.print(1002, 97, 10, SELL)
    assert d.filled(order) == (9, 5, 2)


# Gaps


def test_a_gap_tells_every_open_order_and_forgets_the_levels(desk: MakeDesk) -> None:
    d = desk(queue_config())
    bottom = d.break_levels(1000, SELL, 6)
    rests, pending = d.limit(BUY, 1, bottom - 3), d.limit(BUY, 1, bottom - 3, at=5000)
    d.side.clock(1001)
    d.side.gap(0)
    for order in (rests, pending):
        (event,) = d.events(order, Change.UNKNOWN)
        assert event[:2] == (d.side.input, 1001)
    d.print(1002, bottom - 1, 99, SELL)  # would have broken the level at the bottom
    d.print(1003, bottom - 1, 1, SELL)
    assert d.filled(rests) == (0, 0, 0)
