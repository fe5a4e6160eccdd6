"""Klines and tickers against a plain reading of the trades, over REST and streams."""

import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import ROUND_DOWN, ROUND_HALF_UP, Decimal

import aiohttp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowtape.connectors.binance.rows import rows_of, trades_of
from flowtape.connectors.venue.klines import INTERVALS, Interval, bars_of, klines
from flowtape.connectors.venue.listing import Listing
from flowtape.connectors.venue.market import VenueMarket
from flowtape.stream.instrument import Instrument
from flowtape.stream.trades import Trades

MINUTES = {"m": 1, "h": 60, "d": 1_440}
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
E8 = Decimal("0.00000001")


def moment(ts_us: int) -> datetime:
    return EPOCH + timedelta(microseconds=ts_us)


def us(when: datetime) -> int:
    return (when - EPOCH) // timedelta(microseconds=1)


def opens_at(name: str, ts_us: int) -> int:
    """When the kline opens that holds a time, by the calendar."""
    when = moment(ts_us)
    day = when.replace(hour=0, minute=0, second=0, microsecond=0)
    match name:
        case "1s":
            return us(when.replace(microsecond=0))
        case "1w":
            return us(day - when.weekday() * DAY)
        case "1M":
            return us(day.replace(day=1))
        case "3d":
            return us(day - ((day - EPOCH).days % 3) * DAY)
    span = timedelta(minutes=int(name[:-1]) * MINUTES[name[-1]])
    return us(day + (when - day) // span * span)


def closes_at(name: str, open_us: int) -> int:
    when = moment(open_us)
    match name:
        case "1s":
            return open_us + 1_000_000
        case "1w":
            return us(when + 7 * DAY)
        case "1M":
            return us((when + 32 * DAY).replace(day=1))
    return us(when + timedelta(minutes=int(name[:-1]) * MINUTES[name[-1]]))


def text(value: Decimal) -> str:
    return f"{value.quantize(E8, ROUND_DOWN):f}"


def plain_klines(rows, name, now_us, unit_us, pd=2, qd=5):
    """Every kline from the first trade to now, as REST lists them, in decimals."""
    found, at, close = [], opens_at(name, rows[0].ts_us), Decimal(0)
    while at <= now_us:
        end = closes_at(name, at)
        inside = [row for row in rows if at <= row.ts_us < end]
        prices = [Decimal(row.price_ticks).scaleb(-pd) for row in inside]
        qtys = [Decimal(row.qty_lots).scaleb(-qd) for row in inside]
        taker = [not row.is_buyer_maker for row in inside]
        quotes = [price * qty for price, qty in zip(prices, qtys, strict=True)]
        first, close = (prices[0], prices[-1]) if inside else (close, close)
        found.append(
            [
                at // unit_us,
                *map(text, (first, max(prices, default=close), min(prices, default=close), close)),
                text(sum(qtys, Decimal(0))),
                end // unit_us - 1,
                text(sum(quotes, Decimal(0))),
                sum(row.last_id - row.first_id + 1 for row in inside),
                text(sum((q for q, t in zip(qtys, taker, strict=True) if t), Decimal(0))),
                text(sum((q for q, t in zip(quotes, taker, strict=True) if t), Decimal(0))),
                "0",
            ]
        )
        at = end
    return found


@given(st.sampled_from(INTERVALS), st.integers(0, 2**41), st.sampled_from([0, 480, -210, 840]))
def test_intervals_are_those_of_the_calendar(name, seconds, zone_minutes):
    zone_us = zone_minutes * 60_000_000
    ts_us = seconds % 4_000_000_000 * 1_000_000 + 123_456
    interval = Interval(name, zone_us)
    open_us = interval.open_us(ts_us)
    assert open_us + zone_us == opens_at(name, ts_us + zone_us)
    assert interval.next_us(open_us) + zone_us == closes_at(name, open_us + zone_us)


@given(data=st.data())
def test_bars_agree_with_a_plain_sum(data, make_trades):
    trades = make_trades(50, step_us=300_000, seed=data.draw(st.integers(0, 9)))
    steps = data.draw(st.lists(st.integers(-2_000_000, 5_000_000), min_size=50, max_size=50))
    trades = replace(trades, ts_us=1_760_000_000_000_000 + np.cumsum(np.array(steps, np.int64)))
    void = data.draw(st.sets(st.integers(0, 49)))
    lots = trades.qty_lots * np.array([i not in void for i in range(50)])
    big = data.draw(st.booleans())
    trades = replace(trades, qty_lots=lots * (1 << 35 if big else 1))
    opens = Interval("1s").opens(trades.ts_us)
    bars = bars_of(trades, opens)
    real = [row for row in rows_of(trades) if row.qty_lots]
    assert [bar.open_us for bar in bars] == sorted({opens_at("1s", row.ts_us) for row in real})
    for bar in bars:
        inside = [row for row in real if opens_at("1s", row.ts_us) == bar.open_us]
        prices = [row.price_ticks for row in inside]
        assert (bar.open, bar.high, bar.low, bar.close) == (
            prices[0],
            max(prices),
            min(prices),
            prices[-1],
        )
        assert bar.lots == sum(row.qty_lots for row in inside)
        assert bar.tick_lots == sum(row.price_ticks * row.qty_lots for row in inside)
        bought = [row for row in inside if not row.is_buyer_maker]
        assert bar.taker_lots == sum(row.qty_lots for row in bought)
        assert bar.taker_tick_lots == sum(row.price_ticks * row.qty_lots for row in bought)
        assert (bar.first_id, bar.last_id) == (inside[0].first_id, inside[-1].last_id)
        assert bar.count == sum(row.last_id - row.first_id + 1 for row in inside)


def test_unknown_raw_ids_count_as_one_trade_each(make_trades):
    unknown = np.full(5, -1, np.int64)
    trades = replace(make_trades(5), first_id=unknown, last_id=unknown)
    (bar,) = bars_of(trades, np.zeros(5, np.int64))
    assert (bar.first_id, bar.last_id, bar.count) == (1_000, 1_004, 5)


@pytest.fixture
async def http(no_leaks):
    async with aiohttp.ClientSession() as session:
        yield session


async def get(http, venue, path, headers=None, **query):
    url = f"{venue.rest_url}{path}"
    async with http.get(url, params=query, headers=headers) as response:
        return response.status, json.loads(await response.text()), response.headers


@pytest.mark.parametrize("name", INTERVALS)
async def test_rest_klines_are_those_of_a_plain_reading(
    name, http, open_venue, instrument, make_trades
):
    step_us = {"s": 500_000, "m": 90_000_000, "h": 5_000_000_000}.get(name[-1], 50_000_000_000)
    trades = make_trades(120, step_us=500_000_000_000 if name == "1M" else step_us)
    venue = await open_venue(instrument, trades, happened_count=100)
    rows = rows_of(trades)[:100]
    now_us = rows[-1].ts_us
    expected = plain_klines(rows, name, now_us, 1_000)

    async def ask(**query):
        _, found, _ = await get(
            http, venue, "/api/v3/klines", symbol="BTCUSDT", interval=name, **query
        )
        return found

    newest = min(500, len(expected))
    assert await ask() == expected[-newest:]
    assert await ask(limit=3) == expected[-3:]
    start_us = rows[30].ts_us
    since = [row for row in expected if row[0] * 1_000 >= start_us]
    assert await ask(startTime=start_us, limit=4) == since[:4]
    until = [row for row in expected if row[0] * 1_000 <= start_us]
    assert await ask(endTime=start_us, limit=4) == until[-4:]
    end_us = rows[60].ts_us
    between = [row for row in since if row[0] * 1_000 <= end_us]
    assert (
        await ask(startTime=start_us // 1_000, endTime=end_us, limit=1_000)
        == [row for row in between if row[0] >= start_us // 1_000][:1_000]
    )
    headers = {"X-MBX-TIME-UNIT": "MICROSECOND"}
    _, found, _ = await get(
        http, venue, "/api/v3/klines", headers, symbol="BTCUSDT", interval=name, limit=1
    )
    assert found == plain_klines(rows, name, now_us, 1)[-1:]


async def test_klines_before_the_first_trade_and_with_mistakes(
    http, open_venue, instrument, make_trades
):
    venue = await open_venue(instrument, make_trades(5))
    path = "/api/v3/klines"
    assert (await get(http, venue, path, symbol="BTCUSDT", interval="1m"))[:2] == (200, [])
    for query, code in (
        ({"symbol": "BTCUSDT"}, -1102),
        ({"symbol": "BTCUSDT", "interval": "7m"}, -1120),
        ({"interval": "1m"}, -1102),
        ({"symbol": "BTCUSDT", "interval": "1m", "limit": 1_001}, -1130),
        ({"symbol": "BTCUSDT", "interval": "1m", "timeZone": "15"}, -1130),
        ({"symbol": "BTCUSDT", "interval": "1m", "timeZone": "east"}, -1130),
    ):
        status, error, _ = await get(http, venue, path, **query)
        assert (status, error["code"]) == (400, code), query


async def test_a_time_zone_moves_the_days(http, open_venue, instrument, make_trades):
    trades = make_trades(100, step_us=3_600_000_000)
    venue = await open_venue(instrument, trades, happened_count=100)
    _, found, _ = await get(
        http, venue, "/api/v3/klines", symbol="BTCUSDT", interval="1d", timeZone="-3:30"
    )
    shift_us = -12_600_000_000
    opens = {opens_at("1d", row.ts_us + shift_us) - shift_us for row in rows_of(trades)}
    assert [row[0] * 1_000 for row in found] == sorted(opens)


def plain_ticker(rows, now_us):
    inside = [row for row in rows if now_us - 86_400_000_000 <= row.ts_us <= now_us]
    prices = [Decimal(row.price_ticks).scaleb(-2) for row in inside]
    qtys = [Decimal(row.qty_lots).scaleb(-5) for row in inside]
    quote = sum((p * q for p, q in zip(prices, qtys, strict=True)), Decimal(0))
    change = prices[-1] - prices[0]
    earlier = [row for row in rows if row.ts_us < now_us - 86_400_000_000]
    before = Decimal(earlier[-1].price_ticks).scaleb(-2) if earlier else prices[0]
    percent = change * 100 / prices[0]
    return {
        "symbol": "BTCUSDT",
        "priceChange": text(change),
        "priceChangePercent": f"{percent.quantize(Decimal('0.001'), ROUND_HALF_UP) + 0}",
        "weightedAvgPrice": text(quote / sum(qtys)),
        "prevClosePrice": text(before),
        "lastPrice": text(prices[-1]),
        "lastQty": text(qtys[-1]),
        "bidPrice": "0.00000000",
        "bidQty": "0.00000000",
        "askPrice": "0.00000000",
        "askQty": "0.00000000",
        "openPrice": text(prices[0]),
        "highPrice": text(max(prices)),
        "lowPrice": text(min(prices)),
        "volume": text(sum(qtys)),
        "quoteVolume": text(quote),
        "openTime": (now_us - 86_400_000_000) // 1_000,
        "closeTime": now_us // 1_000,
        "firstId": inside[0].first_id,
        "lastId": inside[-1].last_id,
        "count": sum(row.last_id - row.first_id + 1 for row in inside),
    }


@pytest.mark.parametrize("happened", [1, 40, 90, 200])
async def test_tickers_are_those_of_a_plain_reading(
    happened, http, open_venue, instrument, make_trades
):
    trades = make_trades(200, step_us=900_000_000)
    parts = (trades.slice(row, row + 30) for row in range(0, 200, 30))
    venue = await open_venue(instrument, parts, happened_count=happened)
    rows = rows_of(trades)[:happened]
    expected = plain_ticker(rows, rows[-1].ts_us)
    path = "/api/v3/ticker/24hr"
    for _ in range(2):
        _, found, headers = await get(http, venue, path, symbol="BTCUSDT")
        assert found == expected
        assert list(found) == list(expected)
    assert headers["x-mbx-used-weight"] == "4"
    _, mini, _ = await get(http, venue, path, symbol="BTCUSDT", type="MINI")
    assert mini == {key: expected[key] for key in mini}
    assert len(mini) == 12
    _, listed, _ = await get(http, venue, path, symbols='["BTCUSDT"]')
    assert listed == [expected]
    _, price, _ = await get(http, venue, "/api/v3/ticker/price", symbol="BTCUSDT")
    assert price == {"symbol": "BTCUSDT", "price": expected["lastPrice"]}
    _, book, _ = await get(http, venue, "/api/v3/ticker/bookTicker")
    keys = ("bidPrice", "bidQty", "askPrice", "askQty")
    assert book == [{"symbol": "BTCUSDT"} | dict.fromkeys(keys, "0.00000000")]
    recent = [row for row in rows if row.ts_us >= rows[-1].ts_us - 300_000_000]
    weight = sum(row.qty_lots for row in recent)
    average = Decimal(sum(row.price_ticks * row.qty_lots for row in recent)) / weight
    _, found, _ = await get(http, venue, "/api/v3/avgPrice", symbol="BTCUSDT")
    assert found["price"] == text(average.scaleb(-2))


async def test_tickers_without_trades_and_with_mistakes(http, open_venue, instrument, make_trades):
    venue = await open_venue(instrument, make_trades(5))
    for name in ("24hr", "price"):
        path = f"/api/v3/ticker/{name}"
        assert (await get(http, venue, path))[:2] == (200, [])
        status, error, _ = await get(http, venue, path, symbol="BTCUSDT")
        assert (status, error["code"]) == (400, -1000)
        both = {"symbol": "BTCUSDT", "symbols": '["BTCUSDT"]'}
        assert (await get(http, venue, path, **both))[1]["code"] == -1128
        assert (await get(http, venue, path, symbols="BTCUSDT"))[1]["code"] == -1100
        assert (await get(http, venue, path, symbols='["NOPE"]'))[1]["code"] == -1121


async def events(socket, count):
    return [json.loads((await asyncio.wait_for(socket.receive(), 5)).data) for _ in range(count)]


async def test_kline_frames_add_up_to_the_klines(http, open_venue, instrument, make_trades):
    trades = make_trades(400, step_us=700_000)
    rows = rows_of(trades)
    venue = await open_venue(instrument, trades, happened_count=50)
    names = ["btcusdt@kline_1m", "btcusdt@kline_1s", "btcusdt@kline_1d@+08:00", STREAM]
    async with http.ws_connect(f"{venue.ws_url}/stream?streams={'/'.join(names)}") as socket:
        await venue.wait_for_subscribers()
        await venue.publish(300)
        await socket.send_json({"method": "LIST_SUBSCRIPTIONS", "id": 1})
        told = {name: [] for name in names}
        while "id" not in (frame := (await events(socket, 1))[0]):
            told[frame["stream"]].append(frame["data"])
    assert [frame["a"] for frame in told[STREAM]] == list(range(1_050, 1_350))
    for name, interval in (("btcusdt@kline_1m", "1m"), ("btcusdt@kline_1s", "1s")):
        frames = told[name]
        closed = [frame["k"] for frame in frames if frame["k"]["x"]]
        expected = plain_klines(rows[:350], interval, rows[349].ts_us, 1_000)
        first_us = opens_at(interval, rows[49].ts_us)
        expected = [row for row in expected if row[0] * 1_000 >= first_us][:-1]
        keys = ["t", "o", "h", "l", "c", "v", "T", "q", "n", "V", "Q", "B"]
        assert [[kline[key] for key in keys] for kline in closed] == expected
        assert all(frame["E"] == frame["k"]["T"] + 1 for frame in frames if frame["k"]["x"])
        every_ms = 1_000 if interval == "1s" else 2_000
        assert all(frame["E"] % every_ms == 0 for frame in frames)
        assert list(frames[0]) == ["e", "E", "s", "k"]
        assert "".join(frames[0]["k"]) == "tTsifLochlvnxqVQB"
    grown = told["btcusdt@kline_1m"]
    for frame in grown:
        kline, end_us = frame["k"], frame["E"] * 1_000
        inside = [r for r in rows[:350] if kline["t"] * 1_000 <= r.ts_us < end_us]
        assert kline["v"] == text(sum(Decimal(r.qty_lots) for r in inside).scaleb(-5))
        assert (kline["f"], kline["L"]) == (inside[0].first_id, inside[-1].last_id)
    east = told["btcusdt@kline_1d@+08:00"]
    assert {kline["k"]["t"] % 86_400_000 for kline in east} == {57_600_000}


STREAM = "btcusdt@aggTrade"


async def test_ticker_frames_are_those_of_a_plain_reading(
    http, open_venue, instrument, make_trades
):
    trades = make_trades(300, step_us=400_000)
    rows = rows_of(trades)
    venue = await open_venue(instrument, trades, happened_count=10)
    path = f"/ws/btcusdt@ticker/btcusdt@miniTicker/btcusdt@bookTicker/btcusdt@depth/{STREAM}"
    async with http.ws_connect(venue.ws_url + path) as socket:
        await venue.wait_for_subscribers()
        await venue.publish(100)
        await socket.send_json({"method": "LIST_SUBSCRIPTIONS", "id": 1})
        frames = []
        while "id" not in (frame := (await events(socket, 1))[0]):
            frames.append(frame)
    by_kind = {kind: [f for f in frames if f["e"] == kind] for kind in {f["e"] for f in frames}}
    assert set(by_kind) == {"24hrTicker", "24hrMiniTicker", "aggTrade"}
    assert len(by_kind["24hrTicker"]) > 20
    for full, mini in zip(by_kind["24hrTicker"], by_kind["24hrMiniTicker"], strict=True):
        past = [row for row in rows[:110] if row.ts_us < full["E"] * 1_000]
        expected = plain_ticker(past, full["E"] * 1_000)
        assert "".join(full) == "eEspPwxcQbBaAohlvqOCFLn"
        assert list(full.values())[3:] == [
            expected[key]
            for key in (
                *("priceChange", "priceChangePercent", "weightedAvgPrice", "prevClosePrice"),
                *("lastPrice", "lastQty", "bidPrice", "bidQty", "askPrice", "askQty", "openPrice"),
                *("highPrice", "lowPrice", "volume", "quoteVolume", "openTime", "closeTime"),
                *("firstId", "lastId", "count"),
            )
        ]
        assert mini == {key: full[key] for key in "Escohlvq"} | {"e": "24hrMiniTicker"}


async def test_klines_tell_of_times_without_trades(http, open_venue, instrument, make_trades):
    trades = make_trades(10, step_us=1_000)
    ts_us = trades.ts_us.copy()
    ts_us[5:] += 210_000_000
    venue = await open_venue(instrument, replace(trades, ts_us=ts_us))
    async with http.ws_connect(f"{venue.ws_url}/ws/{STREAM}/btcusdt@kline_1m") as socket:
        await venue.wait_for_subscribers()
        await venue.publish(10)
        frames = [f for f in await events(socket, 13) if f["e"] == "kline"]
    closed = [frame["k"] for frame in frames]
    assert [kline["x"] for kline in closed] == [True, True, True]
    assert [kline["n"] > 0 for kline in closed] == [True, False, False]
    assert closed[1]["o"] == closed[1]["c"] == closed[0]["c"]
    assert (closed[1]["f"], closed[1]["L"], closed[1]["v"]) == (-1, -1, "0.00000000")


async def test_raw_trades_are_silent_unless_wanted(http, open_venue, instrument, make_trades):
    path = f"/ws/btcusdt@trade/{STREAM}"
    venue = await open_venue(instrument, make_trades(3))
    async with http.ws_connect(venue.ws_url + path) as socket:
        await venue.wait_for_subscribers()
        await venue.publish(2)
        assert [frame["e"] for frame in await events(socket, 2)] == ["aggTrade"] * 2
    status, error, _ = await get(http, venue, "/api/v3/trades", symbol="BTCUSDT")
    assert (status, error["code"]) == (501, -1000)


@pytest.mark.parametrize("market", ["spot", "um"])
async def test_aggregates_as_raw_trades(market, http, open_venue, make_trades):
    instrument = Instrument("BTCUSDT", market, 2, 5)
    trades = make_trades(3)
    (row, *_) = rows_of(trades)
    venue = await open_venue([Listing(instrument, trades, raw_trades=True)], ())
    async with http.ws_connect(f"{venue.ws_url}/ws/btcusdt@trade") as socket:
        await venue.publish(1)
        await socket.send_json({"method": "LIST_SUBSCRIPTIONS", "id": 1})
        frame, _ = await events(socket, 2)
    assert "".join(frame) == ("eEstpqTmM" if market == "spot" else "eETstpqXmst")
    assert frame["t"] == row.last_id
    assert Decimal(frame["q"]) == Decimal(row.qty_lots).scaleb(-5)
    prefix = "/api/v3" if market == "spot" else "/fapi/v1"
    _, listed, _ = await get(http, venue, f"{prefix}/trades", symbol="BTCUSDT")
    assert [trade["id"] for trade in listed] == [row.last_id]
    assert Decimal(listed[0]["quoteQty"]) == (
        Decimal(row.price_ticks).scaleb(-2) * Decimal(row.qty_lots).scaleb(-5)
    ).quantize(E8 if market == "spot" else Decimal("0.0000001"), ROUND_DOWN)


def test_what_was_lost_is_in_no_kline(make_trades):
    trades = make_trades(10, step_us=1_000)
    market = VenueMarket(trades)
    market.advance(10)
    market.lose([1_003])
    rows = [row for row in rows_of(trades) if row.agg_id != 1_003]
    (bar,) = klines(
        market,
        Interval("1h"),
        now_us=int(trades.ts_us[-1]),
        start_us=None,
        end_us=None,
        limit=5,
    )
    (expected,) = bars_of(trades_of(rows), np.full(9, bar.open_us))
    assert bar == expected
    assert isinstance(trades, Trades)


async def test_at_a_pace_klines_are_told_by_the_clock(http, open_venue, instrument, make_trades):
    trades = make_trades(2, step_us=1)
    ts_us = trades.ts_us + np.array([0, 200_000_000])
    venue = await open_venue(instrument, replace(trades, ts_us=ts_us), speed=400.0)
    async with http.ws_connect(f"{venue.ws_url}/ws/btcusdt@kline_1m") as socket:
        while not (frame := (await events(socket, 1))[0])["k"]["x"]:
            pass
        assert venue.last_id == 1_000
        assert frame["k"]["L"] == int(trades.last_id[0])
        await asyncio.wait_for(venue.wait_finished(), 5)
