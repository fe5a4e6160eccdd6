"""How fast to ask and how long to wait before trying again; pure, time is an argument."""

import random
from collections.abc import Awaitable, Callable

Sleep = Callable[[float], Awaitable[None]]

PAUSE_UNNAMED_S = 60.0

OWN_SHARE = 0.5
"""The part of the weight limit used; the rest is for whatever else runs behind the address."""

CONNECTS_PER_MINUTE, CONNECTS_AT_ONCE = 36, 64
"""Binance cuts an address off after 300 attempts in five minutes; others may share it with us."""


class TokenBucket:
    """Spend request weight at a steady rate, with a small burst."""

    def __init__(self, rate_per_s: float, burst: float) -> None:
        self._rate_per_s = rate_per_s
        self._burst = burst
        self._tokens = burst
        self._filled_us: int | None = None

    def spend(self, weight: int, now_us: int) -> float:
        """Spend `weight` and return how many seconds to wait before using it."""
        if self._filled_us is not None:
            earned = (now_us - self._filled_us) / 1e6 * self._rate_per_s
            self._tokens = min(self._burst, self._tokens + earned)
        self._filled_us = now_us
        self._tokens -= weight
        return max(0.0, -self._tokens / self._rate_per_s)


class Allowance:
    """What may be asked of a venue from one address, shared by all sources behind it.

    Attributes:
        weight: of queries.
        connects: attempts to open a connection.
        free_us: nothing is to be queried before this, by the clock of those who share it.
    """

    def __init__(self, weight_per_minute: int) -> None:
        per_s = weight_per_minute * OWN_SHARE / 60
        self.weight = TokenBucket(per_s, burst=6 * per_s)
        self.connects = TokenBucket(CONNECTS_PER_MINUTE / 60, burst=CONNECTS_AT_ONCE)
        self.free_us = 0


class Backoff:
    """Full-jitter exponential delays: uniform between nothing and a bound that doubles."""

    def __init__(self, base_s: float, cap_s: float, rng: random.Random) -> None:
        self._base_s = base_s
        self._cap_s = cap_s
        self._rng = rng
        self.failures = 0

    def next_s(self, at_least_s: float = 0.0) -> float:
        """Count a failure and return how long to wait after it."""
        bound_s = min(self._cap_s, self._base_s * 2.0 ** min(self.failures, 32))
        self.failures += 1
        return at_least_s + self._rng.uniform(0.0, bound_s)

    def reset(self) -> None:
        """Forget the failures, as after a link proved itself."""
        self.failures = 0


def pause_named_s(retry_after: str | None) -> float:
    """Return the seconds of a `Retry-After` header, a minute when it names none."""
    if retry_after is not None and retry_after.isascii() and retry_after.isdecimal():
        return float(retry_after)
    return PAUSE_UNNAMED_S
