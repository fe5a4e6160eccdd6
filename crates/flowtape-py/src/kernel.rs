//! The kernel object.

use std::sync::{Mutex, MutexGuard, PoisonError};

use flowtape_kernel::{MarketOutputs, SeriesOutputs, Stop, sys};
use numpy::{PyArray1, PyReadonlyArray1};
use pyo3::exceptions::{PyIndexError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::batch::Batch;
use crate::errors::raise;
use crate::layout::Record;

type Bytes<'py> = Bound<'py, PyArray1<u8>>;

/// A deterministic engine for one account; see `kernel/include/flow_kernel.h`.
#[pyclass(frozen, module = "flowtape._kernel")]
pub struct Kernel {
    inner: Mutex<flowtape_kernel::Kernel>,
}

impl Kernel {
    pub(crate) fn lock(&self) -> MutexGuard<'_, flowtape_kernel::Kernel> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[pymethods]
impl Kernel {
    /// `config` and `markets` are the bytes of `records.CONFIG` and `records.MARKET`.
    #[new]
    #[allow(clippy::needless_pass_by_value)]
    fn new(
        config: PyReadonlyArray1<'_, u8>,
        markets: PyReadonlyArray1<'_, u8>,
        bubbles_kept: usize,
    ) -> PyResult<Self> {
        let configs: Vec<sys::FlowConfig> = records_of(&config, "CONFIG")?;
        let [config] = configs[..] else {
            return Err(PyValueError::new_err("one record of CONFIG is wanted"));
        };
        let markets: Vec<sys::FlowMarket> = records_of(&markets, "MARKET")?;
        let inner = flowtape_kernel::Kernel::new(&config, &markets, bubbles_kept).map_err(raise)?;
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

    /// Applies a whole batch, whatever decision points there are.
    fn run_through(&self, py: Python<'_>, batch: &Batch) -> PyResult<()> {
        let run = |columns: &flowtape_kernel::Batch<'_>| {
            py.detach(|| {
                let (mut kernel, mut at) = (self.lock(), 0);
                while at < columns.len() {
                    (at, _) = kernel.run(columns, at)?;
                }
                Ok(())
            })
        };
        batch.with(py, run)?.map_err(raise)
    }

    fn clock(&self, ts_us: i64) -> PyResult<bool> {
        Ok(self.lock().clock(ts_us).map_err(raise)? == Stop::Decision)
    }

    #[pyo3(signature = (market=0))]
    fn gap(&self, market: u32) -> PyResult<()> {
        self.lock().gap(market).map_err(raise)
    }

    fn mark(&self, market: u32, ts_us: i64, mark_ticks: i64) -> PyResult<bool> {
        let stop = self.lock().mark(market, ts_us, mark_ticks).map_err(raise)?;
        Ok(stop == Stop::Decision)
    }

    fn funding(&self, market: u32, ts_us: i64, rate_ppb: i64) -> PyResult<bool> {
        let stop = self.lock().funding(market, ts_us, rate_ppb);
        Ok(stop.map_err(raise)? == Stop::Decision)
    }

    fn set_rule(&self, market: u32, ts_us: i64, rule: i64, value: i64) -> PyResult<bool> {
        let stop = self.lock().set_rule(market, ts_us, rule, value);
        Ok(stop.map_err(raise)? == Stop::Decision)
    }

    fn end(&self) -> PyResult<()> {
        self.lock().end().map_err(raise)
    }

    /// Places the orders of bytes of `records.REQUEST`, all or none, and returns their ids.
    #[allow(clippy::needless_pass_by_value)]
    fn place(&self, ts_us: i64, requests: PyReadonlyArray1<'_, u8>) -> PyResult<Vec<u64>> {
        let requests: Vec<sys::FlowRequest> = records_of(&requests, "REQUEST")?;
        self.lock().place(ts_us, &requests).map_err(raise)
    }

    fn cancel(&self, ts_us: i64, order_id: u64) -> PyResult<()> {
        self.lock().cancel(ts_us, order_id).map_err(raise)
    }

    fn cancel_all(&self, ts_us: i64, market: i64) -> PyResult<usize> {
        self.lock().cancel_all(ts_us, market).map_err(raise)
    }

    #[pyo3(signature = (ts_us, order_id, qty_lots=0, price_ticks=0, trigger_ticks=0))]
    fn amend(
        &self,
        ts_us: i64,
        order_id: u64,
        qty_lots: i64,
        price_ticks: i64,
        trigger_ticks: i64,
    ) -> PyResult<()> {
        let mut kernel = self.lock();
        kernel
            .amend(ts_us, order_id, qty_lots, price_ticks, trigger_ticks)
            .map_err(raise)
    }

    /// Whether fills of own orders wait to be taken, and how many bubbles closed since the last take.
    #[pyo3(signature = (market=0))]
    fn waiting(&self, market: usize) -> PyResult<(bool, u64)> {
        let mut kernel = self.lock();
        let bubbles = outputs_of(&mut kernel, market)?.bubble_count;
        Ok((!kernel.outputs().fills.is_empty(), bubbles))
    }

    #[pyo3(signature = (anchor, market=0))]
    fn anchor(&self, anchor: usize, market: u32) -> PyResult<()> {
        self.lock().anchor(market, anchor).map_err(raise)
    }

    #[pyo3(signature = (series=0, market=0))]
    fn take_bars<'py>(
        &self,
        py: Python<'py>,
        series: usize,
        market: usize,
    ) -> PyResult<Bytes<'py>> {
        let mut kernel = self.lock();
        Ok(hand_over(
            py,
            &mut series_of(&mut kernel, market, series)?.bars,
        ))
    }

    /// The footprints of closed bars and their rows.
    #[pyo3(signature = (series=0, market=0))]
    fn take_footprints<'py>(
        &self,
        py: Python<'py>,
        series: usize,
        market: usize,
    ) -> PyResult<(Bytes<'py>, Bytes<'py>)> {
        let mut kernel = self.lock();
        let one = series_of(&mut kernel, market, series)?;
        Ok((
            hand_over(py, &mut one.footprints),
            hand_over(py, &mut one.footprint_rows),
        ))
    }

    #[pyo3(signature = (market=0))]
    fn take_marks<'py>(&self, py: Python<'py>, market: usize) -> PyResult<Bytes<'py>> {
        let mut kernel = self.lock();
        Ok(hand_over(py, &mut outputs_of(&mut kernel, market)?.marks))
    }

    /// The kept bubbles and how many were closed since the last take.
    #[pyo3(signature = (market=0))]
    fn take_bubbles<'py>(&self, py: Python<'py>, market: usize) -> PyResult<(Bytes<'py>, u64)> {
        let mut kernel = self.lock();
        let outputs = outputs_of(&mut kernel, market)?;
        let count = std::mem::take(&mut outputs.bubble_count);
        Ok((hand_over(py, &mut outputs.bubbles), count))
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

    #[pyo3(signature = (market=0))]
    fn snapshot<'py>(&self, py: Python<'py>, market: u32) -> PyResult<Bytes<'py>> {
        let snapshot = self.lock().snapshot(market).map_err(raise)?;
        Ok(PyArray1::from_slice(py, Record::bytes_of(&[snapshot])))
    }

    /// Stream time, last price, bid, ask, bought and sold lots, own position: what is asked most.
    #[pyo3(signature = (market=0))]
    fn glance(&self, market: u32) -> PyResult<(i64, i64, i64, i64, i64, i64, i64)> {
        let snap = self.lock().snapshot(market).map_err(raise)?;
        Ok((
            snap.stream_us,
            snap.last_ticks,
            snap.bid_ticks,
            snap.ask_ticks,
            snap.buy_lots,
            snap.sell_lots,
            snap.position_lots,
        ))
    }

    #[pyo3(signature = (lane=1))]
    fn account<'py>(&self, py: Python<'py>, lane: i64) -> PyResult<Bytes<'py>> {
        let account = self.lock().account(lane).map_err(raise)?;
        Ok(PyArray1::from_slice(py, Record::bytes_of(&[account])))
    }

    #[pyo3(signature = (market=0, lane=1))]
    fn position<'py>(&self, py: Python<'py>, market: u32, lane: i64) -> PyResult<Bytes<'py>> {
        let position = self.lock().position(market, lane).map_err(raise)?;
        Ok(PyArray1::from_slice(py, Record::bytes_of(&[position])))
    }

    #[pyo3(signature = (market=0))]
    fn rules<'py>(&self, py: Python<'py>, market: u32) -> PyResult<Bytes<'py>> {
        let rules = self.lock().rules(market).map_err(raise)?;
        Ok(PyArray1::from_slice(py, Record::bytes_of(&[rules])))
    }

    #[pyo3(signature = (series=0, market=0))]
    fn bar<'py>(&self, py: Python<'py>, series: usize, market: u32) -> PyResult<Bytes<'py>> {
        let bar = self.lock().bar(market, series).map_err(raise)?;
        Ok(PyArray1::from_slice(py, Record::bytes_of(&[bar])))
    }

    /// The footprint of the open bar so far, and its rows.
    #[pyo3(signature = (series=0, market=0))]
    fn footprint<'py>(
        &self,
        py: Python<'py>,
        series: usize,
        market: u32,
    ) -> PyResult<(Bytes<'py>, Bytes<'py>)> {
        let (footprint, rows) = self.lock().footprint(market, series).map_err(raise)?;
        Ok((
            PyArray1::from_slice(py, Record::bytes_of(&[footprint])),
            PyArray1::from_slice(py, Record::bytes_of(&rows)),
        ))
    }

    #[pyo3(signature = (market=0))]
    fn session<'py>(&self, py: Python<'py>, market: u32) -> PyResult<Bytes<'py>> {
        let session = self.lock().session(market).map_err(raise)?;
        Ok(PyArray1::from_slice(py, Record::bytes_of(&[session])))
    }

    fn orders<'py>(&self, py: Python<'py>) -> Bytes<'py> {
        PyArray1::from_slice(py, Record::bytes_of(&self.lock().orders()))
    }

    #[pyo3(signature = (market=0))]
    fn profile<'py>(&self, py: Python<'py>, market: u32) -> PyResult<Bytes<'py>> {
        let rows = self.lock().profile(market).map_err(raise)?;
        Ok(PyArray1::from_slice(py, Record::bytes_of(&rows)))
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

pub(crate) fn records_of<T: Record>(
    bytes: &PyReadonlyArray1<'_, u8>,
    name: &str,
) -> PyResult<Vec<T>> {
    T::of_bytes(bytes.as_slice()?)
        .ok_or_else(|| PyValueError::new_err(format!("the bytes are no records of {name}")))
}

fn outputs_of(kernel: &mut flowtape_kernel::Kernel, market: usize) -> PyResult<&mut MarketOutputs> {
    let markets = &mut kernel.outputs().markets;
    markets
        .get_mut(market)
        .ok_or_else(|| PyIndexError::new_err("no instrument has this number"))
}

fn series_of(
    kernel: &mut flowtape_kernel::Kernel,
    market: usize,
    series: usize,
) -> PyResult<&mut SeriesOutputs> {
    let places = &mut outputs_of(kernel, market)?.series;
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
