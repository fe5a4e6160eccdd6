"""Archive files as Binance publishes them, made from a seed."""

import hashlib
import zipfile
from pathlib import Path

from tests.stream.tapes import make_columns


def spot_lines(rows: int, seed: int = 1) -> list[str]:
    """Lines of a spot file of 2026: no header, microseconds, eight zero-padded decimals."""
    c = make_columns(rows, seed)
    c.ts_us.sort()
    return [
        f"{1000 + i},{c.price_ticks[i] / 100:.8f},{c.qty_lots[i] / 1e5:.8f},{i * 2},{i * 2 + 1},"
        f"{c.ts_us[i]},{c.side[i] < 0},True"
        for i in range(rows)
    ]


def write_spot_archive(path: Path, rows: int, seed: int = 1) -> None:
    """Write a zip with one CSV of the same stem, and its CHECKSUM beside it."""
    text = "\n".join(spot_lines(rows, seed)) + "\n"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{path.stem}.csv", text)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    path.with_name(path.name + ".CHECKSUM").write_text(f"{digest}  {path.name}")
