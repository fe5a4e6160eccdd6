"""The hub: a session's inputs to watchers over WebSockets, on loopback.

    GET /session?token=T           JSON: the session's id, genesis and last input
    GET /inputs?token=T&from=N     WebSocket: inputs from number N on, and on

Over the WebSocket come texts, which are JSON objects, and messages of `stream.input_frames`:

    {"session": ID, "from": N, "last_input": M}        first
    binary                                             inputs, from N on, without holes
    {"end": M, "ended": true}                          last: M is the session's last input
    {"error": "..."}                                   last: what went wrong

`ended` is false when the process stopped and the session may go on later.
"""

import asyncio
import contextlib
import errno
import json
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

from aiohttp import WSMsgType, web

from flowtape.connectors.hub.gate import HubGate, add_safe_headers, token_of
from flowtape.connectors.hub.transport import News
from flowtape.stream.errors import FlowError, InputError
from flowtape.stream.fanout import Fanout
from flowtape.stream.genesis import Genesis

HOST = "127.0.0.1"
HUB_VERSION = 1
WATCHERS_MAX = 256
WRITE_BYTES = 64 << 10


@dataclass(frozen=True, slots=True)
class HubTimes:
    """How long a hub waits, in seconds."""

    pace_s: float = 0.02
    """What comes in the meantime goes out together, so watchers cost little whatever the rate."""
    pace_each_s: float = 0.0005
    """So much more for every watcher, so that many of them do not take more of the process."""
    ping_s: float = 10.0
    stall_s: float = 10.0
    """A watcher that takes nothing for so long is cut off; it may come again."""
    drain_s: float = 5.0
    """How long watchers may take for the rest when the hub stops."""


