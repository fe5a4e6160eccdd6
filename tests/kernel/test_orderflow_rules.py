"""Order flow at its edges, worked out by hand and asked of the kernel and of its model."""

from collections.abc import Callable
from typing import Any

import pytest

from flowtape.stream import records
from tests.kernel import drive
from tests.kernel.reference_flow import TICK, TIME, FlowConfig
from tests.kernel.test_orderflow_model import (
    Event,
    Outputs,
    empty,
    feed,
    make_kernel,
    of_model,
    run_model,
)

Said = tuple[Outputs, dict[str, Any]]
Tell = Callable[[FlowConfig, list[Event]], Said]

LARGE_THRESHOLD, COUNT, LARGE = 7, 8, 10  # places in a bubble
AREA_LOW, AREA_HIGH, BUY_RUN, SELL_RUN = 4, 5, 9, 10  # places in a footprint
BAR_START, BUY_LOTS = 0, 8  # places in a bar


@pytest.fixture(params=["kernel", "kernel, print by print", "model"])
def tell(request: pytest.FixtureRequest) -> Tell:
    """What is said of a script, and the sums behind it."""

    def of_kernel(config: FlowConfig, script: list[Event]) -> Said:
        kernel, out = make_kernel(config), empty(config)
        feed(kernel, config, script, [1 if "print" in request.param else 100], out)
        recent = kernel.session().view(records.SESSION)[0]["recent_time"]
        return out, {"recent_time": drive.plain(recent, recent.dtype)}

    def of_the_model(config: FlowConfig, script: list[Event]) -> Said:
        model = run_model(config, script)
        return of_model(model), model.session()

    return of_the_model if request.param == "model" else of_kernel


def trade(step: int, price: int, qty: int, side: int) -> Event:
    return ("trade", step, price, qty, side)


def test_a_bubble_of_exactly_the_threshold_is_large(tell: Tell) -> None:
    """The threshold is the largest of the bubbles before: none, 5, 5, 5; the fifth stays open."""
    script = [trade(10, 100, lots, 1) for lots in (5, 5, 4, 6, 1)]
    out, _ = tell(FlowConfig(large_window_count=5, large_ppm=1_000_000), script)
    said = [(bubble[LARGE_THRESHOLD], bubble[LARGE]) for bubble in out["bubbles"]]
    assert said == [(0, 0), (5, 1), (5, 0), (5, 1)]


def test_a_bubble_takes_what_lies_within_its_window_and_band(tell: Tell) -> None:
    """From 1000 at 100 on: 1010 at 101 still belongs, 1011 is too late; 102 is too far."""
    steps = [(0, 100), (10, 101), (1, 100), (0, 99), (0, 102), (0, 100), (0, 100)]
    script = [trade(step, price, 1, 1) for step, price in steps]
    out, _ = tell(FlowConfig(bubble_window_us=10, bubble_band_ticks=1), script)
    assert [bubble[COUNT] for bubble in out["bubbles"]] == [2, 2, 1]


@pytest.mark.parametrize(("step", "turn", "marks"), [(10, 98, 1), (11, 98, 0), (10, 99, 0)])
def test_an_absorption_is_told_once_price_turned_within_its_window(
    tell: Tell, step: int, turn: int, marks: int
) -> None:
    """Buyers spend 12 lots at 100 and get no further; two ticks away the price has turned."""
    script = [trade(0, 100, 7, 1), trade(0, 100, 5, 1), trade(step, turn, 1, -1)]
    config = FlowConfig(absorption_lots=12, absorption_window_us=10, absorption_ticks=2)
    out, _ = tell(config, script)
    assert len(out["marks"]) == marks


@pytest.mark.parametrize(("prices", "marks"), [((1, 2, 2, 3), 1), ((1, 2, 1, 3), 0)])
def test_a_sweep_goes_on_at_a_price_again_but_not_back(
    tell: Tell, prices: tuple[int, ...], marks: int
) -> None:
    script = [*(trade(0, price, 1, 1) for price in prices), trade(0, 3, 1, -1)]
    out, _ = tell(FlowConfig(sweep_level_count=3), script)
    assert len(out["marks"]) == marks


@pytest.mark.parametrize(("second_lots", "marks"), [(8, 1), (9, 0), (10, 0)])
def test_exhaustion_needs_less_volume_at_the_further_price(
    tell: Tell, second_lots: int, marks: int
) -> None:
    """Buyers reach 100 with 9 lots, then 101; a seller's bubble at 99 has turned by two ticks."""
    script = [
        trade(10, 100, 9, 1),
        trade(10, 101, second_lots, 1),
        trade(10, 99, 1, -1),
        trade(10, 99, 1, 1),
    ]
    out, _ = tell(FlowConfig(exhaustion_count=1, exhaustion_ticks=2), script)
    assert len(out["marks"]) == marks


@pytest.mark.parametrize(("until", "lots"), [(1019, 5), (1020, 0), (1029, 0), (1030, 0)])
def test_recent_time_is_the_slot_of_now_and_those_before(tell: Tell, until: int, lots: int) -> None:
    """Two slots of ten microseconds: 1000 to 1009 is looked back on until 1019."""
    script = [trade(0, 100, 5, 1), ("clock", until - 1000)]
    _, session = tell(FlowConfig(recent_slot_us=10, recent_slot_count=2), script)
    assert session["recent_time"] == (20, lots, 0, int(lots > 0))


def test_of_equal_rows_the_value_area_takes_the_upper_one(tell: Tell) -> None:
    """5 lots of 9 at 100 are fewer than 70 %; 2 lie on either side."""
    script = [trade(0, 100, 5, 1), trade(0, 99, 2, 1), trade(0, 101, 2, 1)]
    out, _ = tell(FlowConfig(series=[(TICK, 3, 1)], value_area_ppm=700_000), script)
    assert [(row[AREA_LOW], row[AREA_HIGH]) for row in out["footprints 0"]] == [(100, 101)]


def test_a_print_at_the_end_of_a_time_bar_is_the_next_ones(tell: Tell) -> None:
    script = [trade(0, 100, 5, 1), trade(9, 100, 1, 1), trade(1, 100, 2, 1), trade(30, 100, 1, 1)]
    out, _ = tell(FlowConfig(series=[(TIME, 10, 0)]), script)
    assert [(bar[BAR_START], bar[BUY_LOTS]) for bar in out["bars 0"]] == [(1000, 6), (1010, 2)]


def test_imbalances_compare_diagonally(tell: Tell) -> None:
    """4 bought at 101 stand up to 4 sold at 100, but not to the 9 sold at 101."""
    script = [trade(0, 100, 4, -1), trade(0, 101, 4, 1), trade(0, 101, 9, -1)]
    config = FlowConfig(series=[(TICK, 3, 1)], imbalance_ppm=1_000_000, imbalance_stack_count=1)
    out, _ = tell(config, script)
    assert [(row[BUY_RUN], row[SELL_RUN]) for row in out["footprints 0"]] == [(1, 1)]
