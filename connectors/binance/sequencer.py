"""The one place where the order of live trades is decided: by aggregate id, without a hole.

Theory of operation
    Every id above `last_id` up to the highest id seen is either held (its row waits) or missing
    (it lies in a `_Hole`). Rows go out as long as the next id is held. A hole in front of them is
    asked for over REST, page by page; when its deadline passes it is declared a `Gap`, and what
    waits behind it goes out.

The sequencer reads no clock and does no I/O: the caller passes `now_us` (any monotonic clock),
calls `poll` at `wake_us` at the latest, performs `effects` and hands back each answer.
"""

from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from flowtape.connectors.binance.remembered import RememberedTrades
from flowtape.connectors.binance.rows import Row, same_trade, trades_of
from flowtape.stream.errors import SourceError
from flowtape.stream.ports import Gap
from flowtape.stream.trades import Trades

LATE_RUN_MAX = 1_000
"""So many late stream rows in a row mean that the numbering went back, not that rows are late."""

STRAYS_KEPT = 1_000


@dataclass(frozen=True, slots=True)
class FetchAggTrades:
    """Ask REST for one page of ids from `from_id` to `to_id` inclusive; None means the newest."""

    from_id: int
    to_id: int | None


@dataclass(frozen=True, slots=True)
class SequencerConfig:
    """Bounds of holding and repairing.

    `hold_us` is how long a hole may stand without progress, in it or, until REST was asked for it,
    in others; `hold_rows` how many rows may wait behind holes, `ask_after_us` how long plain
    reordering may take before REST is asked, `ask_again_us` the pause before ids that REST did not
    have are asked for again, `patience_us` the longest `Retry-After` that prolongs a hold,
    `backfill_ids` the longest hole worth repairing, `page_ids` how many ids one request may span,
    `remembered_ids` how far back duplicates are compared.
    """

    hold_us: int = 5_000_000
    hold_rows: int = 200_000
    ask_after_us: int = 50_000
    ask_again_us: int = 500_000
    patience_us: int = 60_000_000
    backfill_ids: int = 5_000_000
    page_ids: int = 1_000
    remembered_ids: int = 65_536


@dataclass(slots=True)
class SequencerCounts:
    """What happened to rows that were not simply the next ones.

    `repaired` are rows that REST delivered first; `missing` are the ids of all `gaps`.
    """

    duplicates: int = 0
    conflicts: int = 0
    late: int = 0
    voids: int = 0
    repaired: int = 0
    gaps: int = 0
    missing: int = 0


@dataclass(slots=True)
class _Hole:
    from_id: int
    to_id: int
    deadline_us: int | None  # None: not worth asking for
    ask_us: int
    reason: str
    answered: bool = False  # REST was asked for all of it


@dataclass(frozen=True, slots=True)
class Stray:
    """A row that came too late, or that contradicts `kept`, the one its id stands for."""

    row: Row
    kept: Row | None


Ready = Row | Trades | Gap
"""Trades in their final order, one or many of ids that follow each other, or missing ids."""


def joined(items: Iterable[Ready]) -> Iterator[Trades | Gap]:
    """Yield items in their order, all trades between two gaps as one."""
    rows: list[Row] = []
    parts: list[Trades] = []
    for item in items:
        if isinstance(item, Row):
            rows.append(item)
            continue
        if rows:
            parts.append(trades_of(rows))
            rows = []
        if isinstance(item, Trades):
            parts.append(item)
            continue
        if parts:
            yield Trades.concat(parts)
            parts = []
        yield item
    if rows:
        parts.append(trades_of(rows))
    if parts:
        yield parts[0] if len(parts) == 1 else Trades.concat(parts)


