"""What a session was told and asked, ready to be given to an engine again."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from flowtape.replay.script import Piece, Script
from flowtape.replay.tapes import Tape
from flowtape.replay.together import Tapes
from flowtape.stream.chain import Chain
from flowtape.stream.commands import Origin
from flowtape.stream.engine import Engine
from flowtape.stream.errors import FlowError
from flowtape.stream.genesis import Genesis, Parent
from flowtape.stream.inputs import Inputs
from flowtape.stream.instrument import Instrument
from flowtape.stream.recording import SessionSink
from flowtape.stream.records import Records
from flowtape.stream.session import Session, SessionError, SymbolGap, gaps_in
from flowtape.stream.strategy import Strategy

PIECE_ROWS = 1 << 17

OpenTape = Callable[[str, int | None, int | None], Tape]
"""Opens a tape by what a person called it, from a time to before another."""


class SessionRows:
    """A session's inputs in pieces: of its tapes, or its own; the end is not always among them.

    They are read when they are asked for, once, so reading may raise what opening them does. Those
    up to `before` may be left out; the others keep their numbers.
    """

    def __init__(self, segments: Iterable[Piece], before: int = 0) -> None:
        self.before = before
        """Inputs that are not among them."""
        self._segments: list[Piece] = []
        self._unread = iter(segments)

    @classmethod
    def of(
        cls, session: Session, open_tape: OpenTape, before: int = 0, stop: int | None = None
    ) -> "SessionRows":
        """Open the inputs of a session, of its own ones those behind `before` up to `stop`.

        Raises SessionError when its tapes are gone or have changed, JournalDamagedError when its
        own inputs are not what was written.
        """
        if session.genesis.tapes:
            tapes = opened_tapes(session, open_tape)
            return cls(tapes[0].segments() if len(tapes) == 1 else Tapes(tapes).segments())
        own = session.inputs(before + 1)
        return cls(own if stop is None else _first_of(own, stop - before), before)

    def __len__(self) -> int:
        return self.before + sum(map(len, self.segments()))

    def segments(self) -> list[Piece]:
        """Return all of them, in order."""
        self._segments.extend(self._unread)
        return list(self._segments)

    def _each(self) -> Iterator[Piece]:
        for number in itertools.count():
            if number == len(self._segments):
                following = next(self._unread, None)
                if following is None:
                    return
                self._segments.append(following)
            yield self._segments[number]

    def gaps(self, instruments: Sequence[Instrument]) -> tuple[SymbolGap, ...]:
        """Return the aggregate ids that no one could deliver, in order; none of tapes."""
        own = (segment for segment in self.segments() if isinstance(segment, Inputs))
        return gaps_in(own, instruments)

    def pieces(self, start: int, stop: int, cut: int = PIECE_ROWS) -> Iterator[Piece]:
        """Yield inputs [start, stop), counted from 0, as far as they are there, `cut` at a time."""
        base = self.before
        for segment in self._each():
            lower, upper = max(start - base, 0), min(stop - base, len(segment))
            base += len(segment)
            for at in range(lower, upper, cut):
                yield segment.slice(at, min(at + cut, upper))
            if base >= stop:
                return


def _first_of(pieces: Iterable[Inputs], count: int) -> Iterator[Inputs]:
    for piece in pieces:
        yield piece.slice(0, min(count, len(piece)))
        count -= len(piece)
        if count <= 0:
            return


def opened_tapes(session: Session, open_tape: OpenTape) -> list[Tape]:
    """Open the tapes of a session; raises SessionError when they are gone or have changed."""
    opened = []
    for ref, place in zip(session.genesis.tapes, session.places, strict=True):
        try:
            tape = open_tape(place, ref.from_us, ref.to_us)
        except FlowError as error:
            raise SessionError(f"the tape of session {session.id} is gone: {error}") from None
        if tape.sha256 != ref.sha256:
            raise SessionError(
                f"tape {place} is not what it was in session {session.id}: it had "
                f"{ref.row_count:,} trades in that range, now {len(tape):,} or other ones"
            )
        opened.append(tape)
    return opened


def feed(
    engine: Engine,
    rows: SessionRows,
    commands: Records,
    last_input: int,
    tick: Callable[[int], None] | None = None,
    *,
    cut: int = PIECE_ROWS,
) -> None:
    """Give an engine what follows its last input, up to another, and commands where they stand.

    `tick` is called with the inputs done.
    """
    script = Script(commands)
    for piece in rows.pieces(engine.input, last_input, cut):
        script.apply(engine, piece)
        if tick is not None:
            tick(engine.input)
    script.catch_up(engine, engine.input)


def engine_again(
    genesis: Genesis, strategy: Strategy | None, recorded: tuple[Chain, SessionSink]
) -> tuple[Engine, Parent | None]:
    """Return an engine to run a session again, and the fork at which its strategy begins, if so."""
    parent = genesis.parent
    fork = parent if strategy is not None and parent and parent.strategy_begins else None
    engine = Engine(
        genesis.instruments,
        genesis.config,
        strategy,
        shown=False,
        rests=fork is not None,
        recorded=recorded,
    )
    return engine, fork


def feed_to_fork(engine: Engine, rows: SessionRows, commands: Records, parent: Parent) -> int:
    """Bring an engine whose strategy rests to where that begins, repeating what was before.

    Returns how many commands of the parent's strategy that were.
    """
    common = commands[
        (commands["input"] < parent.input)
        | ((commands["input"] == parent.input) & (commands["place"] <= parent.place))
    ]
    feed(engine, rows, common, parent.input)
    return int(np.count_nonzero(common["origin"] == Origin.STRATEGY))
