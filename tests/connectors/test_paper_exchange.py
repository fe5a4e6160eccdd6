"""The paper account against a plain engine that is given the same commands at the same places."""

from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowtape.connectors.venue.listing import Listing
from flowtape.connectors.venue.paper_exchange import PaperExchange
from flowtape.connectors.venue.paper_forms import read_order
from flowtape.connectors.venue.paper_lists import PaperList, read_list
from flowtape.connectors.venue.queries import BadQueryError
from flowtape.stream.config import EngineConfig
from flowtape.stream.engine import Engine
from flowtape.stream.errors import InputError, KernelError
from flowtape.stream.execution import Change, Lane, Reason, Role, Stage
from flowtape.stream.inputs import Inputs
from flowtape.stream.instrument import Instrument
from flowtape.stream.orders import GROUP
from flowtape.stream.ports import Clock
from flowtape.stream.records import i128
from flowtape.stream.trades import SELL, Trades

BTC = Instrument("BTCUSDT", "spot", price_decimals=2, qty_decimals=5)
ETH = Instrument("ETHUSDT", "spot", price_decimals=2, qty_decimals=4)
KINDS = [
    *("LIMIT", "LIMIT", "LIMIT", "MARKET", "MARKET", "LIMIT_MAKER"),
    *("STOP_LOSS", "STOP_LOSS_LIMIT", "TAKE_PROFIT", "TAKE_PROFIT_LIMIT"),
]
START_US = 1_767_225_600_000_000
CONFIG = EngineConfig(initial_cash="5000", latency_us=3_000)


def decimals(ticks, places):
    return f"{Decimal(ticks).scaleb(-places):f}"


