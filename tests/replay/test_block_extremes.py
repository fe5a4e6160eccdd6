"""Block extremes beside the columns: right when made, kept right by slicing, gone in copies."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowtape.replay.parts import BLOCK_ROWS, BlockExtremes, TapeColumns
from tests.stream.tapes import make_columns

WHOLE = make_columns(5 * BLOCK_ROWS + 100, seed=11).with_extremes()


def check_bounds(columns: TapeColumns, before: int, rows: TapeColumns) -> None:
    """The extremes of `columns` must be those of the blocks of `rows` that it lies in."""
    found = columns.extremes
    assert found is not None
    assert 0 <= found.offset < BLOCK_ROWS
    count = -(-(found.offset + len(columns)) // BLOCK_ROWS) if len(columns) else 0
    assert [len(column) for column in found.arrays()] == [count] * 3
    for block in range(count):
        start = before - found.offset + block * BLOCK_ROWS
        assert start % BLOCK_ROWS == 0
        prices = rows.price_ticks[start : start + BLOCK_ROWS].tolist()
        assert (found.low_ticks[block], found.high_ticks[block]) == (min(prices), max(prices))
        assert found.latest_us[block] == max(rows.ts_us[start : start + BLOCK_ROWS].tolist())


@pytest.mark.parametrize("count", [0, 1, BLOCK_ROWS - 1, BLOCK_ROWS, BLOCK_ROWS + 1])
def test_each_block_has_its_extremes(count: int) -> None:
    rows = make_columns(count, seed=2)
    check_bounds(rows.with_extremes(), 0, rows)


def test_they_are_read_only_and_the_columns_stay_the_same() -> None:
    assert WHOLE.extremes is not None
    assert not any(column.flags.writeable for column in WHOLE.extremes.arrays())
    assert WHOLE.equals(make_columns(len(WHOLE), seed=11))


@given(st.lists(st.tuples(st.integers(0, len(WHOLE)), st.integers(0, len(WHOLE))), max_size=4))
def test_a_slice_of_slices_keeps_them_right(cuts: list[tuple[int, int]]) -> None:
    piece, before = WHOLE, 0
    for start, stop in cuts:
        before += min(start, len(piece))
        piece = piece.slice(start, stop)
    check_bounds(piece, before, WHOLE)
    assert piece.equals(
        TapeColumns(*(column[before : before + len(piece)] for column in WHOLE.arrays()))
    )


def test_a_slice_may_reach_behind_the_end() -> None:
    piece = WHOLE.slice(BLOCK_ROWS, 10**9)
    assert len(piece) == len(WHOLE) - BLOCK_ROWS
    check_bounds(piece, BLOCK_ROWS, WHOLE)


def test_copies_and_slices_of_plain_columns_have_none() -> None:
    assert TapeColumns.concat([WHOLE.slice(0, 10), WHOLE.slice(10, 20)]).extremes is None
    assert make_columns(100, seed=1).slice(3, 50).extremes is None


def test_all_64_bits_count() -> None:
    ends = np.array([(1 << 63) - 1, -(1 << 63), 0], np.int64)
    found = BlockExtremes.of(ends, ends)
    assert [column.tolist() for column in found.arrays()] == [
        [-(1 << 63)],
        [(1 << 63) - 1],
        [(1 << 63) - 1],
    ]
    assert found.as_tuple() == (found.low_ticks, found.high_ticks, found.latest_us, 0)
