"""The WebSocket API of a paper account: calls, each answered as the query it is like."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any

import msgspec
from aiohttp import web

from flowtape.connectors.venue.connection import CLOSE_S, VenueConnection
from flowtape.connectors.venue.control import Subscriptions
from flowtape.connectors.venue.hub import Hub
from flowtape.connectors.venue.paper_access import PaperAccess, unit_us_of
from flowtape.connectors.venue.paper_endpoints import SignedEndpoint
from flowtape.connectors.venue.paper_limits import OrderCounts
from flowtape.connectors.venue.queries import BadQueryError, Query
from flowtape.connectors.venue.rules import ConnectionRules, WeightMeter
from flowtape.connectors.venue.user_stream import Listener, UserStream

STREAM_WEIGHT = 2
CALLS_PER_S = 1_000
CALLS_MAX = 100
"""Calls of one connection that wait for their outcome; more are refused."""

_log = logging.getLogger(__name__)
_call = msgspec.json.Decoder(dict[str, Any], float_hook=str)


class PaperCalls:
    """Answers calls.

    Args:
        access: what is checked first.
        endpoints: what may be called.
        answer: answers a call of one of them.
        stream: tells connections what happens.
        counts: of the account's orders.
        hub: the venue's connections.
        rules: what is demanded of them.
        meter: counts the weight of all clients together.
    """

    def __init__(
        self,
        access: PaperAccess,
        endpoints: list[SignedEndpoint],
        answer: Callable[[SignedEndpoint, Query], Awaitable[Any]],
        *,
        stream: UserStream,
        counts: OrderCounts,
        hub: Hub,
        rules: ConnectionRules,
        meter: WeightMeter,
    ) -> None:
        self._access = access
        self._endpoints = {endpoint.call: endpoint for endpoint in endpoints}
        self._answer = answer
        self._stream = stream
        self._counts = counts
        self._hub = hub
        self._rules = replace(rules, messages_per_s=CALLS_PER_S, deflate=False)
        self._meter = meter

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Serve a connection until it ends."""
        socket = web.WebSocketResponse(
            autoping=False, autoclose=False, timeout=CLOSE_S, compress=False
        )
        await socket.prepare(request)
        asked = Subscriptions(
            combined=False, micros=unit_us_of(request.query.get("timeUnit", "")) == 1
        )
        calling: set[asyncio.Task[None]] = set()

        def hear(_asked: Subscriptions, text: str) -> None:
            if len(calling) >= CALLS_MAX:
                queued = BadQueryError(-1003, "Too many requests queued.", 429)
                listener.put(self._refusal(None, queued, {}))
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
        call: dict[str, Any] = {}
        try:
            try:
                call = _call.decode(text)
            except (msgspec.MsgspecError, UnicodeError, RecursionError):
                raise BadQueryError(-1135, "Invalid JSON Request") from None
            found = await self._called(listener, call)
            answer = {"id": call.get("id"), "status": 200, "result": found}
            listener.put(answer | self._limits(call))
        except BadQueryError as error:
            listener.put(self._refusal(call.get("id"), error, call))
        except Exception:
            # one call must not take the connection with it
            _log.exception("a call of the WebSocket API failed")
            unknown = BadQueryError(-1000, "An unknown error occurred.", 500)
            listener.put(self._refusal(call.get("id"), unknown, call))

    async def _called(self, listener: Listener, call: Mapping[str, Any]) -> Any:
        method, params = call.get("method"), call.get("params") or {}
        if not isinstance(params, dict):
            raise BadQueryError(-1135, "JSON sent for parameter 'params' is not valid")
        values = {name: _text(value) for name, value in params.items()}
        query = self._access.query(values, listener.connection.shape.unit_us)
        endpoint = self._endpoint(call)
        weight = endpoint.weight(query) if endpoint is not None else STREAM_WEIGHT
        over = self._meter.charge(weight, asyncio.get_running_loop().time())
        if over is not None:
            raise BadQueryError(-1003, "Too much request weight used; please slow down.", 429)
        if endpoint is not None:
            self._access.check_call(endpoint.reads, values)
            return await self._answer(endpoint, query)
        match method:
            case "ping":
                return {}
            case "time":
                return {"serverTime": query.now_us // query.unit_us}
            case "userDataStream.subscribe.signature":
                self._access.check_call(frozenset(), values)
                return {"subscriptionId": listener.subscribe()}
            case "userDataStream.unsubscribe":
                number = query.number("subscriptionId")
                if number is None:
                    listener.subscriptions.clear()
                listener.subscriptions.discard(-1 if number is None else number)
                return {}
        raise BadQueryError(-1020, "This operation is not supported.")

    def _endpoint(self, call: Mapping[str, Any]) -> SignedEndpoint | None:
        method = call.get("method")
        return self._endpoints.get(method) if isinstance(method, str) else None

    def _limits(self, call: Mapping[str, Any]) -> dict[str, Any]:
        """Return how many orders there were, unless a call does not want to know."""
        params = call.get("params")
        if isinstance(params, dict) and _text(params.get("returnRateLimits")) == "false":
            return {}
        endpoint = self._endpoint(call)
        placed = endpoint is not None and endpoint.places
        return {"rateLimits": self._counts.rows() if placed else []}

    def _refusal(
        self, call_id: Any, error: BadQueryError, call: Mapping[str, Any]
    ) -> dict[str, Any]:
        said = {"id": call_id, "status": error.status, "error": error.body()}
        return said | self._limits(call)


def _text(value: Any) -> str:
    """Return a value of JSON as the text that signatures are made of."""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
