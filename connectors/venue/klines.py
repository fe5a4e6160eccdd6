"""Klines from trades: the spans of time they cover, and what traded in each."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flowtape.connectors.venue.market import VenueMarket
from flowtape.connectors.venue.pieces import picked
from flowtape.stream.trades import BUY, I64, Trades

SECOND_US = 1_000_000
_DAY_S = 86_400
_MONDAY_US = 4 * _DAY_S * SECOND_US  # 1970-01-05, on which weeks are aligned
_MONTH = "1M"
_SECONDS = {
    "1s": 1,
    "1m": 60,
    "3m": 180,
    "5m": 300,
    "15m": 900,
    "30m": 1_800,
    "1h": 3_600,
    "2h": 7_200,
    "4h": 14_400,
    "6h": 21_600,
    "8h": 28_800,
    "12h": 43_200,
    "1d": _DAY_S,
    "3d": 3 * _DAY_S,
    "1w": 7 * _DAY_S,
}
INTERVALS = (*_SECONDS, _MONTH)
_INT64_MAX = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Interval:
    """A kline interval such as `1m`; `offset_us` moves its days east of UTC."""

    name: str
    offset_us: int = 0

    def opens(self, ts_us: I64) -> I64:
        """Return when the klines open that hold these times."""
        local_us = ts_us + self.offset_us
        if self.name == _MONTH:
            months = local_us.astype("datetime64[us]").astype("datetime64[M]")
            return months.astype("datetime64[us]").astype(np.int64) - self.offset_us
        length_us = _SECONDS[self.name] * SECOND_US
        anchor_us = _MONDAY_US if self.name == "1w" else 0
        steps = (local_us - anchor_us) // length_us
        return steps * length_us + anchor_us - self.offset_us

    def bars(self, trades: Trades) -> "list[Bar]":
        """Return the bars of trades."""
        return bars_of(trades, self.opens(trades.ts_us))

    def open_us(self, ts_us: int) -> int:
        """Return when the kline opens that holds a time."""
        return int(self.opens(np.array([ts_us], np.int64))[0])

    def next_us(self, open_us: int) -> int:
        """Return when the next kline opens."""
        if self.name == _MONTH:
            return self.open_us(open_us + 32 * _DAY_S * SECOND_US)
        return open_us + _SECONDS[self.name] * SECOND_US


@dataclass(frozen=True, slots=True)
class Bar:
    """What traded in a span of time: prices in ticks, volumes in lots and in ticks times lots.

    `first_id, last_id` are of raw trades and -1 where nothing traded; so is `count` of raw trades.
    `taker` volumes are those of aggressive buyers.
    """

    open_us: int
    open: int
    high: int
    low: int
    close: int
    lots: int = 0
    tick_lots: int = 0
    taker_lots: int = 0
    taker_tick_lots: int = 0
    first_id: int = -1
    last_id: int = -1
    count: int = 0

    def joined(self, later: "Bar") -> "Bar":
        """Return this bar with what traded later added to it."""
        return Bar(
            self.open_us,
            self.open if self.count else later.open,
            max(self.high, later.high) if self.count else later.high,
            min(self.low, later.low) if self.count else later.low,
            later.close,
            self.lots + later.lots,
            self.tick_lots + later.tick_lots,
            self.taker_lots + later.taker_lots,
            self.taker_tick_lots + later.taker_tick_lots,
            self.first_id if self.count else later.first_id,
            later.last_id,
            self.count + later.count,
        )

    def flat(self, open_us: int) -> "Bar":
        """Return the bar of a span behind this one in which nothing traded."""
        return Bar(open_us, self.close, self.close, self.close, self.close)


def bars_of(trades: Trades, opens: I64) -> list[Bar]:
    """Return the bars of trades, each of which belongs to the bar that opens at `opens`.

    Trades keep their order within a bar; bars ascend. Rows that were taken back do not count.
    """
    real = trades.qty_lots > 0
    if not real.all():
        trades, opens = picked(trades, real), opens[real]
    if not len(trades):
        return []
    if (np.diff(opens) < 0).any():
        order = np.argsort(opens, kind="stable")
        trades, opens = picked(trades, order), opens[order]
    starts = np.concatenate([[0], np.flatnonzero(np.diff(opens)) + 1])
    ends = np.append(starts[1:], len(opens)) - 1
    price, lots = trades.price_ticks, trades.qty_lots
    bought = np.where(trades.side == BUY, lots, 0)
    firsts = np.where(trades.first_id >= 0, trades.first_id, trades.agg_id)
    lasts = np.where(trades.last_id >= 0, trades.last_id, trades.agg_id)
    counts = np.where(trades.first_id >= 0, trades.last_id - trades.first_id + 1, 1)
    columns = (
        opens[starts],
        price[starts],
        np.maximum.reduceat(price, starts),
        np.minimum.reduceat(price, starts),
        price[ends],
        _sums(lots, None, starts),
        _sums(lots, price, starts),
        _sums(bought, None, starts),
        _sums(bought, price, starts),
        firsts[starts],
        lasts[ends],
        np.add.reduceat(counts, starts),
    )
    return [Bar(*row) for row in zip(*(column.tolist() for column in columns), strict=True)]


def whole(trades: Trades) -> Bar | None:
    """Return all trades as one bar."""
    bars = bars_of(trades, np.zeros(len(trades), np.int64))
    return bars[0] if bars else None


def klines(
    market: VenueMarket,
    interval: Interval,
    *,
    now_us: int,
    start_us: int | None,
    end_us: int | None,
    limit: int,
) -> list[Bar]:
    """Return klines that open between two times, without a hole from the first trade to now.

    From `start_us` on the oldest `limit` of them, without it the newest. The first one begins with
    the first trade there is, so it may be less than whole; the last one is not over.
    """
    pieces = market.happened()
    if not pieces:
        return []
    first = interval.open_us(pieces[0].first_us)
    last = max(interval.open_us(now_us), first)
    if end_us is not None:
        last = min(last, interval.open_us(end_us))
    if start_us is None:
        opens = list(_back(interval, last, first, limit))
    else:
        at = interval.open_us(max(start_us, first))
        at = at if at >= start_us else interval.next_us(at)
        opens = list(_forth(interval, at, last, limit))
    if not opens:
        return []
    found: dict[int, Bar] = {}
    for piece in market.between(opens[0], interval.next_us(opens[-1]) - 1):
        for bar in piece.once(interval, interval.bars):
            known = found.get(bar.open_us)
            found[bar.open_us] = bar if known is None else known.joined(bar)
    before = market.newest(1, opens[0] - 1)
    price = before[0].price_ticks if before else 0
    bar = Bar(opens[0], price, price, price, price)
    filled = []
    for open_us in opens:
        bar = found.get(open_us) or bar.flat(open_us)
        filled.append(bar)
    return filled


class GrowingBar:
    """The kline of now, trade by trade; `at_us` is the time it is made."""

    def __init__(self, market: VenueMarket, interval: Interval, at_us: int) -> None:
        self.interval = interval
        now = klines(market, interval, now_us=at_us, start_us=None, end_us=None, limit=1)
        self._bar = now[0] if now else None
        self._changed = False

    def add(self, trades: Trades) -> None:
        """Take in trades that just happened, all before the kline's end."""
        for bar in self.interval.bars(trades):
            self._changed = True
            if self._bar is None or bar.open_us > self._bar.open_us:
                self._bar = bar
            elif bar.open_us == self._bar.open_us:
                self._bar = self._bar.joined(bar)

    def turn(self, now_us: int) -> list[tuple[Bar, bool]]:
        """Return what changed by now: klines that are over, and the one that is not, if it did."""
        told: list[tuple[Bar, bool]] = []
        while self._bar is not None:
            end_us = self.interval.next_us(self._bar.open_us)
            if now_us < end_us:
                if self._changed:
                    told.append((self._bar, False))
                break
            told.append((self._bar, True))
            self._bar = self._bar.flat(end_us)
            self._changed = False
        self._changed = False
        return told


def _forth(interval: Interval, at: int, last: int, limit: int) -> Iterator[int]:
    while at <= last and limit:
        yield at
        at, limit = interval.next_us(at), limit - 1


def _back(interval: Interval, at: int, first: int, limit: int) -> Iterable[int]:
    opens: list[int] = []
    while at >= first and len(opens) < limit:
        opens.append(at)
        at = interval.open_us(at - 1)
    return reversed(opens)


def _sums(lots: I64, price: I64 | None, starts: NDArray[np.intp]) -> NDArray[np.generic]:
    """Add up lots, or ticks times lots, exactly."""
    top = int(lots.max()) * (1 if price is None else int(price.max())) * len(lots)
    if top > _INT64_MAX:
        lots = lots.astype(object)
    return np.add.reduceat(lots if price is None else lots * price, starts)
