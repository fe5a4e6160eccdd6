import asyncio
import random
import socket
from dataclasses import replace

import pytest

from flowtape.connectors.binance.client import BinanceSource
from flowtape.connectors.binance.rest import RestClient
from flowtape.connectors.binance.rows import rows_of
from flowtape.connectors.binance.sequencer import SequencerConfig
from flowtape.connectors.venue.connection import ConnectionRules
from flowtape.connectors.venue.faults import (
    Abort,
    Close,
    Delay,
    Drop,
    Duplicate,
    Garble,
    RestFault,
    Shutdown,
    Stall,
)
from flowtape.stream.errors import InputError, SourceError
from flowtape.stream.instrument import Instrument
from flowtape.stream.ports import Gap

FIRST_ID = 1_000
COUNT = 300
LAST_ID = FIRST_ID + COUNT - 1
PINGING = ConnectionRules(ping_s=0.05, messages_per_s=1_000)
IMPATIENT = SequencerConfig(hold_us=400_000, ask_again_us=50_000)


def closed_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


async def drip(venue, pause_s=0.002, step=10):
    await venue.wait_for_subscribers()
    for _ in range(COUNT // step + 1):
        await venue.publish(step)
        await asyncio.sleep(pause_s)


def complete(heard) -> bool:
    return sum(heard.batches) + sum(gap.to_id - gap.from_id + 1 for gap in heard.gaps) >= COUNT


async def everything(open_venue, make_source, hear, instrument, trades, faults, **options):
    venue = await open_venue(instrument, trades, faults=faults)
    source = make_source(venue, **options)
    publishing = asyncio.create_task(drip(venue))
    heard = await hear(source, complete)
    await publishing
    return venue, source, heard


FAULTS = {
    "nothing": [],
    "lost frames": [Drop(1_010, 1_050), Drop(1_100, 1_100), Drop(1_102, 1_102)],
    "lost last frames before a pause": [Drop(1_290, 1_298)],
    "duplicates": [Duplicate(1_000, 3), Duplicate(1_100)],
    "reordered": [Delay(1_020, 1), Delay(1_030, 7), Delay(1_033, 2)],
    "reset": [Abort(1_100), Abort(1_200)],
    "going away": [Close(1_100, 1001)],
    "server error": [Close(1_100, 1011, "internal error")],
    "pong time-out": [Close(1_100, 1008, "Pong timeout")],
    "mute": [Stall(1_100)],
    "garbage": [Garble(1_100, "garbage"), Garble(1_110, "truncated")],
    "binary": [Garble(1_100, "binary")],
    "wrong types": [Garble(1_100, "wrong_types")],
    "shutdown": [Shutdown(1_100), Close(1_200, 1001)],
    "rest error": [Drop(1_100, 1_110), RestFault(500, count=2)],
    "rest html": [Drop(1_100, 1_110), RestFault(403, retry_after_s=1, body="<html>")],
    "rest nonsense": [Drop(1_100, 1_110), RestFault(200, body="[[]")],
    "rest too many": [Drop(1_100, 1_110), RestFault(429, retry_after_s=1)],
    "rest late": [Drop(1_100, 1_110), RestFault(delay_s=0.3)],
    "everything": [
        Duplicate(1_005),
        Drop(1_010, 1_030),
        Abort(1_050),
        Delay(1_080, 3),
        Shutdown(1_120),
        RestFault(503, delay_s=0.05),
        Garble(1_150, "truncated"),
        Close(1_190, 1012),
        Stall(1_240),
    ],
}


@pytest.mark.parametrize("name", FAULTS)
async def test_every_id_comes_once_in_order_and_exact(
    name, open_venue, make_source, hear, instrument, make_trades
):
    trades = make_trades(COUNT)
    _, source, heard = await everything(
        open_venue, make_source, hear, instrument, trades, FAULTS[name]
    )
    assert heard.gaps == []
    assert heard.rows == rows_of(trades)
    statistics = source.statistics
    assert statistics.trades == COUNT
    assert (statistics.conflicts, statistics.late, statistics.gaps) == (0, 0, 0)


async def test_faults_show_in_the_statistics(
    open_venue, make_source, hear, instrument, make_trades
):
    faults = [Duplicate(1_005, 2), Drop(1_010, 1_030), Garble(1_040, "binary"), Abort(1_200)]
    venue, source, _ = await everything(
        open_venue, make_source, hear, instrument, make_trades(COUNT), faults
    )
    statistics = source.statistics
    assert statistics.duplicates >= 2
    assert statistics.repaired >= 22
    assert statistics.rejected == 1
    assert statistics.reconnects == venue.accepted_count - 1 == 1
    assert statistics.lag_us >= 0


async def test_what_no_one_has_is_a_gap_with_its_reason(
    open_venue, make_source, hear, instrument, make_trades
):
    trades = make_trades(COUNT)
    faults = [Drop(1_100, 1_119, everywhere=True), Drop(1_110, 1_140)]
    _, source, heard = await everything(
        open_venue, make_source, hear, instrument, trades, faults, sequencing=IMPATIENT
    )
    assert heard.gaps == [Gap(1_100, 1_119, "the venue's REST does not have them")]
    assert heard.rows == [row for row in rows_of(trades) if not 1_100 <= row.agg_id < 1_120]
    assert source.statistics.missing == 20


async def test_without_rest_the_hold_ends_in_a_gap(
    open_venue, make_source, hear, instrument, make_trades
):
    faults = [Drop(1_100, 1_110), RestFault(418, count=1_000, retry_after_s=3_600)]
    _, _, heard = await everything(
        open_venue,
        make_source,
        hear,
        instrument,
        make_trades(COUNT),
        faults,
        sequencing=IMPATIENT,
    )
    (gap,) = heard.gaps
    assert (gap.from_id, gap.to_id) == (1_100, 1_110)
    assert "418" in gap.reason
    assert heard.ids == [i for i in range(FIRST_ID, LAST_ID + 1) if not 1_100 <= i <= 1_110]


async def test_a_resumed_source_repairs_from_the_last_known_id(
    open_venue, make_source, hear, instrument, make_trades
):
    trades = make_trades(3_000)
    venue = await open_venue(instrument, trades, happened_count=2_990)
    source = make_source(venue, start_after=1_099)
    heard = await hear(source, lambda heard: len(heard.rows) >= 2_890)
    assert heard.rows == rows_of(trades)[100:2_990]
    assert source.last_id == 3_989
    assert heard.clocks == []


async def test_a_quiet_outage_is_repaired_without_a_new_trade(
    open_venue, make_source, hear, instrument, make_trades, fast
):
    trades = make_trades(COUNT)
    venue = await open_venue(instrument, trades, faults=[Abort(1_100)])
    source = make_source(venue, silence_s=60.0, times=replace(fast, first_data_s=60.0))
    publishing = asyncio.create_task(drip(venue, pause_s=0, step=COUNT))
    heard = await hear(source, complete)
    await publishing
    assert heard.rows == rows_of(trades)
    assert source.statistics.repaired == 200


async def test_a_shutdown_notice_moves_on_to_one_other_connection(
    open_venue, make_source, hear, instrument, make_trades
):
    trades = make_trades(COUNT)
    venue = await open_venue(instrument, trades, faults=[Shutdown(1_100)])
    source = make_source(venue)
    subscribers = []

    async def look():
        subscribers.append(venue.subscriber_count)

    publishing = asyncio.create_task(drip(venue, pause_s=0.01))
    heard = await hear(source, complete, look)
    await publishing
    assert heard.rows == rows_of(trades)
    assert venue.accepted_count == 2
    assert max(subscribers) == 2, "the new connection stood before the old one was closed"
    assert subscribers[-1] == 1


async def test_microseconds_are_exact_on_both_ways(
    open_venue, make_source, hear, instrument, make_trades
):
    trades = make_trades(COUNT)
    assert any(trades.ts_us % 1_000)
    venue = await open_venue(instrument, trades, faults=[Drop(1_100, 1_199)], happened_count=50)
    source = make_source(venue, start_after=FIRST_ID - 1)
    publishing = asyncio.create_task(drip(venue))
    heard = await hear(source, complete)
    await publishing
    assert [row.ts_us for row in heard.rows] == trades.ts_us.tolist()
    assert source.statistics.repaired >= 150
    assert source.statistics.conflicts == 0


async def test_a_mute_connection_is_found_by_asking_rest(
    open_venue, make_source, hear, instrument, make_trades
):
    venue = await open_venue(instrument, make_trades(COUNT), rules=PINGING, faults=[Drop(1, 5_000)])
    source = make_source(venue, silence_s=0.15, start_after=FIRST_ID - 1)
    publishing = asyncio.create_task(drip(venue, pause_s=0.02))
    heard = await hear(source, lambda heard: complete(heard) and venue.accepted_count > 1)
    await publishing
    assert heard.ids == list(range(FIRST_ID, LAST_ID + 1))


async def test_a_quiet_but_living_connection_is_kept_and_tells_time(
    open_venue, make_source, hear, instrument, make_trades
):
    trades = make_trades(20)
    venue = await open_venue(instrument, trades, rules=PINGING)
    source = make_source(venue, silence_s=0.15)
    publishing = asyncio.create_task(drip(venue))
    heard = await hear(source, lambda heard: len(heard.clocks) >= 15)
    await publishing
    assert heard.rows == rows_of(trades)
    times = [clock.ts_us for clock in heard.clocks]
    assert times == sorted(set(times))
    assert times[0] > max(trades.ts_us)
    assert all(time % 1_000 == 0 for time in times)
    assert venue.accepted_count == 1


async def test_a_silent_start_finds_where_the_market_stands(
    open_venue, make_source, hear, instrument, make_trades
):
    trades = make_trades(COUNT)
    faults = [Drop(1, 5_000)]
    venue = await open_venue(instrument, trades, happened_count=100, faults=faults)
    source = make_source(venue, silence_s=0.1)

    async def later():
        while source.last_id is None:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        await venue.publish(COUNT)

    publishing = asyncio.create_task(later())
    heard = await hear(source, lambda heard: len(heard.rows) >= 200)
    await publishing
    assert heard.rows == rows_of(trades)[100:]


async def test_connections_are_rotated_before_the_venue_ends_them(
    open_venue, make_source, hear, instrument, make_trades, fast
):
    trades = make_trades(COUNT)
    venue = await open_venue(instrument, trades)
    source = make_source(venue, times=replace(fast, rotate_s=0.05))
    publishing = asyncio.create_task(drip(venue, pause_s=0.01))
    heard = await hear(source, complete)
    await publishing
    assert heard.rows == rows_of(trades)
    assert venue.accepted_count > 1
    assert source.statistics.repaired <= COUNT // 10


async def test_queued_frames_become_one_batch_for_a_busy_consumer(
    open_venue, make_source, hear, instrument, make_trades
):
    trades = make_trades(COUNT)
    venue = await open_venue(instrument, trades)
    source = make_source(venue)
    publishing = asyncio.create_task(drip(venue, pause_s=0))

    async def be_busy():
        await publishing
        await asyncio.sleep(0.1)

    heard = await hear(source, complete, be_busy)
    assert heard.rows == rows_of(trades)
    assert max(heard.batches) > 100


async def test_futures_take_their_own_route(open_venue, make_source, hear, make_trades):
    instrument = Instrument("BTCUSDT", "um", price_decimals=1, qty_decimals=3)
    trades = make_trades(COUNT)
    venue = await open_venue(instrument, trades, faults=[Drop(1_050, 1_060)])
    source = make_source(venue, market="um")
    publishing = asyncio.create_task(drip(venue))
    heard = await hear(source, complete)
    await publishing
    assert source.instrument == instrument
    assert heard.ids == list(range(FIRST_ID, LAST_ID + 1))
    assert [row.price_ticks for row in heard.rows] == trades.price_ticks.tolist()
    assert [row.ts_us for row in heard.rows] == [t // 1_000 * 1_000 for t in trades.ts_us.tolist()]


async def test_the_instrument_comes_from_the_venues_filters(open_venue, make_source, make_trades):
    for market in ("spot", "um"):
        instrument = Instrument("BTCUSDT", market, price_decimals=3, qty_decimals=0)
        venue = await open_venue(instrument, make_trades(1))
        async with make_source(venue, market=market) as source:
            assert source.instrument == instrument


@pytest.mark.parametrize("market", ["spot", "um"])
async def test_an_unknown_symbol_is_named(market, open_venue, make_source, make_trades):
    instrument = Instrument("BTCUSDT", market, price_decimals=2, qty_decimals=5)
    venue = await open_venue(instrument, make_trades(1))
    with pytest.raises(InputError, match=f"Binance {market} lists no symbol 'NOPE'; check"):
        await make_source(venue, market=market, symbol="nope").open()


async def test_an_unreachable_rest_address_is_named(open_venue, make_source, instrument):
    venue = await open_venue(instrument, [])
    source = make_source(venue, rest_url=f"http://127.0.0.1:{closed_port()}")
    with pytest.raises(SourceError, match=r"cannot reach http://.*refused; check --rest-url"):
        await source.open()


async def test_an_unreachable_stream_address_is_named(open_venue, make_source, hear, instrument):
    venue = await open_venue(instrument, [])
    for url, why in (
        (f"ws://127.0.0.1:{closed_port()}", "refused"),
        (f"{venue.ws_url}/nowhere", "HTTP 404"),
    ):
        source = make_source(venue, stream_url=url)
        with pytest.raises(SourceError, match=rf"cannot reach ws://.*{why}; check --stream-url"):
            await hear(source, complete)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"stream_url": "http://127.0.0.1:1"}, "no ws:// or wss:// address; check --stream-url"),
        ({"stream_url": "ws://"}, "check --stream-url"),
        ({"rest_url": "127.0.0.1:80"}, "no http:// or https:// address; check --rest-url"),
        ({"rest_url": "http://127.0.0.1:99999"}, "check --rest-url"),
        ({"market": "cm"}, "choose --market spot or um"),
    ],
)
def test_bad_addresses_and_markets_are_refused_at_once(options, said):
    with pytest.raises(InputError, match=said):
        BinanceSource("BTCUSDT", **options)


