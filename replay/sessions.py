"""Sessions over tapes: keeping them, finding them, and finding out whether they are the same."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from flowtape._kernel import SEMANTICS_VERSION
from flowtape.replay.metrics import measure
from flowtape.replay.parts import TapeColumns
from flowtape.replay.tapes import Tape
from flowtape.replay.together import Tapes
from flowtape.replay.track import apply_piece
from flowtape.stream.chain import Chain
from flowtape.stream.commands import CommandKind, DiffersError, Origin
from flowtape.stream.config import EngineConfig
from flowtape.stream.engine import Engine
from flowtape.stream.errors import FlowError, InputError
from flowtape.stream.genesis import Genesis, StrategyIdentity, TapeRef
from flowtape.stream.records import Records
from flowtape.stream.session import Session, SessionError, Summary
from flowtape.stream.strategy import Strategy

PREFIX_LEAST = 4


class OtherSemanticsError(FlowError):
    """A session was made by a kernel whose equal inputs may give other results."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found when a session was run again.

    Attributes:
        digest: hex of the newest link that was compared.
        block_count: links compared.
        input_count: inputs up to the newest of them.
        command_count: commands given again, or compared.
        ended: the session had ended; otherwise it was compared as far as its links reach.
        difference: the first one, in words; None when there is none.
    """

    digest: str
    block_count: int
    input_count: int
    command_count: int
    ended: bool
    difference: str | None


class SessionStore:
    """The sessions below a folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def folders(self) -> list[Path]:
        """Return the folders of all sessions, oldest first."""
        return sorted(path.parent for path in self.root.glob("*/genesis.json"))

    def sessions(self) -> list[Session]:
        """Return all sessions, oldest first; folders that cannot be read raise SessionError."""
        return [Session.open(folder) for folder in self.folders()]

    def open(self, ref: str) -> Session:
        """Open a session by its folder, its id, the beginning of its id, or `last`.

        Raises InputError when that names none or several, SessionError when it is damaged.
        """
        if (Path(ref) / "genesis.json").is_file():
            return Session.open(Path(ref))
        names = [folder.name for folder in self.folders()]
        if ref == "last" and names:
            return Session.open(self.root / names[-1])
        begins = ref.upper() if len(ref) >= PREFIX_LEAST else " "
        found = [name for name in names if name.startswith(begins)]
        if len(found) == 1:
            return Session.open(self.root / found[0])
        if found:
            raise InputError(f"{len(found)} sessions begin with {ref}; give more of the id")
        raise InputError(f"there is no session {ref} below {self.root}; see: flowtape sessions")


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


def summary_of(engine: Engine, digest: bytes) -> Summary:
    """Return what became of an engine whose stream has ended."""
    snapshot, ledger = engine.snapshot, engine.ledger
    return Summary(
        digest=digest.hex(),
        input_count=int(snapshot["input"]),
        trade_count=engine.trade_count,
        start_us=engine.start_us,
        end_us=int(snapshot["stream_us"]),
        order_count=len(ledger.placed()),
        fill_count=ledger.fills.head,
        net_pnl=measure(engine.instruments, engine.config, ledger, snapshot).net_pnl,
    )


OpenTape = Callable[[str, int | None, int | None], Tape]
"""Opens a tape by what a person called it, from a time to before another."""


def tapes_of(session: Session, open_tape: OpenTape) -> Tape | Tapes:
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
    if not opened:
        raise SessionError(f"session {session.id} names no tape")
    return opened[0] if len(opened) == 1 else Tapes(opened)


def feed(engine: Engine, pieces: Iterable[TapeColumns], commands: Records, last_input: int) -> int:
    """Give an engine trades up to an input, and commands where they stand; returns its input."""
    at_input = int(engine.snapshot["input"])
    positions, starts = np.unique(commands["input"], return_index=True)
    groups = np.split(commands, starts[1:]) if len(commands) else []
    behind = dict(zip(positions.tolist(), groups, strict=True))
    stops = iter([*(p for p in positions.tolist() if p > at_input), last_input])
    stop = next(stops)
    if at_input in behind:
        engine.repeat(behind[at_input])
    for piece in pieces:
        at = 0
        while at < len(piece):
            if at_input == last_input:
                return at_input
            count = min(len(piece) - at, min(stop, last_input) - at_input)
            apply_piece(engine, piece.slice(at, at + count))
            at, at_input = at + count, at_input + count
            if at_input == stop:
                if stop in behind:
                    engine.repeat(behind[stop])
                stop = next(stops, last_input)
    return at_input


