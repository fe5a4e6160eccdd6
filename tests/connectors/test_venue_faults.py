"""What goes wrong at the venue on purpose: in the stream, on the wire, by script, for flowtape."""

import asyncio
import json
import logging

import aiohttp
import numpy as np
import pytest
from aiohttp import WSMsgType
from hypothesis import given
from hypothesis import strategies as st

from flowtape.connectors.binance.rows import rows_of
from flowtape.connectors.binance.sequencer import SequencerConfig
from flowtape.connectors.venue.connection import ConnectionRules
from flowtape.connectors.venue.faults import (
    Abort,
    Backdate,
    Close,
    Delay,
    Deny,
    Drop,
    Duplicate,
    Forget,
    Garble,
    Halt,
    Hold,
    Lag,
    Mute,
    Refuse,
    Renumber,
    RestFault,
    Skew,
    Stall,
    Void,
)
from flowtape.connectors.venue.faulty_stream import FaultyStream, Run

STREAM = "btcusdt@aggTrade"
FIRST_ID, COUNT = 1_000, 300
LAST_ID = FIRST_ID + COUNT - 1
REST = "/api/v3/aggTrades"

ids = st.integers(FIRST_ID, FIRST_ID + 39)
spans = st.tuples(ids, ids).map(sorted)
stream_faults = st.one_of(
    st.builds(lambda span: Drop(*span), spans),
    st.builds(lambda span: Renumber(*span, by=-7), spans),
    st.builds(Duplicate, ids, st.integers(1, 3), st.booleans()),
    st.builds(Delay, ids, st.integers(1, 5)),
    st.builds(Garble, ids),
    st.builds(Abort, ids),
)


def plainly(trades, faults):
    """Return what a reading row by row sends: ids and quantities, and what comes between."""
    sent, delayed = [], []
    for count, row in enumerate(rows_of(trades), start=1):
        at, again, late = row.agg_id, [], 0
        garbled = False
        for fault in faults:
            if isinstance(fault, Drop | Renumber) or fault.at != at:
                continue
            match fault:
                case Duplicate():
                    again += [row.qty_lots + fault.differs] * fault.times
                case Delay():
                    late = fault.by
                case Garble():
                    garbled = True
                case Abort():
                    sent.append("abort")
        agg_id = at
        for fault in faults:
            if isinstance(fault, Drop | Renumber) and fault.from_id <= at <= fault.to_id:
                agg_id = None if isinstance(fault, Drop) or agg_id is None else agg_id + fault.by
        if agg_id is not None:
            if late:
                delayed.append((count + late, (agg_id, row.qty_lots, False)))
            else:
                sent.append((agg_id, row.qty_lots, garbled))
                sent += [(agg_id, qty, False) for qty in again]
        sent += [what for when, what in delayed if when <= count]
        delayed = [(when, what) for when, what in delayed if when > count]
    return sent


@given(data=st.data())
def test_faults_in_bulk_are_those_of_a_row_by_row_reading(data, make_trades):
    trades = make_trades(40)
    faults = data.draw(st.lists(stream_faults, max_size=5))
    cuts = sorted(data.draw(st.lists(st.integers(0, 40), max_size=4)))
    stream = FaultyStream()
    for fault in faults:
        stream.inject(fault)
    sent = []
    for start, stop in zip([0, *cuts], [*cuts, 40], strict=True):
        for action in stream.actions(trades.slice(start, stop)):
            if isinstance(action, Run):
                garbled = action.garble is not None
                sent += [(row.agg_id, row.qty_lots, garbled) for row in rows_of(action.trades)]
            else:
                sent.append("abort")
    assert sent == plainly(trades, faults)


def test_what_nothing_is_wrong_with_stays_together(make_trades):
    trades = make_trades(1_000)
    stream = FaultyStream()
    stream.inject(Close(1_500))
    runs = list(stream.actions(trades))
    assert [len(run.trades) for run in runs if isinstance(run, Run)] == [500, 1, 499]


def test_a_fault_at_an_id_that_is_missing_happens_at_the_next(make_trades):
    trades = make_trades(10)
    holed = type(trades)(
        *(np.delete(getattr(trades, name), 4) for name in trades.__dataclass_fields__)
    )
    stream = FaultyStream()
    stream.inject(Close(1_004))
    kinds = [type(action).__name__ for action in stream.actions(holed)]
    assert kinds == ["Run", "Close", "Run", "Run"]


@pytest.fixture
async def http(no_leaks):
    async with aiohttp.ClientSession() as session:
        yield session


async def next_text(socket) -> str:
    message = await asyncio.wait_for(socket.receive(), 5)
    assert message.type is WSMsgType.TEXT, message
    return message.data


async def texts(socket, venue, publish: int, count: int) -> list[dict]:
    await venue.wait_for_subscribers()
    await venue.publish(publish)
    return [json.loads(await next_text(socket)) for _ in range(count)]


async def rest(http, venue, **query):
    async with http.get(f"{venue.rest_url}{REST}", params={"symbol": "BTCUSDT", **query}) as answer:
        return json.loads(await answer.text())


async def test_rows_that_were_taken_back(http, open_venue, instrument, make_trades):
    venue = await open_venue(instrument, make_trades(10), faults=[Void(1_002, 1_003)])
    async with http.ws_connect(f"{venue.ws_url}/ws/{STREAM}") as socket:
        frames = await texts(socket, venue, 5, 3)
    assert [frame["a"] for frame in frames] == [1_000, 1_001, 1_004]
    rows = await rest(http, venue)
    assert [row["a"] for row in rows] == [1_000, 1_001, 1_002, 1_003, 1_004]
    void = {key: rows[2][key] for key in "pqfl"}
    assert void == {"p": "0.00000000", "q": "0.00000000", "f": -1, "l": -1}


async def test_trade_times_that_go_backwards(http, open_venue, instrument, make_trades):
    trades = make_trades(5)
    venue = await open_venue(instrument, trades, faults=[Backdate(1_002, 1_002, by_ms=5_000)])
    async with http.ws_connect(f"{venue.ws_url}/ws/{STREAM}?timeUnit=MICROSECOND") as socket:
        frames = await texts(socket, venue, 5, 5)
    times = trades.ts_us.copy()
    times[2] -= 5_000_000
    assert [frame["T"] for frame in frames] == times.tolist()
    events = [frame["E"] for frame in frames]
    assert events == np.maximum.accumulate(times).tolist()
    assert [row["T"] * 1_000 for row in await rest(http, venue)] == (
        times // 1_000 * 1_000
    ).tolist()


async def test_ids_that_go_back(http, open_venue, instrument, make_trades):
    venue = await open_venue(instrument, make_trades(5), faults=[Renumber(1_002, 9_999, by=-900)])
    async with http.ws_connect(f"{venue.ws_url}/ws/{STREAM}") as socket:
        frames = await texts(socket, venue, 5, 5)
    assert [frame["a"] for frame in frames] == [1_000, 1_001, 102, 103, 104]
    assert [row["a"] for row in await rest(http, venue)] == list(range(1_000, 1_005))


async def test_frames_of_every_odd_kind(http, open_venue, instrument, make_trades):
    kinds = ("new_keys", "missing_key", "wrong_types", "unknown_event", "other_unit", "oversized")
    faults = [Garble(1_000 + number, kind) for number, kind in enumerate(kinds)]
    trades = make_trades(8)
    venue = await open_venue(instrument, trades, faults=faults)
    async with http.ws_connect(f"{venue.ws_url}/ws/{STREAM}", max_msg_size=0) as socket:
        frames = await texts(socket, venue, 7, 9)
    assert frames[0]["zz"] == {"of": ["tomorrow", 1.5, None]}
    assert frames[0]["a"] == 1_000
    assert "a" not in frames[1]
    assert frames[2]["a"] == "x"
    assert frames[3]["e"] == "tomorrow"
    assert frames[4]["a"] == 1_003
    assert frames[5]["T"] == int(trades.ts_us[4])
    assert len(frames[6]["fill"]) > 1 << 20
    assert [frame["a"] for frame in frames[7:]] == [1_005, 1_006]


