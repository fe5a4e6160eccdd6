"""Figures of a finished session, from its ledger alone."""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from flowtape.stream.config import EngineConfig, atoms_per_ticklot, money_decimals
from flowtape.stream.instrument import Instrument
from flowtape.stream.ledger import Ledger
from flowtape.stream.records import i128, i128_float

YEAR_US = 365 * 24 * 3600 * 1_000_000


@dataclass(frozen=True, slots=True)
class Metrics:
    """Results in the quote asset; money is exact decimal text, ratios are floats.

    Attributes:
        initial_cash: what the account began with.
        final_equity: cash and the open position at the last price.
        net_pnl: final equity minus initial cash, in the base lane.
        net_pnl_optimistic: the same under the optimistic assumptions about fills.
        net_pnl_pessimistic: the same under the pessimistic ones.
        realized_pnl: of closed quantity, before fees.
        fees: paid; negative when rebates outweigh.
        total_return: net P&L over initial cash.
        max_drawdown: largest fall of equity from its peak, as a fraction of the peak.
        sharpe: mean over deviation of the returns between equity points on the grid, a year's worth
            of them; none without variation.
        fill_count: fills.
        round_trips: times the position came back to flat or turned over.
        win_rate: fraction of round trips that earned more than their fees.
        profit_factor: money won over money lost in round trips; none when nothing was lost.
        average_trip: net P&L of a round trip.
        volume: notional traded.
    """

    initial_cash: str
    final_equity: str
    net_pnl: str
    net_pnl_optimistic: str
    net_pnl_pessimistic: str
    realized_pnl: str
    fees: str
    total_return: float
    max_drawdown: float
    sharpe: float | None
    fill_count: int
    round_trips: int
    win_rate: float | None
    profit_factor: float | None
    average_trip: str | None
    volume: str


def measure(
    instruments: Sequence[Instrument], config: EngineConfig, ledger: Ledger, snapshot: np.void
) -> Metrics:
    """Return the metrics of a session whose stream has ended."""
    decimals = money_decimals(*instruments)

    def money(atoms: int) -> str:
        return f"{Decimal(atoms).scaleb(-decimals):f}"

    initial = int(Decimal(config.initial_cash).scaleb(decimals))
    final = i128(snapshot["equity_atoms"])
    trips = round_trips(ledger)
    won = sum(trip for trip in trips if trip > 0)
    lost = -sum(trip for trip in trips if trip < 0)
    fills = ledger.fills.all()
    atoms = [atoms_per_ticklot(one, decimals) for one in instruments]
    notional = sum(
        int(f["price_ticks"]) * int(f["qty_lots"]) * atoms[int(f["market"])] for f in fills
    )
    curve = np.append(i128_float(ledger.equity.all()["equity_atoms"]), float(final))
    return Metrics(
        initial_cash=money(initial),
        final_equity=money(final),
        net_pnl=money(final - initial),
        net_pnl_optimistic=money(i128(snapshot["optimistic_atoms"]) - initial),
        net_pnl_pessimistic=money(i128(snapshot["pessimistic_atoms"]) - initial),
        realized_pnl=money(i128(snapshot["realized_atoms"])),
        fees=money(i128(snapshot["fees_atoms"])),
        total_return=(final - initial) / initial if initial else 0.0,
        max_drawdown=max_drawdown(np.append(float(initial), curve)),
        sharpe=sharpe(ledger, config.equity_grid_us),
        fill_count=len(fills),
        round_trips=len(trips),
        win_rate=sum(trip > 0 for trip in trips) / len(trips) if trips else None,
        profit_factor=won / lost if lost else None,
        average_trip=money(sum(trips) // len(trips)) if trips else None,
        volume=money(notional),
    )


def round_trips(ledger: Ledger) -> list[int]:
    """Return the net P&L in atoms of each stretch from flat to flat, or to the other side.

    Each instrument has stretches of its own. A fill that turns the position over ends a stretch;
    its fee belongs to that stretch.
    """
    trips: list[int] = []
    positions: defaultdict[int, int] = defaultdict(int)
    earned: defaultdict[int, int] = defaultdict(int)
    booked = 0
    points = ledger.equity.all()[points_of_fills(ledger)]
    for fill, point in zip(ledger.fills.all(), points, strict=True):
        market = int(fill["market"])
        net = i128(point["realized_atoms"]) - i128(point["fees_atoms"])
        earned[market] += net - booked
        booked = net
        before = positions[market]
        after = before + int(fill["side"]) * int(fill["qty_lots"])
        if before and (after == 0 or (after > 0) != (before > 0)):
            trips.append(earned.pop(market))
        positions[market] = after
    return trips


def max_drawdown(curve: NDArray[np.float64]) -> float:
    """Return the largest fall of a curve from its running peak, as a fraction of the peak."""
    peaks = np.maximum.accumulate(curve)
    falls = np.divide(peaks - curve, peaks, out=np.zeros_like(curve), where=peaks > 0)
    return float(falls.max(initial=0.0))


def sharpe(ledger: Ledger, grid_us: int) -> float | None:
    """Return the annualised Sharpe ratio of the points on the equity grid, over a rate of zero.

    Returns None with fewer than three points or no variation.
    """
    if grid_us <= 0:
        return None
    on_grid = np.ones(ledger.equity.head, np.bool_)
    on_grid[points_of_fills(ledger)] = False
    curve = i128_float(ledger.equity.all()[on_grid]["equity_atoms"])
    if len(curve) < 3 or np.any(curve <= 0):
        return None
    returns = np.diff(curve) / curve[:-1]
    deviation = float(returns.std(ddof=1))
    if deviation == 0:
        return None
    return float(returns.mean()) / deviation * math.sqrt(YEAR_US / grid_us)


def points_of_fills(ledger: Ledger) -> NDArray[np.int64]:
    """Return the index of the equity point that each fill made; all others lie on the grid.

    A fill's points come before a grid point of the same input, which is taken when the next input
    crosses the grid.
    """
    inputs = ledger.equity.all()["input"]
    fills = ledger.fills.all()["input"]
    first = np.searchsorted(inputs, fills)
    # Fills of one input made as many points, one behind the other.
    return first + np.arange(len(fills)) - np.searchsorted(fills, fills)
