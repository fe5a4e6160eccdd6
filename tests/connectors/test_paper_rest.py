"""Signed queries of a paper account: what is taken, what is refused and how, and what is told."""

import asyncio
import json
from dataclasses import replace
from decimal import Decimal
from urllib.parse import urlencode

import aiohttp
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flowtape.connectors.venue.faults import Drop, Halt, Refilter
from flowtape.connectors.venue.paper_venue import PaperSettings
from flowtape.connectors.venue.server import VenueServer
from flowtape.stream.config import EngineConfig
from flowtape.stream.instrument import Instrument
from tests.connectors.conftest import COUNT, FIRST_ID, START_US, WALL_US
from tests.connectors.paper_client import KEYS, PaperClient, signature, until, while_trading

BUY = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC"}
LOW = {**BUY, "quantity": "0.01", "price": "60000"}
MARKET = {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "0.02"}


async def test_a_market_order_is_answered_with_its_fills(open_account):
    venue, client = await open_account(answer_s=30)
    order = await while_trading(venue, client.ask("POST", "order", **MARKET))
    assert (order["status"], order["executedQty"]) == ("FILLED", "0.02000000")
    assert sum(Decimal(fill["qty"]) for fill in order["fills"]) == Decimal("0.02")
    trades = await client.ask("GET", "myTrades", symbol="BTCUSDT")
    assert [t["id"] for t in trades] == [fill["tradeId"] for fill in order["fills"]]
    paid = sum(Decimal(t["quoteQty"]) for t in trades)
    fees = sum(Decimal(t["commission"]) for t in trades)
    assert Decimal(order["cummulativeQuoteQty"]) == paid
    account = await client.ask("GET", "account", omitZeroBalances="true")
    assert {one["asset"]: Decimal(one["free"]) for one in account["balances"]} == {
        "USDT": 10_000 - paid - fees,
        "BTC": Decimal("0.02"),
    }
    assert account["makerCommission"] == 10
    assert account["commissionRates"]["taker"] == "0.00100000"
    assert await client.refused("DELETE", "order", symbol="BTCUSDT", orderId=1) == (
        -2011,
        "Unknown order sent.",
    )


async def test_orders_obey_filters_that_changed(open_account):
    venue, client = await open_account()
    await client.ask("POST", "order", **LOW)
    venue.inject(Refilter(filter="LOT_SIZE", values={"minQty": "0.02"}))
    venue.inject(Refilter(filter="PRICE_FILTER", values={"maxPrice": "59999.99"}, at=FIRST_ID + 80))
    venue.inject(Refilter(filter="LOT_SIZE", values={"minQty": "0.01"}, at=FIRST_ID + 80))
    venue.inject(Refilter(filter="MAX_POSITION", values={"maxPosition": "9"}))
    small = (-1013, "Filter failure: LOT_SIZE")
    assert await client.refused("POST", "order", **LOW) == small
    assert await client.refused("POST", "order/test", **LOW) == small
    _, info = await client.raw("GET", "exchangeInfo", "symbol=BTCUSDT")
    filters = {rule["filterType"]: rule for rule in info["symbols"][0]["filters"]}
    assert filters["LOT_SIZE"]["minQty"] == "0.02"
    assert filters["LOT_SIZE"]["stepSize"] == "0.00001000"
    assert filters["MAX_POSITION"] == {"filterType": "MAX_POSITION", "maxPosition": "9"}
    await venue.publish(60)
    dear = (-1013, "Filter failure: PRICE_FILTER")
    assert await client.refused("POST", "order", **LOW) == dear
    await client.ask("POST", "order", **{**LOW, "price": "59999.99"})


async def test_an_answer_that_waited_long_enough_says_how_the_order_stands(open_account):
    venue, client = await open_account()
    order = await client.ask("POST", "order", **MARKET)
    assert (order["status"], order["fills"]) == ("NEW", [])
    short = await client.ask("POST", "order", **{**MARKET, "side": "SELL", "quantity": "9"})
    await venue.publish(COUNT)
    rows = await client.ask("GET", "allOrders", symbol="BTCUSDT")
    assert [row["status"] for row in rows] == ["FILLED", "REJECTED"]
    assert rows[1]["orderId"] == short["orderId"]


