"""The REST side of the venue: weights, limits, faults, and the public queries."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web

from flowtape.connectors.binance.markets import MarketApi
from flowtape.connectors.binance.messages import encode
from flowtape.connectors.venue.faults import RestFault
from flowtape.connectors.venue.listing import Listing
from flowtape.connectors.venue.public_queries import endpoints
from flowtape.connectors.venue.queries import Answer, BadQueryError, Endpoint, Query, refusal
from flowtape.connectors.venue.rules import Overuse, WeightMeter

_log = logging.getLogger(__name__)

JSON = "application/json;charset=UTF-8"
HTML = "text/html; charset=utf-8"


class PublicRest:
    """Public queries over the listings of a venue.

    Args:
        api: the market's addresses and weights.
        listings: by symbol.
        clock_us: the venue's time.
        meter: counts the weight of all clients together.
    """

    def __init__(
        self,
        api: MarketApi,
        listings: Mapping[str, Listing],
        clock_us: Callable[[], int],
        meter: WeightMeter,
    ) -> None:
        self._api = api
        self._listings = listings
        self._clock_us = clock_us
        self._meter = meter
        self._faults: list[list[RestFault]] = []

    def routes(self) -> list[web.RouteDef]:
        """Return the addresses that are answered here."""
        return [
            web.get(f"{self._api.rest_prefix}/{endpoint.name}", self._handler(endpoint))
            for endpoint in endpoints(self._api)
        ]

    def inject(self, fault: RestFault) -> None:
        """Let a fault meet the next queries of its kind."""
        self._faults.append([fault] * fault.count)

    def _handler(
        self, endpoint: Endpoint
    ) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def handle(request: web.Request) -> web.StreamResponse:
            unit = request.headers.get("X-MBX-TIME-UNIT", "")
            micros = self._api.microseconds and unit in ("MICROSECOND", "microsecond")
            query = Query(
                request.query, self._listings, self._api, self._clock_us(), 1 if micros else 1_000
            )
            answer: Answer | None = None
            try:
                self._check(endpoint, request)
                weight = endpoint.weight(query)
            except BadQueryError as error:
                weight, answer = 1, refusal(error.status, error.code, str(error))
            over = self._meter.charge(weight, asyncio.get_running_loop().time())
            if over is not None:
                _log.info("query %s was refused: over the weight limit", endpoint.name)
                return await respond(request, too_much(over), self._meter.used)
            fault = self._fault(endpoint.name)
            if fault is not None:
                _log.info("query %s: %s", endpoint.name, encode(fault).decode())
                await asyncio.sleep(fault.delay_s)
                wrong = _faulty(fault)
                answer = answer if wrong is None else wrong
            if answer is None:
                answer = self._answer(endpoint, query)
            cut = fault is not None and fault.cut
            return await respond(request, answer, self._meter.used, cut=cut)

        return handle

    def _check(self, endpoint: Endpoint, request: web.Request) -> None:
        for name in request.query:
            if len(request.query.getall(name)) > 1:
                raise BadQueryError(-1101, f"Duplicate values for parameter '{name}' detected.")
        read = len(endpoint.reads & set(request.query))
        if self._api.market == "spot" and read < len(request.query):
            raise BadQueryError(
                -1104,
                f"Not all sent parameters were read; read '{read}' parameter(s) but was sent "
                f"'{len(request.query)}'.",
            )

    def _answer(self, endpoint: Endpoint, query: Query) -> Answer:
        lags = self._lags(query) if endpoint.name in ("aggTrades", "trades") else 0
        market = query.listings[query.values["symbol"]].market if lags else None
        try:
            if market is not None:
                market.hidden_rows = lags
            return endpoint.answer(query)
        except BadQueryError as error:
            return refusal(error.status, error.code, str(error))
        finally:
            if market is not None:
                market.hidden_rows = 0

    def _lags(self, query: Query) -> int:
        listing = query.listings.get(query.values.get("symbol", ""))
        if listing is None or not listing.lags:
            return 0
        return listing.lags.pop(0)

    def _fault(self, name: str) -> RestFault | None:
        for waiting in self._faults:
            if waiting[0].query in ("any", name):
                fault = waiting.pop()
                if not waiting:
                    self._faults.remove(waiting)
                return fault
        return None


def _faulty(fault: RestFault) -> Answer | None:
    if fault.status == 200 and not fault.body:
        return None
    answer = refusal(fault.status, -1000, "An unknown error occurred.")
    if fault.body:
        answer = Answer(fault.status, fault.body.encode())
    if fault.retry_after_s is not None:
        answer.headers["Retry-After"] = str(fault.retry_after_s)
    return answer


def too_much(over: Overuse) -> Answer:
    """Return the answer to a query that goes over the weight limit."""
    if over.banned:
        status, msg = 418, "Way too much request weight used; IP banned."
    else:
        status, msg = 429, "Too much request weight used; please slow down."
    answer = refusal(status, -1003, msg)
    answer.headers["Retry-After"] = str(over.wait_s)
    return answer


async def respond(
    request: web.Request, answer: Answer, used: int, *, cut: bool = False
) -> web.StreamResponse:
    """Send an answer with the weight used; with `cut` half of it, and the connection ends."""
    response = web.StreamResponse(
        status=answer.status,
        headers={
            "Content-Type": HTML if answer.body.startswith(b"<") else JSON,
            "Content-Length": str(len(answer.body)),
            "x-mbx-used-weight": str(used),
            "x-mbx-used-weight-1m": str(used),
            **answer.headers,
        },
    )
    await response.prepare(request)
    if cut:
        await response.write(answer.body[: len(answer.body) // 2])
        if request.transport is not None:
            request.transport.close()
    else:
        await response.write(answer.body)
        await response.write_eof()
    return response
