"""The engine: inputs of one instrument or several through the kernel to strategy and ledger."""

import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import numpy as np

from flowtape._kernel import Batch
from flowtape.stream.chain import Chain
from flowtape.stream.checkpoints import Standing
from flowtape.stream.command_book import CommandBook
from flowtape.stream.config import EngineConfig, make_kernel, money_decimals
from flowtape.stream.decisions import Decisions, Guard, copied
from flowtape.stream.errors import InputError
from flowtape.stream.execution import Lane, VenueRules
from flowtape.stream.history import OrderHistory
from flowtape.stream.inputs import InputKind, Inputs, tell
from flowtape.stream.instrument import Instrument
from flowtape.stream.ledger import Ledger
from flowtape.stream.outputs import NO_BUBBLES, Columns, MarketOutputs
from flowtape.stream.ports import Event, Gap, Rules
from flowtape.stream.recording import Recording, SessionSink
from flowtape.stream.records import ACCOUNT, Records
from flowtape.stream.rewinding import Checkpoint, batch_of, show_again
from flowtape.stream.strategy import Market, Orders, Strategy
from flowtape.stream.trades import Trades
from flowtape.stream.venue_rules import differences, in_words, rules_of
from flowtape.stream.view import BUBBLES_KEPT, MarketView
from flowtape.stream.waypoints import BubblesSoFar, Waypoint


