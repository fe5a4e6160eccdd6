import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from flowtape.connectors.binance.rows import Row, rows_of, trades_of
from flowtape.connectors.binance.sequencer import (
    LATE_RUN_MAX,
    FetchAggTrades,
    Ready,
    Sequencer,
    SequencerConfig,
    Stray,
)
from flowtape.stream.errors import SourceError
from flowtape.stream.ports import Gap
from flowtape.stream.trades import Trades
from tests.connectors.reference_sequencer import ReferenceSequencer

SMALL = SequencerConfig(
    hold_us=1_000,
    hold_rows=12,
    ask_after_us=50,
    ask_again_us=100,
    patience_us=2_000,
    backfill_ids=40,
    page_ids=6,
    remembered_ids=64,
)


def row(agg_id: int, price_ticks: int = 100) -> Row:
    return Row(agg_id, 10**15 + agg_id, price_ticks, 1, agg_id, agg_id, agg_id % 2 == 0)


def expanded(items: list[Ready]) -> list[Row | Gap]:
    found: list[Row | Gap] = []
    for item in items:
        found += rows_of(item) if isinstance(item, Trades) else [item]
    return found


def spans(items: list[Row | Gap]) -> list[int | tuple[int, int]]:
    return [i.agg_id if isinstance(i, Row) else (i.from_id, i.to_id) for i in items]


def ready(sequencer: Sequencer) -> list[int | tuple[int, int]]:
    return spans(expanded(sequencer.take()))


