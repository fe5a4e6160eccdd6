"""Synthetic tapes against the ranges that recordings of liquid symbols show.

Ranges are those of several recordings of LTCUSDT, BTCUSDT and ETHUSDT on spot and of contracts on
USD-M, between 2024 and 2026; the extremes stand beside the checks.
"""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from flowtape.replay.generate import GeneratorConfig, generate
from flowtape.replay.schema import ColumnsDigest
from flowtape.stream.errors import InputError
from flowtape.stream.limits import PRICE_TICKS_MAX
from flowtape.stream.trades import Trades

COUNT = 400_000
PRESETS = ("coarse", "fine")


@pytest.fixture(scope="module")
def tapes() -> dict[str, Trades]:
    return {
        name: Trades.concat(
            list(generate(GeneratorConfig.preset(name), seed=11, trades_count=COUNT))
        )
        for name in PRESETS
    }


@pytest.fixture(params=PRESETS)
def tape(request: pytest.FixtureRequest, tapes: dict[str, Trades]) -> Trades:
    return tapes[request.param]


def per_second(tape: Trades) -> NDArray[np.int64]:
    return np.bincount((tape.ts_us - tape.ts_us[0]) // 1_000_000)


def same_time(tape: Trades) -> NDArray[np.bool_]:
    return np.diff(tape.ts_us) == 0


def autocorrelation(side: NDArray[np.int8], lag: int) -> float:
    centred = side - side.mean()
    return float((centred[lag:] * centred[:-lag]).mean() / centred.var())


def test_columns_are_a_valid_tape(tape: Trades) -> None:
    assert len(tape) == COUNT
    assert np.all(np.diff(tape.agg_id) == 1)
    assert np.all(np.diff(tape.ts_us) >= 0)
    assert np.all((tape.price_ticks >= 1) & (tape.price_ticks < PRICE_TICKS_MAX))
    assert np.all(tape.qty_lots >= 1)
    assert np.all(tape.last_id >= tape.first_id)
    assert np.all(tape.first_id[1:] == tape.last_id[:-1] + 1)
    assert set(np.unique(tape.side)) == {-1, 1}
    assert tape.side.dtype == np.int8
    assert all(c.dtype == np.int64 for c in (tape.ts_us, tape.price_ticks, tape.qty_lots))


def test_trades_come_in_bursts(tape: Trades) -> None:
    counts = per_second(tape)
    assert 18 <= counts.var() / counts.mean() <= 183  # 18.1 .. 183.4; Poisson has 1
    assert 1.3 <= counts.mean() <= 31  # 1.3 .. 30.4
    assert 10 <= counts.max() / counts.mean() <= 550  # 12 .. 548
    assert 0 <= np.mean(counts == 0) <= 0.51  # 0 .. 50.5 %
    tenths = np.bincount((tape.ts_us - tape.ts_us[0]) // 100_000)
    assert tenths.max() >= 70  # 70 .. 540


def test_sweeps_share_a_time(tape: Trades) -> None:
    assert 0.12 <= same_time(tape).mean() <= 0.57  # 12.0 .. 56.7 %
    runs = np.diff(np.flatnonzero(np.concatenate([[True], ~same_time(tape), [True]])))
    assert 1.13 <= runs.mean() <= 2.31  # 1.136 .. 2.307
    assert 13 <= runs.max() <= 420  # 13 .. 416


def test_a_sweep_has_one_side_and_walks_one_way(tape: Trades) -> None:
    same = same_time(tape)
    mixed = (np.diff(tape.side) != 0) & same
    against = (np.diff(tape.price_ticks) * tape.side[1:] < 0) & same
    assert mixed.sum() / same.sum() <= 0.03  # 3 % of the times with several rows
    assert against.sum() / same.sum() <= 0.005  # below 0.5 %


def test_sides_persist(tape: Trades) -> None:
    expected = {1: (0.40, 0.67), 2: (0.28, 0.65), 5: (0.14, 0.58), 10: (0.08, 0.50)}
    for lag, (least, most) in expected.items():
        assert least <= autocorrelation(tape.side, lag) <= most, f"lag {lag}"
    assert 0.05 <= autocorrelation(tape.side, 50) <= 0.33  # 0.054 .. 0.325
    falling = [autocorrelation(tape.side, lag) for lag in (1, 2, 5, 10, 20, 50)]
    assert falling == sorted(falling, reverse=True)
    assert 0.40 <= np.mean(tape.side < 0) <= 0.58  # 40 .. 58 % buyer was maker


def test_price_moves_fit_the_tick(tapes: dict[str, Trades]) -> None:
    coarse = np.abs(np.diff(tapes["coarse"].price_ticks))
    assert 0.22 <= np.mean(coarse == 0) <= 0.51  # 22.0 .. 50.9 %
    assert 0.42 <= np.mean(coarse == 1) <= 0.65  # 42.1 .. 65.2 %
    assert 0.69 <= np.mean(coarse <= 1) <= 0.985  # 69 .. 98 %
    assert np.mean(coarse > 20) <= 0.017  # 0 .. 1.7 %
    fine = np.abs(np.diff(tapes["fine"].price_ticks))
    assert 0.30 <= np.mean(fine == 0) <= 0.41  # 30.9 and 40.2 %
    assert 0.24 <= np.mean(fine == 1) <= 0.31  # 24.7 and 30.2 %
    assert 0.15 <= np.mean(fine > 20) <= 0.25  # 16.0 and 23.8 %
    assert 411 <= np.quantile(fine, 0.999) <= 1_600  # 411 and 1,599
    for tape in tapes.values():
        moves = np.diff(tape.price_ticks).astype(float)
        assert -0.27 <= np.corrcoef(moves[1:], moves[:-1])[0, 1] <= 0.19  # -0.264 .. 0.187


def test_levels_of_a_fine_book_are_sparse(tapes: dict[str, Trades]) -> None:
    price = tapes["fine"].price_ticks[:5_000]
    assert len(np.unique(price)) < 0.4 * (price.max() - price.min())  # 0.09 .. 0.35


def test_sizes_have_a_heavy_tail_and_bot_spikes(tape: Trades) -> None:
    lots = np.sort(tape.qty_lots)
    assert 1.67 <= np.log(lots).std() <= 2.5  # 1.678 .. 2.494
    assert 0.19 <= lots[-COUNT // 100 :].sum() / lots.sum() <= 0.51  # 19 .. 51 %
    _, counts = np.unique(lots, return_counts=True)
    assert 0.02 <= counts.max() / COUNT <= 0.29  # 2 .. 29 %
    fills = tape.last_id - tape.first_id + 1
    assert 1.17 <= fills.mean() <= 3.97  # 1.176 .. 3.97
    assert 0.29 <= np.mean(fills == 1) <= 0.90


def test_the_market_has_quiet_and_wild_hours(tape: Trades) -> None:
    minute = (tape.ts_us - tape.ts_us[0]) // 60_000_000
    counts = np.bincount(minute)
    starts = np.searchsorted(minute, np.arange(len(counts)))
    starts = starts[counts > 0]
    high = np.maximum.reduceat(tape.price_ticks, starts)
    low = np.minimum.reduceat(tape.price_ticks, starts)
    spans = (high - low).astype(float)
    quiet, wild = np.quantile(spans, [0.1, 0.9])
    assert wild > 3 * max(quiet, 1)
    calm = np.log1p(spans) - np.log1p(spans).mean()
    assert (calm[1:] * calm[:-1]).mean() / calm.var() > 0.15  # volatility clusters
    ten_minutes = tape.price_ticks[starts][::10]
    assert (ten_minutes.max() - ten_minutes.min()) / ten_minutes[0] > 0.005


def digest(config: GeneratorConfig, seed: int, count: int) -> str:
    found = ColumnsDigest()
    for piece in generate(config, seed=seed, trades_count=count):
        found.update(piece)
    return found.hexdigest()


@pytest.mark.parametrize("name", PRESETS)
def test_a_seed_names_one_market(name: str) -> None:
    config = GeneratorConfig.preset(name)
    assert digest(config, 3, 20_000) == digest(config, 3, 20_000)
    assert digest(config, 3, 20_000) != digest(config, 4, 20_000)
    assert digest(config, 3, 20_000) != digest(replace(config, burst_ppm=0), 3, 20_000)


def test_a_longer_tape_begins_like_a_shorter_one(tapes: dict[str, Trades]) -> None:
    config = GeneratorConfig.preset("fine")
    short = Trades.concat(list(generate(config, seed=11, trades_count=12_345)))
    assert len(short) == 12_345
    assert np.array_equal(short.price_ticks, tapes["fine"].price_ticks[:12_345])


def test_no_trades_are_none() -> None:
    assert list(generate(GeneratorConfig.preset("fine"), seed=1, trades_count=0)) == []


def test_an_unknown_preset_is_named() -> None:
    with pytest.raises(InputError, match="'medium' is not a kind of market"):
        GeneratorConfig.preset("medium")
