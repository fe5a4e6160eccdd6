"""NumPy layouts of the kernel's records, and the few numbers derived from them for display.

The layouts mirror `kernel/include/*.h`; a test compares sizes and offsets with the binary. 128-bit
numbers are pairs `(lo, hi)`, 192-bit ones three words; `i128` and `u192` make exact integers.
"""

import numpy as np
from numpy.typing import NDArray

I128 = np.dtype([("lo", "<u8"), ("hi", "<i8")])

U192 = np.dtype(
    [
        ("words", "<u8", (3,)),
    ]
)

SERIES_CONFIG = np.dtype(
    [
        ("kind", "<i8"),
        ("threshold", "<i8"),
        ("row_ticks", "<i8"),
    ]
)

ORDERFLOW_CONFIG = np.dtype(
    [
        ("series_count", "<i8"),
        ("series", SERIES_CONFIG, (8,)),
        ("sums_on", "<i8"),
        ("footprint_rows_max", "<i8"),
        ("value_area_ppm", "<i8"),
        ("imbalance_ppm", "<i8"),
        ("imbalance_min_lots", "<i8"),
        ("imbalance_stack_count", "<i8"),
        ("bubbles_on", "<i8"),
        ("bubble_window_us", "<i8"),
        ("bubble_band_ticks", "<i8"),
        ("large_window_count", "<i8"),
        ("large_ppm", "<i8"),
        ("large_min_count", "<i8"),
        ("profile_rows_max", "<i8"),
        ("vwap_on", "<i8"),
        ("anchor_on_utc_day", "<i8"),
        ("size_class_count", "<i8"),
        ("size_class_lots", "<i8", (8,)),
        ("recent_trades_count", "<i8"),
        ("recent_slot_us", "<i8"),
        ("recent_slot_count", "<i8"),
        ("sweep_level_count", "<i8"),
        ("sweep_window_us", "<i8"),
        ("absorption_lots", "<i8"),
        ("absorption_window_us", "<i8"),
        ("absorption_ticks", "<i8"),
        ("exhaustion_count", "<i8"),
        ("exhaustion_ticks", "<i8"),
    ]
)

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

