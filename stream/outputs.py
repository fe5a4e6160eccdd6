"""What one instrument of a kernel puts out, on its way to ledger, strategy and screen."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from flowtape._kernel import Kernel
from flowtape.stream.config import EngineConfig, atoms_per_ticklot
from flowtape.stream.inputs import InputKind, Inputs
from flowtape.stream.instrument import Instrument
from flowtape.stream.ledger import Ledger
from flowtape.stream.orders import CommandGuard, Keep, open_in_base
from flowtape.stream.records import (
    BUBBLE,
    ORDER,
    PRINT,
    PROFILE_ROW,
    SNAPSHOT,
    Records,
)
from flowtape.stream.strategy import Market
from flowtape.stream.view import BUBBLES_KEPT, PRINTS_KEPT, MarketView, Ring

NO_BUBBLES = np.zeros(0, BUBBLE)


class Columns(Protocol):
    """Equally long, contiguous columns of trades.

    A `market` column of uint8, where there is one, names the instrument of each.
    """

    @property
    def ts_us(self) -> NDArray[np.int64]: ...  # noqa: D102
    @property
    def price_ticks(self) -> NDArray[np.int64]: ...  # noqa: D102
    @property
    def qty_lots(self) -> NDArray[np.int64]: ...  # noqa: D102
    @property
    def side(self) -> NDArray[np.int8]: ...  # noqa: D102
    def slice(self, start: int, stop: int) -> "Columns":
        """Return rows [start, stop)."""
        ...


@dataclass(frozen=True, slots=True)
class PlainColumns:
    """Trades as columns and nothing else."""

    ts_us: NDArray[np.int64]
    price_ticks: NDArray[np.int64]
    qty_lots: NDArray[np.int64]
    side: NDArray[np.int8]
    market: NDArray[np.uint8] | None = None

    def slice(self, start: int, stop: int) -> Self:
        """Return rows [start, stop) as views of these columns."""
        market = None if self.market is None else self.market[start:stop]
        return type(self)(
            self.ts_us[start:stop],
            self.price_ticks[start:stop],
            self.qty_lots[start:stop],
            self.side[start:stop],
            market,
        )


class MarketOutputs:
    """Takes an instrument's bars, marks and bubbles out of a kernel and fills its view.

    Bubbles are kept in a ring, as far as anyone `looks`; everything else goes to the ledger.
    """

    def __init__(
        self,
        kernel: Kernel,
        number: int,
        instruments: tuple[Instrument, ...],
        config: EngineConfig,
        ledger: Ledger,
        *,
        decimals: int,
        looks: bool,
        lock: threading.RLock,
        sync: Callable[[], None],
        keep: Keep,
        guard: CommandGuard,
    ) -> None:
        self._kernel = kernel
        self._number = number
        self._series = config.bars
        self._ledger = ledger
        self.told = self._shown = self._fills_shown = self._equity_shown = 0
        self._alone = len(instruments) == 1
        """`told` counts the bubbles that the strategy was told of."""
        self.bubbles = Ring(BUBBLE, BUBBLES_KEPT if looks else 1)
        history = ledger.markets[number]
        instrument = instruments[number]
        self.view = MarketView(
            instrument,
            config.bar_us,
            self.snapshot(),
            atoms_per_ticklot=atoms_per_ticklot(instrument, decimals),
            bars=history.bars,
            series=history.series,
            marks=history.marks,
            orders=self._open_orders(),
            read_profile=lambda: kernel.profile(number).view(PROFILE_ROW),
            lock=lock,
        )
        self.market = Market(
            instrument,
            number,
            kernel,
            history=history,
            bubbles=self.bubbles,
            sync=sync,
            keep=keep,
            guard=guard,
            decimals=decimals,
        )

    def snapshot(self) -> np.void:
        """Return the instrument's state as one record of `records.SNAPSHOT`."""
        snapshot: np.void = self._kernel.snapshot(self._number).view(SNAPSHOT)[0]
        return snapshot

    def take(self) -> None:
        """Empty the kernel's outboxes of this instrument."""
        kernel, ledger, number = self._kernel, self._ledger, self._number
        for i, bars in enumerate(self._series):
            ledger.append_bytes(f"{number}.bars.{i}", kernel.take_bars(i, number))
            if bars.row_ticks:
                footprints, rows = kernel.take_footprints(i, number)
                ledger.append_bytes(f"{number}.footprints.{i}", footprints)
                ledger.append_bytes(f"{number}.footprint_rows.{i}", rows)
        ledger.append_bytes(f"{number}.marks", kernel.take_marks(number))
        taken, count = kernel.take_bubbles(number)
        if count == 0:
            return
        # The kernel may keep more, by how inputs were cut.
        bubbles = taken.view(BUBBLE)[-BUBBLES_KEPT:]
        self.bubbles.head += count - len(bubbles)
        self.bubbles.append(bubbles)

    def tell(self, new_fills: Records, closed_count: int) -> None:
        """Move the strategy's market on to a decision point.

        `closed_count` bubbles still wait in the kernel.
        """
        if not self._alone and len(new_fills):
            new_fills = new_fills[new_fills["market"] == self._number]
        self.market.refresh(new_fills, self.told)
        self.told = self.bubbles.head + closed_count

    def untold(self) -> Records:
        """Return the bubbles that the strategy was not yet told of."""
        return self.bubbles.since(self.told)

    def show(self, trades: Columns | None, first_input: int) -> None:
        """Bring the view up to date; its lock must be held."""
        view, ledger = self.view, self._ledger
        bubbles = self.bubbles.since(self._shown)
        view.bubbles.head += self.bubbles.head - self._shown - len(bubbles)
        view.bubbles.append(bubbles)
        self._shown = self.bubbles.head
        view.fills.append(self._own(ledger.fills.since(self._fills_shown)))
        view.equity.append(ledger.equity.since(self._equity_shown))
        self._fills_shown, self._equity_shown = ledger.fills.head, ledger.equity.head
        if trades is not None:
            view.prints.append(prints_of(trades, first_input, self._number))
        self._look()

    def begin_behind(self, count: int, untold: Records) -> None:
        """Begin where so many bubbles had closed, the last of them `untold`."""
        told = count - len(untold)
        self._shown = self.told = told
        self.bubbles.clear(told)
        self.view.bubbles.clear(told)
        self.bubbles.append(untold)

    def restart(self, untold: Records) -> None:
        """Begin a new epoch of the view without bubbles; its lock must be held."""
        self.bubbles.clear()
        self.bubbles.append(untold)
        self.told, self._shown = 0, self.bubbles.head
        view, ledger = self.view, self._ledger
        view.epoch += 1
        view.notice = ""
        for ring in (view.bubbles, view.prints, view.fills, view.equity):
            ring.clear()
        view.fills.append(self._own(ledger.fills.all()))
        view.equity.append(ledger.equity.all())
        self._fills_shown, self._equity_shown = ledger.fills.head, ledger.equity.head
        self._look()

    def recall(self, kernel: Kernel, trades: Columns, first_input: int) -> None:
        """Show again what another kernel made of earlier trades."""
        with self.view.lock:
            self.view.bubbles.append(kernel.take_bubbles(self._number)[0].view(BUBBLE))
            self.view.prints.append(prints_of(trades, first_input, self._number))

    def _look(self) -> None:
        self.view.snapshot = self.snapshot()
        self.view.orders = self._open_orders()

    def _open_orders(self) -> Records:
        orders = open_in_base(self._kernel.orders().view(ORDER))
        return orders if self._alone else orders[orders["request"]["market"] == self._number]

    def _own(self, fills: Records) -> Records:
        return fills if self._alone else fills[fills["market"] == self._number]


def prints_of(trades: Columns, first_input: int, market: int = 0) -> NDArray[np.void]:
    """Return an instrument's newest trades, as many as a view keeps, as `records.PRINT`."""
    numbers = getattr(trades, "market", None)
    if numbers is None:
        rows = np.arange(max(0, len(trades.ts_us) - PRINTS_KEPT), len(trades.ts_us))
    else:
        own = numbers == market
        if isinstance(trades, Inputs):
            own &= trades.kind == InputKind.TRADE
        rows = np.flatnonzero(own)[-PRINTS_KEPT:]
    prints = np.zeros(len(rows), PRINT)
    prints["input"] = first_input + rows
    for name in ("ts_us", "price_ticks", "qty_lots", "side"):
        prints[name] = getattr(trades, name)[rows]
    return prints
