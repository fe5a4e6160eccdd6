"""Asking REST for the ids that the files of the archive lack."""

import asyncio
import bisect
import random
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING

import numpy as np

from flowtape.connectors.binance.archive import MICROSECONDS_SINCE, day_start_us
from flowtape.connectors.binance.pacing import Backoff, Sleep
from flowtape.connectors.binance.rest import PAGE_ROWS, RestClient, RestError
from flowtape.connectors.binance.rows import Row, trades_of
from flowtape.replay.tape_writer import add_trades, finer
from flowtape.stream.errors import InputError, SourceError, TapeError
from flowtape.stream.trades import Trades

if TYPE_CHECKING:
    from flowtape.connectors.binance.decode import Page
    from flowtape.replay.coverage import Coverage
    from flowtape.replay.health import IdRange
    from flowtape.replay.tapes import TapeStore
    from flowtape.stream.instrument import Instrument

ATTEMPTS = 5
PAUSE_S_MAX = 180.0

_ROWS_KEPT = 100_000
_DAY = timedelta(days=1)


@dataclass(slots=True)
class Refilled:
    """What REST gave: how many new trades, and in a line why it was not asked to the end."""

    trade_count: int = 0
    problem: str = ""


class Refiller:
    """Fills what a tape lacks of the days asked for; what came is kept whatever comes after."""

    def __init__(
        self,
        client: RestClient,
        store: "TapeStore",
        instrument: "Instrument",
        *,
        rng: random.Random,
        sleep: Sleep = asyncio.sleep,
        tell: Callable[[int, int], None] = lambda _done, _total: None,
    ) -> None:
        self._client = client
        self._store = store
        self._instrument = instrument
        self._rng = rng
        self._sleep = sleep
        self._tell = tell
        self._asked_for_grid = False
        self._rows: list[Row] = []
        self._filled = Refilled()

    async def run(self, gaps: "list[IdRange]", edges: "list[tuple[date, int, bool]]") -> Refilled:
        """Ask for the ids of `gaps`, ascending, and for what lies beyond the ids of `edges`.

        An edge is a day, an id of it, and whether the ids after that one are in question, or those
        before it. Raises TapeError when the tape cannot be written.
        """
        try:
            await self._fill(gaps)
            for day, agg_id, forward in edges:
                await (self._look_on(day, agg_id) if forward else self._look_back(day, agg_id))
        except TapeError:
            raise
        except (SourceError, InputError) as error:
            self._filled.problem = str(error)
        await self._write()
        return self._filled

    async def _fill(self, gaps: "list[IdRange]") -> None:
        total = sum(gap.to_id - gap.from_id + 1 for gap in gaps)
        starts = [gap.from_id for gap in gaps]
        done = at = cursor = 0
        while at < len(gaps):
            from_id = max(gaps[at].from_id, cursor)
            page = await self._page(from_id)
            for row in page.rows:
                inside = bisect.bisect_right(starts, row.agg_id) - 1
                if inside >= 0 and from_id <= row.agg_id <= gaps[inside].to_id:
                    self._rows.append(row)
                    done += 1
            if len(self._rows) >= _ROWS_KEPT:
                await self._write()
            self._tell(done, total)
            if page.exhausted or not page.rows or page.rows[-1].agg_id < from_id:
                return
            cursor = page.rows[-1].agg_id + 1
            at = bisect.bisect_left(gaps, cursor, lo=at, key=lambda gap: gap.to_id)

    async def _look_on(self, day: date, agg_id: int) -> None:
        end_us = day_start_us(day + _DAY)
        while True:
            page = await self._page(agg_id + 1)
            rows = [row for row in page.rows if row.agg_id > agg_id and row.ts_us < end_us]
            self._rows += rows
            if page.exhausted or not rows or len(rows) < len(page.rows):
                return
            agg_id = rows[-1].agg_id

    async def _look_back(self, day: date, agg_id: int) -> None:
        start_us = day_start_us(day)
        while agg_id > 0:
            page = await self._page(max(0, agg_id - PAGE_ROWS))
            before = [row for row in page.rows if row.agg_id < agg_id]
            rows = [row for row in before if row.ts_us >= start_us]
            self._rows += rows
            if not rows or len(rows) < len(before):
                return
            agg_id = rows[0].agg_id

    async def _page(self, from_id: int) -> "Page":
        backoff = Backoff(0.5, 30.0, self._rng)
        while True:
            try:
                page = await self._client.agg_trades(self._instrument, from_id, PAGE_ROWS)
            except RestError as error:
                wait_s = backoff.next_s(error.pause_s or 0.0)
                hopeless = not error.transient or wait_s > PAUSE_S_MAX
                if hopeless or backoff.failures >= ATTEMPTS:
                    raise
                await self._sleep(wait_s)
                continue
            if page.errors and not self._asked_for_grid:
                # A row may need more decimals than any row of the tape did.
                self._asked_for_grid = True
                listed = await self._client.instrument(self._instrument.symbol)
                self._instrument = finer(self._instrument, listed)
                continue
            return page

    async def _write(self) -> None:
        rows, self._rows = self._rows, []
        if rows:
            trades = _as_in_files(trades_of(rows), self._instrument)
            changes = await asyncio.to_thread(add_trades, self._store, self._instrument, [trades])
            self._filled.trade_count += sum(change.added_count for change in changes)


def open_edges(
    coverage: "Coverage", asked: Collection[date], since: date
) -> list[tuple[date, int, bool]]:
    """Return the edges to ask about: days asked for, from `since` on, without a day beside them."""
    found = []
    for day in sorted(set(asked) & set(coverage.days)):
        ids = coverage.days[day].sequence
        if day >= since and day - _DAY not in coverage.days:
            found.append((day, ids.first_id, False))
        if day >= since and day + _DAY not in coverage.days:
            found.append((day, ids.last_id, True))
    return found


def _as_in_files(trades: Trades, instrument: "Instrument") -> Trades:
    """Return trades with times no finer than those of the files that they join."""
    us_since = day_start_us(MICROSECONDS_SINCE) if instrument.market == "spot" else 1 << 62
    coarse = trades.ts_us // 1_000 * 1_000
    return Trades(
        trades.agg_id,
        np.where(trades.ts_us < us_since, coarse, trades.ts_us),
        trades.price_ticks,
        trades.qty_lots,
        trades.first_id,
        trades.last_id,
        trades.side,
    )