PROFILE_ROW = np.dtype(
    [
        ("price_ticks", "<i8"),
        ("buy_lots", "<i8"),
        ("sell_lots", "<i8"),
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

LANE = np.dtype(
    [
        ("queue_ppm", "<i8"),
        ("participation_ppm", "<i8"),
        ("slip_ticks", "<i8"),
        ("own_side_only", "<i8"),
    ]
)

FEE_TIER = np.dtype(
    [
        ("from_atoms", I128),
        ("maker_ppb", "<i8"),
        ("taker_ppb", "<i8"),
    ]
)

VENUE_RULES = np.dtype(
    [
        ("price_step_ticks", "<i8"),
        ("price_min_ticks", "<i8"),
        ("price_max_ticks", "<i8"),
        ("qty_step_lots", "<i8"),
        ("qty_min_lots", "<i8"),
        ("qty_max_lots", "<i8"),
        ("market_qty_max_lots", "<i8"),
        ("notional_min_ticklots", "<i8"),
        ("price_up_ppm", "<i8"),
        ("price_down_ppm", "<i8"),
    ]
)

REQUEST = np.dtype(
    [
        ("client_id", "<u8"),
        ("parent_id", "<u8"),
        ("sibling_id", "<u8"),
        ("qty_lots", "<i8"),
        ("price_ticks", "<i8"),
        ("trigger_ticks", "<i8"),
        ("trail", "<i8"),
        ("display_lots", "<i8"),
        ("expire_us", "<i8"),
        ("market", "<u4"),
        ("side", "i1"),
        ("kind", "u1"),
        ("time_in_force", "u1"),
        ("flags", "u1"),
    ]
)

ORDER_LANE = np.dtype(
    [
        ("remaining_lots", "<i8"),
        ("filled_lots", "<i8"),
        ("queue_lots", "<i8"),
        ("shown_lots", "<i8"),
        ("filled_ticklots", I128),
        ("done", "<i8"),
    ]
)

ORDER = np.dtype(
    [
        ("order_id", "<u8"),
        ("placed_input", "<u8"),
        ("live_input", "<u8"),
        ("rank", "<u8"),
        ("active_us", "<i8"),
        ("cancel_us", "<i8"),
        ("amend_us", "<i8"),
        ("amend_qty_lots", "<i8"),
        ("amend_price_ticks", "<i8"),
        ("amend_trigger_ticks", "<i8"),
        ("best_ticks", "<i8"),
        ("first_ticks", "<i8"),
        ("first_us", "<i8"),
        ("request", REQUEST),
        ("lanes", ORDER_LANE, (3,)),
        ("stage", "<i8"),
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
        ("market", "<u4"),
        ("side", "i1"),
        ("role", "i1"),
        ("lane", "i1"),
        ("reserved", "V1"),
    ]
)

ORDER_EVENT = np.dtype(
    [
        ("input", "<u8"),
        ("ts_us", "<i8"),
        ("order_id", "<u8"),
        ("print_ticks", "<i8"),
        ("print_lots", "<i8"),
        ("remaining_lots", "<i8"),
        ("queue_lots", "<i8"),
        ("detail", "<i8"),
        ("change", "i1"),
        ("reason", "i1"),
        ("lane", "i1"),
        ("reserved", "V5"),
    ]
)

EQUITY = np.dtype(
    [
        ("input", "<u8"),
        ("ts_us", "<i8"),
        ("market", "<i8"),
        ("position_lots", "<i8"),
        ("mark_ticks", "<i8"),
        ("equity_atoms", I128),
        ("optimistic_atoms", I128),
        ("pessimistic_atoms", I128),
        ("realized_atoms", I128),
        ("fees_atoms", I128),
        ("funding_atoms", I128),
    ]
)

ACCOUNT = np.dtype(
    [
        ("cash_atoms", I128),
        ("realized_atoms", I128),
        ("unrealized_atoms", I128),
        ("fees_atoms", I128),
        ("funding_atoms", I128),
        ("equity_atoms", I128),
        ("free_atoms", I128),
    ]
)

POSITION = np.dtype(
    [
        ("position_lots", "<i8"),
        ("mark_ticks", "<i8"),
        ("cost_atoms", I128),
        ("margin_atoms", I128),
    ]
)

CONFIG = np.dtype(
    [
        ("abi_version", "<u4"),
        ("orders_max", "<u4"),
        ("seed", "<u8"),
        ("decide_trades_count", "<i8"),
        ("decide_grid_us", "<i8"),
        ("decide_on_fill", "<i8"),
        ("equity_grid_us", "<i8"),
        ("fill_model", "<i8"),
        ("account_kind", "<i8"),
        ("lane_count", "<i8"),
        ("trace", "<i8"),
        ("queue_window", "<i8"),
        ("touch_stale_us", "<i8"),
        ("ioc_window_us", "<i8"),
        ("spread_ppm", "<i8"),
        ("fee_unit_atoms", "<i8"),
        ("fee_tier_count", "<i8"),
        ("initial_cash_atoms", I128),
        ("lanes", LANE, (3,)),
        ("fee_tiers", FEE_TIER, (10,)),
        ("latency_us", "<i8", (64,)),
    ]
)

MARKET = np.dtype(
    [
        ("atoms_per_ticklot", "<i8"),
        ("leverage", "<i8"),
        ("maintenance_ppm", "<i8"),
        ("rules", VENUE_RULES),
        ("flow", ORDERFLOW_CONFIG),
    ]
)

SNAPSHOT = np.dtype(
    [
        ("input", "<u8"),
        ("trade_count", "<u8"),
        ("stream_us", "<i8"),
        ("last_ticks", "<i8"),
        ("last_side", "<i8"),
        ("bid_ticks", "<i8"),
        ("ask_ticks", "<i8"),
        ("mark_ticks", "<i8"),
        ("buy_lots", "<i8"),
        ("sell_lots", "<i8"),
        ("high_ticks", "<i8"),
        ("low_ticks", "<i8"),
        ("profile_row_ticks", "<i8"),
        ("profile_row_count", "<i8"),
        ("open_order_count", "<i8"),
        ("order_count", "<i8"),
        ("next_order_id", "<u8"),
        ("position_lots", "<i8"),
        ("notional_ticklots", I128),
        ("cost_atoms", I128),
        ("cash_atoms", I128),
        ("realized_atoms", I128),
        ("unrealized_atoms", I128),
        ("fees_atoms", I128),
        ("funding_atoms", I128),
        ("equity_atoms", I128),
        ("optimistic_atoms", I128),
        ("pessimistic_atoms", I128),
        ("bar", BAR),
        ("bubble", BUBBLE),
    ]
)

SWEEP_RESULT = np.dtype(
    [
        ("cash_atoms", I128),
        ("realized_atoms", I128),
        ("unrealized_atoms", I128),
        ("fees_atoms", I128),
        ("equity_atoms", I128),
        ("cost_atoms", I128),
        ("notional_atoms", I128),
        ("equity_min_atoms", I128),
        ("equity_max_atoms", I128),
        ("drawdown_max_atoms", I128),
        ("position_lots", "<i8"),
        ("order_count", "<u8"),
        ("open_order_count", "<u8"),
        ("fill_count", "<u8"),
        ("refused_status", "<i8"),
        ("refused_decision", "<i8"),
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

PLACED = np.dtype([("input", "<u8"), ("ts_us", "<i8"), ("order_id", "<u8"), ("request", REQUEST)])
"""An order that a run of arrays placed behind an input."""

COMMAND = np.dtype(
    [
        ("input", "<u8"),
        ("ts_us", "<i8"),
        ("order_id", "<u8"),
        ("request", REQUEST),
        ("place", "<u4"),
        ("kind", "u1"),
        ("origin", "u1"),
        ("reserved", "V2"),
    ]
)
"""What was asked for as the `place`-th thing behind an input; not a kernel record.

Orders that were placed by one call share a place. `kind` is a `commands.CommandKind`, `origin` a
`commands.Origin`. Of an amendment `request` holds the new quantity, price and trigger (0: as it
was), of a cancel-all and of an anchor the market, the latter's number as `client_id`.
"""

LINK = np.dtype(
    [
        ("block", "<u8"),
        ("input", "<u8"),
        ("stream_us", "<i8"),
        ("place", "<u4"),
        ("reserved", "V4"),
        ("inputs", "V32"),
        ("outputs", "V32"),
        ("state", "V32"),
        ("chain", "V32"),
    ]
)
"""A link of the chain that names a session; see `chain.Chain`."""

Records = NDArray[np.void]

SWEEP, ABSORPTION, EXHAUSTION = 0, 1, 2
IMBALANCE, STACKED_IMBALANCE = 1, 2


def i128(pair: np.void) -> int:
    """Return the exact integer of one `(lo, hi)` pair."""
    return (int(pair["hi"]) << 64) + int(pair["lo"])


def u192(value: np.void) -> int:
    """Return the exact integer of one record of `U192`."""
    return sum(int(word) << (64 * i) for i, word in enumerate(value["words"]))


def i128_pair(value: int) -> tuple[int, int]:
    """Return the `(lo, hi)` pair of an integer."""
    return value & (2**64 - 1), value >> 64


def i128_float(pairs: Records) -> NDArray[np.float64]:
    """Return pairs as floats, for display only."""
    return pairs["hi"].astype(np.float64) * 2.0**64 + pairs["lo"].astype(np.float64)
