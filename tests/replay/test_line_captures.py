import gzip
import io
import random
import tempfile
import tracemalloc
import zipfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowtape.replay import line_captures, packed_files
from flowtape.replay.doctor import examine_file, file_problems
from flowtape.replay.health import CaptureHealth, FileHealth, IdRange
from flowtape.replay.importer import import_files
from flowtape.replay.line_captures import LineCapture, is_capture
from flowtape.replay.tapes import TapeStore
from flowtape.stream.errors import InputError
from flowtape.stream.instrument import Market
from flowtape.stream.limits import TS_US_MAX
from tests.replay.archive_files import START_MS, Row, in_us, rows, spot_file, zipped
from tests.replay.capture_lines import (
    OTHERS,
    RECEIVED,
    WRAPPERS,
    capture,
    combined,
    event,
    kept,
)


def _zip(raw: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("capture.txt", raw)
    return packed.getvalue()


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "gzip": gzip.compress,
    "two gzips": lambda raw: gzip.compress(raw[:100]) + gzip.compress(raw[100:]),
    "zstd": lambda raw: pa.compress(raw, "zstd", asbytes=True),
    "zip": _zip,
}


@pytest.fixture
def store(tmp_path: Path) -> TapeStore:
    return TapeStore(tmp_path / "tapes")


def run(
    store: TapeStore, *paths: Path, symbol: str = "BTCUSDT", market: Market = "spot"
) -> FileHealth:
    return import_files(store, paths, symbol, market).files[0]


def passed_over(report: FileHealth) -> CaptureHealth:
    assert report.capture is not None
    return report.capture


def exact(found: list[Row]) -> list[Row]:
    def plain(text: str) -> str:
        return str(Decimal(text).normalize())

    return [replace(row, price=plain(row.price), qty=plain(row.qty)) for row in found]


@pytest.mark.parametrize("received", RECEIVED)
@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_every_form_gives_the_same_trades(
    store: TapeStore, tmp_path: Path, wrapper: str, received: str
) -> None:
    found = rows(20)
    lines = [
        RECEIVED[received](row.time * 1_000 + 1_234) + WRAPPERS[wrapper](event(row))
        for row in found
    ]
    report = run(store, capture(tmp_path / "a.txt", lines))
    assert exact(kept(store)) == exact(in_us(found))
    assert (report.layout, report.row_count, report.time_unit) == ("capture", 20, "ms")
    assert file_problems(report) == []
    assert passed_over(report).line_count == 20


@pytest.mark.parametrize("packer", PACKERS)
def test_packed_captures_are_told_by_their_content(
    store: TapeStore, tmp_path: Path, packer: str
) -> None:
    path = capture(tmp_path / "capture", [f"17 {event(row)}" for row in rows(3000)])
    path.write_bytes(PACKERS[packer](path.read_bytes()))
    assert is_capture(path)
    done: list[tuple[int, int]] = []
    import_files(store, [path], "BTCUSDT", "spot", progress=lambda *both: done.append(both))
    assert exact(kept(store)) == exact(in_us(rows(3000)))
    assert done[-1][0] == done[-1][1]
    assert sorted(done) == done


def test_a_table_is_no_capture(tmp_path: Path) -> None:
    assert not is_capture(zipped(spot_file(tmp_path / "a.csv", rows(3))))
    assert not is_capture(capture(tmp_path / "b", ["ts,price,note", '1,2,"{""a"":1}"']))
    assert not is_capture(capture(tmp_path / "c", []))
    with pytest.raises(InputError, match="does not exist"):
        is_capture(tmp_path / "none")


def test_an_archive_may_be_packed_like_a_capture(store: TapeStore, tmp_path: Path) -> None:
    path = spot_file(tmp_path / "a.csv", rows(50))
    path.write_bytes(gzip.compress(path.read_bytes()))
    assert run(store, path).layout == "spot"
    assert len(kept(store)) == 50
    path.write_bytes(path.read_bytes()[:-12])
    with pytest.raises(InputError, match=r"a\.csv is cut short; download it again"):
        run(store, path)


