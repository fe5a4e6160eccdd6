//! Trading a whole tape from arrays: decision points, targets, orders, and sweeps of targets.

use std::mem::size_of;
use std::sync::{Mutex, MutexGuard, PoisonError};

use flowtape_kernel::signals::{self, Placed, Stopped};
use flowtape_kernel::sweep::{self, Lots, NotRun, Targets};
use flowtape_kernel::sys;
use numpy::{
    IntoPyArray, PyArray1, PyArrayMethods, PyReadonlyArray1, PyReadonlyArray2, PyReadwriteArray2,
    PyUntypedArrayMethods,
};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;

use crate::batch::Batch;
use crate::errors::raise;
use crate::kernel::{Kernel, records_of};
use crate::layout::Record;

type Bytes<'py> = Bound<'py, PyArray1<u8>>;
type Array<'py> = Bound<'py, PyArray1<i64>>;

/// Status, its text, decision point and place of an order that was refused.
type Refusal = (&'static str, &'static str, usize, usize);

const _: () = assert!(
    size_of::<Placed>() == 24 + size_of::<sys::FlowRequest>(),
    "no padding"
);
// SAFETY: the widths of the fields add up to the size, so there is no padding.
unsafe impl Record for Placed {}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The decision points of a session, batch after batch; 0 turns a rule off.
#[pyclass(frozen, module = "flowtape._kernel")]
pub struct Decisions {
    inner: Mutex<signals::Decisions>,
}

#[pymethods]
impl Decisions {
    #[new]
    fn new(trades_count: i64, grid_us: i64) -> Self {
        Self {
            inner: Mutex::new(signals::Decisions::new(trades_count, grid_us)),
        }
    }

    /// The rows of further trades that make decision points, and the stream time at each.
    #[allow(clippy::needless_pass_by_value)]
    fn find<'py>(
        &self,
        py: Python<'py>,
        ts_us: PyReadonlyArray1<'_, i64>,
    ) -> PyResult<(Array<'py>, Array<'py>)> {
        let times = ts_us.as_slice()?;
        let (rows, stamps) = py
            .detach(|| {
                let (mut rows, mut stamps) = (Vec::new(), Vec::new());
                held(&self.inner).find(times, |found| {
                    rows.extend(
                        found
                            .iter()
                            .map(|decision| i64::try_from(decision.row).unwrap_or(i64::MAX)),
                    );
                    stamps.extend(found.iter().map(|decision| decision.ts_us));
                })?;
                Ok((rows, stamps))
            })
            .map_err(raise)?;
        Ok((rows.into_pyarray(py), stamps.into_pyarray(py)))
    }

    /// How many decision points further trades make.
    #[allow(clippy::needless_pass_by_value)]
    fn count(&self, py: Python<'_>, ts_us: PyReadonlyArray1<'_, i64>) -> PyResult<usize> {
        let times = ts_us.as_slice()?;
        py.detach(|| held(&self.inner).count(times)).map_err(raise)
    }
}

fn refusal(stopped: std::result::Result<(), Stopped>) -> PyResult<Option<Refusal>> {
    match stopped {
        Ok(()) => Ok(None),
        Err(Stopped::Trades(error)) => Err(raise(error)),
        Err(Stopped::Order {
            decision,
            order,
            error,
        }) => Ok(Some((error.name(), error.text(), decision, order))),
        Err(missing @ Stopped::NoTarget(_)) => Err(PyValueError::new_err(missing.to_string())),
    }
}

/// Target positions, an int64 for each decision point, that a kernel follows batch after batch.
#[pyclass(frozen, module = "flowtape._kernel")]
pub struct TargetRun {
    targets: Py<PyArray1<i64>>,
    inner: Mutex<signals::TargetRun>,
}

#[pymethods]
impl TargetRun {
    #[new]
    #[allow(clippy::needless_pass_by_value)]
    fn new(targets: PyReadonlyArray1<'_, i64>) -> PyResult<Self> {
        targets.as_slice()?;
        Ok(Self {
            targets: (*targets).clone().unbind(),
            inner: Mutex::default(),
        })
    }

