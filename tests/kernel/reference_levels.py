"""The slow model's view of one instrument: the touch, and what trades before a level breaks."""

from dataclasses import dataclass, field

from tests.kernel.config import NEVER, PPM, QUEUE_NEVER, Config, FillModel, Market
from tests.kernel.reference import ceil_div

LEVELS_LEAST = 16


def step_end(volume: int) -> int:
    """The last integer of the histogram step of a volume: 8 steps an octave."""
    if volume < 8:
        return volume
    width = 1 << (volume.bit_length() - 4)
    return volume // width * width + width - 1


@dataclass
class Level:
    """The level that trades on one side, and the volumes of those that broke before."""

    sign: int
    """+1 asks, where buyers trade; -1 bids."""
    price: int = 0
    volume: int = 0
    broken: list[int] = field(default_factory=list)

    def trade(self, price: int, qty: int) -> None:
        if self.price == price:
            self.volume += qty
            return
        if self.price and (price - self.price) * self.sign > 0:
            self.broken.append(self.volume)
        self.price, self.volume = price, qty

    def forget(self) -> None:
        self.price = self.volume = 0

    def quantile(self, window: int, ppm: int) -> int | None:
        """The quantile of the last `window` broken levels; None while there are too few."""
        sample = sorted(self.broken[-window:]) if window else []
        if len(sample) < LEVELS_LEAST:
            return None
        return step_end(sample[max(1, ceil_div(len(sample) * ppm, PPM)) - 1])


@dataclass
class Tape:
    """The last prints of one instrument."""

    config: Config
    market: Market
    last: int = 0
    last_side: int = 0
    last_us: int = 0
    own: dict[int, tuple[int, int]] = field(default_factory=dict)
    """Per side of the touch (+1 ask): the price and stream time of its own last print."""
    levels: dict[int, Level] = field(default_factory=lambda: {1: Level(1), -1: Level(-1)})
    mark: int = 0
    """The stated mark price; 0: none."""

    def trade(self, stream_us: int, price: int, qty: int, side: int) -> None:
        self.last, self.last_side, self.last_us = price, side, stream_us
        self.own[side] = (price, stream_us)
        self.levels[side].trade(price, qty)

    def gap(self) -> None:
        self.own.clear()
        self.levels[1].forget()
        self.levels[-1].forget()

    @property
    def value_ticks(self) -> int:
        return self.mark or self.last

    def touch(self, side: int) -> int:
        """What a taker of this side meets (buy: the ask); 0 with no print yet."""
        if not self.last:
            return 0
        step = self.market.rules.price_step_ticks
        if self.config.fill_model == FillModel.SPREAD:
            half = ceil_div(self.last * self.config.spread_ppm, 2 * PPM)
            half = max(1, ceil_div(half, step)) * step
            return max(1, self.last + side * half)
        if side == self.last_side:
            return self.last
        if side in self.own:
            price, seen_us = self.own[side]
            fresh = self.last_us - seen_us <= self.config.touch_stale_us
            if fresh and (price - self.last) * side > 0:
                return price
        return max(1, self.last + side * step)

    def marketable(self, side: int, price: int) -> bool:
        return (price - self.touch(side)) * side >= 0

    def queue(self, lane: int, side: int, price: int, *, untouched: bool = False) -> int:
        """What queues ahead of an own order that comes to rest at a price, in one lane."""
        if self.config.fill_model == FillModel.SPREAD:
            return 0
        ppm = self.config.lanes[lane].queue_ppm
        if ppm == 0:
            return 0
        level = self.levels[-side]
        quantile = None
        if ppm != QUEUE_NEVER:
            quantile = level.quantile(self.config.queue_window, ppm)
        if quantile is None:
            return NEVER
        if untouched:
            return quantile
        if (price - self.touch(-side)) * side > 0:
            return 0
        return max(0, quantile - level.volume) if price == level.price else quantile
