"""What a venue demands of its clients, and the counting of it."""

import math
from collections import deque
from dataclasses import dataclass

BAN_AFTER = 50
"""So many queries over the limit within a minute turn 429 into a ban."""

BAN_S = 120

TOP_DIGITS = 9
"""Prices and quantities go up to ten to this power."""

NOTIONAL_MIN = 5
"""The least notional of an order, in the quote asset."""


@dataclass(frozen=True, slots=True)
class ConnectionRules:
    """What the venue demands of connections; Binance's own values for spot by default.

    `lifetime_s` is the age at which a connection is ended; `connects_max` how many connections may
    be asked for within `connects_s`. `deflate` compresses frames for clients that offer it.
    Source: binance-spot-api-docs, web-socket-streams.md, "General WSS information".
    """

    ping_s: float = 20.0
    pong_s: float = 60.0
    messages_per_s: int = 5
    streams_max: int = 1_024
    lifetime_s: float = 24 * 3600.0
    lifetime_code: int = 1000
    connects_max: int = 300
    connects_s: float = 300.0
    deflate: bool = False


def rules_of(market: str) -> ConnectionRules:
    """Return Binance's own rules for a market."""
    if market == "spot":
        return ConnectionRules()
    return ConnectionRules(ping_s=180.0, pong_s=600.0, messages_per_s=10)


@dataclass(frozen=True, slots=True)
class Overuse:
    """A query was one too many; the client is to stay away for `wait_s`."""

    wait_s: int
    banned: bool


class WeightMeter:
    """Request weight in fixed windows of a minute, and a ban for those who do not stop."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._window = -1
        self._refused = 0
        self._banned_until_s = -math.inf
        self.used = 0

    def charge(self, weight: int, now_s: float) -> Overuse | None:
        """Count a query; returns what is wrong when it goes over the limit."""
        if now_s < self._banned_until_s:
            return Overuse(math.ceil(self._banned_until_s - now_s), banned=True)
        window = int(now_s // 60)
        if window != self._window:
            self._window, self.used, self._refused = window, 0, 0
        self.used += weight
        if self.used <= self._limit:
            return None
        self._refused += 1
        if self._refused > BAN_AFTER:
            self._banned_until_s = now_s + BAN_S
            return Overuse(BAN_S, banned=True)
        return Overuse(math.ceil((window + 1) * 60 - now_s), banned=False)


class ConnectMeter:
    """Connections asked for within the last `span_s`."""

    def __init__(self, count_max: int, span_s: float) -> None:
        self._count_max = count_max
        self._span_s = span_s
        self._asked_s: deque[float] = deque()

    def charge(self, now_s: float) -> int | None:
        """Count an attempt; returns the seconds to wait when it is one too many."""
        while self._asked_s and self._asked_s[0] <= now_s - self._span_s:
            self._asked_s.popleft()
        self._asked_s.append(now_s)
        if len(self._asked_s) <= self._count_max:
            return None
        return math.ceil(self._asked_s[-self._count_max - 1] + self._span_s - now_s) or 1
