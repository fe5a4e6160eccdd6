"""A session with a hub, watchers of it, and a line between them that can be bad."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from flowtape.connectors.hub.server import HubServer, HubTimes
from flowtape.connectors.hub.source import HubSource, WatchTimes
from flowtape.stream.config import EngineConfig
from flowtape.stream.engine import Engine
from flowtape.stream.execution import VenueRules
from flowtape.stream.fanout import Fanout
from flowtape.stream.genesis import Genesis
from flowtape.stream.input_log import read_inputs
from flowtape.stream.inputs import Inputs
from flowtape.stream.instrument import Instrument
from flowtape.stream.ports import Clock, Event, Gap, Rules
from flowtape.stream.session import SessionWriter
from flowtape.stream.trades import Trades
from tests.stream.tapes import make_columns

INSTRUMENT = Instrument("BTCUSDT", "spot", 2, 5)
TOKEN = "a-token-of-the-tests"
HUB = HubTimes(pace_s=0.002, ping_s=5.0, stall_s=0.2, drain_s=20.0)
WATCH = WatchTimes(
    request_s=10.0, quiet_s=20.0, retry_base_s=0.005, retry_cap_s=0.02, give_up_s=10.0
)


def trades(count: int) -> Trades:
    c = make_columns(count, seed=4, mean_gap_us=3_000)
    c.ts_us.sort()
    ids = np.arange(500, 500 + count)
    return Trades(ids, c.ts_us, c.price_ticks, c.qty_lots, ids * 2, ids * 2 + 1, c.side)


def events(count: int, seed: int = 1) -> list[Event]:
    """Trades in pieces of very different length, with clocks, gaps and rules between."""
    rng, others, whole = random.Random(seed), random.Random(-seed - 1), trades(count)
    found, at = list[Event](), 0
    while at < count:
        piece = whole.slice(at, at + rng.choice([1, 1, 1, 2, 7, 300, 9_000]))
        at += len(piece)
        found.append(piece)
        if rng.random() < 0.2:
            found.append(Clock(int(piece.ts_us[-1])))
        if rng.random() < 0.05:
            found.append(Gap(at, at + 3, "lost"))
        if others.random() < 0.05:
            found.append(Rules(0, VenueRules(qty_min_lots=others.randrange(9), qty_max_lots=at)))
    return found


async def until(holds: Callable[[], bool]) -> None:
    """Wait for something that is to happen within a minute."""
    async with asyncio.timeout(60):
        while not holds():  # noqa: ASYNC110 (what changes it is what is tested)
            await asyncio.sleep(0.01)


class KeptSession:
    """A live session that is kept and published, without a market."""

    def __init__(self, root: Path, genesis: Genesis | None = None, **options: int) -> None:
        genesis = genesis or Genesis((INSTRUMENT,), EngineConfig(), strategy=None, tapes=())
        self.writer = SessionWriter.create(root, genesis, datetime.now(UTC))
        self.engine = Engine(
            genesis.instruments,
            genesis.config,
            shown=False,
            recorded=(self.writer.chain, self.writer),
        )
        folder = self.writer.folder
        self.fanout = Fanout(folder / "inputs", folder.name, **options)
        self.writer.published = self.fanout.publish

    async def play(self, given: list[Event]) -> None:
        for event in given:
            self.engine.apply_event(event)
            await asyncio.sleep(0)

    def end(self) -> None:
        self.engine.end()
        self.writer.close()

    def inputs(self) -> Inputs:
        return Inputs.concat(list(read_inputs(self.writer.folder / "inputs")))


@asynccontextmanager
async def hub(
    session: KeptSession | None, times: HubTimes = HUB, port: int = 0
) -> AsyncIterator[HubServer]:
    server = HubServer(port, TOKEN, times)
    await server.start()
    if session is not None:
        server.offer(session.fanout, session.writer.genesis)
    try:
        yield server
    finally:
        await server.stop()


class Watcher:
    """Folds what a hub sends, now and then slowly."""

    def __init__(self, url: str, number: int = 0, times: WatchTimes = WATCH) -> None:
        self.source = HubSource(url, times=times, rng=random.Random(number))
        self.got: list[Inputs] = []
        self.engine: Engine | None = None

    async def run(self, pause_s: float = 0.0, first: int = 1) -> "Watcher":
        try:
            theirs = await self.source.open()
            self.engine = Engine(theirs.genesis.instruments, theirs.genesis.config, shown=False)
            async for inputs in self.source.inputs(first):
                self.got.append(inputs)
                if first == 1:
                    self.engine.apply_inputs(inputs)
                if pause_s:
                    await asyncio.sleep(pause_s)
        finally:
            await self.source.close()
        return self

    def inputs(self) -> Inputs:
        return Inputs.concat(self.got)


Change = Callable[[int, bytes], bytes | None]
"""Given how many bytes a connection had before, returns what becomes of some; None cuts it."""


@asynccontextmanager
async def line(server: HubServer, change: Change) -> AsyncIterator[str]:
    """A bad line to a hub: what comes from there is changed; gives the address at this end."""
    tasks: set[asyncio.Task[None]] = set()

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, to_there = await asyncio.open_connection("127.0.0.1", server.port)
        back = asyncio.create_task(copy(reader, to_there, lambda _, data: data))
        try:
            await copy(there, writer, change)
        finally:
            back.cancel()
            for one in (writer, to_there):
                one.transport.abort()

    async def copy(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter, change: Change
    ) -> None:
        count = 0
        with suppress(OSError):
            while data := await reader.read(1 << 16):
                changed = change(count, data)
                if changed is None:
                    return
                count += len(data)
                writer.write(changed)
                await writer.drain()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await carry(reader, writer)
        except asyncio.CancelledError:
            pass
        finally:
            tasks.discard(task)

    listener = await asyncio.start_server(accept, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    try:
        yield f"ws://127.0.0.1:{port}/?token={TOKEN}"
    finally:
        listener.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await listener.wait_closed()
