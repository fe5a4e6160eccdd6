//! The kernel's statuses as errors.

use std::ffi::CStr;
use std::fmt;

use flowtape_sys as sys;

/// A call the kernel refused; its state is what it was before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Error {
    status: sys::FlowStatus,
}

/// A value, or the status with which the kernel refused.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// Turns a status into a result.
    pub(crate) fn check(status: sys::FlowStatus) -> Result<()> {
        if status == sys::FLOW_OK {
            Ok(())
        } else {
            Err(Self { status })
        }
    }

    /// Name of the status, for example `CAPACITY`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        name_of(self.status)
    }

    /// Text of the status.
    #[must_use]
    pub fn text(&self) -> &'static str {
        // SAFETY: the function takes any integer and returns static, zero-terminated ASCII.
        unsafe { CStr::from_ptr(sys::flow_status_text(self.status)) }
            .to_str()
            .unwrap_or("?")
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl std::error::Error for Error {}

fn name_of(status: sys::FlowStatus) -> &'static str {
    // SAFETY: as in `Error::text`.
    unsafe { CStr::from_ptr(sys::flow_status_name(status)) }
        .to_str()
        .unwrap_or("?")
}

/// Names of all statuses in their order, `OK` first.
#[must_use]
pub fn status_names() -> Vec<&'static str> {
    (0..=255)
        .map(name_of)
        .take_while(|name| *name != "UNKNOWN")
        .collect()
}
