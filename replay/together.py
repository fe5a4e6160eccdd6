"""Several tapes as one stream of trades, for strategies that trade several instruments."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from flowtape.replay.parts import TapeColumns
from flowtape.replay.tapes import Tape
from flowtape.stream.errors import InputError
from flowtape.stream.instrument import Instrument
from flowtape.stream.trades import I64


@dataclass(eq=False)
class _Reader:
    """A tape's rows that were read and not yet given out."""

    pieces: Iterator[TapeColumns]
    rows: TapeColumns | None = None
    times: I64 = field(default_factory=lambda: np.empty(0, np.int64))
    """The tape's own stream time at each of them: the latest time so far."""
    latest_us: int = 0
    """That of the last row given out."""
    ended: bool = False

    def read_on(self) -> None:
        """Add the next piece to the rows that are waiting."""
        piece = next(self.pieces, None)
        if piece is None:
            self.ended = True
            return
        latest = int(self.times[-1]) if len(self.times) else self.latest_us
        times = np.maximum(np.maximum.accumulate(piece.ts_us), latest)
        if self.rows is not None and len(self.rows):
            piece = TapeColumns.concat([self.rows, piece])
            times = np.concatenate([self.times, times])
        self.rows, self.times = piece, times

    def take(self, count: int) -> tuple[TapeColumns, I64]:
        """Give out the first rows."""
        assert self.rows is not None
        rows, times = self.rows.slice(0, count), self.times[:count]
        self.rows, self.times = self.rows.slice(count, len(self.rows)), self.times[count:]
        self.latest_us = int(times[-1]) if count else self.latest_us
        return rows, times


class Tapes:
    """Several tapes in one order: by stream time of each tape, then by the number of the tape.

    The number of a tape is its place, and its trades carry it in their `market` column. The order
    follows from the tapes alone, however they are read.
    """

    def __init__(self, tapes: Sequence[Tape]) -> None:
        self.instruments: tuple[Instrument, ...] = tuple(tape.instrument for tape in tapes)
        names = [f"{i.market}/{i.symbol}" for i in self.instruments]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise InputError(f"{twice} was named twice; name each tape once")
        self._tapes = tuple(tapes)

    def __len__(self) -> int:
        return sum(map(len, self._tapes))

    def segments(self) -> list[TapeColumns]:
        """Return all rows as pieces, in memory: 26 bytes for each."""
        return list(self.read_batches(cached=True))

    def read_batches(self, rows: int = 1 << 16, *, cached: bool = False) -> Iterator[TapeColumns]:
        """Yield all rows, read from each tape in pieces of at most `rows`, as `Tape` does."""
        if len(self._tapes) == 1:
            yield from self._tapes[0].read_batches(rows, cached=cached)
            return
        readers = [_Reader(tape.read_batches(rows, cached=cached)) for tape in self._tapes]
        while True:
            for reader in readers:
                while not len(reader.times) and not reader.ended:
                    reader.read_on()
            if all(reader.ended and not len(reader.times) for reader in readers):
                return
            # Rows before what every tape is sure to have shown are in their final order.
            open_ends = [int(r.times[-1]) for r in readers if not r.ended]
            limit = min(open_ends, default=None)
            counts = [
                len(r.times) if limit is None else int(np.searchsorted(r.times, limit))
                for r in readers
            ]
            if sum(counts):
                yield _merged([r.take(n) for r, n in zip(readers, counts, strict=True)])
            else:
                next(r for r in readers if not r.ended and int(r.times[-1]) == limit).read_on()


def _merged(taken: list[tuple[TapeColumns, I64]]) -> TapeColumns:
    """Put rows in their order; rows of one tape keep theirs."""
    order = np.argsort(np.concatenate([times for _, times in taken]), kind="stable")
    joined = TapeColumns.concat([rows for rows, _ in taken])
    numbers = np.repeat(np.arange(len(taken), dtype=np.uint8), [len(t) for _, t in taken])
    return TapeColumns(
        joined.ts_us[order],
        joined.price_ticks[order],
        joined.qty_lots[order],
        joined.side[order],
        market=numbers[order],
    )
