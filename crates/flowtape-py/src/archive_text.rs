//! Archive text for Python: bytes in, `NumPy` columns out.

use flowtape_kernel::archive_text::{Columns, Role, parse};
use numpy::{IntoPyArray, PyArray1};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;

type Array<'py, T> = Bound<'py, PyArray1<T>>;
type Parsed<'py> = (
    (
        Array<'py, i64>,
        Array<'py, i64>,
        Array<'py, i64>,
        Array<'py, i64>,
        Array<'py, i64>,
        Array<'py, i64>,
        Array<'py, i8>,
    ),
    u32,
    u32,
    usize,
);

/// Read whole lines of comma-separated trades; `layout` has one letter of `-atpqflms` a column.
///
/// Returns the columns (id, time, price, quantity, first id, last id, side), the decimals of price
/// and of quantity, and the number of lines. Raises ValueError(what, line, column, value), counted
/// from 0, for the first line that cannot be read.
#[pyfunction]
pub fn parse_archive_text<'py>(
    py: Python<'py>,
    text: &[u8],
    layout: &str,
    price_decimals: u32,
    qty_decimals: u32,
) -> PyResult<Parsed<'py>> {
    let roles: Option<Vec<Role>> = layout.chars().map(Role::of_letter).collect();
    let roles = roles.ok_or_else(|| PyTypeError::new_err("layout has an unknown letter"))?;
    let columns: Columns = py
        .detach(|| parse(text, &roles, price_decimals, qty_decimals))
        .map_err(|bad| PyValueError::new_err((bad.fault.text(), bad.line, bad.field, bad.value)))?;
    Ok((
        (
            columns.agg_id.into_pyarray(py),
            columns.time.into_pyarray(py),
            columns.price.into_pyarray(py),
            columns.qty.into_pyarray(py),
            columns.first_id.into_pyarray(py),
            columns.last_id.into_pyarray(py),
            columns.side.into_pyarray(py),
        ),
        columns.price_decimals,
        columns.qty_decimals,
        columns.line_count,
    ))
}