def test_a_capture_and_an_archive_give_the_same_tape(store: TapeStore, tmp_path: Path) -> None:
    found = rows(200)
    archive = spot_file(tmp_path / "a.csv", found)
    run(store, archive)
    once = store.open("BTCUSDT").sha256
    days = import_files(
        store, [capture(tmp_path / "b.txt", map(event, found))], "BTCUSDT", "spot"
    ).days
    assert [(day.added_count, day.conflict_count) for day in days] == [(0, 0)]
    assert store.open("BTCUSDT").sha256 == once


@pytest.mark.parametrize("market", ["spot", "um"])
def test_only_what_was_asked_for_is_taken(store: TapeStore, tmp_path: Path, market: Market) -> None:
    other = {"spot": "um", "um": "spot"}[market]
    lines = [
        *OTHERS,
        *(event(row, market) for row in rows(5)),
        *(event(row, other) for row in rows(4, first_id=7_000_000)),
        *(event(row, market, "BTCUSDC") for row in rows(3)),
        "",
    ]
    random.Random(4).shuffle(lines)
    report = run(store, capture(tmp_path / "a.txt", lines), market=market)
    assert exact(kept(store)) == exact(in_us(rows(5)))
    assert passed_over(report) == CaptureHealth(
        line_count=len(lines) - 1,
        other_symbol_count=4,
        other_market_count=4,
        other_message_count=len(OTHERS) - 1,
        broken_count=0,
        first_broken_line=0,
        first_broken="",
        cut_short=False,
    )


def test_what_a_recording_library_notes_beside_messages_is_no_damage(
    store: TapeStore, tmp_path: Path
) -> None:
    lines = [
        'configuration: {"binance": {"aggTrade": ["BTCUSDT"]}}',
        "wss://stream.binance.com:9443/ws <-> 1784410630.25",
        'wss://stream.binance.com:9443/ws <- 1784410630.3: {"method": "SUBSCRIBE"}',
        'https://api.binance.com/api/v3/exchangeInfo -> 1784410630.4: {"symbols": [{}]}',
        f"1784410630.5: {event(Row(1))}",
    ]
    counts = passed_over(run(store, capture(tmp_path / "a", lines)))
    assert (counts.other_message_count, counts.broken_count) == (4, 0)


def test_times_in_two_units_are_told_apart_line_by_line(store: TapeStore, tmp_path: Path) -> None:
    found = rows(10)
    late = in_us(found[5:])
    report = run(store, capture(tmp_path / "a.txt", map(event, [*found[:5], *late])))
    assert exact(kept(store)) == exact(in_us(found))
    assert (report.time_unit, report.unit_change_count) == ("mixed", 1)


def test_a_trade_that_came_twice_is_kept_once(store: TapeStore, tmp_path: Path) -> None:
    found = rows(30)
    lines = [event(row) for row in [*found[:20], *found[12:]]]
    lines[22] = lines[22].replace('"p":"10', '"p":"010').replace('",', '0",', 0)
    report = run(store, capture(tmp_path / "a.txt", lines))
    assert exact(kept(store)) == exact(in_us(found))
    assert (report.exact_duplicate_count, report.conflict_count) == (8, 0)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"price": "7.5"}, "price 7.5, but 104.05 in line 5"),
        ({"qty": "7"}, "quantity 7, but 2.4 in line 5"),
        ({"time": START_MS}, f"time {START_MS}000, but {START_MS}400 in line 5"),
        ({"maker": True}, "buyer-is-maker flag True, but False in line 5"),
        ({"first_id": 2}, "first id 2, but 2008 in line 5"),
    ],
)
def test_a_contradiction_names_both_lines(
    store: TapeStore, tmp_path: Path, change: dict[str, object], said: str
) -> None:
    found = rows(10, step_ms=0)
    found[4] = replace(found[4], time=START_MS + 1, maker=False)
    said = said.replace(f"{START_MS}400", f"{START_MS + 1}000")
    wrong = replace(found[4], **change)  # type: ignore[arg-type]
    lines = ["", *map(event, found), event(wrong), event(wrong), event(found[4])]
    lines.remove("")
    path = capture(tmp_path / "a.txt", lines)
    with pytest.raises(InputError) as caught:
        run(store, path)
    assert str(caught.value).startswith(f"{path}, line 11: trade 1004 has {said}; ")
    assert str(caught.value).endswith(
        "take out the wrong one and import again (1 more line like it)"
    )
    assert not list(store.root.rglob("*.parquet"))


