"""The slow model's bookkeeping of orders: events, fills, ends, and what hangs on them."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.kernel.config import (
    ALL_LANES,
    BASE,
    OPTIMISTIC,
    PESSIMISTIC,
    PPM,
    AccountKind,
    Change,
    Config,
    FillModel,
    Reason,
    Role,
    Stage,
)
from tests.kernel.reference import FlowModel, ceil_div
from tests.kernel.reference_account import Account, Fees
from tests.kernel.reference_levels import Tape
from tests.kernel.reference_orders import Order

Row = tuple[Any, ...]


@dataclass
class Settlement:
    """Every order ever placed, the accounts, and the outputs."""

    config: Config
    input: int = 0
    stream_us: int = 0
    known: dict[int, Order] = field(default_factory=dict)
    fills: list[Row] = field(default_factory=list)
    order_events: list[Row] = field(default_factory=list)
    equity: list[Row] = field(default_factory=list)
    print_now: tuple[int, int] = (0, 0)
    """Price and quantity of the print that is being worked through."""
    filled_base: bool = False

    def __post_init__(self) -> None:
        self.accounts = {lane: Account(self.config) for lane in self.config.lanes_run}
        self.fees = Fees(self.config)
        self.tapes = [Tape(self.config, market) for market in self.config.markets]
        self.flows = [FlowModel(market.flow) for market in self.config.markets]

    @property
    def open_orders(self) -> list[Order]:
        """Orders open in some lane; those that are not in the base lane are ghosts."""
        return [order for order in self.known.values() if order.is_open]

    def account(self, lane: int) -> Account:
        return self.accounts.get(lane, self.accounts[BASE])

    @property
    def marks(self) -> list[int]:
        return [tape.value_ticks for tape in self.tapes]

    # Outputs

    @contextmanager
    def no_print(self) -> Iterator[None]:
        """What is told in here follows from something else than the print itself."""
        kept, self.print_now = self.print_now, (0, 0)
        yield
        self.print_now = kept

    def tell(
        self,
        order: Order,
        ts: int,
        change: Change,
        lane: int = ALL_LANES,
        *,
        reason: Reason = Reason.NONE,
        detail: int = 0,
    ) -> None:
        numbers = order.base if lane == ALL_LANES else order.lanes[lane]
        self.order_events.append(
            (
                self.input,
                ts,
                order.order_id,
                *self.print_now,
                numbers.remaining,
                numbers.queue,
                detail,
                int(change),
                int(reason),
                lane,
            )
        )

    def equity_point(self, ts: int, market: int = 0) -> None:
        base = self.account(BASE)
        self.equity.append(
            (
                self.input,
                ts,
                market,
                base.positions[market].lots,
                self.marks[market],
                base.equity(self.marks),
                self.account(OPTIMISTIC).equity(self.marks),
                self.account(PESSIMISTIC).equity(self.marks),
                base.realized,
                base.fees,
                base.funding,
            )
        )

    # Ends

    def parent_is_open(self, order: Order, lane: int) -> bool:
        return bool(order.parent_id) and not self.known[order.parent_id].lanes[lane].done

    def end_lane(
        self, order: Order, lane: int, ts: int, change: Change, reason: Reason = Reason.NONE
    ) -> None:
        order.lanes[lane].done = True
        self.tell(order, ts, change, lane, reason=reason)
        self._after_parent(order, [lane], ts)

    def end_all(self, order: Order, ts: int, change: Change, reason: Reason) -> None:
        lanes = order.open_lanes()
        for lane in lanes:
            order.lanes[lane].done = True
        self.tell(order, ts, change, reason=reason)
        self._after_parent(order, lanes, ts)

    def _after_parent(self, parent: Order, lanes: list[int], ts: int) -> None:
        """End the children that have nothing to do any more, now that nothing can be added."""
        for lane in lanes:
            for child in [self.known[child_id] for child_id in parent.children]:
                numbers, given = child.lanes[lane], parent.lanes[lane].filled
                if numbers.done:
                    continue
                with self.no_print():
                    if numbers.filled and not numbers.remaining:
                        self.end_lane(child, lane, ts, Change.FILLED)
                    elif not given:
                        self.end_lane(child, lane, ts, Change.CANCELED, Reason.BY_PARENT)
                    elif not numbers.remaining and not child.closes:
                        self.end_lane(child, lane, ts, Change.CANCELED, Reason.BY_SIBLING)

    def end_sibling(self, order: Order, ts: int) -> None:
        """End the sibling of an order that triggered, where that order itself is still open."""
        sibling = self.known.get(order.sibling_id)
        if not sibling or not sibling.is_open:
            return
        lanes = [lane for lane in sibling.open_lanes() if not order.lanes[lane].done]
        if lanes == sibling.open_lanes():
            self.end_all(sibling, ts, Change.CANCELED, Reason.BY_SIBLING)
            return
        for lane in lanes:
            self.end_lane(sibling, lane, ts, Change.CANCELED, Reason.BY_SIBLING)

    # Fills

    def allowance(self, order: Order, lane: int, price: int, role: Role) -> tuple[int, Reason]:
        """The most an account lets an order have now, and why nothing if it is nothing."""
        account, most = self.account(lane), order.lanes[lane].remaining
        if order.reduces:
            most = min(most, account.opposite(order.market, order.side))
            if not most:
                return 0, Reason.NOTHING_TO_REDUCE
        if self.config.account_kind == AccountKind.SPOT:
            if order.side < 0:
                most = min(most, account.opposite(order.market, order.side))
            while most and self._cost(order, lane, price, most, role) > account.cash:
                most = min(most - 1, max(0, self._affordable(order, lane, price)))
        return most, Reason.NONE if most else Reason.INSUFFICIENT_BALANCE

    def _affordable(self, order: Order, lane: int, price: int) -> int:
        """More than this costs more than there is, whatever the fee."""
        account = self.account(lane)
        return account.cash // account.notional(order.market, price, 1)

    def _cost(self, order: Order, lane: int, price: int, qty: int, role: Role) -> int:
        if order.side < 0:
            return 0
        atoms = self.account(lane).notional(order.market, price, qty)
        return atoms + max(0, self.fees.of(self.stream_us, atoms, role))

    def fill(self, order: Order, lane: int, ts: int, price: int, qty: int, role: Role) -> None:
        numbers, account = order.lanes[lane], self.account(lane)
        given = numbers.filled
        numbers.remaining -= qty
        numbers.filled += qty
        numbers.filled_ticklots += price * qty
        numbers.shown = max(0, numbers.shown - qty)
        atoms = account.notional(order.market, price, qty)
        fee = self.fees.of(self.stream_us, atoms, role)
        account.fill(order.market, order.side, price, qty, fee)
        self.fills.append(
            (
                self.input,
                ts,
                order.order_id,
                price,
                qty,
                numbers.remaining,
                fee,
                order.market,
                order.side,
                int(role),
                lane,
            )
        )
        if lane == BASE:
            self.fees.add(self.stream_us, atoms)
            self.filled_base = True
            self.equity_point(self.stream_us, order.market)
        self._reduce_sibling(order, lane, ts, qty)
        self._grow_children(order, lane, ts, given)
        if numbers.remaining == 0 and not self.parent_is_open(order, lane):
            self.end_lane(order, lane, ts, Change.FILLED)

    def _reduce_sibling(self, order: Order, lane: int, ts: int, qty: int) -> None:
        sibling = self.known.get(order.sibling_id)
        if not sibling or sibling.closes:
            return
        numbers = sibling.lanes[lane]
        less = min(qty, numbers.remaining)
        if numbers.done or not less:
            return
        numbers.remaining -= less
        numbers.shown = min(numbers.shown, numbers.remaining)
        self.tell(sibling, ts, Change.REDUCED, lane, detail=less)
        if numbers.remaining == 0 and not self.parent_is_open(sibling, lane):
            self.end_lane(sibling, lane, ts, Change.CANCELED, Reason.BY_SIBLING)

    def _grow_children(self, order: Order, lane: int, ts: int, given: int) -> None:
        for child in [self.known[child_id] for child_id in order.children]:
            numbers = child.lanes[lane]
            more = min(order.lanes[lane].filled, child.qty) - min(given, child.qty)
            if numbers.done or child.closes or not more:
                continue
            numbers.remaining += more
            if child.stage == Stage.RESTING and not numbers.shown:
                numbers.shown = min(child.display, numbers.remaining)
            self.tell(child, ts, Change.RELEASED, lane, detail=more)

    def share(self, lane: int, qty: int) -> int:
        """How much of a print all own orders together may have."""
        if self.config.fill_model == FillModel.SPREAD:
            return 1 << 100
        return ceil_div(qty * self.config.lanes[lane].participation_ppm, PPM)

    def is_held(self, order: Order) -> bool:
        """Whether an order waits for its parent to fill, or end, in the base lane."""
        if not order.parent_id:
            return False
        parent = self.known[order.parent_id].base
        return not parent.filled and not parent.done

    def own_ahead(self, order: Order, lane: int) -> int:
        """The longest queue of another own order at the same price and side."""
        return max(
            (
                other.lanes[lane].queue
                for other in self.open_orders
                if other is not order
                and other.stage == Stage.RESTING
                and not other.lanes[lane].done
                and (other.market, other.side, other.price)
                == (order.market, order.side, order.price)
            ),
            default=0,
        )
