import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from flowtape.connectors import feed_notes
from flowtape.connectors.binance.dead_letters import DeadLetter
from flowtape.connectors.binance.lag import LagMeter
from flowtape.connectors.feed_notes import FeedNotes
from flowtape.connectors.venue.faults import Garble

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
LETTER = DeadLetter("stream", "unreadable", "no JSON", b"\xff{", 7)


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


async def test_a_feed_is_described_and_what_it_could_not_use_is_kept(
    open_venue, make_source, instrument, make_trades, tmp_path
):
    notes = FeedNotes(lambda: NOW)
    take = notes.letter_of(instrument.symbol)
    take(LETTER)
    notes.begin(tmp_path)
    first_id = int(make_trades(1).agg_id[0])
    venue = await open_venue(
        instrument, make_trades(300), faults=[Garble(first_id + 5, "truncated")], speed=1_000.0
    )
    source = make_source(venue, dead_letters=take)
    count = 0
    async with source, asyncio.timeout(30):
        keeping = asyncio.create_task(notes.keep([source], every_s=0.05))
        async for event in source.events():
            count += len(event) if hasattr(event, "agg_id") else 0
            if count == 300:
                break
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
    (letter,) = lines(tmp_path / "meta" / "dead_letters.jsonl")
    assert (letter["symbol"], letter["fate"]) == (instrument.symbol, "unreadable")
    assert str(letter["text"]).startswith('{"e":"aggTrade"')
    standings = lines(tmp_path / "meta" / "feed.jsonl")
    assert standings[-1]["trades"] == 300
    assert standings[-1]["rejected"] == 1
    assert standings[-1]["time"] == "2026-01-02T03:04:05.000+00:00"


def test_letters_end_somewhere_and_any_text_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed_notes, "LETTERS_BYTES_MAX", 500)
    notes = FeedNotes(lambda: NOW)
    notes.begin(tmp_path)
    for _ in range(50):
        notes.letter_of("BTCUSDT")(LETTER)
    found = lines(tmp_path / "meta" / "dead_letters.jsonl")
    assert 1 < len(found) < 10
    assert found[0]["text"] == "\\xff{"


def test_a_disk_that_takes_no_notes_stops_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "meta").touch()
    notes = FeedNotes(lambda: NOW)
    notes.begin(tmp_path)
    for _ in range(3):
        notes.letter_of("BTCUSDT")(LETTER)
    assert len(caplog.records) == 1
    assert "no longer kept" in caplog.text


def test_the_worst_lag_is_that_since_it_was_asked_for() -> None:
    meter = LagMeter()
    for event_us, received_us in ((0, 100), (10, 150), (20, 121)):
        meter.observe(event_us, received_us, first=False)
    assert meter.take_worst_us() == 40
    assert meter.take_worst_us() == 0
