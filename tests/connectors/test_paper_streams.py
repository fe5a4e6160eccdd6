"""What a paper account tells as it happens, and the calls of the WebSocket API."""

import asyncio
import json
from urllib.parse import urlencode

import pytest

from tests.connectors.conftest import COUNT, WALL_US
from tests.connectors.paper_client import (
    KEYS,
    Caller,
    heard,
    heard_until,
    listen_key,
    listening,
    signature,
    until,
    while_trading,
)

LOW = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC"} | {
    "quantity": "0.01",
    "price": "60000",
}
MARKET = {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "0.02"}


async def test_events_of_the_account_come_by_the_listen_key(open_account, http):
    venue, client = await open_account(answer_s=30)
    key = await listen_key(client)
    assert await listen_key(client) == key
    async with http.ws_connect(f"{venue.ws_url}/ws/{key}") as socket:
        await listening(socket, key)
        order = await while_trading(venue, client.ask("POST", "order", **MARKET))
        fills = order["fills"]
        events = [await heard(socket)]
        while events[-1].get("X") != "FILLED":
            events.append(await heard(socket))
        reports = [one for one in events if one["e"] == "executionReport"]
        assert [one["x"] for one in reports] == ["NEW", *["TRADE"] * len(fills)]
        assert [(one["L"], one["l"], one["n"], one["t"]) for one in reports[1:]] == [
            (fill["price"], fill["qty"], fill["commission"], fill["tradeId"]) for fill in fills
        ]
        assert (reports[-1]["z"], reports[-1]["Z"]) == ("0.02000000", order["cummulativeQuoteQty"])
        position = await heard(socket)
        account = await client.ask("GET", "account")
        told = {one["a"]: (one["f"], one["l"]) for one in position["B"]}
        assert told == {one["asset"]: (one["free"], one["locked"]) for one in account["balances"]}
        resting = await while_trading(venue, client.ask("POST", "order", **LOW))
        await heard_until(socket, "NEW")
        name = {"symbol": "BTCUSDT", "orderId": resting["orderId"], "newClientOrderId": "end"}
        await while_trading(venue, client.ask("DELETE", "order", **name))
        last = (await heard_until(socket, "CANCELED"))[-1]
        assert (last["c"], last["C"]) == ("end", resting["clientOrderId"])


async def test_events_are_wrapped_and_timed_as_the_connection_asks(open_account, http):
    venue, client = await open_account(over=True, answer_s=30)
    key = await listen_key(client)
    url = f"{venue.ws_url}/stream?streams={key}&timeUnit=MICROSECOND"
    async with http.ws_connect(url) as combined, http.ws_connect(f"{venue.ws_url}/ws") as plain:
        await plain.send_json({"method": "SUBSCRIBE", "params": [key], "id": 1})
        assert await heard(plain) == {"result": None, "id": 1}
        await listening(combined, key)
        await client.ask("POST", "order", **LOW)
        wrapped = await heard(combined)
        assert wrapped["stream"] == key
        event = await heard(plain)
        assert wrapped["data"]["T"] // 1_000 == event["T"]
        assert wrapped["data"] | {"E": 0, "T": 0, "O": 0, "W": 0} == event | {
            "E": 0,
            "T": 0,
            "O": 0,
            "W": 0,
        }


async def test_a_listen_key_that_was_closed_is_none(open_account, http):
    venue, client = await open_account(over=True, answer_s=30)
    key = await listen_key(client)
    assert (await client.raw("PUT", "userDataStream", f"listenKey={key}"))[0] == 200
    for wrong, code in (("", -1102), (f"listenKey={'a' * 64}", -1125)):
        for method in ("PUT", "DELETE"):
            status, answer = await client.raw(method, "userDataStream", wrong)
            assert (status, answer["code"]) == (400, code)
    async with http.ws_connect(f"{venue.ws_url}/ws/{key}") as socket:
        await listening(socket, key)
        assert (await client.raw("DELETE", "userDataStream", f"listenKey={key}"))[0] == 200
        assert (await client.raw("PUT", "userDataStream", f"listenKey={key}"))[0] == 400
        await client.ask("POST", "order", **LOW)
        await socket.send_json({"method": "LIST_SUBSCRIPTIONS", "id": 2})
        assert (await heard(socket))["id"] == 2
    assert await listen_key(client) != key


async def test_a_refusal_in_the_answer_is_no_event_and_a_later_one_is(open_account, http):
    venue, client = await open_account(answer_s=0.01)
    key = await listen_key(client)
    async with http.ws_connect(f"{venue.ws_url}/ws/{key}") as socket:
        await listening(socket, key)
        await client.ask("POST", "order", **{**MARKET, "quantity": "9"})
        await venue.publish(COUNT)
        (event,) = await heard_until(socket, "REJECTED")
        assert (event["X"], event["r"]) == ("REJECTED", "-2010")
        code, _ = await client.refused("POST", "order", **{**MARKET, "quantity": "9"})
        assert code == -2010
        await client.ask("POST", "order", **LOW)
        events = await heard_until(socket, "NEW")
        assert len(events) == 1


