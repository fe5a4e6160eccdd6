//! Raw bindings to `kernel/include/*.h`, which document every item.
#![allow(missing_docs)]
#![no_std]

use core::ffi::{c_char, c_int};

pub const FLOW_ABI_VERSION: u32 = 1;
pub const FLOW_SEMANTICS_VERSION: u32 = 1;

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
pub struct FlowOrderflowConfig {
    pub bar_us: i64,
    pub bubble_window_us: i64,
    pub bubble_band_ticks: i64,
    pub profile_rows_max: i64,
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
pub struct FlowBar {
    pub ts_us: i64,
    pub open_ticks: i64,
    pub high_ticks: i64,
    pub low_ticks: i64,
    pub close_ticks: i64,
    pub buy_lots: i64,
    pub sell_lots: i64,
    pub trade_count: i64,
    pub notional_ticklots: FlowI128,
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
    pub trade_count: u32,
    pub side: i8,
    pub reserved: [i8; 3],
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
pub struct FlowProfileRow {
    pub price_ticks: i64,
    pub buy_lots: i64,
    pub sell_lots: i64,
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
    pub fn flow_take_bars(
        kernel: *mut FlowKernel,
        out: *mut FlowBar,
        capacity: usize,
        count_out: *mut usize,
    ) -> FlowStatus;
    pub fn flow_take_bubbles(
        kernel: *mut FlowKernel,
        out: *mut FlowBubble,
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
