"""Playback: several tapes on one clock, at any speed, with pause, steps and seeking.

The clock only decides *when* rows reach the engines, never what they become.
"""

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from flowtape.replay.track import SLICE_ROWS, Track
from flowtape.stream.desk import carry_out
from flowtape.stream.errors import FlowError, InputError
from flowtape.stream.ports import StepUnit, Ticket, TransportState

SPEED_MIN, SPEED_MAX = 0.1, 10_000.0
TICK_S = 0.004
STEP_BATCH_ROWS = 256

# Further behind than this, in wall time, the clock waits for the engines instead of running away.
LAG_MAX_S = 0.25

ANSWER_S = 0.2

Command = Callable[[], None]


def check_speed(speed: float) -> float:
    """Return a playback speed; raises InputError unless it is 0.1 to 10000 or infinite."""
    if not (SPEED_MIN <= speed <= SPEED_MAX or speed == math.inf):
        raise InputError(f"speed must be 0.1 to 10000 or max, was {speed:g}")
    return speed


def parse_speed(text: str) -> float:
    """Return the speed a person typed, such as `60`, `0.5`, `100x` or `max`."""
    if text.lower() == "max":
        return math.inf
    try:
        return check_speed(float(text.lower().removesuffix("x")))
    except ValueError:
        raise InputError(f"speed must be 0.1 to 10000 or max, was {text!r}") from None


