import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from flowtape.replay import cache as cache_module
from flowtape.replay.cache import ColumnCache
from flowtape.replay.parts import BLOCK_ROWS, BlockExtremes, Part, TapeColumns
from flowtape.replay.tape_writer import add_trades
from flowtape.replay.tapes import TapeStore
from flowtape.stream.instrument import Instrument
from tests.replay.archive_files import trades

BTC = Instrument("BTCUSDT", "spot", 2, 5)
COUNT = 2_000


@pytest.fixture
def part(tmp_path: Path) -> Part:
    store = TapeStore(tmp_path / "tapes")
    add_trades(store, BTC, [trades(COUNT)])
    (part,) = store.open("BTCUSDT").parts
    return part


@pytest.fixture
def cache(tmp_path: Path) -> ColumnCache:
    return ColumnCache(tmp_path / "cache")


def prices(cache: ColumnCache, part: Part) -> list[int]:
    (piece,) = cache.load(part)
    return piece.price_ticks.tolist()


def test_the_first_use_builds_it_and_the_second_maps_it(cache: ColumnCache, part: Part) -> None:
    path = cache.path_of(part.meta.sha256)
    assert not cache.holds(part)
    assert prices(cache, part) == trades(COUNT).price_ticks.tolist()
    built = path.stat().st_mtime_ns
    assert prices(cache, part) == trades(COUNT).price_ticks.tolist()
    assert path.stat().st_mtime_ns == built
    assert cache.holds(part)
    assert cache.names() == {path.name}


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-50])


def zero_the_tail(path: Path) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] + bytes(len(whole) - len(whole) // 2))


def zero_the_body(path: Path) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[:1024] + bytes(len(whole) - 2048) + whole[-1024:])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def another_file(path: Path) -> None:
    schema = pa.schema([("ts_us", pa.int64())])
    with pa.ipc.new_file(path, schema) as writer:
        writer.write_batch(pa.record_batch([[1, 2]], schema=schema))


@pytest.mark.parametrize("damage", [cut, zero_the_tail, zero_the_body, empty, another_file])
def test_a_damaged_file_is_rebuilt(
    cache: ColumnCache, part: Part, damage: Callable[[Path], None]
) -> None:
    cache.load(part)
    damage(cache.path_of(part.meta.sha256))
    assert not cache.holds(part)
    assert prices(cache, part) == trades(COUNT).price_ticks.tolist()
    assert cache.holds(part)


def test_one_wrong_number_is_found_by_a_full_look(cache: ColumnCache, part: Part) -> None:
    cache.load(part)
    path = cache.path_of(part.meta.sha256)
    whole = bytearray(path.read_bytes())
    whole[len(whole) // 2 + 1] ^= 1
    path.write_bytes(whole)
    assert not cache.holds(part)


def test_a_file_of_an_older_part_is_rebuilt(cache: ColumnCache, part: Part) -> None:
    cache.load(part)
    os.utime(part.path, ns=(1, 1))
    touched = Part.open(part.path)
    assert not cache.holds(touched)
    assert prices(cache, touched) == trades(COUNT).price_ticks.tolist()
    assert cache.holds(touched)


def test_where_nothing_can_be_written_columns_come_from_memory(part: Part, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    cache = ColumnCache(tmp_path / "cache" / "below")
    (piece,) = cache.load(part)
    assert piece.price_ticks.tolist() == trades(COUNT).price_ticks.tolist()
    assert not piece.side.flags.writeable
    assert cache.names() == set()


def test_a_failed_build_leaves_no_file(
    cache: ColumnCache, part: Part, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert len(cache.load(part)[0]) == COUNT
    assert cache.names() == set()


def test_mapped_columns_outlive_a_rebuild(cache: ColumnCache, part: Part) -> None:
    (old,) = cache.load(part)
    cache.drop(part.meta.sha256)
    cache.load(part)
    assert old.price_ticks.tolist() == trades(COUNT).price_ticks.tolist()


def check_extremes(piece: TapeColumns) -> None:
    found, expected = piece.extremes, BlockExtremes.of(piece.ts_us, piece.price_ticks)
    assert found is not None
    assert found.offset == 0
    for ours, theirs in zip(found.arrays(), expected.arrays(), strict=True):
        assert np.array_equal(ours, theirs)
        assert not ours.flags.writeable


@pytest.mark.parametrize("segment_rows", [BLOCK_ROWS, 3 * BLOCK_ROWS, 1 << 24])
def test_extremes_come_with_the_columns(
    cache: ColumnCache, part: Part, monkeypatch: pytest.MonkeyPatch, segment_rows: int
) -> None:
    monkeypatch.setattr(cache_module, "_SEGMENT_ROWS", segment_rows)
    for _ in ("built", "mapped"):
        pieces = cache.load(part)
        assert len(pieces) == -(-COUNT // segment_rows)
        assert TapeColumns.concat(pieces).price_ticks.tolist() == trades(COUNT).price_ticks.tolist()
        for piece in pieces:
            check_extremes(piece)
    assert cache.holds(part)


def test_columns_from_memory_have_extremes_too(part: Part, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    (piece,) = ColumnCache(tmp_path / "cache" / "below").load(part)
    check_extremes(piece)


def put_extremes(cache: ColumnCache, part: Part, which: int, values: np.ndarray) -> None:
    """Write other numbers where one kind of extremes lies in the file."""
    (piece,) = cache.load(part)
    assert piece.extremes is not None
    old = piece.extremes.arrays()[which].tobytes()
    path = cache.path_of(part.meta.sha256)
    whole = path.read_bytes()
    assert whole.count(old) == 1
    path.write_bytes(whole.replace(old, values.astype(np.int64).tobytes()))


@pytest.mark.parametrize("which", [0, 1, 2])
def test_holes_in_the_extremes_are_found_at_once(
    cache: ColumnCache, part: Part, which: int
) -> None:
    blocks = -(-COUNT // BLOCK_ROWS)
    put_extremes(cache, part, which, np.zeros(blocks))
    check_extremes(cache.load(part)[0])
    assert cache.holds(part)


@pytest.mark.parametrize(("which", "value"), [(0, 1 << 60), (1, 1), (2, 1)])
def test_extremes_that_contradict_the_columns_are_found_at_once(
    cache: ColumnCache, part: Part, which: int, value: int
) -> None:
    put_extremes(cache, part, which, np.full(-(-COUNT // BLOCK_ROWS), value))
    check_extremes(cache.load(part)[0])
    assert cache.holds(part)


@pytest.mark.parametrize(("which", "by"), [(0, -1), (1, 1), (2, 1)])
def test_extremes_too_far_out_are_found_by_a_full_look(
    cache: ColumnCache, part: Part, which: int, by: int
) -> None:
    (piece,) = cache.load(part)
    assert piece.extremes is not None
    assert cache.holds(part)
    moved = piece.extremes.arrays()[which].copy()
    moved[-1] += by
    put_extremes(cache, part, which, moved)
    assert not cache.holds(part)
