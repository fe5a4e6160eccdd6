"""What strategies and people may ask of the venue."""

import operator
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from flowtape._kernel import Kernel
from flowtape.stream.commands import ALL_MARKETS, CommandKind
from flowtape.stream.errors import InputError
from flowtape.stream.execution import Flag, Lane, OrderKind, TimeInForce
from flowtape.stream.records import ORDER, REQUEST, Records
from flowtape.stream.trades import BUY, SELL

GROUP = 1 << 63
"""Added to an index: names an order of the same call as parent or sibling."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """An order as it is asked for; prices in ticks, quantities in lots.

    Attributes:
        side: +1 buys, -1 sells.
        qty_lots: quantity; 0 with `close_position`.
        limit_ticks: limit price; without one the order takes what it finds.
        stop_ticks: waits until the price has gone against the trader as far as this.
        take_profit_ticks: waits until it has gone in the trader's favour as far as this.
        trail_ticks: waits until the price turns by so much from its best; with `trail_from_ticks`
            only once that price was reached.
        trail_ppm: the same as a share of the best price.
        on_mark: the mark price triggers, not the last one.
        time_in_force: how long it lives; GTD until `expire_us`.
        post_only: rejected instead of taking.
        reduce_only: never makes the position larger or turns it.
        close_position: asks for all of the position there is.
        display_lots: iceberg: shown at a time.
        parent_id: an open order whose fills set this one free, and which it grows with.
        sibling_id: an open order that this one reduces by its fills, and the other way.
        client_id: the caller's own number for it.
        market: number of the instrument.
    """

    side: int
    qty_lots: int = 0
    limit_ticks: int = 0
    stop_ticks: int = 0
    take_profit_ticks: int = 0
    trail_ticks: int = 0
    trail_ppm: int = 0
    trail_from_ticks: int = 0
    on_mark: bool = False
    time_in_force: TimeInForce = TimeInForce.GTC
    expire_us: int = 0
    post_only: bool = False
    reduce_only: bool = False
    close_position: bool = False
    display_lots: int = 0
    parent_id: int = 0
    sibling_id: int = 0
    client_id: int = 0
    market: int = 0

    @property
    def kind(self) -> OrderKind:
        """Kind that the prices given make; raises InputError when they do not go together."""
        given = [
            name
            for name in ("stop_ticks", "take_profit_ticks", "trail_ticks", "trail_ppm")
            if getattr(self, name)
        ]
        if len(given) > 1:
            raise InputError(f"an order waits for one thing; {' and '.join(given)} were given")
        limit = bool(self.limit_ticks)
        if not given:
            return OrderKind.LIMIT if limit else OrderKind.MARKET
        if given[0] == "stop_ticks":
            return OrderKind.STOP_LIMIT if limit else OrderKind.STOP
        if given[0] == "take_profit_ticks":
            return OrderKind.TAKE_PROFIT_LIMIT if limit else OrderKind.TAKE_PROFIT
        if limit:
            raise InputError("a trailing stop takes no limit price")
        return OrderKind.TRAILING_STOP

    def record(self) -> Records:
        """Return the kernel's record of it."""
        flags = (
            Flag.POST_ONLY * self.post_only
            | Flag.REDUCE_ONLY * self.reduce_only
            | Flag.CLOSE_POSITION * self.close_position
            | Flag.TRAIL_PPM * bool(self.trail_ppm)
            | Flag.ON_MARK * self.on_mark
        )
        values = (
            self.client_id,
            self.parent_id,
            self.sibling_id,
            self.qty_lots,
            self.limit_ticks,
            self.stop_ticks or self.take_profit_ticks or self.trail_from_ticks,
            self.trail_ticks or self.trail_ppm,
            self.display_lots,
            self.expire_us,
            self.market,
            self.side,
            self.kind,
            self.time_in_force,
            int(flags),
        )
        try:
            return np.array([tuple(map(operator.index, values))], REQUEST)
        except TypeError as error:
            raise InputError(f"a number of an order is not a whole one: {error}") from None
        except (OverflowError, ValueError) as error:
            raise InputError(f"a number of an order is out of range: {error}") from None


Keep = Callable[[CommandKind, int, list[int], Records], None]
"""Takes a command that was done: its kind, time, the orders it named or made, and its details."""


def _forget(_: CommandKind, __: int, ___: list[int], ____: Records) -> None:
    pass


class CommandGuard(Protocol):
    """Lets one thread at a time ask for something."""

    def asked(self) -> AbstractContextManager[None]:
        """Hold it for one command; raises InputError while another thread is at work."""
        ...


class _Unguarded:
    def asked(self) -> AbstractContextManager[None]:
        return nullcontext()


