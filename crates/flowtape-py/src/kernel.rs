//! The kernel object.

use std::sync::{Mutex, MutexGuard, PoisonError};

use flowtape_kernel::{OrderKind, Stop, i128_pair, sys};
use numpy::{PyArray1, PyReadonlyArray1};
use pyo3::exceptions::{PyIndexError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::batch::Batch;
use crate::errors::raise;
use crate::layout::Record;
use crate::orderflow::OrderFlowConfig;

type Bytes<'py> = Bound<'py, PyArray1<u8>>;

/// A deterministic engine for one instrument; see `kernel/include/flow_kernel.h`.
#[pyclass(frozen, module = "flowtape._kernel")]
pub struct Kernel {
    inner: Mutex<flowtape_kernel::Kernel>,
}

impl Kernel {
    fn lock(&self) -> MutexGuard<'_, flowtape_kernel::Kernel> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[pymethods]
impl Kernel {
    #[new]
    #[pyo3(signature = (
        *,
        orderflow,
        decide_trades_count,
        decide_grid_us,
        decide_on_fill,
        equity_grid_us,
        latency_us,
        maker_fee_ppm,
        taker_fee_ppm,
        atoms_per_ticklot,
        fee_unit_atoms,
        initial_cash_atoms,
        orders_max,
        bubbles_kept,
    ))]
    #[allow(clippy::too_many_arguments, clippy::fn_params_excessive_bools)]
    fn new(
        orderflow: &OrderFlowConfig,
        decide_trades_count: i64,
        decide_grid_us: i64,
        decide_on_fill: bool,
        equity_grid_us: i64,
        latency_us: i64,
        maker_fee_ppm: i64,
        taker_fee_ppm: i64,
        atoms_per_ticklot: i64,
        fee_unit_atoms: i64,
        initial_cash_atoms: i128,
        orders_max: u32,
        bubbles_kept: usize,
    ) -> PyResult<Self> {
        let config = sys::FlowConfig {
            abi_version: sys::FLOW_ABI_VERSION,
            orders_max,
            decide_trades_count,
            decide_grid_us,
            decide_on_fill: i64::from(decide_on_fill),
            equity_grid_us,
            latency_us,
            maker_fee_ppm,
            taker_fee_ppm,
            atoms_per_ticklot,
            fee_unit_atoms,
            initial_cash_atoms: i128_pair(initial_cash_atoms),
            orderflow: orderflow.inner,
        };
        let inner = flowtape_kernel::Kernel::new(&config, bubbles_kept).map_err(raise)?;
        Ok(Self {
            inner: Mutex::new(inner),
        })
    }

    fn run(&self, py: Python<'_>, batch: &Batch, start: usize) -> PyResult<(usize, bool)> {
        let run = |columns: &flowtape_kernel::Batch<'_>| {
            py.detach(|| self.lock().run(columns, start)).map_err(raise)
        };
        let (at, stop) = batch.with(py, run)??;
        Ok((at, stop == Stop::Decision))
    }

    fn clock(&self, ts_us: i64) -> PyResult<bool> {
        Ok(self.lock().clock(ts_us).map_err(raise)? == Stop::Decision)
    }

    fn gap(&self) -> PyResult<()> {
        self.lock().gap().map_err(raise)
    }

    fn end(&self) -> PyResult<()> {
        self.lock().end().map_err(raise)
    }

    fn place_market(&self, ts_us: i64, side: i8, qty_lots: i64) -> PyResult<u64> {
        self.lock()
            .place(ts_us, OrderKind::Market, side, qty_lots, 0)
            .map_err(raise)
    }

    fn place_limit(&self, ts_us: i64, side: i8, qty_lots: i64, price_ticks: i64) -> PyResult<u64> {
        self.lock()
            .place(ts_us, OrderKind::Limit, side, qty_lots, price_ticks)
            .map_err(raise)
    }

    fn cancel(&self, ts_us: i64, order_id: u64) -> PyResult<()> {
        self.lock().cancel(ts_us, order_id).map_err(raise)
    }

    fn anchor(&self, anchor: usize) -> PyResult<()> {
        self.lock().anchor(anchor).map_err(raise)
    }

    #[pyo3(signature = (series = 0))]
    fn take_bars<'py>(&self, py: Python<'py>, series: usize) -> PyResult<Bytes<'py>> {
        let mut kernel = self.lock();
        let bars = &mut series_of(&mut kernel, series)?.bars;
        Ok(hand_over(py, bars))
    }

    /// The footprints of closed bars and their rows.
    #[pyo3(signature = (series = 0))]
    fn take_footprints<'py>(
        &self,
        py: Python<'py>,
        series: usize,
    ) -> PyResult<(Bytes<'py>, Bytes<'py>)> {
        let mut kernel = self.lock();
        let one = series_of(&mut kernel, series)?;
        Ok((
            hand_over(py, &mut one.footprints),
            hand_over(py, &mut one.footprint_rows),
        ))
    }

    fn take_marks<'py>(&self, py: Python<'py>) -> Bytes<'py> {
        hand_over(py, &mut self.lock().outputs().marks)
    }

    /// The kept bubbles and how many were closed since the last take.
    fn take_bubbles<'py>(&self, py: Python<'py>) -> (Bytes<'py>, u64) {
        let mut kernel = self.lock();
        let count = std::mem::take(&mut kernel.outputs().bubble_count);
        (hand_over(py, &mut kernel.outputs().bubbles), count)
    }

    fn take_fills<'py>(&self, py: Python<'py>) -> Bytes<'py> {
        hand_over(py, &mut self.lock().outputs().fills)
    }

    fn take_order_events<'py>(&self, py: Python<'py>) -> Bytes<'py> {
        hand_over(py, &mut self.lock().outputs().order_events)
    }

    fn take_equity<'py>(&self, py: Python<'py>) -> Bytes<'py> {
        hand_over(py, &mut self.lock().outputs().equity)
    }

    fn snapshot<'py>(&self, py: Python<'py>) -> Bytes<'py> {
        PyArray1::from_slice(py, Record::bytes_of(&[self.lock().snapshot()]))
    }

    #[pyo3(signature = (series = 0))]
    fn bar<'py>(&self, py: Python<'py>, series: usize) -> PyResult<Bytes<'py>> {
        let bar = self.lock().bar(series).map_err(raise)?;
        Ok(PyArray1::from_slice(py, Record::bytes_of(&[bar])))
    }

    /// The footprint of the open bar so far, and its rows.
    #[pyo3(signature = (series = 0))]
    fn footprint<'py>(&self, py: Python<'py>, series: usize) -> PyResult<(Bytes<'py>, Bytes<'py>)> {
        let (footprint, rows) = self.lock().footprint(series).map_err(raise)?;
        Ok((
            PyArray1::from_slice(py, Record::bytes_of(&[footprint])),
            PyArray1::from_slice(py, Record::bytes_of(&rows)),
        ))
    }

    fn session<'py>(&self, py: Python<'py>) -> Bytes<'py> {
        PyArray1::from_slice(py, Record::bytes_of(&[self.lock().session()]))
    }

    fn orders<'py>(&self, py: Python<'py>) -> Bytes<'py> {
        PyArray1::from_slice(py, Record::bytes_of(&self.lock().orders()))
    }

    fn profile<'py>(&self, py: Python<'py>) -> Bytes<'py> {
        PyArray1::from_slice(py, Record::bytes_of(&self.lock().profile()))
    }

    fn save_state<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let mut kernel = self.lock();
        if !kernel.outputs().is_empty() {
            return Err(PyValueError::new_err(
                "take the outputs before saving the state",
            ));
        }
        Ok(PyBytes::new(py, &kernel.save_state()))
    }

    fn load_state(&self, state: &[u8]) -> PyResult<()> {
        self.lock().load_state(state).map_err(raise)
    }
}

