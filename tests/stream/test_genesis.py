"""A genesis is told and read again without loss, and refused when it is none."""

import json
from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowtape.stream.config import Decide, EngineConfig, MarketSettings
from flowtape.stream.errors import InputError
from flowtape.stream.execution import AccountKind, FeeTier, FillModel, VenueRules
from flowtape.stream.genesis import Genesis, StrategyIdentity, TapeRef
from flowtape.stream.instrument import Instrument
from flowtape.stream.orderflow import (
    Absorption,
    DeltaBars,
    Exhaustion,
    Footprints,
    LargeBubbles,
    OrderFlow,
    RecentTime,
    Sweeps,
    TickRunBars,
    TimeBars,
    VolumeBars,
)
from flowtape.stream.strategy import Market, Orders, Strategy
from tests.stream.strategies import Flipper
from tests.stream.tapes import INSTRUMENT

FULL = EngineConfig(
    bars=(TimeBars(1_000_000, row_ticks=10), TickRunBars(9), DeltaBars(100), VolumeBars(7)),
    orderflow=OrderFlow(
        footprints=Footprints(),
        large_bubbles=LargeBubbles(),
        recent_time=RecentTime(),
        sweeps=Sweeps(3),
        absorption=Absorption(100, window_us=10, turn_ticks=2),
        exhaustion=Exhaustion(2, turn_ticks=3),
        size_class_lots=(10, 20),
    ),
    latency_us=(1, 2, 3),
    fee_tiers=(FeeTier("1000", 5, 6),),
    fill_model=FillModel.SPREAD,
    account=AccountKind.ISOLATED,
    rules=VenueRules(qty_step_lots=5),
    markets=(MarketSettings(leverage=3, rules=VenueRules(price_step_ticks=2)),),
    decide=Decide(grid_us=5, on_fill=True),
)
GENESIS = Genesis(
    instruments=(INSTRUMENT, Instrument("ÜBER1", "um", 1, 0)),
    config=FULL,
    strategy=StrategyIdentity("a:B", "00" * 32, {"x": 1, "y": 1.5, "z": "text", "on": True}),
    tapes=(TapeRef("spot", "TESTUSDT", "ab" * 32, 77, None, 5),),
)


def test_a_genesis_is_read_as_it_was_told() -> None:
    found = Genesis.from_json(GENESIS.to_json())
    assert found == GENESIS
    assert found.sha256 == GENESIS.sha256
    assert found.config.account is AccountKind.ISOLATED
    assert "\n" not in GENESIS.to_json()


@given(
    seed=st.integers(0, 2**63 - 1),
    latency=st.integers(0, 10**9),
    cash=st.decimals(0, 10**9, places=2),
    trace=st.booleans(),
)
def test_every_setting_is_in_the_hash(seed: int, latency: int, cash: object, trace: bool) -> None:
    config = EngineConfig(seed=seed, latency_us=latency, initial_cash=str(cash), trace=trace)
    genesis = replace(GENESIS, config=config)
    assert Genesis.from_json(genesis.to_json()) == genesis
    other = replace(genesis, config=replace(config, seed=seed + 1))
    assert other.sha256 != genesis.sha256


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda g: g.pop("tapes"), "has other fields: \\['tapes'\\]"),
        (lambda g: g.update(more=1), "has other fields: \\['more'\\]"),
        (lambda g: g["config"].update({"is": "Popen"}), "KeyError: 'Popen'"),
        (lambda g: g["config"].update(fill_model=99), "99 is not a valid FillModel"),
        (lambda g: g.update(schema=3), "its format is number 3, this flowtape reads 1 to 2"),
        (lambda g: g.update(schema=0), "its format is number 0"),
        (lambda g: g["instruments"][0].update(market="moon"), "'moon' is not a market"),
    ],
)
def test_what_is_no_genesis_is_refused(change: object, said: str) -> None:
    plain = json.loads(GENESIS.to_json())
    change(plain)  # type: ignore[operator]
    with pytest.raises(InputError, match=said):
        Genesis.from_json(json.dumps(plain))
    with pytest.raises(InputError, match="no genesis"):
        Genesis.from_json("[]")


def test_a_strategy_is_known_by_its_source_and_parameters() -> None:
    one = StrategyIdentity.of(Flipper(every=7))
    assert one.name == "tests.stream.strategies:Flipper"
    assert one.parameters == {"every": 7, "eager": False}
    assert len(one.sha256) == 64
    assert StrategyIdentity.of(Flipper(), "path/x.py:Flipper").name == "path/x.py:Flipper"


def test_parameters_that_cannot_be_kept_are_refused() -> None:
    @dataclass
    class Odd(Strategy):
        levels: tuple[int, ...] = (1, 2)

        def on_decision(self, market: Market, orders: Orders) -> None: ...

    with pytest.raises(InputError, match="parameter levels of Odd is tuple"):
        StrategyIdentity.of(Odd())
