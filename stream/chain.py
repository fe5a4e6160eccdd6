"""The chain of hashes that names a session: equal sessions have equal chains.

A link is made for every block of 65,536 inputs and at the end, over the inputs and commands of the
block, over what came out, and over the kernel's state behind it:

    inputs  = SHA-256("flowtape inputs 1"  | block | kinds | markets | sides | times | a | b
                                           | commands)
    outputs = SHA-256("flowtape outputs 1" | block | fills | other fills | order events | equity)
    state   = SHA-256("flowtape state 1"   | block | canonical state bytes)
    chain   = SHA-256("flowtape chain 1"   | chain before | block | input | place | stream_us
                                           | inputs | outputs | state)

Numbers are little-endian; columns come whole, one behind the other, each behind its length in
bytes. The first chain before is the hash of the genesis. How inputs are cut into calls changes none
of it, and a command behind the last input of a block belongs to that block.
"""

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from flowtape.stream.inputs import InputKind
from flowtape.stream.outputs import Columns
from flowtape.stream.records import LINK, Records

GRID_INPUTS = 1 << 16


_COLUMNS = (
    *(("kind", "u1"), ("market", "u1"), ("side", "i1")),
    *(("ts_us", "<i8"), ("a", "<i8"), ("b", "<i8")),
)


class Chain:
    """The chain of a session as it grows."""

    def __init__(self, genesis_sha256: bytes) -> None:
        self.value = genesis_sha256
        """The newest link's hash, before the first the genesis'."""
        self.block = 0
        """Number of the block that is open."""
        self._columns: dict[str, list[NDArray[np.generic]]] = {name: [] for name, _ in _COLUMNS}
        self._closed_input = 0

    def left(self, at_input: int) -> int:
        """Return how many inputs the open block still takes behind `at_input` of them."""
        return self._closed_input + GRID_INPUTS - at_input

    def add_trades(self, trades: Columns) -> None:
        """Take in trades that were applied; they must not lead beyond the block."""
        count = len(trades.ts_us)
        market = getattr(trades, "market", None)
        if market is None:
            market = np.zeros(count, np.uint8)
        kinds = np.full(count, InputKind.TRADE, np.uint8)
        self._add(kinds, market, trades.side, trades.ts_us, trades.price_ticks, trades.qty_lots)

    def add(self, kind: InputKind, market: int, ts_us: int, a: int = 0, b: int = 0) -> None:
        """Take in one input that is no trade."""
        self._add(*(np.array([value]) for value in (kind, market, 0, ts_us, a, b)))

    def _add(self, *columns: NDArray[np.generic]) -> None:
        for (name, kind), column in zip(_COLUMNS, columns, strict=True):
            # Columns of a tape may lie in memory that someone else will reuse.
            self._columns[name].append(np.array(column, kind))

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
        link = np.zeros(1, LINK)
        number = self.block.to_bytes(8, "little")
        inputs = hashlib.sha256(b"flowtape inputs 1" + number)
        for pieces in self._columns.values():
            inputs.update(sum(piece.nbytes for piece in pieces).to_bytes(8, "little"))
            for piece in pieces:
                inputs.update(piece.data)
            pieces.clear()
        _add_records(inputs, commands)
        outcome = hashlib.sha256(b"flowtape outputs 1" + number)
        for records in outputs:
            _add_records(outcome, records)
        state_hash = hashlib.sha256(b"flowtape state 1" + number + state)
        link["block"], (link["input"], link["place"], link["stream_us"]) = self.block, position
        parts = inputs.digest(), outcome.digest(), state_hash.digest()
        head = b"".join(link[name].tobytes() for name in ("block", "input", "place", "stream_us"))
        chain = hashlib.sha256(b"flowtape chain 1" + self.value + head + b"".join(parts))
        for name, value in zip(("inputs", "outputs", "state"), parts, strict=True):
            link[name] = np.void(value)
        self.value = chain.digest()
        link["chain"] = np.void(self.value)
        self.block += 1
        self._closed_input = position[0]
        return link


def _add_records(to: "hashlib._Hash", records: Records) -> None:
    to.update(records.nbytes.to_bytes(8, "little"))
    to.update(records.tobytes())
