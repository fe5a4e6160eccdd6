"""A Binance-compatible venue on 127.0.0.1: streams and REST over one instrument's trades."""

import asyncio
import contextlib
import errno
import math
from collections import deque
from collections.abc import Iterable, Mapping
from urllib.parse import parse_qs

from aiohttp import web

from flowtape.connectors.binance.markets import market_api
from flowtape.connectors.binance.rows import Row
from flowtape.connectors.venue.connection import ConnectionRules, VenueConnection
from flowtape.connectors.venue.control import Subscriptions
from flowtape.connectors.venue.faults import (
    Abort,
    Close,
    Drop,
    Fault,
    FaultyStream,
    RestFault,
    Send,
    Shutdown,
    Stall,
)
from flowtape.connectors.venue.market import VenueMarket
from flowtape.connectors.venue.rest import (
    Answer,
    WeightMeter,
    agg_trades,
    exchange_info,
    refusal,
    server_time,
)
from flowtape.connectors.venue.wire import Wire
from flowtape.stream.errors import InputError
from flowtape.stream.instrument import Instrument
from flowtape.stream.trades import Trades

HOST = "127.0.0.1"
ROUTES = ("", "/market", "/public", "/private")
SLICE_ROWS = 256
SLEEP_S_MAX = 0.5
CLOSE_S = 1.0
GOING_AWAY = 1001


