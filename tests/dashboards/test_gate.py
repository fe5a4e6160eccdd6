import contextlib
import json
import re
import socket
from collections.abc import AsyncIterator
from html import unescape
from typing import Any

import aiohttp
import pytest
from aiohttp import ClientResponse, ClientSession, ClientWebSocketResponse, WSMsgType

from flowtape.dashboards.gate import Gate, TokenBucket, loopback_host
from flowtape.dashboards.server import DashboardServer, serve
from flowtape.dashboards.web import MESSAGE_BYTES_MAX, MESSAGES_BURST, SESSIONS_MAX
from flowtape.stream.errors import InputError
from tests.dashboards.feeder import Feeder


class Visitor:
    """A client that can send anything."""

    def __init__(self, server: DashboardServer, session: ClientSession) -> None:
        self.server = server
        self.session = session
        self.base = f"http://127.0.0.1:{server.port}"

    async def get(self, path: str = "/", **options: Any) -> tuple[ClientResponse, str]:
        async with self.session.request(
            options.pop("method", "GET"), self.base + path, allow_redirects=False, **options
        ) as reply:
            return reply, await reply.text()

    async def enter(self) -> None:
        reply, _ = await self.get(self.server.url.removeprefix(self.base))
        assert reply.status == 303

    async def token(self) -> str:
        reply, page = await self.get()
        assert reply.status == 200
        found = re.search(r'id="boot">(.*?)</script>', page, re.S)
        assert found is not None
        return str(json.loads(found[1])["token"])

    async def socket(self, token: str, **options: Any) -> ClientWebSocketResponse:
        options.setdefault("origin", self.base)
        return await self.session.ws_connect(
            f"{self.base}/ws", protocols=("bokeh", token), max_msg_size=0, **options
        )


@pytest.fixture
async def server() -> AsyncIterator[DashboardServer]:
    feeder = Feeder(span_s=60, at_s=30, rate_per_s=10)
    server = await serve(feeder.feeds)
    yield server
    await server.stop()


@pytest.fixture
async def stranger(server: DashboardServer) -> AsyncIterator[Visitor]:
    async with ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
        yield Visitor(server, session)


@pytest.fixture
async def guest(stranger: Visitor) -> Visitor:
    await stranger.enter()
    return stranger


def patch(text: str) -> list[str]:
    event = {"kind": "MessageSent", "msg_type": "flowtape", "msg_data": text}
    header = {"msgid": "1", "msgtype": "PATCH-DOC", "num_buffers": 0}
    return [json.dumps(header), "{}", json.dumps({"events": [event]})]


async def closing_code(socket_: ClientWebSocketResponse) -> int | None:
    while True:
        message = await socket_.receive(timeout=5)
        if message.type in {WSMsgType.CLOSE, WSMsgType.CLOSED, WSMsgType.ERROR}:
            return socket_.close_code


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "localhost.evil.example", "127.0.0.1:1", ""]
)
@pytest.mark.parametrize("path", ["/", "/ws", "/assets/main.js", "/static/js/bokeh.min.js"])
async def test_foreign_host_names_are_not_served(guest: Visitor, host: str, path: str) -> None:
    reply, text = await guest.get(path, headers={"Host": host})
    assert reply.status in {400, 421}
    assert "token" not in text


@pytest.mark.parametrize("path", ["/", "/ws", "/assets/main.js", "/static/js/bokeh.min.js"])
async def test_without_the_cookie_nothing_is_served(stranger: Visitor, path: str) -> None:
    reply, text = await stranger.get(path)
    assert reply.status == 401
    assert "Open the link" in text


async def test_a_wrong_cookie_is_refused(stranger: Visitor) -> None:
    name = f"flowtape_{stranger.server.port}"
    reply, text = await stranger.get(headers={"Cookie": f"{name}=guess"})
    assert reply.status == 403
    assert "used already or belongs to an earlier start" in unescape(text)


