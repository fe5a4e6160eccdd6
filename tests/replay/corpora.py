"""Small markets with people and a strategy in them, made from a seed, for tests of whole sessions.

`quiet` has long pauses, clocks and gaps; `normal` is an ordinary market; `cascade` has bursts of
trades at one time, late trades, marks and funding on an isolated account, and a venue that changes
its rules.
"""

import random
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import pytest

from flowtape.replay.verifying import words
from flowtape.stream import chain, checkpoints, input_log, recording, waypoints
from flowtape.stream.commands import Origin
from flowtape.stream.config import Decide, EngineConfig
from flowtape.stream.desk import carry_out
from flowtape.stream.engine import Engine
from flowtape.stream.errors import FlowError
from flowtape.stream.execution import AccountKind, VenueRules
from flowtape.stream.inputs import Inputs
from flowtape.stream.instrument import Instrument
from flowtape.stream.orderflow import OrderFlow
from flowtape.stream.orders import Request
from flowtape.stream.ports import Clock, Event, Funding, Gap, Mark, Rules, Ticket
from flowtape.stream.session import Session
from flowtape.stream.strategy import Market, Orders, Strategy
from flowtape.stream.trades import Trades

INSTRUMENT = Instrument("TESTUSDT", "um", 2, 3)
START_US = 1_767_225_600_000_000
FIRST_ID = 7_000

PAUSE_US = 30_000_000
"""A venue's clock is heard within longer pauses."""

BLOCK_INPUTS = 2_048
"""Inputs of a block in these tests, so that small sessions have many links."""

AHEAD_US = 15_625
"""People's clocks run so many of these ahead of stream time: seconds that floats hold exactly."""


@dataclass
class Mixed(Strategy):
    """Keeps what it saw, trades by it with brackets, limits, amendments and cancels."""

    decide: ClassVar[Decide] = Decide(grid_us=300_000_000, trades_count=199, on_fill=True)
    plain: ClassVar[bool] = True
    """Whether it keeps plain values only; with another a checkpoint cannot remember it."""

    lots: int = 40
    seed: int = 11

    def on_start(self, market: Market) -> None:
        self.calls = self.refused = self.filled_lots = self.bubble_lots = 0
        self.seen: deque[int] = deque(maxlen=24)
        self.placed_at: dict[int, int] = {}
        self.rng = np.random.default_rng(self.seed)
        self.odd = None if self.plain else lambda: None
        market.set_anchor(1)

    def on_decision(self, market: Market, orders: Orders) -> None:
        self.calls += 1
        self.seen.append(market.last_ticks)
        self.filled_lots += int(market.new_fills["qty_lots"].sum())
        self.bubble_lots += int(market.new_bubbles["qty_lots"].sum())
        try:
            self._act(market, orders)
        except FlowError:
            self.refused += 1

    def _act(self, market: Market, orders: Orders) -> None:
        last, draw = market.last_ticks, int(self.rng.integers(0, 20))
        lots = self.lots + (self.filled_lots + self.bubble_lots + len(market.bars)) % 17
        if len(self.placed_at) > 9:
            gone, self.placed_at = self.placed_at, {}
            for order_id in orders.open()["order_id"].tolist():
                if order_id in gone:
                    orders.cancel(order_id)
        elif draw == 0:
            entry = Request(side=1 if last >= min(self.seen) else -1, qty_lots=lots)
            far = 6 * entry.side
            orders.bracket(entry, take_profit_ticks=last + far, stop_ticks=last - far)
        elif draw < 5:
            self.placed_at[orders.buy(lots, last - draw)] = self.calls
        elif draw < 9:
            self.placed_at[orders.sell(lots, last + draw - 4)] = self.calls
        elif draw == 9 and self.placed_at:
            orders.amend(next(iter(self.placed_at)), limit_ticks=last - 1)
        elif draw == 10 and self.calls % 5 == 0:
            self.placed_at.clear()
            orders.flatten(market.position_lots)
        elif draw == 11:
            market.set_anchor(self.calls % 4)


@dataclass(frozen=True, slots=True)
class Asked:
    """What a person asks for behind an input, `ahead_us` later than stream time.

    `command_count` is how many records of commands it makes; 0: it is refused.
    """

    input: int
    ticket: Ticket
    ahead_us: int
    command_count: int

    def of(self, engine: Engine) -> int | None:
        """Ask an engine that stands there; returns the order's number, None when refused."""
        try:
            return carry_out(engine, self.ticket, self.clock_us(engine))
        except FlowError:
            return None

    def rest_of(self, engine: Engine, done_count: int) -> int | None:
        """Do what is left to do when so many of its commands were done."""
        if not done_count:
            return self.of(engine)
        assert self.ticket.kind == "flatten"
        position_lots = int(engine.snapshot["position_lots"])
        close = Request(
            side=-1 if position_lots > 0 else 1, qty_lots=abs(position_lots), reduce_only=True
        )
        order_id = engine.orders_of_person(self.clock_us(engine)).place(close)[0]
        engine.show()
        return order_id

    def clock_us(self, engine: Engine) -> int:
        """Return the time at which the person asks."""
        return int(engine.snapshot["stream_us"]) + self.ahead_us


