"""A slow, obvious model of order flow, written from `flow_orderflow.h`: it keeps every trade.

Bars, footprints and sums are worked out from the lists of trades they hold, never step by step.
Outputs are plain tuples in the field order of the records; wide numbers are Python integers.
"""

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

TIME, TICK, VOLUME, DOLLAR, DELTA, TICK_IMBALANCE, TICK_RUN, VOLUME_RUN = range(8)
SWEEP, ABSORPTION, EXHAUSTION = range(3)
DAY_US = 86_400_000_000


@dataclass
class FlowConfig:
    """The keyword arguments of `_kernel.OrderFlowConfig`."""

    series: list[tuple[int, int, int]] = field(default_factory=lambda: [(TIME, 1_000_000, 0)])
    footprint_rows_max: int = 256
    value_area_ppm: int = 700_000
    imbalance_ppm: int = 0
    imbalance_min_lots: int = 0
    imbalance_stack_count: int = 3
    bubbles_on: bool = True
    bubble_window_us: int = 0
    bubble_band_ticks: int = 0
    large_window_count: int = 0
    large_ppm: int = 990_000
    large_min_count: int = 1
    profile_rows_max: int = 0
    vwap_on: bool = False
    anchor_on_utc_day: bool = False
    size_class_lots: list[int] = field(default_factory=list)
    recent_trades_count: int = 0
    recent_slot_us: int = 0
    recent_slot_count: int = 1
    sweep_level_count: int = 0
    sweep_window_us: int = 0
    absorption_lots: int = 0
    absorption_window_us: int = 0
    absorption_ticks: int = 1
    exhaustion_count: int = 0
    exhaustion_ticks: int = 1


class Trade(NamedTuple):
    input: int
    ts: int
    price: int
    qty: int
    side: int


@dataclass
class Bubble:
    trades: list[Trade]

    @property
    def lots(self) -> int:
        return sum(t.qty for t in self.trades)

    def record(self, threshold: int, *, large: bool) -> tuple[Any, ...]:
        first, last = self.trades[0], self.trades[-1]
        offset = sum((t.price - first.price) * t.qty for t in self.trades)
        return (
            *(first.input, first.ts, last.ts, first.price, last.price),
            *(self.lots, offset, threshold, len(self.trades), first.side, int(large)),
        )


def lots_of(trades: list[Trade], side: int) -> int:
    return sum(t.qty for t in trades if t.side == side)


def bucket_bound(value: int) -> int:
    """The largest value that shares a histogram bucket: all but the four highest bits are set."""
    low_bits = max(0, value.bit_length() - 4)
    return value | ((1 << low_bits) - 1)


def value_area(rows: list[int], ppm: int) -> tuple[int, int, int]:
    """Indexes of the point of control and of the area's lowest and highest row."""
    poc = rows.index(max(rows))
    low = high = poc
    while sum(rows[low : high + 1]) * 1_000_000 < sum(rows) * ppm:
        above = rows[high + 1] if high + 1 < len(rows) else -1
        below = rows[low - 1] if low > 0 else -1
        low, high = (low, high + 1) if above >= below else (low - 1, high)
    return poc, low, high


def stacked(marks: list[bool], stack_count: int) -> tuple[list[int], int]:
    """Marks as 0, 1 or 2 (part of a stack), and the longest run."""
    runs = [0] * len(marks)
    for i, marked in enumerate(marks):
        start = i
        while marked and start > 0 and marks[start - 1]:
            start -= 1
        end = i
        while marked and end + 1 < len(marks) and marks[end + 1]:
            end += 1
        runs[i] = end - start + 1 if marked else 0
    return [int(run > 0) + int(run >= stack_count) for run in runs], max(runs)


