"""Going back in a session, and showing again what lies right before."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from flowtape._kernel import Batch
from flowtape.stream.config import EngineConfig, make_kernel
from flowtape.stream.inputs import InputKind, Inputs, tell
from flowtape.stream.instrument import Instrument
from flowtape.stream.ledger import LedgerMark
from flowtape.stream.outputs import Columns, MarketOutputs
from flowtape.stream.records import Records
from flowtape.stream.strategy import Strategy
from flowtape.stream.view import BUBBLES_KEPT


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A place in a session that an engine can go back to."""

    input: int
    state: bytes
    ledger: LedgerMark
    strategy: Strategy | None
    fills_seen: int
    """Own fills told to the strategy."""
    bubbles: tuple[Records, ...]
    """Bubbles of each instrument not yet told to it."""
    place: tuple[int, int]
    """The last input that commands followed, and how many did."""


def batch_of(trades: Columns, config: EngineConfig, market_count: int) -> Batch:
    """Return trades as a kernel of that many instruments takes them."""
    # Only where nothing else needs every row do block extremes save reading them.
    extremes = None if config.bars else getattr(trades, "extremes", None)
    return Batch(
        trades.ts_us,
        trades.price_ticks,
        trades.qty_lots,
        trades.side,
        None if market_count == 1 else getattr(trades, "market", None),
        extremes=None if extremes is None else extremes.as_tuple(),
    )


def show_again(
    instruments: tuple[Instrument, ...],
    config: EngineConfig,
    outputs: Sequence[MarketOutputs],
    earlier: Checkpoint,
    pieces: Iterable[Columns],
) -> None:
    """Show what lies behind an earlier checkpoint; `pieces` are the inputs from there on.

    Bubbles do not depend on orders, so no strategy runs; nothing but the views changes.
    """
    kernel = make_kernel(instruments, config, BUBBLES_KEPT)
    kernel.load_state(earlier.state)
    first_input = earlier.input + 1
    for trades in _runs(pieces):
        if isinstance(trades, Inputs) and trades.kind[0] != InputKind.TRADE:
            tell(kernel, trades.statement())
            first_input += 1
            continue
        batch = batch_of(trades, config, len(instruments))
        kernel.run_through(batch)
        for one in outputs:
            one.recall(kernel, trades, first_input)
        first_input += len(batch)


def _runs(pieces: Iterable[Columns]) -> Iterator[Columns]:
    for piece in pieces:
        if isinstance(piece, Inputs):
            yield from piece.runs()
        else:
            yield piece
