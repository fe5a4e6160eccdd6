"""One WebSocket connection: from its address to reports of what it brings."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import (
    ConnectionClosed,
    InvalidProxy,
    InvalidStatus,
    InvalidURI,
    WebSocketException,
)

from flowtape.connectors.binance.frame_connection import FrameConnection, Message
from flowtape.connectors.binance.markets import is_loopback
from flowtape.connectors.binance.pacing import pause_named_s

PING_S_MIN = 0.5
TRY_AGAIN_LATER = 1013
POLICY_VIOLATION = 1008


@dataclass(frozen=True, slots=True)
class LinkTimes:
    """Bounds of one connection, in seconds.

    `first_data_s` and `silence_s` are the longest wait for the first and for any further frame;
    `ping_s` is the longest interval of our own pings, whose pongs tell quiet markets from dead
    connections.
    """

    first_data_s: float
    silence_s: float
    connect_s: float = 10.0
    close_s: float = 1.0
    ping_s: float = 20.0


@dataclass(slots=True, eq=False)
class Link:
    """What is known of one connection.

    `retiring`: another one takes its place. `suspect`: it brought nothing for too long.
    `opened_us` and `data_us` are when it stood and when its first trade came, which was `first_id`.
    """

    number: int
    retiring: bool = False
    suspect: bool = False
    opened_us: int | None = None
    data_us: int | None = None
    first_id: int | None = None


@dataclass(frozen=True, slots=True)
class Opened:
    """The connection stands."""

    link: Link


@dataclass(frozen=True, slots=True)
class Received:
    """Messages had come in at `received_us`."""

    link: Link
    messages: list[Message]
    received_us: int


@dataclass(frozen=True, slots=True)
class Silent:
    """No frame came in time; `alive` says that at least pings or pongs did."""

    link: Link
    alive: bool


@dataclass(frozen=True, slots=True)
class Closed:
    """The connection ended or never stood.

    `permanent` says that the same address will fail again; `pause_s` is what the server wants to be
    left alone for.
    """

    link: Link
    why: str
    permanent: bool = False
    pause_s: float = 0.0


LinkReport = Opened | Received | Silent | Closed
Report = Callable[[LinkReport], Awaitable[None]]


async def run_link(
    link: Link, url: str, report: Report, times: LinkTimes, clock_us: Callable[[], int]
) -> None:
    """Connect and report what happens until the connection ends.

    A report that waits holds the connection up, and through it the server; silence is counted only
    while waiting for a frame.
    """
    socket: ClientConnection | None = None
    try:
        async with connect(
            url,
            proxy=None if is_loopback(url) else True,
            compression=None,
            open_timeout=times.connect_s,
            close_timeout=times.close_s,
            ping_interval=max(PING_S_MIN, min(times.ping_s, times.silence_s / 3)),
            ping_timeout=None,  # a late pong is no reason to lose the data on its way
            create_connection=FrameConnection,
        ) as socket:
            assert isinstance(socket, FrameConnection)
            await report(Opened(link))
            limit_s = times.first_data_s
            while True:
                try:
                    async with asyncio.timeout(limit_s):
                        messages = await socket.take()
                except TimeoutError:
                    await report(Silent(link, socket.beating))
                    socket.beating = False
                    limit_s = times.silence_s
                    continue
                limit_s = times.silence_s
                socket.beating = False
                await report(Received(link, messages, clock_us()))
    except (OSError, WebSocketException, ImportError) as error:  # the last for SOCKS proxies
        await report(_closed(link, error))
    finally:
        if socket is not None:  # a goodbye that was cut short leaves it open
            socket.transport.abort()


def _closed(link: Link, error: Exception) -> Closed:
    match error:
        case ConnectionClosed():
            if error.rcvd is None:
                return Closed(link, "connection lost")
            pause_s = 5.0 if error.rcvd.code == TRY_AGAIN_LATER else 0.0
            if error.rcvd.code == POLICY_VIOLATION and "requests" in error.rcvd.reason:
                pause_s = 60.0
            return Closed(link, f"closed by the server: {error.rcvd}", pause_s=pause_s)
        case InvalidStatus():
            status = error.response.status_code
            unwelcome = status in (403, 418, 429)
            pause_s = pause_named_s(error.response.headers.get("Retry-After")) if unwelcome else 0.0
            permanent = 400 <= status < 500 and not unwelcome
            return Closed(link, f"HTTP {status}", permanent, pause_s)
        case TimeoutError():
            why = "no answer in time"
        case ConnectionRefusedError():
            why = "connection refused"
        case _:
            why = str(error)
    lasting = isinstance(error, InvalidURI | InvalidProxy | ImportError)
    return Closed(link, why, permanent=lasting)
