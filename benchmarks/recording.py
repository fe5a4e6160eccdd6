"""What keeping a live session costs, from frames as they come to inputs that were applied.

Two engines are given the same events by turns, one of them kept; what leads to an event is done
once and counts for both. Only sockets are missing from the way that a live feed takes.
"""

import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks import data
from benchmarks.live_sessions import MARKET, engine_of, frames, trades, writer_below
from flowtape.connectors.binance.decode import TradeFrame, decode_frame
from flowtape.connectors.binance.rows import trades_of
from flowtape.connectors.binance.sequencer import Sequencer, SequencerConfig
from flowtape.stream.ports import Event

ROUNDS = 5
BURST = (50, 500)
SHAPES: tuple[tuple[str, tuple[int, int], int], ...] = (
    ("1", (1, 1), 20_000),
    ("10", (10, 10), 100_000),
    ("100", (100, 100), 400_000),
    ("bursts of 50 to 500", BURST, 400_000),
    ("1,000", (1_000, 1_000), 400_000),
)
"""What an event is called, the bounds of its trades, and the trades of a round."""


def decoded(some: list[str], sequencer: Sequencer) -> Event:
    """Return frames that came together as the source's next event."""
    for frame in some:
        event = decode_frame(frame, MARKET.instrument)
        assert isinstance(event, TradeFrame)
        sequencer.receive(event.row, 0)
    sequencer.poll(0)
    return trades_of(sequencer.take())  # type: ignore[arg-type]


class Round:
    """Seconds of wall and of this thread that each part took, and what other threads took."""

    def __init__(self, root: Path, sent: list[str], sizes: tuple[int, int]) -> None:
        writer = writer_below(root)
        plain, kept = engine_of(None), engine_of(writer)
        sequencer, rng = Sequencer(SequencerConfig()), np.random.default_rng(1)
        self.decoding, self.plain, self.kept = (np.zeros(2) for _ in range(3))
        self.events = at = 0
        began_s = time.process_time() - time.thread_time()
        while at < len(sent):
            size = int(rng.integers(sizes[0], sizes[1] + 1))
            before = _now()
            event = decoded(sent[at : at + size], sequencer)
            self.decoding += _now() - before
            pairs = [(plain, self.plain), (kept, self.kept)]
            # By turns, so that neither always finds what the other has warmed.
            for engine, seconds in pairs if self.events % 2 else pairs[::-1]:
                before = _now()
                engine.apply_event(event)
                seconds += _now() - before  # noqa: PLW2901
            at += size
            self.events += 1
        self.beside_s = time.process_time() - time.thread_time() - began_s
        writer.close()

    @property
    def costs(self) -> tuple[float, float, float]:
        """Share of throughput that keeping costs: by the wall, this thread's CPU, all CPU."""
        with_it, without = self.decoding + self.kept, self.decoding + self.plain
        wall, cpu = 1 - without / with_it
        return wall, cpu, 1 - without[1] / (with_it[1] + self.beside_s)


def _now() -> np.ndarray:
    return np.array([time.perf_counter(), time.thread_time()])


def main() -> None:
    data.BUILD.mkdir(parents=True, exist_ok=True)
    sent = frames(trades(max(count for *_, count in SHAPES)))
    for name, sizes, count in SHAPES:
        with tempfile.TemporaryDirectory(dir=data.BUILD) as root:
            rounds = [Round(Path(root), sent[:count], sizes) for _ in range(ROUNDS)]
        wall, cpu, all_cpu = np.median([one.costs for one in rounds], axis=0)
        best = min(rounds, key=lambda one: float((one.decoding + one.plain)[0]))
        rate = count / float((best.decoding + best.plain)[0])
        more = 1e6 * min(float((one.kept - one.plain)[1]) / one.events for one in rounds)
        print(
            f"keeping, events of {name:<20} {100 * wall:5.1f} % of throughput by the wall, "
            f"{100 * cpu:.1f} % of its thread, {100 * all_cpu:.1f} % of all threads; "
            f"{more:.0f} us an event; {rate / 1e3:.0f} k trades/s without  (bar: 15)",
            flush=True,
        )


if __name__ == "__main__":
    main()
