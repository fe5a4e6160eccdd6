"""How fast trades are received: from a socket on loopback to sequenced, journaled columns.

A sender that is faster than any receiver sends the same frames to flowtape's source, to
`websockets` with msgspec alone, and to the receive loops of python-binance and ccxt, each in a
process of its own, by turns. The latter two are there where `make clients` was run.
"""

import asyncio
import contextlib
import multiprocessing
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import msgspec
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.frames import Frame, Opcode

from benchmarks import data
from benchmarks.live_sessions import MARKET, engine_of, frames, trades, writer_below
from flowtape.connectors.binance.client import BinanceSource
from flowtape.connectors.binance.messages import AggTrade
from flowtape.connectors.venue.server import VenueServer
from flowtape.stream.input_log import InputLog
from flowtape.stream.inputs import Inputs
from flowtape.stream.trades import Trades

COUNT = 200_000
FOREIGN_COUNT = 60_000
ROUNDS = 5
BLOCK_FRAMES = 512

FOREIGN = Path(__file__).parent / "foreign_receivers.py"
CLIENTS = Path(__file__).parents[1] / "build" / "clients" / "bin" / "python"


async def send_all(connection: ServerConnection, blocks: list[bytes]) -> None:
    """Send frames that were made before, and wait until the client has gone."""
    with contextlib.suppress(OSError, RuntimeError):
        for block in blocks:
            connection.transport.write(block)
            await connection.drain()
    await connection.wait_closed()


async def send(ports: "multiprocessing.Queue[tuple[str, str]]") -> None:
    """Serve the stream of frames, and beside it a venue that answers queries."""
    texts = frames(trades(COUNT))
    sent = [Frame(Opcode.TEXT, text.encode()).serialize(mask=False) for text in texts]
    blocks = [b"".join(sent[at : at + BLOCK_FRAMES]) for at in range(0, COUNT, BLOCK_FRAMES)]
    venue = VenueServer(MARKET.instrument, trades(COUNT))
    await venue.start()
    async with serve(
        lambda connection: send_all(connection, blocks), "127.0.0.1", 0, compression=None
    ) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        ports.put((f"ws://127.0.0.1:{port}", venue.rest_url))
        await asyncio.Event().wait()


async def flowtape_rate(stream_url: str, rest_url: str) -> float:
    """Trades/s from the socket to the journal."""
    with tempfile.TemporaryDirectory(dir=data.BUILD) as made:
        log, count, began_s = InputLog(Path(made) / "inputs"), 0, 0.0
        async with BinanceSource(
            MARKET.instrument.symbol, stream_url=stream_url, rest_url=rest_url
        ) as source:
            async for event in source.events():
                if not isinstance(event, Trades):
                    continue
                began_s = began_s or time.perf_counter()
                log.append(Inputs.of_trades(event))
                count += len(event)
                if count == COUNT:
                    break
            rate = count / (time.perf_counter() - began_s)
        log.close()
    return rate


async def engine_rate(stream_url: str, rest_url: str, keeps: str) -> float:
    """Trades/s from the socket through an engine, its session kept or not."""
    with tempfile.TemporaryDirectory(dir=data.BUILD) as made:
        writer = writer_below(Path(made)) if keeps == "kept" else None
        engine, count, began_s = engine_of(writer), 0, 0.0
        async with BinanceSource(
            MARKET.instrument.symbol, stream_url=stream_url, rest_url=rest_url
        ) as source:
            async for event in source.events():
                began_s = began_s or time.perf_counter()
                engine.apply_event(event)
                count += len(event) if isinstance(event, Trades) else 0
                if count == COUNT:
                    break
            rate = count / (time.perf_counter() - began_s)
        if writer is not None:
            writer.close()
    return rate


async def bare_rate(stream_url: str, _: str) -> float:
    """Messages/s that `websockets` and msgspec alone receive and decode."""
    decode = msgspec.json.Decoder(AggTrade).decode
    async with connect(f"{stream_url}/ws/x@aggTrade", compression=None, max_queue=1_024) as socket:
        decode(await socket.recv())
        began_s = time.perf_counter()
        for _number in range(COUNT - 1):
            decode(await socket.recv())
        return (COUNT - 1) / (time.perf_counter() - began_s)


def foreign_rate(name: str, *urls: str) -> float | None:
    """Messages/s of a client that others wrote."""
    if not CLIENTS.exists():
        return None
    words = [CLIENTS, FOREIGN, name, *urls, str(FOREIGN_COUNT)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=120)
    if done.returncode:
        sys.exit(f"{name} failed: {done.stderr}")
    return float(done.stdout.splitlines()[-1])


def in_process(work: str, *urls: str) -> float:
    """Run one of our receivers in a process of its own."""
    words = [sys.executable, "-m", "benchmarks.receiving", work, *urls]
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=120)
    return float(done.stdout)


def sending() -> tuple[multiprocessing.Process, tuple[str, str]]:
    """Start the sender; returns its process, and where streams and queries are answered."""
    data.BUILD.mkdir(parents=True, exist_ok=True)
    ports: multiprocessing.Queue[tuple[str, str]] = multiprocessing.Queue()
    sender = multiprocessing.Process(target=lambda: asyncio.run(send(ports)), daemon=True)
    sender.start()
    return sender, ports.get(timeout=60)


def main() -> None:
    if len(sys.argv) > 1:
        work = {"flowtape": flowtape_rate, "bare": bare_rate, "engine": engine_rate}[sys.argv[1]]
        print(asyncio.run(work(*sys.argv[2:])))
        return
    sender, urls = sending()
    rates: dict[str, list[float]] = {}
    for _ in range(ROUNDS):
        rates.setdefault("flowtape", []).append(in_process("flowtape", *urls))
        rates.setdefault("websockets and msgspec", []).append(in_process("bare", *urls))
        for name in ("python-binance", "ccxt"):
            if (rate := foreign_rate(name, *urls)) is not None:
                rates.setdefault(name, []).append(rate)
    sender.terminate()
    own = statistics.median(rates["flowtape"])
    for name, found in rates.items():
        middle = statistics.median(found)
        bar = "" if name in ("flowtape", "websockets and msgspec") else "  (bar: 4)"
        print(f"{name:<24} {middle / 1e3:6.0f} k messages/s; flowtape is {own / middle:.2f} x{bar}")


if __name__ == "__main__":
    main()
