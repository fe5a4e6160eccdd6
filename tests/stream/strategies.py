"""Strategies that tests trade with."""

from dataclasses import dataclass
from typing import ClassVar

from flowtape.stream.config import Decide
from flowtape.stream.strategy import Market, Orders, Strategy


@dataclass
class Flipper(Strategy):
    """Turns the position over every `every` decisions, with limits and cancels in between."""

    decide: ClassVar[Decide] = Decide(grid_us=500_000, on_fill=True)
    every: int = 4
    eager: bool = False

    def on_start(self, market: Market) -> None:
        self.calls = 0

    def on_decision(self, market: Market, orders: Orders) -> None:
        self.calls += 1
        side = 1 if (self.calls // self.every) % 2 else -1
        if self.calls % self.every == 0:
            for order in orders.open():
                orders.cancel(int(order["order_id"]))
            lots = 20_000 + abs(market.position_lots)
            (orders.buy if side > 0 else orders.sell)(lots)
        elif len(orders.open()) < 5:
            orders.buy(5_000, market.last_ticks - 3)
            orders.sell(5_000, market.last_ticks + 3)


@dataclass
class Broken(Strategy):
    decide: ClassVar[Decide] = Decide(trades_count=10)

    def on_decision(self, market: Market, orders: Orders) -> None:
        raise RuntimeError("out of ideas")


class NotAStrategy:
    pass
