import asyncio
import random

import pytest

from flowtape.connectors.binance.markets import SPOT, market_api
from flowtape.connectors.binance.pacing import Allowance
from flowtape.connectors.binance.rest import RestClient, RestError
from flowtape.connectors.binance.rows import rows_of
from flowtape.connectors.venue.faults import RestFault
from flowtape.stream.errors import FlowError, SourceError
from flowtape.stream.instrument import Instrument


class Sleeper:
    """A steady clock that moves only when someone sleeps."""

    def __init__(self) -> None:
        self.now_us = 1_000_000
        self.slept: list[float] = []

    def clock_us(self) -> int:
        return self.now_us

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now_us += int(seconds * 1e6)
        await asyncio.sleep(0)


@pytest.fixture
def sleeper() -> Sleeper:
    return Sleeper()


@pytest.fixture
async def ask(open_venue, instrument, make_trades, sleeper):
    venue = await open_venue(instrument, make_trades(2_500), happened_count=2_500)
    client = RestClient(
        SPOT,
        venue.rest_url,
        clock_us=sleeper.clock_us,
        rng=random.Random(1),
        sleep=sleeper.sleep,
        request_s=1.5,
    )
    client.venue = venue
    async with client:
        yield client


async def test_pages_are_read_by_id_or_from_the_end(ask, instrument, make_trades):
    rows = rows_of(make_trades(2_500))
    page = await ask.agg_trades(instrument, 1_100, 1_000)
    assert (page.rows, page.exhausted) == (rows[100:1_100], False)
    page = await ask.agg_trades(instrument, 3_400, 1_000)
    assert (page.rows, page.exhausted) == (rows[2_400:], True)
    assert (await ask.agg_trades(instrument, None, 1)).rows == rows[-1:]


@pytest.mark.parametrize("market", ["spot", "um"])
async def test_a_symbol_is_traded_or_unknown(market, open_venue, make_trades, sleeper):
    instrument = Instrument("BTCUSDT", market, price_decimals=2, qty_decimals=3)
    venue = await open_venue(instrument, make_trades(1))
    options = {"clock_us": sleeper.clock_us, "rng": random.Random(1), "sleep": sleeper.sleep}
    async with RestClient(market_api(market), venue.rest_url, **options) as client:
        assert (await client.listed("BTCUSDT")).info.status == "TRADING"
        with pytest.raises(FlowError, match=r"lists no symbol|Invalid symbol"):
            await client.listed("NOPE")


async def test_after_a_429_nothing_is_asked_until_its_time(ask, instrument, sleeper):
    ask.venue.inject(RestFault(429, retry_after_s=7))
    ask.venue.inject(RestFault(418))
    with pytest.raises(RestError, match="answered 429") as caught:
        await ask.agg_trades(instrument, 1_000, 10)
    assert caught.value.pause_s == 7.0
    sleeper.now_us += 4_000_000
    with pytest.raises(RestError, match="asked for a pause") as caught:
        await ask.agg_trades(instrument, 1_000, 10)
    assert caught.value.pause_s == 3.0
    sleeper.now_us += 3_000_000
    with pytest.raises(RestError, match="answered 418") as caught:
        await ask.agg_trades(instrument, 1_000, 10)
    assert caught.value.pause_s == 60.0
    sleeper.now_us += 60_000_000
    assert len((await ask.agg_trades(instrument, 1_000, 10)).rows) == 10


async def test_queries_are_spread_over_half_of_the_limit(ask, instrument, sleeper):
    began_us = sleeper.now_us
    for _ in range(100):
        await ask.agg_trades(instrument, 1_000, 1)
    assert 100 * SPOT.agg_trades_weight / 50 - 6.1 <= (sleeper.now_us - began_us) / 1e6 <= 8.0


async def test_near_the_limit_it_waits_for_the_minute_to_end(ask, instrument, sleeper):
    await ask.agg_trades(instrument, 1_000, 1)
    ask.venue._meter.used = 4_900
    await ask.agg_trades(instrument, 1_000, 1)
    with pytest.raises(RestError, match="pause") as caught:
        await ask.agg_trades(instrument, 1_000, 1)
    assert 1.0 <= caught.value.pause_s <= 61.0


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (RestFault(500), "answered 500: -1000 An unknown error"),
        (RestFault(502, body="<html>"), "answered 502: Bad Gateway"),
        (RestFault(200, body="<html>"), "list of trades cannot be read"),
        (RestFault(delay_s=2.0), "did not answer within 1.5 s"),
        (RestFault(400, body='{"code":-1100,"msg":"Illegal"}'), "answered 400: -1100 Illegal"),
    ],
)
async def test_useless_answers_are_rest_errors(fault, said, ask, instrument):
    ask.venue.inject(fault)
    with pytest.raises(RestError, match=said) as caught:
        await ask.agg_trades(instrument, 1_000, 10)
    assert caught.value.pause_s is None
    assert "\n" not in str(caught.value)
    assert len((await ask.agg_trades(instrument, 1_000, 10)).rows) == 10


