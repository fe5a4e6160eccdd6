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

impl SeriesOutputs {
    fn are_waiting(&self) -> bool {
        !(self.bars.is_empty() && self.footprints.is_empty() && self.footprint_rows.is_empty())
    }
}

/// What the kernel put out about one instrument since it was last taken.
///
/// Of bubbles the oldest may be gone, everything else is kept.
#[derive(Debug, Default)]
pub struct MarketOutputs {
    /// By series of bars.
    pub series: Vec<SeriesOutputs>,
    /// Sweeps, absorption, exhaustion.
    pub marks: Vec<sys::FlowMark>,
    /// Closed bubbles; at least the newest `bubbles_kept`.
    pub bubbles: Vec<sys::FlowBubble>,
    /// Bubbles closed, kept or not.
    pub bubble_count: u64,
}

/// What the kernel put out since it was last taken.
#[derive(Debug, Default)]
pub struct Outputs {
    /// By instrument.
    pub markets: Vec<MarketOutputs>,
    /// Fills of own orders.
    pub fills: Vec<sys::FlowFill>,
    /// Changes of own orders.
    pub order_events: Vec<sys::FlowOrderEvent>,
    /// Points of the account.
    pub equity: Vec<sys::FlowEquity>,
}

impl Outputs {
    /// Whether everything was taken.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.are_waiting() && self.markets.iter().all(|market| market.bubbles.is_empty())
    }

    /// Whether there is anything but bubbles.
    #[must_use]
    pub fn are_waiting(&self) -> bool {
        !(self.fills.is_empty()
            && self.order_events.is_empty()
            && self.equity.is_empty()
            && self.markets.iter().all(|market| {
                market.marks.is_empty() && !market.series.iter().any(SeriesOutputs::are_waiting)
            }))
    }

    /// Empty ones with a place for each series of each instrument.
    fn of(series_counts: &[usize]) -> Self {
        let mut outputs = Self::default();
        for count in series_counts {
            let mut market = MarketOutputs::default();
            market.series.resize_with(*count, SeriesOutputs::default);
            outputs.markets.push(market);
        }
        outputs
    }
}

/// A kernel and what it has put out.
#[derive(Debug)]
pub struct Kernel {
    handle: NonNull<sys::FlowKernel>,
    outputs: Outputs,
    bubbles_kept: usize,
    series_counts: Vec<usize>,
    footprint_rows_max: usize,
}

// SAFETY: the handle is owned by this value alone and the C code has no thread-local state.
unsafe impl Send for Kernel {}

