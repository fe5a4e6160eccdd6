"""Orders of a paper account that are replaced or amended, and how many there may be."""

from decimal import Decimal

import pytest

from flowtape.connectors.venue.paper_limits import ORDER_LIMITS, OrderCounts
from flowtape.connectors.venue.queries import BadQueryError
from flowtape.stream.config import EngineConfig
from tests.connectors.conftest import COUNT, WALL_US
from tests.connectors.paper_client import (
    Caller,
    heard_until,
    listen_key,
    listening,
    while_trading,
)

LOW = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC"} | {
    "quantity": "0.01",
    "price": "60000",
}
MARKET = {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "0.02"}
TOO_MUCH = {**LOW, "quantity": "9"}
STOPS = {"cancelReplaceMode": "STOP_ON_FAILURE"}
GOES_ON = {"cancelReplaceMode": "ALLOW_FAILURE"}
SHORT = {"code": -2010, "msg": "Account has insufficient balance for requested action."}
UNKNOWN = {"code": -2011, "msg": "Unknown order sent."}


async def failed(client, method, path, **params):
    """Ask with a signed query that fails in part; return status, code and what was done."""
    status, answer = await client.raw(method, path, client.signed(params))
    return status, answer["code"], answer["data"]


@pytest.mark.parametrize("by", ["cancelOrderId", "cancelOrigClientOrderId"])
async def test_an_order_is_replaced_with_the_cash_it_set_free(open_account, by):
    _, client = await open_account(over=True)
    # one alone can be paid for
    large = {**LOW, "quantity": "0.15"}
    first = await client.ask("POST", "order", **large, newClientOrderId="first")
    name = {by: first["orderId"] if by == "cancelOrderId" else "first"}
    done = await client.ask(
        *("POST", "order/cancelReplace"),
        **{**large, **STOPS, **name, "price": "61000", "cancelNewClientOrderId": "end"},
    )
    assert (done["cancelResult"], done["newOrderResult"]) == ("SUCCESS", "SUCCESS")
    assert [done["cancelResponse"][one] for one in ("orderId", "status", "clientOrderId")] == [
        first["orderId"],
        "CANCELED",
        "end",
    ]
    assert (done["newOrderResponse"]["status"], done["newOrderResponse"]["fills"]) == ("NEW", [])
    (row,) = await client.ask("GET", "openOrders")
    assert (row["orderId"], row["price"]) == (2, "61000.00000000")


async def test_a_replacement_that_fails_says_what_was_done(open_account):
    _, client = await open_account(over=True)
    path = "order/cancelReplace"
    status, code, data = await failed(client, "POST", path, **LOW, **STOPS, cancelOrderId=7)
    assert (status, code) == (400, -2022)
    assert data == {
        "cancelResult": "FAILURE",
        "newOrderResult": "NOT_ATTEMPTED",
        "cancelResponse": UNKNOWN,
        "newOrderResponse": None,
    }
    assert await client.ask("GET", "allOrders", symbol="BTCUSDT") == []
    status, code, data = await failed(client, "POST", path, **LOW, **GOES_ON, cancelOrderId=7)
    assert (status, code) == (409, -2021)
    assert (data["cancelResult"], data["cancelResponse"]) == ("FAILURE", UNKNOWN)
    placed = data["newOrderResponse"]
    assert (data["newOrderResult"], placed["status"]) == ("SUCCESS", "NEW")
    name = {"cancelOrderId": placed["orderId"]}
    for mode in (STOPS, GOES_ON):
        status, code, data = await failed(client, "POST", path, **TOO_MUCH, **mode, **name)
        assert data["newOrderResponse"] == SHORT
        canceled = mode is STOPS
        assert (status, code) == ((409, -2021) if canceled else (400, -2022))
        assert (data["cancelResult"], data["newOrderResult"]) == (
            "SUCCESS" if canceled else "FAILURE",
            "FAILURE",
        )
    assert await client.ask("GET", "openOrders") == []


