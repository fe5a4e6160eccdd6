"""The paper exchange of a venue: one spot account, settled by the engine on what happens."""

import asyncio
import logging
import secrets
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace

import numpy as np

from flowtape.connectors.binance.filters import rules_of
from flowtape.connectors.venue.exchange_info import symbol_info
from flowtape.connectors.venue.listing import Listing
from flowtape.connectors.venue.paper_balances import Balances, account_position, read_balances
from flowtape.connectors.venue.paper_forms import NEW_ORDER_REJECTED, OrderForm
from flowtape.connectors.venue.paper_limits import OrderCounts
from flowtape.connectors.venue.paper_lists import ListForm, PaperList
from flowtape.connectors.venue.paper_orders import NO_LIST, Event, PaperFill, PaperOrder
from flowtape.connectors.venue.paper_rules import (
    kernel_refusal,
    paper_config,
    past_inputs,
    sound_trades,
    traded_assets,
)
from flowtape.connectors.venue.queries import BadQueryError
from flowtape.stream.config import EngineConfig
from flowtape.stream.engine import Engine
from flowtape.stream.errors import FlowError, KernelError
from flowtape.stream.execution import Change, Role
from flowtape.stream.inputs import Inputs
from flowtape.stream.orders import GROUP, Request
from flowtape.stream.ports import Clock, Rules
from flowtape.stream.trades import Trades

LOOK_S = 0.005
"""How often it is looked whether an order was settled."""

_MADE_ID_BYTES = 11
_LAST_CHANGES = (Change.FILLED, Change.CANCELED, Change.EXPIRED, Change.REJECTED)

_log = logging.getLogger(__name__)

_FIRST, _FILL, _AMENDED, _LAST = range(4)
"""Places of what an input did to an order."""


