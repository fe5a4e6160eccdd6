"""The hub over real sockets: whatever happens between, watchers fold what the session folded."""

import asyncio
import random
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from flowtape.connectors.hub import server as server_module
from flowtape.connectors.hub.server import WRITE_BYTES, HubServer
from flowtape.connectors.hub.source import HubSource
from flowtape.stream.config import EngineConfig
from flowtape.stream.errors import InputError, SourceError
from flowtape.stream.fanout import Fanout
from flowtape.stream.genesis import Genesis
from flowtape.stream.session import SessionWriter
from tests.connectors.hub_room import (
    HUB,
    INSTRUMENT,
    TOKEN,
    WATCH,
    KeptSession,
    Watcher,
    events,
    hub,
    line,
    trades,
    until,
)
from tests.stream.test_input_log import made, same

pytestmark = pytest.mark.usefixtures("no_leaks")


async def test_twenty_watchers_on_bad_lines_come_to_the_same_results(tmp_path: Path) -> None:
    session = KeptSession(tmp_path, ring_bytes=300_000)
    given, rng = events(80_000), random.Random(3)

    def cut(count: int, data: bytes) -> bytes | None:
        # Now and then, behind some messages at least.
        return None if count > 400_000 and rng.random() < 0.2 else data

    def damage(count: int, data: bytes) -> bytes:
        if count < 600_000 or rng.random() < 0.7:
            return data
        at = rng.randrange(len(data))
        return data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :]

    async with (
        hub(session, replace(HUB, stall_s=10.0)) as server,
        line(server, cut) as often_cut,
        line(server, damage) as damaged,
    ):
        watchers = [
            *((Watcher(server.url, n), 0.0) for n in range(8)),
            *((Watcher(server.url, n), 0.01) for n in range(4)),
            *((Watcher(often_cut, n), 0.001) for n in range(5)),
            *((Watcher(damaged, n), 0.0) for n in range(3)),
        ]
        await session.play(given[: len(given) // 3])
        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            for watcher, pause_s in watchers:
                group.create_task(watcher.run(pause_s))
            await session.play(given[len(given) // 3 :])
            session.end()
            session.fanout.close()
    whole, digest = session.inputs(), session.engine.digest()
    for watcher, _ in watchers:
        assert same(watcher.inputs(), whole)
        assert watcher.engine is not None
        assert watcher.engine.digest() == digest
        assert watcher.source.ended
    assert min(w.source.connect_count for w, _ in watchers[12:17]) > 1
    assert sum(w.source.damaged_count for w, _ in watchers[17:]) > 0
    assert server.cut_count == 0


def _open_and_take_nothing(server: HubServer, first: int = 1) -> socket.socket:
    """Ask for inputs as a WebSocket client would, and never read."""
    asking = socket.socket()
    asking.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    asking.connect(("127.0.0.1", server.port))
    asking.sendall(
        f"GET /inputs?token={TOKEN}&from={first} HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n"
        "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
    )
    return asking


async def test_a_watcher_that_takes_nothing_is_cut_off_and_holds_up_no_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = KeptSession(tmp_path)
    waiting_bytes = []
    send = server_module._Watcher.send

    async def noted(self: server_module._Watcher, data: bytes) -> None:
        waiting_bytes.append(self.transport.get_write_buffer_size())
        await send(self, data)

    monkeypatch.setattr(server_module._Watcher, "send", noted)
    async with hub(session) as server, asyncio.timeout(60):
        stalled = [_open_and_take_nothing(server) for _ in range(5)]
        other = asyncio.create_task(Watcher(server.url).run())
        await session.play(events(400_000))
        await until(lambda: server.cut_count == len(stalled))
        session.end()
        watcher = await other
        again = await Watcher(server.url).run(first=123_456)
    for one in stalled:
        one.close()
    assert max(waiting_bytes) <= WRITE_BYTES
    whole = session.inputs()
    assert same(watcher.inputs(), whole)
    assert watcher.source.connect_count == 1
    assert same(again.inputs(), whole.slice(123_455, len(whole)))


async def test_a_session_that_has_ended_can_be_followed_still(tmp_path: Path) -> None:
    session = KeptSession(tmp_path)
    await session.play(events(3_000))
    session.end()
    folder = session.writer.folder
    fanout = Fanout(folder / "inputs", folder.name, len(session.inputs()), ended=True)
    server = HubServer(token=TOKEN, times=HUB)
    await server.start()
    server.offer(fanout, session.writer.genesis)
    watcher = await Watcher(server.url).run()
    await server.stop()
    assert watcher.engine is not None
    assert watcher.engine.digest() == session.engine.digest()
    assert watcher.source.ended


async def test_a_session_that_is_taken_up_again_goes_on_for_its_watchers(tmp_path: Path) -> None:
    session, given = KeptSession(tmp_path), events(4_000)
    writer, half = session.writer, len(given) // 2
    async with hub(session) as server, asyncio.timeout(30):
        port = server.port
        following = Watcher(server.url, times=replace(WATCH, give_up_s=30.0))
        told: list[str] = []
        following.source.tell = told.append
        task = asyncio.create_task(following.run())
        await until(lambda: server.watcher_count == 1)
        await session.play(given[:half])
        # What a killed process leaves: no word of an end.
        for one in server._serving:
            one.cancel()
        server._session = None
    writer.close()
    resumed = SessionWriter.resume(writer.folder)
    session.fanout = Fanout(writer.folder / "inputs", writer.folder.name, session.engine.input)
    resumed.published = session.fanout.publish
    session.engine._recording._sink = resumed  # type: ignore[union-attr]
    async with hub(session, port=port), asyncio.timeout(30):
        await session.play(given[half:])
        session.engine.end()
        session.fanout.close()
        watcher = await task
    resumed.close()
    assert same(watcher.inputs(), session.inputs())
    assert watcher.engine is not None
    assert watcher.engine.digest() == session.engine.digest()
    assert watcher.source.connect_count == 2
    away, back = told
    assert away.startswith(f"ws://127.0.0.1:{port}/ is away (")
    assert away.endswith("; trying again for 30 s")
    assert back == ""


async def test_a_quiet_connection_that_is_cut_is_no_hub_that_was_gone(tmp_path: Path) -> None:
    session = KeptSession(tmp_path)
    async with hub(session) as server:
        watcher = Watcher(server.url, times=replace(WATCH, give_up_s=0.1))
        task = asyncio.create_task(watcher.run())
        await until(lambda: server.watcher_count == 1)
        await asyncio.sleep(0.2)
        for one in server._serving:
            one.cancel()
        await until(lambda: watcher.source.connect_count == 2)
        await session.play(events(100))
        session.end()
        await task
    assert same(watcher.inputs(), session.inputs())


async def test_a_hub_that_stops_before_the_end_says_so(tmp_path: Path) -> None:
    session = KeptSession(tmp_path)
    async with hub(session) as server:
        task = asyncio.create_task(Watcher(server.url).run())
        await session.play(events(500))
        await until(lambda: server.watcher_count == 1)
    watcher = await task
    session.writer.close()
    assert same(watcher.inputs(), session.inputs())
    assert not watcher.source.ended


async def test_another_session_at_the_same_address_is_told(tmp_path: Path) -> None:
    one, other = KeptSession(tmp_path / "a"), KeptSession(tmp_path / "b")
    async with hub(one) as server:
        source = HubSource(server.url, times=WATCH)
        await source.open()
        server.offer(other.fanout, other.writer.genesis)
        with pytest.raises(SourceError, match=f"serves session {other.writer.folder.name} now"):
            await anext(source.inputs())
        await source.close()
    one.end()
    other.end()


async def test_fewer_inputs_than_were_had_are_told(tmp_path: Path) -> None:
    session = KeptSession(tmp_path)
    await session.play([trades(10)])
    async with hub(session) as server:
        source = HubSource(server.url, times=WATCH)
        await source.open()
        with pytest.raises(SourceError, match="has 10 inputs, 11 were had of it: its disk lost"):
            await anext(source.inputs(12))
        await source.close()
    session.end()


async def test_a_line_that_damages_everything_is_told(tmp_path: Path) -> None:
    session = KeptSession(tmp_path)
    await session.play(events(3_000))
    session.end()

    def damage(count: int, data: bytes) -> bytes:
        at = data.find(b"FTI1") + 300
        return data if at < 300 else data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]

    async with hub(session) as server, line(server, damage) as url:
        watcher = Watcher(url)
        with pytest.raises(SourceError, match=r"input 5 did not come as it was sent, 3 times"):
            await watcher.run()
    assert watcher.source.damaged_count == 3
    assert not watcher.got


async def test_a_damaged_genesis_is_asked_for_again(tmp_path: Path) -> None:
    session = KeptSession(tmp_path)
    await session.play(events(300))
    session.end()
    damaged = []

    def damage(_: int, data: bytes) -> bytes:
        at = data.find(b'"latency_us": ') + 14
        # The second answer: the first is that of `open`, which is not asked for again.
        damaged.append(at)
        if len(damaged) != 2 or at < 14:
            return data
        return data[:at] + b"9" + data[at + 1 :]

    async with hub(session) as server, line(server, damage) as url:
        watcher = await Watcher(url).run()
        damaged[:] = [0]
        assert "cannot be reached: its answer came damaged" in await refused(url)
    assert same(watcher.inputs(), session.inputs())


async def test_inputs_that_no_session_has_are_refused(tmp_path: Path) -> None:
    session = KeptSession(tmp_path)
    session.writer.inputs(made(20))
    async with hub(session) as server:
        with pytest.raises(SourceError, match="an instrument that is not there, 3 times running"):
            await Watcher(server.url).run()
    session.writer.close()


async def test_a_damaged_log_is_told(tmp_path: Path) -> None:
    session = KeptSession(tmp_path, ring_bytes=1)
    await session.play([trades(100), trades(1)])
    files = (session.writer.folder / "inputs").glob("*.journal/*")
    journal = max(files, key=lambda path: path.stat().st_size)
    data = bytearray(journal.read_bytes())
    data[len(data) // 2] ^= 1
    journal.write_bytes(data)
    async with hub(session) as server:
        with pytest.raises(SourceError, match=r"ws://127.0.0.1:\d+/: .*\.journal"):
            await Watcher(server.url).run()
    session.writer.close()


async def test_a_quiet_hub_pings_and_a_silent_one_is_left(tmp_path: Path) -> None:
    session = KeptSession(tmp_path)
    async with (
        hub(session, replace(HUB, ping_s=0.02)) as server,
        aiohttp.ClientSession() as http,
        http.ws_connect(
            f"http://127.0.0.1:{server.port}/inputs?token={TOKEN}", autoping=False
        ) as quiet,
        asyncio.timeout(20),
    ):
        assert (await quiet.receive_json())["last_input"] == 0
        assert (await quiet.receive()).type is aiohttp.WSMsgType.PING
        task = asyncio.create_task(Watcher(server.url, times=replace(WATCH, quiet_s=5.0)).run())
        await until(lambda: server.watcher_count == 2)
    assert (await task).source.connect_count == 1
    session.fanout.closed = False
    async with hub(session, replace(HUB, ping_s=100.0)) as server, asyncio.timeout(20):
        watcher = Watcher(server.url, times=replace(WATCH, quiet_s=0.05))
        task = asyncio.create_task(watcher.run())
        await until(lambda: watcher.source.connect_count >= 3)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    session.end()


async def test_so_many_may_watch_and_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "WATCHERS_MAX", 1)
    session = KeptSession(tmp_path)
    async with hub(session) as server:
        first = asyncio.create_task(Watcher(server.url).run())
        await until(lambda: server.watcher_count == 1)
        with pytest.raises(SourceError, match=r"has been gone for .* \(it answered 503\)"):
            await Watcher(server.url, times=replace(WATCH, give_up_s=0.05)).run()
    await first
    session.end()


@asynccontextmanager
async def something_else() -> AsyncIterator[str]:
    """A server that is no hub."""

    async def hello(_: web.Request) -> web.Response:
        return web.Response(text="hello")

    app = web.Application()
    app.router.add_get("/session", hello)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"ws://127.0.0.1:{runner.addresses[0][1]}/"
    await runner.cleanup()


async def refused(url: str) -> str:
    source = HubSource(url, times=WATCH)
    try:
        with pytest.raises(SourceError) as told:
            await source.open()
    finally:
        await source.close()
    assert "\n" not in str(told.value)
    assert TOKEN not in str(told.value)
    return str(told.value)


async def test_what_is_no_hub_is_told_in_one_line(tmp_path: Path) -> None:
    session = KeptSession(tmp_path)
    async with hub(session) as server:
        assert (await refused(f"ws://127.0.0.1:{server.port}/?token=wrong")).endswith(
            "refused: the token is not the hub's; each start has a new one unless it was given"
        )
        assert "the token is missing" in await refused(f"ws://127.0.0.1:{server.port}")
        assert "is no hub of flowtape" in await refused(server.url.replace("/?", "/deeper?"))
        port = server.port
    session.end()
    assert "nothing listens there" in await refused(f"ws://127.0.0.1:{port}/?token={TOKEN}")
    async with something_else() as url:
        assert "is no hub of flowtape" in await refused(url)
    async with hub(None) as server:
        assert (await refused(server.url)).endswith("cannot be reached: it answered 503")
    for wrong in ("127.0.0.1:9000", "ftp://127.0.0.1/", "ws://[", "nats", ""):
        with pytest.raises(InputError, match="is no hub's address; it looks like ws://127"):
            HubSource(wrong)


async def test_a_genesis_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    genesis = Genesis((INSTRUMENT,), EngineConfig(), strategy=None, tapes=())
    fanout = Fanout(tmp_path, "01K9ZZZZZZZZZZZZZZZZZZZZZZ")
    server = HubServer(token=TOKEN)
    await server.start()
    server.offer(fanout, replace(genesis, schema=99))
    assert "serves no session that can be read: its format is number 99" in await refused(
        server.url
    )
    await server.stop()


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Host": "localhost:{port}"}, 200),
        ({"Host": "127.0.0.1:1"}, 200),  # the other end of a tunnel
        ({"Host": "evil.example:{port}"}, 421),
        ({"Host": "127.0.0.1.evil.example"}, 421),
        ({"Origin": "http://127.0.0.1:{port}"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
    ],
)
@pytest.mark.parametrize("path", ["/session", "/inputs"])
async def test_browsers_and_other_names_are_refused(
    tmp_path: Path, path: str, headers: dict[str, str], status: int
) -> None:
    session = KeptSession(tmp_path)
    async with hub(session) as server, aiohttp.ClientSession() as http:
        filled = {name: text.format(port=server.port) for name, text in headers.items()}
        url = f"http://127.0.0.1:{server.port}{path}?token={TOKEN}"
        async with http.get(url, headers=filled) as response:
            # A plain GET is no WebSocket, which is the first thing said behind the gate.
            assert response.status == (400 if path == "/inputs" and status == 200 else status)
            assert response.headers["X-Content-Type-Options"] == "nosniff"
    session.end()


@pytest.mark.parametrize("first", ["0", "-1", "12", "x", "1e3", "\u0661", ""])
async def test_inputs_from_nowhere_are_refused(tmp_path: Path, first: str) -> None:
    session = KeptSession(tmp_path)
    await session.play([trades(10)])
    async with hub(session) as server, aiohttp.ClientSession() as http:
        url = f"http://127.0.0.1:{server.port}/inputs"
        async with http.get(url, params={"token": TOKEN, "from": first}) as response:
            assert response.status == 400
            assert (await response.text()).startswith("from must be 1 to 11, was ")
    session.end()


async def test_a_taken_port_and_a_short_token_are_told(tmp_path: Path) -> None:
    async with hub(None) as server:
        with pytest.raises(InputError, match="is in use; choose another with --hub"):
            await HubServer(server.port).start()
    for token in ("short", "with a space and more", "ümlautümlautümlaut"):
        with pytest.raises(InputError, match="a hub's token must have 16 letters"):
            HubServer(token=token)
    assert HubServer().url != HubServer().url


async def test_what_the_documentation_shows_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (Path(__file__).parents[2] / "docs/HUB.md").read_text()
    shown = text.partition("```python\n")[2].partition("```")[0]
    session = KeptSession(tmp_path)
    await session.play(events(2_000))
    session.end()
    async with hub(session) as server:
        await asyncio.to_thread(exec, shown, {"URL": server.url, "__name__": "shown"})
    assert capsys.readouterr().out.strip() == session.engine.digest()
