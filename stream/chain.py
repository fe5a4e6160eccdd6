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
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

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

_ID_KINDS = ("<i8",) * len(_IDS)

PARTS_MAX = 512
"""So many pieces of a block are put together before more come."""

_Part = tuple[NDArray[Any], ...]
_NOTHING: _Part = tuple(np.empty(0, kind) for kind in _KINDS + _ID_KINDS)
_ALL_TRADES = np.full(GRID_INPUTS, InputKind.TRADE, np.uint8)
_ALL_FIRST = np.zeros(GRID_INPUTS, np.uint8)


def _so_many(alike: NDArray[np.uint8], count: int) -> NDArray[np.uint8]:
    """A column of equal values; no engine's block is longer, but one that links tell may be."""
    return alike[:count] if count <= len(alike) else np.resize(alike, count)


def _joined(parts: list[_Part]) -> _Part:
    if len(parts) == 1:
        return parts[0]
    return tuple(np.concatenate(columns) for columns in zip(*parts, strict=True))


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
        self._ids = ids
        self._parts: list[_Part] = []
        """What the open block holds so far, in columns."""
        self._closed_input = 0

    @classmethod
    def of(cls, genesis: Genesis) -> Self:
        """Return the chain of a session that begins."""
        return cls(genesis.sha256, ids=genesis.schema >= IDS_SINCE and not genesis.tapes)

    @classmethod
    def behind(cls, genesis: Genesis, block: int, at_input: int, value: bytes) -> Self:
        """Return the chain of a session of which so many blocks are closed, up to an input."""
        chain = cls.of(genesis)
        chain.block, chain.value, chain._closed_input = block, value, at_input
        return chain

    def left(self, at_input: int) -> int:
        """Return how many inputs the open block still takes behind `at_input` of them."""
        return self._closed_input + GRID_INPUTS - at_input

    def add_trades(self, trades: Columns) -> None:
        """Take in trades that were applied; they must not lead beyond the block, nor change."""
        count = len(trades.ts_us)
        market = getattr(trades, "market", None)
        columns = (
            _so_many(_ALL_TRADES, count),
            _so_many(_ALL_FIRST, count) if market is None else market,
            *(trades.side, trades.ts_us, trades.price_ticks, trades.qty_lots),
            *(getattr(trades, name) for name in _IDS if self._ids),
        )
        self._add(columns)

    def add_inputs(self, inputs: Inputs) -> None:
        """Take in inputs of any kind; they must not change."""
        columns = inputs.columns()
        self._add(columns if self._ids else columns[: len(_KINDS)])

    def add(self, kind: InputKind, market: int, ts_us: int, a: int = 0, b: int = 0) -> None:
        """Take in one input that is no trade."""
        values = (kind, market, 0, ts_us, a, b, *(0 for _ in _IDS if self._ids))
        self._add(tuple(np.array([value]) for value in values))

    def _add(self, columns: tuple[NDArray[Any], ...]) -> None:
        kinds = _KINDS + _ID_KINDS if self._ids else _KINDS
        self._parts.append(tuple(map(np.ascontiguousarray, columns, kinds)))
        if len(self._parts) >= PARTS_MAX:
            self._parts = [_joined(self._parts)]

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
        outcome = hashlib.sha256(b"flowtape outputs 1" + self.block.to_bytes(8, "little"))
        for records in outputs:
            _add_records(outcome, records)
        state_hash = state_sha256(self.block, state)
        return self._link(position, commands, outcome.digest(), state_hash)

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
        parts, self._parts = self._parts or [_NOTHING], []
        for column in _joined(parts)[: len(_KINDS) + len(_ID_KINDS) * self._ids]:
            inputs.update(column.nbytes.to_bytes(8, "little"))
            inputs.update(column.data)
        _add_records(inputs, commands)
        return inputs.digest()


def state_sha256(block: int, state: bytes) -> bytes:
    """Return the hash of the kernel's state behind a block, as a link has it."""
    return hashlib.sha256(b"flowtape state 1" + block.to_bytes(8, "little") + state).digest()


def _add_records(to: "hashlib._Hash", records: Records) -> None:
    to.update(records.nbytes.to_bytes(8, "little"))
    to.update(records.tobytes())
