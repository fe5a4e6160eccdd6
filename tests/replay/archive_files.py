"""Archive files of every kind, and trades to put into them."""

import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

import numpy as np

from flowtape.stream.trades import Trades

FUTURES_HEADER = (
    "agg_trade_id,price,quantity,first_trade_id,last_trade_id,transact_time,is_buyer_maker"
)
START_MS = 1_767_225_600_000  # 2026-01-01
DAY_MS = 86_400_000


@dataclass(frozen=True)
class Row:
    """One line of an archive file; price and quantity are text as it stands there."""

    agg_id: int
    price: str = "100.00"
    qty: str = "1.000"
    first_id: int = 0
    last_id: int = 0
    time: int = START_MS
    maker: bool = False


def rows(
    count: int, first_id: int = 1000, start_ms: int = START_MS, step_ms: int = 100
) -> list[Row]:
    """Return plain consecutive trades."""
    return [
        Row(
            first_id + i,
            f"{100 + i % 7}.{i % 4}5",
            f"{1 + i % 3}.{i % 10}",
            2 * (first_id + i),
            2 * (first_id + i) + 1,
            start_ms + i * step_ms,
            i % 3 == 0,
        )
        for i in range(count)
    ]


def spot_line(row: Row) -> str:
    """Return a line of a spot file: 8 columns, 8 decimals, capital booleans."""
    whole, _, part = row.price.partition(".")
    qty_whole, _, qty_part = row.qty.partition(".")
    price, qty = f"{whole}.{part:0<8}", f"{qty_whole}.{qty_part:0<8}"
    ids = f"{row.first_id},{row.last_id},{row.time}"
    return f"{row.agg_id},{price},{qty},{ids},{row.maker},True"


def futures_line(row: Row) -> str:
    """Return a line of a USD-M or COIN-M file: 7 columns, trimmed numbers, small booleans."""
    ids = f"{row.first_id},{row.last_id},{row.time}"
    return f"{row.agg_id},{row.price},{row.qty},{ids},{str(row.maker).lower()}"


def spot_file(path: Path, found: Iterable[Row]) -> Path:
    """Write a spot file."""
    return text_file(path, [spot_line(row) for row in found])


def futures_file(path: Path, found: Iterable[Row], *, header: bool = True) -> Path:
    """Write a futures file."""
    return text_file(path, [FUTURES_HEADER] * header + [futures_line(row) for row in found])


def text_file(path: Path, lines: Sequence[str]) -> Path:
    """Write lines."""
    path.write_text("".join(line + "\n" for line in lines))
    return path


def zipped(path: Path, *, checksum: bool = True) -> Path:
    """Put a file into a zip beside it as the archive does, with its CHECKSUM."""
    target = path.with_suffix(".zip")
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(path, path.name)
    if checksum:
        digest = sha256(target.read_bytes()).hexdigest()
        target.with_name(target.name + ".CHECKSUM").write_text(f"{digest}  {target.name}")
    return target


def in_us(found: Iterable[Row]) -> list[Row]:
    """Return rows with times in microseconds."""
    return [replace(row, time=row.time * 1000) for row in found]


def trades(
    count: int, first_id: int = 1, start_us: int = START_MS * 1000, step_us: int = 1000
) -> Trades:
    """Return plain trades."""
    ids = np.arange(first_id, first_id + count)
    return Trades(
        ids,
        start_us + (ids - first_id) * step_us,
        10_000 + ids % 17,
        1 + ids * 7 % 100,
        ids * 2,
        ids * 2 + 1,
        np.where(ids % 3 == 0, -1, 1).astype(np.int8),
    )


def tuples(found: Trades) -> list[tuple[int, ...]]:
    """Return trades as tuples, to compare."""
    columns = (
        *(found.agg_id, found.ts_us, found.price_ticks, found.qty_lots),
        *(found.first_id, found.last_id, found.side),
    )
    return list(zip(*(column.tolist() for column in columns), strict=True))


def tree(root: Path) -> dict[str, tuple[int, bytes]]:
    """Return every file below `root` with its time and content."""
    return {
        str(path.relative_to(root)): (path.stat().st_mtime_ns, path.read_bytes())
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }
