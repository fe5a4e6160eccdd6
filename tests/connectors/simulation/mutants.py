"""Clients that are broken on purpose, each in one place."""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from unittest import mock

from flowtape.connectors.binance.client import BinanceSource
from flowtape.connectors.binance.decode import Page
from flowtape.connectors.binance.links import LinkKeeper
from flowtape.connectors.binance.listing_watch import ListingWatch
from flowtape.connectors.binance.market_clock import MarketClock
from flowtape.connectors.binance.rest import RestClient, RestError
from flowtape.connectors.binance.rows import Row
from flowtape.connectors.binance.sequencer import FetchAggTrades, Sequencer
from flowtape.stream.ports import Clock, Gap


def _forget_the_tail(self: Sequencer, now_us: int) -> None:
    """Nothing is asked after a reconnect."""


def _release_behind_holes(self: Sequencer) -> None:
    for agg_id in sorted(self._held):
        self._ready.append(self._held.pop(agg_id))
        self._last_id = agg_id
    self._holes.clear()


_look_back = Sequencer._look_back
_give_up = Sequencer._give_up
_receive_page = Sequencer.receive_page
_open_hole = Sequencer._open_hole
_agg_trades = RestClient.agg_trades
_failure = RestClient._failure
_statement = MarketClock.statement


def _pass_duplicates(self: Sequencer, row: Row, *, repair: bool) -> None:
    self._ready.append(row)
    _look_back(self, row, repair=repair)


def _swallow_gaps(self: Sequencer, reason: str | None = None) -> None:
    _give_up(self, reason)
    self._ready = [item for item in self._ready if not isinstance(item, Gap)]


def _give_up_at_once(self: Sequencer, from_id: int, to_id: int, now_us: int) -> None:
    _open_hole(self, from_id, to_id, now_us - self._config.hold_us)


def _lose_the_last_row(
    self: Sequencer, fetch: FetchAggTrades, rows: Iterable[Row], now_us: int, *, exhausted: bool
) -> None:
    _receive_page(self, fetch, list(rows)[:-1], now_us, exhausted=True)


def _never_retry(self: Sequencer, fetch: FetchAggTrades, *_: Any, **__: Any) -> None:
    self._asked = None
    self._tail_us = None
    for hole in self._holes:
        hole.ask_us += 10**12


def _stay_closed(self: LinkKeeper, report: Any) -> None:
    self._links.pop(report.link, None)


def _close_before_the_next(self: LinkKeeper, last_id: int) -> None:
    if len(self._links) > 1 and any(link.data_us is not None for link in self._links):
        self._close_retiring()


def _keep_the_first_rules(self: ListingWatch, *_: Any) -> None:
    self._asked = False


async def _milliseconds(self: RestClient, instrument: Any, from_id: int | None, limit: int) -> Page:
    page = await _agg_trades(self, instrument, from_id, limit)
    rows = [Row(r.agg_id, r.ts_us // 1_000 * 1_000, *_after_time(r)) for r in page.rows]
    return Page(rows, page.errors, page.exhausted)


def _after_time(row: Row) -> tuple[int, int, int, int, bool]:
    return row.price_ticks, row.qty_lots, row.first_id, row.last_id, row.is_buyer_maker


def _hasty_clock(self: MarketClock, now_us: int) -> Clock | None:
    said = _statement(self, now_us)
    return said and Clock(said.ts_us + 300_000)


def _impatient(self: RestClient, *answer: Any) -> RestError:
    error = _failure(self, *answer)
    error.pause_s, self._allowance.free_us = None, 0
    return error


def _count_absence(self: BinanceSource) -> None:
    """Time in which the machine slept counts as time in which REST did not answer."""


Mutant = tuple[type, str, Callable[..., Any]]

MUTANTS: dict[str, Mutant] = {
    "forgets to repair after a reconnect": (Sequencer, "catch_up", _forget_the_tail),
    "releases behind a hole": (Sequencer, "_release", _release_behind_holes),
    "passes duplicates on": (Sequencer, "_look_back", _pass_duplicates),
    "swallows gaps": (Sequencer, "_give_up", _swallow_gaps),
    "gives up at once": (Sequencer, "_open_hole", _give_up_at_once),
    "loses the last row of a page": (Sequencer, "receive_page", _lose_the_last_row),
    "never asks again": (Sequencer, "fetch_failed", _never_retry),
    "does not reconnect": (LinkKeeper, "closed", _stay_closed),
    "cuts REST times to milliseconds": (RestClient, "agg_trades", _milliseconds),
    "asks REST when told to wait": (RestClient, "_failure", _impatient),
    "takes its own sleep for the venue's": (BinanceSource, "_notice_absence", _count_absence),
    "leaves a connection too early": (LinkKeeper, "settle", _close_before_the_next),
    "keeps the rules it began with": (ListingWatch, "told", _keep_the_first_rules),
    "runs ahead of the venue": (MarketClock, "statement", _hasty_clock),
}


@contextlib.contextmanager
def broken(name: str) -> Iterator[None]:
    """Have one thing broken for a while."""
    where, what, how = MUTANTS[name]
    with mock.patch.object(where, what, how):
        yield