async def test_a_duplicate_that_differs(http, open_venue, instrument, make_trades):
    venue = await open_venue(instrument, make_trades(2), faults=[Duplicate(1_000, 1, differs=True)])
    async with http.ws_connect(f"{venue.ws_url}/ws/{STREAM}") as socket:
        one, other, _ = await texts(socket, venue, 2, 3)
    assert one["a"] == other["a"]
    assert float(other["q"]) == pytest.approx(float(one["q"]) + 1e-5)


async def test_event_times_and_the_clock_may_be_off(http, open_venue, instrument, make_trades):
    trades = make_trades(4)
    venue = await open_venue(instrument, trades, faults=[Skew(1_002, by_ms=7_000)])
    async with http.ws_connect(f"{venue.ws_url}/ws/{STREAM}") as socket:
        frames = await texts(socket, venue, 4, 4)
    assert [frame["E"] - frame["T"] for frame in frames] == [0, 0, 7_000, 7_000]
    async with http.get(f"{venue.rest_url}/api/v3/time") as answer:
        assert (await answer.json())["serverTime"] == int(trades.ts_us[-1]) // 1_000 + 7_000


@pytest.mark.parametrize("heals", ["subscribe", "connect"])
async def test_a_muted_stream(heals, http, open_venue, instrument, make_trades):
    venue = await open_venue(instrument, make_trades(9), faults=[Mute(1_002, heals)])
    async with http.ws_connect(f"{venue.ws_url}/ws/{STREAM}") as socket:
        frames = await texts(socket, venue, 4, 2)
        assert [frame["a"] for frame in frames] == [1_000, 1_001]
        await socket.send_json({"method": "SUBSCRIBE", "params": [STREAM], "id": 1})
        assert await next_text(socket) == '{"result":null,"id":1}'
        await venue.publish(1)
        await socket.send_json({"method": "LIST_SUBSCRIPTIONS", "id": 2})
        answer = json.loads(await next_text(socket))
        assert answer.get("a") == (1_004 if heals == "subscribe" else None)
        if heals == "subscribe":
            assert json.loads(await next_text(socket))["id"] == 2
        async with http.ws_connect(f"{venue.ws_url}/ws/{STREAM}") as second:
            await venue.wait_for_subscribers(2)
            await venue.publish(1)
            assert json.loads(await next_text(second))["a"] == 1_005


async def test_a_stream_that_stands_still_and_then_catches_up(
    http, open_venue, instrument, make_trades
):
    venue = await open_venue(instrument, make_trades(9), faults=[Hold(1_002, for_s=0.2)])
    async with http.ws_connect(f"{venue.ws_url}/ws/{STREAM}") as socket:
        frames = await texts(socket, venue, 6, 2)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(socket.receive(), 0.05)
        assert len(await rest(http, venue)) == 6
        frames = [json.loads(await next_text(socket)) for _ in range(4)]
        assert [frame["a"] for frame in frames] == [1_002, 1_003, 1_004, 1_005]


async def test_trading_halts_and_goes_on(http, open_venue, instrument, make_trades):
    faults = [Halt(1_002, for_s=0.3, status="BREAK")]
    venue = await open_venue(
        instrument, make_trades(9, step_us=20_000), faults=faults, speed=1.0, waits=False
    )

    async def status() -> str:
        async with http.get(f"{venue.rest_url}/api/v3/exchangeInfo") as answer:
            return (await answer.json())["symbols"][0]["status"]

    seen = [await status()]
    while seen[-1] == "TRADING":
        seen.append(await status())
    assert seen[-1] == "BREAK"
    assert (await rest(http, venue))[-1]["a"] <= 1_002
    await asyncio.wait_for(venue.wait_finished(), 5)
    assert await status() == "TRADING"
    assert (await rest(http, venue))[-1]["a"] == 1_008


async def test_handshakes_are_refused_in_turn(http, open_venue, instrument, make_trades):
    faults = [Refuse(status=429, retry_after_s=3), Refuse(status=503, count=2)]
    venue = await open_venue(instrument, make_trades(1), faults=faults)
    seen = []
    for _ in range(3):
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await http.ws_connect(f"{venue.ws_url}/ws")
        seen.append((refused.value.status, refused.value.headers.get("Retry-After")))
    assert seen == [(429, "3"), (503, None), (503, None)]
    async with http.ws_connect(f"{venue.ws_url}/ws"):
        pass


