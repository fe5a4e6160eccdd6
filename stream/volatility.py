"""Volatility of bars: what needs logarithms and roots, from the kernel's exact bars.

Every function takes records of `records.BAR`, oldest first, and returns one float for each bar: the
standard deviation of one bar's log return, worked out of that bar and those before it alone. The
first values, which lack history, are NaN. `annualized` scales to a year. Bars of a time series are
taken as they are: spans without trades have none.
"""

import numpy as np
from numpy.typing import NDArray

from flowtape.stream.errors import InputError
from flowtape.stream.records import Records

Floats = NDArray[np.float64]


def realized(bars: Records, window: int) -> Floats:
    """Return the root mean square of the last `window` close-to-close returns."""
    return _root(_mean(_returns(bars) ** 2, window))


def parkinson(bars: Records, window: int) -> Floats:
    """Return Parkinson's estimate from the ranges of the last `window` bars."""
    span = _log(bars["high_ticks"]) - _log(bars["low_ticks"])
    return _root(_mean(span**2 / (4.0 * np.log(2.0)), window))


def garman_klass(bars: Records, window: int) -> Floats:
    """Return Garman and Klass' estimate from open, high, low and close of `window` bars."""
    span = _log(bars["high_ticks"]) - _log(bars["low_ticks"])
    body = _log(bars["close_ticks"]) - _log(bars["open_ticks"])
    return _root(_mean(0.5 * span**2 - (2.0 * np.log(2.0) - 1.0) * body**2, window))


def rogers_satchell(bars: Records, window: int) -> Floats:
    """Return Rogers and Satchell's estimate, which allows for drift, of `window` bars."""
    return _root(_mean(_rogers_satchell_terms(bars), window))


def yang_zhang(bars: Records, window: int) -> Floats:
    """Return Yang and Zhang's estimate of at least 2 bars, with the jumps between them."""
    if window < 2:
        raise InputError(f"a window of at least 2 bars is needed, was {window}")
    opens, closes = _log(bars["open_ticks"]), _log(bars["close_ticks"])
    jumps = np.full(len(bars), np.nan)
    jumps[1:] = opens[1:] - closes[:-1]
    weight = 0.34 / (1.34 + (window + 1) / (window - 1))
    return _root(
        _sample_variance(jumps, window)
        + weight * _sample_variance(closes - opens, window)
        + (1.0 - weight) * _mean(_rogers_satchell_terms(bars), window)
    )


def ewma(bars: Records, decay: float = 0.94) -> Floats:
    """Return the exponentially weighted volatility: variance = decay x before + rest x return^2.

    It starts with the first return's square.
    """
    if not 0.0 <= decay < 1.0:
        raise InputError(f"a decay lies from 0 to below 1, was {decay}")
    out = np.full(len(bars), np.nan)
    variance = np.nan
    for i, square in enumerate(_returns(bars) ** 2):
        variance = square if np.isnan(variance) else decay * variance + (1.0 - decay) * square
        out[i] = variance
    return _root(out)


def annualized(volatility: Floats, bars_per_year: float) -> Floats:
    """Return the volatility of a year of so many bars."""
    scaled: Floats = volatility * np.sqrt(bars_per_year)
    return scaled


def rolling_sum(values: Floats, window: int) -> Floats:
    """Return the sum of each value and the `window` - 1 before it; NaN where they are too few.

    Terms are added oldest first, so a sum does not depend on what lies outside its window.
    """
    if window < 1:
        raise InputError(f"a window of at least 1 bar is needed, was {window}")
    out = np.full(len(values), np.nan)
    if len(values) >= window:
        count = len(values) - window + 1
        total = values[:count].astype(np.float64)
        for offset in range(1, window):
            total = total + values[offset : offset + count]
        out[window - 1 :] = total
    return out


def _mean(values: Floats, window: int) -> Floats:
    return rolling_sum(values, window) / window


def _sample_variance(values: Floats, window: int) -> Floats:
    """Around the window's mean; two passes, so that close values lose nothing."""
    means = _mean(values, window)
    out = np.full(len(values), np.nan)
    if len(values) >= window:
        count = len(values) - window + 1
        total = np.zeros(count)
        for offset in range(window):
            total += (values[offset : offset + count] - means[window - 1 :]) ** 2
        out[window - 1 :] = total / (window - 1)
    return out


def _log(ticks: NDArray[np.int64]) -> Floats:
    return np.log(ticks.astype(np.float64))


def _returns(bars: Records) -> Floats:
    out = np.full(len(bars), np.nan)
    closes = _log(bars["close_ticks"])
    out[1:] = closes[1:] - closes[:-1]
    return out


def _rogers_satchell_terms(bars: Records) -> Floats:
    opens, closes = _log(bars["open_ticks"]), _log(bars["close_ticks"])
    highs, lows = _log(bars["high_ticks"]), _log(bars["low_ticks"])
    return (highs - closes) * (highs - opens) + (lows - closes) * (lows - opens)


def _root(variance: Floats) -> Floats:
    """Rounding can leave a variance of nothing a hair below zero."""
    return np.sqrt(np.maximum(variance, 0.0))