class _Comparer:
    """A sink that compares what a session leads to with what it led to."""

    def __init__(self, links: Records, commands: Records) -> None:
        self._links = links
        self._commands = commands
        self.block_count = self.command_count = 0

    def commands(self, commands: Records, *, durable: bool) -> None:
        for made in commands:
            at = self.command_count
            recorded = self._commands[at] if at < len(self._commands) else None
            if recorded is None or recorded.tobytes() != made.tobytes():
                then = "asked for nothing more" if recorded is None else _words(recorded)
                raise DiffersError(
                    f"the strategy's command {at + 1} differs: recorded is {then}; now it is "
                    f"{_words(made)}"
                )
            self.command_count += 1

    def link(self, link: Records) -> None:
        at = self.block_count
        if at >= len(self._links):
            raise DiffersError(f"the session had {at} blocks, now it has more")
        recorded = self._links[at]
        first = int(self._links[at - 1]["input"]) + 1 if at else 1
        where = f"block {at} (inputs {first:,} to {int(recorded['input']):,})"
        if int(recorded["input"]) != int(link[0]["input"]):
            raise DiffersError(f"{where} ends at another input now: {int(link[0]['input']):,}")
        for name, said in (
            ("inputs", "inputs or commands"),
            ("outputs", "fills, order events or equity"),
            ("state", "the kernel's state behind it"),
            ("chain", "its link to the block before"),
        ):
            if recorded[name].tobytes() != link[0][name].tobytes():
                raise DiffersError(f"{where} differs in {said}")
        self.block_count += 1


def verify(
    session: Session,
    open_tape: OpenTape,
    strategy: Strategy | None = None,
    tick: Callable[[int], None] | None = None,
) -> Verdict:
    """Run a session again and compare it, block by block, with what was kept.

    Its commands are given again as they are recorded; with a `strategy` that one decides anew, and
    only people's commands are given again. `tick` is called with the trades done.

    Raises SessionError or JournalDamagedError when it cannot be read, OtherSemanticsError when
    this kernel is another one.
    """
    genesis = session.genesis
    _check_semantics(session)
    links, commands = session.links(), session.commands()
    tapes = tapes_of(session, open_tape)
    ended = session.summary is not None
    compared = commands[commands["origin"] == Origin.STRATEGY]
    given = commands if strategy is None else commands[commands["origin"] == Origin.PERSON]
    comparer = _Comparer(links, compared)
    chain = Chain(genesis.sha256)
    last_input = int(links["input"][-1]) - ended if len(links) else 0
    difference = None
    try:
        engine = Engine(
            genesis.instruments, genesis.config, strategy, shown=False, recorded=(chain, comparer)
        )
        pieces = tapes.read_batches(cached=True)
        reached = feed(engine, _told(pieces, tick), given, last_input)
        if reached < last_input:
            raise DiffersError(f"its tapes end at input {reached:,}, not at {last_input:,}")
        if ended:
            engine.end()
        else:
            engine.close_full_block()
        if strategy is not None and comparer.command_count < len(compared):
            missing = compared[comparer.command_count]
            raise DiffersError(
                f"the strategy's command {comparer.command_count + 1} is missing: recorded is "
                f"{_words(missing)}"
            )
        if comparer.block_count < len(links):
            raise DiffersError(f"the session had {len(links)} blocks, now {comparer.block_count}")
        if session.summary is not None and session.summary.digest != chain.value.hex():
            raise DiffersError("its summary names another digest than its links")
    except DiffersError as error:
        difference = str(error)
    return Verdict(
        digest=chain.value.hex(),
        block_count=comparer.block_count,
        input_count=int(links["input"][comparer.block_count - 1]) if comparer.block_count else 0,
        command_count=len(given) if strategy is None else comparer.command_count,
        ended=ended,
        difference=difference,
    )


class _Nowhere:
    """A sink that keeps nothing: only the chain is wanted."""

    def commands(self, commands: Records, *, durable: bool) -> None: ...

    def link(self, link: Records) -> None: ...


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
    _check_semantics(session)
    if session.summary is None:
        raise SessionError(f"session {session.id} did not end; see: flowtape verify {session.id}")
    given = commands if strategy is None else commands[commands["origin"] == Origin.PERSON]
    chain = Chain(genesis.sha256)
    engine = Engine(
        genesis.instruments, genesis.config, strategy, shown=False, recorded=(chain, _Nowhere())
    )
    pieces = tapes_of(session, open_tape).read_batches(cached=True)
    feed(engine, _told(pieces, tick), given, session.summary.input_count - 1)
    engine.end()
    return engine, chain.value


def _check_semantics(session: Session) -> None:
    made = session.genesis.semantics_version
    if made != SEMANTICS_VERSION:
        raise OtherSemanticsError(
            f"session {session.id} was made with semantics {made}, this flowtape has "
            f"{SEMANTICS_VERSION}: equal inputs may lead to other results"
        )


def _told(
    pieces: Iterable[TapeColumns], tick: Callable[[int], None] | None
) -> Iterable[TapeColumns]:
    count = 0
    for piece in pieces:
        yield piece
        count += len(piece)
        if tick is not None:
            tick(count)


def _words(command: np.void) -> str:
    request, kind = command["request"], CommandKind(int(command["kind"]))
    text = kind.name.lower().replace("_", " ")
    if kind is CommandKind.PLACE:
        side = "buy" if request["side"] > 0 else "sell"
        price = f" at {int(request['price_ticks'])} ticks" if request["price_ticks"] else ""
        text = f"{side} {int(request['qty_lots'])} lots{price}"
    elif kind in (CommandKind.CANCEL, CommandKind.AMEND):
        text += f" order {int(command['order_id'])}"
    return f"{text} behind input {int(command['input']):,}"
