//! Raw bindings to `kernel/include/*.h`, which document every item.
#![allow(missing_docs)]
#![no_std]

use core::ffi::{c_char, c_int};

mod execution;
mod orderflow;
mod scan;
mod sweep;

pub use execution::*;
pub use orderflow::*;
pub use scan::*;
pub use sweep::*;

pub const FLOW_ABI_VERSION: u32 = 2;
pub const FLOW_SEMANTICS_VERSION: u32 = 2;

/// `flow_status` as it crosses the border; see `flow_status_name`.
pub type FlowStatus = c_int;
pub const FLOW_OK: FlowStatus = 0;

pub const FLOW_STOP_END: c_int = 0;
pub const FLOW_STOP_DECISION: c_int = 1;
pub const FLOW_STOP_DRAIN: c_int = 2;

#[repr(C)]
pub struct FlowKernel {
    _opaque: [u8; 0],
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowI128 {
    pub lo: u64,
    pub hi: i64,
}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct FlowConfig {
    pub abi_version: u32,
    pub orders_max: u32,
    pub seed: u64,
    pub decide_trades_count: i64,
    pub decide_grid_us: i64,
    pub decide_on_fill: i64,
    pub equity_grid_us: i64,
    pub fill_model: i64,
    pub account_kind: i64,
    pub lane_count: i64,
    pub trace: i64,
    pub queue_window: i64,
    pub touch_stale_us: i64,
    pub ioc_window_us: i64,
    pub spread_ppm: i64,
    pub fee_unit_atoms: i64,
    pub fee_tier_count: i64,
    pub initial_cash_atoms: FlowI128,
    pub lanes: [FlowLane; FLOW_LANES],
    pub fee_tiers: [FlowFeeTier; FLOW_FEE_TIERS],
    pub latency_us: [i64; FLOW_LATENCY_POINTS],
}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct FlowMarket {
    pub atoms_per_ticklot: i64,
    pub leverage: i64,
    pub maintenance_ppm: i64,
    pub rules: FlowVenueRules,
    pub flow: FlowOrderflowConfig,
}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct FlowBatch {
    pub ts_us: *const i64,
    pub price_ticks: *const i64,
    pub qty_lots: *const i64,
    pub side: *const i8,
    pub market: *const u8,
    pub count: usize,
    pub extremes: *const FlowExtremes,
    pub total_lots: i64,
    pub market_last: i64,
    pub ascending: i64,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowSnapshot {
    pub input: u64,
    pub trade_count: u64,
    pub stream_us: i64,
    pub last_ticks: i64,
    pub last_side: i64,
    pub bid_ticks: i64,
    pub ask_ticks: i64,
    pub mark_ticks: i64,
    pub buy_lots: i64,
    pub sell_lots: i64,
    pub high_ticks: i64,
    pub low_ticks: i64,
    pub profile_row_ticks: i64,
    pub profile_row_count: i64,
    pub open_order_count: i64,
    pub order_count: i64,
    pub next_order_id: u64,
    pub position_lots: i64,
    pub notional_ticklots: FlowI128,
    pub cost_atoms: FlowI128,
    pub cash_atoms: FlowI128,
    pub realized_atoms: FlowI128,
    pub unrealized_atoms: FlowI128,
    pub fees_atoms: FlowI128,
    pub funding_atoms: FlowI128,
    pub equity_atoms: FlowI128,
    pub optimistic_atoms: FlowI128,
    pub pessimistic_atoms: FlowI128,
    pub bar: FlowBar,
    pub bubble: FlowBubble,
}

unsafe extern "C" {
    pub fn flow_status_text(status: FlowStatus) -> *const c_char;
    pub fn flow_status_name(status: FlowStatus) -> *const c_char;
    pub fn flow_create(
        config: *const FlowConfig,
        markets: *const FlowMarket,
        market_count: usize,
        kernel_out: *mut *mut FlowKernel,
    ) -> FlowStatus;
    pub fn flow_destroy(kernel: *mut FlowKernel);
    pub fn flow_check_batch(batch: *mut FlowBatch, bad_row_out: *mut usize) -> FlowStatus;
    pub fn flow_run(
        kernel: *mut FlowKernel,
        batch: *const FlowBatch,
        start: usize,
        consumed_out: *mut usize,
        stop_out: *mut c_int,
    ) -> FlowStatus;
    pub fn flow_clock(kernel: *mut FlowKernel, ts_us: i64, stop_out: *mut c_int) -> FlowStatus;
    pub fn flow_gap(kernel: *mut FlowKernel, market: u32) -> FlowStatus;
    pub fn flow_mark_price(
        kernel: *mut FlowKernel,
        market: u32,
        ts_us: i64,
        mark_ticks: i64,
        stop_out: *mut c_int,
    ) -> FlowStatus;
    pub fn flow_funding(
        kernel: *mut FlowKernel,
        market: u32,
        ts_us: i64,
        rate_ppb: i64,
        stop_out: *mut c_int,
    ) -> FlowStatus;
    pub fn flow_set_rule(
        kernel: *mut FlowKernel,
        market: u32,
        ts_us: i64,
        rule: i64,
        value: i64,
        stop_out: *mut c_int,
    ) -> FlowStatus;
    pub fn flow_end(kernel: *mut FlowKernel) -> FlowStatus;
    pub fn flow_place(
        kernel: *mut FlowKernel,
        ts_us: i64,
        requests: *const FlowRequest,
        count: usize,
        ids_out: *mut u64,
    ) -> FlowStatus;
    pub fn flow_cancel(kernel: *mut FlowKernel, ts_us: i64, order_id: u64) -> FlowStatus;
    pub fn flow_cancel_all(
        kernel: *mut FlowKernel,
        ts_us: i64,
        market: i64,
        count_out: *mut usize,
    ) -> FlowStatus;
    pub fn flow_amend(
        kernel: *mut FlowKernel,
        ts_us: i64,
        order_id: u64,
        qty_lots: i64,
        price_ticks: i64,
        trigger_ticks: i64,
    ) -> FlowStatus;
    pub fn flow_anchor(kernel: *mut FlowKernel, market: u32, anchor: usize) -> FlowStatus;
    pub fn flow_take_bars(
        kernel: *mut FlowKernel,
        market: u32,
        series: usize,
        out: *mut FlowBar,
        capacity: usize,
        count_out: *mut usize,
    ) -> FlowStatus;
    pub fn flow_take_footprints(
        kernel: *mut FlowKernel,
        market: u32,
        series: usize,
        out: *mut FlowFootprint,
        capacity: usize,
        count_out: *mut usize,
    ) -> FlowStatus;
    pub fn flow_take_footprint_rows(
        kernel: *mut FlowKernel,
        market: u32,
        series: usize,
        out: *mut FlowFootprintRow,
        capacity: usize,
        count_out: *mut usize,
    ) -> FlowStatus;
    pub fn flow_take_bubbles(
        kernel: *mut FlowKernel,
        market: u32,
        out: *mut FlowBubble,
        capacity: usize,
        count_out: *mut usize,
    ) -> FlowStatus;
    pub fn flow_take_marks(
        kernel: *mut FlowKernel,
        market: u32,
        out: *mut FlowMark,
        capacity: usize,
        count_out: *mut usize,
    ) -> FlowStatus;
    pub fn flow_take_fills(
        kernel: *mut FlowKernel,
        out: *mut FlowFill,
        capacity: usize,
        count_out: *mut usize,
    ) -> FlowStatus;
    pub fn flow_take_order_events(
        kernel: *mut FlowKernel,
        out: *mut FlowOrderEvent,
        capacity: usize,
        count_out: *mut usize,
    ) -> FlowStatus;
    pub fn flow_take_equity(
        kernel: *mut FlowKernel,
        out: *mut FlowEquity,
        capacity: usize,
        count_out: *mut usize,
    ) -> FlowStatus;
    pub fn flow_get_snapshot(
        kernel: *const FlowKernel,
        market: u32,
        out: *mut FlowSnapshot,
    ) -> FlowStatus;
    pub fn flow_get_account(
        kernel: *const FlowKernel,
        lane: i64,
        out: *mut FlowAccount,
    ) -> FlowStatus;
    pub fn flow_get_position(
        kernel: *const FlowKernel,
        market: u32,
        lane: i64,
        out: *mut FlowPosition,
    ) -> FlowStatus;
    pub fn flow_get_rules(
        kernel: *const FlowKernel,
        market: u32,
        out: *mut FlowVenueRules,
    ) -> FlowStatus;
    pub fn flow_get_orders(
        kernel: *const FlowKernel,
        out: *mut FlowOrder,
        capacity: usize,
        count_out: *mut usize,
    ) -> FlowStatus;
    pub fn flow_get_profile(
        kernel: *const FlowKernel,
        market: u32,
        out: *mut FlowProfileRow,
        capacity: usize,
        count_out: *mut usize,
    ) -> FlowStatus;
    pub fn flow_get_bar(
        kernel: *const FlowKernel,
        market: u32,
        series: usize,
        out: *mut FlowBar,
    ) -> FlowStatus;
    pub fn flow_get_footprint(
        kernel: *const FlowKernel,
        market: u32,
        series: usize,
        out: *mut FlowFootprint,
        rows: *mut FlowFootprintRow,
        capacity: usize,
        count_out: *mut usize,
    ) -> FlowStatus;
    pub fn flow_get_session(
        kernel: *const FlowKernel,
        market: u32,
        out: *mut FlowSession,
    ) -> FlowStatus;
    pub fn flow_value_area_of(
        rows: *const FlowProfileRow,
        count: usize,
        area_ppm: i64,
        scratch: *mut i64,
        out: *mut FlowValueArea,
    ) -> FlowStatus;
    pub fn flow_state_bytes(kernel: *const FlowKernel, bytes_out: *mut usize) -> FlowStatus;
    pub fn flow_save_state(
        kernel: *const FlowKernel,
        out: *mut u8,
        capacity: usize,
        bytes_out: *mut usize,
    ) -> FlowStatus;
    pub fn flow_load_state(
        kernel: *mut FlowKernel,
        bytes: *const u8,
        byte_count: usize,
    ) -> FlowStatus;
}
