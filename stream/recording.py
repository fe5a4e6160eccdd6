"""What an engine does beside its work when its session is kept."""

from collections.abc import Callable
from typing import Protocol

import numpy as np

from flowtape._kernel import Kernel
from flowtape.stream.chain import GRID_INPUTS, Chain
from flowtape.stream.checkpoints import Standings
from flowtape.stream.inputs import InputKind, Inputs
from flowtape.stream.ledger import Ledger
from flowtape.stream.outputs import Columns
from flowtape.stream.records import SNAPSHOT, Records


class SessionSink(Protocol):
    """Keeps what a session needs to be repeated."""

    def inputs(self, inputs: Inputs) -> None:
        """Write down inputs that no tape holds; called before they are applied."""
        ...

    def commands(self, commands: Records, *, durable: bool) -> None:
        """Write commands down; with `durable` they survive a power cut when this returns."""
        ...

    def link(self, link: Records) -> None:
        """Write a link of the chain down."""
        ...

    def settled(self, engine: Standings) -> None:
        """Take note that an engine stands between two inputs."""
        ...


class Recording:
    """Gives a sink every command before the next input, and the links of the chain."""

    def __init__(
        self,
        kernel: Kernel,
        ledger: Ledger,
        keep_outputs: Callable[[], None],
        chain: Chain,
        sink: SessionSink,
    ) -> None:
        self.chain = chain
        self._kernel = kernel
        self._ledger = ledger
        self._keep_outputs = keep_outputs
        self._sink = sink
        self._pending: list[Records] = []
        self._failure: Exception | None = None
        self._commands = ledger.commands
        self._outputs = (ledger.fills, ledger.other_fills, ledger.order_events, ledger.equity)
        self._input = int(self._snapshot()["input"])
        self._linked_commands = 0
        self._linked = [0] * len(self._outputs)

    def room(self) -> int:
        """Return how many inputs the open block takes, one at least: a full one is closed."""
        if self._failure is not None:
            raise self._failure
        left = self.chain.left(self._input)
        if left:
            return left
        self.link()
        return GRID_INPUTS

    def write_ahead(self, inputs: Inputs) -> None:
        """Give the sink inputs that are about to be applied."""
        self._sink.inputs(inputs)

    def trades(self, trades: Columns) -> None:
        """Take in trades that were applied; `room` must have been asked."""
        self.chain.add_trades(trades)
        self._input += len(trades.ts_us)

    def statement(self, kind: InputKind, market: int, ts_us: int, a: int = 0, b: int = 0) -> None:
        """Take in another input that was applied; `room` must have been asked."""
        self.chain.add(kind, market, ts_us, a, b)
        self._input += 1

    def settled(self, engine: Standings) -> None:
        """Tell the sink that everything so far is written down."""
        self._sink.settled(engine)

    def keep(self, commands: Records) -> None:
        """Take commands that were done; `write` writes them."""
        self._pending.append(commands)

    def write(self, *, durable: bool) -> None:
        """Write the commands that wait."""
        if self._pending:
            first, *more = self._pending
            self._pending = []
            try:
                self._sink.commands(
                    np.concatenate([first, *more]) if more else first, durable=durable
                )
            except Exception as error:
                # The kernel has done what is not written down: nothing may follow.
                self._failure = error
                raise

    def link(self) -> None:
        """Close the open block behind the last input and what followed it."""
        self._keep_outputs()
        snapshot = self._snapshot()
        commands = self._commands.since(self._linked_commands)
        outputs = [
            series.since(head) for series, head in zip(self._outputs, self._linked, strict=True)
        ]
        self._linked_commands = self._commands.head
        self._linked = [series.head for series in self._outputs]
        at_input = int(snapshot["input"])
        last = commands[-1:]
        place = int(last["place"][0]) if len(last) and int(last["input"][0]) == at_input else 0
        position = (at_input, place, int(snapshot["stream_us"]))
        self._sink.link(self.chain.close(position, commands, outputs, self._kernel.save_state()))

    def _snapshot(self) -> np.void:
        snapshot: np.void = self._kernel.snapshot().view(SNAPSHOT)[0]
        return snapshot
