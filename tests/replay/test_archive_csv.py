import zipfile
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowtape.replay import archive_csv
from flowtape.replay.archive_csv import ArchiveFile, Block, parse_columns
from flowtape.stream.decimals import format_decimal, parse_decimal
from flowtape.stream.errors import InputError, OffGridError
from flowtape.stream.trades import Trades
from tests.replay.archive_files import (
    FUTURES_HEADER,
    START_MS,
    Row,
    futures_file,
    futures_line,
    in_us,
    rows,
    spot_file,
    spot_line,
    text_file,
    zipped,
)


def nothing(_: int) -> None:
    pass


def read(path: Path, columns: str | None = None, *, mixed_units: bool = False) -> list[Block]:
    file = ArchiveFile(path, parse_columns(columns) if columns else None)
    return list(file.blocks(nothing, mixed_units=mixed_units))


def plain(blocks: list[Block]) -> list[Row]:
    found = []
    for block in blocks:
        trades: Trades = block.trades
        for i in range(len(trades)):
            price = format_decimal(int(trades.price_ticks[i]), block.price_decimals)
            qty = format_decimal(int(trades.qty_lots[i]), block.qty_decimals)
            ids = (int(trades.first_id[i]), int(trades.last_id[i]))
            maker = bool(trades.side[i] < 0)
            found.append(Row(int(trades.agg_id[i]), price, qty, *ids, int(trades.ts_us[i]), maker))
    return found


def same(found: list[Row], expected: list[Row]) -> bool:
    def exact(row: Row) -> Row:
        return replace(row, price=parse(row.price), qty=parse(row.qty))

    def parse(text: str) -> str:
        return str(parse_decimal(text, 12))

    return [exact(row) for row in found] == [exact(row) for row in expected]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize(
    ("kind", "lines"),
    [
        ("spot", [spot_line(row) for row in rows(50)]),
        ("spot", [spot_line(row) for row in in_us(rows(50))]),
        ("futures", [FUTURES_HEADER, *(futures_line(row) for row in rows(50))]),
        ("futures", [futures_line(row) for row in rows(50)]),
        ("futures", [FUTURES_HEADER.upper(), *(futures_line(row).upper() for row in rows(50))]),
    ],
)
def test_every_kind_of_archive_file_is_read(
    tmp_path: Path, kind: str, lines: list[str], end: str
) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes((end.join(lines) + end).encode())
    assert ArchiveFile(path).kind == kind
    assert same(plain(read(path)), in_us(rows(50)))


def test_a_last_line_without_its_end_counts(tmp_path: Path) -> None:
    path = spot_file(tmp_path / "a.csv", rows(3))
    path.write_text(path.read_text().rstrip("\n"))
    assert len(plain(read(path))) == 3


@pytest.mark.parametrize("lines", [[spot_line(row) for row in rows(3)], [FUTURES_HEADER]])
def test_blank_rows_before_the_first_count_as_rows_only(tmp_path: Path, lines: list[str]) -> None:
    futures = lines == [FUTURES_HEADER]
    lines = ["", "", *lines, *(futures_line(row) for row in rows(3) if futures)]
    path = text_file(tmp_path / "a.csv", lines)
    assert same(plain(read(path)), in_us(rows(3)))
    path = text_file(path, [*lines, "x"])
    with pytest.raises(InputError, match=f"row {len(lines) + 1}: 'x' has 1 column, not"):
        read(path)


