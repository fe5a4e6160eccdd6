"""The chain of hashes that names a session: equal sessions have equal chains.

A link is made for every block of 65,536 inputs and at the end, over the inputs and commands of the
block, over what came out, and over the kernel's state behind it:

    inputs  = SHA-256("flowtape inputs 1"  | block | kinds | markets | sides | times | a | b
                                           | ids | first ids | last ids | commands)
    outputs = SHA-256("flowtape outputs 1" | block | fills | other fills | order events | equity)
    state   = SHA-256("flowtape state 1"   | block | canonical state bytes)
    chain   = SHA-256("flowtape chain 1"   | chain before | block | input | place | stream_us
                                           | inputs | outputs | state)

Numbers are little-endian; columns come whole, one behind the other, each behind its length in
bytes. Of sessions over tapes the three columns of ids are left out: their genesis holds the tapes'
hashes; so they were of all sessions of format 1. The first chain before is the hash of the genesis.
How inputs are cut into calls changes none of it, and a command behind the last input of a block
belongs to that block.
"""

import hashlib
from collections.abc import Sequence
from typing import Self

import numpy as np

from flowtape.stream.genesis import Genesis
from flowtape.stream.inputs import InputKind, Inputs
from flowtape.stream.outputs import Columns
from flowtape.stream.records import LINK, Records

GRID_INPUTS = 1 << 16

_KINDS = ("u1", "u1", "i1", "<i8", "<i8", "<i8")
"""Of kind, market, side, time and the two numbers of an input."""

IDS_SINCE = 2
"""The format of sessions from which on ids are in the chain."""

_IDS = ("agg_id", "first_id", "last_id")

# An enum's member takes longer to look up than a column of few rows to copy.
_TRADE = int(InputKind.TRADE)


class Chain:
    """The chain of a session as it grows.

    Args:
        genesis_sha256: hash of its genesis.
        ids: whether it is of inputs that no tape holds, with their ids.
    """

    def __init__(self, genesis_sha256: bytes, *, ids: bool) -> None:
        self.value = genesis_sha256
        """The newest link's hash, before the first the genesis'."""
        self.block = 0
        """Number of the block that is open."""
        # A block's columns, filled as it grows: events may be of one input each.
        self._columns = [np.empty(GRID_INPUTS, kind) for kind in _KINDS]
        self._ids = [np.empty(GRID_INPUTS, "<i8") for _ in _IDS] if ids else []
        self._count = 0
        self._closed_input = 0

    @classmethod
    def of(cls, genesis: Genesis) -> Self:
        """Return the chain of a session that begins."""
        return cls(genesis.sha256, ids=genesis.schema >= IDS_SINCE and not genesis.tapes)

    def left(self, at_input: int) -> int:
        """Return how many inputs the open block still takes behind `at_input` of them."""
        return self._closed_input + GRID_INPUTS - at_input

    def add_trades(self, trades: Columns) -> None:
        """Take in trades that were applied; they must not lead beyond the block."""
        into = self._next(len(trades.ts_us))
        market = getattr(trades, "market", None)
        kinds, markets, sides, times, prices, lots = self._columns
        kinds[into] = _TRADE
        markets[into] = 0 if market is None else market
        sides[into] = trades.side
        times[into] = trades.ts_us
        prices[into] = trades.price_ticks
        lots[into] = trades.qty_lots
        for column, name in zip(self._ids, _IDS, strict=False):
            column[into] = getattr(trades, name)

    def add_inputs(self, inputs: Inputs) -> None:
        """Take in inputs of any kind."""
        into = self._next(len(inputs))
        for column, values in zip(self._columns + self._ids, inputs.columns(), strict=False):
            column[into] = values

    def add(self, kind: InputKind, market: int, ts_us: int, a: int = 0, b: int = 0) -> None:
        """Take in one input that is no trade."""
        into = self._next(1)
        for column, value in zip(self._columns, (kind, market, 0, ts_us, a, b), strict=True):
            column[into] = value
        for column in self._ids:
            column[into] = 0

    def _next(self, count: int) -> slice:
        at = self._count
        self._count += count
        if self._count > len(self._columns[0]):
            # No engine's block is that long, but what damaged links say may be.
            grown = 2 * self._count
            self._columns = [np.resize(column, grown) for column in self._columns]
            self._ids = [np.resize(column, grown) for column in self._ids]
        return slice(at, self._count)

    def close(
        self,
        position: tuple[int, int, int],
        commands: Records,
        outputs: Sequence[Records],
        state: bytes,
    ) -> Records:
        """Make the link of the open block and begin the next; returns one record of `LINK`.

        `position` is the last input, the place of the last command behind it, and stream time.
        """
        number = self.block.to_bytes(8, "little")
        outcome = hashlib.sha256(b"flowtape outputs 1" + number)
        for records in outputs:
            _add_records(outcome, records)
        state_hash = hashlib.sha256(b"flowtape state 1" + number + state)
        return self._link(position, commands, outcome.digest(), state_hash.digest())

    def follow(self, link: np.void, commands: Records) -> Records:
        """Make the link of the open block from its inputs and commands, as `close` does.

        Its outputs and state are taken from `link`, one record of `LINK`.
        """
        position = int(link["input"]), int(link["place"]), int(link["stream_us"])
        return self._link(position, commands, link["outputs"].tobytes(), link["state"].tobytes())

    def _link(
        self, position: tuple[int, int, int], commands: Records, outputs: bytes, state: bytes
    ) -> Records:
        link = np.zeros(1, LINK)
        link["block"], (link["input"], link["place"], link["stream_us"]) = self.block, position
        parts = self._inputs_digest(commands), outputs, state
        head = b"".join(link[name].tobytes() for name in ("block", "input", "place", "stream_us"))
        chain = hashlib.sha256(b"flowtape chain 1" + self.value + head + b"".join(parts))
        for name, value in zip(("inputs", "outputs", "state"), parts, strict=True):
            link[name] = np.void(value)
        self.value = chain.digest()
        link["chain"] = np.void(self.value)
        self.block += 1
        self._closed_input = position[0]
        return link

    def _inputs_digest(self, commands: Records) -> bytes:
        inputs = hashlib.sha256(b"flowtape inputs 1" + self.block.to_bytes(8, "little"))
        for column in self._columns + self._ids:
            filled = column[: self._count]
            inputs.update(filled.nbytes.to_bytes(8, "little"))
            inputs.update(filled.data)
        self._count = 0
        _add_records(inputs, commands)
        return inputs.digest()


def _add_records(to: "hashlib._Hash", records: Records) -> None:
    to.update(records.nbytes.to_bytes(8, "little"))
    to.update(records.tobytes())
