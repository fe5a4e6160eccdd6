"""Live trades of one symbol: connections and queries around the sequencer that orders them."""

import asyncio
import logging
import random
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from flowtape.connectors.binance.asking import Answer, Asker, Newest, NoAnswer, NotListed
from flowtape.connectors.binance.dead_letters import DeadLetter, DeadLetterOffice
from flowtape.connectors.binance.decode import raw_rows
from flowtape.connectors.binance.intake import Intake
from flowtape.connectors.binance.lag import clock_off_us
from flowtape.connectors.binance.link import Closed, LinkReport, LinkTimes, Opened, Received, Silent
from flowtape.connectors.binance.links import KeepTimes, LinkKeeper
from flowtape.connectors.binance.listing_watch import ListingWatch
from flowtape.connectors.binance.market_clock import MarketClock
from flowtape.connectors.binance.markets import (
    base_url,
    instrument_of,
    market_api,
    unknown_symbol,
)
from flowtape.connectors.binance.pacing import Allowance, Backoff, Sleep
from flowtape.connectors.binance.rest import INVALID_SYMBOL, Listed, RestClient, RestError
from flowtape.connectors.binance.sequencer import Sequencer, SequencerConfig, joined
from flowtape.connectors.binance.source_types import SourceStatistics, SourceTimes
from flowtape.stream.errors import SourceError
from flowtape.stream.execution import VenueRules
from flowtape.stream.instrument import Instrument
from flowtape.stream.ports import Event, Gap

INBOX_MAX = 16
"""Reports that may wait; each one has all that a connection brought since the one before."""

TURN_US_MAX = 1_500_000
"""Turns come every second at least: in a longer one the machine slept or the consumer was busy."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Crash:
    error: Exception


_Answers = Answer | NoAnswer | Newest | Listed | NotListed | _Crash


def monotonic_us() -> int:
    """Return this machine's steady clock in microseconds."""
    return time.monotonic_ns() // 1_000


