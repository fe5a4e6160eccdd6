"""The venue's memory: trades still to come, and those that have happened."""

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import fields

import numpy as np
from numpy.typing import NDArray

from flowtape.connectors.binance.rows import Row, rows_of
from flowtape.stream.trades import Trades


class VenueMarket:
    """Trades ascending by id, of which a growing part has happened.

    Everything that has happened stays available for queries. `now_us` is the highest trade time so
    far, 0 before the first.
    """

    def __init__(self, trades: Trades | Iterable[Trades]) -> None:
        parts = [trades] if isinstance(trades, Trades) else trades
        self._coming = (part for part in parts if len(part))
        self._past: list[Trades] = []
        self._open: Trades | None = next(self._coming, None)
        self._open_at = 0
        self._lost: set[int] = set()
        self.now_us = 0
        self.last_id: int | None = None

    @property
    def next_us(self) -> int | None:
        """Return the time of the next trade, or None when there is none."""
        if self._open is None:
            return None
        return int(self._open.ts_us[self._open_at])

    def advance(self, count: int, until_us: int | None = None) -> list[Row]:
        """Let up to `count` trades happen, none later than `until_us`, and return them."""
        happened: list[Row] = []
        while count > len(happened) and self._open is not None:
            stop = min(len(self._open), self._open_at + count - len(happened))
            piece = self._open.slice(self._open_at, stop)
            if until_us is not None:
                late = np.flatnonzero(piece.ts_us > until_us)
                if len(late):
                    piece = piece.slice(0, int(late[0]))
            happened.extend(rows_of(piece))
            self._open_at += len(piece)
            if self._open_at == len(self._open):
                self._past.append(self._open)
                self._open, self._open_at = next(self._coming, None), 0
            elif not len(piece) or until_us is not None:
                break
        if happened:
            self.now_us = max(self.now_us, *(row.ts_us for row in happened))
            self.last_id = happened[-1].agg_id
        return happened

    def lose(self, ids: Iterable[int]) -> None:
        """Leave ids out of every answer from now on."""
        self._lost.update(ids)

    def from_id(self, agg_id: int, limit: int) -> list[Row]:
        """Return up to `limit` trades that happened, from `agg_id` on."""
        parts = list(self._happened())
        first = bisect_left(parts, agg_id, key=lambda part: int(part.agg_id[-1]))
        return self._oldest(
            (
                part.slice(int(np.searchsorted(part.agg_id, agg_id)), len(part))
                for part in parts[first:]
            ),
            limit,
        )

    def from_time(self, start_us: int, end_us: int, limit: int) -> list[Row]:
        """Return the oldest `limit` trades that happened between two times, both inclusive."""
        return self._oldest(
            (
                _where(part, (part.ts_us >= start_us) & (part.ts_us <= end_us))
                for part in self._happened()
            ),
            limit,
        )

    def newest(self, limit: int, end_us: int | None = None) -> list[Row]:
        """Return the newest `limit` trades that happened, none later than `end_us`."""
        rows: list[Row] = []
        for part in reversed(list(self._happened())):
            early = part if end_us is None else _where(part, part.ts_us <= end_us)
            kept = self._kept(early)
            rows = rows_of(kept.slice(max(0, len(kept) - limit + len(rows)), len(kept))) + rows
            if len(rows) == limit:
                break
        return rows

    def _oldest(self, parts: Iterable[Trades], limit: int) -> list[Row]:
        rows: list[Row] = []
        for part in parts:
            kept = self._kept(part)
            rows += rows_of(kept.slice(0, limit - len(rows)))
            if len(rows) == limit:
                break
        return rows

    def _happened(self) -> Iterator[Trades]:
        yield from self._past
        if self._open is not None and self._open_at:
            yield self._open.slice(0, self._open_at)

    def _kept(self, part: Trades) -> Trades:
        if not self._lost:
            return part
        lost = np.fromiter(self._lost, np.int64, len(self._lost))
        return _where(part, ~np.isin(part.agg_id, lost))


def _where(part: Trades, wanted: NDArray[np.bool_]) -> Trades:
    return Trades(*(getattr(part, column.name)[wanted] for column in fields(part)))