async def test_a_link_works_once_and_is_replaced() -> None:
    links: list[str] = []
    feeder = Feeder(span_s=60, at_s=30, rate_per_s=10)
    server = await serve(feeder.feeds, on_link=links.append)
    async with ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
        visitor = Visitor(server, session)
        link = server.url
        path = link.removeprefix(visitor.base)
        reply, _ = await visitor.get(path)
        cookie = reply.headers["Set-Cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=Strict" in cookie
        assert len(cookie.split("=", 1)[1].split(";")[0]) >= 43
        again, _ = await visitor.get(path)
        assert again.status == 403
        assert "Set-Cookie" not in again.headers
        assert links == [server.url]
        assert server.url != link
    await server.stop()


async def test_every_answer_carries_the_safe_headers(guest: Visitor) -> None:
    for path in ("/", "/assets/main.js", "/static/js/bokeh.min.js", "/nothing", "/?token=x"):
        reply, _ = await guest.get(path)
        policy = reply.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self';" in policy
        assert "frame-ancestors 'none'" in policy
        assert reply.headers["X-Frame-Options"] == "DENY"
        assert reply.headers["X-Content-Type-Options"] == "nosniff"
        assert "Access-Control-Allow-Origin" not in reply.headers
        assert "Server" not in reply.headers


async def test_only_what_the_screen_needs_is_routed(guest: Visitor) -> None:
    for path in ("/autoload.js", "/metadata", "/favicon.ico", "/static/extensions/x.js", "/x"):
        reply, _ = await guest.get(path)
        assert reply.status == 404, path
    reply, _ = await guest.get("/assets/%2e%2e/server.py")
    assert reply.status in {403, 404}
    reply, _ = await guest.get(method="POST")
    assert reply.status == 405
    reply, _ = await guest.get(headers={"Origin": "http://evil.example"})
    assert reply.status == 403


async def test_scripts_come_compressed_and_from_here(guest: Visitor) -> None:
    reply, page = await guest.get("/static/js/bokeh.min.js")
    assert reply.headers["Content-Encoding"] == "gzip"
    _, page = await guest.get()
    assert not re.search(r'(?:src|href)="(?!/)', page)
    assert "flowtape_" not in page


@pytest.mark.parametrize(
    "origin",
    [None, "null", "http://evil.example", "http://localhost.evil.example", "https://127.0.0.1:{p}"],
)
async def test_sockets_need_our_own_origin(guest: Visitor, origin: str | None) -> None:
    token = await guest.token()
    if origin is not None:
        origin = origin.replace("{p}", str(guest.server.port))
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await guest.socket(token, origin=origin)
    assert refused.value.status == 403


async def test_our_own_origin_is_let_in_and_fed(guest: Visitor) -> None:
    socket_ = await guest.socket(await guest.token())
    for fragment in patch('{"kind": "hello", "feed": 0}'):
        await socket_.send_str(fragment)
    while True:
        message = await socket_.receive(timeout=5)
        if message.type is WSMsgType.BINARY:
            assert message.data[:4] == b"FLTP"
            break
    await socket_.close()


async def test_forged_session_tokens_are_refused(guest: Visitor) -> None:
    token = await guest.token()
    forged = token[:-4] + ("AAAA" if token[-4:] != "AAAA" else "BBBB")
    socket_ = await guest.socket(forged)
    assert await closing_code(socket_) is not None


@pytest.mark.parametrize(
    "fragments",
    [
        patch("{}"),
        patch('{"kind": "hello", "feed": 99}'),
        [json.dumps({"msgid": "1", "msgtype": "PATCH-DOC"}), "{}", '{"events": [{}]}'],
        [json.dumps({"msgid": "1", "msgtype": "PUSH-DOC"}), "{}", '{"doc": {}}'],
        ["no json", "{}", "{}"],
        ["{}", "{}", "{}"],
    ],
)
async def test_messages_that_make_no_sense_end_the_connection(
    guest: Visitor, fragments: list[str]
) -> None:
    socket_ = await guest.socket(await guest.token())
    for fragment in fragments:
        await socket_.send_str(fragment)
    assert await closing_code(socket_) is not None


async def test_changes_of_the_document_are_not_applied(guest: Visitor) -> None:
    socket_ = await guest.socket(await guest.token())
    event = {"kind": "TitleChanged", "title": "mine"}
    for fragment in (
        json.dumps({"msgid": "1", "msgtype": "PATCH-DOC"}),
        "{}",
        json.dumps({"events": [event]}),
        json.dumps({"msgid": "2", "msgtype": "PULL-DOC-REQ"}),
        "{}",
        "{}",
    ):
        await socket_.send_str(fragment)
    seen = ""
    while "PULL-DOC-REPLY" not in seen:
        seen = (await socket_.receive(timeout=5)).data
    await socket_.receive(timeout=5)
    document = json.loads((await socket_.receive(timeout=5)).data)["doc"]
    assert document["title"] == "flowtape"
    await socket_.close()


async def test_a_flood_of_messages_ends_the_connection(guest: Visitor) -> None:
    socket_ = await guest.socket(await guest.token())
    # Far more than a slow machine lets through while it takes them in.
    with contextlib.suppress(ConnectionError):
        for _ in range(8 * int(MESSAGES_BURST)):
            for fragment in patch('{"kind": "ack", "seq": 0}'):
                await socket_.send_str(fragment)
    assert await closing_code(socket_) == 1008


async def test_giant_messages_end_the_connection(guest: Visitor) -> None:
    socket_ = await guest.socket(await guest.token())
    await socket_.send_str("x" * (MESSAGE_BYTES_MAX + 1))
    assert await closing_code(socket_) in {1006, 1009}


async def test_the_number_of_screens_is_limited(guest: Visitor) -> None:
    tokens = [await guest.token() for _ in range(SESSIONS_MAX + 1)]
    sockets = [await guest.socket(token) for token in tokens[:-1]]
    for socket_ in sockets:
        assert "ACK" in (await socket_.receive(timeout=5)).data
    reply, text = await guest.get()
    assert reply.status == 503
    assert "close one" in text
    with pytest.raises(aiohttp.WSServerHandshakeError):
        await guest.socket(tokens[-1])
    for socket_ in sockets:
        await socket_.close()


async def test_a_port_in_use_is_one_clear_line() -> None:
    feeder = Feeder(span_s=60, at_s=30, rate_per_s=10)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=f"port {port} on 127.0.0.1 is in use") as error:
            await serve(feeder.feeds, port=port)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.4", "example.org", ""])
