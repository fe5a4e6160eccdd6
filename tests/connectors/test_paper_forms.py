"""Orders by an amount of the quote asset, and orders that trail the price."""

import math
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowtape.connectors.venue.listing import Listing
from flowtape.connectors.venue.paper_exchange import PaperExchange
from flowtape.connectors.venue.paper_forms import read_order
from flowtape.connectors.venue.queries import BadQueryError
from flowtape.stream.config import EngineConfig
from flowtape.stream.instrument import Instrument
from flowtape.stream.trades import BUY, Trades
from tests.connectors.conftest import START_US
from tests.connectors.paper_client import while_trading

QUOTE = {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quoteOrderQty": "100"}


@given(
    price_decimals=st.integers(0, 8),
    qty_decimals=st.integers(0, 12),
    last_ticks=st.integers(1, 10**15),
    quote=st.decimals("0.00000001", "1e15", places=8),
)
def test_an_amount_of_the_quote_asset_pays_for_whole_lots(
    price_decimals, qty_decimals, last_ticks, quote
):
    instrument = Instrument("BTCUSDT", "spot", price_decimals, qty_decimals)
    listing = Listing(instrument, Trades.empty())
    values = {**QUOTE, "quoteOrderQty": f"{quote:f}"}
    of_lot = Fraction(last_ticks, 10 ** (price_decimals + qty_decimals))
    lots = Fraction(quote) / of_lot
    if not 1 <= math.floor(lots) <= min(10 ** (qty_decimals + 9), 2**63 - 1):
        with pytest.raises(BadQueryError, match="Filter failure: LOT_SIZE"):
            read_order(values, listing, 0, last_ticks)
        return
    form = read_order(values, listing, 0, last_ticks)
    assert form.request.qty_lots * of_lot <= Fraction(quote)
    assert (form.request.qty_lots + 1) * of_lot > Fraction(quote)
    assert Decimal(form.quote_qty) == quote


async def test_a_market_order_spends_an_amount_of_the_quote_asset(open_account):
    venue, client = await open_account(answer_s=30)
    price = Decimal((await client.raw("GET", "ticker/price", "symbol=BTCUSDT"))[1]["price"])
    order = await while_trading(venue, client.ask("POST", "order", **QUOTE))
    bought = Decimal(order["executedQty"])
    assert (order["status"], order["origQuoteOrderQty"]) == ("FILLED", "100.00000000")
    # the market has moved by some ticks since
    assert abs(bought - 100 / price) < Decimal("0.00003")
    row = await client.ask("GET", "order", symbol="BTCUSDT", orderId=order["orderId"])
    assert row["origQuoteOrderQty"] == "100.00000000"
    sale = {**QUOTE, "side": "SELL", "quoteOrderQty": "50"}
    sold = await while_trading(venue, client.ask("POST", "order", **sale))
    assert sold["status"] == "FILLED"
    assert abs(Decimal(sold["executedQty"]) - 50 / price) < Decimal("0.00003")


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"quoteOrderQty": "0.5"}, -1013),
        ({"quoteOrderQty": "0"}, -1013),
        ({"quoteOrderQty": "1e3"}, -1100),
        ({"quoteOrderQty": "0.000000001"}, -1111),
        ({"quantity": "1"}, -1128),
        ({"quoteOrderQty": None}, -1102),
        ({"quoteOrderQty": "100000"}, -2010),
        ({"timeInForce": "GTC"}, -1106),
        ({"icebergQty": "0.001"}, -1106),
    ],
)
async def test_an_amount_that_makes_no_order_is_refused(open_account, params, code):
    _, client = await open_account(over=True)
    sent = {name: value for name, value in {**QUOTE, **params}.items() if value is not None}
    assert (await client.refused("POST", "order", **sent))[0] == code


async def test_an_amount_needs_a_price(open_account):
    _, client = await open_account(past=0)
    assert await client.refused("POST", "order", **QUOTE) == (
        -2010,
        "Order book liquidity is less than symbol minimum quantity.",
    )


def walk(steps):
    """A market that goes up and down by hundredths of a percent, 1 ms apart."""
    prices = np.maximum(1_000, 1_000_000 + 100 * np.cumsum(steps))
    ids = 1 + np.arange(len(prices))
    sides = np.where(ids % 2, 1, -1).astype(np.int8)
    lots = np.full(len(prices), 100_000)
    return Trades(ids, START_US + 1_000 * ids, prices, lots, ids, ids, sides)


