"""The venue's REST answers, limits and refusals."""

import json

import aiohttp
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from flowtape.connectors.binance.rows import rows_of
from flowtape.connectors.venue.faults import RestFault
from flowtape.connectors.venue.market import VenueMarket
from flowtape.connectors.venue.rules import BAN_AFTER, BAN_S
from flowtape.stream.instrument import Instrument
from tests.connectors.venue_asking import FIRST_ID, get


@pytest.fixture
async def http(no_leaks):
    async with aiohttp.ClientSession() as session:
        yield session


@given(data=st.data())
def test_queries_agree_with_a_plain_list(data, make_trades):
    trades = make_trades(60, step_us=3)
    cuts = sorted(data.draw(st.lists(st.integers(0, 60), max_size=3)))
    parts = [trades.slice(a, b) for a, b in zip([0, *cuts], [*cuts, 60], strict=True)]
    market = VenueMarket(iter(parts))
    happened = data.draw(st.integers(0, 60))
    rows = rows_of(trades)
    assert rows_of(market.advance(happened)) == rows[:happened]
    lost = data.draw(st.sets(st.integers(FIRST_ID, FIRST_ID + 59), max_size=9))
    market.lose(lost)
    there = [row for row in rows[:happened] if row.agg_id not in lost]
    limit = data.draw(st.integers(1, 70))
    from_id = data.draw(st.integers(FIRST_ID - 2, FIRST_ID + 62))
    assert market.from_id(from_id, limit) == [r for r in there if r.agg_id >= from_id][:limit]
    start, end = (rows[data.draw(st.integers(0, 59))].ts_us for _ in range(2))
    between = [r for r in there if start <= r.ts_us <= end]
    assert market.from_time(start, end, limit) == between[:limit]
    assert market.newest(limit) == there[-limit:]
    assert market.newest(limit, end) == [r for r in there if r.ts_us <= end][-limit:]
    until = rows[data.draw(st.integers(0, 59))].ts_us
    later = [r for r in rows[happened:] if r.ts_us <= until]
    assert rows_of(market.advance(60, until)) == later[:60]


@given(data=st.data())
def test_trades_happen_up_to_an_id_or_a_time(data, make_trades):
    trades = make_trades(60, step_us=3)
    size = data.draw(st.integers(1, 60))
    market = VenueMarket(trades.slice(row, row + size) for row in range(0, 60, size))
    left = rows_of(trades)
    while left:
        count = data.draw(st.integers(1, 70))
        before = data.draw(st.none() | st.integers(FIRST_ID - 1, FIRST_ID + 61))
        until = data.draw(st.none() | st.integers(left[0].ts_us, left[-1].ts_us + 1))
        expected = []
        for row in left[:count]:
            late = until is not None and row.ts_us > until
            if late or (before is not None and row.agg_id >= before and expected):
                break
            expected.append(row)
            if before is not None and row.agg_id >= before:
                break
        assert rows_of(market.advance(count, until, before)) == expected
        left = left[len(expected) :]
        assert market.next_id == (left[0].agg_id if left else None)
    assert market.next_us is None


async def test_rest_answers_like_binance(http, open_venue, instrument, make_trades):
    trades = make_trades(1_500, step_us=1_000)
    rows = rows_of(trades)
    venue = await open_venue(instrument, trades, happened_count=1_400)
    path = "/api/v3/aggTrades"

    async def ids(**query) -> list[int]:
        status, body, _ = await get(http, venue, path, symbol="BTCUSDT", **query)
        assert status == 200
        return [row["a"] for row in json.loads(body)]

    assert await ids() == list(range(1_900, 2_400))
    assert await ids(limit=3) == [2_397, 2_398, 2_399]
    assert await ids(fromId=1_010, limit=1_000) == list(range(1_010, 2_010))
    assert await ids(fromId=2_398) == [2_398, 2_399]
    assert await ids(fromId=9_999) == []
    start_us = rows[50].ts_us
    since = [row.agg_id for row in rows if row.ts_us >= start_us]
    assert await ids(startTime=start_us, limit=5) == since[:5]
    start_ms = start_us // 1_000
    since_ms = [row.agg_id for row in rows if row.ts_us >= start_ms * 1_000]
    assert await ids(startTime=start_ms, limit=5) == since_ms[:5]
    until = [row.agg_id for row in rows if row.ts_us <= start_us]
    assert await ids(endTime=start_us, limit=5) == until[-5:]
    assert await ids(startTime=start_us, endTime=start_us) == [
        row.agg_id for row in rows if row.ts_us == start_us
    ]
    _, body, _ = await get(http, venue, path, symbol="BTCUSDT", fromId=1_000, limit=1)
    assert body.startswith('[{"a":1000,"p":"')
    assert body.endswith(',"M":true}]')
    for query, code in (
        ({}, -1102),
        ({"symbol": ""}, -1102),
        ({"symbol": "NOPE"}, -1121),
        ({"symbol": "btcusdt"}, -1121),
        ({"symbol": "BTCUSDT", "limit": 0}, -1130),
        ({"symbol": "BTCUSDT", "limit": 1_001}, -1130),
        ({"symbol": "BTCUSDT", "limit": "x"}, -1100),
        ({"symbol": "BTCUSDT", "fromId": -1}, -1100),
        ({"symbol": "BTCUSDT", "fromId": 1, "startTime": 1}, -1128),
    ):
        status, body, _ = await get(http, venue, path, **query)
        assert (status, json.loads(body)["code"]) == (400, code), query


