"""Order flow through the engine: settings, ledger, digest, and what a strategy sees."""

from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowtape.stream.config import Decide, EngineConfig
from flowtape.stream.engine import Engine
from flowtape.stream.errors import InputError, KernelError
from flowtape.stream.orderflow import (
    Absorption,
    BarSeries,
    DeltaBars,
    DollarBars,
    Exhaustion,
    LargeBubbles,
    OrderFlow,
    RecentTime,
    Sweeps,
    TickBars,
    TickImbalanceBars,
    TickRunBars,
    TimeBars,
    VolumeBars,
    VolumeRunBars,
)
from flowtape.stream.records import i128, u192
from flowtape.stream.strategy import Market, Orders, Strategy
from tests.stream.tapes import INSTRUMENT, make_columns

COLUMNS = make_columns(4000, seed=8)
LOTS = int(COLUMNS.qty_lots.sum())
MEAN_LOTS = LOTS // len(COLUMNS)
BARS: tuple[BarSeries, ...] = (
    TimeBars(1_000_000, row_ticks=5),
    TickBars(100),
    VolumeBars(50 * MEAN_LOTS, row_ticks=3),
    DollarBars(50 * MEAN_LOTS * int(COLUMNS.price_ticks[0])),
    DeltaBars(10 * MEAN_LOTS),
    TickImbalanceBars(10),
    TickRunBars(30),
    VolumeRunBars(30 * MEAN_LOTS),
)
CONFIG = EngineConfig(
    bars=BARS,
    bubble_band_ticks=3,
    orderflow=OrderFlow(
        vwap=True,
        recent_time=RecentTime(),
        large_bubbles=LargeBubbles(window_count=200, ppm=900_000, min_count=10),
        size_class_lots=(MEAN_LOTS, 10 * MEAN_LOTS),
        recent_trades_count=50,
        sweeps=Sweeps(2, window_us=1000),
        absorption=Absorption(2 * MEAN_LOTS, 10_000_000, 2),
        exhaustion=Exhaustion(1, 2),
    ),
)


@dataclass
class Watcher(Strategy):
    """Writes down all that it is shown."""

    decide: ClassVar[Decide] = Decide(grid_us=700_000)

    seen: list[bytes] = field(default_factory=list)

    def on_decision(self, market: Market, orders: Orders) -> None:
        if len(self.seen) == 5:
            market.set_anchor(1)
        self.seen.append(market.new_bubbles.tobytes())
        self.seen.append(market.session.tobytes() + market.marks.tobytes())
        for i in range(len(BARS)):
            self.seen.append(market.bars_of(i)[-3:].tobytes() + market.open_bar(i).tobytes())
            footprint, rows = market.open_footprint(i)
            self.seen.append(footprint.tobytes() + rows.tobytes())
            self.seen.append(market.footprints_of(i)[-2:].tobytes())
            self.seen.append(market.footprint_rows_of(i)[-9:].tobytes())


def play(cuts: list[int], *, shown: bool = True) -> Engine:
    engine = Engine(INSTRUMENT, CONFIG, Watcher(), shown=shown)
    at = turn = 0
    while at < len(COLUMNS):
        size = cuts[turn % len(cuts)]
        engine.apply(COLUMNS.slice(at, at + size))
        at, turn = at + size, turn + 1
    engine.end()
    return engine


@pytest.fixture(scope="module")
def whole() -> Engine:
    return play([len(COLUMNS)])


def seen_by(engine: Engine) -> list[bytes]:
    assert isinstance(engine.strategy, Watcher)
    assert len(engine.strategy.seen) > 100
    return engine.strategy.seen


