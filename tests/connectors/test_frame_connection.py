"""Messages are taken in bulk, none lost and none late, and a slow taker holds the server up."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from flowtape.connectors.binance import frame_connection
from flowtape.connectors.binance.frame_connection import FrameConnection, Message


@asynccontextmanager
async def connected(
    serves: Callable[[ServerConnection], Awaitable[None]],
) -> AsyncIterator[FrameConnection]:
    async with serve(serves, "127.0.0.1", 0, ping_interval=None) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        async with asyncio.timeout(30):
            socket = await connect(
                f"ws://127.0.0.1:{port}",
                create_connection=FrameConnection,
                compression=None,
                close_timeout=1,
            )
            try:
                assert isinstance(socket, FrameConnection)
                yield socket
            finally:
                await socket.close()


async def all_of(socket: FrameConnection) -> tuple[list[Message], ConnectionClosed]:
    found: list[Message] = []
    while True:
        try:
            found += await socket.take()
        except ConnectionClosed as error:
            return found, error


async def test_everything_comes_once_and_in_order_and_then_the_end() -> None:
    sent = [f"message {number}" for number in range(20_000)]

    async def serves(server: ServerConnection) -> None:
        for text in sent:
            await server.send(text)
        await server.close(1001, "enough")

    async with connected(serves) as socket:
        found, error = await all_of(socket)
    assert found == [text.encode() for text in sent]
    assert error.rcvd is not None
    assert (error.rcvd.code, error.rcvd.reason) == (1001, "enough")


async def test_parts_are_joined_and_binary_messages_told_apart() -> None:
    async def serves(server: ServerConnection) -> None:
        await server.send(["par", "", "ts"])
        await server.send(b"bytes")
        await server.send([b"more ", b"bytes"])
        await server.send("text")

    async with connected(serves) as socket:
        found, _ = await all_of(socket)
    assert found == [b"parts", bytearray(b"bytes"), bytearray(b"more bytes"), b"text"]
    assert [type(one) for one in found] == [bytes, bytearray, bytearray, bytes]


async def test_a_reset_ends_it_after_what_had_come() -> None:
    async def serves(server: ServerConnection) -> None:
        await server.send("last words")
        await server.ping()
        await asyncio.sleep(0.1)
        server.transport.abort()

    async with connected(serves) as socket:
        assert await socket.take() == [b"last words"]
        found, error = await all_of(socket)
        assert not found
        assert error.rcvd is None
        assert socket.beating


async def test_who_takes_nothing_holds_the_server_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frame_connection, "MESSAGES_WAITING_MAX", 10)
    sent_count = 0
    total = 2_000

    async def serves(server: ServerConnection) -> None:
        nonlocal sent_count
        for _ in range(total):
            await server.send("x" * 50_000)
            sent_count += 1

    async with connected(serves) as socket:
        first = await socket.take()
        before = -1
        while sent_count > before:
            before = sent_count
            await asyncio.sleep(0.3)
        assert sent_count < total
        found, _ = await all_of(socket)
    assert len(first) + len(found) == total
