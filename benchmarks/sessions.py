"""Keeping a session of a replay at full speed, and verifying it."""

import statistics
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import data
from flowtape.replay.sessions import Range, genesis_of
from flowtape.replay.summary import summary_of
from flowtape.replay.tapes import Tape
from flowtape.replay.track import fold
from flowtape.replay.verifying import verify
from flowtape.stream.config import EngineConfig
from flowtape.stream.engine import Engine
from flowtape.stream.session import Session, SessionWriter

TRADES = 5_000_000
ROUNDS = 3


def folded_s(tape: Tape, engine: Engine) -> float:
    """Seconds that a whole tape takes."""
    before = time.perf_counter()
    fold(engine, tape.read_batches(cached=True))
    return time.perf_counter() - before


def kept(tape: Tape, root: Path) -> tuple[float, Session]:
    """Seconds that a tape takes when its session is kept, and the session."""
    genesis = genesis_of([Range(tape)], EngineConfig(), None, None)
    writer = SessionWriter.create(root, genesis, datetime.now(UTC), places=("tape",))
    recorded = (writer.chain, writer)
    engine = Engine(tape.instrument, genesis.config, shown=False, recorded=recorded)
    seconds = folded_s(tape, engine)
    writer.finish(summary_of(engine, writer.chain.value))
    return seconds, Session.open(writer.folder)


def main() -> None:
    tape = data.tape(TRADES)
    plain, kept_s, verified = [], [], []
    with tempfile.TemporaryDirectory() as root:
        for _ in range(ROUNDS):
            plain.append(folded_s(tape, Engine(tape.instrument, EngineConfig(), shown=False)))
            seconds, session = kept(tape, Path(root))
            kept_s.append(seconds)
            before = time.perf_counter()
            assert verify(session, lambda *_: tape).difference is None
            verified.append(time.perf_counter() - before)
    rates = (TRADES / statistics.median(times) / 1e6 for times in (plain, kept_s, verified))
    print("replay {:.1f}, kept {:.1f}, verified {:.1f} M inputs/s  (bar: 5)".format(*rates))


if __name__ == "__main__":
    main()