async def test_too_many_connections_are_refused(http, open_venue, instrument, make_trades):
    rules = ConnectionRules(connects_max=3, connects_s=60)
    venue = await open_venue(instrument, make_trades(1), rules=rules)
    for _ in range(3):
        async with http.ws_connect(f"{venue.ws_url}/ws"):
            pass
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await http.ws_connect(f"{venue.ws_url}/ws")
    assert refused.value.status == 429
    assert 55 <= int(refused.value.headers["Retry-After"]) <= 60


async def test_subscriptions_are_denied_in_every_way(http, open_venue, instrument, make_trades):
    faults = [Deny(how="error", code=4, msg="Too many subscriptions"), Deny(how="unanswered")]
    faults.append(Deny(how="acknowledged_only"))
    venue = await open_venue(instrument, make_trades(9), faults=faults)
    subscribe = {"method": "SUBSCRIBE", "params": [STREAM], "id": 1}
    listing = {"method": "LIST_SUBSCRIPTIONS", "id": 2}
    async with http.ws_connect(f"{venue.ws_url}/ws") as socket:
        await socket.send_json(subscribe)
        error = {"code": 4, "msg": "Too many subscriptions"}
        assert json.loads(await next_text(socket)) == {"error": error, "id": 1}
        await socket.send_json(subscribe)
        await socket.send_json(listing)
        assert json.loads(await next_text(socket)) == {"result": [], "id": 2}
        await socket.send_json(subscribe)
        assert json.loads(await next_text(socket)) == {"result": None, "id": 1}
        await venue.publish(2)
        await socket.send_json(listing)
        assert json.loads(await next_text(socket)) == {"result": [STREAM], "id": 2}


async def test_a_connection_has_a_lifetime(http, open_venue, instrument, make_trades):
    rules = ConnectionRules(lifetime_s=0.1, lifetime_code=1001)
    venue = await open_venue(instrument, make_trades(1), rules=rules)
    async with http.ws_connect(f"{venue.ws_url}/ws") as socket:
        assert (await asyncio.wait_for(socket.receive(), 5)).type is WSMsgType.CLOSE
        assert socket.close_code == 1001


async def test_a_stalled_connection_answers_no_ping(http, open_venue, instrument, make_trades):
    venue = await open_venue(instrument, make_trades(5), faults=[Stall(1_001)])
    async with http.ws_connect(f"{venue.ws_url}/ws/{STREAM}", autoping=False) as socket:
        await socket.ping(b"one")
        assert (await asyncio.wait_for(socket.receive(), 5)).data == b"one"
        await texts(socket, venue, 5, 1)
        await socket.ping(b"two")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(socket.receive(), 0.1)


async def test_rest_lags_and_forgets(http, open_venue, instrument, make_trades):
    faults = [Lag(rows=3, count=2), Forget(1_005, rows=4)]
    venue = await open_venue(instrument, make_trades(20), faults=faults)
    await venue.publish(5)
    for last in (1_001, 1_001, 1_004):
        assert [row["a"] for row in await rest(http, venue)] == list(range(1_000, last + 1))
    await venue.publish(5)
    assert [row["a"] for row in await rest(http, venue, fromId=1_000)] == [
        1_006,
        1_007,
        1_008,
        1_009,
    ]


async def test_an_answer_that_breaks_off(http, open_venue, instrument, make_trades):
    faults = [RestFault(cut=True), RestFault(503, query="any", body="<html>")]
    venue = await open_venue(instrument, make_trades(20), faults=faults, happened_count=20)
    with pytest.raises(aiohttp.ClientPayloadError):
        await rest(http, venue)
    async with http.get(f"{venue.rest_url}/api/v3/ping") as answer:
        assert (answer.status, await answer.text()) == (503, "<html>")
        assert answer.content_type == "text/html"
    assert len(await rest(http, venue)) == 20


async def test_a_rest_fault_may_wait_for_a_trade(http, open_venue, instrument, make_trades):
    venue = await open_venue(instrument, make_trades(9), faults=[RestFault(418, at=1_003)])
    await venue.publish(3)
    assert len(await rest(http, venue)) == 3
    await venue.publish(1)
    assert (await rest(http, venue))["code"] == -1000


