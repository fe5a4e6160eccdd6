"""A paper account on a venue: signed REST queries, the WebSocket API and user data streams."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from flowtape.connectors.binance.markets import MarketApi
from flowtape.connectors.binance.messages import encode
from flowtape.connectors.venue.hub import Hub
from flowtape.connectors.venue.listing import Listing
from flowtape.connectors.venue.paper_access import PaperAccess, unit_us_of
from flowtape.connectors.venue.paper_actions import PaperActions
from flowtape.connectors.venue.paper_calls import STREAM_WEIGHT, PaperCalls
from flowtape.connectors.venue.paper_endpoints import SignedEndpoint
from flowtape.connectors.venue.paper_exchange import PaperExchange
from flowtape.connectors.venue.paper_keys import PaperKeys, parameters
from flowtape.connectors.venue.paper_queries import PaperQueries
from flowtape.connectors.venue.paper_sent import missing
from flowtape.connectors.venue.queries import Answer, BadQueryError, Query
from flowtape.connectors.venue.rest import respond, too_much
from flowtape.connectors.venue.rules import ConnectionRules, WeightMeter
from flowtape.connectors.venue.user_stream import UserStream
from flowtape.stream.config import EngineConfig
from flowtape.stream.trades import Trades

ANSWER_S = 1.0


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
        self._access = PaperAccess(settings.keys, listings, api, clock_us, settings.wall_us)
        self._prefix = api.rest_prefix
        self._hub = hub
        self._meter = meter
        self.exchange = PaperExchange(
            list(listings.values()), settings.config, steady_us, settings.wall_us
        )
        self.traded = False
        """Whether an order was sent, which begins a market that waits."""
        self._stream = UserStream(self.exchange, hub)
        self._endpoints = [
            *PaperActions(self.exchange, settings.answer_s).endpoints(),
            *PaperQueries(self.exchange).endpoints(),
        ]
        self._calls = PaperCalls(
            self._access,
            self._endpoints,
            self._answer,
            stream=self._stream,
            counts=self.exchange.counts,
            hub=hub,
            rules=rules,
            meter=meter,
        )

    def begin(self) -> None:
        """Take in what happened before the venue opened."""
        self.exchange.begin()

    def happened(self, listing: Listing, trades: Trades) -> None:
        """Take in what has just happened."""
        self.exchange.happened(listing, trades)

    def routes(self) -> list[web.RouteDef]:
        """Return the addresses that are answered here."""
        prefix = self._prefix
        signed = [
            web.route(one.method, f"{prefix}/{one.path}", self._handler(one))
            for one in self._endpoints
        ]
        stream = [
            web.route(method, f"{prefix}/userDataStream", self._serve_listen_key)
            for method in ("POST", "PUT", "DELETE")
        ]
        return [*signed, *stream, web.get("/ws-api/v3", self._calls.serve)]

    def _handler(
        self, endpoint: SignedEndpoint
    ) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def handle(request: web.Request) -> web.StreamResponse:
            body = await request.read()
            unit_us = unit_us_of(request.headers.get("X-MBX-TIME-UNIT", ""))

            async def answer() -> Answer:
                values, signed = parameters(_raw_query(request), body)
                self._access.keys.check_key(request.headers.get("X-MBX-APIKEY", ""))
                query = self._access.query(values, unit_us)
                self._access.check_query(endpoint, values, signed)
                found = await self._answer(endpoint, query)
                return Answer(200, encode(found))

            weight = endpoint.weight(self._access.query(request.query, unit_us))
            more = self.exchange.counts.headers if endpoint.places else dict
            return await self._respond(request, weight, answer, more)

        return handle

    async def _serve_listen_key(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()

        async def answer() -> Answer:
            values, _ = parameters(_raw_query(request), body)
            self._access.keys.check_key(request.headers.get("X-MBX-APIKEY", ""))
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
        self,
        request: web.Request,
        weight: int,
        answer: Callable[[], Awaitable[Answer]],
        more: Callable[[], Mapping[str, str]] = dict,
    ) -> web.StreamResponse:
        over = self._meter.charge(weight, asyncio.get_running_loop().time())
        if over is not None:
            return await respond(request, too_much(over), self._meter.used)
        try:
            found = await answer()
        except BadQueryError as error:
            found = Answer(error.status, encode(error.body()))
        found.headers.update(more())
        return await respond(request, found, self._meter.used)

    async def _answer(self, endpoint: SignedEndpoint, query: Query) -> Any:
        if endpoint.places and not self.traded:
            self.traded = True
            await self._hub.changed()
        return await endpoint.answer(query)


def _raw_query(request: web.Request) -> bytes:
    """Return the query as it was sent, which is what was signed."""
    return request.raw_path.partition("?")[2].encode("utf-8", "surrogateescape")
