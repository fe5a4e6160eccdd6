"""Trades, venues and sources for the connector tests, all on loopback and cleaned up after."""

import asyncio
import gc
import os
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import numpy as np
import pytest

from flowtape.connectors.binance.client import BinanceSource, SourceTimes
from flowtape.connectors.binance.rows import Row, rows_of
from flowtape.connectors.venue.paper_venue import PaperSettings
from flowtape.connectors.venue.server import VenueServer
from flowtape.stream.config import EngineConfig
from flowtape.stream.execution import VenueRules
from flowtape.stream.instrument import Instrument
from flowtape.stream.ports import Clock, Event, Gap, Rules
from flowtape.stream.trades import Trades
from tests.connectors.paper_client import KEYS, PaperClient

FIRST_ID = 1_000
START_US = 1_760_000_000_123_456
WALL_US = START_US + 10**12
COUNT = 300
"""Trades of the market of `open_account`."""


@pytest.fixture(scope="session")
def fast() -> SourceTimes:
    return SourceTimes(
        first_data_s=0.3,
        connect_s=2.0,
        close_s=0.1,
        request_s=2.0,
        quiet_s=0.02,
        retry_base_s=0.01,
        retry_cap_s=0.05,
        repair_retry_s=0.1,
    )


@pytest.fixture(scope="session")
def instrument() -> Instrument:
    return Instrument("BTCUSDT", "spot", price_decimals=2, qty_decimals=5)


@pytest.fixture(scope="session")
def make_trades() -> Callable[..., Trades]:
    def make(count: int, first_id: int = FIRST_ID, step_us: int = 1_000, seed: int = 7) -> Trades:
        rng = np.random.default_rng(seed)
        ids = np.arange(first_id, first_id + count)
        lasts = np.cumsum(rng.integers(1, 4, count)) + 9_000_000
        return Trades(
            agg_id=ids,
            ts_us=START_US + np.cumsum(rng.integers(0, 2 * step_us + 1, count)),
            price_ticks=6_468_262 + np.cumsum(rng.integers(-3, 4, count)),
            qty_lots=rng.integers(1, 500_000, count),
            first_id=np.concatenate([[9_000_000], lasts[:-1] + 1]),
            last_id=lasts,
            side=np.where(rng.random(count) < 0.5, 1, -1).astype(np.int8),
        )

    return make


@dataclass
class Heard:
    """What a source said until a test had enough."""

    rows: list[Row] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    clocks: list[Clock] = field(default_factory=list)
    rules: list[VenueRules] = field(default_factory=list)
    batches: list[int] = field(default_factory=list)

    @property
    def ids(self) -> list[int]:
        return [row.agg_id for row in self.rows]

    def add(self, event: Event) -> None:
        if isinstance(event, Trades):
            self.rows += rows_of(event)
            self.batches.append(len(event))
        elif isinstance(event, Gap):
            self.gaps.append(event)
        elif isinstance(event, Rules):
            self.rules.append(event.rules)
        else:
            assert isinstance(event, Clock)
            self.clocks.append(event)


@pytest.fixture
async def no_leaks() -> AsyncIterator[None]:
    before = asyncio.all_tasks()
    yield
    ours = before | {asyncio.current_task()}
    for _ in range(50):
        if asyncio.all_tasks() <= ours:
            break
        await asyncio.sleep(0.01)
    assert asyncio.all_tasks() <= ours
    gc.collect()  # sockets that nobody closed warn now, and warnings are errors


@pytest.fixture
async def open_venue(no_leaks: None) -> AsyncIterator[Callable[..., Awaitable[VenueServer]]]:
    venues: list[VenueServer] = []

    async def start(instrument: Instrument, trades: object, **options: object) -> VenueServer:
        venue = VenueServer(instrument, trades, **options)
        venues.append(venue)
        await venue.start()
        return venue

    yield start
    for venue in venues:
        await venue.stop()


@pytest.fixture
async def http(no_leaks):
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
def open_account(open_venue, http, instrument, make_trades):
    """Open a venue with a paper account; without `over` its market is moved by hand."""

    async def opened(
        *, over=False, answer_s=0.01, config=None, trades=None, wall_us=lambda: WALL_US, **more
    ):
        config = config or EngineConfig(initial_cash="10000")
        trades = make_trades(COUNT) if trades is None else trades
        paper = PaperSettings(config, KEYS, wall_us, answer_s)
        past = len(trades) if over else more.pop("past", 50)
        venue = await open_venue(instrument, trades, paper=paper, happened_count=past, **more)
        return venue, PaperClient(http, venue, lambda: WALL_US)

    return opened


@pytest.fixture
async def make_source(
    open_venue: Callable[..., Awaitable[VenueServer]], fast: SourceTimes
) -> AsyncIterator[Callable[..., BinanceSource]]:
    sources: list[BinanceSource] = []

    def make(venue: VenueServer, **options: object) -> BinanceSource:
        given = {
            "symbol": "btcusdt",
            "stream_url": venue.ws_url,
            "rest_url": venue.rest_url,
            "silence_s": 0.4,
            "times": fast,
            "rng": random.Random(5),
        }
        source = BinanceSource(**(given | options))
        sources.append(source)
        return source

    yield make
    for source in sources:
        await source.close()


@pytest.fixture
def hear() -> Callable[..., Awaitable[Heard]]:
    async def listen(
        source: BinanceSource,
        until: Callable[[Heard], bool],
        work: Callable[[], Awaitable[None]] | None = None,
        limit_s: float = 15.0,
    ) -> Heard:
        heard = Heard()
        async with asyncio.timeout(limit_s):
            events = source.events()
            async for event in events:
                heard.add(event)
                if until(heard):
                    break
                if work is not None:
                    await work()
            await events.aclose()
        return heard

    return listen


@pytest.fixture(scope="session")
def real_frames() -> Path:
    repo = Path(__file__).resolve().parents[2]
    data = Path(os.environ.get("FLOWTAPE_REAL_DATA", repo.parent / "shared" / "data"))
    folder = data / "binance-frames"
    if not folder.is_dir():
        pytest.skip("no recorded frames: set FLOWTAPE_REAL_DATA to a folder with binance-frames/")
    return folder
