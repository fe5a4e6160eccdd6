"""Statements of time in quiet markets, made from the venue's own clock."""

from flowtape.stream.ports import Clock

MARGIN_US = 200_000
"""How far statements stay behind the venue, so that trades under way still come before them."""

GRAIN_US = 1_000


class MarketClock:
    """Tell stream time while no trade does.

    The venue's present is its last push time plus what has passed here since that push arrived;
    the way from there to here took some time, so the estimate is never ahead of the venue.
    """

    def __init__(self, quiet_us: int) -> None:
        self._quiet_us = quiet_us
        self._pushed_us: int | None = None
        self._received_us = 0
        self._stream_us = 0
        self._emitted_us = 0

    def pushed(self, event_us: int, received_us: int) -> None:
        """Take the venue's time of a frame that was received at `received_us`, our clock."""
        self._pushed_us = event_us
        self._received_us = received_us

    def emitted(self, now_us: int, stream_us: int = 0) -> None:
        """Take note that an event went out, with the trade time it reached."""
        self._emitted_us = now_us
        self._stream_us = max(self._stream_us, stream_us)

    def venue_us(self, now_us: int) -> int | None:
        """Return the venue's present, or None before its first push."""
        if self._pushed_us is None:
            return None
        return self._pushed_us + now_us - self._received_us

    def wake_us(self) -> int:
        """Return when the next statement may be due."""
        return self._emitted_us + self._quiet_us

    def statement(self, now_us: int) -> Clock | None:
        """Return the statement that is due after a quiet while, if it says anything new."""
        if now_us < self.wake_us():
            return None
        self.emitted(now_us)
        venue_us = self.venue_us(now_us)
        if venue_us is None:
            return None
        ts_us = (venue_us - MARGIN_US) // GRAIN_US * GRAIN_US
        if ts_us <= self._stream_us:
            return None
        self._stream_us = ts_us
        return Clock(ts_us)
