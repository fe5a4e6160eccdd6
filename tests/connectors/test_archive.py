"""Files of an archive: how they are planned, named, made and served."""

import asyncio
import hashlib
import io
import zipfile
from datetime import date

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowtape.connectors.binance.archive import (
    MICROSECONDS_SINCE,
    ArchiveEntry,
    day_range,
    day_start_us,
    month_days,
    plan,
)
from flowtape.connectors.venue.archive_files import archive_zip
from flowtape.connectors.venue.archive_tree import ArchiveTree
from flowtape.replay.importer import import_files
from flowtape.replay.tapes import TapeStore
from flowtape.stream.errors import InputError
from flowtape.stream.instrument import Instrument
from flowtape.stream.trades import Trades
from tests.connectors.archive_bench import (
    BTC,
    DAY_ROWS,
    FIRST_DAY,
    ArchiveBench,
    bench_of,
    day_trades,
    days,
    same,
)

DAYS = st.dates(date(2023, 12, 1), date(2024, 4, 30))
ENTRY = ArchiveEntry("BTCUSDT", "spot", FIRST_DAY)
TODAY = date(2026, 3, 1)


@given(DAYS, st.integers(0, 100), st.sets(DAYS), st.sampled_from(["auto", "monthly", "daily"]))
def test_planned_files_have_each_needed_day_once(first, more, there, choice):
    asked = days(more + 1, first)
    needed = [day for day in asked if day not in there]
    files = plan("BTCUSDT", "spot", asked, needed, choice)
    got = [day for file in files for day in file.days]
    assert len(got) == len(set(got))
    assert set(needed) <= set(got) <= set(asked)
    assert got == sorted(got)
    if choice != "monthly":
        assert got == needed
    months = [month_days(day) for day in asked if day.day == 1]
    whole = [month for month in months if set(month) <= set(asked)]
    wanted = {
        "daily": [],
        "auto": [month[0] for month in whole if set(month) <= set(needed)],
        "monthly": [month[0] for month in whole if set(month) & set(needed)],
    }
    assert [file.day for file in files if file.monthly] == wanted[choice]


def test_files_are_named_as_binance_names_them():
    spot = "data/spot/daily/aggTrades/BTCUSDT/BTCUSDT-aggTrades-2026-01-01.zip"
    assert ENTRY.path == spot
    entry = ArchiveEntry("BTCUSD_PERP", "cm", date(2026, 1, 1), monthly=True)
    folder = "data/futures/cm/monthly/aggTrades/BTCUSD_PERP"
    assert entry.path == f"{folder}/BTCUSD_PERP-aggTrades-2026-01.zip"
    assert entry.days == tuple(days(31))
    assert ArchiveEntry("A", "um", date(2026, 1, 1)).path.startswith("data/futures/um/daily/")


def test_days_include_both_ends_and_must_be_over():
    assert day_range("2026-01-30", "2026-02-02", TODAY) == days(4, date(2026, 1, 30))
    assert day_range("2026-02-28", None, TODAY) == [date(2026, 2, 28)]
    assert day_range("2025-12", "2026-01-02", TODAY) == days(33, date(2025, 12, 1))
    assert day_range("2026-02", None, TODAY) == list(month_days(date(2026, 2, 1)))
    for from_, to, said in [
        ("2026-02-02", "2026-02-01", "after --to"),
        ("2026-02-30", None, "--from must be a UTC day"),
        ("2026-13", None, "--from must be a UTC day or month"),
        ("2026-03", None, "--from 2026-03-01 is not over yet"),
        ("2026-02-01", "2026-03", "--to 2026-03-31 is not over yet"),
        ("2026-02-01", "tomorrow", "--to must be a UTC day"),
        ("2016-12-31", None, "before 2017-01-01"),
        ("2026-03-01", None, "--from 2026-03-01 is not over yet"),
        ("2026-02-01", "2026-03-02", "may be there is 2026-02-28"),
    ]:
        with pytest.raises(InputError, match=said):
            day_range(from_, to, TODAY)


@pytest.mark.parametrize(
    ("instrument", "day", "lines"),
    [
        (BTC, MICROSECONDS_SINCE, ["7,100.25000000,0.00007000,14,15,{us},True,True"]),
        (BTC, date(2024, 12, 31), ["7,100.25000000,0.00007000,14,15,{ms},True,True"]),
        (
            Instrument("BTCUSDT", "um", 2, 5),
            date(2022, 8, 11),
            [
                "agg_trade_id,price,quantity,first_trade_id,last_trade_id,transact_time,"
                "is_buyer_maker",
                "7,100.25,0.00007,14,15,{ms},true",
            ],
        ),
        (
            Instrument("BTCUSD_PERP", "cm", 1, 0),
            date(2022, 8, 10),
            ["7,1002.5,7,14,15,{ms},true"],
        ),
    ],
)
def test_served_files_read_as_binances_do(instrument, day, lines):
    one = day_trades(day).slice(0, 1)
    us = day_start_us(day) + 123_456
    columns = (7, us, 10_025, 7, 14, 15, -1)
    trade = Trades(
        *(
            getattr(one, name) * 0 + value
            for name, value in zip(Trades.__slots__, columns, strict=True)
        )
    )
    entry = ArchiveEntry(instrument.symbol, instrument.market, day)
    packed = archive_zip(entry, instrument, trade)
    assert packed == archive_zip(entry, instrument, trade)
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        assert archive.namelist() == [entry.name.replace(".zip", ".csv")]
        text = archive.read(archive.namelist()[0]).decode()
    assert text == "".join(f"{line.format(us=us, ms=us // 1_000)}\n" for line in lines)