async def test_orders_are_found_by_either_name_and_canceled(open_account):
    _, client = await open_account(over=True)
    first = await client.ask("POST", "order", **LOW, newClientOrderId="one")
    assert (first["status"], first["clientOrderId"], first["fills"]) == ("NEW", "one", [])
    ack = await client.ask("POST", "order", **LOW, newOrderRespType="ACK")
    assert set(ack) == {"symbol", "orderId", "orderListId", "clientOrderId", "transactTime"}
    result = await client.ask("POST", "order", **LOW, newOrderRespType="RESULT", icebergQty="0.001")
    assert "fills" not in result
    assert result["icebergQty"] == "0.00100000"
    stop = {**MARKET, "type": "STOP_LOSS", "stopPrice": "70000"}
    waiting = await client.ask("POST", "order", **stop, newOrderRespType="RESULT")
    assert (waiting["stopPrice"], waiting["workingTime"]) == ("70000.00000000", -1)
    opened = await client.ask("GET", "openOrders")
    assert [one["orderId"] for one in opened] == [1, 2, 3, 4]
    assert [one["isWorking"] for one in opened] == [True, True, True, False]
    assert opened == await client.ask("GET", "openOrders", symbol="BTCUSDT")
    by_name = await client.ask("GET", "order", symbol="BTCUSDT", origClientOrderId="one")
    assert by_name == opened[0]
    account = await client.ask("GET", "account")
    locked = {one["asset"]: Decimal(one["locked"]) for one in account["balances"]}
    assert locked["BTC"] == 0
    # three buys at 60,000 and one at its trigger, with the taker's fee
    assert locked["USDT"] == (3 * 600 + Decimal("0.02") * 70_000) * Decimal("1.001")
    assert await client.refused("POST", "order", **LOW, newClientOrderId="one") == (
        -2010,
        "Duplicate order sent.",
    )
    gone = await client.ask(
        "DELETE", "order", symbol="BTCUSDT", origClientOrderId="one", newClientOrderId="end"
    )
    assert (gone["status"], gone["origClientOrderId"], gone["clientOrderId"]) == (
        "CANCELED",
        "one",
        "end",
    )
    again = await client.ask("POST", "order", **LOW, newClientOrderId="one")
    newest = await client.ask("GET", "order", symbol="BTCUSDT", origClientOrderId="one")
    assert newest["orderId"] == again["orderId"] == 5
    ended = await client.ask("DELETE", "openOrders", symbol="BTCUSDT")
    assert [(one["orderId"], one["status"]) for one in ended] == [
        (number, "CANCELED") for number in (2, 3, 4, 5)
    ]
    assert await client.ask("GET", "openOrders") == []
    unknown = (-2011, "Unknown order sent.")
    assert await client.refused("DELETE", "openOrders", symbol="BTCUSDT") == unknown
    assert await client.refused("DELETE", "order", symbol="BTCUSDT", orderId=1) == unknown
    assert await client.refused("DELETE", "order", symbol="BTCUSDT", orderId=99) == unknown
    missing = (-2013, "Order does not exist.")
    assert await client.refused("GET", "order", symbol="BTCUSDT", orderId=99) == missing
    wrong = {"symbol": "BTCUSDT", "orderId": 1, "origClientOrderId": "other"}
    assert await client.refused("GET", "order", **wrong) == missing
    last = await client.ask("GET", "allOrders", symbol="BTCUSDT", limit=2)
    assert [one["orderId"] for one in last] == [4, 5]
    first_two = await client.ask("GET", "allOrders", symbol="BTCUSDT", limit=2, orderId=2)
    assert [one["orderId"] for one in first_two] == [2, 3]


