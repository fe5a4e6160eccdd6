"""An engine's strategy: when it is asked, what it was told, and what it may do."""

import copy
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Protocol

from flowtape.stream.checkpoints import Standing
from flowtape.stream.commands import DiffersError
from flowtape.stream.errors import FlowError, InputError
from flowtape.stream.ledger import Ledger
from flowtape.stream.outputs import MarketOutputs
from flowtape.stream.strategy import NO_FILLS, Market, Orders, Strategy


class StrategyError(FlowError):
    """A strategy raised an exception, asked for the impossible, or cannot be copied."""


class Guard:
    """Lets one thread at a time work on an engine; a stray one is refused, not made to wait."""

    def __init__(self) -> None:
        self._lock = threading.RLock()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    @contextmanager
    def asked(self) -> Iterator[None]:
        """Hold it for a command; raises InputError while another thread is at work."""
        if not self._lock.acquire(blocking=False):
            raise InputError(
                "a command came from another thread while the engine was at work; "
                "give it in on_decision"
            )
        try:
            yield
        finally:
            self._lock.release()


class Waiting(Protocol):
    """A kernel, as far as it says what it still holds."""

    def waiting(self, market: int) -> tuple[bool, int]:
        """Return whether there are fills, and how many closed bubbles of an instrument."""
        ...


class Decisions:
    """Asks a strategy at its decision points.

    `keep_outputs` empties the kernel's outboxes, `written` writes its commands down.
    """

    def __init__(
        self,
        strategy: Strategy | None,
        kernel: Waiting,
        ledger: Ledger,
        outputs: Sequence[MarketOutputs],
        orders: Orders,
        *,
        keep_outputs: Callable[[], None],
        written: Callable[[], None],
        rests: bool,
    ) -> None:
        self.strategy = copied(strategy)
        self.deciding = False
        """Whether the strategy is at work: commands are its own."""
        self.rests = rests
        """Whether it is asked for nothing for now."""
        self.fills_seen = 0
        """Own fills that it was told of."""
        self._kernel = kernel
        self._ledger = ledger
        self._outputs = outputs
        self._orders = orders
        self._keep_outputs = keep_outputs
        self._written = written

    @property
    def _market(self) -> Market:
        return self._outputs[0].market

    @property
    def awaited(self) -> bool:
        """Whether there is a strategy to be asked at decision points."""
        return self.strategy is not None and not self.rests

    def start(self) -> None:
        """Let the strategy set itself up."""
        strategy = self.strategy
        if strategy is not None:
            self._ask(lambda: strategy.on_start(self._market), "at its start")

    def decide(self) -> None:
        """Ask the strategy at a decision point, unless it rests."""
        strategy = self.strategy
        if strategy is None or self.rests:
            return
        waiting = [self._kernel.waiting(number) for number in range(len(self._outputs))]
        if waiting[0][0]:
            self._keep_outputs()
        # Fills may also have been taken before, where a call of the engine ended.
        new_fills = NO_FILLS
        if self._ledger.fills.head > self.fills_seen:
            new_fills = self._ledger.fills.since(self.fills_seen)
            self.fills_seen = self._ledger.fills.head
        for one, (has_fills, closed_count) in zip(self._outputs, waiting, strict=True):
            one.tell(new_fills, 0 if has_fills else closed_count)
        self._ask(lambda: strategy.on_decision(self._market, self._orders), "")

    def take_up(self, standing: Standing, strategy: Strategy) -> None:
        """Have a strategy decide again that was told as much as it was at `standing`."""
        self.strategy = strategy
        self.rests = False
        self.fills_seen = standing.fills_seen
        for one, told in zip(self._outputs, standing.bubbles_told, strict=True):
            one.told = told

    def begin(self) -> None:
        """Have the strategy, which rested, start here, told nothing of what was before."""
        self._keep_outputs()
        self.rests = False
        self.fills_seen = self._ledger.fills.head
        for one in self._outputs:
            one.told = one.bubbles.head
        self.start()

    def _ask(self, question: Callable[[], None], when: str) -> None:
        self.deciding = True
        try:
            question()
        except (DiffersError, KeyboardInterrupt):
            raise
        except BaseException as error:
            when = when or f"at stream time {_time_text(self._market.now_us)}"
            raise _failed(self.strategy, when, error) from error
        finally:
            self.deciding = False
            self._written()


def copied(strategy: Strategy | None) -> Strategy | None:
    """Return a copy that shares nothing; raises StrategyError where that cannot be."""
    try:
        return copy.deepcopy(strategy)
    except Exception as error:
        raise StrategyError(
            f"strategy {type(strategy).__name__} cannot be copied ({error}), which checkpoints "
            "need; keep only plain values in its attributes"
        ) from error


def _failed(strategy: Strategy | None, when: str, error: BaseException) -> StrategyError:
    said = str(error) if isinstance(error, FlowError) else f"{type(error).__name__}: {error}"
    name = type(strategy).__name__
    return StrategyError(f"strategy {name} failed {when}: {' '.join(said.split())}")


def _time_text(ts_us: int) -> str:
    seconds, micros = divmod(ts_us, 1_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{micros:06d}Z"
