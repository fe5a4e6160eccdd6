"""A live session of a day: its size while it is recorded, and how soon it can be looked at again.

One session has ended; another one was left by a process that died behind nine tenths of it.
"""

import os
import random
import shutil
import statistics
import tempfile
import time
from pathlib import Path

from benchmarks import data
from benchmarks.live_sessions import Regular, keep, trades
from flowtape.replay.look_back import past_of
from flowtape.replay.resuming import resume
from flowtape.replay.session_rows import SessionRows
from flowtape.replay.tapes import Tape
from flowtape.replay.track import Track
from flowtape.stream.session import Session

TRADES = 2_000_000
EVENT_TRADES = (1, 20)
TICKETS = 1_000
STRATEGY = Regular()

MEASURED_FROM = 200_000
MEASURED_EVERY = 2_000

SEEKS = 20
FRESH_SEEKS = 5
OPENED = 5
RESUMED = 3


def no_tape(*_: object) -> Tape:
    raise AssertionError


def size_bytes(folder: Path) -> int:
    """What the files of a session hold, without the tape that follows from them."""
    total = 0
    for here, folders, names in os.walk(folder):
        if Path(here) == folder and "tape" in folders:
            folders.remove("tape")
        for name in names:
            # A thread may be putting one file in another one's place.
            if (path := Path(here, name)).exists():
                total += path.stat().st_size
    return total


class Scales:
    """The largest share of a trade in a session's folder while it grows."""

    def __init__(self) -> None:
        self.worst_bytes = 0.0
        self.early_bytes = 0
        self._next = 0

    def weigh(self, folder: Path, trades_count: int) -> None:
        if trades_count < self._next:
            return
        self._next = trades_count + MEASURED_EVERY
        size = size_bytes(folder)
        if trades_count >= MEASURED_FROM:
            self.worst_bytes = max(self.worst_bytes, size / trades_count)
        else:
            self.early_bytes = max(self.early_bytes, size)


def kept(root: Path, scales: Scales | None, *, ends: bool) -> Path:
    whole = trades(TRADES)
    part = whole if ends else whole.slice(0, TRADES * 9 // 10)
    return keep(
        root,
        part,
        sizes=EVENT_TRADES,
        strategy=STRATEGY,
        tickets=TICKETS,
        ends=ends,
        seen=None if scales is None else scales.weigh,
    )


def killed(root: Path) -> Path:
    """Keep a session in a process that ends without a word, behind nine tenths of it."""
    child = os.fork()
    if child == 0:
        kept(root, None, ends=False)
        os._exit(0)
    os.waitpid(child, 0)
    (genesis,) = root.glob("*/genesis.json")
    return genesis.parent


def opened_s(folder: Path) -> tuple[float, Track]:
    """Seconds until a track of a session is there to be sought in."""
    before = time.perf_counter()
    session = Session.open(folder)
    track = past_of(session, SessionRows.of(session, no_tape))
    return time.perf_counter() - before, track


def seek_s(track: Track, row: int) -> float:
    before = time.perf_counter()
    track.seek(row)
    return time.perf_counter() - before


def resumed_s(folder: Path, root: Path) -> float:
    """Seconds until a killed session, a copy of it, can go on."""
    copy = root / folder.name
    shutil.copytree(folder, copy)
    before = time.perf_counter()
    resumed = resume(Session.open(copy), no_tape, STRATEGY)
    seconds = time.perf_counter() - before
    assert not resumed.notice, resumed.notice
    resumed.writer.close()
    shutil.rmtree(copy)
    return seconds


def spread(name: str, found: list[float], bar: str) -> None:
    middle = 1e3 * statistics.median(found)
    print(f"{name:<44} {middle:8.0f} ms median, {1e3 * max(found):.0f} at most  (bar: {bar})")


def main() -> None:
    data.BUILD.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=data.BUILD) as made:
        root, scales = Path(made), Scales()
        folder = kept(root / "ended", scales, ends=True)
        session = Session.open(folder)
        assert session.summary is not None
        print(
            f"a session of {session.summary.trade_count:,} trades, "
            f"{session.summary.order_count:,} orders, {len(session.commands()):,} commands"
        )
        print(
            f"bytes a trade while recorded {scales.worst_bytes:5.1f} (bar: 40), at its end "
            f"{size_bytes(folder) / TRADES:.2f} (bar: 6); before trade {MEASURED_FROM:,}: "
            f"{scales.early_bytes / 1e6:.1f} MB at most"
        )
        rng = random.Random(1)
        opening, fresh = [], []
        for _ in range(OPENED):
            seconds, track = opened_s(folder)
            opening.append(seconds)
        spread("open an ended session", opening, "1,000")
        for number in range(FRESH_SEEKS):
            row = track.row_count - 1 if number == 0 else rng.randrange(track.row_count)
            fresh.append(seek_s(opened_s(folder)[1], row))
        spread("its first seek, once to its end", fresh, "1,000")
        seek_s(track, track.row_count)
        found = [seek_s(track, rng.randrange(track.row_count)) for _ in range(SEEKS)]
        spread("further seeks, forth and back", found, "1,000")

        left = killed(root / "left")
        spread("open a killed session", [opened_s(left)[0] for _ in range(OPENED)], "1,000")
        resuming = [resumed_s(left, root / "copies") for _ in range(RESUMED)]
        spread("go on with it, its strategy too", resuming, "2,000")


if __name__ == "__main__":
    main()
