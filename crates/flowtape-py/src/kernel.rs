//! The kernel object.

use std::sync::{Mutex, MutexGuard, PoisonError};

use flowtape_kernel::{OrderKind, Stop, i128_pair, sys};
use numpy::PyArray1;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::batch::Batch;
use crate::errors::raise;
use crate::layout::Record;

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
        bar_us,
        bubble_window_us,
        bubble_band_ticks,
        profile_rows_max,
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
        bar_us: i64,
        bubble_window_us: i64,
        bubble_band_ticks: i64,
        profile_rows_max: i64,
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
            orderflow: sys::FlowOrderflowConfig {
                bar_us,
                bubble_window_us,
                bubble_band_ticks,
                profile_rows_max,
            },
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

    fn take_bars<'py>(&self, py: Python<'py>) -> Bytes<'py> {
        hand_over(py, &mut self.lock().outputs().bars)
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

fn hand_over<'py, T: Record>(py: Python<'py>, records: &mut Vec<T>) -> Bytes<'py> {
    let bytes = PyArray1::from_slice(py, T::bytes_of(records));
    records.clear();
    bytes
}
