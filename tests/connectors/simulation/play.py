"""One scenario played: the real client against the real venue, in virtual time."""

import asyncio
import contextlib
import hashlib
import logging
import random
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field

from flowtape.connectors.binance.client import BinanceSource
from flowtape.connectors.binance.dead_letters import DeadLetter
from flowtape.connectors.binance.rows import rows_of
from flowtape.connectors.binance.source_types import SourceStatistics
from flowtape.connectors.venue.faults import Forget, RestFault
from flowtape.connectors.venue.server import VenueServer
from flowtape.connectors.venue.wire import Wire
from flowtape.stream.ports import Clock, Event, Gap
from flowtape.stream.trades import Trades
from tests.connectors.simulation.loop import VirtualLoop
from tests.connectors.simulation.network import Connection, Line, Network, Purpose, libraries_in
from tests.connectors.simulation.scenario import FIRST_ID, LineTrouble, RestTrouble, Scenario
from tests.connectors.simulation.watch import Arrivals, Query, RestWatcher, StreamWatcher

PATIENCE_S = 400.0
"""So long after the last trouble everything must be accounted for, whatever was injected."""

LATE_S = 20.0
"""By then the venue has given up its latest answers."""

REST_FAULTS: dict[str, Callable[[RestTrouble], RestFault]] = {
    "error": lambda trouble: RestFault(500),
    "html": lambda trouble: RestFault(503, body="<html>"),
    "limited": lambda trouble: RestFault(429, retry_after_s=int(trouble.amount)),
    "banned": lambda trouble: RestFault(418, retry_after_s=int(trouble.amount)),
    "forbidden": lambda trouble: RestFault(403, body="<html>"),
    "nonsense": lambda trouble: RestFault(200, body='[{"a":1},'),
    "late": lambda trouble: RestFault(200, delay_s=trouble.amount),
}

SLOW = Line(0.8, 0.4, 4_000.0)