    /// Applies a batch; an order that is refused stops the run for good and is told.
    fn run(&self, py: Python<'_>, kernel: &Kernel, batch: &Batch) -> PyResult<Option<Refusal>> {
        let targets = self.targets.bind(py).try_readonly()?;
        let targets = targets.as_slice()?;
        let run = |columns: &flowtape_kernel::Batch<'_>| {
            py.detach(|| {
                let mut so_far = held(&self.inner);
                kernel.lock().run_targets(columns, targets, &mut so_far)
            })
        };
        refusal(batch.with(py, run)?)
    }

    fn decision_count(&self) -> usize {
        held(&self.inner).decision_count()
    }

    /// The orders placed since the last take, as bytes of `records.COMMAND`.
    fn take_placed<'py>(&self, py: Python<'py>) -> Bytes<'py> {
        hand_over(py, held(&self.inner).placed())
    }
}

/// Orders by decision point, which a kernel places batch after batch.
#[pyclass(frozen, module = "flowtape._kernel")]
pub struct OrderRun {
    orders: Vec<sys::FlowRequest>,
    decisions: Vec<i64>,
    inner: Mutex<signals::OrderRun>,
}

#[pymethods]
impl OrderRun {
    /// `orders` are bytes of `records.REQUEST`; `decisions` has a decision point for each, never
    /// falling.
    #[new]
    #[allow(clippy::needless_pass_by_value)]
    fn new(
        orders: PyReadonlyArray1<'_, u8>,
        decisions: PyReadonlyArray1<'_, i64>,
    ) -> PyResult<Self> {
        let orders: Vec<sys::FlowRequest> = records_of(&orders, "REQUEST")?;
        let decisions = decisions.as_slice()?.to_vec();
        if decisions.len() != orders.len() {
            return Err(PyValueError::new_err(format!(
                "there are {} orders but {} decision points for them",
                orders.len(),
                decisions.len()
            )));
        }
        if decisions.first().is_some_and(|first| *first < 0) || !decisions.is_sorted() {
            return Err(PyValueError::new_err(
                "decision points count from 0 and must not fall",
            ));
        }
        Ok(Self {
            orders,
            decisions,
            inner: Mutex::default(),
        })
    }

    /// Applies a batch; an order that is refused stops the run for good and is told.
    fn run(&self, py: Python<'_>, kernel: &Kernel, batch: &Batch) -> PyResult<Option<Refusal>> {
        let run = |columns: &flowtape_kernel::Batch<'_>| {
            py.detach(|| {
                let mut so_far = held(&self.inner);
                let mut kernel = kernel.lock();
                kernel.run_orders(columns, &self.orders, &self.decisions, &mut so_far)
            })
        };
        refusal(batch.with(py, run)?)
    }

    fn decision_count(&self) -> usize {
        held(&self.inner).decision_count()
    }

    /// The orders placed since the last take, as bytes of `records.COMMAND`.
    fn take_placed<'py>(&self, py: Python<'py>) -> Bytes<'py> {
        hand_over(py, held(&self.inner).placed())
    }
}

fn hand_over<'py>(py: Python<'py>, placed: &mut Vec<Placed>) -> Bytes<'py> {
    let bytes = PyArray1::from_slice(py, Record::bytes_of(placed));
    placed.clear();
    bytes
}

/// Accounts that follow rows of target positions; see `kernel/include/flow_sweep.h`.
#[pyclass(frozen, module = "flowtape._kernel")]
pub struct Sweep {
    inner: Mutex<sweep::Sweep>,
}