async def test_only_loopback_is_listened_on(host: str) -> None:
    with pytest.raises(InputError, match="this computer only"):
        await serve(Feeder(span_s=60, rate_per_s=10).feeds, host=host)


@pytest.mark.parametrize("host", ["::1", "localhost"])
async def test_every_loopback_name_leads_in(host: str) -> None:
    server = await serve(Feeder(span_s=60, rate_per_s=10).feeds, host=host)
    jar = aiohttp.CookieJar(unsafe=True)
    async with ClientSession(cookie_jar=jar) as session, session.get(server.url) as reply:
        assert reply.status == 200
        assert "<title>flowtape</title>" in await reply.text()
    await server.stop()


async def test_large_requests_are_cut_off(guest: Visitor) -> None:
    reply, _ = await guest.get(method="POST", data=b"x" * (1 << 17))
    assert reply.status in {400, 405}


@pytest.mark.parametrize("port", [-1, 65536])
async def test_impossible_ports_are_refused(port: int) -> None:
    with pytest.raises(InputError, match="port must be"):
        await serve(Feeder(span_s=60, rate_per_s=10).feeds, port=port)


async def test_without_feeds_there_is_nothing_to_serve() -> None:
    with pytest.raises(InputError, match="nothing to show"):
        await serve([])


def test_loopback_addresses_and_links() -> None:
    assert loopback_host("127.0.0.1") == "127.0.0.1"
    assert loopback_host("::1") == "::1"
    gate = Gate("::1", 8080, lambda _: None)
    assert gate.link.startswith("http://[::1]:8080/?token=")
    assert "[::1]:8080" in gate.hosts
    assert gate.redeem("") is None


def test_bucket_allows_bursts_and_refills() -> None:
    bucket = TokenBucket(10, 5, 0.0)
    assert [bucket.take(0.0) for _ in range(6)] == [True] * 5 + [False]
    assert bucket.take(0.1)
    assert not bucket.take(0.1)
    assert [bucket.take(100.0) for _ in range(6)] == [True] * 5 + [False]
