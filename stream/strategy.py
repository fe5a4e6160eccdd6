"""How a trading strategy talks to the engine.

A strategy is called at decision points, which depend on the data alone, and sees the past only. It
acts through `Orders`; what it asks for stands between two trades and reaches the venue after the
session's latency. Its attributes are its state: the engine copies them when it sets a checkpoint.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from flowtape._kernel import Kernel
from flowtape.stream.config import Decide, money_decimals
from flowtape.stream.decimals import parse_decimal
from flowtape.stream.instrument import Instrument
from flowtape.stream.orderflow import SECOND_US
from flowtape.stream.orders import Orders, Request
from flowtape.stream.records import FILL, SNAPSHOT, Records, i128

NO_FILLS: Records = np.zeros(0, FILL)
NO_FILLS.flags.writeable = False

__all__ = ["Market", "Orders", "Request", "Strategy"]


class Market:
    """What a strategy may see at a decision point; everything lies at or before `now_us`.

    Prices and quantities are integers in ticks and lots; `price` and `qty` make floats of them.
    """

    def __init__(
        self, instrument: Instrument, kernel: Kernel, closed_bars: Callable[[], Records]
    ) -> None:
        self.instrument = instrument
        self._kernel = kernel
        self._closed_bars = closed_bars
        self._snapshot: np.void | None = None
        self.new_fills: Records = NO_FILLS
        """Own fills since the last decision, records of `records.FILL`."""

    def refresh(self, new_fills: Records) -> None:
        """Move on to the next decision point; the engine calls this."""
        self._snapshot = None
        self.new_fills = new_fills

    @property
    def snapshot(self) -> np.void:
        """The engine's state as one record of `records.SNAPSHOT`."""
        if self._snapshot is None:
            self._snapshot = self._kernel.snapshot().view(SNAPSHOT)[0]
        return self._snapshot

    @property
    def bars(self) -> NDArray[np.void]:
        """Closed bars, oldest first, records of `records.BAR`; read-only."""
        bars = self._closed_bars()
        bars.flags.writeable = False
        return bars

    @property
    def now_us(self) -> int:
        """Stream time."""
        return int(self.snapshot["stream_us"])

    @property
    def last_ticks(self) -> int:
        """Price of the last trade."""
        return int(self.snapshot["last_ticks"])

    @property
    def bid_ticks(self) -> int:
        """Best bid, estimated from the prints; 0 before the first."""
        return int(self.snapshot["bid_ticks"])

    @property
    def ask_ticks(self) -> int:
        """Best ask, estimated from the prints; 0 before the first."""
        return int(self.snapshot["ask_ticks"])

    @property
    def delta_lots(self) -> int:
        """Volume bought minus volume sold by aggressors since the session began."""
        return int(self.snapshot["buy_lots"]) - int(self.snapshot["sell_lots"])

    @property
    def position_lots(self) -> int:
        """Own position; negative when short."""
        return int(self.snapshot["position_lots"])

    @property
    def equity(self) -> float:
        """Own equity in the quote asset, in the base lane."""
        return i128(self.snapshot["equity_atoms"]) / 10.0 ** money_decimals(self.instrument)

    def price(self, price_ticks: int) -> float:
        """Return a price in the quote asset."""
        return float(price_ticks) / 10.0**self.instrument.price_decimals

    def qty(self, qty_lots: int) -> float:
        """Return a quantity in the base asset."""
        return float(qty_lots) / 10.0**self.instrument.qty_decimals

    def lots(self, qty: str) -> int:
        """Return the lots of a decimal quantity text; raises OffGridError."""
        return parse_decimal(qty, self.instrument.qty_decimals)

    def ticks(self, price: str) -> int:
        """Return the ticks of a decimal price text; raises OffGridError."""
        return parse_decimal(price, self.instrument.price_decimals)


class Strategy(ABC):
    """Base of strategies: a dataclass whose fields are its parameters."""

    decide: ClassVar[Decide] = Decide(grid_us=SECOND_US)

    def on_start(self, market: Market) -> None:  # noqa: B027
        """Prepare for an instrument; called once before the first trade."""

    @abstractmethod
    def on_decision(self, market: Market, orders: Orders) -> None:
        """Look and act; called at each decision point."""