async def test_rest_tells_time_rules_and_weight(http, open_venue, instrument, make_trades):
    venue = await open_venue(instrument, make_trades(5), happened_count=5, weight_per_minute=50)
    now_us = int(make_trades(5).ts_us.max())
    assert (await get(http, venue, "/api/v3/ping"))[1] == "{}"
    assert (await get(http, venue, "/api/v3/time"))[1] == f'{{"serverTime":{now_us // 1_000}}}'
    _, body, headers = await get(http, venue, "/api/v3/exchangeInfo", symbol="BTCUSDT")
    assert headers["x-mbx-used-weight-1m"] == "22"
    (symbol,) = json.loads(body)["symbols"]
    filters = {rule["filterType"]: rule for rule in symbol["filters"]}
    assert filters["PRICE_FILTER"]["tickSize"] == "0.01000000"
    assert filters["LOT_SIZE"]["stepSize"] == "0.00001000"
    assert (symbol["baseAsset"], symbol["quoteAsset"]) == ("BTC", "USDT")
    assert (symbol["isSpotTradingAllowed"], symbol["permissionSets"]) == (True, [["SPOT"]])
    status, body, _ = await get(http, venue, "/api/v3/exchangeInfo", symbol="NOPE")
    assert (status, body) == (400, '{"code":-1121,"msg":"Invalid symbol."}')
    status, body, headers = await get(http, venue, "/api/v3/exchangeInfo")
    assert (status, json.loads(body)["code"]) == (429, -1003)
    assert 1 <= int(headers["Retry-After"]) <= 60
    async with http.get(f"{venue.rest_url}/api/v3/account") as response:
        assert response.status == 404


async def test_rest_faults_come_in_turn(http, open_venue, instrument, make_trades):
    faults = [RestFault(429, retry_after_s=7), RestFault(500, count=2, body="<html>")]
    venue = await open_venue(instrument, make_trades(5), faults=faults)
    answers = [await get(http, venue, "/api/v3/aggTrades", symbol="BTCUSDT") for _ in range(4)]
    assert [status for status, _, _ in answers] == [429, 500, 500, 200]
    assert answers[0][2]["Retry-After"] == "7"
    assert answers[1][1] == "<html>"


