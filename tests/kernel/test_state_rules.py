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


RULED = replace(CONFIG, markets=(MARKET, replace(MARKET, rules=Rules(qty_max_lots=9))))


def test_a_state_brings_the_rules_that_have_changed_since() -> None:
    side = drive.KernelSide(RULED)
    side.trades([(1000, 100, 5, 1, 0)])
    begun = side.kernel.save_state()
    side.kernel.set_rule(1, 1000, 5, 7)
    state = side.kernel.save_state()
    other = drive.KernelSide(RULED)
    other.kernel.load_state(state)
    assert other.kernel.save_state() == state
    with pytest.raises(KernelError, match="quantity") as caught:
        other.place(1000, [Request(market=1, qty_lots=8, price_ticks=99)])
    assert caught.value.status == "LOT_SIZE"
    other.kernel.load_state(begun)
    assert other.kernel.save_state() == begun
    assert other.place(1000, [Request(market=1, qty_lots=8, price_ticks=99)])


def test_a_rule_set_to_what_it_was_leaves_no_trace() -> None:
    left, right = (drive.KernelSide(RULED) for _ in range(2))
    for side, values in ((left, (7, 9)), (right, (9, 9))):
        for value in values:
            side.kernel.set_rule(1, 1000, 5, value)
    assert left.kernel.save_state() == right.kernel.save_state()


@pytest.mark.parametrize(("rule", "value"), [(0, 0), (0, 2**63), (1, 2**50 + 1), (4, 2**64 - 1)])
def test_a_state_with_rules_that_none_can_have_is_refused(rule: int, value: int) -> None:
    side = drive.KernelSide(RULED)
    state = bytearray(side.kernel.save_state())
    side.kernel.set_rule(0, 0, 5, 12345)
    marked = side.kernel.save_state()
    rules_at = (
        next(i for i in range(0, len(state), 8) if marked[i : i + 8] != state[i : i + 8]) - 40
    )
    assert state[rules_at : rules_at + 8] == (1).to_bytes(8, "little")
    state[rules_at + 8 * rule : rules_at + 8 * rule + 8] = value.to_bytes(8, "little")
    with pytest.raises(KernelError) as caught:
        side.kernel.load_state(bytes(state))
    assert caught.value.status == "BAD_STATE"
    assert side.kernel.save_state() == marked