def test_an_encrypted_zip_is_refused_by_name(tmp_path: Path) -> None:
    path = zipped(spot_file(tmp_path / "a.csv", rows(3)), checksum=False)
    raw = bytearray(path.read_bytes())
    raw[6] |= 1
    raw[raw.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(raw)
    with pytest.raises(InputError, match=r"a\.zip is encrypted; unzip it first$"):
        read(path)


def test_a_byte_order_mark_is_passed_over(tmp_path: Path) -> None:
    for name, path in (
        ("with", futures_file(tmp_path / "a.csv", rows(3))),
        ("without", spot_file(tmp_path / "b.csv", rows(3))),
    ):
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
        assert same(plain(read(path)), in_us(rows(3))), name


def test_a_zip_is_read_like_its_file(tmp_path: Path) -> None:
    path = zipped(spot_file(tmp_path / "a.csv", rows(5000)))
    file = ArchiveFile(path)
    read_bytes: list[int] = []
    assert same(plain(list(file.blocks(read_bytes.append))), in_us(rows(5000)))
    assert sum(read_bytes) == file.text_bytes > path.stat().st_size
    assert len(file.sha256(nothing)) == 64


def test_the_grid_grows_while_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive_csv, "_BLOCK_BYTES", 100)
    found = [Row(1, "5", "1"), Row(2, "5.5", "0.001"), Row(3, "5.25", "7"), Row(4, "6", "1.5")]
    blocks = read(futures_file(tmp_path / "a.csv", found))
    assert (blocks[-1].price_decimals, blocks[-1].qty_decimals) == (2, 3)
    decimals = [block.price_decimals for block in blocks]
    assert decimals == sorted(decimals)
    assert same(plain(blocks), in_us(found))


@given(
    prices=st.lists(st.decimals(0, 10**6, places=8), min_size=1, max_size=30),
    block_bytes=st.integers(1, 400),
    trim=st.booleans(),
)
def test_numbers_are_exact_however_the_text_is_cut(
    tmp_path_factory: pytest.TempPathFactory, prices: list[object], block_bytes: int, trim: bool
) -> None:
    texts = [f"{price:.8f}" for price in prices]
    texts = [text.rstrip("0").rstrip(".") if trim else text for text in texts]
    found = [Row(i, text, "1") for i, text in enumerate(texts)]
    path = tmp_path_factory.getbasetemp() / "cut.csv"
    futures_file(path, found)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(archive_csv, "_BLOCK_BYTES", block_bytes)
        assert same(plain(read(path)), in_us(found))


def test_any_csv_is_read_by_its_columns(tmp_path: Path) -> None:
    lines = ["when,side,n,px,size,junk"]
    lines += [f"{START_MS + i},{'BUY' if i % 2 else 'sell'},{i},{i}.5,0.1,x y" for i in range(5)]
    path = text_file(tmp_path / "a.csv", lines)
    found = plain(read(path, "ts=when, price=px, qty=size, side=side, id=n"))
    expected = [
        Row(i, f"{i}.5", "0.1", -1, -1, (START_MS + i) * 1000, i % 2 == 0) for i in range(5)
    ]
    assert same(found, expected)


