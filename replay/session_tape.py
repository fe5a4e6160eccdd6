"""The trades of a session as a tape: made of its inputs when it is asked for, and deletable."""

import itertools
import json
import shutil
from collections.abc import Iterator

from flowtape.replay.tape_writer import add_trades
from flowtape.replay.tapes import TapeStore
from flowtape.stream.errors import InputError
from flowtape.stream.session import Session
from flowtape.stream.trades import Trades

_MADE_OF = "made_of.json"


def tape_store_of(session: Session) -> TapeStore:
    """Return a store with a tape for each instrument of a session that keeps its own inputs.

    It lies in the session's folder and is made anew when the session has grown since. Raises
    InputError when there is no trade, JournalDamagedError when inputs are not what was written.
    """
    folder = session.folder / "tape"
    known = folder / _MADE_OF
    made_of = {"inputs": sum(map(len, session.inputs()))}
    if known.exists() and json.loads(known.read_text()) == made_of:
        return TapeStore(folder)
    shutil.rmtree(folder, ignore_errors=True)
    made = 0
    for number, instrument in enumerate(session.genesis.instruments):
        trades = _trades(session, number)
        first = next(trades, None)
        if first is not None:
            add_trades(TapeStore(folder), instrument, itertools.chain([first], trades))
            made += 1
    if not made:
        raise InputError(f"session {session.id} has not a single trade")
    known.write_text(json.dumps(made_of))
    return TapeStore(folder)


def _trades(session: Session, market: int) -> Iterator[Trades]:
    for piece in session.inputs():
        own = piece.trades(market)
        if len(own):
            yield own
