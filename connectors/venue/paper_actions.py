"""What a client may do on its paper account, over REST or a WebSocket."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from flowtape.connectors.venue.listing import Listing
from flowtape.connectors.venue.paper_endpoints import (
    ONE_ORDER,
    SignedEndpoint,
    named_list,
    named_order,
)
from flowtape.connectors.venue.paper_exchange import PaperExchange
from flowtape.connectors.venue.paper_forms import (
    NEW_ORDER_REJECTED,
    ORDER_FIELDS,
    OrderForm,
    read_order,
)
from flowtape.connectors.venue.paper_lists import (
    LIST_FIELDS,
    OLD_LIST_FIELDS,
    ListForm,
    read_list,
    read_old_list,
)
from flowtape.connectors.venue.paper_orders import NO_LIST, PaperOrder
from flowtape.connectors.venue.paper_sent import Sent, missing
from flowtape.connectors.venue.queries import BadQueryError, Query

_REPLACE_FIELDS = ORDER_FIELDS | {
    *("cancelReplaceMode", "cancelOrderId", "cancelOrigClientOrderId", "cancelNewClientOrderId"),
    *("cancelRestrictions", "orderRateLimitExceededMode"),
}
_RESTRICTIONS = {"ONLY_NEW": "NEW", "ONLY_PARTIALLY_FILLED": "PARTIALLY_FILLED"}
_AMEND_REJECTED = -2038
_MAYBE_CANCELED = ("CANCELED", "NEW", "PARTIALLY_FILLED")

_ReadList = Callable[[Mapping[str, str], Listing, int, int], ListForm]


class PaperActions:
    """Orders and what is asked of them; answers wait for an outcome no longer than `answer_s`."""

    def __init__(self, exchange: PaperExchange, answer_s: float) -> None:
        self._exchange = exchange
        self._answer_s = answer_s

    def endpoints(self) -> list[SignedEndpoint]:
        """Return what may be done."""

        def of(
            method: str, path: str, call: str, reads: Iterable[str], answer: Any, **more: Any
        ) -> SignedEndpoint:
            weight = more.pop("weight", 1)
            return SignedEndpoint(method, path, call, frozenset(reads), answer, weight, **more)

        cancel = (*ONE_ORDER, "newClientOrderId", "cancelRestrictions")
        amend = (*ONE_ORDER, "newClientOrderId", "newQty")
        cancel_list = ("symbol", "orderListId", "listClientOrderId", "newClientOrderId")
        in_place = "order/amend/keepPriority", "order.amend.keepPriority"
        return [
            of("POST", "order", "order.place", ORDER_FIELDS, self._place, places=True),
            of("POST", "order/test", "order.test", ORDER_FIELDS, self._test),
            of("DELETE", "order", "order.cancel", cancel, self._cancel),
            of("DELETE", "openOrders", "openOrders.cancelAll", ("symbol",), self._cancel_all),
            of(
                *("POST", "order/cancelReplace", "order.cancelReplace", _REPLACE_FIELDS),
                self._replace,
                places=True,
            ),
            of("PUT", *in_place, amend, self._amend, weight=4),
            of(
                *("POST", "orderList/oco", "orderList.place.oco", LIST_FIELDS),
                self._place_list(read_list),
                places=True,
            ),
            of(
                *("POST", "order/oco", "orderList.place", OLD_LIST_FIELDS),
                self._place_list(read_old_list),
                places=True,
            ),
            of("DELETE", "orderList", "orderList.cancel", cancel_list, self._cancel_list),
        ]

    async def _place(self, query: Query) -> Any:
        return await self._placed(self._read(query), query.unit_us)

    async def _test(self, query: Query) -> Any:
        self._exchange.check(self._read(query))
        return {}

    def _read(self, query: Query) -> OrderForm:
        listing = query.listing()
        exchange = self._exchange
        exchange.look()
        return read_order(
            query.values, listing, exchange.number(listing), exchange.last_ticks(listing)
        )

    async def _placed(self, form: OrderForm, unit_us: int) -> dict[str, Any]:
        """Place an order and return the answer to it."""
        order = self._exchange.place(form)
        awaits_fills = form.answer != "ACK"
        await self._exchange.until(
            lambda: order.done or (order.arrived and not (order.taking and awaits_fills)),
            self._answer_s,
        )
        if order.status == "REJECTED":
            raise BadQueryError(NEW_ORDER_REJECTED, order.refusal)
        order.answered = True
        return order.result(unit_us, form.answer, order.updated_us or order.created_us)

    async def _cancel(self, query: Query) -> Any:
        return await self._canceled(query, "orderId", "origClientOrderId", "newClientOrderId")

    async def _canceled(
        self, query: Query, by_id: str, by_client_id: str, called: str
    ) -> dict[str, Any]:
        """Cancel the order that a query names, with its whole list, and return the answer."""
        client_id = Sent(query.values).client_id(called)
        restriction = query.values.get("cancelRestrictions")
        if restriction is not None and restriction not in _RESTRICTIONS:
            raise BadQueryError(
                -1145,
                "`cancelRestrictions` has to be either `ONLY_NEW` or `ONLY_PARTIALLY_FILLED`.",
            )
        self._exchange.look()
        order = named_order(self._exchange, query, by_id, by_client_id)
        if order is None or order.done:
            raise BadQueryError(-2011, "Unknown order sent.")
        if restriction is not None and order.status != _RESTRICTIONS[restriction]:
            raise BadQueryError(-2011, "Order was not canceled due to cancel restrictions.")
        await self._end(self._with_it(order), client_id)
        if order.status not in _MAYBE_CANCELED:
            raise BadQueryError(-2011, "Unknown order sent.")
        return order.cancellation(query.unit_us, order.updated_us)

    async def _cancel_all(self, query: Query) -> Any:
        listing = query.listing()
        exchange = self._exchange
        exchange.look()
        orders = exchange.open_orders(listing)
        if not orders:
            raise BadQueryError(-2011, "Unknown order sent.")
        await self._end(orders, "")
        alone = [one for one in orders if one.list_id == NO_LIST and one.status in _MAYBE_CANCELED]
        pairs = sorted({one.list_id for one in orders} - {NO_LIST})
        return [
            *(one.cancellation(query.unit_us, one.updated_us) for one in alone),
            *(exchange.lists[one].cancellation(query.unit_us) for one in pairs),
        ]

    async def _end(self, orders: Iterable[PaperOrder], client_id: str) -> None:
        """Cancel those of some orders that are open, and wait for it."""
        opened = [one for one in orders if not one.done]
        for order in opened:
            self._exchange.cancel(order, client_id)
        await self._exchange.until(lambda: all(one.done for one in opened), self._answer_s)

    def _with_it(self, order: PaperOrder) -> Iterable[PaperOrder]:
        """Return an order, with the other one of its pair."""
        pair = self._exchange.lists.get(order.list_id)
        return (order,) if pair is None else pair.orders

    async def _replace(self, query: Query) -> Any:
        values = query.values
        if "cancelReplaceMode" not in values:
            raise missing("cancelReplaceMode")
        sent = Sent(values)
        stops = "STOP_ON_FAILURE"
        mode = sent.chosen("cancelReplaceMode", (stops, "ALLOW_FAILURE"), stops)
        keeps = "DO_NOTHING"
        exceeded = sent.chosen("orderRateLimitExceededMode", (keeps, "CANCEL_ONLY"), keeps)
        form = self._read(query)
        if exceeded == keeps:
            self._exchange.counts.check(1)
        names = "cancelOrderId", "cancelOrigClientOrderId", "cancelNewClientOrderId"
        canceled = await _outcome(self._canceled(query, *names))
        if isinstance(canceled, BadQueryError):
            if canceled.code > NEW_ORDER_REJECTED:
                # the message itself makes no sense
                raise canceled
            if mode == stops:
                return _replaced(canceled, None)
        elif mode == stops and canceled["status"] != "CANCELED":
            raise _timeout()
        return _replaced(canceled, await _outcome(self._placed(form, query.unit_us)))

    async def _amend(self, query: Query) -> Any:
        listing = query.listing()
        sent = Sent(query.values)
        client_id = sent.client_id()
        if "newQty" not in sent:
            raise missing("newQty")
        qty_lots = sent.qty_lots("newQty", listing)
        exchange = self._exchange
        exchange.look()
        order = named_order(exchange, query)
        if order is None or order.done:
            raise BadQueryError(-2013, "Order does not exist.")
        if order.list_id != NO_LIST:
            raise BadQueryError(_AMEND_REJECTED, "Order amend is not supported for order lists.")
        if order.amendment is not None:
            raise BadQueryError(_AMEND_REJECTED, "An amendment of this order is on its way.")
        if qty_lots > order.qty_lots:
            raise BadQueryError(
                _AMEND_REJECTED, "Order amend (quantity increase) is not supported."
            )
        if qty_lots == order.qty_lots:
            raise BadQueryError(
                _AMEND_REJECTED, "The requested action would change no state; rejecting."
            )
        if qty_lots <= order.filled_lots:
            raise BadQueryError(-1013, "Filter failure: LOT_SIZE")
        exchange.amend(order, qty_lots, client_id)
        await exchange.until(lambda: order.amendment is None or order.done, self._answer_s)
        if order.amendment is None:
            return order.amended(query.unit_us)
        if order.done:
            raise BadQueryError(-2013, "Order does not exist.")
        raise _timeout()

    def _place_list(self, read: _ReadList) -> Callable[[Query], Any]:
        async def place(query: Query) -> Any:
            listing = query.listing()
            exchange = self._exchange
            exchange.look()
            form = read(
                query.values, listing, exchange.number(listing), exchange.last_ticks(listing)
            )
            pair = exchange.place_list(form)
            await exchange.until(lambda: pair.done if pair.refusal else pair.begun, self._answer_s)
            if pair.refusal and not pair.shown:
                raise BadQueryError(NEW_ORDER_REJECTED, pair.refusal)
            for order in pair.orders:
                order.answered = True
            return pair.result(query.unit_us, form.answer)

        return place

    async def _cancel_list(self, query: Query) -> Any:
        listing = query.listing()
        client_id = Sent(query.values).client_id()
        self._exchange.look()
        pair = named_list(self._exchange, query, "listClientOrderId")
        if pair is None or pair.done or pair.listing is not listing:
            raise BadQueryError(-2011, "Unknown order list sent.")
        await self._end(pair.orders, client_id)
        if not any(order.status in _MAYBE_CANCELED for order in pair.orders):
            raise BadQueryError(-2011, "Unknown order list sent.")
        return pair.cancellation(query.unit_us)


async def _outcome(asked: Awaitable[dict[str, Any]]) -> dict[str, Any] | BadQueryError:
    try:
        return await asked
    except BadQueryError as error:
        return error


def _replaced(
    canceled: dict[str, Any] | BadQueryError, placed: dict[str, Any] | BadQueryError | None
) -> dict[str, Any]:
    """Return the answer to a replacement, whose order was perhaps not placed; may raise it."""

    def result(outcome: dict[str, Any] | BadQueryError | None) -> str:
        if outcome is None:
            return "NOT_ATTEMPTED"
        return "FAILURE" if isinstance(outcome, BadQueryError) else "SUCCESS"

    found = {
        "cancelResult": result(canceled),
        "newOrderResult": result(placed),
        "cancelResponse": canceled.body() if isinstance(canceled, BadQueryError) else canceled,
        "newOrderResponse": placed.body() if isinstance(placed, BadQueryError) else placed,
    }
    done = [one == "SUCCESS" for one in (found["cancelResult"], found["newOrderResult"])]
    if all(done):
        return found
    if any(done):
        msg = "Order cancel-replace partially failed."
        raise BadQueryError(-2021, msg, status=409, data=found)
    raise BadQueryError(-2022, "Order cancel-replace failed.", data=found)


def _timeout() -> BadQueryError:
    return BadQueryError(
        -1007,
        "Timeout waiting for response from backend server. "
        "Send status unknown; execution status unknown.",
        status=504,
    )
