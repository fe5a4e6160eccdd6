import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowtape.replay import layout, merge, sorter
from flowtape.replay.doctor import examine_tape
from flowtape.replay.health import DayHealth, IdRange
from flowtape.replay.importer import ImportResult, import_files
from flowtape.replay.merge import Duplicates, sort_by_id
from flowtape.replay.sorter import DaySorter
from flowtape.replay.tape_writer import add_trades
from flowtape.replay.tapes import TapeStore
from flowtape.stream.errors import FlowError, InputError, OffGridError, TapeError
from flowtape.stream.instrument import Instrument, Market
from flowtape.stream.trades import Trades
from tests.replay.archive_files import (
    DAY_MS,
    Row,
    futures_file,
    in_us,
    rows,
    spot_file,
    spot_line,
    text_file,
    trades,
    tree,
    tuples,
    zipped,
)

BTC = Instrument("BTCUSDT", "spot", 2, 5)


@pytest.fixture
def store(tmp_path: Path) -> TapeStore:
    return TapeStore(tmp_path / "tapes")


def run(store: TapeStore, *paths: Path) -> ImportResult:
    return import_files(store, paths, "BTCUSDT", "spot")


def ids(store: TapeStore) -> list[int]:
    tape = store.open("BTCUSDT")
    return tape.full_trades(0, len(tape)).agg_id.tolist()


def reports(store: TapeStore) -> list[DayHealth]:
    folder = layout.tape_folder(store.root, BTC)
    return [
        msgspec.json.decode((day / "health.json").read_bytes(), type=DayHealth)
        for _, day in layout.list_days(folder)
    ]


