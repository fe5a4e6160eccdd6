"""`flowtape fetch` against an archive on loopback that fails on purpose."""

import asyncio
import fcntl
import hashlib
import json
import os
import random
import signal
import sys
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from aiohttp import web

from flowtape.cli.fetching import DOWNLOADS, FAILURES_IN_A_ROW, Fetcher
from flowtape.connectors.binance.archive import ArchiveEntry, day_start_us, month_days
from flowtape.connectors.binance.archive_client import ATTEMPTS, ArchiveClient, ArchiveTimes
from flowtape.connectors.binance.markets import market_api
from flowtape.connectors.binance.rest import RestClient
from flowtape.connectors.venue.archive_tree import ArchiveTree
from flowtape.connectors.venue.server import VenueServer
from flowtape.replay.by_day import trades_by_day
from flowtape.replay.tape_writer import add_trades
from flowtape.replay.tapes import TapeStore
from flowtape.stream.errors import InputError
from flowtape.stream.instrument import Instrument
from flowtape.stream.trades import Trades
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

FAST = ArchiveTimes(connect_s=10.0, read_s=20.0, retry_base_s=0.001, retry_cap_s=0.01)
TODAY = date(2026, 3, 1)
WEEK = days(7)


def clock_us() -> int:
    return time.monotonic_ns() // 1_000


class Watching:
    """Who looks on, and remembers."""

    def __init__(self):
        self.file_count = 0
        self.have_bytes = {}
        self.done = []

    def planned(self, file_count):
        self.file_count += file_count

    def progress(self, entry, have_bytes, size_bytes):
        assert have_bytes <= size_bytes
        self.have_bytes[entry] = have_bytes

    def doing(self, what):
        self.done.append(what)


async def fetch(bench, root, asked=WEEK, *, rest=True, market="spot", **options) -> Fetcher:
    given = {
        "jobs": 3,
        "choice": "auto",
        "keep": False,
        "watcher": Watching(),
    }
    rng = random.Random(4)
    async with ArchiveClient(bench.url, clock_us=clock_us, rng=rng, times=FAST) as client:
        fetcher = Fetcher(TapeStore(root), market, asked, client, **(given | options))
        await fetcher.run(["BTCUSDT"])
    if rest:
        api = market_api(market)
        async with RestClient(api, bench.url, clock_us=clock_us, rng=rng) as client:
            await fetcher.refill(client, TODAY)
    return fetcher


def found(fetcher):
    return fetcher.found["BTCUSDT"]


def tape_of(root, symbol="BTCUSDT") -> Trades:
    tape = TapeStore(root).open(symbol)
    return tape.full_trades(0, len(tape))


def joined(asked, **options) -> Trades:
    return Trades.concat([day_trades(day, **options) for day in asked])


def downloads(root: Path) -> list[str]:
    return sorted(path.name for path in (root / DOWNLOADS).rglob("*") if path.is_file())


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


async def test_what_the_archive_lacks_comes_over_rest(tmp_path):
    """A hole, a day cut short, a day that is not served, and both ends of the range."""

    def of_day(day):
        if day not in WEEK or day == WEEK[3]:
            return None
        trades = day_trades(day)
        first_id = int(trades.agg_id[0])
        holes = {
            WEEK[0]: range(first_id, first_id + 30),
            WEEK[1]: range(first_id + 100, first_id + 103),
            WEEK[5]: range(first_id + 300, first_id + DAY_ROWS),
            WEEK[6]: range(first_id + 390, first_id + DAY_ROWS),
        }
        return without(trades, holes.get(day, range(0)))

    around = joined([WEEK[0] - timedelta(days=1), *WEEK, WEEK[6] + timedelta(days=1)])
    async with ArchiveBench(ArchiveTree({BTC: of_day}), around) as bench:
        alone = found(await fetch(bench, tmp_path, rest=False))
        assert not alone.complete
        assert [gap.to_id - gap.from_id + 1 for gap in alone.missing] == [3, DAY_ROWS, 100]
        assert alone.states[WEEK[3]] == "unserved"
        bench.asked.clear()
        filled = found(await fetch(bench, tmp_path))
        assert filled.complete
        assert filled.states[WEEK[3]] == "refilled"
        assert filled.refilled.trade_count == 3 + DAY_ROWS + 100 + 30 + 10
        assert filled.refilled.problem == ""
        assert not bench.requests(".zip")
        assert same(tape_of(tmp_path), joined(WEEK))


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