class Engine:
    """A synchronous fold of inputs; how they are cut into calls changes no result.

    Several instruments share one account and one strategy; their trades come in one order, with a
    `market` column that numbers them. Instruments of one account must have one quote asset.

    Not thread-safe but for the views, which any thread may read. Nobody looks at an engine that is
    not `shown`: its views stay empty, and without a strategy its ledger keeps no bars. Where no one
    will trade, `tradable` false saves the sample that queue estimates are made of. A strategy that
    `rests` is asked for nothing until `take_up` or `begin_strategy`, its commands repeated. With
    `recorded` the sink gets every command before the next input, and the links of the chain. At a
    `waypoint` of the same session it begins as it stood there, and its strategy rests.
    """

    def __init__(
        self,
        instruments: Instrument | Sequence[Instrument],
        config: EngineConfig,
        strategy: Strategy | None = None,
        *,
        shown: bool = True,
        tradable: bool = True,
        rests: bool = False,
        recorded: tuple[Chain, SessionSink] | None = None,
        waypoint: Waypoint | None = None,
    ) -> None:
        if strategy is not None:
            config = replace(config, decide=type(strategy).decide)
        elif not tradable:
            config = replace(config, queue_window=0)
        if isinstance(instruments, Instrument):
            instruments = (instruments,)
        self.instruments = tuple(instruments)
        self.config = config
        self.money_decimals = money_decimals(*self.instruments)
        """Decimals of the quote asset that one atom of the account's money stands for."""
        looks = shown or strategy is not None
        count = len(self.instruments)
        self.ledger = Ledger(keeps_bars=looks, series_count=len(config.bars), market_count=count)
        self.ended = False
        self.start_us = 0
        """Time of the first trade; 0 before it."""
        self._kernel = make_kernel(self.instruments, config, BUBBLES_KEPT if looks else 0)
        self._shown = shown
        self._gathers = False
        if waypoint is not None:
            self._kernel.load_state(waypoint.state)
            self.ledger.fill(waypoint.pieces, waypoint.mark)
            self.start_us = waypoint.start_us
        self._recording = None if recorded is None else Recording(self._kernel, self, *recorded)
        self._book = CommandBook(
            self._kernel,
            self.ledger,
            self._recording,
            at_input=lambda: self.input,
            deciding=lambda: self._decisions.deciding,
        )
        self._lock = threading.RLock()
        self._guard = Guard()
        self._outputs = tuple(
            MarketOutputs(
                self._kernel,
                number,
                self.instruments,
                config,
                self.ledger,
                decimals=self.money_decimals,
                looks=looks,
                lock=self._lock,
                sync=self.keep_outputs,
                keep=self._book.keep,
                guard=self._guard,
            )
            for number in range(count)
        )
        self.views: tuple[MarketView, ...] = tuple(one.view for one in self._outputs)
        self.markets = tuple(one.market for one in self._outputs)
        for market in self.markets:
            market.all = self.markets
        self.orders = Orders(
            self._kernel,
            lambda: int(self.snapshot["stream_us"]),
            self._book.keep,
            self._guard,
        )
        self._decisions = Decisions(
            strategy,
            self._kernel,
            self.ledger,
            self._outputs,
            self.orders,
            keep_outputs=self.keep_outputs,
            written=self._book.write,
            rests=rests,
        )
        if waypoint is not None:
            self._book.place = (waypoint.input, waypoint.place)
            for one, bubbles in zip(self._outputs, waypoint.bubbles, strict=True):
                one.begin_behind(bubbles.count, bubbles.untold)
        elif not rests:
            self._decisions.start()

    @property
    def strategy(self) -> Strategy | None:
        """The strategy, a copy of the one that was given."""
        return self._decisions.strategy

    @property
    def instrument(self) -> Instrument:
        """The first instrument."""
        return self.instruments[0]

    @property
    def view(self) -> MarketView:
        """The first instrument's view."""
        return self.views[0]

    @property
    def market(self) -> Market:
        """What strategies see of the first instrument."""
        return self.markets[0]

    @property
    def snapshot(self) -> np.void:
        """The account and the first instrument as one record of `records.SNAPSHOT`."""
        return self._outputs[0].snapshot()

    @property
    def input(self) -> int:
        """Number of the last input."""
        return int(self.snapshot["input"])

    @property
    def place(self) -> tuple[int, int]:
        """The last input that commands followed, and how many did."""
        return self._book.place

    @property
    def recorded(self) -> bool:
        """Whether its session is being kept: then it cannot go back."""
        return self._recording is not None

    @property
    def trade_count(self) -> int:
        """Trades of all instruments."""
        return sum(int(one.snapshot()["trade_count"]) for one in self._outputs)

    def apply(self, trades: Columns) -> None:
        """Apply trades in order, calling the strategy at its decision points.

        Raises KernelError, with nothing applied, when a row is no valid trade, and StrategyError.
        """
        with self._guard:
            self._apply_all(trades)

    def _apply_all(self, trades: Columns) -> None:
        recording = self._recording
        if recording is None:
            self._apply(trades)
            return
        at, count = 0, len(trades.ts_us)
        while at < count:
            piece = trades.slice(at, min(count, at + recording.room()))
            self._apply(piece)
            recording.trades(piece)
            at += len(piece.ts_us)
        recording.settled(self)

    def _apply(self, trades: Columns) -> None:
        batch = self._batch_of(trades)
        first_input = int(self.snapshot["input"]) + 1
        at, count = 0, len(batch)
        if self.start_us == 0 and count:
            self.start_us = int(trades.ts_us[0])
        if self._decisions.awaited:
            while at < count:
                at, decides = self._kernel.run(batch, at)
                if decides:
                    self._decisions.decide()
        else:
            self._kernel.run_through(batch)
        self._collect(trades, first_input)

    def apply_event(self, event: Event, market: int = 0) -> None:
        """Apply whatever a live source of one instrument yields; a sink gets it before the kernel.

        Raises as `apply` does.
        """
        with self._guard:
            if isinstance(event, Trades):
                trades = Inputs.of_trades(event, market)
                self._check_and_write(trades)
                self._apply_all(trades)
                return
            stream_us, changes = int(self.snapshot["stream_us"]), []
            if isinstance(event, Rules):
                changes = differences(self.rules(market), event.rules, event.unknown)
                inputs = Inputs.of_rules(changes, market, stream_us or event.ts_us)
            else:
                inputs = Inputs.of(event, market, stream_us)
            if self._recording is not None and len(inputs):
                self._recording.write_ahead(inputs)
            self.apply_inputs(inputs)
        if isinstance(event, Gap):
            with self._lock:
                self.views[market].notice += f" ({event.reason})"
        if changes:
            with self._lock:
                self.views[market].notice = in_words(self.instruments[market], changes)

    def _check_and_write(self, trades: Inputs) -> None:
        if self._recording is not None and len(trades):
            self._batch_of(trades)
            self._recording.write_ahead(trades)

    def apply_inputs(self, inputs: Inputs) -> None:
        """Apply inputs of any kind in order, however they are cut into calls; see `apply`."""
        with self._guard:
            for run in inputs.runs():
                if run.kind[0] == InputKind.TRADE:
                    self.apply(run)
                else:
                    self._apply_statement(*run.statement())

    def _apply_statement(self, kind: InputKind, market: int, ts_us: int, a: int, b: int) -> None:
        recording = self._recording
        self.close_full_block()
        decides = tell(self._kernel, (kind, market, ts_us, a, b))
        if kind is InputKind.GAP:
            with self._lock:
                self.views[market].notice = f"gap: {b - a + 1:,} trades missing"
        elif kind is InputKind.INSTRUMENT:
            with self._lock:
                self.views[market].notice = in_words(self.instruments[market], [(a, b)])
        self.ended = kind is InputKind.END
        if recording is not None:
            recording.statement(kind, market, ts_us, a, b)
        if decides:
            self._decisions.decide()
        self._collect(None, 0)
        if self.ended and recording is not None:
            recording.link()

    def end(self) -> None:
        """End the stream: the open bar and bubble close."""
        end = Inputs.one(InputKind.END)
        with self._guard:
            if self._recording is not None:
                self._recording.write_ahead(end)
            self.apply_inputs(end)

    def close_full_block(self) -> None:
        """Make the link of a full block now, not before the next input."""
        if self._recording is not None:
            self._recording.room()

    def repeat(self, commands: Records) -> None:
        """Ask again for what stands behind the present input, records of `records.COMMAND`.

        Raises DiffersError when that is not possible.
        """
        self._book.repeat(commands)

    def orders_of_person(self, clock_us: int) -> Orders:
        """Return orders as a person gives them at `clock_us`, or later at stream time."""
        return Orders(
            self._kernel,
            lambda: max(clock_us, int(self.snapshot["stream_us"])),
            self._book.keep,
            self._guard,
        )

    def show(self) -> None:
        """Bring the views up to date with what was asked for since the last input."""
        self._collect(None, 0)

    def standing(self) -> Standing:
        """Return where a session stands, for `take_up`."""
        at_input = self.input
        return Standing(
            input=at_input,
            place=self._book.places_behind(at_input),
            command_count=self.ledger.commands.head,
            fills_seen=self._decisions.fills_seen,
            bubbles_told=tuple(one.told for one in self._outputs),
        )

    def take_up(self, standing: Standing, strategy: Strategy) -> None:
        """Have a strategy decide again that was told as much as it was at `standing`."""
        self._decisions.take_up(standing, strategy)

    def begin_strategy(self) -> None:
        """Have a strategy that rested start here, told nothing of what was before."""
        self._decisions.begin()

    def digest(self) -> str:
        """Return the hex digest that names the results so far."""
        return self.ledger.digest(self._kernel.save_state())

    def order(self, order_id: int) -> OrderHistory:
        """Return all that happened to an order; raises InputError when there was none such."""
        return OrderHistory.of(self.instruments, self.ledger, order_id)

    def account(self, lane: Lane = Lane.BASE) -> np.void:
        """Return a lane's account as one record of `records.ACCOUNT`."""
        account: np.void = self._kernel.account(lane).view(ACCOUNT)[0]
        return account

    def rules(self, market: int = 0) -> VenueRules:
        """Return what the venue of an instrument takes as an order now."""
        return rules_of(self._kernel, market)

    def checkpoint(self) -> Checkpoint:
        """Return a place to come back to."""
        return Checkpoint(
            input=int(self.snapshot["input"]),
            state=self._kernel.save_state(),
            ledger=self.ledger.mark(),
            strategy=copied(self.strategy),
            fills_seen=self._decisions.fills_seen,
            bubbles=self._untold(),
            place=self.place,
        )

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go back to a checkpoint of this engine; views start a new epoch without bubbles."""
        if self._recording is not None:
            raise InputError("a session that is being recorded cannot go back; replay it later")
        self._kernel.load_state(checkpoint.state)
        self.ledger.restore(checkpoint.ledger)
        self._decisions.strategy = copied(checkpoint.strategy)
        self.ended = False
        self._decisions.fills_seen = checkpoint.fills_seen
        self._book.place = checkpoint.place
        with self._lock:
            for one, untold in zip(self._outputs, checkpoint.bubbles, strict=True):
                one.restart(untold)

    def recall(self, earlier: Checkpoint, pieces: Iterable[Columns]) -> None:
        """Show again what lies between an earlier checkpoint and the one just restored.

        `pieces` are the inputs between the two.
        """
        show_again(self.instruments, self.config, self._outputs, earlier, pieces)

    def _batch_of(self, trades: Columns) -> Batch:
        return batch_of(trades, self.config, len(self.instruments))

    def bubbles_so_far(self) -> tuple[BubblesSoFar, ...]:
        """Return how many bubbles of each instrument closed, with those not yet told of."""
        heads = (one.bubbles.head for one in self._outputs)
        return tuple(map(BubblesSoFar, heads, self._untold()))

    def _untold(self) -> tuple[Records, ...]:
        awaited = self._decisions.awaited
        return tuple(one.untold() if awaited else NO_BUBBLES for one in self._outputs)

    def keep_outputs(self) -> None:
        """Empty the kernel's outboxes into the ledger."""
        kernel, ledger = self._kernel, self.ledger
        for one in self._outputs:
            one.take()
        ledger.append_bytes("fills", kernel.take_fills())
        ledger.append_bytes("order_events", kernel.take_order_events())
        ledger.append_bytes("equity", kernel.take_equity())

    @contextmanager
    def gathering(self, trades: Columns) -> Iterator[None]:
        """Bring ledger and views up to date once, when all of these trades were applied.

        They may be applied in pieces, with commands between.
        """
        first_input, applied = self.input + 1, None
        self._gathers = True
        try:
            yield
            applied = trades
        finally:
            self._gathers = False
            self._collect(applied, first_input)

    def _collect(self, trades: Columns | None, first_input: int) -> None:
        if self._gathers:
            return
        self.keep_outputs()
        if self._shown:
            with self._lock:
                for one in self._outputs:
                    one.show(trades, first_input)
