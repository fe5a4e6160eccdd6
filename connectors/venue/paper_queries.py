"""What a client may ask about its paper account, over REST or a WebSocket."""

from typing import Any

from flowtape.connectors.venue.paper_endpoints import (
    ONE_ORDER,
    SignedEndpoint,
    named_list,
    named_order,
    times,
)
from flowtape.connectors.venue.paper_exchange import PaperExchange
from flowtape.connectors.venue.queries import BadQueryError, Query
from flowtape.stream.decimals import format_decimal

PPB_DECIMALS = 9

_RATE_DECIMALS = 8
_SPAN = ("startTime", "endTime", "limit")
_OF_SYMBOL = ("symbol", "orderId", *_SPAN)


class PaperQueries:
    """The queries of a paper account that change nothing."""

    def __init__(self, exchange: PaperExchange) -> None:
        self._exchange = exchange

    def endpoints(self) -> list[SignedEndpoint]:
        """Return the queries there are."""

        def get(path: str, call: str, reads: tuple[str, ...], *rest: Any) -> SignedEndpoint:
            return SignedEndpoint("GET", path, call, frozenset(reads), *rest)

        return [
            get("order", "order.status", ONE_ORDER, self._status, 4),
            get("openOrders", "openOrders.status", ("symbol",), self._open_orders, 6, 80),
            get("allOrders", "allOrders", _OF_SYMBOL, self._all_orders, 20),
            get(
                *("orderList", "orderList.status", ("orderListId", "origClientOrderId")),
                *(self._list_status, 4),
            ),
            get("openOrderList", "openOrderLists.status", (), self._open_lists, 6),
            get("allOrderList", "allOrderLists", ("fromId", *_SPAN), self._all_lists, 20),
            get("account", "account.status", ("omitZeroBalances",), self._account, 20),
            get("myTrades", "myTrades", (*_OF_SYMBOL, "fromId"), self._trades, 20),
            get("rateLimit/order", "account.rateLimits.orders", (), self._order_counts, 40),
        ]

    async def _status(self, query: Query) -> Any:
        self._exchange.look()
        order = named_order(self._exchange, query)
        if order is None:
            raise BadQueryError(-2013, "Order does not exist.")
        return order.row(query.unit_us)

    async def _open_orders(self, query: Query) -> Any:
        listing = query.listing() if "symbol" in query.values else None
        self._exchange.look()
        return [one.row(query.unit_us) for one in self._exchange.open_orders(listing)]

    async def _all_orders(self, query: Query) -> Any:
        listing = query.listing()
        limit = query.limit(500, 1_000)
        first = query.number("orderId")
        start_us, end_us = times(query)
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

    async def _list_status(self, query: Query) -> Any:
        self._exchange.look()
        found = named_list(self._exchange, query, "origClientOrderId")
        if found is None:
            raise BadQueryError(-2013, "Order list does not exist.")
        return found.row(query.unit_us)

    async def _open_lists(self, query: Query) -> Any:
        self._exchange.look()
        lists = self._exchange.lists.values()
        return [one.row(query.unit_us) for one in lists if one.shown and not one.done]

    async def _all_lists(self, query: Query) -> Any:
        limit = query.limit(500, 1_000)
        first = query.number("fromId")
        self._check_from(query, first)
        start_us, end_us = times(query)
        self._exchange.look()
        found = [
            one
            for one in self._exchange.lists.values()
            if one.shown
            and (first is None or one.list_id >= first)
            and start_us <= one.created_us <= end_us
        ]
        oldest = first is not None or "startTime" in query.values
        found = found[:limit] if oldest else found[-limit:]
        return [one.row(query.unit_us) for one in found]

    async def _trades(self, query: Query) -> Any:
        listing = query.listing()
        limit = query.limit(500, 1_000)
        order_id, first = query.number("orderId"), query.number("fromId")
        self._check_from(query, first)
        start_us, end_us = times(query)
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

    async def _order_counts(self, _query: Query) -> Any:
        self._exchange.look()
        return self._exchange.counts.rows()

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

    def _check_from(self, query: Query, first: int | None) -> None:
        if first is not None and ("startTime" in query.values or "endTime" in query.values):
            raise BadQueryError(-1128, "Combination of optional parameters invalid.")


def _rate(ppb: int) -> str:
    return format_decimal(ppb // 10 ** (PPB_DECIMALS - _RATE_DECIMALS), _RATE_DECIMALS)