class SequencerMachine(RuleBasedStateMachine):
    """The sequencer beside its reference, between a venue, a stream and a REST of any behaviour."""

    def __init__(self) -> None:
        super().__init__()
        self.sequencer = Sequencer(SMALL, start_after=0)
        self.reference = ReferenceSequencer(SMALL, 0)
        self.now = 0
        self.venue = 0
        self.void: set[int] = set()
        self.nowhere: set[int] = set()
        self.fetch: FetchAggTrades | None = None
        self.out: list[Row | Gap] = []

    @rule(count=st.integers(1, 5), send=st.booleans(), void=st.integers(0, 9))
    def trade(self, count: int, send: bool, void: int) -> None:
        for _ in range(count):
            self.venue += 1
            if not void:
                self.void.add(self.venue)
            if send:
                self.send(self.venue)

    @precondition(lambda self: not self.sequencer.holding)
    @rule(count=st.integers(1, 20), lost=st.integers(-1, 19))
    def many_at_once(self, count: int, lost: int) -> None:
        """Trades of which one may be missing: those before it are taken together."""
        ids = [self.venue + 1 + i for i in range(count) if i != lost]
        joins = self.sequencer.last_id == self.venue
        self.venue += count
        rows = [self.row(agg_id) for agg_id in ids]
        for one in rows:
            self.reference.receive(one, self.now)
        taken = self.sequencer.receive_next(trades_of(rows)) if rows else 0
        following = lost if 0 <= lost < count else count
        assert taken == (following if joins else 0)
        for one in rows[taken:]:
            self.sequencer.receive(one, self.now)

    @rule(count=st.integers(1, 60))
    def outage(self, count: int) -> None:
        self.venue += count

    @precondition(lambda self: self.venue)
    @rule(back=st.integers(0, 30))
    def send_again_or_late(self, back: int) -> None:
        self.send(max(1, self.venue - back))

    @precondition(lambda self: self.venue)
    @rule(back=st.integers(0, 30))
    def contradict(self, back: int) -> None:
        agg_id = max(1, self.venue - back)
        if agg_id in self.reference.arrived:
            self.send(agg_id, price_ticks=99)

    @precondition(lambda self: self.venue)
    @rule(back=st.integers(0, 10))
    def lose_everywhere(self, back: int) -> None:
        self.nowhere.add(max(1, self.venue - back))

    @rule(passed=st.sampled_from([1, 49, 50, 100, 400, 1_000, 5_000]))
    def wait(self, passed: int) -> None:
        self.now += passed
        self.poll()

    @rule()
    def wake(self) -> None:
        wake_us = self.sequencer.wake_us()
        if wake_us is not None:
            before = (self.sequencer.last_id, self.fetch)
            self.now = max(self.now, wake_us)
            self.poll()
            assert (self.sequencer.last_id, self.fetch) != before

    @rule()
    def reconnect(self) -> None:
        self.sequencer.catch_up(self.now)

    @precondition(lambda self: self.fetch)
    @rule(lag=st.integers(0, 8), rows_max=st.sampled_from([1, 3, 6, 6]), odd=st.booleans())
    def answer(self, lag: int, rows_max: int = 6, odd: bool = True) -> None:
        """Full, partial and empty pages; `odd` ones lack rows that a later page may have."""
        fetch, self.fetch = self.fetch, None
        assert fetch
        span = SMALL.page_ids if fetch.to_id is None else fetch.to_id - fetch.from_id + 1
        limit = min(rows_max, span)
        there = (
            a
            for a in range(fetch.from_id, self.venue + 1 - lag)
            if a not in self.nowhere and (odd or a % 2 == 0)
        )
        rows = [self.row(agg_id) for agg_id, _ in zip(there, range(limit), strict=False)]
        exhausted = len(rows) < limit
        self.sequencer.receive_page(fetch, rows, self.now, exhausted=exhausted)
        self.reference.page(fetch, rows, self.now, exhausted=exhausted)

    @rule(pages=st.integers(1, 6), pause=st.sampled_from([100, 400]))
    def repair_slowly(self, pages: int, pause: int) -> None:
        for _ in range(pages):
            self.now += pause
            self.poll()
            if self.fetch:
                self.answer(0)

    @precondition(lambda self: self.fetch)
    @rule(pause=st.sampled_from([0, 100, 1_500, 3_000]), blocked=st.booleans())
    def fail(self, pause: int, blocked: bool) -> None:
        fetch, self.fetch = self.fetch, None
        assert fetch
        self.sequencer.fetch_failed(
            fetch, "down", self.now, retry_us=self.now + pause, blocked=blocked
        )
        if blocked:
            self.reference.blocked(self.now + pause, self.now)

    def row(self, agg_id: int, price_ticks: int = 100) -> Row:
        return row(agg_id, 0 if agg_id in self.void else price_ticks)

    def send(self, agg_id: int, price_ticks: int = 100) -> None:
        if agg_id <= self.reference.last - SMALL.remembered_ids:
            return
        sent = self.row(agg_id, price_ticks)
        self.sequencer.receive(sent, self.now)
        self.reference.receive(sent, self.now)

    def poll(self) -> None:
        self.sequencer.poll(self.now)
        self.reference.poll(self.now)
        for effect in self.sequencer.effects():
            assert self.fetch is None, "one query at a time"
            assert effect.to_id is None or self.asks_for_what_is_missing(effect)
            self.fetch = effect

    def asks_for_what_is_missing(self, fetch: FetchAggTrades) -> bool:
        assert fetch.to_id is not None
        ids = range(fetch.from_id, fetch.to_id + 1)
        missing = [a for a in ids if a > self.reference.last and a not in self.reference.arrived]
        return ids[0] == missing[0] and ids[-1] <= self.reference.top

    @invariant()
    def says_what_the_reference_says(self) -> None:
        self.out += expanded(self.sequencer.take())
        said = [(i.from_id, i.to_id) if isinstance(i, Gap) else i for i in self.out]
        reference, counts = self.reference, self.sequencer.counts
        assert said == reference.out
        assert self.sequencer.last_id == reference.last
        assert (counts.duplicates, counts.conflicts) == (reference.duplicates, reference.conflicts)
        assert (counts.late, counts.voids) == (reference.late, reference.voids)
        assert counts.repaired == reference.repaired

    @invariant()
    def holds_no_more_than_allowed(self) -> None:
        held, holes = self.sequencer._held, self.sequencer._holes
        assert not holes or len(held) <= SMALL.hold_rows
        assert bool(held) == bool(holes)
        assert len(holes) <= len(held)
        kept = [len(block) for block in self.sequencer._memory._blocks]
        assert sum(kept[1:]) <= SMALL.remembered_ids

    def teardown(self) -> None:
        self.nowhere.clear()
        self.sequencer.catch_up(self.now)
        for _ in range(3 * self.venue + 20):
            if self.fetch:
                self.answer(0)
            self.now += 1
            wake_us = self.sequencer.wake_us()
            self.now = max(self.now, wake_us or 0)
            self.poll()
            if not self.sequencer.holding:
                break
        assert not self.sequencer.holding
        self.says_what_the_reference_says()
        assert self.sequencer.last_id == max(self.venue, self.reference.top)


