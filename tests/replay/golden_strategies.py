"""Strategies of the golden sessions: all kinds of orders, decided by prices alone."""

import contextlib
from dataclasses import dataclass
from typing import ClassVar

from flowtape.stream.config import Decide
from flowtape.stream.errors import KernelError
from flowtape.stream.execution import TimeInForce
from flowtape.stream.strategy import Market, Orders, Request, Strategy


@dataclass
class Quoter(Strategy):
    """Quotes on both sides of the last price, and turns over what it gathered."""

    decide: ClassVar[Decide] = Decide(grid_us=20_000_000)

    lots: int = 500
    away_ticks: int = 2

    def on_start(self, market: Market) -> None:
        self.calls = 0

    def on_decision(self, market: Market, orders: Orders) -> None:
        self.calls += 1
        if abs(market.position_lots) > 6 * self.lots:
            orders.flatten(market.position_lots)
        elif len(orders.open()) < 8:
            last = market.last_ticks
            orders.buy(self.lots, last - self.away_ticks, post_only=self.calls % 3 == 0)
            orders.sell(self.lots, last + self.away_ticks)
        else:
            oldest = int(orders.open()[0]["order_id"])
            # An earlier request for the same order may still be on its way.
            with contextlib.suppress(KernelError):
                if self.calls % 3:
                    orders.cancel(oldest)
                else:
                    orders.amend(oldest, qty_lots=self.lots // 2)


@dataclass
class Instructor(Strategy):
    """Goes through brackets, pairs, icebergs, trailing stops and every time in force."""

    decide: ClassVar[Decide] = Decide(grid_us=1_500_000)

    lots: int = 900

    def on_start(self, market: Market) -> None:
        self.calls = 0

    def on_decision(self, market: Market, orders: Orders) -> None:
        self.calls += 1
        last, lots, kind = market.last_ticks, self.lots, self.calls % 10
        side = 1 if self.calls // 10 % 2 else -1
        if self.calls % 60 == 0:
            orders.flatten(market.position_lots)
        elif kind == 1:
            entry = Request(side=side, qty_lots=lots, limit_ticks=last + side)
            ends = {"take_profit_ticks": last + 6 * side, "stop_ticks": last - 6 * side}
            orders.bracket(entry, **ends)
        elif kind == 2:
            limit = Request(side=side, qty_lots=lots, limit_ticks=last - 3 * side)
            stop = Request(side=side, qty_lots=lots, stop_ticks=last + 3 * side)
            orders.pair(limit, stop)
        elif kind == 3:
            orders.buy(8 * lots, last - 1, display_lots=lots)
        elif kind == 4:
            orders.place(Request(side=-side, qty_lots=lots, trail_ticks=4))
            orders.place(Request(side=side, qty_lots=lots, trail_ppm=300, trail_from_ticks=last))
        elif kind == 5:
            for life in (TimeInForce.IOC, TimeInForce.FOK):
                orders.sell(3 * lots, last, time_in_force=life)
        elif kind == 6:
            ends_us = market.now_us + 20_000_000
            orders.sell(lots, last + 2, time_in_force=TimeInForce.GTD, expire_us=ends_us)
            orders.place(Request(side=side, qty_lots=lots, take_profit_ticks=last - 4 * side))
        elif kind == 7:
            orders.place(Request(side=side, qty_lots=40 * lots))
        elif kind == 8 and market.position_lots:
            close = 1 if market.position_lots < 0 else -1
            stop_ticks = last + 5 * close
            orders.place(Request(side=close, close_position=True, stop_ticks=stop_ticks))


@dataclass
class Pair(Strategy):
    """Sells the instrument that rose more since its last call and buys the other one."""

    decide: ClassVar[Decide] = Decide(grid_us=10_000_000)

    lots: int = 200

    def on_start(self, market: Market) -> None:
        self.before = [0 for _ in market.all]

    def on_decision(self, market: Market, orders: Orders) -> None:
        now = [one.last_ticks for one in market.all]
        if all(self.before) and all(now):
            rises = [a * 1_000_000 // b for a, b in zip(now, self.before, strict=True)]
            high = rises.index(max(rises))
            orders.place(
                Request(side=-1, qty_lots=self.lots, market=high),
                Request(side=1, qty_lots=self.lots, market=1 - high, limit_ticks=now[1 - high]),
            )
            if len(orders.open()) > 20:
                orders.cancel_all()
            for one in market.all:
                if abs(one.position_lots) > 10 * self.lots:
                    orders.flatten(one.position_lots, one.number)
        self.before = now