@dataclass(frozen=True, slots=True, eq=False)
class Corpus:
    """A market's events, with the number of the first input of each, and people in it."""

    name: str
    config: EngineConfig
    events: tuple[tuple[int, Event], ...]
    asked: tuple[Asked, ...]
    input_count: int
    digest: str
    """Of an engine that nobody kept, and which had every event whole."""

    def steps(
        self, sizes: Sequence[int], seed: int, behind: int = 0, first_asked: int = 0
    ) -> Iterator[Event | Asked]:
        """Yield what happens behind an input, trades in pieces of `sizes` drawn by `seed`."""
        rng = random.Random(seed)
        people = deque(self.asked[first_asked:])
        for first, event in self.events:
            at, stop = 0, len(event) if isinstance(event, Trades) else 1
            at = min(max(behind + 1 - first, 0), stop)
            while at < stop:
                while people and people[0].input < first + at:
                    yield people.popleft()
                size = rng.choice(sizes)
                if people:
                    size = min(size, people[0].input + 1 - first - at)
                piece = min(at + size, stop)
                yield event.slice(at, piece) if isinstance(event, Trades) else event
                at = piece
        yield from people

    def left_to_ask(self, engine: Engine) -> tuple[int, int]:
        """Return how many tickets an engine has had, and how many commands of the next one."""
        commands = engine.ledger.commands.all()
        done = int(np.count_nonzero(commands["origin"] == Origin.PERSON))
        for number, asked in enumerate(self.asked):
            here = asked.input == engine.input
            if asked.input > engine.input or (here and done < max(asked.command_count, 1)):
                assert not done or here
                return number, done
            done -= asked.command_count
        assert not done
        return len(self.asked), 0

    def trades(self) -> Trades:
        """Return all trades, as the tape of this market has them."""
        return Trades.concat([event for _, event in self.events if isinstance(event, Trades)])


NAMES = ("quiet", "normal", "cascade")


def live_corpus(name: str, trades_count: int, *, seed: int = 1, people_count: int = 40) -> Corpus:
    """Return a market as a live source tells of it."""
    rng = np.random.default_rng([NAMES.index(name), seed])
    trades = {"quiet": _quiet, "normal": _normal, "cascade": _cascade}[name](rng, trades_count)
    return _with_people(name, _config(name), _events(name, rng, trades), people_count, seed)


def tape_corpus(live: Corpus, *, seed: int = 1, people_count: int = 40) -> Corpus:
    """Return the trades alone of a live market, with people who ask at stream time."""
    return _with_people(
        f"{live.name} tape", live.config, [live.trades()], people_count, seed, ahead_max=0
    )


def _config(name: str) -> EngineConfig:
    isolated: dict[str, Any] = {"account": AccountKind.ISOLATED, "leverage": 10}
    return EngineConfig(
        equity_grid_us=30_000_000,
        bubble_band_ticks=12,
        latency_us=(2_000, 9_000, 40_000, 700_000),
        orderflow=OrderFlow(vwap=True),
        decide=Mixed.decide,
        initial_cash="20000",
        **(isolated if name == "cascade" else {}),
    )


def _made(rng: np.random.Generator, ts_us: Any, steps: Any, side: Any) -> Trades:
    count = len(ts_us)
    ids = np.arange(FIRST_ID, FIRST_ID + count)
    return Trades(
        ids,
        START_US + ts_us.astype(np.int64),
        np.maximum(100_000 + np.cumsum(steps), 50_000).astype(np.int64),
        rng.integers(1, 900, count),
        ids * 2,
        ids * 2 + 1,
        side.astype(np.int8),
    )


def _sides(rng: np.random.Generator, count: int) -> Any:
    return np.where(np.cumsum(rng.random(count) < 0.2) % 2 == 0, 1, -1)


def _quiet(rng: np.random.Generator, count: int) -> Trades:
    gaps = rng.exponential(400_000, count)
    pauses = rng.random(count) < 0.003
    gaps[pauses] += rng.uniform(60e6, 900e6, int(pauses.sum()))
    side = _sides(rng, count)
    return _made(rng, np.cumsum(gaps), side * (rng.random(count) < 0.25), side)