@given(cuts=st.lists(st.integers(1, 900), min_size=1, max_size=5), shown=st.booleans())
@settings(max_examples=max(12, settings().max_examples // 4))
def test_cuts_and_looks_change_nothing_a_strategy_sees(
    whole: Engine, cuts: list[int], *, shown: bool
) -> None:
    engine = play(cuts, shown=shown)
    assert seen_by(engine) == seen_by(whole)
    assert engine.digest() == whole.digest()


@pytest.mark.parametrize("at", [1, 777, 2500, 3999])
def test_a_strategy_sees_the_same_behind_a_checkpoint(whole: Engine, at: int) -> None:
    engine = Engine(INSTRUMENT, CONFIG, Watcher())
    engine.apply(COLUMNS.slice(0, at))
    checkpoint = engine.checkpoint()
    engine.apply(COLUMNS.slice(at, 4000))
    engine.restore(checkpoint)
    engine.apply(COLUMNS.slice(at, 4000))
    engine.end()
    assert seen_by(engine) == seen_by(whole)
    assert engine.digest() == whole.digest()


def test_ledger_holds_every_series(whole: Engine) -> None:
    for bars, history in zip(BARS, whole.ledger.series, strict=True):
        records = history.bars.all()
        assert len(records) > 5
        assert int(records["buy_lots"].sum() + records["sell_lots"].sum()) == LOTS
        rows = history.footprint_rows.all()
        if bars.row_ticks:
            assert len(history.footprints.all()) == len(records)
            assert int(rows["buy_lots"].sum() + rows["sell_lots"].sum()) == LOTS
            assert int(history.footprints.all()["row_count"].sum()) == len(rows)
        else:
            assert len(rows) == 0
    assert len(whole.ledger.marks.all()) > 10
    assert whole.view.series == whole.ledger.series


def test_session_agrees_with_numpy(whole: Engine) -> None:
    market = whole.market
    session = market.session
    price, qty = COLUMNS.price_ticks.astype(object), COLUMNS.qty_lots.astype(object)
    assert int(session["vwap"]["lots"]) == LOTS
    assert i128(session["vwap"]["notional_ticklots"]) == (price * qty).sum()
    assert u192(session["vwap"]["square_ticklots"]) == (price * price * qty).sum()
    classes = session["size_classes"]
    assert int((classes["buy_lots"] - classes["sell_lots"]).sum()) == market.delta_lots
    signed = (COLUMNS.qty_lots * COLUMNS.side)[-50:]
    recent = session["recent_trades"]
    assert int(recent["buy_lots"]) - int(recent["sell_lots"]) == int(signed.sum())
    large = whole.view.bubbles.since(0)
    threshold = large["threshold_lots"]
    assert np.array_equal(large["large"] == 1, (threshold > 0) & (large["qty_lots"] >= threshold))
    assert 0 < large["large"].mean() < 0.3


def test_a_series_more_is_told_by_the_digest() -> None:
    digests = set()
    for bars in (BARS[:1], BARS[:2], (TimeBars(1_000_000), *BARS[1:2])):
        engine = Engine(INSTRUMENT, replace(CONFIG, bars=bars))
        engine.apply(COLUMNS)
        digests.add(engine.digest())
    assert len(digests) == 3


def test_impossible_settings_are_refused_in_one_line() -> None:
    with pytest.raises(InputError, match="at most 8 series"):
        EngineConfig(bars=(TimeBars(1_000_000),) * 9)
    with pytest.raises(InputError, match="must be time bars"):
        EngineConfig(bars=(TickBars(5),))
    with pytest.raises(KernelError, match="out of its range"):
        Engine(INSTRUMENT, EngineConfig(bars=(TimeBars(1), TickBars(0))))
    with pytest.raises(InputError, match="at most 8"):
        Engine(INSTRUMENT, EngineConfig(orderflow=OrderFlow(size_class_lots=tuple(range(1, 10)))))
    with pytest.raises(KernelError, match="no such anchor"):
        Engine(INSTRUMENT, CONFIG)._kernel.anchor(4)


def test_without_anything_switched_on_there_are_still_bars() -> None:
    bare = OrderFlow(large_bubbles=None, vwap=False, recent_time=None)
    config = EngineConfig(bubbles=False, profile_rows_max=0, orderflow=bare)
    engine = Engine(INSTRUMENT, config)
    engine.apply(COLUMNS)
    engine.end()
    assert int(engine.snapshot["buy_lots"]) + int(engine.snapshot["sell_lots"]) == LOTS
    assert engine.view.bubbles.head == 0
    assert len(engine._kernel.profile()) == 0