SequencerMachine.TestCase.settings = settings(
    max_examples=max(150, settings().max_examples), stateful_step_count=40
)
test_sequencer_machine = SequencerMachine.TestCase


@given(st.integers(0, 2**32), st.floats(0, 0.6), st.floats(0, 0.5), st.integers(0, 12))
def test_loss_duplication_and_reorder_end_as_every_id_in_order(seed, loss, doubling, shuffle):
    rng = random.Random(seed)
    count = 150
    sent = [a for a in range(1, count + 1) if rng.random() >= loss]
    sent += [a for a in sent if rng.random() < doubling]
    sent.sort(key=lambda a: a + rng.uniform(0, shuffle))
    sequencer = Sequencer(SequencerConfig(page_ids=10), start_after=0)
    out: list[int | tuple[int, int]] = []
    now, pending = 0, []
    for agg_id in [*sent, None, *[None] * 400]:
        now += 10_000
        if agg_id is None:
            sequencer.catch_up(now)
        else:
            sequencer.receive(row(agg_id), now)
        sequencer.poll(now)
        pending += sequencer.effects()
        if pending and rng.random() < 0.5:
            fetch = pending.pop()
            stop = min(count + 1, fetch.from_id + 10)
            ids = range(fetch.from_id, stop)
            sequencer.receive_page(fetch, [row(a) for a in ids], now, exhausted=stop == count + 1)
        out += ready(sequencer)
    assert out == list(range(1, count + 1))
    assert sequencer.counts.gaps == 0
    assert not sequencer.strays


def test_the_first_row_decides_where_to_start():
    sequencer = Sequencer(SMALL)
    assert (sequencer.last_id, sequencer.top_id, sequencer.wake_us()) == (None, -1, None)
    sequencer.catch_up(0)
    sequencer.receive(row(77), 0)
    sequencer.receive(row(78), 0)
    sequencer.begin_after(5)
    assert ready(sequencer) == [77, 78]
    sequencer.receive(row(76), 0)
    assert ready(sequencer) == []
    assert sequencer.counts.duplicates == 1


def test_a_known_start_is_repaired_from():
    sequencer = Sequencer(SMALL)
    sequencer.begin_after(10)
    sequencer.receive(row(13), 0)
    sequencer.poll(49)
    assert sequencer.effects() == []
    sequencer.poll(50)
    assert sequencer.effects() == [FetchAggTrades(11, 12)]
    sequencer.receive_page(FetchAggTrades(11, 12), [row(11), row(12)], 60, exhausted=False)
    assert ready(sequencer) == [11, 12, 13]
    assert not sequencer.holding
    assert sequencer.counts.repaired == 2


def test_small_holes_are_asked_for_together():
    sequencer = Sequencer(SMALL, start_after=0)
    for agg_id in (2, 4, 6, 8):
        sequencer.receive(row(agg_id), 0)
    sequencer.poll(50)
    assert sequencer.effects() == [FetchAggTrades(1, 5)]


def test_time_running_backwards_keeps_id_order():
    sequencer = Sequencer(SMALL, start_after=0)
    rows = [Row(i, 10**15 - i, 100, 1, i, i, False) for i in range(1, 6)]
    for one in rows:
        sequencer.receive(one, 0)
    assert sequencer.take() == rows


