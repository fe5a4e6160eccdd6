"""One client's connection to the venue: what it is sent, what it says, and how it ends."""

import asyncio
import contextlib
import socket as sockets
import struct
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiohttp import WSMessage, WSMsgType, web

from flowtape.connectors.venue.control import Subscriptions
from flowtape.connectors.venue.faults import Abort, Close, Stall

OUTBOX_MAX = 65_536
SLOW_S = 10.0
"""A client that leaves a full outbox untouched for this long is cut off."""

NORMAL = 1000
POLICY_VIOLATION = 1008

_RESET = struct.pack("ii", 1, 0)  # linger for no time: the kernel sends RST instead of FIN


@dataclass(frozen=True, slots=True)
class ConnectionRules:
    """What the venue demands of a connection; Binance's own values by default.

    Source: binance-spot-api-docs, web-socket-streams.md, "General WSS information".
    """

    ping_s: float = 20.0
    pong_s: float = 60.0
    messages_per_s: int = 5


_SAID = (WSMsgType.TEXT, WSMsgType.BINARY, WSMsgType.PING, WSMsgType.PONG)

Outgoing = str | bytes | Abort | Close | Stall


class VenueConnection:
    """A connection with its subscriptions and an outbox that keeps the order of what is sent.

    `changed` is called after each control message.
    """

    def __init__(
        self,
        socket: web.WebSocketResponse,
        transport: asyncio.Transport,
        subscriptions: Subscriptions,
        rules: ConnectionRules,
        changed: Callable[[], Awaitable[None]],
    ) -> None:
        self._socket = socket
        self._transport = transport
        self._rules = rules
        self._changed = changed
        self._outbox: asyncio.Queue[Outgoing] = asyncio.Queue(OUTBOX_MAX)
        self._heard_s: deque[float] = deque(maxlen=rules.messages_per_s + 1)
        self._ping: bytes | None = None
        self._stalled = False
        self._ended = False
        self._closed = asyncio.Event()
        self._reader: asyncio.Task[None] | None = None
        self.subscriptions = subscriptions

    async def serve(self) -> None:
        """Send and receive until either side ends the connection."""
        tasks = {asyncio.create_task(self._write())}
        self._reader = asyncio.create_task(self._read())
        tasks.add(self._reader)
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            await self.close(NORMAL)
            await self._closed.wait()
        finally:
            self._ended = True
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            while not self._outbox.empty():
                self._outbox.get_nowait()
        for task in tasks:
            if not task.cancelled():
                task.result()

    async def push(self, item: Outgoing) -> None:
        """Send something after what was pushed before; waits while the outbox is full."""
        if self._ended:
            return
        try:
            async with asyncio.timeout(SLOW_S):
                await self._outbox.put(item)
        except TimeoutError:
            self._reset()

    async def close(self, code: int, reason: str = "") -> None:
        """End the connection properly, or at once when it is stalled."""
        if self._ended:
            return
        self._ended = True
        try:
            if self._stalled:
                self._reset()
                return
            # aiohttp waits for the client's goodbye only when nobody else is reading
            if self._reader is not None and self._reader is not asyncio.current_task():
                self._reader.cancel()
                await asyncio.wait({self._reader})
            await self._socket.close(code=code, message=reason.encode())
        finally:
            self._closed.set()

    async def _write(self) -> None:
        loop = asyncio.get_running_loop()
        ping_s = loop.time() + self._rules.ping_s
        pong_s = float("inf")
        with contextlib.suppress(ConnectionError):
            while True:
                try:
                    async with asyncio.timeout_at(min(ping_s, pong_s)):
                        item = await self._outbox.get()
                except TimeoutError:
                    if self._ping is not None and loop.time() >= pong_s:
                        await self.close(POLICY_VIOLATION, "Pong timeout")
                        return
                    ping_s = loop.time() + self._rules.ping_s
                    if self._ping is None:
                        pong_s = loop.time() + self._rules.pong_s
                    if not self._stalled:
                        self._ping = b"%d" % (loop.time() * 1_000)
                        await self._socket.ping(self._ping)
                    continue
                await self._send(item)

    async def _send(self, item: Outgoing) -> None:
        match item:
            case _ if self._stalled:
                return
            case str():
                await self._socket.send_str(item)
            case bytes():
                await self._socket.send_bytes(item)
            case Abort():
                self._reset()
            case Close(code=code, reason=reason):
                await self.close(code, reason)
            case Stall():
                self._stalled = True

    async def _read(self) -> None:
        with contextlib.suppress(ConnectionError):
            while True:
                message = await self._socket.receive()
                if message.type not in _SAID:
                    return
                if not self._stalled and not await self._too_many():
                    await self._hear(message)

    async def _hear(self, message: WSMessage) -> None:
        if message.type is WSMsgType.TEXT:
            await self.push(self.subscriptions.answer(message.data).decode())
            await self._changed()
        elif message.type is WSMsgType.PING:
            await self._socket.pong(message.data)
        elif message.type is WSMsgType.PONG and bytes(message.data) == self._ping:
            self._ping = None

    async def _too_many(self) -> bool:
        now_s = asyncio.get_running_loop().time()
        self._heard_s.append(now_s)
        full = len(self._heard_s) > self._rules.messages_per_s
        if not full or now_s - self._heard_s[0] >= 1.0:
            return False
        await self.close(POLICY_VIOLATION, "Too many requests")
        return True

    def _reset(self) -> None:
        self._ended = True
        self._closed.set()
        sock = self._transport.get_extra_info("socket")
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.setsockopt(sockets.SOL_SOCKET, sockets.SO_LINGER, _RESET)
        self._transport.abort()