class HubServer:
    """Serves one session to watchers, each of which is no more than a number and a socket.

    Raises InputError for a token that does not do.
    """

    def __init__(
        self, port: int = 0, token: str | None = None, times: HubTimes | None = None
    ) -> None:
        self.port = port
        self.cut_count = 0
        """Watchers that were cut off because they took nothing."""
        self._session: tuple[Fanout, Genesis] | None = None
        self._token = token_of(token)
        self._times = times or HubTimes()
        self._runner: web.AppRunner | None = None
        self._watchers: set[_Watcher] = set()
        self._serving: set[asyncio.Task[object]] = set()
        self._looking_after: list[asyncio.Task[None]] = []
        self._news: News | None = None

    @property
    def url(self) -> str:
        """What a watcher is given: the address with the token."""
        return f"ws://{HOST}:{self.port}/?token={self._token}"

    @property
    def watcher_count(self) -> int:
        """Watchers that are connected."""
        return len(self._watchers)

    async def start(self) -> None:
        """Listen; port 0 takes a free one. Raises InputError when it is taken."""
        app = web.Application(middlewares=[HubGate(self._token).middleware()])
        app.router.add_get("/session", self._tell_session, allow_head=False)
        app.router.add_get("/inputs", self._serve, allow_head=False)
        app.on_response_prepare.append(add_safe_headers)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        try:
            await web.TCPSite(runner, HOST, self.port).start()
        except OSError as error:
            await runner.cleanup()
            why = "is in use" if error.errno == errno.EADDRINUSE else "cannot be listened on"
            raise InputError(f"port {self.port} {why}; choose another with --hub") from None
        self._looking_after = [
            asyncio.create_task(self._ping_quiet()),
            asyncio.create_task(self._cut_stalled()),
        ]
        self._runner = runner
        self.port = runner.addresses[0][1]

    def offer(self, fanout: Fanout, genesis: Genesis) -> None:
        """Serve a session from now on; until then watchers are asked to wait."""
        if self._news is not None:
            self._news.stop()
        self._session = fanout, genesis
        self._news = News(fanout, self._pace_s)

    async def stop(self) -> None:
        """Give watchers what is left, for a while, and then close every connection."""
        if self._runner is None:
            return
        if self._session is not None:
            fanout, _ = self._session
            fanout.close()
            if self._serving:
                await asyncio.wait(self._serving, timeout=self._times.drain_s)
        if self._news is not None:
            self._news.stop()
            self._news = None
        for task in self._looking_after:
            task.cancel()
        await asyncio.gather(*self._looking_after, return_exceptions=True)
        await self._runner.cleanup()
        self._runner = None

    def _pace_s(self) -> float:
        return max(self._times.pace_s, self._times.pace_each_s * len(self._watchers))

    async def _tell_session(self, _: web.Request) -> web.Response:
        if self._session is None:
            return _not_yet()
        fanout, genesis = self._session
        return web.json_response(
            {
                "flowtape": HUB_VERSION,
                "session": fanout.session_id,
                "genesis": json.loads(genesis.to_json()),
                "genesis_sha256": genesis.sha256.hex(),
                "last_input": fanout.last_input,
                "ended": fanout.ended,
            }
        )

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        if self._session is None or self._news is None:
            return _not_yet()
        fanout, _ = self._session
        text = request.query.get("from", "1")
        next_input = fanout.last_input + 1
        if not (text.isascii() and text.isdecimal() and 1 <= int(text) <= next_input):
            return web.Response(status=400, text=f"from must be 1 to {next_input}, was {text[:30]}")
        if len(self._serving) >= WATCHERS_MAX:
            return web.Response(status=503, text=f"{WATCHERS_MAX} watch already; try again later")
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        try:
            return await self._watched(request, fanout, self._news, int(text))
        finally:
            self._serving.discard(task)

    async def _watched(
        self, request: web.Request, fanout: Fanout, news: News, first: int
    ) -> web.StreamResponse:
        # A writer limit of 1 has every send wait until the watcher has taken most of the last.
        socket = web.WebSocketResponse(
            compress=False, max_msg_size=1024, timeout=1.0, writer_limit=1
        )
        await socket.prepare(request)
        transport = request.transport
        if transport is None:
            return socket
        assert isinstance(transport, asyncio.WriteTransport)
        transport.set_write_buffer_limits(high=WRITE_BYTES)
        watcher = _Watcher(socket, transport)
        self._watchers.add(watcher)
        tasks = [
            asyncio.create_task(self._send_all(watcher, fanout, news, first)),
            asyncio.create_task(_left(socket)),
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._watchers.discard(watcher)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            try:
                async with asyncio.timeout(1.0):
                    await socket.close()
            except TimeoutError:
                transport.abort()
        return socket

    async def _send_all(self, watcher: "_Watcher", fanout: Fanout, news: News, first: int) -> None:
        try:
            head = {"session": fanout.session_id, "from": first, "last_input": fanout.last_input}
            await watcher.tell(head)
            at = first
            while True:
                more = news.event
                message = fanout.recent(at)
                if message is None and not fanout.waits(at):
                    message = await asyncio.to_thread(fanout.older, at)
                if message is not None:
                    await watcher.send(message.data)
                    at = message.next
                elif fanout.closed:
                    break
                else:
                    await more.wait()
            await watcher.tell({"end": fanout.last_input, "ended": fanout.ended})
        except FlowError as error:
            await watcher.tell({"error": str(error)})

    async def _ping_quiet(self) -> None:
        """Tell watchers that wait that the hub is there."""
        while True:
            await asyncio.sleep(self._times.ping_s)
            for watcher in list(self._watchers):
                if watcher.is_quiet():
                    with contextlib.suppress(OSError):
                        await watcher.socket.ping()

    async def _cut_stalled(self) -> None:
        """Cut off watchers that take nothing: what they have in memory is for others."""
        while True:
            await asyncio.sleep(self._times.stall_s)
            for watcher in list(self._watchers):
                if watcher.is_stalled():
                    self.cut_count += 1
                    self._watchers.discard(watcher)
                    watcher.transport.abort()


class _Watcher:
    """A connection, and whether anything goes over it."""

    def __init__(self, socket: web.WebSocketResponse, transport: asyncio.WriteTransport) -> None:
        self.socket = socket
        self.transport = transport
        self._sent_count = 0
        self._is_sending = False
        self._seen_quiet = -1
        self._seen_sending = (-1, 0)

    async def tell(self, said: dict[str, object]) -> None:
        await self._sent(self.socket.send_str(json.dumps(said)))

    async def send(self, data: bytes) -> None:
        await self._sent(self.socket.send_bytes(data))

    async def _sent(self, sending: Coroutine[Any, Any, None]) -> None:
        self._is_sending = True
        try:
            await sending
        finally:
            self._is_sending = False
            self._sent_count += 1

    def is_quiet(self) -> bool:
        """Tell whether nothing was sent since this was asked last."""
        before, self._seen_quiet = self._seen_quiet, self._sent_count
        return before == self._sent_count and not self._is_sending

    def is_stalled(self) -> bool:
        """Tell whether nothing was taken since this was asked last, though there was something."""
        before_count, before_bytes = self._seen_sending
        waiting_bytes = self.transport.get_write_buffer_size()
        self._seen_sending = self._sent_count, waiting_bytes
        same_send = self._is_sending and before_count == self._sent_count
        return same_send and waiting_bytes >= before_bytes


async def _left(socket: web.WebSocketResponse) -> None:
    """Wait until the watcher goes; whatever it says is not heeded."""
    async for message in socket:
        if message.type is WSMsgType.ERROR:
            return


def _not_yet() -> web.Response:
    return web.Response(status=503, text="the session has not begun; try again in a moment")
