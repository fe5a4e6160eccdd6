"""Inputs through a real NATS server."""

import asyncio
import re
import shutil
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

pytest.importorskip("nats", reason="the extra nats is not installed")

import nats

from flowtape.connectors.hub.following import Following
from flowtape.connectors.hub.nats_alive import AliveTimes
from flowtape.connectors.hub.nats_transport import NatsOffer, NatsSource, _publish, _stream_of
from flowtape.stream.engine import Engine
from flowtape.stream.errors import InputError, SourceError
from flowtape.stream.input_frames import first_of
from flowtape.stream.inputs import Inputs
from tests.connectors.hub_room import KeptSession, events, trades, until
from tests.stream.test_input_log import same

SERVER = shutil.which("nats-server") or ""

pytestmark = [
    pytest.mark.usefixtures("no_leaks"),
    pytest.mark.skipif(not SERVER, reason="there is no nats-server (Debian: nats-server)"),
]


@asynccontextmanager
async def nats_server(folder: Path, port: int = 0, *, jetstream: bool = True) -> AsyncIterator[int]:
    """A server on loopback."""
    if not port:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
    keeping = ["-js", "-sd", str(folder)] if jetstream else []
    process = await asyncio.create_subprocess_exec(
        SERVER, "-a", "127.0.0.1", "-p", str(port), *keeping,
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        async with asyncio.timeout(20):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                except OSError:
                    await asyncio.sleep(0.05)
                    continue
                writer.close()
                await writer.wait_closed()
                break
        yield port
    finally:
        process.kill()
        await process.wait()


async def opened(
    url: str, say: Callable[[str], None] | None = None, times: AliveTimes | None = None
) -> tuple[NatsSource, Following]:
    """Open a session as soon as a server has it."""
    async with asyncio.timeout(20):
        while True:
            source = NatsSource(url, times)
            try:
                theirs = await source.open()
                break
            except SourceError:
                await source.close()
                await asyncio.sleep(0.05)
    engine = Engine(theirs.genesis.instruments, theirs.genesis.config, shown=False)
    live = Following(source, engine)
    live.say = say or live.say
    return source, live


async def follow(source: NatsSource, live: Following) -> Following:
    try:
        async with asyncio.timeout(60):
            await live.run()
        assert source.ended
    finally:
        await source.close()
    return live


async def test_watchers_come_to_what_the_session_comes_to(tmp_path: Path) -> None:
    session, given = KeptSession(tmp_path / "s", ring_bytes=100_000), events(30_000)
    async with nats_server(tmp_path / "nats") as port:
        offer = NatsOffer(f"nats://127.0.0.1:{port}")
        await offer.start()
        await session.play(given[: len(given) // 2])
        offer.offer(session.fanout, session.writer.genesis)
        early = asyncio.create_task(follow(*await opened(offer.url)))
        await session.play(given[len(given) // 2 :])
        session.end()
        await offer.stop()
        late = await follow(*await opened(f"nats://127.0.0.1:{port}/"))
        for live in (await early, late):
            assert live.input_count == session.fanout.last_input
            assert live._engine.digest() == session.engine.digest()


async def test_a_server_that_is_away_gets_the_rest_later_and_nothing_twice(tmp_path: Path) -> None:
    session, given = KeptSession(tmp_path / "s", ring_bytes=1), events(20_000)
    third = len(given) // 3
    async with nats_server(tmp_path / "nats") as port:
        told: list[str] = []
        offer = NatsOffer(f"nats://127.0.0.1:{port}", told.append)
        await offer.start()
        offer.offer(session.fanout, session.writer.genesis)
        watcher = asyncio.create_task(follow(*await opened(offer.url)))
        await session.play(given[:third])
    # The session does not notice.
    await session.play(given[third : 2 * third])
    await until(lambda: bool(told))
    async with nats_server(tmp_path / "nats", port):
        await session.play(given[2 * third :])
        session.end()
        live = await watcher
        await offer.stop()
        # One that was killed begins where the server is.
        again = NatsOffer(f"nats://127.0.0.1:{port}")
        await again.start()
        again.offer(session.fanout, session.writer.genesis)
        await again.stop()
        late = await follow(*await opened(offer.url))
    (line,) = told
    assert line.startswith(f"nats://127.0.0.1:{port} is away (")
    assert line.endswith("); it gets the rest later")
    for one in (live, late):
        assert one.input_count == session.fanout.last_input
        assert one._engine.digest() == session.engine.digest()


SOON = AliveTimes(beat_s=0.05, silent_s=0.4, gone_s=2.0)


async def test_watchers_are_told_that_the_process_has_died(tmp_path: Path) -> None:
    session, given = KeptSession(tmp_path / "s"), events(2_000)
    async with nats_server(tmp_path / "nats") as port:
        offer = NatsOffer(f"nats://127.0.0.1:{port}", times=SOON)
        await offer.start()
        offer.offer(session.fanout, session.writer.genesis)
        await session.play(given[: len(given) // 2])
        told: list[str] = []
        source, live = await opened(offer.url, told.append, SOON)
        watcher = asyncio.create_task(follow(source, live))
        await until(lambda: live.input_count == session.fanout.last_input)
        # as a process that is killed: it says nothing more
        _die(offer)
        await until(lambda: bool(told))
        again = NatsOffer(f"nats://127.0.0.1:{port}", times=SOON)
        await again.start()
        again.offer(session.fanout, session.writer.genesis)
        await until(lambda: len(told) == 2)
        _die(again)
        behind = session.fanout.last_input
        with pytest.raises(SourceError, match=rf"for \d s behind input {behind:,}; start again"):
            await watcher
        for one in (offer, again):
            await one.stop()
    name = session.fanout.session_id
    said = f"nothing was heard of the process of session {name} for [0-9] s behind input {behind:,}"
    assert re.match(said, told[0])
    assert told[1] == ""
    assert "may have died" in told[2]


async def test_watchers_end_with_a_process_that_stops_before_its_session(tmp_path: Path) -> None:
    session, given = KeptSession(tmp_path / "s"), events(2_000)
    async with nats_server(tmp_path / "nats") as port:
        offer = NatsOffer(f"nats://127.0.0.1:{port}", times=SOON)
        await offer.start()
        offer.offer(session.fanout, session.writer.genesis)
        source, live = await opened(offer.url)
        watcher = asyncio.create_task(live.run())
        await session.play(given)
        await until(lambda: live.input_count > 0)
        await offer.stop()
        async with asyncio.timeout(20):
            await watcher
        await source.close()
    assert (live.input_count, source.ended) == (session.fanout.last_input, False)


async def test_a_watcher_that_had_some_is_not_told_them_again(tmp_path: Path) -> None:
    session, given = KeptSession(tmp_path / "s"), events(30_000)
    async with nats_server(tmp_path / "nats") as port:
        offer = NatsOffer(f"nats://127.0.0.1:{port}")
        await offer.start()
        offer.offer(session.fanout, session.writer.genesis)
        for at in range(0, len(given), 50):
            await session.play(given[at : at + 50])
        session.end()
        await offer.stop()
        whole = session.inputs()
        source = Counting(offer.url)
        await source.open()
        for first in (2, len(whole) // 2, len(whole) - 1, len(whole)):
            source.firsts.clear()
            got = [one async for one in source.inputs(first)]
            assert same(Inputs.concat(got), whole.slice(first - 1, len(whole)))
            assert source.firsts[0] <= first
            assert len(source.firsts) == 1 or source.firsts[1] > first
        await source.close()


class Counting(NatsSource):
    """Notes where the messages begin that it gets."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.firsts: list[int] = []

    def _behind(self, at: int, data: bytes) -> Inputs | None:
        self.firsts.append(first_of(data))
        return super()._behind(at, data)


def _die(offer: NatsOffer) -> None:
    for task in (offer._sending, offer._beating._task if offer._beating else None):
        assert task is not None
        task.cancel()
    offer._beating = None


async def test_a_message_that_came_through_after_all_leaves_no_hole(tmp_path: Path) -> None:
    """The server has a shorter message under the same id than the one that is sent again."""
    session = KeptSession(tmp_path / "s")
    session.engine.apply_event(trades(10))
    session_id = session.fanout.session_id
    async with nats_server(tmp_path / "nats") as port:
        client = await nats.connect(f"nats://127.0.0.1:{port}")
        js = client.jetstream()
        assert await _stream_of(js, session_id, session.writer.genesis) == 1
        short, later = session.fanout.recent(1), trades(30).slice(10, 30)
        session.engine.apply_event(later)
        long = session.fanout.recent(1)
        assert short is not None
        assert long is not None
        assert await _publish(js, session_id, short) == 11
        assert (long.first, long.next) == (1, 31)
        assert await _publish(js, session_id, long) == 11
        await client.close()
    session.end()


async def test_mistakes_are_told_in_one_line(tmp_path: Path) -> None:
    for wrong in ("nats:", "ws://127.0.0.1", "nats://h/no-session", "nats://h:x"):
        with pytest.raises(InputError, match="no address of a NATS server; it looks like nats://"):
            NatsSource(wrong)
    with pytest.raises(InputError, match="names a session; leave it out of --nats"):
        NatsOffer("nats://127.0.0.1/01K9ZZZZZZZZZZZZZZZZZZZZZZ")
    with pytest.raises(InputError, match=r"nats://127\.0\.0\.1:9 cannot be reached"):
        await NatsOffer("nats://someone:secret@127.0.0.1:9").start()
    async with nats_server(tmp_path, jetstream=False) as port:
        with pytest.raises(
            InputError, match=r"has no JetStream .*; start it with: nats-server -js"
        ):
            await NatsOffer(f"nats://127.0.0.1:{port}").start()
    async with nats_server(tmp_path) as port:
        for named, said in (
            ("", "has 0 sessions; name one: nats://127"),
            ("/01K9ZZZZZZZZZZZZZZZZZZZZZZ", "has no session 01K9ZZZZZZZZZZZZZZZZZZZZZZ"),
        ):
            source = NatsSource(f"nats://127.0.0.1:{port}{named}")
            with pytest.raises(SourceError, match=said):
                await source.open()
            await source.close()
