import os
from pathlib import Path

import pytest

from flowtape.replay import layout
from flowtape.replay.doctor import (
    examine_file,
    examine_tape,
    file_problems,
    repair_tape,
    summarize,
    tape_problems,
)
from flowtape.replay.tape_writer import add_trades
from flowtape.replay.tapes import TapeStore
from flowtape.replay.transaction import TapeTransaction
from flowtape.stream.errors import InputError
from flowtape.stream.instrument import Instrument
from tests.replay.archive_files import (
    DAY_MS,
    futures_file,
    in_us,
    rows,
    spot_file,
    text_file,
    trades,
    tree,
)

BTC = Instrument("BTCUSDT", "spot", 2, 5)
DAY_US = layout.DAY_US


@pytest.fixture
def store(tmp_path: Path) -> TapeStore:
    store = TapeStore(tmp_path / "tapes")
    add_trades(store, BTC, [trades(300, step_us=DAY_US // 100)])
    return store


def part_of(store: TapeStore, day: int) -> Path:
    return store.open("BTCUSDT").parts[day].path


def test_a_whole_file_has_no_problems(tmp_path: Path) -> None:
    report = examine_file(spot_file(tmp_path / "a.csv", in_us(rows(500))))
    assert file_problems(report) == []
    assert (report.row_count, report.time_unit, report.layout) == (500, "us", "spot")
    assert report.size_bytes == (tmp_path / "a.csv").stat().st_size


def test_examining_leaves_nothing_behind(tmp_path: Path) -> None:
    path = futures_file(tmp_path / "a.csv", reversed(rows(500)))
    before = tree(tmp_path)
    report = examine_file(path)
    assert (report.unsorted_count, report.layout) == (499, "futures")
    assert tree(tmp_path) == before


def test_unit_changes_are_counted_not_refused(tmp_path: Path) -> None:
    found = [*rows(3), *in_us(rows(2, first_id=2000)), *rows(1, first_id=3000)]
    report = examine_file(spot_file(tmp_path / "a.csv", found))
    assert (report.unit_change_count, report.time_unit) == (2, "mixed")
    assert "2 changes of the unit of time" in file_problems(report)


def test_problems_are_said_in_words(tmp_path: Path) -> None:
    found = [*rows(5), *rows(5, first_id=1007, start_ms=rows(1)[0].time + 3 * DAY_MS), rows(1)[0]]
    assert file_problems(examine_file(spot_file(tmp_path / "a.csv", found))) == [
        "1 row out of order",
        "1 row repeated",
        "2 days missing",
        "2 ids missing in 1 hole: 1005-1006",
    ]


def test_interleaved_runs_are_said(tmp_path: Path) -> None:
    pairs = zip(rows(9), rows(9, first_id=3000), strict=True)
    path = spot_file(tmp_path / "a.csv", [row for pair in pairs for row in pair])
    assert file_problems(examine_file(path))[0] == (
        "8 rows out of order, in 8 interleaved runs of ids"
    )


def test_a_file_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a\.csv, row 1"):
        examine_file(text_file(tmp_path / "a.csv", ["no", "trades"]))


def test_a_whole_tape_has_no_problems(store: TapeStore) -> None:
    report = examine_tape(store, "BTCUSDT")
    assert tape_problems(report) == []
    assert (report.symbol, report.market, report.day_count) == ("BTCUSDT", "spot", 3)
    assert report.sequence is not None
    assert report.sequence.row_count == 300


def test_holes_between_and_within_days_and_missing_days_count(store: TapeStore) -> None:
    add_trades(
        store, BTC, [trades(10, first_id=311, start_us=int(trades(1).ts_us[0]) + 5 * DAY_US)]
    )
    report = examine_tape(store, "BTCUSDT")
    assert tape_problems(report) == [
        "2 days missing",
        "10 ids missing in 1 hole: 301-310",
    ]


def test_damage_is_reported_not_raised(store: TapeStore) -> None:
    path = part_of(store, 1)
    whole = bytearray(path.read_bytes())
    whole[60] ^= 1
    path.write_bytes(whole)
    (damage,) = examine_tape(store, "BTCUSDT").damaged
    assert f"{path} is damaged" in damage


def test_rows_that_are_not_what_the_footer_says_are_damage(store: TapeStore) -> None:
    path = part_of(store, 1)
    digest = store.open("BTCUSDT").parts[1].meta.sha256.encode()
    forged = path.read_bytes().replace(digest, b"0" * 64)
    path.write_bytes(forged)
    (damage,) = examine_tape(store, "BTCUSDT").damaged
    assert "does not hash to what it says" in damage


def test_repair_rebuilds_what_can_be_derived(store: TapeStore) -> None:
    store.open("BTCUSDT").columns()
    whole = tree(store.root)
    part = store.open("BTCUSDT").parts[0]
    cached = store.cache.path_of(part.meta.sha256)
    cached.write_bytes(cached.read_bytes()[:-3])
    (store.cache.root / "orphan.arrow").write_bytes(b"")
    (part.path.parent / "health.json").unlink()
    (part_of(store, 2).parent / "health.json").write_text("{}")
    unfinished = TapeTransaction(store.root, BTC).folder
    unfinished.mkdir(parents=True)
    (unfinished / "half.parquet").write_bytes(b"half")
    assert sorted(tape_problems(examine_tape(store, "BTCUSDT"))) == [
        "an import into it was interrupted",
        f"the fast copy of {part.path.name} does not fit",
        "the report on date=2026-01-01 is missing or does not fit",
        "the report on date=2026-01-03 is missing or does not fit",
    ]
    assert len(repair_tape(store, "BTCUSDT")) == 5
    assert tape_problems(examine_tape(store, "BTCUSDT")) == []
    repaired = tree(store.root)
    assert {name: data for name, (_, data) in repaired.items() if ".cache" not in name} == {
        name: data for name, (_, data) in whole.items() if ".cache" not in name
    }
    assert repaired.keys() == whole.keys()
    assert repair_tape(store, "BTCUSDT") == []


def test_repair_never_touches_parts(store: TapeStore) -> None:
    os.utime(part_of(store, 0), ns=(5, 5))
    before = {name: found for name, found in tree(store.root).items() if "part-" in name}
    repair_tape(store, "BTCUSDT")
    after = {name: found for name, found in tree(store.root).items() if "part-" in name}
    assert before == after


def test_a_single_part_and_a_single_day_can_be_examined(store: TapeStore) -> None:
    path = part_of(store, 1)
    for place in (path, path.parent):
        report = examine_tape(store, place)
        assert report.sequence is not None
        assert (report.sequence.row_count, tape_problems(report)) == (100, [])


def test_the_list_shows_readable_and_unreadable_tapes(store: TapeStore) -> None:
    add_trades(store, Instrument("ETHUSDT", "um", 2, 5), [trades(10).slice(0, 3)])
    add_trades(store, Instrument("ETHUSDT", "um", 2, 5), [trades(10).slice(5, 10)])
    part_of(store, 1).write_bytes(b"not a tape")
    btc, eth = summarize(store)
    assert "is damaged" in btc.problem
    assert (btc.day_count, eth.problem) == (3, "")
    assert (eth.row_count, eth.hole_count, eth.missing_count) == (8, 1, 2)
