"""Runs of trades that happened, with what was once worked out about them."""

from collections.abc import Callable, Hashable
from dataclasses import fields
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from flowtape.stream.trades import Trades

_T = TypeVar("_T")


class Piece:
    """At least one trade, in the order of ids; none of it changes."""

    def __init__(self, trades: Trades) -> None:
        self.trades = trades
        self._known: dict[Hashable, Any] = {}

    def __len__(self) -> int:
        return len(self.trades)

    @cached_property
    def first_us(self) -> int:
        """The lowest trade time."""
        return int(self.trades.ts_us.min())

    @cached_property
    def last_us(self) -> int:
        """The highest trade time."""
        return int(self.trades.ts_us.max())

    def once(self, key: Hashable, make: Callable[[Trades], _T]) -> _T:
        """Return what `make` says of the trades, which is asked once for each key."""
        if key not in self._known:
            self._known[key] = make(self.trades)
        found: _T = self._known[key]
        return found

    def slice(self, start: int, stop: int) -> "Piece":
        """Return rows [start, stop)."""
        return Piece(self.trades.slice(start, stop))

    def between(self, start_us: int, end_us: int) -> "Piece | None":
        """Return what happened between two times, both inclusive; None when nothing did."""
        if start_us <= self.first_us and self.last_us <= end_us:
            return self
        if self.last_us < start_us or self.first_us > end_us:
            return None
        times = self.trades.ts_us
        inside = picked(self.trades, (times >= start_us) & (times <= end_us))
        return Piece(inside) if len(inside) else None


def picked(part: Trades, rows: NDArray[np.bool_] | NDArray[np.intp]) -> Trades:
    """Return the rows of trades that are named by a mask or by numbers."""
    return Trades(*(getattr(part, column.name)[rows] for column in fields(part)))