def trailed(prices, side, bips, begins):
    """Place of the print that a trailing order goes off with, by exact fractions, or None."""
    best = None
    for at, price in enumerate(prices):
        if best is None:
            if begins is None or (price <= begins if side == BUY else price >= begins):
                best = price
            continue
        turned = Fraction(price - best, best) * side
        if turned >= Fraction(bips, 10_000):
            return at
        best = min(best, price) if side == BUY else max(best, price)
    return None


@given(
    steps=st.lists(st.integers(-20, 20), min_size=30, max_size=80),
    side=st.sampled_from(["BUY", "SELL"]),
    bips=st.integers(10, 60),
    kind=st.sampled_from(["STOP_LOSS", "TAKE_PROFIT"]),
    away=st.none() | st.integers(0, 30),
)
def test_a_trailing_order_goes_off_where_the_price_has_turned(steps, side, bips, kind, away):
    before = 10
    trades = walk(steps)
    listing = Listing(Instrument("BTCUSDT", "spot", 2, 5), trades, happened_count=before)
    config = EngineConfig(initial_cash="1000000", latency_us=0)
    exchange = PaperExchange([listing], config, lambda: int(trades.ts_us[before - 1]))
    exchange.begin()
    values = {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "1"}
    if side == "SELL":
        exchange.place(read_order(values, listing, 0))
        exchange.happened(listing, listing.market.advance(5))
        before += 5
    prices = trades.price_ticks.tolist()
    values |= {"type": kind, "side": side, "quantity": "0.1", "trailingDelta": str(bips)}
    begins = None
    if away is not None and kind == "TAKE_PROFIT":
        begins = prices[before - 1] + (-100 if side == "BUY" else 100) * away
        values["stopPrice"] = f"{Decimal(begins).scaleb(-2):f}"
    order = exchange.place(read_order(values, listing, 0, prices[before - 1]))
    exchange.happened(listing, listing.market.advance(len(trades)))
    # the last price on arrival counts
    expected = trailed(prices[before - 1 :], BUY if side == "BUY" else -BUY, bips, begins)
    if expected is None:
        assert (order.working_us, order.fills) == (-1, [])
    else:
        assert order.working_us == int(trades.ts_us[before - 1 + expected])


async def test_trailing_orders_are_told_with_their_delta(open_account):
    _, client = await open_account(over=True)
    sent = {**QUOTE, "type": "STOP_LOSS", "quantity": "0.01", "trailingDelta": "100"}
    del sent["quoteOrderQty"]
    order = await client.ask("POST", "order", **sent, newOrderRespType="RESULT")
    assert (order["trailingDelta"], order["workingTime"]) == (100, -1)
    (row,) = await client.ask("GET", "openOrders")
    assert (row["trailingDelta"], row["isWorking"]) == (100, False)
    for more, code in (
        ({"trailingDelta": "9"}, -1013),
        ({"trailingDelta": "2001"}, -1013),
        ({"trailingDelta": "1.5"}, -1100),
        ({"stopPrice": "70000"}, -1014),
        ({"type": "STOP_LOSS_LIMIT", "price": "60000", "timeInForce": "GTC"}, -1014),
    ):
        assert (await client.refused("POST", "order", **{**sent, **more}))[0] == code


async def test_exchange_info_says_what_a_bot_may_do(open_account):
    _, client = await open_account(over=True)
    _, info = await client.raw("GET", "exchangeInfo")
    (symbol,) = info["symbols"]
    allowed = ("ocoAllowed", "quoteOrderQtyMarketAllowed", "allowTrailingStop")
    allowed += ("cancelReplaceAllowed", "amendAllowed", "icebergAllowed")
    assert [symbol[name] for name in allowed] == [True] * 6
    assert symbol["otoAllowed"] is False
    (trailing,) = [one for one in symbol["filters"] if one["filterType"] == "TRAILING_DELTA"]
    assert (trailing["minTrailingBelowDelta"], trailing["maxTrailingAboveDelta"]) == (10, 2_000)
    counted = await client.ask("GET", "rateLimit/order")
    limits = [one for one in info["rateLimits"] if one["rateLimitType"] == "ORDERS"]
    assert limits == [
        {name: value for name, value in one.items() if name != "count"} for one in counted
    ]
