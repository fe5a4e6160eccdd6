"""Whether a session is made of what its chain names, found out without an engine."""

import itertools

from flowtape.replay.session_rows import OpenTape, SessionRows
from flowtape.replay.verifying import Comparer, Verdict, check_end, open_count
from flowtape.stream.chain import Chain
from flowtape.stream.commands import DiffersError
from flowtape.stream.inputs import InputKind, Inputs
from flowtape.stream.records import Records
from flowtape.stream.session import Session


def check_structure(session: Session, open_tape: OpenTape) -> Verdict:
    """Compare inputs, commands and links of a session with each other, and no more.

    Journals and parts are checked as they are read. Works on sessions of any semantics. Raises
    SessionError or JournalDamagedError when it cannot be read.
    """
    links, commands = session.links(), session.commands()
    rows = SessionRows.of(session, open_tape)
    chain = Chain.of(session.genesis)
    comparer = Comparer(links, commands)
    difference, at_input = None, 0
    try:
        _check_order(commands)
        for link in links:
            stop = int(link["input"])
            for piece in rows.pieces(at_input, stop):
                if isinstance(piece, Inputs):
                    chain.add_inputs(piece)
                else:
                    chain.add_trades(piece)
            if stop == len(rows) + 1:
                chain.add(InputKind.END, 0, 0)
            first = at_input + 1 if at_input else 0
            own = (commands["input"] >= first) & (commands["input"] <= stop)
            comparer.link(chain.follow(link, commands[own]))
            at_input = stop
        if session.summary is not None:
            check_end(session, len(rows), at_input, commands)
        if session.summary is not None and session.summary.digest != chain.value.hex():
            raise DiffersError("its summary names another digest than its links")
    except DiffersError as error:
        difference = str(error)
    return Verdict(
        digest=chain.value.hex(),
        block_count=comparer.block_count,
        input_count=at_input,
        open_count=open_count(session, rows, at_input),
        command_count=len(commands),
        gaps=session.gaps(),
        ended=session.ended,
        difference=difference,
    )


def _check_order(commands: Records) -> None:
    """Raise DiffersError unless commands stand one behind the other."""
    places = [(int(c["input"]), int(c["place"])) for c in commands[["input", "place"]]]
    for number, (before, after) in enumerate(itertools.pairwise(places)):
        if before > after:
            raise DiffersError(
                f"command {number + 2}, behind input {after[0]:,}, stands behind a later one"
            )
