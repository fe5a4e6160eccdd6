"""NumPy layouts of the kernel's records, and the few numbers derived from them for display.

The layouts mirror `kernel/include/*.h`; a test compares sizes and offsets with the binary. 128-bit
numbers are pairs `(lo, hi)`, 192-bit ones three words; `i128` and `u192` make exact Python integers
of them.
"""

import numpy as np
from numpy.typing import NDArray

I128 = np.dtype([("lo", "<u8"), ("hi", "<i8")])

U192 = np.dtype([("words", "<u8", (3,))])

BAR = np.dtype(
    [
        ("ts_us", "<i8"),
        ("last_ts_us", "<i8"),
        ("first_input", "<u8"),
        ("last_input", "<u8"),
        ("open_ticks", "<i8"),
        ("high_ticks", "<i8"),
        ("low_ticks", "<i8"),
        ("close_ticks", "<i8"),
        ("buy_lots", "<i8"),
        ("sell_lots", "<i8"),
        ("trade_count", "<i8"),
        ("notional_ticklots", I128),
        ("sequence", "<u8"),
    ]
)

FOOTPRINT = np.dtype(
    [
        ("sequence", "<u8"),
        ("ts_us", "<i8"),
        ("row_ticks", "<i8"),
        ("poc_ticks", "<i8"),
        ("area_low_ticks", "<i8"),
        ("area_high_ticks", "<i8"),
        ("max_delta_lots", "<i8"),
        ("min_delta_lots", "<i8"),
        ("row_count", "<i4"),
        ("buy_stack_count", "<i4"),
        ("sell_stack_count", "<i4"),
        ("unfinished_high", "i1"),
        ("unfinished_low", "i1"),
        ("reserved", "V2"),
    ]
)

FOOTPRINT_ROW = np.dtype(
    [
        ("sequence", "<u8"),
        ("price_ticks", "<i8"),
        ("buy_lots", "<i8"),
        ("sell_lots", "<i8"),
        ("buy_imbalance", "i1"),
        ("sell_imbalance", "i1"),
        ("reserved", "V6"),
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
        ("threshold_lots", "<i8"),
        ("trade_count", "<u4"),
        ("side", "i1"),
        ("large", "i1"),
        ("reserved", "V2"),
    ]
)

MARK = np.dtype(
    [
        ("input", "<u8"),
        ("known_input", "<u8"),
        ("ts_us", "<i8"),
        ("known_us", "<i8"),
        ("first_ticks", "<i8"),
        ("last_ticks", "<i8"),
        ("lots", "<i8"),
        ("level_count", "<i8"),
        ("kind", "i1"),
        ("side", "i1"),
        ("reserved", "V6"),
    ]
)

VALUE_AREA = np.dtype(
    [
        ("poc_ticks", "<i8"),
        ("low_ticks", "<i8"),
        ("high_ticks", "<i8"),
        ("area_lots", "<i8"),
        ("total_lots", "<i8"),
    ]
)

VWAP = np.dtype(
    [
        ("first_input", "<u8"),
        ("ts_us", "<i8"),
        ("lots", "<i8"),
        ("notional_ticklots", I128),
        ("square_ticklots", U192),
    ]
)

SIZE_CLASS = np.dtype(
    [
        ("min_lots", "<i8"),
        ("buy_lots", "<i8"),
        ("sell_lots", "<i8"),
        ("trade_count", "<i8"),
    ]
)

RECENT = np.dtype(
    [
        ("span_us", "<i8"),
        ("buy_lots", "<i8"),
        ("sell_lots", "<i8"),
        ("trade_count", "<i8"),
    ]
)

SESSION = np.dtype(
    [
        ("vwap", VWAP),
        ("anchors", VWAP, (4,)),
        ("size_classes", SIZE_CLASS, (9,)),
        ("recent_trades", RECENT),
        ("recent_time", RECENT),
        ("large_threshold_lots", "<i8"),
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

SWEEP, ABSORPTION, EXHAUSTION = 0, 1, 2
IMBALANCE, STACKED_IMBALANCE = 1, 2

MAKER, TAKER = 0, 1
RESTED, FILLED, CANCELED = 0, 1, 2
MARKET, LIMIT = 0, 1
PENDING, TAKING, RESTING = 0, 1, 2


def i128(pair: np.void) -> int:
    """Return the exact integer of one `(lo, hi)` pair."""
    return (int(pair["hi"]) << 64) + int(pair["lo"])


def u192(value: np.void) -> int:
    """Return the exact integer of one record of `U192`."""
    return sum(int(word) << (64 * i) for i, word in enumerate(value["words"]))


def i128_float(pairs: Records) -> NDArray[np.float64]:
    """Return pairs as floats, for display only."""
    return pairs["hi"].astype(np.float64) * 2.0**64 + pairs["lo"].astype(np.float64)
