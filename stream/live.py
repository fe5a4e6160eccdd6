"""A live feed through an engine, and the screen's hold on it."""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import aclosing

import numpy as np
from numpy.typing import NDArray

from flowtape.stream.desk import carry_out
from flowtape.stream.engine import Engine
from flowtape.stream.errors import InputError
from flowtape.stream.ports import (
    Clock,
    Event,
    Funding,
    Gap,
    Mark,
    Rules,
    Source,
    StepUnit,
    Ticket,
    TransportState,
)
from flowtape.stream.several_sources import events_of


class LiveSession:
    """Events of sources into an engine; also the `Transport` and the `Desk` of its screen.

    There is a source for each of the engine's instruments, in their order. The clock of the screen
    runs from the newest event on, in real time. What a person asks for is asked at that time, so
    that no one trades on prints that were on their way already. `trouble` says what is wrong with
    the sources now.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        engine: Engine,
        now_s: Callable[[], float] = time.monotonic,
        *,
        trouble: Callable[[], str] = str,
    ) -> None:
        self.trade_count = 0
        self.gap_count = 0
        self._sources = sources
        self._engine = engine
        self._now_s = now_s
        self._trouble = trouble
        self._start_us = 0
        self._event_us = 0
        self._event_s = now_s()
        self._ended = False
        self._loop: asyncio.AbstractEventLoop | None = None

    async def run(self) -> None:
        """Run until the sources end or the task is cancelled; then the engine's stream ends.

        When anything fails, such as the disk, the engine stands still and the screen says why.
        """
        self._loop = asyncio.get_running_loop()
        try:
            async with aclosing(events_of(self._sources)) as events:
                async for market, event in events:
                    self._engine.apply_event(event, market)
                    self._took(event)
            self._engine.end()
        except asyncio.CancelledError:
            self._engine.end()
            raise
        except Exception as error:
            for view in self._engine.views:
                view.notice = f"halted: {error}"
            raise
        finally:
            self._ended = True

    def _took(self, event: Event) -> None:
        if isinstance(event, Gap):
            self.gap_count += 1
        if isinstance(event, Gap | Rules):
            return
        if isinstance(event, Clock | Mark | Funding):
            event_us = event.ts_us
        else:
            self.trade_count += len(event)
            event_us = int(event.ts_us[-1])
        self._start_us = self._start_us or event_us
        self._event_us, self._event_s = max(self._event_us, event_us), self._now_s()

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
            trouble="" if self._ended else self._trouble(),
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

    def to_now(self) -> None:
        """Do nothing: the screen of a feed that is not kept shows what is now."""

    def overview(self, bins_count: int) -> NDArray[np.int64]:
        """Return nothing: a live feed has no end to divide."""
        return np.zeros(0 * bins_count, np.int64)

    def ask(self, ticket: Ticket) -> int:
        """Carry out a ticket between two events; see `ports.Desk`."""
        if self._loop is None:
            raise InputError("the feed has not begun; ask again in a moment")
        done = asyncio.run_coroutine_threadsafe(self._carry_out(ticket), self._loop)
        return done.result()

    async def _carry_out(self, ticket: Ticket) -> int:
        return carry_out(self._engine, ticket, self.state().clock_us)
