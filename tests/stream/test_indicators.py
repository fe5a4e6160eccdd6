"""Indicators against slow formulas written anew, and the past against changed futures."""

import itertools
import math
import statistics
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowtape.stream import indicators, volatility
from flowtape.stream.config import EngineConfig
from flowtape.stream.engine import Engine
from flowtape.stream.errors import InputError
from flowtape.stream.orderflow import OrderFlow, TimeBars
from flowtape.stream.records import BAR, RECENT, SESSION, i128
from tests.stream.tapes import INSTRUMENT, make_columns

Bars = np.ndarray[Any, Any]


def bars_of(seed: int, count: int) -> Bars:
    rng = np.random.default_rng(seed)
    bars = np.zeros(count, BAR)
    prices = 10_000 + np.cumsum(rng.integers(-30, 31, (count, 4)).reshape(-1)).reshape(count, 4)
    bars["open_ticks"], bars["close_ticks"] = prices[:, 0], prices[:, 3]
    bars["high_ticks"], bars["low_ticks"] = prices.max(axis=1), prices.min(axis=1)
    bars["buy_lots"], bars["sell_lots"] = rng.integers(0, 1000, (2, count))
    bars["sell_lots"] += 1
    return bars


SERIES: dict[str, Callable[[Bars], Bars]] = {
    "realized": lambda b: volatility.realized(b, 5),
    "parkinson": lambda b: volatility.parkinson(b, 5),
    "garman_klass": lambda b: volatility.garman_klass(b, 5),
    "rogers_satchell": lambda b: volatility.rogers_satchell(b, 5),
    "yang_zhang": lambda b: volatility.yang_zhang(b, 5),
    "ewma": lambda b: volatility.ewma(b, 0.9),
    "atr": lambda b: indicators.atr(b, 5),
    "obv": indicators.obv,
    "mfi": lambda b: indicators.mfi(b, 5),
    "cumulative_delta": indicators.cumulative_delta,
    "true_range": indicators.true_range,
    "vwap": indicators.vwap,
}


@pytest.mark.parametrize("name", SERIES)
@given(seed=st.integers(0, 99), past=st.integers(0, 40), future=st.integers(0, 40))
def test_the_future_changes_no_past_value(name: str, seed: int, past: int, future: int) -> None:
    """So a value taken as its bar closes is the one that the whole history gives."""
    bars = np.concatenate([bars_of(seed, past), bars_of(seed + 1, future)])
    whole = SERIES[name](bars)
    assert len(whole) == past + future
    assert np.array_equal(SERIES[name](bars[:past]), whole[:past], equal_nan=True)


def slow_volatility(name: str, bars: Bars, i: int) -> float:
    """One value at bar i by the textbook, with lists and `statistics`."""
    window = bars[i - 4 : i + 1]
    rows = [
        [math.log(float(b[f"{f}_ticks"])) for f in ("open", "high", "low", "close")] for b in window
    ]
    before = math.log(float(bars[i - 5]["close_ticks"])) if i >= 5 else math.nan
    closes = [before, *(c for _, _, _, c in rows)]
    returns = [b - a for a, b in itertools.pairwise(closes)]
    rs = [(h - c) * (h - o) + (low - c) * (low - o) for o, h, low, c in rows]
    if name == "realized":
        return math.sqrt(statistics.fmean(r * r for r in returns))
    if name == "parkinson":
        return math.sqrt(sum((h - low) ** 2 for _, h, low, _ in rows) / (5 * 4 * math.log(2)))
    if name == "garman_klass":
        terms = [(h - low) ** 2 / 2 - (2 * math.log(2) - 1) * (c - o) ** 2 for o, h, low, c in rows]
        return math.sqrt(statistics.fmean(terms))
    if name == "rogers_satchell":
        return math.sqrt(statistics.fmean(rs))
    jumps = [row[0] - close for row, close in zip(rows, closes, strict=False)]
    k = 0.34 / (1.34 + 6 / 4)
    body = statistics.variance([c - o for o, _, _, c in rows])
    return math.sqrt(statistics.variance(jumps) + k * body + (1 - k) * statistics.fmean(rs))


@pytest.mark.parametrize(
    "name", ["realized", "parkinson", "garman_klass", "rogers_satchell", "yang_zhang"]
)
def test_volatility_equals_the_textbook(name: str) -> None:
    bars = bars_of(3, 60)
    found = SERIES[name](bars)
    needs_close = name in {"realized", "yang_zhang"}
    first = 5 if needs_close else 4
    assert np.isnan(found[:first]).all()
    assert not np.isnan(found[first:]).any()
    for i in range(first, 60):
        assert found[i] == pytest.approx(slow_volatility(name, bars, i), rel=1e-9)


def test_volatility_finds_that_of_a_random_walk() -> None:
    """A year of bars whose returns have a known deviation; every estimator comes close."""
    rng = np.random.default_rng(1)
    steps = rng.normal(0, 0.01 / math.sqrt(500), (4000, 500))
    path = 20.0 + np.cumsum(steps.reshape(-1)).reshape(4000, 500)
    ticks = np.rint(np.exp(path) * 1000).astype(np.int64)
    bars = np.zeros(4000, BAR)
    bars["open_ticks"], bars["close_ticks"] = ticks[:, 0], ticks[:, -1]
    bars["high_ticks"], bars["low_ticks"] = ticks.max(axis=1), ticks.min(axis=1)
    for name in ("realized", "parkinson", "garman_klass", "rogers_satchell", "yang_zhang"):
        function = getattr(volatility, name)
        assert function(bars, 3999)[-1] == pytest.approx(0.01, rel=0.08), name
    assert volatility.annualized(np.array([0.01]), 365)[0] == pytest.approx(0.191, abs=0.001)


