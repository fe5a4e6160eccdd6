import random

from hypothesis import given
from hypothesis import strategies as st

from flowtape.connectors.binance.market_clock import MARGIN_US, MarketClock
from flowtape.connectors.binance.pacing import Backoff, TokenBucket, pause_named_s
from flowtape.stream.ports import Clock


@given(st.lists(st.tuples(st.integers(1, 20), st.integers(0, 2_000_000)), max_size=60))
def test_spending_never_outruns_the_rate(calls):
    bucket = TokenBucket(rate_per_s=10.0, burst=20.0)
    now_us, spent = 0, 0
    for weight, passed_us in calls:
        now_us += passed_us
        used_at_s = now_us / 1e6 + bucket.spend(weight, now_us)
        spent += weight
        assert spent <= 20.0 + 10.0 * used_at_s + 1e-6


def test_a_full_bucket_makes_no_one_wait():
    bucket = TokenBucket(rate_per_s=10.0, burst=20.0)
    assert [bucket.spend(10, 0) for _ in range(4)] == [0.0, 0.0, 1.0, 2.0]
    assert bucket.spend(10, 10_000_000) == 0.0


def test_delays_are_jittered_bounded_and_reproducible():
    delays = [Backoff(0.5, 30.0, random.Random(1)).next_s() for _ in range(2)]
    assert delays[0] == delays[1]
    backoff = Backoff(0.5, 30.0, random.Random(2))
    for failures in range(2_000):
        assert 0.0 <= backoff.next_s() <= min(30.0, 0.5 * 2 ** min(failures, 10))
    assert 60.0 <= backoff.next_s(60.0) <= 90.0
    backoff.reset()
    assert backoff.next_s() <= 0.5


def test_retry_after_is_read_or_assumed():
    assert pause_named_s("7") == 7.0
    assert [pause_named_s(text) for text in (None, "", "soon", "-1", "٣")] == [60.0] * 5


def test_quiet_markets_get_the_venues_time_with_a_margin():
    clock = MarketClock(quiet_us=100_000)
    assert clock.statement(50_000_000) is None
    clock.pushed(event_us=1_760_000_000_000_500, received_us=60_000_000)
    clock.emitted(60_000_000, stream_us=1_760_000_000_000_000)
    assert clock.statement(60_099_999) is None
    assert clock.statement(60_100_000) is None, "the margin is not over yet"
    assert clock.wake_us() == 60_200_000
    assert clock.statement(60_300_700) == Clock(1_760_000_000_101_000)
    assert clock.statement(60_300_701) is None
    clock.emitted(60_300_701, stream_us=1_760_000_000_201_000)
    assert clock.statement(60_400_700) is None
    assert clock.statement(60_400_701) is None, "stream time is there already"
    assert clock.statement(60_501_500) == Clock(1_760_000_000_302_000)


@given(st.lists(st.tuples(st.integers(0, 400_000), st.integers(0, 300_000)), min_size=1))
def test_statements_rise_and_never_lead_the_venue(pushes):
    clock = MarketClock(quiet_us=100_000)
    venue_us, said = 1_760_000_000_000_000, 0
    offset_us = 1_759_999_000_000_000
    for passed_us, way_us in pushes:
        venue_us += passed_us
        clock.pushed(venue_us, venue_us - offset_us + way_us)
        for later_us in (100_000, 250_000, 400_000):
            now_us = venue_us - offset_us + way_us + later_us
            statement = clock.statement(now_us)
            if statement is not None:
                assert said < statement.ts_us <= now_us + offset_us - MARGIN_US
                said = statement.ts_us
        venue_us += way_us + 400_000
