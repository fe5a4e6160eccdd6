//! Trading a whole tape from arrays: decision points, target positions, orders by decision point.

use std::fmt;
use std::ptr;

use flowtape_sys as sys;

use crate::batch::Batch;
use crate::error::{Error, Result};
use crate::kernel::{Kernel, Stop};

/// Where the decision points of a session are; lives across its batches.
#[derive(Clone, Copy, Debug)]
pub struct Decisions {
    raw: sys::FlowDecisions,
}

/// Decision points found at a time.
const FOUND_AT_ONCE: usize = 512;

impl Decisions {
    /// Starts a session that decides at every m-th trade and at each crossing of a grid; 0: never.
    #[must_use]
    pub fn new(decide_trades_count: i64, decide_grid_us: i64) -> Self {
        Self {
            raw: sys::FlowDecisions {
                decide_trades_count,
                decide_grid_us,
                ..sys::FlowDecisions::default()
            },
        }
    }

    /// Takes in the times of further trades and calls `found` with decision points as they come:
    /// rows of these trades and stream times.
    ///
    /// # Errors
    /// `BAD_CONFIG` for a negative setting.
    pub fn find(
        &mut self,
        ts_us: &[i64],
        mut found: impl FnMut(&[sys::FlowDecision]),
    ) -> Result<()> {
        let mut room = [sys::FlowDecision::default(); FOUND_AT_ONCE];
        let mut at = 0;
        while at < ts_us.len() {
            let (mut rows, mut count) = (0, 0);
            let rest = &ts_us[at..];
            // SAFETY: both arrays have as many elements as stated.
            Error::check(unsafe {
                sys::flow_find_decisions(
                    &raw mut self.raw,
                    rest.as_ptr(),
                    rest.len(),
                    room.as_mut_ptr(),
                    FOUND_AT_ONCE,
                    &raw mut rows,
                    &raw mut count,
                )
            })?;
            for decision in &mut room[..count] {
                decision.row += at as u64;
            }
            found(&room[..count]);
            at += rows;
        }
        Ok(())
    }

    /// Takes in the times of further trades; returns how many decision points they make.
    ///
    /// # Errors
    /// As [`Decisions::find`].
    pub fn count(&mut self, ts_us: &[i64]) -> Result<usize> {
        let (mut rows, mut count) = (0, 0);
        // SAFETY: the array has as many elements as stated; without room they are only counted.
        Error::check(unsafe {
            sys::flow_find_decisions(
                &raw mut self.raw,
                ts_us.as_ptr(),
                ts_us.len(),
                ptr::null_mut(),
                0,
                &raw mut rows,
                &raw mut count,
            )
        })?;
        Ok(count)
    }
}

/// An order that was placed: behind which input, when, and as what.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed {
    /// The last input before it.
    pub input: u64,
    /// Command time, which is stream time.
    pub ts_us: i64,
    /// Its id.
    pub order_id: u64,
    /// What was asked for.
    pub request: sys::FlowRequest,
}

/// Why trading from an array came to a stop; what was done before stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// The kernel refused the trades.
    Trades(Error),
    /// The kernel refused an order.
    Order {
        /// Its decision point.
        decision: usize,
        /// Its place among the orders asked for.
        order: usize,
        /// Why.
        error: Error,
    },
    /// A decision point has no target.
    NoTarget(usize),
}

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Trades(error) => error.fmt(f),
            Self::Order {
                decision,
                order,
                error,
            } => write!(f, "order {order}, at decision point {decision}: {error}"),
            Self::NoTarget(decision) => write!(f, "decision point {decision} has no target"),
        }
    }
}

impl std::error::Error for Stopped {}

/// How far a session has come; lives across its batches.
#[derive(Debug, Default)]
struct Progress {
    decision: usize,
    order: usize,
    placed: Vec<Placed>,
    stopped: Option<Stopped>,
}

impl Progress {
    fn place(&mut self, kernel: &mut Kernel, request: &sys::FlowRequest) -> Result<u64> {
        let now = kernel.snapshot(0)?;
        let ids = kernel.place(now.stream_us, std::slice::from_ref(request))?;
        let order_id = ids.first().copied().unwrap_or_default();
        self.placed.push(Placed {
            input: now.input,
            ts_us: now.stream_us,
            order_id,
            request: *request,
        });
        self.order += 1;
        Ok(order_id)
    }

    fn refused(&self, error: Error) -> Stopped {
        Stopped::Order {
            decision: self.decision,
            order: self.order,
            error,
        }
    }
}

