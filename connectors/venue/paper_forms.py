"""An order as Binance's API writes it, to the kernel's order."""

from collections.abc import Mapping
from dataclasses import dataclass

from flowtape.connectors.venue.listing import Listing
from flowtape.connectors.venue.paper_limits import TRAILING_BIPS
from flowtape.connectors.venue.paper_sent import Sent, both_missing, illegal, missing, units_max
from flowtape.connectors.venue.queries import BadQueryError
from flowtape.connectors.venue.wire import SPOT_DECIMALS
from flowtape.stream.decimals import format_decimal
from flowtape.stream.execution import TimeInForce
from flowtape.stream.orders import Request

ORDER_FIELDS = frozenset(
    {
        *("symbol", "side", "type", "timeInForce", "quantity", "quoteOrderQty", "price"),
        *("newClientOrderId", "stopPrice", "trailingDelta", "icebergQty", "newOrderRespType"),
        "selfTradePreventionMode",
    }
)
NEW_ORDER_REJECTED = -2010

_PREVENTION = ("NONE", "EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH", "DECREMENT", "TRANSFER")
ANSWERS = ("ACK", "RESULT", "FULL")
_PPM_PER_BIP = 100


@dataclass(frozen=True, slots=True)
class _Kind:
    """What an order type must name, of what it must name one at least, and what it is answered."""

    needs: tuple[str, ...]
    either: tuple[str, ...] = ()
    answer: str = "ACK"

    @property
    def takes(self) -> tuple[str, ...]:
        """What it may name."""
        return self.needs + self.either


_WHEN = ("stopPrice", "trailingDelta")
_KINDS = {
    "LIMIT": _Kind(("timeInForce", "quantity", "price"), answer="FULL"),
    "LIMIT_MAKER": _Kind(("quantity", "price")),
    "MARKET": _Kind((), ("quantity", "quoteOrderQty"), answer="FULL"),
    "STOP_LOSS": _Kind(("quantity",), _WHEN),
    "STOP_LOSS_LIMIT": _Kind(("timeInForce", "quantity", "price"), _WHEN),
    "TAKE_PROFIT": _Kind(("quantity",), _WHEN),
    "TAKE_PROFIT_LIMIT": _Kind(("timeInForce", "quantity", "price"), _WHEN),
}
_NOT_OF_ALL = ("timeInForce", "price", "stopPrice", "trailingDelta", "quoteOrderQty")


@dataclass(frozen=True, slots=True)
class OrderForm:
    """An order as it was sent and checked.

    `client_id` is empty where the venue is to choose it, `quote_qty` where no amount of the quote
    asset was asked for; `trailing_bips` is 0 for an order that does not trail.
    """

    listing: Listing
    kind: str
    time_in_force: str
    client_id: str
    answer: str
    prevention: str
    request: Request
    quote_qty: str = ""
    trailing_bips: int = 0

    @property
    def waits(self) -> bool:
        """Whether it waits for a price before it works."""
        return bool(self.stop_ticks or self.trailing_bips)

    @property
    def stop_ticks(self) -> int:
        """The price it waits for, or trails from; 0 for none."""
        request = self.request
        return request.stop_ticks or request.take_profit_ticks or request.trail_from_ticks


def read_order(
    values: Mapping[str, str], listing: Listing, market: int, last_ticks: int = 0
) -> OrderForm:
    """Return the order of a query; raises BadQueryError as Binance refuses it.

    `last_ticks` is the last price, 0 where nothing has traded yet.
    """
    if "type" not in values:
        raise missing("type")
    return read_sent(Sent(values), values["type"], listing, market, last_ticks)


