"""An archive on loopback that fails on purpose, and notes what it was asked."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta

import numpy as np
from aiohttp import web

from flowtape.connectors.venue.archive_tree import ArchiveTree
from flowtape.stream.decimals import format_decimal
from flowtape.stream.instrument import Instrument
from flowtape.stream.trades import SELL, Trades

BTC = Instrument("BTCUSDT", "spot", 2, 5)
FIRST_DAY = date(2026, 1, 1)
DAY_ROWS = 400

DAY_US = 86_400_000_000


def day_trades(day: date, rows: int = DAY_ROWS, seed: int = 0) -> Trades:
    """Trades of one day, which join those of the days around it, by id."""
    number = (day - FIRST_DAY).days
    rng = np.random.default_rng([seed, abs(number)])
    ids = 1_000_000 + np.arange(number * rows, (number + 1) * rows)
    start_us = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * 1_000_000
    ts_us = start_us + np.sort(rng.integers(0, DAY_US, rows))
    if day < date(2025, 1, 1):
        ts_us = ts_us // 1_000 * 1_000
    return Trades(
        ids,
        ts_us,
        6_000_000 + np.cumsum(rng.integers(-3, 4, rows)),
        rng.integers(1, 10**6, rows),
        ids * 2,
        ids * 2 + 1,
        np.where(rng.random(rows) < 0.5, 1, -1).astype(np.int8),
    )


def days(count: int, first: date = FIRST_DAY) -> list[date]:
    return [first + timedelta(days=number) for number in range(count)]


def same(one: Trades, other: Trades) -> bool:
    names = ("agg_id", "ts_us", "price_ticks", "qty_lots", "first_id", "last_id", "side")
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in names)


@dataclass
class Fault:
    """What the next request for a file whose path ends in `path` gets.

    `status` other than 200 is answered with `retry_after_s`, `junk` with a page of HTML. `cut`
    sends so many bytes, then closes or, with `stall`, sends nothing more; `spoil` changes a byte.
    `ignore_range` sends all of it, `ignore_if_range` the range though the file has changed.
    """

    path: str
    status: int = 200
    retry_after_s: int | None = None
    cut: int | None = None
    stall: bool = False
    spoil: bool = False
    junk: bool = False
    ignore_range: bool = False
    ignore_if_range: bool = False


@dataclass
class Asked:
    path: str
    range: str
    status: int
    sent_bytes: int


@dataclass
class ArchiveBench:
    """Use as an async context manager; `url` is both the archive and REST.

    REST has the trades of `rest`, ascending.
    """

    tree: ArchiveTree
    rest: Trades | None = None
    faults: list[Fault] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    stalled: asyncio.Event = field(default_factory=asyncio.Event)
    url: str = ""
    _end: asyncio.Event = field(default_factory=asyncio.Event)

    async def __aenter__(self) -> "ArchiveBench":
        app = web.Application(middlewares=[self._meddle])
        app.router.add_get("/data/{path:.*}", self._of_tree)
        app.router.add_get("/api/v3/{query}", self._on_query)
        app.router.add_get("/fapi/v1/{query}", self._on_query)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._end.set()
        await self._runner.cleanup()

    def requests(self, ending: str) -> list[Asked]:
        """What was asked of files whose path ends so."""
        return [one for one in self.asked if one.path.endswith(ending)]

    async def _of_tree(self, request: web.Request) -> web.StreamResponse:
        # The tree may be another one from request to request.
        (route,) = self.tree.routes()
        return await route.handler(request)

    @web.middleware
    async def _meddle(
        self,
        request: web.Request,
        handler: Callable[[web.Request], Awaitable[web.StreamResponse]],
    ) -> web.StreamResponse:
        fault = next((one for one in self.faults if request.path.endswith(one.path)), Fault(""))
        if fault in self.faults:
            self.faults.remove(fault)
        wanted = request.headers.get("Range", "")
        asked = Asked(request.path, wanted, fault.status, 0)
        self.asked.append(asked)
        if fault.status != 200 or fault.junk:
            again = {} if fault.retry_after_s is None else {"Retry-After": str(fault.retry_after_s)}
            return web.Response(status=fault.status, headers=again, text="<html>no</html>")
        dropped = [("Range", fault.ignore_range), ("If-Range", fault.ignore_if_range)]
        headers = request.headers.copy()
        for name in (name for name, drop in dropped if drop):
            headers.pop(name, None)
        answer = await handler(request.clone(headers=headers))
        assert isinstance(answer, web.Response)
        body = bytearray(answer.body or b"")
        if fault.spoil and body:
            body[len(body) // 2] ^= 1
        asked.status = answer.status
        asked.sent_bytes = len(body) if fault.cut is None else fault.cut
        if fault.cut is None:
            answer.body = bytes(body)
            return answer
        return await self._cut(request, answer, bytes(body), fault)

    async def _cut(
        self, request: web.Request, answer: web.Response, body: bytes, fault: Fault
    ) -> web.StreamResponse:
        broken = web.StreamResponse(status=answer.status, headers=answer.headers.copy())
        broken.content_length = len(body)
        await broken.prepare(request)
        await broken.write(body[: fault.cut])
        if fault.stall:
            self.stalled.set()
            await self._end.wait()
        if request.transport is not None:
            request.transport.close()
        return broken

    async def _on_query(self, request: web.Request) -> web.Response:
        if self.rest is None:
            raise web.HTTPNotFound
        if request.match_info["query"] == "exchangeInfo":
            filters = [
                {"filterType": "PRICE_FILTER", "tickSize": "0.01"},
                {"filterType": "LOT_SIZE", "stepSize": "0.00001"},
            ]
            symbol = {
                "symbol": BTC.symbol,
                "status": "TRADING",
                "baseAsset": "BTC",
                "baseAssetPrecision": 8,
                "quoteAsset": "USDT",
                "quotePrecision": 8,
                "filters": filters,
            }
            return web.json_response({"symbols": [symbol], "serverTime": 0, "rateLimits": []})
        start = int(np.searchsorted(self.rest.agg_id, int(request.query["fromId"])))
        rows = self.rest.slice(start, start + int(request.query["limit"]))
        answer = [
            {
                "a": int(rows.agg_id[row]),
                "p": format_decimal(int(rows.price_ticks[row]), BTC.price_decimals),
                "q": format_decimal(int(rows.qty_lots[row]), BTC.qty_decimals),
                "f": int(rows.first_id[row]),
                "l": int(rows.last_id[row]),
                "T": int(rows.ts_us[row]),
                "m": bool(rows.side[row] == SELL),
                "M": True,
            }
            for row in range(len(rows))
        ]
        return web.Response(text=json.dumps(answer), content_type="application/json")


def bench_of(served: Iterable[date], instrument: Instrument = BTC, seed: int = 0) -> ArchiveBench:
    """An archive that has some days, and REST that has them all and a day before and after."""
    known = sorted(served)
    tree = ArchiveTree(
        {instrument: lambda day: day_trades(day, seed=seed) if day in known else None}
    )
    around = [*days((known[-1] - known[0]).days + 3, known[0] - timedelta(days=1))]
    return ArchiveBench(tree, Trades.concat([day_trades(day, seed=seed) for day in around]))


def without(trades: Trades, ids: range) -> Trades:
    """Trades that lack some ids."""
    keep = (trades.agg_id < ids.start) | (trades.agg_id >= ids.stop)
    return replace(trades, **{name: getattr(trades, name)[keep] for name in trades.__slots__})
