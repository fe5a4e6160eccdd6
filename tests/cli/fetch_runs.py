"""Fetches within this process, from an archive on loopback."""

import random
import time
from datetime import date
from pathlib import Path

from flowtape.cli.fetching import DOWNLOADS, Fetcher
from flowtape.connectors.binance.archive_client import ArchiveClient, ArchiveTimes
from flowtape.connectors.binance.markets import market_api
from flowtape.connectors.binance.rest import RestClient
from flowtape.replay.tapes import TapeStore
from flowtape.stream.trades import Trades
from tests.connectors.archive_bench import (
    day_trades,
    days,
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