@dataclass(slots=True)
class Outcome:
    """What one scenario came to; times are virtual seconds since the first subscription."""

    scenario: Scenario
    heard: list[tuple[float, Event]] = field(default_factory=list)
    arrivals: Arrivals = field(default_factory=Arrivals)
    happened_s: list[float] = field(default_factory=list)
    dials: list[tuple[float, Purpose, str]] = field(default_factory=list)
    leaps: list[tuple[float, float]] = field(default_factory=list)
    log: list[tuple[float, str]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    leaked: list[str] = field(default_factory=list)
    letters: list[DeadLetter] = field(default_factory=list)
    statistics: SourceStatistics | None = None
    finished_s: float | None = None

    @property
    def newest_id(self) -> int:
        """Return the highest id that a client can have in the end, 0 when there is none."""
        newest_id = FIRST_ID + len(self.scenario.trades) - 1
        kept = [fault.rows for fault in self.scenario.faults if isinstance(fault, Forget)]
        first_id = newest_id + 1 - min(kept) if kept else FIRST_ID
        lost = self.scenario.lost
        at_rest = (a for a in range(newest_id, first_id - 1, -1) if a not in lost)
        return max(next(at_rest, 0), max(self.arrivals.stream, default=0))

    @property
    def digest(self) -> str:
        """Return a digest of all that was heard and when."""
        sha = hashlib.sha256()
        for at_s, event in self.heard:
            said: object = rows_of(event) if isinstance(event, Trades) else event
            sha.update(f"{at_s:.6f} {said}\n".encode())
        return sha.hexdigest()[:16]


class _Player:
    def __init__(self, scenario: Scenario, loop: VirtualLoop) -> None:
        self.scenario = scenario
        self.loop = loop
        self.start_s = loop.time()
        self.outcome = Outcome(scenario)
        self.network = loop.network = Network(loop, scenario.seed, scenario.way)
        self.network.watch = self.watch
        self.network.dialed = self.dialed
        self.wire = Wire(scenario.instrument)
        self.rows = scenario.rows
        self.busy_until_s = 0.0
        self.venue = VenueServer(
            scenario.instrument,
            scenario.trades,
            happened_count=scenario.happened_count,
            faults=scenario.faults,
            rules=scenario.rules,
        )

    def now_s(self) -> float:
        return self.loop.time() - self.start_s

    def say(self, text: str) -> None:
        self.outcome.log.append((self.now_s(), text))

    async def play(self) -> None:
        await self.venue.start()
        source = BinanceSource(
            "BTCUSDT",
            market=self.scenario.instrument.market,
            stream_url=self.venue.ws_url,
            rest_url=self.venue.rest_url,
            silence_s=self.scenario.silence_s,
            start_after=self.scenario.start_after,
            times=self.scenario.times,
            sequencing=self.scenario.sequencing,
            dead_letters=self.outcome.letters.append,
            rng=random.Random(self.scenario.seed),
            clock_us=lambda: int(self.loop.time() * 1e6),
        )
        conducting = asyncio.create_task(self.conduct(source))
        try:
            async for event in self.heard(source):
                self.outcome.heard.append((self.now_s(), event))
                self.say(_told(event))
                if self.now_s() < self.busy_until_s:
                    await asyncio.sleep(self.busy_until_s - self.now_s())
        except Exception as error:
            self.outcome.errors.append(f"{type(error).__name__}: {error}")
        finally:
            conducting.cancel()
            await asyncio.gather(conducting, return_exceptions=True)
        self.outcome.statistics = source.statistics
        self.outcome.leaked += [f"at the end: {task}" for task in source._tasks]
        self.outcome.leaked += [
            f"at the end: {connection.purpose} connection {connection.number}"
            for connection in self.network.connections
            if not connection.client.is_closing()
        ]
        for connection in self.network.connections:
            if connection.cut:  # in the end the system of the other side gives it up
                connection.server.lose(ConnectionResetError("timed out"))
        await self.venue.stop()
        await asyncio.sleep(LATE_S)
        self.look_for_leaks()

    @staticmethod
    def heard(source: BinanceSource) -> AsyncIterator[Event]:
        return source.events()

    async def conduct(self, source: BinanceSource) -> None:
        """Let things happen at their times, and end the source when all is accounted for."""
        try:
            await self.venue.wait_for_subscribers()
            self.start_s = self.loop.time()
            for line in self.scenario.line:
                self.loop.call_later(line.at_s, self.trouble, line)
            for rest in self.scenario.rest:
                if rest.kind == "refused":
                    self.loop.call_later(rest.from_s, self.refuse, "rest", rest.to_s - rest.from_s)
            for step in self.scenario.steps:
                await asyncio.sleep(max(0.0, step.at_s - self.now_s()))
                self.outcome.happened_s += [self.now_s()] * step.count
                self.say(f"venue: {step.count} trades")
                await self.venue.publish(step.count)
            until_s = max(self.scenario.troubled_until_s, self.now_s())
            await asyncio.sleep(max(0.0, until_s - self.now_s()))
            while self.now_s() < until_s + PATIENCE_S:
                if (source.last_id or 0) >= self.outcome.newest_id:
                    break
                await asyncio.sleep(0.1)
            self.outcome.finished_s = self.now_s()
            await asyncio.sleep(1.0)
        except Exception as error:
            self.outcome.errors.append(f"venue: {type(error).__name__}: {error}")
        source.finish()

    def trouble(self, trouble: LineTrouble) -> None:
        self.say(f"trouble: {trouble.kind} for {trouble.for_s} s")
        match trouble.kind:
            case "reset":
                for connection in self.network.open("stream"):
                    connection.reset()
            case "half open":
                for connection in self.network.open("stream"):
                    connection.half_open()
            case "refused":
                self.refuse("stream", trouble.for_s)
            case "unanswered":
                self.network.swallows.add("stream")
                self.loop.call_later(trouble.for_s, self.network.swallows.discard, "stream")
                for connection in self.network.open("stream"):
                    connection.half_open()
            case "leap":
                self.outcome.leaps.append((self.now_s(), trouble.for_s))
                self.loop.leap(trouble.for_s)
            case "busy":
                self.busy_until_s = self.now_s() + trouble.for_s
            case "slow line":
                self.travel(SLOW)
                self.loop.call_later(trouble.for_s, self.travel, self.scenario.way)

    def travel(self, line: Line) -> None:
        self.network.line = line
        for connection in self.network.connections:
            connection.line = line

    def refuse(self, purpose: Purpose, for_s: float) -> None:
        self.network.refuses.add(purpose)
        self.loop.call_later(for_s, self.network.refuses.discard, purpose)
        for connection in self.network.open(purpose):
            connection.reset()

    def rest_trouble(self) -> RestTrouble | None:
        now_s = self.now_s()
        return next((t for t in self.scenario.rest if t.from_s <= now_s < t.to_s), None)

    def watch(self, connection: Connection) -> StreamWatcher | RestWatcher:
        arrivals = self.outcome.arrivals
        if connection.purpose == "stream":
            return StreamWatcher(self.now_s, arrivals)
        return RestWatcher(self.now_s, arrivals, connection, self.asked, self.answering)

    def dialed(self, purpose: Purpose, how: str) -> None:
        self.outcome.dials.append((self.now_s(), purpose, how))
        self.say(f"{purpose} connection: {how}")

    def asked(self, query: Query, connection: Connection) -> None:
        trouble = self.rest_trouble()
        kind = trouble.kind if trouble else "well"
        self.say(f"REST asked for {query.limit} from {query.from_id}: {kind}")
        if query.name != "aggTrades" or trouble is None:
            return
        if trouble.kind in REST_FAULTS:
            self.venue.inject(REST_FAULTS[trouble.kind](trouble))
        elif trouble.kind == "unanswered":
            connection.half_open()
        elif trouble.kind in ("behind", "with holes"):
            self.venue.inject(RestFault(200, body=self.page(query, trouble)))

    def answering(self, query: Query, connection: Connection) -> None:
        trouble = self.rest_trouble()
        if trouble is not None and trouble.kind == "broken off" and query.name == "aggTrades":
            self.say("REST answer broken off")
            connection.reset()

    def page(self, query: Query, trouble: RestTrouble) -> str:
        """Return the page of a REST whose database lags, or has lost rows for now."""
        happened = [r for r in self.rows if r.agg_id <= (self.venue.last_id or 0)]
        if not happened:
            return "[]"
        lost = self.scenario.lost
        there = [row for row in happened if row.agg_id not in lost]
        if trouble.kind == "behind":
            there = [r for r in there if r.agg_id <= happened[-1].agg_id - trouble.amount]
        else:
            there = [r for r in there if r.agg_id % trouble.amount]
        first = query.from_id
        rows = there[-query.limit :] if first is None else [r for r in there if r.agg_id >= first]
        micros = self.scenario.instrument.market == "spot"
        return self.wire.rest_rows(rows[: query.limit], micros=micros).decode()

    def look_for_leaks(self) -> None:
        here = asyncio.current_task()
        self.outcome.leaked += [str(task) for task in asyncio.all_tasks() if task is not here]
        for connection in self.network.connections:
            if not (connection.client.lost and connection.server.lost):
                self.outcome.leaked.append(f"{connection.purpose} connection {connection.number}")


def play(scenario: Scenario) -> Outcome:
    """Play a scenario to its end in virtual time; never raises for what the client does."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        loop = runner.get_loop()
        assert isinstance(loop, VirtualLoop)
        player = _Player(scenario, loop)
        outcome = player.outcome

        def unhandled(_: object, context: dict[str, object]) -> None:
            outcome.errors.append(f"{context.get('message')}: {context.get('exception')!r}")

        loop.set_exception_handler(unhandled)
        try:
            with libraries_in(loop), _logs_to(player.say):
                runner.run(player.play())
        except Exception as error:
            outcome.errors.append(f"{type(error).__name__}: {error}")
    return outcome


@contextlib.contextmanager
def _logs_to(say: Callable[[str], None]) -> Iterator[None]:
    names = {"flowtape.connectors.binance": "client", "aiohttp.server": "venue"}
    kept = []
    for name, who in names.items():
        logger, handler = logging.getLogger(name), _LogHandler(who, say)
        kept.append((logger, handler, logger.propagate, logger.level))
        logger.addHandler(handler)
        logger.propagate = False
        logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        for logger, handler, propagate, level in kept:
            logger.removeHandler(handler)
            logger.propagate = propagate
            logger.setLevel(level)


class _LogHandler(logging.Handler):
    def __init__(self, who: str, say: Callable[[str], None]) -> None:
        super().__init__()
        self._who = who
        self._say = say

    def emit(self, record: logging.LogRecord) -> None:
        self._say(f"{self._who}: {record.getMessage()}")


def _told(event: Event) -> str:
    match event:
        case Trades():
            return f"-> trades {event.agg_id[0]} to {event.agg_id[-1]} ({len(event)})"
        case Gap():
            return f"-> GAP {event.from_id} to {event.to_id}: {event.reason}"
        case Clock():
            return f"-> clock {event.ts_us}"
        case _:
            return f"-> {event}"
