"""docs/EXECUTION.md rule by rule: placing, canceling, amending, and what is refused."""

import pytest

from tests.kernel.config import (
    PPM,
    Change,
    Config,
    Flag,
    Kind,
    Market,
    Request,
    Tif,
)
from tests.kernel.conftest import MakeDesk
from tests.kernel.desk import BUY, SELL, Fill

MAKER, TAKER = "MAKER", "TAKER"


# Commands


def test_a_group_is_placed_whole_or_not_at_all(desk: MakeDesk) -> None:
    d = desk()
    d.print(1000, 100, 5, BUY)
    good, bad = Request(qty_lots=1, price_ticks=90), Request(qty_lots=0, price_ticks=90)
    assert d.refusal(lambda: d.place(good, bad)) == "BAD_QTY"
    assert d.place(good, good) == [1, 2]


def test_capacity_counts_open_orders(desk: MakeDesk) -> None:
    d = desk(orders_max=2)
    d.print(1000, 100, 5, BUY)
    one = Request(qty_lots=1, price_ticks=90)
    assert d.refusal(lambda: d.place(one, one, one)) == "CAPACITY"
    order, _ = d.place(one, one)
    assert d.refusal(one) == "CAPACITY"
    d.cancel(order)
    d.side.clock(1001)
    assert d.refusal(one) == "OK"


def test_until_a_cancel_arrives_the_order_may_fill(desk: MakeDesk) -> None:
    d = desk(latencies_us=(10,))
    d.print(1000, 100, 5, BUY)
    order = d.limit(BUY, 9, 99)
    d.side.clock(1020)
    d.cancel(order)
    d.print(1030, 99, 2, SELL)
    d.print(1031, 99, 2, SELL)
    assert d.filled(order) == (2,)
    assert d.last(order) == "CANCELED:BY_COMMAND"
    assert d.events(order, Change.CANCELED)[0][5] == 7
    assert d.refusal(lambda: d.cancel(order)) == "UNKNOWN_ORDER"


def test_cancel_all_of_one_instrument_or_of_all(desk: MakeDesk) -> None:
    d = desk(markets=(Market(), Market()))
    d.side.clock(1000)
    first, second = d.limit(BUY, 1, 90), d.limit(BUY, 1, 90, market=1)
    assert d.side.cancel_all(1000, 1) == 1
    d.side.clock(1001)
    assert (d.is_open(first), d.is_open(second)) == (True, False)
    third = d.limit(BUY, 1, 90, market=1)
    assert d.side.cancel_all(1001, -1) == 2
    d.side.clock(1002)
    assert not d.is_open(first)
    assert not d.is_open(third)


def test_a_smaller_quantity_keeps_its_place_and_another_price_does_not(desk: MakeDesk) -> None:
    d = desk()
    d.print(1000, 100, 5, BUY)
    smaller, moved, behind = d.limit(BUY, 5, 99), d.limit(BUY, 5, 98), d.limit(BUY, 5, 99)
    d.side.clock(1001)
    d.amend(smaller, qty=4)
    d.amend(moved, price=99)
    d.print(1002, 99, 6, SELL)
    assert (d.filled(smaller), d.filled(behind), d.filled(moved)) == ((4,), (2,), (0,))
    assert d.story(smaller)[2:] == ["AMEND_ASKED", "AMENDED", "FILLED"]
    assert d.story(moved)[2:] == ["AMEND_ASKED", "AMENDED", "RESTING"]
    assert d.events(moved, Change.AMENDED)[0][7] == 99


def test_more_quantity_goes_to_the_back(desk: MakeDesk) -> None:
    d = desk()
    d.print(1000, 100, 5, BUY)
    more, behind = d.limit(BUY, 5, 99), d.limit(BUY, 5, 99)
    d.side.clock(1001)
    d.amend(more, qty=6)
    d.print(1002, 99, 7, SELL)
    assert (d.filled(more), d.filled(behind)) == ((2,), (5,))


def test_an_amended_price_is_decided_anew(desk: MakeDesk) -> None:
    d = desk()
    d.print(1000, 100, 5, BUY)
    takes, post_only = d.limit(BUY, 5, 98), d.limit(BUY, 5, 98, flags=Flag.POST_ONLY)
    d.side.clock(1001)
    d.amend(takes, price=100)
    d.amend(post_only, price=100)
    d.print(1002, 100, 9, BUY)
    assert d.fills(takes) == [Fill(100, 5, TAKER)]
    assert d.story(post_only)[2:] == ["AMEND_ASKED", "AMENDED", "REJECTED:WOULD_TAKE"]


