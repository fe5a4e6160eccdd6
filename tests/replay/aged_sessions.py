"""Sessions that were kept, without a run behind them."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

from flowtape.stream.config import EngineConfig
from flowtape.stream.genesis import Genesis, Parent
from flowtape.stream.instrument import Instrument
from flowtape.stream.session import SessionWriter

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def make(
    root: Path,
    age_days: float,
    *,
    now: datetime = NOW,
    label: str = "",
    parent: str | None = None,
    size_bytes: int = 0,
) -> str:
    """Keep a session that was last written to so long ago; returns its id."""
    genesis = Genesis(
        instruments=(Instrument("BTCUSDT", "spot", 2, 5),),
        config=EngineConfig(),
        strategy=None,
        tapes=(),
        parent=None if parent is None else Parent(parent, "0" * 64, 5, 0),
    )
    made = now - timedelta(days=age_days)
    writer = SessionWriter.create(root, genesis, made, label=label)
    writer.close()
    if size_bytes:
        (writer.folder / "filling").write_bytes(bytes(size_bytes))
    for path in writer.folder.rglob("*"):
        os.utime(path, (made.timestamp(), made.timestamp()))
    return writer.folder.name
