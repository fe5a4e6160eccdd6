"""A session that follows another one: going on behind what it had, and what its screen says."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from flowtape.connectors.hub.following import Following
from flowtape.connectors.hub.transport import tell_nobody
from flowtape.stream.engine import Engine
from flowtape.stream.errors import SourceError
from flowtape.stream.inputs import Inputs
from tests.connectors.hub_room import KeptSession, events, until
from tests.stream.test_input_log import same


class Given:
    """Gives inputs by number, some at a time, and then waits or ends."""

    def __init__(self, whole: Inputs, *, waits: bool = False) -> None:
        self.ended = not waits
        self.tell = tell_nobody
        self.asked = 0
        self._whole = whole
        self._waits = waits

    async def inputs(self, first: int = 1):
        self.asked = first
        for at in range(first - 1, len(self._whole), 700):
            yield self._whole.slice(at, min(at + 700, len(self._whole)))
        if self._waits:
            await asyncio.Event().wait()


async def whole_session(tmp_path: Path) -> tuple[KeptSession, Inputs]:
    session = KeptSession(tmp_path)
    await session.play(events(3_000))
    session.end()
    return session, session.inputs()


def engine_of(session: KeptSession, **more: bool) -> Engine:
    genesis = session.writer.genesis
    return Engine(genesis.instruments, genesis.config, **{"shown": False, **more})


async def test_what_is_kept_stays_open_and_goes_on_by_number(tmp_path: Path) -> None:
    session, whole = await whole_session(tmp_path)
    half = len(whole) // 2
    engine, kept = engine_of(session), []
    first = Following(Given(whole.slice(0, half), waits=True), engine, kept.append)
    task = asyncio.create_task(first.run())
    await until(lambda: engine.input == half)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert not engine.ended
    source = Given(whole)
    second = Following(source, engine, kept.append, last=whole.slice(half - 1, half))
    await second.run()
    assert (source.asked, second.input_count) == (half, len(whole) - half)
    assert same(Inputs.concat(kept), whole)
    assert engine.ended
    assert engine.digest() == session.engine.digest()


async def test_another_input_than_was_had_is_told(tmp_path: Path) -> None:
    session, whole = await whole_session(tmp_path)
    engine = engine_of(session)
    engine.apply_inputs(whole.slice(0, 100))
    other = whole.slice(99, 100)
    other = replace(other, price_ticks=other.price_ticks + 1)
    live = Following(Given(whole), engine, lambda _: None, last=other)
    with pytest.raises(SourceError, match="another input 100 than was had of it"):
        await live.run()
    assert engine.input == 100


async def test_a_screen_says_why_nothing_comes_until_it_does(tmp_path: Path) -> None:
    session, whole = await whole_session(tmp_path)
    source, said = Given(whole), []
    engine = engine_of(session, shown=True)
    live = Following(source, engine)
    live.say = said.append
    (view,) = engine.views
    source.tell("the hub is away")
    assert view.notice == "the hub is away"
    source.tell("")
    assert (view.notice, said) == ("", ["the hub is away", ""])
    source.tell("away again")
    view.notice = "gap: 3 trades missing"
    source.tell("")
    assert view.notice == "gap: 3 trades missing"
