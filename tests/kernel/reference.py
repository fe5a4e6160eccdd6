"""A slow, obvious model of the kernel, written from its header alone: lists, dicts, big integers.

Outputs are plain tuples in the field order of the records; 128-bit numbers are Python integers.
"""

from dataclasses import dataclass, field
from typing import Any

MARKET, LIMIT = "market", "limit"


@dataclass
class Config:
    bar_us: int = 1_000_000
    bubble_window_us: int = 250_000
    bubble_band_ticks: int = 0
    profile_rows_max: int = 1 << 16
    decide_trades_count: int = 0
    decide_grid_us: int = 0
    decide_on_fill: bool = False
    equity_grid_us: int = 0
    latency_us: int = 0
    maker_fee_ppm: int = 0
    taker_fee_ppm: int = 0
    atoms_per_ticklot: int = 1
    fee_unit_atoms: int = 1
    initial_cash_atoms: int = 0
    orders_max: int = 64


@dataclass
class Order:
    order_id: int
    placed_input: int
    price: int
    qty: int
    remaining: int
    active_us: int
    side: int
    kind: str
    cancel_us: int = 2**63 - 1
    stage: str = "pending"


def ceil_div(a: int, b: int) -> int:
    return -(-a // b)


@dataclass
class Model:
    config: Config
    input: int = 0
    stream_us: int = 0
    trades: list[tuple[int, int, int, int]] = field(default_factory=list)
    """Every trade as (stream time, price, qty, side)."""
    orders: list[Order] = field(default_factory=list)
    next_order_id: int = 1
    position: int = 0
    cash: int = 0
    cost: int = 0
    realized: int = 0
    fees: int = 0
    bar: list[Any] | None = None
    bubble: list[Any] | None = None
    decide_next: int | None = None
    equity_next: int | None = None
    bars: list[tuple[Any, ...]] = field(default_factory=list)
    bubbles: list[tuple[Any, ...]] = field(default_factory=list)
    fills: list[tuple[Any, ...]] = field(default_factory=list)
    order_events: list[tuple[Any, ...]] = field(default_factory=list)
    equity: list[tuple[Any, ...]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.cash = self.config.initial_cash_atoms

    # Inputs: each returns whether it makes a decision point.

    def trade(self, ts: int, price: int, qty: int, side: int) -> bool:
        decides = self._advance(ts)
        filled = self._match(ts, price, qty, side)
        self.trades.append((self.stream_us, price, qty, side))
        self._add_to_bar(price, qty, side)
        self._add_to_bubble(price, qty, side)
        every = self.config.decide_trades_count
        return (
            decides
            or (filled and self.config.decide_on_fill)
            or (every > 0 and len(self.trades) % every == 0)
        )

    def clock(self, ts: int) -> bool:
        assert ts >= self.stream_us
        decides = self._advance(ts)
        if self.bar and ts >= self.bar[0] + self.config.bar_us:
            self._close_bar()
        if self.bubble and ts - self.bubble[1] > self.config.bubble_window_us:
            self._close_bubble()
        return decides

    def gap(self) -> None:
        self._advance(self.stream_us)
        self._close_bubble()

    def end(self) -> None:
        self._advance(self.stream_us)
        self._close_bar()
        self._close_bubble()

    # Commands

    def place(self, ts: int, kind: str, side: int, qty: int, price: int) -> int:
        order = Order(
            order_id=self.next_order_id,
            placed_input=self.input,
            price=price,
            qty=qty,
            remaining=qty,
            active_us=ts + self.config.latency_us,
            side=side,
            kind=kind,
        )
        self.orders.append(order)
        self.next_order_id += 1
        return order.order_id

    def cancel(self, ts: int, order_id: int) -> None:
        (order,) = [o for o in self.orders if o.order_id == order_id]
        order.cancel_us = min(order.cancel_us, ts + self.config.latency_us)

    # What can be asked

    @property
    def mark(self) -> int:
        return self.trades[-1][1] if self.trades else 0

    @property
    def equity_now(self) -> int:
        return self.cash + self.position * self.mark * self.config.atoms_per_ticklot

    @property
    def unrealized(self) -> int:
        return self.position * self.mark * self.config.atoms_per_ticklot - self.cost

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

    # How it works

    def _advance(self, ts: int) -> bool:
        now = max(self.stream_us, ts)
        decide_grid, equity_grid = self.config.decide_grid_us, self.config.equity_grid_us
        if self.input == 0:
            self.decide_next = (now // decide_grid + 1) * decide_grid if decide_grid else None
            self.equity_next = (now // equity_grid + 1) * equity_grid if equity_grid else None
        if self.equity_next is not None and now >= self.equity_next:
            self._equity_point(self.equity_next, self.mark)
            self.equity_next = (now // equity_grid + 1) * equity_grid
        decides = self.decide_next is not None and now >= self.decide_next
        if decides:
            self.decide_next = (now // decide_grid + 1) * decide_grid
        self.stream_us = now
        self.input += 1
        for order in list(self.orders):
            if now > order.cancel_us:
                self._tell(order, order.cancel_us, 2)
                self.orders.remove(order)
        return decides

    def _match(self, ts: int, price: int, qty: int, side: int) -> bool:
        ask = price if side > 0 else price + 1
        bid = price if side < 0 else max(price - 1, 1)
        budget = qty
        filled = False
        for order in list(self.orders):
            if order.stage == "resting" or ts <= order.active_us:
                continue
            touch = ask if order.side > 0 else bid
            good = order.price >= ask if order.side > 0 else order.price <= bid
            if order.kind == MARKET or good:
                order.stage = "taking"
                if budget > 0:
                    budget -= self._fill(order, ts, touch, budget, price, taker=True)
                    filled = True
            else:
                order.stage = "resting"
                self._tell(order, ts, 0)
        while budget > 0:
            through = [
                o
                for o in self.orders
                if o.stage == "resting"
                and o.remaining > 0
                and ts > o.active_us
                and (price < o.price if o.side > 0 else price > o.price)
            ]
            if not through:
                break
            side_first = through[0].side
            due = min(
                (o for o in through if o.side == side_first),
                key=lambda o: (-o.price * o.side, o.order_id),
            )
            budget -= self._fill(due, ts, due.price, budget, price, taker=False)
            filled = True
        self.orders = [o for o in self.orders if o.remaining > 0]
        return filled

    def _fill(self, order: Order, ts: int, at: int, budget: int, mark: int, *, taker: bool) -> int:
        qty = min(order.remaining, budget)
        order.remaining -= qty
        atoms = at * qty * self.config.atoms_per_ticklot
        ppm = self.config.taker_fee_ppm if taker else self.config.maker_fee_ppm
        unit = self.config.fee_unit_atoms
        fee = ceil_div(atoms * ppm, 1_000_000 * unit) * unit
        self.cash -= order.side * atoms + fee
        self.fees += fee
        self._book(order.side, at, qty)
        self.fills.append(
            (self.input, ts, order.order_id, at, qty, order.remaining, fee, order.side, int(taker))
        )
        self._equity_point(self.stream_us, mark)
        if order.remaining == 0:
            self._tell(order, ts, 1)
        return qty

    def _book(self, side: int, price: int, qty: int) -> None:
        atoms = self.config.atoms_per_ticklot
        held = abs(self.position)
        closed = min(qty, held) if self.position * side < 0 else 0
        if closed:
            removed = abs(self.cost) * closed // held * (1 if self.cost > 0 else -1)
            self.cost -= removed
            self.realized += -side * price * closed * atoms - removed
        self.cost += side * price * (qty - closed) * atoms
        self.position += side * qty

    def _equity_point(self, ts: int, mark: int) -> None:
        value = self.cash + self.position * mark * self.config.atoms_per_ticklot
        self.equity.append((self.input, ts, self.position, mark, value, self.realized, self.fees))

    def _tell(self, order: Order, ts: int, change: int) -> None:
        self.order_events.append((self.input, ts, order.order_id, order.remaining, change))

    def _add_to_bar(self, price: int, qty: int, side: int) -> None:
        start = self.stream_us // self.config.bar_us * self.config.bar_us
        if self.bar and self.stream_us >= self.bar[0] + self.config.bar_us:
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

    def _add_to_bubble(self, price: int, qty: int, side: int) -> None:
        # input, ts, last ts, first, last, qty, offset, count, side
        bubble = self.bubble
        joins = (
            bubble is not None
            and bubble[8] == side
            and self.stream_us - bubble[1] <= self.config.bubble_window_us
            and abs(price - bubble[3]) <= self.config.bubble_band_ticks
            and abs(price - bubble[3]) * qty < 2**63
            and abs(bubble[6] + (price - bubble[3]) * qty) < 2**63
        )
        if not joins:
            self._close_bubble()
            self.bubble = [self.input, self.stream_us, 0, price, 0, 0, 0, 0, side]
        assert self.bubble is not None
        bubble = self.bubble
        bubble[2], bubble[4] = self.stream_us, price
        bubble[5] += qty
        bubble[6] += (price - bubble[3]) * qty
        bubble[7] += 1

    def _close_bubble(self) -> None:
        if self.bubble:
            self.bubbles.append(tuple(self.bubble))
        self.bubble = None
