"""A desk that writes down what it is asked and keeps limit orders open; without an engine."""

import threading

import numpy as np

from flowtape.stream.errors import InputError
from flowtape.stream.execution import OrderKind, Stage
from flowtape.stream.ports import Ticket
from flowtape.stream.records import ORDER, Records


class PaperDesk:
    """Numbers orders from 1; `refusal` makes it refuse, an `open_` that is clear makes it wait."""

    def __init__(self) -> None:
        self.asked: list[Ticket] = []
        self.refusal = ""
        self.failure: Exception | None = None
        self.open_ = threading.Event()
        self.open_.set()
        self._open: dict[int, Ticket] = {}
        self._last_id = 0

    def ask(self, ticket: Ticket) -> int:
        assert self.open_.wait(20)
        self.asked.append(ticket)
        if self.failure is not None:
            raise self.failure
        if self.refusal:
            raise InputError(self.refusal)
        if ticket.kind == "order":
            self._last_id += 1
            if ticket.limit_ticks:
                self._open[self._last_id] = ticket
            return self._last_id
        if ticket.kind == "cancel":
            if self._open.pop(ticket.order_id, None) is None:
                raise InputError(f"order {ticket.order_id} is not open")
        else:
            self._open = {n: t for n, t in self._open.items() if t.market != ticket.market}
        return 0

    def orders(self, market: int) -> Records:
        """Return the open orders of one market as a view shows them."""
        open_ = [(n, t) for n, t in list(self._open.items()) if t.market == market]
        orders = np.zeros(len(open_), ORDER)
        for record, (number, ticket) in zip(orders, open_, strict=True):
            record["order_id"], record["stage"] = number, Stage.RESTING
            record["request"]["kind"], record["request"]["side"] = OrderKind.LIMIT, ticket.side
            record["request"]["price_ticks"] = ticket.limit_ticks
            record["lanes"]["remaining_lots"] = ticket.qty_lots
        return orders
