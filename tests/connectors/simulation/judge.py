"""What a scenario must have come to, worked out from what the venue did and what arrived."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import pairwise

from flowtape.connectors.binance.client import TURN_US_MAX
from flowtape.connectors.binance.dead_letters import LETTERS_PER_MINUTE, TEXT_BYTES_MAX
from flowtape.connectors.binance.rows import Row, rows_of, same_trade
from flowtape.connectors.venue.faults import Duplicate, Forget, Garble, Skew
from flowtape.stream.decimals import parse_decimal
from flowtape.stream.ports import Clock, Gap, Rules
from flowtape.stream.trades import Trades
from tests.connectors.simulation.play import Outcome
from tests.connectors.simulation.scenario import FIRST_ID, START_US
from tests.connectors.simulation.watch import Query

SLACK_S = 1.5
"""Pause and pacing of one more query, and the way there and back."""

WITHHELD_S = 1.0
"""Pause before ids that REST did not have are asked for again, and the way there."""

CONNECTS_MAX = 60
CONNECTS_SPAN_S = 300.0


def complaints(outcome: Outcome) -> list[str]:
    """Return everything that is wrong with an outcome, empty when it is as it must be."""
    found = [*outcome.errors, *(f"leaked: {leak}" for leak in outcome.leaked)]
    found += _Judge(outcome).all()
    return found


def _first_times(queries: Iterable[Query]) -> dict[int, float]:
    times: dict[int, float] = {}
    for query in queries:
        for agg_id in query.ids:
            times.setdefault(agg_id, query.answered_s)
    return times


class _Judge:
    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome
        self.scenario = outcome.scenario
        self.rows = {row.agg_id: row for row in self.scenario.rows}
        self.lost = self.scenario.lost - outcome.arrivals.stream.keys()
        self.next_id: int | None = None
        self.in_other_unit = {
            fault.at
            for fault in self.scenario.faults
            if isinstance(fault, Garble) and fault.how == "other_unit"
        }
        queries = [query for query in outcome.arrivals.queries if query.from_id is not None]
        self.rest_s = _first_times(queries)
        in_time_s = self.scenario.times.request_s - 1.0
        self.rest_in_time_s = _first_times(
            query for query in queries if query.answered_s - query.asked_s < in_time_s
        )

    def all(self) -> Iterator[str]:
        yield from self.order()
        yield from self.completeness()
        yield from self.time()
        yield from self.venue_rules()
        yield from self.courtesy()
        yield from self.counts()

    def order(self) -> Iterator[str]:
        """Every id once, in order, equal to the venue's row, or in a gap that had to be."""
        start = self.scenario.start_after
        self.next_id = None if start is None else start + 1
        for at_s, event in self.outcome.heard:
            if isinstance(event, Trades):
                for row in rows_of(event):
                    yield from self.skip_void(row.agg_id)
                    if row.agg_id != self.next_id:
                        yield f"{at_s:.3f}: id {row.agg_id} came when {self.next_id} was next"
                        return
                    if not self.equal(row):
                        yield f"{at_s:.3f}: {row} is {self.rows.get(row.agg_id)} at the venue"
                    self.next_id += 1
            elif isinstance(event, Gap):
                yield from self.skip_void(event.from_id)
                if event.from_id != self.next_id or event.to_id < event.from_id:
                    yield f"{at_s:.3f}: {event} came when {self.next_id} was next"
                    return
                yield from self.gap(at_s, event)
                self.next_id = event.to_id + 1

    def equal(self, row: Row) -> bool:
        sent = self.rows.get(row.agg_id)
        if sent is None or row == sent:
            return sent is not None
        return row.agg_id in self.in_other_unit and same_trade(row, sent)

    def skip_void(self, to_id: int) -> Iterator[str]:
        if self.next_id is None:
            yield from self.first(to_id)
            self.next_id = to_id
        while self.next_id < to_id and self.next_id in self.rows and self.rows[self.next_id].void:
            self.next_id += 1

    def first(self, agg_id: int) -> Iterator[str]:
        """Without a known start the first row decides, or the newest that REST had."""
        arrivals = self.outcome.arrivals
        seen = [query.ids[-1] + 1 for query in arrivals.queries if query.ids]
        if arrivals.stream:
            seen.append(min(arrivals.stream, key=lambda i: (arrivals.stream[i], i)))
        ids = range(min(seen, default=agg_id), agg_id)
        if agg_id not in seen and not any(set(range(s, agg_id)) <= self.voids() for s in seen):
            yield f"the first id was {agg_id}, of which nothing told: {seen[:5]} {len(ids)}"

    def voids(self) -> set[int]:
        return {agg_id for agg_id, row in self.rows.items() if row.void}

    def gap(self, at_s: float, gap: Gap) -> Iterator[str]:
        where = f"{at_s:.3f}: gap {gap.from_id} to {gap.to_id} ({gap.reason})"
        config = self.scenario.sequencing
        known_s = self.known_s(gap.to_id)
        if known_s is None or known_s > at_s:
            yield f"{where}: nothing behind it had come"
            return
        span = gap.to_id - gap.from_id + 1
        count, _, why = gap.reason.partition(" missing trades are more than ")
        if max(span, int(count) if why else 0) > config.backfill_ids:
            return
        if self.crowd(gap.to_id, at_s) > config.hold_rows:
            return
        asleep_s = sum(
            max(0.0, for_s - TURN_US_MAX / 1e6)
            for leap_s, for_s in self.outcome.leaps
            if known_s <= leap_s and leap_s + for_s <= at_s
        )
        if at_s < known_s + asleep_s + config.hold_us / 1e6 - 1e-3:
            yield f"{where}: declared {at_s - known_s:.3f} s after it showed, asleep {asleep_s} s"
        for agg_id in range(gap.from_id, gap.to_id + 1):
            if (came_s := self.came_s(agg_id)) is not None and came_s < at_s:
                yield f"{where}: {agg_id} had come at {came_s:.3f}"
                return
        forgotten_id = self.forgotten_id(at_s)
        there = [
            agg_id
            for agg_id in range(gap.from_id, gap.to_id + 1)
            if agg_id not in self.lost and agg_id > forgotten_id
        ]
        if there and (chance_s := self.chance_s(there[0], known_s, at_s)) > self.need_s(there[0]):
            yield f"{where}: {there[0]} could be had for {chance_s:.3f} s"

    def forgotten_id(self, at_s: float) -> int:
        """Return the highest id that REST may have had no more."""
        kept = [fault.rows for fault in self.scenario.faults if isinstance(fault, Forget)]
        happened = bisect_right(self.outcome.happened_s, at_s) + self.scenario.happened_count
        return FIRST_ID + happened - 1 - min(kept) if kept else 0

    def came_s(self, agg_id: int) -> float | None:
        """Return when an id arrived, in time to be taken."""
        came = (self.outcome.arrivals.stream.get(agg_id), self.rest_in_time_s.get(agg_id))
        return min((at_s for at_s in came if at_s is not None), default=None)

    def known_s(self, agg_id: int) -> float | None:
        """Return when the first row behind an id arrived."""
        times = [
            at_s
            for come in (self.outcome.arrivals.stream, self.rest_s)
            for i, at_s in come.items()
            if i > agg_id
        ]
        return min(times, default=None)

    def crowd(self, agg_id: int, at_s: float) -> int:
        """Return how many rows behind an id had arrived."""
        return len(
            {
                i
                for come in (self.outcome.arrivals.stream, self.rest_s)
                for i, came_s in come.items()
                if i > agg_id and came_s <= at_s
            }
        )

    def chance_s(self, agg_id: int, from_s: float, to_s: float) -> float:
        """Return the longest time on end in which REST was well and might be asked for an id."""
        times = self.scenario.times
        bad: list[tuple[float, float]] = []
        for trouble in self.scenario.rest:
            bad.append((trouble.from_s, trouble.to_s + times.repair_retry_s))
        for query in self.outcome.arrivals.queries:
            if query.status != 200 or query.answered_s - query.asked_s > 1.0:
                end_s = query.answered_s or query.asked_s + times.request_s
                wait_s = times.repair_retry_s + (query.pause_s or 0.0)
                bad.append((query.asked_s, end_s + wait_s))
            elif query.withheld(agg_id):
                bad.append((query.asked_s, query.answered_s + WITHHELD_S))
        bad += [(at_s - 1.0, at_s + for_s + SLACK_S) for at_s, for_s in self.outcome.leaps]
        bad += [
            (trouble.at_s, trouble.at_s + trouble.for_s + SLACK_S)
            for trouble in self.scenario.line
            if trouble.kind in ("busy", "slow line")
        ]
        longest_s, free_s = 0.0, from_s
        for bad_from_s, bad_to_s in sorted(bad):
            if bad_from_s < to_s:
                longest_s = max(longest_s, bad_from_s - free_s)
                free_s = max(free_s, bad_to_s)
        return max(longest_s, to_s - free_s)

    def need_s(self, agg_id: int) -> float:
        """Return how long a client may take that pages from where it stands to an id."""
        lost = sum(1 for lost_id in self.lost if lost_id < agg_id)
        pages = 1 + len(self.rows) / 1_000 + lost
        return SLACK_S + pages * (1.1 if self.scenario.instrument.market == "um" else 0.5)

    def completeness(self) -> Iterator[str]:
        """Whatever went wrong, in the end every id is accounted for."""
        newest_id = self.outcome.newest_id
        if self.next_id is None:
            return
        while self.next_id in self.rows and self.rows[self.next_id].void:
            self.next_id += 1
        if self.next_id <= newest_id:
            yield f"the source ended at {self.next_id}, the venue had ids up to {newest_id}"

    def time(self) -> Iterator[str]:
        """Statements of time run forward, behind the trades seen and not before the venue."""
        told_us = 0
        shifts = self.venue_ahead()
        for at_s, event in self.outcome.heard:
            if isinstance(event, Trades):
                told_us = max(told_us, int(event.ts_us.max()))
            elif isinstance(event, Clock):
                if event.ts_us <= told_us:
                    yield f"{at_s:.3f}: {event} when {told_us} had been reached"
                told_us = max(told_us, event.ts_us)
                ahead_us = shifts[bisect_right(self.outcome.happened_s, at_s)]
                venue_us = START_US + int(at_s * 1e6) + ahead_us
                if event.ts_us > venue_us:
                    yield f"{at_s:.3f}: {event} is {event.ts_us - venue_us} us ahead of the venue"

    def venue_ahead(self) -> list[int]:
        """Return how far the venue's trade times ran ahead of true time, after each trade."""
        ahead, ahead_us, skew_us = [0], 0, 0
        skews = {f.at: f.by_ms * 1_000 for f in self.scenario.faults if isinstance(f, Skew)}
        rows = list(self.rows.values())[self.scenario.happened_count :]
        for row, at_s in zip(rows, self.outcome.happened_s, strict=False):
            skew_us = max(skew_us, skews.get(row.agg_id, 0))
            ahead_us = max(ahead_us, row.ts_us - START_US - int(at_s * 1e6))
            ahead.append(ahead_us + skew_us)
        return ahead

    def venue_rules(self) -> Iterator[str]:
        """Rules are told as the venue named them, in that order, when they are other ones."""
        told = [e.rules.qty_min_lots for _, e in self.outcome.heard if isinstance(e, Rules)]
        decimals = self.scenario.instrument.qty_decimals
        listings = self.outcome.arrivals.listings
        named = [parse_decimal(text, decimals) for *_, text in listings]
        if any(one == other for one, other in pairwise(told)):
            yield f"rules were told again that had not changed: {told}"
        unheard = iter(named)
        if not all(value in unheard for value in told):
            yield f"rules told were {told}, the venue named {named}"
        before_s, in_s = self.outcome.finished_s, self.scenario.times.request_s
        until = [one for one in listings if one[1] < before_s]
        heard = [answered_s - asked_s < in_s - 0.1 for asked_s, answered_s, _ in until]
        if told and heard and heard[-1] and told[-1] not in named[len(heard) - 1 :]:
            yield f"the last rules told were {told[-1]}, the venue had named {named}"

    def courtesy(self) -> Iterator[str]:
        """Within the venue's limits, and silent when told to be."""
        dials = [at_s for at_s, purpose, _ in self.outcome.dials if purpose == "stream"]
        for i, at_s in enumerate(dials):
            count = bisect_right(dials, at_s + CONNECTS_SPAN_S) - i
            if count > CONNECTS_MAX:
                yield f"{at_s:.3f}: {count} connections within {CONNECTS_SPAN_S:g} s"
                break
        woke_s = {leap_s + for_s for leap_s, for_s in self.outcome.leaps}
        for refused_s, pause_s in self.outcome.arrivals.refusals:
            if any(abs(refused_s - at_s) < 1e-3 for at_s in woke_s):
                continue  # which the client, asleep, had given up by then
            at = bisect_right(dials, refused_s + SLACK_S)  # one may have been under way
            if at < len(dials) and dials[at] < refused_s + pause_s - 1e-6:
                yield f"{dials[at]:.3f}: a stream was asked for, refused for {pause_s} s before"
        quiet_s, since_s = 0.0, 0.0
        for query in sorted(self.outcome.arrivals.queries, key=lambda query: query.asked_s):
            if since_s < query.asked_s < quiet_s - 1e-6:
                yield f"{query.asked_s:.3f}: REST was asked before {quiet_s:.3f}"
            if query.pause_s is not None and query.answered_s + query.pause_s > quiet_s:
                since_s, quiet_s = query.answered_s, query.answered_s + query.pause_s

    def counts(self) -> Iterator[str]:
        """Statistics say what was heard."""
        said = self.outcome.statistics
        if said is None:
            yield "no statistics"
            return
        events = [event for _, event in self.outcome.heard]
        gaps = [event for event in events if isinstance(event, Gap)]
        heard = (
            sum(len(event) for event in events if isinstance(event, Trades)),
            len(gaps),
            sum(gap.to_id - gap.from_id + 1 for gap in gaps),
        )
        if (said.trades, said.gaps, said.missing) != heard:
            yield f"statistics say {said}, heard were {heard}"
        fates = Counter(letter.fate for letter in self.outcome.letters)
        pages = sum(1 for query in self.outcome.arrivals.queries if query.unreadable)
        counted = (said.rejected, said.conflicts, said.late)
        letters = (fates["unreadable"], fates["conflict"], fates["late"])
        many = len(self.outcome.letters) >= LETTERS_PER_MINUTE  # then the rest may be left out
        exact = letters[1:] == counted[1:] and 0 <= letters[0] - said.rejected <= pages
        if not (many or exact):
            yield f"statistics say {counted}, letters were {letters}, pages {pages}"
        for letter in self.outcome.letters:
            if not letter.text or len(letter.text) > TEXT_BYTES_MAX or "\n" in letter.reason:
                yield f"{letter} has no text or too much"
        contradicted = any(isinstance(f, Duplicate) and f.differs for f in self.scenario.faults)
        if said.conflicts and not (contradicted or self.in_other_unit or self.voids()):
            yield f"{said.conflicts} conflicts of equal rows"