def test_void_rows_count_as_seen_and_are_not_passed_on():
    sequencer = Sequencer(SMALL, start_after=0)
    void = Row(2, 10**15, 0, 0, -1, -1, True)
    for one in (row(1), void, row(3), void):
        sequencer.receive(one, 0)
    assert ready(sequencer) == [1, 3]
    assert (sequencer.counts.voids, sequencer.counts.duplicates) == (1, 1)


def test_conflicting_duplicates_are_reported_and_change_nothing():
    sequencer = Sequencer(SMALL, start_after=0)
    sequencer.receive(row(1), 0)
    sequencer.receive(row(3), 0)
    sequencer.receive(row(1, price_ticks=101), 0)
    sequencer.receive(row(3, price_ticks=101), 0)
    sequencer.receive(row(2), 0)
    assert sequencer.take() == [row(1), row(2), row(3)]
    assert list(sequencer.strays) == [
        Stray(row(1, price_ticks=101), row(1)),
        Stray(row(3, price_ticks=101), row(3)),
    ]
    assert sequencer.counts.conflicts == 2


def test_a_duplicate_in_milliseconds_is_no_conflict():
    sequencer = Sequencer(SMALL, start_after=0)
    fine = Row(1, 1_760_000_000_123_456, 5, 5, 1, 1, False)
    sequencer.receive(fine, 0)
    sequencer.receive(Row(1, 1_760_000_000_123_000, 5, 5, 1, 1, False), 0)
    sequencer.receive(Row(1, 1_760_000_000_124_000, 5, 5, 1, 1, False), 0)
    assert (sequencer.counts.duplicates, sequencer.counts.conflicts) == (1, 1)


def test_rows_after_their_gap_are_late():
    sequencer = Sequencer(SMALL, start_after=0)
    sequencer.receive(row(3), 0)
    sequencer.poll(1_000)
    assert ready(sequencer) == [(1, 2), 3]
    sequencer.receive(row(2), 1_001)
    assert ready(sequencer) == []
    assert list(sequencer.strays) == [Stray(row(2), None)]
    assert (sequencer.counts.gaps, sequencer.counts.missing, sequencer.counts.late) == (1, 2, 1)


def test_a_full_hold_gives_up_its_oldest_hole():
    sequencer = Sequencer(SMALL, start_after=0)
    for agg_id in range(2, 16):
        sequencer.receive(row(agg_id), 0)
    gap, *rest = sequencer.take()
    assert gap == Gap(1, 1, "over 12 trades waited for them")
    assert spans(rest)[:2] == [2, 3]


def test_a_hole_too_long_to_repair_is_declared_at_once():
    sequencer = Sequencer(SMALL, start_after=0)
    sequencer.receive(row(42), 0)
    sequencer.poll(0)
    assert sequencer.take() == [Gap(1, 41, "41 missing trades are more than 40"), row(42)]
    assert sequencer.effects() == []


def test_a_gap_says_why():
    sequencer = Sequencer(SMALL, start_after=0)
    sequencer.receive(row(2), 0)
    sequencer.poll(60)
    sequencer.receive_page(FetchAggTrades(1, 1), [], 70, exhausted=True)
    sequencer.poll(1_000)
    assert sequencer.take()[0] == Gap(1, 1, "the venue's REST does not have them")


def test_a_named_pause_prolongs_the_hold_within_reason():
    for pause, gap in ((1_500, False), (2_500, True)):
        sequencer = Sequencer(SMALL, start_after=0)
        sequencer.receive(row(2), 0)
        sequencer.poll(60)
        (fetch,) = sequencer.effects()
        sequencer.fetch_failed(fetch, "429", 100, retry_us=100 + pause, blocked=True)
        sequencer.poll(1_200)
        assert bool(sequencer.take()) is gap
        assert sequencer.effects() == []
        if not gap:
            sequencer.poll(1_600)
            assert sequencer.effects() == [fetch]


