"""Whole random scripts: the kernel, fed in batches cut anywhere, equals the reference model."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.kernel import draws, drive
from tests.kernel.config import Config, Market, Request
from tests.kernel.reference import FlowConfig

cuts = st.lists(st.integers(1, 20), min_size=1, max_size=4)


@settings(max_examples=max(100, settings().max_examples))
@given(st.integers(0, 2**32 - 1), cuts)
def test_kernel_equals_reference(seed: int, cut: list[int]) -> None:
    rng = Random(seed)
    config = draws.config(rng)
    kernel, model = drive.KernelSide(config, cut), drive.ModelSide(config)
    for event in draws.script(rng, 100, len(config.markets)):
        assert draws.act(kernel, event) == draws.act(model, event)
    drive.assert_same_outputs(kernel, model)
    drive.assert_same_state(kernel, model)
    kernel.end()
    model.end()
    drive.assert_same_outputs(kernel, model)
    drive.assert_same_state(kernel, model)


@pytest.mark.parametrize(("seed", "length"), [*((seed, 6_000) for seed in range(5)), (5, 66_000)])
def test_long_random_tape_equals_reference(seed: int, length: int) -> None:
    """Blocks of hundreds of prints, added at once; the longest passes a check of the books."""
    rng = Random(seed)
    flow = FlowConfig(rng.choice([500, 5000]), rng.choice([20, 300]), rng.choice([0, 2]), 16)
    config = Config(
        markets=(Market(flow=flow),),
        decide_trades_count=rng.choice([0, 700]),
        equity_grid_us=2000,
        latencies_us=(10,),
    )
    kernel, model = drive.KernelSide(config, [rng.randint(1, 4000)]), drive.ModelSide(config)
    ts, price, side = 1000, 1000, 1
    rows: list[drive.Trade] = []
    for _ in range(length):
        if rng.random() < 0.2:
            side = -side
        if rng.random() < 0.3:
            price = max(1, price + side)
        ts += rng.choice([0, 0, 0, 1, 9])
        rows.append((ts, price, rng.randint(1, 10**12), side, 0))
        if rng.random() < 6 / length:
            own = side if ts % 2 else -side
            asked = Request(qty_lots=10**13, price_ticks=price + rng.randint(-3, 3), side=own)
            for target in (kernel, model):
                target.trades(rows)
                target.place(ts, [asked])
            rows = []
    for target in (kernel, model):
        target.trades(rows)
    drive.assert_same_outputs(kernel, model)
    drive.assert_same_state(kernel, model)
    assert model.out["fills"]