class Sequencer:
    """Turn rows from streams and REST pages, in any order, into ids without a hole.

    `start_after` is the last id that is already known; without it the first row decides.
    Rows that came too late and rows that contradict others are counted, and the newest of them kept
    in `strays` for the caller to take.
    """

    def __init__(self, config: SequencerConfig, start_after: int | None = None) -> None:
        self._config = config
        self._start_after = start_after
        self._last_id = start_after
        self._top_id = -1 if start_after is None else start_after
        self._held: dict[int, Row] = {}
        self._holes: list[_Hole] = []
        self._memory = RememberedTrades(config.remembered_ids)
        self._ready: list[Ready] = []
        self._effects: list[FetchAggTrades] = []
        self._asked: FetchAggTrades | None = None
        self._tail_us: int | None = None
        self._rest_free_us = 0
        self._blocked_us: int | None = None
        self._late_run = 0
        self.counts = SequencerCounts()
        self.strays: deque[Stray] = deque(maxlen=STRAYS_KEPT)

    @property
    def last_id(self) -> int | None:
        """Return the last id that went out or was declared missing."""
        return self._last_id

    @property
    def top_id(self) -> int:
        """Return the highest id seen, -1 before the first."""
        return self._top_id

    @property
    def holding(self) -> bool:
        """Tell whether older trades than the newest known may still be missing."""
        return bool(self._holes) or self._tail_us is not None or self._asked is not None

    def begin_after(self, agg_id: int) -> None:
        """Take `agg_id` as the last known id, unless one is known already."""
        if self._last_id is None:
            self._start_after = self._last_id = self._top_id = agg_id

    def catch_up(self, now_us: int) -> None:
        """Ask REST for everything newer than the newest known id, as after a reconnect."""
        if self._last_id is not None:
            self._tail_us = now_us

    def receive_next(self, trades: Trades) -> int:
        """Take trades from a stream as far as they are simply the next ones; return how many.

        They do what they would one by one through `receive`, which is for all others. None of them
        is void.
        """
        if self._last_id is None or self._holes:
            return 0
        ids = trades.agg_id
        strange = np.flatnonzero(ids != np.arange(self._last_id + 1, self._last_id + 1 + len(ids)))
        count = int(strange[0]) if len(strange) else len(ids)
        if count:
            following = trades.slice(0, count)
            self._memory.keep_block(following)
            self._ready.append(following)
            self._last_id = self._top_id = self._last_id + count
            self._tail_us = None
            self._late_run = 0
        return count

    def receive(self, row: Row, now_us: int) -> None:
        """Take a row from a stream.

        Raises SourceError when the id lies so far below the last one that this cannot be the same
        numbering.
        """
        top_id = self._top_id
        if self._insert(row, now_us, repair=False):
            self._late_run = 0
        if self._top_id > top_id:
            self._tail_us = None  # what is missing below shows as a hole now
        self._limit_hold()

    def receive_page(
        self, fetch: FetchAggTrades, rows: Iterable[Row], now_us: int, *, exhausted: bool
    ) -> None:
        """Take REST's answer to `fetch`; `exhausted` says that REST has no row behind these."""
        self._close(fetch)
        covered_to = fetch.from_id - 1
        progress = False
        for row in rows:
            if row.agg_id >= fetch.from_id:
                progress |= self._insert(row, now_us, repair=True)
                covered_to = max(covered_to, row.agg_id)
        again_us = now_us + self._config.ask_again_us
        for hole in self._holes:
            if hole.from_id >= fetch.from_id and (exhausted or hole.from_id < covered_to):
                hole.answered = True
                hole.ask_us = again_us
                hole.reason = "the venue's REST does not have them"
            elif progress and not hole.answered and hole.deadline_us is not None:
                hole.deadline_us = max(hole.deadline_us, now_us + self._config.hold_us)
        if fetch.to_id is None and not exhausted and covered_to == self._top_id:
            self._tail_us = now_us
        self._limit_hold()

    def fetch_failed(
        self, fetch: FetchAggTrades, why: str, now_us: int, *, retry_us: int, blocked: bool = False
    ) -> None:
        """Take note that `fetch` got no answer and that REST may be asked again at `retry_us`.

        With `blocked` the venue itself named the time; holds are prolonged to reach it if it lies
        within `patience_us`.
        """
        self._close(fetch)
        self._rest_free_us = retry_us
        for hole in self._holes:
            hole.reason = why
        if fetch.to_id is None and self._top_id < fetch.from_id:
            self._tail_us = now_us
        if blocked and retry_us - now_us <= self._config.patience_us:
            self._blocked_us = retry_us

    def poll(self, now_us: int) -> None:
        """Declare what cannot be waited for any longer, and ask for what is due."""
        while self._holes and now_us >= self._expiry_us(self._holes[0]):
            self._give_up()
        if self._asked is not None or now_us < self._rest_free_us:
            return
        due = (hole for hole in self._holes if hole.deadline_us is not None)
        first = next((hole for hole in due if hole.ask_us <= now_us), None)
        if first is not None:
            to_id = first.to_id
            for hole in due:
                if hole.to_id >= first.from_id + self._config.page_ids:
                    break
                if hole.ask_us <= now_us:
                    to_id = hole.to_id
            self._ask(FetchAggTrades(first.from_id, to_id))
        elif self._tail_us is not None and self._tail_us <= now_us:
            self._tail_us = None
            self._ask(FetchAggTrades(self._top_id + 1, None))

    def give_up(self, reason: str) -> None:
        """Declare everything missing now, so that nothing waits any more."""
        while self._holes:
            self._give_up(reason)
        self._tail_us = None

    def wake_us(self) -> int | None:
        """Return when `poll` has something to do, or None."""
        times: list[int] = []
        if self._holes:
            times.append(self._expiry_us(self._holes[0]))
        if self._asked is None:
            asks = [hole.ask_us for hole in self._holes if hole.deadline_us is not None]
            if self._tail_us is not None:
                asks.append(self._tail_us)
            if asks:
                times.append(max(min(asks), self._rest_free_us))
        return min(times, default=None)

    def effects(self) -> list[FetchAggTrades]:
        """Return what is to be asked of REST, each request once."""
        effects, self._effects = self._effects, []
        return effects

    def take(self) -> list[Ready]:
        """Return what is in its final order, each item once."""
        ready, self._ready = self._ready, []
        return ready

    def _insert(self, row: Row, now_us: int, *, repair: bool) -> bool:
        agg_id = row.agg_id
        if self._last_id is None:
            self._last_id = self._top_id = agg_id - 1
            self._start_after = agg_id - 1
        if agg_id <= self._last_id:
            self._look_back(row, repair=repair)
            return False
        if agg_id > self._top_id:
            if agg_id > self._top_id + 1:
                self._open_hole(self._top_id + 1, agg_id - 1, now_us)
            self._top_id = agg_id
        elif (kept := self._held.get(agg_id)) is not None:
            self._compare(kept, row, repair=repair)
            return False
        else:
            self._split_hole(agg_id, now_us, repair=repair)
        self._held[agg_id] = row
        self.counts.repaired += repair
        self._release()
        return True

    def _look_back(self, row: Row, *, repair: bool) -> None:
        agg_id = row.agg_id
        assert self._last_id is not None
        if not repair and agg_id < self._last_id - self._config.remembered_ids:
            raise self._regression(agg_id)
        if self._start_after is not None and agg_id <= self._start_after:
            self.counts.duplicates += not repair
        elif (kept := self._memory.find(agg_id)) is not None:
            self._compare(kept, row, repair=repair)
            return
        else:
            self.counts.late += 1
            self.strays.append(Stray(row, None))
        if not repair:
            self._late_run += 1
            if self._late_run > LATE_RUN_MAX:
                raise self._regression(agg_id)

    def _regression(self, agg_id: int) -> SourceError:
        return SourceError(
            f"aggregate id {agg_id} lies far below the last one, {self._last_id}: the venue counts "
            "anew or this is another market; start a new recording"
        )

    def _compare(self, kept: Row, row: Row, *, repair: bool) -> None:
        if same_trade(kept, row):
            self.counts.duplicates += not repair
        else:
            self.counts.conflicts += 1
            self.strays.append(Stray(row, kept))

    def _open_hole(self, from_id: int, to_id: int, now_us: int) -> None:
        count = to_id - from_id + 1
        if count > self._config.backfill_ids:
            reason = f"{count} missing trades are more than {self._config.backfill_ids}"
            self._holes.append(_Hole(from_id, to_id, None, now_us, reason))
            return
        deadline_us = now_us + self._config.hold_us
        ask_us = now_us + self._config.ask_after_us
        self._holes.append(_Hole(from_id, to_id, deadline_us, ask_us, "REST was not asked in time"))

    def _split_hole(self, agg_id: int, now_us: int, *, repair: bool) -> None:
        at = bisect_left(self._holes, agg_id + 1, key=lambda hole: hole.from_id) - 1
        hole = self._holes[at]
        if repair and hole.deadline_us is not None:
            hole.deadline_us = now_us + self._config.hold_us
            hole.ask_us = now_us
        if hole.from_id == hole.to_id:
            del self._holes[at]
        elif agg_id == hole.from_id:
            hole.from_id += 1
        elif agg_id == hole.to_id:
            hole.to_id -= 1
        else:
            self._holes.insert(at + 1, replace(hole, from_id=agg_id + 1))
            hole.to_id = agg_id - 1

    def _release(self) -> None:
        assert self._last_id is not None
        stop = self._holes[0].from_id if self._holes else self._top_id + 1
        for agg_id in range(self._last_id + 1, stop):
            row = self._held.pop(agg_id)
            self._memory.keep(row)
            if row.void:
                self.counts.voids += 1
            else:
                self._ready.append(row)
        self._last_id = stop - 1

    def _give_up(self, reason: str | None = None) -> None:
        hole = self._holes.pop(0)
        self._ready.append(Gap(hole.from_id, hole.to_id, reason or hole.reason))
        self.counts.gaps += 1
        self.counts.missing += hole.to_id - hole.from_id + 1
        self._last_id = hole.to_id
        self._release()

    def _limit_hold(self) -> None:
        while self._holes and len(self._held) > self._config.hold_rows:
            self._give_up(f"over {self._config.hold_rows} trades waited for them")

    def _expiry_us(self, hole: _Hole) -> int:
        if hole.deadline_us is None:
            return 0
        if self._blocked_us is None:
            return hole.deadline_us
        return max(hole.deadline_us, self._blocked_us + self._config.hold_us)

    def _ask(self, fetch: FetchAggTrades) -> None:
        self._asked = fetch
        self._effects.append(fetch)

    def _close(self, fetch: FetchAggTrades) -> None:
        if fetch != self._asked:
            raise ValueError(f"{fetch} was not asked for")
        self._asked = None
