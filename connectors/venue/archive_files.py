"""Trades as files of Binance's public archive: equal trades always give equal bytes."""

import io
import zipfile
from datetime import UTC, date, datetime

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
from numpy.typing import NDArray

from flowtape.connectors.binance.archive import MICROSECONDS_SINCE, ArchiveEntry
from flowtape.stream.decimals import format_decimal
from flowtape.stream.instrument import Instrument
from flowtape.stream.trades import SELL, Trades

HEADER_SINCE = date(2022, 8, 11)
"""Files of futures from this day on begin with the names of their columns."""

_FUTURES_COLUMNS = (
    *("agg_trade_id", "price", "quantity", "first_trade_id", "last_trade_id"),
    *("transact_time", "is_buyer_maker"),
)
_SPOT_DECIMALS = 8
_EPOCH = (1980, 1, 1, 0, 0, 0)
_FILE_MODE = 0o644 << 16
_UNIX = 3
_LEVEL = 1  # someone waits for it


def archive_zip(entry: ArchiveEntry, instrument: Instrument, trades: Trades) -> bytes:
    """Return the zip that Binance would publish of trades."""
    info = zipfile.ZipInfo(entry.name.removesuffix(".zip") + ".csv", _EPOCH)
    info.compress_type = zipfile.ZIP_DEFLATED
    info.create_system = _UNIX
    info.external_attr = _FILE_MODE
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(info, _csv(entry, instrument, trades), compresslevel=_LEVEL)
    return packed.getvalue()


def _csv(entry: ArchiveEntry, instrument: Instrument, trades: Trades) -> bytes:
    spot = instrument.market == "spot"
    in_us = spot and entry.day >= MICROSECONDS_SINCE
    booleans = ["False", "True"] if spot else ["false", "true"]
    columns = [
        pa.array(trades.agg_id),
        _decimals(trades.price_ticks, instrument.price_decimals, padded=spot),
        _decimals(trades.qty_lots, instrument.qty_decimals, padded=spot),
        pa.array(trades.first_id),
        pa.array(trades.last_id),
        pa.array(trades.ts_us if in_us else trades.ts_us // 1_000),
        pa.array(booleans).take(pa.array((trades.side == SELL).astype(np.int8))),
    ]
    if spot:
        columns.append(pa.array(["True"]).take(pa.array(np.zeros(len(trades), np.int8))))
    names = [*_FUTURES_COLUMNS, "is_best_match"][: len(columns)]
    text = io.BytesIO()
    if not spot and entry.day >= HEADER_SINCE:
        text.write(",".join(names).encode() + b"\n")
    pa_csv.write_csv(
        pa.Table.from_arrays(columns, names),
        text,
        pa_csv.WriteOptions(include_header=False, quoting_style="none"),
    )
    return text.getvalue()


def _decimals(values: NDArray[np.int64], decimals: int, *, padded: bool) -> pa.Array:
    """Return numbers as text: with eight decimals, or with no zeros behind but one."""
    each, places = np.unique(values, return_inverse=True)
    texts = [format_decimal(value, decimals) for value in each.tolist()]
    if padded and decimals < _SPOT_DECIMALS:
        more = "0" * (_SPOT_DECIMALS - decimals)
        texts = [f"{text}{'' if decimals else '.'}{more}" for text in texts]
    elif not padded and decimals:
        texts = [_trimmed(text) for text in texts]
    return pa.array(texts, pa.string()).take(pa.array(places.ravel()))


def _trimmed(text: str) -> str:
    trimmed = text.rstrip("0")
    return trimmed + "0" if trimmed.endswith(".") else trimmed


def published(entry: ArchiveEntry) -> datetime:
    """Return when a file is said to have been published: the day after its last one."""
    last = entry.days[-1]
    return datetime.fromordinal(last.toordinal() + 1).replace(tzinfo=UTC)
