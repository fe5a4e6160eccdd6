//! Raw bindings to `kernel/include/*.h`, which document every item.
#![allow(missing_docs)]
#![no_std]

use core::ffi::{c_char, c_int};

pub const FLOW_ABI_VERSION: u32 = 2;
pub const FLOW_SEMANTICS_VERSION: u32 = 2;
pub const FLOW_SERIES_MAX: usize = 8;
pub const FLOW_SIZE_CLASSES_MAX: usize = 8;
pub const FLOW_ANCHORS_MAX: usize = 4;

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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowU192 {
    pub words: [u64; 3],
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowSeriesConfig {
    pub kind: i64,
    pub threshold: i64,
    pub row_ticks: i64,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowOrderflowConfig {
    pub series_count: i64,
    pub series: [FlowSeriesConfig; FLOW_SERIES_MAX],
    pub footprint_rows_max: i64,
    pub value_area_ppm: i64,
    pub imbalance_ppm: i64,
    pub imbalance_min_lots: i64,
    pub imbalance_stack_count: i64,
    pub bubbles_on: i64,
    pub bubble_window_us: i64,
    pub bubble_band_ticks: i64,
    pub large_window_count: i64,
    pub large_ppm: i64,
    pub large_min_count: i64,
    pub profile_rows_max: i64,
    pub vwap_on: i64,
    pub anchor_on_utc_day: i64,
    pub size_class_count: i64,
    pub size_class_lots: [i64; FLOW_SIZE_CLASSES_MAX],
    pub recent_trades_count: i64,
    pub recent_slot_us: i64,
    pub recent_slot_count: i64,
    pub sweep_level_count: i64,
    pub sweep_window_us: i64,
    pub absorption_lots: i64,
    pub absorption_window_us: i64,
    pub absorption_ticks: i64,
    pub exhaustion_count: i64,
    pub exhaustion_ticks: i64,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowBar {
    pub ts_us: i64,
    pub last_ts_us: i64,
    pub first_input: u64,
    pub last_input: u64,
    pub open_ticks: i64,
    pub high_ticks: i64,
    pub low_ticks: i64,
    pub close_ticks: i64,
    pub buy_lots: i64,
    pub sell_lots: i64,
    pub trade_count: i64,
    pub notional_ticklots: FlowI128,
    pub sequence: u64,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowFootprint {
    pub sequence: u64,
    pub ts_us: i64,
    pub row_ticks: i64,
    pub poc_ticks: i64,
    pub area_low_ticks: i64,
    pub area_high_ticks: i64,
    pub max_delta_lots: i64,
    pub min_delta_lots: i64,
    pub row_count: i32,
    pub buy_stack_count: i32,
    pub sell_stack_count: i32,
    pub unfinished_high: i8,
    pub unfinished_low: i8,
    pub reserved: [i8; 2],
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowFootprintRow {
    pub sequence: u64,
    pub price_ticks: i64,
    pub buy_lots: i64,
    pub sell_lots: i64,
    pub buy_imbalance: i8,
    pub sell_imbalance: i8,
    pub reserved: [i8; 6],
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowBubble {
    pub input: u64,
    pub ts_us: i64,
    pub last_ts_us: i64,
    pub first_ticks: i64,
    pub last_ticks: i64,
    pub qty_lots: i64,
    pub offset_ticklots: i64,
    pub threshold_lots: i64,
    pub trade_count: u32,
    pub side: i8,
    pub large: i8,
    pub reserved: [i8; 2],
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowMark {
    pub input: u64,
    pub known_input: u64,
    pub ts_us: i64,
    pub known_us: i64,
    pub first_ticks: i64,
    pub last_ticks: i64,
    pub lots: i64,
    pub level_count: i64,
    pub kind: i8,
    pub side: i8,
    pub reserved: [i8; 6],
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowProfileRow {
    pub price_ticks: i64,
    pub buy_lots: i64,
    pub sell_lots: i64,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowValueArea {
    pub poc_ticks: i64,
    pub low_ticks: i64,
    pub high_ticks: i64,
    pub area_lots: i64,
    pub total_lots: i64,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowVwap {
    pub first_input: u64,
    pub ts_us: i64,
    pub lots: i64,
    pub notional_ticklots: FlowI128,
    pub square_ticklots: FlowU192,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowSizeClass {
    pub min_lots: i64,
    pub buy_lots: i64,
    pub sell_lots: i64,
    pub trade_count: i64,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowRecent {
    pub span_us: i64,
    pub buy_lots: i64,
    pub sell_lots: i64,
    pub trade_count: i64,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowSession {
    pub vwap: FlowVwap,
    pub anchors: [FlowVwap; FLOW_ANCHORS_MAX],
    pub size_classes: [FlowSizeClass; 9],
    pub recent_trades: FlowRecent,
    pub recent_time: FlowRecent,
    pub large_threshold_lots: i64,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowOrderflowCounts {
    pub bars: [usize; FLOW_SERIES_MAX],
    pub footprints: [usize; FLOW_SERIES_MAX],
    pub footprint_rows: [usize; FLOW_SERIES_MAX],
    pub bubbles: usize,
    pub marks: usize,
}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct FlowConfig {
    pub abi_version: u32,
    pub orders_max: u32,
    pub decide_trades_count: i64,
    pub decide_grid_us: i64,
    pub decide_on_fill: i64,
    pub equity_grid_us: i64,
    pub latency_us: i64,
    pub maker_fee_ppm: i64,
    pub taker_fee_ppm: i64,
    pub atoms_per_ticklot: i64,
    pub fee_unit_atoms: i64,
    pub initial_cash_atoms: FlowI128,
    pub orderflow: FlowOrderflowConfig,
}

#[repr(C)]
#[derive(Debug)]
pub struct FlowBatch {
    pub ts_us: *const i64,
    pub price_ticks: *const i64,
    pub qty_lots: *const i64,
    pub side: *const i8,
    pub count: usize,
    pub total_lots: i64,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowFill {
    pub input: u64,
    pub ts_us: i64,
    pub order_id: u64,
    pub price_ticks: i64,
    pub qty_lots: i64,
    pub remaining_lots: i64,
    pub fee_atoms: FlowI128,
    pub side: i8,
    pub role: i8,
    pub reserved: [i8; 6],
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowOrderEvent {
    pub input: u64,
    pub ts_us: i64,
    pub order_id: u64,
    pub remaining_lots: i64,
    pub change: i64,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowEquity {
    pub input: u64,
    pub ts_us: i64,
    pub position_lots: i64,
    pub mark_ticks: i64,
    pub equity_atoms: FlowI128,
    pub realized_atoms: FlowI128,
    pub fees_atoms: FlowI128,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowOrder {
    pub order_id: u64,
    pub placed_input: u64,
    pub price_ticks: i64,
    pub qty_lots: i64,
    pub remaining_lots: i64,
    pub active_us: i64,
    pub cancel_us: i64,
    pub side: i8,
    pub kind: i8,
    pub stage: i8,
    pub reserved: [i8; 5],
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowSnapshot {
    pub input: u64,
    pub trade_count: u64,
    pub stream_us: i64,
    pub last_ticks: i64,
    pub last_side: i64,
    pub buy_lots: i64,
    pub sell_lots: i64,
    pub high_ticks: i64,
    pub low_ticks: i64,
    pub profile_row_ticks: i64,
    pub profile_row_count: i64,
    pub open_order_count: i64,
    pub position_lots: i64,
    pub notional_ticklots: FlowI128,
    pub cash_atoms: FlowI128,
    pub cost_atoms: FlowI128,
    pub realized_atoms: FlowI128,
    pub unrealized_atoms: FlowI128,
    pub fees_atoms: FlowI128,
    pub equity_atoms: FlowI128,
    pub bar: FlowBar,
    pub bubble: FlowBubble,
}

unsafe extern "C" {
    pub fn flow_status_text(status: FlowStatus) -> *const c_char;
    pub fn flow_status_name(status: FlowStatus) -> *const c_char;
    pub fn flow_create(config: *const FlowConfig, kernel_out: *mut *mut FlowKernel) -> FlowStatus;
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
    pub fn flow_gap(kernel: *mut FlowKernel) -> FlowStatus;
    pub fn flow_end(kernel: *mut FlowKernel) -> FlowStatus;
    pub fn flow_place(
        kernel: *mut FlowKernel,
        ts_us: i64,
        kind: c_int,
        side: i8,
        qty_lots: i64,
        price_ticks: i64,
        order_id_out: *mut u64,
    ) -> FlowStatus;
    pub fn flow_cancel(kernel: *mut FlowKernel, ts_us: i64, order_id: u64) -> FlowStatus;
    pub fn flow_anchor(kernel: *mut FlowKernel, anchor: usize) -> FlowStatus;
    pub fn flow_take_bars(
        kernel: *mut FlowKernel,
        series: usize,
        out: *mut FlowBar,
        capacity: usize,
        count_out: *mut usize,
    ) -> FlowStatus;
    pub fn flow_take_footprints(
        kernel: *mut FlowKernel,
        series: usize,
        out: *mut FlowFootprint,
        capacity: usize,
        count_out: *mut usize,
    ) -> FlowStatus;
    pub fn flow_take_footprint_rows(
        kernel: *mut FlowKernel,
        series: usize,
        out: *mut FlowFootprintRow,
        capacity: usize,
        count_out: *mut usize,
    ) -> FlowStatus;
    pub fn flow_take_bubbles(
        kernel: *mut FlowKernel,
        out: *mut FlowBubble,
        capacity: usize,
        count_out: *mut usize,
    ) -> FlowStatus;
    pub fn flow_take_marks(
        kernel: *mut FlowKernel,
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
    pub fn flow_pending(kernel: *const FlowKernel, out: *mut usize) -> FlowStatus;
    pub fn flow_orderflow_pending(
        kernel: *const FlowKernel,
        out: *mut FlowOrderflowCounts,
    ) -> FlowStatus;
    pub fn flow_get_snapshot(kernel: *const FlowKernel, out: *mut FlowSnapshot) -> FlowStatus;
    pub fn flow_get_orders(
        kernel: *const FlowKernel,
        out: *mut FlowOrder,
        capacity: usize,
        count_out: *mut usize,
    ) -> FlowStatus;
    pub fn flow_get_profile(
        kernel: *const FlowKernel,
        out: *mut FlowProfileRow,
        capacity: usize,
        count_out: *mut usize,
    ) -> FlowStatus;
    pub fn flow_get_bar(kernel: *const FlowKernel, series: usize, out: *mut FlowBar) -> FlowStatus;
    pub fn flow_get_footprint(
        kernel: *const FlowKernel,
        series: usize,
        out: *mut FlowFootprint,
        rows: *mut FlowFootprintRow,
        capacity: usize,
        count_out: *mut usize,
    ) -> FlowStatus;
    pub fn flow_get_session(kernel: *const FlowKernel, out: *mut FlowSession) -> FlowStatus;
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