def test_progress_prolongs_the_hold():
    sequencer = Sequencer(SMALL, start_after=0)
    sequencer.receive(row(20), 0)
    sequencer.poll(60)
    (fetch,) = sequencer.effects()
    sequencer.receive_page(fetch, [row(a) for a in range(1, 7)], 900, exhausted=False)
    sequencer.poll(1_899)
    assert ready(sequencer) == [1, 2, 3, 4, 5, 6]
    assert sequencer.effects() == [FetchAggTrades(7, 19)]
    sequencer.poll(1_900)
    assert ready(sequencer) == [(7, 19), 20]


def test_a_hole_waits_for_its_turn_while_others_are_repaired():
    sequencer = Sequencer(SMALL, start_after=0)
    sequencer.receive(row(21), 0)
    sequencer.receive(row(24), 0)
    now = 60
    while (last_id := sequencer.last_id) < 21:
        sequencer.poll(now)
        (fetch,) = sequencer.effects()
        now += 300
        rows = [row(a) for a in range(last_id + 1, min(last_id + 7, 21))]
        sequencer.receive_page(fetch, rows, now, exhausted=False)
    assert now > SMALL.hold_us
    sequencer.poll(now)
    assert sequencer.effects() == [FetchAggTrades(22, 23)]
    sequencer.receive_page(FetchAggTrades(22, 23), [], now + 60, exhausted=True)
    sequencer.poll(now + 999)
    assert sequencer.holding
    sequencer.poll(now + 1_000)
    assert spans(sequencer.take())[-2:] == [(22, 23), 24]


def test_a_live_row_makes_catching_up_needless():
    sequencer = Sequencer(SMALL, start_after=5)
    sequencer.catch_up(0)
    assert sequencer.holding
    sequencer.receive(row(6), 0)
    assert not sequencer.holding
    sequencer.poll(0)
    assert sequencer.effects() == []


def test_catching_up_pages_to_the_newest_row():
    sequencer = Sequencer(SMALL, start_after=5)
    sequencer.catch_up(0)
    sequencer.poll(0)
    (first,) = sequencer.effects()
    assert first == FetchAggTrades(6, None)
    sequencer.receive_page(first, [row(a) for a in range(6, 12)], 10, exhausted=False)
    sequencer.poll(10)
    (second,) = sequencer.effects()
    assert second == FetchAggTrades(12, None)
    sequencer.receive_page(second, [row(12)], 20, exhausted=True)
    assert ready(sequencer) == list(range(6, 13))
    assert not sequencer.holding


def test_an_id_far_below_stops_the_source():
    sequencer = Sequencer(SMALL, start_after=1_000)
    sequencer.receive(row(936), 0)
    with pytest.raises(SourceError, match="id 935 lies far below the last one, 1000"):
        sequencer.receive(row(935), 0)


def test_nothing_but_late_rows_stops_the_source():
    sequencer = Sequencer(SequencerConfig(), start_after=5_000)
    for agg_id in range(3_000, 3_000 + LATE_RUN_MAX):
        sequencer.receive(row(agg_id), 0)
    with pytest.raises(SourceError, match="counts anew"):
        sequencer.receive(row(4_900), 0)


def test_answers_must_belong_to_a_question():
    sequencer = Sequencer(SMALL, start_after=0)
    with pytest.raises(ValueError, match="was not asked for"):
        sequencer.receive_page(FetchAggTrades(1, 2), [], 0, exhausted=True)


def test_giving_up_declares_every_hole_and_lets_everything_out():
    sequencer = Sequencer(SMALL, 0)
    for agg_id in (1, 4, 5, 9):
        sequencer.receive(row(agg_id), 0)
    sequencer.catch_up(0)
    assert spans(sequencer.take()) == [1]
    sequencer.give_up("the end")
    assert sequencer.take() == [
        Gap(2, 3, "the end"), row(4), row(5), Gap(6, 8, "the end"), row(9)
    ]  # fmt: skip
    assert not sequencer.holding
    assert (sequencer.counts.gaps, sequencer.counts.missing) == (2, 5)
