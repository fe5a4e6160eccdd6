"""The engine: one instrument's inputs through the kernel to a strategy, a ledger and a view."""

import copy
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from flowtape._kernel import Batch
from flowtape.stream.config import EngineConfig, atoms_per_ticklot, make_kernel
from flowtape.stream.errors import FlowError
from flowtape.stream.execution import Lane
from flowtape.stream.history import OrderHistory
from flowtape.stream.instrument import Instrument
from flowtape.stream.ledger import Ledger, LedgerMark
from flowtape.stream.orders import open_in_base
from flowtape.stream.ports import Clock, Event, Funding, Gap, Mark
from flowtape.stream.records import (
    ACCOUNT,
    BAR,
    BUBBLE,
    COMMAND,
    EQUITY,
    FILL,
    FOOTPRINT,
    FOOTPRINT_ROW,
    MARK,
    ORDER,
    ORDER_EVENT,
    PRINT,
    PROFILE_ROW,
    SNAPSHOT,
    Records,
)
from flowtape.stream.strategy import NO_FILLS, Market, Orders, Strategy
from flowtape.stream.view import BUBBLES_KEPT, PRINTS_KEPT, MarketView, Ring


class Columns(Protocol):
    """Equally long, contiguous columns of trades."""

    @property
    def ts_us(self) -> NDArray[np.int64]: ...  # noqa: D102
    @property
    def price_ticks(self) -> NDArray[np.int64]: ...  # noqa: D102
    @property
    def qty_lots(self) -> NDArray[np.int64]: ...  # noqa: D102
    @property
    def side(self) -> NDArray[np.int8]: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A place in a session that an engine can go back to."""

    input: int
    state: bytes
    ledger: LedgerMark
    strategy: Strategy | None
    fills_seen: int
    """Own fills told to the strategy."""
    bubbles: NDArray[np.void]
    """Bubbles not yet told to it."""


class StrategyError(FlowError):
    """A strategy raised an exception, asked for the impossible, or cannot be copied."""


class Engine:
    """A synchronous fold of inputs; how they are cut into calls changes no result.

    Not thread-safe but for `view`, which any thread may read. Nobody looks at an engine that is not
    `shown`: its view stays empty, and without a strategy its ledger keeps no bars. Where no one
    will trade, `tradable` false saves the sample that queue estimates are made of.
    """

    def __init__(
        self,
        instrument: Instrument,
        config: EngineConfig,
        strategy: Strategy | None = None,
        *,
        shown: bool = True,
        tradable: bool = True,
    ) -> None:
        if strategy is not None:
            config = replace(config, decide=type(strategy).decide)
        elif not tradable:
            config = replace(config, queue_window=0)
        self.instrument = instrument
        self.config = config
        looked_at = shown or strategy is not None
        self.ledger = Ledger(keeps_bars=looked_at, series_count=len(config.bars))
        self.strategy = _copied(strategy)
        self.ended = False
        self.start_us = 0
        """Time of the first trade; 0 before it."""
        self._kernel = make_kernel(instrument, config, BUBBLES_KEPT if looked_at else 0)
        self._shown = shown
        self._bubbles = Ring(BUBBLE, BUBBLES_KEPT if looked_at else 1)
        self._bubbles_told = self._bubbles_shown = 0
        self.view = MarketView(
            instrument,
            config.bar_us,
            self.snapshot,
            atoms_per_ticklot=atoms_per_ticklot(instrument),
            bars=self.ledger.bars,
            series=self.ledger.series,
            marks=self.ledger.marks,
            orders=open_in_base(self._kernel.orders().view(ORDER)),
            read_profile=lambda: self._kernel.profile().view(PROFILE_ROW),
        )
        self.market = Market(
            instrument, self._kernel, self.ledger, self._bubbles, self._keep_outputs
        )
        self.orders = Orders(
            self._kernel, lambda: int(self.snapshot["stream_us"]), self._keep_command
        )
        self._fills_seen = 0
        if self.strategy is not None:
            try:
                self.strategy.on_start(self.market)
            except (Exception, SystemExit) as error:
                raise _failed(self.strategy, "at its start", error) from error

    @property
    def snapshot(self) -> np.void:
        """The state as one record of `records.SNAPSHOT`."""
        snapshot: np.void = self._kernel.snapshot().view(SNAPSHOT)[0]
        return snapshot

    def apply(self, trades: Columns) -> None:
        """Apply trades in order, calling the strategy at its decision points.

        Raises KernelError, with nothing applied, when a row is no valid trade, and StrategyError.
        """
        # Only where nothing else needs every row do block extremes save reading them.
        extremes = None if self.config.bars else getattr(trades, "extremes", None)
        batch = Batch(
            trades.ts_us,
            trades.price_ticks,
            trades.qty_lots,
            trades.side,
            extremes=None if extremes is None else extremes.as_tuple(),
        )
        first_input = int(self.snapshot["input"]) + 1
        at, count = 0, len(batch)
        if self.start_us == 0 and count:
            self.start_us = int(trades.ts_us[0])
        while at < count:
            at, decides = self._kernel.run(batch, at)
            if decides:
                self._decide()
        self._collect(trades, first_input)

    def apply_event(self, event: Event) -> None:
        """Apply whatever a live source yields."""
        if isinstance(event, Clock | Mark | Funding):
            self._apply_statement(event)
        elif isinstance(event, Gap):
            self._kernel.gap()
            missing = event.to_id - event.from_id + 1
            with self.view.lock:
                self.view.notice = f"gap: {missing:,} trades missing ({event.reason})"
        else:
            self.apply(event)
            return
        self._collect(None, 0)

    def _apply_statement(self, event: Clock | Mark | Funding) -> None:
        # A late clock says nothing new; a late mark or rate holds from now on.
        now_us = int(self.snapshot["stream_us"])
        if isinstance(event, Clock):
            decides = event.ts_us >= now_us and self._kernel.clock(event.ts_us)
        elif isinstance(event, Mark):
            decides = self._kernel.mark(0, max(event.ts_us, now_us), event.mark_ticks)
        else:
            decides = self._kernel.funding(0, max(event.ts_us, now_us), event.rate_ppb)
        if decides:
            self._decide()

    def end(self) -> None:
        """End the stream: the open bar and bubble close."""
        self._kernel.end()
        self.ended = True
        self._collect(None, 0)

    def digest(self) -> str:
        """Return the hex digest that names the results so far."""
        return self.ledger.digest(self._kernel.save_state())

    def order(self, order_id: int) -> OrderHistory:
        """Return all that happened to an order; raises InputError when there was none such."""
        return OrderHistory.of(self.instrument, self.ledger, order_id)

    def account(self, lane: Lane = Lane.BASE) -> np.void:
        """Return a lane's account as one record of `records.ACCOUNT`."""
        account: np.void = self._kernel.account(lane).view(ACCOUNT)[0]
        return account

    def checkpoint(self) -> Checkpoint:
        """Return a place to come back to."""
        return Checkpoint(
            input=int(self.snapshot["input"]),
            state=self._kernel.save_state(),
            ledger=self.ledger.mark(),
            strategy=_copied(self.strategy),
            fills_seen=self._fills_seen,
            bubbles=self._bubbles.since(self._bubbles_told),
        )

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go back to a checkpoint of this engine; the view starts a new epoch without bubbles."""
        self._kernel.load_state(checkpoint.state)
        self.ledger.restore(checkpoint.ledger)
        self.strategy = _copied(checkpoint.strategy)
        self.ended = False
        self._fills_seen = checkpoint.fills_seen
        self._bubbles.clear()
        self._bubbles.append(checkpoint.bubbles)
        self._bubbles_told, self._bubbles_shown = 0, self._bubbles.head
        view = self.view
        with view.lock:
            view.epoch += 1
            view.notice = ""
            for ring in (view.bubbles, view.prints, view.fills, view.equity):
                ring.clear()
            view.fills.append(self.ledger.fills.all())
            view.equity.append(self.ledger.equity.all())
            self._look()

    def recall(self, earlier: Checkpoint, pieces: Iterable[Columns]) -> None:
        """Show again what lies between an earlier checkpoint and the one just restored.

        `pieces` are the trades between the two. Bubbles do not depend on orders, so no strategy
        runs; nothing but the view changes.
        """
        kernel = make_kernel(self.instrument, self.config, BUBBLES_KEPT)
        kernel.load_state(earlier.state)
        first_input = earlier.input + 1
        for trades in pieces:
            batch = Batch(trades.ts_us, trades.price_ticks, trades.qty_lots, trades.side)
            at = 0
            while at < len(batch):
                at, _ = kernel.run(batch, at)
            with self.view.lock:
                self.view.bubbles.append(kernel.take_bubbles()[0].view(BUBBLE))
                self.view.prints.append(prints_of(trades, first_input))
            first_input += len(batch)

    def _decide(self) -> None:
        if self.strategy is None:
            return
        new_fills = NO_FILLS
        has_fills, closed_count = self._kernel.waiting()
        if has_fills:
            self._keep_outputs()
            closed_count = 0
            new_fills = self.ledger.fills.since(self._fills_seen)
            self._fills_seen = self.ledger.fills.head
        self.market.refresh(new_fills, self._bubbles_told)
        self._bubbles_told = self._bubbles.head + closed_count
        try:
            self.strategy.on_decision(self.market, self.orders)
        except (Exception, SystemExit) as error:
            when = f"at stream time {_time_text(self.market.now_us)}"
            raise _failed(self.strategy, when, error) from error

    def _keep_command(self, ts_us: int, order_id: int, request: Records) -> None:
        command = np.zeros(1, COMMAND)
        command["input"] = self.snapshot["input"]
        command["ts_us"], command["order_id"], command["request"] = ts_us, order_id, request
        self.ledger.append("commands", command)

    def _keep_outputs(self) -> None:
        kernel, ledger = self._kernel, self.ledger
        for i, bars in enumerate(self.config.bars):
            ledger.append(f"bars.{i}", kernel.take_bars(i).view(BAR))
            if bars.row_ticks:
                footprints, rows = kernel.take_footprints(i)
                ledger.append(f"footprints.{i}", footprints.view(FOOTPRINT))
                ledger.append(f"footprint_rows.{i}", rows.view(FOOTPRINT_ROW))
        ledger.append("marks", kernel.take_marks().view(MARK))
        ledger.append("fills", kernel.take_fills().view(FILL))
        ledger.append("order_events", kernel.take_order_events().view(ORDER_EVENT))
        ledger.append("equity", kernel.take_equity().view(EQUITY))
        taken, count = kernel.take_bubbles()
        # The kernel may keep more, by how inputs were cut.
        bubbles = taken.view(BUBBLE)[-BUBBLES_KEPT:]
        self._bubbles.head += count - len(bubbles)
        self._bubbles.append(bubbles)

    def _collect(self, trades: Columns | None, first_input: int) -> None:
        self._keep_outputs()
        if not self._shown:
            return
        view, ledger = self.view, self.ledger
        with view.lock:
            bubbles = self._bubbles.since(self._bubbles_shown)
            view.bubbles.head += self._bubbles.head - self._bubbles_shown - len(bubbles)
            view.bubbles.append(bubbles)
            self._bubbles_shown = self._bubbles.head
            view.fills.append(ledger.fills.since(view.fills.head))
            view.equity.append(ledger.equity.since(view.equity.head))
            if trades is not None:
                view.prints.append(prints_of(trades, first_input))
            self._look()

    def _look(self) -> None:
        view = self.view
        view.snapshot = self.snapshot
        view.orders = open_in_base(self._kernel.orders().view(ORDER))


def _failed(strategy: Strategy, when: str, error: BaseException) -> StrategyError:
    said = str(error) if isinstance(error, FlowError) else f"{type(error).__name__}: {error}"
    name = type(strategy).__name__
    return StrategyError(f"strategy {name} failed {when}: {' '.join(said.split())}")


def _copied(strategy: Strategy | None) -> Strategy | None:
    try:
        return copy.deepcopy(strategy)
    except Exception as error:
        raise StrategyError(
            f"strategy {type(strategy).__name__} cannot be copied ({error}), which checkpoints "
            "need; keep only plain values in its attributes"
        ) from error


def _time_text(ts_us: int) -> str:
    seconds, micros = divmod(ts_us, 1_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{micros:06d}Z"


def prints_of(trades: Columns, first_input: int) -> NDArray[np.void]:
    """Return the newest trades as records of `records.PRINT`, as many as a view keeps."""
    count = len(trades.ts_us)
    start = max(0, count - PRINTS_KEPT)
    prints = np.zeros(count - start, PRINT)
    prints["input"] = np.arange(first_input + start, first_input + count)
    for name in ("ts_us", "price_ticks", "qty_lots", "side"):
        prints[name] = getattr(trades, name)[start:]
    return prints
