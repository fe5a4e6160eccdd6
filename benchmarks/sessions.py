"""Replaying and verifying sessions at full speed, over a tape and with inputs of their own."""

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import data
from benchmarks.live_sessions import keep, trades
from flowtape.replay.session_rows import SessionRows
from flowtape.replay.sessions import Range, genesis_of, repeated
from flowtape.replay.summary import summary_of
from flowtape.replay.tapes import Tape
from flowtape.replay.track import fold
from flowtape.replay.verifying import verify
from flowtape.stream.config import EngineConfig
from flowtape.stream.desk import carry_out
from flowtape.stream.engine import Engine
from flowtape.stream.ports import Ticket
from flowtape.stream.session import Session, SessionWriter

TRADES = 5_000_000
EVENT_TRADES = (4_000, 16_000)
COMMANDS = 1_000
ROUNDS = 5
LISTED = 500


def seconds_of(work: Callable[[], object]) -> float:
    before = time.perf_counter()
    work()
    return time.perf_counter() - before


def over_tape(tape: Tape, root: Path, commands: int) -> Session:
    """Keep a session over a tape, with people's market orders evenly spread."""
    genesis = genesis_of([Range(tape)], EngineConfig(), None, None)
    writer = SessionWriter.create(root, genesis, datetime.now(UTC), places=("tape",))
    recorded = (writer.chain, writer)
    engine = Engine(tape.instrument, genesis.config, shown=False, recorded=recorded)
    step = len(tape) // commands if commands else len(tape)
    for segment in tape.segments():
        for at in range(0, len(segment), step):
            engine.apply(segment.slice(at, min(at + step, len(segment))))
            if commands:
                side = 1 if engine.input // step % 2 else -1
                carry_out(engine, Ticket("order", side=side, qty_lots=1_000), 0)
    engine.end()
    writer.finish(summary_of(engine, writer.chain.value))
    return Session.open(writer.folder)


def unkept(tape: Tape) -> None:
    """Play a tape without a session."""
    fold(Engine(tape.instrument, EngineConfig(), shown=False), tape.read_batches(cached=True))


def replayed(session: Session, tape: Tape) -> None:
    """Replay a session as `flowtape replay SESSION --no-dashboard --speed max` does."""
    track, chain = repeated(session, SessionRows.of(session, lambda *_: tape))
    track.advance(track.row_count)
    assert session.summary is not None
    assert chain.value.hex() == session.summary.digest


def verified(session: Session, tape: Tape) -> None:
    assert verify(session, lambda *_: tape).difference is None


def listed_s(root: Path) -> float:
    """Seconds of `flowtape sessions`, a process of its own, for `LISTED` sessions."""
    few = trades(1_000)
    for _ in range(LISTED):
        keep(root / "sessions", few, sizes=(1_000, 1_000))
    command = [str(Path(sys.executable).with_name("flowtape")), "sessions", "--home", str(root)]
    times = []
    for _ in range(ROUNDS):
        before = time.perf_counter()
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        times.append(time.perf_counter() - before)
        assert len(said.splitlines()) == LISTED
    return statistics.median(times)


def main() -> None:
    tape = data.tape(TRADES)
    with tempfile.TemporaryDirectory(dir=data.BUILD) as made:
        root = Path(made)
        whole = trades(TRADES)
        kinds = {
            "over a tape": over_tape(tape, root, 0),
            "over a tape, with commands": over_tape(tape, root, COMMANDS),
            "own inputs": Session.open(keep(root, whole, sizes=EVENT_TRADES)),
            "own inputs, with commands": Session.open(
                keep(root, whole, sizes=EVENT_TRADES, tickets=COMMANDS)
            ),
        }
        times: dict[str, list[float]] = {"plain": []}
        for _ in range(ROUNDS):
            times["plain"].append(seconds_of(lambda: unkept(tape)))
            for name, session in kinds.items():
                for what in (replayed, verified):
                    spent = seconds_of(lambda w=what, s=session: w(s, tape))  # type: ignore[misc]
                    times.setdefault(f"{what.__name__} {name}", []).append(spent)
        for name, spent in times.items():
            fast, middle = (TRADES / one(spent) / 1e6 for one in (min, statistics.median))
            bar = "" if name == "plain" else "  (bar: 5)"
            print(f"{name:<42} {fast:5.1f} M inputs/s at best, {middle:.1f} median{bar}")
    with tempfile.TemporaryDirectory(dir=data.BUILD) as made:
        print(f"flowtape sessions, {LISTED} of them           {listed_s(Path(made)):.2f} s")


if __name__ == "__main__":
    main()