impl Kernel {
    /// Makes a kernel for some instruments that keeps the newest `bubbles_kept` bubbles of each
    /// between two takes.
    ///
    /// # Errors
    /// `BAD_CONFIG` or `NO_MEMORY`.
    pub fn new(
        config: &sys::FlowConfig,
        markets: &[sys::FlowMarket],
        bubbles_kept: usize,
    ) -> Result<Self> {
        let mut handle = ptr::null_mut();
        // SAFETY: all pointers are valid for the call.
        Error::check(unsafe {
            sys::flow_create(config, markets.as_ptr(), markets.len(), &raw mut handle)
        })?;
        let handle = NonNull::new(handle).unwrap_or_else(|| unreachable!("created without handle"));
        let size = |number: i64| usize::try_from(number).unwrap_or(0);
        let series_counts: Vec<_> = markets
            .iter()
            .map(|market| size(market.flow.series_count))
            .collect();
        let rows = markets.iter().map(|market| market.flow.footprint_rows_max);
        Ok(Self {
            handle,
            outputs: Outputs::of(&series_counts),
            bubbles_kept,
            series_counts,
            footprint_rows_max: size(rows.max().unwrap_or(0)),
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

    /// States that trades of an instrument are missing here.
    ///
    /// # Errors
    /// `BAD_MARKET`, `ENDED`.
    pub fn gap(&mut self, market: u32) -> Result<()> {
        // SAFETY: the handle is live.
        Error::check(unsafe { sys::flow_gap(self.handle.as_ptr(), market) })?;
        self.drain();
        Ok(())
    }

    /// States a mark price.
    ///
    /// # Errors
    /// `BAD_MARKET`, `BAD_PRICE`, `BAD_TIME`, `TIME_REVERSED`, `ENDED`.
    pub fn mark(&mut self, market: u32, ts_us: i64, mark_ticks: i64) -> Result<Stop> {
        let mut stop = 0;
        let handle = self.handle.as_ptr();
        // SAFETY: the handle is live.
        Error::check(unsafe {
            sys::flow_mark_price(handle, market, ts_us, mark_ticks, &raw mut stop)
        })?;
        self.drain();
        Ok(Stop::of(stop))
    }

    /// States a funding rate: longs pay shorts.
    ///
    /// # Errors
    /// As [`Kernel::mark`], and `NO_MARK`.
    pub fn funding(&mut self, market: u32, ts_us: i64, rate_ppb: i64) -> Result<Stop> {
        let mut stop = 0;
        let handle = self.handle.as_ptr();
        // SAFETY: the handle is live.
        Error::check(unsafe { sys::flow_funding(handle, market, ts_us, rate_ppb, &raw mut stop) })?;
        self.drain();
        Ok(Stop::of(stop))
    }

    /// States what a rule of an instrument's venue is from now on, by its number from 0.
    ///
    /// # Errors
    /// `BAD_MARKET`, `BAD_RULE`, `BAD_TIME`, `TIME_REVERSED`, `ENDED`.
    pub fn set_rule(&mut self, market: u32, ts_us: i64, rule: i64, value: i64) -> Result<Stop> {
        let mut stop = 0;
        let handle = self.handle.as_ptr();
        // SAFETY: the handle is live.
        Error::check(unsafe {
            sys::flow_set_rule(handle, market, ts_us, rule, value, &raw mut stop)
        })?;
        self.drain();
        Ok(Stop::of(stop))
    }

    /// Ends the stream: the open bars and bubbles close.
    ///
    /// # Errors
    /// `ENDED`.
    pub fn end(&mut self) -> Result<()> {
        // SAFETY: the handle is live.
        Error::check(unsafe { sys::flow_end(self.handle.as_ptr()) })?;
        self.drain();
        Ok(())
    }

    /// Places orders, all or none, and returns their ids.
    ///
    /// # Errors
    /// The status that names what is wrong with the first one refused.
    pub fn place(&mut self, ts_us: i64, requests: &[sys::FlowRequest]) -> Result<Vec<u64>> {
        let mut ids = vec![0; requests.len()];
        let handle = self.handle.as_ptr();
        // SAFETY: the handle is live, both arrays have as many entries as stated.
        Error::check(unsafe {
            sys::flow_place(
                handle,
                ts_us,
                requests.as_ptr(),
                requests.len(),
                ids.as_mut_ptr(),
            )
        })?;
        self.drain();
        Ok(ids)
    }

    /// Asks to cancel an open order.
    ///
    /// # Errors
    /// `UNKNOWN_ORDER`, `BAD_TIME`, `TIME_REVERSED`, `ENDED`.
    pub fn cancel(&mut self, ts_us: i64, order_id: u64) -> Result<()> {
        // SAFETY: the handle is live.
        Error::check(unsafe { sys::flow_cancel(self.handle.as_ptr(), ts_us, order_id) })?;
        self.drain();
        Ok(())
    }

    /// Asks to cancel all orders of an instrument, or of all with -1; returns how many.
    ///
    /// # Errors
    /// `BAD_MARKET`, `BAD_TIME`, `TIME_REVERSED`, `ENDED`.
    pub fn cancel_all(&mut self, ts_us: i64, market: i64) -> Result<usize> {
        let mut count = 0;
        let handle = self.handle.as_ptr();
        // SAFETY: the handle is live.
        Error::check(unsafe { sys::flow_cancel_all(handle, ts_us, market, &raw mut count) })?;
        self.drain();
        Ok(count)
    }

    /// Asks to change quantity, price and trigger of an order; 0 leaves one as it is.
    ///
    /// # Errors
    /// The status that names what is wrong.
    pub fn amend(
        &mut self,
        ts_us: i64,
        order_id: u64,
        qty_lots: i64,
        price_ticks: i64,
        trigger_ticks: i64,
    ) -> Result<()> {
        let handle = self.handle.as_ptr();
        // SAFETY: the handle is live.
        Error::check(unsafe {
            sys::flow_amend(
                handle,
                ts_us,
                order_id,
                qty_lots,
                price_ticks,
                trigger_ticks,
            )
        })?;
        self.drain();
        Ok(())
    }

    /// What was put out since the last take; the caller empties it.
    pub fn outputs(&mut self) -> &mut Outputs {
        &mut self.outputs
    }

    /// Copy of the state of an instrument for people to look at.
    ///
    /// # Errors
    /// `BAD_MARKET`.
    pub fn snapshot(&self, market: u32) -> Result<sys::FlowSnapshot> {
        let mut out = sys::FlowSnapshot::default();
        let handle = self.handle.as_ptr();
        // SAFETY: the handle is live.
        Error::check(unsafe { sys::flow_get_snapshot(handle, market, &raw mut out) })?;
        Ok(out)
    }

    /// A lane's account.
    ///
    /// # Errors
    /// `BAD_ORDER` for a lane that is none.
    pub fn account(&self, lane: i64) -> Result<sys::FlowAccount> {
        let mut out = sys::FlowAccount::default();
        // SAFETY: the handle is live.
        Error::check(unsafe { sys::flow_get_account(self.handle.as_ptr(), lane, &raw mut out) })?;
        Ok(out)
    }

    /// A lane's position in an instrument.
    ///
    /// # Errors
    /// `BAD_MARKET`, `BAD_ORDER` for a lane that is none.
    pub fn position(&self, market: u32, lane: i64) -> Result<sys::FlowPosition> {
        let mut out = sys::FlowPosition::default();
        let handle = self.handle.as_ptr();
        // SAFETY: the handle is live.
        Error::check(unsafe { sys::flow_get_position(handle, market, lane, &raw mut out) })?;
        Ok(out)
    }

    /// The rules of an instrument's venue as they are now.
    ///
    /// # Errors
    /// `BAD_MARKET`.
    pub fn rules(&self, market: u32) -> Result<sys::FlowVenueRules> {
        let mut out = sys::FlowVenueRules::default();
        let handle = self.handle.as_ptr();
        // SAFETY: the handle is live.
        Error::check(unsafe { sys::flow_get_rules(handle, market, &raw mut out) })?;
        Ok(out)
    }

    /// Orders open in any lane, oldest first.
    #[must_use]
    pub fn orders(&self) -> Vec<sys::FlowOrder> {
        let open = self.snapshot(0).map_or(0, |snap| snap.order_count);
        let count = usize::try_from(open).unwrap_or(0);
        let mut out = vec![sys::FlowOrder::default(); count];
        let mut copied = 0;
        // SAFETY: the buffer has room for every order.
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
    ///
    /// # Errors
    /// `BAD_MARKET`.
    pub fn profile(&self, market: u32) -> Result<Vec<sys::FlowProfileRow>> {
        let rows = self.snapshot(market)?.profile_row_count;
        let count = usize::try_from(rows).unwrap_or(0);
        let mut out = vec![sys::FlowProfileRow::default(); count];
        let mut copied = 0;
        let handle = self.handle.as_ptr();
        // SAFETY: the buffer has room for every row.
        Error::check(unsafe {
            sys::flow_get_profile(handle, market, out.as_mut_ptr(), count, &raw mut copied)
        })?;
        Ok(out)
    }

    /// Sets an anchor of VWAP behind the last input.
    ///
    /// # Errors
    /// `BAD_MARKET`, `BAD_ANCHOR`, `ENDED`.
    pub fn anchor(&mut self, market: u32, anchor: usize) -> Result<()> {
        // SAFETY: the handle is live.
        Error::check(unsafe { sys::flow_anchor(self.handle.as_ptr(), market, anchor) })
    }

    /// The open bar of a series; no trades: none.
    ///
    /// # Errors
    /// `BAD_MARKET`, `BAD_SERIES`.
    pub fn bar(&self, market: u32, series: usize) -> Result<sys::FlowBar> {
        let mut out = sys::FlowBar::default();
        let handle = self.handle.as_ptr();
        // SAFETY: the handle is live.
        Error::check(unsafe { sys::flow_get_bar(handle, market, series, &raw mut out) })?;
        Ok(out)
    }

    /// The footprint of a series' open bar so far, and its rows; none without such a bar.
    ///
    /// # Errors
    /// `BAD_MARKET`, `BAD_SERIES`.
    pub fn footprint(
        &self,
        market: u32,
        series: usize,
    ) -> Result<(sys::FlowFootprint, Vec<sys::FlowFootprintRow>)> {
        let room = self.footprint_rows_max;
        let mut rows = vec![sys::FlowFootprintRow::default(); room];
        let (mut out, mut count) = (sys::FlowFootprint::default(), 0);
        // SAFETY: the buffer has room for the rows of any footprint.
        Error::check(unsafe {
            sys::flow_get_footprint(
                self.handle.as_ptr(),
                market,
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
    ///
    /// # Errors
    /// `BAD_MARKET`.
    pub fn session(&self, market: u32) -> Result<sys::FlowSession> {
        let mut out = sys::FlowSession::default();
        let handle = self.handle.as_ptr();
        // SAFETY: the handle is live.
        Error::check(unsafe { sys::flow_get_session(handle, market, &raw mut out) })?;
        Ok(out)
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
        self.outputs = Outputs::of(&self.series_counts);
        Ok(())
    }

    fn drain(&mut self) {
        let handle = self.handle.as_ptr();
        for (market, out) in (0..).zip(&mut self.outputs.markets) {
            for (which, one) in out.series.iter_mut().enumerate() {
                // SAFETY: the handle is live; the buffer has room for as many records as stated.
                take(&mut one.bars, |to, room, count| unsafe {
                    sys::flow_take_bars(handle, market, which, to, room, count)
                });
                // SAFETY: as above.
                take(&mut one.footprints, |to, room, count| unsafe {
                    sys::flow_take_footprints(handle, market, which, to, room, count)
                });
                // SAFETY: as above.
                take(&mut one.footprint_rows, |to, room, count| unsafe {
                    sys::flow_take_footprint_rows(handle, market, which, to, room, count)
                });
            }
            // SAFETY: as above.
            take(&mut out.marks, |to, room, count| unsafe {
                sys::flow_take_marks(handle, market, to, room, count)
            });
            if out.bubbles.len() >= 2 * self.bubbles_kept + BUBBLES_SPARE {
                let old = out.bubbles.len() - self.bubbles_kept;
                out.bubbles.copy_within(old.., 0);
                out.bubbles.truncate(self.bubbles_kept);
            }
            // SAFETY: as above.
            out.bubble_count += take(&mut out.bubbles, |to, room, count| unsafe {
                sys::flow_take_bubbles(handle, market, to, room, count)
            });
        }
        let out = &mut self.outputs;
        // SAFETY: as above.
        take(&mut out.fills, |to, room, count| unsafe {
            sys::flow_take_fills(handle, to, room, count)
        });
        // SAFETY: as above.
        take(&mut out.order_events, |to, room, count| unsafe {
            sys::flow_take_order_events(handle, to, room, count)
        });
        // SAFETY: as above.
        take(&mut out.equity, |to, room, count| unsafe {
            sys::flow_take_equity(handle, to, room, count)
        });
    }
}

/// Bubbles that may pile up beyond those to keep before the old ones are dropped.
const BUBBLES_SPARE: usize = 4096;

/// Records asked for at a time.
const TAKEN_AT_ONCE: usize = 512;

/// Appends all that an outbox holds; returns how many records that were.
fn take<T: Copy + Default>(
    out: &mut Vec<T>,
    call: impl Fn(*mut T, usize, *mut usize) -> c_int,
) -> u64 {
    let before = out.len();
    loop {
        let (at, mut count) = (out.len(), 0);
        out.reserve(TAKEN_AT_ONCE);
        // SAFETY: there is room for the records behind those present, and the call says how many
        // of them it has written.
        unsafe {
            call(out.as_mut_ptr().add(at), TAKEN_AT_ONCE, &raw mut count);
            out.set_len(at + count);
        }
        if count < TAKEN_AT_ONCE {
            return (out.len() - before) as u64;
        }
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
