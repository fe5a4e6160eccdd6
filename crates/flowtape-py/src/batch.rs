//! Checked columns.

use flowtape_kernel::scan::Extremes;
use flowtape_kernel::{BadRow, Found};
use numpy::{PyArray1, PyArrayMethods, PyReadonlyArray1};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::errors;

type Column<T> = Py<PyArray1<T>>;

/// Lowest price, highest price and latest time of each block, and rows before the first.
type BlockExtremes<'py> = (
    PyReadonlyArray1<'py, i64>,
    PyReadonlyArray1<'py, i64>,
    PyReadonlyArray1<'py, i64>,
    usize,
);

/// Columns of trades that passed the kernel's checks; the arrays must not be changed any more.
#[pyclass(frozen, module = "flowtape._kernel")]
pub struct Batch {
    ts_us: Column<i64>,
    price_ticks: Column<i64>,
    qty_lots: Column<i64>,
    side: Column<i8>,
    market: Option<Column<u8>>,
    extremes: Option<([Column<i64>; 3], usize)>,
    found: Found,
    count: usize,
}

#[pymethods]
impl Batch {
    #[new]
    #[pyo3(signature = (ts_us, price_ticks, qty_lots, side, market=None, extremes=None))]
    #[allow(clippy::needless_pass_by_value)]
    fn new(
        py: Python<'_>,
        ts_us: PyReadonlyArray1<'_, i64>,
        price_ticks: PyReadonlyArray1<'_, i64>,
        qty_lots: PyReadonlyArray1<'_, i64>,
        side: PyReadonlyArray1<'_, i8>,
        market: Option<PyReadonlyArray1<'_, u8>>,
        extremes: Option<BlockExtremes<'_>>,
    ) -> PyResult<Self> {
        let (ts, price) = (ts_us.as_slice()?, price_ticks.as_slice()?);
        let (qty, sides) = (qty_lots.as_slice()?, side.as_slice()?);
        let markets = market.as_ref().map(|m| m.as_slice()).transpose()?;
        let checked = py.detach(|| {
            flowtape_kernel::Batch::new(ts, price, qty, sides, markets)
                .map(|b| (b.found(), b.len()))
        });
        let (found, count) = checked.map_err(|bad| match bad {
            BadRow::Lengths => PyValueError::new_err(format!(
                "columns must be equally long, were {}, {}, {}, {}",
                ts.len(),
                price.len(),
                qty.len(),
                sides.len()
            )),
            BadRow::Row(row, error) => {
                let text = if error.name() == "OVERFLOW" {
                    format!("rows 0 to {row}")
                } else {
                    format!(
                        "row {row} (ts_us {}, price_ticks {}, qty_lots {}, side {})",
                        ts[row], price[row], qty[row], sides[row]
                    )
                };
                errors::raise_with(error, &text)
            }
        })?;
        Ok(Self {
            ts_us: ts_us.owned(),
            price_ticks: price_ticks.owned(),
            qty_lots: qty_lots.owned(),
            side: side.owned(),
            market: market.map(|m| m.owned()),
            extremes: extremes.map(|(low, high, latest, offset)| {
                ([low, high, latest].map(|c| c.owned()), offset)
            }),
            found,
            count,
        })
    }

    fn __len__(&self) -> usize {
        self.count
    }
}

trait Owned<T> {
    fn owned(&self) -> Column<T>;
}

impl<T: numpy::Element> Owned<T> for PyReadonlyArray1<'_, T> {
    fn owned(&self) -> Column<T> {
        (**self).clone().unbind()
    }
}

impl Batch {
    /// Calls `f` with the columns, borrowed without a copy.
    pub fn with<R>(
        &self,
        py: Python<'_>,
        f: impl FnOnce(&flowtape_kernel::Batch<'_>) -> R,
    ) -> PyResult<R> {
        let ts = self.ts_us.bind(py).try_readonly()?;
        let price = self.price_ticks.bind(py).try_readonly()?;
        let qty = self.qty_lots.bind(py).try_readonly()?;
        let side = self.side.bind(py).try_readonly()?;
        let market = self.market.as_ref().map(|m| m.bind(py).try_readonly());
        let market = market.transpose()?;
        let batch = flowtape_kernel::Batch::checked_before(
            ts.as_slice()?,
            price.as_slice()?,
            qty.as_slice()?,
            side.as_slice()?,
            market.as_ref().map(|m| m.as_slice()).transpose()?,
            self.found,
        );
        let Some((extremes, offset_rows)) = &self.extremes else {
            return Ok(f(&batch));
        };
        let low = extremes[0].bind(py).try_readonly()?;
        let high = extremes[1].bind(py).try_readonly()?;
        let latest = extremes[2].bind(py).try_readonly()?;
        let extremes = Extremes {
            low_ticks: low.as_slice()?,
            high_ticks: high.as_slice()?,
            latest_us: latest.as_slice()?,
            offset_rows: *offset_rows,
        };
        Ok(f(&batch.with_extremes(&extremes)))
    }
}
