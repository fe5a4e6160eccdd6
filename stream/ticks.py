"""A small engine for single ticks: prices in ticks, quantities and money as floats, times in ms.

For scripts and notebooks that feed ticks by hand. It is a thin face of the same kernel as all else:
exact inside, floats at the border only. Fills follow the simple spread model unless `spread_bps` is
None; `docs/EXECUTION.md` states both.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from flowtape.stream import engine as exact
from flowtape.stream import orders, trades
from flowtape.stream.config import EngineConfig as ExactConfig
from flowtape.stream.config import money_decimals
from flowtape.stream.errors import InputError
from flowtape.stream.execution import FillModel, Lane, Role
from flowtape.stream.instrument import Instrument
from flowtape.stream.outputs import PlainColumns
from flowtape.stream.records import i128

MS_US = 1000
QTY_DECIMALS = 8
PPB = 1_000_000_000

SideName = Literal["BUY", "SELL"]


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """Settings of an engine.

    Attributes:
        initial_cash: in the quote asset.
        maker_fee: of resting fills, as a fraction of the notional.
        taker_fee: of taking fills.
        spread_bps: spread of the simple model; None: queue, shared volume and estimated touch.
        tick_size: what one tick of price is in the quote asset.
    """

    initial_cash: float = 100_000.0
    maker_fee: float = 0.0001
    taker_fee: float = 0.0002
    spread_bps: float | None = 2.0
    tick_size: float = 0.01


@dataclass(frozen=True, slots=True)
class Tick:
    """One trade; `side` is that of the aggressor."""

    ts_ms: int
    price_tick_i64: int
    qty: float
    side: SideName


@dataclass(frozen=True, slots=True)
class Order:
    """An order as it is asked for, or with its `order_id` as it stands open."""

    order_type: Literal["MARKET", "LIMIT"]
    side: SideName
    qty: float
    price: float | None = None
    order_id: int | None = None


@dataclass(frozen=True, slots=True)
class Fill:
    """One fill of an own order; money in the quote asset."""

    ts_ms: int
    order_id: int
    side: SideName
    price: float
    qty: float
    fee: float
    role: Literal["MAKER", "TAKER"]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The account behind a tick; equity is cash plus the position at the last price."""

    ts_ms: int
    cash: float
    position: float
    avg_entry_price: float
    realized_pnl: float
    unrealized_pnl: float
    equity: float

    def __getitem__(self, key: str) -> float:
        if key not in self:
            raise KeyError(key)
        value: float = getattr(self, key)
        return value

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and key in Snapshot.__slots__


