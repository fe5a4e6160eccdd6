//! `flowtape._kernel`: the kernel for Python. Records cross as bytes; `flowtape.stream.records`
//! holds their layouts.

mod archive_text;
mod batch;
mod kernel;
mod layout;
mod scan;
mod signals;
mod trade_frames;

use pyo3::prelude::*;

/// The native kernel of flowtape.
#[pymodule]
mod _kernel {
    #[pymodule_export]
    use super::archive_text::parse_archive_text;
    #[pymodule_export]
    use super::batch::Batch;
    #[pymodule_export]
    use super::kernel::{Kernel, value_area};
    #[pymodule_export]
    use super::layout::record_layouts;
    #[pymodule_export]
    use super::scan::{block_extremes, first_touch, session_sums};
    #[pymodule_export]
    use super::signals::{Decisions, OrderRun, Sweep, TargetRun};
    #[pymodule_export]
    use super::trade_frames::read_trade_frames;

    use super::{PyModule, PyResult};
    use pyo3::prelude::*;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("ABI_VERSION", flowtape_kernel::sys::FLOW_ABI_VERSION)?;
        module.add(
            "SEMANTICS_VERSION",
            flowtape_kernel::sys::FLOW_SEMANTICS_VERSION,
        )?;
        module.add("SCAN_BLOCK_ROWS", flowtape_kernel::scan::BLOCK_ROWS)?;
        module.add("STATUS_NAMES", flowtape_kernel::status_names())
    }
}

mod errors {
    //! The one place where a kernel error becomes a Python exception.

    use pyo3::PyErr;

    pyo3::import_exception!(flowtape.stream.errors, KernelError);

    pub fn raise(error: flowtape_kernel::Error) -> PyErr {
        KernelError::new_err((error.name(), error.text()))
    }

    pub fn raise_with(error: flowtape_kernel::Error, place: &str) -> PyErr {
        KernelError::new_err((error.name(), format!("{place}: {}", error.text())))
    }
}
