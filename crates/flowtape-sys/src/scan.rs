//! Bindings to `kernel/include/flow_scan.h`, which documents every item.

use core::ffi::c_int;

use crate::{FlowI128, FlowStatus};

pub const FLOW_SCAN_BLOCK_ROWS: usize = 512;

/// `flow_cpu` as it crosses the border.
pub type FlowCpu = c_int;
pub const FLOW_CPU_PORTABLE: FlowCpu = 0;
pub const FLOW_CPU_AVX2: FlowCpu = 1;

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct FlowBounds {
    pub low_ticks: i64,
    pub high_ticks: i64,
    pub until_us: i64,
}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct FlowExtremes {
    pub low_ticks: *const i64,
    pub high_ticks: *const i64,
    pub latest_us: *const i64,
    pub offset_rows: usize,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowTotals {
    pub latest_us: i64,
    pub low_ticks: i64,
    pub high_ticks: i64,
    pub buy_lots: i64,
    pub sell_lots: i64,
    pub notional_ticklots: FlowI128,
}

unsafe extern "C" {
    pub fn flow_cpu_here() -> FlowCpu;
    pub fn flow_first_touch(
        cpu: FlowCpu,
        price_ticks: *const i64,
        count: usize,
        low_ticks: i64,
        high_ticks: i64,
    ) -> usize;
    pub fn flow_first_touch_until(
        cpu: FlowCpu,
        ts_us: *const i64,
        price_ticks: *const i64,
        count: usize,
        bounds: *const FlowBounds,
    ) -> usize;
    pub fn flow_block_count(offset_rows: usize, count: usize) -> usize;
    pub fn flow_block_extremes(
        cpu: FlowCpu,
        ts_us: *const i64,
        price_ticks: *const i64,
        count: usize,
        low_ticks_out: *mut i64,
        high_ticks_out: *mut i64,
        latest_us_out: *mut i64,
    );
    pub fn flow_first_touch_blocks(
        cpu: FlowCpu,
        extremes: *const FlowExtremes,
        ts_us: *const i64,
        price_ticks: *const i64,
        start: usize,
        count: usize,
        bounds: *const FlowBounds,
    ) -> usize;
    pub fn flow_sums(
        cpu: FlowCpu,
        ts_us: *const i64,
        price_ticks: *const i64,
        qty_lots: *const i64,
        side: *const i8,
        count: usize,
        out: *mut FlowTotals,
    ) -> FlowStatus;
}
