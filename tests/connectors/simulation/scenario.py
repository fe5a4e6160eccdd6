"""What happens in one scenario, drawn from one seed before it begins."""

import random
from dataclasses import dataclass

import numpy as np

from flowtape.connectors.binance.rows import Row, rows_of
from flowtape.connectors.binance.sequencer import SequencerConfig
from flowtape.connectors.binance.source_types import SourceTimes
from flowtape.connectors.venue.connection import ConnectionRules
from flowtape.connectors.venue.faults import (
    Abort,
    Backdate,
    Close,
    Delay,
    Drop,
    Duplicate,
    Fault,
    Forget,
    Garble,
    Halt,
    Hold,
    Lag,
    Mute,
    Refilter,
    Refuse,
    Shutdown,
    Skew,
    Stall,
    Void,
)
from flowtape.stream.instrument import Instrument
from flowtape.stream.trades import Trades
from tests.connectors.simulation.network import Line

START_US = 1_760_000_000_000_000
FIRST_ID = 1_000
CALM_S = 2.0
"""Nothing goes wrong before, so that the first connection stands."""

REST_KINDS = (
    "error", "html", "limited", "banned", "forbidden", "nonsense", "broken off", "unanswered",
    "refused", "late", "behind", "with holes",
)  # fmt: skip
LINE_KINDS = ("reset", "half open", "refused", "unanswered", "leap", "busy", "slow line")
GARBLES = (
    "truncated", "garbage", "binary", "wrong_types", "missing_key", "new_keys", "unknown_event",
    "other_unit", "oversized",
)  # fmt: skip
CLOSES = (
    (1000, ""), (1001, ""), (1008, "Pong timeout"), (1008, "Too many requests"),
    (1011, "internal error"), (1012, ""), (1013, "try again later"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class RestTrouble:
    """How REST answers between two times; `amount` is seconds, or rows, by kind."""

    from_s: float
    to_s: float
    kind: str
    amount: float


@dataclass(frozen=True, slots=True)
class LineTrouble:
    """What befalls the connections of the stream, the machine or the consumer."""

    at_s: float
    for_s: float
    kind: str


@dataclass(frozen=True, slots=True)
class Step:
    """So many trades happen at a time."""

    at_s: float
    count: int


@dataclass(frozen=True, slots=True)
class Scenario:
    """One seed's market, pace, troubles and settings; times are seconds since the start."""

    seed: int
    instrument: Instrument
    trades: Trades
    happened_count: int
    start_after: int | None
    steps: tuple[Step, ...]
    faults: tuple[Fault, ...]
    rest: tuple[RestTrouble, ...]
    line: tuple[LineTrouble, ...]
    way: Line
    rules: ConnectionRules
    silence_s: float
    times: SourceTimes
    sequencing: SequencerConfig

    @property
    def rows(self) -> list[Row]:
        """Return the rows as a client is to see them."""
        return [self._seen(row) for row in rows_of(self.trades)]

    def _seen(self, row: Row) -> Row:
        ts_us, price_ticks, qty_lots = row.ts_us, row.price_ticks, row.qty_lots
        for fault in self.faults:
            if isinstance(fault, Backdate) and fault.from_id <= row.agg_id <= fault.to_id:
                ts_us -= fault.by_ms * 1_000
            if isinstance(fault, Void) and fault.from_id <= row.agg_id <= fault.to_id:
                price_ticks = qty_lots = 0
        if self.instrument.market == "um":  # which knows no microseconds
            ts_us = ts_us // 1_000 * 1_000
        ids = (row.first_id, row.last_id, row.is_buyer_maker)
        return Row(row.agg_id, ts_us, price_ticks, qty_lots, *ids)

    @property
    def lost(self) -> set[int]:
        """Return the ids that neither the stream nor REST ever has."""
        return {
            agg_id
            for fault in self.faults
            if isinstance(fault, Drop) and fault.everywhere
            for agg_id in range(fault.from_id, fault.to_id + 1)
        }

    @property
    def troubled_until_s(self) -> float:
        """Return when the last trade has happened and the last trouble is over."""
        ends = [step.at_s for step in self.steps] + [trouble.to_s for trouble in self.rest]
        return max(ends + [trouble.at_s + trouble.for_s for trouble in self.line])

    def told(self) -> list[str]:
        """Return the scenario in words, a line each."""
        lines = [
            f"seed {self.seed}: {self.instrument.market}, {len(self.trades)} trades, of which "
            f"{self.happened_count} before the start; start after {self.start_after}",
            f"{self.way}",
            f"{self.times}, silence_s={self.silence_s}",
            f"{self.sequencing}",
            f"{self.rules}",
        ]
        return lines + [str(item) for item in (*self.faults, *self.rest, *self.line)]


def draw(seed: int) -> Scenario:
    """Return the scenario of a seed."""
    rng, others = random.Random(seed), random.Random(-seed - 1)
    market = rng.choice(["spot", "um"])
    behind = rng.choice([0, 0, 1, 40, 40, 1_100]) if rng.random() < 0.95 else 4_200
    steps, until_s = _steps(rng)
    count = behind + sum(step.count for step in steps)
    known = rng.random() < 0.8
    return Scenario(
        seed=seed,
        instrument=Instrument(
            "BTCUSDT",
            market,
            price_decimals=rng.choice([1, 2]),
            qty_decimals=rng.choice([3, 5]) if market == "spot" else 3,
        ),
        trades=make_trades(rng, behind, steps, count),
        happened_count=behind,
        start_after=FIRST_ID + rng.randint(0, behind) - 1 if known else None,
        steps=steps,
        faults=(
            *_faults(rng, FIRST_ID + behind, count - behind),
            *_changes_of_rules(others, FIRST_ID + behind, count - behind),
        ),
        rest=_rest_troubles(rng, until_s),
        line=_line_troubles(rng, until_s),
        way=rng.choice(
            [
                Line(0.001),
                Line(0.02, 0.01),
                Line(0.1, 0.3),
                Line(0.05, 0.5),
                Line(0.05, 0.0, rng.choice([20_000.0, 200_000.0])),
            ]
        ),
        rules=ConnectionRules(ping_s=rng.choice([1.0, 5.0, 20.0]), messages_per_s=5),
        **_settings(rng, others),
    )


def _settings(rng: random.Random, others: random.Random) -> dict[str, object]:
    silence_s = rng.choice([2.0, 5.0, 10.0, 30.0])
    return {
        "silence_s": silence_s,
        "times": SourceTimes(
            ping_s=rng.choice([2.0, 5.0, 20.0]),
            quiet_s=rng.choice([0.1, 0.5, 1.0]) if silence_s < 10.0 else 1.0,
            rotate_s=rng.choice([2.0, 4.0, 10.0, 84_600.0, 84_600.0]),
            stable_s=rng.choice([2.0, 30.0]),
            connect_s=rng.choice([2.0, 10.0]),
            request_s=rng.choice([2.0, 10.0]),
            rules_s=others.choice([1.0, 4.0, 20.0, 3_600.0]),
        ),
        "sequencing": SequencerConfig(
            hold_us=rng.choice([5_000_000, 10_000_000, 20_000_000]),
            hold_rows=rng.choice([30, 200_000, 200_000, 200_000]),
            backfill_ids=rng.choice([60, 5_000_000, 5_000_000, 5_000_000]),
            remembered_ids=8_192,
        ),
    }


def _changes_of_rules(rng: random.Random, first_id: int, count: int) -> tuple[Fault, ...]:
    if rng.random() < 0.5:
        return ()
    return tuple(
        Refilter(
            filter="LOT_SIZE",
            values={"minQty": rng.choice(["0.002", "0.010", "3.000"])},
            at=first_id + rng.randrange(max(1, count)),
        )
        for _ in range(rng.choice([1, 2, 6]))
    )


def _steps(rng: random.Random) -> tuple[tuple[Step, ...], float]:
    steps: list[Step] = []
    at_s = rng.uniform(0.0, 0.5)
    until_s = rng.uniform(5.0, 40.0)
    pause_s = rng.choice([0.05, 0.2, 1.0])
    count = 0
    while at_s < until_s and count < 300:
        burst = rng.random() < 0.03
        size = rng.randint(20, 80) if burst else rng.randint(1, 4)
        steps.append(Step(at_s, size))
        count += size
        quiet = rng.random() < 0.02
        at_s += rng.uniform(1.0, 12.0) if quiet else rng.expovariate(1 / pause_s)
    return tuple(steps), steps[-1].at_s


def make_trades(rng: random.Random, behind: int, steps: tuple[Step, ...], count: int) -> Trades:
    times: list[int] = [START_US - (behind - i) * 1_000 for i in range(behind)]
    shift_us, before_us = 0, START_US
    for step in steps:
        if rng.random() < 0.01:
            shift_us += rng.choice([-1, 1]) * rng.randint(1, 5_000_000)
        now_us = START_US + int(step.at_s * 1e6)
        drawn = [rng.randint(before_us, max(before_us, now_us)) for _ in range(step.count)]
        if rng.random() < 0.9:
            drawn.sort()
        times += [time_us + shift_us for time_us in drawn]
        before_us = max(before_us, now_us)
    numbers = np.random.default_rng(rng.getrandbits(32))
    lasts = np.cumsum(numbers.integers(1, 4, count)) + 9_000_000
    prices = 6_468_262 + np.cumsum(numbers.integers(-3, 4, count))
    void = numbers.random(count) < 0.01
    return Trades(
        agg_id=np.arange(FIRST_ID, FIRST_ID + count),
        ts_us=np.array(times, np.int64),
        price_ticks=np.where(void, 0, prices),
        qty_lots=np.where(void, 0, numbers.integers(1, 500_000, count)),
        first_id=np.concatenate([[9_000_000], lasts[:-1] + 1])[:count],
        last_id=lasts,
        side=np.where(numbers.random(count) < 0.5, 1, -1).astype(np.int8),
    )


def _faults(rng: random.Random, first_id: int, count: int) -> tuple[Fault, ...]:
    def at() -> int:
        return first_id + rng.randrange(count)

    def drop(everywhere: bool) -> Drop:
        from_id = at()
        return Drop(from_id, from_id + rng.choice([0, 3, 30, 90]), everywhere)

    def span() -> tuple[int, int]:
        from_id = at()
        return from_id, from_id + rng.choice([0, 5, 40])

    kinds = [
        lambda: drop(everywhere=False),
        lambda: drop(everywhere=rng.random() < 0.5),
        lambda: Duplicate(at(), rng.randint(1, 3), differs=rng.random() < 0.3),
        lambda: Delay(at(), rng.randint(1, 20)),
        lambda: Garble(at(), rng.choice(GARBLES)),
        lambda: Abort(at()),
        lambda: Close(at(), *rng.choice(CLOSES)),
        lambda: Stall(at()),
        lambda: Shutdown(at()),
        lambda: Mute(at()),
        lambda: Hold(at(), rng.choice([0.5, 3.0, 12.0])),
        lambda: Halt(at(), rng.choice([1.0, 20.0]), rng.choice(["BREAK", "HALT"])),
        lambda: Skew(at(), rng.choice([-5_000, -300, 150, 4_000])),
        lambda: Refuse(at(), rng.choice([403, 418, 429, 500, 503]), rng.randint(1, 4), 7),
        lambda: Void(*span()),
        lambda: Backdate(*span(), rng.choice([1, 900, 60_000])),
        lambda: Lag(at(), rng.choice([1, 20, 300]), rng.randint(1, 8)),
        lambda: Forget(at(), rng.choice([20, 200])),
    ]
    if rng.random() < 0.1:
        return ()
    return tuple(rng.choice(kinds)() for _ in range(rng.choice([1, 3, 6, 12])))


def _rest_troubles(rng: random.Random, until_s: float) -> tuple[RestTrouble, ...]:
    if rng.random() < 0.25:
        return ()
    troubles = []
    for _ in range(rng.randint(1, 4)):
        kind = rng.choice(REST_KINDS)
        amount = {
            "limited": rng.choice([1, 5, 20, 90]),
            "banned": rng.choice([10, 120]),
            "late": rng.choice([0.2, 1.0, 4.0, 15.0]),
            "behind": rng.choice([1, 10, 100]),
            "with holes": rng.choice([2, 5]),
        }.get(kind, 0)
        from_s = rng.uniform(0.0, until_s)
        troubles.append(
            RestTrouble(from_s, from_s + rng.choice([0.5, 3.0, 6.0, 12.0]), kind, amount)
        )
    return tuple(troubles)


def _line_troubles(rng: random.Random, until_s: float) -> tuple[LineTrouble, ...]:
    if rng.random() < 0.4:
        return ()
    return tuple(
        LineTrouble(
            rng.uniform(CALM_S, CALM_S + until_s),
            rng.choice([0.3, 2.0, 8.0, 20.0]),
            rng.choice(LINE_KINDS),
        )
        for _ in range(rng.randint(1, 4))
    )
