"""What exchangeInfo says of orders, as rules in ticks and lots.

A bound that lies between two ticks or lots is taken as the next one that an order can have, and a
greatest value beyond any order's is no rule: both refuse the same orders as the venue. Its rules
for single sides (PERCENT_PRICE_BY_SIDE) are taken as wide as the wider side, so that nothing is
refused here that the venue would take; bounds are held against the last price, where the venue may
take an average or the mark price. What there is no rule for here (greatest notional, numbers of
orders) is left out.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from fractions import Fraction
from typing import Any

from flowtape.connectors.binance.messages import SymbolInfo
from flowtape.stream.execution import PPM, VenueRules
from flowtape.stream.instrument import Instrument
from flowtape.stream.venue_rules import largest

_NUMBER = re.compile(r"\d{1,40}(\.\d{0,40})?", re.ASCII)
_STEPS = ("price_step_ticks", "qty_step_lots")

_KEYS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("price_step_ticks", "PRICE_FILTER", ("tickSize",)),
    ("price_min_ticks", "PRICE_FILTER", ("minPrice",)),
    ("price_max_ticks", "PRICE_FILTER", ("maxPrice",)),
    ("qty_step_lots", "LOT_SIZE", ("stepSize",)),
    ("qty_min_lots", "LOT_SIZE", ("minQty",)),
    ("qty_max_lots", "LOT_SIZE", ("maxQty",)),
    ("market_qty_max_lots", "MARKET_LOT_SIZE", ("maxQty",)),
    ("notional_min_ticklots", "NOTIONAL", ("minNotional",)),
    ("notional_min_ticklots", "MIN_NOTIONAL", ("minNotional", "notional")),
    ("price_up_ppm", "PERCENT_PRICE", ("multiplierUp",)),
    ("price_down_ppm", "PERCENT_PRICE", ("multiplierDown",)),
    ("price_up_ppm", "PERCENT_PRICE_BY_SIDE", ("bidMultiplierUp", "askMultiplierUp")),
    ("price_down_ppm", "PERCENT_PRICE_BY_SIDE", ("bidMultiplierDown", "askMultiplierDown")),
)
"""A rule, the filter that says it, and the keys there, of which the widest value counts."""


class FilterError(ValueError):
    """A value of a filter that is no rule of the instrument."""


def rules_of(
    info: SymbolInfo, instrument: Instrument, before: VenueRules
) -> tuple[VenueRules, dict[str, str]]:
    """Return the rules of a listed symbol, and for people which could not be taken and why.

    Such a rule stays as it was `before`.
    """
    filters = {rule.get("filterType"): rule for rule in info.filters}
    found: dict[str, int] = {}
    left: dict[str, str] = {}
    for name, kind, keys in _KEYS:
        said = filters.get(kind, {})
        texts = [(key, said[key]) for key in keys if key in said]
        if not texts:
            continue
        try:
            found[name] = _widest(name, [_taken(name, text, instrument) for _, text in texts])
        except FilterError as error:
            found[name] = getattr(before, name)
            key, text = texts[0]
            left[name] = (
                f"{info.symbol}: {kind} {key} {str(text)[:40]!r} {error}; that rule stays as it was"
            )
    return replace(VenueRules(), **found), left


def _widest(name: str, values: Iterable[int]) -> int:
    ordered = sorted(values)
    return ordered[-1] if name == "price_up_ppm" and ordered[0] else ordered[0]


def _taken(name: str, text: Any, instrument: Instrument) -> int:
    if not isinstance(text, str) or not _NUMBER.fullmatch(text):
        raise FilterError("is no decimal number")
    exact = Fraction(text) * _unit(name, instrument)
    whole, rest = divmod(exact.numerator, exact.denominator)
    if name in _STEPS:
        if rest:
            raise FilterError("is finer than the prices and quantities of this session")
        whole = whole or 1
    elif "_min_" in name or "_down_" in name:
        whole += rest > 0
    elif whole == 0 < rest:
        raise FilterError("leaves no order at all")
    if whole <= largest(name):
        return whole
    if "_max_" in name or "_up_" in name:
        return 0
    raise FilterError("is larger than any order")


def _unit(name: str, instrument: Instrument) -> int:
    if name.endswith("_ppm"):
        return PPM
    decimals: Mapping[str, int] = {
        "ticks": instrument.price_decimals,
        "lots": instrument.qty_decimals,
        "ticklots": instrument.price_decimals + instrument.qty_decimals,
    }
    return int(10 ** decimals[name.rpartition("_")[2]])
