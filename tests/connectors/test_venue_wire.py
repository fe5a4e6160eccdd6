"""The bytes of frames, one by one and in bulk."""

from dataclasses import replace

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Opcode
from websockets.protocol import CLIENT, Protocol

from flowtape.connectors.binance.messages import (
    AggTrade,
    Combined,
    FuturesAggTrade,
    encode,
)
from flowtape.connectors.binance.rows import rows_of
from flowtape.connectors.venue.connection import ConnectionRules
from flowtape.connectors.venue.frames import Shape, binary_frame, text_frames
from flowtape.connectors.venue.wire import Wire
from flowtape.stream.instrument import Instrument
from tests.connectors.venue_asking import STREAM, next_text

MESSAGES = {"spot": AggTrade, "um": FuturesAggTrade}


@pytest.fixture
async def http(no_leaks):
    async with aiohttp.ClientSession() as session:
        yield session


async def test_frames_are_byte_for_byte_binances(http, open_venue, instrument, make_trades):
    trades = make_trades(2)
    first = rows_of(trades)[0]
    venue = await open_venue(instrument, trades)
    urls = [
        f"/ws/{STREAM}",
        f"/stream?streams={STREAM}",
        f"/ws/{STREAM}?timeUnit=MICROSECOND",
        f"/stream?streams={STREAM}&timeUnit=microsecond",
        f"/stream?streams={STREAM}?timeUnit=MICROSECOND",
        f"/stream?streams={STREAM.replace('@', '%40')}/other@kline_1m",
    ]
    sockets = [await http.ws_connect(venue.ws_url + url) for url in urls]
    await venue.wait_for_subscribers(len(urls))
    await venue.publish(1)
    price = f"{first.price_ticks / 100:.8f}"
    qty = f"{first.qty_lots / 100_000:.8f}"
    maker = "true" if first.is_buyer_maker else "false"

    def payload(unit: int) -> str:
        return (
            f'{{"e":"aggTrade","E":{first.ts_us // unit},"s":"BTCUSDT","a":1000,"p":"{price}",'
            f'"q":"{qty}","f":9000000,"l":{first.last_id},"T":{first.ts_us // unit},'
            f'"m":{maker},"M":true}}'
        )

    def combined(unit: int) -> str:
        return f'{{"stream":"{STREAM}","data":{payload(unit)}}}'

    assert [await next_text(socket) for socket in sockets] == [
        payload(1_000),
        combined(1_000),
        payload(1),
        combined(1),
        combined(1),
        combined(1_000),
    ]
    for socket in sockets:
        await socket.close()


@given(data=st.data())
def test_frames_in_bulk_are_those_of_the_message_structs(data, make_trades):
    market = data.draw(st.sampled_from(["spot", "um"]))
    decimals = st.integers(0, 10)
    symbol = data.draw(st.sampled_from(["BTCUSDT", "币安人生USDT", "1000SATSUSDT"]))
    instrument = Instrument(symbol, market, data.draw(decimals), data.draw(decimals))
    trades = make_trades(30, seed=data.draw(st.integers(0, 9)))
    trades = replace(
        trades,
        price_ticks=trades.price_ticks * data.draw(st.sampled_from([0, 1, 10**7])),
        qty_lots=trades.qty_lots * data.draw(st.sampled_from([0, 1, 10**9])),
    )
    shape = Shape(data.draw(st.booleans()), data.draw(st.booleans()))
    events = trades.ts_us + data.draw(st.integers(0, 10**9))
    wire = Wire(instrument)
    unit = shape.unit_us
    expected = []
    for row, event_us in zip(rows_of(trades), events.tolist(), strict=True):
        said = {
            "event_time": event_us // unit,
            "symbol": symbol,
            "agg_id": row.agg_id,
            "price": wire.price(row.price_ticks),
            "qty": wire.qty(row.qty_lots),
            "first_id": row.first_id,
            "last_id": row.last_id,
            "trade_time": row.ts_us // unit,
            "is_buyer_maker": row.is_buyer_maker,
        }
        if market == "um":
            said["qty_without_rpi"] = said["qty"]
        payload = encode(MESSAGES[market](**said))
        expected.append(encode(Combined(wire.stream, Raw(payload))) if shape.combined else payload)
    assert wire.agg_trades(trades, events, shape) == expected
    assert wire.agg_trades(trades.slice(0, 0), events[:0], shape) == []


@given(st.lists(st.binary(max_size=70_000), max_size=5), st.sampled_from([0, 9, 15]))
def test_frames_are_read_by_another_implementation(payloads, window):
    texts = [payload.hex().encode() for payload in payloads]
    extensions = [PerMessageDeflate(False, False, window, 15)] if window else []
    client = Protocol(CLIENT, max_size=None)
    client.extensions = extensions
    client.receive_data(text_frames(texts, window) + binary_frame(b"\x00\xff"))
    frames = client.events_received()
    assert [(frame.opcode, bytes(frame.data)) for frame in frames] == [
        *((Opcode.TEXT, text) for text in texts),
        (Opcode.BINARY, b"\x00\xff"),
    ]


async def test_compressed_connections_get_the_same(http, open_venue, instrument, make_trades):
    venue = await open_venue(instrument, make_trades(30), rules=ConnectionRules(deflate=True))
    sockets = [
        await http.ws_connect(f"{venue.ws_url}/ws/{STREAM}", compress=window)
        for window in (15, 15, 0)
    ]
    assert [socket.compress for socket in sockets] == [15, 15, 0]
    await venue.wait_for_subscribers(3)
    for _ in range(3):
        await venue.publish(10)
        for socket in sockets:
            await socket.send_json({"method": "LIST_SUBSCRIPTIONS", "id": 1})
    heard = [[await next_text(socket) for _ in range(33)] for socket in sockets]
    assert heard[0] == heard[1] == heard[2]
    for socket in sockets:
        await socket.close()
