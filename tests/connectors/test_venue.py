"""Connections to the venue: what they are told, what is demanded of them, how trades happen."""

import asyncio
import json
import socket
import time

import aiohttp
import pytest
from aiohttp import WSMsgType
from hypothesis import given
from hypothesis import strategies as st

from flowtape.connectors.binance.rows import rows_of
from flowtape.connectors.venue import outbox
from flowtape.connectors.venue.connection import ConnectionRules
from flowtape.connectors.venue.control import STREAMS_MAX, Subscriptions
from flowtape.connectors.venue.faults import Abort, Close, Delay, Drop, Hold, Shutdown
from flowtape.connectors.venue.listing import Listing
from flowtape.connectors.venue.prefetch import prefetched
from flowtape.connectors.venue.server import VenueServer
from flowtape.stream.errors import InputError
from flowtape.stream.instrument import Instrument
from tests.connectors.venue_asking import FIRST_ID, STREAM, get, next_text


@pytest.fixture
async def http(no_leaks):
    async with aiohttp.ClientSession() as session:
        yield session


def ask(subscriptions: Subscriptions, message: object) -> object:
    text = message if isinstance(message, str) else json.dumps(message)
    return json.loads(subscriptions.answer(text))


def error(subscriptions: Subscriptions, message: object) -> tuple[int, str]:
    reply = ask(subscriptions, message)
    return reply["error"]["code"], reply["error"]["msg"]


def test_control_messages_are_answered_like_binance():
    subscriptions = Subscriptions(combined=False, micros=False)
    assert subscriptions.answer('{"method":"SUBSCRIBE","params":["a@aggTrade","b"],"id":1}') == (
        b'{"result":null,"id":1}'
    )
    listing = {"method": "LIST_SUBSCRIPTIONS", "id": "u-1"}
    assert ask(subscriptions, listing) == {"result": ["a@aggTrade", "b"], "id": "u-1"}
    ask(subscriptions, {"method": "UNSUBSCRIBE", "params": ["b", "never"], "id": None})
    assert ask(subscriptions, listing)["result"] == ["a@aggTrade"]
    getting = {"method": "GET_PROPERTY", "params": ["combined"], "id": 6}
    assert ask(subscriptions, getting) == {"result": False, "id": 6}
    setting = {"method": "SET_PROPERTY", "params": ["combined", True], "id": 5}
    assert ask(subscriptions, setting) == {"result": None, "id": 5}
    assert ask(subscriptions, getting) == {"result": True, "id": 6}


@pytest.mark.parametrize(
    ("message", "code", "said"),
    [
        ("hello", 3, "Invalid JSON"),
        ('{"method":', 3, "Invalid JSON"),
        ({"id": 1}, 2, "missing field `method`"),
        ({"method": "LOGIN", "id": 1}, 2, "unknown variant LOGIN, expected one of `SUBSCRIBE`"),
        ({"method": 3, "id": 1}, 2, "Invalid request"),
        ([1], 2, "Invalid request"),
        ({"method": "LIST_SUBSCRIPTIONS"}, 2, "request ID"),
        ({"method": "LIST_SUBSCRIPTIONS", "id": 1.5}, 2, "request ID"),
        ({"method": "LIST_SUBSCRIPTIONS", "id": "x" * 37}, 2, "request ID"),
        ({"method": "SUBSCRIBE", "params": "a", "id": 1}, 2, "params"),
        ({"method": "GET_PROPERTY", "params": ["other"], "id": 1}, 0, "Unknown property"),
        ({"method": "GET_PROPERTY", "params": [1], "id": 1}, 2, "must be a string"),
        ({"method": "GET_PROPERTY", "params": ["combined", 1], "id": 1}, 2, "too many"),
        ({"method": "SET_PROPERTY", "params": ["combined", 1], "id": 1}, 1, "expected Boolean"),
        (
            {"method": "SUBSCRIBE", "params": [str(i) for i in range(STREAMS_MAX + 1)], "id": 1},
            4,
            "Too many subscriptions",
        ),
    ],
)
def test_bad_control_messages_get_binances_codes(message, code, said):
    got, text = error(Subscriptions(combined=False, micros=False), message)
    assert got == code
    assert said in text
    flat = Subscriptions(combined=False, micros=False, flat_errors=True)
    assert ask(flat, message)["code"] == code