#[pymethods]
impl Sweep {
    /// `config` and `market` are the bytes of one record of `records.CONFIG` and `records.MARKET`.
    #[new]
    #[allow(clippy::needless_pass_by_value)]
    fn new(
        config: PyReadonlyArray1<'_, u8>,
        market: PyReadonlyArray1<'_, u8>,
        set_count: usize,
    ) -> PyResult<Self> {
        let configs: Vec<sys::FlowConfig> = records_of(&config, "CONFIG")?;
        let markets: Vec<sys::FlowMarket> = records_of(&market, "MARKET")?;
        let ([config], [market]) = (&configs[..], &markets[..]) else {
            return Err(PyValueError::new_err(
                "one record of CONFIG and one of MARKET are wanted",
            ));
        };
        let inner = sweep::Sweep::new(config, market, set_count).map_err(raise)?;
        Ok(Self {
            inner: Mutex::new(inner),
        })
    }

    /// Applies a batch. `targets` has a row of int32 or int64 for each set, C-contiguous, whose
    /// first column is decision point `first`; `equity` is int64 with two words for each target.
    #[pyo3(signature = (batch, targets, first=0, equity=None))]
    fn run(
        &self,
        py: Python<'_>,
        batch: &Batch,
        targets: &Bound<'_, PyAny>,
        first: usize,
        equity: Option<PyReadwriteArray2<'_, i64>>,
    ) -> PyResult<()> {
        let mut equity = equity;
        if equity
            .as_ref()
            .is_some_and(|array| !array.is_c_contiguous())
        {
            return Err(PyValueError::new_err("equity must be C-contiguous"));
        }
        let equity = equity
            .as_mut()
            .map(|array| array.as_slice_mut())
            .transpose()?;
        if let Ok(rows) = targets.extract::<PyReadonlyArray2<'_, i32>>() {
            let lots = Lots::I32(in_rows(&rows)?);
            let count = rows.shape()[1];
            self.apply(py, batch, &Targets { lots, first, count }, equity)
        } else if let Ok(rows) = targets.extract::<PyReadonlyArray2<'_, i64>>() {
            let lots = Lots::I64(in_rows(&rows)?);
            let count = rows.shape()[1];
            self.apply(py, batch, &Targets { lots, first, count }, equity)
        } else {
            Err(PyTypeError::new_err(
                "targets must be a two-dimensional array of int32 or int64",
            ))
        }
    }

    fn decision_count(&self) -> u64 {
        held(&self.inner).decision_count()
    }

    /// Bytes of a record of `records.SWEEP_RESULT` for each set.
    fn results<'py>(&self, py: Python<'py>) -> Bytes<'py> {
        PyArray1::from_slice(py, Record::bytes_of(&held(&self.inner).results()))
    }
}

impl Sweep {
    fn apply(
        &self,
        py: Python<'_>,
        batch: &Batch,
        targets: &Targets<'_>,
        equity: Option<&mut [i64]>,
    ) -> PyResult<()> {
        let pairs = equity.map(pairs_of).transpose()?;
        let run = |columns: &flowtape_kernel::Batch<'_>| {
            py.detach(|| held(&self.inner).run(columns, targets, pairs))
        };
        batch.with(py, run)?.map_err(|bad| match bad {
            NotRun::Shape => PyValueError::new_err(bad.to_string()),
            NotRun::Refused(error) => raise(error),
        })
    }
}

/// The elements of an array that lies row after row.
fn in_rows<'a, T: numpy::Element>(array: &'a PyReadonlyArray2<'_, T>) -> PyResult<&'a [T]> {
    if !array.is_c_contiguous() {
        return Err(PyValueError::new_err("targets must be C-contiguous"));
    }
    Ok(array.as_slice()?)
}

/// The 128-bit numbers that pairs of words are.
fn pairs_of(words: &mut [i64]) -> PyResult<&mut [sys::FlowI128]> {
    const { assert!(size_of::<sys::FlowI128>() == 16 && align_of::<sys::FlowI128>() == 8) };
    if words.len() % 2 != 0 {
        return Err(PyValueError::new_err(
            "equity takes two words for each target",
        ));
    }
    // SAFETY: a pair is two words without padding, and any words make one.
    Ok(unsafe { std::slice::from_raw_parts_mut(words.as_mut_ptr().cast(), words.len() / 2) })
}
