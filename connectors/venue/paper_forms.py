"""An order as Binance's API writes it, to the kernel's order and its answers."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from flowtape.connectors.venue.listing import Listing
from flowtape.connectors.venue.queries import BadQueryError
from flowtape.connectors.venue.rules import TOP_DIGITS
from flowtape.connectors.venue.wire import SPOT_DECIMALS
from flowtape.stream.execution import TimeInForce
from flowtape.stream.orders import Request
from flowtape.stream.trades import BUY, SELL

ORDER_FIELDS = frozenset(
    {
        *("symbol", "side", "type", "timeInForce", "quantity", "quoteOrderQty", "price"),
        *("newClientOrderId", "stopPrice", "trailingDelta", "icebergQty", "newOrderRespType"),
        "selfTradePreventionMode",
    }
)
NEW_ORDER_REJECTED = -2010

_NUMBER = re.compile(r"\d{1,20}(\.\d{1,20})?", re.ASCII)
_CLIENT_ID = re.compile(r"[.A-Z:/a-z0-9_-]{1,36}", re.ASCII)
_PREVENTION = ("NONE", "EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH", "DECREMENT", "TRANSFER")
_INT64_MAX = 2**63 - 1
_ANSWERS = ("ACK", "RESULT", "FULL")


@dataclass(frozen=True, slots=True)
class _Kind:
    """What an order type must name and whether it has a time in force; all take a quantity."""

    needs: tuple[str, ...]
    in_force: bool = False
    answer: str = "ACK"


_KINDS = {
    "LIMIT": _Kind(("timeInForce", "quantity", "price"), True, "FULL"),
    "LIMIT_MAKER": _Kind(("quantity", "price")),
    "MARKET": _Kind(("quantity",), answer="FULL"),
    "STOP_LOSS": _Kind(("quantity", "stopPrice")),
    "STOP_LOSS_LIMIT": _Kind(("timeInForce", "quantity", "price", "stopPrice"), True),
    "TAKE_PROFIT": _Kind(("quantity", "stopPrice")),
    "TAKE_PROFIT_LIMIT": _Kind(("timeInForce", "quantity", "price", "stopPrice"), True),
}


@dataclass(frozen=True, slots=True)
class OrderForm:
    """An order as it was sent and checked; `client_id` is empty where the venue is to choose it."""

    listing: Listing
    kind: str
    time_in_force: str
    client_id: str
    answer: str
    prevention: str
    request: Request

    @property
    def waits(self) -> bool:
        """Whether it waits for a price before it works."""
        return bool(self.request.stop_ticks or self.request.take_profit_ticks)


def read_order(values: Mapping[str, str], listing: Listing, market: int) -> OrderForm:
    """Return the order of a query; raises BadQueryError as Binance refuses it."""
    for name in ("side", "type"):
        if name not in values:
            raise missing(name)
    side = {"BUY": BUY, "SELL": SELL}.get(values["side"])
    if side is None:
        raise BadQueryError(-1117, "Invalid side.")
    kind = _KINDS.get(values["type"])
    if kind is None:
        raise BadQueryError(-1116, "Invalid orderType.")
    _check_fields(values, kind)
    in_force = values.get("timeInForce", "GTC")
    if in_force not in ("GTC", "IOC", "FOK"):
        raise BadQueryError(-1115, "Invalid timeInForce.")
    stop_ticks = _price(values, "stopPrice", listing)
    profits = values["type"].startswith("TAKE_PROFIT")
    qty_lots = _qty(values, "quantity", listing)
    request = Request(
        side=side,
        qty_lots=qty_lots,
        limit_ticks=_price(values, "price", listing),
        stop_ticks=0 if profits else stop_ticks,
        take_profit_ticks=stop_ticks if profits else 0,
        time_in_force=TimeInForce[in_force],
        post_only=values["type"] == "LIMIT_MAKER",
        display_lots=_iceberg(values, qty_lots, in_force, listing),
        market=market,
    )
    return OrderForm(
        listing,
        values["type"],
        in_force,
        client_id_of(values, "newClientOrderId"),
        _chosen(values, "newOrderRespType", _ANSWERS, kind.answer),
        _chosen(values, "selfTradePreventionMode", _PREVENTION, "NONE"),
        request,
    )


def client_id_of(values: Mapping[str, str], name: str) -> str:
    """Return a client's own name for an order, empty when none was sent."""
    text = values.get(name)
    if text is not None and not _CLIENT_ID.fullmatch(text):
        raise _illegal(name, r"^[\.A-Z\:/a-z0-9_-]{1,36}$")
    return text or ""


