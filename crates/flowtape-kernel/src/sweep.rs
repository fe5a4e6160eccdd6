//! Many sets of target positions over one pass of a tape.

use std::fmt;
use std::ptr::{self, NonNull};

use flowtape_sys as sys;

use crate::batch::Batch;
use crate::error::{Error, Result};

/// Target positions: a row for each set, a column for each decision point, row after row.
#[derive(Clone, Copy, Debug)]
pub enum Lots<'a> {
    /// In 32 bits.
    I32(&'a [i32]),
    /// In 64 bits.
    I64(&'a [i64]),
}

impl Lots<'_> {
    fn len(&self) -> usize {
        match self {
            Self::I32(lots) => lots.len(),
            Self::I64(lots) => lots.len(),
        }
    }
}

/// Target positions of all sets for some consecutive decision points.
#[derive(Clone, Copy, Debug)]
pub struct Targets<'a> {
    /// The positions.
    pub lots: Lots<'a>,
    /// Decision point of the first column, counted from the start of the session.
    pub first: usize,
    /// Columns.
    pub count: usize,
}

/// Why a batch was not applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotRun {
    /// There are not as many targets, or places for equity, as sets times columns.
    Shape,
    /// The kernel refused.
    Refused(Error),
}

impl fmt::Display for NotRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shape => f.write_str("there must be a row for each set"),
            Self::Refused(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for NotRun {}

/// Accounts that follow target positions.
#[derive(Debug)]
pub struct Sweep {
    handle: NonNull<sys::FlowSweep>,
    set_count: usize,
}

// SAFETY: the handle is owned by this value alone and the C code has no thread-local state.
unsafe impl Send for Sweep {}

impl Sweep {
    /// Makes an account for each set.
    ///
    /// # Errors
    /// `BAD_CONFIG`, also for accounts with limits and decision points that follow fills;
    /// `NO_MEMORY`.
    pub fn new(
        config: &sys::FlowConfig,
        market: &sys::FlowMarket,
        set_count: usize,
    ) -> Result<Self> {
        let mut handle = ptr::null_mut();
        // SAFETY: all pointers are valid for the call.
        Error::check(unsafe {
            sys::flow_sweep_create(config, market, set_count, &raw mut handle)
        })?;
        let handle = NonNull::new(handle).unwrap_or_else(|| unreachable!("created without handle"));
        Ok(Self { handle, set_count })
    }

    /// Applies a batch. `equity_out` has the shape of the targets and gets the columns of the
    /// batch's decision points.
    ///
    /// # Errors
    /// [`NotRun`], and then nothing was done: `SMALL_BUFFER` when the batch has decision points
    /// without targets, `OVERFLOW`, `BAD_MARKET`.
    pub fn run(
        &mut self,
        batch: &Batch<'_>,
        targets: &Targets<'_>,
        equity_out: Option<&mut [sys::FlowI128]>,
    ) -> std::result::Result<(), NotRun> {
        let wanted = self.set_count.checked_mul(targets.count);
        if wanted != Some(targets.lots.len())
            || equity_out
                .as_ref()
                .is_some_and(|out| wanted != Some(out.len()))
        {
            return Err(NotRun::Shape);
        }
        let (lots_i32, lots_i64) = match targets.lots {
            Lots::I32(lots) => (lots.as_ptr(), ptr::null()),
            Lots::I64(lots) => (ptr::null(), lots.as_ptr()),
        };
        let raw = sys::FlowTargets {
            lots_i32,
            lots_i64,
            stride: targets.count,
            first: targets.first,
            count: targets.count,
        };
        let equity = equity_out.map_or(ptr::null_mut(), <[sys::FlowI128]>::as_mut_ptr);
        // SAFETY: the handle is live; targets and equity have a row of `count` for each set.
        Error::check(unsafe {
            sys::flow_sweep_run(self.handle.as_ptr(), batch.raw(), &raw const raw, equity)
        })
        .map_err(NotRun::Refused)
    }

    /// Decision points of the batches so far.
    #[must_use]
    pub fn decision_count(&self) -> u64 {
        let mut count = 0;
        // SAFETY: the handle is live.
        unsafe { sys::flow_sweep_decision_count(self.handle.as_ptr(), &raw mut count) };
        count
    }

    /// A result for each set so far.
    #[must_use]
    pub fn results(&self) -> Vec<sys::FlowSweepResult> {
        let mut out = vec![sys::FlowSweepResult::default(); self.set_count];
        // SAFETY: there is room for every set.
        unsafe {
            sys::flow_sweep_get_results(self.handle.as_ptr(), out.as_mut_ptr(), self.set_count)
        };
        out
    }
}

impl Drop for Sweep {
    fn drop(&mut self) {
        // SAFETY: the handle is live and not used again.
        unsafe { sys::flow_sweep_destroy(self.handle.as_ptr()) }
    }
}
