"""`flowtape fetch` as a process of its own, from an archive on loopback that fails on purpose."""

import asyncio
import json
import os
import signal
import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from flowtape.cli.fetching import DOWNLOADS
from flowtape.connectors.binance.archive import day_start_us
from flowtape.connectors.venue.archive_tree import ArchiveTree
from flowtape.connectors.venue.server import VenueServer
from flowtape.replay.by_day import trades_by_day
from flowtape.replay.tape_writer import add_trades
from flowtape.replay.tapes import TapeStore
from flowtape.stream.instrument import Instrument
from tests.cli.fetch_runs import (
    WEEK,
    joined,
    tape_of,
)
from tests.connectors.archive_bench import (
    BTC,
    DAY_ROWS,
    ArchiveBench,
    Fault,
    bench_of,
    day_trades,
    days,
    same,
)


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
