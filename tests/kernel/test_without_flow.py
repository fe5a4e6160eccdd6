"""Orders fare the same where order flow is off, and prints that concern none are passed over."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowtape import _kernel
from flowtape.stream import records
from tests.kernel import draws, drive
from tests.kernel.config import Config

SUMS = ("buy_lots", "sell_lots", "high_ticks", "low_ticks", "notional_ticklots")
ALWAYS = ("input", "trade_count", "stream_us", "last_ticks", "last_side", "bid_ticks", "ask_ticks")


class BareSide(drive.KernelSide):
    """The kernel without order flow, with sums or without."""

    def __init__(self, config: Config, *, sums: bool) -> None:
        super().__init__(config)
        markets = drive.as_bytes(records.MARKET, config.markets).view(records.MARKET)
        for market in markets:
            market["flow"] = 0
            for name in ("value_area_ppm", "imbalance_stack_count"):
                market["flow"][name] = 1
            market["flow"]["footprint_rows_max"] = 2
            market["flow"]["sums_on"] = sums
        header = drive.as_bytes(records.CONFIG, [config])
        self.kernel = _kernel.Kernel(header, markets.view("u1"), 1)

    def drain(self) -> None:
        boxes = (
            ("fills", self.kernel.take_fills().view(records.FILL)),
            ("order_events", self.kernel.take_order_events().view(records.ORDER_EVENT)),
            ("equity", self.kernel.take_equity().view(records.EQUITY)),
        )
        for name, rows in boxes:
            self._out[name] += drive.tuples(rows)


@pytest.mark.parametrize("sums", [False, True])
@given(seed=st.integers(0, 2**32 - 1))
def test_orders_fare_the_same(sums: bool, seed: int) -> None:
    rng = Random(seed)
    config = draws.config(rng)
    markets = range(len(config.markets))
    full, bare = drive.KernelSide(config), BareSide(config, sums=sums)
    script = [("trades", [(1000, 100, 10, 1, 0)]), *draws.script(rng, 80, len(config.markets))]
    for event in script:
        assert draws.act(full, event) == draws.act(bare, event)
    for box in ("fills", "order_events", "equity"):
        assert full.out[box] == bare.out[box], box
    assert full.decisions == bare.decisions
    assert full.orders() == bare.orders()
    assert [full.account(lane) for lane in range(3)] == [bare.account(lane) for lane in range(3)]
    for market in markets:
        expected, said = (drive.snapshot_of(side.kernel, market) for side in (full, bare))
        for name in (*ALWAYS, *(SUMS if sums else ())):
            assert expected[name] == said[name], name
