"""What is fetched from an archive on loopback that fails on purpose."""

import fcntl
import hashlib
from datetime import date

import pytest
from aiohttp import web

from flowtape.cli.fetching import DOWNLOADS, FAILURES_IN_A_ROW
from flowtape.connectors.binance.archive import ArchiveEntry, month_days
from flowtape.connectors.binance.archive_client import ATTEMPTS
from flowtape.connectors.venue.archive_tree import ArchiveTree
from flowtape.replay.tape_writer import add_trades
from flowtape.replay.tapes import TapeStore
from flowtape.stream.errors import InputError
from tests.cli.fetch_runs import WEEK, Watching, downloads, fetch, found, joined, tape_of
from tests.connectors.archive_bench import (
    BTC,
    DAY_ROWS,
    ArchiveBench,
    Fault,
    bench_of,
    day_trades,
    days,
    same,
    without,
)


async def test_a_week_is_fetched_once_and_nothing_is_left_behind(tmp_path):
    async with bench_of(WEEK) as bench:
        watcher = Watching()
        first = found(await fetch(bench, tmp_path, watcher=watcher))
        assert first.complete
        assert watcher.file_count == len(watcher.have_bytes) == 7
        assert sum(watcher.have_bytes.values()) == first.file_bytes
        assert any(what.startswith("importing") for what in watcher.done)
        assert set(first.states.values()) == {"fetched"}
        assert first.added_count == 7 * DAY_ROWS
        assert first.refilled.trade_count == 0
        assert same(tape_of(tmp_path), joined(WEEK))
        assert not (tmp_path / DOWNLOADS).exists()
        bench.asked.clear()
        again = found(await fetch(bench, tmp_path, rest=False))
        assert again.complete
        assert set(again.states.values()) == {"there"}
        assert again.row_counts == dict.fromkeys(WEEK, DAY_ROWS)
        assert bench.asked == []


async def test_whole_months_come_in_one_file(tmp_path):
    asked = days(33, date(2025, 12, 30))
    january = month_days(date(2026, 1, 1))
    async with bench_of(asked) as bench:
        assert found(await fetch(bench, tmp_path, asked, rest=False)).complete
        names = sorted(one.path.rpartition("/")[2] for one in bench.requests(".zip"))
        assert names == [
            "BTCUSDT-aggTrades-2025-12-30.zip",
            "BTCUSDT-aggTrades-2025-12-31.zip",
            "BTCUSDT-aggTrades-2026-01.zip",
        ]
        assert same(tape_of(tmp_path), joined(asked))
        other = tmp_path / "daily"
        bench.asked.clear()
        assert found(await fetch(bench, other, list(january), choice="daily", rest=False)).complete
        assert len(bench.requests(".zip")) == 31


async def test_a_month_that_is_not_served_or_lacks_a_day_comes_by_day(tmp_path):
    january = list(month_days(date(2026, 1, 1)))
    async with bench_of(january) as bench:
        bench.faults = [Fault("2026-01.zip.CHECKSUM", status=404)] * 9
        assert found(await fetch(bench, tmp_path / "one", january, rest=False)).complete
        assert len(bench.requests("2026-01.zip.CHECKSUM")) == 1
        assert same(tape_of(tmp_path / "one"), joined(january))
    seen = []

    def of_day(day):
        lacks = day == date(2026, 1, 9) and day not in seen
        seen.append(day)
        return None if lacks or day not in january else day_trades(day)

    async with ArchiveBench(ArchiveTree({BTC: of_day})) as bench:
        assert found(await fetch(bench, tmp_path / "two", january, rest=False)).complete
        assert same(tape_of(tmp_path / "two"), joined(january))
        names = [one.path.rpartition("/")[2] for one in bench.requests(".zip")]
        assert names == ["BTCUSDT-aggTrades-2026-01.zip", "BTCUSDT-aggTrades-2026-01-09.zip"]


async def test_a_day_that_came_in_part_from_elsewhere_is_fetched(tmp_path):
    add_trades(TapeStore(tmp_path), BTC, [joined(WEEK[:2]).slice(0, DAY_ROWS + 50)])
    async with bench_of(WEEK) as bench:
        result = found(await fetch(bench, tmp_path, WEEK[:3], rest=False))
        assert result.complete
        assert result.days_that("fetched") == WEEK[:3]
        assert result.added_count == 2 * DAY_ROWS - 50
    assert same(tape_of(tmp_path), joined(WEEK[:3]))


async def test_a_day_between_two_others_is_known_by_its_ids(tmp_path):
    add_trades(TapeStore(tmp_path), BTC, [joined(WEEK[:3])])
    async with bench_of(WEEK) as bench:
        result = found(await fetch(bench, tmp_path, [WEEK[1]], rest=False))
        assert result.days_that("there") == [WEEK[1]]
        assert bench.asked == []


