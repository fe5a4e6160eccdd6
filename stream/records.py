"""NumPy layouts of the kernel's records, and the few numbers derived from them for display.

The layouts mirror `kernel/include/flow_kernel.h`; a test compares sizes and offsets with the
binary. 128-bit numbers are pairs `(lo, hi)`; `i128` makes exact Python integers of them.
"""

import numpy as np
from numpy.typing import NDArray

I128 = np.dtype([("lo", "<u8"), ("hi", "<i8")])

BAR = np.dtype(
    [
        ("ts_us", "<i8"),
        ("open_ticks", "<i8"),
        ("high_ticks", "<i8"),
        ("low_ticks", "<i8"),
        ("close_ticks", "<i8"),
        ("buy_lots", "<i8"),
        ("sell_lots", "<i8"),
        ("trade_count", "<i8"),
        ("notional_ticklots", I128),
    ]
)

BUBBLE = np.dtype(
    [
        ("input", "<u8"),
        ("ts_us", "<i8"),
        ("last_ts_us", "<i8"),
        ("first_ticks", "<i8"),
        ("last_ticks", "<i8"),
        ("qty_lots", "<i8"),
        ("offset_ticklots", "<i8"),
        ("trade_count", "<u4"),
        ("side", "i1"),
        ("reserved", "V3"),
    ]
)

FILL = np.dtype(
    [
        ("input", "<u8"),
        ("ts_us", "<i8"),
        ("order_id", "<u8"),
        ("price_ticks", "<i8"),
        ("qty_lots", "<i8"),
        ("remaining_lots", "<i8"),
        ("fee_atoms", I128),
        ("side", "i1"),
        ("role", "i1"),
        ("reserved", "V6"),
    ]
)

ORDER_EVENT = np.dtype(
    [
        ("input", "<u8"),
        ("ts_us", "<i8"),
        ("order_id", "<u8"),
        ("remaining_lots", "<i8"),
        ("change", "<i8"),
    ]
)

EQUITY = np.dtype(
    [
        ("input", "<u8"),
        ("ts_us", "<i8"),
        ("position_lots", "<i8"),
        ("mark_ticks", "<i8"),
        ("equity_atoms", I128),
        ("realized_atoms", I128),
        ("fees_atoms", I128),
    ]
)

ORDER = np.dtype(
    [
        ("order_id", "<u8"),
        ("placed_input", "<u8"),
        ("price_ticks", "<i8"),
        ("qty_lots", "<i8"),
        ("remaining_lots", "<i8"),
        ("active_us", "<i8"),
        ("cancel_us", "<i8"),
        ("side", "i1"),
        ("kind", "i1"),
        ("stage", "i1"),
        ("reserved", "V5"),
    ]
)

PROFILE_ROW = np.dtype([("price_ticks", "<i8"), ("buy_lots", "<i8"), ("sell_lots", "<i8")])

SNAPSHOT = np.dtype(
    [
        ("input", "<u8"),
        ("trade_count", "<u8"),
        ("stream_us", "<i8"),
        ("last_ticks", "<i8"),
        ("last_side", "<i8"),
        ("buy_lots", "<i8"),
        ("sell_lots", "<i8"),
        ("high_ticks", "<i8"),
        ("low_ticks", "<i8"),
        ("profile_row_ticks", "<i8"),
        ("profile_row_count", "<i8"),
        ("open_order_count", "<i8"),
        ("position_lots", "<i8"),
        ("notional_ticklots", I128),
        ("cash_atoms", I128),
        ("cost_atoms", I128),
        ("realized_atoms", I128),
        ("unrealized_atoms", I128),
        ("fees_atoms", I128),
        ("equity_atoms", I128),
        ("bar", BAR),
        ("bubble", BUBBLE),
    ]
)

PRINT = np.dtype(
    [
        ("input", "<u8"),
        ("ts_us", "<i8"),
        ("price_ticks", "<i8"),
        ("qty_lots", "<i8"),
        ("side", "i1"),
        ("reserved", "V7"),
    ]
)
"""One trade as the tape pane shows it; not a kernel record."""

Records = NDArray[np.void]

MAKER, TAKER = 0, 1
RESTED, FILLED, CANCELED = 0, 1, 2
MARKET, LIMIT = 0, 1
PENDING, TAKING, RESTING = 0, 1, 2


def i128(pair: np.void) -> int:
    """Return the exact integer of one `(lo, hi)` pair."""
    return (int(pair["hi"]) << 64) + int(pair["lo"])


def i128_float(pairs: Records) -> NDArray[np.float64]:
    """Return pairs as floats, for display only."""
    return pairs["hi"].astype(np.float64) * 2.0**64 + pairs["lo"].astype(np.float64)
