"""How a trading strategy talks to the engine.

A strategy is called at decision points, which depend on the data alone, and sees the past only. It
acts through `Orders`; what it asks for stands between two trades and reaches the venue after the
session's latency. Its attributes are its state: the engine copies them when it sets a checkpoint.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from flowtape._kernel import Kernel
from flowtape.stream.commands import CommandKind
from flowtape.stream.config import SECOND_US, Decide
from flowtape.stream.decimals import parse_decimal
from flowtape.stream.instrument import Instrument
from flowtape.stream.ledger import MarketHistory
from flowtape.stream.orders import CommandGuard, Keep, Orders, Request
from flowtape.stream.records import (
    BAR,
    FILL,
    FOOTPRINT,
    FOOTPRINT_ROW,
    PROFILE_ROW,
    REQUEST,
    SESSION,
    SNAPSHOT,
    Records,
    i128,
)
from flowtape.stream.view import Ring, Series

NO_FILLS: Records = np.zeros(0, FILL)
NO_FILLS.flags.writeable = False

__all__ = ["Market", "Orders", "Request", "Strategy"]


class Glance(NamedTuple):
    """What is asked most of a snapshot, in its units."""

    stream_us: int
    last_ticks: int
    bid_ticks: int
    ask_ticks: int
    buy_lots: int
    sell_lots: int
    position_lots: int


class Market:
    """What a strategy may see at a decision point; everything lies at or before `now_us`.

    Prices and quantities are integers in ticks and lots; `price` and `qty` make floats of them.
    """

    def __init__(
        self,
        instrument: Instrument,
        number: int,
        kernel: Kernel,
        *,
        history: MarketHistory,
        bubbles: Ring,
        sync: Callable[[], None],
        keep: Keep,
        guard: CommandGuard,
        decimals: int,
    ) -> None:
        self.instrument = instrument
        self.number = number
        """What `Request.market` calls it."""
        self.all: tuple[Market, ...] = (self,)
        """The instruments of the account, by their numbers; this one is among them."""
        self._kernel = kernel
        self._history = history
        self._bubbles = bubbles
        self._decimals = decimals
        self._keep = keep
        self._guard = guard
        self._sync = sync
        """Brings ledger and bubbles up to the present input."""
        self._snapshot: np.void | None = None
        self._numbers: Glance | None = None
        self._bubbles_from = 0
        self.new_fills: Records = NO_FILLS
        """Own fills since the last decision, records of `records.FILL`."""

    def refresh(self, new_fills: Records, bubbles_from: int) -> None:
        """Move on to the next decision point; the engine calls this."""
        self.look_again()
        self._bubbles_from = bubbles_from
        self.new_fills = new_fills

    def look_again(self) -> None:
        """Forget what was read at the last decision point: inputs may have come since."""
        self._snapshot = self._numbers = None

    @property
    def new_bubbles(self) -> NDArray[np.void]:
        """Bubbles closed since the last decision, records of `records.BUBBLE`.

        Of very many, the newest 65,536.
        """
        self._sync()
        return self._bubbles.since(self._bubbles_from)

    @property
    def snapshot(self) -> np.void:
        """The engine's state as one record of `records.SNAPSHOT`."""
        if self._snapshot is None:
            self._snapshot = self._kernel.snapshot(self.number).view(SNAPSHOT)[0]
        return self._snapshot

    def _glance(self) -> "Glance":
        if self._numbers is None:
            self._numbers = Glance._make(self._kernel.glance(self.number))
        return self._numbers

    @property
    def bars(self) -> NDArray[np.void]:
        """Closed bars of the first series, oldest first, records of `records.BAR`; read-only."""
        self._sync()
        return _read_only(self._history.bars)

    def bars_of(self, series: int) -> NDArray[np.void]:
        """Return the closed bars of a series, as `bars`."""
        self._sync()
        return _read_only(self._history.series[series].bars)

    def footprints_of(self, series: int) -> NDArray[np.void]:
        """Return the footprints of a series' closed bars, records of `records.FOOTPRINT`."""
        self._sync()
        return _read_only(self._history.series[series].footprints)

    def footprint_rows_of(self, series: int) -> NDArray[np.void]:
        """Return the rows of those footprints, records of `records.FOOTPRINT_ROW`."""
        self._sync()
        return _read_only(self._history.series[series].footprint_rows)

    def open_bar(self, series: int = 0) -> np.void:
        """Return the open bar of a series; its `trade_count` is 0 when there is none."""
        bar: np.void = self._kernel.bar(series, self.number).view(BAR)[0]
        return bar

    def open_footprint(self, series: int = 0) -> tuple[np.void, NDArray[np.void]]:
        """Return the footprint of a series' open bar so far, and its rows."""
        footprint, rows = self._kernel.footprint(series, self.number)
        return footprint.view(FOOTPRINT)[0], rows.view(FOOTPRINT_ROW)

    @property
    def marks(self) -> NDArray[np.void]:
        """Sweeps, absorption and exhaustion so far, records of `records.MARK`; read-only."""
        self._sync()
        return _read_only(self._history.marks)

    @property
    def session(self) -> np.void:
        """VWAP, delta by size and recent flow, one record of `records.SESSION`."""
        session: np.void = self._kernel.session(self.number).view(SESSION)[0]
        return session

    @property
    def profile(self) -> NDArray[np.void]:
        """Volume by price of the session, records of `records.PROFILE_ROW`."""
        return self._kernel.profile(self.number).view(PROFILE_ROW)

    def set_anchor(self, anchor: int) -> None:
        """Start an anchored VWAP (0 to 3) with the next trade; raises KernelError BAD_ANCHOR."""
        with self._guard.asked():
            self._kernel.anchor(anchor, self.number)
            which = np.zeros(1, REQUEST)
            which["client_id"], which["market"] = anchor, self.number
            self._keep(CommandKind.ANCHOR, self.now_us, [0], which)

    @property
    def now_us(self) -> int:
        """Stream time."""
        return self._glance().stream_us

    @property
    def last_ticks(self) -> int:
        """Price of the last trade."""
        return self._glance().last_ticks

    @property
    def bid_ticks(self) -> int:
        """Best bid, estimated from the prints; 0 before the first."""
        return self._glance().bid_ticks

    @property
    def ask_ticks(self) -> int:
        """Best ask, estimated from the prints; 0 before the first."""
        return self._glance().ask_ticks

    @property
    def delta_lots(self) -> int:
        """Volume bought minus volume sold by aggressors since the session began."""
        glance = self._glance()
        return glance.buy_lots - glance.sell_lots

    @property
    def position_lots(self) -> int:
        """Own position; negative when short."""
        return self._glance().position_lots

    @property
    def equity(self) -> float:
        """The account's equity in the quote asset, in the base lane."""
        return i128(self.snapshot["equity_atoms"]) / 10.0**self._decimals

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


def _read_only(series: Series) -> NDArray[np.void]:
    records = series.all()
    records.flags.writeable = False
    return records


class Strategy(ABC):
    """Base of strategies: a dataclass whose fields are its parameters."""

    decide: ClassVar[Decide] = Decide(grid_us=SECOND_US)

    def on_start(self, market: Market) -> None:  # noqa: B027
        """Prepare; called once before the first trade. Further instruments: `market.all`."""

    @abstractmethod
    def on_decision(self, market: Market, orders: Orders) -> None:
        """Look and act; called at each decision point of the session."""
