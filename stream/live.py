"""A live feed through the pipeline: recorder first, then the engine."""

import time
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from flowtape.stream.engine import Engine
from flowtape.stream.errors import InputError
from flowtape.stream.ports import (
    Clock,
    Funding,
    Gap,
    Mark,
    Source,
    StepUnit,
    TradeSink,
    TransportState,
)


class LiveSession:
    """Events of a source into sinks and an engine; also the `Transport` of its screen.

    Every event is given to the sinks before the engine sees it. The clock of the screen runs from
    the newest event on, in real time; it is for looking at only.
    """

    def __init__(
        self,
        source: Source,
        engine: Engine | None,
        sinks: Sequence[TradeSink] = (),
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.trade_count = 0
        self.gap_count = 0
        self._source = source
        self._engine = engine
        self._sinks = sinks
        self._now_s = now_s
        self._start_us = 0
        self._event_us = 0
        self._event_s = now_s()
        self._ended = False

    async def run(self) -> None:
        """Run until the source ends or the task is cancelled; then the engine's stream ends."""
        try:
            async for event in self._source.events():
                for sink in self._sinks:
                    sink.write(event)
                if self._engine is not None:
                    self._engine.apply_event(event)
                if isinstance(event, Gap):
                    self.gap_count += 1
                    continue
                if isinstance(event, Clock | Mark | Funding):
                    event_us = event.ts_us
                else:
                    self.trade_count += len(event)
                    event_us = int(event.ts_us[-1])
                self._start_us = self._start_us or event_us
                self._event_us, self._event_s = max(self._event_us, event_us), self._now_s()
        finally:
            self._ended = True
            if self._engine is not None and not self._engine.ended:
                self._engine.end()

    def state(self) -> TransportState:
        """Return where the feed stands now."""
        since_us = int((self._now_s() - self._event_s) * 1e6) if self._event_us else 0
        clock_us = self._event_us if self._ended else self._event_us + since_us
        return TransportState(
            playing=not self._ended,
            speed=1.0,
            clock_us=clock_us,
            start_us=self._start_us,
            end_us=clock_us,
            lag_us=clock_us - self._event_us,
            live=True,
            ended=self._ended,
        )

    def play(self) -> None:
        """Do nothing: a live feed always plays."""

    def pause(self) -> None:
        """Raise InputError: a market does not wait."""
        raise InputError("a live feed cannot be paused")

    def set_speed(self, speed: float) -> None:
        """Raise InputError: a market has its own speed."""
        raise InputError(f"a live feed runs at its own speed, not at {speed:g}x")

    def step(self, unit: StepUnit) -> None:
        """Raise InputError: a market does not wait."""
        raise InputError(f"a live feed cannot go on by one {unit}")

    def seek(self, ts_us: int) -> None:
        """Raise InputError: record the feed and replay the recording."""
        raise InputError(f"a live feed cannot be moved to {ts_us}; record it and replay that")

    def overview(self, bins_count: int) -> NDArray[np.int64]:
        """Return nothing: a live feed has no end to divide."""
        return np.zeros(0 * bins_count, np.int64)
