"""Single troubles and what the client does about each, in virtual time."""

import itertools
import random
from dataclasses import replace

import pytest

from flowtape.connectors.binance.dead_letters import TEXT_BYTES_MAX, DeadLetterOffice
from flowtape.connectors.binance.sequencer import SequencerConfig
from flowtape.connectors.binance.source_types import SourceTimes
from flowtape.connectors.venue.connection import ConnectionRules
from flowtape.connectors.venue.faults import (
    Close,
    Delay,
    Duplicate,
    Garble,
    Halt,
    Hold,
    Refuse,
)
from flowtape.stream.instrument import Instrument
from tests.connectors.simulation.judge import complaints
from tests.connectors.simulation.network import Line
from tests.connectors.simulation.play import Outcome, play
from tests.connectors.simulation.scenario import (
    FIRST_ID,
    LineTrouble,
    RestTrouble,
    Scenario,
    Step,
    make_trades,
)


def scenario(*faults, behind=0, count=200, pause_s=0.1, **changes) -> Scenario:
    steps = tuple(Step(1.0 + i * pause_s, 1) for i in range(count))
    calm = Scenario(
        seed=1,
        instrument=Instrument("BTCUSDT", "spot", price_decimals=2, qty_decimals=5),
        trades=make_trades(random.Random(1), behind, steps, behind + count),
        happened_count=behind,
        start_after=FIRST_ID - 1,
        steps=steps,
        faults=faults,
        rest=(),
        line=(),
        way=Line(0.01),
        rules=ConnectionRules(),
        silence_s=10.0,
        times=SourceTimes(quiet_s=1.0),
        sequencing=SequencerConfig(remembered_ids=8_192),
    )
    return replace(calm, **changes)


def played(scenario: Scenario) -> Outcome:
    outcome = play(scenario)
    assert complaints(outcome) == []
    return outcome


def said(outcome: Outcome, text: str) -> list[float]:
    return [at_s for at_s, line in outcome.log if text in line]


def test_what_no_trade_came_of_goes_to_the_dead_letters():
    outcome = played(
        scenario(
            Garble(1_010, "binary"),
            Garble(1_020, "truncated"),
            Garble(1_030, "wrong_types"),
            Duplicate(1_040, differs=True),
            Delay(1_100, 90),
            rest=(RestTrouble(9.0, 30.0, "error", 0),),
        )
    )
    letters = {(letter.fate, letter.origin): letter for letter in outcome.letters}
    assert [letter.fate for letter in outcome.letters] == ["unreadable"] * 3 + ["conflict", "late"]
    assert outcome.letters[0].text.startswith(b'{"e":"aggTrade"')
    assert outcome.letters[0].reason.startswith("a binary frame")
    assert outcome.letters[1].reason.startswith("a frame cannot be read: Input data was truncated")
    assert b'"a":1040,' in letters["conflict", "stream"].text
    assert "trade 1040 is not what came before: Row(" in letters["conflict", "stream"].reason
    assert b'"a":1100,' in letters["late", "stream"].text
    times = [letter.received_us for letter in outcome.letters]
    assert times == sorted(times)
    assert (outcome.statistics.rejected, outcome.statistics.late) == (3, 1)


def test_pages_that_are_no_pages_and_late_rows_of_pages_are_dead_letters_too():
    outcome = played(
        scenario(
            behind=300,
            sequencing=SequencerConfig(hold_us=900_000),
            times=SourceTimes(quiet_s=1.0, repair_retry_s=0.2),
            rest=(RestTrouble(0.0, 0.8, "nonsense", 0), RestTrouble(0.8, 3.0, "late", 4.0)),
        )
    )
    fates = [(letter.origin, letter.fate) for letter in outcome.letters]
    assert ("rest", "unreadable") in fates
    assert fates.count(("rest", "late")) == outcome.statistics.late > 100
    late = next(letter for letter in outcome.letters if letter.fate == "late")
    assert late.text.startswith(b'{"a":1000,')


def test_dead_letters_are_short_and_not_too_many():
    letters = []
    office = DeadLetterOffice(letters.append)
    for i in range(5_000):
        office.post("stream", "unreadable", "why", "\ud800" * 5_000, i * 10_000)
    assert len(letters) == 1_000
    assert {len(letter.text) for letter in letters} == {TEXT_BYTES_MAX}
    office.post("stream", "unreadable", "why", b"x", 60_000_000)
    assert letters[-1].text == b"x"


def test_what_is_unknown_passes_by_and_is_counted():
    outcome = played(scenario(Garble(1_010, "unknown_event"), Garble(1_020, "new_keys")))
    statistics = outcome.statistics
    assert (statistics.foreign, statistics.rejected, statistics.repaired) == (1, 0, 0)
    assert outcome.letters == []


def test_a_halted_symbol_is_not_asked_for_all_the_time():
    outcome = played(scenario(Halt(1_100, for_s=600.0, status="HALT"), silence_s=5.0))
    (halted_s,) = said(outcome, "BTCUSDT is now HALT")
    queries = [q for q in outcome.arrivals.queries if halted_s < q.asked_s < halted_s + 580]
    assert len(queries) <= 2
    assert len([at for at, purpose, _ in outcome.dials if purpose == "stream"]) <= 2
    assert outcome.statistics.gaps == 0
    assert not outcome.statistics.halted


def test_a_connection_that_stays_behind_is_replaced():
    outcome = played(
        scenario(count=1_500, pause_s=0.02, line=(LineTrouble(3.0, 60.0, "slow line"),))
    )
    assert said(outcome, "the connection stays behind")


def test_a_late_burst_is_no_reason_for_another_connection():
    outcome = played(scenario(Hold(1_050, 8.0)))
    assert not said(outcome, "the connection stays behind")
    assert outcome.statistics.reconnects == 0


@pytest.mark.parametrize(
    ("fault", "pause_s"),
    [
        (Refuse(1_050, 429, 1, 12), 12.0),
        (Refuse(1_050, 418, 1, 90), 90.0),
        (Refuse(1_050, 403, 1), 60.0),
        (Close(1_100, 1013, "try again later"), 5.0),
        (Close(1_100, 1008, "Too many requests"), 60.0),
    ],
)
def test_the_venue_is_left_alone_as_long_as_it_wants(fault, pause_s):
    close = () if isinstance(fault, Close) else (Close(1_100, 1001),)
    outcome = played(scenario(fault, *close))
    dials = [at_s for at_s, purpose, _ in outcome.dials if purpose == "stream"]
    assert max(later - sooner for sooner, later in itertools.pairwise(dials)) >= pause_s
    assert outcome.statistics.gaps == 0


def test_a_thin_line_is_asked_for_smaller_pages():
    outcome = played(
        scenario(
            behind=2_000,
            way=Line(0.05, 0.0, 20_000.0),
            times=SourceTimes(quiet_s=1.0, request_s=2.0),
        )
    )
    limits = [query.limit for query in outcome.arrivals.queries]
    assert limits[0] == 1_000
    assert min(limits) <= 250
    assert outcome.statistics.gaps == 0


def test_a_machine_that_slept_asks_before_it_gives_up():
    outcome = played(
        scenario(
            Close(1_050, 1001),
            line=(LineTrouble(6.5, 3_600.0, "leap"),),
            rest=(RestTrouble(5.0, 6.4, "error", 0),),
        )
    )
    assert outcome.statistics.gaps == 0
