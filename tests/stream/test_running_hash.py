"""A running hash is the same however its bytes were cut, and wherever it was put down."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowtape.stream.running_hash import CHUNK_BYTES, RunningHash

NAME = b"flowtape running 1"


def by_definition(data: bytes) -> bytes:
    head = bytes(32)
    while len(data) >= CHUNK_BYTES:
        head = hashlib.sha256(NAME + head + data[:CHUNK_BYTES]).digest()
        data = data[CHUNK_BYTES:]
    return hashlib.sha256(NAME + head + data).digest()


def bytes_of(count: int) -> bytes:
    return (bytes(range(251)) * (count // 251 + 1))[:count]


NEAR_CHUNKS = st.builds(
    lambda chunks, off: max(chunks * CHUNK_BYTES + off, 0),
    st.integers(0, 3),
    st.integers(-2, 2),
)
COUNTS = st.one_of(NEAR_CHUNKS, st.integers(0, 4 * CHUNK_BYTES))


@given(COUNTS, st.lists(COUNTS, max_size=6), st.lists(st.booleans(), min_size=7, max_size=7))
def test_cuts_and_rests_make_no_difference(count: int, cuts: list[int], rests: list[bool]) -> None:
    data, one, at = bytes_of(count), RunningHash(), 0
    places = [*sorted(min(cut, count) for cut in cuts), count]
    for stop, rests_here in zip(places, rests, strict=False):
        one.update(memoryview(data)[at:stop])
        at = stop
        if rests_here:
            one = RunningHash.take_up(one.put_down())
    assert one.digest() == by_definition(data)


def test_a_copy_goes_on_by_itself() -> None:
    one = RunningHash()
    one.update(b"a" * 100)
    other = one.copy()
    other.update(b"b")
    assert one.digest() == by_definition(b"a" * 100)
    assert other.digest() == by_definition(b"a" * 100 + b"b")


def test_a_whole_chunk_is_not_what_is_left_behind_it() -> None:
    one = RunningHash()
    one.update(bytes(CHUNK_BYTES))
    other = RunningHash.take_up(one.put_down())
    assert one.digest() == other.digest() != hashlib.sha256(NAME + bytes(32 + CHUNK_BYTES)).digest()


@pytest.mark.parametrize("count", [0, 31, 32 + CHUNK_BYTES])
def test_what_was_not_put_down_is_refused(count: int) -> None:
    with pytest.raises(ValueError, match=f"no {count} bytes"):
        RunningHash.take_up(bytes(count))
