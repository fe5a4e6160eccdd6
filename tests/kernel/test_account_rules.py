"""docs/EXECUTION.md rule by rule: venue rules, accounts, funding, fees."""

from dataclasses import replace
from functools import partial

import pytest

from tests.kernel.config import (
    BASE,
    DAY_US,
    OPTIMISTIC,
    PESSIMISTIC,
    PPM,
    AccountKind,
    Config,
    FeeTier,
    Flag,
    Kind,
    Lane,
    Market,
    Request,
    Rules,
)
from tests.kernel.conftest import MakeDesk
from tests.kernel.desk import BUY, SELL, Desk, Fill, fee, plain_config, spot
from tests.kernel.reference_execution import RULE_LIMITS

MAKER, TAKER = "MAKER", "TAKER"
KIND, HARSH = Lane(0, PPM), Lane(500_000, 500_000, 1, 1)

RULES = Rules(
    price_step_ticks=5,
    price_min_ticks=50,
    price_max_ticks=200,
    qty_step_lots=2,
    qty_min_lots=4,
    qty_max_lots=40,
    market_qty_max_lots=20,
    notional_min_ticklots=500,
    price_up_ppm=1_100_000,
    price_down_ppm=900_000,
)


# Venue rules


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ({"qty_lots": 6, "price_ticks": 91}, "PRICE_FILTER"),
        ({"qty_lots": 20, "price_ticks": 45}, "PRICE_FILTER"),
        ({"qty_lots": 6, "price_ticks": 205}, "PRICE_FILTER"),
        ({"kind": Kind.STOP, "qty_lots": 6, "trigger_ticks": 111}, "PRICE_FILTER"),
        ({"qty_lots": 7, "price_ticks": 100}, "LOT_SIZE"),
        ({"qty_lots": 2, "price_ticks": 100}, "LOT_SIZE"),
        ({"qty_lots": 42, "price_ticks": 100}, "LOT_SIZE"),
        ({"kind": Kind.MARKET, "qty_lots": 22}, "MARKET_LOT_SIZE"),
        ({"kind": Kind.STOP, "qty_lots": 22, "trigger_ticks": 110}, "MARKET_LOT_SIZE"),
        ({"qty_lots": 4, "price_ticks": 100}, "NOTIONAL"),
        ({"kind": Kind.MARKET, "qty_lots": 4}, "NOTIONAL"),
        ({"kind": Kind.MARKET, "qty_lots": 4, "flags": Flag.REDUCE_ONLY}, "OK"),
        ({"kind": Kind.MARKET, "flags": Flag.CLOSE_POSITION}, "OK"),
        ({"qty_lots": 6, "price_ticks": 115}, "PERCENT_PRICE"),
        ({"qty_lots": 6, "price_ticks": 85}, "PERCENT_PRICE"),
        ({"qty_lots": 6, "price_ticks": 110}, "OK"),
        ({"qty_lots": 6, "price_ticks": 90}, "OK"),
        ({"qty_lots": 22, "price_ticks": 100}, "OK"),
    ],
)
def test_the_venue_refuses_by_its_own_names(
    desk: MakeDesk, asked: dict[str, int], status: str
) -> None:
    d = desk(markets=(Market(rules=RULES),))
    d.print(1000, 100, 5, BUY)
    assert d.refusal(Request(**asked)) == status


def test_rules_about_the_last_price_wait_for_one(desk: MakeDesk) -> None:
    d = desk(markets=(Market(rules=RULES),))
    assert d.refusal(Request(kind=Kind.MARKET, qty_lots=4)) == "OK"
    assert d.refusal(Request(qty_lots=6, price_ticks=200)) == "OK"
    assert d.refusal(Request(qty_lots=4, price_ticks=100)) == "NOTIONAL"


def test_amendments_meet_the_venue_rules_too(desk: MakeDesk) -> None:
    d = desk(markets=(Market(rules=RULES),))
    d.print(1000, 100, 5, BUY)
    order = d.limit(BUY, 10, 90)
    for numbers, status in (
        ({"price": 91}, "PRICE_FILTER"),
        ({"qty": 11}, "LOT_SIZE"),
        ({"qty": 4}, "NOTIONAL"),
        ({"price": 115}, "PERCENT_PRICE"),
        ({"qty": 8, "price": 95}, "OK"),
    ):
        assert d.refusal(partial(d.amend, order, **numbers)) == status


RULE = {name: number for number, name in enumerate(RULE_LIMITS)}


