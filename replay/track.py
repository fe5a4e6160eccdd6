"""One tape on its way through an engine, with places to jump back to."""

import bisect
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from flowtape.replay.parts import TapeColumns
from flowtape.replay.script import Piece, Script, apply_piece
from flowtape.stream.engine import Engine
from flowtape.stream.inputs import InputKind, Inputs
from flowtape.stream.rewinding import Checkpoint

SLICE_ROWS = 1 << 17
"""Rows given to the engine at once: long enough to be fast, short enough to stay responsive."""

CHECKPOINT_ROWS = 1 << 15
CHECKPOINTS_MAX = 128

LOOKBACK_ROWS = 1 << 16
"""Rows played again before the target of a seek, so that the screen has bubbles to show there."""


class Rows(Protocol):
    """A tape, as far as a track needs it."""

    def segments(self) -> Sequence[Piece]:
        """Return all rows as contiguous pieces, in order."""
        ...


class Track:
    """An engine and how many rows of its tape it has taken in, with commands where they stand.

    Pacing uses the running maximum of the times: the engine's stream time, as far as each day ends
    with its latest trade. Rows are counted from the start of the tape, also where those before
    `first_row` are not there; the engine must stand there then.
    """

    def __init__(
        self, engine: Engine, tape: Rows, script: Script | None = None, *, first_row: int = 0
    ) -> None:
        self.engine = engine
        self.first_row = first_row
        self._script = script or Script()
        self.row = engine.input
        self._segments = tape.segments()
        lengths = [len(segment) for segment in self._segments]
        self._starts = np.cumsum([first_row, *lengths], dtype=np.int64)
        self._times: dict[int, NDArray[np.int64]] = {}
        lasts = [_last_us(segment) for segment in self._segments]
        self._before_us = int(engine.snapshot["stream_us"]) if first_row else 0
        self._ends_us = np.maximum.accumulate(np.array(lasts, np.int64))
        self.row_count = int(self._starts[-1])
        self._spacing = max(CHECKPOINT_ROWS, self.row_count // CHECKPOINTS_MAX)
        self._checkpoint_rows: list[int] = []
        self._checkpoints: list[Checkpoint] = []
        self._keep_checkpoint()

    @property
    def finished(self) -> bool:
        """Whether every row was taken in and the stream has ended."""
        return self.engine.ended

    def time_of(self, row: int) -> int:
        """Return the stream time after row `row`."""
        segment = self._segment_of(row)
        return int(self._times_of(segment)[row - int(self._starts[segment])])

    def row_behind(self, ts_us: int) -> int:
        """Return how many rows have a stream time of at most `ts_us`."""
        segment = int(np.searchsorted(self._ends_us, ts_us, "right"))
        if segment == len(self._segments):
            return self.row_count
        within = int(np.searchsorted(self._times_of(segment), ts_us, "right"))
        return int(self._starts[segment]) + within

    def advance(self, row: int) -> None:
        """Take in everything before `row`; behind the last row the stream ends."""
        while self.row < min(row, self.row_count):
            stop = min(row, (self.row // self._spacing + 1) * self._spacing, self.row_count)
            for piece in self._pieces(self.row, stop):
                self._script.apply(self.engine, piece)
                self.row += len(piece)
            if stop % self._spacing == 0:
                self._keep_checkpoint()
        if row >= self.row_count and not self.engine.ended:
            self.engine.end()

    def seek(self, row: int) -> None:
        """Stand right behind `row` rows, whatever was played before."""
        row = min(max(row, self.first_row), self.row_count)
        near = bisect.bisect_right(self._checkpoint_rows, row) - 1
        ahead = near >= 0 and self._checkpoint_rows[near] > self.row
        if row < self.row or ahead or self.engine.ended:
            far_row = self._checkpoint_rows[near] - LOOKBACK_ROWS
            far = max(bisect.bisect_right(self._checkpoint_rows, far_row) - 1, 0)
            self.engine.restore(self._checkpoints[near])
            self.row = self._checkpoint_rows[near]
            between = self._pieces(self._checkpoint_rows[far], self.row)
            self.engine.recall(self._checkpoints[far], between)
        self.advance(row)

    def pieces_so_far(self, start: int = 0) -> list[Piece]:
        """Return all rows that were taken in, from one on."""
        return list(self._pieces(max(start, self.first_row), self.row))

    def volume(self, start_us: int, end_us: int, bins_count: int) -> NDArray[np.int64]:
        """Return the lots of the first instrument in equal spans of [start_us, end_us]."""
        edges = np.linspace(start_us, end_us + 1, bins_count + 1)
        lots = np.zeros(bins_count, np.int64)
        for segment, columns in enumerate(self._segments):
            times, qty_lots = self._times_of(segment), columns.qty_lots
            if columns.market is not None:
                own = columns.market == 0
                if isinstance(columns, Inputs):
                    own &= columns.kind == InputKind.TRADE
                times, qty_lots = times[own], qty_lots[own]
            rows = np.searchsorted(times, edges)
            for i in np.flatnonzero(np.diff(rows)):
                lots[i] += qty_lots[rows[i] : rows[i + 1]].sum()
        return lots

    def _pieces(self, start: int, stop: int) -> Iterator[Piece]:
        while start < stop:
            segment = self._segment_of(start)
            base = int(self._starts[segment])
            end = min(stop, int(self._starts[segment + 1]), start + SLICE_ROWS)
            yield self._segments[segment].slice(start - base, end - base)
            start = end

    def _segment_of(self, row: int) -> int:
        return int(np.searchsorted(self._starts, row, "right")) - 1

    def _times_of(self, segment: int) -> NDArray[np.int64]:
        if segment not in self._times:
            times = self._segments[segment].ts_us
            before = int(self._ends_us[segment - 1]) if segment else self._before_us
            if times[0] < before or not bool(np.all(times[1:] >= times[:-1])):
                times = np.maximum(np.maximum.accumulate(times), before)
            self._times[segment] = times
        return self._times[segment]

    def _keep_checkpoint(self) -> None:
        if self.engine.recorded or self.row <= max(self._checkpoint_rows, default=-1):
            return
        # Commands may have been given again behind the row.
        self.engine.show()
        self._checkpoint_rows.append(self.row)
        self._checkpoints.append(self.engine.checkpoint())


def _last_us(segment: Piece) -> int:
    # The last of a session's inputs may have no time.
    return int(segment.ts_us.max() if isinstance(segment, Inputs) else segment.ts_us[-1])


def fold(
    engine: Engine, pieces: Iterable[TapeColumns], tick: Callable[[int], None] | None = None
) -> None:
    """Run an engine over a whole tape at full speed and end its stream.

    `tick` is called with the rows taken in after each piece.
    """
    row_count = 0
    for piece in pieces:
        apply_piece(engine, piece)
        row_count += len(piece)
        if tick is not None:
            tick(row_count)
    engine.end()
