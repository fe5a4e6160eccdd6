import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars
import pyarrow.parquet as pq
import pytest

from flowtape.replay import layout
from flowtape.replay.part_writer import PartWriter
from flowtape.replay.parts import BLOCK_ROWS, Part
from flowtape.replay.schema import ColumnsDigest, PartMeta, SourceFile
from flowtape.replay.tape_writer import add_trades
from flowtape.replay.tapes import Tape, TapeStore
from flowtape.stream.errors import InputError, TapeError
from flowtape.stream.instrument import Instrument
from flowtape.stream.trades import Trades
from tests.replay.archive_files import START_MS, trades, tuples

BTC = Instrument("BTCUSDT", "spot", 2, 5)
DAY_US = layout.DAY_US
START_US = START_MS * 1000


@pytest.fixture
def store(tmp_path: Path) -> TapeStore:
    return TapeStore(tmp_path / "tapes")


def three_days() -> Trades:
    return trades(3_000, step_us=DAY_US // 1000)


def write_part(
    path: Path, rows: Trades, instrument: Instrument = BTC, piece: int = 10**9
) -> PartMeta:
    with PartWriter(path, instrument) as writer:
        for start in range(0, len(rows), piece):
            writer.write(rows.slice(start, start + piece))
        return writer.finish([SourceFile("a.csv", "00")], [(7, 9)])


def test_what_was_written_comes_back(store: TapeStore) -> None:
    rows = three_days()
    add_trades(store, BTC, [rows])
    tape = store.open("BTCUSDT")
    assert tuples(tape.full_trades(0, len(tape))) == tuples(rows)
    assert tape.instrument == BTC
    assert [day.isoformat() for day in tape.days] == ["2026-01-01", "2026-01-02", "2026-01-03"]
    assert (tape.start_us, tape.end_us) == (rows.ts_us[0], rows.ts_us[-1])
    columns = tape.columns()
    for name in ("ts_us", "price_ticks", "qty_lots", "side"):
        assert getattr(columns, name).tolist() == getattr(rows, name).tolist()


def test_segments_are_one_read_only_view_a_day(store: TapeStore) -> None:
    add_trades(store, BTC, [three_days()])
    segments = store.open("BTCUSDT").segments()
    assert [len(segment) for segment in segments] == [1000, 1000, 1000]
    for segment in segments:
        for column in (segment.ts_us, segment.price_ticks, segment.qty_lots, segment.side):
            assert column.flags.c_contiguous
            assert not column.flags.writeable
            assert not column.flags.owndata


def test_segments_of_a_range_are_bounded_by_their_extremes(store: TapeStore) -> None:
    rows = three_days()
    add_trades(store, BTC, [rows])
    segments = store.open("BTCUSDT", int(rows.ts_us[700]), int(rows.ts_us[2300])).segments()
    assert [len(segment) for segment in segments] == [300, 1000, 300]
    offsets = []
    for segment in segments:
        assert segment.extremes is not None
        blocks = (np.arange(len(segment)) + segment.extremes.offset) // BLOCK_ROWS
        low, high, latest = (column[blocks] for column in segment.extremes.arrays())
        assert np.all((low <= segment.price_ticks) & (segment.price_ticks <= high))
        assert np.all(segment.ts_us <= latest)
        offsets.append(segment.extremes.offset)
    assert offsets == [700 % BLOCK_ROWS, 0, 0]


@pytest.mark.parametrize("cached", [False, True])
@pytest.mark.parametrize("rows", [1, 7, 999, 5000])
def test_batches_join_to_the_whole(store: TapeStore, rows: int, cached: bool) -> None:
    add_trades(store, BTC, [trades(300, step_us=DAY_US // 200)])
    tape = store.open("BTCUSDT", START_US + 5_000_000, START_US + DAY_US + DAY_US // 3)
    batches = list(tape.read_batches(rows, cached=cached))
    assert max(map(len, batches)) <= rows
    whole = tape.columns()
    assert np.array_equal(np.concatenate([b.ts_us for b in batches]), whole.ts_us)
    assert np.array_equal(np.concatenate([b.side for b in batches]), whole.side)
    assert store.cache.names()


def test_reading_parquet_makes_no_cache(store: TapeStore) -> None:
    add_trades(store, BTC, [three_days()])
    assert sum(len(batch) for batch in store.open("BTCUSDT").read_batches()) == 3_000
    assert not store.cache.names()


def test_a_range_is_half_open(store: TapeStore) -> None:
    rows = three_days()
    add_trades(store, BTC, [rows])
    start_us, end_us = int(rows.ts_us[500]), int(rows.ts_us[2500])
    tape = store.open("BTCUSDT", start_us, end_us)
    assert len(tape) == 2_000
    assert tape.columns().ts_us[0] == start_us == tape.start_us
    assert tape.columns().ts_us[-1] < end_us
    assert tape.end_us == rows.ts_us[2499]
    assert tuples(tape.full_trades(490, 1_510)) == tuples(rows.slice(990, 2_010))
    assert len(store.open("BTCUSDT", int(rows.ts_us[5]), int(rows.ts_us[5]) + 1)) == 1


def test_row_at_is_the_first_trade_that_has_reached_a_time(store: TapeStore) -> None:
    rows = three_days()
    add_trades(store, BTC, [rows])
    tape = store.open("BTCUSDT", int(rows.ts_us[10]))
    assert tape.row_at(0) == 0
    assert tape.row_at(int(rows.ts_us[10])) == 0
    assert tape.row_at(int(rows.ts_us[1500])) == 1490
    assert tape.row_at(int(rows.ts_us[1500]) + 1) == 1491
    assert tape.row_at(int(rows.ts_us[-1]) + 1) == len(tape)


def test_row_at_and_ranges_survive_time_that_goes_backward(store: TapeStore) -> None:
    rows = trades(100)
    ts_us = rows.ts_us.copy()
    ts_us[40:60] -= 30_000
    add_trades(store, BTC, [replace(rows, ts_us=ts_us)])
    tape = store.open("BTCUSDT")
    assert tape.row_at(int(rows.ts_us[39])) == 39
    assert tape.row_at(int(rows.ts_us[45])) == 60
    assert len(store.open("BTCUSDT", int(rows.ts_us[39]))) == 61


def test_tapes_are_named_by_symbol_market_and_path(store: TapeStore, tmp_path: Path) -> None:
    add_trades(store, BTC, [three_days()])
    folder = layout.tape_folder(store.root, BTC)
    day = folder / "date=2026-01-02"
    (part,) = layout.list_parts(day)
    lengths = {
        ref: len(store.open(ref))
        for ref in ("BTCUSDT", "btcusdt", "spot/BTCUSDT", str(folder), folder, str(day), part)
    }
    assert list(lengths.values()) == [3000, 3000, 3000, 3000, 3000, 1000, 1000]
    assert len(TapeStore(tmp_path / "elsewhere").open(part)) == 1000


def test_an_ambiguous_symbol_lists_its_markets(store: TapeStore) -> None:
    add_trades(store, BTC, [trades(5)])
    add_trades(store, replace(BTC, market="um"), [trades(5)])
    with pytest.raises(InputError, match="say spot/BTCUSDT or um/BTCUSDT"):
        store.open("BTCUSDT")
    assert store.open("um/BTCUSDT").instrument.market == "um"


@pytest.mark.parametrize("ref", ["NOPE", "um/BTCUSDT", "../../etc", "no/such/folder", ""])
def test_an_unknown_tape_names_those_there_are(store: TapeStore, ref: str) -> None:
    add_trades(store, BTC, [trades(5)])
    with pytest.raises(InputError, match=r"there are: spot/BTCUSDT|holds no tape"):
        store.open(ref)


def test_an_empty_store_says_how_to_fill_it(store: TapeStore) -> None:
    assert store.tapes() == []
    with pytest.raises(InputError, match="flowtape import"):
        store.open("BTCUSDT")


def test_an_empty_range_says_what_there_is(store: TapeStore) -> None:
    add_trades(store, BTC, [three_days()])
    with pytest.raises(InputError, match=r"spans 2026-01-01 00:00:00 UTC to 2026-01-03"):
        store.open("BTCUSDT", START_US + 9 * DAY_US)


def test_the_list_counts_rows_and_days(store: TapeStore) -> None:
    add_trades(store, replace(BTC, symbol="ETHUSDT"), [trades(7)])
    add_trades(store, BTC, [three_days()])
    found = store.tapes()
    assert [(t.instrument.symbol, t.row_count, len(t.days)) for t in found] == [
        ("BTCUSDT", 3000, 3),
        ("ETHUSDT", 7, 1),
    ]


def test_a_part_of_a_newer_schema_is_refused(store: TapeStore, tmp_path: Path) -> None:
    write_part(tmp_path / "old.parquet", trades(5))
    table = pq.read_table(tmp_path / "old.parquet")
    values = pq.read_metadata(tmp_path / "old.parquet").metadata
    newer = {**values, b"flowtape.schema_version": b"2"}
    pq.write_table(table.replace_schema_metadata(newer), tmp_path / "new.parquet")
    with pytest.raises(TapeError, match=r"tape schema 2.*upgrade flowtape"):
        store.open(tmp_path / "new.parquet")


def test_a_foreign_parquet_file_is_refused(store: TapeStore, tmp_path: Path) -> None:
    polars.DataFrame({"a": [1]}).write_parquet(tmp_path / "a.parquet")
    with pytest.raises(TapeError, match="is not a flowtape tape"):
        store.open(tmp_path / "a.parquet")


def test_no_flipped_bit_goes_unseen(store: TapeStore, tmp_path: Path) -> None:
    path = tmp_path / "part-1.parquet"
    rows = trades(400)
    write_part(path, rows)
    whole = path.read_bytes()
    seen = 0
    for at in range(4, len(whole), 41):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :])
        try:
            found = Part.open(path).trades(0, 400)
        except (TapeError, InputError):
            seen += 1
        else:
            assert tuples(found) == tuples(rows)
    assert seen > 30


def test_a_part_cut_short_is_refused(store: TapeStore, tmp_path: Path) -> None:
    path = tmp_path / "part-1.parquet"
    write_part(path, trades(400))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(TapeError, match="is damaged"):
        store.open(path)


def test_parts_on_different_grids_are_refused(store: TapeStore) -> None:
    add_trades(store, BTC, [three_days()])
    day = layout.tape_folder(store.root, BTC) / "date=2026-01-02"
    (part,) = layout.list_parts(day)
    write_part(part, trades(10, first_id=1001), replace(BTC, price_decimals=3))
    with pytest.raises(TapeError, match=r"3 and 5 decimals, but .* 2 and 5 decimals"):
        store.open("BTCUSDT")


def test_parts_that_repeat_ids_are_refused(store: TapeStore) -> None:
    add_trades(store, BTC, [trades(100)])
    day = layout.tape_folder(store.root, BTC) / "date=2026-01-01"
    write_part(day / "part-50.parquet", trades(100, first_id=50))
    with pytest.raises(TapeError, match=r"repeats ids of part-1.parquet"):
        store.open("BTCUSDT")


def test_a_part_of_another_symbol_is_refused(store: TapeStore) -> None:
    folder = layout.tape_folder(store.root, BTC) / "date=2026-01-01"
    folder.mkdir(parents=True)
    write_part(folder / "part-1.parquet", trades(10), replace(BTC, symbol="ETHUSDT"))
    with pytest.raises(TapeError, match="ETHUSDT, which does not belong into symbol=BTCUSDT"):
        store.open("BTCUSDT")


def test_several_parts_a_day_are_read_in_order(store: TapeStore) -> None:
    folder = layout.tape_folder(store.root, BTC) / "date=2026-01-01"
    folder.mkdir(parents=True)
    rows = trades(120)
    write_part(folder / "part-100.parquet", rows.slice(99, 120))
    write_part(folder / "part-1.parquet", rows.slice(0, 99))
    tape = store.open("BTCUSDT")
    assert tuples(tape.full_trades(0, 120)) == tuples(rows)


def test_how_rows_are_cut_leaves_no_trace(tmp_path: Path) -> None:
    rows = trades(5_000)
    whole = write_part(tmp_path / "a.parquet", rows)
    pieces = write_part(tmp_path / "b.parquet", rows, piece=37)
    assert whole == pieces
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


def test_the_digest_sees_every_column() -> None:
    rows = trades(50)
    digests = set()
    for name in ("", *Trades.__dataclass_fields__):
        changed = rows
        if name:
            column = getattr(rows, name).copy()
            column[17] = -column[17]
            changed = replace(rows, **{name: column})
        digest = ColumnsDigest()
        digest.update(changed)
        digests.add(digest.hexdigest())
    assert len(digests) == 8


def test_the_file_says_what_it_is(tmp_path: Path) -> None:
    path = tmp_path / "part-1.parquet"
    meta = write_part(path, trades(300_000, step_us=7))
    footer = pq.read_metadata(path)
    values = {k.decode(): v.decode() for k, v in footer.metadata.items()}
    assert values["flowtape.schema_version"] == "1"
    assert values["flowtape.symbol"] == "BTCUSDT"
    assert values["flowtape.row_count"] == "300000"
    assert json.loads(values["flowtape.sources"]) == [{"name": "a.csv", "sha256": "00"}]
    assert json.loads(values["flowtape.void_ids"]) == [[7, 9]]
    assert PartMeta.from_key_values(footer.metadata, "x") == meta
    assert [footer.row_group(i).num_rows for i in range(2)] == [262_144, 300_000 - 262_144]
    group = footer.row_group(0)
    assert group.sorting_columns[0].column_index == 0
    for i in range(7):
        assert group.column(i).compression == "ZSTD"
        assert group.column(i).has_offset_index
    assert "DELTA_BINARY_PACKED" in group.column(1).encodings
    assert "RLE_DICTIONARY" in group.column(3).encodings
    assert Part.open(path).row_at(START_US + 7 * 299_000) == 299_000


def test_other_tools_read_a_tape(store: TapeStore) -> None:
    rows = three_days()
    add_trades(store, BTC, [rows])
    frame = polars.read_parquet(f"{store.root}/**/*.parquet", hive_partitioning=True)
    assert frame.height == 3000
    assert frame["price_ticks"].to_list() == rows.price_ticks.tolist()
    assert frame["is_buyer_maker"].to_list() == (rows.side < 0).tolist()
    assert frame["symbol"].unique().to_list() == ["BTCUSDT"]
    assert str(frame["ts"].dtype) == "Datetime(time_unit='us', time_zone='UTC')"


def test_equal_content_has_an_equal_hash(tmp_path: Path) -> None:
    def made(name: str, rows: Trades) -> Tape:
        store = TapeStore(tmp_path / name)
        add_trades(store, BTC, [rows])
        return store.open("BTCUSDT")

    rows = trades(100)
    assert made("a", rows).sha256 == made("b", rows).sha256
    assert made("a", rows).sha256 != made("c", rows.slice(0, 99)).sha256