def test_a_rule_that_changes_counts_for_what_is_asked_behind_it(desk: MakeDesk) -> None:
    d = desk(latencies_us=(10,))
    d.print(1000, 100, 5, BUY)
    resting = d.limit(BUY, 4, 97)
    d.print(1020, 100, 5, BUY)
    on_its_way = d.limit(BUY, 5, 98)
    d.side.set_rule(0, 1021, RULE["qty_min_lots"], 8)
    assert d.refusal(Request(qty_lots=7, price_ticks=98)) == "LOT_SIZE"
    assert d.refusal(partial(d.amend, resting, qty=6)) == "LOT_SIZE"
    assert d.refusal(Request(qty_lots=8, price_ticks=90)) == "OK"
    d.print(1040, 96, 50, SELL)
    assert [fill.qty for fill in d.fills(on_its_way) + d.fills(resting)] == [5, 4]
    d.side.set_rule(0, 1041, RULE["qty_min_lots"], 0)
    assert d.refusal(Request(qty_lots=1, price_ticks=90)) == "OK"


@pytest.mark.parametrize("name", RULE)
def test_each_rule_can_change_and_only_in_its_market(desk: MakeDesk, name: str) -> None:
    refused = {
        "price_step_ticks": (2, Request(qty_lots=5, price_ticks=99), "PRICE_FILTER"),
        "price_min_ticks": (100, Request(qty_lots=5, price_ticks=99), "PRICE_FILTER"),
        "price_max_ticks": (98, Request(qty_lots=5, price_ticks=99), "PRICE_FILTER"),
        "qty_step_lots": (2, Request(qty_lots=5, price_ticks=99), "LOT_SIZE"),
        "qty_min_lots": (6, Request(qty_lots=5, price_ticks=99), "LOT_SIZE"),
        "qty_max_lots": (4, Request(qty_lots=5, price_ticks=99), "LOT_SIZE"),
        "market_qty_max_lots": (4, Request(kind=Kind.MARKET, qty_lots=5), "MARKET_LOT_SIZE"),
        "notional_min_ticklots": (496, Request(qty_lots=5, price_ticks=99), "NOTIONAL"),
        "price_up_ppm": (989_999, Request(qty_lots=5, price_ticks=99), "PERCENT_PRICE"),
        "price_down_ppm": (990_001, Request(qty_lots=5, price_ticks=99), "PERCENT_PRICE"),
    }
    value, asked, status = refused[name]
    d = desk(markets=(Market(), Market()))
    for market in (0, 1):
        d.print(1000, 100, 5, BUY, market)
    d.side.set_rule(1, 1000, RULE[name], value)
    assert d.refusal(asked) == "OK"
    assert d.refusal(replace(asked, market=1)) == status


def test_the_touch_stands_a_new_tick_away(desk: MakeDesk) -> None:
    d = desk()
    d.print(1000, 100, 5, BUY)
    d.side.set_rule(0, 1001, RULE["price_step_ticks"], 5)
    order = d.market(SELL, 1)
    d.print(1002, 100, 5, BUY)
    assert [fill.price for fill in d.fills(order)] == [95]


# Free accounts and average cost


def test_a_free_account_may_be_short_and_on_credit(desk: MakeDesk) -> None:
    d = desk()
    d.print(1000, 100, 50, BUY)
    d.market(BUY, 5)
    d.print(1001, 100, 50, BUY)
    assert d.account()["cash"] == -500
    d.market(SELL, 8)
    d.print(1002, 110, 50, SELL)
    assert d.position() == -3
    account = d.account()
    assert account["cash"] == -500 + 8 * 110
    assert account["realized"] == 50
    assert account["equity"] == account["free"] == 50


def test_closing_removes_average_cost_rounded_down(desk: MakeDesk) -> None:
    """One at 100 and two at 101 cost 302; a third of it is 100.67, so 100 goes."""
    d = desk()
    d.print(1000, 100, 1, BUY)
    d.market(BUY, 3)
    d.print(1001, 100, 1, BUY)
    d.print(1002, 101, 2, BUY)
    d.market(SELL, 1)
    d.print(1003, 110, 1, SELL)
    assert d.account()["realized"] == 10
    assert d.side.position(0, BASE) == (2, 110, 202, 0)


def test_turning_a_position_closes_first_and_then_opens(desk: MakeDesk) -> None:
    d = desk()
    d.print(1000, 100, 9, BUY)
    d.market(BUY, 2)
    d.print(1001, 100, 9, BUY)
    d.market(SELL, 5)
    d.print(1002, 110, 9, SELL)
    assert d.account()["realized"] == 20
    assert d.side.position(0, BASE) == (-3, 110, -330, 0)


