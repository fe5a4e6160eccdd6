"""Figures of a session, by hand and against the files that people get."""

import csv
import io
import json
import math
from dataclasses import dataclass, field
from decimal import Decimal
from typing import ClassVar

import numpy as np
import pytest

from flowtape.replay import metrics
from flowtape.replay.backtest import metrics_json, result_of
from flowtape.replay.result_tables import equity_table, fills_table
from flowtape.stream.config import SECOND_US, Decide, EngineConfig
from flowtape.stream.engine import Engine
from flowtape.stream.execution import Lane
from flowtape.stream.ledger import Ledger
from flowtape.stream.records import EQUITY, FILL
from flowtape.stream.strategy import Market, Orders, Strategy
from tests.stream.tapes import INSTRUMENT, make_columns

GRID_US = 10 * SECOND_US


@dataclass
class Book:
    """A ledger written by hand; money is in atoms."""

    ledger: Ledger = field(default_factory=Ledger)

    def fill(self, input_: int, side: int, qty: int, realized: int, fees: int) -> "Book":
        """Add a fill and the equity point that it makes; realized P&L and fees are totals."""
        one = np.zeros(1, FILL)
        one["input"], one["side"], one["qty_lots"] = input_, side, qty
        one["lane"] = Lane.BASE
        self.ledger.append("fills", one)
        return self.point(input_, 0, realized, fees)

    def point(self, input_: int, equity: int, realized: int = 0, fees: int = 0) -> "Book":
        """Add an equity point."""
        one = np.zeros(1, EQUITY)
        one["input"] = input_
        for name, value in (("equity", equity), ("realized", realized), ("fees", fees)):
            one[f"{name}_atoms"]["lo"] = value % 2**64
            one[f"{name}_atoms"]["hi"] = value >> 64
        self.ledger.append("equity", one)
        return self


def test_a_round_trip_ends_flat_and_pays_the_fees_of_its_fills() -> None:
    book = Book().fill(1, 1, 5, 0, 3).fill(2, 1, 5, 0, 6).fill(3, -1, 4, 40, 8)
    assert metrics.round_trips(book.ledger) == []
    book.fill(4, -1, 6, 100, 11)
    assert metrics.round_trips(book.ledger) == [89]
    book.fill(9, -1, 2, 100, 12).fill(10, 1, 2, 70, 13)
    assert metrics.round_trips(book.ledger) == [89, -32]


def test_a_fill_that_turns_the_position_over_ends_a_trip_with_its_fee() -> None:
    book = Book().fill(1, 1, 5, 0, 1).fill(2, -1, 8, 50, 4).fill(3, 1, 3, 20, 5)
    assert metrics.round_trips(book.ledger) == [46, -31]


def test_money_beyond_64_bits_is_exact() -> None:
    huge = 3 * 2**70 + 1
    book = Book().fill(1, -1, 1, 0, 0).fill(2, 1, 1, -huge, 2)
    assert metrics.round_trips(book.ledger) == [-huge - 2]


def test_points_of_fills_among_points_of_the_grid() -> None:
    # Input 5 filled twice, then its grid point; input 6 has a grid point alone; 7 filled three
    # times and is followed by two points of the grid that later inputs crossed.
    book = Book().point(2, 10).fill(5, 1, 1, 0, 0).fill(5, 1, 1, 0, 0).point(5, 11).point(6, 12)
    book.fill(7, -1, 1, 0, 0).fill(7, -1, 1, 0, 0).fill(7, 1, 1, 0, 0).point(7, 13).point(8, 14)
    assert metrics.points_of_fills(book.ledger).tolist() == [1, 2, 5, 6, 7]
    assert metrics.points_of_fills(Book().point(1, 1).ledger).tolist() == []
    assert metrics.points_of_fills(Ledger()).tolist() == []


def test_max_drawdown() -> None:
    def of(*curve: float) -> float:
        return metrics.max_drawdown(np.array(curve, np.float64))

    assert of(100, 110, 99, 120, 90, 130) == pytest.approx(0.25)
    assert of(100, 101, 102) == 0.0
    assert of(100) == 0.0
    assert of(100, -50) == pytest.approx(1.5)


def test_sharpe_needs_points_that_vary() -> None:
    def of(*curve: int, grid_us: int = GRID_US) -> float | None:
        book = Book()
        for i, equity in enumerate(curve):
            book.point(i + 1, equity)
        return metrics.sharpe(book.ledger, grid_us)

    assert of() is None
    assert of(100, 101) is None
    assert of(100, 100, 100) is None
    assert of(100, 0, 100) is None
    assert of(100, 101, 103, grid_us=0) is None
    returns = np.array([0.01, 2 / 101])
    expected = returns.mean() / returns.std(ddof=1) * math.sqrt(metrics.YEAR_US / GRID_US)
    assert of(100, 101, 103) == pytest.approx(expected)