@dataclass
class Series:
    config: FlowConfig
    kind: int
    threshold: int
    row_ticks: int
    open: list[Trade] = field(default_factory=list)
    start: int = 0
    bars: list[tuple[Any, ...]] = field(default_factory=list)
    footprints: list[tuple[Any, ...]] = field(default_factory=list)
    rows: list[tuple[Any, ...]] = field(default_factory=list)

    def trade(self, trade: Trade) -> None:
        self.clock(trade.ts)
        if not self.open:
            step = self.threshold
            self.start = trade.ts // step * step if self.kind == TIME else trade.ts
        self.open.append(trade)
        buys = [t for t in self.open if t.side > 0]
        sells = [t for t in self.open if t.side < 0]
        bought, sold = lots_of(self.open, 1), lots_of(self.open, -1)
        measure = {
            TIME: -1,
            TICK: len(self.open),
            VOLUME: bought + sold,
            DOLLAR: sum(t.price * t.qty for t in self.open),
            DELTA: abs(bought - sold),
            TICK_IMBALANCE: abs(len(buys) - len(sells)),
            TICK_RUN: max(len(buys), len(sells)),
            VOLUME_RUN: max(bought, sold),
        }[self.kind]
        if measure >= self.threshold:
            self.close()

    def clock(self, ts: int) -> None:
        if self.kind == TIME and self.open and ts >= self.start + self.threshold:
            self.close()

    def close(self) -> None:
        if not self.open:
            return
        if self.row_ticks:
            footprint, rows = self.footprint()
            self.footprints.append(footprint)
            self.rows += rows
        self.bars.append(self.bar())
        self.open = []

    def bar(self) -> tuple[Any, ...]:
        trades, prices = self.open, [t.price for t in self.open]
        if not trades:
            return (*[0] * 12, len(self.bars))
        return (
            *(self.start, trades[-1].ts, trades[0].input, trades[-1].input),
            *(prices[0], max(prices), min(prices), prices[-1]),
            *(lots_of(trades, 1), lots_of(trades, -1), len(trades)),
            *(sum(t.price * t.qty for t in trades), len(self.bars)),
        )

    def footprint(self) -> tuple[tuple[Any, ...], list[tuple[Any, ...]]]:
        if not self.open or not self.row_ticks:
            return (0,) * 13, []
        prices, sequence, config = [t.price for t in self.open], len(self.bars), self.config
        width = self.row_ticks
        while max(prices) // width - min(prices) // width + 1 > config.footprint_rows_max:
            width *= 2
        low, high = min(prices) // width, max(prices) // width
        buy = [
            lots_of([t for t in self.open if t.price // width == r], 1)
            for r in range(low, high + 1)
        ]
        sell = [
            lots_of([t for t in self.open if t.price // width == r], -1)
            for r in range(low, high + 1)
        ]

        def outweighs(lots: int, across: int) -> bool:
            enough = lots >= max(1, config.imbalance_min_lots)
            ratio = config.imbalance_ppm
            return ratio > 0 and enough and lots * 1_000_000 >= across * ratio

        count = high - low + 1
        buy_marks = [i > 0 and outweighs(buy[i], sell[i - 1]) for i in range(count)]
        sell_marks = [i + 1 < count and outweighs(sell[i], buy[i + 1]) for i in range(count)]
        buy_stacks, buy_run = stacked(buy_marks, config.imbalance_stack_count)
        sell_stacks, sell_run = stacked(sell_marks, config.imbalance_stack_count)
        poc, area_low, area_high = value_area(
            [b + s for b, s in zip(buy, sell, strict=True)], config.value_area_ppm
        )
        deltas = [
            lots_of(self.open[: i + 1], 1) - lots_of(self.open[: i + 1], -1)
            for i in range(len(self.open))
        ]
        rows = [
            (sequence, (low + i) * width, buy[i], sell[i], buy_stacks[i], sell_stacks[i])
            for i in range(count)
            if buy[i] + sell[i]
        ]
        return (
            *(sequence, self.start, width),
            *((low + poc) * width, (low + area_low) * width, (low + area_high) * width),
            *(max(deltas), min(deltas), len(rows), buy_run, sell_run),
            *(int(buy[-1] > 0 and sell[-1] > 0), int(buy[0] > 0 and sell[0] > 0)),
        ), rows


@dataclass
class Level:
    side: int
    trades: list[Trade]


@dataclass
class Run:
    """New extremes of one side: (bubble's first trade, last price, lots) of each."""

    extremes: list[tuple[Trade, int, int]] = field(default_factory=list)

    def falling(self) -> int:
        """How many of the newest extremes in a row had less volume than the one before."""
        lots = [e[2] for e in self.extremes]
        count = 0
        while count + 1 < len(lots) and lots[-1 - count] < lots[-2 - count]:
            count += 1
        return count


@dataclass
class FlowModel:
    config: FlowConfig
    input: int = 0
    now: int = 0
    trades: list[Trade] = field(default_factory=list)
    series: list[Series] = field(default_factory=list)
    bubble: Bubble | None = None
    closed: list[Bubble] = field(default_factory=list)
    bubbles: list[tuple[Any, ...]] = field(default_factory=list)
    marks: list[tuple[Any, ...]] = field(default_factory=list)
    anchors: dict[int, tuple[int, int]] = field(default_factory=dict)
    sweep: list[Trade] = field(default_factory=list)
    levels: dict[int, Level] = field(default_factory=dict)
    runs: dict[int, Run] = field(default_factory=lambda: {1: Run(), -1: Run()})

    def __post_init__(self) -> None:
        self.series = [Series(self.config, *one) for one in self.config.series]

    # Inputs

    def trade(self, ts: int, price: int, qty: int, side: int) -> None:
        self._advance(ts)
        trade = Trade(self.input, self.now, price, qty, side)
        day = self.now // DAY_US
        if self.config.anchor_on_utc_day and (
            not self.trades or self.trades[-1].ts // DAY_US != day
        ):
            self.anchors[0] = (self.input, self.now)
        self.trades.append(trade)
        for series in self.series:
            series.trade(trade)
        if self.config.bubbles_on:
            self._add_to_bubble(trade)
        if self.config.sweep_level_count:
            self._add_to_sweep(trade)
        if self.config.absorption_lots:
            for side_ in (1, -1):
                self._add_to_level(side_, trade)

    def clock(self, ts: int) -> None:
        self._advance(ts)
        for series in self.series:
            series.clock(self.now)
        if self.bubble and self.now - self.bubble.trades[0].ts > self.config.bubble_window_us:
            self._close_bubble()
        if self.sweep and self.now - self.sweep[0].ts > self.config.sweep_window_us:
            self._end_sweep()

    def gap(self) -> None:
        self._advance(self.now)
        self._close_bubble()
        self._end_sweep()
        self.levels = {}
        self.runs = {1: Run(), -1: Run()}

    def end(self) -> None:
        self._advance(self.now)
        for series in self.series:
            series.close()
        self._close_bubble()
        self._end_sweep()

    def anchor(self, which: int) -> None:
        self.anchors[which] = (self.input + 1, self.now)

    def _advance(self, ts: int) -> None:
        self.input += 1
        self.now = max(self.now, ts)

    # Bubbles

    def large_threshold(self) -> int:
        config = self.config
        sizes = sorted(b.lots for b in self.closed[-config.large_window_count :])
        if config.large_window_count == 0 or len(sizes) < config.large_min_count:
            return 0
        rank = -(-config.large_ppm * len(sizes) // 1_000_000)
        return bucket_bound(sizes[rank - 1])

    def _add_to_bubble(self, trade: Trade) -> None:
        first = self.bubble.trades[0] if self.bubble else None
        if not (
            first
            and first.side == trade.side
            and trade.ts - first.ts <= self.config.bubble_window_us
            and abs(trade.price - first.price) <= self.config.bubble_band_ticks
        ):
            self._close_bubble()
            self.bubble = Bubble([])
        assert self.bubble
        self.bubble.trades.append(trade)

    def _close_bubble(self) -> None:
        bubble, self.bubble = self.bubble, None
        if not bubble:
            return
        threshold = self.large_threshold()
        self.bubbles.append(bubble.record(threshold, large=0 < threshold <= bubble.lots))
        self.closed.append(bubble)
        if self.config.exhaustion_count:
            self._add_to_runs(bubble)

    # Marks

    def _tell(
        self, kind: int, first: Trade, prices: tuple[int, int], lots: int, levels: int
    ) -> None:
        self.marks.append(
            (first.input, self.input, first.ts, self.now, *prices, lots, levels, kind, first.side)
        )

    def _add_to_runs(self, bubble: Bubble) -> None:
        side, last = bubble.trades[0].side, bubble.trades[-1].price
        other = self.runs[-side]
        if other.extremes:
            at, extreme, lots = other.extremes[-1]
            if abs(extreme - last) >= self.config.exhaustion_ticks and (extreme > last) == (
                side < 0
            ):
                falling = other.falling()
                if falling >= self.config.exhaustion_count:
                    began = other.extremes[-1 - falling][1]
                    self._tell(EXHAUSTION, at, (began, extreme), lots, falling)
                self.runs[-side] = Run()
        own = self.runs[side].extremes
        if not own or (last > own[-1][1] if side > 0 else last < own[-1][1]):
            own.append((bubble.trades[0], last, bubble.lots))

    def _add_to_sweep(self, trade: Trade) -> None:
        if self.sweep:
            first, before = self.sweep[0], self.sweep[-1]
            onward = trade.price >= before.price if trade.side > 0 else trade.price <= before.price
            late = trade.ts - first.ts > self.config.sweep_window_us
            if trade.side != first.side or late or not onward:
                self._end_sweep()
        self.sweep.append(trade)

    def _end_sweep(self) -> None:
        run, self.sweep = self.sweep, []
        prices = {t.price for t in run}
        if run and len(prices) >= self.config.sweep_level_count:
            lots = sum(t.qty for t in run)
            self._tell(SWEEP, run[0], (run[0].price, run[-1].price), lots, len(prices))

    def _add_to_level(self, side: int, trade: Trade) -> None:
        level = self.levels.get(side)
        if level:
            first = level.trades[0]
            beyond = (trade.price - first.price) * side
            lots = sum(t.qty for t in level.trades)
            if beyond > 0 or trade.ts - first.ts > self.config.absorption_window_us:
                del self.levels[side]
            elif beyond <= -self.config.absorption_ticks:
                if lots >= self.config.absorption_lots:
                    self._tell(ABSORPTION, first, (first.price, first.price), lots, 1)
                del self.levels[side]
            elif beyond == 0 and trade.side == side:
                level.trades.append(trade)
        if side not in self.levels and trade.side == side:
            self.levels[side] = Level(side, [trade])

    # What can be asked

    def session(self) -> dict[str, Any]:
        config, trades = self.config, self.trades

        def vwap(first_input: int, ts: int) -> tuple[int, ...]:
            some = [t for t in trades if t.input >= first_input]
            return (
                *(first_input, ts, sum(t.qty for t in some)),
                sum(t.price * t.qty for t in some),
                sum(t.price**2 * t.qty for t in some),
            )

        def sums(some: list[Trade]) -> tuple[int, int, int]:
            return lots_of(some, 1), lots_of(some, -1), len(some)

        none = (0,) * 5
        bounds = [0, *config.size_class_lots]
        classes = [
            (low, *sums([t for t in trades if t.qty >= low and (high is None or t.qty < high)]))
            for low, high in zip(bounds, [*bounds[1:], None], strict=True)
        ]
        recent = trades[-config.recent_trades_count :] if config.recent_trades_count else []
        step, slots = config.recent_slot_us, config.recent_slot_count
        in_time = [t for t in trades if step and t.ts // step > self.now // step - slots]
        return {
            "vwap": vwap(1, trades[0].ts if trades else 0) if config.vwap_on else none,
            "anchors": [vwap(*self.anchors[i]) if i in self.anchors else none for i in range(4)],
            "size_classes": classes if config.size_class_lots else [],
            "recent_trades": (0, *sums(recent)),
            "recent_time": (step * slots if step else 0, *sums(in_time)),
            "large_threshold_lots": self.large_threshold(),
        }


def volume_by_price(trades: list[Trade]) -> Counter[tuple[int, int]]:
    found: Counter[tuple[int, int]] = Counter()
    for t in trades:
        found[t.price, t.side] += t.qty
    return found


def only(config: FlowConfig, **changes: Any) -> FlowConfig:
    return replace(config, **changes)
