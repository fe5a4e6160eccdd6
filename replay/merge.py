"""Merging sorted parts into one, by aggregate id, in bounded memory.

The ids are cut into ranges of about `_RANGE_ROWS` rows; each range is read from all parts, sorted
and written. Where parts disagree about an id, the earlier part in the list wins.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field

import msgspec
import numpy as np
from numpy.typing import NDArray

from flowtape.replay.part_writer import PartWriter
from flowtape.replay.parts import Part
from flowtape.stream.decimals import format_decimal
from flowtape.stream.errors import OffGridError
from flowtape.stream.instrument import Instrument
from flowtape.stream.limits import PRICE_TICKS_MAX, QTY_LOTS_MAX
from flowtape.stream.trades import BUY, I64, Trades

CONFLICTS_KEPT = 20

_RANGE_ROWS = 1 << 21
_SAMPLES = 16
_COLUMNS = ("ts_us", "price_ticks", "qty_lots", "first_id", "last_id", "side")


class Conflict(msgspec.Struct, frozen=True):
    """Two rows of one id that say different things, as exact text."""

    agg_id: int
    kept: str
    dropped: str


@dataclass(slots=True)
class Duplicates:
    """Repeated ids that were dropped; `conflicts` shows the first few that differed."""

    exact_count: int = 0
    conflict_count: int = 0
    conflicts: list[Conflict] = field(default_factory=list)

    def add(self, other: "Duplicates") -> None:
        """Count what `other` counted as well."""
        self.exact_count += other.exact_count
        self.conflict_count += other.conflict_count
        self.conflicts = (self.conflicts + other.conflicts)[:CONFLICTS_KEPT]


def sort_by_id(trades: Trades, instrument: Instrument) -> tuple[Trades, Duplicates]:
    """Return trades in strictly rising order of id; the first of equal ids is kept."""
    if bool(np.all(trades.agg_id[1:] > trades.agg_id[:-1])):
        return trades, Duplicates()
    trades = take(trades, np.argsort(trades.agg_id, kind="stable"))
    fresh = np.diff(trades.agg_id, prepend=trades.agg_id[0] - 1) != 0
    repeats = np.flatnonzero(~fresh)
    if not len(repeats):
        return trades, Duplicates()
    firsts = np.maximum.accumulate(np.where(fresh, np.arange(len(fresh)), 0))[repeats]
    differs = np.zeros(len(repeats), np.bool_)
    for name in _COLUMNS:
        column = getattr(trades, name)
        differs |= column[repeats] != column[firsts]
    shown = np.flatnonzero(differs)[:CONFLICTS_KEPT]
    duplicates = Duplicates(
        int(np.sum(~differs)),
        int(np.sum(differs)),
        [
            Conflict(
                int(trades.agg_id[repeats[i]]),
                _row_text(trades, int(firsts[i]), instrument),
                _row_text(trades, int(repeats[i]), instrument),
            )
            for i in shown
        ],
    )
    return take(trades, fresh), duplicates


def take(trades: Trades, chosen: NDArray[np.intp] | NDArray[np.bool_]) -> Trades:
    """Return the chosen rows, copied."""
    return Trades(
        trades.agg_id[chosen],
        trades.ts_us[chosen],
        trades.price_ticks[chosen],
        trades.qty_lots[chosen],
        trades.first_id[chosen],
        trades.last_id[chosen],
        trades.side[chosen],
    )


def regrid(trades: Trades, old: Instrument, new: Instrument) -> Trades:
    """Return trades of the grid of `old` on the finer or equal grid of `new`, exactly.

    Raises OffGridError when a number becomes larger than the kernel can count.
    """
    return Trades(
        trades.agg_id,
        trades.ts_us,
        _scale(
            trades.price_ticks, new.price_decimals - old.price_decimals, PRICE_TICKS_MAX, "price"
        ),
        _scale(trades.qty_lots, new.qty_decimals - old.qty_decimals, QTY_LOTS_MAX, "quantity"),
        trades.first_id,
        trades.last_id,
        trades.side,
    )


def merge_parts(parts: list[Part], writer: PartWriter) -> Duplicates:
    """Write the rows of all parts, sorted by id and each id once, on the grid of `writer`."""
    duplicates = Duplicates()
    for lower, upper in _ranges(parts):
        found = [
            regrid(trades, part.meta.instrument, writer.instrument)
            for part in parts
            for trades in _rows_between(part, lower, upper)
        ]
        if found:
            trades, dropped = sort_by_id(Trades.concat(found), writer.instrument)
            duplicates.add(dropped)
            writer.write(trades)
    return duplicates


def _ranges(parts: list[Part]) -> list[tuple[int, int]]:
    # Ids are taken to lie evenly within a row group; that only steers how big the ranges get.
    points, weights = [], []
    for part in parts:
        for rows, least, most in part.id_ranges():
            points.append(np.linspace(least, most, _SAMPLES).astype(np.int64))
            weights.append(np.full(_SAMPLES, rows / _SAMPLES))
    ids, weight = np.concatenate(points), np.concatenate(weights)
    order = np.argsort(ids, kind="stable")
    ids = ids[order]
    filled = np.cumsum(weight[order]) // _RANGE_ROWS
    cuts = ids[np.flatnonzero(np.diff(filled, prepend=0.0))]
    edges = np.unique(np.concatenate([ids[:1], cuts, ids[-1:] + 1])).tolist()
    return list(itertools.pairwise(edges))


def _rows_between(part: Part, lower: int, upper: int) -> Iterator[Trades]:
    for group, (_, least, most) in enumerate(part.id_ranges()):
        if most < lower or least >= upper:
            continue
        starts = part.row_group_starts
        trades = part.trades(int(starts[group]), int(starts[group + 1]))
        first, last = np.searchsorted(trades.agg_id, [lower, upper])
        if first == 0 and last == len(trades):
            yield trades
        elif first < last:
            # A copy, so that the rest of the row group can be freed.
            yield take(trades, np.arange(first, last))


def _row_text(trades: Trades, row: int, instrument: Instrument) -> str:
    price = format_decimal(int(trades.price_ticks[row]), instrument.price_decimals)
    qty = format_decimal(int(trades.qty_lots[row]), instrument.qty_decimals)
    side = "buy" if trades.side[row] == BUY else "sell"
    return (
        f"{side} {qty} at {price}, ids {trades.first_id[row]} to {trades.last_id[row]}, "
        f"time {trades.ts_us[row]} us"
    )


def _scale(values: I64, decimals: int, most: int, name: str) -> I64:
    if not decimals:
        return values
    factor = 10**decimals
    if len(values) and int(values.max()) > most // factor:
        raise OffGridError(
            f"a {name} of {values.max()} units has no room for the {decimals} more decimals that "
            "other rows need"
        )
    scaled: I64 = values * factor
    return scaled
