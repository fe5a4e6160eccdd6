"""The venue on loopback: trades to one client, to ten, and on time.

Clients are processes of their own, with the `websockets` library, and only count.
"""

import asyncio
import json
import multiprocessing as mp
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
from websockets.asyncio.client import connect

from flowtape.connectors.venue.frames import Shape, text_frames
from flowtape.connectors.venue.server import VenueServer
from flowtape.connectors.venue.wire import Wire
from flowtape.stream.instrument import Instrument
from flowtape.stream.trades import Trades

INSTRUMENT = Instrument("BTCUSDT", "spot", 2, 5)
STREAM = "btcusdt@aggTrade"
START_US = 1_767_225_600_000_000
PIECE_ROWS = 1 << 16

ONE_COUNT, ONE_BAR = 400_000, 50_000
TEN_COUNT, TEN_BAR, CLIENTS = 40_000, 5_000, 10
PACED_COUNT, PACED_PER_S, PACED_BAR_MS = 3_000, 1_000, 5.0
ROUNDS, PACED_ROUNDS = 3, 6


def trades(count: int, per_s: int) -> Trades:
    """Return a market with so many trades a second on average, at random times."""
    rng = np.random.default_rng(1)
    ids = np.arange(1_000_000, 1_000_000 + count)
    return Trades(
        ids,
        START_US + np.cumsum(rng.exponential(1e6 / per_s, count)).astype(np.int64),
        6_468_262 + np.cumsum(rng.integers(-3, 4, count)),
        rng.integers(1, 500_000, count),
        ids * 2,
        ids * 2 + 1,
        np.where(rng.random(count) < 0.5, 1, -1).astype(np.int8),
    )


def _serve(some: Trades, speed: float | None, clients: int, pipe: Connection) -> None:
    async def serve() -> None:
        pieces = (some.slice(row, row + PIECE_ROWS) for row in range(0, len(some), PIECE_ROWS))
        venue = VenueServer(INSTRUMENT, pieces, speed=speed)
        await venue.start()
        pipe.send(venue.ws_url)
        await venue.wait_for_subscribers(clients)
        if speed is None:
            await venue.publish(len(some))
        else:
            await venue.wait_finished()
        await asyncio.to_thread(pipe.recv)
        await venue.stop()

    asyncio.run(serve())


def _follow(url: str, count: int, clients: int, pipe: Connection) -> None:
    """Count frames on each connection; sends the times of the first and last of all."""

    async def client() -> tuple[int, int]:
        async with connect(f"{url}/ws/{STREAM}", compression=None, max_queue=1_024) as socket:
            await socket.recv(decode=False)
            began_ns = time.perf_counter_ns()
            for _ in range(count - 1):
                await socket.recv(decode=False)
            return began_ns, time.perf_counter_ns()

    async def all_clients() -> list[tuple[int, int]]:
        return await asyncio.gather(*(client() for _ in range(clients)))

    pipe.send(asyncio.run(all_clients()))


def _time(url: str, count: int, pipe: Connection) -> None:
    """Note when each frame came; sends those times and the trade times, in microseconds."""

    async def client() -> list[tuple[int, int]]:
        seen = []
        query = "?timeUnit=MICROSECOND"
        async with connect(f"{url}/ws/{STREAM}{query}", compression=None) as socket:
            for _ in range(count):
                frame = await socket.recv(decode=False)
                seen.append((time.perf_counter_ns() // 1_000, frame))
        return [(at_us, json.loads(frame)["T"]) for at_us, frame in seen]

    pipe.send(asyncio.run(client()))


def _run(
    some: Trades, speed: float | None, clients: int, follow: Callable[..., None], *said: int
) -> Any:
    """Run a venue and its followers in processes of their own; returns what they found."""
    context = mp.get_context("spawn")
    ours, theirs = context.Pipe()
    server = context.Process(target=_serve, args=(some, speed, clients, theirs))
    server.start()
    url = ours.recv()
    heard, told = context.Pipe()
    follower = context.Process(target=follow, args=(url, *said, told))
    follower.start()
    found = heard.recv()
    ours.send("done")
    follower.join()
    server.join()
    return found


def _rate(count: int, clients: int) -> float:
    """Return trades a second to each of so many clients, all at once."""
    spans = _run(trades(count, 10_000), None, clients, _follow, count, clients)
    began_ns, ended_ns = min(span[0] for span in spans), max(span[1] for span in spans)
    return (count - 1) / (ended_ns - began_ns) * 1e9


def _late_ms() -> tuple[float, float]:
    """Return how late trades come at 1x, against the one that was least late: median and p99."""
    seen = np.array(_run(trades(PACED_COUNT, PACED_PER_S), 1.0, 1, _time, PACED_COUNT))
    late_us = seen[:, 0] - seen[:, 1]
    late_us -= late_us.min()
    return float(np.median(late_us)) / 1e3, float(np.percentile(late_us, 99)) / 1e3


def _timer_late_ms() -> float:
    """Return the p99 of how late a bare timer wakes at the same times, which is the machine's."""
    some = trades(PACED_COUNT, PACED_PER_S)
    due_s = (some.ts_us - some.ts_us[0]) / 1e6
    began_s = time.perf_counter()
    late_s = []
    for due in due_s.tolist():
        time.sleep(max(0.0, began_s + due - time.perf_counter()))
        late_s.append(time.perf_counter() - began_s - due)
    return float(np.percentile(late_s, 99)) * 1e3


def _encode_rate() -> float:
    """Return how many trades become frames in a second of processor time, without a client."""
    some = trades(200_000, 10_000)
    wire, shape = Wire(INSTRUMENT), Shape(combined=True, micros=False)
    began_s = time.process_time()
    for row in range(0, len(some), 1_024):
        piece = some.slice(row, row + 1_024)
        text_frames(wire.agg_trades(piece, piece.ts_us, shape))
    return len(some) / (time.process_time() - began_s)


def main() -> None:
    encoded = max(_encode_rate() for _ in range(ROUNDS))
    print(f"frames made, one core: {encoded:,.0f} trades/s")
    one = max(_rate(ONE_COUNT, 1) for _ in range(ROUNDS))
    print(f"one client: {one:,.0f} trades/s (bar {ONE_BAR:,})")
    ten = max(_rate(TEN_COUNT, CLIENTS) for _ in range(ROUNDS))
    print(f"{CLIENTS} clients in one process: {ten:,.0f} trades/s to each (bar {TEN_BAR:,})")
    rounds = [(*_late_ms(), _timer_late_ms()) for _ in range(PACED_ROUNDS)]
    median_ms, p99_ms, bare_ms = min(rounds, key=lambda found: found[1])
    print(
        f"{PACED_PER_S:,} trades/s at 1x: {median_ms:.2f} ms late in the median, p99 {p99_ms:.2f} "
        f"(bar {PACED_BAR_MS}); p99 of a bare timer then: {bare_ms:.2f}"
    )


if __name__ == "__main__":
    main()