def test_columns_without_a_header_go_by_number(tmp_path: Path) -> None:
    path = text_file(tmp_path / "a.csv", [f"2.5,{START_MS},7,true,1,10,11"])
    found = plain(read(path, "price=1,ts=2,id=3,is_buyer_maker=4,qty=5,first_id=6,last_id=7"))
    assert same(found, [Row(7, "2.5", "1", 10, 11, START_MS * 1000, True)])


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ("ts=a,price=b,qty=c,side=d", "lacks id"),
        ("ts=a,price=b,qty=c,id=d", "either side or is_buyer_maker"),
        ("ts=a,price=b,qty=c,id=d,side=e,is_buyer_maker=f", "either side or is_buyer_maker"),
        ("ts=a,price=b,qty=c,id=d,side=e,color=f", "color=f"),
        ("ts=a,ts=b", "each once"),
        ("nonsense", "FIELD=COLUMN"),
        ("ts=", "FIELD=COLUMN"),
    ],
)
def test_a_bad_column_mapping_is_explained(columns: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        parse_columns(columns)


def test_a_column_that_is_not_there_is_named(tmp_path: Path) -> None:
    path = text_file(tmp_path / "a.csv", ["t,p,q,s,i", f"{START_MS},1,1,buy,1"])
    with pytest.raises(InputError, match="no column 'price' for price; it has t, p, q, s, i"):
        read(path, "ts=t,price=price,qty=q,side=s,id=i")
    with pytest.raises(InputError, match="uses column 'q' twice"):
        read(path, "ts=t,price=q,qty=q,side=s,id=i")


def spot_lines(count: int = 4) -> list[str]:
    return [spot_line(row) for row in rows(count)]


def with_field(lines: list[str], row: int, column: int, value: str) -> list[str]:
    fields = lines[row - 1].split(",")
    fields[column - 1] = value
    return [*lines[: row - 1], ",".join(fields), *lines[row:]]


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        (["hello"], r"row 1: 'hello' does not begin a file of trades"),
        (["id,price,qty,a,b,c,d"], "row 1: 'id,.*' does not begin a Binance aggTrades file; name"),
        (["1,2,3"], "does not begin a file of trades"),
        (["%PDF-1.7", "1 0 obj"], "row 1: '%PDF-1.7' does not begin a file of trades"),
        (["", ""], "is empty"),
        (["", "1,2,3"], "row 2: '1,2,3' does not begin a file of trades"),
        ([*spot_lines(), "x" * 5_000], r"row 5: 'x{80}'\.\.\. has 1 column, not 8$"),
        ([*spot_lines(), "1,2,3"], r"row 5: '1,2,3' has 3 columns, not 8"),
        (with_field(spot_lines(), 3, 1, "x7"), r"row 3, column 1: 'x7' is not an integer"),
        (with_field(spot_lines(), 3, 2, "-1.5"), r"row 3, column 2: '-1.5' is negative"),
        (with_field(spot_lines(), 3, 2, "1e-5"), r"row 3, column 2: '1e-5' is not a plain decimal"),
        (with_field(spot_lines(), 3, 2, ""), r"row 3, column 2: '' is not a plain decimal"),
        (
            with_field(spot_lines(), 3, 2, "1.0000000000001"),
            r"row 3, column 2: '1.0000000000001' has more than 12 decimals",
        ),
        (
            with_field(spot_lines(), 2, 3, "99999999999999999999.0"),
            r"row 2, column 3: '99999999999999999999.0' is too large",
        ),
        (
            with_field(spot_lines(), 2, 2, "12345678901234567.0"),
            r"row 2: 12345678901234567.00 is too large a price with 2 decimals",
        ),
        (
            with_field(spot_lines(), 2, 3, "123456789012345678.0"),
            r"row 2: 123456789012345678.0 is too large a quantity with 1 decimal$",
        ),
        (with_field(spot_lines(), 4, 7, "maybe"), r"row 4, column 7: 'maybe' is neither true nor"),
        (
            with_field(spot_lines(), 4, 6, f"{START_MS}000"),
            rf"row 4: {START_MS}000 is not in milliseconds like the rows before",
        ),
        (
            [*(spot_line(row) for row in in_us(rows(2))), spot_lines(3)[2]],
            r"row 3: \d{13} is not in microseconds like the rows before",
        ),
        (
            with_field(spot_lines(), 2, 6, "1767225600"),
            r"row 2: 1767225600 counts neither milliseconds nor microseconds",
        ),
        (
            with_field(spot_lines(), 2, 6, "1767225600000000000"),
            r"column 6: '1767225600000000000' is too large",
        ),
        (
            with_field(spot_lines(), 2, 6, "176722560000000000"),
            r"row 2: 176722560000000000 is not in milliseconds|counts neither",
        ),
        (with_field(spot_lines(), 2, 1, "-5"), r"row 2: -5 is no aggregate id"),
    ],
)
def test_bad_text_is_named_by_row_and_value(tmp_path: Path, lines: list[str], says: str) -> None:
    path = text_file(tmp_path / "bad.csv", lines)
    with pytest.raises(InputError, match=says) as caught:
        read(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_rows_are_counted_with_header_blank_lines_and_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive_csv, "_BLOCK_BYTES", 150)
    good = [futures_line(row) for row in rows(20)]
    lines = [FUTURES_HEADER, *good[:9], "", "", *good[9:], futures_line(Row(5, time=7))]
    with pytest.raises(InputError, match="row 24: 7 counts neither"):
        read(text_file(tmp_path / "a.csv", lines))
    lines[-1] = "5,1,1,1,1,nonsense,true"
    with pytest.raises(InputError, match="row 24, column 6: 'nonsense'"):
        read(text_file(tmp_path / "a.csv", lines))


def test_mixed_units_can_be_let_through(tmp_path: Path) -> None:
    found = [*rows(3), *in_us(rows(2, first_id=2000)), *rows(1, first_id=3000)]
    blocks = read(spot_file(tmp_path / "a.csv", found), mixed_units=True)
    assert blocks[0].in_us.tolist() == [False, False, False, True, True, False]
    assert same(plain(blocks), in_us([*rows(3), *rows(2, first_id=2000), *rows(1, first_id=3000)]))


