"""Several instruments in one account: one order of trades, one strategy, one balance."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowtape.replay.parts import TapeColumns
from flowtape.replay.together import Tapes
from flowtape.replay.track import Track
from flowtape.stream.config import Decide, EngineConfig, MarketSettings
from flowtape.stream.engine import Engine
from flowtape.stream.errors import InputError, KernelError
from flowtape.stream.execution import VenueRules
from flowtape.stream.instrument import Instrument
from flowtape.stream.orderflow import OrderFlow, Sweeps, TimeBars
from flowtape.stream.ports import Funding, Gap, Mark, Rules
from flowtape.stream.records import i128
from flowtape.stream.strategy import Market, Orders, Strategy
from tests.stream.tapes import INSTRUMENT, MemoryTape, make_columns

OTHER = Instrument("SECONDUSDT", "spot", 1, 3)
BOTH = (INSTRUMENT, OTHER)
CONFIG = EngineConfig(
    equity_grid_us=10_000_000,
    bars=(TimeBars(1_000_000, row_ticks=4),),
    orderflow=OrderFlow(sweeps=Sweeps(3)),
    markets=(MarketSettings(bubble_band_ticks=3), MarketSettings(bubble_band_ticks=1)),
)


@dataclass
class _Tape:
    """What `Tapes` needs of a tape, in memory."""

    instrument: Instrument
    columns: TapeColumns
    piece_rows: int

    def __len__(self) -> int:
        return len(self.columns)

    def read_batches(self, rows: int, *, cached: bool) -> Iterator[TapeColumns]:
        step = min(rows, self.piece_rows)
        for i in range(0, len(self.columns), step):
            yield self.columns.slice(i, i + step)


@dataclass
class Pairs(Strategy):
    """Buys one and sells the other, the other way round every few decisions."""

    decide: ClassVar[Decide] = Decide(grid_us=1_000_000, on_fill=True)

    def on_start(self, market: Market) -> None:
        self.calls = 0
        self.seen = [0, 0]

    def on_decision(self, market: Market, orders: Orders) -> None:
        first, second = market.all
        assert market is first
        self.calls += 1
        for i, one in enumerate(market.all):
            assert (one.new_fills["market"] == i).all()
            self.seen[i] += len(one.new_bubbles)
        if self.calls % 5 == 0 and second.last_ticks:
            side = 1 if self.calls % 10 else -1
            for one, way in ((first, side), (second, -side)):
                lots = max(way * 3_000 - one.position_lots, 0) or 3_000
                place = orders.buy if way > 0 else orders.sell
                place(lots, one.last_ticks - 2 * way, market=one.number)


def tapes(piece_rows: int = 700) -> Tapes:
    columns = make_columns(3000, 11), make_columns(1800, 12, mean_gap_us=90_000)
    pair = zip(BOTH, columns, strict=True)
    return Tapes([_Tape(i, c, piece_rows) for i, c in pair])  # type: ignore[misc]


def merged() -> TapeColumns:
    pieces = tapes().segments()
    numbers = np.concatenate([piece.market for piece in pieces if piece.market is not None])
    joined = TapeColumns.concat(pieces)
    return TapeColumns(*joined.arrays(), market=numbers)


ROWS = merged()


def play(cuts: list[int], *, poll: bool = False) -> Engine:
    engine = Engine(BOTH, CONFIG, Pairs())
    at, turn = 0, 0
    while at < len(ROWS):
        size = cuts[turn % len(cuts)]
        engine.apply(ROWS.slice(at, at + size))
        at, turn = at + size, turn + 1
        if poll:
            engine.digest()
    engine.end()
    return engine


@pytest.fixture(scope="module")
def whole() -> Engine:
    return play([len(ROWS)])


@given(piece_rows=st.integers(1, 4000))
def test_the_order_of_tapes_does_not_depend_on_how_they_are_read(piece_rows: int) -> None:
    rows = tapes(piece_rows).segments()
    assert sum(map(len, rows)) == 4800
    for name in ("ts_us", "price_ticks", "qty_lots", "side", "market"):
        found = np.concatenate([getattr(piece, name) for piece in rows])
        assert found.tobytes() == getattr(ROWS, name).tobytes()


def test_tapes_are_in_order_of_their_stream_times_and_keep_their_own() -> None:
    assert ROWS.market is not None
    latest = np.zeros(len(ROWS), np.int64)
    for number, columns in enumerate((make_columns(3000, 11), make_columns(1800, 12, 90_000))):
        own = ROWS.market == number
        assert ROWS.ts_us[own].tobytes() == columns.ts_us.tobytes()
        assert ROWS.qty_lots[own].tobytes() == columns.qty_lots.tobytes()
        latest[own] = np.maximum.accumulate(columns.ts_us)
    assert (np.diff(latest) >= 0).all()
    ties = np.diff(latest) == 0
    assert (np.diff(ROWS.market.astype(int))[ties] >= 0).all()


def test_a_tape_named_twice_is_refused() -> None:
    one = _Tape(INSTRUMENT, make_columns(10, 1), 5)
    with pytest.raises(InputError, match="spot/TESTUSDT was named twice"):
        Tapes([one, one])  # type: ignore[list-item]


@given(cuts=st.lists(st.integers(1, 900), min_size=1, max_size=5), poll=st.booleans())
@settings(max_examples=max(12, settings().max_examples // 4))
def test_cuts_change_no_result(whole: Engine, cuts: list[int], poll: bool) -> None:
    engine = play(cuts, poll=poll)
    assert engine.digest() == whole.digest()
    assert engine.strategy is not None
    assert whole.strategy is not None
    assert vars(engine.strategy) == vars(whole.strategy)


def test_each_instrument_has_what_it_has_alone(whole: Engine) -> None:
    assert ROWS.market is not None
    for number, instrument in enumerate(BOTH):
        own = ROWS.market == number
        alone = Engine(instrument, EngineConfig(bars=CONFIG.bars))
        alone.apply(TapeColumns(*(column[own] for column in ROWS.arrays())))
        alone.end()
        history = whole.ledger.markets[number]
        for name in ("open_ticks", "high_ticks", "low_ticks", "close_ticks", "buy_lots"):
            assert list(history.bars.all()[name]) == list(alone.ledger.bars.all()[name])
        rows = ("price_ticks", "buy_lots", "sell_lots")
        ours = history.series[0].footprint_rows.all()
        theirs = alone.ledger.series[0].footprint_rows.all()
        assert all(list(ours[name]) == list(theirs[name]) for name in rows)
        assert whole.views[number].instrument == instrument
        assert int(whole.views[number].snapshot["trade_count"]) == own.sum()
        prints = whole.views[number].prints.since(0)
        assert list(prints["price_ticks"]) == list(ROWS.price_ticks[own][-len(prints) :])
        assert list(prints["input"]) == list(np.flatnonzero(own)[-len(prints) :] + 1)


def test_the_account_is_one(whole: Engine) -> None:
    fills = whole.ledger.fills.all()
    assert {0, 1} == set(fills["market"])
    cash = 100_000 * 10**whole.money_decimals
    held = [0, 0]
    for fill in fills:
        one = BOTH[int(fill["market"])]
        atoms = 10 ** (whole.money_decimals - one.price_decimals - one.qty_decimals)
        value = int(fill["price_ticks"]) * int(fill["qty_lots"]) * atoms
        cash -= int(fill["side"]) * value + i128(fill["fee_atoms"])
        held[int(fill["market"])] += int(fill["side"]) * int(fill["qty_lots"])
    assert i128(whole.account()["cash_atoms"]) == cash
    assert [int(view.snapshot["position_lots"]) for view in whole.views] == held
    assert [len(view.fills.since(0)) for view in whole.views] == [
        int((fills["market"] == number).sum()) for number in (0, 1)
    ]
    assert whole.trade_count == len(ROWS)


def test_seeks_lead_to_the_same_end(whole: Engine) -> None:
    engine = Engine(BOTH, CONFIG, Pairs())
    track = Track(engine, MemoryTape(ROWS, pieces=3))
    for row in (4000, 300, 2500):
        track.seek(row)
        assert int(engine.snapshot["input"]) == row
        assert [len(view.bubbles.since(0)) > 0 for view in engine.views] == [True, True]
    track.advance(track.row_count)
    assert engine.digest() == whole.digest()


def test_the_history_of_an_order_is_in_its_own_grid(whole: Engine) -> None:
    order_id = int(whole.ledger.fills.all()[whole.ledger.fills.all()["market"] == 1][0]["order_id"])
    history = whole.order(order_id)
    assert history.instrument == OTHER
    price = int(history.command["request"]["price_ticks"])
    assert f"at {price / 10:.1f} GTC" in next(iter(history.lines()))


def test_settings_and_statements_of_one_instrument_leave_the_other_alone() -> None:
    rules = VenueRules(qty_step_lots=100)
    config = EngineConfig(markets=(MarketSettings(), MarketSettings(rules=rules)))
    engine = Engine(BOTH, config)
    engine.apply(ROWS.slice(0, 500))
    engine.orders.buy(150)
    with pytest.raises(KernelError) as refusal:
        engine.orders.buy(150, market=1)
    assert refusal.value.status == "LOT_SIZE"
    now_us = int(engine.snapshot["stream_us"])
    engine.apply_event(Mark(now_us, 1234), market=1)
    engine.apply_event(Funding(now_us, 100), market=1)
    engine.apply_event(Gap(5, 6, "not served"), market=1)
    engine.apply_event(Rules(0, replace(rules, qty_step_lots=50, qty_max_lots=1_000)), market=1)
    assert engine.rules(1) == VenueRules(qty_step_lots=50, qty_max_lots=1_000)
    assert engine.rules(0) == VenueRules()
    engine.orders.buy(150, market=1)
    assert [int(view.snapshot["mark_ticks"]) for view in engine.views] == [0, 1234]
    assert [view.notice != "" for view in engine.views] == [False, True]


def test_more_settings_than_instruments_are_refused() -> None:
    with pytest.raises(InputError, match="settings for 2 markets were given, but there are 1"):
        Engine(INSTRUMENT, CONFIG)
    with pytest.raises(InputError, match="holds 1 to 64 instruments, not 0"):
        Engine((), EngineConfig())
