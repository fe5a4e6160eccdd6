"""Sessions as files that other tools read."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from flowtape.replay.backtest import Result
from flowtape.replay.result_tables import equity_table, fills_table, orders_table
from flowtape.replay.session_rows import OpenTape, opened_tapes
from flowtape.replay.staging import staged
from flowtape.stream.decimals import format_decimal
from flowtape.stream.errors import InputError
from flowtape.stream.inputs import InputKind, Inputs
from flowtape.stream.instrument import Instrument
from flowtape.stream.session import Session

TRADES_SCHEMA = pa.schema(
    [
        pa.field(name, kind, nullable=False)
        for name, kind in (
            ("symbol", pa.string()),
            ("agg_id", pa.int64()),
            ("price", pa.string()),
            ("qty", pa.string()),
            ("first_id", pa.int64()),
            ("last_id", pa.int64()),
            ("ts_us", pa.int64()),
            ("is_buyer_maker", pa.bool_()),
        )
    ]
)

_ROWS = 1 << 18


def export_trades(session: Session, open_tape: OpenTape, path: Path) -> int:
    """Write the trades of a session to a Parquet or CSV file, by its name; return how many.

    Columns are those of `TRADES_SCHEMA`, prices and quantities as exact decimal text. Trades come
    in the order of the session; those of several tapes tape by tape. The file is there whole or
    not at all. Raises InputError when it cannot be written, SessionError and JournalDamagedError
    when the session cannot be read.
    """
    if path.suffix not in {".parquet", ".csv"}:
        raise InputError(f"{path}: give a .parquet or .csv file, or a folder")
    count = 0
    with staged(path) as staging, contextlib.ExitStack() as stack:
        writer: pq.ParquetWriter | pa_csv.CSVWriter
        if path.suffix == ".csv":
            writer = stack.enter_context(pa_csv.CSVWriter(staging, TRADES_SCHEMA))
        else:
            writer = stack.enter_context(
                pq.ParquetWriter(staging, TRADES_SCHEMA, compression="zstd")
            )
        for piece in _trades(session, open_tape):
            writer.write_table(_table(piece, session.genesis.instruments))
            count += len(piece)
    return count


def export_results(result: Result, folder: Path) -> list[str]:
    """Write fills, orders and equity to a folder, as Parquet and as CSV; return the names."""
    tables = {
        "fills": fills_table(result),
        "orders": orders_table(result),
        "equity": equity_table(result),
    }
    names = []
    for name, table in tables.items():
        with staged(folder / f"{name}.csv") as staging:
            staging.write_text(table.csv(), encoding="utf-8")
        with staged(folder / f"{name}.parquet") as staging:
            pq.write_table(table.arrow(), staging, compression="zstd")
        names += [f"{name}.csv", f"{name}.parquet"]
    return names


def _trades(session: Session, open_tape: OpenTape) -> Iterator[Inputs]:
    if not session.genesis.tapes:
        for piece in session.inputs():
            trades = np.flatnonzero(piece.kind == InputKind.TRADE)
            yield piece.take(trades)
        return
    for number, tape in enumerate(opened_tapes(session, open_tape)):
        for start in range(0, len(tape), _ROWS):
            yield Inputs.of_trades(tape.full_trades(start, start + _ROWS), number)


def _table(trades: Inputs, instruments: Sequence[Instrument]) -> pa.Table:
    symbols = pa.array([one.symbol for one in instruments])
    columns = [
        symbols.take(pa.array(trades.market)),
        pa.array(trades.agg_id),
        _texts(trades, trades.price_ticks, [one.price_decimals for one in instruments]),
        _texts(trades, trades.qty_lots, [one.qty_decimals for one in instruments]),
        pa.array(trades.first_id),
        pa.array(trades.last_id),
        pa.array(trades.ts_us),
        pa.array(trades.side < 0),
    ]
    return pa.Table.from_arrays(columns, schema=TRADES_SCHEMA)


def _texts(trades: Inputs, values: NDArray[np.int64], decimals: Sequence[int]) -> pa.Array:
    """Return numbers as decimal text; each one is written once only."""
    pairs = np.stack([trades.market.astype(np.int64), values])
    each, places = np.unique(pairs, axis=1, return_inverse=True)
    texts = [format_decimal(int(value), decimals[market]) for market, value in each.T.tolist()]
    return pa.array(texts, pa.string()).take(pa.array(places.ravel()))