class VenueServer:
    """Plays trades to any Binance client, on loopback only.

    With a `speed` the trades happen by themselves, in stream seconds for each wall second (`inf`:
    as fast as clients take them), from the first subscription to them on; without one they happen
    when `publish` is called.

    Args:
        instrument: on market `spot` or `um`.
        trades: ascending by id; several parts are taken as they are needed.
        speed: the pace, above 0.
        happened_count: so many trades have happened before the venue opens.
        faults: what goes wrong; more can be added by `inject`.
        rules: what is demanded of connections.
        flat_errors: refuse control messages in the form the documentation prints.
        weight_per_minute: the REST limit; the market's own when None.
    """

    def __init__(
        self,
        instrument: Instrument,
        trades: Trades | Iterable[Trades],
        *,
        speed: float | None = None,
        happened_count: int = 0,
        faults: Iterable[Fault | RestFault] = (),
        rules: ConnectionRules | None = None,
        flat_errors: bool = False,
        weight_per_minute: int | None = None,
    ) -> None:
        if speed is not None and not speed > 0:
            raise InputError(f"speed must be above 0, was {speed:g}")
        self._api = market_api(instrument.market)
        self._market = VenueMarket(trades)
        self._market.advance(happened_count)
        self._wire = Wire(instrument)
        self._speed = speed
        self._rules = rules or ConnectionRules()
        self._flat_errors = flat_errors
        self._meter = WeightMeter(weight_per_minute or self._api.weight_per_minute)
        self._stream = FaultyStream()
        self._rest_faults: dict[str, deque[RestFault]] = {}
        self._connections: set[VenueConnection] = set()
        self._carried: set[VenueConnection] = set()
        self._changed = asyncio.Condition()
        self._event_us = self._market.now_us
        self._played_from: tuple[float, int] | None = None
        self._finished = asyncio.Event()
        self._runner: web.AppRunner | None = None
        self._player: asyncio.Task[None] | None = None
        self._address = ""
        self.accepted_count = 0
        for fault in faults:
            self.inject(fault)

    @property
    def ws_url(self) -> str:
        """Return the address clients take for streams; known once started."""
        return f"ws://{self._address}"

    @property
    def rest_url(self) -> str:
        """Return the address clients take for REST; known once started."""
        return f"http://{self._address}"

    @property
    def last_id(self) -> int | None:
        """Return the id of the newest trade that has happened."""
        return self._market.last_id

    @property
    def subscriber_count(self) -> int:
        """Return how many open connections get the trades."""
        return sum(self._subscribed(connection) for connection in self._connections)

    async def start(self, port: int = 0) -> None:
        """Listen on loopback; port 0 takes a free one. Raises InputError when it is taken."""
        app = web.Application()
        for route in ROUTES:
            app.router.add_get(f"{route}/ws", self._on_socket)
            app.router.add_get(f"{route}/ws/{{names:.*}}", self._on_socket)
            app.router.add_get(f"{route}/stream", self._on_socket)
        app.router.add_get(f"{self._api.rest_prefix}/{{query}}", self._on_query)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, HOST, port).start()
        except OSError as error:
            await self._runner.cleanup()
            taken = "is in use" if error.errno == errno.EADDRINUSE else f"cannot be used: {error}"
            raise InputError(f"port {port} {taken}; choose another with --port") from None
        self._address = f"{HOST}:{self._runner.addresses[0][1]}"
        if self._speed is not None:
            self._player = asyncio.create_task(self._play(self._speed))

    async def stop(self) -> None:
        """End every connection and stop listening; may be called again."""
        if self._player is not None:
            self._player.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._player
            self._player = None
        for connection in list(self._connections):
            await connection.close(GOING_AWAY)
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def inject(self, fault: Fault | RestFault) -> None:
        """Let something go wrong: a query fault next, any other when its trade is due."""
        if isinstance(fault, RestFault):
            waiting = self._rest_faults.setdefault(fault.query, deque())
            waiting.extend([fault] * fault.count)
            return
        if isinstance(fault, Drop) and fault.everywhere:
            self._market.lose(range(fault.from_id, fault.to_id + 1))
        self._stream.inject(fault)

    async def publish(self, count: int) -> int:
        """Let the next `count` trades happen and return how many there were."""
        rows = self._market.advance(count)
        await self._perform(rows)
        return len(rows)

    async def wait_for_subscribers(self, count: int = 1) -> None:
        """Wait until `count` open connections get the trades."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.subscriber_count >= count)

    async def wait_finished(self) -> None:
        """Wait until a venue with a speed has played all its trades."""
        await self._finished.wait()
        if self._player is not None:
            await self._player

    async def _play(self, speed: float) -> None:
        try:
            await self.wait_for_subscribers()
            loop = asyncio.get_running_loop()
            self._played_from = (loop.time(), self._market.next_us or 0)
            while (next_us := self._market.next_us) is not None:
                until_us = None if math.isinf(speed) else self._clock_us()
                rows = self._market.advance(SLICE_ROWS, until_us)
                await self._perform(rows)
                wait_s = 0.0
                if not rows:
                    wait_s = min(SLEEP_S_MAX, (next_us - self._clock_us()) / 1e6 / speed)
                await asyncio.sleep(max(0.0, wait_s))
        finally:
            self._finished.set()

    def _clock_us(self) -> int:
        if self._played_from is None or self._speed is None or math.isinf(self._speed):
            return self._market.now_us
        from_s, from_us = self._played_from
        passed_s = asyncio.get_running_loop().time() - from_s
        return from_us + int(passed_s * self._speed * 1e6)

    async def _perform(self, rows: list[Row]) -> None:
        for action in self._stream.actions(rows):
            match action:
                case Send():
                    self._event_us = max(self._event_us, action.row.ts_us)
                    await self._send(action)
                case Shutdown():
                    for connection in list(self._connections):
                        shape = connection.subscriptions
                        await connection.push(
                            self._wire.shutdown(
                                self._event_us, combined=shape.combined, micros=shape.micros
                            )
                        )
                case Abort() | Close() | Stall():
                    for connection in list(self._connections):
                        await connection.push(action)
                        self._carried.discard(connection)

    async def _send(self, action: Send) -> None:
        frames: dict[tuple[bool, bool], str] = {}
        for connection in list(self._connections):
            if not self._subscribed(connection):
                continue
            shape = connection.subscriptions
            key = (shape.combined, shape.micros)
            frame = frames.get(key)
            if frame is None:
                frame = frames[key] = self._wire.frame(
                    action.row, self._event_us, combined=shape.combined, micros=shape.micros
                )
            await connection.push(frame if action.garble is None else _garbled(frame, action))

    def _subscribed(self, connection: VenueConnection) -> bool:
        return connection in self._carried and self._wire.stream in connection.subscriptions.streams

    async def _on_socket(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(autoping=False, autoclose=False, timeout=CLOSE_S)
        await socket.prepare(request)
        assert request.transport is not None
        subscriptions = self._asked_by_url(request)
        connection = VenueConnection(
            socket, request.transport, subscriptions, self._rules, self._notify
        )
        self.accepted_count += 1
        self._connections.add(connection)
        # futures trades flow on their own route alone; elsewhere they are accepted and silent
        if request.path.startswith(f"{self._api.stream_prefix}/"):
            self._carried.add(connection)
        await self._notify()
        try:
            await connection.serve()
        finally:
            self._connections.discard(connection)
            self._carried.discard(connection)
        return socket

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    def _asked_by_url(self, request: web.Request) -> Subscriptions:
        combined = request.path.endswith("/stream")
        query: Mapping[str, str] = request.query
        names = request.match_info.get("names", "")
        unit = query.get("timeUnit", "")
        if combined:
            # python-binance joins a second query with another question mark
            names, _, more = query.get("streams", "").partition("?")
            unit = unit or next(iter(parse_qs(more).get("timeUnit", [])), "")
        subscriptions = Subscriptions(
            combined=combined,
            micros=self._api.microseconds and unit in ("MICROSECOND", "microsecond"),
            flat_errors=self._flat_errors,
        )
        subscriptions.subscribe([n for n in names.split("/") if "@" in n or n.startswith("!")])
        return subscriptions

    async def _on_query(self, request: web.Request) -> web.Response:
        name = request.match_info["query"]
        unit = request.headers.get("X-MBX-TIME-UNIT", "")
        micros = self._api.microseconds and unit in ("MICROSECOND", "microsecond")
        weights = {
            "ping": 1,
            "time": 1,
            "exchangeInfo": self._api.exchange_info_weight,
            "aggTrades": self._api.agg_trades_weight,
        }
        if name not in weights:
            raise web.HTTPNotFound
        wait_s = self._meter.charge(weights[name], asyncio.get_running_loop().time())
        if wait_s is not None:
            answer = refusal(429, -1003, "Too much request weight used; please slow down.")
            answer.headers["Retry-After"] = str(wait_s)
        else:
            answer = await self._faulty(name) or self._answer(name, request.query, micros=micros)
        used = str(self._meter.used)
        return web.Response(
            status=answer.status,
            body=answer.body,
            headers={
                "Content-Type": "application/json;charset=UTF-8",
                "x-mbx-used-weight": used,
                "x-mbx-used-weight-1m": used,
                **answer.headers,
            },
        )

    def _answer(self, name: str, query: Mapping[str, str], *, micros: bool) -> Answer:
        match name:
            case "aggTrades":
                return agg_trades(self._market, self._wire, query, micros=micros)
            case "exchangeInfo":
                return exchange_info(self._wire, self._clock_us(), query, micros=micros)
            case "time":
                return server_time(self._clock_us(), micros=micros)
            case _:
                return Answer(200, b"{}")

    async def _faulty(self, name: str) -> Answer | None:
        waiting = self._rest_faults.get(name)
        if not waiting:
            return None
        fault = waiting.popleft()
        await asyncio.sleep(fault.delay_s)
        if fault.status == 200 and not fault.body:
            return None
        answer = refusal(fault.status, -1000, "An unknown error occurred.")
        if fault.body:
            answer = Answer(fault.status, fault.body.encode())
        if fault.retry_after_s is not None:
            answer.headers["Retry-After"] = str(fault.retry_after_s)
        return answer


def _garbled(frame: str, action: Send) -> str | bytes:
    match action.garble:
        case "truncated":
            return frame[: len(frame) // 2]
        case "binary":
            return frame.encode()
        case "wrong_types":
            return frame.replace('"a":', '"a":"x","b":')
        case _:
            return "\x00<garbage>"
