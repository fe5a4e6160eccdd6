"""Rules of a venue that change while a session runs."""

from dataclasses import replace

import pytest

from flowtape.stream.config import EngineConfig, MarketSettings
from flowtape.stream.engine import Engine
from flowtape.stream.errors import InputError, KernelError
from flowtape.stream.execution import VenueRules
from flowtape.stream.ports import Rules
from flowtape.stream.venue_rules import RULE_NAMES, differences, in_words
from tests.stream.tapes import INSTRUMENT, make_columns

COLUMNS = make_columns(200, seed=5)
FIRST = VenueRules(qty_min_lots=5, notional_min_ticklots=1_000)
CONFIG = EngineConfig(latency_us=0, markets=(MarketSettings(rules=FIRST),))


def refusal(engine: Engine, lots: int) -> str:
    try:
        engine.orders.buy(lots, 90_000)
    except KernelError as error:
        return error.status
    return ""


def test_what_differs_is_told_one_rule_an_input() -> None:
    engine = Engine(INSTRUMENT, CONFIG)
    engine.apply(COLUMNS.slice(0, 100))
    stream_us = int(engine.snapshot["stream_us"])
    assert engine.rules() == FIRST
    engine.apply_event(Rules(stream_us + 10**9, FIRST))
    assert engine.input == 100
    assert engine.view.notice == ""
    assert refusal(engine, 5) == ""
    then = replace(FIRST, qty_min_lots=6, qty_max_lots=50)
    engine.apply_event(Rules(0, then))
    assert engine.input == 102
    assert int(engine.snapshot["stream_us"]) == stream_us
    assert engine.rules() == then
    assert [refusal(engine, lots) for lots in (5, 6, 50, 51)] == ["LOT_SIZE", "", "", "LOT_SIZE"]
    assert engine.view.notice == (
        "the venue's rules changed: least quantity 0.00006, greatest quantity 0.0005"
    )


def test_what_is_not_known_stays() -> None:
    engine = Engine(INSTRUMENT, CONFIG)
    engine.apply_event(Rules(1, VenueRules(qty_max_lots=9), unknown=("qty_min_lots",)))
    assert engine.rules() == VenueRules(qty_min_lots=5, qty_max_lots=9)


def test_before_anything_else_the_time_is_the_venues() -> None:
    engine = Engine(INSTRUMENT, CONFIG)
    engine.apply_event(Rules(1_234_000, VenueRules()))
    assert int(engine.snapshot["stream_us"]) == 1_234_000
    assert engine.input == 2


def test_a_checkpoint_brings_the_rules_back() -> None:
    engine = Engine(INSTRUMENT, CONFIG)
    engine.apply(COLUMNS.slice(0, 100))
    before = engine.checkpoint()
    engine.apply_event(Rules(0, VenueRules()))
    after = engine.checkpoint()
    engine.restore(before)
    assert engine.rules() == FIRST
    engine.restore(after)
    assert engine.rules() == VenueRules()


@pytest.mark.parametrize(
    "rules",
    [
        VenueRules(price_step_ticks=0),
        VenueRules(qty_step_lots=-1),
        VenueRules(price_max_ticks=(1 << 50) + 1),
        VenueRules(qty_max_lots=(1 << 56) + 1),
        VenueRules(notional_min_ticklots=1 << 63),
    ],
)
def test_rules_that_none_can_have_change_nothing(rules: VenueRules) -> None:
    engine = Engine(INSTRUMENT, CONFIG)
    engine.apply(COLUMNS.slice(0, 100))
    state = engine.checkpoint().state
    with pytest.raises(InputError, match="cannot be"):
        engine.apply_event(Rules(0, rules))
    assert engine.checkpoint().state == state


def test_people_read_every_rule_in_its_unit() -> None:
    other = VenueRules(5, 10, 2_000_000, 10, 20, 9_000, 500, 5_000_000, 1_200_000, 0)
    changes = differences(replace(VenueRules(), price_down_ppm=1), other)
    assert [number for number, _ in changes] == list(range(len(RULE_NAMES)))
    assert in_words(INSTRUMENT, changes) == (
        "the venue's rules changed: tick 0.05, least price 0.1, greatest price 20000, "
        "quantity step 0.0001, least quantity 0.0002, greatest quantity 0.09, "
        "greatest market order 0.005, least notional 0.5, "
        "highest limit price by the last price 1.2, no lowest limit price by the last price"
    )
