"""Sessions as they are made, ended and run again."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from flowtape.replay.script import Script
from flowtape.replay.session_rows import OpenTape, SessionRows, engine_again, feed, feed_to_fork
from flowtape.replay.tapes import Tape
from flowtape.replay.track import Track
from flowtape.replay.verifying import check_semantics
from flowtape.stream.chain import Chain
from flowtape.stream.checkpoints import Standings
from flowtape.stream.commands import Origin
from flowtape.stream.config import EngineConfig
from flowtape.stream.engine import Engine
from flowtape.stream.genesis import Genesis, StrategyIdentity, TapeRef
from flowtape.stream.inputs import Inputs
from flowtape.stream.instrument import Instrument
from flowtape.stream.records import Records
from flowtape.stream.session import Session, SessionError
from flowtape.stream.strategy import Strategy
from flowtape.stream.waypoints import BlockEnd


@dataclass(frozen=True, slots=True)
class Range:
    """A tape and the times that were asked of it; None: from its first, to its last trade."""

    tape: Tape
    from_us: int | None = None
    to_us: int | None = None


def genesis_of(
    ranges: Sequence[Range], config: EngineConfig, strategy: Strategy | None, name: str | None
) -> Genesis:
    """Return the genesis of a session over tapes; `name` is what the strategy was asked for by."""
    if strategy is not None:
        config = replace(config, decide=type(strategy).decide)
    return Genesis(
        instruments=tuple(one.tape.instrument for one in ranges),
        config=config,
        strategy=None if strategy is None else StrategyIdentity.of(strategy, name),
        tapes=tuple(
            TapeRef(
                market=one.tape.instrument.market,
                symbol=one.tape.instrument.symbol,
                sha256=one.tape.sha256,
                row_count=len(one.tape),
                from_us=one.from_us,
                to_us=one.to_us,
            )
            for one in ranges
        ),
    )


def live_genesis(
    instruments: Instrument | Sequence[Instrument],
    config: EngineConfig,
    strategy: Strategy | None,
    name: str | None,
) -> Genesis:
    """Return the genesis of a session that keeps its own inputs."""
    if isinstance(instruments, Instrument):
        instruments = (instruments,)
    if strategy is not None:
        config = replace(config, decide=type(strategy).decide)
    identity = None if strategy is None else StrategyIdentity.of(strategy, name)
    return Genesis(instruments=tuple(instruments), config=config, strategy=identity, tapes=())


def repeated(session: Session, rows: SessionRows) -> tuple[Track, Chain]:
    """Return a track of a session that runs no strategy and cannot go back, and its chain."""
    genesis = session.genesis
    chain = Chain.of(genesis)
    engine = Engine(genesis.instruments, genesis.config, shown=False, recorded=(chain, _Nowhere()))
    return Track(engine, rows, Script(session.commands())), chain


class _Nowhere:
    """A sink that keeps nothing: only the chain is wanted."""

    def inputs(self, inputs: Inputs) -> None: ...

    def commands(self, commands: Records, *, durable: bool) -> None: ...

    def link(self, link: Records, end: BlockEnd) -> None: ...

    def settled(self, engine: Standings) -> None: ...


def run_as_recorded(session: Session, open_tape: OpenTape) -> Engine:
    """Repeat a session as far as it was kept and end it; no strategy runs."""
    check_semantics(session)
    track, _ = repeated(session, SessionRows.of(session, open_tape))
    track.advance(track.row_count)
    return track.engine


def run_again(
    session: Session,
    open_tape: OpenTape,
    strategy: Strategy | None,
    tick: Callable[[int], None] | None = None,
) -> tuple[Engine, bytes]:
    """Run a whole session again; returns the engine at its end, and the digest it comes to.

    People's commands are given again where they stand; without a strategy its commands are too.
    Raises SessionError when the session did not end or its tapes are gone.
    """
    genesis, commands = session.genesis, session.commands()
    check_semantics(session)
    if not session.ended:
        raise SessionError(f"session {session.id} did not end; see: flowtape verify {session.id}")
    given = commands if strategy is None else commands[commands["origin"] == Origin.PERSON]
    chain = Chain.of(genesis)
    engine, fork = engine_again(genesis, strategy, (chain, _Nowhere()))
    rows = SessionRows.of(session, open_tape)
    if fork is not None:
        feed_to_fork(engine, rows, commands, fork)
        engine.begin_strategy()
    feed(engine, rows, given, len(rows), tick)
    if not engine.ended:
        engine.end()
    return engine, chain.value
