"""The kernel takes exactly what `stream.limits` says."""

import numpy as np
import pytest

from flowtape._kernel import Batch
from flowtape.stream.errors import KernelError
from flowtape.stream.limits import PRICE_TICKS_MAX, QTY_LOTS_MAX, TS_US_MAX


def batch(ts_us: int = 1, price_ticks: int = 1, qty_lots: int = 1) -> Batch:
    columns = (np.array([value], np.int64) for value in (ts_us, price_ticks, qty_lots))
    return Batch(*columns, np.ones(1, np.int8))


@pytest.mark.parametrize(
    ("name", "most", "status"),
    [
        ("ts_us", TS_US_MAX, "BAD_TIME"),
        ("price_ticks", PRICE_TICKS_MAX, "BAD_PRICE"),
        ("qty_lots", QTY_LOTS_MAX, "BAD_QTY"),
    ],
)
def test_the_kernel_takes_exactly_up_to_the_limits(name: str, most: int, status: str) -> None:
    assert len(batch(**{name: most})) == 1
    with pytest.raises(KernelError) as caught:
        batch(**{name: most + 1})
    assert caught.value.status == status