SURVIVED = {
    "backdated": [Backdate(1_100, 1_120, by_ms=3_000)],
    "new keys": [Garble(1_100, "new_keys"), Garble(1_101, "unknown_event")],
    "missing key": [Garble(1_100, "missing_key")],
    "too large": [Garble(1_100, "oversized")],
    "times in the other unit": [Garble(1_100, "other_unit")],
    "muted": [Mute(1_100, "connect")],
    "held": [Hold(1_100, for_s=0.2)],
    "halted": [Halt(1_100, for_s=0.1)],
    "skewed": [Skew(1_100, by_ms=60_000)],
    "refused": [Abort(1_100), Refuse(1_100, status=503, count=2)],
    "lagging": [Drop(1_100, 1_110), Lag(1_111, rows=200, count=2)],
    "cut": [Drop(1_100, 1_110), RestFault(cut=True)],
}


async def drip(venue):
    await venue.wait_for_subscribers()
    for _ in range(COUNT // 10 + 1):
        await venue.publish(10)
        await asyncio.sleep(0.002)


def complete(heard) -> bool:
    return sum(heard.batches) + sum(gap.to_id - gap.from_id + 1 for gap in heard.gaps) >= COUNT


@pytest.mark.parametrize("name", SURVIVED)
async def test_flowtape_loses_nothing(name, open_venue, make_source, hear, instrument, make_trades):
    faults = SURVIVED[name]
    trades = make_trades(COUNT)
    venue = await open_venue(instrument, trades, faults=faults)
    source = make_source(venue)
    publishing = asyncio.create_task(drip(venue))
    heard = await hear(source, complete)
    await publishing
    assert heard.gaps == []
    assert heard.ids == trades.agg_id.tolist()
    if name == "backdated":
        trades.ts_us[100:121] -= 3_000_000
    assert [row.ts_us // 1_000 for row in heard.rows] == (trades.ts_us // 1_000).tolist()


async def test_flowtape_accounts_for_what_was_taken_back(
    open_venue, make_source, hear, instrument, make_trades
):
    venue = await open_venue(instrument, make_trades(COUNT), faults=[Void(1_100, 1_109)])
    source = make_source(venue)
    publishing = asyncio.create_task(drip(venue))
    heard = await hear(source, lambda heard: heard.ids[-1:] == [LAST_ID])
    await publishing
    assert heard.gaps == []
    assert heard.ids == [i for i in range(FIRST_ID, LAST_ID + 1) if not 1_100 <= i <= 1_109]
    assert source.statistics.voids == 10


async def test_flowtape_declares_what_rest_has_forgotten(
    open_venue, make_source, hear, instrument, make_trades
):
    faults = [Drop(1_100, 1_110), Forget(1_111, rows=1), RestFault(503, at=1_111)]
    venue = await open_venue(instrument, make_trades(COUNT), faults=faults)
    impatient = SequencerConfig(hold_us=400_000, ask_again_us=50_000)
    source = make_source(venue, sequencing=impatient)
    publishing = asyncio.create_task(drip(venue))
    heard = await hear(source, complete)
    await publishing
    assert [(gap.from_id, gap.to_id) for gap in heard.gaps] == [(1_100, 1_110)]


async def test_what_happens_is_told(http, open_venue, instrument, make_trades, caplog):
    caplog.set_level(logging.INFO, logger="flowtape.connectors.venue")
    faults = [Abort(1_002), RestFault(503)]
    venue = await open_venue(instrument, make_trades(4), faults=faults)
    async with http.ws_connect(f"{venue.ws_url}/ws/{STREAM}") as socket:
        await texts(socket, venue, 4, 2)
        await socket.receive()
    await rest(http, venue)
    async with http.ws_connect(f"{venue.ws_url}/stream") as socket:
        pass
    await venue.stop()
    assert caplog.messages == [
        f"connection 1: /ws/{STREAM}",
        'trade 1002: {"type":"abort","at":1002}',
        "connection 1 ended: reset",
        'query aggTrades: {"type":"rest","status":503}',
        "connection 2: /stream",
        "connection 2 ended: the client left",
    ]