async def test_a_cancel_that_comes_too_late_is_refused(open_account):
    venue, client = await open_account(answer_s=30)
    task = asyncio.ensure_future(client.ask("POST", "order", **MARKET, newClientOrderId="fast"))
    await until(lambda: venue.paper.orders)
    name = {"symbol": "BTCUSDT", "origClientOrderId": "fast"}
    # it is asked for before the fills and arrives behind them
    assert await while_trading(venue, client.refused("DELETE", "order", **name), 40) == (
        -2011,
        "Unknown order sent.",
    )
    assert (await task)["status"] == "FILLED"


async def test_trades_are_found_by_order_and_by_number(open_account):
    venue, client = await open_account(answer_s=30)
    for _ in range(2):
        await while_trading(venue, client.ask("POST", "order", **MARKET))
    every = await client.ask("GET", "myTrades", symbol="BTCUSDT")
    assert [t["id"] for t in every] == list(range(1, len(every) + 1))
    second = await client.ask("GET", "myTrades", symbol="BTCUSDT", orderId=2)
    assert second == [t for t in every if t["orderId"] == 2]
    assert await client.ask("GET", "myTrades", symbol="BTCUSDT", fromId=2, limit=1) == [every[1]]
    assert await client.ask("GET", "myTrades", symbol="BTCUSDT", limit=1) == every[-1:]
    until = every[0]["time"]
    early = await client.ask("GET", "myTrades", symbol="BTCUSDT", endTime=until)
    assert early == [t for t in every if t["time"] <= until]
    late = await client.ask("GET", "myTrades", symbol="BTCUSDT", startTime=until + 1)
    assert late == [t for t in every if t["time"] > until]


