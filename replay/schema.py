"""How trades lie in a Parquet file: columns, key-values, encodings, content hash."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from flowtape.stream.errors import InputError, TapeError
from flowtape.stream.instrument import Instrument
from flowtape.stream.trades import Trades, side_of

SCHEMA_VERSION = 1
ROW_GROUP_ROWS = 1 << 18

TAPE_SCHEMA = pa.schema(
    [
        pa.field("agg_id", pa.int64(), nullable=False),
        pa.field("ts", pa.timestamp("us", "UTC"), nullable=False),
        pa.field("price_ticks", pa.int64(), nullable=False),
        pa.field("qty_lots", pa.int64(), nullable=False),
        pa.field("first_id", pa.int64(), nullable=False),
        pa.field("last_id", pa.int64(), nullable=False),
        pa.field("is_buyer_maker", pa.bool_(), nullable=False),
    ]
)
FAST_COLUMNS = ["ts", "price_ticks", "qty_lots", "is_buyer_maker"]

_PREFIX = "flowtape."
_CANONICAL = ("agg_id", "ts_us", "price_ticks", "qty_lots", "first_id", "last_id", "side")


class SourceFile(msgspec.Struct, frozen=True):
    """A file that trades of a part came from; `name` is its base name, a label only."""

    name: str
    sha256: str


@dataclass(frozen=True, slots=True)
class PartMeta:
    """What the key-values of one Parquet part say.

    `last_us` is the latest time in the part. `sha256` is the `ColumnsDigest` of its rows.
    `void_ids` are inclusive ranges of aggregate ids that the venue published without a trade.
    """

    instrument: Instrument
    row_count: int
    first_id: int
    last_id: int
    first_us: int
    last_us: int
    sha256: str
    sources: tuple[SourceFile, ...] = ()
    void_ids: tuple[tuple[int, int], ...] = ()

    def key_values(self) -> dict[str, str]:
        """Return the key-values to be written into the file."""
        instrument = self.instrument
        values: dict[str, str | int] = {
            "schema_version": SCHEMA_VERSION,
            "symbol": instrument.symbol,
            "market": instrument.market,
            "venue": instrument.venue,
            "price_decimals": instrument.price_decimals,
            "qty_decimals": instrument.qty_decimals,
            "row_count": self.row_count,
            "first_agg_id": self.first_id,
            "last_agg_id": self.last_id,
            "first_ts_us": self.first_us,
            "last_ts_us": self.last_us,
            "sha256": self.sha256,
            "sources": msgspec.json.encode(self.sources).decode(),
            "void_ids": msgspec.json.encode(self.void_ids).decode(),
        }
        return {_PREFIX + key: str(value) for key, value in values.items()}

    @classmethod
    def from_key_values(cls, values: Mapping[bytes, bytes] | None, where: str) -> "PartMeta":
        """Return what the key-values of the file `where` say; raises TapeError."""
        texts = {
            key.decode().removeprefix(_PREFIX): value.decode()
            for key, value in (values or {}).items()
            if key.startswith(_PREFIX.encode())
        }
        if "schema_version" not in texts:
            raise TapeError(f"{where} is not a flowtape tape; import it with `flowtape import`")
        version = texts["schema_version"]
        if not version.isdecimal() or int(version) > SCHEMA_VERSION:
            raise TapeError(
                f"{where} has tape schema {version}, this flowtape reads up to {SCHEMA_VERSION}: "
                "upgrade flowtape"
            )
        try:
            return cls(
                Instrument(
                    texts["symbol"],
                    texts["market"],  # type: ignore[arg-type]  # Instrument checks it
                    int(texts["price_decimals"]),
                    int(texts["qty_decimals"]),
                    texts["venue"],
                ),
                int(texts["row_count"]),
                int(texts["first_agg_id"]),
                int(texts["last_agg_id"]),
                int(texts["first_ts_us"]),
                int(texts["last_ts_us"]),
                texts["sha256"],
                msgspec.json.decode(texts["sources"], type=tuple[SourceFile, ...]),
                msgspec.json.decode(texts["void_ids"], type=tuple[tuple[int, int], ...]),
            )
        except (KeyError, ValueError, InputError, msgspec.MsgspecError) as error:
            raise TapeError(f"{where} has damaged key-values ({error})") from None


class ColumnsDigest:
    """Content hash of trades: SHA-256 over the SHA-256 of each column's little-endian bytes.

    Independent of how the rows are cut into pieces, of file encodings and of file names.
    """

    def __init__(self) -> None:
        self._columns = {name: hashlib.sha256() for name in _CANONICAL}

    def update(self, trades: Trades) -> None:
        """Add rows behind those added before."""
        for name, column in self._columns.items():
            values = getattr(trades, name)
            column.update(np.ascontiguousarray(values, values.dtype.newbyteorder("<")).data)

    def hexdigest(self) -> str:
        """Return the hash of all rows added so far."""
        return hashlib.sha256(b"".join(c.digest() for c in self._columns.values())).hexdigest()


def write_options() -> dict[str, Any]:
    """Return the keyword arguments of `pyarrow.parquet.ParquetWriter` for tape parts."""
    delta = {field.name: "DELTA_BINARY_PACKED" for field in TAPE_SCHEMA if field.name != "qty_lots"}
    del delta["is_buyer_maker"]
    return {
        "compression": "zstd",
        "compression_level": 3,
        "use_dictionary": ["qty_lots"],
        "column_encoding": delta,
        "write_page_checksum": True,
        "write_page_index": True,
        "sorting_columns": [pq.SortingColumn(0)],
    }


def to_table(trades: Trades) -> pa.Table:
    """Return trades in the schema of a tape."""
    columns = [
        pa.array(trades.agg_id),
        pa.array(trades.ts_us).view(TAPE_SCHEMA.field("ts").type),
        pa.array(trades.price_ticks),
        pa.array(trades.qty_lots),
        pa.array(trades.first_id),
        pa.array(trades.last_id),
        pa.array(trades.side < 0),
    ]
    return pa.Table.from_arrays(columns, schema=TAPE_SCHEMA)


def from_table(table: pa.Table) -> Trades:
    """Return the trades of a table in the schema of a tape."""
    return Trades(
        table.column("agg_id").to_numpy(),
        table.column("ts").cast(pa.int64()).to_numpy(),
        table.column("price_ticks").to_numpy(),
        table.column("qty_lots").to_numpy(),
        table.column("first_id").to_numpy(),
        table.column("last_id").to_numpy(),
        side_of(table.column("is_buyer_maker").to_numpy()),
    )
