"""Integer quantile tables: random bits become distributions by indexing.

All entries are rounded integers and all draws are raw bits of the generator, so generated tapes
are the same on every machine and with every version of NumPy.
"""

import functools
import math
from collections.abc import Callable
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from flowtape.stream.trades import I64

TABLE_SIZE = 1 << 16
ONE = 1 << 16
"""Fixed-point 1.0 of tables and states."""


class Bits:
    """Raw random bits from a seed."""

    def __init__(self, seed: int) -> None:
        self._source = np.random.PCG64(seed)

    def u16(self, count: int) -> NDArray[np.uint16]:
        """Return `count` numbers, uniform over 0 .. 65535."""
        raw: NDArray[np.uint64] = self._source.random_raw((count + 3) // 4)
        return raw.astype("<u8").view("<u2")[:count]

    def one(self) -> int:
        """Return one number, uniform over 0 .. 65535."""
        return int(self._source.random_raw()) >> 48


def table(quantile: Callable[[float], float]) -> I64:
    """Return the rounded quantiles at the middle of each of 65536 equal steps."""
    steps = ((i + 0.5) / TABLE_SIZE for i in range(TABLE_SIZE))
    return np.fromiter((round(quantile(u)) for u in steps), np.int64, TABLE_SIZE)


@functools.cache
def normal_table() -> I64:
    """Return a standard normal variable in fixed point."""
    inverse = NormalDist().inv_cdf
    return table(lambda u: inverse(u) * ONE)


@functools.cache
def exponential_table() -> I64:
    """Return an exponential variable of mean 1 in fixed point."""
    return table(lambda u: -math.log1p(-u) * ONE)


def lognormal_table(median: float, log_sd: float) -> I64:
    """Return a lognormal variable, at least 1."""
    inverse = NormalDist().inv_cdf
    return table(lambda u: max(1.0, median * math.exp(log_sd * inverse(u))))


def pareto_table(least: float, exponent: float, most: int) -> I64:
    """Return a Pareto variable from `least` on, cut at `most`."""
    return table(lambda u: min(float(most), least * (1.0 - u) ** (-1.0 / exponent)))


def mostly_table(share_ppm: int, value: int, rest: I64) -> I64:
    """Return a variable that is `value` for a share of all draws and like `rest` otherwise."""
    fixed = TABLE_SIZE * share_ppm // 1_000_000
    picked = np.linspace(0, TABLE_SIZE - 1, TABLE_SIZE - fixed).astype(np.int64)
    return np.concatenate([np.full(fixed, value, np.int64), rest[picked]])


@functools.cache
def exp_table() -> I64:
    """Return exp(x) in fixed point for x = -4, -4 + 1/256 .. 4."""
    return np.array([round(math.exp(i / 256) * ONE) for i in range(-1024, 1025)], np.int64)


def exp_fixed(exponent: I64) -> I64:
    """Return exp of fixed-point exponents, cut to -4 .. 4."""
    factors: I64 = exp_table()[np.clip((exponent >> 8) + 1024, 0, 2048)]
    return factors
