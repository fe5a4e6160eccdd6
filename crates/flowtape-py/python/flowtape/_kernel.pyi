from typing import final

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "ABI_VERSION",
    "SEMANTICS_VERSION",
    "STATUS_NAMES",
    "Batch",
    "Kernel",
    "OrderFlowConfig",
    "parse_archive_text",
    "record_layouts",
    "value_area",
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
class OrderFlowConfig:
    def __new__(
        cls,
        *,
        series: list[tuple[int, int, int]],
        footprint_rows_max: int = 256,
        value_area_ppm: int = 700_000,
        imbalance_ppm: int = 0,
        imbalance_min_lots: int = 0,
        imbalance_stack_count: int = 3,
        bubbles_on: bool = False,
        bubble_window_us: int = 0,
        bubble_band_ticks: int = 0,
        large_window_count: int = 0,
        large_ppm: int = 990_000,
        large_min_count: int = 1,
        profile_rows_max: int = 0,
        vwap_on: bool = False,
        anchor_on_utc_day: bool = False,
        size_class_lots: list[int] = ...,
        recent_trades_count: int = 0,
        recent_slot_us: int = 0,
        recent_slot_count: int = 1,
        sweep_level_count: int = 0,
        sweep_window_us: int = 0,
        absorption_lots: int = 0,
        absorption_window_us: int = 0,
        absorption_ticks: int = 1,
        exhaustion_count: int = 0,
        exhaustion_ticks: int = 1,
    ) -> OrderFlowConfig: ...

@final
class Kernel:
    def __new__(
        cls,
        *,
        orderflow: OrderFlowConfig,
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
    def anchor(self, anchor: int) -> None: ...
    def take_bars(self, series: int = 0) -> NDArray[np.uint8]: ...
    def take_footprints(self, series: int = 0) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]: ...
    def take_marks(self) -> NDArray[np.uint8]: ...
    def take_bubbles(self) -> tuple[NDArray[np.uint8], int]: ...
    def take_fills(self) -> NDArray[np.uint8]: ...
    def take_order_events(self) -> NDArray[np.uint8]: ...
    def take_equity(self) -> NDArray[np.uint8]: ...
    def snapshot(self) -> NDArray[np.uint8]: ...
    def bar(self, series: int = 0) -> NDArray[np.uint8]: ...
    def footprint(self, series: int = 0) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]: ...
    def session(self) -> NDArray[np.uint8]: ...
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
def value_area(
    price_ticks: NDArray[np.int64],
    buy_lots: NDArray[np.int64],
    sell_lots: NDArray[np.int64],
    area_ppm: int,
) -> NDArray[np.uint8]: ...
