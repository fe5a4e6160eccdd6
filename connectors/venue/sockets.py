"""The WebSocket side of the venue: from a request to upgrade to a connection that is served."""

import asyncio
import logging
from collections import deque
from collections.abc import Mapping
from urllib.parse import parse_qs

from aiohttp import web

from flowtape.connectors.binance.markets import MarketApi
from flowtape.connectors.venue.connection import CLOSE_S, VenueConnection
from flowtape.connectors.venue.control import Subscriptions, subscribes
from flowtape.connectors.venue.faults import Deny, Refuse
from flowtape.connectors.venue.hub import Hub
from flowtape.connectors.venue.paper_keys import KEY_CHARS
from flowtape.connectors.venue.rules import ConnectionRules, ConnectMeter

_log = logging.getLogger(__name__)

PATH_SHOWN = 200
ROUTES = ("", "/market", "/public", "/private")


class StreamSockets:
    """Connections to market data streams, by all addresses that Binance knows.

    Args:
        api: the market's addresses.
        hub: what takes in the connections.
        rules: what is demanded of them.
        flat_errors: refuse control messages in the form the documentation prints.
    """

    def __init__(
        self, api: MarketApi, hub: Hub, rules: ConnectionRules, *, flat_errors: bool = False
    ) -> None:
        self._api = api
        self._hub = hub
        self._rules = rules
        self._flat_errors = flat_errors
        self._connects = ConnectMeter(rules.connects_max, rules.connects_s)
        self._refusals: deque[Refuse] = deque()
        self._denials: deque[Deny] = deque()
        self.accepted_count = 0

    def routes(self) -> list[web.RouteDef]:
        """Return the addresses that are answered here."""
        return [
            web.get(f"{route}{path}", self._serve)
            for route in ROUTES
            for path in ("/ws", "/ws/{names:.*}", "/stream")
        ]

    def inject(self, fault: Refuse | Deny) -> None:
        """Let a fault meet the next connections or control messages."""
        if isinstance(fault, Refuse):
            self._refusals.extend([fault] * fault.count)
        else:
            self._denials.extend([fault] * fault.count)

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        refused = self._refused()
        if refused is not None:
            return refused
        subscriptions = self._asked_by_url(request)
        socket = web.WebSocketResponse(
            autoping=False, autoclose=False, timeout=CLOSE_S, compress=self._rules.deflate
        )
        await socket.prepare(request)
        connection = VenueConnection(
            socket,
            request,
            subscriptions,
            self._rules,
            answer=self._answer,
            changed=self._hub.changed,
        )
        self.accepted_count += 1
        number = self.accepted_count
        _log.info("connection %d: %s", number, request.path_qs[:PATH_SHOWN])
        await self._hub.add(connection)
        try:
            await connection.serve()
        finally:
            self._hub.remove(connection)
            _log.info("connection %d ended%s", number, connection.ending)
        return socket

    def _refused(self) -> web.Response | None:
        wait_s = self._connects.charge(asyncio.get_running_loop().time())
        if wait_s is not None:
            _log.info("a connection was refused: too many within %g s", self._rules.connects_s)
            return _refusal(429, wait_s)
        if self._refusals:
            fault = self._refusals.popleft()
            return _refusal(fault.status, fault.retry_after_s)
        return None

    def _answer(self, subscriptions: Subscriptions, text: str) -> bytes | None:
        deny = self._denials.popleft() if self._denials and subscribes(text) else None
        return subscriptions.answer(text, deny)

    def _asked_by_url(self, request: web.Request) -> Subscriptions:
        combined = request.path.endswith("/stream")
        query: Mapping[str, str] = request.query
        names = request.match_info.get("names", "")
        unit = query.get("timeUnit", "")
        if combined:
            # python-binance joins a second query with another question mark
            names, _, more = query.get("streams", "").partition("?")
            names = names.replace(" ", "+")  # as in @kline_1d@+08:00, which few encode
            unit = unit or next(iter(parse_qs(more).get("timeUnit", [])), "")
        subscriptions = Subscriptions(
            combined=combined,
            micros=self._api.microseconds and unit in ("MICROSECOND", "microsecond"),
            flat_errors=self._flat_errors,
            streams_max=self._rules.streams_max,
        )
        # a path such as /ws/0 names no stream
        named = [n for n in names.split("/") if "@" in n or n.startswith("!") or is_listen_key(n)]
        subscriptions.subscribe(named[: self._rules.streams_max])
        return subscriptions


def is_listen_key(name: str) -> bool:
    """Tell whether a name has the form of a key to an account's events."""
    return len(name) == KEY_CHARS and name.isascii() and name.isalnum()


def _refusal(status: int, retry_after_s: int | None) -> web.Response:
    headers = {} if retry_after_s is None else {"Retry-After": str(retry_after_s)}
    return web.Response(status=status, headers=headers)