@given(st.text(st.characters(codec="utf-8"), max_size=80))
def test_any_control_text_gets_a_reply(text):
    assert json.loads(Subscriptions(combined=False, micros=False).answer(text))


async def test_subscribing_later_and_leaving_again(http, open_venue, instrument, make_trades):
    venue = await open_venue(instrument, make_trades(10))
    for url in ("/ws", "/stream", "/ws/0"):
        async with http.ws_connect(venue.ws_url + url) as socket:
            await socket.send_json({"method": "SUBSCRIBE", "params": [STREAM], "id": 1})
            assert await next_text(socket) == '{"result":null,"id":1}'
            await venue.wait_for_subscribers()
            await venue.publish(1)
            assert '"e":"aggTrade"' in await next_text(socket)
            await socket.send_json({"method": "UNSUBSCRIBE", "params": [STREAM], "id": 2})
            assert await next_text(socket) == '{"result":null,"id":2}'
            await venue.publish(1)
            await socket.send_json({"method": "LIST_SUBSCRIPTIONS", "id": 3})
            assert await next_text(socket) == '{"result":[],"id":3}'


async def test_an_upper_case_symbol_is_accepted_and_silent(
    http, open_venue, instrument, make_trades
):
    venue = await open_venue(instrument, make_trades(1))
    async with http.ws_connect(f"{venue.ws_url}/ws/BTCUSDT@aggTrade") as socket:
        await venue.publish(1)
        await socket.send_json({"method": "LIST_SUBSCRIPTIONS", "id": 3})
        assert await next_text(socket) == '{"result":["BTCUSDT@aggTrade"],"id":3}'


async def test_futures_trades_flow_on_the_market_route_alone(http, open_venue, make_trades):
    instrument = Instrument("BTCUSDT", "um", price_decimals=2, qty_decimals=3)
    trades = make_trades(1)
    row = rows_of(trades)[0]
    venue = await open_venue(instrument, trades)
    async with (
        http.ws_connect(f"{venue.ws_url}/ws/{STREAM}") as unrouted,
        http.ws_connect(f"{venue.ws_url}/market/stream?streams={STREAM}") as routed,
    ):
        await venue.wait_for_subscribers(1)
        await venue.publish(1)
        frame = json.loads(await next_text(routed))["data"]
        assert list(frame) == ["e", "E", "a", "s", "p", "q", "nq", "f", "l", "T", "m", "st"]
        assert frame["p"] == f"{row.price_ticks / 100:.2f}"
        await unrouted.send_json({"method": "LIST_SUBSCRIPTIONS", "id": 3})
        assert await next_text(unrouted) == f'{{"result":["{STREAM}"],"id":3}}'
    status, body, _ = await get(http, venue, "/fapi/v1/aggTrades", symbol="BTCUSDT")
    assert (status, [r["nq"] for r in json.loads(body)]) == (200, [frame["q"]])


async def test_faults_on_the_stream(http, open_venue, instrument, make_trades):
    faults = [Drop(1_001, 1_001), Delay(1_002, 1), Shutdown(1_004), Close(1_005, 1012, "restart")]
    venue = await open_venue(instrument, make_trades(10), faults=faults)
    async with http.ws_connect(f"{venue.ws_url}/stream?streams={STREAM}") as socket:
        await venue.wait_for_subscribers()
        await venue.publish(10)
        frames = [json.loads(await next_text(socket)) for _ in range(5)]
        ids = [frame["data"].get("a") for frame in frames]
        assert ids == [1_000, 1_003, 1_002, None, 1_004]
        assert frames[3]["stream"] == "!serverShutdown"
        assert frames[3]["data"]["e"] == "serverShutdown"
        assert (await socket.receive()).type is WSMsgType.CLOSE
        assert socket.close_code == 1012
    venue.inject(Abort(FIRST_ID + 20))
    assert venue.subscriber_count == 0


