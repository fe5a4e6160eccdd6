//! Bindings to `kernel/include/flow_orderflow.h`, which documents every item.

use crate::FlowI128;

pub const FLOW_SERIES_MAX: usize = 8;
pub const FLOW_SIZE_CLASSES_MAX: usize = 8;
pub const FLOW_ANCHORS_MAX: usize = 4;

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
    pub sums_on: i64,
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