class Orders:
    """What a strategy may ask for; every method takes effect after the session's latency.

    Methods raise KernelError with the status that names what is wrong, and then nothing has
    changed: BAD_QTY, PRICE_FILTER, LOT_SIZE, NOTIONAL, CAPACITY and so on.
    """

    def __init__(
        self,
        kernel: Kernel,
        now_us: Callable[[], int],
        keep: Keep = _forget,
        guard: CommandGuard | None = None,
    ) -> None:
        self._guard = guard or _Unguarded()
        self._kernel = kernel
        self._now_us = now_us
        self._keep = keep

    def buy(self, qty_lots: int, limit_ticks: int | None = None, **more: Any) -> int:
        """Place a market order, or a limit order at `limit_ticks`, and return its id.

        `more` are further fields of `Request`.
        """
        return self.place(_request(BUY, qty_lots, limit_ticks, more))[0]

    def sell(self, qty_lots: int, limit_ticks: int | None = None, **more: Any) -> int:
        """Place a market order, or a limit order at `limit_ticks`, and return its id.

        `more` are further fields of `Request`.
        """
        return self.place(_request(SELL, qty_lots, limit_ticks, more))[0]

    def place(self, *requests: Request) -> list[int]:
        """Place orders, all or none, and return their ids.

        `GROUP + i` as a parent or sibling names the order of the i-th request before it.
        """
        each = [request.record() for request in requests]
        return self.place_records(each[0] if len(each) == 1 else np.concatenate(each))

    def place_records(self, records: Records) -> list[int]:
        """Place orders as `place` does, given as records of `records.REQUEST`."""
        with self._guard.asked():
            now_us = self._now_us()
            ids = self._kernel.place(now_us, records.view(np.uint8))
            self._keep(CommandKind.PLACE, now_us, ids, records)
        return ids

    def bracket(
        self, entry: Request, *, take_profit_ticks: int, stop_ticks: int
    ) -> tuple[int, int, int]:
        """Place an order and the two that end its position; return the ids of all three.

        The exits wait for fills of the entry and grow with them: a limit order at
        `take_profit_ticks` and a stop at `stop_ticks`, of which either reduces the other.
        """
        exit_order = Request(
            side=-entry.side,
            qty_lots=entry.qty_lots,
            parent_id=GROUP,
            reduce_only=True,
            market=entry.market,
            client_id=entry.client_id,
        )
        profit = replace(exit_order, limit_ticks=take_profit_ticks)
        stop = replace(exit_order, stop_ticks=stop_ticks, sibling_id=GROUP + 1)
        first, second, third = self.place(entry, profit, stop)
        return first, second, third

    def pair(self, first: Request, second: Request) -> tuple[int, int]:
        """Place two orders of one side of which either reduces the other (OCO)."""
        one, other = self.place(first, replace(second, sibling_id=GROUP))
        return one, other

    def cancel(self, order_id: int) -> None:
        """Ask to cancel; trades until the request arrives may still fill the order.

        Raises KernelError UNKNOWN_ORDER when it is not open.
        """
        with self._guard.asked():
            now_us = self._now_us()
            self._kernel.cancel(now_us, order_id)
            self._keep(CommandKind.CANCEL, now_us, [order_id], np.zeros(1, REQUEST))

    def cancel_all(self, market: int = -1) -> int:
        """Ask to cancel every open order, of one instrument or of all; return how many."""
        which = np.zeros(1, REQUEST)
        which["market"] = ALL_MARKETS if market < 0 else market
        with self._guard.asked():
            now_us = self._now_us()
            count = self._kernel.cancel_all(now_us, market)
            self._keep(CommandKind.CANCEL_ALL, now_us, [0], which)
        return count

    def amend(
        self, order_id: int, *, qty_lots: int = 0, limit_ticks: int = 0, trigger_ticks: int = 0
    ) -> None:
        """Ask to change an order; 0 leaves a number as it is.

        Less quantity keeps its place in the queue; another price or more quantity loses it.
        """
        new = np.zeros(1, REQUEST)
        new["qty_lots"], new["price_ticks"] = qty_lots, limit_ticks
        new["trigger_ticks"] = trigger_ticks
        with self._guard.asked():
            now_us = self._now_us()
            self._kernel.amend(now_us, order_id, qty_lots, limit_ticks, trigger_ticks)
            self._keep(CommandKind.AMEND, now_us, [order_id], new)

    def flatten(self, position_lots: int, market: int = 0) -> int | None:
        """Cancel all orders of an instrument and close the position; return the closing order."""
        self.cancel_all(market)
        if position_lots == 0:
            return None
        side = SELL if position_lots > 0 else BUY
        close = Request(side=side, qty_lots=abs(position_lots), reduce_only=True, market=market)
        return self.place(close)[0]

    def open(self) -> NDArray[np.void]:
        """Return the open orders, oldest first, records of `records.ORDER`."""
        return open_in_base(self._kernel.orders().view(ORDER))


def open_in_base(orders: Records) -> Records:
    """Return the orders that the base lane still has open, of records of `records.ORDER`."""
    kept: Records = orders[orders["lanes"]["done"][:, Lane.BASE] == 0]
    return kept


def _request(side: int, qty_lots: int, limit_ticks: int | None, more: dict[str, Any]) -> Request:
    if limit_ticks is None:
        limit_ticks = 0
    elif limit_ticks == 0:
        raise InputError("a limit price of 0 ticks is none")
    return Request(side=side, qty_lots=qty_lots, limit_ticks=limit_ticks, **more)
