//! Passes over whole columns: searches, block extremes and sums.

use flowtape_kernel::scan::{BadColumns, Bounds, Extremes, Rows};
use numpy::{IntoPyArray, PyArray1, PyReadonlyArray1};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;

use crate::errors::raise;

type Column<'py> = PyReadonlyArray1<'py, i64>;
type Array<'py> = Bound<'py, PyArray1<i64>>;

fn refuse(bad: BadColumns) -> PyErr {
    match bad {
        BadColumns::Refused(error) => raise(error),
        BadColumns::Lengths | BadColumns::Extremes => PyValueError::new_err(bad.to_string()),
    }
}

/// Return the first row from `start` on whose price lies outside [low, high], or the row count.
///
/// `extremes` is (lowest price, highest price, latest time) of each block of `SCAN_BLOCK_ROWS` rows
/// and the number of rows of the first block that lie before row 0. With `ts_us` and `until_us` a
/// row whose time has reached `until_us` counts as well.
#[pyfunction]
#[pyo3(signature = (price_ticks, low, high, start=0, extremes=None, *, ts_us=None, until_us=None))]
#[allow(clippy::needless_pass_by_value, clippy::too_many_arguments)]
pub fn first_touch(
    py: Python<'_>,
    price_ticks: Column<'_>,
    low: i64,
    high: i64,
    start: usize,
    extremes: Option<(Column<'_>, Column<'_>, Column<'_>, usize)>,
    ts_us: Option<Column<'_>>,
    until_us: Option<i64>,
) -> PyResult<usize> {
    if ts_us.is_some() != until_us.is_some() {
        return Err(PyTypeError::new_err("ts_us and until_us go together"));
    }
    let rows = Rows {
        price_ticks: price_ticks.as_slice()?,
        ts_us: ts_us.as_ref().map(|column| column.as_slice()).transpose()?,
    };
    let extremes = match &extremes {
        Some((low, high, latest, offset_rows)) => Some(Extremes {
            low_ticks: low.as_slice()?,
            high_ticks: high.as_slice()?,
            latest_us: latest.as_slice()?,
            offset_rows: *offset_rows,
        }),
        None => None,
    };
    let bounds = Bounds {
        low_ticks: low,
        high_ticks: high,
        until_us: until_us.unwrap_or(i64::MAX),
    };
    py.detach(|| flowtape_kernel::scan::first_touch(&rows, extremes.as_ref(), &bounds, start))
        .map_err(refuse)
}

/// Return lowest price, highest price and latest time of each block of `SCAN_BLOCK_ROWS` rows.
#[pyfunction]
#[allow(clippy::needless_pass_by_value)]
pub fn block_extremes<'py>(
    py: Python<'py>,
    ts_us: Column<'_>,
    price_ticks: Column<'_>,
) -> PyResult<(Array<'py>, Array<'py>, Array<'py>)> {
    let (ts, price) = (ts_us.as_slice()?, price_ticks.as_slice()?);
    let found = py
        .detach(|| flowtape_kernel::scan::block_extremes(ts, price))
        .map_err(refuse)?;
    Ok((
        found.low_ticks.into_pyarray(py),
        found.high_ticks.into_pyarray(py),
        found.latest_us.into_pyarray(py),
    ))
}

/// Return (buy lots, sell lots, lowest price, highest price, price x quantity sum, latest time).
///
/// All 0 without rows; the time is 0 without `ts_us`. Raises `KernelError` `BAD_PRICE`,
/// `BAD_QTY` or `BAD_SIDE` when a row is no trade, `OVERFLOW` when the volume leaves 64 bits.
#[pyfunction]
#[pyo3(signature = (price_ticks, qty_lots, side, ts_us=None))]
#[allow(clippy::needless_pass_by_value)]
pub fn session_sums(
    py: Python<'_>,
    price_ticks: Column<'_>,
    qty_lots: Column<'_>,
    side: PyReadonlyArray1<'_, i8>,
    ts_us: Option<Column<'_>>,
) -> PyResult<(i64, i64, i64, i64, i128, i64)> {
    let (price, qty, sides) = (
        price_ticks.as_slice()?,
        qty_lots.as_slice()?,
        side.as_slice()?,
    );
    let ts = ts_us.as_ref().map(|column| column.as_slice()).transpose()?;
    let found = py
        .detach(|| flowtape_kernel::scan::sums(ts, price, qty, sides))
        .map_err(refuse)?;
    Ok((
        found.buy_lots,
        found.sell_lots,
        found.low_ticks,
        found.high_ticks,
        found.notional_ticklots,
        found.latest_us,
    ))
}
