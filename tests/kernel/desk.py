"""A few words to write execution tests in: a desk drives a kernel or the model and reads it out.

Times are microseconds; every print and order is of the first instrument unless told otherwise.
Readings are of the base lane unless told otherwise.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from flowtape.stream.errors import KernelError
from tests.kernel import drive
from tests.kernel.config import (
    ALL_LANES,
    BASE,
    PPM,
    AccountKind,
    Change,
    Config,
    FeeTier,
    Kind,
    Lane,
    Reason,
    Request,
    Role,
)

BUY, SELL = 1, -1
FIRST_IN_LINE = Lane(queue_ppm=0, participation_ppm=PPM)


def plain_config(**more: Any) -> Config:
    """The base lane alone, first in line, with all of each print: the easiest arithmetic."""
    return replace(Config(lane_count=1, lanes=(FIRST_IN_LINE,) * 3), **more)


@dataclass(frozen=True)
class Fill:
    """What a test looks at in a fill."""

    price: int
    qty: int
    role: str


class Desk:
    """One side with a config, driven by short words."""

    def __init__(self, side: drive.Side) -> None:
        self.side = side

    # Inputs

    def print(self, ts: int, price: int, qty: int, aggressor: int, market: int = 0) -> None:
        self.side.trades([(ts, price, qty, aggressor, market)])

    def break_levels(self, ts: int, side: int, volume: int, times: int = 16, top: int = 500) -> int:
        """Let levels of one volume break on a side (SELL: bids), from `top` on; the last price."""
        step = 1 if side == BUY else -1
        for i in range(times + 1):
            self.print(ts, top + step * i, volume, side)
        return top + step * times

    # Commands

    def place(self, *requests: Request, at: int | None = None) -> list[int]:
        return self.side.place(self.side.now if at is None else at, requests)

    def order(
        self, kind: Kind, side: int, qty: int, price: int = 0, *, at: int | None = None, **more: Any
    ) -> int:
        request = Request(kind=kind, side=side, qty_lots=qty, price_ticks=price, **more)
        return self.place(request, at=at)[0]

    def market(self, side: int, qty: int, **more: Any) -> int:
        return self.order(Kind.MARKET, side, qty, **more)

    def limit(self, side: int, qty: int, price: int, **more: Any) -> int:
        return self.order(Kind.LIMIT, side, qty, price, **more)

    def cancel(self, order_id: int) -> None:
        self.side.cancel(self.side.now, order_id)

    def amend(self, order_id: int, qty: int = 0, price: int = 0, trigger: int = 0) -> None:
        self.side.amend(self.side.now, order_id, qty, price, trigger)

    def refusal(self, order_or_call: Request | Callable[[], Any]) -> str:
        """The status of the refusal that placing a request, or a call, ends with."""
        before = self.side.orders(), self.side.snapshot(0)["next_order_id"]
        try:
            if isinstance(order_or_call, Request):
                self.place(order_or_call)
            else:
                order_or_call()
        except KernelError as error:
            assert (self.side.orders(), self.side.snapshot(0)["next_order_id"]) == before
            return error.status
        return "OK"

    # Readings

    def fills(self, order_id: int, lane: int = BASE) -> list[Fill]:
        return [
            Fill(row[3], row[4], Role(row[9]).name)
            for row in self.side.out["fills"]
            if row[2] == order_id and row[10] == lane
        ]

    def filled(self, order_id: int) -> tuple[int, ...]:
        """Lots filled in each lane."""
        return tuple(
            sum(fill.qty for fill in self.fills(order_id, lane))
            for lane in self.side.config.lanes_run
        )

    def fees(self, order_id: int) -> list[int]:
        rows = self.side.out["fills"]
        return [row[6] for row in rows if row[2] == order_id and row[10] == BASE]

    def story(self, order_id: int, lane: int = BASE) -> list[str]:
        """The changes of an order in a lane, with the reason behind a colon."""
        return [
            Change(row[8]).name + (f":{Reason(row[9]).name}" if row[9] else "")
            for row in self.side.out["order_events"]
            if row[2] == order_id and row[10] in (lane, ALL_LANES)
        ]

    def last(self, order_id: int, lane: int = BASE) -> str:
        return self.story(order_id, lane)[-1]

    def events(self, order_id: int, change: Change, lane: int = BASE) -> list[drive.Row]:
        return [
            row
            for row in self.side.out["order_events"]
            if row[2] == order_id and row[8] == change and row[10] in (lane, ALL_LANES)
        ]

    def queue(self, order_id: int, lane: int = BASE) -> int:
        """What the order saw ahead of it when it last came to rest, or showed its next part."""
        resting = self.events(order_id, Change.RESTING, lane)
        sliced = self.events(order_id, Change.SLICED, lane)
        return int((resting + sliced)[-1][6])

    def is_open(self, order_id: int) -> bool:
        return any(dict(row)["order_id"] == order_id for row in self.side.orders())

    def position(self, lane: int = BASE, market: int = 0) -> int:
        return int(self.side.position(market, lane)[0])

    def account(self, lane: int = BASE) -> dict[str, int]:
        names = ("cash", "realized", "unrealized", "fees", "funding", "equity", "free")
        return dict(zip(names, self.side.account(lane), strict=True))

    def touch(self) -> tuple[int, int]:
        snapshot = self.side.snapshot(0)
        return snapshot["bid_ticks"], snapshot["ask_ticks"]


def spot(cash: int, **more: Any) -> Config:
    return plain_config(account_kind=AccountKind.SPOT, initial_cash_atoms=cash, **more)


def fee(taker_ppm: int, maker_ppm: int = 0) -> tuple[FeeTier, ...]:
    return (FeeTier(0, maker_ppm * 1000, taker_ppm * 1000),)
