"""What a source asks of REST while it runs, one task for each question."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from flowtape.connectors.binance.decode import Page
from flowtape.connectors.binance.rest import PAGE_ROWS, Listed, RestClient, RestError
from flowtape.connectors.binance.sequencer import FetchAggTrades
from flowtape.stream.errors import FlowError
from flowtape.stream.instrument import Instrument

PAGE_ROWS_MIN = 50

TRADING = "TRADING"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Answer:
    """A page of trades."""

    fetch: FetchAggTrades
    page: Page


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """Why there is no page."""

    fetch: FetchAggTrades
    error: RestError


@dataclass(frozen=True, slots=True)
class Newest:
    """The id of the newest trade there is."""

    agg_id: int


@dataclass(frozen=True, slots=True)
class NotListed:
    """The venue did not say what it lists, and may want not to be asked for a while."""

    pause_s: float


class Asker:
    """Asks about one instrument; `answered` gets each answer.

    Pages that did not come in time are asked for again with fewer rows, which a thin line may
    carry, and with more again when that went well.
    """

    def __init__(
        self,
        rest: RestClient,
        spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
        answered: Callable[[Answer | NoAnswer | Newest | Listed | NotListed], None],
    ) -> None:
        self._rest = rest
        self._spawn = spawn
        self._answered = answered
        self._page_rows = PAGE_ROWS

    def trades(self, instrument: Instrument, fetch: FetchAggTrades) -> None:
        """Ask for a page; ends in an Answer or NoAnswer."""
        self._spawn(self._trades(instrument, fetch))

    def newest(self, instrument: Instrument) -> None:
        """Ask where the market stands; ends in Newest if that can be known."""
        self._spawn(self._newest(instrument))

    def listed(self, symbol: str) -> None:
        """Ask how the symbol is traded; ends in a Listed or NotListed."""
        self._spawn(self._listed(symbol))

    async def _trades(self, instrument: Instrument, fetch: FetchAggTrades) -> None:
        limit = self._page_rows
        if fetch.to_id is not None:
            limit = min(limit, fetch.to_id - fetch.from_id + 1)
        try:
            page = await self._rest.agg_trades(instrument, fetch.from_id, limit)
        except RestError as error:
            if error.slow:
                self._page_rows = max(PAGE_ROWS_MIN, self._page_rows // 2)
            self._answered(NoAnswer(fetch, error))
        else:
            self._page_rows = min(PAGE_ROWS, 2 * self._page_rows)
            self._answered(Answer(fetch, page))

    async def _newest(self, instrument: Instrument) -> None:
        try:
            page = await self._rest.agg_trades(instrument, None, 1)
        except RestError as error:
            _log.warning("%s", error)
            return
        if page.rows:
            self._answered(Newest(page.rows[-1].agg_id))

    async def _listed(self, symbol: str) -> None:
        try:
            self._answered(await self._rest.listed(symbol))
        except FlowError as error:
            _log.warning("%s", error)
            self._answered(NotListed(getattr(error, "pause_s", None) or 0.0))