async def test_an_abort_is_a_reset_without_a_goodbye(http, open_venue, instrument, make_trades):
    venue = await open_venue(instrument, make_trades(10), faults=[Abort(1_000)])
    async with http.ws_connect(f"{venue.ws_url}/ws/{STREAM}") as socket:
        await venue.wait_for_subscribers()
        await venue.publish(1)
        message = await asyncio.wait_for(socket.receive(), 5)
        assert message.type in (WSMsgType.ERROR, WSMsgType.CLOSED, WSMsgType.CLOSE)
        assert socket.close_code in (None, 1006)


async def test_pings_are_sent_and_their_echo_is_demanded(http, open_venue, instrument, make_trades):
    rules = ConnectionRules(ping_s=0.02, pong_s=0.06, messages_per_s=1_000)
    venue = await open_venue(instrument, make_trades(1), rules=rules)
    async with http.ws_connect(f"{venue.ws_url}/ws", autoping=False) as socket:
        message = await asyncio.wait_for(socket.receive(), 5)
        assert message.type is WSMsgType.PING
        while message.type is WSMsgType.PING:
            await socket.pong(b"not the payload")
            message = await asyncio.wait_for(socket.receive(), 5)
        assert (socket.close_code, message.extra) == (1008, "Pong timeout")


async def test_a_client_that_pongs_stays(http, open_venue, instrument, make_trades):
    rules = ConnectionRules(ping_s=0.01, pong_s=0.05, messages_per_s=1_000)
    venue = await open_venue(instrument, make_trades(1), rules=rules)
    async with http.ws_connect(f"{venue.ws_url}/ws", autoping=False) as socket:
        for _ in range(15):
            message = await asyncio.wait_for(socket.receive(), 5)
            assert message.type is WSMsgType.PING
            await socket.pong(message.data)


async def test_too_many_messages_are_cut_off(http, open_venue, instrument, make_trades):
    venue = await open_venue(instrument, make_trades(1))
    async with http.ws_connect(f"{venue.ws_url}/ws") as socket:
        for number in range(6):
            await socket.send_json({"method": "LIST_SUBSCRIPTIONS", "id": number})
        message = await asyncio.wait_for(socket.receive(), 5)
        while message.type is WSMsgType.TEXT:
            message = await asyncio.wait_for(socket.receive(), 5)
        assert (socket.close_code, message.extra) == (1008, "Too many requests")


@pytest.mark.parametrize("speed", [float("inf"), 20.0])
async def test_trades_happen_by_themselves_at_a_speed(
    speed, http, open_venue, instrument, make_trades
):
    trades = make_trades(200, step_us=10_000)
    venue = await open_venue(
        instrument, (trades.slice(i, i + 50) for i in range(0, 200, 50)), speed=speed
    )
    assert venue.last_id is None
    began_s = time.monotonic()
    async with http.ws_connect(f"{venue.ws_url}/ws/{STREAM}") as socket:
        ids = [json.loads(await next_text(socket))["a"] for _ in range(200)]
        await venue.wait_finished()
    took_s = time.monotonic() - began_s
    assert ids == trades.agg_id.tolist()
    span_s = float(trades.ts_us[-1] - trades.ts_us[0]) / 1e6
    assert took_s >= span_s / speed


async def test_a_taken_port_and_a_bad_speed_are_refused(open_venue, instrument, make_trades):
    first = await open_venue(instrument, make_trades(1))
    port = int(first.ws_url.rsplit(":", 1)[1])
    second = VenueServer(instrument, make_trades(1))
    with pytest.raises(InputError, match=f"port {port} is in use; choose another with --port"):
        await second.start(port)
    for speed in (0.0, -1.0, float("nan")):
        with pytest.raises(InputError, match="speed must be above 0"):
            VenueServer(instrument, make_trades(1), speed=speed)
    with pytest.raises(InputError, match="spot or um"):
        VenueServer(Instrument("BTCUSD_PERP", "cm", 1, 0), make_trades(1))


async def test_stopping_says_goodbye_and_may_be_repeated(http, open_venue, instrument, make_trades):
    venue = await open_venue(instrument, make_trades(1))
    async with http.ws_connect(f"{venue.ws_url}/ws/{STREAM}") as socket:
        await venue.wait_for_subscribers()
        stopping = asyncio.create_task(venue.stop())
        assert (await asyncio.wait_for(socket.receive(), 5)).type is WSMsgType.CLOSE
        assert socket.close_code == 1001
        await stopping
    await venue.stop()


