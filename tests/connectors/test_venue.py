import asyncio
import json
import time

import aiohttp
import pytest
from aiohttp import WSMsgType
from hypothesis import given
from hypothesis import strategies as st

from flowtape.connectors.binance.rows import rows_of
from flowtape.connectors.venue.connection import ConnectionRules
from flowtape.connectors.venue.control import STREAMS_MAX, Subscriptions
from flowtape.connectors.venue.faults import Abort, Close, Delay, Drop, RestFault, Shutdown
from flowtape.connectors.venue.market import VenueMarket
from flowtape.connectors.venue.server import VenueServer
from flowtape.stream.errors import InputError
from flowtape.stream.instrument import Instrument

STREAM = "btcusdt@aggTrade"
FIRST_ID = 1_000


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


@given(data=st.data())
def test_queries_agree_with_a_plain_list(data, make_trades):
    trades = make_trades(60, step_us=3)
    cuts = sorted(data.draw(st.lists(st.integers(0, 60), max_size=3)))
    parts = [trades.slice(a, b) for a, b in zip([0, *cuts], [*cuts, 60], strict=True)]
    market = VenueMarket(iter(parts))
    happened = data.draw(st.integers(0, 60))
    rows = rows_of(trades)
    assert market.advance(happened) == rows[:happened]
    lost = data.draw(st.sets(st.integers(FIRST_ID, FIRST_ID + 59), max_size=9))
    market.lose(lost)
    there = [row for row in rows[:happened] if row.agg_id not in lost]
    limit = data.draw(st.integers(1, 70))
    from_id = data.draw(st.integers(FIRST_ID - 2, FIRST_ID + 62))
    assert market.from_id(from_id, limit) == [r for r in there if r.agg_id >= from_id][:limit]
    start, end = (rows[data.draw(st.integers(0, 59))].ts_us for _ in range(2))
    between = [r for r in there if start <= r.ts_us <= end]
    assert market.from_time(start, end, limit) == between[:limit]
    assert market.newest(limit) == there[-limit:]
    assert market.newest(limit, end) == [r for r in there if r.ts_us <= end][-limit:]
    until = rows[data.draw(st.integers(0, 59))].ts_us
    later = [r for r in rows[happened:] if r.ts_us <= until]
    assert market.advance(60, until) == later[:60]


@pytest.fixture
async def http(no_leaks):
    async with aiohttp.ClientSession() as session:
        yield session


async def get(http, venue, path, **query):
    async with http.get(f"{venue.rest_url}{path}", params=query) as response:
        assert response.headers["Content-Type"] == "application/json;charset=UTF-8"
        return response.status, await response.text(), response.headers


async def next_text(socket) -> str:
    message = await asyncio.wait_for(socket.receive(), 5)
    assert message.type is WSMsgType.TEXT, message
    return message.data


async def test_frames_are_byte_for_byte_binances(http, open_venue, instrument, make_trades):
    trades = make_trades(2)
    first = rows_of(trades)[0]
    venue = await open_venue(instrument, trades)
    urls = [
        f"/ws/{STREAM}",
        f"/stream?streams={STREAM}",
        f"/ws/{STREAM}?timeUnit=MICROSECOND",
        f"/stream?streams={STREAM}&timeUnit=microsecond",
        f"/stream?streams={STREAM}?timeUnit=MICROSECOND",
        f"/stream?streams={STREAM.replace('@', '%40')}/other@kline_1m",
    ]
    sockets = [await http.ws_connect(venue.ws_url + url) for url in urls]
    await venue.wait_for_subscribers(len(urls))
    await venue.publish(1)
    price = f"{first.price_ticks / 100:.8f}"
    qty = f"{first.qty_lots / 100_000:.8f}"
    maker = "true" if first.is_buyer_maker else "false"

    def payload(unit: int) -> str:
        return (
            f'{{"e":"aggTrade","E":{first.ts_us // unit},"s":"BTCUSDT","a":1000,"p":"{price}",'
            f'"q":"{qty}","f":9000000,"l":{first.last_id},"T":{first.ts_us // unit},'
            f'"m":{maker},"M":true}}'
        )

    def combined(unit: int) -> str:
        return f'{{"stream":"{STREAM}","data":{payload(unit)}}}'

    assert [await next_text(socket) for socket in sockets] == [
        payload(1_000),
        combined(1_000),
        payload(1),
        combined(1),
        combined(1),
        combined(1_000),
    ]
    for socket in sockets:
        await socket.close()


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


