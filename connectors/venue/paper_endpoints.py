"""What a signed query is, and which orders and lists a query means."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from flowtape.connectors.venue.paper_exchange import PaperExchange
from flowtape.connectors.venue.paper_lists import PaperList
from flowtape.connectors.venue.paper_orders import PaperOrder
from flowtape.connectors.venue.paper_sent import both_missing
from flowtape.connectors.venue.queries import FOREVER_US, BadQueryError, Query

SIGNED_FIELDS = frozenset({"timestamp", "recvWindow", "signature"})
ONE_ORDER = ("symbol", "orderId", "origClientOrderId")

_DAY_US = 86_400_000_000


@dataclass(frozen=True, slots=True)
class SignedEndpoint:
    """A signed query there is: how to ask over REST and over a WebSocket, and its answer.

    `places` is whether it places orders; `weight_of_all` what it costs without a symbol, if that is
    more.
    """

    method: str
    path: str
    call: str
    reads: frozenset[str]
    answer: Callable[[Query], Awaitable[Any]]
    weight_of_one: int
    weight_of_all: int = 0
    places: bool = False

    def weight(self, query: Query) -> int:
        """Return what a query costs."""
        of_all = self.weight_of_all and "symbol" not in query.values
        return self.weight_of_all if of_all else self.weight_of_one


def named_order(
    exchange: PaperExchange,
    query: Query,
    by_id: str = "orderId",
    by_client_id: str = "origClientOrderId",
) -> PaperOrder | None:
    """Return the order a query names; of orders with one client's name the newest."""
    listing = query.listing()
    order_id, client_id = query.number(by_id), query.values.get(by_client_id)
    if order_id is None and client_id is None:
        raise both_missing(by_client_id, by_id)
    orders = exchange.orders
    if order_id is not None:
        candidates = [orders[order_id]] if order_id in orders else []
    else:
        candidates = [one for one in reversed(orders.values()) if one.client_id == client_id]
    for one in candidates:
        fits = client_id in (None, one.client_id) and one.form.listing is listing
        if fits and one.shown:
            return one
    return None


def named_list(exchange: PaperExchange, query: Query, by_client_id: str) -> PaperList | None:
    """Return the order list a query names."""
    list_id, client_id = query.number("orderListId"), query.values.get(by_client_id)
    if list_id is None and client_id is None:
        raise both_missing("orderListId", by_client_id)
    for one in reversed(exchange.lists.values()):
        fits = list_id in (None, one.list_id) and client_id in (None, one.client_id)
        if fits and one.shown:
            return one
    return None


def times(query: Query) -> tuple[int, int]:
    """Return from when until when a query asks, in microseconds."""
    start_us, end_us = query.time_us("startTime"), query.time_us("endTime")
    if start_us is not None and end_us is not None and end_us - start_us > _DAY_US:
        raise BadQueryError(-1127, "More than 24 hours between startTime and endTime.")
    if end_us is None:
        return start_us or 0, FOREVER_US
    # a whole millisecond lasts until the next
    return start_us or 0, end_us + (999 if end_us % 1_000 == 0 else 0)
