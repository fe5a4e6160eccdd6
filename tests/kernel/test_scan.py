"""Searches, block extremes and sums of the extension against plain Python."""

import sys
import threading
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from flowtape import _kernel
from flowtape.replay.parts import BLOCK_ROWS, BlockExtremes
from flowtape.stream.errors import KernelError
from tests.stream.tapes import make_columns

INT64 = st.integers(-(1 << 63), (1 << 63) - 1)
I64 = NDArray[np.int64]


def touch(price: I64, low: int, high: int, start: int, ts: I64 | None, until_us: int) -> int:
    for row in range(start, len(price)):
        if not low <= price[row] <= high or (ts is not None and ts[row] >= until_us):
            return row
    return len(price)


def test_blocks_have_one_size_everywhere() -> None:
    assert BLOCK_ROWS == _kernel.SCAN_BLOCK_ROWS


@given(st.lists(st.tuples(INT64, INT64), max_size=40), INT64, INT64, INT64, st.integers(0, 50))
def test_a_search_is_exact_for_any_numbers(
    rows: list[tuple[int, int]], low: int, high: int, until_us: int, start: int
) -> None:
    ts = np.array([row[0] for row in rows], np.int64)
    price = np.array([row[1] for row in rows], np.int64)
    timed = touch(price, low, high, start, ts, until_us)
    untimed = touch(price, low, high, start, None, 0)
    extremes = (*_kernel.block_extremes(ts, price), 0)
    assert _kernel.first_touch(price, low, high, start) == untimed
    assert _kernel.first_touch(price, low, high, start, extremes) == untimed
    assert _kernel.first_touch(price, low, high, start, ts_us=ts, until_us=until_us) == timed
    assert (
        _kernel.first_touch(price, low, high, start, extremes, ts_us=ts, until_us=until_us) == timed
    )


@given(st.data())
def test_slices_of_a_tape_are_searched_by_their_blocks(data: st.DataObject) -> None:
    columns = make_columns(4 * BLOCK_ROWS + 100, seed=3)
    whole = BlockExtremes.of(columns.ts_us, columns.price_ticks)
    first = data.draw(st.integers(0, len(columns)))
    last = data.draw(st.integers(first, len(columns)))
    ts, price = columns.ts_us[first:last], columns.price_ticks[first:last]
    part = whole.slice(first, last)
    start = data.draw(st.integers(0, last - first))
    center, band = int(columns.price_ticks[first + start - 1]), data.draw(st.integers(0, 200))
    until_us = data.draw(st.integers(int(columns.ts_us[0]), int(columns.ts_us[-1]) + 1))
    low, high = center - band, center + band
    found = _kernel.first_touch(
        price, low, high, start, part.as_tuple(), ts_us=ts, until_us=until_us
    )
    assert found == touch(price, low, high, start, ts, until_us)
    assert _kernel.first_touch(price, low, high, start, part.as_tuple()) == touch(
        price, low, high, start, None, 0
    )


@pytest.mark.parametrize("count", [0, 1, BLOCK_ROWS - 1, BLOCK_ROWS, 3 * BLOCK_ROWS + 7])
def test_extremes_are_those_that_numpy_finds(count: int) -> None:
    columns = make_columns(count + 1, seed=5).slice(1, count + 1)
    found = _kernel.block_extremes(columns.ts_us, columns.price_ticks)
    expected = BlockExtremes.of(columns.ts_us, columns.price_ticks)
    for ours, theirs in zip(found, expected.arrays(), strict=True):
        assert np.array_equal(ours, theirs)


