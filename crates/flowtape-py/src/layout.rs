//! Records as bytes, and where their fields lie.

use std::collections::HashMap;
use std::mem::{offset_of, size_of, size_of_val};

use flowtape_kernel::sys;
use pyo3::prelude::*;

/// A kernel record: plain numbers without padding.
///
/// # Safety
/// Every byte of every value must be initialised, and any bytes must make a value.
pub unsafe trait Record: Copy {
    /// The memory of records.
    fn bytes_of(records: &[Self]) -> &[u8]
    where
        Self: Sized,
    {
        // SAFETY: the implementor promises that there are no uninitialised bytes.
        unsafe { std::slice::from_raw_parts(records.as_ptr().cast(), size_of_val(records)) }
    }

    /// The records that bytes are, or nothing if they are no whole number of them.
    fn of_bytes(bytes: &[u8]) -> Option<Vec<Self>> {
        if bytes.len() % size_of::<Self>() != 0 {
            return None;
        }
        let records = bytes.chunks_exact(size_of::<Self>());
        // SAFETY: each chunk has the size of a record and any bytes make one.
        Some(
            records
                .map(|chunk| unsafe { chunk.as_ptr().cast::<Self>().read_unaligned() })
                .collect(),
        )
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
    "U192" => FlowU192 { words: 24 },
    "SERIES_CONFIG" => FlowSeriesConfig { kind: 8, threshold: 8, row_ticks: 8 },
    "ORDERFLOW_CONFIG" => FlowOrderflowConfig { series_count: 8, series: 192, sums_on: 8, footprint_rows_max: 8, value_area_ppm: 8, imbalance_ppm: 8, imbalance_min_lots: 8, imbalance_stack_count: 8, bubbles_on: 8, bubble_window_us: 8, bubble_band_ticks: 8, large_window_count: 8, large_ppm: 8, large_min_count: 8, profile_rows_max: 8, vwap_on: 8, anchor_on_utc_day: 8, size_class_count: 8, size_class_lots: 64, recent_trades_count: 8, recent_slot_us: 8, recent_slot_count: 8, sweep_level_count: 8, sweep_window_us: 8, absorption_lots: 8, absorption_window_us: 8, absorption_ticks: 8, exhaustion_count: 8, exhaustion_ticks: 8 },
    "BAR" => FlowBar { ts_us: 8, last_ts_us: 8, first_input: 8, last_input: 8, open_ticks: 8, high_ticks: 8, low_ticks: 8, close_ticks: 8, buy_lots: 8, sell_lots: 8, trade_count: 8, notional_ticklots: 16, sequence: 8 },
    "FOOTPRINT" => FlowFootprint { sequence: 8, ts_us: 8, row_ticks: 8, poc_ticks: 8, area_low_ticks: 8, area_high_ticks: 8, max_delta_lots: 8, min_delta_lots: 8, row_count: 4, buy_stack_count: 4, sell_stack_count: 4, unfinished_high: 1, unfinished_low: 1, reserved: 2 },
    "FOOTPRINT_ROW" => FlowFootprintRow { sequence: 8, price_ticks: 8, buy_lots: 8, sell_lots: 8, buy_imbalance: 1, sell_imbalance: 1, reserved: 6 },
    "BUBBLE" => FlowBubble { input: 8, ts_us: 8, last_ts_us: 8, first_ticks: 8, last_ticks: 8, qty_lots: 8, offset_ticklots: 8, threshold_lots: 8, trade_count: 4, side: 1, large: 1, reserved: 2 },
    "MARK" => FlowMark { input: 8, known_input: 8, ts_us: 8, known_us: 8, first_ticks: 8, last_ticks: 8, lots: 8, level_count: 8, kind: 1, side: 1, reserved: 6 },
    "PROFILE_ROW" => FlowProfileRow { price_ticks: 8, buy_lots: 8, sell_lots: 8 },
    "VALUE_AREA" => FlowValueArea { poc_ticks: 8, low_ticks: 8, high_ticks: 8, area_lots: 8, total_lots: 8 },
    "VWAP" => FlowVwap { first_input: 8, ts_us: 8, lots: 8, notional_ticklots: 16, square_ticklots: 24 },
    "SIZE_CLASS" => FlowSizeClass { min_lots: 8, buy_lots: 8, sell_lots: 8, trade_count: 8 },
    "RECENT" => FlowRecent { span_us: 8, buy_lots: 8, sell_lots: 8, trade_count: 8 },
    "SESSION" => FlowSession { vwap: 64, anchors: 256, size_classes: 288, recent_trades: 32, recent_time: 32, large_threshold_lots: 8 },
    "LANE" => FlowLane { queue_ppm: 8, participation_ppm: 8, slip_ticks: 8, own_side_only: 8 },
    "FEE_TIER" => FlowFeeTier { from_atoms: 16, maker_ppb: 8, taker_ppb: 8 },
    "VENUE_RULES" => FlowVenueRules { price_step_ticks: 8, price_min_ticks: 8, price_max_ticks: 8, qty_step_lots: 8, qty_min_lots: 8, qty_max_lots: 8, market_qty_max_lots: 8, notional_min_ticklots: 8, price_up_ppm: 8, price_down_ppm: 8 },
    "REQUEST" => FlowRequest { client_id: 8, parent_id: 8, sibling_id: 8, qty_lots: 8, price_ticks: 8, trigger_ticks: 8, trail: 8, display_lots: 8, expire_us: 8, market: 4, side: 1, kind: 1, time_in_force: 1, flags: 1 },
    "ORDER_LANE" => FlowOrderLane { remaining_lots: 8, filled_lots: 8, queue_lots: 8, shown_lots: 8, filled_ticklots: 16, done: 8 },
    "ORDER" => FlowOrder { order_id: 8, placed_input: 8, live_input: 8, rank: 8, active_us: 8, cancel_us: 8, amend_us: 8, amend_qty_lots: 8, amend_price_ticks: 8, amend_trigger_ticks: 8, best_ticks: 8, first_ticks: 8, first_us: 8, request: 80, lanes: 168, stage: 8 },
    "FILL" => FlowFill { input: 8, ts_us: 8, order_id: 8, price_ticks: 8, qty_lots: 8, remaining_lots: 8, fee_atoms: 16, market: 4, side: 1, role: 1, lane: 1, reserved: 1 },
    "ORDER_EVENT" => FlowOrderEvent { input: 8, ts_us: 8, order_id: 8, print_ticks: 8, print_lots: 8, remaining_lots: 8, queue_lots: 8, detail: 8, change: 1, reason: 1, lane: 1, reserved: 5 },
    "EQUITY" => FlowEquity { input: 8, ts_us: 8, market: 8, position_lots: 8, mark_ticks: 8, equity_atoms: 16, optimistic_atoms: 16, pessimistic_atoms: 16, realized_atoms: 16, fees_atoms: 16, funding_atoms: 16 },
    "ACCOUNT" => FlowAccount { cash_atoms: 16, realized_atoms: 16, unrealized_atoms: 16, fees_atoms: 16, funding_atoms: 16, equity_atoms: 16, free_atoms: 16 },
    "POSITION" => FlowPosition { position_lots: 8, mark_ticks: 8, cost_atoms: 16, margin_atoms: 16 },
    "CONFIG" => FlowConfig { abi_version: 4, orders_max: 4, seed: 8, decide_trades_count: 8, decide_grid_us: 8, decide_on_fill: 8, equity_grid_us: 8, fill_model: 8, account_kind: 8, lane_count: 8, trace: 8, queue_window: 8, touch_stale_us: 8, ioc_window_us: 8, spread_ppm: 8, fee_unit_atoms: 8, fee_tier_count: 8, initial_cash_atoms: 16, lanes: 96, fee_tiers: 320, latency_us: 512 },
    "MARKET" => FlowMarket { atoms_per_ticklot: 8, leverage: 8, maintenance_ppm: 8, rules: 80, flow: 472 },
    "SWEEP_RESULT" => FlowSweepResult { cash_atoms: 16, realized_atoms: 16, unrealized_atoms: 16, fees_atoms: 16, equity_atoms: 16, cost_atoms: 16, notional_atoms: 16, equity_min_atoms: 16, equity_max_atoms: 16, drawdown_max_atoms: 16, position_lots: 8, order_count: 8, open_order_count: 8, fill_count: 8, refused_status: 8, refused_decision: 8 },
    "SNAPSHOT" => FlowSnapshot { input: 8, trade_count: 8, stream_us: 8, last_ticks: 8, last_side: 8, bid_ticks: 8, ask_ticks: 8, mark_ticks: 8, buy_lots: 8, sell_lots: 8, high_ticks: 8, low_ticks: 8, profile_row_ticks: 8, profile_row_count: 8, open_order_count: 8, order_count: 8, next_order_id: 8, position_lots: 8, notional_ticklots: 16, cost_atoms: 16, cash_atoms: 16, realized_atoms: 16, unrealized_atoms: 16, fees_atoms: 16, funding_atoms: 16, equity_atoms: 16, optimistic_atoms: 16, pessimistic_atoms: 16, bar: 112, bubble: 72 },
}
