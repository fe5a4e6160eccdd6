//! Bindings to `kernel/include/flow_execution.h`, which documents every item.

use crate::FlowI128;

pub const FLOW_LANES: usize = 3;
pub const FLOW_FEE_TIERS: usize = 10;
pub const FLOW_LATENCY_POINTS: usize = 64;

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowLane {
    pub queue_ppm: i64,
    pub participation_ppm: i64,
    pub slip_ticks: i64,
    pub own_side_only: i64,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowFeeTier {
    pub from_atoms: FlowI128,
    pub maker_ppb: i64,
    pub taker_ppb: i64,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowVenueRules {
    pub price_step_ticks: i64,
    pub price_min_ticks: i64,
    pub price_max_ticks: i64,
    pub qty_step_lots: i64,
    pub qty_min_lots: i64,
    pub qty_max_lots: i64,
    pub market_qty_max_lots: i64,
    pub notional_min_ticklots: i64,
    pub price_up_ppm: i64,
    pub price_down_ppm: i64,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowRequest {
    pub client_id: u64,
    pub parent_id: u64,
    pub sibling_id: u64,
    pub qty_lots: i64,
    pub price_ticks: i64,
    pub trigger_ticks: i64,
    pub trail: i64,
    pub display_lots: i64,
    pub expire_us: i64,
    pub market: u32,
    pub side: i8,
    pub kind: u8,
    pub time_in_force: u8,
    pub flags: u8,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowOrderLane {
    pub remaining_lots: i64,
    pub filled_lots: i64,
    pub queue_lots: i64,
    pub shown_lots: i64,
    pub filled_ticklots: FlowI128,
    pub done: i64,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowOrder {
    pub order_id: u64,
    pub placed_input: u64,
    pub live_input: u64,
    pub rank: u64,
    pub active_us: i64,
    pub cancel_us: i64,
    pub amend_us: i64,
    pub amend_qty_lots: i64,
    pub amend_price_ticks: i64,
    pub amend_trigger_ticks: i64,
    pub best_ticks: i64,
    pub first_ticks: i64,
    pub first_us: i64,
    pub request: FlowRequest,
    pub lanes: [FlowOrderLane; FLOW_LANES],
    pub stage: i64,
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
    pub market: u32,
    pub side: i8,
    pub role: i8,
    pub lane: i8,
    pub reserved: i8,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowOrderEvent {
    pub input: u64,
    pub ts_us: i64,
    pub order_id: u64,
    pub print_ticks: i64,
    pub print_lots: i64,
    pub remaining_lots: i64,
    pub queue_lots: i64,
    pub detail: i64,
    pub change: i8,
    pub reason: i8,
    pub lane: i8,
    pub reserved: [i8; 5],
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowEquity {
    pub input: u64,
    pub ts_us: i64,
    pub market: i64,
    pub position_lots: i64,
    pub mark_ticks: i64,
    pub equity_atoms: FlowI128,
    pub optimistic_atoms: FlowI128,
    pub pessimistic_atoms: FlowI128,
    pub realized_atoms: FlowI128,
    pub fees_atoms: FlowI128,
    pub funding_atoms: FlowI128,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowAccount {
    pub cash_atoms: FlowI128,
    pub realized_atoms: FlowI128,
    pub unrealized_atoms: FlowI128,
    pub fees_atoms: FlowI128,
    pub funding_atoms: FlowI128,
    pub equity_atoms: FlowI128,
    pub free_atoms: FlowI128,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowPosition {
    pub position_lots: i64,
    pub mark_ticks: i64,
    pub cost_atoms: FlowI128,
    pub margin_atoms: FlowI128,
}
