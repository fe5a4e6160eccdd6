"""Order lists of the kind OCO: a pair of orders of which one ends the other."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from flowtape.connectors.venue.listing import Listing
from flowtape.connectors.venue.paper_forms import ANSWERS, NEW_ORDER_REJECTED, OrderForm, read_sent
from flowtape.connectors.venue.paper_orders import Event, PaperOrder
from flowtape.connectors.venue.paper_sent import Sent, missing
from flowtape.connectors.venue.queries import BadQueryError
from flowtape.stream.trades import SELL

_BOTH = {name: name for name in ("side", "quantity", "newOrderRespType", "selfTradePreventionMode")}
_LEG = {
    "newClientOrderId": "ClientOrderId",
    "price": "Price",
    "stopPrice": "StopPrice",
    "trailingDelta": "TrailingDelta",
    "timeInForce": "TimeInForce",
    "icebergQty": "IcebergQty",
}
_ABOVE = _BOTH | {name: f"above{more}" for name, more in _LEG.items()}
_BELOW = _BOTH | {name: f"below{more}" for name, more in _LEG.items()}
_OLD_LIMIT = _BOTH | {
    "price": "price",
    "newClientOrderId": "limitClientOrderId",
    "icebergQty": "limitIcebergQty",
}
_OLD_STOP = _BOTH | {
    "price": "stopLimitPrice",
    "newClientOrderId": "stopClientOrderId",
    "stopPrice": "stopPrice",
    "trailingDelta": "trailingDelta",
    "timeInForce": "stopLimitTimeInForce",
    "icebergQty": "stopIcebergQty",
}
_PROFITS = ("LIMIT_MAKER", "TAKE_PROFIT", "TAKE_PROFIT_LIMIT")
_STOPS = ("STOP_LOSS", "STOP_LOSS_LIMIT")

_OF_LIST = ("symbol", "listClientOrderId")
LIST_FIELDS = frozenset({*_OF_LIST, "aboveType", "belowType", *_ABOVE.values(), *_BELOW.values()})
OLD_LIST_FIELDS = frozenset({*_OF_LIST, *_OLD_LIMIT.values(), *_OLD_STOP.values()})


@dataclass(frozen=True, slots=True)
class ListForm:
    """A pair as it was sent and checked; `client_id` is empty where the venue is to choose it."""

    client_id: str
    answer: str
    stop: OrderForm
    profit: OrderForm


def read_list(
    values: Mapping[str, str], listing: Listing, market: int, last_ticks: int
) -> ListForm:
    """Return the pair of a message that says what is above the price and what below it."""
    for name in ("aboveType", "belowType"):
        if name not in values:
            raise missing(name)
    above = Sent(values, _ABOVE, only=True), values["aboveType"]
    below = Sent(values, _BELOW, only=True), values["belowType"]
    profit, stop = (above, below) if above[0].side() == SELL else (below, above)
    if profit[1] not in _PROFITS or stop[1] not in _STOPS:
        raise BadQueryError(-1014, "Unsupported order combination.")
    return _checked(
        values,
        read_sent(*stop, listing, market, last_ticks),
        read_sent(*profit, listing, market, last_ticks),
        last_ticks,
    )


def read_old_list(
    values: Mapping[str, str], listing: Listing, market: int, last_ticks: int
) -> ListForm:
    """Return the pair of a message of the older form: a limit order and a stop."""
    limit, stop = Sent(values, _OLD_LIMIT, only=True), Sent(values, _OLD_STOP, only=True)
    stop_kind = "STOP_LOSS_LIMIT" if "price" in stop else "STOP_LOSS"
    return _checked(
        values,
        read_sent(stop, stop_kind, listing, market, last_ticks),
        read_sent(limit, "LIMIT_MAKER", listing, market, last_ticks),
        last_ticks,
    )


def _checked(
    values: Mapping[str, str], stop: OrderForm, profit: OrderForm, last_ticks: int
) -> ListForm:
    """Return the pair if its prices lie on either side of the last one."""
    asked = profit.request
    prices = [profit.stop_ticks or asked.limit_ticks, last_ticks, stop.stop_ticks]
    known = [price * asked.side for price in prices if price]
    if any(one >= other for one, other in pairwise(known)):
        raise BadQueryError(
            NEW_ORDER_REJECTED, "The relationship of the prices for the orders is not correct."
        )
    sent = Sent(values)
    if stop.client_id and stop.client_id == profit.client_id:
        raise BadQueryError(NEW_ORDER_REJECTED, "Duplicate order sent.")
    return ListForm(
        sent.client_id("listClientOrderId"),
        sent.chosen("newOrderRespType", ANSWERS, "RESULT"),
        stop,
        profit,
    )


@dataclass(slots=True, eq=False)
class PaperList:
    """A pair of orders of the account.

    It has begun once both have arrived, or one of them was refused, and then the other ends too.
    """

    list_id: int
    client_id: str
    orders: tuple[PaperOrder, PaperOrder]
    created_us: int
    begun: bool = False
    refusal: str = ""
    ended: bool = False
    """Whether its end was told."""
    untold: list[Event] = field(default_factory=list)
    """What happened to its orders and is told once it has begun."""

    @property
    def done(self) -> bool:
        """Whether nothing more will happen to it."""
        return all(order.done for order in self.orders)

    @property
    def shown(self) -> bool:
        """Whether there is such a list for clients."""
        return any(order.shown for order in self.orders)

    @property
    def listing(self) -> Listing:
        """What it trades."""
        return self.orders[0].form.listing

    @property
    def updated_us(self) -> int:
        """When something happened to it last."""
        return max(self.created_us, *(order.updated_us for order in self.orders))

    def row(self, unit_us: int) -> dict[str, Any]:
        """Return the list as queries tell it."""
        kind, status = self._standing()
        return {
            "orderListId": self.list_id,
            "contingencyType": "OCO",
            "listStatusType": kind,
            "listOrderStatus": status,
            "listClientOrderId": self.client_id,
            "transactionTime": self.updated_us // unit_us,
            "symbol": self.listing.symbol,
            "orders": [
                {
                    "symbol": self.listing.symbol,
                    "orderId": order.order_id,
                    "clientOrderId": order.client_id,
                }
                for order in self.orders
            ],
        }

    def result(self, unit_us: int, answer: str) -> dict[str, Any]:
        """Return the answer to the list."""
        reports = [
            order.result(unit_us, answer, order.updated_us or order.created_us)
            for order in self.orders
        ]
        return self.row(unit_us) | {"orderReports": reports}

    def cancellation(self, unit_us: int) -> dict[str, Any]:
        """Return the answer to a request to cancel it."""
        reports = [order.cancellation(unit_us, order.updated_us) for order in self.orders]
        return self.row(unit_us) | {"orderReports": reports}

    def event(self, ts_us: int, unit_us: int) -> dict[str, Any]:
        """Return the `listStatus` event of how it stands."""
        row = self.row(unit_us)
        return {
            "e": "listStatus",
            "E": ts_us // unit_us,
            "s": self.listing.symbol,
            "g": self.list_id,
            "c": "OCO",
            "l": row["listStatusType"],
            "L": row["listOrderStatus"],
            "r": self.refusal or "NONE",
            "C": self.client_id,
            "T": ts_us // unit_us,
            "O": [
                {"s": one["symbol"], "i": one["orderId"], "c": one["clientOrderId"]}
                for one in row["orders"]
            ],
        }

    def _standing(self) -> tuple[str, str]:
        if self.refusal:
            return "RESPONSE", "REJECT"
        return ("ALL_DONE", "ALL_DONE") if self.done else ("EXEC_STARTED", "EXECUTING")
