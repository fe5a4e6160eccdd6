"""Several live sources become one stream, and one session that leads to itself again."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowtape.replay.sessions import live_genesis
from flowtape.replay.summary import summary_of
from flowtape.replay.verifying import verify
from flowtape.stream.config import EngineConfig, MarketSettings
from flowtape.stream.engine import Engine
from flowtape.stream.errors import SourceError
from flowtape.stream.instrument import Instrument
from flowtape.stream.live import LiveSession
from flowtape.stream.ports import Clock, Event, Gap, Ticket
from flowtape.stream.session import Session, SessionWriter
from flowtape.stream.several_sources import EVENTS_WAITING_MAX, KnownTimes, events_of
from tests.replay.live_sessions import NOW, no_tape, trades
from tests.stream.tapes import INSTRUMENT

OTHER = replace(INSTRUMENT, symbol="ETHUSDT")


class Fed:
    """A source of prepared events; it fails behind them, or waits for ever, if asked to."""

    def __init__(
        self, instrument: Instrument, events: Sequence[Event], *, then: str = "ends"
    ) -> None:
        self.instrument = instrument
        self.given = 0
        self.closed = False
        self.gate: asyncio.Event | None = None
        self._events, self._then = events, then

    async def events(self) -> AsyncGenerator[Event]:
        try:
            for event in self._events:
                await asyncio.sleep(0)
                if self.gate is not None and self.given == 40:
                    await self.gate.wait()
                self.given += 1
                yield event
            if self._then == "fails":
                raise SourceError("the venue is gone")
            if self._then == "waits":
                await asyncio.Event().wait()
        finally:
            self.closed = True


def pieces(seed: int, count: int = 4_000) -> list[Event]:
    whole = trades(count, seed)
    events: list[Event] = [whole.slice(at, at + 50) for at in range(0, count, 50)]
    events.insert(7, Gap(349, 349, "nobody has it"))
    events.append(Clock(int(whole.ts_us[-1]) + 5_000_000))
    return events


def taken(sources: Sequence[Fed], count: int = 10_000) -> list[tuple[int, Event]]:
    async def take() -> list[tuple[int, Event]]:
        found: list[tuple[int, Event]] = []
        async with asyncio.timeout(60), aclosing(events_of(sources)) as events:
            async for pair in events:
                found.append(pair)
                if len(found) == count:
                    break
        return found

    return asyncio.run(take())


def test_events_of_each_source_come_in_its_order() -> None:
    given_events = [pieces(1), pieces(2)]
    found = taken([Fed(INSTRUMENT, given_events[0]), Fed(OTHER, given_events[1])])
    for number in range(2):
        own = [event for market, event in found if market == number]
        expected = [e for e in given_events[number] if not isinstance(e, Clock)]
        assert [e for e in own if not isinstance(e, Clock)] == expected
    assert {market for market, _ in found[:10]} == {0, 1}


def test_a_failure_ends_all_sources() -> None:
    sources = [Fed(INSTRUMENT, pieces(1), then="waits"), Fed(OTHER, [], then="fails")]
    with pytest.raises(SourceError, match="the venue is gone"):
        taken(sources)
    assert all(source.closed for source in sources)


def test_whoever_stops_reading_stops_all_sources() -> None:
    sources = [Fed(INSTRUMENT, pieces(1)), Fed(OTHER, pieces(2), then="waits")]
    assert len(taken(sources, 3)) == 3
    assert all(source.closed for source in sources)
    assert sum(source.given for source in sources) <= EVENTS_WAITING_MAX + 5


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 50), st.booleans()), max_size=40))
def test_time_passes_as_far_as_all_are_known(said: list[tuple[int, int, bool]]) -> None:
    known, latest, told = KnownTimes(3), [0, 0, 0], 0
    one = trades(1)
    for number, ts_us, is_clock in said:
        event: Event = Clock(ts_us) if is_clock else replace(one, ts_us=one.ts_us * 0 + ts_us)
        found = known.tell(number, event)
        latest[number] = max(latest[number], ts_us)
        if not is_clock:
            assert found is event
        elif min(latest) > told:
            told = min(latest)
            assert found == Clock(told)
        else:
            assert found is None


def test_a_session_of_two_instruments_leads_to_itself_again(tmp_path: Path) -> None:
    config = EngineConfig(markets=(MarketSettings(bubble_band_ticks=40),) * 2)
    genesis = live_genesis([INSTRUMENT, OTHER], config, None, None)
    writer = SessionWriter.create(tmp_path, genesis, NOW, sync="none")
    engine = Engine(genesis.instruments, config, recorded=(writer.chain, writer))
    sources = [Fed(INSTRUMENT, pieces(1)), Fed(OTHER, pieces(2))]
    live = LiveSession(sources, engine, now_s=lambda: 0.0)

    async def run() -> None:
        gate = asyncio.Event()
        for source in sources:
            source.gate = gate
        running = asyncio.create_task(live.run())
        while min(source.given for source in sources) < 40:  # noqa: ASYNC110
            await asyncio.sleep(0)
        order = Ticket("order", market=1, side=1, qty_lots=5_000)
        assert await asyncio.to_thread(live.ask, order) == 1
        gate.set()
        await running

    asyncio.run(run())
    writer.finish(summary_of(engine, writer.chain.value))
    session = Session.open(writer.folder)
    assert session.last_ids() == [4_699, 4_699]
    assert [gap.symbol for gap in session.gaps()] == [INSTRUMENT.symbol, OTHER.symbol]
    assert live.trade_count == 8_000
    assert all(len(view.prints.since(0)) for view in engine.views)
    assert len(engine.ledger.fills.all()) > 0
    verdict = verify(session, no_tape)
    assert verdict.difference is None
    assert verdict.digest == writer.chain.value.hex()
