"""Making trades happen, at a pace, and telling the clients about them."""

import asyncio
import math
from collections.abc import Callable, Sequence

from flowtape.connectors.venue.broken_frames import broken_frame
from flowtape.connectors.venue.faults import (
    Abort,
    Backdate,
    Close,
    Deny,
    Drop,
    Fault,
    Forget,
    Halt,
    Hold,
    Lag,
    Mute,
    Refilter,
    Refuse,
    RestFault,
    Shutdown,
    Skew,
    Stall,
    Void,
)
from flowtape.connectors.venue.faulty_stream import Action, Run
from flowtape.connectors.venue.frames import Shape, text_frames, wrapped
from flowtape.connectors.venue.hub import Hub
from flowtape.connectors.venue.listing import Listing
from flowtape.connectors.venue.streams import Message
from flowtape.connectors.venue.wire import shutdown_notice
from flowtape.stream.trades import Trades

SLICE_ROWS = 1_024
SLEEP_S_MAX = 0.5
TOGETHER_US = 100_000
"""How far apart the markets of several symbols may be when there is no pace."""

_MS = 1_000


class MarketPlayer:
    """Plays the listings of a venue on one clock.

    Args:
        listings: at least one.
        hub: who is told.
        speed: stream seconds for each wall second, `inf` for no pace; None to be moved by hand.
        wall_us: the wall clock if times are to be moved to now.
        change: takes faults that concern the server and not the market.
        happened: takes what happens on the market, before any client hears of it and whatever
            is wrong with what they hear.
    """

    def __init__(
        self,
        listings: Sequence[Listing],
        hub: Hub,
        *,
        speed: float | None,
        wall_us: Callable[[], int] | None,
        change: Callable[[RestFault | Refuse | Deny], None],
        happened: Callable[[Listing, Trades], None] | None = None,
    ) -> None:
        self._listings = listings
        self._hub = hub
        self._speed = speed
        self._wall_us = wall_us
        self._change = change
        self._happened = happened
        self._paced = speed is not None and not math.isinf(speed)
        self._played_from: tuple[float, int] | None = None
        self._followed: frozenset[str] = frozenset()

    @property
    def watched(self) -> bool:
        """Whether anybody takes a stream of any listing."""
        symbols = tuple(f"{listing.symbol.lower()}@" for listing in self._listings)
        return any(name.startswith(symbols) and self._hub.takers(name) for name in self._hub.names)

    def clock_us(self) -> int:
        """Return the venue's time."""
        skew_us = self._listings[0].skew_us
        if self._played_from is not None and self._paced and self._speed is not None:
            from_s, from_us = self._played_from
            passed_s = asyncio.get_running_loop().time() - from_s
            return from_us + int(passed_s * self._speed * 1e6) + skew_us
        if self._wall_us is not None and self._played_from is None:
            return self._wall_us() + skew_us
        now_us = max(listing.market.now_us for listing in self._listings)
        return (now_us or self._first_us() or 0) + skew_us

    def inject(self, listing: Listing, fault: Fault) -> None:
        """Let a fault happen when its time comes."""
        match fault:
            case Drop(everywhere=True):
                listing.market.lose(range(fault.from_id, fault.to_id + 1))
            case Void() | Backdate():
                listing.market.rewrite(fault)
            case RestFault(at=0) | Refuse(at=0) | Deny(at=0) | Lag(at=0) | Refilter(at=0):
                self._stand(listing, fault)
                return
        listing.faults.inject(fault)

    async def publish(self, listing: Listing, count: int) -> int:
        """Let the next `count` trades of a listing happen; return how many there were."""
        left = count
        while left:
            happened = await self._step(listing, min(left, SLICE_ROWS), None)
            if not happened and listing.market.next_us is None:
                break
            left -= happened
            await asyncio.sleep(0)
        return count - left

    def move_to_now(self) -> None:
        """Move all times so that the next trade is due now, if times are to be moved.

        What has happened stays there; trades to come move on until playing begins.
        """
        by_us = self._behind_us()
        for listing in self._listings:
            listing.shift(by_us)

    async def play(self) -> None:
        """Let everything happen, at the speed."""
        loop = asyncio.get_running_loop()
        by_us = self._behind_us()
        for listing in self._listings:
            listing.market.postpone(by_us)
        self._played_from = (loop.time(), self._first_us() or 0)
        while (next_us := self._first_us()) is not None:
            until_us = self._until_us(next_us)
            happened = 0
            for listing in self._listings:
                happened += await self._step(listing, SLICE_ROWS, until_us)
            await asyncio.sleep(0 if happened else self._wait_s(next_us))
        await self._hub.flush()

    def _behind_us(self) -> int:
        first_us = self._first_us()
        if first_us is None or self._wall_us is None:
            return 0
        return (self._wall_us() - first_us) // _MS * _MS

    def _until_us(self, next_us: int) -> int | None:
        if self._paced:
            return self.steady_us()
        return None if len(self._listings) == 1 else next_us + TOGETHER_US

    def steady_us(self) -> int:
        """Return the market's time, which no fault moves."""
        return self.clock_us() - self._listings[0].skew_us

    def _wait_s(self, next_us: int) -> float:
        if not self._paced or self._speed is None:
            return 0.0
        due = [us for listing in self._listings if (us := listing.due_us()) is not None]
        wait_s = (min([next_us, *due]) - self.steady_us()) / 1e6 / self._speed
        return max(0.0, min(SLEEP_S_MAX, wait_s))

    def _first_us(self) -> int | None:
        times = [us for listing in self._listings if (us := listing.market.next_us) is not None]
        return min(times, default=None)

    async def _step(self, listing: Listing, count: int, until_us: int | None) -> int:
        """Let trades happen up to the next moment at which a clock-driven stream is due."""
        if self._followed is not self._hub.names:
            self._followed = self._hub.names
            for one in self._listings:
                one.follow(self._followed, self.steady_us())
        due_us = listing.due_us()
        if due_us is None:
            limit_us = until_us
        else:
            limit_us = due_us - 1 if until_us is None else min(until_us, due_us - 1)
        trades = listing.market.advance(count, limit_us, listing.faults.next_id)
        if self._happened is not None and len(trades):
            self._happened(listing, trades)
        for pulse in listing.pulses.values():
            pulse.add(listing.market.kept(trades))
        for action in listing.faults.actions(trades):
            await self._perform(listing, action)
        if due_us is not None and len(trades) < count:
            next_us = listing.market.next_us
            reached_us = until_us if until_us is not None else next_us
            if next_us is not None and reached_us is not None:
                reached_us = min(reached_us, next_us)
            if reached_us is not None and reached_us >= due_us:
                await self._turn(listing, reached_us)
        return len(trades)

    async def _turn(self, listing: Listing, now_us: int) -> None:
        for name, pulse in listing.pulses.items():
            if pulse.next_us > now_us:
                continue
            messages = pulse.turn(now_us)
            if messages:
                await self._tell(name, messages)

    async def _tell(self, name: str, messages: list[Message]) -> None:
        def frames(shape: Shape) -> bytes:
            payloads = [message(shape.unit_us) for message in messages]
            return text_frames(wrapped(name, payloads, shape), shape.deflate)

        await self._hub.send(name, frames, patient=not self._paced)

    async def _perform(self, listing: Listing, action: Action) -> None:
        match action:
            case Run():
                await self._send(listing, action)
            case Shutdown():
                event_us = listing.event_us
                self._hub.tell_all(
                    lambda shape: text_frames(shutdown_notice(event_us, shape), shape.deflate)
                )
            case Abort() | Close() | Stall() | Hold():
                self._hub.break_all(action)
            case Halt():
                await self._halt(action)
            case _:
                self._stand(listing, action)

    async def _send(self, listing: Listing, run: Run) -> None:
        wire, trades = listing.wire, run.trades
        events = listing.event_times(trades)
        patient = not self._paced

        def frames(shape: Shape) -> bytes:
            if run.garble is not None:
                return broken_frame(wire, trades, events, shape, run.garble)
            return text_frames(wire.agg_trades(trades, events, shape), shape.deflate)

        def raw_frames(shape: Shape) -> bytes:
            return text_frames(wire.raw_trades(trades, events, shape), shape.deflate)

        await self._hub.send(wire.stream, frames, patient=patient)
        if listing.raw_trades:
            await self._hub.send(listing.raw_stream, raw_frames, patient=patient)

    def _stand(self, listing: Listing, fault: Action) -> None:
        match fault:
            case Mute():
                self._hub.mute(fault, listing.symbol)
            case Skew(by_ms=by_ms):
                for one in self._listings:
                    one.skew_us = by_ms * _MS
            case Refilter(filter=name, values=values):
                listing.filters[name] = listing.filters.get(name, {}) | values
            case Lag(rows=rows, count=count):
                listing.lags += [rows] * count
            case Forget(rows=rows):
                listing.market.kept_rows = rows
            case RestFault() | Refuse() | Deny():
                self._change(fault)

    async def _halt(self, fault: Halt) -> None:
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        before = [listing.status for listing in self._listings]
        for listing in self._listings:
            listing.status = fault.status
        await asyncio.sleep(fault.for_s)
        for listing, status in zip(self._listings, before, strict=True):
            listing.status = status
        if self._played_from is not None:
            # the market goes on where it stopped, later
            from_s, from_us = self._played_from
            self._played_from = (from_s + loop.time() - began_s, from_us)
