"""Indicators over bars and sums of the kernel: ranges, flows, bands, longer bars, profiles.

Each value depends on its own bar and those before it alone. Prices are in ticks and volume in lots;
what can be exact stays an integer.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flowtape import _kernel
from flowtape.stream.errors import InputError
from flowtape.stream.records import BAR, PROFILE_ROW, VALUE_AREA, Records, i128, u192
from flowtape.stream.volatility import Floats, rolling_sum

LIMB_BITS = 32
LIMB = np.uint64((1 << LIMB_BITS) - 1)
ROWS_MAX = 1 << 22


@dataclass(frozen=True, slots=True)
class Bands:
    """VWAP, the standard deviation around it weighted by volume, and prices at multiples of it.

    All in ticks; `lower` and `upper` go with the widths asked for.
    """

    vwap: float
    deviation: float
    lower: tuple[float, ...]
    upper: tuple[float, ...]


def vwap_bands(sums: np.void, widths: Sequence[float] = (1.0, 2.0)) -> Bands | None:
    """Return the bands of one record of `records.VWAP`; None before its first trade.

    The variance is square / lots - (notional / lots)^2, worked out in integers up to the root.
    """
    lots = int(sums["lots"])
    if lots == 0:
        return None
    notional = i128(sums["notional_ticklots"])
    spread = u192(sums["square_ticklots"]) * lots - notional * notional
    vwap, deviation = notional / lots, math.sqrt(spread) / lots
    return Bands(
        vwap,
        deviation,
        tuple(vwap - width * deviation for width in widths),
        tuple(vwap + width * deviation for width in widths),
    )


def volume(bars: Records) -> NDArray[np.int64]:
    """Return both sides' volume of each bar in lots."""
    total: NDArray[np.int64] = bars["buy_lots"] + bars["sell_lots"]
    return total


def delta(bars: Records) -> NDArray[np.int64]:
    """Return bought minus sold volume of each bar in lots."""
    difference: NDArray[np.int64] = bars["buy_lots"] - bars["sell_lots"]
    return difference


def cumulative_delta(bars: Records) -> NDArray[np.int64]:
    """Return the running sum of delta in lots."""
    return np.cumsum(delta(bars))


def vwap(bars: Records) -> Floats:
    """Return the volume-weighted average price of each bar in ticks."""
    notional = bars["notional_ticklots"]
    wide = notional["hi"].astype(np.float64) * 2.0**64 + notional["lo"].astype(np.float64)
    average: Floats = wide / volume(bars)
    return average


def true_range(bars: Records) -> NDArray[np.int64]:
    """Return the range of each bar, stretched to the close before it, in ticks."""
    high, low = bars["high_ticks"].copy(), bars["low_ticks"].copy()
    high[1:] = np.maximum(high[1:], bars["close_ticks"][:-1])
    low[1:] = np.minimum(low[1:], bars["close_ticks"][:-1])
    ranges: NDArray[np.int64] = high - low
    return ranges


def atr(bars: Records, period: int = 14) -> Floats:
    """Return Wilder's average true range in ticks.

    The first value, at bar `period` - 1, is the mean so far; each later one moves from the one
    before by 1 / period of the difference. NaN before.
    """
    if period < 1:
        raise InputError(f"a period of at least 1 bar is needed, was {period}")
    out = np.full(len(bars), np.nan)
    ranges = true_range(bars)
    if len(bars) < period:
        return out
    value = float(ranges[:period].sum()) / period
    out[period - 1] = value
    for i in range(period, len(bars)):
        value += (float(ranges[i]) - value) / period
        out[i] = value
    return out


def obv(bars: Records) -> NDArray[np.int64]:
    """Return on-balance volume in lots: volume up to a higher close, less that to a lower one."""
    out = np.zeros(len(bars), np.int64)
    out[1:] = np.cumsum(np.sign(np.diff(bars["close_ticks"])) * volume(bars)[1:])
    return out


def mfi(bars: Records, period: int = 14) -> Floats:
    """Return the money flow index, 0 to 100, of `period` changes of the typical price.

    A bar's flow is its typical price (high + low + close) / 3 times its volume, counted up or down
    as that price moves. NaN without history or when nothing moved.
    """
    typical = (bars["high_ticks"] + bars["low_ticks"] + bars["close_ticks"]).astype(np.float64)
    flow = typical * volume(bars)
    change = np.diff(typical, prepend=np.nan)
    unknown = np.isnan(change)
    up = rolling_sum(np.where(unknown, np.nan, np.where(change > 0, flow, 0.0)), period)
    down = rolling_sum(np.where(unknown, np.nan, np.where(change < 0, flow, 0.0)), period)
    moved = up + down
    share = np.full(len(bars), np.nan)
    np.divide(100.0 * up, moved, out=share, where=moved > 0)
    return share


