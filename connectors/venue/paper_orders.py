"""One paper order: how it stands by what the kernel says of it, and how Binance would tell it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from flowtape.connectors.venue.paper_forms import NEW_ORDER_REJECTED, OrderForm
from flowtape.connectors.venue.wire import SPOT_DECIMALS
from flowtape.stream.decimals import format_decimal
from flowtape.stream.execution import Change, Reason, Role
from flowtape.stream.records import i128
from flowtape.stream.trades import BUY

NO_LIST = -1

Event = Callable[[int], dict[str, Any]]
"""What happened to the account, by the unit of its times in microseconds."""

_REFUSALS = {
    Reason.WOULD_TAKE: "Order would immediately match and take.",
    Reason.WOULD_TRIGGER: "Order would trigger immediately.",
    Reason.INSUFFICIENT_BALANCE: "Account has insufficient balance for requested action.",
}


@dataclass(frozen=True, slots=True)
class PaperFill:
    """A fill of an order under the account's own number for it."""

    trade_id: int
    order: "PaperOrder"
    price_ticks: int
    qty_lots: int
    fee_atoms: int
    is_maker: bool
    ts_us: int


@dataclass(slots=True, eq=False)
class PaperOrder:
    """An order of the account; `status` is Binance's word for how it stands.

    `arrived` is whether the venue has taken it, or refused it; `taking` whether it takes what
    prints give instead of resting or waiting for a price; `canceled_as` what a client called
    the request that ends it. `qty_lots` is what it asks for in all, which gets less by an
    amendment and by what the other order of a pair fills.
    """

    form: OrderForm
    order_id: int
    client_id: str
    quote_asset: str
    money_decimals: int
    created_us: int
    list_id: int = NO_LIST
    qty_lots: int = 0
    updated_us: int = 0
    working_us: int = -1
    status: str = "NEW"
    arrived: bool = False
    taking: bool = False
    refusal: str = ""
    filled_lots: int = 0
    filled_ticklots: int = 0
    fills: list[PaperFill] = field(default_factory=list)
    cancel_asked: bool = False
    canceled_as: str = ""
    answered: bool = False
    """Whether its client was told that there is such an order."""
    withdrawn: bool = False
    """Whether it ends because the other order of its pair was refused at once."""
    amendment: tuple[int, str] | None = None
    """The quantity and the client's name that were asked for and are on their way."""
    former_id: str = ""
    """The client's name that it had before it was amended."""
    execution_id: int = 0
    """Number of the newest event of it among those of the account."""

    def __post_init__(self) -> None:
        """Ask for what the form says."""
        self.qty_lots = self.form.request.qty_lots

    @property
    def done(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.status not in ("NEW", "PARTIALLY_FILLED")

    @property
    def shown(self) -> bool:
        """Whether there is such an order for clients: one refused in the answer to it never was."""
        return self.answered or not (self.status == "REJECTED" or self.withdrawn)

    @property
    def is_buy(self) -> bool:
        """Whether it buys."""
        return self.form.request.side == BUY

    def change(self, event: np.void) -> str:
        """Take what happened to it, a record of `ORDER_EVENT`; returns Binance's execution type.

        That is empty for what Binance tells nobody.
        """
        change, reason = Change(int(event["change"])), Reason(int(event["reason"]))
        ts_us = int(event["ts_us"])
        before = self.status
        if change in (Change.RESTING, Change.TAKING, Change.WAITING):
            new = not self.arrived
            self.arrived = True
            self.taking = change is Change.TAKING
            if change is not Change.WAITING and self.working_us < 0:
                self.working_us = ts_us
            if new:
                self.updated_us = ts_us
                return "NEW"
        elif change is Change.TRIGGERED:
            self.working_us = self.updated_us = ts_us
        elif change is Change.REDUCED and int(event["remaining_lots"]):
            self.qty_lots -= int(event["detail"])
            return self._replaced(self.client_id, ts_us)
        elif change is Change.AMENDED and self.amendment is not None:
            (qty_lots, client_id), self.amendment = self.amendment, None
            self.qty_lots = max(qty_lots, self.filled_lots)
            return self._replaced(client_id, ts_us)
        else:
            self.status = self._ended(change, reason)
        if self.status == before:
            return ""
        self.arrived, self.updated_us = True, ts_us
        return self.status

    def _replaced(self, client_id: str, ts_us: int) -> str:
        self.former_id, self.client_id = self.client_id, client_id
        self.status, self.updated_us = self._filled_status(), ts_us
        return "REPLACED"

    def _ended(self, change: Change, reason: Reason) -> str:
        if change is Change.REJECTED:
            self.refusal = _REFUSALS.get(reason, reason.name)
            return "REJECTED"
        if change not in (Change.CANCELED, Change.EXPIRED):
            return self.status
        if reason is Reason.BY_AMENDMENT:
            return "FILLED"
        return "CANCELED" if reason is Reason.BY_COMMAND else "EXPIRED"

    def fill(self, fill: np.void, trade_id: int) -> PaperFill:
        """Take a fill, a record of `FILL`."""
        made = PaperFill(
            trade_id,
            self,
            int(fill["price_ticks"]),
            int(fill["qty_lots"]),
            i128(fill["fee_atoms"]),
            int(fill["role"]) == Role.MAKER,
            int(fill["ts_us"]),
        )
        self.fills.append(made)
        self.filled_lots += made.qty_lots
        self.filled_ticklots += made.price_ticks * made.qty_lots
        self.status, self.withdrawn = self._filled_status(), False
        self.arrived, self.updated_us = True, made.ts_us
        return made

    def price(self, ticks: int) -> str:
        """Return a price as text."""
        return self.form.listing.wire.price(ticks)

    def qty(self, lots: int) -> str:
        """Return a quantity as text."""
        return self.form.listing.wire.qty(lots)

    def quote(self, ticklots: int) -> str:
        """Return an amount of the quote asset as text, with no decimal cut."""
        instrument = self.form.listing.instrument
        decimals = instrument.price_decimals + instrument.qty_decimals
        missing = max(0, SPOT_DECIMALS - decimals)
        return format_decimal(ticklots * 10**missing, decimals + missing)

    def money(self, atoms: int) -> str:
        """Return an amount of the account's money as text."""
        return format_decimal(atoms, self.money_decimals)

    def result(self, unit_us: int, answer: str, ts_us: int) -> dict[str, Any]:
        """Return the answer to the order, of one of Binance's kinds."""
        ack = {
            "symbol": self.form.listing.symbol,
            "orderId": self.order_id,
            "orderListId": self.list_id,
            "clientOrderId": self.client_id,
            "transactTime": ts_us // unit_us,
        }
        if answer == "ACK":
            return ack
        result = ack | self._standing() | self._waiting()
        result |= {"workingTime": _time(self.working_us, unit_us)}
        result |= {"selfTradePreventionMode": self.form.prevention}
        if answer == "FULL":
            result["fills"] = [
                {
                    "price": self.price(fill.price_ticks),
                    "qty": self.qty(fill.qty_lots),
                    "commission": self.money(fill.fee_atoms),
                    "commissionAsset": self.quote_asset,
                    "tradeId": fill.trade_id,
                }
                for fill in self.fills
            ]
        return result

    def row(self, unit_us: int) -> dict[str, Any]:
        """Return the order as queries tell it."""
        request = self.form.request
        return {
            "symbol": self.form.listing.symbol,
            "orderId": self.order_id,
            "orderListId": self.list_id,
            "clientOrderId": self.client_id,
            **self._standing(),
            "stopPrice": self.price(self.form.stop_ticks),
            "icebergQty": self.qty(min(request.display_lots, self.qty_lots)),
            **self._trailing(),
            "time": self.created_us // unit_us,
            "updateTime": (self.updated_us or self.created_us) // unit_us,
            "isWorking": self.working_us >= 0 or not self.form.waits,
            "workingTime": _time(self.working_us, unit_us),
            "selfTradePreventionMode": self.form.prevention,
        }

    def cancellation(self, unit_us: int, ts_us: int) -> dict[str, Any]:
        """Return the answer to a request to cancel it."""
        standing = self._standing()
        if not self.done:
            standing["status"] = "PENDING_CANCEL"
        return {
            "symbol": self.form.listing.symbol,
            "origClientOrderId": self.client_id,
            "orderId": self.order_id,
            "orderListId": self.list_id,
            "clientOrderId": self.canceled_as,
            "transactTime": ts_us // unit_us,
            **standing,
            **self._waiting(),
            "selfTradePreventionMode": self.form.prevention,
        }

    def amended(self, unit_us: int) -> dict[str, Any]:
        """Return the answer to an amendment that was made."""
        standing = self._standing()
        return {
            "transactTime": self.updated_us // unit_us,
            "executionId": self.execution_id,
            "amendedOrder": {
                "symbol": self.form.listing.symbol,
                "orderId": self.order_id,
                "orderListId": self.list_id,
                "origClientOrderId": self.former_id,
                "clientOrderId": self.client_id,
                "price": standing["price"],
                "qty": standing["origQty"],
                "executedQty": standing["executedQty"],
                "preventedQty": self.qty(0),
                "quoteOrderQty": standing["origQuoteOrderQty"],
                "cumulativeQuoteQty": standing["cummulativeQuoteQty"],
                "status": self.status,
                "timeInForce": standing["timeInForce"],
                "type": standing["type"],
                "side": standing["side"],
                **self._waiting(),
                "workingTime": _time(self.working_us, unit_us),
                "selfTradePreventionMode": self.form.prevention,
            },
        }

    def report(self, kind: str, fill: PaperFill | None, ts_us: int, unit_us: int) -> dict[str, Any]:
        """Return the `executionReport` of an execution type, which is the newest."""
        request = self.form.request
        standing = self._standing()
        canceled = kind == "CANCELED" and bool(self.canceled_as)
        before = self.client_id if canceled else self.former_id if kind == "REPLACED" else ""
        refused = NEW_ORDER_REJECTED if kind == "REJECTED" else None
        return {
            "e": "executionReport",
            "E": ts_us // unit_us,
            "s": self.form.listing.symbol,
            "c": self.canceled_as if canceled else self.client_id,
            "S": standing["side"],
            "o": standing["type"],
            "f": standing["timeInForce"],
            "q": standing["origQty"],
            "p": standing["price"],
            "P": self.price(self.form.stop_ticks),
            "F": self.qty(min(request.display_lots, self.qty_lots)),
            "g": self.list_id,
            "C": before,
            "x": kind,
            "X": standing["status"],
            "r": "NONE" if refused is None else str(refused),
            "i": self.order_id,
            "l": self.qty(fill.qty_lots if fill else 0),
            "z": standing["executedQty"],
            "L": self.price(fill.price_ticks if fill else 0),
            "n": self.money(fill.fee_atoms) if fill else "0",
            "N": self.quote_asset if fill else None,
            "T": ts_us // unit_us,
            "t": fill.trade_id if fill else -1,
            "I": self.execution_id,
            "w": not self.done and (self.working_us >= 0 or not self.form.waits),
            "m": bool(fill and fill.is_maker),
            "M": False,
            "O": self.created_us // unit_us,
            "Z": standing["cummulativeQuoteQty"],
            "Y": self.quote(fill.price_ticks * fill.qty_lots if fill else 0),
            "Q": standing["origQuoteOrderQty"],
            "W": _time(self.working_us, unit_us),
            "V": self.form.prevention,
            **({"d": self.form.trailing_bips} if self.form.trailing_bips else {}),
        }

    def report_later(self, kind: str, fill: PaperFill | None, ts_us: int) -> Event:
        """Return a report that is told later, of how the order stands now."""
        told = {unit_us: self.report(kind, fill, ts_us, unit_us) for unit_us in (1, 1_000)}
        return lambda unit_us: told[unit_us]

    def trade(self, fill: PaperFill, unit_us: int) -> dict[str, Any]:
        """Return a fill as `myTrades` tells it."""
        return {
            "symbol": self.form.listing.symbol,
            "id": fill.trade_id,
            "orderId": self.order_id,
            "orderListId": self.list_id,
            "price": self.price(fill.price_ticks),
            "qty": self.qty(fill.qty_lots),
            "quoteQty": self.quote(fill.price_ticks * fill.qty_lots),
            "commission": self.money(fill.fee_atoms),
            "commissionAsset": self.quote_asset,
            "time": fill.ts_us // unit_us,
            "isBuyer": self.is_buy,
            "isMaker": fill.is_maker,
            "isBestMatch": True,
        }

    def _standing(self) -> dict[str, Any]:
        request = self.form.request
        return {
            "price": self.price(request.limit_ticks),
            "origQty": self.qty(self.qty_lots),
            "executedQty": self.qty(self.filled_lots),
            "origQuoteOrderQty": self.form.quote_qty or self.quote(0),
            "cummulativeQuoteQty": self.quote(self.filled_ticklots),
            "status": self.status,
            "timeInForce": self.form.time_in_force,
            "type": self.form.kind,
            "side": "BUY" if self.is_buy else "SELL",
        }

    def _waiting(self) -> dict[str, Any]:
        request = self.form.request
        more: dict[str, Any] = {}
        if self.form.waits:
            more["stopPrice"] = self.price(self.form.stop_ticks)
        if request.display_lots:
            more["icebergQty"] = self.qty(min(request.display_lots, self.qty_lots))
        return more | self._trailing()

    def _trailing(self) -> dict[str, Any]:
        bips = self.form.trailing_bips
        return {"trailingDelta": bips} if bips else {}

    def _filled_status(self) -> str:
        if not self.filled_lots:
            return "NEW"
        return "FILLED" if self.filled_lots >= self.qty_lots else "PARTIALLY_FILLED"


def _time(ts_us: int, unit_us: int) -> int:
    return ts_us // unit_us if ts_us >= 0 else -1
