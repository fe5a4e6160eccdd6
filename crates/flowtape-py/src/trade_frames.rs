//! Frames of trades for Python: bytes in, `NumPy` columns out.

use flowtape_kernel::trade_frames::{Rules, Trade, read};
use numpy::{IntoPyArray, PyArray1};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};

type Array<'py, T> = Bound<'py, PyArray1<T>>;
type Columns<'py> = (
    Array<'py, i64>,
    Array<'py, i64>,
    Array<'py, i64>,
    Array<'py, i64>,
    Array<'py, i64>,
    Array<'py, i64>,
    Array<'py, i8>,
    Array<'py, i64>,
);

/// Read the plain ones at the start of a list of frames from `start` on.
///
/// `limits` are the highest price in ticks, quantity in lots and time in microseconds, the lowest
/// time that is in microseconds, and how far a trade's time may be from its event's. Returns columns
/// as long as frames were read: id, time, price, quantity, first id, last id, side, event time.
#[pyfunction]
pub fn read_trade_frames<'py>(
    py: Python<'py>,
    frames: &Bound<'py, PyList>,
    start: usize,
    symbol: &str,
    decimals: (u32, u32),
    limits: (i64, i64, i64, i64, i64),
) -> Columns<'py> {
    let rules = Rules {
        symbol: symbol.as_bytes(),
        price_decimals: decimals.0,
        qty_decimals: decimals.1,
        price_max: limits.0,
        qty_max: limits.1,
        time_us_max: limits.2,
        micros_from: limits.3,
        skew_us_max: limits.4,
    };
    let mut trades: Vec<Trade> = Vec::with_capacity(frames.len().saturating_sub(start));
    for frame in frames.iter().skip(start) {
        let Ok(bytes) = frame.cast::<PyBytes>() else {
            break;
        };
        match read(bytes.as_bytes(), &rules) {
            Some(trade) => trades.push(trade),
            None => break,
        }
    }
    let column = |pick: fn(&Trade) -> i64| trades.iter().map(pick).collect::<Vec<_>>();
    let sides: Vec<i8> = trades.iter().map(|trade| trade.side).collect();
    (
        column(|trade| trade.agg_id).into_pyarray(py),
        column(|trade| trade.ts_us).into_pyarray(py),
        column(|trade| trade.price).into_pyarray(py),
        column(|trade| trade.qty).into_pyarray(py),
        column(|trade| trade.first_id).into_pyarray(py),
        column(|trade| trade.last_id).into_pyarray(py),
        sides.into_pyarray(py),
        column(|trade| trade.event_us).into_pyarray(py),
    )
}
