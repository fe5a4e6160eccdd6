"""A live session under load: the venue in one process, source, engine and recorder in another.

    python -m benchmarks.live_load [MINUTES]

20,000 trades/s for a minute, then 50,000 within a second, nothing lost; how long it takes from a
message's arrival to the snapshot that has it, at 10,000 trades/s; memory over MINUTES (2 if not
given) of that.
"""

import asyncio
import gc
import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmarks import data
from benchmarks.live_sessions import MARKET, engine_of, writer_below
from flowtape.connectors.binance import link
from flowtape.connectors.binance.client import BinanceSource
from flowtape.connectors.binance.frame_connection import FrameConnection, Message
from flowtape.connectors.venue.server import VenueServer
from flowtape.replay.summary import summary_of
from flowtape.stream.ports import Gap
from flowtape.stream.trades import Trades

START_US = 1_767_225_600_000_000
PIECE = 1 << 16


@dataclass(frozen=True)
class Phase:
    """So many trades a second, evenly spread, for so long."""

    per_s: int
    seconds: float

    @property
    def count(self) -> int:
        return int(self.per_s * self.seconds)


LOAD = (Phase(20_000, 60), Phase(50_000, 1), Phase(1_000, 2))


def trades_of(phases: tuple[Phase, ...]) -> Iterator[Trades]:
    """Yield the trades of the phases, one behind the other."""
    rng, first_id, start_us, price = np.random.default_rng(1), 1, START_US, 5_000_000
    for phase in phases:
        for at in range(0, phase.count, PIECE):
            count = min(PIECE, phase.count - at)
            ids = np.arange(first_id, first_id + count)
            ts_us = start_us + (np.arange(at, at + count) * 1_000_000) // phase.per_s
            prices = price + np.cumsum(rng.integers(-1, 2, count))
            price = int(prices[-1])
            lots = rng.integers(1, 100_000, count)
            sides = rng.choice(np.array([-1, 1], np.int8), count)
            yield Trades(ids, ts_us, prices, lots, ids, ids, sides)
            first_id += count
        start_us += int(phase.seconds * 1e6)


async def serve(phases: tuple[Phase, ...], ports: "multiprocessing.Queue[tuple[str, str]]") -> None:
    """Serve the trades at their own pace to whoever subscribes first."""
    venue = VenueServer(MARKET.instrument, trades_of(phases), speed=1.0)
    await venue.start()
    ports.put((venue.ws_url, venue.rest_url))
    await asyncio.Event().wait()


class Arrivals(FrameConnection):
    """A connection that knows when the oldest message came that has not been taken."""

    oldest_s: float | None = None

    def _keep(self, message: Message) -> None:
        if Arrivals.oldest_s is None:
            Arrivals.oldest_s = time.perf_counter()
        super()._keep(message)


@dataclass
class Seen:
    """What became of the trades."""

    trade_count: int = 0
    gap_count: int = 0
    last_id: int = 0
    in_order: bool = True
    waits_s: list[float] = field(default_factory=list)
    rss_mb: list[float] = field(default_factory=list)


def resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


async def follow(phases: tuple[Phase, ...]) -> Seen:
    """Follow the venue as `flowtape live` does, screen's view included."""
    link.FrameConnection = Arrivals  # type: ignore[misc]
    ports: multiprocessing.Queue[tuple[str, str]] = multiprocessing.Queue()
    venue = multiprocessing.Process(target=lambda: asyncio.run(serve(phases, ports)), daemon=True)
    venue.start()
    urls = ports.get(timeout=60)
    seen, total = Seen(), sum(phase.count for phase in phases)
    next_s = 0.0
    with tempfile.TemporaryDirectory(dir=data.BUILD) as made:
        writer = writer_below(Path(made))
        engine = engine_of(writer, shown=True)
        async with BinanceSource(
            MARKET.instrument.symbol, stream_url=urls[0], rest_url=urls[1]
        ) as source:
            gc.freeze()
            async for event in source.events():
                arrived_s, Arrivals.oldest_s = Arrivals.oldest_s, None
                engine.apply_event(event)
                now_s = time.perf_counter()
                if isinstance(event, Trades):
                    if arrived_s is not None:
                        seen.waits_s.append(now_s - arrived_s)
                    seen.in_order &= int(event.agg_id[0]) == seen.last_id + 1
                    seen.in_order &= bool(np.all(np.diff(event.agg_id) == 1))
                    seen.trade_count += len(event)
                    seen.last_id = int(event.agg_id[-1])
                seen.gap_count += isinstance(event, Gap)
                if now_s >= next_s:
                    seen.rss_mb.append(resident_mb())
                    next_s = now_s + 5
                if seen.trade_count == total:
                    break
        engine.end()
        writer.finish(summary_of(engine, writer.chain.value))
    venue.terminate()
    return seen


def main() -> None:
    minutes = float(sys.argv[1]) if len(sys.argv) > 1 else 2.0
    data.BUILD.mkdir(parents=True, exist_ok=True)
    seen = asyncio.run(follow(LOAD))
    whole = seen.in_order and not seen.gap_count
    print(
        f"20 k/s for 60 s and 50 k in 1 s: {seen.trade_count:,} trades, {seen.gap_count} gaps, "
        f"{'every id once and in order' if whole else 'NOT IN ORDER'}; arrival to snapshot "
        f"{1e3 * float(np.percentile(seen.waits_s, 99)):.1f} ms p99",
        flush=True,
    )
    seen = asyncio.run(follow((Phase(10_000, 60 * minutes),)))
    waits_ms = 1e3 * np.array(seen.waits_s)
    settled = seen.rss_mb[len(seen.rss_mb) // 10 :]
    print(
        f"10 k/s: arrival to snapshot {np.median(waits_ms):.1f} ms median, "
        f"{np.percentile(waits_ms, 99):.1f} p99, {waits_ms.max():.1f} at most  (bar: 10 p99)"
    )
    print(
        f"memory over {minutes:g} min of it: {settled[0]:.0f} MB, then {max(settled):.0f} at most "
        f"({max(settled) - settled[0]:+.0f}; bar: 50 in 10 min)"
    )


if __name__ == "__main__":
    main()
