"""How far a connection is behind the venue."""

LAG_US_MAX = 5_000_000
LAG_SPAN_US = 10_000_000
"""So far behind for so long is too much: the venue's queue for this connection does not empty."""


def clock_off_us(before_us: int, venue_us: int, after_us: int) -> int:
    """Return how far a clock is ahead of the venue's at least, negative when it is behind.

    It read `before_us` and `after_us` around the question to which the venue said `venue_us`.
    """
    return max(before_us - venue_us, 0) + min(after_us - venue_us, 0)


class LagMeter:
    """The way of frames from the venue's clock to ours, against the fastest frame so far.

    The two clocks need not agree: only what changes counts.
    """

    def __init__(self) -> None:
        self._delay_us = 0
        self._delay_us_min: int | None = None
        self._behind_us: int | None = None
        self._worst_us = 0

    @property
    def lag_us(self) -> int:
        """Return how much longer the last frame took than the fastest one."""
        return self._delay_us - (self._delay_us_min or 0)

    def take_worst_us(self) -> int:
        """Return the longest lag since this was last asked."""
        worst_us, self._worst_us = self._worst_us, 0
        return worst_us

    def observe(self, event_us: int, received_us: int, *, first: bool) -> bool:
        """Take a frame's two times; `first` begins anew. Tells whether it is time for another."""
        delay_us = self._delay_us = received_us - event_us
        if first or self._delay_us_min is None or delay_us < self._delay_us_min:
            self._delay_us_min = delay_us
        self._worst_us = max(self._worst_us, delay_us - self._delay_us_min)
        if delay_us - self._delay_us_min < LAG_US_MAX:
            self._behind_us = None
        elif self._behind_us is None:
            self._behind_us = received_us
        elif received_us - self._behind_us > LAG_SPAN_US:
            self._behind_us = None
            return True
        return False
