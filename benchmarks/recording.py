"""What keeping a live session costs.

First over loopback, from the socket to inputs that were applied, as fast as that goes, with and
without a session by turns. Then in events of different sizes without a socket: two engines are
given the same events by turns, one of them kept; what leads to an event is done once and counts for
both.
"""

import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks import data
from benchmarks.live_sessions import MARKET, engine_of, frames, trades, writer_below
from benchmarks.receiving import in_process, sending
from flowtape.connectors.binance.frame_connection import Message
from flowtape.connectors.binance.plain_frames import read_plain_frames
from flowtape.connectors.binance.sequencer import Sequencer, SequencerConfig, joined
from flowtape.stream.ports import Event

ROUNDS = 5
BURST = (50, 500)
FIRST_ID = int(trades(1).agg_id[0])
SHAPES: tuple[tuple[str, tuple[int, int], int], ...] = (
    ("1", (1, 1), 20_000),
    ("10", (10, 10), 100_000),
    ("100", (100, 100), 400_000),
    ("bursts of 50 to 500", BURST, 400_000),
    ("1,000", (1_000, 1_000), 400_000),
)
"""What an event is called, the bounds of its trades, and the trades of a round."""


def decoded(some: list[Message], sequencer: Sequencer) -> Event:
    """Return frames that came together as the source's next event."""
    plain = read_plain_frames(some, 0, MARKET.instrument)
    assert sequencer.receive_next(plain.trades) == len(some)
    sequencer.poll(0)
    (event,) = joined(sequencer.take())
    return event


class Round:
    """Seconds of wall and of this thread that each part took, and what other threads took."""

    def __init__(self, root: Path, sent: list[Message], sizes: tuple[int, int]) -> None:
        writer = writer_below(root)
        plain, kept = engine_of(None), engine_of(writer)
        sequencer, rng = Sequencer(SequencerConfig(), FIRST_ID - 1), np.random.default_rng(1)
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


def over_loopback() -> None:
    sender, urls = sending()
    rates: dict[str, list[float]] = {"plain": [], "kept": []}
    for _ in range(ROUNDS):
        for name, found in rates.items():
            found.append(in_process("engine", *urls, name))
    sender.terminate()
    plain, kept = (float(np.median(found)) for found in rates.values())
    print(
        f"from the socket through the engine {plain / 1e3:.0f} k trades/s, kept {kept / 1e3:.0f}: "
        f"{100 * (1 - kept / plain):.1f} % less  (bar: 15)",
        flush=True,
    )


def main() -> None:
    over_loopback()
    texts = frames(trades(max(count for *_, count in SHAPES)))
    sent: list[Message] = [text.encode() for text in texts]
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
            f"{more:.0f} us an event; {rate / 1e3:.0f} k trades/s without",
            flush=True,
        )


if __name__ == "__main__":
    main()