def test_several_instruments_share_one_account(desk: MakeDesk) -> None:
    """Two lots of one at 100 x 10 atoms, three of the other at 50; a mark goes before a print."""
    d = desk(markets=(Market(atoms_per_ticklot=10), Market()), initial_cash_atoms=10_000)
    d.print(1000, 100, 9, BUY)
    d.print(1000, 50, 9, BUY, market=1)
    d.market(BUY, 2)
    d.market(BUY, 3, market=1)
    d.print(1001, 100, 9, BUY)
    d.print(1002, 50, 9, BUY, market=1)
    assert d.account()["cash"] == 10_000 - 2000 - 150
    assert (d.position(market=0), d.position(market=1)) == (2, 3)
    d.print(1003, 110, 9, BUY)
    d.side.mark(1, 1004, 60)
    d.print(1005, 40, 9, BUY, market=1)
    assert d.account()["equity"] == 10_000 + 200 + 30


# Spot accounts


def test_spot_buys_need_cash_for_price_and_taker_fee(desk: MakeDesk) -> None:
    """9 x 99 + fee 9 = 900; 1 x 99 + fee 1 = 100: then nothing is left."""
    d = desk(spot(1000, fee_tiers=fee(10_000)))
    d.print(1000, 100, 5, BUY)
    orders = [d.limit(BUY, 9, 99), d.limit(BUY, 1, 99), d.limit(BUY, 1, 1)]
    d.side.clock(1001)
    assert [d.last(order) for order in orders] == [
        "RESTING",
        "RESTING",
        "REJECTED:INSUFFICIENT_BALANCE",
    ]
    assert d.account()["free"] == 0


@pytest.mark.parametrize(("kind", "trigger", "most"), [(Kind.MARKET, 0, 9), (Kind.STOP, 120, 8)])
def test_spot_buys_without_a_limit_need_the_touch_or_the_trigger(
    desk: MakeDesk, kind: Kind, trigger: int, most: int
) -> None:
    """9 x 100 + 9 and 8 x 120 + 10 are within 1000, one lot more is not."""
    for qty in (most, most + 1):
        d = desk(spot(1000, fee_tiers=fee(10_000)))
        d.print(1000, 100, 5, BUY)
        order = d.order(kind, BUY, qty, trigger_ticks=trigger)
        d.side.clock(1001)
        assert d.last(order).startswith("REJECTED") == (qty > most)


def test_spot_sells_need_the_position_and_a_pair_counts_once(desk: MakeDesk) -> None:
    d = desk(spot(1000))
    d.print(1000, 100, 9, BUY)
    d.market(BUY, 5)
    d.print(1001, 100, 9, BUY)
    pair = d.place(
        Request(side=SELL, qty_lots=4, price_ticks=105),
        Request(kind=Kind.STOP, side=SELL, qty_lots=3, trigger_ticks=90, sibling_id=1 << 63),
    )
    one, too_much = d.limit(SELL, 1, 106), d.limit(SELL, 1, 107)
    d.side.clock(1002)
    assert [d.last(order) for order in (*pair, one)] == ["RESTING", "WAITING", "RESTING"]
    assert d.last(too_much) == "REJECTED:INSUFFICIENT_BALANCE"


def test_spot_fills_take_what_can_be_paid_and_then_end(desk: MakeDesk) -> None:
    """At 150 six lots and their fee of 9 cost 909; the rest of 91 pays for nothing."""
    d = desk(spot(1010, fee_tiers=fee(10_000)))
    d.print(1000, 100, 50, BUY)
    order = d.market(BUY, 10)
    d.print(1001, 150, 50, BUY)
    assert d.fills(order) == [Fill(150, 6, TAKER)]
    assert d.is_open(order)
    d.print(1002, 150, 50, BUY)
    assert d.last(order) == "CANCELED:INSUFFICIENT_BALANCE"
    assert d.account()["cash"] == 101


def test_spot_fills_count_the_fee_of_their_own_role(desk: MakeDesk) -> None:
    """A maker pays 10 % here and a taker nothing: nine lots at 100 and their fee cost 990."""
    d = desk(spot(1000, fee_tiers=fee(0, 100_000)))
    d.print(1000, 101, 50, BUY)
    order = d.limit(BUY, 10, 100)
    d.print(1001, 99, 50, SELL)
    assert d.fills(order) == [Fill(100, 9, MAKER)]
    assert d.account()["cash"] == 10


