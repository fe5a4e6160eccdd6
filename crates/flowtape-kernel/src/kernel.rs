//! One owned kernel.

use std::ffi::c_int;
use std::ptr::{self, NonNull};

use flowtape_sys as sys;

use crate::batch::Batch;
use crate::error::{Error, Result};

/// Why a run came back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stop {
    /// The batch was consumed.
    End,
    /// The last input consumed makes a decision point.
    Decision,
}

impl Stop {
    fn of(stop: c_int) -> Self {
        if stop == sys::FLOW_STOP_DECISION {
            Self::Decision
        } else {
            Self::End
        }
    }
}

/// Kind of an order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OrderKind {
    /// Takes what prints offer until it is filled.
    Market,
    /// Trades at its price or better.
    Limit,
}

/// What one series of bars put out.
#[derive(Debug, Default)]
pub struct SeriesOutputs {
    /// Closed bars.
    pub bars: Vec<sys::FlowBar>,
    /// One footprint for each of them, if the series has footprints.
    pub footprints: Vec<sys::FlowFootprint>,
    /// The rows of those footprints.
    pub footprint_rows: Vec<sys::FlowFootprintRow>,
}

/// What the kernel put out since it was last taken.
///
/// Of bubbles the oldest may be gone, everything else is kept.
#[derive(Debug, Default)]
pub struct Outputs {
    /// What each series put out.
    pub series: Vec<SeriesOutputs>,
    /// Closed bubbles; at least the newest `bubbles_kept`.
    pub bubbles: Vec<sys::FlowBubble>,
    /// Bubbles closed, kept or not.
    pub bubble_count: u64,
    /// Sweeps, absorption, exhaustion.
    pub marks: Vec<sys::FlowMark>,
    /// Fills of own orders.
    pub fills: Vec<sys::FlowFill>,
    /// Changes of own orders.
    pub order_events: Vec<sys::FlowOrderEvent>,
    /// Points of the account.
    pub equity: Vec<sys::FlowEquity>,
}

impl Outputs {
    fn of_series(count: usize) -> Self {
        Self {
            series: (0..count).map(|_| SeriesOutputs::default()).collect(),
            ..Self::default()
        }
    }

    /// Whether everything was taken.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.series.iter().all(|one| {
            one.bars.is_empty() && one.footprints.is_empty() && one.footprint_rows.is_empty()
        }) && self.bubbles.is_empty()
            && self.marks.is_empty()
            && self.fills.is_empty()
            && self.order_events.is_empty()
            && self.equity.is_empty()
    }
}

/// A kernel and what it has put out.
#[derive(Debug)]
pub struct Kernel {
    handle: NonNull<sys::FlowKernel>,
    outputs: Outputs,
    bubbles_kept: usize,
    series_count: usize,
    footprint_rows_max: usize,
}

// SAFETY: the handle is owned by this value alone and the C code has no thread-local state.
unsafe impl Send for Kernel {}

impl Kernel {
    /// Makes a kernel that keeps the newest `bubbles_kept` bubbles between two takes.
    ///
    /// # Errors
    /// `BAD_CONFIG` or `NO_MEMORY`.
    pub fn new(config: &sys::FlowConfig, bubbles_kept: usize) -> Result<Self> {
        let mut handle = ptr::null_mut();
        // SAFETY: both pointers are valid for the call.
        Error::check(unsafe { sys::flow_create(config, &raw mut handle) })?;
        let handle = NonNull::new(handle).unwrap_or_else(|| unreachable!("created without handle"));
        let series_count = usize::try_from(config.orderflow.series_count).unwrap_or(0);
        Ok(Self {
            handle,
            outputs: Outputs::of_series(series_count),
            bubbles_kept,
            series_count,
            footprint_rows_max: usize::try_from(config.orderflow.footprint_rows_max).unwrap_or(0),
        })
    }

