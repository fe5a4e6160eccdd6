"""What the sequencer must do, id by id and without any structure to be wrong about."""

from flowtape.connectors.binance.rows import Row, same_trade
from flowtape.connectors.binance.sequencer import FetchAggTrades, SequencerConfig

Out = Row | tuple[int, int]


class ReferenceSequencer:
    """Rows in any order to `out`: rows in order, and the first and last id of what was given up.

    An id above `last` has arrived or is missing. A run of missing ids is given up when its deadline
    passes, when too many rows wait behind it, or at once when it is too long to be asked for.
    """

    def __init__(self, config: SequencerConfig, start_after: int) -> None:
        self.config = config
        self.start = self.last = self.top = start_after
        self.arrived: dict[int, Row] = {}
        self.deadline: dict[int, int | None] = {}
        self.answered: set[int] = set()
        self.blocked_us = -(10**9)
        self.remembered: dict[int, Row] = {}
        self.out: list[Out] = []
        self.duplicates = self.conflicts = self.late = self.voids = self.repaired = 0

    def receive(self, row: Row, now_us: int) -> None:
        self._arrive(row, now_us, repair=False)
        self._limit()

    def page(self, fetch: FetchAggTrades, rows: list[Row], now_us: int, *, exhausted: bool) -> None:
        before = len(self.arrived)
        for row in rows:
            run = self._run(row.agg_id)
            if run and self.deadline[row.agg_id] is not None:
                self.deadline.update(dict.fromkeys(run, now_us + self.config.hold_us))
            self._arrive(row, now_us, repair=True)
        covered_to = max((row.agg_id for row in rows), default=fetch.from_id - 1)
        for run in self._runs():
            if run[0] >= fetch.from_id and (exhausted or run[0] < covered_to):
                self.answered.update(run)
            elif len(self.arrived) > before and run[0] not in self.answered:
                until_us = self.deadline[run[0]]
                if until_us is not None:
                    longer_us = max(until_us, now_us + self.config.hold_us)
                    self.deadline.update(dict.fromkeys(run, longer_us))
        self._limit()

    def blocked(self, until_us: int, now_us: int) -> None:
        if until_us - now_us <= self.config.patience_us:
            self.blocked_us = until_us

    def poll(self, now_us: int) -> None:
        while self.last < self.top:
            until_us = self.deadline[self.last + 1]
            hold_us = self.blocked_us + self.config.hold_us
            if until_us is not None and now_us < max(until_us, hold_us):
                break
            self._give_up()

    def _arrive(self, row: Row, now_us: int, *, repair: bool) -> None:
        agg_id = row.agg_id
        known = self.arrived.get(agg_id)
        if agg_id <= self.last:
            known = self.remembered.get(agg_id % self.config.remembered_ids)
            if agg_id > self.start and (known is None or known.agg_id != agg_id):
                self.late += 1
                return
        if agg_id <= self.start or (known and same_trade(known, row)):
            self.duplicates += not repair
        elif known:
            self.conflicts += 1
        else:
            jump = range(self.top + 1, agg_id)
            asked = len(jump) <= self.config.backfill_ids
            until_us = now_us + self.config.hold_us if asked else None
            self.deadline.update(dict.fromkeys(jump, until_us))
            self.top = max(self.top, agg_id)
            self.arrived[agg_id] = row
            self.repaired += repair
            self._release()

    def _missing(self, agg_id: int) -> bool:
        return self.last < agg_id <= self.top and agg_id not in self.arrived

    def _run(self, agg_id: int) -> list[int]:
        if not self._missing(agg_id):
            return []
        low = high = agg_id
        while self._missing(low - 1):
            low -= 1
        while self._missing(high + 1):
            high += 1
        return list(range(low, high + 1))

    def _runs(self) -> list[list[int]]:
        first = (a for a in range(self.last + 1, self.top) if not self._missing(a - 1))
        return [run for run in map(self._run, first) if run]

    def _release(self) -> None:
        while self.last + 1 in self.arrived:
            self.last += 1
            row = self.arrived[self.last]
            self.remembered[self.last % self.config.remembered_ids] = row
            self.voids += row.void
            if not row.void:
                self.out.append(row)

    def _give_up(self) -> None:
        run = self._run(self.last + 1)
        self.out.append((run[0], run[-1]))
        self.last = run[-1]
        self._release()

    def _limit(self) -> None:
        while self.last < self.top:
            if sum(a > self.last for a in self.arrived) <= self.config.hold_rows:
                break
            self._give_up()