fn series_of(
    kernel: &mut flowtape_kernel::Kernel,
    series: usize,
) -> PyResult<&mut flowtape_kernel::SeriesOutputs> {
    let places = &mut kernel.outputs().series;
    let count = places.len();
    places
        .get_mut(series)
        .ok_or_else(|| PyIndexError::new_err(format!("series {series} of {count}")))
}

/// Point of control and value area of profile rows, as one record of `records.VALUE_AREA`.
#[pyfunction]
#[allow(clippy::needless_pass_by_value)]
pub fn value_area<'py>(
    py: Python<'py>,
    price_ticks: PyReadonlyArray1<'py, i64>,
    buy_lots: PyReadonlyArray1<'py, i64>,
    sell_lots: PyReadonlyArray1<'py, i64>,
    area_ppm: i64,
) -> PyResult<Bytes<'py>> {
    let (price, buy, sell) = (
        price_ticks.as_slice()?,
        buy_lots.as_slice()?,
        sell_lots.as_slice()?,
    );
    if [buy.len(), sell.len()] != [price.len(); 2] {
        return Err(PyValueError::new_err("columns must be equally long"));
    }
    let rows: Vec<_> = (0..price.len())
        .map(|i| sys::FlowProfileRow {
            price_ticks: price[i],
            buy_lots: buy[i],
            sell_lots: sell[i],
        })
        .collect();
    let area = flowtape_kernel::value_area(&rows, area_ppm).map_err(raise)?;
    Ok(PyArray1::from_slice(py, Record::bytes_of(&[area])))
}

fn hand_over<'py, T: Record>(py: Python<'py>, records: &mut Vec<T>) -> Bytes<'py> {
    let bytes = PyArray1::from_slice(py, T::bytes_of(records));
    records.clear();
    bytes
}