def test_spot_sells_at_most_what_each_lane_holds(desk: MakeDesk) -> None:
    """Of a print of 10 the pessimistic lane bought 2; it cannot sell the 5 that the others do."""
    d = desk(Config(account_kind=AccountKind.SPOT, initial_cash_atoms=10**6))
    d.print(1000, 100, 10, BUY)
    d.limit(BUY, 5, 100, time_in_force=1)
    d.print(1001, 100, 10, BUY)
    sell = d.market(SELL, 5)
    d.print(1002, 100, 100, SELL)
    assert d.filled(sell) == (5, 5, 2)
    d.print(1003, 100, 100, SELL)
    assert d.last(sell, PESSIMISTIC) == "CANCELED:INSUFFICIENT_BALANCE"


# Isolated margin


def isolated(leverage: int = 10, maintenance_ppm: int = 50_000, cash: int = 1000) -> Config:
    return plain_config(
        account_kind=AccountKind.ISOLATED,
        initial_cash_atoms=cash,
        markets=(Market(leverage=leverage, maintenance_ppm=maintenance_ppm),),
    )


def long_fifty(d: Desk, side: int = BUY) -> None:
    """A position of 50 at 100: notional 5000, margin 500 at leverage 10."""
    d.print(1000, 100, 90, side)
    d.market(side, 50)
    d.print(1001, 100, 90, side)


def test_opening_locks_margin_and_closing_frees_its_share(desk: MakeDesk) -> None:
    d = desk(isolated())
    long_fifty(d)
    assert d.side.position(0, BASE) == (50, 100, 5000, 500)
    assert d.account()["free"] == 500
    d.market(SELL, 20)
    d.print(1002, 110, 90, SELL)
    assert d.side.position(0, BASE) == (30, 110, 3000, 300)
    assert d.account()["realized"] == 200
    assert d.account()["free"] == 1200 - 300


def test_margin_is_rounded_up_and_freed_rounded_down(desk: MakeDesk) -> None:
    """200 / 3 is 66.67: 67 are locked; half of it is 33.5: 33 are freed."""
    d = desk(isolated(leverage=3))
    d.print(1000, 100, 9, BUY)
    d.market(BUY, 2)
    d.print(1001, 100, 9, BUY)
    assert d.side.position(0, BASE)[3] == 67
    d.market(SELL, 1)
    d.print(1002, 100, 9, SELL)
    assert d.side.position(0, BASE)[3] == 34


def test_only_the_part_that_enlarges_needs_margin(desk: MakeDesk) -> None:
    """500 are free: 51 more at 100 need 510, but 100 to sell only 500 for the 50 beyond zero."""
    d = desk(isolated())
    long_fifty(d)
    more, turning, too_far = d.limit(BUY, 51, 100), d.limit(SELL, 100, 100), d.limit(SELL, 101, 100)
    d.side.clock(1002)
    assert d.last(more) == d.last(too_far) == "REJECTED:INSUFFICIENT_BALANCE"
    assert d.last(turning) == "RESTING"


@pytest.mark.parametrize(
    ("side", "safe", "fatal", "closed_at"), [(BUY, 95, 94, 90), (SELL, 104, 105, 110)]
)
def test_liquidation_loses_exactly_the_margin(
    desk: MakeDesk, side: int, safe: int, fatal: int, closed_at: int
) -> None:
    """Long: at 95 500 - 250 > 238, at 94 500 - 300 <= 235. Short: 500 - 200 > 260, 250 <= 263."""
    d = desk(isolated())
    long_fifty(d, side)
    order = d.limit(side, 1, 100 - 30 * side)
    d.side.mark(0, 1002, safe)
    assert d.position() == 50 * side
    d.side.mark(0, 1003, fatal)
    assert d.side.position(0, BASE) == (0, fatal, 0, 0)
    assert d.account()["realized"] == -500
    assert d.account()["cash"] == d.account()["equity"] == 500
    number, ts, order_id, price, qty, remaining, cost, market, closing, role, lane = d.side.out[
        "fills"
    ][-1]
    assert (ts, order_id, price, qty, remaining, cost) == (1003, 0, closed_at, 50, 0, 0)
    assert (number, market, closing, role, lane) == (4, 0, -side, 2, BASE)
    assert d.last(order) == "CANCELED:BY_LIQUIDATION"
    assert d.side.out["equity"][-1][:2] == (4, 1003)


def test_liquidation_comes_when_the_maintenance_margin_is_reached(desk: MakeDesk) -> None:
    """10 % of 50 x 100 is 500, just the margin; at 101 it is 505 against 550."""
    d = desk(isolated(maintenance_ppm=100_000))
    long_fifty(d)
    d.side.mark(0, 1002, 101)
    assert d.position() == 50
    d.side.mark(0, 1003, 100)
    assert d.position() == 0


