//! Python surface of the guard, `rust_guard._rust`: arguments in, one call, results out.
//!
//! The GIL is released around everything that waits. Nothing is decided here.

mod errors;
mod guard;
mod stored;
mod values;

use pyo3::prelude::*;

/// Claims, checkpoints, sealing, failure classes and the retry policy, in Rust.
#[pymodule]
mod _rust {
    use super::{Bound, PyModule, PyResult};

    #[pymodule_export]
    use crate::guard::Guard;
    #[pymodule_export]
    use crate::stored::{Artifact, Checkpoint, Conditioning};
    #[pymodule_export]
    use crate::values::{
        Claim, FailureClass, Record, RetryDecision, RetryPolicy, check_checkpoint,
        check_conditioning, check_video, classify, failure_codes, retry, retry_budget,
    };

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        crate::errors::register(module)
    }
}
