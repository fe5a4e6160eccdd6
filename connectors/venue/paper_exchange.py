"""The paper exchange of a venue: one spot account, settled by the engine on what happens."""

import asyncio
import logging
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from flowtape.connectors.venue.exchange_info import assets_of
from flowtape.connectors.venue.listing import Listing
from flowtape.connectors.venue.paper_forms import NEW_ORDER_REJECTED, OrderForm
from flowtape.connectors.venue.paper_orders import PaperFill, PaperOrder
from flowtape.connectors.venue.pieces import picked
from flowtape.connectors.venue.queries import BadQueryError
from flowtape.connectors.venue.rules import NOTIONAL_MIN
from flowtape.stream.config import EngineConfig, MarketSettings
from flowtape.stream.decimals import format_decimal
from flowtape.stream.engine import Engine
from flowtape.stream.errors import FlowError, InputError, KernelError
from flowtape.stream.execution import AccountKind, Change, Lane, VenueRules
from flowtape.stream.inputs import Inputs
from flowtape.stream.ports import Clock
from flowtape.stream.records import i128
from flowtape.stream.trades import Trades

PAST_ROWS = 1 << 18
"""So many of the trades before the venue opened are told to the engine, of each symbol."""
LOOK_S = 0.005
"""How often it is looked whether an order was settled."""

_MADE_ID_BYTES = 11
_LAST_CHANGES = (Change.FILLED, Change.CANCELED, Change.EXPIRED, Change.REJECTED)
_FILTERS = {"BAD_PRICE": "PRICE_FILTER", "BAD_QTY": "LOT_SIZE", "CAPACITY": "MAX_NUM_ORDERS"}
_OWN_FILTERS = ("PRICE_FILTER", "LOT_SIZE", "MARKET_LOT_SIZE", "NOTIONAL", "PERCENT_PRICE")

_log = logging.getLogger(__name__)

Event = Callable[[int], dict[str, Any]]
"""What happened to the account, by the unit of its times in microseconds."""