def imbalance(recent: np.void) -> float:
    """Return (bought - sold) / volume of one record of `records.RECENT`; 0 without volume."""
    buy, sell = int(recent["buy_lots"]), int(recent["sell_lots"])
    return (buy - sell) / (buy + sell) if buy + sell else 0.0


def intensity(recent: np.void) -> tuple[float, float]:
    """Return trades and lots a second of one record of `records.RECENT` that spans time."""
    span_us = int(recent["span_us"])
    if span_us == 0:
        return 0.0, 0.0
    lots = int(recent["buy_lots"]) + int(recent["sell_lots"])
    return int(recent["trade_count"]) * 1e6 / span_us, lots * 1e6 / span_us


def resample(bars: Records, span_us: int) -> Records:
    """Make longer time bars of time bars, exactly; the last one may still grow.

    `span_us` must be a multiple of the bars' own span. `sequence` counts the new bars.
    """
    if span_us < 1:
        raise InputError(f"a span of at least 1 us is needed, was {span_us}")
    starts = bars["ts_us"] // span_us * span_us
    first = np.flatnonzero(np.diff(starts, prepend=-1))
    out = np.zeros(len(first), BAR)
    if len(first) == 0:
        return out
    last = np.append(first[1:], len(bars)) - 1
    out["ts_us"] = starts[first]
    for name in ("first_input", "open_ticks"):
        out[name] = bars[name][first]
    for name in ("last_ts_us", "last_input", "close_ticks"):
        out[name] = bars[name][last]
    out["high_ticks"] = np.maximum.reduceat(bars["high_ticks"], first)
    out["low_ticks"] = np.minimum.reduceat(bars["low_ticks"], first)
    for name in ("buy_lots", "sell_lots", "trade_count"):
        out[name] = np.add.reduceat(bars[name], first)
    lo, hi = bars["notional_ticklots"]["lo"], bars["notional_ticklots"]["hi"]
    low = np.add.reduceat(lo & LIMB, first)
    middle = np.add.reduceat(lo >> np.uint64(LIMB_BITS), first) + (low >> np.uint64(LIMB_BITS))
    out["notional_ticklots"]["lo"] = (middle << np.uint64(LIMB_BITS)) | (low & LIMB)
    carry = (middle >> np.uint64(LIMB_BITS)).astype(np.int64)
    out["notional_ticklots"]["hi"] = np.add.reduceat(hi, first) + carry
    out["sequence"] = np.arange(len(first))
    return out


def profile_of_rows(rows: Records, row_ticks: int) -> Records:
    """Add up footprint rows to volume by price, records of `records.PROFILE_ROW` from low to high.

    Rows without volume between them are included, as value areas need them. `row_ticks` must be a
    multiple of the rows' own widths. With the rows of the bars on a screen, this is the profile of
    the visible range.
    """
    if row_ticks < 1:
        raise InputError(f"rows are at least 1 tick wide, not {row_ticks}")
    if len(rows) == 0:
        return np.zeros(0, PROFILE_ROW)
    number = rows["price_ticks"] // row_ticks
    first = int(number.min())
    count = int(number.max()) - first + 1
    if count > ROWS_MAX:
        raise InputError(f"{count:,} rows of {row_ticks} ticks are too many; take wider ones")
    out = np.zeros(count, PROFILE_ROW)
    out["price_ticks"] = (first + np.arange(count)) * row_ticks
    for name in ("buy_lots", "sell_lots"):
        # bincount would pass through floats.
        np.add.at(out[name], number - first, rows[name])
    return out


def value_area(profile: Records, area_ppm: int = 700_000) -> np.void:
    """Return point of control and value area of a profile, one record of `records.VALUE_AREA`."""
    price, buy, sell = (
        np.ascontiguousarray(profile[name]) for name in ("price_ticks", "buy_lots", "sell_lots")
    )
    area: np.void = _kernel.value_area(price, buy, sell, area_ppm).view(VALUE_AREA)[0]
    return area
