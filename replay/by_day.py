"""A tape's trades by UTC day, as an archive asks for them."""

from collections.abc import Callable
from datetime import date

from flowtape.replay import layout
from flowtape.replay.parts import Part
from flowtape.replay.tapes import Tape
from flowtape.stream.trades import Trades


def trades_by_day(tape: Tape) -> Callable[[date], Trades | None]:
    """Return what gives all trades of a day of the tape, on its grid, or None.

    Days are whole even where the tape was opened from the middle of one on.
    """
    days: dict[date, list[Part]] = {}
    for part in tape.parts:
        days.setdefault(layout.day_of(part.meta.first_us), []).append(part)

    def of_day(day: date) -> Trades | None:
        parts = days.get(day)
        if parts is None:
            return None
        return Trades.concat([part.trades(0, part.meta.row_count) for part in parts])

    return of_day