async def test_the_instrument_is_asked_for_again_after_passing_faults(ask, instrument, sleeper):
    ask.venue.inject(RestFault(503, query="exchangeInfo"))
    ask.venue.inject(RestFault(429, retry_after_s=3, query="exchangeInfo"))
    assert await ask.instrument("BTCUSDT") == instrument
    assert sum(sleeper.slept) >= 3.0


@pytest.mark.parametrize(
    "fault",
    [
        RestFault(500, count=10, query="exchangeInfo"),
        RestFault(418, retry_after_s=600, query="exchangeInfo"),
        RestFault(404, body="<html>", query="exchangeInfo"),
        RestFault(200, body="[]", query="exchangeInfo"),
    ],
)
async def test_without_an_instrument_the_address_is_doubted(fault, ask, sleeper):
    ask.venue.inject(fault)
    with pytest.raises(SourceError, match="check --rest-url and --market"):
        await ask.instrument("BTCUSDT")
    assert sum(sleeper.slept) < 15.0


async def test_the_venue_tells_its_time(ask, make_trades):
    assert await ask.server_us() == int(make_trades(2_500).ts_us.max())
    for body in ("{}", "<html>", '{"serverTime":"now"}', '{"serverTime":-1}'):
        ask.venue.inject(RestFault(200, body=body, query="time"))
        with pytest.raises(RestError, match="time cannot be read"):
            await ask.server_us()


@pytest.fixture
async def two(open_venue, instrument, make_trades, sleeper):
    """A client of one venue that has another one to spare."""
    venues = [await open_venue(instrument, make_trades(10), happened_count=10) for _ in range(2)]
    client = RestClient(
        SPOT,
        venues[0].rest_url,
        clock_us=sleeper.clock_us,
        rng=random.Random(1),
        sleep=sleeper.sleep,
        request_s=0.5,
        spare_urls=[venues[1].rest_url],
    )
    client.venues = venues
    async with client:
        yield client


@pytest.mark.parametrize(
    "fault",
    [RestFault(503), RestFault(502, body="<html>"), RestFault(delay_s=1), RestFault(cut=True)],
)
async def test_another_host_is_asked_when_one_does_not_answer(fault, two, instrument):
    first, second = two.venues
    first.inject(fault)
    with pytest.raises(RestError):
        await two.agg_trades(instrument, 1_000, 5)
    second.inject(RestFault(400, body='{"code":-1100,"msg":"second"}'))
    with pytest.raises(RestError, match="second"):
        await two.agg_trades(instrument, 1_000, 5)
    second.inject(RestFault(500))
    with pytest.raises(RestError, match="500"):
        await two.agg_trades(instrument, 1_000, 5)
    first.inject(RestFault(400, body='{"code":-1100,"msg":"first"}'))
    with pytest.raises(RestError, match="first"):
        await two.agg_trades(instrument, 1_000, 5)


async def test_a_host_that_is_gone_is_passed_over_at_the_start(two, instrument):
    await two.venues[0].stop()
    assert await two.instrument("BTCUSDT") == instrument
    assert len((await two.agg_trades(instrument, 1_000, 5)).rows) == 5


async def test_a_pause_is_kept_at_every_host(two, instrument, sleeper):
    two.venues[0].inject(RestFault(429, retry_after_s=7))
    with pytest.raises(RestError, match="429"):
        await two.agg_trades(instrument, 1_000, 5)
    with pytest.raises(RestError, match="asked for a pause"):
        await two.agg_trades(instrument, 1_000, 5)
    sleeper.now_us += 7_000_000
    two.venues[0].inject(RestFault(400, body='{"code":-1100,"msg":"first"}'))
    with pytest.raises(RestError, match="first"):
        await two.agg_trades(instrument, 1_000, 5)


async def test_where_no_host_answers_it_is_said_soon(two, sleeper):
    for venue in two.venues:
        await venue.stop()
    with pytest.raises(SourceError, match="cannot reach"):
        await two.instrument("BTCUSDT")
    assert sum(sleeper.slept) < 15.0


async def test_clients_behind_one_address_share_what_they_may_ask(ask, instrument, sleeper):
    allowance = Allowance(SPOT.weight_per_minute)
    options = {"clock_us": sleeper.clock_us, "sleep": sleeper.sleep, "allowance": allowance}
    async with (
        RestClient(SPOT, ask.venue.rest_url, rng=random.Random(2), **options) as one,
        RestClient(SPOT, ask.venue.rest_url, rng=random.Random(3), **options) as other,
    ):
        began_us, spent = sleeper.now_us, 0
        for number in range(300):
            spent += SPOT.agg_trades_weight
            await (one, other)[number % 2].agg_trades(instrument, 1_000, 1)
        minutes = (sleeper.now_us - began_us) / 60e6
        # The burst is a tenth of what a minute gives.
        assert spent <= SPOT.weight_per_minute / 2 * (minutes + 0.1) + SPOT.agg_trades_weight
        ask.venue.inject(RestFault(429, retry_after_s=7))
        with pytest.raises(RestError, match="429"):
            await one.agg_trades(instrument, 1_000, 1)
        with pytest.raises(RestError, match="asked for a pause") as caught:
            await other.agg_trades(instrument, 1_000, 1)
        assert caught.value.pause_s == 7.0
