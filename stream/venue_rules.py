"""Rules of a venue that change while a session runs: numbers, differences, and words for people."""

from collections.abc import Iterable, Sequence
from dataclasses import fields

from flowtape._kernel import Kernel
from flowtape.stream.decimals import format_decimal
from flowtape.stream.errors import InputError
from flowtape.stream.execution import VenueRules
from flowtape.stream.instrument import Instrument
from flowtape.stream.limits import INT64_MAX, PRICE_TICKS_MAX, QTY_LOTS_MAX
from flowtape.stream.records import VENUE_RULES

RULE_NAMES = tuple(f.name for f in fields(VenueRules))
"""A rule's number is its place here."""

_WORDS = {
    "price_step_ticks": "tick",
    "price_min_ticks": "least price",
    "price_max_ticks": "greatest price",
    "qty_step_lots": "quantity step",
    "qty_min_lots": "least quantity",
    "qty_max_lots": "greatest quantity",
    "market_qty_max_lots": "greatest market order",
    "notional_min_ticklots": "least notional",
    "price_up_ppm": "highest limit price by the last price",
    "price_down_ppm": "lowest limit price by the last price",
}


def rules_of(kernel: Kernel, market: int) -> VenueRules:
    """Return the rules of an instrument's venue as a kernel has them now."""
    record = kernel.rules(market).view(VENUE_RULES)[0]
    return VenueRules(*(int(record[name]) for name in RULE_NAMES))


def differences(
    before: VenueRules, after: VenueRules, unknown: Sequence[str] = ()
) -> list[tuple[int, int]]:
    """Return the numbers of the rules that differ, but those unknown, and what they are after.

    Raises InputError for one that no kernel takes.
    """
    found = []
    for number, name in enumerate(RULE_NAMES):
        value = getattr(after, name)
        if value != getattr(before, name) and name not in unknown:
            least = 1 if name in ("price_step_ticks", "qty_step_lots") else 0
            if not least <= value <= largest(name):
                raise InputError(f"the venue's rule {name} cannot be {value}")
            found.append((number, value))
    return found


def largest(name: str) -> int:
    """Return the greatest value that a rule may have."""
    if name.endswith("_lots"):
        return QTY_LOTS_MAX
    return PRICE_TICKS_MAX if name.endswith("_ticks") else INT64_MAX


def in_words(instrument: Instrument, changes: Iterable[tuple[int, int]]) -> str:
    """Say what the rules are now, of an instrument."""
    return "the venue's rules changed: " + ", ".join(
        _one_in_words(instrument, RULE_NAMES[number], value) for number, value in changes
    )


def _one_in_words(instrument: Instrument, name: str, value: int) -> str:
    if not value:
        return f"no {_WORDS[name]}"
    decimals = 6
    if name.endswith("_ticks"):
        decimals = instrument.price_decimals
    elif name.endswith("_lots"):
        decimals = instrument.qty_decimals
    elif name.endswith("_ticklots"):
        decimals = instrument.price_decimals + instrument.qty_decimals
    text = format_decimal(value, decimals)
    return f"{_WORDS[name]} {text.rstrip('0').rstrip('.') if '.' in text else text}"