class Player:
    """A playback of tracks on a thread of its own; a `stream.ports.Transport`."""

    def __init__(
        self,
        tracks: Sequence[Track],
        *,
        speed: float = 60.0,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._tracks = [track for track in tracks if track.row_count > track.first_row]
        if not self._tracks:
            raise InputError("there are no trades to play")
        self._now_s = now_s
        self._speed = check_speed(speed)
        self._start_us = min(track.time_of(track.first_row) for track in self._tracks)
        self._end_us = max(track.time_of(track.row_count - 1) for track in self._tracks)
        self._clock_us = self._reached_us = min(
            track.time_of(max(track.row - 1, track.first_row)) for track in self._tracks
        )
        self._anchor_s = 0.0
        self._anchor_us = self._clock_us
        self._playing = False
        self._stopping = False
        self._error: BaseException | None = None
        self._commands: deque[Command] = deque()
        self._wake = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="flowtape-player", daemon=True)

    def start(self, *, playing: bool = True) -> None:
        """Start the thread."""
        if playing:
            self.play()
        self._thread.start()

    def stop(self) -> None:
        """End the thread; raises what went wrong on it, if anything did."""
        with self._wake:
            self._stopping = True
            self._wake.notify_all()
        if self._thread.is_alive():
            self._thread.join()
        if self._error is not None:
            raise self._error

    def wait(self) -> None:
        """Wait until the playback has ended or failed; raises what went wrong."""
        with self._wake:
            self._wake.wait_for(lambda: self._ended or self._error is not None)
        if self._error is not None:
            raise self._error

    @property
    def error(self) -> BaseException | None:
        """What went wrong on the thread, which then stands still."""
        return self._error

    @property
    def _ended(self) -> bool:
        return all(track.finished for track in self._tracks)

    # Transport

    def state(self) -> TransportState:
        """Return where the playback stands now."""
        with self._wake:
            clock_us = self._clock_now()
            return TransportState(
                playing=self._playing,
                speed=self._speed,
                clock_us=clock_us,
                start_us=self._start_us,
                end_us=self._end_us,
                lag_us=max(0, clock_us - self._reached_us),
                live=False,
                ended=self._ended,
            )

    def play(self) -> None:
        """Go on; a playback that has ended starts again."""
        self._send(self._do_play)

    def pause(self) -> None:
        """Stop the clock."""
        self._send(self._do_pause)

    def set_speed(self, speed: float) -> None:
        """Set the factor; raises InputError unless it is 0.1 to 10000 or infinite."""
        check_speed(speed)
        self._send(lambda: self._do_speed(speed))

    def step(self, unit: StepUnit) -> None:
        """Pause, then go on by one trade, one batch or to the end of the current bar."""
        self._send(lambda: self._do_step(unit))

    def seek(self, ts_us: int) -> None:
        """Go to a stream time, clamped to the tapes; raises InputError if that cannot be."""
        if ts_us < self._reached_us and any(track.engine.recorded for track in self._tracks):
            raise InputError("a session that is being kept cannot go back, only be looked back on")
        self._send(lambda: self._do_seek(ts_us))

    def to_now(self) -> None:
        """Do nothing: a playback of tapes has no other now than where it stands."""

    def ask(self, ticket: Ticket) -> int:
        """Carry out a ticket between two slices of the first track; see `ports.Desk`."""
        done: Future[int] = Future()
        self._send(lambda: self._do_ask(ticket, done))
        while self._thread.is_alive() and self._error is None:
            with suppress(TimeoutError):
                return done.result(ANSWER_S)
        raise InputError("the replay stands still; nothing was asked for")

    def overview(self, bins_count: int) -> NDArray[np.int64]:
        """Return the volume in lots of `bins_count` equal spans of the first tape."""
        return self._tracks[0].volume(self._start_us, self._end_us, bins_count)

    # On the thread

    def _send(self, command: Command) -> None:
        with self._wake:
            self._commands.append(command)
            self._wake.notify_all()

    def _run(self) -> None:
        try:
            while not self._stopping:
                while self._commands:
                    self._commands.popleft()()
                if self._playing:
                    behind = self._play_on()
                    timeout = 0.0 if behind else TICK_S
                else:
                    timeout = None
                with self._wake:
                    if timeout != 0.0 and not self._commands and not self._stopping:
                        self._wake.wait(timeout)
        except BaseException as error:
            with self._wake:
                self._error = error
                self._playing = False
                for track in self._tracks:
                    for view in track.engine.views:
                        view.notice = f"halted: {error}"
                self._wake.notify_all()

    def _clock_now(self) -> int:
        if not self._playing or math.isinf(self._speed):
            return self._clock_us
        elapsed_us = (self._now_s() - self._anchor_s) * self._speed * 1e6
        return min(self._anchor_us + int(elapsed_us), self._end_us)

    def _anchor(self, clock_us: int) -> None:
        with self._wake:
            self._clock_us = self._anchor_us = clock_us
            self._anchor_s = self._now_s()

    def _play_on(self) -> bool:
        """Take in what the clock has reached, a slice at most; return whether there is more."""
        if math.isinf(self._speed):
            target_us = min(
                t.time_of(min(t.row + SLICE_ROWS, t.row_count) - 1)
                for t in self._tracks
                if not t.finished
            )
        else:
            target_us = self._clock_now()
        behind = False
        for track in self._tracks:
            if track.finished:
                continue
            row = track.row_behind(target_us)
            if row > track.row + SLICE_ROWS:
                row = track.row + SLICE_ROWS
                behind = True
            track.advance(row)
        self._note_reached(target_us)
        if self._ended:
            self._finish()
            return False
        if math.isinf(self._speed):
            self._clock_us = target_us
            return True
        if behind and (target_us - self._reached_us) > LAG_MAX_S * self._speed * 1e6:
            self._anchor(self._reached_us)
        return behind

    def _note_reached(self, target_us: int) -> None:
        reached = [
            target_us if t.finished or t.time_of(t.row) > target_us else t.time_of(t.row - 1)
            for t in self._tracks
        ]
        self._reached_us = min(reached)

    def _finish(self) -> None:
        with self._wake:
            self._playing = False
            self._clock_us = self._reached_us = self._end_us
            self._wake.notify_all()

    def _do_play(self) -> None:
        if self._ended:
            if any(track.engine.recorded for track in self._tracks):
                return
            self._do_seek(self._start_us)
        self._anchor(self._clock_us)
        self._playing = True

    def _do_pause(self) -> None:
        if not self._playing:
            return
        # The clock stops where the results stand, not ahead of them.
        self._play_on()
        with self._wake:
            self._clock_us = self._reached_us
            self._playing = False

    def _do_speed(self, speed: float) -> None:
        self._anchor(self._clock_now())
        self._speed = speed

    def _do_seek(self, ts_us: int) -> None:
        ts_us = min(max(ts_us, self._start_us), self._end_us)
        for track in self._tracks:
            track.seek(track.row_behind(ts_us))
        self._reached_us = ts_us
        self._anchor(ts_us)
        if self._ended:
            self._finish()

    def _do_ask(self, ticket: Ticket, done: "Future[int]") -> None:
        try:
            done.set_result(carry_out(self._tracks[0].engine, ticket, self._clock_now()))
        except FlowError as error:
            done.set_exception(error)

    def _do_step(self, unit: StepUnit) -> None:
        self._do_pause()
        if self._ended:
            return
        first = min(
            (t for t in self._tracks if not t.finished), key=lambda track: track.time_of(track.row)
        )
        if unit == "trade":
            first.advance(first.row + 1)
            target_us = first.time_of(first.row - 1)
        elif unit == "batch":
            target_us = first.time_of(min(first.row + STEP_BATCH_ROWS, first.row_count) - 1)
            self._advance_all(target_us)
        else:
            bar_us = first.engine.config.bar_us
            target_us = (first.time_of(first.row) // bar_us + 1) * bar_us - 1
            self._advance_all(target_us)
        target_us = max(min(target_us, self._end_us), self._clock_us)
        self._reached_us = target_us
        self._anchor(target_us)
        if self._ended:
            self._finish()

    def _advance_all(self, target_us: int) -> None:
        for track in self._tracks:
            if not track.finished:
                track.advance(track.row_behind(target_us))
