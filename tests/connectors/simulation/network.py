"""Connections in memory with the habits of a bad line, all decided by one seed."""

import asyncio
import contextlib
import random
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any, Literal, Protocol
from unittest import mock

import aiohttp.connector
import aiohttp.web_response

from tests.connectors.simulation.loop import VirtualLoop

Purpose = Literal["stream", "rest"]

SOCKET_BYTES = 65_536
"""What lies between two ends, before a writer is told to wait."""


@dataclass(frozen=True, slots=True)
class Line:
    """How bytes travel: `latency_s` and up to `jitter_s` more, at `bytes_per_s`."""

    latency_s: float = 0.001
    jitter_s: float = 0.0
    bytes_per_s: float = 1e9


class Watcher(Protocol):
    """What is told of everything that arrives on one connection."""

    def to_server(self, data: bytes) -> None: ...

    def to_client(self, data: bytes) -> None: ...

    def ended(self) -> None: ...


@dataclass(slots=True)
class Dialed:
    """A connection that was accepted and has no protocols yet."""

    purpose: Purpose
    factory: Callable[[], asyncio.Protocol]

    def close(self) -> None:
        """Take the place of a socket that is given up."""


class Connection:
    """Both ends of one connection and what is under way between them."""

    def __init__(self, network: "Network", purpose: Purpose, number: int) -> None:
        self.network = network
        self.purpose = purpose
        self.number = number
        self.rng = random.Random(f"{network.seed} {number}")
        self.line = network.line
        self.cut = False
        self.client: End
        self.server: End
        self.watcher: Watcher | None = None

    @property
    def open(self) -> bool:
        return not (self.client.lost and self.server.lost)

    def reset(self) -> None:
        """Lose the connection as when a machine in between forgets it."""
        for end in (self.client, self.server):
            end.lose(ConnectionResetError("connection lost"))

    def half_open(self) -> None:
        """Carry nothing from now on; neither end is told."""
        self.cut = True


_EOF = b""


class End(asyncio.Transport):
    """One end of a connection, as its protocol sees it."""

    def __init__(self, connection: Connection, protocol: asyncio.BaseProtocol, name: str) -> None:
        super().__init__({"peername": ("127.0.0.1", 1), "sockname": ("127.0.0.1", 2)})
        self._loop = connection.network.loop
        self._connection = connection
        self._protocol: Any = protocol
        self._to_client = name == "client"
        self._arriving: deque[tuple[float, bytes | None]] = deque()  # None: a reset
        self._timer: asyncio.TimerHandle | None = None
        self._reading = True
        self._closing = False
        self._wrote_eof = False
        self._under_way = 0  # bytes that we wrote and the other end did not take yet
        self._high, self._low = 65_536, 16_384
        self._held_up = False
        self._free_s = 0.0
        self.lost = False
        self.peer: End

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._protocol

    def is_closing(self) -> bool:
        return self._closing

    def is_reading(self) -> bool:
        return self._reading

    def pause_reading(self) -> None:
        self._reading = False

    def resume_reading(self) -> None:
        if not self._reading:
            self._reading = True
            self._schedule()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._high = 65_536 if high is None else high
        self._low = self._high // 4 if low is None else low

    def get_write_buffer_size(self) -> int:
        return max(0, self._under_way - SOCKET_BYTES)

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return self._low, self._high

    def can_write_eof(self) -> bool:
        return True

    def write(self, data: Any) -> None:
        if self._closing or self._wrote_eof or not data:
            return
        self._under_way += len(data)
        self._send(bytes(data))
        if not self._held_up and self.get_write_buffer_size() > self._high:
            self._held_up = True
            self._protocol.pause_writing()

    def write_eof(self) -> None:
        if not (self._closing or self._wrote_eof):
            self._wrote_eof = True
            self._send(_EOF)

    def close(self) -> None:
        if not self._closing:
            self.write_eof()
            self.lose(None)

    def abort(self) -> None:
        if not self.lost:
            self._send(None)
            self.lose(None)

    def lose(self, error: Exception | None) -> None:
        """End this end: its protocol hears of it, and takes nothing more."""
        if self.lost:
            return
        self.lost = self._closing = True
        self._arriving.clear()
        if self._timer is not None:
            self._timer.cancel()
        self._loop.call_soon(self._protocol.connection_lost, error)
        if self.peer.lost and self._connection.watcher is not None:
            self._connection.watcher.ended()

    def _send(self, data: bytes | None) -> None:
        line, rng = self._connection.line, self._connection.rng
        now_s = self._loop.time()
        self._free_s = max(self._free_s, now_s) + len(data or b"") / line.bytes_per_s
        arrive_s = self._free_s + line.latency_s + rng.uniform(0.0, line.jitter_s)
        peer = self.peer
        if peer._arriving:
            arrive_s = max(arrive_s, peer._arriving[-1][0])
        peer._arriving.append((arrive_s, data))
        peer._schedule()

    def _schedule(self) -> None:
        if self._arriving and self._timer is None and not self.lost:
            self._timer = self._loop.call_at(self._arriving[0][0], self._arrive)

    def _arrive(self) -> None:
        self._timer = None
        now_s = self._loop.time()
        while self._arriving and self._arriving[0][0] <= now_s and not self.lost:
            data = self._arriving[0][1]
            if self._connection.cut:
                self._arriving.popleft()
            elif data is None:
                self.lose(ConnectionResetError("connection reset by peer"))
            elif not self._reading:
                return
            else:
                self._arriving.popleft()
                self._take(data)
        self._schedule()

    def _take(self, data: bytes) -> None:
        if data == _EOF:
            if not self._protocol.eof_received():
                self.close()
            return
        watcher = self._connection.watcher
        if watcher is not None:
            (watcher.to_client if self._to_client else watcher.to_server)(data)
        if self.lost:
            return
        self.peer._taken(len(data))
        self._protocol.data_received(data)

    def _taken(self, count: int) -> None:
        self._under_way -= count
        if self._held_up and not self.lost and self.get_write_buffer_size() <= self._low:
            self._held_up = False
            self._protocol.resume_writing()


