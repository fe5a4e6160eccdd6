"""Two instruments against each other: sell the one that ran ahead, buy the one that stayed behind.

flowtape backtest BTCUSDT ETHUSDT --strategy examples/pair_reversion.py:PairReversion
"""

from collections import deque
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from flowtape.stream.config import Decide
from flowtape.stream.strategy import Market, Orders, Strategy


@dataclass
class PairReversion(Strategy):
    """Holds the pair while the ratio of the two prices is far from its mean.

    Attributes:
        span: decisions that mean and deviation are taken of.
        enter: deviations from the mean at which the pair is bought or sold.
        leave: deviations at which it is closed.
        cash: what each side of the pair is worth, in the quote asset.
    """

    decide: ClassVar[Decide] = Decide(grid_us=1_000_000)

    span: int = 120
    enter: float = 2.0
    leave: float = 0.3
    cash: float = 2_000.0

    def on_start(self, market: Market) -> None:
        """Begin without a history."""
        if len(market.all) != 2:
            raise ValueError(f"it trades two instruments, was given {len(market.all)}")
        self._ratios: deque[float] = deque(maxlen=self.span)
        self._side = 0

    def on_decision(self, market: Market, orders: Orders) -> None:
        """Compare the ratio with its mean and go to the position that follows."""
        first, second = market.all
        if not first.last_ticks or not second.last_ticks:
            return
        self._ratios.append(first.price(first.last_ticks) / second.price(second.last_ticks))
        if len(self._ratios) < self.span:
            return
        deviation = float(np.std(self._ratios))
        distance = self._ratios[-1] - float(np.mean(self._ratios))
        side = self._side
        if abs(distance) > self.enter * deviation:
            side = -1 if distance > 0 else 1
        elif abs(distance) < self.leave * deviation:
            side = 0
        if side == self._side or len(orders.open()):
            return
        self._side = side
        for one, way in ((first, side), (second, -side)):
            lots = self.cash / one.price(one.last_ticks) * 10**one.instrument.qty_decimals
            self._go_to(one, way * int(lots), orders)

    @staticmethod
    def _go_to(market: Market, target_lots: int, orders: Orders) -> None:
        missing = target_lots - market.position_lots
        if missing > 0:
            orders.buy(missing, market=market.number)
        elif missing < 0:
            orders.sell(-missing, market=market.number)
