"""Receive loops of clients that others wrote, for `benchmarks.receiving`, in their environment."""

import asyncio
import sys
import time

import ccxt.pro
from binance import AsyncClient, BinanceSocketManager


async def python_binance(stream_url: str, _rest_url: str, count: int) -> float:
    BinanceSocketManager.STREAM_URL = f"{stream_url}/"
    # Its queue drops what is not taken at once unless it is long.
    manager = BinanceSocketManager(AsyncClient(), max_queue_size=10 * count)
    async with manager.aggtrade_socket("FINEUSDT") as socket:
        await socket.recv()
        began_s = time.perf_counter()
        for _ in range(count - 1):
            await socket.recv()
        return (count - 1) / (time.perf_counter() - began_s)


async def ccxt_pro(stream_url: str, rest_url: str, count: int) -> float:
    class Counting(ccxt.pro.binance):
        # What it hands over holds the newest 1,000 trades at most.
        handled = 0

        def handle_trade(self, client, message):
            self.handled += 1
            super().handle_trade(client, message)

    exchange = Counting(
        {
            "newUpdates": True,
            "options": {
                "fetchMarkets": {"types": ["spot"]},
                "fetchCurrencies": False,
                "watchTrades": {"name": "aggTrade"},
            },
        }
    )
    exchange.urls["api"]["public"] = f"{rest_url}/api/v3"
    # It tells spot by this word in the address.
    exchange.urls["api"]["ws"]["spot"] = f"{stream_url}/stream"
    symbol = "FINE/USDT"
    await exchange.watch_trades(symbol)
    before, began_s = exchange.handled, time.perf_counter()
    while exchange.handled < count:
        await exchange.watch_trades(symbol)
    rate = (exchange.handled - before) / (time.perf_counter() - began_s)
    await exchange.close()
    return rate


if __name__ == "__main__":
    receive = {"python-binance": python_binance, "ccxt": ccxt_pro}[sys.argv[1]]
    sys.stdout.write(f"{asyncio.run(receive(sys.argv[2], sys.argv[3], int(sys.argv[4])))}\n")
