"""Trade on a paper account through python-binance; what came is printed as JSON."""

import asyncio
import json
import sys

from binance import AsyncClient, BinanceSocketManager
from binance.exceptions import BinanceAPIException


async def refused(asked) -> int:
    try:
        await asked
    except BinanceAPIException as error:
        return error.code
    return 0


async def main(address: str, key: str, secret: str) -> None:
    AsyncClient.API_URL = f"http://{address}/api"
    AsyncClient.WS_API_URL = f"ws://{address}/ws-api/v3"
    BinanceSocketManager.STREAM_URL = f"ws://{address}/"
    client = await AsyncClient.create(key, secret)
    events = []
    async with BinanceSocketManager(client).user_socket() as socket:
        bought = await client.create_order(
            symbol="BTCUSDT", side="BUY", type="MARKET", quantity="0.002"
        )
        resting = await client.order_limit_buy(
            symbol="BTCUSDT", quantity="0.001", price="10000.00", newClientOrderId="mine-1"
        )
        asked = await client.get_order(symbol="BTCUSDT", origClientOrderId="mine-1")
        opened = await client.get_open_orders(symbol="BTCUSDT")
        twice = await refused(
            client.order_limit_buy(
                symbol="BTCUSDT", quantity="0.001", price="10000.00", newClientOrderId="mine-1"
            )
        )
        canceled = await client.cancel_order(symbol="BTCUSDT", orderId=resting["orderId"])
        gone = await refused(client.cancel_order(symbol="BTCUSDT", orderId=resting["orderId"]))
        status = await client.ws_get_order(symbol="BTCUSDT", orderId=bought["orderId"])
        while not events or events[-1].get("x") != "CANCELED":
            events.append(await asyncio.wait_for(socket.recv(), 10))
        spent = await client.create_order(
            symbol="BTCUSDT", side="BUY", type="MARKET", quoteOrderQty="100"
        )
        pair = await client.order_oco_sell(
            symbol="BTCUSDT",
            quantity="0.001",
            aboveType="LIMIT_MAKER",
            abovePrice="900000.00",
            belowType="STOP_LOSS",
            belowStopPrice="10000.00",
        )
        again = await client.order_limit_buy(symbol="BTCUSDT", quantity="0.001", price="10000.00")
        replaced = await client.cancel_replace_order(
            symbol="BTCUSDT",
            side="BUY",
            type="LIMIT",
            timeInForce="GTC",
            quantity="0.001",
            price="11000.00",
            cancelReplaceMode="STOP_ON_FAILURE",
            cancelOrderId=again["orderId"],
        )
        not_there = await refused(
            client.cancel_replace_order(
                symbol="BTCUSDT",
                side="BUY",
                type="LIMIT",
                timeInForce="GTC",
                quantity="0.001",
                price="11000.00",
                cancelReplaceMode="STOP_ON_FAILURE",
                cancelOrderId=again["orderId"],
            )
        )
        opened_lists = await client.get_open_oco_orders()
        asked_list = await client.ws_get_oco_order(orderListId=pair["orderListId"])
        lists = []
        while not lists:
            event = await asyncio.wait_for(socket.recv(), 10)
            lists += [event] if event["e"] == "listStatus" else []
    listen_key = await client.stream_get_listen_key()
    await client.stream_keepalive(listen_key)
    await client.stream_close(listen_key)
    found = {
        "bought": bought,
        "resting": resting,
        "asked": asked,
        "opened": opened,
        "twice": twice,
        "canceled": canceled,
        "gone": gone,
        "status": status,
        "events": events,
        "spent": spent,
        "pair": pair,
        "replaced": replaced,
        "not_there": not_there,
        "opened_lists": opened_lists,
        "asked_list": asked_list,
        "lists": lists,
        "account": await client.get_account(omitZeroBalances="true"),
        "orders": await client.get_all_orders(symbol="BTCUSDT"),
        "trades": await client.get_my_trades(symbol="BTCUSDT"),
    }
    await client.close_connection()
    sys.stdout.write(json.dumps(found))


asyncio.run(main(*sys.argv[1:4]))
