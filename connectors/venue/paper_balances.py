"""What a paper account has: what is free, and what its open orders lock."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from flowtape.connectors.venue.listing import Listing
from flowtape.connectors.venue.paper_orders import NO_LIST, PaperOrder
from flowtape.stream.decimals import format_decimal
from flowtape.stream.engine import Engine
from flowtape.stream.execution import Lane
from flowtape.stream.records import i128

Balances = Mapping[str, tuple[str, str]]
"""What is free and what is locked, as text, by asset."""


def read_balances(
    engine: Engine,
    listings: Sequence[Listing],
    assets: Sequence[str],
    quote_asset: str,
    opened: Iterable[PaperOrder],
) -> Balances:
    """Return the balances of an account with these open orders; `assets` are the listings' own."""
    decimals = engine.money_decimals
    account = engine.account(Lane.BASE)
    cash = i128(account["cash_atoms"])
    free = min(max(i128(account["free_atoms"]), 0), cash)
    texts = (format_decimal(free, decimals), format_decimal(cash - free, decimals))
    found = {quote_asset: texts}
    asked = _sells(opened)
    for number, (base, market) in enumerate(zip(assets, engine.markets, strict=True)):
        market.look_again()
        held = market.position_lots
        locked = min(asked.get(number, 0), held)
        qty = listings[number].wire.qty
        found[base] = (qty(held - locked), qty(locked))
    return found


def account_position(
    balances: Balances, assets: Sequence[str], ts_us: int, unit_us: int
) -> dict[str, Any]:
    """Return the event that tells the balances of some assets."""
    return {
        "e": "outboundAccountPosition",
        "E": ts_us // unit_us,
        "u": ts_us // unit_us,
        "B": [{"a": one, "f": balances[one][0], "l": balances[one][1]} for one in assets],
    }


def _sells(opened: Iterable[PaperOrder]) -> dict[int, int]:
    """Lots that sells at the venue ask for, by the instrument's number; a pair asks once."""
    asked: dict[tuple[int, int], int] = {}
    for order in opened:
        if order.arrived and not order.is_buy:
            alone = order.list_id == NO_LIST
            key = order.form.request.market, -order.order_id if alone else order.list_id
            asked[key] = max(asked.get(key, 0), order.qty_lots - order.filled_lots)
    sums: dict[int, int] = {}
    for (market, _), lots in asked.items():
        sums[market] = sums.get(market, 0) + lots
    return sums
