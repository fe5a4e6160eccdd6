"""The slow model's rules of what becomes of orders: arrival, triggers, takers, resting orders."""

from tests.kernel.config import (
    BASE,
    NEVER,
    QUEUE_NEVER,
    AccountKind,
    Change,
    FillModel,
    Flag,
    Kind,
    Reason,
    Role,
    Stage,
    Tif,
)
from tests.kernel.reference import ceil_div
from tests.kernel.reference_orders import STOPS, TAKE_PROFITS, Order
from tests.kernel.reference_settlement import Settlement


class Matching(Settlement):
    """Arrival, triggers and matching on top of the bookkeeping."""

    # Arrival

    def arrive(self, order: Order) -> None:
        ts = order.active_us
        if self.is_held(order):
            order.stage = Stage.HELD
        elif order.parent_id:
            self.go_live(order, ts)
        elif order.reduces and not self.account(BASE).opposite(order.market, order.side):
            self.end_all(order, ts, Change.REJECTED, Reason.NOTHING_TO_REDUCE)
        elif not self._is_affordable(order):
            self.end_all(order, ts, Change.REJECTED, Reason.INSUFFICIENT_BALANCE)
        elif order.waits and order.kind != Kind.TRAILING_STOP and self._is_reached(order):
            self.end_all(order, ts, Change.REJECTED, Reason.WOULD_TRIGGER)
        else:
            self.go_live(order, ts)

    def go_live(self, order: Order, ts: int) -> None:
        if order.waits:
            order.stage = Stage.WAITING
            level, reference = order.trigger, self._reference(order)
            if order.kind == Kind.TRAILING_STOP:
                if reference:
                    self._remember(order, reference)
                level = self._level(order) if order.best else 0
            self.tell(order, ts, Change.WAITING, detail=level)
            return
        if order.closes:
            self._size(order, ts)
        if order.is_open:
            self.settle(order, ts)

    def _size(self, order: Order, ts: int) -> None:
        """Ask for the opposite position, lane by lane."""
        for lane in order.open_lanes():
            held = self.account(lane).opposite(order.market, order.side)
            order.lanes[lane].remaining = held
            if not held:
                self.end_lane(order, lane, ts, Change.CANCELED, Reason.NOTHING_TO_REDUCE)

    def settle(self, order: Order, ts: int) -> None:
        """Decide by the touch whether an order takes or rests."""
        tape, post_only = self.tapes[order.market], order.flags & Flag.POST_ONLY
        if not order.has_limit or (not tape.last and not post_only):
            self._take(order, ts)
        elif tape.last and tape.marketable(order.side, order.price):
            if post_only:
                self.end_all(order, ts, Change.REJECTED, Reason.WOULD_TAKE)
            else:
                self._take(order, ts)
        elif order.tif == Tif.IOC:
            self.end_all(order, ts, Change.EXPIRED, Reason.NOTHING_LEFT)
        elif order.tif == Tif.FOK:
            self.end_all(order, ts, Change.EXPIRED, Reason.NOT_ENOUGH)
        else:
            self._rest(order, ts)

    def _take(self, order: Order, ts: int) -> None:
        order.stage = Stage.TAKING
        order.first = order.first_us = 0
        for numbers in order.lanes.values():
            numbers.queue = numbers.shown = 0
        self.tell(order, ts, Change.TAKING)

    def _rest(self, order: Order, ts: int) -> None:
        order.stage = Stage.RESTING
        order.rank = 1 + max(other.rank for other in self.known.values())
        for lane in order.open_lanes():
            self._queue_up(order, lane, untouched=False)
            self.tell(order, ts, Change.RESTING, lane)

    def _queue_up(self, order: Order, lane: int, *, untouched: bool) -> None:
        numbers, tape = order.lanes[lane], self.tapes[order.market]
        ahead = tape.queue(lane, order.side, order.price, untouched=untouched)
        numbers.queue = max(ahead, self.own_ahead(order, lane))
        numbers.shown = min(order.display, numbers.remaining)

    # What an order needs at its arrival

    def _is_affordable(self, order: Order) -> bool:
        if self.config.account_kind == AccountKind.SPOT:
            rivals = [o for o in self.open_orders if self._has_arrived(o) and not o.parent_id]
            if order.side > 0:
                return self._needs([*rivals, order], 1, BASE) <= self.account(BASE).cash
            rivals = [o for o in rivals if o.market == order.market]
            held = self.account(BASE).opposite(order.market, -1)
            return self._needs([*rivals, order], -1, BASE) <= held
        if self.config.account_kind == AccountKind.ISOLATED:
            account = self.account(BASE)
            more = order.base.remaining - account.opposite(order.market, order.side)
            if more <= 0 or order.reduces:
                return True
            atoms = account.notional(order.market, self._need_price(order), more)
            margin = ceil_div(atoms, self.config.markets[order.market].leverage)
            fee = max(0, self.fees.of(self.stream_us, atoms, Role.TAKER))
            return margin + fee <= account.wallet_free
        return True

    @staticmethod
    def _has_arrived(order: Order) -> bool:
        return order.stage not in (Stage.PENDING, Stage.HELD)

    @staticmethod
    def _asks(order: Order, lane: int) -> int:
        """What an order asks for; one on its way is tested even if the lane has ended it."""
        numbers = order.lanes[lane]
        return 0 if numbers.done and order.stage != Stage.PENDING else numbers.remaining

    def _need_price(self, order: Order) -> int:
        if order.has_limit:
            return order.price
        if order.waits and order.kind != Kind.TRAILING_STOP:
            return order.trigger
        return self.tapes[order.market].touch(order.side)

    def _need(self, order: Order, lane: int) -> int:
        asks = self._asks(order, lane)
        if order.side < 0:
            return asks
        atoms = self.account(lane).notional(order.market, self._need_price(order), asks)
        return atoms + max(0, self.fees.of(self.stream_us, atoms, Role.TAKER))

    def _needs(self, orders: list[Order], side: int, lane: int) -> int:
        """What orders of a side need together; of a pair the larger counts."""
        groups: dict[int, int] = {}
        for order in orders:
            if order.side == side:
                key = min(order.order_id, order.sibling_id or order.order_id)
                groups[key] = max(groups.get(key, 0), self._need(order, lane))
        return sum(groups.values())

    def free(self, lane: int) -> int:
        lane = lane if lane in self.accounts else BASE
        account = self.accounts[lane]
        if self.config.account_kind == AccountKind.SPOT:
            arrived = [o for o in self.open_orders if self._has_arrived(o) and not o.parent_id]
            return account.cash - self._needs(arrived, 1, lane)
        if self.config.account_kind == AccountKind.ISOLATED:
            return account.wallet_free
        return account.equity(self.marks)

    # Triggers

    def _reference(self, order: Order) -> int:
        tape = self.tapes[order.market]
        return tape.mark if order.on_mark else tape.last

    def _is_reached(self, order: Order) -> bool:
        reference = self._reference(order)
        direction = order.side if order.kind in STOPS else -order.side
        return bool(reference) and (reference - order.trigger) * direction >= 0

    def _remember(self, order: Order, reference: int) -> None:
        if order.best:
            best = max if order.side < 0 else min
            order.best = best(order.best, reference)
        elif not order.trigger or (reference - order.trigger) * -order.side >= 0:
            order.best = reference

    @staticmethod
    def _level(order: Order) -> int:
        """Where a trailing stop that has started triggers."""
        away = order.trail
        if order.flags & Flag.TRAIL_PPM:
            away = ceil_div(order.best * order.trail, 1_000_000)
        return order.best + order.side * away

    def trigger_orders(self, market: int, ts: int, *, on_mark: bool) -> None:
        for kinds in (STOPS, TAKE_PROFITS):
            for order in self.open_orders:
                if (
                    order.is_open
                    and order.market == market
                    and order.kind in kinds
                    and order.stage == Stage.WAITING
                    and order.on_mark == on_mark
                    and order.may_trade(ts, self.input)
                ):
                    self._test(order, ts)

    def _test(self, order: Order, ts: int) -> None:
        if order.kind != Kind.TRAILING_STOP:
            if self._is_reached(order):
                self._trigger(order, ts, order.trigger)
            return
        reference, level = self._reference(order), self._level(order)
        if order.best and (reference - level) * order.side >= 0:
            self._trigger(order, ts, level)
        else:
            self._remember(order, reference)

    def _trigger(self, order: Order, ts: int, level: int) -> None:
        order.live_input = self.input
        self.tell(order, ts, Change.TRIGGERED, detail=level)
        self.end_sibling(order, ts)
        with self.no_print():
            if order.closes:
                self._size(order, ts)
            if order.is_open:
                self.settle(order, ts)

    # Prints

    def match(self, market: int, ts: int, price: int, qty: int, side: int) -> None:
        shares = {lane: self.share(lane, qty) for lane in self.config.lanes_run}
        for order in sorted(self.open_orders, key=lambda o: (self._taker_class(o), o.order_id)):
            if self._meets(order, Stage.TAKING, market, ts):
                self._meet_taker(order, ts, side, shares)
        resting = [o for o in self.open_orders if self._meets(o, Stage.RESTING, market, ts)]
        got: dict[tuple[int, int, int], int] = {}
        for order in sorted(resting, key=lambda o: (o.side == side, -o.price * o.side, o.rank)):
            for lane in order.open_lanes():
                key = (lane, order.side, order.price)
                had = got.get(key, 0)
                got[key] = had + self._meet_resting(
                    order, lane, ts, (price, qty, side), had, shares
                )

    def _meets(self, order: Order, stage: Stage, market: int, ts: int) -> bool:
        return (
            order.is_open
            and order.stage == stage
            and order.market == market
            and order.may_trade(ts, self.input)
        )

    @staticmethod
    def _taker_class(order: Order) -> int:
        return 0 if order.kind in STOPS else 1 if order.kind in TAKE_PROFITS else 2

    def _meet_taker(self, order: Order, ts: int, side: int, shares: dict[int, int]) -> None:
        tape = self.tapes[order.market]
        touch = tape.touch(order.side)
        if order.has_limit and not tape.marketable(order.side, order.price):
            order.live_input = self.input
            self.settle(order, ts)
            return
        if not order.first:
            order.first, order.first_us = touch, self.stream_us
        for lane in order.open_lanes():
            self._take_in_lane(order, lane, ts, side, shares)

    def _taker_price(self, order: Order, lane: int) -> int:
        touch = self.tapes[order.market].touch(order.side)
        if self.config.fill_model == FillModel.SPREAD:
            return touch
        slip = self.config.lanes[lane].slip_ticks
        worst = max if order.side > 0 else min
        price = max(1, worst(touch, order.first) + order.side * slip)
        if order.has_limit:
            price = min(price, order.price) if order.side > 0 else max(price, order.price)
        return price

    def _take_in_lane(
        self, order: Order, lane: int, ts: int, side: int, shares: dict[int, int]
    ) -> None:
        numbers, price = order.lanes[lane], self._taker_price(order, lane)
        if numbers.done or not numbers.remaining:
            return
        spread = self.config.fill_model == FillModel.SPREAD
        barred = not spread and self.config.lanes[lane].own_side_only and side != order.side
        share = 0 if barred else shares[lane]
        allowed, reason = self.allowance(order, lane, price, Role.TAKER)
        if order.tif == Tif.FOK and min(share, allowed) < numbers.remaining:
            self.end_lane(order, lane, ts, Change.EXPIRED, Reason.NOT_ENOUGH)
        elif share and not allowed:
            self.end_lane(order, lane, ts, Change.CANCELED, reason)
        elif not share:
            self._starve(order, lane, ts, Reason.OTHER_SIDE if barred else Reason.BUDGET_SPENT)
        else:
            qty = min(share, allowed)
            shares[lane] -= qty
            self.fill(order, lane, ts, price, qty, Role.TAKER)

    def _starve(self, order: Order, lane: int, ts: int, reason: Reason) -> None:
        if lane == BASE and self.config.trace:
            self.tell(order, ts, Change.STARVED, lane, reason=reason)

    def _meet_resting(
        self,
        order: Order,
        lane: int,
        ts: int,
        trade: tuple[int, int, int],
        had: int,
        shares: dict[int, int],
    ) -> int:
        """One print against one resting order in one lane; returns the lots it got."""
        numbers, (price, qty, side) = order.lanes[lane], trade
        if numbers.done:
            return 0
        beyond = (order.price - price) * order.side
        through = beyond > 0 or (beyond == 0 and side == order.side)
        behind = available = numbers.remaining
        if self.config.fill_model == FillModel.SPREAD:
            if not self.tapes[order.market].marketable(order.side, order.price):
                behind = available = 0
        elif through:
            if self.config.lanes[lane].queue_ppm != QUEUE_NEVER:
                numbers.queue = 0
        elif beyond == 0:
            behind = qty - numbers.queue
            shown = numbers.shown if order.display else numbers.remaining
            available = min(behind - had, shown, numbers.remaining)
            if numbers.queue != NEVER:
                numbers.queue = max(0, numbers.queue - qty)
            if behind <= 0 and numbers.remaining and lane == BASE and self.config.trace:
                self.tell(order, ts, Change.QUEUED, lane)
        else:
            behind = available = 0
        if not numbers.remaining or behind <= 0:
            return 0
        return self._fill_maker(order, lane, ts, available, shares, through=through)

    def _fill_maker(
        self,
        order: Order,
        lane: int,
        ts: int,
        available: int,
        shares: dict[int, int],
        *,
        through: bool,
    ) -> int:
        numbers = order.lanes[lane]
        if available <= 0 or not shares[lane]:
            self._starve(order, lane, ts, Reason.BUDGET_SPENT)
            return 0
        allowed, reason = self.allowance(order, lane, order.price, Role.MAKER)
        if not allowed:
            self.end_lane(order, lane, ts, Change.CANCELED, reason)
            return 0
        got = min(available, shares[lane], allowed)
        shares[lane] -= got
        self.fill(order, lane, ts, order.price, got, Role.MAKER)
        if order.display and not numbers.done and through:
            numbers.shown = min(order.display, numbers.remaining)
        elif order.display and not numbers.done and not numbers.shown and numbers.remaining:
            self._queue_up(order, lane, untouched=True)
            self.tell(order, ts, Change.SLICED, lane)
        return got
