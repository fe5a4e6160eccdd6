"""Many sets of target positions over one pass of a tape.

Each set is what `signals.run_targets` makes of it in the base lane, to the last atom. What depends
on the trades alone is worked out once for all sets.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flowtape._kernel import STATUS_NAMES, Batch, Sweep
from flowtape.replay.signals import (
    Source,
    TapeRows,
    check_columns,
    decisions_of,
    pieces_of,
    whole_lots,
)
from flowtape.stream.config import EngineConfig, kernel_records, money_decimals
from flowtape.stream.errors import InputError, KernelError, TapeError
from flowtape.stream.execution import AccountKind
from flowtape.stream.instrument import Instrument
from flowtape.stream.outputs import Columns
from flowtape.stream.records import I128, SWEEP_RESULT, Records, i128, i128_float


@dataclass(frozen=True, slots=True, eq=False)
class SweepResult:
    """What became of each set.

    Attributes:
        records: exact integers, a record of `records.SWEEP_RESULT` for each set. Equity is sampled
            at the start and at each decision point. A set whose order was refused stands still from
            then on.
        decision_count: decision points of the session.
        equity: atoms of each set at each decision point, pairs of `records.I128`; none unless asked
            for.
    """

    instrument: Instrument
    config: EngineConfig
    records: Records
    decision_count: int
    equity: Records | None

    def __len__(self) -> int:
        return len(self.records)

    @property
    def refused(self) -> NDArray[np.int64]:
        """The sets that stopped because an order was refused."""
        return np.flatnonzero(self.records["refused_decision"] >= 0)

    def status(self, index: int) -> str:
        """Return the name of the status that stopped a set, `OK` if nothing did."""
        return STATUS_NAMES[int(self.records["refused_status"][index])]

    def atoms(self, field: str) -> list[int]:
        """Return a field of money exactly, for example `equity_atoms`."""
        return [i128(pair) for pair in self.records[field]]

    def quote(self, field: str) -> NDArray[np.float64]:
        """Return a field of money as floats in the quote asset."""
        return self._quote(self.records[field])

    def equity_quote(self) -> NDArray[np.float64]:
        """Return the equity of each set at each decision point in the quote asset.

        Raises InputError when the sweep was not asked for it.
        """
        if self.equity is None:
            raise InputError("the sweep kept no equity: call it with equity=True")
        return self._quote(self.equity)

    def _quote(self, pairs: Records) -> NDArray[np.float64]:
        return i128_float(pairs) / 10.0 ** money_decimals(self.instrument)


def sweep_targets(
    instrument: Instrument,
    source: Source,
    config: EngineConfig,
    targets: NDArray[np.signedinteger[Any]],
    *,
    equity: bool = False,
    threads: int = 1,
) -> SweepResult:
    """Follow a row of target positions for each set and return what became of them.

    `targets` are whole lots of 32 or 64 bits, sets x decision points, C-contiguous; they are read
    where they are. With `equity`, 16 bytes are kept for each target. The sets are shared out among
    `threads`, each of which makes a pass of its own.

    Raises InputError for an array or settings that do not fit.
    """
    if config.account != AccountKind.FREE:
        raise InputError("a sweep trades in a free account: set account=AccountKind.FREE")
    decisions_of(config)
    rows = whole_lots(targets, "targets", dimensions=2)
    if rows.dtype not in (np.int32, np.int64) or not rows.flags.c_contiguous:
        order = "" if rows.flags.c_contiguous else "not contiguous "
        raise InputError(
            f"targets must be C-contiguous int32 or int64, was {order}{rows.dtype}; "
            "np.ascontiguousarray(x, np.int32) makes such a copy"
        )
    set_count, columns = rows.shape
    check_columns("each row of targets", columns, source, config)
    kept = np.zeros((set_count, columns), I128) if equity else None
    edges = np.linspace(0, set_count, max(1, min(threads, set_count)) + 1).astype(int)
    header, market = (r.view(np.uint8) for r in kernel_records(instrument, config))

    def run(start: int, stop: int) -> Records:
        sweep = Sweep(header, market, stop - start)
        part = rows[start:stop]
        words = None if kept is None else kept[start:stop].view(np.int64)
        for batch in _batches(instrument, source):
            sweep.run(batch, part, 0, words)
        found: Records = sweep.results().view(SWEEP_RESULT)
        return found

    with ThreadPoolExecutor(len(edges) - 1) as pool:
        parts: list[Any] = list(pool.map(run, edges[:-1], edges[1:]))
    return SweepResult(instrument, config, np.concatenate(parts), columns, kept)


def _batches(instrument: Instrument, source: Source) -> Iterator[Batch]:
    if not isinstance(source, TapeRows):
        yield _batch_of(source)
        return
    for piece in pieces_of(source):
        try:
            yield _batch_of(piece)
        except KernelError as error:
            symbol = instrument.symbol
            raise TapeError(
                f"the fast copy of {symbol} is damaged ({error}); put it right with: "
                f"flowtape doctor {symbol} --repair"
            ) from None


def _batch_of(trades: Columns) -> Batch:
    return Batch(trades.ts_us, trades.price_ticks, trades.qty_lots, trades.side)
