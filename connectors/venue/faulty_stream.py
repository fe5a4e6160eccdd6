"""Trades and faults in, what the venue does about them out."""

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from heapq import heappop, heappush

import numpy as np
from msgspec import json

from flowtape.connectors.venue.faults import (
    Backdate,
    Broken,
    Delay,
    Drop,
    Duplicate,
    Fault,
    Garble,
    GarbleKind,
    Renumber,
    Span,
    Standing,
    Void,
)
from flowtape.stream.trades import Trades

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """Send the frames of trades, all broken the same way if `garble` says how."""

    trades: Trades
    garble: GarbleKind | None = None


Action = Run | Broken | Standing


class FaultyStream:
    """The faults of one symbol's stream that are still to come."""

    def __init__(self) -> None:
        self._spans: list[Span] = []
        self._at: list[tuple[int, int, Fault]] = []
        self._injected = 0
        self._delayed: list[tuple[int, Trades]] = []
        self._count = 0

    def inject(self, fault: Fault) -> None:
        """Let a fault happen when its time comes."""
        if isinstance(fault, Drop | Void | Renumber):
            self._spans.append(fault)
        elif not isinstance(fault, Backdate):
            self._injected += 1
            heappush(self._at, (fault.at, self._injected, fault))

    @property
    def next_id(self) -> int | None:
        """Return the id at which the next fault happens, spans aside."""
        return self._at[0][0] if self._at else None

    def actions(self, trades: Trades) -> Iterator[Action]:
        """Return what to do for trades that just happened, in order.

        Trades that nothing is wrong with stay together.
        """
        start = 0
        if len(trades) and self._next_touched(trades, 0) == len(trades):
            self._count += len(trades)
            yield Run(trades)
            return
        for row in self._touched(trades):
            if start < row:
                self._count += row - start
                yield Run(trades.slice(start, row))
            yield from self._row_actions(trades.slice(row, row + 1))
            start = row + 1
        if start < len(trades):
            self._count += len(trades) - start
            yield Run(trades.slice(start, len(trades)))

    def _touched(self, trades: Trades) -> Iterable[int]:
        """Yield the rows that faults may concern; they arise while rows are gone through."""
        row = 0
        while row < len(trades):
            row = max(row, self._next_touched(trades, row))
            if row < len(trades):
                yield row
            row += 1

    def _next_touched(self, trades: Trades, row: int) -> int:
        if self._delayed:
            return row
        last = int(trades.agg_id[-1])
        ids = [self._at[0][0]] if self._at and self._at[0][0] <= last else []
        here = int(trades.agg_id[row])
        for span in self._spans:
            if span.to_id >= here and span.from_id <= last:
                ids.append(max(span.from_id, here))
        return int(np.searchsorted(trades.agg_id, min(ids))) if ids else len(trades)

    def _row_actions(self, row: Trades) -> Iterator[Action]:
        agg_id = int(row.agg_id[0])
        self._count += 1
        garble: GarbleKind | None = None
        again: list[int] = []
        late_by = 0
        while self._at and self._at[0][0] <= agg_id:
            fault = heappop(self._at)[2]
            _log.info("trade %d: %s", agg_id, json.encode(fault).decode())
            match fault:
                case Duplicate(times=times, differs=differs):
                    again += [int(differs)] * times
                case Garble(how=how):
                    garble = how
                case Delay(by=by):
                    late_by = by
                case Drop() | Void() | Renumber() | Backdate():
                    raise AssertionError("spans are kept apart")
                case _:
                    yield fault
        sent = self._as_sent(row, agg_id)
        if sent is not None:
            if late_by:
                self._delayed.append((self._count + late_by, sent))
            else:
                yield Run(sent, garble)
                for more_lots in again:
                    yield Run(replace(sent, qty_lots=sent.qty_lots + more_lots))
        due = [late for when, late in self._delayed if when <= self._count]
        self._delayed = [(when, late) for when, late in self._delayed if when > self._count]
        yield from (Run(late) for late in due)

    def _as_sent(self, row: Trades, agg_id: int) -> Trades | None:
        for span in self._spans:
            if span.from_id <= agg_id <= span.to_id:
                if not isinstance(span, Renumber):
                    return None
                row = replace(row, agg_id=np.maximum(row.agg_id + span.by, 0))
        return row
