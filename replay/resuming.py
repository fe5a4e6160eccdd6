"""Going on with a session whose process was killed."""

import sys
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from flowtape.replay.session_rows import OpenTape, SessionRows, feed, feed_to_fork
from flowtape.replay.verifying import Comparer, check_semantics
from flowtape.stream.chain import Chain
from flowtape.stream.checkpoints import Standing, Standings
from flowtape.stream.commands import DiffersError, Origin
from flowtape.stream.engine import Engine
from flowtape.stream.inputs import Inputs
from flowtape.stream.journal import SyncPolicy
from flowtape.stream.journal_files import OsFiles
from flowtape.stream.memory import MemoryDamagedError, recall
from flowtape.stream.records import Records
from flowtape.stream.session import Session, SessionWriter
from flowtape.stream.strategy import Strategy
from flowtape.stream.waypoints import BlockEnd, Waypoint

Tick = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Resumed:
    """A session that goes on.

    Attributes:
        engine: stands behind the last input that is known to have been applied.
        writer: keeps what follows.
        rows: the inputs that are there, for a session over tapes those to come as well; of one that
            grows perhaps the last ones only.
        notice: what people should know, empty when all went as it should.
    """

    engine: Engine
    writer: SessionWriter
    rows: SessionRows
    notice: str


class _CatchUp:
    """A sink that compares with what was recorded, as far as that goes, and keeps what follows."""

    def __init__(
        self,
        writer: SessionWriter,
        links: Records,
        commands: Records,
        last_asked: int,
        block_count: int,
    ) -> None:
        self._writer = writer
        self._links = links
        self._commands = commands
        self._last_asked = last_asked
        """The last input that anyone's recorded command follows."""
        self._comparer = Comparer(links, commands)
        self._comparer.block_count = block_count
        self._lost: list[Records] = []
        """Commands of a closed block that the journal has lost, if that is what they are."""
        self.caught_up = False

    def pass_over(self, count: int) -> None:
        """Do without so many commands, which are repeated before the strategy decides."""
        self._comparer.command_count = count

    def inputs(self, inputs: Inputs) -> None:
        self._writer.inputs(inputs)

    def commands(self, commands: Records, *, durable: bool) -> None:
        left = len(self._commands) - self._comparer.command_count
        if self.caught_up or left == 0:
            closed = int(self._links["input"][-1]) if len(self._links) else -1
            at_input = int(commands[0]["input"])
            if not self.caught_up and at_input <= self._last_asked:
                # It would stand before what a person asked for later, and is not recorded.
                raise DiffersError(
                    f"the strategy asks for something more behind input {at_input:,}"
                )
            if at_input <= closed:
                self._lost.append(commands)
            else:
                self._writer.commands(commands, durable=durable)
            return
        self._comparer.commands(commands[:left], durable=durable)
        if len(commands) > left:
            raise DiffersError("the strategy asks for more orders at once than it did")

    def link(self, link: Records, end: BlockEnd) -> None:
        if self._comparer.block_count == len(self._links):
            self._writer.link(link, end)
            return
        try:
            self._comparer.link(link)
        except DiffersError:
            if not self._lost:
                raise
            raise DiffersError(
                f"the strategy asks for something more behind input "
                f"{int(self._lost[0][0]['input']):,}"
            ) from None
        # The block was made of them: a loss of power took them, and not its link.
        for commands in self._lost:
            self._writer.commands(commands, durable=False)
        self._lost.clear()

    def settled(self, engine: Standings) -> None:
        if self.caught_up:
            self._writer.settled(engine)


def resume(
    session: Session,
    open_tape: OpenTape,
    strategy: Strategy | None = None,
    *,
    shown: bool = False,
    until: int | None = None,
    tick: Tick | None = None,
    sync: SyncPolicy = "1s",
    files: OsFiles | None = None,
) -> Resumed:
    """Bring a session back to where it was left, with `strategy` made anew from its genesis.

    What was recorded behind the newest waypoint that serves is applied again. The strategy
    remembers what it did at the newest checkpoint and decides again from there; should it decide
    otherwise than is recorded, then what is recorded counts, and `notice` says so. With `until` it
    goes no further than that input.

    Raises InputError when the session has ended, SessionError, JournalError and
    JournalDamagedError when it cannot be gone on with, OtherSemanticsError when this kernel is
    another one.
    """
    check_semantics(session)
    writer = SessionWriter.resume(session.folder, sync=sync, files=files)
    try:
        return _Resuming(session, writer, open_tape, shown=shown, until=until, tick=tick).go(
            strategy
        )
    except BaseException:
        writer.close()
        raise


