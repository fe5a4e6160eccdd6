"""How long a hole of 5,000 ids takes to be repaired over REST while the stream goes on."""

import asyncio
import statistics
import time

from benchmarks.live_load import Phase, trades_of
from benchmarks.live_sessions import MARKET
from flowtape.connectors.binance.client import BinanceSource
from flowtape.connectors.venue.faults import Drop
from flowtape.connectors.venue.server import VenueServer
from flowtape.stream.ports import Gap
from flowtape.stream.trades import Trades

HOLE_IDS = 5_000
HOLE_FROM = 10_000
STREAM = Phase(5_000, 8)
ROUNDS = 5


async def repaired_s() -> float:
    """Seconds from the first trade behind the hole to the hole's last trade given out."""
    hole = Drop(HOLE_FROM, HOLE_FROM + HOLE_IDS - 1)
    venue = VenueServer(MARKET.instrument, trades_of((STREAM,)), speed=1.0, faults=[hole])
    await venue.start()
    last_id, before_s = 0, 0.0
    try:
        async with BinanceSource(
            MARKET.instrument.symbol, stream_url=venue.ws_url, rest_url=venue.rest_url
        ) as source:
            async for event in source.events():
                assert not isinstance(event, Gap), event
                if not isinstance(event, Trades):
                    continue
                now_s = time.perf_counter()
                assert int(event.agg_id[0]) == last_id + 1
                last_id = int(event.agg_id[-1])
                if last_id < HOLE_FROM:
                    before_s = now_s
                elif last_id >= hole.to_id:
                    break
    finally:
        await venue.stop()
    # The hole shows when the stream is behind it, which takes what it would have taken to send it.
    return now_s - before_s - HOLE_IDS / STREAM.per_s


def main() -> None:
    found = [asyncio.run(repaired_s()) for _ in range(ROUNDS)]
    print(
        f"a hole of {HOLE_IDS:,} ids, at {STREAM.per_s:,} trades/s: "
        f"{statistics.median(found):.2f} s median, {max(found):.2f} at most  (bar: 3)"
    )


if __name__ == "__main__":
    main()