def test_sharpe_leaves_out_the_points_of_fills() -> None:
    plain = Book().point(1, 100).point(2, 110).point(3, 105)
    traded = (
        Book().point(1, 100).fill(2, 1, 1, 0, 0).point(2, 110).fill(3, 1, 1, 0, 0).point(3, 105)
    )
    assert metrics.sharpe(plain.ledger, GRID_US) is not None
    assert metrics.sharpe(traded.ledger, GRID_US) == metrics.sharpe(plain.ledger, GRID_US)


@dataclass
class Restless(Strategy):
    """Buys, sells, adds, turns over, and leaves orders of several sizes at several prices."""

    decide: ClassVar[Decide] = Decide(trades_count=37, on_fill=True)

    seed: int = 1

    def on_start(self, market: Market) -> None:
        self._step = self.seed

    def on_decision(self, market: Market, orders: Orders) -> None:
        self._step = (self._step * 1_103_515_245 + 12_345) % 2**31
        draw = self._step >> 8
        for order in orders.open()[:2]:
            orders.cancel(int(order["order_id"]))
        act = orders.buy if market.position_lots <= 0 else orders.sell
        qty_lots = 1 + draw % 40_000
        if draw % 5 == 0 and market.position_lots:
            qty_lots = abs(market.position_lots)
        if draw % 3:
            act(qty_lots)
        else:
            act(qty_lots, market.last_ticks + draw % 7 - 3)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_files_hold_all_that_the_metrics_say(seed: int) -> None:
    config = EngineConfig(
        equity_grid_us=GRID_US, maker_fee_ppb=-100_000, taker_fee_ppb=750_000, initial_cash="50000"
    )
    engine = Engine(INSTRUMENT, config, Restless(seed), shown=False)
    engine.apply(make_columns(20_000, seed=seed))
    engine.end()
    result = result_of(engine)
    said = json.loads(metrics_json(result))
    every = list(csv.DictReader(io.StringIO(fills_table(result).csv())))
    fills = [fill for fill in every if fill["lane"] == "base"]
    points = list(csv.DictReader(io.StringIO(equity_table(result).csv())))
    assert len(fills) == said["fill_count"] > 100
    assert {fill["role"] for fill in fills} == {"maker", "taker"}

    mark = Decimal(int(engine.snapshot["last_ticks"])).scaleb(-INSTRUMENT.price_decimals)
    for lane in ("optimistic", "pessimistic", "base"):
        name = "" if lane == "base" else f"_{lane}"
        cash, position, fees, volume = Decimal(50_000), Decimal(0), Decimal(0), Decimal(0)
        for fill in every:
            if fill["lane"] == lane:
                signed = Decimal(fill["qty"]) * (1 if fill["side"] == "buy" else -1)
                cash -= signed * Decimal(fill["price"]) + Decimal(fill["fee"])
                position += signed
                fees += Decimal(fill["fee"])
                volume += abs(signed) * Decimal(fill["price"])
        assert Decimal(said[f"net_pnl{name}"]) == cash + position * mark - 50_000
    assert Decimal(said["final_equity"]) == cash + position * mark
    assert Decimal(said["fees"]) == fees
    assert Decimal(said["volume"]) == volume

    curve = [Decimal(50_000), *(Decimal(p["equity"]) for p in points), cash + position * mark]
    peak, fall = curve[0], Decimal(0)
    for equity in curve:
        peak = max(peak, equity)
        fall = max(fall, (peak - equity) / peak)
    assert said["max_drawdown"] == pytest.approx(float(fall), rel=1e-12)
    assert said["total_return"] == pytest.approx(float(curve[-1] / curve[0] - 1), abs=1e-12)

    trips = trips_of(fills)
    assert len(trips) == said["round_trips"] > 20
    assert said["win_rate"] == sum(trip > 0 for trip in trips) / len(trips)
    won, lost = sum(t for t in trips if t > 0), -sum(t for t in trips if t < 0)
    assert said["profit_factor"] == pytest.approx(float(won / lost), rel=1e-4)


def trips_of(fills: list[dict[str, str]]) -> list[Decimal]:
    """Return round trips by average cost, in decimals; a turning fill pays its fee at the end."""
    trips: list[Decimal] = []
    position, average, running = Decimal(0), Decimal(0), Decimal(0)
    for fill in fills:
        price, qty = Decimal(fill["price"]), Decimal(fill["qty"])
        signed = qty if fill["side"] == "buy" else -qty
        running -= Decimal(fill["fee"])
        before = position
        position += signed
        if before * signed >= 0:
            average = (average * abs(before) + price * qty) / abs(position)
            continue
        closed = min(abs(before), qty)
        running += (price - average) * closed * (1 if before > 0 else -1)
        if before * position <= 0:
            trips.append(running)
            running, average = Decimal(0), price
    return trips
