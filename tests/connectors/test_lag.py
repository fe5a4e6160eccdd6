import pytest

from flowtape.connectors.binance.lag import LAG_SPAN_US, LAG_US_MAX, LagMeter, clock_off_us

S = 1_000_000


def test_only_what_changes_between_the_clocks_counts():
    meter = LagMeter()
    for second in range(100):
        event_us = second * S
        assert not meter.observe(event_us, event_us + 3_600 * S + second % 3, first=second == 0)
    assert meter.lag_us == 0
    meter.observe(100 * S, 3_700 * S + 42, first=False)
    assert meter.lag_us == 42


def test_a_connection_that_stays_behind_is_told_once_per_span():
    meter = LagMeter()
    meter.observe(0, 0, first=True)
    told = [
        second
        for second in range(1, 32)
        if meter.observe(second * S, second * S + LAG_US_MAX, first=False)
    ]
    assert told == [1 + LAG_SPAN_US // S + 1, 2 * (1 + LAG_SPAN_US // S + 1)]


def test_a_connection_that_catches_up_is_kept():
    meter = LagMeter()
    meter.observe(0, 0, first=True)
    for second in range(1, 60):
        late_us = LAG_US_MAX if second % 10 else LAG_US_MAX - 1
        assert not meter.observe(second * S, second * S + late_us, first=False)


def test_another_connection_begins_anew():
    meter = LagMeter()
    meter.observe(0, 0, first=True)
    meter.observe(S, 20 * S, first=True)
    assert meter.lag_us == 0


@pytest.mark.parametrize(
    ("before", "venue", "after", "off"),
    [
        (100, 150, 200, 0),
        (100, 100, 100, 0),
        (100, 250, 200, -50),
        (100, 70, 200, 30),
        (7_200_000_000, 0, 7_200_000_500, 7_200_000_000),
    ],
)
def test_a_clock_is_off_by_what_the_way_does_not_explain(before, venue, after, off):
    assert clock_off_us(before, venue, after) == off
