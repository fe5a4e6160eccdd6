"""The venue's memory: trades still to come, and those that have happened."""

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np

from flowtape.connectors.binance.rows import Row, rows_of
from flowtape.connectors.venue.faults import Backdate, Rewrite
from flowtape.connectors.venue.pieces import Piece, picked
from flowtape.stream.trades import Trades

KEPT_ROWS = 10_000_000


class VenueMarket:
    """Trades ascending by id, of which a growing part has happened.

    What has happened stays available for queries, up to `kept_rows` trades and `kept_us` of time.
    `now_us` is the highest trade time so far, 0 before the first.
    """

    def __init__(
        self,
        trades: Trades | Iterable[Trades],
        *,
        kept_rows: int = KEPT_ROWS,
        kept_us: int | None = None,
    ) -> None:
        parts = [trades] if isinstance(trades, Trades) else trades
        self._coming = (part for part in parts if len(part))
        self._kept_us = kept_us
        self._shift_us = 0
        self._rewrites: list[Rewrite] = []
        self._past: list[Piece] = []
        self._lost: set[int] = set()
        self._open: Trades | None = None
        self._open_at = 0
        self._unhappened_part()
        self.kept_rows = kept_rows
        self.hidden_rows = 0
        self.now_us = 0
        self.last_id: int | None = None

    @property
    def next_us(self) -> int | None:
        """Return the time of the next trade, or None when there is none."""
        if self._open is None:
            return None
        return int(self._open.ts_us[self._open_at])

    @property
    def next_id(self) -> int | None:
        """Return the id of the next trade, or None when there is none."""
        if self._open is None:
            return None
        return int(self._open.agg_id[self._open_at])

    def shift(self, by_us: int) -> None:
        """Move all times, of trades that happened and of those to come."""
        self._set_apart()
        self._past = [Piece(_moved(piece.trades, by_us)) for piece in self._past]
        self.postpone(by_us)
        if self.now_us:
            self.now_us += by_us

    def postpone(self, by_us: int) -> None:
        """Move the times of trades to come."""
        self._set_apart()
        self._shift_us += by_us
        if self._open is not None:
            self._open = _moved(self._open, by_us)

    def advance(
        self, count: int, until_us: int | None = None, before_id: int | None = None
    ) -> Trades:
        """Let up to `count` trades happen, none later than `until_us`, and return them.

        It stops before the trade `before_id`, unless that is the next one, which happens alone.
        """
        happened: list[Trades] = []
        left = count
        while left and self._open is not None:
            stop = min(len(self._open), self._open_at + left)
            if before_id is not None:
                stop = min(stop, int(np.searchsorted(self._open.agg_id, before_id)))
                stop = stop if happened else max(stop, self._open_at + 1)
            piece = self._open.slice(self._open_at, stop)
            if until_us is not None:
                late = piece.ts_us > until_us
                if late.any():
                    piece = piece.slice(0, int(late.argmax()))
            if not len(piece):
                break
            happened.append(piece)
            left -= len(piece)
            self._open_at += len(piece)
            if self._open_at == len(self._open):
                self._past.append(Piece(self._open))
                self._unhappened_part()
            elif until_us is not None or before_id is not None:
                break
        if not happened:
            return Trades.empty()
        trades = happened[0] if len(happened) == 1 else Trades.concat(happened)
        self.now_us = max(self.now_us, int(trades.ts_us.max()))
        self.last_id = int(trades.agg_id[-1])
        return trades

    def lose(self, ids: Iterable[int]) -> None:
        """Leave ids out of every answer from now on."""
        self._lost.update(ids)

    def rewrite(self, fault: Rewrite) -> None:
        """Change trades before they happen."""
        self._rewrites.append(fault)
        if self._open is not None:
            self._open = _rewritten(self._open, fault)

    def from_id(self, agg_id: int, limit: int) -> list[Row]:
        """Return up to `limit` trades that happened, from `agg_id` on."""
        pieces = self.happened()
        first = bisect_left(pieces, agg_id, key=lambda piece: int(piece.trades.agg_id[-1]))
        rows: list[Row] = []
        for piece in pieces[first:]:
            trades = self.kept(piece.trades)
            start = int(np.searchsorted(trades.agg_id, agg_id))
            rows += rows_of(trades.slice(start, start + limit - len(rows)))
            if len(rows) == limit:
                break
        return rows

    def from_time(self, start_us: int, end_us: int, limit: int) -> list[Row]:
        """Return the oldest `limit` trades that happened between two times, both inclusive."""
        rows: list[Row] = []
        for piece in self.between(start_us, end_us):
            rows += rows_of(piece.trades.slice(0, limit - len(rows)))
            if len(rows) == limit:
                break
        return rows

    def newest(self, limit: int, end_us: int | None = None) -> list[Row]:
        """Return the newest `limit` trades that happened, none later than `end_us`."""
        rows: list[Row] = []
        for piece in reversed(self.happened()):
            early = piece if end_us is None else piece.between(piece.first_us, end_us)
            if early is None:
                continue
            kept = self.kept(early.trades)
            rows = rows_of(kept.slice(max(0, len(kept) - limit + len(rows)), len(kept))) + rows
            if len(rows) == limit:
                break
        return rows

    def between(self, start_us: int, end_us: int) -> Iterator[Piece]:
        """Yield what happened between two times, both inclusive, oldest first."""
        for piece in self.happened():
            inside = piece.between(start_us, end_us)
            if inside is not None and self._lost:
                kept = self.kept(inside.trades)
                inside = Piece(kept) if len(kept) else None
            if inside is not None:
                yield inside

    def happened(self) -> list[Piece]:
        """Return what has happened and is kept, oldest first."""
        pieces = list(self._past)
        if self._open is not None and self._open_at:
            pieces.append(Piece(self._open.slice(0, self._open_at)))
        spare = sum(map(len, pieces)) - self.kept_rows
        while pieces and spare > 0:
            gone = min(spare, len(pieces[0]))
            spare -= gone
            pieces[:1] = [pieces[0].slice(gone, len(pieces[0]))] if gone < len(pieces[0]) else []
        if self._kept_us is not None:
            oldest_us = self.now_us - self._kept_us
            while pieces and pieces[0].last_us < oldest_us:
                del pieces[0]
            if pieces and pieces[0].first_us < oldest_us:
                recent = int((pieces[0].trades.ts_us >= oldest_us).argmax())
                pieces[0] = pieces[0].slice(recent, len(pieces[0]))
        hidden = self.hidden_rows
        while pieces and hidden > 0:
            last = pieces.pop()
            if hidden < len(last):
                pieces.append(last.slice(0, len(last) - hidden))
            hidden -= len(last)
        return pieces

    def kept(self, part: Trades) -> Trades:
        """Return trades without those that were lost."""
        if not self._lost:
            return part
        lost = np.fromiter(self._lost, np.int64, len(self._lost))
        return picked(part, ~np.isin(part.agg_id, lost))

    def _set_apart(self) -> None:
        """Keep what happened apart from what is to come."""
        if self._open is not None and self._open_at:
            self._past.append(Piece(self._open.slice(0, self._open_at)))
            self._open, self._open_at = self._open.slice(self._open_at, len(self._open)), 0

    def _unhappened_part(self) -> None:
        self._open, self._open_at = next(self._coming, None), 0
        if self._open is not None:
            if self._shift_us:
                self._open = _moved(self._open, self._shift_us)
            for fault in self._rewrites:
                self._open = _rewritten(self._open, fault)
        while self._past and self._beyond_keeping():
            del self._past[0]

    def _beyond_keeping(self) -> bool:
        kept = sum(map(len, self._past)) - len(self._past[0])
        oldest_us = None if self._kept_us is None else self.now_us - self._kept_us
        return kept >= self.kept_rows or (
            oldest_us is not None and self._past[0].last_us < oldest_us
        )


def _moved(part: Trades, by_us: int) -> Trades:
    return replace(part, ts_us=part.ts_us + by_us)


def _rewritten(part: Trades, fault: Rewrite) -> Trades:
    inside = (part.agg_id >= fault.from_id) & (part.agg_id <= fault.to_id)
    if not inside.any():
        return part
    if isinstance(fault, Backdate):
        return replace(part, ts_us=np.where(inside, part.ts_us - fault.by_ms * 1_000, part.ts_us))
    return replace(
        part,
        price_ticks=np.where(inside, 0, part.price_ticks),
        qty_lots=np.where(inside, 0, part.qty_lots),
        first_id=np.where(inside, -1, part.first_id),
        last_id=np.where(inside, -1, part.last_id),
    )