async def test_several_symbols_flow_on_one_clock(http, open_venue, instrument, make_trades):
    other = Instrument("ETHUSDT", "spot", price_decimals=2, qty_decimals=4)
    listings = [
        Listing(listed, make_trades(300, step_us=20_000, seed=seed))
        for seed, listed in enumerate((instrument, other))
    ]
    venue = await open_venue(listings, (), speed=float("inf"))
    names = "/".join((STREAM, "ethusdt@aggTrade", "ethusdt@kline_1s"))
    async with http.ws_connect(f"{venue.ws_url}/stream?streams={names}") as socket:
        await asyncio.wait_for(venue.wait_finished(), 10)
        await socket.send_json({"method": "LIST_SUBSCRIPTIONS", "id": 1})
        frames = []
        while "stream" in (frame := json.loads(await next_text(socket))):
            frames.append(frame)
    ids = {name: [] for name in names.split("/")}
    last_us = dict.fromkeys(ids, 0)
    for frame in frames:
        ids[frame["stream"]].append(frame["data"].get("a"))
        last_us[frame["stream"]] = frame["data"]["E"] * 1_000
        apart_us = abs(last_us[STREAM] - last_us["ethusdt@aggTrade"])
        assert apart_us < 2_000_000 or not min(last_us[STREAM], last_us["ethusdt@aggTrade"])
    assert ids[STREAM] == ids["ethusdt@aggTrade"] == list(range(1_000, 1_300))
    assert len(ids["ethusdt@kline_1s"]) > 3
    _, body, _ = await get(http, venue, "/api/v3/exchangeInfo", symbols='["ETHUSDT"]')
    assert [symbol["symbol"] for symbol in json.loads(body)["symbols"]] == ["ETHUSDT"]
    _, body, _ = await get(http, venue, "/api/v3/exchangeInfo", symbolStatus="HALT")
    assert json.loads(body)["symbols"] == []
    _, body, _ = await get(http, venue, "/api/v3/ticker/price")
    assert [row["symbol"] for row in json.loads(body)] == ["BTCUSDT", "ETHUSDT"]
    with pytest.raises(InputError, match="a fault is for XRPUSDT, which is not on this venue"):
        venue.inject(Abort(1_000, symbol="XRPUSDT"))


@pytest.mark.parametrize("kind", ["aggTrade", "kline_1m", "miniTicker", "ticker"])
async def test_futures_streams_have_their_route(kind, http, open_venue, make_trades):
    instrument = Instrument("BTCUSDT", "um", price_decimals=2, qty_decimals=3)
    venue = await open_venue(instrument, make_trades(300, step_us=200_000))
    heard = {}
    for route in ("", "/public", "/private", "/market"):
        async with http.ws_connect(f"{venue.ws_url}{route}/ws/btcusdt@{kind}") as socket:
            await venue.publish(60)
            await socket.send_json({"method": "LIST_SUBSCRIPTIONS", "id": 1})
            heard[route] = "result" not in await next_text(socket)
    assert heard == {"": False, "/public": False, "/private": False, "/market": True}


async def test_long_addresses_are_taken(http, open_venue, instrument, make_trades):
    venue = await open_venue(instrument, make_trades(1))
    names = [STREAM, *(f"coin{number}usdt@aggTrade" for number in range(760))]
    url = f"{venue.ws_url}/stream?streams={'/'.join(names)}"
    assert 15_000 < len(url) < 17_000
    async with http.ws_connect(url) as socket:
        await venue.wait_for_subscribers()
        await venue.publish(1)
        assert '"a":1000' in await next_text(socket)


