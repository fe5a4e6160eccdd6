//! Passes over whole columns at the speed of memory: the next trade that matters, and sums.

use std::fmt;
use std::ptr;
use std::sync::OnceLock;

use flowtape_sys as sys;

use crate::error::Error;
use crate::i128_of;

/// Rows whose extremes are kept together.
pub const BLOCK_ROWS: usize = sys::FLOW_SCAN_BLOCK_ROWS;

/// A row touches when its price lies outside [`low_ticks`, `high_ticks`], or, where the rows have
/// times, its time has reached `until_us`.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Lowest price that does not touch.
    pub low_ticks: i64,
    /// Highest price that does not touch.
    pub high_ticks: i64,
    /// First time that touches.
    pub until_us: i64,
}

/// Rows to search.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a> {
    /// A price each.
    pub price_ticks: &'a [i64],
    /// A time each; without them there is no time bound.
    pub ts_us: Option<&'a [i64]>,
}

/// Extremes of consecutive blocks of [`BLOCK_ROWS`] rows.
///
/// Extremes that do not cover their rows make wrong results, never wrong memory accesses.
#[derive(Clone, Copy, Debug)]
pub struct Extremes<'a> {
    /// Lowest price of each block.
    pub low_ticks: &'a [i64],
    /// Highest price of each block.
    pub high_ticks: &'a [i64],
    /// Latest time of each block.
    pub latest_us: &'a [i64],
    /// How many rows of the first block lie before row 0, fewer than a block.
    pub offset_rows: usize,
}

/// Lowest and highest price and latest time of each block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnedExtremes {
    /// Lowest price of each block.
    pub low_ticks: Vec<i64>,
    /// Highest price of each block.
    pub high_ticks: Vec<i64>,
    /// Latest time of each block.
    pub latest_us: Vec<i64>,
}

impl OwnedExtremes {
    /// Borrows them, for rows that begin with the first block.
    #[must_use]
    pub fn borrow(&self) -> Extremes<'_> {
        Extremes {
            low_ticks: &self.low_ticks,
            high_ticks: &self.high_ticks,
            latest_us: &self.latest_us,
            offset_rows: 0,
        }
    }
}

/// Sums over rows; all zero without rows, `latest_us` also without times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Volume of buyers who were the aggressors.
    pub buy_lots: i64,
    /// Volume of sellers who were the aggressors.
    pub sell_lots: i64,
    /// Lowest price.
    pub low_ticks: i64,
    /// Highest price.
    pub high_ticks: i64,
    /// Sum of price x quantity.
    pub notional_ticklots: i128,
    /// Latest time.
    pub latest_us: i64,
}

/// Why columns cannot be searched or added up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadColumns {
    /// They differ in length.
    Lengths,
    /// The extremes are of fewer or more blocks than the rows lie in, or their offset is none.
    Extremes,
    /// A row is no trade, or the volume of all rows leaves its range.
    Refused(Error),
}