@given(
    st.lists(
        st.tuples(
            st.integers(1, 1 << 50), st.integers(1, 1 << 56), st.sampled_from([1, -1]), INT64
        ),
        max_size=100,
    ),
    st.integers(1, 30),
)
def test_sums_are_exact(rows: list[tuple[int, int, int, int]], repeats: int) -> None:
    rows = rows * (repeats if sum(row[1] for row in rows) * repeats < 1 << 63 else 1)
    price, qty, side, ts = (
        (list(column) for column in zip(*rows, strict=True)) if rows else [[]] * 4
    )
    sums = _kernel.session_sums(
        np.array(price, np.int64),
        np.array(qty, np.int64),
        np.array(side, np.int8),
        np.array(ts, np.int64),
    )
    assert sums == (
        sum(q for q, s in zip(qty, side, strict=True) if s > 0),
        sum(q for q, s in zip(qty, side, strict=True) if s < 0),
        min(price, default=0),
        max(price, default=0),
        sum(p * q for p, q in zip(price, qty, strict=True)),
        max(ts, default=0),
    )


@pytest.mark.parametrize(
    ("price", "qty", "side", "status"),
    [
        (0, 1, 1, "BAD_PRICE"),
        ((1 << 50) + 1, 1, 1, "BAD_PRICE"),
        (1, -1, 1, "BAD_QTY"),
        (1, (1 << 56) + 1, 1, "BAD_QTY"),
        (1, 1, 0, "BAD_SIDE"),
    ],
)
@pytest.mark.parametrize("row", [0, 63, 64, 1999])
def test_a_bad_row_is_refused(price: int, qty: int, side: int, status: str, row: int) -> None:
    prices, lots, sides = np.full(2000, 9), np.full(2000, 9), np.ones(2000, np.int8)
    prices[row], lots[row], sides[row] = price, qty, side
    with pytest.raises(KernelError) as caught:
        _kernel.session_sums(prices, lots, sides)
    assert caught.value.status == status


def test_a_volume_beyond_64_bits_is_refused() -> None:
    lots = np.full(128, 1 << 56)
    with pytest.raises(KernelError) as caught:
        _kernel.session_sums(np.ones(128, np.int64), lots, np.ones(128, np.int8))
    assert caught.value.status == "OVERFLOW"
    lots[5] -= 1
    sums = _kernel.session_sums(np.ones(128, np.int64), lots, np.ones(128, np.int8))
    assert sums[0] == sums[4] == (1 << 63) - 1


def test_columns_that_do_not_fit_are_refused() -> None:
    price = np.arange(1, 2000)
    low, high, latest = _kernel.block_extremes(price, price)
    with pytest.raises(ValueError, match="equally long"):
        _kernel.block_extremes(price[1:], price)
    with pytest.raises(ValueError, match="equally long"):
        _kernel.session_sums(price, price, np.ones(3, np.int8))
    with pytest.raises(ValueError, match="do not fit"):
        _kernel.first_touch(price, 1, 2, 0, (low[1:], high, latest, 0))
    with pytest.raises(ValueError, match="do not fit"):
        _kernel.first_touch(price, 1, 2, 0, (low, high, latest, BLOCK_ROWS))
    with pytest.raises(TypeError, match="together"):
        _kernel.first_touch(price, 1, 2, ts_us=price)


@pytest.mark.parametrize("name", ["first_touch", "block_extremes", "session_sums"])
def test_passes_release_the_interpreter_lock(name: str) -> None:
    """With switching off, another thread can only work while a pass has let go of the lock."""
    ones, buys = np.ones(1 << 21, np.int64), np.ones(1 << 21, np.int8)
    passes: dict[str, Callable[[], object]] = {
        "first_touch": lambda: _kernel.first_touch(ones, 1, 1),
        "block_extremes": lambda: _kernel.block_extremes(ones, ones),
        "session_sums": lambda: _kernel.session_sums(ones, ones, buys),
    }
    counted, stop = [0], threading.Event()

    def count() -> None:
        while not stop.wait(0.0001):
            counted[0] += 1

    worker = threading.Thread(target=count)
    interval = sys.getswitchinterval()
    worker.start()
    sys.setswitchinterval(1000)
    try:
        before = counted[0]
        for _ in range(1000):
            passes[name]()
            if counted[0] > before:
                break
        during = counted[0] - before
    finally:
        sys.setswitchinterval(interval)
        stop.set()
        worker.join()
    assert during > 0