async def test_futures_rest_has_its_own_rules(http, open_venue, make_trades):
    instrument = Instrument("BTCUSDT", "um", price_decimals=1, qty_decimals=3)
    trades = make_trades(100, step_us=3_600_000_000)
    venue = await open_venue(instrument, trades, happened_count=100)
    now_us = int(trades.ts_us[-1])
    kept = [row.agg_id for row in rows_of(trades) if row.ts_us >= now_us - 48 * 3_600_000_000]

    async def ask(name, **query):
        status, body, headers = await get(http, venue, f"/fapi/v1/{name}", **query)
        return status, json.loads(body), int(headers["x-mbx-used-weight-1m"])

    status, rows, used = await ask("aggTrades", symbol="BTCUSDT", fromId=1_000, limit=1_000)
    assert (status, [row["a"] for row in rows], used) == (200, kept, 20)
    start_ms = now_us // 1_000 - 3_600_000
    query = {"symbol": "BTCUSDT", "startTime": start_ms, "endTime": now_us // 1_000 + 1}
    assert (await ask("aggTrades", **query))[1]["code"] == -1127
    status, book, used = await ask("depth", symbol="BTCUSDT", limit=50, unread=1)
    assert (status, used) == (200, 42)
    assert book == {
        "lastUpdateId": 1_099,
        "E": now_us // 1_000,
        "T": now_us // 1_000,
        "bids": [],
        "asks": [],
    }
    assert (await ask("depth", symbol="BTCUSDT", limit=7))[1]["code"] == -4021
    _, info, _ = await ask("exchangeInfo")
    (symbol,) = info["symbols"]
    assert (symbol["contractType"], symbol["marginAsset"]) == ("PERPETUAL", "USDT")
    filters = {rule["filterType"]: rule for rule in symbol["filters"]}
    assert filters["PRICE_FILTER"]["tickSize"] == "0.1"
    assert filters["LOT_SIZE"]["stepSize"] == "0.001"
    assert info["rateLimits"][0]["limit"] == 2_400
    for limit, weight in ((99, 1), (100, 2), (500, 5), (1_001, 10)):
        before = (await ask("ping"))[2]
        query = {"symbol": "BTCUSDT", "interval": "1h", "limit": limit}
        assert (await ask("klines", **query))[2] - before == weight
    assert (await ask("klines", symbol="BTCUSDT", interval="1s"))[1]["code"] == -1120
    async with http.get(f"{venue.rest_url}/fapi/v1/avgPrice?symbol=BTCUSDT") as answer:
        assert answer.status == 404
    _, ticker, _ = await ask("ticker/24hr", symbol="BTCUSDT")
    assert "bidPrice" not in ticker
    _, price, _ = await ask("ticker/price", symbol="BTCUSDT")
    assert price["time"] == now_us // 1_000
    async with http.get(
        f"{venue.rest_url}/fapi/v1/time", headers={"X-MBX-TIME-UNIT": "MICROSECOND"}
    ) as answer:
        assert (await answer.json())["serverTime"] == now_us // 1_000


async def test_parameters_that_no_one_reads_are_refused(http, open_venue, instrument, make_trades):
    venue = await open_venue(instrument, make_trades(5), happened_count=5)
    path = "/api/v3/aggTrades?symbol=BTCUSDT"
    for more, code in (("&side=BUY", -1104), ("&symbol=BTCUSDT", -1101)):
        status, body, _ = await get(http, venue, path + more)
        assert (status, json.loads(body)["code"]) == (400, code)
    for name, code in (("depth", -1102), ("trades", -1102), ("avgPrice", -1102)):
        status, body, _ = await get(http, venue, f"/api/v3/{name}")
        assert (status, json.loads(body)["code"]) == (400, code)
    _, body, headers = await get(http, venue, "/api/v3/depth?symbol=BTCUSDT&limit=5000")
    assert json.loads(body) == {"lastUpdateId": 1_004, "bids": [], "asks": []}
    assert headers["x-mbx-used-weight"] == "284"


async def test_who_ignores_the_limit_is_banned(http, open_venue, instrument, make_trades):
    venue = await open_venue(instrument, make_trades(1), weight_per_minute=3)
    seen = [await get(http, venue, "/api/v3/ping") for _ in range(3 + BAN_AFTER + 2)]
    assert [status for status, _, _ in seen] == [200] * 3 + [429] * BAN_AFTER + [418] * 2
    assert json.loads(seen[-1][1])["code"] == -1003
    assert int(seen[-1][2]["Retry-After"]) in range(BAN_S - 5, BAN_S + 1)


async def test_further_routes_are_served(http, open_venue, instrument, make_trades):
    class Archive:
        def routes(self):
            async def answer(request):
                return web.Response(text=request.path)

            return [web.get("/data/{path:.*}", answer)]

    venue = await open_venue(instrument, make_trades(1), extra=[Archive()])
    async with http.get(f"{venue.rest_url}/data/spot/x.zip") as answer:
        assert await answer.text() == "/data/spot/x.zip"


@given(data=st.data())
def test_no_more_is_kept_than_is_to_be(data, make_trades):
    trades = make_trades(100, step_us=1_000)
    rows = rows_of(trades)
    kept_rows = data.draw(st.integers(1, 120))
    kept_us = data.draw(st.none() | st.integers(1, 120_000))
    size = data.draw(st.integers(1, 40))
    parts = (trades.slice(row, row + size) for row in range(0, 100, size))
    market = VenueMarket(parts, kept_rows=kept_rows, kept_us=kept_us)
    for count in data.draw(st.lists(st.integers(1, 50), min_size=1, max_size=5)):
        market.advance(count)
    happened = [row for row in rows if row.agg_id <= market.last_id]
    recent = [r for r in happened if kept_us is None or r.ts_us >= market.now_us - kept_us]
    kept = [row for row in recent if row in happened[-kept_rows:]]
    assert market.from_id(0, 1_000) == kept
    assert market.newest(1_000) == kept
    hidden = data.draw(st.integers(0, 60))
    market.hidden_rows = hidden
    assert market.newest(1_000) == kept[: len(kept) - hidden if hidden < len(kept) else 0]


async def test_permissions_may_be_left_out(http, open_venue, instrument, make_trades):
    venue = await open_venue(instrument, make_trades(1))
    path = "/api/v3/exchangeInfo?showPermissionSets=false"
    (symbol,) = json.loads((await get(http, venue, path))[1])["symbols"]
    assert "permissionSets" not in symbol
    assert symbol["permissions"] == []
