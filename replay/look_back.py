"""Looking back on a session while it goes on."""

import threading
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from flowtape.replay.player import Player
from flowtape.replay.script import Script
from flowtape.replay.session_rows import OpenTape, SessionRows
from flowtape.replay.track import Track
from flowtape.stream.engine import Engine
from flowtape.stream.errors import InputError
from flowtape.stream.ports import Desk, StepUnit, Ticket, Transport, TransportState
from flowtape.stream.session import Session
from flowtape.stream.view import MarketView
from flowtape.stream.waypoints import Waypoint


def past_of(session: Session, rows: SessionRows, waypoint: Waypoint | None = None) -> Track:
    """Return a track of what was: recorded commands are given again, and no strategy runs.

    It begins at a waypoint, if there is one. Raises JournalDamagedError when the commands cannot be
    read.
    """
    engine = Engine(session.genesis.instruments, session.genesis.config, waypoint=waypoint)
    return Track(engine, rows, Script(session.commands()), first_row=rows.before)


AHEAD_BLOCKS = 8
"""So many blocks of a session behind what is looked at are read at once."""


def past_before(session: Session, open_tape: OpenTape, ts_us: int) -> Track:
    """Return a track of what was around a stream time, from not long before that.

    Raises SessionError when its tapes are gone, JournalDamagedError when it cannot be read.
    """
    waypoint = session.waypoint(bars=True, ahead_of_us=ts_us)
    before = 0 if waypoint is None else waypoint.input
    links = session.links()
    at = int(np.searchsorted(links["stream_us"], ts_us, "right")) + AHEAD_BLOCKS
    stop = int(links["input"][at]) if at < len(links) else None
    return past_of(session, SessionRows.of(session, open_tape, before, stop), waypoint)


def past_of_playback(session: Session, track: Track, ts_us: int) -> Track:
    """Return what was so far of a session that a track plays, from not long before a stream time.

    Raises JournalDamagedError when its commands cannot be read.
    """
    waypoint = session.waypoint(bars=True, ahead_of_us=ts_us)
    before = 0 if waypoint is None else waypoint.input
    return past_of(session, SessionRows(track.pieces_so_far(before), before), waypoint)


class LookBack:
    """A session on a screen, now or in its past; a `Transport` and a `Desk`.

    `now` plays the session itself, which a look back never touches: the past is another engine's,
    that of the track which `past` returns for a stream time to look at.
    """

    def __init__(
        self,
        now: Transport,
        views: tuple[MarketView, ...],
        past: Callable[[int], Track],
        desk: Desk,
    ) -> None:
        self._now = now
        self._views = views
        self._past = past
        self._desk = desk
        self._lock = threading.Lock()
        self._back: Player | None = None
        self._back_rows = 0
        self._back_views: tuple[MarketView, ...] = ()

    def look(self, market: int = 0) -> MarketView:
        """Return the view to show now of an instrument."""
        with self._lock:
            views = self._views if self._back is None else self._back_views
            return views[market]

    def state(self) -> TransportState:
        """Return where the playback stands, now or in the past."""
        now = self._now.state()
        with self._lock:
            back = self._back
        if back is not None and back.state().ended:
            back = self._further(back)
        if back is None:
            return replace(now, now_us=now.clock_us)
        return replace(
            back.state(),
            start_us=now.start_us,
            end_us=now.clock_us,
            now_us=now.clock_us,
            looking_back=True,
            live=False,
            trouble=now.trouble,
        )

    def play(self) -> None:
        """Go on."""
        self._shown().play()

    def pause(self) -> None:
        """Stop the clock of what is shown; raises InputError for a live feed."""
        self._shown().pause()

    def set_speed(self, speed: float) -> None:
        """Set the factor of what is shown; raises InputError for a live feed."""
        self._shown().set_speed(speed)

    def step(self, unit: StepUnit) -> None:
        """Go on by one unit in what is shown; raises InputError for a live feed."""
        self._shown().step(unit)

    def seek(self, ts_us: int) -> None:
        """Look back on an earlier time; a later one ends that, and moves a replay on."""
        now = self._now.state()
        if ts_us >= now.clock_us:
            self.to_now()
            if not now.live:
                self._now.seek(ts_us)
            return
        with self._lock:
            back = self._back
        if back is None or not back.state().start_us <= ts_us <= back.state().end_us:
            back = self._open(self._past(ts_us), back)
        back.seek(ts_us)

    def to_now(self) -> None:
        """Show what is now."""
        with self._lock:
            back, self._back, self._back_views = self._back, None, ()
        if back is not None:
            back.stop()

    def overview(self, bins_count: int) -> NDArray[np.int64]:
        """Return the lots of the first instrument in equal spans of the session so far."""
        state, view = self._now.state(), self._views[0]
        with view.lock:
            bars = view.bars.all().copy()
        edges = np.linspace(state.start_us, max(state.clock_us, state.start_us + 1), bins_count + 1)
        lots = (bars["buy_lots"] + bars["sell_lots"]).astype(np.int64)
        place = np.clip(np.searchsorted(edges, bars["ts_us"], "right") - 1, 0, bins_count - 1)
        found = np.zeros(bins_count, np.int64)
        np.add.at(found, place, lots)
        return found

    def ask(self, ticket: Ticket) -> int:
        """Carry out a ticket; raises InputError while the screen looks back."""
        if self._back is not None:
            raise InputError("you are looking back; jump to now to trade")
        return self._desk.ask(ticket)

    def _shown(self) -> Transport:
        with self._lock:
            return self._now if self._back is None else self._back

    def _further(self, ended: Player) -> Player | None:
        """Go on behind what was read of the past; where there is no more, show what is now."""
        reached_us = ended.state().end_us
        track = self._past(reached_us)
        if track.row_count <= self._back_rows:
            self.to_now()
            return None
        further = self._open(track, ended)
        further.seek(reached_us)
        further.play()
        return further

    def _open(self, track: Track, earlier: Player | None) -> Player:
        speed, playing = (1.0, True)
        if earlier is not None:
            state = earlier.state()
            speed, playing = state.speed, state.playing
        back = Player([track], speed=speed)
        back.start(playing=playing)
        with self._lock:
            self._back, self._back_views = back, track.engine.views
            self._back_rows = track.row_count
        if earlier is not None:
            earlier.stop()
        return back
