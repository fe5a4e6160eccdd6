//! Bindings to `kernel/include/flow_orderflow.h`, which documents every item.

use crate::FlowI128;

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowOrderflowConfig {
    pub bar_us: i64,
    pub bubble_window_us: i64,
    pub bubble_band_ticks: i64,
    pub profile_rows_max: i64,
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
pub struct FlowProfileRow {
    pub price_ticks: i64,
    pub buy_lots: i64,
    pub sell_lots: i64,
}