class _Resuming:
    def __init__(
        self,
        session: Session,
        writer: SessionWriter,
        open_tape: OpenTape,
        *,
        shown: bool,
        until: int | None,
        tick: Tick | None,
    ) -> None:
        self._session, self._writer, self._open_tape = session, writer, open_tape
        self._shown, self._tick = shown, tick
        self._links, self._commands = session.links(), session.commands()
        genesis = session.genesis
        # A branch has the inputs of its parent from the start, like a tape.
        self._grows = not genesis.tapes and genesis.parent is None
        own_count = writer.input_count if self._grows else None
        self._standing = session.checkpoint(own_count)
        reached = [0 if own_count is None else own_count]
        reached += [int(self._commands["input"][-1])] if len(self._commands) else []
        # A block is closed when the input behind it, or the end, is about to be applied.
        reached += [int(self._links["input"][-1]) + 1] if len(self._links) else []
        reached += [self._standing.input] if self._standing else []
        reached += [genesis.parent.input] if genesis.parent else []
        self._known = max(reached) if until is None else until
        """The last input that is known to have been there."""
        self._waypoint: Waypoint | None = None
        self._rows = SessionRows.of(session, open_tape)

    def go(self, strategy: Strategy | None) -> Resumed:
        if strategy is None:
            engine, notice = self._repeat(None), ""
        else:
            try:
                engine, notice = self._as_it_did(strategy), ""
            except DiffersError as error:
                # More may have been written behind what was recorded before it differed.
                self._links, self._commands = self._session.links(), self._session.commands()
                engine = self._repeat(strategy)
                standing = self._standing
                if standing is not None and standing.memory is not None:
                    engine.take_up(standing, _recalled(standing, strategy))
                    since = f"what it knew behind input {standing.input:,}"
                else:
                    engine.begin_strategy()
                    since = "nothing of what was before"
                notice = f"the strategy does not decide as it did: {error}; it goes on with {since}"
        self._writer.go_on_from(self._waypoint)
        return Resumed(engine, self._writer, self._rows, notice)

    def _start_at(self, waypoint: Waypoint | None) -> None:
        self._waypoint = waypoint
        genesis = self._session.genesis
        if self._grows:
            before = 0 if waypoint is None else waypoint.input
            self._rows = SessionRows.of(self._session, self._open_tape, before)
        if waypoint is None:
            self._writer.chain = Chain.of(genesis)
        else:
            self._writer.chain = Chain.behind(
                genesis, waypoint.block, waypoint.input, waypoint.chain
            )

    def _start_near(self, standing: Standing | None, *, bars: bool) -> None:
        """Start at the newest waypoint that is not behind a place of the strategy."""
        up_to = self._known, sys.maxsize
        if standing is not None:
            up_to = min(up_to, (standing.input, standing.place))
        self._start_at(self._session.waypoint(bars=bars, up_to=up_to))

    def _repeat(self, strategy: Strategy | None) -> Engine:
        """Apply all that is recorded, the strategy resting."""
        remembers = self._standing is not None and self._standing.memory is not None
        self._start_near(
            self._standing if strategy is not None and remembers else None,
            bars=self._shown or strategy is not None,
        )
        sink = self._sink(self._commands)
        engine = self._engine(strategy, sink, rests=True)
        self._catch_up(engine, self._commands, sink)
        return engine

    def _as_it_did(self, strategy: Strategy) -> Engine:
        try:
            return self._decide_again(strategy)
        except MemoryDamagedError:
            # What another strategy remembered; this one decides again from the start.
            self._standing = None
            self._links, self._commands = self._session.links(), self._session.commands()
            return self._decide_again(strategy)

    def _decide_again(self, strategy: Strategy) -> Engine:
        decided = self._commands[self._commands["origin"] == Origin.STRATEGY]
        asked = self._commands[self._commands["origin"] == Origin.PERSON]
        standing, parent = self._standing, self._session.genesis.parent
        remembers = standing is not None and standing.memory is not None
        if remembers:
            self._start_near(standing, bars=True)
        else:
            self._start_at(None)
        sink = self._sink(decided)
        begins = parent is not None and parent.strategy_begins
        engine = self._engine(strategy, sink, rests=remembers or begins)
        if standing is not None and remembers:
            earlier = self._commands[: standing.command_count]
            sink.pass_over(int(np.count_nonzero(earlier["origin"] == Origin.STRATEGY)))
            feed(engine, self._rows, earlier, standing.input, self._tick)
            engine.take_up(standing, _recalled(standing, strategy))
        elif parent is not None and begins:
            sink.pass_over(feed_to_fork(engine, self._rows, self._commands, parent))
            engine.begin_strategy()
        self._catch_up(engine, asked, sink)
        return engine

    def _catch_up(self, engine: Engine, commands: Records, sink: _CatchUp) -> None:
        """Apply all that is known to have been there; what follows is new."""
        feed(engine, self._rows, commands, self._known, self._tick)
        if self._known > len(self._rows) and not engine.ended:
            engine.end()
        sink.caught_up = True

    def _sink(self, compared: Records) -> _CatchUp:
        last_asked = int(self._commands["input"][-1]) if len(self._commands) else -1
        block_count = 0 if self._waypoint is None else self._waypoint.block
        return _CatchUp(self._writer, self._links, compared, last_asked, block_count)

    def _engine(self, strategy: Strategy | None, sink: _CatchUp, *, rests: bool) -> Engine:
        genesis = self._session.genesis
        return Engine(
            genesis.instruments,
            genesis.config,
            strategy,
            shown=self._shown,
            rests=rests,
            recorded=(self._writer.chain, sink),
            waypoint=self._waypoint,
        )


def _recalled(standing: Standing, strategy: Strategy) -> Strategy:
    assert standing.memory is not None
    return recall(standing.memory.encode(), strategy)