def test_without_a_mark_price_there_is_no_liquidation(desk: MakeDesk) -> None:
    d = desk(isolated())
    long_fifty(d)
    d.print(1002, 50, 9, SELL)
    assert d.position() == 50
    assert d.side.snapshot(0)["mark_ticks"] == 0


def test_lanes_are_liquidated_each_for_itself(desk: MakeDesk) -> None:
    """Only the optimistic lane bought: its position goes, the others have nothing to lose."""
    d = desk(
        Config(
            account_kind=AccountKind.ISOLATED,
            initial_cash_atoms=1000,
            markets=(Market(leverage=10, maintenance_ppm=50_000),),
        )
    )
    d.print(1000, 101, 9, BUY)
    order = d.limit(BUY, 20, 100)
    d.print(1001, 100, 10, SELL)
    assert [d.position(lane) for lane in range(3)] == [10, 0, 0]
    d.side.mark(0, 1002, 80)
    assert [d.account(lane)["realized"] for lane in range(3)] == [-100, 0, 0]
    assert d.last(order, OPTIMISTIC) == "CANCELED:BY_LIQUIDATION"
    assert d.last(order, BASE) == "RESTING"


# Funding and fees


@pytest.mark.parametrize(
    ("side", "rate_ppb", "unit", "paid"),
    [
        (BUY, 1_000_000, 1, 5),
        (SELL, 1_000_000, 1, -5),
        (BUY, 100_000, 1, 1),
        (SELL, 100_000, 1, 0),
        (BUY, 1_000_000, 100, 100),
        (BUY, -1_000_000, 1, -5),
    ],
)
def test_funding_is_rounded_up_against_the_trader(
    desk: MakeDesk, side: int, rate_ppb: int, unit: int, paid: int
) -> None:
    d = desk(fee_unit_atoms=unit)
    long_fifty(d, side)
    d.side.mark(0, 1002, 100)
    before = d.account()["cash"]
    d.side.funding(0, 1003, rate_ppb)
    assert d.account()["cash"] == before - paid
    assert d.account()["funding"] == paid
    assert d.side.out["equity"][-1][-1] == paid


def test_funding_needs_a_mark_price(desk: MakeDesk) -> None:
    d = desk()
    d.print(1000, 100, 5, BUY)
    assert d.refusal(lambda: d.side.funding(0, 1001, 1)) == "NO_MARK"


def test_fees_go_by_role_and_are_rounded_up_for_rebates_too(desk: MakeDesk) -> None:
    """Taker 0.1 % of 303 is 0.303, up to 1; maker -0.1 % of 2 x 999 is -1.998, up to -1."""
    d = desk(fee_tiers=fee(1000, -1000))
    d.print(1000, 101, 5, BUY)
    taker = d.market(BUY, 3)
    d.print(1001, 101, 5, BUY)
    maker = d.limit(SELL, 2, 999)
    d.print(1002, 1000, 5, BUY)
    assert d.fees(taker) == [1]
    assert d.fees(maker) == [-1]
    assert d.account()["fees"] == 0


def test_fees_are_whole_fee_units(desk: MakeDesk) -> None:
    d = desk(fee_tiers=fee(1000), fee_unit_atoms=100, markets=(Market(atoms_per_ticklot=1000),))
    d.print(1000, 101, 5, BUY)
    order = d.market(BUY, 3)
    d.print(1001, 101, 5, BUY)
    assert d.fees(order) == [400]  # 0.1 % of 303,000 is 303


def test_fee_tiers_follow_the_notional_of_thirty_days_before_today(desk: MakeDesk) -> None:
    """1 % up to 1000 atoms, then 0.5 %; a fill of 500 counts from the next one on."""
    tiers = (FeeTier(0, 0, 10_000_000), FeeTier(1000, 0, 5_000_000))
    d = desk(fee_tiers=tiers)
    day = 10 * DAY_US
    d.print(day, 100, 5, BUY)
    first = d.market(BUY, 15)
    for ts in (1, 2, 3):
        d.print(day + ts, 100, 5, BUY)
    assert d.fees(first) == [5, 5, 3]
    for days, cost in ((40, 3), (41, 5)):
        d.print(days * DAY_US + 1, 100, 5, BUY)
        later = d.market(BUY, 5)
        d.print(days * DAY_US + 2, 100, 5, BUY)
        assert d.fees(later) == [cost]
