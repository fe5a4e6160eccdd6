"""What frames become on their way into the sequencer, many at once or one by one."""

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowtape.connectors.binance.dead_letters import DeadLetter, DeadLetterOffice
from flowtape.connectors.binance.frame_connection import Message
from flowtape.connectors.binance.intake import LEAP_IDS, REJECTS_MAX, Intake
from flowtape.connectors.binance.link import Link, Received
from flowtape.connectors.binance.market_clock import MarketClock
from flowtape.connectors.binance.rows import rows_of
from flowtape.connectors.binance.sequencer import Sequencer, SequencerConfig, joined
from flowtape.stream.errors import SourceError
from flowtape.stream.instrument import Instrument
from flowtape.stream.ports import Gap

BTC = Instrument("BTCUSDT", "spot", 2, 5)
START_MS = 1_784_410_630_000


class Links:
    """What is told of connections."""

    def __init__(self) -> None:
        self.proved_ids: list[int] = []
        self.replaced: list[str] = []

    def proved(self, _link: Link, agg_id: int) -> bool:
        self.proved_ids.append(agg_id)
        return len(self.proved_ids) == 1

    def replace(self, _link: Link, why: str) -> None:
        self.replaced.append(why)


class Room:
    """An intake with all that is around it."""

    def __init__(self, start_after: int | None = None) -> None:
        self.letters: list[DeadLetter] = []
        self.links = Links()
        self.sequencer = Sequencer(SequencerConfig(), start_after)
        self.now_us = 10**9
        self.intake = Intake(
            self.sequencer,
            self.links,  # type: ignore[arg-type]
            MarketClock(10**6),
            DeadLetterOffice(self.letters.append),
            lambda: self.now_us,
        )

    def take(self, *messages: Message) -> list[int | tuple[int, int]]:
        """Take messages that came together; return ids, and spans that are missing."""
        report = Received(Link(1), list(messages), self.now_us)
        self.intake.receive(report, BTC, self.now_us, busy=False)
        found: list[int | tuple[int, int]] = []
        for item in joined(self.sequencer.take()):
            found += [(item.from_id, item.to_id)] if isinstance(item, Gap) else item.agg_id.tolist()
        return found


def frame(agg_id: int, price: str = "64682.62000000", **more: object) -> bytes:
    message = {
        "e": "aggTrade",
        "E": START_MS + agg_id % 1_000_000,
        "s": "BTCUSDT",
        "a": agg_id,
        "p": price,
        "q": "0.02435000",
        "f": agg_id,
        "l": agg_id,
        "T": START_MS + agg_id % 1_000_000,
        "m": agg_id % 2 == 0,
        "M": True,
    }
    return json.dumps(message | more, separators=(",", ":")).encode()


@given(seed=st.integers(0, 2**32), cuts=st.lists(st.integers(1, 60), min_size=1, max_size=5))
def test_how_frames_come_together_changes_nothing(seed: int, cuts: list[int]) -> None:
    rng = random.Random(seed)
    frames: list[Message] = []
    for agg_id in range(1, 300):
        way = rng.random()
        if way < 0.9:
            frames += [frame(agg_id)] * (2 if way < 0.05 else 1)
        elif way < 0.93:
            frames.append(frame(agg_id, "0.00000000"))
        elif way < 0.95:
            frames.append(bytearray(frame(agg_id)))
        elif way < 0.97:
            frames += [frame(agg_id)[:60], b'{"result":null,"id":3}', frame(agg_id, s="ETHUSDT")]
        elif frames:
            frames.insert(-1, frame(agg_id))
    single, together = Room(0), Room(0)
    expected = [item for one in frames for item in single.take(one)]
    found, at, turn = [], 0, 0
    while at < len(frames):
        size = cuts[turn % len(cuts)]
        found += together.take(*frames[at : at + size])
        at, turn = at + size, turn + 1
    assert found == expected
    assert together.sequencer.counts == single.sequencer.counts
    assert together.letters == single.letters
    for name in ("frame_count", "rejected_count", "foreign_count"):
        assert getattr(together.intake, name) == getattr(single.intake, name)


def test_values_and_the_numbering_are_the_frames() -> None:
    room = Room()
    assert room.take(*(frame(agg_id) for agg_id in range(5, 50))) == list(range(5, 50))
    assert room.take(frame(50), frame(49), frame(48, "1.00000000"), frame(51)) == [50, 51]
    assert room.sequencer.counts.duplicates == 1
    (letter,) = room.letters
    assert (letter.fate, letter.text) == ("conflict", frame(48, "1.00000000"))
    kept = room.sequencer._memory.find(20)
    assert kept is not None
    assert (kept.agg_id, kept.price_ticks, kept.qty_lots) == (20, 6_468_262, 2_435)
    assert kept == rows_of(joined_trades(frame(20)))[0]


def joined_trades(message: bytes):
    room = Room()
    room.intake.receive(Received(Link(1), [message], 0), BTC, 0, busy=False)
    (trades,) = joined(room.sequencer.take())
    return trades


@pytest.mark.parametrize("together", [True, False])
def test_one_id_out_of_all_reason_does_not_carry_the_numbering_away(together: bool) -> None:
    room = Room(0)
    far = frame(3 + 10**9)
    messages = [frame(1), frame(2), far, frame(4), frame(5)]
    turns = [messages] if together else [[one] for one in messages]
    assert [item for turn in turns for item in room.take(*turn)] == [1, 2]
    assert (room.sequencer.top_id, room.sequencer.holding) == (5, True)
    (letter,) = room.letters
    assert (letter.fate, letter.text) == ("doubted", far)


@pytest.mark.parametrize("together", [True, False])
def test_a_leap_of_the_venue_itself_is_believed(together: bool) -> None:
    room = Room(0)
    far = 2 + LEAP_IDS + 7
    messages = [frame(1), frame(far), frame(far + 2)]
    for turn in [messages] if together else [[one] for one in messages]:
        room.take(*turn)
    assert room.sequencer.top_id == far + 2
    assert not room.letters
    assert sorted(room.sequencer._held) == [far, far + 2]


def test_too_much_that_cannot_be_read_ends_it() -> None:
    room = Room(0)
    with pytest.raises(SourceError, match="over 100 unreadable trades within a minute"):
        room.take(*[frame(1)[:50]] * (REJECTS_MAX + 1))
    assert room.intake.rejected_count == REJECTS_MAX + 1