def test_an_archive_file_becomes_days(store: TapeStore, tmp_path: Path) -> None:
    found = in_us(rows(300, step_ms=DAY_MS // 100))
    path = zipped(spot_file(tmp_path / "a.csv", found))
    result = run(store, path)
    assert result.instrument == Instrument("BTCUSDT", "spot", 2, 1)
    assert [(day.day.isoformat(), day.added_count) for day in result.days] == [
        ("2026-01-01", 100),
        ("2026-01-02", 100),
        ("2026-01-03", 100),
    ]
    tape = store.open("BTCUSDT")
    got = tape.full_trades(0, 300)
    assert got.ts_us.tolist() == [row.time for row in found]
    assert got.first_id.tolist() == [row.first_id for row in found]
    assert [
        (f"{p // 100}.{p % 100:02d}", f"{q // 10}.{q % 10}", s == -1)
        for p, q, s in zip(
            got.price_ticks.tolist(), got.qty_lots.tolist(), got.side.tolist(), strict=True
        )
    ] == [(row.price, row.qty, row.maker) for row in found]
    (source,) = tape.parts[0].meta.sources
    assert (source.name, source.sha256) == ("a.zip", result.files[0].sha256)
    (first, *_) = reports(store)
    assert first.imports == result.files
    assert first.sequence.row_count == 100


def test_importing_again_changes_nothing(store: TapeStore, tmp_path: Path) -> None:
    paths = [
        spot_file(tmp_path / "a.csv", rows(50)),
        spot_file(tmp_path / "b.csv", rows(50, first_id=1030, start_ms=rows(31)[-1].time)),
    ]
    first = run(store, *paths)
    before = tree(store.root)
    again = run(store, *paths)
    assert tree(store.root) == before
    assert again.files == first.files
    assert [day.added_count for day in again.days] == [0]
    run(store, zipped(paths[0]))
    after = tree(store.root)
    assert {name: found for name, found in after.items() if "health" not in name} == {
        name: found for name, found in before.items() if "health" not in name
    }


def test_overlapping_files_merge_by_id_in_any_order(tmp_path: Path) -> None:
    whole = rows(1000, step_ms=DAY_MS // 300)
    cuts = [whole[:400], whole[350:700], whole[600:], whole[100:200]]
    paths = [spot_file(tmp_path / f"{i}.csv", cut) for i, cut in enumerate(cuts)]
    expected = TapeStore(tmp_path / "expected")
    run(expected, spot_file(tmp_path / "whole.csv", whole))
    for order in ((0, 1, 2, 3), (3, 2, 1, 0), (2, 0, 3, 1)):
        together = TapeStore(tmp_path / f"together{order}")
        run(together, *(paths[i] for i in order))
        apart = TapeStore(tmp_path / f"apart{order}")
        for i in order:
            run(apart, paths[i])
        assert ids(together) == ids(apart) == ids(expected)
        assert together.open("BTCUSDT").sha256 == expected.open("BTCUSDT").sha256
        assert apart.open("BTCUSDT").sha256 == expected.open("BTCUSDT").sha256


def test_a_finer_file_brings_the_whole_tape_to_its_grid(store: TapeStore, tmp_path: Path) -> None:
    coarse = [Row(i, "100.5", "2", time=rows(1)[0].time + i * DAY_MS) for i in range(3)]
    run(store, spot_file(tmp_path / "coarse.csv", coarse))
    assert store.open("BTCUSDT").instrument == Instrument("BTCUSDT", "spot", 1, 0)
    fine = [Row(10, "100.25", "0.125", time=coarse[2].time)]
    run(store, spot_file(tmp_path / "fine.csv", fine))
    tape = store.open("BTCUSDT")
    assert tape.instrument == Instrument("BTCUSDT", "spot", 2, 3)
    assert tape.columns().price_ticks.tolist() == [10050, 10050, 10050, 10025]
    assert tape.columns().qty_lots.tolist() == [2000, 2000, 2000, 125]
    assert examine_tape(store, "BTCUSDT").stale == ()
    before = tree(store.root)
    run(store, tmp_path / "coarse.csv")
    assert tree(store.root) == before


def test_a_grid_with_no_room_is_refused(store: TapeStore, tmp_path: Path) -> None:
    big = spot_file(tmp_path / "big.csv", [Row(1, "1125899906842624", "1")])
    run(store, big)
    before = tree(store.root)
    with pytest.raises(OffGridError, match="has no room for the 2 more decimals"):
        run(store, spot_file(tmp_path / "fine.csv", [Row(2, "0.01", "1")]))
    assert tree(store.root) == before


def test_files_that_need_finer_grids_later_on_are_exact(store: TapeStore, tmp_path: Path) -> None:
    found = rows(40_000)
    found = [replace(row, price="100", qty="1") for row in found[:-1]]
    found.append(Row(99_999, "100.125", "0.5", time=rows(40_000)[-1].time))
    run(store, spot_file(tmp_path / "a.csv", found))
    tape = store.open("BTCUSDT")
    assert tape.instrument == Instrument("BTCUSDT", "spot", 3, 1)
    assert tape.columns().price_ticks[[0, -2, -1]].tolist() == [100_000, 100_000, 100_125]
    assert len(tape) == 40_000


def defects() -> list[Row]:
    """Return rows with one of everything that archives suffer from."""
    good = rows(12)
    sentinel = Row(1012, "0.0", "0.0", -1, -1, good[-1].time)
    no_qty = Row(1013, "100.0", "0.0", 5, 5, good[-1].time)
    late = Row(1020, "100.0", "1.0", 6, 6, good[3].time)
    conflict = replace(good[2], price="7.77")
    return [*good[:5], *good[7:], good[6], good[0], conflict, sentinel, no_qty, late]


def test_defects_are_counted_and_repaired(store: TapeStore, tmp_path: Path) -> None:
    (report,) = run(store, spot_file(tmp_path / "a.csv", defects())).files
    assert report.row_count == 16
    assert report.exact_duplicate_count == 1
    assert report.conflict_count == 1
    assert report.conflicts[0].agg_id == 1002
    assert report.conflicts[0].kept.startswith("buy 3.2 at 102.25")
    assert report.conflicts[0].dropped.startswith("buy 3.2 at 7.77")
    assert report.unsorted_count == 3
    assert report.sentinel_count == 1
    assert report.zero_qty_count == 1
    assert report.missing_day_count == 0
    sequence = report.sequence
    assert sequence is not None
    assert (sequence.hole_count, sequence.missing_count) == (2, 7)
    assert sequence.holes == (IdRange(1005, 1005), IdRange(1014, 1019))
    assert (sequence.void_count, sequence.backward_count) == (2, 1)
    assert ids(store) == [*range(1000, 1005), *range(1006, 1012), 1020]
    (day,) = reports(store)
    assert day.sequence == sequence
    assert store.open("BTCUSDT").parts[0].meta.void_ids == ((1012, 1013),)
    tape = examine_tape(store, "BTCUSDT")
    assert tape.sequence == sequence
    assert (tape.stale, tape.damaged) == ((), ())


def test_a_trade_takes_the_place_of_a_void_id(store: TapeStore, tmp_path: Path) -> None:
    run(store, spot_file(tmp_path / "a.csv", defects()))
    run(store, spot_file(tmp_path / "b.csv", [Row(1012, "100.5", "1.0", 1, 1, rows(1)[0].time)]))
    assert store.open("BTCUSDT").parts[0].meta.void_ids == ((1013, 1013),)
    assert 1012 in ids(store)
    run(store, tmp_path / "a.csv")
    assert store.open("BTCUSDT").parts[0].meta.void_ids == ((1013, 1013),)


def test_a_conflict_between_files_is_reported_once(store: TapeStore, tmp_path: Path) -> None:
    run(store, spot_file(tmp_path / "a.csv", rows(5)))
    other = spot_file(tmp_path / "b.csv", [replace(rows(5)[3], price="9.99")])
    assert [day.conflict_count for day in run(store, other).days] == [1]
    before = tree(store.root)
    run(store, other)
    assert tree(store.root) == before
    (day,) = reports(store)
    assert [conflict.agg_id for conflict in day.conflicts] == [1003]
    assert "at 9.99" in day.conflicts[0].dropped
    assert store.open("BTCUSDT").columns().price_ticks[3] == 10335


def test_one_id_on_two_days_stays_on_both(store: TapeStore, tmp_path: Path) -> None:
    found = [Row(1, time=rows(1)[0].time), Row(1, time=rows(1)[0].time + DAY_MS)]
    run(store, spot_file(tmp_path / "a.csv", [found[0]]), spot_file(tmp_path / "b.csv", [found[1]]))
    assert ids(store) == [1, 1]
    assert examine_tape(store, "BTCUSDT").overlap_count == 1


def test_interleaved_runs_are_told_from_blocks_out_of_order(
    store: TapeStore, tmp_path: Path
) -> None:
    one, two = rows(50), rows(50, first_id=5000)
    mixed = [row for pair in zip(one, two, strict=True) for row in pair]
    (report,) = run(store, spot_file(tmp_path / "mixed.csv", mixed)).files
    assert (report.unsorted_count, report.interleaved_count) == (49, 49)
    (report,) = run(store, spot_file(tmp_path / "swapped.csv", [*two, *one])).files
    assert (report.unsorted_count, report.interleaved_count) == (50, 0)
    assert ids(store) == [*range(1000, 1050), *range(5000, 5050)]


def test_missing_days_are_listed(store: TapeStore, tmp_path: Path) -> None:
    found = [Row(i, time=rows(1)[0].time + day * DAY_MS) for i, day in enumerate((0, 1, 4))]
    (report,) = run(store, spot_file(tmp_path / "a.csv", found)).files
    assert [day.isoformat() for day in report.missing_days] == ["2026-01-03", "2026-01-04"]


def test_futures_files_go_to_their_own_tapes(store: TapeStore, tmp_path: Path) -> None:
    path = futures_file(tmp_path / "a.csv", [Row(1, "27540.0", "3"), Row(2, "27540.1", "12")])
    result = import_files(store, [path], "BTCUSD_PERP", "cm")
    assert result.instrument == Instrument("BTCUSD_PERP", "cm", 1, 0)
    assert store.open("cm/BTCUSD_PERP").columns().qty_lots.tolist() == [3, 12]


BAD_FILES: dict[str, Callable[[Path], Path]] = {
    "no trade file": lambda path: text_file(path, ["hello,world"]),
    "bad last row": lambda path: text_file(path, [*map(spot_line, rows(9)), "1,2"]),
    "mixed units": lambda path: spot_file(path, [*rows(3), *in_us(rows(3))]),
    "only sentinels": lambda path: spot_file(path, [Row(1, "0.0", "0.0", -1, -1)]),
    "missing": lambda path: path,
}


@pytest.mark.parametrize("kind", BAD_FILES)
@pytest.mark.parametrize("there_is_a_tape", [False, True])
def test_one_bad_file_and_nothing_is_written(
    store: TapeStore, tmp_path: Path, kind: str, there_is_a_tape: bool
) -> None:
    good = spot_file(tmp_path / "good.csv", rows(20))
    if there_is_a_tape:
        run(store, spot_file(tmp_path / "old.csv", rows(5)))
    before = tree(store.root)
    bad = BAD_FILES[kind](tmp_path / "bad.csv")
    with pytest.raises(InputError, match=r"bad\.csv"):
        run(store, bad, *([] if kind == "only sentinels" else [good]))
    assert tree(store.root) == before
    with pytest.raises(InputError):
        import_files(store, [good], "../../evil", "spot")
    with pytest.raises(InputError):
        import_files(store, [good], "BTCUSDT", "dex")  # type: ignore[arg-type]
    assert tree(store.root) == before


def test_a_checksum_mismatch_writes_nothing(store: TapeStore, tmp_path: Path) -> None:
    path = zipped(spot_file(tmp_path / "a.csv", rows(5)))
    path.with_name("a.zip.CHECKSUM").write_text("0" * 64 + "  a.zip")
    with pytest.raises(InputError, match="does not match"):
        run(store, path)
    assert not store.root.exists()


def test_an_import_into_a_damaged_tape_says_so(store: TapeStore, tmp_path: Path) -> None:
    path = spot_file(tmp_path / "a.csv", rows(5))
    run(store, path)
    part = store.open("BTCUSDT").parts[0].path
    part.write_bytes(part.read_bytes()[:-9])
    with pytest.raises(TapeError, match=r"is damaged .* delete it and import again"):
        run(store, path)
    part.unlink()
    run(store, path)
    assert len(ids(store)) == 5


def test_user_files_are_only_read(store: TapeStore, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    path = zipped(spot_file(folder / "a.csv", defects()))
    before = tree(folder)
    run(store, path, folder / "a.csv")
    assert tree(folder) == before


def test_progress_ends_at_its_total(store: TapeStore, tmp_path: Path) -> None:
    paths = [
        zipped(spot_file(tmp_path / "a.csv", rows(30_000))),
        spot_file(tmp_path / "b.csv", rows(10)),
    ]
    seen: list[tuple[int, int]] = []
    import_files(
        store, paths, "BTCUSDT", "spot", progress=lambda done, total: seen.append((done, total))
    )
    assert seen == sorted(seen)
    assert seen[-1][0] == seen[-1][1]
    assert len(seen) > 4


def reference(found: list[tuple[int, ...]]) -> tuple[list[tuple[int, ...]], int, int]:
    kept: dict[int, tuple[int, ...]] = {}
    exact = conflicts = 0
    for row in found:
        if row[0] not in kept:
            kept[row[0]] = row
        elif kept[row[0]] == row:
            exact += 1
        else:
            conflicts += 1
    return sorted(kept.values()), exact, conflicts


@given(seed=st.integers(0, 2**32), blocks=st.integers(1, 12), shape=st.sampled_from("abcd"))
def test_sorting_in_small_memory_equals_sorting_at_once(
    tmp_path_factory: pytest.TempPathFactory, seed: int, blocks: int, shape: str
) -> None:
    chance = random.Random(seed)
    numbers = list(range(1, 200))
    if shape == "a":
        chance.shuffle(numbers)
    elif shape == "b":
        numbers = [n for pair in zip(numbers[:99], numbers[99:], strict=False) for n in pair]
    elif shape == "c":
        numbers = numbers[120:] + numbers[:120]
    found = []
    for number in numbers:
        found += [(number, 1_000_000 + number, 5, 1, -1, -1, 1)] * chance.choice([1, 1, 1, 2])
        if chance.random() < 0.1:
            found.insert(chance.randrange(len(found)), (number, 1_000_000, 6, 1, -1, -1, -1))
    expected, exact, conflicts = reference(found)
    *columns, side = (np.array(column) for column in zip(*found, strict=True))
    whole = Trades(*columns, side.astype(np.int8))
    folder = tmp_path_factory.mktemp("sort")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sorter, "_LOOSE_ROWS", 20)
        patch.setattr(sorter, "_PENDING_ROWS", 50)
        patch.setattr(sorter, "_LANES_MAX", 2)
        patch.setattr(merge, "_RANGE_ROWS", 16)
        days = DaySorter(folder)
        step = -(-len(found) // blocks)
        for start in range(0, len(found), step):
            days.add(whole.slice(start, start + step), BTC)
        sorted_days = days.finish(BTC)
    (part,) = sorted_days.parts.values()
    assert tuples(part.trades(0, part.meta.row_count)) == expected
    # A conflicting row that is itself repeated within a block counts as repeated there.
    found_exact = sorted_days.duplicates.exact_count
    found_conflicts = sorted_days.duplicates.conflict_count
    assert found_exact + found_conflicts == exact + conflicts
    assert (found_conflicts > 0) == (conflicts > 0)
    assert found_exact >= exact


def test_equal_ids_keep_the_first(store: TapeStore) -> None:
    one = trades(3)
    other = replace(one, price_ticks=one.price_ticks + 1)
    both, dropped = sort_by_id(Trades.concat([one, other, one]), BTC)
    assert tuples(both) == tuples(one)
    assert (dropped.exact_count, dropped.conflict_count) == (3, 3)
    assert isinstance(dropped, Duplicates)
    add_trades(store, BTC, [one])
    (change,) = add_trades(store, BTC, [other])
    assert (change.added_count, change.conflict_count) == (0, 3)
    assert ids(store) == [1, 2, 3]


def test_every_refusal_is_a_flow_error() -> None:
    assert issubclass(OffGridError, FlowError)
    assert issubclass(TapeError, InputError)


@pytest.mark.parametrize(
    ("write", "market", "says"),
    [(spot_file, "um", "8 columns, as spot has"), (spot_file, "cm", "8 columns"),
     (futures_file, "spot", "7 columns, as futures have")],
)  # fmt: skip
def test_a_file_of_another_market_is_refused(
    store: TapeStore, tmp_path: Path, write: Callable[..., Path], market: Market, says: str
) -> None:
    path = write(tmp_path / "a.csv", rows(10))
    with pytest.raises(InputError, match=f"a.csv has {says}, .* the market is {market}"):
        import_files(store, [path], "BTCUSDT", market)
    assert not store.tapes()
