"""A public archive like Binance's, made of trades when a file is asked for."""

import asyncio
import hashlib
import re
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from email.utils import format_datetime
from xml.sax.saxutils import escape

from aiohttp import web

from flowtape.connectors.binance.archive import FOLDERS, ArchiveEntry
from flowtape.connectors.venue.archive_files import archive_zip, published
from flowtape.stream.instrument import Instrument, Market
from flowtape.stream.trades import Trades

DayTrades = Callable[[date], Trades | None]
"""Gives the trades of a UTC day, ascending by id; None where there are none."""

CACHE_BYTES = 256 << 20

MONTH_ROWS_MAX = 2_000_000
"""Months of more trades are not served: whoever asks would give up before they are made."""

_MARKETS: dict[str, Market] = {folder: market for market, folder in FOLDERS.items()}
_PATH = re.compile(
    r"(spot|futures/um|futures/cm)/(daily|monthly)/aggTrades/([^/]+)/"
    r"([^/]+)-aggTrades-(\d{4}-\d{2}(?:-\d{2})?)\.zip(\.CHECKSUM)?",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class _Zip:
    body: bytes
    sha256: str
    tag: str


class ArchiveTree:
    """Serves `/data/...` as data.binance.vision does: zips, their CHECKSUM files, and ranges.

    Args:
        trades: for each instrument what gives a day's trades on its grid; called in a thread.
        cache_bytes: zips that were made are kept up to this size together.
        month_rows: months of more trades are not served, as where Binance is late; their days are.
    """

    def __init__(
        self,
        trades: Mapping[Instrument, DayTrades],
        *,
        cache_bytes: int = CACHE_BYTES,
        month_rows: int = MONTH_ROWS_MAX,
    ) -> None:
        self._trades = {
            (instrument.market, instrument.symbol): (instrument, of_day)
            for instrument, of_day in trades.items()
        }
        self._cache_bytes = cache_bytes
        self._month_rows = month_rows
        self._cached: OrderedDict[ArchiveEntry, _Zip] = OrderedDict()
        self._making = asyncio.Lock()

    def routes(self) -> list[web.RouteDef]:
        """Return what a web application adds to serve the archive; HEAD is served too."""
        return [web.get("/data/{path:.*}", self._serve)]

    async def _serve(self, request: web.Request) -> web.Response:
        path = request.match_info["path"]
        match = _PATH.fullmatch(path)
        entry = None if match is None else _entry(*match.groups()[:5])
        made = None if entry is None else await self._zip(entry)
        if match is None or entry is None or made is None:
            return _error(404, "NoSuchKey", "The specified key does not exist.", f"data/{path}")
        if match.group(6):
            # as most of Binance's, without an end of line
            body = f"{made.sha256}  {entry.name}".encode()
            tag, kind = _tag(body), "binary/octet-stream"
        else:
            body, tag, kind = made.body, made.tag, "application/zip"
        headers = {
            "ETag": tag,
            "Accept-Ranges": "bytes",
            "Content-Type": kind,
            "Last-Modified": format_datetime(published(entry), usegmt=True),
        }
        return _part(request, body, headers)

    async def _zip(self, entry: ArchiveEntry) -> _Zip | None:
        # One at a time: who asks for the same file meanwhile gets it from the cache.
        async with self._making:
            made = self._cached.pop(entry, None)
            if made is None:
                made = await asyncio.to_thread(self._make, entry)
            if made is None:
                return None
            self._cached[entry] = made
            while sum(len(one.body) for one in self._cached.values()) > self._cache_bytes:
                self._cached.popitem(last=False)
            return made

    def _make(self, entry: ArchiveEntry) -> _Zip | None:
        instrument, of_day = self._trades.get((entry.market, entry.symbol), (None, None))
        if instrument is None or of_day is None:
            return None
        days: list[Trades] = []
        for day in entry.days:
            trades = of_day(day)
            if trades is not None and len(trades):
                days.append(trades)
            if entry.monthly and sum(map(len, days)) > self._month_rows:
                return None
        if not days:
            return None
        body = archive_zip(entry, instrument, Trades.concat(days))
        return _Zip(body, hashlib.sha256(body).hexdigest(), _tag(body))


def _entry(folder: str, period: str, symbol: str, named: str, when: str) -> ArchiveEntry | None:
    monthly = period == "monthly"
    if symbol != named or (len(when) == 7) != monthly:
        return None
    try:
        day = date.fromisoformat(f"{when}-01" if monthly else when)
    except ValueError:
        return None
    return ArchiveEntry(symbol, _MARKETS[folder], day, monthly)


def _part(request: web.Request, body: bytes, headers: dict[str, str]) -> web.Response:
    asked = request.headers.get("If-Range")
    try:
        wanted = request.http_range
    except ValueError:
        wanted = slice(None)
    if (wanted.start is None and wanted.stop is None) or asked not in {None, headers["ETag"]}:
        return web.Response(body=body, headers=headers)
    start, stop, _ = wanted.indices(len(body))
    if start >= stop:
        answer = _error(416, "InvalidRange", "The requested range is not satisfiable")
        answer.headers["Content-Range"] = f"bytes */{len(body)}"
        return answer
    headers = headers | {"Content-Range": f"bytes {start}-{stop - 1}/{len(body)}"}
    return web.Response(status=206, body=body[start:stop], headers=headers)


def _error(status: int, code: str, message: str, key: str = "") -> web.Response:
    named = f"<Key>{escape(key)}</Key>" if key else ""
    text = (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f"<Error><Code>{code}</Code><Message>{message}</Message>{named}</Error>"
    )
    return web.Response(status=status, text=text, content_type="application/xml")


def _tag(body: bytes) -> str:
    return f'"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"'