class PaperExchange:
    """Orders of one account on the listings of a venue, which are of spot and of one quote asset.

    Args:
        listings: in the order of their numbers.
        config: cash, fees, latency and rules of filling; the rest is decided here.
        clock_us: the market's time.
        wall_us: the clock by which orders are counted; the market's time when None.
    """

    def __init__(
        self,
        listings: Sequence[Listing],
        config: EngineConfig,
        clock_us: Callable[[], int],
        wall_us: Callable[[], int] | None = None,
    ) -> None:
        self.base_assets, self.quote_asset = traded_assets(listings)
        config = paper_config(listings, config)
        self.config = config
        self.orders: dict[int, PaperOrder] = {}
        self.lists: dict[int, PaperList] = {}
        self.counts = OrderCounts(wall_us or clock_us)
        self.fills: list[PaperFill] = []
        self.updated_us = 0
        self._listings = tuple(listings)
        self._numbers = {listing.symbol: at for at, listing in enumerate(listings)}
        instruments = [listing.instrument for listing in listings]
        self._engine = Engine(
            instruments, config.without_order_flow(sums=False), shown=False, tradable=True
        )
        self._clock_us = clock_us
        self._latency_us = (
            config.latency_us if isinstance(config.latency_us, int) else max(config.latency_us)
        )
        self._asked_us = 0
        self._events_seen = 0
        self._fills_seen = 0
        self._open: dict[int, PaperOrder] = {}
        self._told: list[Callable[[Event], None]] = []
        self._balances: Balances = {}
        self._execution_count = 0
        self._withdrawn: list[PaperOrder] = []
        self._broken = ""

    @property
    def engine(self) -> Engine:
        """The engine that settles."""
        return self._engine

    def begin(self) -> None:
        """Take in what happened before the venue opened, which fills nothing."""
        past = past_inputs(self._listings)
        if len(past):
            self._apply(past)

    def happened(self, listing: Listing, trades: Trades) -> None:
        """Settle on trades of a symbol that have just happened."""
        trades = sound_trades(trades)
        if len(trades) and not self._broken:
            self._apply(Inputs.of_trades(trades, self._numbers[listing.symbol]))

    def look(self) -> None:
        """Let the market's time go on as far as nothing more can happen before."""
        if self._broken:
            raise BadQueryError(-1016, self._broken, status=503)
        next_us = [us for one in self._listings if (us := one.market.next_us) is not None]
        now_us = self._clock_us()
        if next_us:
            now_us = min(now_us, min(next_us) - 1)
        else:
            # everything was played; what was asked for still arrives
            now_us = max(now_us, self._asked_us + self._latency_us + 1)
        if now_us > int(self._engine.snapshot["stream_us"]):
            try:
                self._engine.apply_event(Clock(now_us))
            except FlowError as error:
                self._break(error)
            self._take()

    def listen(self, told: Callable[[Event], None]) -> None:
        """Have events told, in their order."""
        if not self._told:
            self._balances = self.balances()
        self._told.append(told)

    def number(self, listing: Listing) -> int:
        """Return the number of a listing's instrument."""
        return self._numbers[listing.symbol]

    def last_ticks(self, listing: Listing) -> int:
        """Return the last price of a listing, 0 where nothing has traded."""
        market = self._engine.markets[self.number(listing)]
        market.look_again()
        return market.last_ticks

    def place(self, form: OrderForm) -> PaperOrder:
        """Ask for an order; raises BadQueryError where it is refused at once."""
        (order,) = self._placed([form], [form.request])
        return order

    def place_list(self, form: ListForm) -> PaperList:
        """Ask for a pair of orders of which one ends the other; both are refused or none."""
        client_id = form.client_id or _made_id()
        if any(one.client_id == client_id and not one.done for one in self.lists.values()):
            raise BadQueryError(NEW_ORDER_REJECTED, "Duplicate order sent.")
        stop, profit = form.stop, form.profit
        list_id = len(self.lists) + 1
        first, second = self._placed(
            [stop, profit], [stop.request, replace(profit.request, sibling_id=GROUP)], list_id
        )
        made = PaperList(list_id, client_id, (first, second), first.created_us)
        self.lists[list_id] = made
        return made

    def _placed(
        self, forms: Sequence[OrderForm], requests: Sequence[Request], list_id: int = NO_LIST
    ) -> list[PaperOrder]:
        self.look()
        if any(form.listing.status != "TRADING" for form in forms):
            raise BadQueryError(-1013, "Market is closed.")
        client_ids = [form.client_id or _made_id() for form in forms]
        if any(map(self._has_open, client_ids)):
            raise BadQueryError(NEW_ORDER_REJECTED, "Duplicate order sent.")
        self.counts.check(len(forms))
        at_us = self._asking()
        for form in forms:
            self._obey(form.listing)
        try:
            order_ids = self._engine.orders_of_person(at_us).place(*requests)
        except KernelError as error:
            raise kernel_refusal(error) from None
        self.counts.add(len(forms))
        orders = [
            PaperOrder(
                *(form, order_id, client_id, self.quote_asset, self._engine.money_decimals),
                *(at_us, list_id),
            )
            for form, order_id, client_id in zip(forms, order_ids, client_ids, strict=True)
        ]
        for order in orders:
            self.orders[order.order_id] = self._open[order.order_id] = order
        self._engine.show()
        return orders

    def check(self, form: OrderForm) -> None:
        """Refuse an order that `place` would refuse at once, and do nothing else."""
        self.look()
        self._obey(form.listing)
        checkpoint = self._engine.checkpoint()
        try:
            self._engine.orders_of_person(self._clock_us()).place(form.request)
        except KernelError as error:
            raise kernel_refusal(error) from None
        finally:
            self._engine.show()
            self._engine.restore(checkpoint)

    def _obey(self, listing: Listing) -> None:
        """Have the filters of a listing that were changed count from now on."""
        if listing.filters:
            number = self.number(listing)
            rules, _ = rules_of(
                symbol_info(listing), listing.instrument, self._engine.rules(number)
            )
            self._engine.apply_event(Rules(self._clock_us(), rules), number)

    def cancel(self, order: PaperOrder, client_id: str) -> None:
        """Ask to cancel an open order under a name, made up where there is none."""
        order.canceled_as = client_id or _made_id()
        if order.cancel_asked:
            return
        try:
            self._engine.orders_of_person(self._asking()).cancel(order.order_id)
        except KernelError as error:
            raise kernel_refusal(error) from None
        order.cancel_asked = True
        self._engine.show()
        self._take()

    def amend(self, order: PaperOrder, qty_lots: int, client_id: str) -> None:
        """Ask for less of an open order, under a new name, made up where there is none."""
        client_id = client_id or _made_id()
        if client_id != order.client_id and self._has_open(client_id):
            raise BadQueryError(NEW_ORDER_REJECTED, "Duplicate order sent.")
        self._obey(order.form.listing)
        try:
            self._engine.orders_of_person(self._asking()).amend(order.order_id, qty_lots=qty_lots)
        except KernelError as error:
            raise kernel_refusal(error) from None
        order.amendment = qty_lots, client_id
        self._engine.show()
        self._take()

    async def until(self, settled: Callable[[], bool], wait_s: float) -> None:
        """Wait until something holds, by the wall clock for no longer than `wait_s`.

        Waiting changes nothing but how long it takes: what happens is decided by the trades.
        """
        loop = asyncio.get_running_loop()
        ends_s = loop.time() + wait_s
        self.look()
        while not settled() and loop.time() < ends_s:
            await asyncio.sleep(LOOK_S)
            self.look()

    def open_orders(self, listing: Listing | None = None) -> list[PaperOrder]:
        """Return the open orders of one symbol, or of all, oldest first."""
        found = [one for one in self._open.values() if listing in (None, one.form.listing)]
        return sorted((one for one in found if one.shown), key=lambda one: one.order_id)

    def balances(self) -> Balances:
        """Return what is free and what open orders lock, as text, by asset."""
        return read_balances(
            *(self._engine, self._listings, self.base_assets, self.quote_asset),
            self._open.values(),
        )

    def _has_open(self, client_id: str) -> bool:
        """Whether an open order has a client's name, or is about to."""
        return any(
            client_id in (one.client_id, one.amendment and one.amendment[1])
            for one in self._open.values()
        )

    def _asking(self) -> int:
        self._asked_us = max(self._clock_us(), int(self._engine.snapshot["stream_us"]))
        return self._asked_us

    def _apply(self, inputs: Inputs) -> None:
        try:
            self._engine.apply(inputs)
        except FlowError as error:
            self._break(error)
        self._take()

    def _break(self, error: FlowError) -> None:
        self._broken = f"The paper exchange has stopped: {error}"
        _log.error("%s", self._broken)

    def _take(self) -> None:
        """Take in what the engine says has happened since, in its order."""
        ledger = self._engine.ledger
        events, fills = ledger.order_events, ledger.fills
        if events.head == self._events_seen and fills.head == self._fills_seen:
            return
        steps = [((int(one["input"]), _place(one)), one) for one in events.since(self._events_seen)]
        steps += [((int(one["input"]), _FILL), one) for one in fills.since(self._fills_seen)]
        steps.sort(key=lambda step: step[0])
        self._events_seen, self._fills_seen = events.head, fills.head
        for (_, place), record in steps:
            order = self.orders.get(int(record["order_id"]))
            if order is not None:
                self._step(order, record, is_fill=place == _FILL)
        self._tell_balances()
        self._withdraw()

    def _step(self, order: PaperOrder, record: np.void, *, is_fill: bool) -> None:
        fill: PaperFill | None = None
        if is_fill:
            kind = "TRADE"
            if not order.fills:
                self.counts.filled(is_maker=int(record["role"]) == Role.MAKER)
            fill = order.fill(record, len(self.fills) + 1)
            self.fills.append(fill)
        else:
            kind = order.change(record)
        if order.done:
            self._open.pop(order.order_id, None)
        at_us = int(record["ts_us"])
        pair = self.lists.get(order.list_id)
        if kind and order.shown:
            self.updated_us = at_us
            self._execution_count += 1
            order.execution_id = self._execution_count
            if pair is None or pair.begun:
                self._tell(lambda unit_us: order.report(kind, fill, at_us, unit_us))
            elif self._told:
                pair.untold.append(order.report_later(kind, fill, at_us))
        if pair is not None:
            self._step_list(pair, order, at_us)

    def _step_list(self, pair: PaperList, order: PaperOrder, at_us: int) -> None:
        """Begin a pair once both its orders are there or one is refused, and say when it ends."""
        if not pair.begun and (order.refusal or all(one.arrived for one in pair.orders)):
            pair.begun = True
            if order.refusal:
                pair.refusal = order.refusal
                for one in pair.orders:
                    one.withdrawn = not one.fills
                self._withdrawn += [one for one in pair.orders if not one.done]
            if pair.shown:
                for event in pair.untold:
                    self._tell(event)
                self._tell(lambda unit_us: pair.event(at_us, unit_us))
            pair.untold.clear()
        if pair.done and pair.shown and not (pair.ended or pair.refusal):
            pair.ended = True
            self._tell(lambda unit_us: pair.event(at_us, unit_us))

    def _withdraw(self) -> None:
        """End orders whose other half was refused."""
        while self._withdrawn:
            order = self._withdrawn.pop()
            # it may have ended meanwhile
            with suppress(BadQueryError):
                self.cancel(order, "")

    def _tell(self, event: Event) -> None:
        for told in self._told:
            told(event)

    def _tell_balances(self) -> None:
        if not self._told:
            return
        balances = self.balances()
        changed = [asset for asset, both in balances.items() if self._balances.get(asset) != both]
        self._balances = balances
        at_us = self.updated_us
        if changed:
            self._tell(lambda unit_us: account_position(balances, changed, at_us, unit_us))


def _place(event: np.void) -> int:
    """Where an event stands among those of its input: ends and amendments come behind fills."""
    change = int(event["change"])
    if change == Change.AMENDED:
        return _AMENDED
    return _LAST if change in _LAST_CHANGES else _FIRST


def _made_id() -> str:
    return secrets.token_hex(_MADE_ID_BYTES)
