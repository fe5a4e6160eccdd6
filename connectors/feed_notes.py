"""What is worth knowing of a live feed beside its trades, in files of the session's folder.

meta/feed.jsonl          once a minute, how each source stood: counts, and how far it lagged behind
                         and the rules of orders that its venue changed, when it did
meta/dead_letters.jsonl  what the venue sent and no trade came of, with its text and the reason

Nothing of it is in the session's digest, and a disk that does not take it stops nothing.
"""

import asyncio
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from flowtape.connectors.binance.client import BinanceSource
from flowtape.connectors.binance.dead_letters import DeadLetter

LETTERS_BYTES_MAX = 64 << 20
EVERY_S = 60.0

_log = logging.getLogger(__name__)


class FeedNotes:
    """Writes notes once it has a folder; what comes before is dropped.

    Args:
        now: the wall clock.
    """

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._folder: Path | None = None
        self._failed = False

    def begin(self, session_folder: Path) -> None:
        """Write below a session's folder from now on."""
        self._folder = session_folder / "meta"

    def letter_of(self, symbol: str) -> Callable[[DeadLetter], None]:
        """Return what takes the dead letters of a symbol."""

        def take(letter: DeadLetter) -> None:
            text = letter.text.decode(errors="backslashreplace")
            known = {"origin": letter.origin, "fate": letter.fate, "reason": letter.reason}
            self._write("dead_letters.jsonl", {"symbol": symbol, **known, "text": text})

        return take

    def rules_of(self, symbol: str) -> Callable[[dict[str, int]], None]:
        """Return what takes the changed rules of a symbol's venue, names and values."""

        def take(rules: dict[str, int]) -> None:
            self._write("feed.jsonl", {"symbol": symbol, "rules": rules})

        return take

    async def keep(self, sources: Sequence[BinanceSource], every_s: float = EVERY_S) -> None:
        """Write how the sources stand, again and again, until cancelled, and then once more."""
        try:
            while True:
                await asyncio.sleep(every_s)
                self._write_standings(sources)
        finally:
            self._write_standings(sources)

    def _write_standings(self, sources: Sequence[BinanceSource]) -> None:
        for source in sources:
            symbol = source.instrument.symbol
            standing = asdict(source.statistics) | {"lag_us_max": source.take_worst_lag_us()}
            self._write("feed.jsonl", {"symbol": symbol, **standing})

    def _write(self, name: str, note: dict[str, Any]) -> None:
        if self._folder is None or self._failed:
            return
        line = json.dumps({"time": self._now().isoformat(timespec="milliseconds"), **note}) + "\n"
        path = self._folder / name
        try:
            self._folder.mkdir(exist_ok=True)
            with path.open("a", encoding="utf-8") as file:
                if file.tell() < LETTERS_BYTES_MAX:
                    file.write(line)
        except OSError as error:
            self._failed = True
            _log.warning("notes of the feed are no longer kept: %s: %s", path, error.strerror)
