"""What a client may ask of its paper account, over REST or a WebSocket."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from flowtape.connectors.venue.paper_exchange import PaperExchange
from flowtape.connectors.venue.paper_forms import (
    NEW_ORDER_REJECTED,
    ORDER_FIELDS,
    client_id_of,
    read_order,
)
from flowtape.connectors.venue.paper_orders import PaperOrder
from flowtape.connectors.venue.queries import FOREVER_US, BadQueryError, Query
from flowtape.stream.decimals import format_decimal

SIGNED_FIELDS = frozenset({"timestamp", "recvWindow", "signature"})
PPB_DECIMALS = 9

_RATE_DECIMALS = 8
_ONE_ORDER = ("symbol", "orderId", "origClientOrderId")
_SPAN = ("symbol", "orderId", "startTime", "endTime", "limit")
_DAY_US = 86_400_000_000


@dataclass(frozen=True, slots=True)
class SignedEndpoint:
    """A signed query there is: how to ask over REST and over a WebSocket, and its answer."""

    method: str
    path: str
    call: str
    reads: frozenset[str]
    answer: Callable[[Query], Awaitable[Any]]
    weight: Callable[[Query], int]


class PaperQueries:
    """The queries of a paper account; answers wait for an outcome no longer than `answer_s`."""

    def __init__(self, exchange: PaperExchange, answer_s: float) -> None:
        self._exchange = exchange
        self._answer_s = answer_s

    def endpoints(self) -> list[SignedEndpoint]:
        """Return the queries there are."""

        def always(weight: int) -> Callable[[Query], int]:
            return lambda _query: weight

        def of_symbol(one: int, many: int) -> Callable[[Query], int]:
            return lambda query: one if "symbol" in query.values else many

        cancel = frozenset({*_ONE_ORDER, "newClientOrderId"})
        return [
            SignedEndpoint("POST", "order", "order.place", ORDER_FIELDS, self._place, always(1)),
            SignedEndpoint("POST", "order/test", "order.test", ORDER_FIELDS, self._test, always(1)),
            SignedEndpoint(
                "GET", "order", "order.status", frozenset(_ONE_ORDER), self._status, always(4)
            ),
            SignedEndpoint("DELETE", "order", "order.cancel", cancel, self._cancel, always(1)),
            SignedEndpoint(
                *("GET", "openOrders", "openOrders.status", frozenset({"symbol"})),
                *(self._open_orders, of_symbol(6, 80)),
            ),
            SignedEndpoint(
                *("DELETE", "openOrders", "openOrders.cancelAll", frozenset({"symbol"})),
                *(self._cancel_all, always(1)),
            ),
            SignedEndpoint(
                "GET", "allOrders", "allOrders", frozenset(_SPAN), self._all_orders, always(20)
            ),
            SignedEndpoint(
                *("GET", "account", "account.status", frozenset({"omitZeroBalances"})),
                *(self._account, always(20)),
            ),
            SignedEndpoint(
                *("GET", "myTrades", "myTrades", frozenset({*_SPAN, "fromId"})),
                *(self._trades, always(20)),
            ),
        ]

    async def _place(self, query: Query) -> Any:
        listing = query.listing()
        form = read_order(query.values, listing, self._exchange.number(listing))
        order = self._exchange.place(form)
        awaits_fills = form.answer != "ACK"
        await self._exchange.until(
            lambda: order.done or (order.arrived and not (order.taking and awaits_fills)),
            self._answer_s,
        )
        if order.status == "REJECTED":
            raise BadQueryError(NEW_ORDER_REJECTED, order.refusal)
        order.answered = True
        return order.result(query.unit_us, form.answer, order.updated_us or order.created_us)

    async def _test(self, query: Query) -> Any:
        listing = query.listing()
        self._exchange.check(read_order(query.values, listing, self._exchange.number(listing)))
        return {}

    async def _status(self, query: Query) -> Any:
        self._exchange.look()
        order = self._named(query)
        if order is None:
            raise BadQueryError(-2013, "Order does not exist.")
        return order.row(query.unit_us)

    async def _cancel(self, query: Query) -> Any:
        client_id = client_id_of(query.values, "newClientOrderId")
        self._exchange.look()
        order = self._named(query)
        if order is None or order.done:
            raise BadQueryError(-2011, "Unknown order sent.")
        await self._canceled([order], client_id)
        if order.status not in ("CANCELED", "NEW", "PARTIALLY_FILLED"):
            raise BadQueryError(-2011, "Unknown order sent.")
        return order.cancellation(query.unit_us, order.updated_us)

    async def _cancel_all(self, query: Query) -> Any:
        listing = query.listing()
        self._exchange.look()
        orders = self._exchange.open_orders(listing)
        if not orders:
            raise BadQueryError(-2011, "Unknown order sent.")
        await self._canceled(orders, "")
        ended = [one for one in orders if one.status in ("CANCELED", "NEW", "PARTIALLY_FILLED")]
        return [one.cancellation(query.unit_us, one.updated_us) for one in ended]

    async def _canceled(self, orders: list[PaperOrder], client_id: str) -> None:
        for order in orders:
            self._exchange.cancel(order, client_id)
        await self._exchange.until(lambda: all(one.done for one in orders), self._answer_s)

    async def _open_orders(self, query: Query) -> Any:
        listing = query.listing() if "symbol" in query.values else None
        self._exchange.look()
        return [one.row(query.unit_us) for one in self._exchange.open_orders(listing)]

    async def _all_orders(self, query: Query) -> Any:
        listing = query.listing()
        limit = query.limit(500, 1_000)
        first = query.number("orderId")
        start_us, end_us = _times(query)
        self._exchange.look()
        found = [
            one
            for one in self._exchange.orders.values()
            if one.shown
            and one.form.listing is listing
            and (first is None or one.order_id >= first)
            and start_us <= one.created_us <= end_us
        ]
        oldest = first is not None or "startTime" in query.values
        found = found[:limit] if oldest else found[-limit:]
        return [one.row(query.unit_us) for one in found]

    async def _trades(self, query: Query) -> Any:
        listing = query.listing()
        limit = query.limit(500, 1_000)
        order_id, first = query.number("orderId"), query.number("fromId")
        if first is not None and ("startTime" in query.values or "endTime" in query.values):
            raise BadQueryError(-1128, "Combination of optional parameters invalid.")
        start_us, end_us = _times(query)
        self._exchange.look()
        found = [
            fill
            for fill in self._exchange.fills
            if fill.order.form.listing is listing
            and (order_id is None or fill.order.order_id == order_id)
            and (first is None or fill.trade_id >= first)
            and start_us <= fill.ts_us <= end_us
        ]
        oldest = first is not None or "startTime" in query.values
        found = found[:limit] if oldest else found[-limit:]
        return [fill.order.trade(fill, query.unit_us) for fill in found]

    async def _account(self, query: Query) -> Any:
        exchange = self._exchange
        exchange.look()
        maker_ppb, taker_ppb = exchange.config.maker_fee_ppb, exchange.config.taker_fee_ppb
        balances = [
            {"asset": asset, "free": free, "locked": locked}
            for asset, (free, locked) in exchange.balances().items()
        ]
        if query.values.get("omitZeroBalances") == "true":
            balances = [one for one in balances if set(one["free"] + one["locked"]) - set("0.")]
        none = _rate(0)
        return {
            "makerCommission": maker_ppb // 100_000,
            "takerCommission": taker_ppb // 100_000,
            "buyerCommission": 0,
            "sellerCommission": 0,
            "commissionRates": {
                "maker": _rate(maker_ppb),
                "taker": _rate(taker_ppb),
                "buyer": none,
                "seller": none,
            },
            "canTrade": True,
            "canWithdraw": False,
            "canDeposit": False,
            "brokered": False,
            "requireSelfTradePrevention": False,
            "preventSor": False,
            "updateTime": exchange.updated_us // query.unit_us,
            "accountType": "SPOT",
            "balances": balances,
            "permissions": ["SPOT"],
            "uid": 1,
        }

    def _named(self, query: Query) -> PaperOrder | None:
        """Return the order a query names; of orders with one client's name the newest."""
        listing = query.listing()
        order_id = query.number("orderId")
        client_id = query.values.get("origClientOrderId")
        if order_id is None and client_id is None:
            raise BadQueryError(
                -1102,
                "Param 'origClientOrderId' or 'orderId' must be sent, but both were empty/null!",
            )
        orders = self._exchange.orders
        if order_id is not None:
            candidates = [orders[order_id]] if order_id in orders else []
        else:
            candidates = [one for one in reversed(orders.values()) if one.client_id == client_id]
        for one in candidates:
            fits = client_id in (None, one.client_id) and one.form.listing is listing
            if fits and one.shown:
                return one
        return None


def _times(query: Query) -> tuple[int, int]:
    start_us, end_us = query.time_us("startTime"), query.time_us("endTime")
    if start_us is not None and end_us is not None and end_us - start_us > _DAY_US:
        raise BadQueryError(-1127, "More than 24 hours between startTime and endTime.")
    if end_us is None:
        return start_us or 0, FOREVER_US
    # a whole millisecond lasts until the next
    return start_us or 0, end_us + (999 if end_us % 1_000 == 0 else 0)


def _rate(ppb: int) -> str:
    return format_decimal(ppb // 10 ** (PPB_DECIMALS - _RATE_DECIMALS), _RATE_DECIMALS)