async def test_addresses_may_carry_the_usual_endings(
    open_venue, make_source, hear, instrument, make_trades
):
    trades = make_trades(COUNT)
    venue = await open_venue(instrument, trades)
    source = make_source(venue, stream_url=f"{venue.ws_url}/ws/", rest_url=f"{venue.rest_url}/")
    publishing = asyncio.create_task(drip(venue))
    heard = await hear(source, complete)
    await publishing
    assert heard.rows == rows_of(trades)


@pytest.fixture
async def proxy(monkeypatch):
    """An HTTP proxy in the environment that leads everything to one venue."""
    asked: list[bytes] = []
    target: list[str] = []
    pipes: set[asyncio.Task[None]] = set()

    async def copy(reader, writer):
        while data := await reader.read(65_536):
            writer.write(data)
        writer.close()

    async def serve(reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        asked.append(head.split(b"\r\n")[0])
        host, port = target[0].removeprefix("http://").split(":")
        from_venue, to_venue = await asyncio.open_connection(host, int(port))
        if head.startswith(b"CONNECT"):
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        else:
            to_venue.write(head)
        for work in (copy(reader, to_venue), copy(from_venue, writer)):
            pipes.add(asyncio.create_task(work))

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, address)
    for name in ("no_proxy", "NO_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    yield asked, target
    server.close()
    for pipe in pipes:
        pipe.cancel()
    await asyncio.gather(*pipes, return_exceptions=True)


async def test_a_proxy_of_the_environment_is_used(
    open_venue, make_source, hear, instrument, make_trades, proxy
):
    asked, target = proxy
    trades = make_trades(COUNT)
    venue = await open_venue(instrument, trades)
    target.append(venue.rest_url)
    source = make_source(
        venue, stream_url="ws://stream.example:9443", rest_url="http://rest.example"
    )
    publishing = asyncio.create_task(drip(venue))
    heard = await hear(source, complete)
    await publishing
    assert heard.rows == rows_of(trades)
    assert any(line.startswith(b"CONNECT stream.example:9443 ") for line in asked)
    assert any(line.startswith(b"GET http://rest.example/api/v3/exchangeInfo") for line in asked)


async def test_a_proxy_that_is_none_is_named(
    open_venue, make_source, hear, instrument, make_trades, monkeypatch
):
    venue = await open_venue(instrument, make_trades(1))
    source = make_source(venue, stream_url="ws://stream.example:9443")
    await source.open()
    monkeypatch.setenv("http_proxy", "nonsense://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    with pytest.raises(SourceError, match=r"cannot reach ws://stream\.example.*nonsense"):
        await hear(source, complete)


async def test_a_renumbered_market_stops_the_source(
    open_venue, make_source, hear, instrument, make_trades
):
    venue = await open_venue(instrument, make_trades(COUNT))
    source = make_source(venue, start_after=10_000_000)
    publishing = asyncio.create_task(drip(venue))
    with pytest.raises(SourceError, match="id 1000 lies far below the last one, 10000000"):
        await hear(source, complete)
    await publishing


async def test_a_changed_tick_size_stops_the_source_with_advice(
    open_venue, make_source, hear, make_trades
):
    coarse = Instrument("BTCUSDT", "spot", price_decimals=1, qty_decimals=5)
    fine = Instrument("BTCUSDT", "spot", price_decimals=2, qty_decimals=5)
    old = await open_venue(coarse, [])
    new = await open_venue(fine, make_trades(COUNT))
    source = make_source(old, stream_url=new.ws_url)
    publishing = asyncio.create_task(drip(new))
    with pytest.raises(SourceError, match=r"changed its tick size.*more than 1 decimals"):
        await hear(source, complete)
    await publishing


async def test_an_opened_source_knows_its_instrument_and_closes_twice(
    open_venue, make_source, instrument
):
    venue = await open_venue(instrument, [])
    source = make_source(venue)
    with pytest.raises(SourceError, match="not open yet"):
        _ = source.instrument
    assert await source.open() == instrument
    await source.close()
    await source.close()


async def test_a_cancelled_consumer_leaves_nothing_behind(
    open_venue, make_source, hear, instrument, make_trades
):
    venue = await open_venue(instrument, make_trades(COUNT))
    source = make_source(venue)
    listening = asyncio.create_task(hear(source, complete))
    await venue.wait_for_subscribers()
    await venue.publish(10)
    await asyncio.sleep(0.02)
    listening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await listening


@pytest.mark.parametrize("seed", range(6))
async def test_random_faults_lose_nothing(
    seed, open_venue, make_source, hear, instrument, make_trades
):
    rng = random.Random(seed)
    kinds = [
        lambda at: Drop(at, at + rng.randrange(30)),
        lambda at: Duplicate(at, rng.randrange(1, 4)),
        lambda at: Delay(at, rng.randrange(1, 20)),
        lambda at: Garble(at, rng.choice(["truncated", "garbage", "binary", "wrong_types"])),
        Abort,
        lambda at: Close(at, rng.choice([1000, 1001, 1011, 1012])),
        Shutdown,
    ]
    faults = [rng.choice(kinds)(rng.randint(FIRST_ID + 1, LAST_ID - 30)) for _ in range(12)]
    faults += [RestFault(rng.choice([200, 500, 503]), delay_s=0.02) for _ in range(4)]
    trades = make_trades(COUNT, seed=seed)
    _, _, heard = await everything(open_venue, make_source, hear, instrument, trades, faults)
    assert heard.gaps == [], faults
    assert heard.rows == rows_of(trades), faults


@pytest.mark.parametrize("everywhere", [False, True])
async def test_a_source_that_finishes_gives_out_what_waits(
    everywhere, open_venue, make_source, hear, instrument, make_trades
):
    trades = make_trades(COUNT)
    faults = [Drop(1_100, 1_119, everywhere=everywhere), RestFault(delay_s=0.1, count=100)]
    venue = await open_venue(instrument, trades, faults=faults, happened_count=0)
    source = make_source(venue, start_after=FIRST_ID - 1)
    publishing = asyncio.create_task(drip(venue))

    async def stop_when_all_is_published():
        await publishing
        while source.statistics.frames < COUNT - 20:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        source.finish()
        source.finish()

    stopping = asyncio.create_task(stop_when_all_is_published())
    heard = await hear(source, lambda heard: False)
    await stopping
    missing = range(1_100, 1_120) if everywhere else ()
    assert heard.ids == [i for i in range(FIRST_ID, LAST_ID + 1) if i not in missing]
    assert [(gap.from_id, gap.to_id) for gap in heard.gaps] == [(1_100, 1_119)] * everywhere


async def test_how_far_a_clock_is_off_is_asked_of_a_venue_elsewhere(
    open_venue, make_source, instrument, make_trades, monkeypatch
):
    trades = make_trades(10)
    venue = await open_venue(instrument, trades, happened_count=10)
    source = make_source(venue)
    await source.open()
    now_us = int(trades.ts_us.max())
    assert await source.clock_off_us(lambda: now_us) is None
    monkeypatch.setattr(RestClient, "is_here", False)
    assert await source.clock_off_us(lambda: now_us) == 0
    assert await source.clock_off_us(lambda: now_us - 5_000_000) == -5_000_000
    assert await source.clock_off_us(lambda: now_us + 7_200_000_000) == 7_200_000_000
    venue.inject(RestFault(503, query="time"))
    assert await source.clock_off_us(lambda: now_us) is None