async def test_ids_that_rest_lacks_too_stay_missing(tmp_path):
    lost = range(int(day_trades(WEEK[1]).agg_id[0]) + 5, int(day_trades(WEEK[1]).agg_id[0]) + 25)
    half = range(lost.start, lost.start + 10)
    tree = ArchiveTree({BTC: lambda day: without(day_trades(day), lost) if day in WEEK else None})
    async with ArchiveBench(tree, without(joined(WEEK), half)) as bench:
        result = found(await fetch(bench, tmp_path))
        assert not result.complete
        assert result.refilled.trade_count == 10
        (gap,) = result.missing
        assert (gap.from_id, gap.to_id) == (half.start, half.stop - 1)


async def test_many_small_holes_take_few_queries(tmp_path):
    odd = day_trades(WEEK[0])
    ids = set(odd.agg_id[1:-1:2].tolist())

    def of_day(day):
        trades = day_trades(day)
        for agg_id in ids if day == WEEK[0] else ():
            trades = without(trades, range(agg_id, agg_id + 1))
        return trades

    async with ArchiveBench(ArchiveTree({BTC: of_day}), joined(WEEK)) as bench:
        result = found(await fetch(bench, tmp_path, WEEK[:2]))
        assert result.complete
        assert result.refilled.trade_count == len(ids)
        assert same(tape_of(tmp_path), joined(WEEK[:2]))
        assert len(bench.requests("aggTrades")) <= 4


async def test_times_from_rest_are_no_finer_than_those_of_old_files(tmp_path):
    day = date(2024, 6, 1)
    trades = day_trades(day)
    lost = range(int(trades.agg_id[50]), int(trades.agg_id[60]))
    tree = ArchiveTree({BTC: lambda asked: without(trades, lost) if asked == day else None})
    exact = Trades(
        trades.agg_id, trades.ts_us + 789, *(getattr(trades, n) for n in Trades.__slots__[2:])
    )
    async with ArchiveBench(tree, exact) as bench:
        assert found(await fetch(bench, tmp_path, [day])).complete
    assert same(tape_of(tmp_path), trades)


async def test_rest_that_does_not_answer_is_said_and_harms_nothing(tmp_path):
    tree = ArchiveTree({BTC: lambda day: None if day == WEEK[1] else day_trades(day)})
    async with ArchiveBench(tree) as bench:
        result = found(await fetch(bench, tmp_path, WEEK[:3]))
        assert "answered 404" in result.refilled.problem
        assert result.days_that("unserved") == [WEEK[1]]
        assert [gap.to_id - gap.from_id + 1 for gap in result.missing] == [DAY_ROWS]
        assert not result.complete