@given(st.sampled_from(["spot", "um"]), st.integers(0, 12), st.integers(0, 8), st.integers(0, 9))
def test_what_is_served_is_imported_as_it_was(tmp_path_factory, market, price, qty, seed):
    if market == "spot":
        price = min(price, 8)
    instrument = Instrument("BTCUSDT", market, price, qty)
    trades = day_trades(FIRST_DAY, rows=40, seed=seed)
    if market == "um":
        trades = day_trades(date(2024, 5, 1), rows=40, seed=seed)
    folder = tmp_path_factory.mktemp("served")
    path = folder / "any.zip"
    path.write_bytes(archive_zip(ENTRY, instrument, trades))
    import_files(TapeStore(folder), [path], "BTCUSDT", market)
    tape = TapeStore(folder).open("BTCUSDT")
    read = tape.full_trades(0, len(tape))
    scale = 10 ** (price - tape.instrument.price_decimals)
    assert (read.price_ticks * scale).tolist() == trades.price_ticks.tolist()
    scale = 10 ** (qty - tape.instrument.qty_decimals)
    assert (read.qty_lots * scale).tolist() == trades.qty_lots.tolist()
    for name in ("agg_id", "ts_us", "first_id", "last_id", "side"):
        assert getattr(read, name).tolist() == getattr(trades, name).tolist()


async def body_of(session, url, **headers):
    async with session.get(url, headers=headers) as response:
        return response.status, await response.read(), response.headers


async def test_the_tree_serves_ranges_and_404_as_the_archive_does():
    async with bench_of(days(3)) as bench, aiohttp.ClientSession() as session:
        url = f"{bench.url}/{ENTRY.path}"
        status, body, headers = await body_of(session, url)
        assert (status, headers["Content-Type"]) == (200, "application/zip")
        digest = hashlib.sha256(body).hexdigest()
        _, text, _ = await body_of(session, f"{url}.CHECKSUM")
        assert text == f"{digest}  BTCUSDT-aggTrades-2026-01-01.zip".encode()
        tag = headers["ETag"]
        for wanted, answer in [
            ({"Range": "bytes=10-19"}, (206, body[10:20])),
            ({"Range": "bytes=10-", "If-Range": tag}, (206, body[10:])),
            ({"Range": "bytes=10-", "If-Range": '"other"'}, (200, body)),
            ({"Range": "bytes=-7"}, (206, body[-7:])),
            ({"Range": "lines=1-2"}, (200, body)),
        ]:
            assert (await body_of(session, url, **wanted))[:2] == answer, wanted
        status, _, headers = await body_of(session, url, Range=f"bytes={len(body)}-")
        assert (status, headers["Content-Range"]) == (416, f"bytes */{len(body)}")
        async with session.head(url) as response:
            assert response.content_length == len(body)
        for path in (
            ENTRY.path.replace("2026-01-01", "2026-01-09"),
            ENTRY.path.replace("2026-01-01", "2026-01-32"),
            ENTRY.path.replace("BTCUSDT-", "ETHUSDT-"),
            ENTRY.path.replace("spot", "futures/um"),
            ENTRY.path.replace("daily", "monthly"),
            "data/<x>",
        ):
            status, text, headers = await body_of(session, f"{bench.url}/{path}")
            assert status == 404, path
            assert b"<Code>NoSuchKey</Code>" in text
            assert headers["Content-Type"].startswith("application/xml")
        month = ArchiveEntry("BTCUSDT", "spot", FIRST_DAY, monthly=True)
        assert (await body_of(session, f"{bench.url}/{month.path}"))[0] == 200


async def test_the_tree_makes_a_file_once_and_keeps_a_bounded_size():
    made = []

    def of_day(day):
        made.append(day)
        return day_trades(day)

    zip_bytes = len(archive_zip(ENTRY, BTC, day_trades(FIRST_DAY)))
    tree = ArchiveTree({BTC: of_day}, cache_bytes=int(2.5 * zip_bytes))
    async with ArchiveBench(tree) as bench, aiohttp.ClientSession() as session:

        async def get(day):
            path = ArchiveEntry("BTCUSDT", "spot", day).path
            return (await body_of(session, f"{bench.url}/{path}"))[1]

        first, second, third = days(3)
        one, other = await asyncio.gather(get(first), get(first))
        assert one == other
        await get(second)
        await get(first)
        assert made == [first, second]
        await get(third)
        assert await get(first) == one
        assert made == [first, second, third]
        await get(second)
        assert made == [first, second, third, second]


async def test_a_month_that_is_too_much_is_left_to_its_days():
    asked = []

    def of_day(day):
        asked.append(day)
        return day_trades(day)

    tree = ArchiveTree({BTC: of_day}, month_rows=2 * DAY_ROWS)
    month = ArchiveEntry("BTCUSDT", "spot", FIRST_DAY, monthly=True)
    async with ArchiveBench(tree) as bench, aiohttp.ClientSession() as session:
        assert (await body_of(session, f"{bench.url}/{month.path}"))[0] == 404
        assert asked == days(3)
        assert (await body_of(session, f"{bench.url}/{ENTRY.path}"))[0] == 200


def test_bench_days_join(tmp_path):
    one, two = (day_trades(day) for day in days(2))
    assert one.agg_id[-1] + 1 == two.agg_id[0]
    assert not same(one, two)