@st.composite
def order_values(draw, instrument, price_ticks):
    """Parameters of an order near a price, of any kind."""

    def price():
        return decimals(price_ticks + draw(st.integers(-6, 6)), instrument.price_decimals)

    kind = draw(st.sampled_from(KINDS))
    lots = draw(st.integers(1, 8_000))
    values = {
        "symbol": instrument.symbol,
        "side": draw(st.sampled_from(["BUY", "SELL"])),
        "type": kind,
        "quantity": decimals(lots, instrument.qty_decimals),
    }
    if "LIMIT" in kind:
        values["price"] = price()
    if kind.endswith("LIMIT"):
        values["timeInForce"] = draw(st.sampled_from(["GTC", "IOC", "FOK"]))
    if kind.startswith(("STOP", "TAKE")):
        values["stopPrice"] = price()
    if values.get("timeInForce") == "GTC" and draw(st.booleans()):
        values["icebergQty"] = decimals(max(1, lots // 3), instrument.qty_decimals)
    if kind == "MARKET" and draw(st.booleans()):
        del values["quantity"]
        values["quoteOrderQty"] = decimals(draw(st.integers(500, 500_000)), 2)
    return values


@st.composite
def pair_values(draw, instrument, price_ticks):
    """Parameters of a pair around a price."""
    side = draw(st.sampled_from(["BUY", "SELL"]))
    profit, stop = ("below", "above") if side == "BUY" else ("above", "below")
    away = {"above": 1, "below": -1}

    def price(of, most):
        ticks = price_ticks + away[of] * draw(st.integers(1, most))
        return decimals(ticks, instrument.price_decimals)

    values = {
        "symbol": instrument.symbol,
        "side": side,
        "quantity": decimals(draw(st.integers(1, 8_000)), instrument.qty_decimals),
        f"{profit}Type": draw(st.sampled_from(["LIMIT_MAKER", "TAKE_PROFIT"])),
        f"{stop}Type": draw(st.sampled_from(["STOP_LOSS", "STOP_LOSS_LIMIT"])),
        f"{stop}StopPrice": price(stop, 9),
    }
    field = "Price" if values[f"{profit}Type"] == "LIMIT_MAKER" else "StopPrice"
    values[f"{profit}{field}"] = price(profit, 9)
    if values[f"{stop}Type"] == "STOP_LOSS_LIMIT":
        values |= {f"{stop}Price": price(stop, 20), f"{stop}TimeInForce": "GTC"}
    return values


class Told:
    """What the account's events say of its orders and balances."""

    def __init__(self):
        self.orders = {}
        self.lists = {}
        self.balances = {}
        self.trades = []

    def take(self, event):
        told = event(1)
        if told["e"] == "outboundAccountPosition":
            self.balances |= {one["a"]: (one["f"], one["l"]) for one in told["B"]}
            return
        if told["e"] == "listStatus":
            self.lists[told["g"]] = told
            return
        self.orders[told["i"]] = told
        if told["x"] == "TRADE":
            self.trades.append((told["i"], told["t"], told["L"], told["l"], told["n"], told["m"]))


def asked_once(opened):
    """Lots that open orders ask for, of a pair those of the order that asks for more."""
    left = {int(one["order_id"]): int(one["lanes"]["remaining_lots"][Lane.BASE]) for one in opened}
    for one in opened:
        own, other = int(one["order_id"]), int(one["request"]["sibling_id"])
        if own in left and other in left:
            left.pop(own if left[own] <= left[other] else other)
    return sum(left.values())


def check_books(exchange, engine, told):
    """Balances add up to the last atom, and events and orders say the same."""
    cash = i128(engine.account(Lane.BASE)["cash_atoms"])
    opened = engine.orders.open()
    at_venue = (opened["stage"] >= Stage.WAITING) & (opened["request"]["side"] == SELL)
    for asset, both in exchange.balances().items():
        free, locked = map(Decimal, both)
        assert min(free, locked) >= 0
        if asset == "USDT":
            assert free + locked == Decimal(cash).scaleb(-engine.money_decimals)
            continue
        number = exchange.base_assets.index(asset)
        held = engine.markets[number].position_lots
        own = opened[at_venue & (opened["request"]["market"] == number)]
        asked = asked_once(own)
        places = engine.instruments[number].qty_decimals
        assert free + locked == Decimal(held).scaleb(-places)
        assert locked == Decimal(min(asked, held)).scaleb(-places)
    for pair in exchange.lists.values():
        row, event = (
            pair.row(1),
            told.lists.get(pair.list_id, {"l": "EXEC_STARTED", "L": "EXECUTING"}),
        )
        assert (event["l"], event["L"]) == (row["listStatusType"], row["listOrderStatus"])
        limit = max(one.form.request.qty_lots for one in pair.orders)
        assert sum(one.filled_lots for one in pair.orders) <= limit
    for order in exchange.orders.values():
        row = order.row(1)
        assert Decimal(row["executedQty"]) == sum(
            Decimal(order.qty(f.qty_lots)) for f in order.fills
        )
        paid = sum((Decimal(order.trade(f, 1)["quoteQty"]) for f in order.fills), Decimal(0))
        assert Decimal(row["cummulativeQuoteQty"]) == paid
        assert (row["status"] == "FILLED") == (row["executedQty"] == row["origQty"])
        if order.order_id in told.orders:
            event = told.orders[order.order_id]
            assert (event["X"], event["z"], event["Z"]) == (
                row["status"],
                row["executedQty"],
                row["cummulativeQuoteQty"],
            )


def mirror_cancels(exchange, plain, now_us):
    """Have a plain engine told of cancels when the exchange asks for them."""
    cancel = exchange.cancel

    def mirrored(order, client_id):
        asked = order.cancel_asked
        cancel(order, client_id)
        if not asked:
            plain.orders_of_person(now_us[0]).cancel(order.order_id)

    exchange.cancel = mirrored


def change_one(data, exchange, plain, now_us):
    """Cancel an order, or ask for less of it."""
    exchange.look()
    order = exchange.orders[data.draw(st.sampled_from(sorted(exchange.orders)))]
    if order.done or order.cancel_asked:
        return
    if data.draw(st.booleans()) or order.list_id >= 0 or order.amendment or order.qty_lots == 1:
        exchange.cancel(order, "")
        return
    qty_lots = data.draw(st.integers(1, order.qty_lots - 1))
    try:
        plain.orders_of_person(now_us).amend(order.order_id, qty_lots=qty_lots)
    except KernelError as error:
        with pytest.raises(BadQueryError, match=f"Filter failure: {error.status}"):
            exchange.amend(order, qty_lots, "")
        return
    exchange.amend(order, qty_lots, "")


def place_some(data, exchange, plain, listings, now_us):
    """Place an order, or a pair of them."""
    number = data.draw(st.integers(0, 1))
    exchange.look()
    last_ticks = exchange.last_ticks(listings[number])
    near, of = last_ticks or 6_468_262, (listings[number], number, last_ticks)
    try:
        if data.draw(st.integers(0, 3)) == 0:
            form = read_list(data.draw(pair_values((BTC, ETH)[number], near)), *of)
            requests = [form.stop.request, replace(form.profit.request, sibling_id=GROUP)]
            place = exchange.place_list
        else:
            form = read_order(data.draw(order_values((BTC, ETH)[number], near)), *of)
            requests, place = [form.request], exchange.place
    except BadQueryError:
        # an amount of the quote asset needs a price, and pays for a lot
        return
    try:
        ids = plain.orders_of_person(now_us).place(*requests)
    except KernelError as error:
        with pytest.raises(BadQueryError, match=f"Filter failure: {error.status}"):
            place(form)
        return
    placed = place(form)
    orders = placed.orders if isinstance(placed, PaperList) else (placed,)
    assert ids == [one.order_id for one in orders]
    for one in orders:
        one.answered = True


@given(data=st.data())
def test_an_account_is_what_a_plain_engine_makes_of_the_same_commands(data, make_trades):
    listings = []
    for one in (BTC, ETH):
        trades = make_trades(150, step_us=2_000, seed=data.draw(st.integers(0, 9)))
        # prints so small that orders take several, and cash that does not last
        small = replace(trades, qty_lots=1 + trades.qty_lots % 3_000)
        listings.append(Listing(one, small))
    now_us = [0]
    exchange = PaperExchange(listings, CONFIG, lambda: now_us[0])
    told = Told()
    exchange.listen(told.take)
    plain = Engine((BTC, ETH), replace(exchange.config, all_lanes=True, trace=True))
    mirror_cancels(exchange, plain, now_us)
    for _ in range(data.draw(st.integers(1, 25))):
        next_us = [us for one in listings if (us := one.market.next_us) is not None]
        if data.draw(st.booleans()) and next_us:
            until_us = min(next_us) + data.draw(st.integers(0, 40_000))
            for number, listing in enumerate(listings):
                trades = listing.market.advance(150, until_us)
                plain.apply(Inputs.of_trades(trades, number))
                exchange.happened(listing, trades)
            now_us[0] = until_us
        elif exchange.orders and data.draw(st.booleans()):
            change_one(data, exchange, plain, now_us[0])
        else:
            place_some(data, exchange, plain, listings, now_us[0])
        check_books(exchange, exchange.engine, told)
    for number, listing in enumerate(listings):
        trades = listing.market.advance(150)
        plain.apply(Inputs.of_trades(trades, number))
        exchange.happened(listing, trades)
    exchange.look()
    # what was asked for last arrives here too
    plain.apply_event(Clock(int(exchange.engine.snapshot["stream_us"])))
    plain.end()
    check_books(exchange, exchange.engine, told)

    def of_fill(order_id, price, qty, fee, maker, ts_us):
        return int(order_id), int(price), int(qty), int(fee), bool(maker), int(ts_us)

    assert [
        of_fill(
            *(one.order.order_id, one.price_ticks, one.qty_lots, one.fee_atoms),
            *(one.is_maker, one.ts_us),
        )
        for one in exchange.fills
    ] == [
        of_fill(
            *(one["order_id"], one["price_ticks"], one["qty_lots"], i128(one["fee_atoms"])),
            *(one["role"] == Role.MAKER, one["ts_us"]),
        )
        for one in plain.ledger.fills.all()
    ]
    assert [trade[1] for trade in told.trades] == list(range(1, len(exchange.fills) + 1))
    assert exchange.engine.account() == plain.account()
    assert {one.order_id: one.status for one in exchange.orders.values()} == {
        number: status_of(number, order.qty_lots, plain.ledger)
        for number, order in exchange.orders.items()
    }


def status_of(order_id, qty_lots, ledger):
    """How an order ends by the plain engine's ledger, in Binance's words."""
    fills = ledger.fills.all()
    filled = int(fills["qty_lots"][fills["order_id"] == order_id].sum())
    if filled == qty_lots:
        return "FILLED"
    events = ledger.order_events.all()
    own = events[(events["order_id"] == order_id) & (events["lane"] < Lane.PESSIMISTIC)]
    for event in own[own["lane"] != Lane.OPTIMISTIC]:
        change, reason = Change(int(event["change"])), Reason(int(event["reason"]))
        if change is Change.CANCELED:
            return "CANCELED" if reason is Reason.BY_COMMAND else "EXPIRED"
        if change in (Change.EXPIRED, Change.REJECTED):
            return change.name
    return "PARTIALLY_FILLED" if filled else "NEW"


def test_what_was_before_the_venue_opened_makes_the_touch_and_fills_nothing(make_trades):
    trades = make_trades(400)
    listing = Listing(BTC, trades, happened_count=300)
    exchange = PaperExchange([listing], CONFIG, lambda: int(trades.ts_us[299]))
    exchange.begin()
    assert exchange.engine.trade_count == 300
    assert int(exchange.engine.snapshot["last_ticks"]) == trades.price_ticks[299]
    values = {"side": "BUY", "type": "MARKET", "quantity": "0.001"}
    order = exchange.place(read_order(values, listing, 0))
    assert (order.status, order.fills) == ("NEW", [])
    exchange.happened(listing, listing.market.advance(100))
    assert order.status == "FILLED"
    assert order.fills[0].ts_us > order.created_us


def test_trades_that_the_venue_is_late_with_fill_no_order_that_came_behind_them(make_trades):
    trades = make_trades(100, step_us=1_000)
    listing = Listing(BTC, trades, happened_count=50)
    late_us = int(trades.ts_us[80])
    exchange = PaperExchange([listing], replace(CONFIG, latency_us=0), lambda: late_us)
    exchange.begin()
    values = {"side": "BUY", "type": "MARKET", "quantity": "0.001"}
    order = exchange.place(read_order(values, listing, 0))
    assert order.created_us == late_us
    exchange.happened(listing, listing.market.advance(31))
    exchange.look()
    assert (order.status, order.fills) == ("NEW", [])
    exchange.happened(listing, listing.market.advance(19))
    assert order.status == "FILLED"
    assert order.fills[0].ts_us > late_us


def prints(first_id, sides, lots):
    """Trades at one price, 1 ms apart."""
    ids = first_id + np.arange(len(sides))
    price = np.full(len(sides), 6_500_000)
    return Trades(
        *(ids, START_US + 1_000 * ids, price, np.array(lots), ids, ids),
        np.array(sides, np.int8),
    )


def test_what_is_left_of_an_order_expires_behind_its_fills_and_is_locked_until_then():
    trades = Trades.concat(
        [prints(0, [1, -1], [5, 5]), prints(30, [1] * 3, [10_000, 10, 10]), prints(60, [-1], [400])]
    )
    listing = Listing(BTC, trades, happened_count=2)
    now_us = [START_US + 2_000]
    exchange = PaperExchange([listing], CONFIG, lambda: now_us[0])
    exchange.begin()
    told = Told()
    exchange.listen(told.take)
    kinds = []
    exchange.listen(lambda event: kinds.append((event(1).get("x"), event(1).get("z"))))

    def place(**values):
        order = exchange.place(read_order({"type": "LIMIT", **values}, listing, 0))
        order.answered = True
        return order

    taken = {"side": "BUY", "price": "65010", "timeInForce": "IOC", "quantity": "0.07"}
    part = place(**taken)
    exchange.happened(listing, listing.market.advance(3))
    assert (part.status, part.filled_lots) == ("EXPIRED", 5_000)
    assert [kind for kind in kinds if kind[0]] == [
        ("NEW", "0.00000000"),
        ("TRADE", "0.05000000"),
        ("EXPIRED", "0.05000000"),
    ]
    now_us[0] = START_US + 40_000
    sale = place(side="SELL", price="65000", timeInForce="GTC", quantity="0.03")
    exchange.happened(listing, listing.market.advance(1))
    assert (sale.status, sale.filled_lots) == ("PARTIALLY_FILLED", 200)
    assert exchange.balances()["BTC"] == ("0.02000000", "0.02800000")
    assert told.balances["BTC"] == ("0.02000000", "0.02800000")


def test_an_order_whose_cash_runs_out_expires():
    risen = replace(prints(30, [1] * 3, [20_000] * 3), price_ticks=np.full(3, 6_600_000))
    listing = Listing(BTC, Trades.concat([prints(0, [-1, 1], [5, 5]), risen]), happened_count=2)
    exchange = PaperExchange([listing], CONFIG, lambda: START_US + 2_000)
    exchange.begin()
    values = {"side": "BUY", "type": "MARKET", "quantity": "0.0768"}
    order = exchange.place(read_order(values, listing, 0))
    exchange.look()
    exchange.happened(listing, listing.market.advance(3))
    assert order.status == "EXPIRED"
    assert 0 < order.filled_lots < 7_680
    free, locked = map(Decimal, exchange.balances()["USDT"])
    assert (locked, free < 1) == (0, True)


def test_voided_rows_are_no_trades(make_trades):
    trades = make_trades(10)
    zeros = np.where(np.arange(10) % 2, trades.price_ticks, 0)
    lots = np.where(np.arange(10) % 2, trades.qty_lots, 0)
    listing = Listing(BTC, Trades.empty())
    exchange = PaperExchange([listing], CONFIG, lambda: 0)
    exchange.happened(listing, replace(trades, price_ticks=zeros, qty_lots=lots))
    assert exchange.engine.trade_count == 5


def test_a_trial_leaves_no_trace(make_trades):
    trades = make_trades(100)
    listing = Listing(BTC, trades, happened_count=50)
    exchange = PaperExchange([listing], CONFIG, lambda: int(trades.ts_us[49]))
    exchange.begin()
    values = {"side": "BUY", "type": "MARKET", "quantity": "0.001"}
    form = read_order(values, listing, 0)
    exchange.look()
    before = exchange.engine.digest()
    exchange.check(form)
    assert exchange.engine.digest() == before
    assert exchange.place(form).order_id == 1


def test_markets_that_share_no_account_are_refused(make_trades):
    def listed(symbol, market="spot"):
        return Listing(Instrument(symbol, market, 2, 5), make_trades(3))

    with pytest.raises(InputError, match="one quote asset, but these have BTC and USDT"):
        PaperExchange([listed("BTCUSDT"), listed("ETHBTC")], CONFIG, lambda: 0)
    with pytest.raises(InputError, match="--paper trades spot"):
        PaperExchange([listed("BTCUSDT", "um")], CONFIG, lambda: 0)
