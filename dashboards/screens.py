"""What each connected browser has been sent, may be sent next, and asks for.

A screen says hello, gets a snapshot, and acknowledges what it has painted. Nothing is queued for
it: while `IN_FLIGHT_MAX` frames are unacknowledged it is skipped, and its next frame is simply
longer. So a slow, hidden or stalled browser costs nothing and slows nobody down.

A feed shows another view while its session is looked back on. Every screen then starts afresh, as
it does behind a seek.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine

import msgspec

from flowtape.dashboards.cutter import Cutter
from flowtape.dashboards.frames import stamp
from flowtape.dashboards.messages import (
    Ack,
    Hello,
    Now,
    Pause,
    Play,
    Seek,
    Speed,
    Steering,
    Step,
    Trading,
    decode,
)
from flowtape.dashboards.trading import Answer, Tickets
from flowtape.stream.errors import FlowError, InputError
from flowtape.stream.ports import Feed, Transport
from flowtape.stream.view import Cursor, MarketView

FRAME_S = 1 / 30
IDLE_S = 0.2
PROFILE_S = 0.25
ACK_TIMEOUT_S = 2.0
IN_FLIGHT_MAX = 3
OVERVIEW_BINS = 1024
OVERVIEW_S = 5.0

Send = Callable[[str, bytes | str], Awaitable[None]]
"""Takes a kind and a content to the browser."""

_log = logging.getLogger(__name__)


class Screen:
    """One connected browser."""

    def __init__(self, hub: "Hub", send: Send) -> None:
        self._hub = hub
        self._send = send
        self._tickets: Tickets | None = None
        self.cutter = hub.cutters[0]
        self._view: MarketView | None = None
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

    @property
    def keeps_up(self) -> bool:
        """Whether the browser wants frames and has painted those it got."""
        return self._ready and self.in_flight_count < IN_FLIGHT_MAX

    def receive(self, text: str, now_s: float) -> None:
        """Take one message of the browser; raises InputError when it is none of ours."""
        message = decode(text)
        if isinstance(message, Hello):
            self._hello(message, now_s)
        elif isinstance(message, Ack):
            self._acknowledge(message.seq, now_s)
        elif isinstance(message, Steering):
            self._hub.steer(self, message)
        else:
            self._trade(message, now_s)

    def _hello(self, hello: Hello, now_s: float) -> None:
        if hello.feed >= len(self._hub.cutters):
            raise InputError(f"a browser asked for feed {hello.feed}, which does not exist")
        self.cutter = self._hub.cutters[hello.feed]
        self._cursor = Cursor()
        self._ack = self._seq
        self._sent_s.clear()
        self._last_ack_s = now_s
        self._last_profile_s = self._last_sent_s = float("-inf")
        self._marker = ()
        self._ready = True
        self._hub.send_overview(self.cutter, [self])

    def _acknowledge(self, seq: int, now_s: float) -> None:
        if self._ack < seq <= self._seq:
            self._round_trip_ms = (now_s - self._sent_s.get(seq, now_s)) * 1e3
            self._ack = seq
            self._last_ack_s = now_s
            self._sent_s = {s: at for s, at in self._sent_s.items() if s > seq}

    def _trade(self, message: Trading, now_s: float) -> None:
        if self._tickets is None:
            self._tickets = Tickets(self._answer, now_s)
        self._hub.trade(self._tickets, self.cutter.feed, message, now_s)

    async def _answer(self, answer: Answer) -> None:
        await self.tell(*answer)

    def offer(self, now_s: float) -> None:
        """Send what is new, unless the browser is behind or there is nothing to tell."""
        if not self._ready:
            return
        view = self.cutter.view
        if view is not self._view:
            self._view, self._cursor, self._marker = view, Cursor(), ()
        if self._sending is not None:
            return
        if self.in_flight_count >= IN_FLIGHT_MAX:
            if now_s - self._last_ack_s > ACK_TIMEOUT_S:
                self._cursor = Cursor()
            return
        marker = self.cutter.marker()
        if marker == self._marker and now_s - self._last_sent_s < IDLE_S:
            return
        if self._trimmed and self.cutter.state.speed != float("inf"):
            self._cursor = Cursor()
        restarts = self._cursor.epoch != view.epoch
        with_profile = restarts or now_s - self._last_profile_s >= PROFILE_S
        frame, self._trimmed = self.cutter.cut(self._cursor, with_profile=with_profile)
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
        self._steering = asyncio.Lock()
        self._trading = asyncio.Lock()
        self._overviews_s = clock_s()
        self._overviews_asked: set[Cutter] = set()

    def add(self, send: Send) -> Screen:
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
                self.round()
                await asyncio.sleep(next_s - self._clock_s())
        finally:
            for task in self._tasks:
                task.cancel()

    def round(self) -> None:
        """Offer every screen what is new."""
        for cutter in self.cutters:
            cutter.begin()
        for screen in list(self._screens):
            try:
                screen.offer(self._clock_s())
            except Exception:
                _log.exception("a screen is no longer fed")
                self.drop(screen)
        if self._clock_s() - self._overviews_s >= OVERVIEW_S:
            self._overviews_s = self._clock_s()
            self._renew_overviews()

    def steer(self, screen: Screen, message: Steering) -> None:
        """Carry out a command behind those before it, off the event loop."""
        self._spawn(self._steer(screen, screen.cutter.feed.transport, message))

    def trade(self, tickets: Tickets, feed: Feed, message: Trading, now_s: float) -> None:
        """Have a person's order carried out behind those before it, off the event loop."""
        self._spawn(tickets.take(feed, message, self._trading, now_s))

    def send_overview(self, cutter: Cutter, screens: list[Screen]) -> None:
        """Send the volume of all there is to seek in."""
        self._spawn(self._overview(cutter, screens))

    # The past of a session that goes on grows.
    def _renew_overviews(self) -> None:
        for cutter in self.cutters:
            screens = [s for s in self._screens if s.cutter is cutter and s.keeps_up]
            if screens and cutter not in self._overviews_asked and cutter.state.now_us > 0:
                self.send_overview(cutter, screens)

    async def _steer(self, screen: Screen, transport: Transport, message: Steering) -> None:
        async with self._steering:
            try:
                await asyncio.to_thread(_apply, transport, message)
            except FlowError as error:
                await screen.tell("refused", str(error))

    async def _overview(self, cutter: Cutter, screens: list[Screen]) -> None:
        self._overviews_asked.add(cutter)
        try:
            content = await asyncio.to_thread(_overview, cutter)
        finally:
            self._overviews_asked.discard(cutter)
        await asyncio.gather(*(screen.tell("overview", content) for screen in screens))

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _overview(cutter: Cutter) -> dict[str, object]:
    transport = cutter.feed.transport
    state = transport.state()
    return {
        "feed": cutter.index,
        "start_ms": state.start_us / 1000,
        "end_ms": (state.now_us or state.end_us) / 1000,
        "volume": transport.overview(OVERVIEW_BINS).tolist(),
    }


def _apply(transport: Transport, message: Steering) -> None:
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
        case Now():
            transport.to_now()
