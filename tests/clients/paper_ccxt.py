"""Trade on a paper account through ccxt; what came is printed as JSON."""

import asyncio
import json
import sys

import ccxt.pro as ccxt


def moved(urls, address: str):
    if isinstance(urls, dict):
        return {key: moved(value, address) for key, value in urls.items()}
    if not isinstance(urls, str):
        return urls
    return urls.replace("https://api.binance.com", f"http://{address}")


async def main(address: str, key: str, secret: str) -> None:
    options = {
        "fetchMarkets": {"types": ["spot"]},
        "fetchCurrencies": False,
        "fetchMargins": False,
    }
    exchange = ccxt.binance({"options": options, "apiKey": key, "secret": secret})
    exchange.urls["api"] = moved(exchange.urls["api"], address)
    exchange.urls["api"]["ws"]["ws-api"]["spot"] = f"ws://{address}/ws-api/v3"
    exchange.urls["api"]["ws"]["spot"] = f"ws://{address}/ws"
    bought = await exchange.create_order("BTC/USDT", "market", "buy", 0.002)
    resting = await exchange.create_order("BTC/USDT", "limit", "buy", 0.001, 10_000)
    stop = await exchange.create_order(
        "BTC/USDT", "limit", "sell", 0.001, 9_000, {"stopLossPrice": 9_500}
    )
    opened = await exchange.fetch_open_orders("BTC/USDT")
    await exchange.cancel_order(stop["id"], "BTC/USDT")
    await exchange.cancel_order(resting["id"], "BTC/USDT")
    refused = ""
    try:
        await exchange.create_order("BTC/USDT", "limit", "sell", 5, 900_000)
    except ccxt.InsufficientFunds as error:
        refused = str(error)
    watching = asyncio.ensure_future(exchange.watch_orders("BTC/USDT"))
    await asyncio.sleep(1)
    called = await exchange.create_order_ws("BTC/USDT", "limit", "buy", 0.001, 10_000)
    watched = [[one["id"], one["status"]] for one in await asyncio.wait_for(watching, 20)]
    spent = await exchange.create_market_buy_order_with_cost("BTC/USDT", 100)
    moved_order = await exchange.edit_order(called["id"], "BTC/USDT", "limit", "buy", 0.001, 11_000)
    pair = await exchange.private_post_orderlist_oco(
        {
            "symbol": "BTCUSDT",
            "side": "SELL",
            "quantity": "0.001",
            "aboveType": "LIMIT_MAKER",
            "abovePrice": "900000",
            "belowType": "STOP_LOSS_LIMIT",
            "belowStopPrice": "10000",
            "belowPrice": "9900",
            "belowTimeInForce": "GTC",
        }
    )
    lists = await exchange.private_get_openorderlist()
    ended = await exchange.cancel_all_orders("BTC/USDT")
    found = {
        "spent": spent["info"],
        "moved": moved_order["info"],
        "pair": pair,
        "lists": [one["orderListId"] for one in lists],
        "replaced": (await exchange.fetch_order(called["id"], "BTC/USDT"))["status"],
        "ended": len(ended),
        "left": len(await exchange.fetch_open_orders("BTC/USDT")),
        "called": called["id"],
        "watched": watched,
        "bought": bought["info"],
        "status": bought["status"],
        "filled": bought["filled"],
        "opened": [order["id"] for order in opened],
        "ids": [resting["id"], stop["id"]],
        "after": (await exchange.fetch_order(resting["id"], "BTC/USDT"))["status"],
        "refused": refused,
        "balance": (await exchange.fetch_balance())["info"]["balances"],
        "trades": [trade["info"] for trade in await exchange.fetch_my_trades("BTC/USDT")],
    }
    await exchange.close()
    sys.stdout.write(json.dumps(found))


asyncio.run(main(*sys.argv[1:4]))
