"""A slow, obvious model of execution, written from docs/EXECUTION.md and the headers alone.

Outputs are plain tuples in the field order of the records, without `reserved`; 128-bit numbers are
Python integers. Refusals are KernelErrors with the status the kernel would give.
"""

from collections.abc import Sequence
from dataclasses import replace

from flowtape.stream.errors import KernelError
from tests.kernel.config import (
    BASE,
    NEVER,
    PRICE_MAX,
    QTY_MAX,
    TS_MAX,
    AccountKind,
    Change,
    Config,
    Flag,
    Kind,
    Reason,
    Request,
    Role,
    Stage,
    Tif,
)
from tests.kernel.reference_matching import Matching
from tests.kernel.reference_orders import (
    AMEND,
    AMENDABLE_TRIGGERS,
    CANCEL,
    SUBMIT,
    Order,
    OrderLane,
    draw_us,
    flags_fit,
    links_fit,
    numbers_fit,
    resolve,
    venue_refuses,
)

FUNDING_LARGEST_PPB = 10**9

RULE_LIMITS = {
    "price_step_ticks": (1, PRICE_MAX),
    "price_min_ticks": (0, PRICE_MAX),
    "price_max_ticks": (0, PRICE_MAX),
    "qty_step_lots": (1, QTY_MAX),
    "qty_min_lots": (0, QTY_MAX),
    "qty_max_lots": (0, QTY_MAX),
    "market_qty_max_lots": (0, QTY_MAX),
    "notional_min_ticklots": (0, 2**63 - 1),
    "price_up_ppm": (0, 2**63 - 1),
    "price_down_ppm": (0, 2**63 - 1),
}


