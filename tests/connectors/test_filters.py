"""Filters of exchangeInfo as rules of orders."""

import msgspec
import pytest

from flowtape.connectors.binance.filters import rules_of
from flowtape.connectors.binance.messages import SymbolInfo
from flowtape.stream.execution import VenueRules
from flowtape.stream.instrument import Instrument

SPOT = Instrument("BTCUSDT", "spot", price_decimals=2, qty_decimals=5)
USD_M = Instrument("BTCUSDT", "um", price_decimals=1, qty_decimals=3)
BEFORE = VenueRules(
    price_step_ticks=3, price_max_ticks=4, qty_min_lots=5, notional_min_ticklots=6, price_up_ppm=7
)

SPOT_FILTERS = [
    {"filterType": "NOTIONAL", "minNotional": "5.00000000", "applyMinToMarket": True,
     "maxNotional": "9000000.00000000", "applyMaxToMarket": False, "avgPriceMins": 5},
    {"filterType": "PRICE_FILTER", "minPrice": "0.01000000", "maxPrice": "1000000.00000000",
     "tickSize": "0.01000000"},
    {"filterType": "LOT_SIZE", "minQty": "0.00001000", "maxQty": "9000.00000000",
     "stepSize": "0.00001000"},
    {"filterType": "ICEBERG_PARTS", "limit": 100},
    {"filterType": "MARKET_LOT_SIZE", "minQty": "0.00000000", "maxQty": "92.13441333",
     "stepSize": "0.00000000"},
    {"filterType": "PERCENT_PRICE_BY_SIDE", "bidMultiplierUp": "5", "bidMultiplierDown": "0.2",
     "askMultiplierUp": "4", "askMultiplierDown": "0.3", "avgPriceMins": 5},
    {"filterType": "MAX_NUM_ORDERS", "maxNumOrders": 200},
]  # fmt: skip

USD_M_FILTERS = [
    {"filterType": "PRICE_FILTER", "minPrice": "556.80", "maxPrice": "4529764", "tickSize": "0.10"},
    {"filterType": "LOT_SIZE", "minQty": "0.001", "maxQty": "1000", "stepSize": "0.001"},
    {"filterType": "MARKET_LOT_SIZE", "minQty": "0.001", "maxQty": "120", "stepSize": "0.001"},
    {"filterType": "MIN_NOTIONAL", "notional": "100"},
    {"filterType": "PERCENT_PRICE", "multiplierUp": "1.0500", "multiplierDown": "0.9500",
     "multiplierDecimal": "4"},
]  # fmt: skip


def said(*filters: dict[str, object]) -> SymbolInfo:
    return SymbolInfo("BTCUSDT", "TRADING", "BTC", 8, "USDT", 8, list(filters))


def taken(
    instrument: Instrument, *filters: dict[str, object], before: VenueRules = BEFORE
) -> tuple[VenueRules, dict[str, str]]:
    text = msgspec.json.encode(said(*filters))
    return rules_of(msgspec.json.decode(text, type=SymbolInfo), instrument, before)


def test_rules_of_spot() -> None:
    assert taken(SPOT, *SPOT_FILTERS) == (
        VenueRules(
            price_step_ticks=1,
            price_min_ticks=1,
            price_max_ticks=100_000_000,
            qty_step_lots=1,
            qty_min_lots=1,
            qty_max_lots=900_000_000,
            market_qty_max_lots=9_213_441,
            notional_min_ticklots=5 * 10**7,
            price_up_ppm=5_000_000,
            price_down_ppm=200_000,
        ),
        {},
    )


def test_rules_of_usd_m() -> None:
    assert taken(USD_M, *USD_M_FILTERS) == (
        VenueRules(1, 5_568, 45_297_640, 1, 1, 1_000_000, 120_000, 1_000_000, 1_050_000, 950_000),
        {},
    )


def test_nothing_said_and_zeros_are_no_rules() -> None:
    assert taken(SPOT) == (VenueRules(), {})
    zeros = [
        {key: "0.00000000" if isinstance(value, str) and key != "filterType" else value
         for key, value in rule.items()}
        for rule in SPOT_FILTERS
    ]  # fmt: skip
    assert taken(SPOT, *zeros) == (VenueRules(), {})


def test_bounds_between_two_ticks_are_the_next_that_an_order_can_have() -> None:
    found, left = taken(
        Instrument("X", "spot", 0, 0),
        {"filterType": "PRICE_FILTER", "minPrice": "1.5", "maxPrice": "8.9", "tickSize": "2"},
        {"filterType": "LOT_SIZE", "minQty": "0.1", "maxQty": "7.99999", "stepSize": "1.000"},
        {"filterType": "MIN_NOTIONAL", "minNotional": "9.00000001"},
        {"filterType": "PERCENT_PRICE", "multiplierUp": "1.2345678", "multiplierDown": "0.1234561"},
    )
    assert left == {}
    assert found == VenueRules(2, 2, 8, 1, 1, 7, 0, 10, 1_234_567, 123_457)


def test_a_greatest_value_beyond_any_order_is_no_rule() -> None:
    fine = Instrument("X", "spot", 8, 8)
    found, left = taken(
        fine,
        {"filterType": "PRICE_FILTER", "minPrice": "0", "maxPrice": "9" * 30, "tickSize": "0.1"},
        {"filterType": "LOT_SIZE", "minQty": "0", "maxQty": "46116860414.00000000",
         "stepSize": "0.00000001"},
    )  # fmt: skip
    assert left == {}
    assert found == VenueRules(price_step_ticks=10**7)


@pytest.mark.parametrize(
    ("kind", "key", "value", "name"),
    [
        ("PRICE_FILTER", "tickSize", "0.001", "price_step_ticks"),
        ("PRICE_FILTER", "tickSize", "1e-2", "price_step_ticks"),
        ("PRICE_FILTER", "tickSize", "-0.01", "price_step_ticks"),
        ("PRICE_FILTER", "tickSize", None, "price_step_ticks"),
        ("PRICE_FILTER", "tickSize", "9" * 30, "price_step_ticks"),
        ("PRICE_FILTER", "maxPrice", 5, "price_max_ticks"),
        ("PRICE_FILTER", "maxPrice", "0.001", "price_max_ticks"),
        ("PRICE_FILTER", "maxPrice", "9" * 41, "price_max_ticks"),
        ("LOT_SIZE", "minQty", "", "qty_min_lots"),
        ("LOT_SIZE", "minQty", "9" * 20, "qty_min_lots"),
        ("NOTIONAL", "minNotional", "\u0663", "notional_min_ticklots"),
        ("PERCENT_PRICE_BY_SIDE", "askMultiplierUp", "NaN", "price_up_ppm"),
    ],
)
def test_a_value_that_is_no_rule_leaves_the_one_before_and_is_named(
    kind: str, key: str, value: object, name: str
) -> None:
    changed = [rule | {key: value} if rule["filterType"] == kind else rule for rule in SPOT_FILTERS]
    (found, left), (good, _) = taken(SPOT, *changed), taken(SPOT, *SPOT_FILTERS)
    assert getattr(found, name) == getattr(BEFORE, name)
    others = {f for f in VenueRules.__slots__ if f != name}
    assert [getattr(found, f) for f in others] == [getattr(good, f) for f in others]
    assert left.keys() == {name}
    assert left[name].startswith(f"BTCUSDT: {kind} ")
    assert left[name].endswith("that rule stays as it was")
    assert len(left[name]) < 200
