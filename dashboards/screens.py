"""What each connected browser has been sent, may be sent next, and asks for.

A screen says hello, gets a snapshot, and acknowledges what it has painted. Nothing is queued for
it: while `IN_FLIGHT_MAX` frames are unacknowledged it is skipped, and its next frame is simply
longer. So a slow, hidden or stalled browser costs nothing and slows nobody down.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from typing import Annotated, Literal

import msgspec
import numpy as np

from flowtape.dashboards.frames import encode, stamp
from flowtape.stream.errors import FlowError, InputError
from flowtape.stream.ports import StepUnit, Transport, TransportState
from flowtape.stream.records import Records
from flowtape.stream.view import Cursor, MarketView

Feed = tuple[MarketView, Transport]
"""What one screen can show and steer; feeds on one clock share their transport."""

FRAME_S = 1 / 30
IDLE_S = 0.2
PROFILE_S = 0.25
PROFILE_ROWS_MAX = 2048
ACK_TIMEOUT_S = 2.0
IN_FLIGHT_MAX = 3
BARS_SENT_MAX = 1 << 17
BUBBLES_SENT_MAX = 1 << 14
PRINTS_SENT_MAX = 256
FILLS_SENT_MAX = 1 << 10
EQUITY_SENT_MAX = 1 << 12
OVERVIEW_BINS = 1024

_log = logging.getLogger(__name__)


class _Message(msgspec.Struct, forbid_unknown_fields=True, tag_field="kind"):
    pass


class Hello(_Message, tag="hello"):
    """A browser is ready, or came back, and wants a snapshot of one feed."""

    feed: Annotated[int, msgspec.Meta(ge=0)]


class Ack(_Message, tag="ack"):
    """Frames up to `seq` are on the glass."""

    seq: Annotated[int, msgspec.Meta(ge=0)]


class Play(_Message, tag="play"):
    """Go on."""


class Pause(_Message, tag="pause"):
    """Stop the clock."""


class Speed(_Message, tag="speed"):
    """Set the factor."""

    factor: float | Literal["max"]


class Step(_Message, tag="step"):
    """Go on by one unit."""

    unit: StepUnit


class Seek(_Message, tag="seek"):
    """Go to a stream time."""

    ts_us: int


_decoder: msgspec.json.Decoder[Hello | Ack | Play | Pause | Speed | Step | Seek] = (
    msgspec.json.Decoder(Hello | Ack | Play | Pause | Speed | Step | Seek)
)


class Cutter:
    """Cuts frames of one feed; readers who stand at the same place share the bytes."""

    def __init__(self, index: int, feed: Feed) -> None:
        self.index = index
        self.view, self.transport = feed
        self._cuts: dict[tuple[object, ...], tuple[bytes, Cursor, bool]] = {}
        self._state: TransportState | None = None

    def begin(self) -> None:
        """Forget the cuts of the last round."""
        self._cuts.clear()
        self._state = None

    @property
    def state(self) -> TransportState:
        """Where the playback stands, asked once a round."""
        if self._state is None:
            self._state = self.transport.state()
        return self._state

    def marker(self) -> tuple[object, ...]:
        """Return something that changes when there is anything new to show but the clock."""
        view, state = self.view, self.state
        return (
            view.epoch,
            int(view.snapshot["input"]),
            view.bars.head,
            view.fills.head,
            view.equity.head,
            view.notice,
            view.orders.tobytes(),
            state.playing,
            state.speed,
            state.ended,
        )

    def cut(self, cursor: Cursor, *, with_profile: bool) -> tuple[bytes, bool]:
        """Return a frame of what came since `cursor`, and whether bubbles were left out.

        Moves the cursor on. At speeds at which no one can follow single prints the oldest of them
        are left out; a snapshot brings the bubbles back later.
        """
        key = (cursor.epoch, cursor.bars, cursor.bubbles, cursor.prints, cursor.fills, with_profile)
        cached = self._cuts.get(key)
        if cached is None:
            cached = self._cuts[key] = self._cut(replace(cursor), with_profile)
        frame, after, trimmed = cached
        cursor.epoch, cursor.bars, cursor.bubbles = after.epoch, after.bars, after.bubbles
        cursor.prints, cursor.fills, cursor.equity = after.prints, after.fills, after.equity
        return frame, trimmed

    def _cut(self, cursor: Cursor, with_profile: bool) -> tuple[bytes, Cursor, bool]:
        view = self.view
        trimmed = False
        with view.lock:
            if cursor.epoch == view.epoch:
                oldest = view.bubbles.head - BUBBLES_SENT_MAX
                trimmed = cursor.bubbles < oldest
                cursor.bubbles = max(cursor.bubbles, oldest)
                cursor.prints = max(cursor.prints, view.prints.head - PRINTS_SENT_MAX)
                cursor.fills = max(cursor.fills, view.fills.head - FILLS_SENT_MAX)
            update = view.read(cursor, with_profile=with_profile)
            notice = view.notice
        update = replace(update, equity=update.equity[-EQUITY_SENT_MAX:])
        if update.restart:
            update = replace(
                update, bars=update.bars[-BARS_SENT_MAX:], prints=update.prints[-PRINTS_SENT_MAX:]
            )
        row_ticks = int(update.snapshot["profile_row_ticks"])
        if update.profile is not None and len(update.profile) > PROFILE_ROWS_MAX:
            profile, row_ticks = _coarser(update.profile, row_ticks)
            update = replace(update, profile=profile)
        instrument = view.instrument
        frame = encode(
            update,
            self.state,
            feed=self.index,
            notice=notice,
            atoms_per_ticklot=view.atoms_per_ticklot,
            quote_decimals=instrument.price_decimals + instrument.qty_decimals,
            profile_row_ticks=row_ticks,
        )
        return frame, cursor, trimmed


class Screen:
    """One connected browser."""

    def __init__(
        self,
        hub: "Hub",
        send: Callable[[str, bytes | str], Awaitable[None]],
    ) -> None:
        self._hub = hub
        self._send = send
        self._cutter = hub.cutters[0]
        self._cursor = Cursor()
        self._ready = False
        self._trimmed = False
        self._marker: tuple[object, ...] = ()
        self._seq = self._ack = 0
        self._sent_s: dict[int, float] = {}
        self._last_sent_s = self._last_ack_s = self._last_profile_s = float("-inf")
        self._round_trip_ms = float("nan")
        self._sending: asyncio.Task[None] | None = None

    @property
    def in_flight_count(self) -> int:
        """How many frames were sent and not yet acknowledged."""
        return self._seq - self._ack

    def receive(self, text: str, now_s: float) -> None:
        """Take one message of the browser; raises InputError when it is none of ours."""
        try:
            message = _decoder.decode(text)
        except msgspec.MsgspecError as error:
            raise InputError(f"a browser sent a message that is not understood: {error}") from error
        if isinstance(message, Hello):
            self._hello(message, now_s)
        elif isinstance(message, Ack):
            self._acknowledge(message.seq, now_s)
        else:
            self._hub.command(self, self._cutter.transport, message)

    def _hello(self, hello: Hello, now_s: float) -> None:
        if hello.feed >= len(self._hub.cutters):
            raise InputError(f"a browser asked for feed {hello.feed}, which does not exist")
        self._cutter = self._hub.cutters[hello.feed]
        self._cursor = Cursor()
        self._ack = self._seq
        self._sent_s.clear()
        self._last_ack_s = now_s
        self._last_profile_s = self._last_sent_s = float("-inf")
        self._marker = ()
        self._ready = True
        self._hub.send_overview(self, self._cutter)

    def _acknowledge(self, seq: int, now_s: float) -> None:
        if self._ack < seq <= self._seq:
            self._round_trip_ms = (now_s - self._sent_s.get(seq, now_s)) * 1e3
            self._ack = seq
            self._last_ack_s = now_s
            self._sent_s = {s: at for s, at in self._sent_s.items() if s > seq}

    def offer(self, now_s: float) -> None:
        """Send what is new, unless the browser is behind or there is nothing to tell."""
        if not self._ready or self._sending is not None:
            return
        if self.in_flight_count >= IN_FLIGHT_MAX:
            if now_s - self._last_ack_s > ACK_TIMEOUT_S:
                self._cursor = Cursor()
            return
        marker = self._cutter.marker()
        if marker == self._marker and now_s - self._last_sent_s < IDLE_S:
            return
        if self._trimmed and self._cutter.state.speed != float("inf"):
            self._cursor = Cursor()
        restarts = self._cursor.epoch != self._cutter.view.epoch
        with_profile = restarts or now_s - self._last_profile_s >= PROFILE_S
        frame, self._trimmed = self._cutter.cut(self._cursor, with_profile=with_profile)
        self._seq += 1
        self._marker, self._last_sent_s = marker, now_s
        if with_profile:
            self._last_profile_s = now_s
        self._sent_s[self._seq] = now_s
        if self.in_flight_count == 1:
            self._last_ack_s = now_s
        stamped = stamp(frame, self._seq, now_s * 1e3, self._round_trip_ms)
        self._sending = asyncio.create_task(self._deliver(stamped))

    async def _deliver(self, frame: bytes) -> None:
        try:
            await self._send("frame", frame)
        finally:
            self._sending = None

    async def tell(self, kind: str, content: object) -> None:
        """Send a small message other than a frame."""
        await self._send("note", msgspec.json.encode({"kind": kind, "content": content}).decode())


class Hub:
    """All screens of a server and the clockwork that feeds them."""

    def __init__(self, feeds: list[Feed], clock_s: Callable[[], float]) -> None:
        self.cutters = [Cutter(index, feed) for index, feed in enumerate(feeds)]
        self._clock_s = clock_s
        self._screens: set[Screen] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._order = asyncio.Lock()

    def add(self, send: Callable[[str, bytes | str], Awaitable[None]]) -> Screen:
        """Return a new screen that is reached through `send`."""
        screen = Screen(self, send)
        self._screens.add(screen)
        return screen

    def drop(self, screen: Screen) -> None:
        """Forget a screen whose browser is gone."""
        self._screens.discard(screen)

    async def run(self) -> None:
        """Feed all screens until cancelled."""
        try:
            next_s = self._clock_s()
            while True:
                next_s = max(next_s + FRAME_S, self._clock_s())
                for cutter in self.cutters:
                    cutter.begin()
                for screen in list(self._screens):
                    try:
                        screen.offer(self._clock_s())
                    except Exception:
                        _log.exception("a screen is no longer fed")
                        self.drop(screen)
                await asyncio.sleep(next_s - self._clock_s())
        finally:
            for task in self._tasks:
                task.cancel()

    def command(
        self, screen: Screen, transport: Transport, message: Play | Pause | Speed | Step | Seek
    ) -> None:
        """Carry out a command behind those before it, off the event loop."""
        self._spawn(self._carry_out(screen, transport, message))

    def send_overview(self, screen: Screen, cutter: Cutter) -> None:
        """Send the volume of the whole tape for the seek bar."""
        self._spawn(self._overview(screen, cutter))

    async def _carry_out(
        self, screen: Screen, transport: Transport, message: Play | Pause | Speed | Step | Seek
    ) -> None:
        async with self._order:
            try:
                await asyncio.to_thread(_apply, transport, message)
            except FlowError as error:
                await screen.tell("refused", str(error))

    async def _overview(self, screen: Screen, cutter: Cutter) -> None:
        volume_lots = await asyncio.to_thread(cutter.transport.overview, OVERVIEW_BINS)
        await screen.tell("overview", {"feed": cutter.index, "volume": volume_lots.tolist()})

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _coarser(profile: Records, row_ticks: int) -> tuple[Records, int]:
    merged_ticks = row_ticks * -(-len(profile) // PROFILE_ROWS_MAX)
    group = profile["price_ticks"] // merged_ticks
    starts = np.flatnonzero(np.diff(group, prepend=group[0] - 1))
    rows = np.zeros(len(starts), profile.dtype)
    rows["price_ticks"] = group[starts] * merged_ticks
    for side in ("buy_lots", "sell_lots"):
        rows[side] = np.add.reduceat(profile[side], starts)
    return rows, merged_ticks


def _apply(transport: Transport, message: Play | Pause | Speed | Step | Seek) -> None:
    match message:
        case Play():
            transport.play()
        case Pause():
            transport.pause()
        case Speed(factor):
            transport.set_speed(float("inf") if factor == "max" else factor)
        case Step(unit):
            transport.step(unit)
        case Seek(ts_us):
            transport.seek(ts_us)