def test_ewma_equals_its_weights() -> None:
    bars = bars_of(5, 30)
    squares = np.diff(np.log(bars["close_ticks"].astype(float))) ** 2
    weights = 0.9 ** np.arange(len(squares))[::-1]
    weights[1:] *= 0.1
    expected = math.sqrt(float((weights * squares).sum()))
    assert volatility.ewma(bars, 0.9)[-1] == pytest.approx(expected)


def test_atr_obv_and_mfi_equal_slow_loops() -> None:
    bars = bars_of(7, 50)
    atr = obv = 0.0
    ranges: list[float] = []
    flows: list[tuple[float, float]] = []
    found = {name: SERIES[name](bars) for name in ("atr", "obv", "mfi")}
    for i, bar in enumerate(bars):
        high, low, close = (int(bar[f"{f}_ticks"]) for f in ("high", "low", "close"))
        lots = int(bar["buy_lots"] + bar["sell_lots"])
        before = int(bars[i - 1]["close_ticks"]) if i else None
        ranges.append(
            high - low if before is None else max(high - low, abs(high - before), abs(low - before))
        )
        if i == 4:
            atr = sum(ranges) / 5
        elif i > 4:
            atr = (atr * 4 + ranges[-1]) / 5
        if before is not None:
            obv += lots * ((close > before) - (close < before))
            old = sum(int(bars[i - 1][f"{f}_ticks"]) for f in ("high", "low", "close"))
            new = high + low + close
            flows.append((new * lots * (new > old), new * lots * (new < old)))
        if i >= 4:
            assert found["atr"][i] == pytest.approx(atr)
        assert int(found["obv"][i]) == obv
        if i >= 5:
            up, down = (sum(f[side] for f in flows[-5:]) for side in (0, 1))
            assert found["mfi"][i] == pytest.approx(100 - 100 / (1 + up / down) if down else 100)


def play(span_us: int, columns: Any) -> Engine:
    engine = Engine(
        INSTRUMENT,
        EngineConfig(bars=(TimeBars(span_us, row_ticks=1),), orderflow=OrderFlow(vwap=True)),
    )
    engine.apply(columns)
    return engine


def test_resampled_bars_equal_longer_ones_of_the_kernel() -> None:
    columns = make_columns(5000, seed=4)
    columns.qty_lots[::7] *= 1 << 32  # notional beyond 64 bits
    short, long = play(1_000_000, columns), play(7_000_000, columns)
    for engine in (short, long):
        engine.end()
    found = indicators.resample(short.ledger.bars.all(), 7_000_000)
    assert found.tobytes() == long.ledger.bars.all().tobytes()
    assert max(i128(b["notional_ticklots"]) for b in found) > 1 << 64
    assert len(indicators.resample(found[:0], 7_000_000)) == 0


def test_profile_of_all_rows_is_the_sessions_profile() -> None:
    engine = play(1_000_000, make_columns(3000, seed=6))
    engine.end()
    rows = engine.ledger.series[0].footprint_rows.all()
    profile = engine.view.read_profile
    assert profile is not None
    found = indicators.profile_of_rows(rows, 1)
    assert found.tobytes() == profile().tobytes()
    area = indicators.value_area(found)
    inside = (found["price_ticks"] >= area["low_ticks"]) & (
        found["price_ticks"] <= area["high_ticks"]
    )
    lots = found["buy_lots"] + found["sell_lots"]
    assert int(lots[inside].sum()) == int(area["area_lots"]) >= 0.7 * int(area["total_lots"])
    assert int(found["price_ticks"][lots.argmax()]) == int(area["poc_ticks"])
    wide = indicators.profile_of_rows(rows, 5)
    assert wide["buy_lots"].sum() == found["buy_lots"].sum()
    assert set(np.diff(wide["price_ticks"])) == {5}


def test_bands_equal_weighted_statistics() -> None:
    columns = make_columns(2000, seed=2)
    engine = play(1_000_000, columns)
    session = engine._kernel.session().view(SESSION)[0]
    bands = indicators.vwap_bands(session["vwap"], (1.0, 2.5))
    assert bands is not None
    price, lots = columns.price_ticks.astype(float), columns.qty_lots
    mean = float(np.average(price, weights=lots))
    deviation = math.sqrt(float(np.average((price - mean) ** 2, weights=lots)))
    assert bands.vwap == pytest.approx(mean, rel=1e-12)
    assert bands.deviation == pytest.approx(deviation, rel=1e-9)
    assert bands.upper[1] - bands.lower[1] == pytest.approx(5 * deviation, rel=1e-9)
    assert indicators.vwap_bands(session["anchors"][3]) is None


def test_recent_flow_as_ratios() -> None:
    recent = np.zeros(1, RECENT)[0]
    assert indicators.imbalance(recent) == 0.0
    assert indicators.intensity(recent) == (0.0, 0.0)
    for name, value in (("span_us", 2_000_000), ("buy_lots", 30), ("sell_lots", 10)):
        recent[name] = value
    recent["trade_count"] = 8
    assert indicators.imbalance(recent) == 0.5
    assert indicators.intensity(recent) == (4.0, 20.0)


def test_impossible_settings_are_refused() -> None:
    bars = bars_of(1, 5)
    for call in (
        lambda: volatility.realized(bars, 0),
        lambda: volatility.yang_zhang(bars, 1),
        lambda: volatility.ewma(bars, 1.0),
        lambda: indicators.atr(bars, 0),
        lambda: indicators.resample(bars, 0),
        lambda: indicators.profile_of_rows(bars, 0),
    ):
        with pytest.raises(InputError):
            call()
