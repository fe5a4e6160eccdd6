"""Binance's REST interface, asked politely: within the weight limits, and backing off when told."""

import asyncio
import logging
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Self

import aiohttp

from flowtape.connectors.binance.decode import (
    DecodeError,
    Page,
    decode_error,
    decode_exchange_info,
    decode_page,
    decode_server_time,
    time_us,
)
from flowtape.connectors.binance.markets import (
    MarketApi,
    instrument_of,
    is_loopback,
    unknown_symbol,
)
from flowtape.connectors.binance.messages import ExchangeInfo, SymbolInfo
from flowtape.connectors.binance.pacing import Allowance, Backoff, Sleep, pause_named_s
from flowtape.connectors.binance.unreached import why_unreached
from flowtape.stream.errors import SourceError
from flowtape.stream.instrument import Instrument
from flowtape.stream.limits import TS_US_MAX

PAGE_ROWS = 1_000
INVALID_SYMBOL = -1121

ALARM_SHARE = 0.8
"""Above this part of the limit, as the venue counts it, nothing is asked until the minute ends."""

OPEN_ATTEMPTS = 4
OPEN_PAUSE_S_MAX = 15.0

_log = logging.getLogger(__name__)


class RestError(SourceError):
    """A query that got no usable answer.

    Attributes:
        code: Binance's error code, if the answer had one.
        pause_s: how long the venue wants not to be asked, None when it did not say.
        transient: the same query may succeed later.
        slow: the answer did not come in time; one for fewer rows may.
        unreadable: what is wrong with the answer, if that is what is wrong.
    """

    def __init__(
        self,
        text: str,
        *,
        code: int | None = None,
        pause_s: float | None = None,
        transient: bool = True,
        slow: bool = False,
        unreadable: DecodeError | None = None,
    ) -> None:
        super().__init__(text)
        self.code = code
        self.pause_s = pause_s
        self.transient = transient
        self.slow = slow
        self.unreadable = unreadable


@dataclass(frozen=True, slots=True)
class Listed:
    """What the venue says of a symbol, and its own time then, 0 when it did not say."""

    info: SymbolInfo
    server_us: int