@pytest.mark.parametrize(
    ("params", "refused"),
    [
        ({**MARKET, "side": "SELL"}, "Account has insufficient balance for requested action."),
        ({**LOW, "quantity": "9"}, "Account has insufficient balance for requested action."),
        (
            {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT_MAKER", "quantity": "0.01"}
            | {"price": "69000"},
            "Order would immediately match and take.",
        ),
        ({**MARKET, "type": "STOP_LOSS", "stopPrice": "60000"}, "Order would trigger immediately."),
    ],
)
async def test_an_order_that_the_market_refuses_never_was(open_account, params, refused):
    _, client = await open_account(over=True)
    assert await client.refused("POST", "order", **params) == (-2010, refused)
    assert await client.ask("GET", "allOrders", symbol="BTCUSDT") == []
    assert await client.ask("POST", "order/test", **params) == {}


@pytest.mark.parametrize(
    ("params", "code", "msg"),
    [
        ({"side": None}, -1102, "Mandatory parameter 'side' was not sent"),
        ({"symbol": None}, -1102, "Mandatory parameter 'symbol' was not sent"),
        ({"symbol": "NOSUCH"}, -1121, "Invalid symbol."),
        ({"side": "HOLD"}, -1117, "Invalid side."),
        ({"type": "OCO"}, -1116, "Invalid orderType."),
        ({"price": None}, -1102, "Mandatory parameter 'price' was not sent"),
        ({"timeInForce": None}, -1102, "Mandatory parameter 'timeInForce' was not sent"),
        ({"timeInForce": "GTX"}, -1115, "Invalid timeInForce."),
        ({"quantity": ""}, -1105, "Parameter 'quantity' was empty."),
        ({"quantity": "1e-3"}, -1100, "Illegal characters found in parameter 'quantity'"),
        ({"quantity": "-1"}, -1100, "Illegal characters found in parameter 'quantity'"),
        ({"quantity": "0"}, -1013, "Filter failure: LOT_SIZE"),
        ({"quantity": "0.000001"}, -1013, "Filter failure: LOT_SIZE"),
        ({"quantity": "1000000001"}, -1013, "Filter failure: LOT_SIZE"),
        ({"quantity": "9" * 20}, -1013, "Filter failure: LOT_SIZE"),
        ({"price": "60000.001"}, -1013, "Filter failure: PRICE_FILTER"),
        ({"price": "0"}, -1013, "Filter failure: PRICE_FILTER"),
        ({"price": "60000.000000001"}, -1111, "Parameter 'price' has too much precision."),
        ({"price": "49999.00", "quantity": "0.0001"}, -1013, "Filter failure: NOTIONAL"),
        ({"stopPrice": "1"}, -1106, "Parameter 'stopPrice' sent when not required."),
        ({"icebergQty": "0.02"}, -2010, "IcebergQty exceeds QTY."),
        ({"icebergQty": "0.001", "timeInForce": "IOC"}, -1014, "Unsupported order combination."),
        ({"newClientOrderId": "a b"}, -1100, "Illegal characters found in parameter 'newClient"),
        ({"newClientOrderId": "a" * 37}, -1100, "Illegal characters found in parameter 'newCl"),
        ({"newOrderRespType": "ALL"}, -1130, "Data sent for parameter 'newOrderRespType' is"),
        ({"selfTradePreventionMode": "ALL"}, -1130, "Data sent for parameter 'selfTradePrev"),
        ({"trailingDelta": "100"}, -1106, "Parameter 'trailingDelta' sent when not required."),
        ({"quoteOrderQty": "100"}, -1106, "Parameter 'quoteOrderQty' sent when not required."),
        ({"strategyId": "1"}, -1104, "Not all sent parameters were read; read '8' parameter(s) bu"),
        ({"recvWindow": "60001"}, -1131, "recvWindow must be less than 60000."),
        ({"recvWindow": "soon"}, -1100, "Illegal characters found in parameter 'recvWindow'"),
    ],
)
async def test_an_order_that_makes_no_sense_is_refused(open_account, params, code, msg):
    _, client = await open_account(over=True)
    sent = {name: value for name, value in {**LOW, **params}.items() if value is not None}
    for path in ("order", "order/test"):
        got = await client.refused("POST", path, **sent)
        assert got[0] == code
        assert got[1].startswith(msg)
    assert await client.ask("GET", "allOrders", symbol="BTCUSDT") == []


async def test_numbers_of_a_fine_grid_are_held_to_what_the_kernel_counts(
    open_venue, http, make_trades
):
    fine = Instrument("BTCUSDT", "spot", price_decimals=2, qty_decimals=12)
    paper = PaperSettings(EngineConfig(), KEYS, lambda: WALL_US, 0.01)
    venue = await open_venue(fine, make_trades(9), paper=paper, happened_count=9)
    client = PaperClient(http, venue, lambda: WALL_US)
    for qty in ("999999999", "9000000", "100000"):
        code, msg = await client.refused("POST", "order", **{**LOW, "quantity": qty})
        assert (code, msg) == (-1013, "Filter failure: LOT_SIZE")
    order = await client.ask("POST", "order", **{**LOW, "quantity": "0.000100000001"})
    assert order["origQty"] == "0.000100000001"


async def test_a_limit_order_that_takes_is_answered_with_its_fills(open_account):
    venue, client = await open_account(answer_s=30)
    taking = {**LOW, "price": "70000", "newClientOrderId": "taking"}
    order = await while_trading(venue, client.ask("POST", "order", **taking))
    assert (order["status"], bool(order["fills"])) == ("FILLED", True)
    assert Decimal(order["cummulativeQuoteQty"]) < 700


async def test_a_signature_is_of_the_query_and_the_body_as_sent(open_account):
    _, client = await open_account(over=True)
    query = "symbol=BTCUSDT&side=BUY&type=LIMIT"
    body = urlencode({"timeInForce": "GTC", "quantity": "0.01", "price": "60000"})
    body += f"&timestamp={WALL_US // 1_000}"
    signed = f"{body}&signature={signature(query + body)}"
    status, answer = await client.raw("POST", "order", query, body=signed)
    assert status == 200, answer
    wrong = f"{body}&signature={signature(body + query)}"
    status, answer = await client.raw("POST", "order", query, body=wrong)
    assert (status, answer["code"]) == (400, -1022)
    other = f"{body}&signature={signature(query + body, KEYS.api_key)}"
    status, answer = await client.raw("POST", "order", query, body=other)
    assert answer == {"code": -1022, "msg": "Signature for this request is not valid."}


async def test_keys_are_those_of_this_venue_and_no_others(open_account):
    _, client = await open_account(over=True)
    text = client.signed({})
    status, answer = await client.raw("GET", "account", text, key="")
    assert (status, answer) == (401, {"code": -2014, "msg": "API-key format invalid."})
    status, answer = await client.raw("GET", "account", text, key="z" * 64)
    assert (status, answer["code"]) == (401, -2015)
    status, answer = await client.raw("POST", "userDataStream", key="z" * 64)
    assert (status, answer["code"]) == (401, -2015)


@pytest.mark.parametrize(
    ("sent_us", "window", "code"),
    [
        (WALL_US, None, None),
        (WALL_US - 4_999_000, None, None),
        (WALL_US - 5_001_000, None, -1021),
        (WALL_US - 5_001_000, "60000", None),
        (WALL_US + 999_000, None, None),
        (WALL_US + 1_001_000, None, -1021),
        (START_US, "60000", None),  # the market's own time, which `time` tells
        (START_US - 61_000_000, "60000", -1021),
    ],
)
async def test_a_timestamp_is_near_the_venue_or_the_wall(open_account, sent_us, window, code):
    _, client = await open_account(over=True)
    client.now_us = lambda: sent_us
    more = {} if window is None else {"recvWindow": window}
    if code is None:
        await client.ask("GET", "account", **more)
    else:
        assert (await client.refused("GET", "account", **more))[0] == code
    text = urlencode({**more, "timestamp": sent_us})
    status, _ = await client.raw("GET", "account", f"{text}&signature={signature(text)}")
    assert (status == 200) == (code is None)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", -1102),
        ("timestamp=1", -1102),
        ("signature=1", -1102),
        ("timestamp=now&signature=1", -1102),
        (f"timestamp={WALL_US}&timestamp=2&signature=1", -1101),
        (f"timestamp={WALL_US}&signature=", -1105),
        (f"timestamp={WALL_US}&signature=%ff%00", -1022),
        (f"timestamp={WALL_US}&signature=1&%ff=%zz", -1104),
    ],
)
async def test_a_query_that_is_not_signed_is_refused(open_account, text, code):
    _, client = await open_account(over=True)
    status, answer = await client.raw("GET", "account", text)
    assert (status, answer["code"]) == (400, code)


