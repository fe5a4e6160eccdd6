"""Giving engines pieces of what was, and the commands that stand between."""

import numpy as np

from flowtape.replay.parts import TapeColumns
from flowtape.stream.engine import Engine
from flowtape.stream.errors import KernelError, TapeError
from flowtape.stream.inputs import Inputs
from flowtape.stream.records import COMMAND, Records

Piece = TapeColumns | Inputs

NO_COMMANDS = np.zeros(0, COMMAND)


def apply_piece(engine: Engine, piece: Piece) -> None:
    """Have an engine take in rows of a tape or inputs of a session.

    Raises TapeError where rows of a tape are no trades.
    """
    if isinstance(piece, Inputs):
        engine.apply_inputs(piece)
        return
    try:
        engine.apply(piece)
    except KernelError as error:
        if not error.status.startswith("BAD_"):
            raise
        symbols = [one.symbol for one in engine.instruments]
        raise TapeError(
            f"the fast copy of {' or '.join(symbols)} is damaged ({error}); put it right with: "
            + " and ".join(f"flowtape doctor {symbol} --repair" for symbol in symbols)
        ) from None


class Script:
    """Recorded commands, given to an engine where they stand."""

    def __init__(self, commands: Records = NO_COMMANDS) -> None:
        self._commands = commands
        self._inputs = commands["input"].astype(np.int64)

    def apply(self, engine: Engine, piece: Piece) -> None:
        """Apply inputs, and behind each one the commands that the engine has not yet had there."""
        with engine.gathering(piece):
            self._apply(engine, piece)

    def _apply(self, engine: Engine, piece: Piece) -> None:
        at, here = 0, engine.input
        while True:
            self.catch_up(engine, here)
            if at == len(piece):
                return
            behind = int(np.searchsorted(self._inputs, here, "right"))
            later = int(self._inputs[behind]) if behind < len(self._inputs) else here + len(piece)
            count = min(len(piece) - at, later - here)
            apply_piece(engine, piece.slice(at, at + count))
            at, here = at + count, here + count

    def catch_up(self, engine: Engine, here: int) -> None:
        """Give the commands behind input `here`, where the engine stands, that it has not had."""
        commands = self._commands[slice(*np.searchsorted(self._inputs, [here, here + 1]).tolist())]
        last_input, last_place = engine.place
        if last_input == here:
            commands = commands[commands["place"] > last_place]
        if len(commands):
            engine.repeat(commands)
