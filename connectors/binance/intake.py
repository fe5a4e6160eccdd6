"""What connections bring, on its way into the sequencer."""

import logging
from collections import deque
from collections.abc import Callable

from flowtape.connectors.binance.dead_letters import DeadLetterOffice, Origin
from flowtape.connectors.binance.decode import (
    DecodeError,
    ShutdownNotice,
    TradeFrame,
    decode_frame,
)
from flowtape.connectors.binance.frame_connection import Message
from flowtape.connectors.binance.lag import LagMeter
from flowtape.connectors.binance.link import Received
from flowtape.connectors.binance.links import LinkKeeper
from flowtape.connectors.binance.market_clock import MarketClock
from flowtape.connectors.binance.plain_frames import PlainFrames, read_plain_frames
from flowtape.connectors.binance.rows import Row, rows_of
from flowtape.connectors.binance.sequencer import Sequencer
from flowtape.stream.errors import SourceError
from flowtape.stream.instrument import Instrument

REJECTS_MAX = 100
REJECTS_SPAN_US = 60_000_000

LEAP_IDS = 10_000
"""A trade so far above all known ones is doubted until another one comes right behind it."""

ROWS_AT_ONCE = 256
"""So many trades go into the sequencer one by one before it is asked whether many may."""

_log = logging.getLogger(__name__)


class Intake:
    """Reads frames of one instrument and gives their trades to the sequencer.

    Args:
        sequencer: gets the trades.
        links: learn what their connections brought, and which of them to replace.
        market_clock: learns the venue's time.
        dead_letters: get what no trade came of.
        clock_us: a steady clock in microseconds.
    """

    def __init__(
        self,
        sequencer: Sequencer,
        links: LinkKeeper,
        market_clock: MarketClock,
        dead_letters: DeadLetterOffice,
        clock_us: Callable[[], int],
    ) -> None:
        self._sequencer = sequencer
        self._links = links
        self._market_clock = market_clock
        self._dead_letters = dead_letters
        self._clock_us = clock_us
        self._lag = LagMeter()
        self._rejects: deque[int] = deque(maxlen=REJECTS_MAX + 1)
        self._doubted: tuple[Row, Message] | None = None
        self.frame_count = self.rejected_count = self.foreign_count = 0

    @property
    def lag_us(self) -> int:
        """Return how much longer the last frame took than the fastest one of its connection."""
        return self._lag.lag_us

    def take_worst_lag_us(self) -> int:
        """Return the longest lag since this was last asked."""
        return self._lag.take_worst_us()

    def receive(self, report: Received, instrument: Instrument, now_us: int, *, busy: bool) -> bool:
        """Take what a connection brought; tells whether there was a trade.

        `now_us` is the sequencer's clock; `busy` says that we are behind, not the connection.
        Raises SourceError when too much cannot be read, or the ids are of another numbering.
        """
        messages = report.messages
        self.frame_count += len(messages)
        at, traded = 0, False
        while at < len(messages):
            plain = read_plain_frames(messages, at, instrument)
            if count := len(plain.trades):
                first_id = int(plain.trades.agg_id[0])
                self._observe(report, first_id, int(plain.event_us[-1]), busy=busy)
                self._take_plain(plain, messages[at : at + count], report.received_us, now_us)
                at, traded = at + count, True
            else:
                traded |= self._take_other(report, messages[at], instrument, now_us, busy=busy)
                at += 1
        return traded

    def reject(self, error: DecodeError, origin: Origin, received_us: int) -> None:
        """Take note of what cannot be read; raises SourceError when that is too much."""
        self.rejected_count += 1
        _log.warning("%s", error)
        self._dead_letters.post(origin, "unreadable", error.reason, error.raw, received_us)
        now_us = self._clock_us()
        self._rejects.append(now_us)
        full = len(self._rejects) > REJECTS_MAX
        if full and now_us - self._rejects[0] < REJECTS_SPAN_US:
            raise SourceError(
                f"over {REJECTS_MAX} unreadable trades within a minute; if the venue changed its "
                f"tick size, start again; the last one: {error}"
            )

    def _take_plain(
        self, plain: PlainFrames, messages: list[Message], received_us: int, now_us: int
    ) -> None:
        sequencer, trades, at = self._sequencer, plain.trades, 0
        while at < len(trades):
            next_count = sequencer.receive_next(trades.slice(at, len(trades)))
            if next_count and self._doubted is not None:
                self._refute(received_us)
            at += next_count
            stop = min(at + ROWS_AT_ONCE, len(trades))
            for number, row in enumerate(rows_of(trades.slice(at, stop)), at):
                self._take_row(row, messages[number], received_us, now_us)
            at = stop
        if sequencer.strays:
            texts = dict(zip(trades.agg_id.tolist(), messages, strict=True))
            self._dead_letters.post_strays("stream", sequencer.strays, texts, received_us)

    def _take_row(self, row: Row, message: Message, received_us: int, now_us: int) -> None:
        sequencer = self._sequencer
        if self._doubted is not None:
            doubted, _ = self._doubted
            if 0 < row.agg_id - doubted.agg_id <= LEAP_IDS:
                self._doubted = None
                sequencer.receive(doubted, now_us)
            else:
                self._refute(received_us)
        elif sequencer.last_id is not None and row.agg_id - sequencer.top_id > LEAP_IDS:
            self._doubted = row, message
            sequencer.catch_up(now_us)
            return
        sequencer.receive(row, now_us)

    def _refute(self, received_us: int) -> None:
        assert self._doubted is not None
        (row, message), self._doubted = self._doubted, None
        reason = f"trade {row.agg_id} lies far above all others, and none followed it"
        self._dead_letters.post("stream", "doubted", reason, bytes(message), received_us)

    def _take_other(
        self, report: Received, message: Message, instrument: Instrument, now_us: int, *, busy: bool
    ) -> bool:
        if isinstance(message, bytearray):
            error = DecodeError(f"a binary frame of {len(message)} bytes", bytes(message))
            self.reject(error, "stream", report.received_us)
            return False
        try:
            event = decode_frame(message, instrument)
        except DecodeError as error:
            self.reject(error, "stream", report.received_us)
            return False
        if isinstance(event, TradeFrame) and event.symbol == instrument.symbol:
            self._observe(report, event.row.agg_id, event.event_us, busy=busy)
            self._take_row(event.row, message, report.received_us, now_us)
            if self._sequencer.strays:
                texts = {event.row.agg_id: message}
                self._dead_letters.post_strays(
                    "stream", self._sequencer.strays, texts, report.received_us
                )
            return True
        if isinstance(event, ShutdownNotice):
            self._links.replace(report.link, "the server announced its shutdown")
        else:
            self.foreign_count += 1
            _log.debug("not used: %s", event)
        return False

    def _observe(self, report: Received, agg_id: int, event_us: int, *, busy: bool) -> None:
        first = self._links.proved(report.link, agg_id)
        self._market_clock.pushed(event_us, report.received_us)
        behind = self._lag.observe(event_us, report.received_us, first=first)
        if behind and not busy:
            self._links.replace(report.link, "the connection stays behind")