    /// Applies trades from row `start` on; returns the row behind the last one applied.
    ///
    /// # Errors
    /// `BAD_ROW`, `OVERFLOW`, `ENDED`.
    pub fn run(&mut self, batch: &Batch<'_>, start: usize) -> Result<(usize, Stop)> {
        let (mut at, mut stop) = (start, 0);
        loop {
            // SAFETY: the handle is live; the batch's columns are borrowed for this call.
            Error::check(unsafe {
                sys::flow_run(
                    self.handle.as_ptr(),
                    batch.raw(),
                    at,
                    &raw mut at,
                    &raw mut stop,
                )
            })?;
            self.drain();
            if stop != sys::FLOW_STOP_DRAIN {
                return Ok((at, Stop::of(stop)));
            }
        }
    }

    /// States that stream time is at least `ts_us`.
    ///
    /// # Errors
    /// `BAD_TIME`, `TIME_REVERSED`, `ENDED`.
    pub fn clock(&mut self, ts_us: i64) -> Result<Stop> {
        let mut stop = 0;
        // SAFETY: the handle is live.
        Error::check(unsafe { sys::flow_clock(self.handle.as_ptr(), ts_us, &raw mut stop) })?;
        self.drain();
        Ok(Stop::of(stop))
    }

    /// States that trades are missing here.
    ///
    /// # Errors
    /// `ENDED`.
    pub fn gap(&mut self) -> Result<()> {
        // SAFETY: the handle is live.
        Error::check(unsafe { sys::flow_gap(self.handle.as_ptr()) })?;
        self.drain();
        Ok(())
    }

    /// Ends the stream: the open bar and bubble close.
    ///
    /// # Errors
    /// `ENDED`.
    pub fn end(&mut self) -> Result<()> {
        // SAFETY: the handle is live.
        Error::check(unsafe { sys::flow_end(self.handle.as_ptr()) })?;
        self.drain();
        Ok(())
    }

    /// Places an order and returns its id; `price_ticks` is 0 for market orders.
    ///
    /// # Errors
    /// The status that names what is wrong with the order.
    pub fn place(
        &mut self,
        ts_us: i64,
        kind: OrderKind,
        side: i8,
        qty_lots: i64,
        price_ticks: i64,
    ) -> Result<u64> {
        let kind = match kind {
            OrderKind::Market => 0,
            OrderKind::Limit => 1,
        };
        let mut id = 0;
        let handle = self.handle.as_ptr();
        // SAFETY: the handle is live.
        Error::check(unsafe {
            sys::flow_place(
                handle,
                ts_us,
                kind,
                side,
                qty_lots,
                price_ticks,
                &raw mut id,
            )
        })?;
        Ok(id)
    }

    /// Asks to cancel an open order.
    ///
    /// # Errors
    /// `UNKNOWN_ORDER`, `BAD_TIME`, `TIME_REVERSED`, `ENDED`.
    pub fn cancel(&mut self, ts_us: i64, order_id: u64) -> Result<()> {
        // SAFETY: the handle is live.
        Error::check(unsafe { sys::flow_cancel(self.handle.as_ptr(), ts_us, order_id) })
    }

    /// What was put out since the last take; the caller empties it.
    pub fn outputs(&mut self) -> &mut Outputs {
        &mut self.outputs
    }

    /// Copy of the state for people to look at.
    #[must_use]
    pub fn snapshot(&self) -> sys::FlowSnapshot {
        let mut out = sys::FlowSnapshot::default();
        // SAFETY: the handle is live; the call fails for null pointers only.
        unsafe { sys::flow_get_snapshot(self.handle.as_ptr(), &raw mut out) };
        out
    }

    /// Open orders, oldest first.
    #[must_use]
    pub fn orders(&self) -> Vec<sys::FlowOrder> {
        let count = usize::try_from(self.snapshot().open_order_count).unwrap_or(0);
        let mut out = vec![sys::FlowOrder::default(); count];
        let mut copied = 0;
        // SAFETY: the buffer has room for every open order.
        unsafe {
            sys::flow_get_orders(
                self.handle.as_ptr(),
                out.as_mut_ptr(),
                count,
                &raw mut copied,
            )
        };
        out
    }

