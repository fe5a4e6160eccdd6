"""Whether a session still leads to what it led to."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from flowtape._kernel import SEMANTICS_VERSION
from flowtape.replay.session_rows import (
    PIECE_ROWS,
    OpenTape,
    SessionRows,
    engine_again,
    feed,
    feed_to_fork,
)
from flowtape.replay.summary import summary_of
from flowtape.stream.chain import Chain
from flowtape.stream.checkpoints import Standings
from flowtape.stream.commands import CommandKind, DiffersError, Origin
from flowtape.stream.errors import FlowError
from flowtape.stream.inputs import Inputs
from flowtape.stream.records import Records
from flowtape.stream.session import Session, SymbolGap
from flowtape.stream.strategy import Strategy
from flowtape.stream.waypoints import BlockEnd


class OtherSemanticsError(FlowError):
    """A session was made by a kernel whose equal inputs may give other results."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found when a session was run again.

    Attributes:
        digest: hex of the newest link that was compared.
        block_count: links compared.
        input_count: inputs up to the newest of them.
        open_count: own inputs behind that, in a block that no link closed yet.
        command_count: commands given again, or compared.
        gaps: missing aggregate ids, both inclusive, with the symbol they are of.
        ended: the session had ended; otherwise it was compared as far as its links reach.
        difference: the first one, in words; None when there is none.
    """

    digest: str
    block_count: int
    input_count: int
    open_count: int
    command_count: int
    gaps: tuple[SymbolGap, ...]
    ended: bool
    difference: str | None


class Comparer:
    """A sink that compares what a session leads to with what it led to."""

    def __init__(self, links: Records, commands: Records) -> None:
        self._links = links
        self._commands = commands
        self.block_count = self.command_count = 0

    def inputs(self, inputs: Inputs) -> None:
        """Do nothing: the chain compares inputs."""

    def commands(self, commands: Records, *, durable: bool) -> None:
        """Raise DiffersError at the first command of the strategy that is another one."""
        for made in commands:
            at = self.command_count
            recorded = self._commands[at] if at < len(self._commands) else None
            if recorded is None or recorded.tobytes() != made.tobytes():
                then = "asked for nothing more" if recorded is None else words(recorded)
                raise DiffersError(
                    f"the strategy's command {at + 1} differs: recorded is {then}; now it is "
                    f"{words(made)}"
                )
            self.command_count += 1

    def settled(self, engine: Standings) -> None:
        """Do nothing."""

    def link(self, link: Records, end: BlockEnd | None = None) -> None:
        """Raise DiffersError when a block is another one, and say what of it."""
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
        if recorded.tobytes() != link[0].tobytes():
            raise DiffersError(f"{where} differs in its number, last command or time")
        self.block_count += 1


def verify(
    session: Session,
    open_tape: OpenTape,
    strategy: Strategy | None = None,
    tick: Callable[[int], None] | None = None,
    *,
    cut: int = PIECE_ROWS,
) -> Verdict:
    """Run a session again and compare it, block by block, with what was kept.

    Its commands are given again as they are recorded; with a `strategy` that one decides anew, and
    only people's commands are given again. `tick` is called with the inputs done. Inputs are given
    `cut` at a time, at most, which makes no difference.

    Raises SessionError or JournalDamagedError when it cannot be read, OtherSemanticsError when
    this kernel is another one.
    """
    genesis = session.genesis
    check_semantics(session)
    links, commands = session.links(), session.commands()
    rows = SessionRows.of(session, open_tape)
    ended = session.ended
    compared = commands[commands["origin"] == Origin.STRATEGY]
    given = commands if strategy is None else commands[commands["origin"] == Origin.PERSON]
    comparer = Comparer(links, compared)
    chain = Chain.of(genesis)
    last_input = int(links["input"][-1]) if len(links) else 0
    difference = None
    try:
        engine, fork = engine_again(genesis, strategy, (chain, comparer))
        if fork is not None:
            comparer.command_count = feed_to_fork(engine, rows, commands, fork)
            engine.begin_strategy()
        feed(engine, rows, given, last_input, tick, cut=cut)
        if engine.input == last_input - 1 == len(rows):
            engine.end()
        if engine.input < last_input:
            raise DiffersError(f"its inputs end at {engine.input:,}, not at {last_input:,}")
        if not engine.ended:
            engine.close_full_block()
        if strategy is not None:
            _check_missing(compared[comparer.command_count :], last_input, comparer, ended=ended)
        if comparer.block_count < len(links):
            raise DiffersError(f"the session had {len(links)} blocks, now {comparer.block_count}")
        if session.summary is not None:
            check_end(session, len(rows), last_input, commands)
            if session.summary != summary_of(engine, chain.value):
                raise DiffersError("its summary says something else")
    except DiffersError as error:
        difference = str(error)
    return Verdict(
        digest=chain.value.hex(),
        block_count=comparer.block_count,
        input_count=int(links["input"][comparer.block_count - 1]) if comparer.block_count else 0,
        open_count=open_count(session, rows, last_input),
        command_count=len(given) if strategy is None else comparer.command_count,
        gaps=rows.gaps(genesis.instruments),
        ended=ended,
        difference=difference,
    )


def open_count(session: Session, rows: SessionRows, last_input: int) -> int:
    """Return how many own inputs of a session stand behind its last link."""
    return 0 if session.genesis.tapes else max(0, len(rows) - last_input)


def _check_missing(left: Records, last_input: int, comparer: Comparer, *, ended: bool) -> None:
    """Raise DiffersError when the strategy did not ask for what it asked for then."""
    if len(left) and (ended or int(left[0]["input"]) <= last_input):
        raise DiffersError(
            f"the strategy's command {comparer.command_count + 1} is missing: recorded is "
            f"{words(left[0])}"
        )


def check_end(session: Session, row_count: int, last_input: int, commands: Records) -> None:
    """Raise DiffersError when a session that has ended holds more than its chain."""
    if not session.genesis.tapes and row_count > last_input:
        raise DiffersError(f"there are inputs behind its end, which was input {last_input:,}")
    if len(commands) and int(commands["input"].max()) > last_input:
        raise DiffersError(f"there are commands behind its end, which was input {last_input:,}")


def check_semantics(session: Session) -> None:
    """Raise OtherSemanticsError when another kernel made a session."""
    made = session.genesis.semantics_version
    if made != SEMANTICS_VERSION:
        raise OtherSemanticsError(
            f"session {session.id} was made with semantics {made}, this flowtape has "
            f"{SEMANTICS_VERSION}: equal inputs may lead to other results"
        )


def words(command: np.void) -> str:
    """Return a command, a record of `records.COMMAND`, in words."""
    request, kind = command["request"], CommandKind(int(command["kind"]))
    text = kind.name.lower().replace("_", " ")
    if kind is CommandKind.PLACE:
        side = "buy" if request["side"] > 0 else "sell"
        price = f" at {int(request['price_ticks'])} ticks" if request["price_ticks"] else ""
        text = f"{side} {int(request['qty_lots'])} lots{price}"
    elif kind in (CommandKind.CANCEL, CommandKind.AMEND):
        text += f" order {int(command['order_id'])}"
    return f"{text} behind input {int(command['input']):,}"