def test_a_quantity_already_filled_ends_the_order_in_that_lane(desk: MakeDesk) -> None:
    """Through-prints of 10 give the lanes 10, 5 and 2 of 12."""
    d = desk(Config())
    d.print(1000, 100, 5, BUY)
    order = d.limit(BUY, 12, 99)
    d.print(1001, 98, 10, SELL)
    assert d.filled(order) == (10, 5, 2)
    d.amend(order, qty=5)
    d.side.clock(1002)
    assert [d.last(order, lane) for lane in range(3)] == [
        "CANCELED:BY_AMENDMENT",
        "CANCELED:BY_AMENDMENT",
        "AMENDED",
    ]
    d.print(1003, 98, 30, SELL)
    assert d.filled(order) == (10, 5, 5)


def test_a_waiting_order_only_changes_its_numbers(desk: MakeDesk) -> None:
    d = desk()
    d.print(1000, 100, 5, BUY)
    order = d.order(Kind.STOP, SELL, 5, trigger_ticks=95)
    d.side.clock(1001)
    d.amend(order, qty=3, trigger=97)
    d.print(1002, 97, 5, SELL)
    assert d.story(order)[2:] == ["AMEND_ASKED", "AMENDED", "TRIGGERED", "TAKING"]
    d.print(1003, 96, 5, SELL)
    assert d.fills(order) == [Fill(96, 3, TAKER)]


def test_amendments_are_checked(desk: MakeDesk) -> None:
    d = desk(latencies_us=(10,))
    d.print(1000, 100, 5, BUY)
    order, market = d.limit(BUY, 5, 99), d.market(BUY, 5)
    d.amend(order, qty=4)
    for call, status in (
        (lambda: d.amend(order, qty=3), "AMEND_PENDING"),
        (lambda: d.amend(market), "BAD_ORDER"),
        (lambda: d.amend(market, price=100), "BAD_ORDER"),
        (lambda: d.amend(market, trigger=100), "BAD_ORDER"),
        (lambda: d.amend(77, qty=1), "UNKNOWN_ORDER"),
        (lambda: d.amend(market, qty=-1), "BAD_QTY"),
    ):
        assert d.refusal(call) == status


GOOD = {"qty_lots": 5, "side": BUY}


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ({"kind": 7}, "BAD_ORDER"),
        ({"price_ticks": 90, "time_in_force": 4}, "BAD_ORDER"),
        ({"price_ticks": 90, "flags": 32}, "BAD_ORDER"),
        ({"price_ticks": 90, "market": 1}, "BAD_MARKET"),
        ({"price_ticks": 90, "side": 0}, "BAD_SIDE"),
        ({"price_ticks": 90, "qty_lots": 0}, "BAD_QTY"),
        ({"price_ticks": 90, "qty_lots": (1 << 56) + 1}, "BAD_QTY"),
        ({"price_ticks": 0}, "BAD_PRICE"),
        ({"price_ticks": (1 << 50) + 1}, "BAD_PRICE"),
        ({"kind": Kind.STOP, "trigger_ticks": 0}, "BAD_PRICE"),
        ({"price_ticks": 90, "trigger_ticks": 90}, "BAD_PRICE"),
        ({"kind": Kind.MARKET, "price_ticks": 90}, "BAD_PRICE"),
        ({"price_ticks": 90, "trail": 1}, "BAD_ORDER"),
        ({"kind": Kind.TRAILING_STOP}, "BAD_ORDER"),
        ({"kind": Kind.TRAILING_STOP, "trail": PPM, "flags": Flag.TRAIL_PPM}, "BAD_ORDER"),
        ({"kind": Kind.STOP, "trigger_ticks": 9, "flags": Flag.TRAIL_PPM}, "BAD_ORDER"),
        ({"kind": Kind.MARKET, "flags": Flag.POST_ONLY}, "BAD_ORDER"),
        ({"price_ticks": 90, "flags": Flag.POST_ONLY, "time_in_force": Tif.FOK}, "BAD_ORDER"),
        ({"kind": Kind.MARKET, "flags": Flag.CLOSE_POSITION}, "BAD_QTY"),
        ({"price_ticks": 90, "qty_lots": 0, "flags": Flag.CLOSE_POSITION}, "BAD_ORDER"),
        ({"kind": Kind.MARKET, "flags": Flag.ON_MARK}, "BAD_ORDER"),
        ({"kind": Kind.MARKET, "display_lots": 1}, "BAD_ORDER"),
        ({"price_ticks": 90, "display_lots": 5}, "BAD_ORDER"),
        ({"price_ticks": 90, "display_lots": 1, "time_in_force": Tif.IOC}, "BAD_ORDER"),
        ({"price_ticks": 90, "expire_us": 2000}, "BAD_ORDER"),
    ],
)
def test_parts_that_do_not_go_together_are_refused(
    desk: MakeDesk, asked: dict[str, int], status: str
) -> None:
    d = desk()
    d.print(1000, 100, 5, BUY)
    assert d.refusal(Request(**{**GOOD, **asked})) == status