impl fmt::Display for BadColumns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lengths => f.write_str("columns must be equally long"),
            Self::Extremes => f.write_str("the extremes do not fit the rows"),
            Self::Refused(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for BadColumns {}

/// Returns the first row from `start` on that touches, or the number of rows.
///
/// # Errors
/// [`BadColumns::Lengths`] and [`BadColumns::Extremes`].
pub fn first_touch(
    rows: &Rows<'_>,
    extremes: Option<&Extremes<'_>>,
    bounds: &Bounds,
    start: usize,
) -> Result<usize, BadColumns> {
    let price = rows.price_ticks;
    let count = price.len();
    if rows.ts_us.is_some_and(|ts| ts.len() != count) {
        return Err(BadColumns::Lengths);
    }
    if start >= count {
        return Ok(count);
    }
    let raw_bounds = sys::FlowBounds {
        low_ticks: bounds.low_ticks,
        high_ticks: bounds.high_ticks,
        until_us: bounds.until_us,
    };
    if let Some(extremes) = extremes {
        let raw = extremes.raw(count).ok_or(BadColumns::Extremes)?;
        let ts = rows.ts_us.map_or(ptr::null(), <[i64]>::as_ptr);
        // SAFETY: the columns have `count` elements, or are null where that is allowed; the
        // extremes have an element for each block of them.
        return Ok(unsafe {
            sys::flow_first_touch_blocks(
                cpu(),
                &raw const raw,
                ts,
                price.as_ptr(),
                start,
                count,
                &raw const raw_bounds,
            )
        });
    }
    let rest = &price[start..];
    let found = match rows.ts_us {
        // SAFETY: both columns have `rest.len()` elements from `start` on.
        Some(ts) => unsafe {
            sys::flow_first_touch_until(
                cpu(),
                ts[start..].as_ptr(),
                rest.as_ptr(),
                rest.len(),
                &raw const raw_bounds,
            )
        },
        // SAFETY: the column has `rest.len()` elements.
        None => unsafe {
            sys::flow_first_touch(
                cpu(),
                rest.as_ptr(),
                rest.len(),
                bounds.low_ticks,
                bounds.high_ticks,
            )
        },
    };
    Ok(start + found)
}

/// Finds lowest and highest price and latest time of each block of [`BLOCK_ROWS`] rows.
///
/// # Errors
/// [`BadColumns::Lengths`].
pub fn block_extremes(ts_us: &[i64], price_ticks: &[i64]) -> Result<OwnedExtremes, BadColumns> {
    if ts_us.len() != price_ticks.len() {
        return Err(BadColumns::Lengths);
    }
    let blocks = block_count(0, price_ticks.len());
    let mut found = OwnedExtremes {
        low_ticks: vec![0; blocks],
        high_ticks: vec![0; blocks],
        latest_us: vec![0; blocks],
    };
    // SAFETY: the columns are equally long; each output has an element for each of their blocks.
    unsafe {
        sys::flow_block_extremes(
            cpu(),
            ts_us.as_ptr(),
            price_ticks.as_ptr(),
            price_ticks.len(),
            found.low_ticks.as_mut_ptr(),
            found.high_ticks.as_mut_ptr(),
            found.latest_us.as_mut_ptr(),
        );
    }
    Ok(found)
}

/// Adds up rows.
///
/// # Errors
/// [`BadColumns::Lengths`]; [`BadColumns::Refused`] with what is wrong with any row.
pub fn sums(
    ts_us: Option<&[i64]>,
    price_ticks: &[i64],
    qty_lots: &[i64],
    side: &[i8],
) -> Result<Totals, BadColumns> {
    let count = price_ticks.len();
    let times = ts_us.map_or(count, <[i64]>::len);
    if [times, qty_lots.len(), side.len()] != [count; 3] {
        return Err(BadColumns::Lengths);
    }
    let mut out = sys::FlowTotals::default();
    // SAFETY: the columns have `count` elements each; the times are null where there are none.
    let status = unsafe {
        sys::flow_sums(
            cpu(),
            ts_us.map_or(ptr::null(), <[i64]>::as_ptr),
            price_ticks.as_ptr(),
            qty_lots.as_ptr(),
            side.as_ptr(),
            count,
            &raw mut out,
        )
    };
    Error::check(status).map_err(BadColumns::Refused)?;
    Ok(Totals {
        buy_lots: out.buy_lots,
        sell_lots: out.sell_lots,
        low_ticks: out.low_ticks,
        high_ticks: out.high_ticks,
        notional_ticklots: i128_of(out.notional_ticklots),
        latest_us: out.latest_us,
    })
}

impl Extremes<'_> {
    /// Their C form, if there is one of each for each block that `count` rows lie in.
    pub(crate) fn raw(&self, count: usize) -> Option<sys::FlowExtremes> {
        let lengths = [
            self.low_ticks.len(),
            self.high_ticks.len(),
            self.latest_us.len(),
        ];
        let fits =
            self.offset_rows < BLOCK_ROWS && lengths == [block_count(self.offset_rows, count); 3];
        fits.then_some(sys::FlowExtremes {
            low_ticks: self.low_ticks.as_ptr(),
            high_ticks: self.high_ticks.as_ptr(),
            latest_us: self.latest_us.as_ptr(),
            offset_rows: self.offset_rows,
        })
    }
}

fn block_count(offset_rows: usize, count: usize) -> usize {
    // SAFETY: the function takes any numbers; sums of an offset and a length do not wrap.
    unsafe { sys::flow_block_count(offset_rows, count) }
}

fn cpu() -> sys::FlowCpu {
    static CPU: OnceLock<sys::FlowCpu> = OnceLock::new();
    // SAFETY: the function only asks the processor.
    *CPU.get_or_init(|| unsafe { sys::flow_cpu_here() })
}

#[cfg(test)]
mod tests {
    use super::{
        BLOCK_ROWS, BadColumns, Bounds, Extremes, Rows, block_extremes, first_touch, sums,
    };

    const COUNT: usize = 5 * BLOCK_ROWS + 77;