    /// Volume by price from low to high.
    #[must_use]
    pub fn profile(&self) -> Vec<sys::FlowProfileRow> {
        let count = usize::try_from(self.snapshot().profile_row_count).unwrap_or(0);
        let mut out = vec![sys::FlowProfileRow::default(); count];
        let mut copied = 0;
        // SAFETY: the buffer has room for every row.
        unsafe {
            sys::flow_get_profile(
                self.handle.as_ptr(),
                out.as_mut_ptr(),
                count,
                &raw mut copied,
            )
        };
        out
    }

    /// Sets an anchor of VWAP behind the last input.
    ///
    /// # Errors
    /// `BAD_ANCHOR`, `ENDED`.
    pub fn anchor(&mut self, anchor: usize) -> Result<()> {
        // SAFETY: the handle is live.
        Error::check(unsafe { sys::flow_anchor(self.handle.as_ptr(), anchor) })
    }

    /// The open bar of a series; no trades: none.
    ///
    /// # Errors
    /// `BAD_SERIES`.
    pub fn bar(&self, series: usize) -> Result<sys::FlowBar> {
        let mut out = sys::FlowBar::default();
        // SAFETY: the handle is live.
        Error::check(unsafe { sys::flow_get_bar(self.handle.as_ptr(), series, &raw mut out) })?;
        Ok(out)
    }

    /// The footprint of a series' open bar so far, and its rows; none without such a bar.
    ///
    /// # Errors
    /// `BAD_SERIES`.
    pub fn footprint(
        &self,
        series: usize,
    ) -> Result<(sys::FlowFootprint, Vec<sys::FlowFootprintRow>)> {
        let room = self.footprint_rows_max;
        let mut rows = vec![sys::FlowFootprintRow::default(); room];
        let (mut out, mut count) = (sys::FlowFootprint::default(), 0);
        // SAFETY: the buffer has room for the rows of any footprint.
        Error::check(unsafe {
            sys::flow_get_footprint(
                self.handle.as_ptr(),
                series,
                &raw mut out,
                rows.as_mut_ptr(),
                room,
                &raw mut count,
            )
        })?;
        rows.truncate(count);
        Ok((out, rows))
    }

    /// Sums that run along.
    #[must_use]
    pub fn session(&self) -> sys::FlowSession {
        let mut out = sys::FlowSession::default();
        // SAFETY: the handle is live; the call fails for null pointers only.
        unsafe { sys::flow_get_session(self.handle.as_ptr(), &raw mut out) };
        out
    }

    /// Canonical bytes of the state.
    ///
    /// # Panics
    /// Never: the outboxes are empty between calls and the buffer is as large as asked for.
    #[must_use]
    pub fn save_state(&self) -> Vec<u8> {
        let mut need = 0;
        // SAFETY: the handle is live.
        unsafe { sys::flow_state_bytes(self.handle.as_ptr(), &raw mut need) };
        let mut out = vec![0; need];
        // SAFETY: the buffer has `need` bytes.
        let status = unsafe {
            sys::flow_save_state(self.handle.as_ptr(), out.as_mut_ptr(), need, &raw mut need)
        };
        assert_eq!(status, sys::FLOW_OK, "state of a drained kernel");
        out
    }

    /// Takes over a state that a kernel of an equal configuration saved; outputs not yet taken are
    /// dropped.
    ///
    /// # Errors
    /// `BAD_STATE`.
    pub fn load_state(&mut self, bytes: &[u8]) -> Result<()> {
        // SAFETY: the pointer and length are of one slice.
        Error::check(unsafe {
            sys::flow_load_state(self.handle.as_ptr(), bytes.as_ptr(), bytes.len())
        })?;
        self.outputs = Outputs::of_series(self.series_count);
        Ok(())
    }

