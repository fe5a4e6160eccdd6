"""A paper account on a venue: signed REST queries, the WebSocket API and user data streams."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import msgspec
from aiohttp import web

from flowtape.connectors.binance.markets import MarketApi
from flowtape.connectors.binance.messages import encode
from flowtape.connectors.venue.connection import CLOSE_S, VenueConnection
from flowtape.connectors.venue.control import Subscriptions
from flowtape.connectors.venue.hub import Hub
from flowtape.connectors.venue.listing import Listing
from flowtape.connectors.venue.paper_exchange import PaperExchange
from flowtape.connectors.venue.paper_forms import missing
from flowtape.connectors.venue.paper_keys import (
    PaperKeys,
    check_time,
    parameters,
    socket_messages,
)
from flowtape.connectors.venue.paper_queries import SIGNED_FIELDS, PaperQueries, SignedEndpoint
from flowtape.connectors.venue.queries import Answer, BadQueryError, Query, refusal
from flowtape.connectors.venue.rest import respond, too_much
from flowtape.connectors.venue.rules import ConnectionRules, WeightMeter
from flowtape.connectors.venue.user_stream import Listener, UserStream
from flowtape.stream.config import EngineConfig
from flowtape.stream.trades import Trades

ANSWER_S = 1.0
STREAM_WEIGHT = 2
CALLS_PER_S = 1_000
CALLS_MAX = 100
"""Calls of one connection that wait for their outcome; more are refused."""

CALL_FIELDS = frozenset({"apiKey", "returnRateLimits"})

_log = logging.getLogger(__name__)
_call = msgspec.json.Decoder(dict[str, Any], float_hook=str)


@dataclass(frozen=True, slots=True)
class PaperSettings:
    """A paper account: what it starts with, its keys, and how long answers wait for an outcome.

    `wall_us` is the wall clock in microseconds, by which clients may date what they sign.
    """

    config: EngineConfig
    keys: PaperKeys
    wall_us: Callable[[], int]
    answer_s: float = ANSWER_S


class PaperVenue:
    """What answers for a paper account on a venue.

    Args:
        settings: of the account.
        listings: by symbol.
        api: the market's addresses.
        hub: the venue's connections.
        rules: what is demanded of them.
        meter: counts the weight of all clients together.
        clock_us: the venue's time, as clients are told it.
        steady_us: the market's time, which no fault moves.
    """

    def __init__(
        self,
        settings: PaperSettings,
        listings: Mapping[str, Listing],
        api: MarketApi,
        hub: Hub,
        *,
        rules: ConnectionRules,
        meter: WeightMeter,
        clock_us: Callable[[], int],
        steady_us: Callable[[], int],
    ) -> None:
        self._settings = settings
        self._listings = listings
        self._api = api
        self._hub = hub
        self._rules = replace(rules, messages_per_s=CALLS_PER_S, deflate=False)
        self._meter = meter
        self._clock_us = clock_us
        self.exchange = PaperExchange(list(listings.values()), settings.config, steady_us)
        self.traded = False
        """Whether an order was sent, which begins a market that waits."""
        self._stream = UserStream(self.exchange, hub)
        self._endpoints = PaperQueries(self.exchange, settings.answer_s).endpoints()
        self._calls = {endpoint.call: endpoint for endpoint in self._endpoints}

    def begin(self) -> None:
        """Take in what happened before the venue opened."""
        self.exchange.begin()

    def happened(self, listing: Listing, trades: Trades) -> None:
        """Take in what has just happened."""
        self.exchange.happened(listing, trades)

    def routes(self) -> list[web.RouteDef]:
        """Return the addresses that are answered here."""
        prefix = self._api.rest_prefix
        signed = [
            web.route(one.method, f"{prefix}/{one.path}", self._handler(one))
            for one in self._endpoints
        ]
        stream = [
            web.route(method, f"{prefix}/userDataStream", self._serve_listen_key)
            for method in ("POST", "PUT", "DELETE")
        ]
        return [*signed, *stream, web.get("/ws-api/v3", self._serve_calls)]

    def _handler(
        self, endpoint: SignedEndpoint
    ) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def handle(request: web.Request) -> web.StreamResponse:
            body = await request.read()
            unit_us = self._unit_us(request.headers.get("X-MBX-TIME-UNIT", ""))

            async def answer() -> Answer:
                values, signed = parameters(_raw_query(request), body)
                self._settings.keys.check_key(request.headers.get("X-MBX-APIKEY", ""))
                query = self._query(values, unit_us)
                self._check(endpoint, values, signed)
                found = await self._answer(endpoint, query)
                return Answer(200, encode(found))

            weight = endpoint.weight(self._query(request.query, unit_us))
            return await self._respond(request, weight, answer)

        return handle

    async def _serve_listen_key(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()

        async def answer() -> Answer:
            values, _ = parameters(_raw_query(request), body)
            self._settings.keys.check_key(request.headers.get("X-MBX-APIKEY", ""))
            if request.method == "POST":
                return Answer(200, encode({"listenKey": self._stream.listen_key()}))
            if not values.get("listenKey"):
                raise missing("listenKey")
            if request.method == "PUT":
                self._stream.keep_alive(values["listenKey"])
            else:
                self._stream.forget(values["listenKey"])
            return Answer(200, b"{}")

        return await self._respond(request, STREAM_WEIGHT, answer)

    async def _respond(
        self, request: web.Request, weight: int, answer: Callable[[], Awaitable[Answer]]
    ) -> web.StreamResponse:
        over = self._meter.charge(weight, asyncio.get_running_loop().time())
        if over is not None:
            return await respond(request, too_much(over), self._meter.used)
        try:
            found = await answer()
        except BadQueryError as error:
            found = refusal(error.status, error.code, str(error))
        return await respond(request, found, self._meter.used)

    async def _serve_calls(self, request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse(
            autoping=False, autoclose=False, timeout=CLOSE_S, compress=False
        )
        await socket.prepare(request)
        asked = Subscriptions(
            combined=False, micros=self._unit_us(request.query.get("timeUnit", "")) == 1
        )
        calling: set[asyncio.Task[None]] = set()

        def hear(_asked: Subscriptions, text: str) -> None:
            if len(calling) >= CALLS_MAX:
                listener.put(_failed(None, -1003, "Too many requests queued.", 429))
                return
            task = asyncio.create_task(self._call(listener, text))
            calling.add(task)
            task.add_done_callback(calling.discard)

        connection = VenueConnection(
            socket, request, asked, self._rules, answer=hear, changed=self._hub.changed
        )
        listener = Listener(connection)
        await self._hub.add(connection)
        self._stream.add(listener)
        try:
            await connection.serve()
        finally:
            self._hub.remove(connection)
            self._stream.remove(listener)
            for task in calling:
                task.cancel()
            await asyncio.gather(*calling, return_exceptions=True)
        return socket

    async def _call(self, listener: Listener, text: str) -> None:
        call_id: Any = None
        try:
            try:
                call = _call.decode(text)
            except (msgspec.MsgspecError, UnicodeError, RecursionError):
                raise BadQueryError(-1135, "Invalid JSON Request") from None
            call_id = call.get("id")
            found = await self._called(listener, call)
            listener.put({"id": call_id, "status": 200, "result": found, "rateLimits": []})
        except BadQueryError as error:
            listener.put(_failed(call_id, error.code, str(error), error.status))
        except Exception:
            # one call must not take the connection with it
            _log.exception("a call of the WebSocket API failed")
            listener.put(_failed(call_id, -1000, "An unknown error occurred.", 500))

    async def _called(self, listener: Listener, call: dict[str, Any]) -> Any:
        method, params = call.get("method"), call.get("params") or {}
        if not isinstance(params, dict):
            raise BadQueryError(-1135, "JSON sent for parameter 'params' is not valid")
        values = {name: _text(value) for name, value in params.items()}
        query = self._query(values, listener.connection.shape.unit_us)
        endpoint = self._calls.get(method) if isinstance(method, str) else None
        weight = endpoint.weight(query) if endpoint is not None else STREAM_WEIGHT
        over = self._meter.charge(weight, asyncio.get_running_loop().time())
        if over is not None:
            raise BadQueryError(-1003, "Too much request weight used; please slow down.", 429)
        if endpoint is not None:
            self._check_call(endpoint.reads, values)
            return await self._answer(endpoint, query)
        match method:
            case "ping":
                return {}
            case "time":
                return {"serverTime": query.now_us // query.unit_us}
            case "userDataStream.subscribe.signature":
                self._check_call(frozenset(), values)
                return {"subscriptionId": listener.subscribe()}
            case "userDataStream.unsubscribe":
                number = query.number("subscriptionId")
                if number is None:
                    listener.subscriptions.clear()
                listener.subscriptions.discard(-1 if number is None else number)
                return {}
        raise BadQueryError(-1020, "This operation is not supported.")

    async def _answer(self, endpoint: SignedEndpoint, query: Query) -> Any:
        if endpoint.call == "order.place" and not self.traded:
            self.traded = True
            await self._hub.changed()
        return await endpoint.answer(query)

    def _check(self, endpoint: SignedEndpoint, values: Mapping[str, str], signed: bytes) -> None:
        self._check_values(endpoint.reads | SIGNED_FIELDS, values)
        self._settings.keys.check_signature(values["signature"], signed)

    def _check_call(self, reads: frozenset[str], values: Mapping[str, str]) -> None:
        self._settings.keys.check_key(values.get("apiKey", ""))
        self._check_values(reads | SIGNED_FIELDS | CALL_FIELDS, values)
        self._settings.keys.check_signature(values["signature"], *socket_messages(values))

    def _check_values(self, reads: frozenset[str], values: Mapping[str, str]) -> None:
        for name, value in values.items():
            if not value:
                raise BadQueryError(-1105, f"Parameter '{name}' was empty.")
        for name in ("signature", "timestamp"):
            if name not in values:
                raise missing(name)
        read = len(reads & set(values))
        if read < len(values):
            raise BadQueryError(
                -1104,
                f"Not all sent parameters were read; read '{read}' parameter(s) but was sent "
                f"'{len(values)}'.",
            )
        check_time(values, self._clock_us(), self._settings.wall_us())

    def _query(self, values: Mapping[str, str], unit_us: int) -> Query:
        return Query(values, self._listings, self._api, self._clock_us(), unit_us)

    def _unit_us(self, unit: str) -> int:
        return 1 if unit in ("MICROSECOND", "microsecond") else 1_000


def _raw_query(request: web.Request) -> bytes:
    """Return the query as it was sent, which is what was signed."""
    return request.raw_path.partition("?")[2].encode("utf-8", "surrogateescape")


def _text(value: Any) -> str:
    """Return a value of JSON as the text that signatures are made of."""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _failed(call_id: Any, code: int, msg: str, status: int) -> dict[str, Any]:
    error = {"code": code, "msg": msg}
    return {"id": call_id, "status": status, "error": error, "rateLimits": []}