def missing(name: str) -> BadQueryError:
    """Return the refusal of a query that lacks a parameter."""
    return BadQueryError(
        -1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed."
    )


def _check_fields(values: Mapping[str, str], kind: _Kind) -> None:
    if "quoteOrderQty" in values:
        raise BadQueryError(
            NEW_ORDER_REJECTED, "Quote order qty market orders are not support for this symbol."
        )
    if "trailingDelta" in values:
        raise BadQueryError(
            NEW_ORDER_REJECTED, "Trailing stop orders are not supported for this symbol."
        )
    for name in kind.needs:
        if name not in values:
            raise missing(name)
    for name in ("timeInForce", "price", "stopPrice"):
        if name in values and name not in kind.needs:
            raise BadQueryError(-1106, f"Parameter '{name}' sent when not required.")
    if "icebergQty" in values and "price" not in kind.needs:
        raise BadQueryError(-1106, "Parameter 'icebergQty' sent when not required.")


def _chosen(values: Mapping[str, str], name: str, known: tuple[str, ...], default: str) -> str:
    choice = values.get(name, default)
    if choice not in known:
        raise BadQueryError(-1130, f"Data sent for parameter '{name}' is not valid.")
    return choice


def _iceberg(values: Mapping[str, str], qty_lots: int, in_force: str, listing: Listing) -> int:
    shown = _qty(values, "icebergQty", listing)
    if shown > qty_lots:
        raise BadQueryError(NEW_ORDER_REJECTED, "IcebergQty exceeds QTY.")
    if shown in (0, qty_lots):
        return 0
    if in_force != "GTC":
        raise BadQueryError(-1014, "Unsupported order combination.")
    return shown


def _price(values: Mapping[str, str], name: str, listing: Listing) -> int:
    return _units(values, name, listing.instrument.price_decimals, "PRICE_FILTER")


def _qty(values: Mapping[str, str], name: str, listing: Listing) -> int:
    return _units(values, name, listing.instrument.qty_decimals, "LOT_SIZE")


def _units(values: Mapping[str, str], name: str, decimals: int, filter_type: str) -> int:
    """Return a price in ticks or a quantity in lots, within what `exchangeInfo` states; else 0."""
    text = values.get(name)
    if text is None:
        return 0
    if not _NUMBER.fullmatch(text):
        raise _illegal(name, r"^([0-9]{1,20})(\.[0-9]{1,20})?$")
    whole, _, part = text.partition(".")
    part = part.rstrip("0")
    if len(part) > max(decimals, SPOT_DECIMALS):
        raise BadQueryError(-1111, f"Parameter '{name}' has too much precision.")
    units = int(whole + part.ljust(decimals, "0")) if len(part) <= decimals else 0
    none_shown = name == "icebergQty" and not part and not whole.strip("0")
    if not 1 <= units <= min(10 ** (decimals + TOP_DIGITS), _INT64_MAX) and not none_shown:
        raise BadQueryError(-1013, f"Filter failure: {filter_type}")
    return units


def _illegal(name: str, legal: str) -> BadQueryError:
    return BadQueryError(
        -1100, f"Illegal characters found in parameter '{name}'; legal range is '{legal}'."
    )