async def test_rest_may_fail_for_a_while_or_have_finer_numbers(tmp_path):
    """A tape's grid is as coarse as its trades allow, and a missing one may need a finer one."""
    fine = joined(WEEK)
    lost = range(int(fine.agg_id[500]), int(fine.agg_id[503]))
    inside = (fine.agg_id >= lost.start) & (fine.agg_id < lost.stop)
    coarse = Trades(
        fine.agg_id,
        fine.ts_us,
        np.where(inside, fine.price_ticks, fine.price_ticks // 100 * 100),
        np.where(inside, fine.qty_lots, fine.qty_lots // 1_000 * 1_000 + 1_000),
        *(getattr(fine, name) for name in Trades.__slots__[4:]),
    )

    def of_day(day):
        row = WEEK.index(day) * DAY_ROWS
        return without(coarse.slice(row, row + DAY_ROWS), lost)

    async with ArchiveBench(ArchiveTree({BTC: of_day}), coarse) as bench:
        bench.faults = [Fault("aggTrades", status=503)]
        assert found(await fetch(bench, tmp_path)).complete
    assert TapeStore(tmp_path).open("BTCUSDT").instrument == BTC
    assert same(tape_of(tmp_path), coarse)


async def test_what_came_over_rest_is_kept_when_it_fails_later(tmp_path):
    ids = [int(day_trades(day).agg_id[100]) for day in (WEEK[0], WEEK[5])]

    def of_day(day):
        trades = day_trades(day)
        for first_id in ids:
            trades = without(trades, range(first_id, first_id + 10))
        return trades if day in WEEK else None

    async with ArchiveBench(ArchiveTree({BTC: of_day}), joined(WEEK)) as bench:
        bench.faults = [Fault("aggTrades"), Fault("aggTrades", status=400)]
        result = found(await fetch(bench, tmp_path))
        assert result.refilled.trade_count == 10
        assert "answered 400" in result.refilled.problem
        assert [gap.from_id for gap in result.missing] == ids[1:]
        assert found(await fetch(bench, tmp_path)).complete
    assert same(tape_of(tmp_path), joined(WEEK))


async def test_futures_are_refilled_but_old_ends_are_not_asked_about(tmp_path):
    """REST has the last two days of futures only."""
    future = Instrument("BTCUSDT", "um", 2, 5)
    newest = days(3, TODAY - timedelta(days=3))
    lost = range(int(day_trades(newest[1]).agg_id[7]), int(day_trades(newest[1]).agg_id[9]))
    tree = ArchiveTree({future: lambda day: without(day_trades(day), lost)})
    exact = joined(newest)
    coarse = Trades(
        exact.agg_id,
        exact.ts_us // 1_000 * 1_000,
        *(getattr(exact, name) for name in Trades.__slots__[2:]),
    )
    async with ArchiveBench(tree, exact) as bench:
        assert found(await fetch(bench, tmp_path / "old", days(3), market="um")).complete
        assert not bench.requests("aggTrades")
        assert found(await fetch(bench, tmp_path / "new", newest, market="um")).complete
        assert bench.requests("aggTrades")
    assert same(tape_of(tmp_path / "new"), coarse)


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


class Command:
    """`flowtape fetch` in a process of its own, with a home of its own."""

    def __init__(self, home: Path) -> None:
        self.tapes = home / "tapes"
        self.environment = {**os.environ, "FLOWTAPE_HOME": str(home), "COLUMNS": "100"}

    async def start(self, *words: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "flowtape.cli.main", "fetch", *words),
            env=self.environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )

    async def __call__(self, *words: str) -> tuple[int, str, str]:
        process = await self.start(*words)
        async with asyncio.timeout(60):
            out, err = await process.communicate()
        assert process.returncode is not None
        return process.returncode, out.decode(), err.decode()


@pytest.fixture
def command(tmp_path: Path) -> Command:
    return Command(tmp_path / "home")


SPAN = ("--from", "2026-01-01", "--to", "2026-01-07")


async def test_a_tape_goes_through_a_venue_into_an_equal_tape(command, tmp_path):
    """The venue's REST has a day more than its archive, and says that no other one is cut short."""
    source = TapeStore(tmp_path / "source")
    add_trades(source, BTC, [joined(WEEK)])
    one = source.open("BTCUSDT", day_start_us(WEEK[0]) + 3_600_000_000)
    tree = ArchiveTree({BTC: trades_by_day(one)})
    venue = VenueServer(BTC, joined(days(8)), happened_count=8 * DAY_ROWS, extra=[tree])
    await venue.start()
    try:
        code, out, err = await command("btcusdt", *SPAN, "--archive-url", venue.rest_url)
        assert (code, err) == (0, "")
        assert out == "spot/BTCUSDT: 7 days: 7 fetched; 2,800 new trades from 0.1 MB\n"
        code, out, err = await command("BTCUSDT", *SPAN, "--archive-url", venue.rest_url, "--json")
    finally:
        await venue.stop()
    assert (code, err) == (0, "")
    answer = json.loads(out)
    assert answer["complete"]
    (symbol,) = answer["symbols"].values()
    assert {day["state"] for day in symbol["days"].values()} == {"there"}
    assert symbol["refill_problem"] == ""
    one, other = source.open("BTCUSDT"), TapeStore(command.tapes).open("BTCUSDT")
    assert other.instrument == BTC
    assert [part.meta.sha256 for part in one.parts] == [part.meta.sha256 for part in other.parts]


async def test_a_killed_fetch_goes_on_where_it_ended(command):
    async with bench_of(WEEK) as bench:
        bench.faults = [Fault("05.zip", cut=3_000, stall=True)]
        process = await command.start("BTCUSDT", *SPAN, "--archive-url", bench.url)
        part = command.tapes / DOWNLOADS / "spot" / "BTCUSDT-aggTrades-2026-01-05.zip.part"
        async with asyncio.timeout(60):
            await bench.stalled.wait()
            while not part.exists() or part.stat().st_size < 3_000:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        process.kill()
        await process.communicate()
        bench.asked.clear()
        code, out, err = await command("BTCUSDT", *SPAN, "--archive-url", bench.url)
        assert (code, err) == (0, ""), out
        ranges = {one.path[-14:-4]: one.range for one in bench.requests(".zip")}
        assert ranges["2026-01-05"] == "bytes=3000-"
        assert all(not text for day, text in ranges.items() if day != "2026-01-05")
        assert same(tape_of(command.tapes), joined(WEEK))
        assert not (command.tapes / DOWNLOADS).exists()


@pytest.mark.parametrize(("number", "expected"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
async def test_a_stopped_fetch_keeps_what_came(command, number, expected):
    async with bench_of(WEEK) as bench:
        bench.faults = [Fault("05.zip", cut=3_000, stall=True)]
        process = await command.start("BTCUSDT", *SPAN, "--archive-url", bench.url)
        async with asyncio.timeout(60):
            await bench.stalled.wait()
            process.send_signal(number)
            _, err = await process.communicate()
        assert process.returncode == expected
        assert err.decode() == (
            "what came is kept; run the same command again to go on\nflowtape: stopped\n"
        )
        code, _, err = await command("BTCUSDT", *SPAN, "--archive-url", bench.url)
        assert (code, err) == (0, "")
        assert same(tape_of(command.tapes), joined(WEEK))


async def test_what_is_missing_is_said_with_what_to_do(command):
    yesterday = datetime.now(UTC).date() - timedelta(days=1)
    async with bench_of(WEEK[:2]) as bench:
        bench.faults = [Fault("01.zip", status=503), Fault("02.zip", spoil=True)]
        url = ("--archive-url", bench.url)
        code, out, err = await command("BTCUSDT", "ETHUSDT", *SPAN, *url)
        assert (code, err) == (1, "")
        assert out.splitlines() == [
            "spot/BTCUSDT: 7 days: 2 fetched, 5 not in the archive; 800 new trades from 0.1 MB",
            "  2026-01-03 to 2026-01-07: not in the archive; it may lack this for good",
            "spot/ETHUSDT: 7 days: 7 not in the archive; 0 new trades",
            "  the archive has nothing of spot/ETHUSDT on these days; check the symbol and "
            "--market, or when it was listed",
        ]
        code, out, _ = await command("BTCUSDT", "--from", yesterday.isoformat(), *url)
        assert code == 1
        assert f"{yesterday}: not published yet; " in out


async def test_futures_are_fetched_from_their_own_folder(command):
    coin = Instrument("BTCUSD_PERP", "cm", 1, 0)
    start, end = date(2024, 5, 1), date(2024, 5, 2)

    def of_day(day):
        return day_trades(day) if start <= day <= end else None

    async with ArchiveBench(ArchiveTree({coin: of_day})) as bench:
        span = ("--from", str(start), "--to", str(end))
        code, out, err = await command(
            "BTCUSD_PERP", "--market", "cm", *span, "--archive-url", bench.url
        )
        assert (code, err) == (0, "")
        assert "cm/BTCUSD_PERP: 2 days: 2 fetched" in out
    read = tape_of(command.tapes, "cm/BTCUSD_PERP")
    assert read.agg_id.tolist() == joined([start, end]).agg_id.tolist()


async def test_proxies_of_the_environment_are_used(command):
    async with bench_of(WEEK) as bench:
        command.environment |= {"http_proxy": bench.url}
        urls = ("--archive-url", "http://archive.invalid", "--rest-url", "http://rest.invalid")
        code, out, err = await command("BTCUSDT", *SPAN, *urls)
        assert (code, err) == (0, "")
        assert "7 fetched" in out
        assert bench.requests("aggTrades")


async def test_the_help_has_an_example(command):
    code, out, err = await command("--help")
    assert (code, err) == (0, "")
    assert "flowtape fetch BTCUSDT --from 2026-01-01 --to 2026-01-07" in " ".join(out.split())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["BTC/USDT", *SPAN], "'BTC/USDT' is not a symbol such as BTCUSDT"),
        (["BTCUSDT", *SPAN, "--market", "usdm"], "choose spot, um or cm"),
        (["BTCUSDT"], "missing option '--from'; see flowtape fetch --help"),
        (["BTCUSDT", "--from", "yesterday"], "--from must be a UTC day or month"),
        (["BTCUSDT", "--from", "2026-01-02", "--to", "2026-01-01"], "is after --to"),
        (["BTCUSDT", "--from", "2026-01-01", "--to", "2100-01-01"], "is not over yet in UTC"),
        (["BTCUSDT", *SPAN, "--archive-url", "example.com"], "check --archive-url"),
        (["BTCUSDT", *SPAN, "--archive-url", "http://127.0.0.1:1"], "cannot reach http://127"),
        (["BTCUSDT", *SPAN, "--rest-url", "ws://x"], "check --rest-url"),
    ],
)
async def test_mistakes_are_one_line(words, said, command):
    code, out, err = await command(*words)
    assert (code, out) == (2, "")
    assert err.startswith("flowtape: ")
    assert err.count("\n") == 1
    assert said in err
    assert not list(command.tapes.glob("*"))
