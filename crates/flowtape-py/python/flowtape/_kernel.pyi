from typing import final

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "ABI_VERSION",
    "SEMANTICS_VERSION",
    "STATUS_NAMES",
    "Batch",
    "Kernel",
    "parse_archive_text",
    "record_layouts",
]

ABI_VERSION: int
SEMANTICS_VERSION: int
STATUS_NAMES: list[str]

@final
class Batch:
    def __new__(
        cls,
        ts_us: NDArray[np.int64],
        price_ticks: NDArray[np.int64],
        qty_lots: NDArray[np.int64],
        side: NDArray[np.int8],
    ) -> Batch: ...
    def __len__(self) -> int: ...

@final
class Kernel:
    def __new__(
        cls,
        *,
        bar_us: int,
        bubble_window_us: int,
        bubble_band_ticks: int,
        profile_rows_max: int,
        decide_trades_count: int,
        decide_grid_us: int,
        decide_on_fill: bool,
        equity_grid_us: int,
        latency_us: int,
        maker_fee_ppm: int,
        taker_fee_ppm: int,
        atoms_per_ticklot: int,
        fee_unit_atoms: int,
        initial_cash_atoms: int,
        orders_max: int,
        bubbles_kept: int,
    ) -> Kernel: ...
    def run(self, batch: Batch, start: int) -> tuple[int, bool]: ...
    def clock(self, ts_us: int) -> bool: ...
    def gap(self) -> None: ...
    def end(self) -> None: ...
    def place_market(self, ts_us: int, side: int, qty_lots: int) -> int: ...
    def place_limit(self, ts_us: int, side: int, qty_lots: int, price_ticks: int) -> int: ...
    def cancel(self, ts_us: int, order_id: int) -> None: ...
    def take_bars(self) -> NDArray[np.uint8]: ...
    def take_bubbles(self) -> tuple[NDArray[np.uint8], int]: ...
    def take_fills(self) -> NDArray[np.uint8]: ...
    def take_order_events(self) -> NDArray[np.uint8]: ...
    def take_equity(self) -> NDArray[np.uint8]: ...
    def snapshot(self) -> NDArray[np.uint8]: ...
    def orders(self) -> NDArray[np.uint8]: ...
    def profile(self) -> NDArray[np.uint8]: ...
    def save_state(self) -> bytes: ...
    def load_state(self, state: bytes) -> None: ...

def parse_archive_text(
    text: bytes, layout: str, price_decimals: int, qty_decimals: int
) -> tuple[
    tuple[
        NDArray[np.int64],
        NDArray[np.int64],
        NDArray[np.int64],
        NDArray[np.int64],
        NDArray[np.int64],
        NDArray[np.int64],
        NDArray[np.int8],
    ],
    int,
    int,
    int,
]: ...
def record_layouts() -> dict[str, tuple[int, dict[str, int]]]: ...