def _normal(rng: np.random.Generator, count: int) -> Trades:
    gaps = rng.exponential(60_000, count) * (rng.random(count) < 0.6)
    ts_us = np.cumsum(gaps)
    ts_us[rng.random(count) < 0.002] -= 900
    side = _sides(rng, count)
    return _made(rng, np.maximum(ts_us, 0), side * (rng.random(count) < 0.4), side)


def _cascade(rng: np.random.Generator, count: int) -> Trades:
    burst = np.cumsum(rng.random(count) < 0.01) % 3 == 0
    moves = rng.random(count) < np.where(burst, 0.02, 0.7)
    ts_us = np.cumsum(rng.exponential(20_000, count) * moves)
    late = rng.random(count) < 0.03
    ts_us[late] -= rng.uniform(0, 40_000, int(late.sum()))
    side = np.where(burst, np.where(np.arange(count) // 4000 % 2, 1, -1), _sides(rng, count))
    drift = side * (rng.random(count) < np.where(burst, 0.8, 0.4))
    return _made(rng, np.maximum(ts_us, 0), drift, side)


def _events(name: str, rng: np.random.Generator, trades: Trades) -> list[Event]:
    """Cut trades into pieces of odd sizes and say between them what else a venue says."""
    events: list[Event] = []
    rules = VenueRules()
    if name == "cascade":
        events.append(Mark(START_US, int(trades.price_ticks[0])))
    at = lost = 0
    while at < len(trades):
        stop = min(at + int(rng.choice([1, 2, 3, 17, 90, 700])), len(trades))
        if name == "quiet":
            pauses = np.flatnonzero(np.diff(trades.ts_us[at : stop + 1]) > PAUSE_US)
            stop = at + int(pauses[0]) + 1 if len(pauses) else stop
        piece = trades.slice(at, stop)
        for name_of_ids in ("agg_id", "first_id", "last_id"):
            np.add(getattr(piece, name_of_ids), lost, out=getattr(piece, name_of_ids))
        events.append(piece)
        at, now_us = stop, int(piece.ts_us.max())
        if at == len(trades):
            break
        if name == "quiet":
            pause_us = int(trades.ts_us[at]) - now_us
            if pause_us > PAUSE_US:
                events += [Clock(now_us + pause_us * part // 4) for part in (1, 2, 3)]
                events.append(Clock(now_us))
            if rng.random() < 0.03:
                first = int(piece.agg_id[-1]) + 1
                events.append(Gap(first, first + 39, "nobody has them"))
                lost += 40
        elif name == "normal":
            events += [Clock(now_us + 1_000)] * int(rng.random() < 0.1)
        elif rng.random() < 0.4:
            mark_ticks = int(piece.price_ticks[-1]) + int(rng.integers(-3, 4))
            events.append(Mark(now_us - int(rng.integers(0, 5_000)), mark_ticks))
            if rng.random() < 0.2:
                events.append(Funding(now_us, int(rng.integers(-100_000, 100_000))))
            if rng.random() < 0.2:
                rules = _changed(rng, rules)
                events.append(Rules(0, rules))
    return events


_RULES = {
    "price_step_ticks": (1, 2),
    "qty_step_lots": (1, 2),
    "qty_min_lots": (0, 12),
    "qty_max_lots": (0, 90),
    "price_down_ppm": (0, 999_900),
}


def _changed(rng: np.random.Generator, rules: VenueRules) -> VenueRules:
    """Return rules of which one is another."""
    name = str(rng.choice(list(_RULES)))
    one, other = _RULES[name]
    return replace(rules, **{name: other if getattr(rules, name) == one else one})


def _with_people(
    name: str,
    config: EngineConfig,
    events: list[Event],
    people_count: int,
    seed: int,
    *,
    ahead_max: int = 40,
) -> Corpus:
    """Run a market once with people in it who know what they see, and keep what they asked for."""
    rng = np.random.default_rng([seed, people_count])
    numbered, settled, count = _numbered(events)
    wanted = _places(rng, settled, count, people_count)
    if ahead_max == 0:
        # A tape's clock stands at its first trade from the start, and ends with its last one.
        wanted = np.clip(wanted, 1, count - 1)
    engine = Engine(INSTRUMENT, config, Mixed(), shown=False)
    people = [Asked(int(at), Ticket("flatten"), 0, 0) for at in wanted]
    plan = Corpus(name, config, tuple(numbered), tuple(people), count + 1, "")
    asked: list[Asked] = []
    for step in plan.steps((1 << 30,), 0):
        if not isinstance(step, Asked):
            engine.apply_event(step)
            continue
        ahead_us = AHEAD_US * int(rng.integers(0, ahead_max + 1)) if step.input else 0
        before = engine.ledger.commands.head
        now = Asked(step.input, _wish(rng, engine, len(asked)), ahead_us, 0)
        now.of(engine)
        made = engine.ledger.commands.head - before
        asked.append(Asked(now.input, now.ticket, ahead_us, made))
    engine.end()
    return Corpus(name, config, tuple(numbered), tuple(asked), count + 1, engine.digest())


def _numbered(events: list[Event]) -> tuple[list[tuple[int, Event]], list[int], int]:
    """Number the inputs of events; also name those at which a source's clock is stream time."""
    numbered: list[tuple[int, Event]] = []
    settled, count, stream_us = [0], 0, 0
    for event in events:
        numbered.append((count + 1, event))
        if isinstance(event, Rules):
            settled.append(count + 1)
            count += 1
            continue
        inputs = Inputs.of(event, 0, stream_us)
        if isinstance(event, Trades):
            running = np.maximum(np.maximum.accumulate(event.ts_us), stream_us)
            settled += (count + 1 + np.flatnonzero(running == event.ts_us)).tolist()
            stream_us = int(running[-1])
        elif len(inputs):
            stream_us = max(stream_us, getattr(event, "ts_us", 0))
            settled.append(count + 1)
        count += len(inputs)
    return numbered, settled, count


def _places(
    rng: np.random.Generator, settled: list[int], count: int, people_count: int
) -> np.ndarray:
    """Choose inputs: anywhere, at both sides of the ends of blocks, at the beginning and end."""
    places = np.array(settled)
    chosen = [rng.choice(places, people_count - 8)]
    for at in (0, *range(BLOCK_INPUTS, count, BLOCK_INPUTS), count):
        near = places[np.argmin(np.abs(places - at))]
        chosen.append(np.repeat(near, 2 if at % 3 else 1))
    return np.sort(np.concatenate(chosen))


def _wish(rng: np.random.Generator, engine: Engine, number: int) -> Ticket:
    """Return what a person may want who sees the market."""
    last, own = int(engine.snapshot["last_ticks"]) or 100_000, engine.orders.open()["order_id"]
    side, lots = int(rng.choice([-1, 1])), int(rng.integers(5, 120))
    kinds = [
        Ticket("order", side=side, qty_lots=lots),
        Ticket("order", side=side, qty_lots=lots, limit_ticks=last - side),
        Ticket("order", side=side, qty_lots=lots, limit_ticks=last - 60 * side),
        Ticket("cancel", order_id=int(own[-1]) if len(own) else 1),
        Ticket("cancel", order_id=1 << 40),
        Ticket("order", side=side),
        Ticket("flatten"),
        Ticket("cancel_all"),
        Ticket("order", market=3, side=side, qty_lots=lots),
    ]
    chances = (0.2, 0.25, 0.15, 0.12, 0.02, 0.02, 0.16, 0.06, 0.02)
    return kinds[number] if number < len(kinds) else kinds[int(rng.choice(len(kinds), p=chances))]


def shrink_grids(patch: pytest.MonkeyPatch) -> None:
    """Have blocks and parts so small that a small session has many, and many places to stand."""
    for module in (chain, recording):
        patch.setattr(module, "GRID_INPUTS", BLOCK_INPUTS)
    patch.setattr(input_log, "PART_INPUTS", 3_000)
    patch.setattr(checkpoints, "FIRST_S", 0.0)
    patch.setattr(checkpoints, "EVERY_S", 0.01)
    patch.setattr(checkpoints, "COST_MAX", 0.3)
    patch.setattr(waypoints, "EVERY_BLOCKS", 1)
    patch.setattr(waypoints, "EVERY_S", 0.0)


def first_difference(one: Session, other: Session) -> str:
    """Name the first command and the first link of a session that differ; empty when none does."""
    said = []
    mine, yours = one.commands(), other.commands()
    if mine.tobytes() != yours.tobytes():
        at = next(
            (n for n, pair in enumerate(zip(mine, yours, strict=False)) if pair[0] != pair[1]),
            min(len(mine), len(yours)),
        )
        both = [words(some[at]) if at < len(some) else "no more" for some in (mine, yours)]
        said.append(f"command {at + 1} is {both[0]}, not {both[1]}")
    links, others = one.links(), other.links()
    for at, (link, wanted) in enumerate(zip(links, others, strict=False)):
        names = [name for name in link.dtype.names or () if link[name] != wanted[name]]
        if names:
            said.append(f"link {at} (up to input {int(wanted['input'])}) differs in {names}")
            break
    if len(links) != len(others):
        said.append(f"{len(links)} links, not {len(others)}")
    return "; ".join(said)