async def test_a_replaced_file_of_a_faulty_day_is_fetched_anew(tmp_path):
    lost = range(int(day_trades(WEEK[1]).agg_id[3]), int(day_trades(WEEK[1]).agg_id[9]))
    holey = ArchiveTree({BTC: lambda day: without(day_trades(day), lost)})
    async with ArchiveBench(holey) as bench:
        assert not found(await fetch(bench, tmp_path, WEEK[:3], rest=False)).complete
        bench.asked.clear()
        assert not found(await fetch(bench, tmp_path, WEEK[:3], rest=False)).complete
        assert [one.path[-23:] for one in bench.asked] == ["2026-01-02.zip.CHECKSUM"]
        bench.tree = ArchiveTree({BTC: day_trades})
        assert found(await fetch(bench, tmp_path, WEEK[:3], rest=False)).complete
    assert same(tape_of(tmp_path), joined(WEEK[:3]))


async def test_one_bad_file_does_not_stop_the_others(tmp_path):
    bad = [
        Fault("02.zip", spoil=True),
        Fault("02.zip", spoil=True),
        *[Fault("03.zip", status=500)] * ATTEMPTS,
        Fault("05.zip.CHECKSUM", status=404),
    ]
    async with bench_of(WEEK) as bench:
        bench.faults = bad
        result = found(await fetch(bench, tmp_path, rest=False))
        assert result.days_that("failed") == [WEEK[1], WEEK[2]]
        assert "twice; try again" in result.reasons[WEEK[1]]
        assert "answered 500" in result.reasons[WEEK[2]]
        assert result.days_that("unserved") == [WEEK[4]]
        assert len(result.days_that("fetched")) == 4
        assert downloads(tmp_path) == ["BTCUSDT-aggTrades-2026-01-02.zip"]
        assert found(await fetch(bench, tmp_path, rest=False)).complete
        assert same(tape_of(tmp_path), joined(WEEK))


class Files:
    """A tree of files as they are given, each with a CHECKSUM that is right."""

    def __init__(self, files):
        self.files = files

    def routes(self):
        return [web.get("/data/{path:.*}", self.serve)]

    async def serve(self, request):
        path = request.path.removeprefix("/")
        body = self.files.get(path.removesuffix(".CHECKSUM"))
        if body is None:
            raise web.HTTPNotFound
        if path.endswith(".CHECKSUM"):
            digest = hashlib.sha256(body).hexdigest()
            body = f"{digest}  {path.rpartition('/')[2].removesuffix('.CHECKSUM')}\n".encode()
        return web.Response(body=body)


async def test_files_that_are_no_trades_are_put_aside(tmp_path):
    tree = ArchiveTree({BTC: day_trades})
    good = tree._make(ArchiveEntry("BTCUSDT", "spot", WEEK[0])).body
    bodies = [good, good[:-40], b"PK\x03\x04 this is no zip", b"a,b,c\n"]
    files = {
        ArchiveEntry("BTCUSDT", "spot", day).path: body
        for day, body in zip(WEEK, bodies, strict=False)
    }
    async with ArchiveBench(Files(files)) as bench:
        result = found(await fetch(bench, tmp_path, WEEK[:4], rest=False))
    assert result.days_that("fetched") == WEEK[:1]
    assert result.days_that("failed") == WEEK[1:4]
    for day in WEEK[1:4]:
        assert f"quarantine/BTCUSDT-aggTrades-{day}.zip" in result.reasons[day]
        assert "\n" not in result.reasons[day]
    assert len(downloads(tmp_path)) == 3
    assert same(tape_of(tmp_path), joined(WEEK[:1]))


async def test_an_archive_that_fails_again_and_again_is_left_alone(tmp_path):
    asked = days(20)
    async with bench_of(asked) as bench:
        bench.faults = [Fault("01.zip.CHECKSUM"), *[Fault(".CHECKSUM", status=503)] * 1000]
        fetcher = await fetch(bench, tmp_path, asked, rest=False, jobs=1)
        assert "3 files in a row failed" in str(fetcher.down)
        assert len(bench.asked) == 2 + FAILURES_IN_A_ROW * ATTEMPTS
        assert found(fetcher).days_that("fetched") == asked[:1]
        assert len(found(fetcher).days_that("failed")) == 19


async def test_kept_files_are_kept_and_serve_the_next_fetch(tmp_path):
    async with bench_of(WEEK) as bench:
        await fetch(bench, tmp_path / "one", keep=True, rest=False)
        kept = tmp_path / "one" / DOWNLOADS
        assert len(downloads(tmp_path / "one")) == 14
        (tmp_path / "two").mkdir()
        kept.rename(tmp_path / "two" / DOWNLOADS)
        bench.asked.clear()
        assert found(await fetch(bench, tmp_path / "two", rest=False)).complete
        assert not bench.requests(".zip")
        assert same(tape_of(tmp_path / "two"), joined(WEEK))


async def test_only_one_fetch_of_a_symbol_runs(tmp_path):
    folder = tmp_path / DOWNLOADS / "spot"
    folder.mkdir(parents=True)
    async with bench_of(WEEK) as bench:
        with (folder / ".BTCUSDT.lock").open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            with pytest.raises(InputError, match="another fetch of spot/BTCUSDT is running"):
                await fetch(bench, tmp_path)
        assert bench.asked == []
