"""Ask a venue through python-binance; what came is printed as JSON."""

import asyncio
import json
import sys

from binance import AsyncClient, BinanceSocketManager


async def main(address: str, count: int) -> None:
    AsyncClient.API_URL = f"http://{address}/api"
    BinanceSocketManager.STREAM_URL = f"ws://{address}/"
    client = await AsyncClient.create()
    trades = []
    async with BinanceSocketManager(client).aggtrade_socket("BTCUSDT") as socket:
        while len(trades) < count:
            trade = await socket.recv()
            trades.append([trade[key] for key in "apqTm"])
    rows = await client.get_aggregate_trades(symbol="BTCUSDT", fromId=trades[0][0], limit=count)
    bars = await client.get_klines(symbol="BTCUSDT", interval="1s", limit=3)
    found = {
        "stream": trades,
        "rest": [[row[key] for key in "apqTm"] for row in rows],
        "bars": [[str(value) for value in bar[:6]] for bar in bars],
        "symbol": (await client.get_symbol_info("BTCUSDT"))["symbol"],
    }
    await client.close_connection()
    sys.stdout.write(json.dumps(found))


asyncio.run(main(sys.argv[1], int(sys.argv[2])))
