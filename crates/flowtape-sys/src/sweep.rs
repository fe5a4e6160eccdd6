//! Bindings to `kernel/include/flow_sweep.h`, which documents every item.

use crate::{FlowBatch, FlowConfig, FlowI128, FlowMarket, FlowStatus};

#[repr(C)]
pub struct FlowSweep {
    _opaque: [u8; 0],
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowDecisions {
    pub decide_trades_count: i64,
    pub decide_grid_us: i64,
    pub trade_count: u64,
    pub stream_us: i64,
    pub next_us: i64,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowDecision {
    pub row: u64,
    pub ts_us: i64,
}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct FlowTargets {
    pub lots_i32: *const i32,
    pub lots_i64: *const i64,
    pub stride: usize,
    pub first: usize,
    pub count: usize,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowSweepResult {
    pub cash_atoms: FlowI128,
    pub realized_atoms: FlowI128,
    pub unrealized_atoms: FlowI128,
    pub fees_atoms: FlowI128,
    pub equity_atoms: FlowI128,
    pub cost_atoms: FlowI128,
    pub notional_atoms: FlowI128,
    pub equity_min_atoms: FlowI128,
    pub equity_max_atoms: FlowI128,
    pub drawdown_max_atoms: FlowI128,
    pub position_lots: i64,
    pub order_count: u64,
    pub open_order_count: u64,
    pub fill_count: u64,
    pub refused_status: i64,
    pub refused_decision: i64,
}

unsafe extern "C" {
    pub fn flow_find_decisions(
        at: *mut FlowDecisions,
        ts_us: *const i64,
        row_count: usize,
        out: *mut FlowDecision,
        capacity: usize,
        rows_out: *mut usize,
        found_out: *mut usize,
    ) -> FlowStatus;
    pub fn flow_sweep_create(
        config: *const FlowConfig,
        market: *const FlowMarket,
        set_count: usize,
        sweep_out: *mut *mut FlowSweep,
    ) -> FlowStatus;
    pub fn flow_sweep_destroy(sweep: *mut FlowSweep);
    pub fn flow_sweep_run(
        sweep: *mut FlowSweep,
        batch: *const FlowBatch,
        targets: *const FlowTargets,
        equity_out: *mut FlowI128,
    ) -> FlowStatus;
    pub fn flow_sweep_decision_count(sweep: *const FlowSweep, count_out: *mut u64) -> FlowStatus;
    pub fn flow_sweep_get_results(
        sweep: *const FlowSweep,
        out: *mut FlowSweepResult,
        capacity: usize,
    ) -> FlowStatus;
}