async def test_times_are_in_microseconds_where_asked_for(open_account):
    _, client = await open_account(over=True)
    await client.ask("POST", "order", **LOW)
    (row,) = await client.ask("GET", "openOrders")
    micros = {"X-MBX-TIME-UNIT": "MICROSECOND"}
    _, (exact,) = await client.raw("GET", "openOrders", client.signed({}), headers=micros)
    assert exact["time"] // 1_000 == row["time"]
    assert exact["time"] % 1_000


async def test_queries_share_the_weight_of_the_venue(open_account):
    _, client = await open_account(over=True, weight_per_minute=40)
    await client.ask("GET", "account")
    await client.ask("GET", "myTrades", symbol="BTCUSDT")
    status, answer = await client.raw("GET", "order", client.signed({"symbol": "BTCUSDT"}))
    assert (status, answer["code"]) == (429, -1003)


async def test_fills_are_of_what_happened_whatever_clients_were_told(open_account):
    drops = [Drop(FIRST_ID + 50, FIRST_ID + COUNT - 2, everywhere=True)]
    venue, client = await open_account(faults=drops)
    await client.ask("POST", "order", **MARKET)
    await venue.publish(COUNT)
    order = await client.ask("GET", "order", symbol="BTCUSDT", orderId=1)
    assert order["status"] == "FILLED"


async def test_orders_are_refused_while_trading_is_halted(open_account):
    venue, client = await open_account(faults=[Halt(at=FIRST_ID + 60, for_s=0.5)])
    halted = asyncio.ensure_future(venue.publish(20))
    await until(lambda: venue.last_id == FIRST_ID + 60)
    assert await client.refused("POST", "order", **LOW) == (-1013, "Market is closed.")
    await halted