class RestClient:
    """Queries about one market; an async context manager that owns its HTTP session.

    When a host does not answer, the next one of `spare_urls` is asked from then on. Clients of one
    `clock_us` may share an `allowance`.
    """

    def __init__(
        self,
        api: MarketApi,
        base_url: str,
        *,
        clock_us: Callable[[], int],
        rng: random.Random,
        sleep: Sleep = asyncio.sleep,
        request_s: float = 10.0,
        spare_urls: Sequence[str] = (),
        allowance: Allowance | None = None,
    ) -> None:
        self._api = api
        self._base_urls = (base_url, *spare_urls)
        self._base_url = base_url
        self._clock_us = clock_us
        self._rng = rng
        self._sleep = sleep
        self._request_s = request_s
        self._allowance = allowance or Allowance(api.weight_per_minute)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        headers = {"X-MBX-TIME-UNIT": "MICROSECOND"} if self._api.microseconds else {}
        self._session = aiohttp.ClientSession(
            headers=headers,
            timeout=aiohttp.ClientTimeout(total=self._request_s),
            trust_env=not is_loopback(self._base_url),
        )
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    @property
    def is_here(self) -> bool:
        """Whether the venue is on this machine."""
        return is_loopback(self._base_url)

    async def instrument(self, symbol: str) -> Instrument:
        """Return the instrument of a symbol; see `patiently_listed`."""
        return instrument_of((await self.patiently_listed(symbol)).info, self._api.market)

    async def patiently_listed(self, symbol: str) -> Listed:
        """Return what the venue says of a symbol, trying a few times.

        Raises InputError when the venue does not list it and SourceError when the venue cannot be
        reached or does not answer.
        """
        backoff = Backoff(0.25, 2.0, self._rng)
        while True:
            try:
                return await self.listed(symbol)
            except RestError as error:
                if error.code == INVALID_SYMBOL:
                    raise unknown_symbol(symbol, self._api.market) from None
                wait_s = backoff.next_s(error.pause_s or 0.0)
                hopeless = not error.transient or wait_s > OPEN_PAUSE_S_MAX
                if hopeless or backoff.failures >= OPEN_ATTEMPTS:
                    raise SourceError(f"{error}; check --rest-url and --market") from None
                _log.warning("%s; trying again in %.1f s", error, wait_s)
                await self._sleep(wait_s)

    async def agg_trades(self, instrument: Instrument, from_id: int | None, limit: int) -> Page:
        """Return up to `limit` (at most 1,000) trades from `from_id` on, or the newest ones.

        Raises RestError.
        """
        params = {"symbol": instrument.symbol, "limit": str(limit)}
        if from_id is not None:
            params["fromId"] = str(from_id)
        body = await self._get("aggTrades", params, self._api.agg_trades_weight)
        try:
            return decode_page(body, instrument, limit)
        except DecodeError as error:
            text = f"{self._base_url} aggTrades: {error}"
            raise RestError(text, unreadable=error) from None

    async def server_us(self) -> int:
        """Return the venue's time; raises RestError."""
        body = await self._get("time", {}, 1)
        try:
            return time_us(decode_server_time(body))
        except DecodeError as error:
            raise RestError(f"{self._base_url} time: {error}", unreadable=error) from None

    async def listed(self, symbol: str) -> Listed:
        """Return what the venue says of a symbol now.

        Raises RestError, and InputError when the venue does not list it.
        """
        said = await self._exchange_info(symbol)
        for info in said.symbols:
            if info.symbol == symbol:
                return Listed(info, max(0, min(time_us(said.server_time), TS_US_MAX)))
        raise unknown_symbol(symbol, self._api.market)

    async def _exchange_info(self, symbol: str) -> ExchangeInfo:
        params = {"symbol": symbol} if self._api.market == "spot" else {}
        body = await self._get("exchangeInfo", params, self._api.exchange_info_weight)
        try:
            return decode_exchange_info(body)
        except DecodeError as error:
            raise RestError(f"{self._base_url}: {error}", transient=False) from None

    async def _get(self, path: str, params: dict[str, str], weight: int) -> bytes:
        if self._session is None:
            raise RuntimeError("the REST client is not open")
        now_us = self._clock_us()
        free_us = self._allowance.free_us
        if now_us < free_us:
            raise RestError(f"{self._base_url} asked for a pause", pause_s=(free_us - now_us) / 1e6)
        wait_s = self._allowance.weight.spend(weight, now_us)
        if wait_s > 0:
            await self._sleep(wait_s)
        base_url = self._base_url
        url = f"{base_url}{self._api.rest_prefix}/{path}"
        try:
            async with self._session.get(url, params=params) as response:
                body = await response.read()
        except aiohttp.InvalidURL as error:
            raise RestError(f"{url} is no address: {error}", transient=False) from None
        except aiohttp.ClientConnectorError as error:
            why, spare = why_unreached(error, self._request_s), self._leave(base_url)
            raise RestError(f"cannot reach {base_url}: {why}", transient=spare) from None
        except TimeoutError:
            self._leave(base_url)
            text = f"{url} did not answer within {self._request_s:g} s"
            raise RestError(text, slow=True) from None
        except (aiohttp.ClientError, OSError) as error:
            self._leave(base_url)
            raise RestError(f"{url} broke off: {error}") from None
        self._watch_weight(response)
        if response.status == 200:
            return body
        if response.status >= 500:
            self._leave(base_url)
        raise self._failure(url, response, body)

    def _leave(self, base_url: str) -> bool:
        """Ask another host from now on, where the one that failed is asked; tells if there is one.

        Being refused for asking too much is no reason: the weight counts for all hosts together.
        """
        if base_url == self._base_url:
            at = self._base_urls.index(base_url)
            self._base_url = self._base_urls[(at + 1) % len(self._base_urls)]
        return len(self._base_urls) > 1

    def _failure(self, url: str, response: aiohttp.ClientResponse, body: bytes) -> RestError:
        status = response.status
        error = decode_error(body)
        said = f"{error.code} {error.msg}" if error else (response.reason or "no reason given")
        text = f"{url} answered {status}: {said}"
        if status in (403, 418, 429):
            pause_s = pause_named_s(response.headers.get("Retry-After"))
            self._stand_still(pause_s)
            return RestError(text, pause_s=pause_s)
        transient = status >= 500 or status == 408
        return RestError(text, code=error.code if error else None, transient=transient)

    def _watch_weight(self, response: aiohttp.ClientResponse) -> None:
        used = response.headers.get("x-mbx-used-weight-1m", "")
        if used.isdecimal() and int(used) > ALARM_SHARE * self._api.weight_per_minute:
            try:
                second = parsedate_to_datetime(response.headers.get("Date", "")).second
            except ValueError:
                second = 0
            self._stand_still(61 - second)
            _log.warning("request weight %s is near the limit; pausing until the minute ends", used)

    def _stand_still(self, pause_s: float) -> None:
        allowance = self._allowance
        allowance.free_us = max(allowance.free_us, self._clock_us() + int(pause_s * 1e6))