class Engine:
    """Ticks in, fills and snapshots out; orders act on ticks later than the last one."""

    def __init__(self, config: EngineConfig | None = None) -> None:
        self.config = config or EngineConfig()
        tick = _decimal(self.config.tick_size, "tick_size")
        if tick <= 0:
            raise InputError(f"tick_size must be more than 0, was {self.config.tick_size}")
        places = max(0, -int(tick.normalize().as_tuple().exponent))
        self._grid_ticks = int(tick.scaleb(places))
        """Ticks of the exact engine, 10**-places, that one tick is."""
        self._instrument = Instrument("TICKS", "spot", places, QTY_DECIMALS)
        self._money = 10.0 ** money_decimals(self._instrument)
        self.reset()

    def reset(self) -> None:
        """Start anew: no ticks, no orders, the initial cash."""
        spread = self.config.spread_bps
        settings = ExactConfig(
            initial_cash=str(_decimal(self.config.initial_cash, "initial_cash")),
            maker_fee_ppb=round(self.config.maker_fee * PPB),
            taker_fee_ppb=round(self.config.taker_fee * PPB),
            latency_us=0,
            all_lanes=False,
            trace=False,
        )
        if spread is not None:
            settings = replace(
                settings, fill_model=FillModel.SPREAD, spread_ppm=round(spread * 100)
            )
        self._engine = exact.Engine(self._instrument, settings, shown=False)
        self._history: list[Snapshot] = []

    def step_tick(self, tick: Tick) -> None:
        """Apply one tick and add a snapshot to the history."""
        self.step_batch_numpy([tick.ts_ms], [tick.price_tick_i64], [tick.qty], [_side(tick.side)])

    def step_batch(
        self,
        timestamps: Sequence[int],
        price_ticks: Sequence[int],
        qtys: Sequence[float],
        sides: Sequence[int],
    ) -> None:
        """Apply ticks given as lists; `sides` are 0 for buyers and 1 for sellers."""
        self.step_batch_numpy(timestamps, price_ticks, qtys, sides)

    def step_batch_numpy(
        self, timestamps: ArrayLike, price_ticks: ArrayLike, qtys: ArrayLike, sides: ArrayLike
    ) -> None:
        """Apply ticks given as columns of one length, and add a snapshot to the history.

        Raises KernelError, with nothing applied, when a row is no valid trade; InputError for
        numbers that are none, and for quantities finer than 10**-8.
        """
        side = np.asarray(sides, np.int64)
        if not np.isin(side, (0, 1)).all():
            raise InputError("sides must be 0 for buyers or 1 for sellers")
        columns = PlainColumns(
            ts_us=np.ascontiguousarray(np.asarray(timestamps, np.int64) * MS_US),
            price_ticks=np.ascontiguousarray(np.asarray(price_ticks, np.int64) * self._grid_ticks),
            qty_lots=_lots(np.asarray(qtys, np.float64)),
            side=np.where(side == 0, trades.BUY, trades.SELL).astype(np.int8),
        )
        self._engine.apply(columns)
        if len(columns.ts_us):
            self._history.append(self.get_snapshot())

    def place_order(self, order: Order) -> int:
        """Place an order and return its id; it trades with ticks later than the last one.

        Raises KernelError or InputError when it is no order.
        """
        kind: str = order.order_type
        if kind not in ("MARKET", "LIMIT") or (kind == "LIMIT") == (order.price is None):
            raise InputError("an order is MARKET without a price, or LIMIT with one")
        request = orders.Request(
            side=trades.BUY if _side(order.side) == 0 else trades.SELL,
            qty_lots=int(_lots(np.array([order.qty]))[0]),
            limit_ticks=0 if order.price is None else self._ticks(order.price),
        )
        return self._engine.orders.place(request)[0]

    def cancel_order(self, order_id: int) -> None:
        """Cancel an open order; raises KernelError UNKNOWN_ORDER when it is not open."""
        self._engine.orders.cancel(order_id)

    def get_open_orders(self) -> list[Order]:
        """Return the open orders with what remains of them, oldest first."""
        found = []
        for row in self._engine.orders.open():
            limit = int(row["request"]["price_ticks"])
            found.append(
                Order(
                    order_type="LIMIT" if limit else "MARKET",
                    side=_name(int(row["request"]["side"])),
                    qty=int(row["lanes"]["remaining_lots"][Lane.BASE]) / 10.0**QTY_DECIMALS,
                    price=self._price(limit) if limit else None,
                    order_id=int(row["order_id"]),
                )
            )
        return found

    def get_snapshot(self) -> Snapshot:
        """Return the account now."""
        snap = self._engine.snapshot
        position = int(snap["position_lots"])
        cost = i128(snap["cost_atoms"]) / self._money
        held = position / 10.0**QTY_DECIMALS
        return Snapshot(
            ts_ms=int(snap["stream_us"]) // MS_US,
            cash=i128(snap["cash_atoms"]) / self._money,
            position=held,
            avg_entry_price=cost / held if position else 0.0,
            realized_pnl=i128(snap["realized_atoms"]) / self._money,
            unrealized_pnl=i128(snap["unrealized_atoms"]) / self._money,
            equity=i128(snap["equity_atoms"]) / self._money,
        )

    def get_history(self) -> list[Snapshot]:
        """Return the snapshots behind each step so far."""
        return list(self._history)

    def get_fills(self) -> list[Fill]:
        """Return all fills, oldest first."""
        return [self._fill(row) for row in self._engine.ledger.fills.all()]

    def get_trades(self) -> list[dict[str, Any]]:
        """Return all fills as dictionaries."""
        return [{name: getattr(fill, name) for name in Fill.__slots__} for fill in self.get_fills()]

    def _fill(self, row: np.void) -> Fill:
        return Fill(
            ts_ms=int(row["ts_us"]) // MS_US,
            order_id=int(row["order_id"]),
            side=_name(int(row["side"])),
            price=self._price(int(row["price_ticks"])),
            qty=int(row["qty_lots"]) / 10.0**QTY_DECIMALS,
            fee=i128(row["fee_atoms"]) / self._money,
            role=cast("Literal['MAKER', 'TAKER']", Role(int(row["role"])).name),
        )

    def _price(self, grid_ticks: int) -> float:
        return grid_ticks / 10.0**self._instrument.price_decimals

    def _ticks(self, price: float) -> int:
        exact_price = _decimal(price, "price").scaleb(self._instrument.price_decimals)
        if exact_price != exact_price.to_integral_value() or exact_price % self._grid_ticks:
            raise InputError(f"price {price} is no multiple of {self.config.tick_size}")
        return int(exact_price)


def _decimal(value: float, name: str) -> Decimal:
    try:
        found = Decimal(str(value))
    except InvalidOperation:
        raise InputError(f"{name} must be a number, was {value!r}") from None
    if not found.is_finite():
        raise InputError(f"{name} must be a number, was {value!r}")
    return found


def _lots(qtys: NDArray[np.float64]) -> NDArray[np.int64]:
    scaled = qtys * 10.0**QTY_DECIMALS
    lots = np.rint(scaled)
    with np.errstate(invalid="ignore"):
        wrong = np.abs(scaled - lots) > 1e-6 * np.maximum(np.abs(scaled), 1.0)
    wrong |= ~np.isfinite(qtys)
    wrong |= np.abs(scaled) >= 2.0**53
    if wrong.any():
        row = int(np.argmax(wrong))
        raise InputError(f"quantity {qtys[row]} of row {row} is no multiple of 10**-{QTY_DECIMALS}")
    return lots.astype(np.int64)


def _side(name: str) -> int:
    if name.upper() not in ("BUY", "SELL"):
        raise InputError(f"a side is BUY or SELL, not {name!r}")
    return 0 if name.upper() == "BUY" else 1


def _name(side: int) -> SideName:
    return "BUY" if side > 0 else "SELL"
