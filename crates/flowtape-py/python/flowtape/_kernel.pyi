from typing import final

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "ABI_VERSION",
    "SCAN_BLOCK_ROWS",
    "SEMANTICS_VERSION",
    "STATUS_NAMES",
    "Batch",
    "Kernel",
    "block_extremes",
    "first_touch",
    "parse_archive_text",
    "record_layouts",
    "session_sums",
]

ABI_VERSION: int
SCAN_BLOCK_ROWS: int
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
        market: NDArray[np.uint8] | None = None,
    ) -> Batch: ...
    def __len__(self) -> int: ...

@final
class Kernel:
    def __new__(
        cls, config: NDArray[np.uint8], markets: NDArray[np.uint8], bubbles_kept: int
    ) -> Kernel: ...
    def run(self, batch: Batch, start: int) -> tuple[int, bool]: ...
    def clock(self, ts_us: int) -> bool: ...
    def gap(self, market: int = 0) -> None: ...
    def mark(self, market: int, ts_us: int, mark_ticks: int) -> bool: ...
    def funding(self, market: int, ts_us: int, rate_ppb: int) -> bool: ...
    def end(self) -> None: ...
    def place(self, ts_us: int, requests: NDArray[np.uint8]) -> list[int]: ...
    def cancel(self, ts_us: int, order_id: int) -> None: ...
    def cancel_all(self, ts_us: int, market: int) -> int: ...
    def amend(
        self,
        ts_us: int,
        order_id: int,
        qty_lots: int = 0,
        price_ticks: int = 0,
        trigger_ticks: int = 0,
    ) -> None: ...
    def has_outputs(self) -> bool: ...
    def take_bars(self, market: int = 0) -> NDArray[np.uint8]: ...
    def take_bubbles(self, market: int = 0) -> tuple[NDArray[np.uint8], int]: ...
    def take_fills(self) -> NDArray[np.uint8]: ...
    def take_order_events(self) -> NDArray[np.uint8]: ...
    def take_equity(self) -> NDArray[np.uint8]: ...
    def snapshot(self, market: int = 0) -> NDArray[np.uint8]: ...
    def account(self, lane: int = 1) -> NDArray[np.uint8]: ...
    def position(self, market: int = 0, lane: int = 1) -> NDArray[np.uint8]: ...
    def orders(self) -> NDArray[np.uint8]: ...
    def profile(self, market: int = 0) -> NDArray[np.uint8]: ...
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
def first_touch(
    price_ticks: NDArray[np.int64],
    low: int,
    high: int,
    start: int = 0,
    extremes: tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], int] | None = None,
    *,
    ts_us: NDArray[np.int64] | None = None,
    until_us: int | None = None,
) -> int: ...
def block_extremes(
    ts_us: NDArray[np.int64], price_ticks: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]: ...
def session_sums(
    price_ticks: NDArray[np.int64],
    qty_lots: NDArray[np.int64],
    side: NDArray[np.int8],
    ts_us: NDArray[np.int64] | None = None,
) -> tuple[int, int, int, int, int, int]: ...
