"""Cuts the frames of one feed: what came since a cursor, trimmed to what a screen can show."""

from dataclasses import replace

import numpy as np

from flowtape.dashboards.frames import encode
from flowtape.stream.ports import Feed, TransportState
from flowtape.stream.records import Records
from flowtape.stream.view import Cursor, MarketView

PROFILE_ROWS_MAX = 2048
BARS_SENT_MAX = 1 << 17
BUBBLES_SENT_MAX = 1 << 14
PRINTS_SENT_MAX = 256
FILLS_SENT_MAX = 1 << 10
EQUITY_SENT_MAX = 1 << 12


class Cutter:
    """Cuts frames of one feed; readers who stand at the same place share the bytes."""

    def __init__(self, index: int, feed: Feed) -> None:
        self.index = index
        self.feed = feed
        self._cuts: dict[tuple[object, ...], tuple[bytes, Cursor, bool]] = {}
        self._view: MarketView | None = None
        self._state: TransportState | None = None

    def begin(self) -> None:
        """Begin a round: forget the cuts of the last one and look afresh."""
        self._cuts.clear()
        self._view = None
        self._state = None

    @property
    def view(self) -> MarketView:
        """What there is to see, asked once a round; a cursor of another view is void."""
        if self._view is None:
            self._view = self.feed.look()
        return self._view

    @property
    def state(self) -> TransportState:
        """Where the playback stands, asked once a round."""
        if self._state is None:
            self._state = self.feed.transport.state()
        return self._state

    @property
    def _notice(self) -> str:
        """What people should know of the feed now, and of what it brought."""
        return " · ".join(filter(None, (self.state.trouble, self.view.notice)))

    def marker(self) -> tuple[object, ...]:
        """Return something that changes when there is anything new to show but the clock."""
        view, state = self.view, self.state
        return (
            view.epoch,
            int(view.snapshot["input"]),
            view.bars.head,
            view.fills.head,
            view.equity.head,
            self._notice,
            view.orders.tobytes(),
            state.playing,
            state.speed,
            state.ended,
            state.looking_back,
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
            notice = self._notice
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


def _coarser(profile: Records, row_ticks: int) -> tuple[Records, int]:
    merged_ticks = row_ticks * -(-len(profile) // PROFILE_ROWS_MAX)
    group = profile["price_ticks"] // merged_ticks
    starts = np.flatnonzero(np.diff(group, prepend=group[0] - 1))
    rows = np.zeros(len(starts), profile.dtype)
    rows["price_ticks"] = group[starts] * merged_ticks
    for side in ("buy_lots", "sell_lots"):
        rows[side] = np.add.reduceat(profile[side], starts)
    return rows, merged_ticks
