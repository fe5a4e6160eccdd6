"""A live session of a week whose process died: how soon it goes on, and is looked back on.

Each with its waypoints and, for comparison, without.
"""

import os
import shutil
import tempfile
import time
from pathlib import Path

from benchmarks import data
from benchmarks.live_sessions import keep, trades
from benchmarks.session_day import STRATEGY, no_tape, resumed_s, spread
from flowtape.replay.look_back import past_before
from flowtape.stream.session import Session

TRADES = 14_000_000
EVENT_TRADES = (100, 2_000)
TICKETS = 500
PLACES = (0.05, 0.35, 0.65, 0.95)
RESUMED = 3


def killed(root: Path) -> Path:
    """Keep a session in a process that ends without a word."""
    child = os.fork()
    if child == 0:
        whole = trades(TRADES)
        keep(root, whole, sizes=EVENT_TRADES, strategy=STRATEGY, tickets=TICKETS, ends=False)
        os._exit(0)
    os.waitpid(child, 0)
    (genesis,) = root.glob("*/genesis.json")
    return genesis.parent


def looked_back_s(folder: Path, share: float) -> float:
    """Seconds until what was at a share of the session is there to be seen."""
    before = time.perf_counter()
    session = Session.open(folder)
    links = session.links()
    ts_us = int(links["stream_us"][int(share * len(links))])
    track = past_before(session, no_tape, ts_us)
    track.seek(track.row_behind(ts_us))
    return time.perf_counter() - before


def main() -> None:
    data.BUILD.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=data.BUILD) as made:
        folder = killed(Path(made, "left"))
        waypoints = list((folder / "waypoints").iterdir())
        size = sum(path.stat().st_size for path in waypoints)
        print(
            f"a killed session of {TRADES:,} trades, {len(waypoints)} waypoints of "
            f"{size / TRADES:.1f} bytes a trade"
        )
        for name in ("", ", no waypoints"):
            resuming = [resumed_s(folder, Path(made, "copies")) for _ in range(RESUMED)]
            spread(f"go on with it, its strategy too{name}", resuming, "2,000" if not name else "-")
            back = [looked_back_s(folder, share) for share in PLACES]
            spread(f"look back on it{name}", back, "-")
            shutil.rmtree(folder / "waypoints", ignore_errors=True)


if __name__ == "__main__":
    main()
