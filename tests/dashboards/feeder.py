"""A seeded market in real time: fills a `MarketView` and obeys a `Transport`, without an engine."""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flowtape.stream.errors import InputError
from flowtape.stream.execution import OrderKind, Stage
from flowtape.stream.instrument import Instrument
from flowtape.stream.ports import Feed, StepUnit, TransportState
from flowtape.stream.records import (
    BAR,
    BUBBLE,
    EQUITY,
    FILL,
    ORDER,
    PRINT,
    PROFILE_ROW,
    SNAPSHOT,
    Records,
)
from flowtape.stream.trades import Trades
from flowtape.stream.view import MarketView, Series
from tests.dashboards.desk import PaperDesk

START_US = 1_780_000_000_000_000 // 3_600_000_000 * 3_600_000_000
BAR_US = 1_000_000
BUBBLE_WINDOW_US = 60_000
FILL_EVERY_US = 20_000_000
TICK_S = 1 / 60


def synthetic_trades(seed: int, span_s: int, rate_per_s: float, price_ticks: int) -> Trades:
    """Return bursty trades with persistent sides, heavy-tailed sizes and a wandering price."""
    rng = np.random.default_rng(seed)
    count = int(span_s * rate_per_s)
    gaps = (
        rng.exponential(1.0, count)
        * np.repeat(np.exp(rng.normal(0, 0.9, count // 200 + 1)), 200)[:count]
    )
    gaps[rng.random(count) < 0.45] *= 0.01
    at = np.cumsum(gaps)
    ts_us = START_US + (at / at[-1] * (span_s * 1e6 - 1)).astype(np.int64)
    side = np.where(rng.random(count) < 0.5, 1, -1).astype(np.int8)
    keep = rng.random(count) < 0.72
    last = np.maximum.accumulate(np.where(keep, 0, np.arange(count)))
    side = side[last]
    qty = np.maximum(1, np.exp(rng.normal(2.2, 1.7, count)) * 10).astype(np.int64)
    jumps = np.where(rng.random(count) < 0.14, rng.standard_t(4, count) * 90, 0.0)
    walk = np.cumsum(jumps + side * np.log1p(qty) * 2.2)
    walk -= np.linspace(0, walk[-1], count)
    price = (price_ticks + walk).astype(np.int64)
    ids = np.arange(1, count + 1, dtype=np.int64)
    return Trades(ids, ts_us, price, qty, ids, ids, side)


@dataclass(frozen=True)
class Market:
    """Everything that will ever happen, ready to be cut at any time."""

    trades: Trades
    bars: Records
    bar_stop: NDArray[np.int64]
    bubbles: Records
    bubble_stop: NDArray[np.int64]
    prints: Records
    fills: Records
    equity: Records


def _starts(group: NDArray[Any]) -> NDArray[np.int64]:
    return np.flatnonzero(np.concatenate([[True], group[1:] != group[:-1]]))


def make_market(trades: Trades, *, with_fills: bool) -> Market:
    count = len(trades)
    ts, price, qty, side = trades.ts_us, trades.price_ticks, trades.qty_lots, trades.side
    numbers = np.arange(1, count + 1)

    at = _starts(ts // BAR_US)
    stop = np.append(at[1:], count)
    bars = np.zeros(len(at), BAR)
    bars["ts_us"] = ts[at] // BAR_US * BAR_US
    bars["open_ticks"], bars["close_ticks"] = price[at], price[stop - 1]
    bars["high_ticks"] = np.maximum.reduceat(price, at)
    bars["low_ticks"] = np.minimum.reduceat(price, at)
    bars["buy_lots"] = np.add.reduceat(np.where(side > 0, qty, 0), at)
    bars["sell_lots"] = np.add.reduceat(np.where(side < 0, qty, 0), at)
    bars["trade_count"] = stop - at
    bars["notional_ticklots"]["lo"] = np.add.reduceat(price * qty, at)
    bar_stop = stop

    at = _starts(side.astype(np.int64) + 4 * (ts // BUBBLE_WINDOW_US))
    stop = np.append(at[1:], count)
    bubbles = np.zeros(len(at), BUBBLE)
    bubbles["input"], bubbles["side"] = numbers[at], side[at]
    bubbles["ts_us"], bubbles["last_ts_us"] = ts[at], ts[stop - 1]
    bubbles["first_ticks"], bubbles["last_ticks"] = price[at], price[stop - 1]
    bubbles["qty_lots"] = np.add.reduceat(qty, at)
    first = np.repeat(price[at], stop - at)
    bubbles["offset_ticklots"] = np.add.reduceat((price - first) * qty, at)
    bubbles["trade_count"] = stop - at

    prints = np.zeros(count, PRINT)
    prints["input"], prints["ts_us"], prints["side"] = numbers, ts, side
    prints["price_ticks"], prints["qty_lots"] = price, qty

    every = _starts(ts // FILL_EVERY_US)[1:] if with_fills else np.zeros(0, np.int64)
    fills = np.zeros(len(every), FILL)
    fills["input"], fills["ts_us"], fills["price_ticks"] = numbers[every], ts[every], price[every]
    fills["qty_lots"], fills["order_id"] = 40, np.arange(len(every))
    fills["side"] = np.where(np.arange(len(every)) % 2 == 0, 1, -1)
    equity = np.zeros(len(every), EQUITY)
    equity["ts_us"], equity["mark_ticks"] = ts[every], price[every]
    equity["position_lots"] = np.cumsum(fills["side"] * 40)
    cash = -np.cumsum(fills["side"] * 40 * price[every])
    equity["equity_atoms"]["lo"] = (
        10_000_000_000 + cash + equity["position_lots"] * price[every]
    ).astype(np.uint64)
    return Market(trades, bars, bar_stop, bubbles, stop, prints, fills, equity)


class Feeder:
    """Plays markets of several instruments on one clock; implements `Transport`."""

    def __init__(
        self,
        *,
        symbols: tuple[str, ...] = ("BTCUSDT",),
        seed: int = 7,
        span_s: int = 7200,
        rate_per_s: float = 30.0,
        speed: float = 1.0,
        at_s: float = 0.0,
        with_fills: bool = False,
        live: bool = False,
        markets: Sequence[Market] | None = None,
        desk: PaperDesk | None = None,
    ) -> None:
        self.desk = desk
        self.markets = list(markets or ())
        self.views: list[MarketView] = []
        for number, symbol in enumerate(symbols):
            if markets is None:
                price = 6_412_350 + 900 * number
                trades = synthetic_trades(seed + number, span_s, rate_per_s, price)
                self.markets.append(make_market(trades, with_fills=with_fills))
            instrument = Instrument(symbol, "spot", 2, 3)
            self.views.append(MarketView(instrument, BAR_US, np.zeros((), SNAPSHOT)[()]))
        self._start_us, self._end_us = START_US, START_US + span_s * 1_000_000
        self._clock_us = float(self._start_us)
        self._playing = False
        self._speed = speed
        self._live = live
        self._lock = threading.RLock()
        self._stop = threading.Event()
        self._applied = [0] * len(symbols)
        self._profiles: list[NDArray[np.int64]] = [np.zeros((2, 0), np.int64)] * len(symbols)
        self._profile_at = 0.0
        self.commands: list[str] = []
        self._go(int(self._start_us + at_s * 1e6))
        self._thread = threading.Thread(target=self._run, name="feeder", daemon=True)

    @property
    def feeds(self) -> list[Feed]:
        return [
            Feed(self, partial(self._look, number), self.desk, number)
            for number in range(len(self.views))
        ]

    def _look(self, number: int) -> MarketView:
        return self.views[number]

    def start(self) -> "Feeder":
        self._playing = True
        self._thread.start()
        return self

    def close(self) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(5)

    def state(self) -> TransportState:
        with self._lock:
            return TransportState(
                playing=self._playing,
                speed=self._speed,
                clock_us=int(self._clock_us),
                start_us=self._start_us,
                end_us=self._end_us,
                lag_us=0,
                live=self._live,
                ended=self._clock_us >= self._end_us,
            )

    def play(self) -> None:
        with self._lock:
            self.commands.append("play")
            if self._clock_us >= self._end_us:
                self._go(self._start_us)
            self._playing = True

    def pause(self) -> None:
        with self._lock:
            self.commands.append("pause")
            self._playing = False

    def set_speed(self, speed: float) -> None:
        if speed != float("inf") and not 0.1 <= speed <= 10_000:
            raise InputError(f"speed must be 0.1 to 10000 or max, was {speed:g}")
        with self._lock:
            self.commands.append(f"speed {speed:g}")
            self._speed = speed

    def step(self, unit: StepUnit) -> None:
        with self._lock:
            self.commands.append(f"step {unit}")
            self._playing = False
            trades = self.markets[0].trades.ts_us
            position = self._applied[0]
            if unit == "bar":
                target = (int(self._clock_us) // BAR_US + 1) * BAR_US
            else:
                ahead = 1 if unit == "trade" else 100
                target = int(trades[min(len(trades) - 1, position + ahead - 1)])
            self._advance(float(target))

    def seek(self, ts_us: int) -> None:
        self.commands.append("seek")
        self._go(ts_us)

    def to_now(self) -> None:
        self.commands.append("now")

    def _go(self, ts_us: int) -> None:
        with self._lock:
            self._clock_us = float(min(max(ts_us, self._start_us), self._end_us))
            for number, view in enumerate(self.views):
                with view.lock:
                    view.epoch += 1
                    view.bars = Series(BAR)
                    for ring in (view.bubbles, view.prints, view.fills, view.equity):
                        ring.clear()
                    self._applied[number] = 0
                    self._apply(number)

    def overview(self, bins_count: int) -> NDArray[np.int64]:
        if self._live:
            return np.zeros(0, np.int64)
        trades = self.markets[0].trades
        at = (trades.ts_us - self._start_us) * bins_count // (self._end_us - self._start_us)
        volume = np.bincount(at, trades.qty_lots, bins_count)
        return volume[:bins_count].astype(np.int64)

    def _run(self) -> None:
        before = time.perf_counter()
        while not self._stop.wait(TICK_S):
            now = time.perf_counter()
            with self._lock:
                if self._playing:
                    step_s = 600.0 if self._speed == float("inf") else (now - before) * self._speed
                    self._advance(self._clock_us + step_s * 1e6)
            before = now

    def _advance(self, clock_us: float) -> None:
        self._clock_us = min(clock_us, float(self._end_us))
        for number in range(len(self.views)):
            self._apply(number)

    def _apply(self, number: int) -> None:
        market, view = self.markets[number], self.views[number]
        start = self._applied[number]
        stop = int(np.searchsorted(market.trades.ts_us, int(self._clock_us), "right"))
        self._applied[number] = stop
        with view.lock:
            bar_from = int(np.searchsorted(market.bar_stop, start, "right"))
            bar_to = int(np.searchsorted(market.bar_stop, stop, "right"))
            if bar_to and bar_to < len(market.bars) and market.bar_stop[bar_to - 1] == stop:
                bar_to -= 1
            if start and bar_from and market.bar_stop[bar_from - 1] == start:
                bar_from -= 1
            view.bars.append(market.bars[view.bars.head : max(view.bars.head, bar_to)])
            bubble_to = int(np.searchsorted(market.bubble_stop, stop, "left"))
            view.bubbles.append(market.bubbles[view.bubbles.head : bubble_to])
            view.prints.append(market.prints[start:stop])
            fill_to = int(np.searchsorted(market.fills["ts_us"], int(self._clock_us), "right"))
            view.fills.append(market.fills[view.fills.head : fill_to])
            view.equity.append(market.equity[view.equity.head : fill_to])
            view.snapshot = self._snapshot(number, stop)
            self._show_profile(number, stop, force=start == 0)

    def _snapshot(self, number: int, stop: int) -> np.void:
        market, view = self.markets[number], self.views[number]
        trades = market.trades
        snapshot = np.zeros((), SNAPSHOT)
        if stop == 0:
            return snapshot[()]
        bars, bar_count = market.bars, view.bars.head
        snapshot["input"] = snapshot["trade_count"] = stop
        snapshot["stream_us"] = trades.ts_us[stop - 1]
        snapshot["last_ticks"], snapshot["last_side"] = (
            trades.price_ticks[stop - 1],
            trades.side[stop - 1],
        )
        begin = int(market.bar_stop[bar_count - 1]) if bar_count else 0
        part = trades.slice(begin, stop)
        buys = part.qty_lots[part.side > 0].sum()
        sells = part.qty_lots[part.side < 0].sum()
        snapshot["buy_lots"] = bars["buy_lots"][:bar_count].sum() + buys
        snapshot["sell_lots"] = bars["sell_lots"][:bar_count].sum() + sells
        snapshot["high_ticks"] = trades.price_ticks[:stop].max()
        snapshot["low_ticks"] = trades.price_ticks[:stop].min()
        snapshot["profile_row_ticks"] = 100
        snapshot["notional_ticklots"]["lo"] = bars["notional_ticklots"]["lo"][:bar_count].sum() + (
            (part.price_ticks * part.qty_lots).sum()
        )
        if len(part):
            bar = snapshot["bar"]
            bar["ts_us"] = part.ts_us[0] // BAR_US * BAR_US
            bar["open_ticks"], bar["close_ticks"] = part.price_ticks[0], part.price_ticks[-1]
            bar["high_ticks"], bar["low_ticks"] = part.price_ticks.max(), part.price_ticks.min()
            bar["buy_lots"], bar["sell_lots"], bar["trade_count"] = buys, sells, len(part)
        if view.bubbles.head < len(market.bubbles):
            bubble = market.bubbles[view.bubbles.head].copy()
            if int(bubble["input"]) <= stop:
                snapshot["bubble"] = bubble
        self._account(snapshot, number)
        return snapshot[()]

    def _account(self, snapshot: Any, number: int) -> None:
        view, market = self.views[number], self.markets[number]
        snapshot["equity_atoms"]["lo"] = snapshot["cash_atoms"]["lo"] = 10_000_000_000
        asked = np.zeros(0, ORDER) if self.desk is None else self.desk.orders(number)
        if view.equity.head == 0:
            view.orders = asked
            return
        point = market.equity[view.equity.head - 1]
        position = int(point["position_lots"])
        last = int(snapshot["last_ticks"])
        snapshot["position_lots"] = position
        snapshot["cost_atoms"]["lo"] = position * int(point["mark_ticks"])
        gain = position * (last - int(point["mark_ticks"]))
        snapshot["unrealized_atoms"]["lo"] = gain % (1 << 64)
        snapshot["unrealized_atoms"]["hi"] = -1 if gain < 0 else 0
        snapshot["equity_atoms"]["lo"] = int(point["equity_atoms"]["lo"]) + gain
        orders = np.zeros(1, ORDER)
        orders["request"]["price_ticks"] = int(point["mark_ticks"]) + 2500
        orders["request"]["side"], orders["request"]["kind"] = -1, OrderKind.LIMIT
        orders["lanes"]["remaining_lots"], orders["stage"] = 40, Stage.RESTING
        orders["order_id"] = 1000
        view.orders = np.concatenate([orders, asked])

    def _show_profile(self, number: int, stop: int, *, force: bool) -> None:
        now = time.perf_counter()
        if not force and now - self._profile_at < 0.25:
            return
        if number == len(self.views) - 1:
            self._profile_at = now
        part = self.markets[number].trades.slice(0, stop)
        if stop == 0:
            self.views[number].profile = np.zeros(0, PROFILE_ROW)
            return
        row = part.price_ticks // 100
        low = int(row.min())
        size = int(row.max()) - low + 1
        rows = np.zeros(size, PROFILE_ROW)
        rows["price_ticks"] = (np.arange(size) + low) * 100
        weight = part.qty_lots
        rows["buy_lots"] = np.bincount(row - low, np.where(part.side > 0, weight, 0), size)
        rows["sell_lots"] = np.bincount(row - low, np.where(part.side < 0, weight, 0), size)
        self.views[number].profile = rows