    fn drain(&mut self) {
        let mut flow = sys::FlowOrderflowCounts::default();
        let mut pending = [0; 3];
        // SAFETY: the handle is live and the array has the three entries the call writes.
        unsafe {
            sys::flow_orderflow_pending(self.handle.as_ptr(), &raw mut flow);
            sys::flow_pending(self.handle.as_ptr(), pending.as_mut_ptr());
        }
        let handle = self.handle;
        let out = &mut self.outputs;
        for (which, one) in out.series.iter_mut().enumerate() {
            let bars = flow.bars[which];
            take_of_series(handle, which, &mut one.bars, bars, sys::flow_take_bars);
            let footprints = flow.footprints[which];
            let take_footprints = sys::flow_take_footprints;
            take_of_series(
                handle,
                which,
                &mut one.footprints,
                footprints,
                take_footprints,
            );
            let rows = flow.footprint_rows[which];
            let take_rows = sys::flow_take_footprint_rows;
            take_of_series(handle, which, &mut one.footprint_rows, rows, take_rows);
        }
        if out.bubbles.len() >= 2 * self.bubbles_kept + flow.bubbles {
            let old = out.bubbles.len() - self.bubbles_kept;
            out.bubbles.copy_within(old.., 0);
            out.bubbles.truncate(self.bubbles_kept);
        }
        take(
            handle,
            &mut out.bubbles,
            flow.bubbles,
            sys::flow_take_bubbles,
        );
        out.bubble_count += flow.bubbles as u64;
        take(handle, &mut out.marks, flow.marks, sys::flow_take_marks);
        take(handle, &mut out.fills, pending[0], sys::flow_take_fills);
        let take_events = sys::flow_take_order_events;
        take(handle, &mut out.order_events, pending[1], take_events);
        take(handle, &mut out.equity, pending[2], sys::flow_take_equity);
    }
}

type Take<T> = unsafe extern "C" fn(*mut sys::FlowKernel, *mut T, usize, *mut usize) -> c_int;
type TakeOfSeries<T> =
    unsafe extern "C" fn(*mut sys::FlowKernel, usize, *mut T, usize, *mut usize) -> c_int;

fn take<T: Copy + Default>(
    handle: NonNull<sys::FlowKernel>,
    out: &mut Vec<T>,
    pending: usize,
    call: Take<T>,
) {
    out.reserve(pending);
    let (at, mut count) = (out.len(), 0);
    // SAFETY: there is room for `pending` records behind the `at` present ones, and the call says
    // how many of them it has written.
    unsafe {
        let place = out.as_mut_ptr().add(at);
        call(handle.as_ptr(), place, pending, &raw mut count);
        out.set_len(at + count);
    }
}

fn take_of_series<T: Copy + Default>(
    handle: NonNull<sys::FlowKernel>,
    series: usize,
    out: &mut Vec<T>,
    pending: usize,
    call: TakeOfSeries<T>,
) {
    out.reserve(pending);
    let (at, mut count) = (out.len(), 0);
    // SAFETY: as in `take`.
    unsafe {
        let place = out.as_mut_ptr().add(at);
        call(handle.as_ptr(), series, place, pending, &raw mut count);
        out.set_len(at + count);
    }
}

/// Point of control and value area of neighbouring rows from low to high, empty ones included.
///
/// # Errors
/// `BAD_QTY`, `OVERFLOW`, `BAD_CONFIG` for `area_ppm`.
pub fn value_area(rows: &[sys::FlowProfileRow], area_ppm: i64) -> Result<sys::FlowValueArea> {
    let mut scratch = vec![0; rows.len()];
    let mut out = sys::FlowValueArea::default();
    // SAFETY: both buffers have as many entries as said.
    Error::check(unsafe {
        sys::flow_value_area_of(
            rows.as_ptr(),
            rows.len(),
            area_ppm,
            scratch.as_mut_ptr(),
            &raw mut out,
        )
    })?;
    Ok(out)
}

impl Drop for Kernel {
    fn drop(&mut self) {
        // SAFETY: the handle is live and not used again.
        unsafe { sys::flow_destroy(self.handle.as_ptr()) }
    }
}
