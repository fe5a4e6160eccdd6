//! Safe owner of the flowtape C kernel.
//!
//! All `unsafe` of the workspace lives here. A [`Batch`] is the proof that columns were checked; a
//! [`Kernel`] owns one C handle; its outboxes are emptied into [`Outputs`] as they fill.

pub mod archive_text;
mod batch;
mod error;
mod kernel;
pub mod scan;
pub mod signals;
pub mod sweep;
pub mod trade_frames;

pub use batch::{BadRow, Batch, Found};
pub use error::{Error, Result, status_names};
pub use flowtape_sys as sys;
pub use kernel::{Kernel, MarketOutputs, Outputs, SeriesOutputs, Stop, value_area};

/// Exact integer of a pair of words.
#[must_use]
pub fn i128_of(pair: sys::FlowI128) -> i128 {
    (i128::from(pair.hi) << 64) | i128::from(pair.lo)
}

/// Pair of words of an integer.
#[must_use]
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
pub fn i128_pair(value: i128) -> sys::FlowI128 {
    sys::FlowI128 {
        lo: value as u64,
        hi: (value >> 64) as i64,
    }
}
