"""Ask a venue through ccxt; what came is printed as JSON."""

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


async def main(address: str, count: int) -> None:
    options = {
        "fetchMarkets": {"types": ["spot"]},
        "fetchCurrencies": False,
        "watchTrades": {"name": "aggTrade"},
    }
    exchange = ccxt.binance({"options": options, "newUpdates": True})
    exchange.urls["api"] = moved(exchange.urls["api"], address)
    exchange.urls["api"]["ws"]["spot"] = f"ws://{address}/ws"
    trades = []
    while len(trades) < count:
        for trade in await exchange.watch_trades("BTC/USDT"):
            trades.append([trade["info"][key] for key in "apqTm"])
    since = {"fromId": trades[0][0], "fetchTradesMethod": "publicGetAggTrades"}
    rows = await exchange.fetch_trades("BTC/USDT", limit=count, params=since)
    bars = await exchange.fetch_ohlcv("BTC/USDT", "1s", limit=3)
    found = {
        "stream": trades[:count],
        "rest": [
            [
                int(row["info"]["a"]),
                row["info"]["p"],
                row["info"]["q"],
                int(row["info"]["T"]),
                row["info"]["m"],
            ]
            for row in rows
        ],
        "bars": [[str(value) for value in bar] for bar in bars],
        "symbol": exchange.market("BTC/USDT")["id"],
    }
    await exchange.close()
    sys.stdout.write(json.dumps(found))


asyncio.run(main(sys.argv[1], int(sys.argv[2])))
