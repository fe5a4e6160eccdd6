//! Columns of trades that passed the kernel's checks.

use std::marker::PhantomData;
use std::ptr;

use flowtape_sys as sys;

use crate::error::Error;
use crate::scan::Extremes;

/// Checked columns of equal length, borrowed from the caller.
#[derive(Debug)]
pub struct Batch<'a> {
    raw: sys::FlowBatch,
    /// Where `raw` points to, if there are extremes.
    extremes: Option<Box<sys::FlowExtremes>>,
    columns: PhantomData<&'a [i64]>,
}

// SAFETY: a batch is a shared borrow of plain numbers.
unsafe impl Send for Batch<'_> {}
// SAFETY: as above; nothing in it can change.
unsafe impl Sync for Batch<'_> {}

/// What the check of columns finds out about them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Found {
    /// Volume of all trades in lots.
    pub total_lots: i64,
    /// Highest instrument of a row.
    pub market_last: i64,
    /// Whether times never fall.
    pub ascending: bool,
}

/// Why columns are no batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BadRow {
    /// The columns differ in length.
    Lengths,
    /// The row whose value the kernel refuses, and its status.
    Row(usize, Error),
}

impl<'a> Batch<'a> {
    /// Checks columns: times, prices, quantities, sides of +1 or -1; without instruments all rows are
    /// of the first.
    ///
    /// # Errors
    /// [`BadRow`] names the first row that is refused.
    pub fn new(
        ts_us: &'a [i64],
        price_ticks: &'a [i64],
        qty_lots: &'a [i64],
        side: &'a [i8],
        market: Option<&'a [u8]>,
    ) -> Result<Self, BadRow> {
        let count = ts_us.len();
        let markets = market.map_or(count, <[u8]>::len);
        if [price_ticks.len(), qty_lots.len(), side.len(), markets] != [count; 4] {
            return Err(BadRow::Lengths);
        }
        let mut raw = sys::FlowBatch {
            ts_us: ts_us.as_ptr(),
            price_ticks: price_ticks.as_ptr(),
            qty_lots: qty_lots.as_ptr(),
            side: side.as_ptr(),
            market: market.map_or(ptr::null(), <[u8]>::as_ptr),
            count,
            extremes: ptr::null(),
            total_lots: 0,
            market_last: 0,
            ascending: 0,
        };
        let mut row = 0;
        // SAFETY: the pointers are of slices of `count` elements that outlive the call.
        let status = unsafe { sys::flow_check_batch(ptr::from_mut(&mut raw), &raw mut row) };
        Error::check(status).map_err(|error| BadRow::Row(row, error))?;
        Ok(Self {
            raw,
            extremes: None,
            columns: PhantomData,
        })
    }

    /// Takes columns that passed [`Batch::new`] before, with what it found.
    ///
    /// Columns that changed since make wrong results, never wrong memory accesses.
    #[must_use]
    pub fn checked_before(
        ts_us: &'a [i64],
        price_ticks: &'a [i64],
        qty_lots: &'a [i64],
        side: &'a [i8],
        market: Option<&'a [u8]>,
        found: Found,
    ) -> Self {
        let count = ts_us
            .len()
            .min(price_ticks.len())
            .min(qty_lots.len())
            .min(side.len())
            .min(market.map_or(usize::MAX, <[u8]>::len));
        let raw = sys::FlowBatch {
            ts_us: ts_us.as_ptr(),
            price_ticks: price_ticks.as_ptr(),
            qty_lots: qty_lots.as_ptr(),
            side: side.as_ptr(),
            market: market.map_or(ptr::null(), <[u8]>::as_ptr),
            count,
            extremes: ptr::null(),
            total_lots: found.total_lots,
            market_last: found.market_last,
            ascending: i64::from(found.ascending),
        };
        Self {
            raw,
            extremes: None,
            columns: PhantomData,
        }
    }

    /// Adds the extremes of blocks of the rows; ones that do not fit their number are left out.
    ///
    /// Extremes that are not those of the rows make wrong results, never wrong memory accesses.
    #[must_use]
    pub fn with_extremes(mut self, extremes: &Extremes<'a>) -> Self {
        self.extremes = extremes.raw(self.raw.count).map(Box::new);
        self.raw.extremes = self.extremes.as_deref().map_or(ptr::null(), ptr::from_ref);
        self
    }

    /// What the check found out about the columns.
    #[must_use]
    pub fn found(&self) -> Found {
        Found {
            total_lots: self.raw.total_lots,
            market_last: self.raw.market_last,
            ascending: self.raw.ascending == 1,
        }
    }

    /// Number of trades.
    #[must_use]
    pub fn len(&self) -> usize {
        self.raw.count
    }

    /// Whether there are no trades.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.raw.count == 0
    }

    pub(crate) fn raw(&self) -> &sys::FlowBatch {
        &self.raw
    }
}