def test_sentinel_rows_need_no_time_and_no_ids(tmp_path: Path) -> None:
    sentinel = Row(-1, "0.0", "0.0", -1, -1, 0)
    found = [sentinel, *in_us(rows(2)), replace(sentinel, agg_id=1002)]
    (block,) = read(spot_file(tmp_path / "a.csv", found))
    assert block.is_trade.tolist() == [False, True, True, False]
    assert block.trades.ts_us.tolist()[1:3] == [START_MS * 1000, START_MS * 1000 + 100_000]


@pytest.mark.parametrize("keep", [10, 200, -30, -1])
def test_a_zip_cut_short_is_refused(tmp_path: Path, keep: int) -> None:
    path = zipped(spot_file(tmp_path / "a.csv", rows(500)), checksum=False)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(InputError, match=r"cut short|damaged zip"):
        read(path)


def test_a_damaged_zip_is_refused(tmp_path: Path) -> None:
    path = zipped(spot_file(tmp_path / "a.csv", rows(5000)), checksum=False)
    whole = bytearray(path.read_bytes())
    whole[len(whole) // 2] ^= 0xFF
    path.write_bytes(whole)
    with pytest.raises(InputError, match=r"damaged zip|row \d+"):
        read(path)


def test_a_zip_of_two_files_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.csv", "1")
        archive.writestr("b.csv", "1")
    with pytest.raises(InputError, match="holds 2 files; one is expected"):
        read(tmp_path / "a.zip")


def test_a_checksum_is_verified(tmp_path: Path) -> None:
    path = zipped(spot_file(tmp_path / "a.csv", rows(5)))
    beside = path.with_name(path.name + ".CHECKSUM")
    good = beside.read_text()
    assert ArchiveFile(path).sha256(nothing) == good[:64]
    beside.write_text(good.upper() + "\n")
    ArchiveFile(path).sha256(nothing)
    beside.write_text("0" * 64 + good[64:])
    with pytest.raises(InputError, match=rf"a\.zip does not match a\.zip\.CHECKSUM.*{good[:64]}"):
        ArchiveFile(path).sha256(nothing)
    beside.write_text("<html>not found</html>")
    with pytest.raises(InputError, match="holds no SHA-256"):
        ArchiveFile(path).sha256(nothing)


def test_files_that_are_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        ArchiveFile(tmp_path / "none.csv")
    with pytest.raises(InputError, match="is a folder"):
        ArchiveFile(tmp_path)
    (tmp_path / "empty.csv").write_bytes(b"")
    with pytest.raises(InputError, match="is empty"):
        ArchiveFile(tmp_path / "empty.csv")
    (tmp_path / "noise.csv").write_bytes(bytes(range(256)) * 100)
    with pytest.raises(InputError, match="is not a trade file"):
        ArchiveFile(tmp_path / "noise.csv")
    (tmp_path / "line.csv").write_bytes(b"1" * 3_000_000)
    with pytest.raises(InputError, match="is not a trade file"):
        ArchiveFile(tmp_path / "line.csv")


@given(st.binary(max_size=300))
def test_any_bytes_give_rows_or_an_input_error(
    tmp_path_factory: pytest.TempPathFactory, noise: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "noise.csv"
    path.write_bytes(spot_line(rows(1)[0]).encode() + b"\n" + noise)
    blocks = []
    with suppress(InputError):
        blocks = read(path)
    assert not blocks or sum(len(block.trades) for block in blocks) >= 1


@given(text=st.text("0123456789.-+e ", max_size=9))
def test_a_number_is_read_as_the_scalar_parser_reads_it(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    path = tmp_path_factory.getbasetemp() / "number.csv"
    futures_file(path, [Row(1, text, "1")], header=False)
    expected = None
    with suppress(OffGridError):
        expected = parse_decimal(text.strip(), 9)
    if expected is None or "-" in text:
        with pytest.raises(InputError, match="row 1, column 2"):
            read(path)
    else:
        (block,) = read(path)
        found = int(block.trades.price_ticks[0]) * 10 ** (9 - block.price_decimals)
        assert found == expected
