"""A slow, obvious model of the kernel's order flow, written from its header alone.

Outputs are plain tuples in the field order of the records; 128-bit numbers are Python integers.
"""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class FlowConfig:
    """Mirrors flow_orderflow_config."""

    bar_us: int = 1_000_000
    bubble_window_us: int = 250_000
    bubble_band_ticks: int = 0
    profile_rows_max: int = 1 << 16


def ceil_div(a: int, b: int) -> int:
    return -(-a // b)


@dataclass
class FlowModel:
    """Bars, bubbles and the profile of one instrument."""

    config: FlowConfig
    trades: list[tuple[int, int, int, int]] = field(default_factory=list)
    """Every trade as (stream time, price, qty, side)."""
    bar: list[Any] | None = None
    bubble: list[Any] | None = None
    bars: list[tuple[Any, ...]] = field(default_factory=list)
    bubbles: list[tuple[Any, ...]] = field(default_factory=list)

    def trade(self, number: int, stream_us: int, price: int, qty: int, side: int) -> None:
        self.trades.append((stream_us, price, qty, side))
        self._add_to_bar(stream_us, price, qty, side)
        self._add_to_bubble(number, stream_us, price, qty, side)

    def clock(self, ts: int) -> None:
        if self.bar and ts >= self.bar[0] + self.config.bar_us:
            self._close_bar()
        if self.bubble and ts - self.bubble[1] > self.config.bubble_window_us:
            self._close_bubble()

    def gap(self) -> None:
        self._close_bubble()

    def end(self) -> None:
        self._close_bar()
        self._close_bubble()

    def profile(self) -> tuple[int, list[tuple[int, int, int]]]:
        if not self.trades:
            return 1, []
        prices = [t[1] for t in self.trades]
        row = 1
        while max(prices) // row - min(prices) // row + 1 > self.config.profile_rows_max:
            row *= 2
        lots: dict[int, list[int]] = {
            r: [0, 0] for r in range(min(prices) // row, max(prices) // row + 1)
        }
        for _, price, qty, side in self.trades:
            lots[price // row][0 if side > 0 else 1] += qty
        return row, [(r * row, buy, sell) for r, (buy, sell) in sorted(lots.items())]

    def _add_to_bar(self, stream_us: int, price: int, qty: int, side: int) -> None:
        start = stream_us // self.config.bar_us * self.config.bar_us
        if self.bar and stream_us >= self.bar[0] + self.config.bar_us:
            self._close_bar()
        if not self.bar:
            self.bar = [start, price, price, price, price, 0, 0, 0, 0]
        bar = self.bar
        bar[2], bar[3], bar[4] = max(bar[2], price), min(bar[3], price), price
        bar[5 if side > 0 else 6] += qty
        bar[7] += 1
        bar[8] += price * qty

    def _close_bar(self) -> None:
        if self.bar:
            self.bars.append(tuple(self.bar))
        self.bar = None

    def _add_to_bubble(self, number: int, stream_us: int, price: int, qty: int, side: int) -> None:
        # input, ts, last ts, first, last, qty, offset, count, side
        bubble = self.bubble
        joins = (
            bubble is not None
            and bubble[8] == side
            and stream_us - bubble[1] <= self.config.bubble_window_us
            and abs(price - bubble[3]) <= self.config.bubble_band_ticks
            and abs(price - bubble[3]) * qty < 2**63
            and abs(bubble[6] + (price - bubble[3]) * qty) < 2**63
        )
        if not joins:
            self._close_bubble()
            self.bubble = [number, stream_us, 0, price, 0, 0, 0, 0, side]
        assert self.bubble is not None
        bubble = self.bubble
        bubble[2], bubble[4] = stream_us, price
        bubble[5] += qty
        bubble[6] += (price - bubble[3]) * qty
        bubble[7] += 1

    def _close_bubble(self) -> None:
        if self.bubble:
            self.bubbles.append(tuple(self.bubble))
        self.bubble = None
