"""Reading archives of trades as text: Binance's files as they come, and any CSV by its columns.

Binance's aggTrades files have 8 columns on spot and 7 on the futures markets, a header or none,
times in milliseconds or, on spot since 2025, in microseconds, and numbers with trailing zeros or
without. Nothing is taken for granted but the first line; the rest is checked row by row.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flowtape._kernel import parse_archive_text
from flowtape.replay.packed_files import ByteCount, hash_file, open_text
from flowtape.replay.words import counted
from flowtape.stream.decimals import format_decimal
from flowtape.stream.errors import InputError
from flowtape.stream.limits import PRICE_TICKS_MAX, QTY_LOTS_MAX, TS_US_MAX
from flowtape.stream.trades import Trades

MICROSECONDS_FROM = 10**15

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_BLOCK_BYTES = 1 << 20
_LINE_BYTES_MAX = 1 << 12
_SHOWN_CHARS = 80
_MILLISECONDS_MIN = 10**11  # a smaller number would lie before 1973: it counts seconds
_ARCHIVE_HEADER = (
    *("agg_trade_id", "price", "quantity", "first_trade_id", "last_trade_id"),
    *("transact_time", "is_buyer_maker", "is_best_match"),
)
_ARCHIVE_LAYOUT = "apqfltm-"
_LETTERS = {
    "id": "a",
    "ts": "t",
    "price": "p",
    "qty": "q",
    "first_id": "f",
    "last_id": "l",
    "is_buyer_maker": "m",
    "side": "s",
}
_COLUMNS_NEEDED = ("ts", "price", "qty", "id")


@dataclass(frozen=True, slots=True)
class Block:
    """Some rows of a file, in file order, on the grid that the file needed so far.

    `trades.ts_us` is in microseconds whatever the file has; `in_us` tells for each row which unit
    it was. `is_trade` is false for rows of price or quantity 0. `first_row` is the number of the
    first row in the file, counted from 1 with the header.
    """

    trades: Trades
    in_us: NDArray[np.bool_]
    is_trade: NDArray[np.bool_]
    price_decimals: int
    qty_decimals: int
    first_row: int


def parse_columns(text: str) -> dict[str, str]:
    """Return what `ts=time,price=px,...` says: a header name or a number, from 1, for each field.

    Raises InputError when a field is unknown, named twice or missing.
    """
    columns: dict[str, str] = {}
    for pair in text.split(","):
        field, equals, column = (piece.strip() for piece in pair.partition("="))
        if not equals or not column or field not in _LETTERS or field in columns:
            raise InputError(
                f"--columns {pair!r} is not FIELD=COLUMN; fields, each once, are "
                f"{', '.join(_LETTERS)}"
            )
        columns[field] = column
    missing = [field for field in _COLUMNS_NEEDED if field not in columns]
    if missing:
        raise InputError(f"--columns lacks {', '.join(missing)}")
    if ("side" in columns) == ("is_buyer_maker" in columns):
        raise InputError("--columns needs either side or is_buyer_maker")
    return columns


class ArchiveFile:
    """One file of trades, packed or not.

    Opening looks at the first line only. Every method raises InputError, naming file, row and
    value, for a file that cannot be used.

    Attributes:
        kind: `spot` for 8 columns, `futures` for 7, `columns` where the caller named them.
        text_bytes: size of the text, unzipped.
    """

    def __init__(self, path: Path, columns: Mapping[str, str] | None = None) -> None:
        self.path = path
        with open_text(path) as file:
            self.text_bytes = file.size_bytes
            first = file.readline(_LINE_BYTES_MAX + 1).removeprefix(_BYTE_ORDER_MARK)
            self._skipped_rows = 0
            while first in (b"\n", b"\r\n"):
                first = file.readline(_LINE_BYTES_MAX + 1)
                self._skipped_rows += 1
        if not first.strip():
            raise InputError(f"{path} is empty")
        if len(first) > _LINE_BYTES_MAX or not first.isascii() or b"\0" in first:
            raise InputError(f"{path} is not a trade file: its first line is no line of text")
        names = [name.strip().strip('"').strip() for name in first.decode().split(",")]
        if columns is None:
            has_header = not names[0].removeprefix("-").isdecimal()
            self.kind, self._layout = self._archive_layout(names, has_header=has_header)
        else:
            has_header = not any(map(str.isdecimal, names))
            self.kind = "columns"
            self._layout = self._named_layout(names, columns, has_header=has_header)
        self._skipped_rows += has_header

    def sha256(self, count: ByteCount) -> str:
        """Return the hash of the file's bytes, checked against a CHECKSUM file beside it."""
        return hash_file(self.path, count)

    def blocks(self, count: ByteCount, *, mixed_units: bool = False) -> Iterator[Block]:
        """Yield the rows of the file; memory is bounded whatever its size.

        A change of the time unit is an error unless `mixed_units`.
        """
        price_decimals = qty_decimals = 0
        row = 1
        unit_us: bool | None = None
        for text in self._texts(count):
            try:
                columns, price_decimals, qty_decimals, lines = parse_archive_text(
                    text, self._layout, price_decimals, qty_decimals
                )
            except ValueError as error:
                what, line, field, value = error.args
                place = f"{self.path}, row {row + line}"
                if "columns" in what:
                    found = counted(value.count(",") + 1, "column")
                    what = f"has {found}, not {len(self._layout)}"
                else:
                    place += f", column {field + 1}"
                raise InputError(f"{place}: {_shown(value)} {what}") from None
            trades = Trades(*columns)
            if len(trades):
                block = Block(
                    trades,
                    trades.ts_us >= MICROSECONDS_FROM,
                    (trades.price_ticks != 0) & (trades.qty_lots != 0),
                    price_decimals,
                    qty_decimals,
                    row,
                )
                if unit_us is None and not mixed_units and block.is_trade.any():
                    unit_us = bool(block.in_us[np.argmax(block.is_trade)])
                yield self._checked(block, text, unit_us)
            row += lines

    def _archive_layout(self, names: list[str], *, has_header: bool) -> tuple[str, str]:
        expected = _ARCHIVE_HEADER[: len(names)]
        known = len(names) in (7, 8) and (
            not has_header or [name.lower() for name in names] == list(expected)
        )
        if not known:
            line = _shown(",".join(names))
            if len(names) < len(_COLUMNS_NEEDED) + 1:
                raise InputError(f"{self._first_row}: {line} does not begin a file of trades")
            raise InputError(
                f"{self._first_row}: {line} does not begin a Binance aggTrades file; name its "
                "columns with --columns ts=...,price=...,qty=...,side=...,id=..."
            )
        return ("spot" if len(names) == 8 else "futures"), _ARCHIVE_LAYOUT[: len(names)]

    @property
    def _first_row(self) -> str:
        return f"{self.path}, row {self._skipped_rows + 1}"

    def _named_layout(
        self, names: list[str], columns: Mapping[str, str], *, has_header: bool
    ) -> str:
        letters = ["-"] * len(names)
        for field, column in columns.items():
            if has_header and column in names:
                index = names.index(column)
            elif column.isdecimal() and 1 <= int(column) <= len(names):
                index = int(column) - 1
            else:
                there = ", ".join(names) if has_header else f"numbers 1 to {len(names)}"
                raise InputError(
                    f"{self.path} has no column {column!r} for {field}; it has {there}"
                )
            if letters[index] != "-":
                raise InputError(f"--columns uses column {column!r} twice")
            letters[index] = _LETTERS[field]
        return "".join(letters)

    def _texts(self, count: ByteCount) -> Iterator[bytes]:
        with open_text(self.path) as file:
            for _ in range(self._skipped_rows):
                file.readline(_LINE_BYTES_MAX + 1)
            rest = b"\n" * self._skipped_rows
            first = not self._skipped_rows
            while block := file.read(_BLOCK_BYTES):
                count(file.passed())
                if first:
                    block, first = block.removeprefix(_BYTE_ORDER_MARK), False
                cut = block.rfind(b"\n") + 1
                if cut:
                    yield rest + block[:cut]
                    rest = block[cut:]
                elif len(rest) > _LINE_BYTES_MAX:
                    raise InputError(f"{self.path} has a line of over {_LINE_BYTES_MAX} bytes")
                else:
                    rest += block
            if rest:
                yield rest + b"\n"

    def _checked(self, block: Block, text: bytes, unit_us: bool | None) -> Block:
        trades = block.trades
        ts_us = np.where(block.in_us, trades.ts_us, trades.ts_us * 1_000)
        no_time = (ts_us > TS_US_MAX) | (trades.ts_us < _MILLISECONDS_MIN)
        other_unit = np.zeros(1, np.bool_) if unit_us is None else block.in_us != unit_us
        numbers = (
            (no_time, trades.ts_us, 0, "counts neither milliseconds nor microseconds"),
            (
                other_unit,
                trades.ts_us,
                0,
                f"is not in {'micro' if unit_us else 'milli'}seconds like the rows before",
            ),
            (trades.agg_id < 0, trades.agg_id, 0, "is no aggregate id"),
            (
                trades.price_ticks > PRICE_TICKS_MAX,
                trades.price_ticks,
                block.price_decimals,
                f"is too large a price with {counted(block.price_decimals, 'decimal')}",
            ),
            (
                trades.qty_lots > QTY_LOTS_MAX,
                trades.qty_lots,
                block.qty_decimals,
                f"is too large a quantity with {counted(block.qty_decimals, 'decimal')}",
            ),
        )
        for wrong, values, decimals, what in numbers:
            if wrong.any() and (wrong & block.is_trade).any():
                row = int(np.argmax(wrong & block.is_trade))
                value = format_decimal(int(values[row]), decimals)
                number = block.first_row + _line_of(text, row)
                raise InputError(f"{self.path}, row {number}: {value} {what}")
        if no_time.any():
            # Rows without a trade may lack a time as well.
            ts_us[no_time] = ts_us[~no_time][0] if not no_time.all() else 0
        return replace(block, trades=replace(trades, ts_us=ts_us))


def _shown(text: str) -> str:
    return repr(text) if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]!r}..."


def _line_of(text: bytes, row: int) -> int:
    lines = text.split(b"\n")
    return [number for number, line in enumerate(lines) if line.strip(b"\r")][row]
