"""What is wrong with a feed is told while it is, and no longer."""

from dataclasses import dataclass, fields, replace

import pytest

from flowtape.connectors.binance.source_types import SourceStatistics
from flowtape.connectors.feed_condition import FeedCondition
from flowtape.stream.engine import Engine
from flowtape.stream.instrument import Instrument
from flowtape.stream.live import LiveSession
from tests.replay.live_sessions import CONFIG
from tests.stream.tapes import INSTRUMENT

WELL = replace(
    SourceStatistics(**dict.fromkeys((field.name for field in fields(SourceStatistics)), 0)),
    connected=True,
    halted=False,
    repairing=False,
)


@dataclass
class Source:
    instrument: Instrument
    statistics: SourceStatistics = WELL


class Watched:
    """Sources before a clock that is set by hand."""

    def __init__(self, *symbols: str) -> None:
        self.now_s = 100.0
        self.sources = [Source(Instrument(symbol, "spot", 2, 5)) for symbol in symbols]
        self.condition = FeedCondition(self.sources, lambda: self.now_s)

    def after(self, seconds: float, **changes: object) -> str:
        """What is said so much later, when the first source has changed."""
        self.now_s += seconds
        first = self.sources[0]
        first.statistics = replace(
            first.statistics, **{"frames": first.statistics.frames + 1, **changes}
        )
        return self.condition.trouble()


@pytest.fixture
def watched() -> Watched:
    return Watched("BTCUSDT")


def test_a_feed_that_does_well_says_nothing(watched: Watched) -> None:
    assert [watched.after(0.5) for _ in range(200)] == [""] * 200


def test_a_lost_connection_is_told_until_it_stands_again(watched: Watched) -> None:
    assert watched.after(1) == ""
    lost = "BTCUSDT: no connection for {} s, trying again"
    assert watched.after(2, connected=False, frames=1) == lost.format(2)
    assert watched.after(60, frames=1) == lost.format(62)
    assert watched.after(0.1, connected=True) == ""
    assert watched.after(1, connected=False, frames=1) == lost.format(1)


def test_a_repair_is_told_when_it_takes_long(watched: Watched) -> None:
    said = [watched.after(0.3, repairing=True) for _ in range(6)]
    told = "BTCUSDT: missing trades are being fetched"
    assert said == ["", "", "", told, told, told]
    assert watched.after(0.1, repairing=False) == ""
    assert watched.after(0.9, repairing=True) == ""


def test_silence_is_told_though_the_connection_stands(watched: Watched) -> None:
    assert watched.after(1) == ""
    assert watched.after(29, frames=1) == ""
    assert watched.after(1, frames=1) == "BTCUSDT: nothing came for 30 s"
    assert watched.after(1) == ""


def test_halts_and_lag(watched: Watched) -> None:
    assert watched.after(1, lag_us=999_999) == ""
    assert watched.after(1, lag_us=3_240_000) == "BTCUSDT: trades arrive 3.2 s late"
    assert watched.after(100, halted=True, frames=2) == "BTCUSDT is not traded now, says the venue"
    # What was not expected is not missed.
    assert watched.after(1, halted=False, lag_us=0) == ""


def test_each_of_several_is_told() -> None:
    watched = Watched("BTCUSDT", "ETHUSDT")
    watched.sources[1].statistics = replace(WELL, connected=False)
    assert watched.after(4, lag_us=2_000_000) == (
        "BTCUSDT: trades arrive 2.0 s late; ETHUSDT: no connection for 4 s, trying again"
    )


def test_a_live_session_says_it_and_its_end_has_no_trouble() -> None:
    said = ["the line is down"]
    live = LiveSession([], Engine(INSTRUMENT, CONFIG), lambda: 0.0, trouble=lambda: said[0])
    assert live.state().trouble == "the line is down"
    said[0] = ""
    assert live.state().trouble == ""
    said[0] = "it ended"
    live._ended = True
    assert live.state().trouble == ""
