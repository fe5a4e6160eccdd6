"""Limits of a paper account: how many orders it may place, and how far they may trail."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from flowtape.connectors.venue.queries import BadQueryError

TRAILING_BIPS = 10, 2_000
"""The least and the most that an order may trail by, in hundredths of a percent."""
MAKER_CREDIT, TAKER_CREDIT = 5, 1
"""By so much the first fill of an order lowers the count; Binance's example, no promise."""


@dataclass(frozen=True, slots=True)
class OrderLimit:
    """So many orders within an interval."""

    interval: str
    interval_num: int
    unit_s: int
    limit: int

    @property
    def span_us(self) -> int:
        """How long the interval is."""
        return self.interval_num * self.unit_s * 1_000_000

    def row(self) -> dict[str, Any]:
        """Return the limit as `exchangeInfo` tells it."""
        return {
            "rateLimitType": "ORDERS",
            "interval": self.interval,
            "intervalNum": self.interval_num,
            "limit": self.limit,
        }


ORDER_LIMITS = (OrderLimit("SECOND", 10, 1, 100), OrderLimit("DAY", 1, 86_400, 200_000))


class OrderCounts:
    """Orders placed in the current interval of each limit, less those that were filled.

    Args:
        now_us: a clock in microseconds; intervals begin at its multiples.
    """

    def __init__(self, now_us: Callable[[], int]) -> None:
        self._now_us = now_us
        self._intervals = [-1] * len(ORDER_LIMITS)
        self._counts = [0] * len(ORDER_LIMITS)

    def check(self, count: int) -> None:
        """Refuse so many more orders where they are too many."""
        self._turn()
        for limit, placed in zip(ORDER_LIMITS, self._counts, strict=True):
            if placed + count > limit.limit:
                raise BadQueryError(
                    -1015,
                    f"Too many new orders; current limit is {limit.limit} orders per "
                    f"{limit.interval_num} {limit.interval}.",
                    status=429,
                )

    def add(self, count: int) -> None:
        """Count orders that were placed."""
        self._turn()
        self._counts = [placed + count for placed in self._counts]

    def filled(self, *, is_maker: bool) -> None:
        """Take in the first fill of an order."""
        self._turn()
        credit = MAKER_CREDIT if is_maker else TAKER_CREDIT
        self._counts = [max(0, placed - credit) for placed in self._counts]

    def rows(self) -> list[dict[str, Any]]:
        """Return the limits with their counts."""
        self._turn()
        return [
            limit.row() | {"count": placed}
            for limit, placed in zip(ORDER_LIMITS, self._counts, strict=True)
        ]

    def headers(self) -> dict[str, str]:
        """Return the headers that tell the counts."""
        return {
            f"x-mbx-order-count-{row['intervalNum']}{row['interval'][0].lower()}": str(row["count"])
            for row in self.rows()
        }

    def _turn(self) -> None:
        """Begin anew where an interval is over."""
        now_us = self._now_us()
        for at, limit in enumerate(ORDER_LIMITS):
            interval = now_us // limit.span_us
            if interval != self._intervals[at]:
                self._intervals[at], self._counts[at] = interval, 0