class _Listener:
    """What `create_server` gives back."""

    def __init__(self, network: "Network", port: int) -> None:
        self._network = network
        self._port = port
        self.sockets = [self]

    def getsockname(self) -> tuple[str, int]:
        return "127.0.0.1", self._port

    def close(self) -> None:
        self._network.listeners.pop(self._port, None)

    async def wait_closed(self) -> None:
        pass


class Network:
    """Joins those who dial with those who listen.

    `refuses` and `swallows` hold the purposes whose new connections are refused, or never
    answered; `line` is how new connections travel; `watch` gives each its watcher.
    """

    def __init__(self, loop: VirtualLoop, seed: int, line: Line) -> None:
        self.loop = loop
        self.seed = seed
        self.line = line
        self.listeners: dict[int, Callable[[], asyncio.Protocol]] = {}
        self.connections: list[Connection] = []
        self.refuses: set[Purpose] = set()
        self.swallows: set[Purpose] = set()
        self.watch: Callable[[Connection], Watcher | None] = lambda connection: None
        self.dialed: Callable[[Purpose, str], None] = lambda purpose, outcome: None

    def listen(self, factory: Callable[[], asyncio.Protocol]) -> _Listener:
        port = 40_000 + len(self.listeners)
        self.listeners[port] = factory
        return _Listener(self, port)

    async def dial(self, port: int, purpose: Purpose) -> Dialed:
        """Reach a listener after a way there and back; raises ConnectionRefusedError."""
        if purpose in self.swallows:
            self.dialed(purpose, "unanswered")
            await asyncio.get_running_loop().create_future()
        await asyncio.sleep(2 * self.line.latency_s)
        if port not in self.listeners or purpose in self.refuses:
            self.dialed(purpose, "refused")
            raise ConnectionRefusedError(111, "Connection refused")
        self.dialed(purpose, "connected")
        return Dialed(purpose, self.listeners[port])

    def join(
        self, dialed: Dialed, factory: Callable[[], asyncio.Protocol]
    ) -> tuple[asyncio.Transport, asyncio.Protocol]:
        connection = Connection(self, dialed.purpose, len(self.connections))
        self.connections.append(connection)
        theirs, ours = dialed.factory(), factory()
        connection.server = End(connection, theirs, "server")
        connection.client = End(connection, ours, "client")
        connection.server.peer, connection.client.peer = connection.client, connection.server
        connection.watcher = self.watch(connection)
        theirs.connection_made(connection.server)
        ours.connection_made(connection.client)
        return connection.client, ours

    def open(self, purpose: Purpose) -> list[Connection]:
        return [c for c in self.connections if c.purpose == purpose and c.open and not c.cut]


@contextlib.contextmanager
def libraries_in(loop: VirtualLoop) -> Iterator[None]:
    """Have aiohttp dial through the loop's network and read the loop's clock.

    Its connector makes real sockets before it asks the loop, and looks at clocks of its own for
    pooled connections and the Date header: these three names are all that is replaced.
    """

    async def dial(addr_infos: list[Any], **_: Any) -> Dialed:
        return await loop.network.dial(addr_infos[0][4][1], "rest")

    def date() -> str:
        return format_datetime(datetime.fromtimestamp(loop.time(), UTC), usegmt=True)

    with (
        mock.patch.object(aiohttp.connector.aiohappyeyeballs, "start_connection", dial),
        mock.patch.object(aiohttp.connector, "monotonic", loop.time),
        mock.patch.object(aiohttp.web_response, "rfc822_formatted_time", date),
    ):
        yield