/// Applies a batch and decides at each decision point; after a stop nothing is done any more.
fn run(
    kernel: &mut Kernel,
    batch: &Batch<'_>,
    progress: &mut Progress,
    mut decide: impl FnMut(&mut Kernel, &mut Progress) -> std::result::Result<(), Stopped>,
) -> std::result::Result<(), Stopped> {
    if let Some(stopped) = progress.stopped {
        return Err(stopped);
    }
    let mut at = 0;
    while at < batch.len() {
        let step = kernel.run(batch, at).map_err(Stopped::Trades);
        let decided = step.and_then(|(behind, stop)| {
            at = behind;
            if stop == Stop::Decision {
                decide(kernel, progress)?;
                progress.decision += 1;
            }
            Ok(())
        });
        if decided.is_err() {
            progress.stopped = decided.err();
            return decided;
        }
    }
    Ok(())
}

/// Target positions being followed.
#[derive(Debug, Default)]
pub struct TargetRun {
    progress: Progress,
    target_lots: i64,
}

/// Orders being placed.
#[derive(Debug, Default)]
pub struct OrderRun {
    progress: Progress,
    ids: Vec<u64>,
}

impl TargetRun {
    /// Decision points met so far.
    #[must_use]
    pub fn decision_count(&self) -> usize {
        self.progress.decision
    }

    /// Orders placed since they were last taken; the caller empties it.
    pub fn placed(&mut self) -> &mut Vec<Placed> {
        &mut self.progress.placed
    }
}

impl OrderRun {
    /// Decision points met so far.
    #[must_use]
    pub fn decision_count(&self) -> usize {
        self.progress.decision
    }

    /// Orders placed since they were last taken; the caller empties it.
    pub fn placed(&mut self) -> &mut Vec<Placed> {
        &mut self.progress.placed
    }
}

impl Kernel {
    /// Applies a batch and places, at each decision point, a market order for the difference
    /// between its target position and the one before; the first is held against 0.
    ///
    /// `targets` are those of the whole session, `so_far` is where it stands.
    ///
    /// # Errors
    /// [`Stopped`]; the same again when called after a stop.
    pub fn run_targets(
        &mut self,
        batch: &Batch<'_>,
        targets: &[i64],
        so_far: &mut TargetRun,
    ) -> std::result::Result<(), Stopped> {
        let before = &mut so_far.target_lots;
        run(self, batch, &mut so_far.progress, |kernel, progress| {
            let decision = progress.decision;
            let target = *targets.get(decision).ok_or(Stopped::NoTarget(decision))?;
            let change = i128::from(target) - i128::from(*before);
            *before = target;
            if change == 0 {
                return Ok(());
            }
            let request = sys::FlowRequest {
                // What 64 bits cannot hold is refused as what is larger than orders may be.
                qty_lots: i64::try_from(change.unsigned_abs()).unwrap_or(i64::MAX),
                side: if change > 0 { 1 } else { -1 },
                ..sys::FlowRequest::default()
            };
            match progress.place(kernel, &request) {
                Ok(_) => Ok(()),
                Err(error) => Err(progress.refused(error)),
            }
        })
    }

    /// Applies a batch and places each order at its decision point, one by one.
    ///
    /// `orders` are those of the whole session, by decision point; `GROUP + i` as parent or sibling
    /// names the i-th of them, an earlier one. Those of decision points already met are not placed.
    ///
    /// # Errors
    /// [`Stopped`]; the same again when called after a stop.
    pub fn run_orders(
        &mut self,
        batch: &Batch<'_>,
        orders: &[sys::FlowRequest],
        decisions: &[i64],
        so_far: &mut OrderRun,
    ) -> std::result::Result<(), Stopped> {
        let ids = &mut so_far.ids;
        let named = |id: u64, ids: &[u64]| {
            let earlier = id.checked_sub(GROUP).and_then(|i| usize::try_from(i).ok());
            earlier.and_then(|i| ids.get(i).copied()).unwrap_or(id)
        };
        run(self, batch, &mut so_far.progress, |kernel, progress| {
            while let (Some(order), Some(&decision)) =
                (orders.get(progress.order), decisions.get(progress.order))
            {
                if usize::try_from(decision) != Ok(progress.decision) {
                    break;
                }
                let request = sys::FlowRequest {
                    parent_id: named(order.parent_id, ids),
                    sibling_id: named(order.sibling_id, ids),
                    ..*order
                };
                match progress.place(kernel, &request) {
                    Ok(id) => ids.push(id),
                    Err(error) => return Err(progress.refused(error)),
                }
            }
            Ok(())
        })
    }
}

/// Parent and sibling ids from here on name orders by their place.
const GROUP: u64 = 1 << 63;
