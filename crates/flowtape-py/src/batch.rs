//! Checked columns.

use flowtape_kernel::BadRow;
use numpy::{PyArray1, PyArrayMethods, PyReadonlyArray1};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::errors;

type Column<T> = Py<PyArray1<T>>;

/// Columns of trades that passed the kernel's checks; the arrays must not be changed any more.
#[pyclass(frozen, module = "flowtape._kernel")]
pub struct Batch {
    ts_us: Column<i64>,
    price_ticks: Column<i64>,
    qty_lots: Column<i64>,
    side: Column<i8>,
    total_lots: i64,
    count: usize,
}

#[pymethods]
impl Batch {
    #[new]
    #[allow(clippy::needless_pass_by_value)]
    fn new(
        py: Python<'_>,
        ts_us: PyReadonlyArray1<'_, i64>,
        price_ticks: PyReadonlyArray1<'_, i64>,
        qty_lots: PyReadonlyArray1<'_, i64>,
        side: PyReadonlyArray1<'_, i8>,
    ) -> PyResult<Self> {
        let (ts, price) = (ts_us.as_slice()?, price_ticks.as_slice()?);
        let (qty, sides) = (qty_lots.as_slice()?, side.as_slice()?);
        let checked = py.detach(|| {
            flowtape_kernel::Batch::new(ts, price, qty, sides).map(|b| (b.total_lots(), b.len()))
        });
        let (total_lots, count) = checked.map_err(|bad| match bad {
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
            total_lots,
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
        let batch = flowtape_kernel::Batch::checked_before(
            ts.as_slice()?,
            price.as_slice()?,
            qty.as_slice()?,
            side.as_slice()?,
            self.total_lots,
        );
        Ok(f(&batch))
    }
}