class BinanceSource:
    """Trades of one symbol from Binance as they happen, every id once and in order.

    Frames that queued up while the consumer was busy become one `Trades`. Lost frames are repaired
    over REST before anything behind them goes out; what cannot be repaired is declared by a `Gap`.
    Connections are renewed, overlapping, before the venue ends them. An async context manager;
    `events` may be iterated once.

    Args:
        symbol: such as BTCUSDT, in any case.
        market: `spot` or `um`.
        stream_url: the venue's WebSocket address; Binance's own when None.
        rest_url: the venue's REST address; Binance's own when None.
        silence_s: how long a connection may bring nothing before it is doubted.
        start_after: the last aggregate id already known; trades since then are fetched first.
        times: further waiting times.
        sequencing: bounds of holding and repairing.
        dead_letters: called with what no trade came of, its raw text and the reason.
        instrument: the one of a session that goes on; it is kept if its decimals still hold
            whatever the venue prints.
        rules_changed: called with the venue's rules of orders that changed, names and values.
        allowance: what may be asked of the venue, for sources that share an address and a clock.
        rng: source of jitter in delays.
        clock_us: a steady clock in microseconds.
        sleep: how delays are waited for.
    """

    def __init__(
        self,
        symbol: str,
        *,
        market: str = "spot",
        stream_url: str | None = None,
        rest_url: str | None = None,
        silence_s: float = 30.0,
        start_after: int | None = None,
        times: SourceTimes | None = None,
        sequencing: SequencerConfig | None = None,
        dead_letters: Callable[[DeadLetter], None] | None = None,
        instrument: Instrument | None = None,
        rules_changed: Callable[[dict[str, int]], None] | None = None,
        allowance: Allowance | None = None,
        rng: random.Random | None = None,
        clock_us: Callable[[], int] = monotonic_us,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        api = market_api(market)
        self._symbol = symbol.upper()
        times = times or SourceTimes()
        self._rng = rng or random.Random()
        self._clock_us = clock_us
        self._api = api
        allowance = allowance or Allowance(api.weight_per_minute)
        self._rest = RestClient(
            api,
            base_url(rest_url or api.rest_url, ("http", "https"), "--rest-url"),
            clock_us=clock_us,
            rng=self._rng,
            sleep=sleep,
            request_s=times.request_s,
            spare_urls=() if rest_url else api.spare_rest_urls,
            allowance=allowance,
        )
        self._asker = Asker(self._rest, self._spawn, self._answer)
        stream_urls = [stream_url] if stream_url else [api.stream_url, *api.spare_stream_urls]
        self._inbox: asyncio.Queue[LinkReport | None] = asyncio.Queue(INBOX_MAX)
        self._links = LinkKeeper(
            [
                api.stream_address(base_url(url, ("ws", "wss"), "--stream-url"), self._symbol)
                for url in stream_urls
            ],
            self._inbox.put,
            self._spawn,
            link_times=LinkTimes(
                first_data_s=min(times.first_data_s, silence_s),
                silence_s=silence_s,
                connect_s=times.connect_s,
                close_s=times.close_s,
                ping_s=times.ping_s,
            ),
            times=KeepTimes(times.rotate_s, times.stable_s, times.retry_base_s, times.retry_cap_s),
            attempts=allowance.connects,
            rng=self._rng,
            clock_us=clock_us,
            sleep=sleep,
        )
        self._answers: deque[_Answers] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._known = instrument
        self._instrument: Instrument | None = None
        self._listing = ListingWatch(times.rules_s, rules_changed, self._rng, clock_us())
        self._sequencer = Sequencer(sequencing or SequencerConfig(), start_after)
        self._market_clock = MarketClock(int(times.quiet_s * 1e6))
        self._repair_retry = Backoff(0.1, times.repair_retry_s, self._rng)
        self._dead_letters = DeadLetterOffice(dead_letters)
        self._intake = Intake(
            self._sequencer, self._links, self._market_clock, self._dead_letters, clock_us
        )
        self._trades = 0
        self._finish_s = times.finish_s
        self._finish_us: int | None = None
        self._turn_us = clock_us()
        self._absent_us = 0
        self._busy = False

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    @property
    def instrument(self) -> Instrument:
        """Return what the trades are about; known once the source was opened."""
        if self._instrument is None:
            raise SourceError(f"the source of {self._symbol} is not open yet")
        return self._instrument

    @property
    def rules(self) -> VenueRules:
        """Return what the venue takes as an order; known once the source was opened."""
        return self._listing.rules

    @property
    def last_id(self) -> int | None:
        """Return the last aggregate id that went out or was declared missing."""
        return self._sequencer.last_id

    @property
    def statistics(self) -> SourceStatistics:
        """Return what was seen so far."""
        counts = self._sequencer.counts
        return SourceStatistics(
            connected=self._links.standing,
            halted=self._listing.halted,
            repairing=self._sequencer.holding,
            frames=self._intake.frame_count,
            trades=self._trades,
            duplicates=counts.duplicates,
            conflicts=counts.conflicts,
            late=counts.late,
            voids=counts.voids,
            repaired=counts.repaired,
            gaps=counts.gaps,
            missing=counts.missing,
            rejected=self._intake.rejected_count,
            foreign=self._intake.foreign_count,
            reconnects=max(0, self._links.made_count - 1),
            lag_us=self._intake.lag_us,
        )

    def take_worst_lag_us(self) -> int:
        """Return how far frames lagged behind at most since this was last asked."""
        return self._intake.take_worst_lag_us()

    async def open(self) -> Instrument:
        """Ask the venue about the symbol and return its instrument.

        Raises InputError for a symbol the venue does not list, SourceError when it cannot be asked.
        """
        await self._rest.__aenter__()
        try:
            listed = await self._rest.patiently_listed(self._symbol)
            self._instrument = self._fitting(instrument_of(listed.info, self._api.market))
            self._listing.begin(listed, self._instrument, self._clock_us())
        except BaseException:
            await self.close()
            raise
        return self._instrument

    def _fitting(self, own: Instrument) -> Instrument:
        """Return the known instrument if whatever the venue prints lies on its grid too."""
        known = self._known
        if (
            known is not None
            and (known.symbol, known.market) == (own.symbol, own.market)
            and known.price_decimals >= own.price_decimals
            and known.qty_decimals >= own.qty_decimals
        ):
            return known
        return own

    async def last_price_ticks(self) -> int | None:
        """Return the price of the newest trade, or None when the venue cannot say now."""
        try:
            page = await self._rest.agg_trades(self.instrument, None, 1)
        except RestError:
            return None
        return page.rows[-1].price_ticks if page.rows else None

    async def clock_off_us(self, wall_us: Callable[[], int]) -> int | None:
        """Return how far a wall clock is ahead of the venue's, negative when it is behind.

        None when the venue cannot say now, or is one on this machine, which may play the past.
        """
        if self._rest.is_here:
            return None
        before_us = wall_us()
        try:
            venue_us = await self._rest.server_us()
        except RestError:
            return None
        return clock_off_us(before_us, venue_us, wall_us())

    def finish(self) -> None:
        """Have `events` come to its end, with everything that has arrived given out.

        Trades that are being repaired are waited for, but not for long; what is missing then is
        declared by a `Gap`.
        """
        if self._finish_us is None:
            self._finish_us = self._clock_us() + int(self._finish_s * 1e6)
        self._rouse()

    async def close(self) -> None:
        """End every connection and query; may be called at any time and again."""
        while self._tasks:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._rest.__aexit__(None, None, None)

    async def events(self) -> AsyncGenerator[Event]:
        """Yield trades in id order, with gaps repaired or declared, and time in quiet markets.

        First of all, and when they change, come the venue's rules of orders.

        Raises SourceError when the venue cannot be reached at all or sends nonsense.
        """
        try:
            if self._instrument is None:
                await self.open()
            self._links.connect()
            self._turn_us = self._clock_us()
            while not self._has_finished():
                await self._take_reports()
                if self._listing.is_due(self._clock_us()):
                    self._asker.listed(self._symbol)
                self._sequencer.poll(self._steady_us())
                for fetch in self._sequencer.effects():
                    self._asker.trades(self.instrument, fetch)
                self._links.rotate()
                if self._sequencer.last_id is not None:
                    self._links.settle(self._sequencer.last_id)
                for event in self._events(self._clock_us()):
                    yield event
            self._sequencer.give_up("the stream was ended before they came")
            for event in self._events(self._clock_us()):
                yield event
        finally:
            await self.close()

    def _has_finished(self) -> bool:
        if self._finish_us is None:
            return False
        waiting = self._sequencer.holding or not self._inbox.empty()
        return not waiting or self._clock_us() >= self._finish_us

    async def _take_reports(self) -> None:
        wait_s = max(0.0, (self._wake_us() - self._clock_us()) / 1e6)
        reports: list[LinkReport | None] = []
        try:
            async with asyncio.timeout(wait_s):
                reports.append(await self._inbox.get())
        except TimeoutError:
            return
        finally:
            self._notice_absence()
        while len(reports) < INBOX_MAX and not self._inbox.empty():
            reports.append(self._inbox.get_nowait())
        self._busy = len(reports) > INBOX_MAX // 2
        while self._answers:
            self._take_answer(self._answers.popleft())
        for report in reports:
            if report is not None:
                self._take_report(report)

    def _wake_us(self) -> int:
        times = [self._clock_us() + 1_000_000]
        if self._finish_us is not None:
            times.append(self._finish_us)
        if self._may_tell_time():
            times.append(self._market_clock.wake_us())
        if (repair_us := self._sequencer.wake_us()) is not None:
            times.append(repair_us + self._absent_us)
        return min(times)

    def _steady_us(self) -> int:
        """Return the clock of holding and repairing, which stands while we cannot do either."""
        return self._clock_us() - self._absent_us

    def _notice_absence(self) -> None:
        now_us = self._clock_us()
        self._absent_us += max(0, now_us - self._turn_us - TURN_US_MAX)
        self._turn_us = now_us

    def _may_tell_time(self) -> bool:
        return self._links.standing and not self._sequencer.holding

    def _events(self, now_us: int) -> Iterator[Event]:
        if (rules := self._listing.take_news()) is not None:
            yield rules
        for event in joined(self._sequencer.take()):
            if isinstance(event, Gap):
                _log.warning("ids %d to %d are lost: %s", event.from_id, event.to_id, event.reason)
                self._market_clock.emitted(now_us)
            else:
                self._trades += len(event)
                self._market_clock.emitted(now_us, int(event.ts_us.max()))
            yield event
        if self._may_tell_time() and (statement := self._market_clock.statement(now_us)):
            yield statement

    def _take_report(self, report: LinkReport) -> None:
        match report:
            case Received():
                traded = self._intake.receive(
                    report, self.instrument, self._steady_us(), busy=self._busy
                )
                if traded:
                    self._listing.traded()
            case Opened():
                self._links.opened(report.link)
                self._sequencer.catch_up(self._steady_us())
            case Silent():
                self._silent(report)
            case Closed():
                self._links.closed(report)

    def _silent(self, report: Silent) -> None:
        self._links.silent(report)
        if self._listing.silent(self._clock_us()):
            self._asker.listed(self._symbol)
        if self._listing.halted and report.alive:
            return  # nothing is expected, and the connection stands
        self._sequencer.catch_up(self._steady_us())
        if self._sequencer.last_id is None:
            self._asker.newest(self.instrument)

    def _take_answer(self, answer: _Answers) -> None:
        match answer:
            case Answer():
                self._answered(answer)
            case NoAnswer():
                self._unanswered(answer)
            case Newest():
                self._sequencer.begin_after(answer.agg_id)
            case Listed():
                self._listing.told(answer, self.instrument, self._clock_us())
            case NotListed():
                self._listing.not_told(self._clock_us(), answer.pause_s)
            case _Crash():
                raise answer.error

    def _answered(self, report: Answer) -> None:
        self._repair_retry.reset()
        page = report.page
        for error in page.errors:
            self._intake.reject(error, "rest", self._clock_us())
        top_id = self._sequencer.top_id
        self._sequencer.receive_page(
            report.fetch, page.rows, self._steady_us(), exhausted=page.exhausted
        )
        if self._sequencer.strays:
            self._dead_letters.post_strays(
                "rest", self._sequencer.strays, raw_rows(page.body), self._clock_us()
            )
        if report.fetch.to_id is None and self._sequencer.top_id > top_id:
            self._links.outrun()

    def _unanswered(self, report: NoAnswer) -> None:
        error = report.error
        if error.code == INVALID_SYMBOL:
            raise unknown_symbol(self._symbol, self._api.market)
        _log.warning("repair from id %d failed: %s", report.fetch.from_id, error)
        if (bad := error.unreadable) is not None:
            self._dead_letters.post("rest", "unreadable", bad.reason, bad.raw, self._clock_us())
        retry_s = self._repair_retry.next_s(error.pause_s or 0.0)
        now_us = self._steady_us()
        self._sequencer.fetch_failed(
            report.fetch,
            f"REST did not answer: {error}",
            now_us,
            retry_us=now_us + int(retry_s * 1e6),
            blocked=error.pause_s is not None,
        )

    def _answer(self, answer: _Answers) -> None:
        self._answers.append(answer)
        self._rouse()

    def _rouse(self) -> None:
        if not self._inbox.full():
            self._inbox.put_nowait(None)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(self._guard(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _: work.close())  # cancelled before it began
        return task

    async def _guard(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception as error:
            self._answer(_Crash(error))
