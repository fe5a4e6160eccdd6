"""Parameters of a message, each read as Binance reads it and refused as Binance refuses it."""

import re
from collections.abc import Mapping

from flowtape.connectors.venue.listing import Listing
from flowtape.connectors.venue.queries import BadQueryError
from flowtape.connectors.venue.rules import TOP_DIGITS
from flowtape.connectors.venue.wire import SPOT_DECIMALS
from flowtape.stream.trades import BUY, SELL

_NUMBER = re.compile(r"\d{1,20}(\.\d{1,20})?", re.ASCII)
_CLIENT_ID = re.compile(r"[.A-Z:/a-z0-9_-]{1,36}", re.ASCII)
_INT64_MAX = 2**63 - 1


class Sent:
    """Parameters as they were sent, read by the names that a single order has for them.

    `names` are the names in this message; a parameter that is not among them keeps its own, or is
    not there with `only`.
    """

    def __init__(
        self,
        values: Mapping[str, str],
        names: Mapping[str, str] | None = None,
        *,
        only: bool = False,
    ) -> None:
        self._values = values
        self._names = names or {}
        self._only = only

    def name(self, of: str) -> str:
        """Return the name that a parameter has in this message."""
        return self._names.get(of, "" if self._only else of)

    def get(self, of: str) -> str | None:
        """Return a parameter, or None when it was not sent."""
        return self._values.get(self.name(of))

    def __contains__(self, of: str) -> bool:
        return self.name(of) in self._values

    def chosen(self, of: str, known: tuple[str, ...], default: str) -> str:
        """Return a parameter that is one of some words."""
        choice = self.get(of)
        if choice is None:
            return default
        if choice not in known:
            raise BadQueryError(-1130, f"Data sent for parameter '{self.name(of)}' is not valid.")
        return choice

    def side(self) -> int:
        """Return +1 to buy or -1 to sell."""
        if "side" not in self:
            raise missing("side")
        side = {"BUY": BUY, "SELL": SELL}.get(self.get("side") or "")
        if side is None:
            raise BadQueryError(-1117, "Invalid side.")
        return side

    def client_id(self, of: str = "newClientOrderId") -> str:
        """Return a client's own name for something, empty when none was sent."""
        text = self.get(of)
        if text is not None and not _CLIENT_ID.fullmatch(text):
            raise illegal(self.name(of), r"^[\.A-Z\:/a-z0-9_-]{1,36}$")
        return text or ""

    def price_ticks(self, of: str, listing: Listing) -> int:
        """Return a price, 0 when none was sent."""
        return self._units(of, listing.instrument.price_decimals, "PRICE_FILTER")

    def qty_lots(self, of: str, listing: Listing) -> int:
        """Return a quantity, 0 when none was sent."""
        return self._units(of, listing.instrument.qty_decimals, "LOT_SIZE")

    def parts(self, of: str, decimals_max: int) -> tuple[str, str] | None:
        """Return a decimal number as its digits before and behind the point, without zeros."""
        text = self.get(of)
        if text is None:
            return None
        if not _NUMBER.fullmatch(text):
            raise illegal(self.name(of), r"^([0-9]{1,20})(\.[0-9]{1,20})?$")
        whole, _, part = text.partition(".")
        part = part.rstrip("0")
        if len(part) > decimals_max:
            raise BadQueryError(-1111, f"Parameter '{self.name(of)}' has too much precision.")
        return whole, part

    def not_required(self, of: str) -> BadQueryError:
        """Return the refusal of a message that has a parameter too many."""
        return BadQueryError(-1106, f"Parameter '{self.name(of)}' sent when not required.")

    def _units(self, of: str, decimals: int, filter_type: str) -> int:
        """Return a price in ticks or a quantity in lots, within what `exchangeInfo` states."""
        parts = self.parts(of, max(decimals, SPOT_DECIMALS))
        if parts is None:
            return 0
        whole, part = parts
        units = int(whole + part.ljust(decimals, "0")) if len(part) <= decimals else 0
        none_shown = of == "icebergQty" and not part and not whole.strip("0")
        if not 1 <= units <= units_max(decimals) and not none_shown:
            raise BadQueryError(-1013, f"Filter failure: {filter_type}")
        return units


def missing(name: str) -> BadQueryError:
    """Return the refusal of a query that lacks a parameter."""
    return BadQueryError(
        -1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed."
    )


def both_missing(one: str, other: str) -> BadQueryError:
    """Return the refusal of a query that lacks both of two parameters."""
    return BadQueryError(
        -1102, f"Param '{one}' or '{other}' must be sent, but both were empty/null!"
    )


def illegal(name: str, legal: str) -> BadQueryError:
    """Return the refusal of a parameter with signs that it may not have."""
    return BadQueryError(
        -1100, f"Illegal characters found in parameter '{name}'; legal range is '{legal}'."
    )


def units_max(decimals: int) -> int:
    """Return the most that a price or a quantity with so many decimals counts."""
    return int(min(10 ** (decimals + TOP_DIGITS), _INT64_MAX))
