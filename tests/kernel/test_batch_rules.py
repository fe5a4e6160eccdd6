"""What the check of a batch sees wherever a row lies; rows are looked at in blocks of 64."""

from typing import Any

import numpy as np
import pytest

from flowtape import _kernel
from flowtape.stream.config import Decide, EngineConfig, make_kernel
from flowtape.stream.errors import KernelError
from flowtape.stream.instrument import Instrument

WRONG = [("ts_us", -1), ("price_ticks", 0), ("qty_lots", 0), ("side", 0), ("side", 3)]


def columns(count: int) -> dict[str, Any]:
    return {
        "ts_us": np.full(count, 1000),
        "price_ticks": np.full(count, 100),
        "qty_lots": np.full(count, 3),
        "side": np.ones(count, np.int8),
    }


@pytest.mark.parametrize(("column", "value"), WRONG)
@pytest.mark.parametrize("row", [0, 62, 63, 64, 127, 128, 129])
@pytest.mark.parametrize("rows_behind", [0, 1, 64])
def test_no_row_goes_unseen(column: str, value: int, row: int, rows_behind: int) -> None:
    given = columns(row + 1 + rows_behind)
    given[column][row] = value
    with pytest.raises(KernelError, match=rf"row {row} \(.*{column} {value}\b"):
        _kernel.Batch(**given)


@pytest.mark.parametrize("row", [1, 62, 63, 64, 65, 127, 128])
def test_a_time_that_falls_is_seen_wherever_it_does(row: int) -> None:
    """The row before is far ahead and crosses the grid: without order flow only it decides."""
    config = EngineConfig(decide=Decide(grid_us=10_000)).without_order_flow()
    kernel = make_kernel(Instrument("TEST", "spot", 0, 0), config, 1)
    first, given = columns(1), columns(200)
    given["ts_us"][row - 1] = 15_000
    assert kernel.run(_kernel.Batch(**first), 0) == (1, False)
    assert kernel.run(_kernel.Batch(**given), 0) == (row, True)