async def test_an_engine_that_stops_is_said_and_the_market_goes_on(
    open_venue, http, instrument, make_trades
):
    trades = make_trades(20)
    beyond = np.where(np.arange(20) == 15, 2**51, trades.price_ticks)
    paper = PaperSettings(EngineConfig(), KEYS, lambda: WALL_US, 0.01)
    trades = replace(trades, price_ticks=beyond)
    venue = await open_venue(instrument, trades, paper=paper, happened_count=10)
    client = PaperClient(http, venue, lambda: WALL_US)
    await client.ask("GET", "account")
    assert await venue.publish(10) == 10
    status, answer = await client.raw("GET", "account", client.signed({}))
    assert (status, answer["code"]) == (503, -1016)
    assert "has stopped" in answer["msg"]
    assert venue.last_id == FIRST_ID + 19


async def test_an_order_begins_a_market_that_waits(open_account):
    venue, client = await open_account(speed=float("inf"), answer_s=30)
    await client.ask("GET", "account")
    assert venue.last_id == FIRST_ID + 49
    order = await client.ask("POST", "order", **MARKET)
    assert order["status"] == "FILLED"
    await venue.wait_finished()


async def test_a_clock_that_runs_by_itself_lets_orders_arrive(open_account):
    _, client = await open_account(speed=10.0, waits=False, answer_s=30)
    order = await client.ask("POST", "order", **LOW)
    # it has arrived by the clock alone, 20 ms of the market's time later
    assert order["workingTime"] > 0
    (row,) = await client.ask("GET", "openOrders")
    assert 20 <= row["workingTime"] - row["time"] <= 21


PATHS = [
    *("order", "order/test", "order/oco", "order/cancelReplace", "order/amend/keepPriority"),
    *("orderList", "orderList/oco", "openOrders", "openOrderList", "allOrderList", "account"),
    *("rateLimit/order", "userDataStream"),
]
MORE = [
    *("icebergQty", "orderId", "stopPrice", "limit", "recvWindow", "quoteOrderQty", "newQty"),
    *("trailingDelta", "orderListId", "cancelReplaceMode", "cancelOrderId", "fromId"),
    *("aboveType", "belowType", "abovePrice", "belowStopPrice", "listClientOrderId"),
]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(
    method=st.sampled_from(["GET", "POST", "DELETE", "PUT"]),
    path=st.sampled_from(PATHS),
    params=st.dictionaries(
        st.sampled_from([*LOW, *MORE]),
        st.text(max_size=20) | st.sampled_from([*LOW.values(), "LIMIT_MAKER", "STOP_LOSS", "1"]),
    ),
    body=st.binary(max_size=40),
    is_signed=st.booleans(),
)
def test_nothing_a_client_sends_brings_the_account_down(
    instrument, make_trades, method, path, params, body, is_signed
):
    async def check():
        paper = PaperSettings(EngineConfig(), KEYS, lambda: WALL_US, 0.001)
        venue = VenueServer(instrument, make_trades(60), paper=paper, happened_count=60)
        await venue.start()
        async with aiohttp.ClientSession() as http:
            client = PaperClient(http, venue, lambda: WALL_US)
            text = client.signed(params) if is_signed else urlencode(params)
            url = f"{venue.rest_url}/api/v3/{path}?{text}"
            key = {"X-MBX-APIKEY": KEYS.api_key}
            async with http.request(method, url, data=body, headers=key) as answer:
                assert answer.status < 500
            assert (await client.ask("GET", "account"))["canTrade"]
        await venue.stop()

    asyncio.run(check())


def test_exchange_info_states_what_is_refused(instrument, make_trades):
    async def ask():
        venue = VenueServer(instrument, make_trades(3))
        await venue.start()
        async with (
            aiohttp.ClientSession() as http,
            http.get(f"{venue.rest_url}/api/v3/exchangeInfo") as answer,
        ):
            found = json.loads(await answer.text())
        await venue.stop()
        return found["symbols"][0]

    symbol = asyncio.run(ask())
    rules = {rule["filterType"]: rule for rule in symbol["filters"]}
    assert rules["NOTIONAL"]["minNotional"] == "5.00000000"
    assert rules["LOT_SIZE"]["maxQty"] == "1000000000.00000000"
    assert {"STOP_LOSS_LIMIT", "TAKE_PROFIT"} < set(symbol["orderTypes"])