class PaperExchange:
    """Orders of one account on the listings of a venue, which are of spot and of one quote asset.

    Args:
        listings: in the order of their numbers.
        config: cash, fees, latency and rules of filling; the rest is decided here.
        clock_us: the market's time.
    """

    def __init__(
        self, listings: Sequence[Listing], config: EngineConfig, clock_us: Callable[[], int]
    ) -> None:
        instruments = [listing.instrument for listing in listings]
        if any(one.market != "spot" for one in instruments):
            raise InputError("--paper trades spot; serve spot tapes, or leave it out")
        assets = [assets_of(one.symbol) for one in instruments]
        quotes = sorted({quote for _, quote in assets})
        if len(quotes) > 1:
            raise InputError(
                f"a paper account has one quote asset, but these have {' and '.join(quotes)}; "
                "start one venue for each"
            )
        rules = [
            VenueRules(notional_min_ticklots=NOTIONAL_MIN * 10**decimals)
            for decimals in (one.price_decimals + one.qty_decimals for one in instruments)
        ]
        config = replace(
            config,
            account=AccountKind.SPOT,
            all_lanes=False,
            trace=False,
            orders_max=4_096,
            markets=tuple(MarketSettings(rules=rule) for rule in rules),
        )
        self.config = config
        self.base_assets = tuple(base for base, _ in assets)
        self.quote_asset = quotes[0]
        self.orders: dict[int, PaperOrder] = {}
        self.fills: list[PaperFill] = []
        self.updated_us = 0
        self._listings = tuple(listings)
        self._numbers = {listing.symbol: at for at, listing in enumerate(listings)}
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
        self._open: dict[str, PaperOrder] = {}
        self._told: list[Callable[[Event], None]] = []
        self._balances: dict[str, tuple[str, str]] = {}
        self._broken = ""

    @property
    def engine(self) -> Engine:
        """The engine that settles."""
        return self._engine

    def begin(self) -> None:
        """Take in what happened before the venue opened, which fills nothing."""
        parts = []
        for market, listing in enumerate(self._listings):
            left = PAST_ROWS
            for piece in reversed(listing.market.happened()):
                start = max(0, len(piece) - left)
                parts.append(
                    Inputs.of_trades(_whole(piece.slice(start, len(piece)).trades), market)
                )
                left -= len(piece) - start
                if left <= 0:
                    break
        if parts:
            columns = [
                np.concatenate(column)
                for column in zip(*(part.columns() for part in parts), strict=True)
            ]
            past = Inputs(*columns)
            order = np.lexsort((past.agg_id, past.market, past.ts_us))
            self._apply(Inputs(*(column[order] for column in columns)))

    def happened(self, listing: Listing, trades: Trades) -> None:
        """Settle on trades of a symbol that have just happened."""
        trades = _whole(trades)
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

    def place(self, form: OrderForm) -> PaperOrder:
        """Ask for an order; raises BadQueryError where it is refused at once."""
        self.look()
        if form.listing.status != "TRADING":
            raise BadQueryError(-1013, "Market is closed.")
        client_id = form.client_id or secrets.token_hex(_MADE_ID_BYTES)
        if client_id in self._open:
            raise BadQueryError(NEW_ORDER_REJECTED, "Duplicate order sent.")
        at_us = self._asking()
        try:
            order_id = self._engine.orders_of_person(at_us).place(form.request)[0]
        except KernelError as error:
            raise _refused(error) from None
        order = PaperOrder(
            form, order_id, client_id, self.quote_asset, self._engine.money_decimals, at_us
        )
        self.orders[order_id] = self._open[client_id] = order
        self._engine.show()
        self._take()
        return order

    def check(self, form: OrderForm) -> None:
        """Refuse an order that `place` would refuse at once, and do nothing else."""
        self.look()
        checkpoint = self._engine.checkpoint()
        try:
            self._engine.orders_of_person(self._clock_us()).place(form.request)
        except KernelError as error:
            raise _refused(error) from None
        finally:
            self._engine.show()
            self._engine.restore(checkpoint)

    def cancel(self, order: PaperOrder, client_id: str) -> None:
        """Ask to cancel an open order under a name, made up where there is none."""
        order.canceled_as = client_id or secrets.token_hex(_MADE_ID_BYTES)
        if order.cancel_asked:
            return
        try:
            self._engine.orders_of_person(self._asking()).cancel(order.order_id)
        except KernelError as error:
            raise _refused(error) from None
        order.cancel_asked = True
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
        return sorted(found, key=lambda one: one.order_id)

    def balances(self) -> dict[str, tuple[str, str]]:
        """Return what is free and what open orders lock, as text, by asset."""
        decimals = self._engine.money_decimals
        account = self._engine.account(Lane.BASE)
        cash = i128(account["cash_atoms"])
        free = min(max(i128(account["free_atoms"]), 0), cash)
        texts = (format_decimal(free, decimals), format_decimal(cash - free, decimals))
        found = {self.quote_asset: texts}
        asked = self._sells()
        for number, (base, market) in enumerate(
            zip(self.base_assets, self._engine.markets, strict=True)
        ):
            market.look_again()
            held = market.position_lots
            locked = min(asked.get(number, 0), held)
            qty = self._listings[number].wire.qty
            found[base] = (qty(held - locked), qty(locked))
        return found

    def _sells(self) -> dict[int, int]:
        """Lots that sells at the venue ask for, by the instrument's number."""
        asked: dict[int, int] = {}
        for order in self._open.values():
            if order.arrived and not order.is_buy:
                request = order.form.request
                left = request.qty_lots - order.filled_lots
                asked[request.market] = asked.get(request.market, 0) + left
        return asked

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
        steps: list[tuple[tuple[int, int], np.void]] = []
        for event in events.since(self._events_seen):
            last = int(event["change"]) in _LAST_CHANGES
            steps.append(((int(event["input"]), 2 if last else 0), event))
        steps += [((int(fill["input"]), 1), fill) for fill in fills.since(self._fills_seen)]
        steps.sort(key=lambda step: step[0])
        self._events_seen, self._fills_seen = events.head, fills.head
        for (_, place), record in steps:
            order = self.orders.get(int(record["order_id"]))
            if order is not None:
                self._step(order, record, is_fill=place == 1)
        self._tell_balances()

    def _step(self, order: PaperOrder, record: np.void, *, is_fill: bool) -> None:
        fill: PaperFill | None = None
        if is_fill:
            kind = "TRADE"
            fill = order.fill(record, len(self.fills) + 1)
            self.fills.append(fill)
        else:
            kind = order.change(record)
        if order.done:
            self._open.pop(order.client_id, None)
        if not kind or not order.shown:
            return
        at_us = self.updated_us = int(record["ts_us"])
        for told in self._told:
            told(lambda unit_us: order.report(kind, fill, at_us, unit_us))

    def _tell_balances(self) -> None:
        if not self._told:
            return
        balances = self.balances()
        changed = [asset for asset, both in balances.items() if self._balances.get(asset) != both]
        self._balances = balances
        at_us = self.updated_us
        if not changed:
            return
        for told in self._told:
            told(lambda unit_us: account_position(balances, changed, at_us, unit_us))


def account_position(
    balances: Mapping[str, tuple[str, str]], assets: Sequence[str], ts_us: int, unit_us: int
) -> dict[str, Any]:
    """Return the event that tells the balances of some assets."""
    return {
        "e": "outboundAccountPosition",
        "E": ts_us // unit_us,
        "u": ts_us // unit_us,
        "B": [{"a": one, "f": balances[one][0], "l": balances[one][1]} for one in assets],
    }


def _refused(error: KernelError) -> BadQueryError:
    if error.status == "UNKNOWN_ORDER":
        return BadQueryError(-2011, "Unknown order sent.")
    name = _FILTERS.get(error.status, error.status)
    if name in _OWN_FILTERS or error.status in _FILTERS:
        return BadQueryError(-1013, f"Filter failure: {name}")
    return BadQueryError(NEW_ORDER_REJECTED, f"{error.status}: {error}")


def _whole(trades: Trades) -> Trades:
    """Return trades without rows that are no trades, such as those that were voided."""
    sound = (trades.price_ticks > 0) & (trades.qty_lots > 0)
    return trades if sound.all() else picked(trades, sound)
