"""Order lists of a paper account: pairs of which one order ends the other (OCO)."""

from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest

from flowtape.stream.config import EngineConfig
from flowtape.stream.trades import Trades
from tests.connectors.conftest import FIRST_ID, START_US, WALL_US
from tests.connectors.paper_client import (
    Caller,
    heard,
    listen_key,
    listening,
    while_trading,
)

FLAT = 400
LOW, HIGH = 6_400_000, 6_400_001
MARKET = {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "0.02"}
SELL = {
    "symbol": "BTCUSDT",
    "side": "SELL",
    "quantity": "0.02",
    "aboveType": "LIMIT_MAKER",
    "abovePrice": "64100",
    "belowType": "STOP_LOSS_LIMIT",
    "belowStopPrice": "63900",
    "belowPrice": "63800",
    "belowTimeInForce": "GTC",
}
BUY = {
    "symbol": "BTCUSDT",
    "side": "BUY",
    "quantity": "0.02",
    "aboveType": "STOP_LOSS",
    "aboveStopPrice": "64100",
    "belowType": "LIMIT_MAKER",
    "belowPrice": "63900",
}


def course(*prints):
    """A market that stands still for `FLAT` prints, then trades (price, lots, side), 1 ms apart."""
    still = [(HIGH, 100_000, 1), (LOW, 100_000, -1)] * (FLAT // 2)
    prices, lots, sides = map(np.array, zip(*still, *prints, strict=True))
    ids = FIRST_ID + np.arange(len(prices))
    return Trades(ids, START_US + 1_000 * ids, prices, lots, ids, ids, sides.astype(np.int8))


RISE = [(6_410_100, 100_000, 1)] * 3
FALL = [(6_389_900, 100_000, -1), *[(6_389_000, 100_000, -1)] * 3]
NO_FEES = EngineConfig(initial_cash="10000", maker_fee_ppb=0, taker_fee_ppb=0)


@pytest.fixture
def open_pair(open_account):
    """Open an account that waits for outcomes, with a market of a course, and some BTC."""

    async def opened(*prints, buys=True, **more):
        settings = {"config": NO_FEES, "answer_s": 30} | more
        venue, client = await open_account(trades=course(*prints), **settings)
        if buys:
            await while_trading(venue, client.ask("POST", "order", **MARKET))
        return venue, client

    return opened


async def play(venue):
    while await venue.publish(50):
        pass


async def locked(client, asset):
    account = await client.ask("GET", "account")
    (found,) = [one["locked"] for one in account["balances"] if one["asset"] == asset]
    return Decimal(found)


async def test_a_pair_sells_all_there_is_once(open_pair):
    venue, client = await open_pair(*RISE)
    pair = await while_trading(venue, client.ask("POST", "orderList/oco", **SELL))
    assert [pair[name] for name in ("contingencyType", "listStatusType", "listOrderStatus")] == [
        "OCO",
        "EXEC_STARTED",
        "EXECUTING",
    ]
    stop, limit = pair["orderReports"]
    assert [(one["type"], one["status"]) for one in (stop, limit)] == [
        ("STOP_LOSS_LIMIT", "NEW"),
        ("LIMIT_MAKER", "NEW"),
    ]
    assert (stop["stopPrice"], limit["price"]) == ("63900.00000000", "64100.00000000")
    assert {one["orderListId"] for one in (stop, limit)} == {pair["orderListId"]}
    assert await locked(client, "BTC") == Decimal("0.02")
    assert await client.ask("GET", "openOrderList") == [
        {name: value for name, value in pair.items() if name != "orderReports"}
    ]
    await play(venue)
    rows = await client.ask("GET", "allOrders", symbol="BTCUSDT")
    assert [(row["type"], row["status"]) for row in rows[1:]] == [
        ("STOP_LOSS_LIMIT", "EXPIRED"),
        ("LIMIT_MAKER", "FILLED"),
    ]
    named = await client.ask("GET", "orderList", orderListId=pair["orderListId"])
    assert (named["listStatusType"], named["listOrderStatus"]) == ("ALL_DONE", "ALL_DONE")
    assert await client.ask("GET", "openOrderList") == []
    assert await client.ask("GET", "allOrderList") == [named]
    client_id = pair["listClientOrderId"]
    assert await client.ask("GET", "orderList", origClientOrderId=client_id) == named
    balances = (await client.ask("GET", "account", omitZeroBalances="true"))["balances"]
    assert [one["asset"] for one in balances] == ["USDT"]


async def test_the_stop_of_a_pair_ends_its_limit_order(open_pair):
    venue, client = await open_pair(*FALL)
    await while_trading(venue, client.ask("POST", "orderList/oco", **SELL))
    await play(venue)
    rows = await client.ask("GET", "allOrders", symbol="BTCUSDT")
    assert [(row["status"], row["executedQty"]) for row in rows[1:]] == [
        ("FILLED", "0.02000000"),
        ("EXPIRED", "0.00000000"),
    ]


async def test_what_one_order_fills_the_other_asks_less_for(open_pair, http):
    part = [(6_410_001, 1_000, 1), *FALL]
    venue, client = await open_pair(*part)
    pair = await while_trading(venue, client.ask("POST", "orderList/oco", **SELL))
    stop_id, limit_id = (one["orderId"] for one in pair["orders"])
    key = await listen_key(client)
    async with http.ws_connect(f"{venue.ws_url}/ws/{key}") as socket:
        await listening(socket, key)
        await play(venue)
        rows = await client.ask("GET", "allOrders", symbol="BTCUSDT")
        stop, limit = rows[1:]
        filled = Decimal(limit["executedQty"])
        assert 0 < filled < Decimal("0.02")
        assert limit["status"] == "EXPIRED"
        assert stop["status"] == "FILLED"
        assert Decimal(stop["origQty"]) == Decimal(stop["executedQty"]) == Decimal("0.02") - filled
        events = [await heard(socket)]
        while events[-1]["e"] != "listStatus":
            events.append(await heard(socket))
    told = [(one["i"], one["x"], one["q"]) for one in events if one["e"] == "executionReport"]
    assert (stop_id, "REPLACED", stop["origQty"]) in told
    assert told[-1][:2] in {(stop_id, "TRADE"), (limit_id, "EXPIRED")}
    assert (events[-1]["l"], events[-1]["L"]) == ("ALL_DONE", "ALL_DONE")


async def test_a_pair_is_told_by_its_orders_and_as_a_list(open_pair, http):
    venue, client = await open_pair(*RISE)
    key = await listen_key(client)
    async with http.ws_connect(f"{venue.ws_url}/ws/{key}") as socket:
        await listening(socket, key)
        pair = await while_trading(
            venue, client.ask("POST", "orderList/oco", **SELL, listClientOrderId="mine")
        )
        await play(venue)
        lists, reports = [], []
        while len(lists) < 2:
            event = await heard(socket)
            if event["e"] == "listStatus":
                lists.append((len(reports), event))
            elif event["e"] == "executionReport":
                reports.append(event)
    (begun_behind, begun), (_, ended) = lists
    # a client knows of both orders when it hears of the list
    assert (begun_behind, [one["x"] for one in reports[:2]]) == (2, ["NEW", "NEW"])
    assert (begun["g"], begun["c"], begun["C"]) == (pair["orderListId"], "OCO", "mine")
    assert (begun["l"], begun["L"], begun["r"]) == ("EXEC_STARTED", "EXECUTING", "NONE")
    assert [one["i"] for one in begun["O"]] == [one["orderId"] for one in pair["orders"]]
    assert (ended["l"], ended["L"]) == ("ALL_DONE", "ALL_DONE")
    assert {one["g"] for one in reports} == {pair["orderListId"]}


async def test_the_older_form_makes_the_same_pair(open_pair):
    venue, client = await open_pair()
    old = {
        **{"symbol": "BTCUSDT", "side": "SELL", "quantity": "0.02", "price": "64100"},
        **{"stopPrice": "63900", "stopLimitPrice": "63800", "stopLimitTimeInForce": "GTC"},
        **{"limitClientOrderId": "up", "stopClientOrderId": "down"},
    }
    pair = await while_trading(venue, client.ask("POST", "order/oco", **old))
    stop, limit = pair["orderReports"]
    assert (stop["clientOrderId"], stop["type"]) == ("down", "STOP_LOSS_LIMIT")
    assert (limit["clientOrderId"], limit["type"]) == ("up", "LIMIT_MAKER")
    without = {name: value for name, value in old.items() if not name.startswith("stopLimit")}
    names = {"limitClientOrderId": "up2", "stopClientOrderId": "down2", "quantity": "0.001"}
    await while_trading(venue, client.ask("DELETE", "orderList", symbol="BTCUSDT", orderListId=1))
    pair = await while_trading(venue, client.ask("POST", "order/oco", **{**without, **names}))
    assert pair["orderReports"][0]["type"] == "STOP_LOSS"


async def test_a_pair_that_buys_locks_what_its_dearer_order_needs(open_pair):
    venue, client = await open_pair(buys=False)
    await while_trading(venue, client.ask("POST", "orderList/oco", **BUY))
    assert await locked(client, "USDT") == Decimal("0.02") * 64_100


@pytest.mark.parametrize("by", ["orderListId", "listClientOrderId", "one order", "all orders"])
async def test_a_pair_is_canceled_as_a_whole(open_pair, by):
    venue, client = await open_pair(*RISE)
    sent = {**SELL, "listClientOrderId": "mine", "aboveClientOrderId": "up"}
    pair = await while_trading(venue, client.ask("POST", "orderList/oco", **sent))
    if by == "one order":
        asked = client.ask("DELETE", "order", symbol="BTCUSDT", origClientOrderId="up")
        ended = await while_trading(venue, asked)
        assert (ended["status"], ended["orderListId"]) == ("CANCELED", pair["orderListId"])
    elif by == "all orders":
        asked = client.ask("DELETE", "openOrders", symbol="BTCUSDT")
        (ended,) = await while_trading(venue, asked)
    else:
        name = {by: pair[by]}
        ended = await while_trading(
            venue, client.ask("DELETE", "orderList", symbol="BTCUSDT", **name)
        )
        assert await client.refused("DELETE", "orderList", symbol="BTCUSDT", **name) == (
            -2011,
            "Unknown order list sent.",
        )
    if by != "one order":
        assert (ended["listOrderStatus"], len(ended["orderReports"])) == ("ALL_DONE", 2)
        assert {one["status"] for one in ended["orderReports"]} == {"CANCELED"}
    await play(venue)
    rows = await client.ask("GET", "allOrders", symbol="BTCUSDT")
    assert [row["status"] for row in rows[1:]] == ["CANCELED", "CANCELED"]
    assert await locked(client, "BTC") == 0


@pytest.mark.parametrize(
    ("params", "code", "msg"),
    [
        ({"aboveType": None}, -1102, "Mandatory parameter 'aboveType' was not sent"),
        ({"belowType": None}, -1102, "Mandatory parameter 'belowType' was not sent"),
        ({"quantity": None}, -1102, "Mandatory parameter 'quantity' was not sent"),
        ({"abovePrice": None}, -1102, "Mandatory parameter 'abovePrice' was not sent"),
        ({"belowTimeInForce": None}, -1102, "Mandatory parameter 'belowTimeInForce' was not"),
        ({"belowStopPrice": None}, -1102, "Param 'belowStopPrice' or 'belowTrailingDelta' must"),
        ({"side": "HOLD"}, -1117, "Invalid side."),
        ({"aboveType": "LIMIT"}, -1014, "Unsupported order combination."),
        ({"belowType": "LIMIT_MAKER"}, -1014, "Unsupported order combination."),
        ({"aboveStopPrice": "64100"}, -1106, "Parameter 'aboveStopPrice' sent when not required"),
        ({"belowStopPrice": "64050"}, -2010, "The relationship of the prices for the orders is"),
        ({"abovePrice": "63950"}, -2010, "The relationship of the prices for the orders is not"),
        ({"abovePrice": "64100.001"}, -1013, "Filter failure: PRICE_FILTER"),
        ({"abovePrice": "up"}, -1100, "Illegal characters found in parameter 'abovePrice'"),
        ({"quantity": "0.00001"}, -1013, "Filter failure: NOTIONAL"),
        ({"quantity": "9"}, -2010, "Account has insufficient balance for requested action."),
        ({"listClientOrderId": "a b"}, -1100, "Illegal characters found in parameter 'listCl"),
        ({"aboveClientOrderId": "x", "belowClientOrderId": "x"}, -2010, "Duplicate order sent."),
        ({"price": "64100"}, -1104, "Not all sent parameters were read"),
        ({"newOrderRespType": "ALL"}, -1130, "Data sent for parameter 'newOrderRespType' is"),
    ],
)
async def test_a_pair_that_makes_no_sense_is_refused(open_pair, params, code, msg):
    venue, client = await open_pair()
    sent = {name: value for name, value in {**SELL, **params}.items() if value is not None}
    got = await while_trading(venue, client.refused("POST", "orderList/oco", **sent))
    assert got[0] == code
    assert got[1].startswith(msg)
    assert await client.ask("GET", "allOrderList") == []
    assert [one["type"] for one in await client.ask("GET", "allOrders", symbol="BTCUSDT")] == [
        "MARKET"
    ]


async def test_names_of_open_lists_and_orders_are_taken(open_pair):
    venue, client = await open_pair()
    sent = {**SELL, "quantity": "0.005", "listClientOrderId": "mine", "belowClientOrderId": "down"}
    await while_trading(venue, client.ask("POST", "orderList/oco", **sent))
    twice = (-2010, "Duplicate order sent.")
    assert await client.refused("POST", "orderList/oco", **sent) == twice
    other = {**sent, "listClientOrderId": "other"}
    assert await client.refused("POST", "orderList/oco", **other) == twice
    order = {**MARKET, "newClientOrderId": "down"}
    assert await client.refused("POST", "order", **order) == twice


@pytest.mark.parametrize("waits", [True, False])
async def test_a_pair_whose_one_order_is_refused_on_arrival_never_was(open_pair, http, waits):
    """The market jumps over the limit price while the pair is on its way."""
    config = replace(NO_FEES, latency_us=30_000)
    jump = [(6_411_000, 100_000, 1), (6_410_999, 100_000, -1)] * 40
    venue, client = await open_pair(*jump, config=config, answer_s=30 if waits else 0.01)
    while venue.last_id < FIRST_ID + FLAT - 10:
        await venue.publish(1)
    key = await listen_key(client)
    async with http.ws_connect(f"{venue.ws_url}/ws/{key}") as socket:
        await listening(socket, key)
        if waits:
            refused = await while_trading(venue, client.refused("POST", "orderList/oco", **SELL))
            assert refused == (-2010, "Order would immediately match and take.")
            assert await client.ask("GET", "allOrderList") == []
            assert await client.ask("GET", "openOrders") == []
        else:
            pair = await client.ask("POST", "orderList/oco", **SELL)
            assert pair["listOrderStatus"] == "EXECUTING"
            await play(venue)
            events = [await heard(socket)]
            while events[-1]["e"] != "listStatus":
                events.append(await heard(socket))
            assert [one.get("x") for one in events] == ["NEW", "REJECTED", None]
            told = events[-1]
            assert (told["l"], told["L"]) == ("RESPONSE", "REJECT")
            assert told["r"] == "Order would immediately match and take."
        await play(venue)
    rows = await client.ask("GET", "allOrders", symbol="BTCUSDT")
    ends = [] if waits else ["CANCELED", "REJECTED"]
    assert [row["status"] for row in rows[1:]] == ends
    assert await locked(client, "BTC") == 0


async def test_lists_are_placed_and_asked_about_by_calls(open_pair, http):
    venue, client = await open_pair()
    async with http.ws_connect(f"{venue.ws_url}/ws-api/v3") as socket:
        caller = Caller(socket, lambda: WALL_US)
        small = {**SELL, "quantity": "0.005"}
        pair = await while_trading(venue, caller.result("orderList.place.oco", **small))
        old = {"price": "64100", "stopPrice": "63900", "quantity": "0.005"}
        other = await while_trading(
            venue, caller.result("orderList.place", symbol="BTCUSDT", side="SELL", **old)
        )
        assert (pair["orderListId"], other["orderListId"]) == (1, 2)
        named = await caller.result("orderList.status", orderListId=1)
        assert named == await client.ask("GET", "orderList", orderListId=1)
        every = await client.ask("GET", "allOrderList")
        assert await caller.result("openOrderLists.status") == every
        ended = await while_trading(
            venue, caller.result("orderList.cancel", symbol="BTCUSDT", orderListId=1)
        )
        assert ended["listStatusType"] == "ALL_DONE"
        assert len(await caller.result("allOrderLists")) == 2
        assert await caller.result("allOrderLists", fromId=2) == every[1:]
        unknown = await caller.call("orderList.status", orderListId=9)
        assert unknown["error"] == {"code": -2013, "msg": "Order list does not exist."}
