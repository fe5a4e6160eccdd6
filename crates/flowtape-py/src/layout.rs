//! Records as bytes, and where their fields lie.

use std::collections::HashMap;
use std::mem::{offset_of, size_of, size_of_val};

use flowtape_kernel::sys;
use pyo3::prelude::*;

/// A kernel record: plain numbers without padding.
///
/// # Safety
/// Every byte of every value must be initialised.
pub unsafe trait Record: Copy {
    /// The memory of records.
    fn bytes_of(records: &[Self]) -> &[u8]
    where
        Self: Sized,
    {
        // SAFETY: the implementor promises that there are no uninitialised bytes.
        unsafe { std::slice::from_raw_parts(records.as_ptr().cast(), size_of_val(records)) }
    }
}

macro_rules! records {
    ($($name:literal => $type:ident { $($field:ident: $width:literal),* $(,)? }),* $(,)?) => {
        $(
            const _: () = assert!(size_of::<sys::$type>() == 0 $(+ $width)*, "no padding");
            // SAFETY: the widths of the fields add up to the size, so there is no padding.
            unsafe impl Record for sys::$type {}
        )*

        /// Size and field offsets in bytes of each record, as the binary has them.
        #[pyfunction]
        pub fn record_layouts() -> HashMap<&'static str, (usize, HashMap<&'static str, usize>)> {
            HashMap::from([$(
                ($name, (
                    size_of::<sys::$type>(),
                    HashMap::from([$((stringify!($field), offset_of!(sys::$type, $field))),*]),
                )),
            )*])
        }
    };
}

records! {
    "BAR" => FlowBar {
        ts_us: 8, last_ts_us: 8, first_input: 8, last_input: 8, open_ticks: 8, high_ticks: 8, low_ticks: 8, close_ticks: 8, buy_lots: 8, sell_lots: 8, trade_count: 8, notional_ticklots: 16, sequence: 8,
    },
    "FOOTPRINT" => FlowFootprint {
        sequence: 8, ts_us: 8, row_ticks: 8, poc_ticks: 8, area_low_ticks: 8, area_high_ticks: 8, max_delta_lots: 8, min_delta_lots: 8, row_count: 4, buy_stack_count: 4, sell_stack_count: 4, unfinished_high: 1, unfinished_low: 1, reserved: 2,
    },
    "FOOTPRINT_ROW" => FlowFootprintRow {
        sequence: 8, price_ticks: 8, buy_lots: 8, sell_lots: 8, buy_imbalance: 1, sell_imbalance: 1, reserved: 6,
    },
    "BUBBLE" => FlowBubble {
        input: 8, ts_us: 8, last_ts_us: 8, first_ticks: 8, last_ticks: 8, qty_lots: 8, offset_ticklots: 8, threshold_lots: 8, trade_count: 4, side: 1, large: 1, reserved: 2,
    },
    "MARK" => FlowMark {
        input: 8, known_input: 8, ts_us: 8, known_us: 8, first_ticks: 8, last_ticks: 8, lots: 8, level_count: 8, kind: 1, side: 1, reserved: 6,
    },
    "VALUE_AREA" => FlowValueArea {
        poc_ticks: 8, low_ticks: 8, high_ticks: 8, area_lots: 8, total_lots: 8,
    },
    "VWAP" => FlowVwap {
        first_input: 8, ts_us: 8, lots: 8, notional_ticklots: 16, square_ticklots: 24,
    },
    "SIZE_CLASS" => FlowSizeClass {
        min_lots: 8, buy_lots: 8, sell_lots: 8, trade_count: 8,
    },
    "RECENT" => FlowRecent {
        span_us: 8, buy_lots: 8, sell_lots: 8, trade_count: 8,
    },
    "SESSION" => FlowSession {
        vwap: 64, anchors: 256, size_classes: 288, recent_trades: 32, recent_time: 32, large_threshold_lots: 8,
    },
    "FILL" => FlowFill {
        input: 8, ts_us: 8, order_id: 8, price_ticks: 8, qty_lots: 8, remaining_lots: 8,
        fee_atoms: 16, side: 1, role: 1, reserved: 6,
    },
    "ORDER_EVENT" => FlowOrderEvent {
        input: 8, ts_us: 8, order_id: 8, remaining_lots: 8, change: 8,
    },
    "EQUITY" => FlowEquity {
        input: 8, ts_us: 8, position_lots: 8, mark_ticks: 8, equity_atoms: 16,
        realized_atoms: 16, fees_atoms: 16,
    },
    "ORDER" => FlowOrder {
        order_id: 8, placed_input: 8, price_ticks: 8, qty_lots: 8, remaining_lots: 8,
        active_us: 8, cancel_us: 8, side: 1, kind: 1, stage: 1, reserved: 5,
    },
    "PROFILE_ROW" => FlowProfileRow { price_ticks: 8, buy_lots: 8, sell_lots: 8 },
    "SNAPSHOT" => FlowSnapshot {
        input: 8, trade_count: 8, stream_us: 8, last_ticks: 8, last_side: 8, buy_lots: 8,
        sell_lots: 8, high_ticks: 8, low_ticks: 8, profile_row_ticks: 8, profile_row_count: 8,
        open_order_count: 8, position_lots: 8, notional_ticklots: 16, cash_atoms: 16,
        cost_atoms: 16, realized_atoms: 16, unrealized_atoms: 16, fees_atoms: 16,
        equity_atoms: 16, bar: 112, bubble: 72,
    },
}
