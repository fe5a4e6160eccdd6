"""What an engine does beside its work when its session is kept."""

from typing import Protocol

import numpy as np

from flowtape._kernel import Kernel
from flowtape.stream.chain import GRID_INPUTS, Chain
from flowtape.stream.checkpoints import Standings
from flowtape.stream.inputs import InputKind, Inputs
from flowtape.stream.ledger import Ledger, LedgerMark
from flowtape.stream.outputs import Columns
from flowtape.stream.records import SNAPSHOT, Records
from flowtape.stream.waypoints import BlockEnd, BubblesSoFar, Waypoint


class SessionSink(Protocol):
    """Keeps what a session needs to be repeated."""

    def inputs(self, inputs: Inputs) -> None:
        """Write down inputs that no tape holds; called before they are applied."""
        ...

    def commands(self, commands: Records, *, durable: bool) -> None:
        """Write commands down; with `durable` they survive a power cut when this returns."""
        ...

    def link(self, link: Records, end: BlockEnd) -> None:
        """Write down the link of a block that ends here."""
        ...

    def settled(self, engine: Standings) -> None:
        """Take note that an engine stands between two inputs."""
        ...


class Recorded(Protocol):
    """An engine whose session is kept."""

    ledger: Ledger
    start_us: int

    def keep_outputs(self) -> None:
        """Empty the kernel's outboxes into the ledger."""
        ...

    def bubbles_so_far(self) -> tuple[BubblesSoFar, ...]:
        """Return how many bubbles of each instrument closed, with those not yet told of."""
        ...


class Recording:
    """Gives a sink every command before the next input, and the links of the chain."""

    def __init__(self, kernel: Kernel, engine: Recorded, chain: Chain, sink: SessionSink) -> None:
        self.chain = chain
        self._kernel = kernel
        self._engine = engine
        self._sink = sink
        self._pending: list[Records] = []
        self._failure: Exception | None = None
        ledger = engine.ledger
        self._commands = ledger.commands
        self._outputs = (ledger.fills, ledger.other_fills, ledger.order_events, ledger.equity)
        self._input = int(self._snapshot()["input"])
        self._linked_commands = self._commands.head
        self._linked = [series.head for series in self._outputs]

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
        self._engine.keep_outputs()
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
        state = self._kernel.save_state()
        link = self.chain.close(position, commands, outputs, state)
        self._sink.link(link, _BlockEnd(self._engine, position, self.chain, state))

    def _snapshot(self) -> np.void:
        snapshot: np.void = self._kernel.snapshot().view(SNAPSHOT)[0]
        return snapshot


class _BlockEnd:
    """Where an engine stands right behind a link."""

    def __init__(
        self, engine: Recorded, position: tuple[int, int, int], chain: Chain, state: bytes
    ) -> None:
        self._engine = engine
        self._position = position
        self._chain = chain
        self._state = state

    def waypoint(self, since: LedgerMark | None) -> Waypoint:
        engine, ledger = self._engine, self._engine.ledger
        at_input, place, stream_us = self._position
        return Waypoint(
            block=self._chain.block,
            input=at_input,
            place=place,
            stream_us=stream_us,
            command_count=ledger.commands.head,
            start_us=engine.start_us,
            chain=self._chain.value,
            state=self._state,
            bubbles=engine.bubbles_so_far(),
            mark=ledger.mark(),
            pieces={kind: [records] for kind, records in ledger.since(since).items()},
            has_bars=ledger.keeps_bars,
        )
