"""Seeded synthetic tapes that have the statistics of real ones.

Takers' orders arrive in a clustered stream: a base rate with an intraday shape, moods of the market
(calm, ranging, trending, storm) and bursts of orders set off by one of them. Their sides follow
long-lived parent orders. Each order prints one or more rows at one time, walking away from a latent
price that moves by its impact, by noise and by the drift of the mood. Sizes are lognormal with
spikes where bots trade.

Integers only: one seed gives the same bits everywhere.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flowtape.replay.generator_market import Mood, Moods
from flowtape.replay.generator_tables import (
    ONE,
    Bits,
    exponential_table,
    lognormal_table,
    mostly_table,
    normal_table,
    pareto_table,
)
from flowtape.stream.errors import InputError
from flowtape.stream.instrument import Instrument
from flowtape.stream.trades import I8, I64, Trades

_WINDOW_S = 600
_SECOND_US = 1_000_000
_PULL_S = 2 * 86_400
_TREND_BIAS = 2_000


@dataclass(frozen=True, slots=True)
class GeneratorConfig:
    """What a synthetic market is like; `ppm` shares are parts per million.

    Attributes:
        instrument: names the tape and gives its grid.
        start_us: time at which the market opens.
        start_price_ticks: price at which it opens, and to which it is drawn back over days.
        first_agg_id: aggregate id of the first trade.
        ts_grid_us: times are whole multiples of this.
        order_rate_mhz: orders in 1000 s at an ordinary time of day, bursts not counted.
        burst_ppm: share of orders that set off a burst.
        burst_count_max: largest number of orders in a burst.
        parent_ppm: share of orders on the side of the current parent order.
        sweep_ppm: share of orders that print more than one row.
        sweep_count_max: largest number of rows of one order.
        still_ppm: share of orders after which the latent price stands still.
        noise_ticks_q16: standard deviation of a step of the latent price, in 1/65536 tick.
        impact_ticks_q16: how far an order that moves the latent price pushes it its way.
        permanent_q16: share of the depth of an order that stays in the latent price.
        level_still_ppm: share of rows of an order at the price of the row before.
        level_one_ppm: share of rows of an order that lie one tick behind the row before.
        level_ticks_min: least distance of the other rows from the row before.
        level_ticks_max: largest distance of a row from the row before.
        size_median_lots: median size of a row.
        size_log_sd: standard deviation of the logarithm of the size.
        bot_ppm: share of rows with one of the sizes in `bot_lots`.
        bot_lots: sizes that bots use, the commonest first.
        single_fill_ppm: share of rows that stand for one raw trade.
    """

    instrument: Instrument
    start_us: int
    start_price_ticks: int
    first_agg_id: int
    ts_grid_us: int
    order_rate_mhz: int
    burst_ppm: int
    burst_count_max: int
    parent_ppm: int
    sweep_ppm: int
    sweep_count_max: int
    still_ppm: int
    noise_ticks_q16: int
    impact_ticks_q16: int
    permanent_q16: int
    level_still_ppm: int
    level_one_ppm: int
    level_ticks_min: int
    level_ticks_max: int
    size_median_lots: int
    size_log_sd: float
    bot_ppm: int
    bot_lots: tuple[int, ...]
    single_fill_ppm: int

    @classmethod
    def preset(cls, name: str) -> "GeneratorConfig":
        """Return a named market; raises InputError for a name other than `coarse` and `fine`.

        `coarse` is like LTCUSDT spot or a USD-M contract: the spread is one tick and most moves
        are none or one. `fine` is like BTCUSDT spot: a tick is next to nothing and the book is
        sparse.
        """
        if name == "coarse":
            return _coarse()
        if name == "fine":
            return _fine()
        raise InputError(f"{name!r} is not a kind of market; choose coarse or fine")


def _coarse() -> GeneratorConfig:
    return GeneratorConfig(
        instrument=Instrument("COARSEUSDT", "um", 2, 3),
        start_us=1_767_225_600_000_000,
        start_price_ticks=8_300,
        first_agg_id=300_000_000,
        ts_grid_us=1_000,
        order_rate_mhz=4_000,
        burst_ppm=30_000,
        burst_count_max=500,
        parent_ppm=800_000,
        sweep_ppm=130_000,
        sweep_count_max=80,
        still_ppm=450_000,
        noise_ticks_q16=ONE // 3,
        impact_ticks_q16=ONE // 24,
        permanent_q16=ONE // 24,
        level_still_ppm=360_000,
        level_one_ppm=620_000,
        level_ticks_min=2,
        level_ticks_max=4,
        size_median_lots=600,
        size_log_sd=1.75,
        bot_ppm=120_000,
        bot_lots=(195, 1_181, 130, 60, 2_000, 5_000),
        single_fill_ppm=640_000,
    )


def _fine() -> GeneratorConfig:
    return GeneratorConfig(
        instrument=Instrument("FINEUSDT", "spot", 2, 5),
        start_us=1_767_225_600_000_000,
        start_price_ticks=8_800_000,
        first_agg_id=3_500_000_000,
        ts_grid_us=1,
        order_rate_mhz=5_000,
        burst_ppm=30_000,
        burst_count_max=400,
        parent_ppm=780_000,
        sweep_ppm=160_000,
        sweep_count_max=120,
        still_ppm=620_000,
        noise_ticks_q16=72 * ONE,
        impact_ticks_q16=9 * ONE,
        permanent_q16=ONE // 4,
        level_still_ppm=350_000,
        level_one_ppm=330_000,
        level_ticks_min=6,
        level_ticks_max=400,
        size_median_lots=120,
        size_log_sd=2.2,
        bot_ppm=180_000,
        bot_lots=(6, 18, 12, 27, 100, 1_000),
        single_fill_ppm=720_000,
    )


def generate(config: GeneratorConfig, *, seed: int, trades_count: int) -> Iterator[Trades]:
    """Yield the first `trades_count` trades of the market that `seed` names, in pieces.

    The trades do not depend on `trades_count`. Memory is bounded: a piece spans ten minutes.
    """
    market = _Market(config, seed)
    left = trades_count
    while left > 0:
        trades = market.window()
        yield trades.slice(0, left)
        left -= len(trades)


@dataclass(frozen=True, slots=True)
class _Orders:
    ts_us: I64
    side: I8

    @classmethod
    def join(cls, *parts: "_Orders") -> "_Orders":
        return cls(
            np.concatenate([part.ts_us for part in parts]),
            np.concatenate([part.side for part in parts]),
        )

    def pick(self, chosen: NDArray[np.bool_] | NDArray[np.intp]) -> "_Orders":
        return _Orders(self.ts_us[chosen], self.side[chosen])


class _Market:
    def __init__(self, config: GeneratorConfig, seed: int) -> None:
        self._config = config
        self._bits = Bits(seed)
        self._moods = Moods(self._bits)
        self._now_us = config.start_us
        self._next_id = config.first_agg_id
        self._next_raw_id = 2 * config.first_agg_id
        self._latent_q16 = config.start_price_ticks * ONE
        self._parent_side, self._parent_left = 1, 0
        self._late = _Orders(np.empty(0, np.int64), np.empty(0, np.int8))
        self._burst_sizes = pareto_table(2.0, 1.05, config.burst_count_max)
        self._burst_spans_us = lognormal_table(40_000.0, 1.3)
        self._parent_lengths = pareto_table(2.0, 1.15, 400)
        self._sweep_rows = mostly_table(
            1_000_000 - config.sweep_ppm, 1, pareto_table(2.0, 1.35, config.sweep_count_max)
        )
        far = pareto_table(config.level_ticks_min, 0.8, config.level_ticks_max)
        near_ppm = 1_000_000 - config.level_still_ppm
        self._levels = mostly_table(
            config.level_still_ppm,
            0,
            mostly_table(config.level_one_ppm * 1_000_000 // near_ppm, 1, far),
        )
        self._sizes = lognormal_table(config.size_median_lots, config.size_log_sd)
        self._fills = mostly_table(config.single_fill_ppm, 1, pareto_table(2.0, 1.3, 100))

    def window(self) -> Trades:
        moods = self._moods.next_seconds(self._now_us // _SECOND_US, _WINDOW_S)
        orders = self._orders(moods)
        trades = self._rows(orders, moods)
        self._now_us += _WINDOW_S * _SECOND_US
        return trades

    def _orders(self, moods: Mood) -> _Orders:
        base_us = self._arrivals(moods)
        base = _Orders(base_us, self._sides(len(base_us), moods))
        orders = _Orders.join(self._late, base, self._burst(base))
        end_us = self._now_us + _WINDOW_S * _SECOND_US
        later = orders.ts_us >= end_us
        self._late = orders.pick(later)
        orders = orders.pick(~later)
        return orders.pick(np.argsort(orders.ts_us, kind="stable"))

    def _arrivals(self, moods: Mood) -> I64:
        # Unit-rate arrivals on a clock that runs as fast as the market is busy.
        work = moods.rate_q16 * self._config.order_rate_mhz // 1_000
        ends = np.cumsum(work)
        drawn = np.empty(0, np.int64)
        while not len(drawn) or drawn[-1] < ends[-1]:
            count = int(ends[-1]) // ONE + 256
            more = np.cumsum(exponential_table()[self._bits.u16(count)])
            drawn = np.concatenate([drawn, more + (drawn[-1] if len(drawn) else 0)])
        drawn = drawn[drawn < ends[-1]]
        second = np.searchsorted(ends, drawn, "right")
        into = drawn - (ends - work)[second]
        ts_us: I64 = self._now_us + second * _SECOND_US + into * _SECOND_US // work[second]
        return ts_us

    def _sides(self, count: int, moods: Mood) -> I8:
        lengths, sides, covered = [self._parent_left], [self._parent_side], self._parent_left
        threshold = 32_768 + int(moods.trend[0]) * _TREND_BIAS
        while covered < count:
            more = 64 + count // 8
            drawn = self._parent_lengths[self._bits.u16(more)]
            lengths.extend(drawn.tolist())
            sides.extend(np.where(self._bits.u16(more) < threshold, 1, -1).tolist())
            covered += int(drawn.sum())
        parents = np.repeat(np.array(sides, np.int8), lengths)
        ends = np.cumsum(lengths)
        current = int(np.searchsorted(ends, count, "right"))
        at = min(current, len(sides) - 1)
        self._parent_side, self._parent_left = sides[at], int(ends[at]) - count
        against = self._bits.u16(count) >= self._config.parent_ppm * ONE // 1_000_000
        return np.where(against, -parents[:count], parents[:count]).astype(np.int8)

    def _burst(self, base: _Orders) -> _Orders:
        count = len(base.ts_us)
        causes = self._bits.u16(count) < self._config.burst_ppm * ONE // 1_000_000
        sizes = self._burst_sizes[self._bits.u16(count)[causes]]
        spans_us = self._burst_spans_us[self._bits.u16(count)[causes]]
        total = int(sizes.sum())
        waits = exponential_table()[self._bits.u16(total)]
        ts_us = np.repeat(base.ts_us[causes], sizes) + (waits * np.repeat(spans_us, sizes) >> 16)
        sides = np.repeat(base.side[causes], sizes)
        against = self._bits.u16(total) < ONE // 12
        return _Orders(ts_us, np.where(against, -sides, sides).astype(np.int8))

    def _rows(self, orders: _Orders, moods: Mood) -> Trades:
        count = len(orders.ts_us)
        rows = self._sweep_rows[self._bits.u16(count)]
        total = int(rows.sum())
        starts = np.cumsum(rows) - rows
        steps = self._levels[self._bits.u16(total)]
        steps[starts] = 0
        # Orders of one side at one time walk the book one behind the other.
        ts_us = orders.ts_us - orders.ts_us % self._config.ts_grid_us
        leads = np.flatnonzero(
            (np.diff(ts_us, prepend=-1) != 0) | (np.diff(orders.side, prepend=np.int8(0)) != 0)
        )
        walks = _Orders(ts_us, orders.side).pick(leads)
        walk_rows = np.add.reduceat(rows, leads) if count else rows
        firsts = starts[leads]
        depth = np.cumsum(steps)
        depth -= np.repeat(depth[firsts], walk_rows)
        deepest = np.maximum.reduceat(depth, firsts) if count else depth
        side = np.repeat(walks.side, walk_rows)
        price = np.repeat(self._quotes(walks, moods, deepest), walk_rows) + side * depth
        fills = self._fills[self._bits.u16(total)]
        last_raw = self._next_raw_id - 1 + np.cumsum(fills)
        agg_id = np.arange(self._next_id, self._next_id + total)
        self._next_id += total
        self._next_raw_id += int(fills.sum())
        return Trades(
            agg_id,
            np.repeat(walks.ts_us, walk_rows),
            np.maximum(price, 1),
            self._lots(total),
            last_raw - fills + 1,
            last_raw,
            side,
        )

    def _quotes(self, walks: _Orders, moods: Mood, depth: I64) -> I64:
        config, count = self._config, len(walks.ts_us)
        second = (walks.ts_us - self._now_us) // _SECOND_US
        noise = normal_table()[self._bits.u16(count)] * config.noise_ticks_q16 >> 16
        side = walks.side.astype(np.int64)
        steps = (noise * moods.vol_q16[second] >> 16) + side * config.impact_ticks_q16
        steps[self._bits.u16(count) < config.still_ppm * ONE // 1_000_000] = 0
        steps += side * depth * config.permanent_q16
        drift = moods.trend * (config.noise_ticks_q16 >> 3)
        pull_q16 = (config.start_price_ticks * ONE - self._latent_q16) // _PULL_S
        path = np.cumsum(drift + pull_q16)
        moved = np.cumsum(steps)
        latent = self._latent_q16 + moved - steps + path[second]
        self._latent_q16 += (int(moved[-1]) if count else 0) + int(path[-1])
        # The spread is one tick: buyers print at the tick above the latent price.
        quotes: I64 = (latent >> 16) + (walks.side > 0)
        return quotes

    def _lots(self, count: int) -> I64:
        config = self._config
        lots = self._sizes[self._bits.u16(count)]
        bots = np.array(config.bot_lots, np.int64)
        favourite = np.minimum(exponential_table()[self._bits.u16(count)] >> 16, len(bots) - 1)
        is_bot = self._bits.u16(count) < config.bot_ppm * ONE // 1_000_000
        return np.where(is_bot, bots[favourite], lots)