async def test_a_replacement_whose_cancel_is_still_on_its_way_places_nothing(open_account):
    venue, client = await open_account(past=COUNT - 1)
    order = await client.ask("POST", "order", **LOW)
    name = {"cancelOrderId": order["orderId"]}
    text = client.signed({**LOW, **STOPS, **name})
    status, answer = await client.raw("POST", "order/cancelReplace", text)
    assert (status, answer["code"]) == (504, -1007)
    await venue.publish(1)
    rows = await client.ask("GET", "allOrders", symbol="BTCUSDT")
    assert [row["status"] for row in rows] == ["CANCELED"]


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"cancelReplaceMode": None}, -1102),
        ({"cancelReplaceMode": "MAYBE"}, -1130),
        ({"cancelOrderId": None}, -1102),
        ({"cancelOrderId": "x"}, -1100),
        ({"cancelRestrictions": "NONE"}, -1145),
        ({"orderRateLimitExceededMode": "NONE"}, -1130),
        ({"cancelNewClientOrderId": "a b"}, -1100),
        ({"side": "HOLD"}, -1117),
        ({"quantity": None}, -1102),
    ],
)
async def test_a_replacement_that_makes_no_sense_ends_nothing(open_account, params, code):
    _, client = await open_account(over=True)
    order = await client.ask("POST", "order", **LOW)
    sent = {**LOW, **STOPS, "cancelOrderId": order["orderId"], **params}
    sent = {name: value for name, value in sent.items() if value is not None}
    assert (await client.refused("POST", "order/cancelReplace", **sent))[0] == code
    (row,) = await client.ask("GET", "openOrders")
    assert row["orderId"] == order["orderId"]


async def test_an_order_is_canceled_only_as_it_was_asked_for(open_account):
    _, client = await open_account(over=True)
    order = await client.ask("POST", "order", **LOW)
    name = {"symbol": "BTCUSDT", "orderId": order["orderId"]}
    part = {**name, "cancelRestrictions": "ONLY_PARTIALLY_FILLED"}
    restricted = (-2011, "Order was not canceled due to cancel restrictions.")
    assert await client.refused("DELETE", "order", **part) == restricted
    ended = await client.ask("DELETE", "order", **{**name, "cancelRestrictions": "ONLY_NEW"})
    assert ended["status"] == "CANCELED"


async def test_less_is_asked_for_in_place(open_account, http):
    venue, client = await open_account(over=True)
    key = await listen_key(client)
    path = "order/amend/keepPriority"
    async with http.ws_connect(f"{venue.ws_url}/ws/{key}") as socket:
        await listening(socket, key)
        order = await client.ask("POST", "order", **LOW, newClientOrderId="first")
        name = {"symbol": "BTCUSDT", "orderId": order["orderId"]}
        done = await client.ask("PUT", path, **name, newQty="0.004", newClientOrderId="second")
        told = (await heard_until(socket, "REPLACED"))[-1]
    amended = done["amendedOrder"]
    assert (amended["qty"], amended["origClientOrderId"], amended["clientOrderId"]) == (
        "0.00400000",
        "first",
        "second",
    )
    assert (told["X"], told["q"], told["c"], told["C"], told["I"]) == (
        "NEW",
        "0.00400000",
        "second",
        "first",
        done["executionId"],
    )
    row = await client.ask("GET", "order", symbol="BTCUSDT", origClientOrderId="second")
    assert (row["orderId"], row["origQty"]) == (order["orderId"], "0.00400000")
    account = await client.ask("GET", "account")
    (locked,) = [one["locked"] for one in account["balances"] if one["asset"] == "USDT"]
    assert Decimal(locked) == Decimal("0.004") * 60_000 * Decimal("1.001")
    for qty, code in (
        *(("0.005", -2038), ("0.004", -2038), ("0", -1013), ("0.00001", -1013), ("x", -1100)),
        (None, -1102),
    ):
        sent = name if qty is None else {**name, "newQty": qty}
        assert (await client.refused("PUT", path, **sent))[0] == code
    await client.ask("POST", "order", **LOW, newClientOrderId="other")
    twice = await client.refused("PUT", path, **name, newQty="0.001", newClientOrderId="other")
    assert twice == (-2010, "Duplicate order sent.")
    gone = {**name, "orderId": 9, "newQty": "0.001"}
    assert await client.refused("PUT", path, **gone) == (-2013, "Order does not exist.")


async def test_an_amendment_that_has_not_arrived_is_one_at_a_time(open_account):
    config = EngineConfig(initial_cash="10000", latency_us=5_000)
    venue, client = await open_account(config=config)
    order = await client.ask("POST", "order", **LOW)
    await venue.publish(30)
    name = {"symbol": "BTCUSDT", "orderId": order["orderId"], "newQty": "0.004"}
    path = "order/amend/keepPriority"
    status, answer = await client.raw("PUT", path, client.signed(name))
    assert (status, answer["code"]) == (504, -1007)
    assert (await client.refused("PUT", path, **{**name, "newQty": "0.003"}))[0] == -2038
    await venue.publish(30)
    row = await client.ask("GET", "order", symbol="BTCUSDT", orderId=order["orderId"])
    assert row["origQty"] == "0.00400000"


