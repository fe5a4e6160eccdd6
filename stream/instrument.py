"""What is traded, and the grid its numbers lie on."""

from dataclasses import dataclass
from typing import Literal, get_args

from flowtape.stream.errors import InputError

Market = Literal["spot", "um", "cm"]
MARKETS: tuple[Market, ...] = get_args(Market)


@dataclass(frozen=True, slots=True)
class Instrument:
    """One symbol on one market; prices and quantities are integers on its decimal grid.

    A tick is 10**-price_decimals of the quote asset, a lot 10**-qty_decimals of the base asset
    (of one contract on `cm`).
    """

    symbol: str
    market: Market
    price_decimals: int
    qty_decimals: int
    venue: str = "binance"

    def __post_init__(self) -> None:
        if not all(part.isalnum() for part in self.symbol.split("_")):
            raise InputError(f"{self.symbol!r} is not a symbol such as BTCUSDT or BTCUSD_PERP")
        if self.market not in MARKETS:
            raise InputError(f"{self.market!r} is not a market; choose spot, um or cm")
        for name in ("price_decimals", "qty_decimals"):
            if not 0 <= getattr(self, name) <= 12:
                raise InputError(f"{name} must be 0 to 12, was {getattr(self, name)}")
