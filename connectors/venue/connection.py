"""One client's connection to the venue: what it is sent, what it says, and how it ends."""

import asyncio
import contextlib
import socket as sockets
import struct
from collections import deque
from collections.abc import Awaitable, Callable

from aiohttp import WSMessage, WSMsgType, web

from flowtape.connectors.venue.control import Subscriptions
from flowtape.connectors.venue.faults import Abort, Broken, Close, Hold, Stall
from flowtape.connectors.venue.frames import Shape, text_frames
from flowtape.connectors.venue.outbox import Outbox, Outgoing
from flowtape.connectors.venue.rules import ConnectionRules

SLOW_S = 10.0
"""A client that leaves a full outbox untouched for this long is cut off."""

CLOSE_S = 1.0
"""How long a client may take for its goodbye."""

NORMAL = 1000
POLICY_VIOLATION = 1008

_RESET = struct.pack("ii", 1, 0)  # linger for no time: the kernel sends RST instead of FIN
_SAID = (WSMsgType.TEXT, WSMsgType.BINARY, WSMsgType.PING, WSMsgType.PONG)

Answer = Callable[[Subscriptions, str], bytes | None]

__all__ = ["ConnectionRules", "VenueConnection"]


class VenueConnection:
    """A connection with its subscriptions and an outbox that keeps the order of what is sent.

    Args:
        socket: the prepared socket.
        request: what it was upgraded from.
        subscriptions: what was asked for by the address.
        rules: what is demanded of the client.
        answer: performs a control message; no reply is sent for None.
        changed: called after each control message.
    """

    def __init__(
        self,
        socket: web.WebSocketResponse,
        request: web.Request,
        subscriptions: Subscriptions,
        rules: ConnectionRules,
        *,
        answer: Answer,
        changed: Callable[[], Awaitable[None]],
    ) -> None:
        assert request.transport is not None
        self._socket = socket
        self._transport: asyncio.Transport = request.transport
        self._writer = request.writer
        self._rules = rules
        self._answer = answer
        self._changed = changed
        self._outbox = Outbox()
        self._heard_s: deque[float] = deque(maxlen=rules.messages_per_s + 1)
        self._ping: bytes | None = None
        self._stalled = False
        self._ended = False
        self._closed = asyncio.Event()
        self._reader: asyncio.Task[None] | None = None
        self._deflate = int(socket.compress)
        self.route = request.path.removeprefix("/").split("/", 1)[0]
        self.subscriptions = subscriptions
        self.ending = ""
        """How the venue ended the connection, if it did."""

    @property
    def shape(self) -> Shape:
        """How the client takes its events."""
        asked = self.subscriptions
        return Shape(asked.combined, asked.micros, self._deflate)

    async def serve(self) -> None:
        """Send and receive until either side ends the connection."""
        self._reader = asyncio.create_task(self._read())
        tasks = {
            self._reader,
            asyncio.create_task(self._write()),
            asyncio.create_task(self._beat()),
        }
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if not self._ended:
                await self.close(NORMAL)
                self.ending = ": the client left"
            await self._closed.wait()
        finally:
            self._ended = True
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            self._outbox.clear()
        for task in tasks:
            if not task.cancelled():
                task.result()

    def put(self, item: Outgoing) -> None:
        """Send something after what was put before; a client too far behind is cut off."""
        if self._ended:
            return
        if self._outbox.full and not self._stalled:
            self._reset("cut off, too far behind")
        else:
            self._outbox.put(item)

    async def room(self) -> None:
        """Wait until the client has caught up enough to be sent more, or cut it off."""
        if self._ended or not self._outbox.full:
            return
        try:
            async with asyncio.timeout(SLOW_S):
                await self._outbox.room()
        except TimeoutError:
            self._reset("cut off, it did not read")

    async def flush(self) -> None:
        """Wait until everything was sent, or until the client does not read."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SLOW_S):
                await self._outbox.flushed()

    async def close(self, code: int, reason: str = "") -> None:
        """End the connection properly, or at once when it is stalled."""
        if self._ended:
            return
        self._ended = True
        try:
            if self._stalled:
                self._reset("reset")
                return
            self.ending = f": closed with {code} {reason}".rstrip()
            # aiohttp waits for the client's goodbye only when nobody else is reading
            if self._reader is not None and self._reader is not asyncio.current_task():
                self._reader.cancel()
                await asyncio.wait({self._reader})
            async with asyncio.timeout(2 * CLOSE_S):
                await self._socket.close(code=code, message=reason.encode())
        except TimeoutError:
            self._reset("took no goodbye")
        finally:
            self._closed.set()

    async def _write(self) -> None:
        with contextlib.suppress(ConnectionError):
            while True:
                item = await self._outbox.get()
                if self._stalled:
                    continue
                if isinstance(item, bytes):
                    self._transport.write(item)
                    await self._writer.drain()
                else:
                    await self._break(item)

    async def _break(self, fault: Broken) -> None:
        match fault:
            case Abort():
                self._reset("reset")
            case Close(code=code, reason=reason):
                await self.close(code, reason)
            case Stall():
                self._stalled = True
            case Hold(for_s=for_s):
                await asyncio.sleep(for_s)

    async def _beat(self) -> None:
        loop = asyncio.get_running_loop()
        rules = self._rules
        ends_s = loop.time() + rules.lifetime_s
        ping_s = loop.time() + rules.ping_s
        pong_s = float("inf")
        with contextlib.suppress(ConnectionError):
            while True:
                await asyncio.sleep(max(0.0, min(ping_s, pong_s, ends_s) - loop.time()))
                now_s = loop.time()
                if now_s >= ends_s:
                    await self.close(rules.lifetime_code, "")
                    return
                if self._ping is None or self._stalled:
                    pong_s = float("inf")
                elif now_s >= pong_s:
                    await self.close(POLICY_VIOLATION, "Pong timeout")
                    return
                if now_s < ping_s:
                    continue
                ping_s = now_s + rules.ping_s
                if self._ping is None:
                    pong_s = now_s + rules.pong_s
                if not self._stalled:
                    self._ping = b"%d" % (now_s * 1_000)
                    await self._socket.ping(self._ping)

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
            reply = self._answer(self.subscriptions, message.data)
            if reply is not None:
                self.put(text_frames([reply], self._deflate))
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

    def _reset(self, why: str) -> None:
        self.ending = f": {why}"
        self._ended = True
        self._closed.set()
        sock = self._transport.get_extra_info("socket")
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.setsockopt(sockets.SOL_SOCKET, sockets.SO_LINGER, _RESET)
        self._transport.abort()