async def test_a_client_too_far_behind_is_cut_off_and_the_others_go_on(
    http, open_venue, instrument, make_trades, monkeypatch
):
    monkeypatch.setattr(outbox, "OUTBOX_BYTES", 200_000)
    trades = make_trades(4_000, step_us=100)
    venue = await open_venue(instrument, trades, speed=1.0, faults=[Hold(1_100, for_s=60)])
    url = f"{venue.ws_url}/ws/{STREAM}"
    async with http.ws_connect(url) as behind:
        ids = [json.loads(await next_text(behind))["a"] for _ in range(100)]
        assert ids == list(range(1_000, 1_100))
        while venue.last_id < 1_100:
            await get(http, venue, "/api/v3/ping")
        async with http.ws_connect(url) as quick:
            ids = [json.loads(await next_text(quick))["a"]]
            while ids[-1] < 4_999:
                ids.append(json.loads(await next_text(quick))["a"])
        assert ids == list(range(ids[0], 5_000))
        assert (await asyncio.wait_for(behind.receive(), 5)).type in (
            WSMsgType.CLOSED,
            WSMsgType.ERROR,
        )


async def test_a_tape_may_happen_now(http, open_venue, instrument, make_trades):
    trades = make_trades(50, step_us=1_000)
    start_us = wall_us = 1_900_000_000_000_777
    venue = await open_venue(
        instrument, trades, speed=1.0, wall_us=lambda: wall_us, happened_count=10
    )

    async def past() -> list[int]:
        _, body, _ = await get(http, venue, "/api/v3/aggTrades", symbol="BTCUSDT", limit=1_000)
        return [row["T"] for row in json.loads(body)[:10]]

    by_us = start_us // 1_000 * 1_000 - int(trades.ts_us[10]) // 1_000 * 1_000
    before = await past()
    assert all(
        abs(ms * 1_000 - us - by_us) <= 2_000
        for ms, us in zip(before, trades.ts_us[:10], strict=True)
    )
    assert before[-1] * 1_000 <= wall_us
    wall_us += 7_000_000
    trades = trades.slice(10, 50)
    _, body, _ = await get(http, venue, "/api/v3/time")
    assert json.loads(body) == {"serverTime": wall_us // 1_000}
    async with http.ws_connect(f"{venue.ws_url}/ws/{STREAM}?timeUnit=MICROSECOND") as socket:
        frames = [json.loads(await next_text(socket)) for _ in range(40)]
    assert await past() == before
    by_us = frames[0]["T"] - int(trades.ts_us[0])
    assert by_us % 1_000 == 0
    assert 0 <= wall_us - frames[0]["T"] < 1_000
    assert [frame["T"] - by_us for frame in frames] == trades.ts_us.tolist()
    assert [frame["E"] for frame in frames] == [frame["T"] for frame in frames]
    _, body, _ = await get(http, venue, "/api/v3/aggTrades", symbol="BTCUSDT", limit=1)
    assert json.loads(body)[0]["T"] == frames[-1]["T"] // 1_000


def test_reading_ahead_keeps_the_order_and_the_error():
    def items():
        yield from range(5)
        raise InputError("the disk is gone")

    seen = []
    with pytest.raises(InputError, match="the disk is gone"):
        seen.extend(prefetched(items()))
    assert seen == [0, 1, 2, 3, 4]
    assert list(prefetched(iter(range(3)))) == [0, 1, 2]


async def test_the_end_comes_when_everything_was_sent(http, open_venue, instrument, make_trades):
    venue = await open_venue(instrument, make_trades(20_000, step_us=10), speed=float("inf"))
    async with http.ws_connect(f"{venue.ws_url}/ws/{STREAM}") as socket:

        async def stop() -> None:
            await venue.wait_finished()
            await venue.stop()

        stopping = asyncio.create_task(stop())
        count = 0
        while (message := await asyncio.wait_for(socket.receive(), 5)).type is WSMsgType.TEXT:
            count += 1
        assert (count, message.type, message.data) == (20_000, WSMsgType.CLOSE, 1001)
        await stopping


async def test_the_venue_ends_although_a_client_takes_nothing(open_venue, instrument, make_trades):
    venue = await open_venue(instrument, make_trades(60_000))
    host, port = venue.ws_url.removeprefix("ws://").split(":")
    client = socket.create_connection((host, int(port)))
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    client.sendall(
        f"GET /ws/{STREAM} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n".encode()
    )
    try:
        await venue.wait_for_subscribers()
        async with asyncio.timeout(30):
            publishing = asyncio.create_task(venue.publish(60_000))
            await asyncio.sleep(0.5)
            publishing.cancel()
            await asyncio.gather(publishing, return_exceptions=True)
            await venue.stop()
    finally:
        client.close()