def read_sent(
    sent: Sent, kind_name: str, listing: Listing, market: int, last_ticks: int
) -> OrderForm:
    """Return an order of a type, of which `sent` has the rest."""
    side = sent.side()
    kind = _KINDS.get(kind_name)
    if kind is None:
        raise BadQueryError(-1116, "Invalid orderType.")
    _check_fields(sent, kind)
    in_force = sent.get("timeInForce") or "GTC"
    if in_force not in ("GTC", "IOC", "FOK"):
        raise BadQueryError(-1115, "Invalid timeInForce.")
    stop_ticks = sent.price_ticks("stopPrice", listing)
    profits = kind_name.startswith("TAKE_PROFIT")
    bips = _trailing_bips(sent, kind_name)
    quote_qty, qty_lots = "", sent.qty_lots("quantity", listing)
    if not qty_lots:
        quote_qty, qty_lots = _of_quote(sent, listing, last_ticks)
    request = Request(
        side=side,
        qty_lots=qty_lots,
        limit_ticks=sent.price_ticks("price", listing),
        stop_ticks=0 if profits or bips else stop_ticks,
        take_profit_ticks=stop_ticks if profits and not bips else 0,
        trail_ppm=bips * _PPM_PER_BIP,
        trail_from_ticks=stop_ticks if bips else 0,
        time_in_force=TimeInForce[in_force],
        post_only=kind_name == "LIMIT_MAKER",
        display_lots=_iceberg(sent, qty_lots, in_force, listing),
        market=market,
    )
    return OrderForm(
        listing,
        kind_name,
        in_force,
        sent.client_id(),
        sent.chosen("newOrderRespType", ANSWERS, kind.answer),
        sent.chosen("selfTradePreventionMode", _PREVENTION, "NONE"),
        request,
        quote_qty,
        bips,
    )


def _check_fields(sent: Sent, kind: _Kind) -> None:
    for name in kind.needs:
        if name not in sent:
            raise missing(sent.name(name))
    if kind.either and not any(name in sent for name in kind.either):
        raise both_missing(*map(sent.name, kind.either))
    for name in _NOT_OF_ALL:
        if name in sent and name not in kind.takes:
            raise sent.not_required(name)
    if "icebergQty" in sent and "price" not in kind.needs:
        raise sent.not_required("icebergQty")
    if "quantity" in sent and "quoteOrderQty" in sent:
        raise BadQueryError(-1128, "Combination of optional parameters invalid.")


def _of_quote(sent: Sent, listing: Listing, last_ticks: int) -> tuple[str, int]:
    """Return an amount of the quote asset, and the lots that it pays for at the last price."""
    parts = sent.parts("quoteOrderQty", SPOT_DECIMALS)
    if parts is None:
        return "", 0
    if not last_ticks:
        raise BadQueryError(
            NEW_ORDER_REJECTED, "Order book liquidity is less than symbol minimum quantity."
        )
    whole, part = parts
    units = int(whole + part.ljust(SPOT_DECIMALS, "0"))
    instrument = listing.instrument
    scale = 10 ** (instrument.price_decimals + instrument.qty_decimals)
    qty_lots = units * scale // (last_ticks * 10**SPOT_DECIMALS)
    if not 1 <= qty_lots <= units_max(instrument.qty_decimals):
        raise BadQueryError(-1013, "Filter failure: LOT_SIZE")
    return format_decimal(units, SPOT_DECIMALS), qty_lots


def _trailing_bips(sent: Sent, kind_name: str) -> int:
    text = sent.get("trailingDelta")
    if text is None:
        return 0
    if not (text.isascii() and text.isdecimal() and len(text) <= 19):
        raise illegal(sent.name("trailingDelta"), "^[0-9]{1,19}$")
    least, most = TRAILING_BIPS
    if not least <= int(text) <= most:
        raise BadQueryError(-1013, "Filter failure: TRAILING_DELTA")
    # a trailing order of the kernel becomes a market order, and begins where it is favourable
    if kind_name.endswith("LIMIT") or (kind_name == "STOP_LOSS" and "stopPrice" in sent):
        raise BadQueryError(-1014, "Unsupported order combination.")
    return int(text)


def _iceberg(sent: Sent, qty_lots: int, in_force: str, listing: Listing) -> int:
    shown = sent.qty_lots("icebergQty", listing)
    if shown > qty_lots:
        raise BadQueryError(NEW_ORDER_REJECTED, "IcebergQty exceeds QTY.")
    if shown in (0, qty_lots):
        return 0
    if in_force != "GTC":
        raise BadQueryError(-1014, "Unsupported order combination.")
    return shown
