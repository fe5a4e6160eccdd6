"""Ask a venue through binance-sdk-spot; what came is printed as JSON."""

import asyncio
import json
import sys

from binance_sdk_spot.spot import ConfigurationRestAPI, ConfigurationWebSocketStreams, Spot


async def main(address: str, count: int) -> None:
    spot = Spot(
        config_rest_api=ConfigurationRestAPI(base_path=f"http://{address}"),
        config_ws_streams=ConfigurationWebSocketStreams(stream_url=f"ws://{address}"),
    )
    connection = await spot.websocket_streams.create_connection()
    stream = await connection.agg_trade(symbol="btcusdt")
    trades: list[list[object]] = []
    enough = asyncio.Event()

    def take(trade) -> None:
        trades.append([trade.a, trade.p, trade.q, trade.T, trade.m])
        if len(trades) >= count:
            enough.set()

    stream.on("message", take)
    await asyncio.wait_for(enough.wait(), 30)
    await connection.close_connection(close_session=True)
    rest = spot.rest_api
    rows = rest.agg_trades(symbol="BTCUSDT", from_id=trades[0][0], limit=count).data()
    bars = rest.klines(symbol="BTCUSDT", interval="1s", limit=3).data()
    found = {
        "stream": trades[:count],
        "rest": [[row.a, row.p, row.q, row.T, row.m] for row in rows],
        "bars": [[str(value) for value in bar[:6]] for bar in bars],
        "symbol": rest.exchange_info(symbol="BTCUSDT").data().symbols[0].symbol,
    }
    sys.stdout.write(json.dumps(found))


asyncio.run(main(sys.argv[1], int(sys.argv[2])))
