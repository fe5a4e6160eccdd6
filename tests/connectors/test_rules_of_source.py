"""A source tells the venue's rules of orders, at its start and when they change."""

import asyncio
import logging
from dataclasses import replace

import pytest

from flowtape.connectors.venue.faults import Refilter, RestFault
from flowtape.stream.errors import SourceError
from flowtape.stream.instrument import Instrument

COUNT = 300
CHANGED = Refilter(at=1_150, filter="LOT_SIZE", values={"minQty": "0.25"})


async def drip(venue):
    await venue.wait_for_subscribers()
    for _ in range(COUNT // 10):
        await venue.publish(10)
        await asyncio.sleep(0.005)


async def changes(open_venue, make_source, hear, fast, make_trades, instrument, faults, **options):
    venue = await open_venue(instrument, make_trades(COUNT), faults=faults)
    told = []
    source = make_source(
        venue, times=replace(fast, rules_s=0.05), rules_changed=told.append, **options
    )
    publishing = asyncio.create_task(drip(venue))
    heard = await hear(source, lambda heard: len(heard.rows) == COUNT and len(heard.rules) > 1)
    await publishing
    return heard, told, source


async def test_a_change_comes_while_it_runs(
    open_venue, make_source, hear, fast, make_trades, instrument
):
    heard, told, source = await changes(
        open_venue, make_source, hear, fast, make_trades, instrument, [CHANGED]
    )
    first, then = heard.rules
    assert first.qty_min_lots == 1
    assert first.notional_min_ticklots == 5 * 10**7
    assert then == replace(first, qty_min_lots=25_000) == source.rules
    assert told == [{"qty_min_lots": 25_000}]
    assert heard.gaps == []


async def test_questions_that_fail_end_nothing(
    open_venue, make_source, hear, fast, make_trades, instrument, caplog
):
    refused = [
        RestFault(status=503, query="exchangeInfo", count=2, at=1_010),
        RestFault(status=200, query="exchangeInfo", body="[1]", at=1_050),
        RestFault(status=400, query="exchangeInfo", body='{"code":-1121,"msg":"no"}', at=1_060),
    ]
    with caplog.at_level(logging.WARNING):
        heard, told, _ = await changes(
            open_venue, make_source, hear, fast, make_trades, instrument, [*refused, CHANGED]
        )
    assert len(heard.rules) == 2
    assert told == [{"qty_min_lots": 25_000}]
    assert any("503" in record.getMessage() for record in caplog.records)


async def test_what_is_no_rule_stays_as_it_was_and_is_told(
    open_venue, make_source, hear, fast, make_trades, instrument, caplog
):
    odd = Refilter(at=1_020, filter="PRICE_FILTER", values={"tickSize": "0.001"})
    with caplog.at_level(logging.WARNING):
        heard, told, _ = await changes(
            open_venue, make_source, hear, fast, make_trades, instrument, [odd, CHANGED]
        )
    assert heard.rules[-1].price_step_ticks == 1
    assert told == [{"qty_min_lots": 25_000}]
    finer = [r for r in caplog.records if "finer than the prices" in r.getMessage()]
    assert len(finer) == 1


@pytest.mark.parametrize(("price", "qty", "kept"), [(2, 5, True), (3, 6, True), (1, 5, False)])
async def test_a_session_that_goes_on_keeps_its_grid_where_it_can(
    open_venue, make_source, make_trades, instrument, price, qty, kept
):
    venue = await open_venue(instrument, make_trades(COUNT))
    known = Instrument("BTCUSDT", "spot", price, qty)
    source = make_source(venue, instrument=known)
    used = await source.open()
    assert used == (known if kept else instrument)
    assert source.rules.price_step_ticks == 10 ** (used.price_decimals - 2)
    assert source.rules.qty_min_lots == 10 ** (used.qty_decimals - 5)
    await source.close()


async def test_rules_are_known_once_it_is_open(open_venue, make_source, make_trades, instrument):
    venue = await open_venue(instrument, make_trades(COUNT))
    source = make_source(venue)
    with pytest.raises(SourceError, match="not open yet"):
        _ = source.instrument
    await source.open()
    assert source.rules.qty_step_lots == 1
    await source.close()
