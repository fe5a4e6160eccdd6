//! Settings of order flow.

use flowtape_kernel::sys;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

/// What a kernel makes of prints; see `kernel/include/flow_orderflow.h`.
#[pyclass(frozen, module = "flowtape._kernel")]
pub struct OrderFlowConfig {
    pub inner: sys::FlowOrderflowConfig,
}

#[pymethods]
impl OrderFlowConfig {
    #[new]
    #[pyo3(signature = (
        *,
        series,
        footprint_rows_max = 256,
        value_area_ppm = 700_000,
        imbalance_ppm = 0,
        imbalance_min_lots = 0,
        imbalance_stack_count = 3,
        bubbles_on = false,
        bubble_window_us = 0,
        bubble_band_ticks = 0,
        large_window_count = 0,
        large_ppm = 990_000,
        large_min_count = 1,
        profile_rows_max = 0,
        vwap_on = false,
        anchor_on_utc_day = false,
        size_class_lots = Vec::new(),
        recent_trades_count = 0,
        recent_slot_us = 0,
        recent_slot_count = 1,
        sweep_level_count = 0,
        sweep_window_us = 0,
        absorption_lots = 0,
        absorption_window_us = 0,
        absorption_ticks = 1,
        exhaustion_count = 0,
        exhaustion_ticks = 1,
    ))]
    #[allow(
        clippy::too_many_arguments,
        clippy::fn_params_excessive_bools,
        clippy::needless_pass_by_value
    )]
    fn new(
        series: Vec<(i64, i64, i64)>,
        footprint_rows_max: i64,
        value_area_ppm: i64,
        imbalance_ppm: i64,
        imbalance_min_lots: i64,
        imbalance_stack_count: i64,
        bubbles_on: bool,
        bubble_window_us: i64,
        bubble_band_ticks: i64,
        large_window_count: i64,
        large_ppm: i64,
        large_min_count: i64,
        profile_rows_max: i64,
        vwap_on: bool,
        anchor_on_utc_day: bool,
        size_class_lots: Vec<i64>,
        recent_trades_count: i64,
        recent_slot_us: i64,
        recent_slot_count: i64,
        sweep_level_count: i64,
        sweep_window_us: i64,
        absorption_lots: i64,
        absorption_window_us: i64,
        absorption_ticks: i64,
        exhaustion_count: i64,
        exhaustion_ticks: i64,
    ) -> PyResult<Self> {
        let mut places = [sys::FlowSeriesConfig::default(); sys::FLOW_SERIES_MAX];
        let mut classes = [0; sys::FLOW_SIZE_CLASSES_MAX];
        if series.len() > places.len() || size_class_lots.len() > classes.len() {
            return Err(PyValueError::new_err(format!(
                "at most {} series and {} size classes, were {} and {}",
                places.len(),
                classes.len(),
                series.len(),
                size_class_lots.len()
            )));
        }
        for (place, (kind, threshold, row_ticks)) in places.iter_mut().zip(&series) {
            *place = sys::FlowSeriesConfig {
                kind: *kind,
                threshold: *threshold,
                row_ticks: *row_ticks,
            };
        }
        classes[..size_class_lots.len()].copy_from_slice(&size_class_lots);
        let count = |length: usize| i64::try_from(length).unwrap_or(i64::MAX);
        Ok(Self {
            inner: sys::FlowOrderflowConfig {
                series_count: count(series.len()),
                series: places,
                footprint_rows_max,
                value_area_ppm,
                imbalance_ppm,
                imbalance_min_lots,
                imbalance_stack_count,
                bubbles_on: i64::from(bubbles_on),
                bubble_window_us,
                bubble_band_ticks,
                large_window_count,
                large_ppm,
                large_min_count,
                profile_rows_max,
                vwap_on: i64::from(vwap_on),
                anchor_on_utc_day: i64::from(anchor_on_utc_day),
                size_class_count: count(size_class_lots.len()),
                size_class_lots: classes,
                recent_trades_count,
                recent_slot_us,
                recent_slot_count,
                sweep_level_count,
                sweep_window_us,
                absorption_lots,
                absorption_window_us,
                absorption_ticks,
                exhaustion_count,
                exhaustion_ticks,
            },
        })
    }
}
