"""Trade against moves that aggressors do not support.

When price makes a new low over the last `span_s` seconds while buyers were the more aggressive
side, the strategy buys; at a new high made while sellers were, it sells. It holds at most one
position of `qty` and leaves it after `hold_s` seconds.
"""

from dataclasses import dataclass
from typing import ClassVar

from flowtape.stream.config import SECOND_US, Decide
from flowtape.stream.strategy import Market, Orders, Strategy


@dataclass
class DeltaDivergence(Strategy):
    """Fade new extremes that cumulative delta does not confirm."""

    decide: ClassVar[Decide] = Decide(grid_us=SECOND_US)

    span_s: int = 120
    hold_s: int = 60
    qty: str = "0.05"

    def on_start(self, market: Market) -> None:
        """Convert the quantity to lots, exactly."""
        self._qty_lots = market.lots(self.qty)
        self._leave_us = 0

    def on_decision(self, market: Market, orders: Orders) -> None:
        """Leave an old position, or look for a divergence."""
        if len(orders.open()):
            return
        position = market.position_lots
        if position:
            if market.now_us >= self._leave_us:
                (orders.sell if position > 0 else orders.buy)(abs(position))
            return
        bars = market.bars[-self.span_s :]
        if len(bars) < self.span_s:
            return
        delta = int(bars["buy_lots"].sum() - bars["sell_lots"].sum())
        if bars["low_ticks"][-1] <= bars["low_ticks"].min() and delta > 0:
            orders.buy(self._qty_lots)
        elif bars["high_ticks"][-1] >= bars["high_ticks"].max() and delta < 0:
            orders.sell(self._qty_lots)
        else:
            return
        self._leave_us = market.now_us + self.hold_s * SECOND_US
