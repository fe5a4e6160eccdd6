"""Rings and cursors against plain lists."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from flowtape.stream.instrument import Instrument
from flowtape.stream.records import BUBBLE, SNAPSHOT
from flowtape.stream.view import Cursor, MarketView, Ring, Series


def bubbles(first: int, count: int) -> np.ndarray:  # type: ignore[type-arg]
    records = np.zeros(count, BUBBLE)
    records["input"] = np.arange(first, first + count)
    return records


@given(st.lists(st.integers(0, 25), max_size=30), st.integers(0, 60))
def test_ring_keeps_the_newest(counts: list[int], since: int) -> None:
    ring, everything = Ring(BUBBLE, 10), []
    for count in counts:
        ring.append(bubbles(len(everything), count))
        everything += range(len(everything), len(everything) + count)
    assert ring.head == len(everything)
    kept = everything[max(len(everything) - 10, min(since, len(everything))) :]
    assert list(ring.since(since)["input"]) == kept
    assert ring.holds(since) == (since >= len(everything) - 10)


@given(st.lists(st.integers(0, 3000), max_size=6))
def test_series_keeps_all(counts: list[int]) -> None:
    series, total = Series(BUBBLE), 0
    for count in counts:
        series.append(bubbles(total, count))
        total += count
    assert list(series.all()["input"]) == list(range(total))
    assert len(series.since(total // 2)) == total - total // 2


def test_series_goes_back_and_forward_again() -> None:
    series = Series(BUBBLE)
    series.append(bubbles(0, 5000))
    series.rewind(10)
    assert len(series.all()) == 10
    series.rewind(5000)
    assert list(series.all()["input"]) == list(range(5000))


def view() -> MarketView:
    return MarketView(Instrument("BTCUSDT", "spot", 2, 5), 1_000_000, np.zeros(1, SNAPSHOT)[0])


def test_reader_gets_everything_once_and_a_restart_when_it_is_late() -> None:
    market, cursor = view(), Cursor()
    first = market.read(cursor)
    assert first.restart
    market.bubbles.append(bubbles(0, 3))
    update = market.read(cursor)
    assert not update.restart
    assert list(update.bubbles["input"]) == [0, 1, 2]
    assert len(market.read(cursor).bubbles) == 0
    market.bubbles.append(bubbles(3, 1 << 16))
    market.bubbles.append(bubbles(3 + (1 << 16), 1))
    late = market.read(cursor)
    assert late.restart
    assert len(late.bubbles) == 1 << 16
    market.epoch += 1
    assert market.read(cursor).restart


def test_readers_do_not_share_memory_with_the_view() -> None:
    market, cursor = view(), Cursor()
    market.bubbles.append(bubbles(0, 3))
    update = market.read(cursor)
    update.bubbles["input"] = 99
    assert list(market.bubbles.since(0)["input"]) == [0, 1, 2]