async def test_rest_answers_like_binance(http, open_venue, instrument, make_trades):
    trades = make_trades(1_500, step_us=1_000)
    rows = rows_of(trades)
    venue = await open_venue(instrument, trades, happened_count=1_400)
    path = "/api/v3/aggTrades"

    async def ids(**query) -> list[int]:
        status, body, _ = await get(http, venue, path, symbol="BTCUSDT", **query)
        assert status == 200
        return [row["a"] for row in json.loads(body)]

    assert await ids() == list(range(1_900, 2_400))
    assert await ids(limit=3) == [2_397, 2_398, 2_399]
    assert await ids(fromId=1_010, limit=1_000) == list(range(1_010, 2_010))
    assert await ids(fromId=2_398) == [2_398, 2_399]
    assert await ids(fromId=9_999) == []
    start_us = rows[50].ts_us
    since = [row.agg_id for row in rows if row.ts_us >= start_us]
    assert await ids(startTime=start_us, limit=5) == since[:5]
    start_ms = start_us // 1_000
    since_ms = [row.agg_id for row in rows if row.ts_us >= start_ms * 1_000]
    assert await ids(startTime=start_ms, limit=5) == since_ms[:5]
    until = [row.agg_id for row in rows if row.ts_us <= start_us]
    assert await ids(endTime=start_us, limit=5) == until[-5:]
    assert await ids(startTime=start_us, endTime=start_us) == [
        row.agg_id for row in rows if row.ts_us == start_us
    ]
    _, body, _ = await get(http, venue, path, symbol="BTCUSDT", fromId=1_000, limit=1)
    assert body.startswith('[{"a":1000,"p":"')
    assert body.endswith(',"M":true}]')
    for query, code in (
        ({}, -1102),
        ({"symbol": ""}, -1102),
        ({"symbol": "NOPE"}, -1121),
        ({"symbol": "btcusdt"}, -1121),
        ({"symbol": "BTCUSDT", "limit": 0}, -1130),
        ({"symbol": "BTCUSDT", "limit": 1_001}, -1130),
        ({"symbol": "BTCUSDT", "limit": "x"}, -1100),
        ({"symbol": "BTCUSDT", "fromId": -1}, -1100),
        ({"symbol": "BTCUSDT", "fromId": 1, "startTime": 1}, -1128),
    ):
        status, body, _ = await get(http, venue, path, **query)
        assert (status, json.loads(body)["code"]) == (400, code), query


async def test_rest_tells_time_rules_and_weight(http, open_venue, instrument, make_trades):
    venue = await open_venue(instrument, make_trades(5), happened_count=5, weight_per_minute=50)
    now_us = int(make_trades(5).ts_us.max())
    assert (await get(http, venue, "/api/v3/ping"))[1] == "{}"
    assert (await get(http, venue, "/api/v3/time"))[1] == f'{{"serverTime":{now_us // 1_000}}}'
    _, body, headers = await get(http, venue, "/api/v3/exchangeInfo", symbol="BTCUSDT")
    assert headers["x-mbx-used-weight-1m"] == "22"
    (symbol,) = json.loads(body)["symbols"]
    filters = {rule["filterType"]: rule for rule in symbol["filters"]}
    assert filters["PRICE_FILTER"]["tickSize"] == "0.01000000"
    assert filters["LOT_SIZE"]["stepSize"] == "0.00001000"
    assert (symbol["baseAsset"], symbol["quoteAsset"]) == ("BTC", "USDT")
    assert (symbol["isSpotTradingAllowed"], symbol["permissionSets"]) == (True, [["SPOT"]])
    status, body, _ = await get(http, venue, "/api/v3/exchangeInfo", symbol="NOPE")
    assert (status, body) == (400, '{"code":-1121,"msg":"Invalid symbol."}')
    status, body, headers = await get(http, venue, "/api/v3/exchangeInfo")
    assert (status, json.loads(body)["code"]) == (429, -1003)
    assert 1 <= int(headers["Retry-After"]) <= 60
    async with http.get(f"{venue.rest_url}/api/v3/account") as response:
        assert response.status == 404


async def test_rest_faults_come_in_turn(http, open_venue, instrument, make_trades):
    faults = [RestFault(429, retry_after_s=7), RestFault(500, count=2, body="<html>")]
    venue = await open_venue(instrument, make_trades(5), faults=faults)
    answers = [await get(http, venue, "/api/v3/aggTrades", symbol="BTCUSDT") for _ in range(4)]
    assert [status for status, _, _ in answers] == [429, 500, 500, 200]
    assert answers[0][2]["Retry-After"] == "7"
    assert answers[1][1] == "<html>"


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
