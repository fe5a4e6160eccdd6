"""When a source asks how its symbol is listed, and what it makes of the answers."""

import logging
import math
import random

import pytest

from flowtape.connectors.binance.listing_watch import JITTER, ListingWatch
from flowtape.connectors.binance.messages import SymbolInfo
from flowtape.connectors.binance.rest import Listed
from flowtape.stream.execution import VenueRules
from flowtape.stream.instrument import Instrument
from flowtape.stream.ports import Rules

INSTRUMENT = Instrument("BTCUSDT", "spot", 2, 5)
EVERY_S = 3_600.0


def listed(min_qty: str = "0.1", status: str = "TRADING", at_us: int = 77) -> Listed:
    lots = {"filterType": "LOT_SIZE", "minQty": min_qty, "maxQty": "0", "stepSize": "0.00001"}
    return Listed(SymbolInfo("BTCUSDT", status, "BTC", 8, "USDT", 8, [lots]), at_us)


def begun(
    changes: list[dict[str, int]] | None = None, every_s: float = EVERY_S, seed: int = 1
) -> ListingWatch:
    told = None if changes is None else changes.append
    watch = ListingWatch(every_s, told, random.Random(seed), 0)
    watch.begin(listed(), INSTRUMENT, 0)
    return watch


def next_s(watch: ListingWatch, from_s: int, to_s: int) -> int | None:
    return next((s for s in range(from_s, to_s) if watch.is_due(s * 1_000_000)), None)


def test_rules_are_news_at_the_start_and_when_they_change() -> None:
    changes: list[dict[str, int]] = []
    watch = begun(changes)
    assert watch.take_news() == Rules(77, VenueRules(qty_min_lots=10_000))
    assert watch.take_news() is None
    watch.told(listed(), INSTRUMENT, 1)
    assert watch.take_news() is None
    watch.told(listed("0.2", at_us=88), INSTRUMENT, 2)
    assert watch.take_news() == Rules(88, VenueRules(qty_min_lots=20_000))
    assert changes == [{"qty_min_lots": 20_000}]


def test_it_is_asked_for_once_in_a_while_and_not_all_at_once() -> None:
    firsts = [next_s(begun(seed=seed), 0, 5_000) or 0 for seed in range(50)]
    assert EVERY_S * (1 - JITTER) <= min(firsts) < max(firsts) <= EVERY_S * (1 + JITTER) + 1
    assert len(set(firsts)) > 25
    watch = begun()
    first = next_s(watch, 0, 5_000)
    assert first is not None
    assert next_s(watch, first, 20_000) is None, "the answer is still to come"
    watch.told(listed(), INSTRUMENT, first * 1_000_000)
    assert next_s(watch, first, first + 3_000) is None
    assert next_s(watch, first + 3_000, first + 4_000) is not None


def test_it_may_never_be_asked_for() -> None:
    assert next_s(begun(every_s=math.inf), 0, 100_000) is None


def test_no_answer_is_asked_for_again_later_and_later() -> None:
    watch, at_s, waits = begun(), 0, []
    for _ in range(40):
        found = next_s(watch, at_s, at_s + 5_000)
        assert found is not None
        waits.append(found - at_s)
        at_s = found
        watch.not_told(at_s * 1_000_000, 0.0)
    assert 1 <= min(waits[1:]) <= 60
    assert 500 < max(waits[20:]) <= 32 * 60 + 2
    watch.not_told(at_s * 1_000_000, 0.0)
    found = next_s(watch, at_s, at_s + 5_000)
    assert found is not None
    watch.not_told(found * 1_000_000, 700.0)
    assert (next_s(watch, found, found + 5_000) or 0) >= found + 700


def test_silence_asks_too_but_seldom() -> None:
    watch = begun()
    assert watch.silent(0)
    assert not watch.silent(1), "it was asked already"
    watch.told(listed(), INSTRUMENT, 2)
    assert not watch.silent(299_000_000)
    assert watch.silent(300_000_000)
    watch.told(listed(status="HALT"), INSTRUMENT, 300_000_000)
    assert watch.halted
    assert watch.silent(330_000_001)
    watch.traded()
    assert not watch.halted


def test_what_cannot_be_taken_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    watch = begun()
    watch.take_news()
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            watch.told(listed("x"), INSTRUMENT, 1)
    assert [record.getMessage() for record in caplog.records] == [
        "BTCUSDT: LOT_SIZE minQty 'x' is no decimal number; that rule stays as it was"
    ]
    assert watch.rules == VenueRules(qty_min_lots=10_000)
    assert watch.take_news() is None


def test_what_is_not_known_at_the_start_is_left_to_the_session() -> None:
    watch = ListingWatch(EVERY_S, None, random.Random(1), 0)
    watch.begin(listed("x"), INSTRUMENT, 0)
    assert watch.take_news() == Rules(77, VenueRules(), ("qty_min_lots",))