def test_order_and_holes_of_ids_are_counted(store: TapeStore, tmp_path: Path) -> None:
    found = [row for row in rows(10) if row.agg_id not in (1003, 1004, 1007)]
    swapped = [found[0], found[2], found[1], *found[3:]]
    report = run(store, capture(tmp_path / "a.txt", map(event, swapped)))
    assert exact(kept(store)) == exact(in_us(found))
    assert report.unsorted_count == 1
    assert report.sequence is not None
    assert report.sequence.holes == (IdRange(1003, 1004), IdRange(1007, 1007))
    assert file_problems(report) == [
        "1 row out of order",
        "3 ids missing in 2 holes: 1003-1004, 1007",
    ]


BROKEN_LINES = [
    b'1784410630 {"stream":"btcusdt@aggTrade","data":{"e":"aggTra',
    b"\x00" * 300,
    b"\xff\xfe\x80 garbage {\xc3",
    b"Exception: connection reset",
    event(Row(1003)).replace('"p":"100.00"', '"p":100.00').encode(),
    event(Row(1003)).replace('"p":"100.00"', '"p":"1e2"').encode(),
    event(Row(1003)).replace('"p":"100.00"', '"p":"-1"').encode(),
    event(Row(1003)).replace('"p":"100.00"', '"p":"1,2\\n3"').encode(),
    event(Row(1003)).replace('"q":"1.000"', '"q":"9999999999999999"').encode(),
    event(Row(1003)).replace('"p":"100.00"', '"p":"99999999999999"').encode(),
    event(Row(1003)).replace('"a":1003', '"a":-1').encode(),
    event(Row(1003)).replace('"m":false,', "").encode(),
    event(replace(Row(1003), first_id=9)).encode(),
    event(replace(Row(1003), time=START_MS // 1000)).encode(),
    event(replace(Row(1003), time=TS_US_MAX // 1000 + 1)).encode(),
    event(Row(1003)).replace(f'"E":{START_MS + 3}', f'"E":{START_MS + 90_000_000}').encode(),
    f"{event(Row(1003))}{event(Row(1004))}".encode(),
    f"[{event(Row(1003))},{event(Row(1004))}]".encode(),
]


@pytest.mark.parametrize("broken", BROKEN_LINES)
def test_a_broken_line_costs_that_line_alone(
    store: TapeStore, tmp_path: Path, broken: bytes
) -> None:
    lines = [event(row).encode() for row in rows(6, first_id=1100)]
    lines[3:3] = [broken]
    path = capture(tmp_path / "a.txt", [*lines, broken])
    report = run(store, path)
    assert exact(kept(store)) == exact(in_us(rows(6, first_id=1100)))
    counts = passed_over(report)
    assert (counts.broken_count, counts.first_broken_line, counts.line_count) == (2, 4, 8)
    (problem,) = file_problems(report)
    assert problem.startswith("2 broken lines, the first is line 4 (")
    assert len(problem) < 250


def test_a_torn_last_line_is_said(store: TapeStore, tmp_path: Path) -> None:
    path = capture(tmp_path / "a.txt", map(event, rows(5)))
    path.write_bytes(path.read_bytes()[:-30])
    report = run(store, path)
    assert len(kept(store)) == 4
    (problem,) = file_problems(report)
    assert problem.startswith('1 broken line, it is line 5 (\'{"e":"aggTrade"')
    path.write_bytes(path.read_bytes().rpartition(b"\n")[0])
    assert file_problems(run(store, path)) == []


@pytest.mark.parametrize("packer", ["gzip", "zstd"])
def test_of_a_cut_file_what_was_whole_is_kept(
    store: TapeStore, tmp_path: Path, packer: str
) -> None:
    rng = random.Random(6)
    found = [replace(row, price=f"{rng.random():.8f}") for row in rows(20_000)]
    path = capture(tmp_path / "capture", map(event, found))
    packed = PACKERS[packer](path.read_bytes())
    path.write_bytes(packed[: len(packed) * 6 // 10])
    report = run(store, path)
    assert passed_over(report).cut_short
    assert "the packed file is cut short; what came before was read" in file_problems(report)
    got = exact(kept(store))
    assert len(got) > 10_500
    assert got == exact(in_us(found))[: len(got)]


def test_damage_inside_a_packed_file_is_no_cut(store: TapeStore, tmp_path: Path) -> None:
    path = capture(tmp_path / "a.gz", map(event, rows(2000)))
    packed = bytearray(gzip.compress(path.read_bytes()))
    packed[-8] ^= 1
    path.write_bytes(packed)
    with pytest.raises(InputError, match=r"a\.gz is a damaged gzip file \(CRC check failed"):
        run(store, path)


def test_mostly_broken_is_no_capture(store: TapeStore, tmp_path: Path) -> None:
    lines = [event(Row(1)), event(Row(2)), "{'e': 'aggTrade'}", "{'e': 'aggTrade'}", "x"]
    path = capture(tmp_path / "a.txt", lines)
    with pytest.raises(InputError, match=r"a.txt: 3 of 5 lines are broken, the first is line 3"):
        run(store, path)
    assert passed_over(run(store, capture(path, lines[:-1]))).broken_count == 2


def test_nothing_to_take_says_what_there_is(store: TapeStore, tmp_path: Path) -> None:
    path = capture(tmp_path / "a.txt", [combined(event(row, "um")) for row in rows(3)])
    with pytest.raises(InputError, match=r'on spot: 3 trades of it came without "M", as on fut'):
        run(store, path)
    with pytest.raises(InputError, match=r"no trade of ETHUSDT; it has BTCUSDT \(3\); check --sy"):
        run(store, path, symbol="ETHUSDT", market="um")
    path = capture(path, map(event, rows(3)))
    with pytest.raises(InputError, match=r'on um: 3 trades of it came with "M", as on spot'):
        run(store, path, market="um")
    path = capture(path, OTHERS[1:])
    with pytest.raises(InputError, match=r"its 7 lines hold no aggTrade event; capture the"):
        run(store, path)
    assert not list(store.root.rglob("*.parquet"))


def test_a_recorder_may_leave_the_mark_of_spot_out(store: TapeStore, tmp_path: Path) -> None:
    bare = [event(row, "old um") for row in rows(5)]
    report = run(store, capture(tmp_path / "a.txt", [*bare, event(Row(9), "um")]))
    assert exact(kept(store)) == exact(in_us(rows(5)))
    assert passed_over(report).other_market_count == 1
    # Where others have it, those without are of futures.
    other = capture(tmp_path / "b.txt", [*bare, *map(event, rows(3, first_id=50))])
    assert passed_over(run(store, other, symbol="BTCUSDT")).other_market_count == 5


def test_lines_and_blocks_of_any_size(
    store: TapeStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(line_captures, "_BLOCK_BYTES", 64)
    monkeypatch.setattr(line_captures, "_LINE_BYTES_MAX", 256)
    lines = [event(row) for row in rows(5)]
    lines[2:2] = ["x" * 2000, "", '{"long":"' + "y" * 200 + '"}']
    report = run(store, capture(tmp_path / "a.txt", lines))
    assert exact(kept(store)) == exact(in_us(rows(5)))
    counts = passed_over(report)
    assert (counts.broken_count, counts.first_broken_line, counts.line_count) == (1, 3, 7)
    assert counts.other_message_count == 1


def test_a_line_without_an_end_takes_no_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(line_captures, "_BLOCK_BYTES", 1 << 12)
    monkeypatch.setattr(line_captures, "_LINE_BYTES_MAX", 1 << 12)
    lines = [event(Row(1)), "x" * (1 << 22), event(Row(2))]
    found = LineCapture(capture(tmp_path / "a.txt", lines), "BTCUSDT", "spot")
    tracemalloc.start()
    taken = [block.trades.agg_id.tolist() for block in found.blocks(lambda _: None)]
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert taken == [[1], [2]]
    assert found.health().first_broken_line == 2
    assert peak_bytes < 1 << 20


def test_the_grid_grows_while_reading(store: TapeStore, tmp_path: Path) -> None:
    found = [Row(1, "5", "1"), Row(2, "5.5", "0.001"), Row(3, "5.25000000", "7")]
    run(store, capture(tmp_path / "a.txt", map(event, found)))
    assert [(row.price, row.qty) for row in kept(store)] == [
        ("5.00", "1.000"),
        ("5.50", "0.001"),
        ("5.25", "7.000"),
    ]


def test_doctor_looks_at_the_symbol_of_the_first_trade(tmp_path: Path) -> None:
    lines = [OTHERS[1], *(event(row, "um", "ETHUSDT") for row in rows(4)), event(Row(7)), "x"]
    report = examine_file(capture(tmp_path / "a.txt", lines))
    counts = passed_over(report)
    assert (report.row_count, counts.other_symbol_count, counts.broken_count) == (4, 1, 1)
    assert file_problems(report) == ["1 broken line, it is line 7 ('x': no message)"]


def test_what_is_read_at_once_is_not_lost_at_a_cut(tmp_path: Path) -> None:
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(b"one\ntwo\n" * 9)[:-5])
    with packed_files.open_text(path) as text:
        assert text.read(1 << 20) == b"one\ntwo\n" * 9
        for _ in range(2):
            with pytest.raises(packed_files.CutShortError):
                text.read(1)


@st.composite
def _captures(draw: st.DrawFn) -> tuple[list[Row], list[str], Market]:
    """Draw trades by rising id, lines that hold them in any order, and their market."""
    market: Market = draw(st.sampled_from(["spot", "um"]))
    count = draw(st.integers(1, 12))
    ids = sorted(draw(st.sets(st.integers(0, 2**62), min_size=count, max_size=count)))
    span_ms = st.integers(0, 3 * 86_400_000)
    times_ms = sorted(draw(st.lists(span_ms, min_size=count, max_size=count)))
    decimal_text = st.decimals(Decimal("0.00000001"), 10**6, places=8).map(lambda d: f"{d:f}")
    found, lines = [], []
    for agg_id, time_ms in zip(ids, times_ms, strict=True):
        first_id = draw(st.integers(-1, 2**62))
        is_us = draw(st.booleans())
        time_us = (START_MS + time_ms) * 1_000 + (draw(st.integers(0, 999)) if is_us else 0)
        row = Row(
            agg_id,
            draw(decimal_text),
            draw(decimal_text),
            first_id,
            first_id + draw(st.integers(0, 99)),
            time_us,
            draw(st.booleans()),
        )
        found.append(row)
        for _ in range(draw(st.integers(1, 2))):
            text = event(replace(row, time=time_us if is_us else time_us // 1_000), market)
            wrapped = WRAPPERS[draw(st.sampled_from(sorted(WRAPPERS)))](text)
            received = RECEIVED[draw(st.sampled_from(sorted(RECEIVED)))](time_us)
            lines.append(received + wrapped + draw(st.sampled_from(["", "\r", " "])))
    lines += draw(st.lists(st.sampled_from([*OTHERS, "", "torn"]), max_size=len(lines)))
    return found, draw(st.permutations(lines)), market


@given(drawn=_captures(), packer=st.sampled_from(sorted(PACKERS)))
def test_whatever_was_captured_reads_back_the_same(
    drawn: tuple[list[Row], list[str], Market], packer: str
) -> None:
    found, lines, market = drawn
    with tempfile.TemporaryDirectory() as folder:
        path = capture(Path(folder) / "capture", lines)
        path.write_bytes(PACKERS[packer](path.read_bytes()))
        store = TapeStore(Path(folder) / "tapes")
        report = run(store, path, market=market)
        assert exact(kept(store)) == exact(found)
    trade_lines = sum("aggTrade" in line and "BTCUSDT" in line for line in lines)
    assert report.row_count - report.exact_duplicate_count == len(found)
    assert report.row_count == trade_lines
    assert passed_over(report).broken_count == lines.count("torn")
    assert report.conflict_count == 0


@given(raw=st.binary(max_size=400), market=st.sampled_from(["spot", "um"]))
def test_any_bytes_are_read_or_refused(raw: bytes, market: Market) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a"
        path.write_bytes(raw)
        with suppress(InputError):
            assert list(LineCapture(path, "BTCUSDT", market).blocks(lambda _: None)) == []
