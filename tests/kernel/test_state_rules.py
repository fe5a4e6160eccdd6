"""A saved state is taken over only by a kernel of the same configuration, and as it was saved."""

from dataclasses import replace

import pytest

from flowtape.stream.errors import KernelError
from tests.kernel import drive
from tests.kernel.config import Config, FeeTier, Lane, Market, Request, Rules
from tests.kernel.reference import FlowConfig

MARKET = Market()
CONFIG = Config(markets=(MARKET,), initial_cash_atoms=1000)

OTHERS = {
    "seed": replace(CONFIG, seed=1),
    "decisions": replace(CONFIG, decide_grid_us=10),
    "account": replace(CONFIG, account_kind=1),
    "lane": replace(CONFIG, lanes=(Lane(), Lane(500_000, 500_001), CONFIG.lanes[2])),
    "fee": replace(CONFIG, fee_tiers=(FeeTier(taker_ppb=1),)),
    "latency": replace(CONFIG, latencies_us=(0, 1)),
    "rules": replace(CONFIG, markets=(replace(MARKET, rules=Rules(qty_max_lots=9)),)),
    "leverage": replace(CONFIG, markets=(replace(MARKET, leverage=2),)),
    "order flow": replace(CONFIG, markets=(replace(MARKET, flow=FlowConfig(600, 20, 2, 16)),)),
    "one more market": replace(CONFIG, markets=(MARKET, MARKET)),
}


def traded(config: Config) -> drive.KernelSide:
    side = drive.KernelSide(config)
    side.trades([(1000, 100, 5, 1, 0)])
    side.place(1000, [Request(qty_lots=2, price_ticks=99)])
    side.trades([(1001, 99, 1, -1, 0)])
    return side


@pytest.mark.parametrize("other", OTHERS)
def test_a_kernel_of_another_configuration_refuses_and_stays_as_it_is(other: str) -> None:
    side = drive.KernelSide(OTHERS[other])
    before = side.kernel.save_state()
    with pytest.raises(KernelError) as caught:
        side.kernel.load_state(traded(CONFIG).kernel.save_state())
    assert caught.value.status == "BAD_STATE"
    assert side.kernel.save_state() == before


def test_a_kernel_of_the_same_configuration_takes_it_over() -> None:
    state = traded(CONFIG).kernel.save_state()
    side = drive.KernelSide(CONFIG)
    side.kernel.load_state(state)
    assert side.kernel.save_state() == state
    assert side.account(1) == traded(CONFIG).account(1)