class Model(Matching):
    """The whole kernel as seen from outside. Inputs return whether they make a decision point."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.decide_next: int | None = None
        self.equity_next: int | None = None
        self.ended = False

    # Inputs

    def trade(self, ts: int, price: int, qty: int, side: int, market: int = 0) -> bool:
        if market >= len(self.tapes):
            raise KernelError("BAD_MARKET", "")
        decides = self._advance(ts)
        self.tapes[market].trade(self.stream_us, price, qty, side)
        self.print_now = (price, qty)
        self.trigger_orders(market, ts, on_mark=False)
        self.match(market, ts, price, qty, side)
        self.print_now = (0, 0)
        self._release()
        self.flows[market].trade(self.input, self.stream_us, price, qty, side)
        every = self.config.decide_trades_count
        count = sum(len(flow.trades) for flow in self.flows)
        return self._decision(decides or (every > 0 and count % every == 0))

    def clock(self, ts: int) -> bool:
        self._check_time(ts)
        decides = self._advance(ts)
        for flow in self.flows:
            flow.clock(ts)
        return self._decision(decides)

    def gap(self, market: int) -> None:
        self._check_market(market)
        self._advance(self.stream_us)
        self.tapes[market].gap()
        self.flows[market].gap()
        for order in self.open_orders:
            if order.market == market:
                self.tell(order, self.stream_us, Change.UNKNOWN)

    def mark(self, market: int, ts: int, mark_ticks: int) -> bool:
        self._check_market(market)
        self._check_time(ts)
        if not 1 <= mark_ticks <= PRICE_MAX:
            raise KernelError("BAD_PRICE", "")
        decides = self._advance(ts)
        self.tapes[market].mark = mark_ticks
        if self.config.account_kind == AccountKind.ISOLATED:
            for lane in self.config.lanes_run:
                if self.account(lane).is_bankrupt(market, mark_ticks):
                    self._liquidate(market, lane, ts)
        self.trigger_orders(market, ts, on_mark=True)
        self._release()
        return self._decision(decides)

    def funding(self, market: int, ts: int, rate_ppb: int) -> bool:
        self._check_market(market)
        self._check_time(ts)
        mark = self.tapes[market].mark
        if not mark:
            raise KernelError("NO_MARK", "")
        decides = self._advance(ts)
        for lane in self.config.lanes_run:
            self.account(lane).fund(market, mark, rate_ppb)
        if self.account(BASE).positions[market].lots:
            self.equity_point(self.stream_us, market)
        return self._decision(decides)

    def set_rule(self, market: int, ts: int, rule: int, value: int) -> bool:
        self._check_market(market)
        if not 0 <= rule < len(RULE_LIMITS):
            raise KernelError("BAD_RULE", "")
        name, (low, high) = list(RULE_LIMITS.items())[rule]
        if not low <= value <= high:
            raise KernelError("BAD_RULE", "")
        self._check_time(ts)
        decides = self._advance(ts)
        tape = self.tapes[market]
        tape.market = replace(tape.market, rules=replace(tape.market.rules, **{name: value}))
        return self._decision(decides)

    def end(self) -> None:
        self._check_running()
        self._advance(self.stream_us)
        for flow in self.flows:
            flow.end()
        self.ended = True

    def _check_running(self) -> None:
        if self.ended:
            raise KernelError("ENDED", "")

    def _check_time(self, ts: int) -> None:
        self._check_running()
        if not 0 <= ts <= TS_MAX:
            raise KernelError("BAD_TIME", "")
        if ts < self.stream_us:
            raise KernelError("TIME_REVERSED", "")

    def _check_market(self, market: int) -> None:
        self._check_running()
        if not 0 <= market < len(self.tapes):
            raise KernelError("BAD_MARKET", "")

    def _decision(self, decides: bool) -> bool:
        filled, self.filled_base = self.filled_base, False
        return decides or (filled and bool(self.config.decide_on_fill))

    # What happens before an input

    def _advance(self, ts: int) -> bool:
        self._check_running()
        now = max(self.stream_us, ts)
        decide_grid, equity_grid = self.config.decide_grid_us, self.config.equity_grid_us
        if self.input == 0:
            self.decide_next = (now // decide_grid + 1) * decide_grid if decide_grid else None
            self.equity_next = (now // equity_grid + 1) * equity_grid if equity_grid else None
        if self.equity_next is not None and now >= self.equity_next:
            self.equity_point(self.equity_next)
            self.equity_next = (now // equity_grid + 1) * equity_grid
        decides = self.decide_next is not None and now >= self.decide_next
        if decides:
            self.decide_next = (now // decide_grid + 1) * decide_grid
        while due := [moment for moment in self._moments() if moment[0] < now]:
            moment, action, order_id = min(due)
            self._happen(self.known[order_id], action, moment)
        self._release()
        self.stream_us = now
        self.input += 1
        return decides

    def _moments(self) -> list[tuple[int, int, int]]:
        """Everything that is to come, as (moment, action, order id)."""
        found = []
        for order in self.open_orders:
            if order.stage == Stage.PENDING:
                found.append((order.active_us, 0, order.order_id))
            found.append((order.cancel_us, 1, order.order_id))
            if order.tif == Tif.GTD:
                found.append((order.expire_us, 2, order.order_id))
            found.append((order.amend_us, 3, order.order_id))
            if order.tif == Tif.IOC and order.stage == Stage.TAKING and order.first:
                over = order.first_us + self.config.ioc_window_us
                found.append((over, 4, order.order_id))
        return found

    def _release(self) -> None:
        for order in self.open_orders:
            if order.is_open and order.stage == Stage.HELD and not self.is_held(order):
                order.live_input = self.input
                self.go_live(order, self.stream_us)

    def _happen(self, order: Order, action: int, ts: int) -> None:
        if action == 0:
            self.arrive(order)
        elif action == 1:
            self.end_all(order, ts, Change.CANCELED, Reason.BY_COMMAND)
        elif action == 2:
            self.end_all(order, ts, Change.EXPIRED, Reason.TIME_IS_UP)
        elif action == 3:
            self._amend_now(order, ts)
        else:
            self.end_all(order, ts, Change.EXPIRED, Reason.NOTHING_LEFT)

    def _amend_now(self, order: Order, ts: int) -> None:
        qty, price, trigger = order.amend
        order.amend, order.amend_us = (0, 0, 0), NEVER
        more = qty - order.qty if qty else 0
        moved = bool(price) and price != order.price
        order.qty += more
        order.price = price or order.price
        order.trigger = trigger or order.trigger
        for lane in order.open_lanes():
            order.lanes[lane].remaining = max(0, order.lanes[lane].remaining + more)
        self.tell(order, ts, Change.AMENDED, detail=order.price)
        for lane in order.open_lanes():
            numbers = order.lanes[lane]
            if more and not numbers.remaining:
                self.end_lane(order, lane, ts, Change.CANCELED, Reason.BY_AMENDMENT)
            numbers.shown = min(numbers.shown, numbers.remaining)
        if order.is_open and order.stage == Stage.RESTING and (moved or more > 0):
            self.settle(order, ts)

    def _liquidate(self, market: int, lane: int, ts: int) -> None:
        side, price, lots = self.account(lane).liquidate(market)
        role = int(Role.LIQUIDATED)
        self.fills.append((self.input, ts, 0, price, lots, 0, 0, market, side, role, lane))
        if lane == BASE:
            self.filled_base = True
            self.equity_point(self.stream_us, market)
        for order in self.open_orders:
            if order.market == market and not order.lanes[lane].done:
                self.end_lane(order, lane, ts, Change.CANCELED, Reason.BY_LIQUIDATION)

    # Commands

    def place(self, ts: int, requests: Sequence[Request]) -> list[int]:
        self._check_time(ts)
        first_id = len(self.known) + 1
        ids: list[int] = []
        made: dict[int, Order] = {}
        for asked in requests:
            order_id = first_id + len(ids)
            order = self._make(ts, order_id, asked, ids, {**self.known, **made})
            made[order_id] = order
            ids.append(order_id)
        self.known.update(made)
        for order in made.values():
            if order.parent_id:
                self.known[order.parent_id].children.append(order.order_id)
            if order.sibling_id:
                self.known[order.sibling_id].sibling_id = order.order_id
            latency = draw_us(self.config, order.order_id, SUBMIT)
            self.tell(order, ts, Change.PLACED, detail=latency)
        self._drop_ghosts(ts)
        return ids

    def _drop_ghosts(self, ts: int) -> None:
        for order in self.open_orders:
            if len(self.open_orders) <= 2 * self.config.orders_max:
                return
            if order.is_open and not order.is_base_open:
                for lane in order.open_lanes():
                    self.end_lane(order, lane, ts, Change.CANCELED, Reason.BY_CAPACITY)

    def _make(
        self, ts: int, order_id: int, asked: Request, ids: list[int], known: dict[int, Order]
    ) -> Order:
        def refuse(status: str | None) -> None:
            if status:
                raise KernelError(status, "")

        if not 0 <= asked.market < len(self.tapes):
            refuse("BAD_MARKET")
        if asked.side not in (1, -1):
            refuse("BAD_SIDE")
        if not flags_fit(asked):
            refuse("BAD_ORDER")
        refuse(numbers_fit(asked, ts))
        order = Order(
            order_id=order_id,
            placed_input=self.input,
            live_input=self.input,
            active_us=ts + draw_us(self.config, order_id, SUBMIT),
            market=asked.market,
            side=asked.side,
            kind=Kind(asked.kind),
            tif=Tif(asked.time_in_force),
            flags=Flag(asked.flags),
            qty=asked.qty_lots,
            price=asked.price_ticks,
            trigger=asked.trigger_ticks,
            trail=asked.trail,
            display=asked.display_lots,
            expire_us=asked.expire_us,
            parent_id=resolve(asked.parent_id, ids),
            sibling_id=resolve(asked.sibling_id, ids),
            client_id=asked.client_id,
            lanes={lane: OrderLane(asked.qty_lots) for lane in self.config.lanes_run},
        )
        refuse(links_fit(order, known))
        if order.sibling_id in [
            known[other].sibling_id for other in ids if known[other].sibling_id
        ]:
            refuse("BAD_ORDER")
        refuse(self._venue(order, order.qty, order.price, order.trigger))
        if sum(o.is_base_open for o in self.open_orders) + len(ids) >= self.config.orders_max:
            refuse("CAPACITY")
        if order.parent_id:
            for lane, numbers in order.lanes.items():
                given = known[order.parent_id].lanes[lane]
                numbers.remaining = min(given.filled, order.qty)
                numbers.done = given.done and not given.filled
        return order

    def _venue(self, order: Order, qty: int, price: int, trigger: int) -> str | None:
        tape = self.tapes[order.market]
        return venue_refuses(
            tape.market.rules,
            order.kind,
            order.flags,
            tape.last,
            qty=qty,
            price=price,
            trigger=trigger,
        )

    def _find(self, order_id: int) -> Order:
        order = self.known.get(order_id)
        if order is None or not order.is_base_open:
            raise KernelError("UNKNOWN_ORDER", "")
        return order

    def cancel(self, ts: int, order_id: int) -> None:
        self._check_time(ts)
        self._ask_to_cancel(self._find(order_id), ts)

    def _ask_to_cancel(self, order: Order, ts: int) -> None:
        latency = draw_us(self.config, order.order_id, CANCEL)
        order.cancel_us = min(order.cancel_us, max(ts + latency, order.active_us))
        self.tell(order, ts, Change.CANCEL_ASKED, detail=latency)

    def cancel_all(self, ts: int, market: int = -1) -> int:
        self._check_time(ts)
        if not -1 <= market < len(self.tapes):
            raise KernelError("BAD_MARKET", "")
        orders = [o for o in self.open_orders if market in (-1, o.market)]
        for order in orders:
            self._ask_to_cancel(order, ts)
        return sum(order.is_base_open for order in orders)

    def amend(self, ts: int, order_id: int, qty: int, price: int, trigger: int) -> None:
        self._check_time(ts)
        order = self._find(order_id)
        if order.amend_us != NEVER:
            raise KernelError("AMEND_PENDING", "")
        if (
            not (qty or price or trigger)
            or (qty and (order.parent_id or order.closes))
            or (price and not order.has_limit)
            or (trigger and order.kind not in AMENDABLE_TRIGGERS)
        ):
            raise KernelError("BAD_ORDER", "")
        if not 0 <= qty <= QTY_MAX:
            raise KernelError("BAD_QTY", "")
        if not (0 <= price <= PRICE_MAX and 0 <= trigger <= PRICE_MAX):
            raise KernelError("BAD_PRICE", "")
        status = self._venue(
            order, qty or order.qty, price or order.price, trigger or order.trigger
        )
        if status:
            raise KernelError(status, "")
        latency = draw_us(self.config, order_id, AMEND)
        order.amend = (qty, price, trigger)
        order.amend_us = max(ts + latency, order.active_us)
        self.tell(order, ts, Change.AMEND_ASKED, detail=latency)