    /// Prices of a walk between walls, times that sometimes go back.
    fn walk() -> (Vec<i64>, Vec<i64>) {
        let mut state = 9_u64;
        let mut at = 1000_i64;
        (0..COUNT)
            .map(|i| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                at = (at + i64::from((state % 3) as u8) - 1).max(1);
                let back = if state % 97 == 0 { 50 } else { 0 };
                (i64::try_from(i).expect("small") * 3 + 100 - back, at)
            })
            .unzip()
    }

    fn plain(ts: Option<&[i64]>, price: &[i64], bounds: &Bounds, start: usize) -> usize {
        (start..price.len())
            .find(|&i| {
                !(bounds.low_ticks..=bounds.high_ticks).contains(&price[i])
                    || ts.is_some_and(|ts| ts[i] >= bounds.until_us)
            })
            .unwrap_or(price.len())
    }

    #[test]
    fn every_search_finds_what_a_plain_loop_finds() {
        let (ts, price) = walk();
        let whole = block_extremes(&ts, &price).expect("equally long");
        for first in [0, 1, BLOCK_ROWS - 1, BLOCK_ROWS, 2 * BLOCK_ROWS + 5] {
            let skipped = first / BLOCK_ROWS;
            let extremes = Extremes {
                low_ticks: &whole.low_ticks[skipped..],
                high_ticks: &whole.high_ticks[skipped..],
                latest_us: &whole.latest_us[skipped..],
                offset_rows: first % BLOCK_ROWS,
            };
            let (ts, price) = (&ts[first..], &price[first..]);
            for start in (0..price.len()).step_by(61).chain([price.len(), COUNT + 9]) {
                let center = price[start.min(price.len() - 1)];
                for (band, wait) in [(0, 9000), (9, 300), (25, 4000), (500, 99_000)] {
                    let bounds = Bounds {
                        low_ticks: center - band,
                        high_ticks: center + band,
                        until_us: ts[0] + wait,
                    };
                    for ts_us in [None, Some(ts)] {
                        let rows = Rows {
                            price_ticks: price,
                            ts_us,
                        };
                        let expected = plain(ts_us, price, &bounds, start);
                        for extremes in [None, Some(&extremes)] {
                            let found = first_touch(&rows, extremes, &bounds, start);
                            assert_eq!(found, Ok(expected));
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn columns_that_do_not_fit_are_refused() {
        let (ts, price) = walk();
        let whole = block_extremes(&ts, &price).expect("equally long");
        let bounds = Bounds {
            low_ticks: 0,
            high_ticks: 1,
            until_us: 0,
        };
        let rows = Rows {
            price_ticks: &price,
            ts_us: None,
        };
        let mut extremes = whole.borrow();
        extremes.latest_us = &extremes.latest_us[1..];
        let found = first_touch(&rows, Some(&extremes), &bounds, 0);
        assert_eq!(found, Err(BadColumns::Extremes));
        extremes = whole.borrow();
        extremes.offset_rows = BLOCK_ROWS;
        let found = first_touch(&rows, Some(&extremes), &bounds, 0);
        assert_eq!(found, Err(BadColumns::Extremes));
        let uneven = Rows {
            price_ticks: &price,
            ts_us: Some(&ts[1..]),
        };
        let found = first_touch(&uneven, None, &bounds, 0);
        assert_eq!(found, Err(BadColumns::Lengths));
        assert_eq!(block_extremes(&ts[1..], &price), Err(BadColumns::Lengths));
        assert_eq!(sums(None, &[1], &[1, 2], &[1]), Err(BadColumns::Lengths));
        assert_eq!(sums(Some(&[]), &[1], &[1], &[1]), Err(BadColumns::Lengths));
    }

    #[test]
    fn sums_are_exact_and_bad_rows_have_names() {
        let count = 10_000;
        let price: Vec<i64> = (0..count).map(|i| (1 << 49) + i * i).collect();
        let qty: Vec<i64> = (0..count).map(|i| (1 << 48) + 7 * i).collect();
        let side: Vec<i8> = (0..count)
            .map(|i| if i % 3 == 0 { 1 } else { -1 })
            .collect();
        let ts: Vec<i64> = (0..count).map(|i| i % 700).collect();
        let found = sums(Some(&ts), &price, &qty, &side).expect("good rows");
        let notional = price
            .iter()
            .zip(&qty)
            .map(|(&p, &q)| i128::from(p) * i128::from(q))
            .sum();
        let buys = qty.iter().step_by(3).sum();
        assert_eq!(found.notional_ticklots, notional);
        assert_eq!(
            (found.buy_lots, found.sell_lots),
            (buys, qty.iter().sum::<i64>() - buys)
        );
        assert_eq!((found.low_ticks, found.latest_us), (1 << 49, 699));
        assert_eq!(found.high_ticks, (1 << 49) + 9999 * 9999);
        let name = |price: i64, qty: i64, side: i8| {
            let refused = sums(None, &[5, price], &[5, qty], &[1, side]);
            match refused {
                Err(BadColumns::Refused(error)) => error.name(),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(name(0, 1, 1), "BAD_PRICE");
        assert_eq!(name(1, 0, 1), "BAD_QTY");
        assert_eq!(name(1, 1, 0), "BAD_SIDE");
        assert_eq!(sums(None, &[], &[], &[]), Ok(super::Totals::default()));
    }
}