async def test_orders_are_counted_and_too_many_are_refused(open_account):
    wall_us = [WALL_US]
    _, client = await open_account(over=True, wall_us=lambda: wall_us[0])
    client.now_us = lambda: wall_us[0]
    limit = ORDER_LIMITS[0].limit

    def counts(headers):
        return [int(headers[f"X-MBX-ORDER-COUNT-{of}"]) for of in ("10S", "1D")]

    headers = {}
    await client.ask("POST", "order", **LOW, newOrderRespType="ACK", told=headers)
    assert counts(headers) == [1, 1]
    old = {"symbol": "BTCUSDT", "side": "BUY", "quantity": "0.001", "price": "60000"}
    await client.ask("POST", "order/oco", **old, stopPrice="70000", told=headers)
    assert counts(headers) == [3, 3]
    await client.ask("GET", "openOrders", told=headers)
    assert "X-MBX-ORDER-COUNT-10S" not in headers
    for _ in range(3, limit):
        await client.ask("POST", "order", **{**LOW, "quantity": "0.0001", "price": "50001"})
    rows = await client.ask("GET", "rateLimit/order")
    assert [(row["interval"], row["limit"], row["count"]) for row in rows] == [
        ("SECOND", 100, limit),
        ("DAY", 200_000, limit),
    ]
    for path, sent in (
        ("order", LOW),
        ("order/oco", {**old, "stopPrice": "70000"}),
        ("order/cancelReplace", {**LOW, **STOPS, "cancelOrderId": 1}),
    ):
        status, answer = await client.raw("POST", path, client.signed(sent))
        assert (status, answer["code"]) == (429, -1015)
        assert answer["msg"] == "Too many new orders; current limit is 100 orders per 10 SECOND."
    assert (await client.ask("GET", "order", symbol="BTCUSDT", orderId=1))["status"] == "NEW"
    only = {**LOW, **STOPS, "cancelOrderId": 1, "orderRateLimitExceededMode": "CANCEL_ONLY"}
    status, code, data = await failed(client, "POST", "order/cancelReplace", **only)
    assert (status, code, data["cancelResult"]) == (409, -2021, "SUCCESS")
    assert data["newOrderResponse"]["code"] == -1015
    wall_us[0] += ORDER_LIMITS[0].span_us
    await client.ask("POST", "order", **LOW, told=headers)
    assert counts(headers) == [1, limit + 1]


async def test_orders_that_fill_do_not_count(open_account):
    venue, client = await open_account(answer_s=30)
    for _ in range(3):
        await while_trading(venue, client.ask("POST", "order", **MARKET))
    assert [row["count"] for row in await client.ask("GET", "rateLimit/order")] == [0, 0]


def test_counts_of_each_interval_go_their_own_way():
    now_us = [10**15]
    counts = OrderCounts(lambda: now_us[0])
    short, day = ORDER_LIMITS
    counts.add(short.limit)
    counts.check(0)
    with pytest.raises(BadQueryError, match="100 orders per 10 SECOND"):
        counts.check(1)
    counts.filled(is_maker=True)
    counts.filled(is_maker=False)
    assert [row["count"] for row in counts.rows()] == [short.limit - 6] * 2
    now_us[0] += short.span_us
    assert [row["count"] for row in counts.rows()] == [0, short.limit - 6]
    counts.filled(is_maker=True)
    assert [row["count"] for row in counts.rows()] == [0, short.limit - 11]
    now_us[0] += day.span_us
    assert [row["count"] for row in counts.rows()] == [0, 0]


async def test_calls_replace_amend_and_count(open_account, http):
    venue, client = await open_account(over=True, answer_s=30)
    async with http.ws_connect(f"{venue.ws_url}/ws-api/v3") as socket:
        caller = Caller(socket, lambda: WALL_US)
        answer = await caller.call("order.place", **LOW)
        assert [row["count"] for row in answer["rateLimits"]] == [1, 1]
        order = answer["result"]
        replaced = await caller.call(
            "order.cancelReplace", **LOW, **STOPS, cancelOrderId=order["orderId"]
        )
        made = replaced["result"]["newOrderResponse"]
        name = {"symbol": "BTCUSDT", "orderId": made["orderId"]}
        amended = await caller.result("order.amend.keepPriority", **name, newQty="0.004")
        assert amended["amendedOrder"]["qty"] == "0.00400000"
        wrong = await caller.call("order.cancelReplace", **LOW, **STOPS, cancelOrderId=99)
        assert (wrong["status"], wrong["error"]["code"]) == (400, -2022)
        assert wrong["error"]["data"]["newOrderResult"] == "NOT_ATTEMPTED"
        quiet = await caller.call("order.place", **LOW, returnRateLimits=False)
        assert "rateLimits" not in quiet
        rows = await caller.result("account.rateLimits.orders")
        assert rows == await client.ask("GET", "rateLimit/order")