async def test_calls_do_what_queries_do(open_account, http):
    venue, client = await open_account(over=True, answer_s=30)
    async with http.ws_connect(f"{venue.ws_url}/ws-api/v3") as socket:
        caller = Caller(socket, lambda: WALL_US)
        assert await caller.result("ping", signed=False) == {}
        time = await caller.result("time", signed=False)
        assert time == (await client.raw("GET", "time"))[1]
        assert await caller.result("order.test", **LOW) == {}
        order = await caller.result("order.place", **LOW)
        name = {"symbol": "BTCUSDT", "orderId": order["orderId"]}
        row = await client.ask("GET", "order", **name)
        assert await caller.result("order.status", **name) == row
        assert await caller.result("openOrders.status") == [row]
        account = await client.ask("GET", "account")
        assert await caller.result("account.status") == account
        assert (await caller.result("order.cancel", **name))["status"] == "CANCELED"
        assert [one["status"] for one in await caller.result("allOrders", symbol="BTCUSDT")] == [
            "CANCELED"
        ]
        assert await caller.result("myTrades", symbol="BTCUSDT") == []
        again = await caller.call("order.cancel", **name)
        assert (again["status"], again["error"]["code"]) == (400, -2011)


async def test_a_subscription_gets_events_until_it_ends(open_account, http):
    venue, client = await open_account(over=True, answer_s=30)
    async with http.ws_connect(f"{venue.ws_url}/ws-api/v3") as socket:
        caller = Caller(socket, lambda: WALL_US)
        for number in (0, 1):
            found = await caller.result("userDataStream.subscribe.signature")
            assert found == {"subscriptionId": number}
        first = await client.ask("POST", "order", **LOW)
        for number in (0, 1):
            told = await heard(socket)
            assert told["subscriptionId"] == number
            assert (told["event"]["x"], told["event"]["i"]) == ("NEW", first["orderId"])
        for number in (0, 1):
            told = await heard(socket)
            assert (told["subscriptionId"], told["event"]["e"]) == (
                number,
                "outboundAccountPosition",
            )
        await caller.result("userDataStream.unsubscribe", signed=False, subscriptionId=0)
        await client.ask("DELETE", "openOrders", symbol="BTCUSDT")
        told = await heard(socket)
        assert (told["subscriptionId"], told["event"]["x"]) == (1, "CANCELED")


@pytest.mark.parametrize(
    ("text", "status", "code"),
    [
        ("", 400, -1135),
        ("[" * 5_000, 400, -1135),
        ("[1]", 400, -1135),
        ('{"id": 7}', 400, -1020),
        ('{"id": 7, "method": ["order.place"]}', 400, -1020),
        ('{"id": 7, "method": "session.logon"}', 400, -1020),
        ('{"id": 7, "method": "order.place", "params": [1]}', 400, -1135),
        ('{"id": 7, "method": "order.place"}', 401, -2014),
        ('{"id": 7, "method": "order.place", "params": {"symbol": {}}}', 401, -2014),
        (
            json.dumps({"id": 7, "method": "account.status", "params": {"apiKey": KEYS.api_key}}),
            400,
            -1102,
        ),
    ],
)
async def test_calls_that_make_no_sense_are_refused(open_account, http, text, status, code):
    venue, _ = await open_account(over=True, answer_s=30)
    async with http.ws_connect(f"{venue.ws_url}/ws-api/v3") as socket:
        await socket.send_str(text)
        answer = await heard(socket)
        assert (answer["status"], answer["error"]["code"]) == (status, code)
        assert answer["id"] == (7 if '"id"' in text else None)
        assert await Caller(socket, lambda: WALL_US).result("ping", signed=False) == {}


async def test_a_call_signed_by_another_is_refused(open_account, http):
    venue, _ = await open_account(over=True, answer_s=30)
    async with http.ws_connect(f"{venue.ws_url}/ws-api/v3") as socket:
        params = {"apiKey": KEYS.api_key, "timestamp": WALL_US // 1_000}
        params["signature"] = signature(urlencode(sorted(params.items())), "c" * 64)
        await socket.send_json({"id": 1, "method": "account.status", "params": params})
        assert (await heard(socket))["error"]["code"] == -1022


async def test_the_venue_ends_while_calls_wait(open_account, http):
    venue, _ = await open_account(answer_s=30)
    async with http.ws_connect(f"{venue.ws_url}/ws-api/v3") as socket:
        caller = Caller(socket, lambda: WALL_US)
        waiting = asyncio.ensure_future(caller.call("order.place", **MARKET))
        await until(lambda: venue.paper.orders)
        await venue.stop()
        with pytest.raises(AssertionError):
            await waiting
