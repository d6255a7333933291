//! `GuardError` of the shell, as one Python exception each.

use guard_core::failure::classify;
use guard_store::GuardError as Error;
use pyo3::exceptions::PyException;
use pyo3::prelude::*;
use pyo3::{create_exception, intern};

use crate::values::FailureClass;

create_exception!(
    rust_guard,
    GuardError,
    PyException,
    "The guard refused or failed; `failure_class` says what may be done."
);
create_exception!(
    rust_guard,
    StoreUnavailable,
    GuardError,
    "The object store did not answer in time or refused access. Try again later; check endpoint and keys if it stays."
);
create_exception!(
    rust_guard,
    StoreUnsafe,
    GuardError,
    "The object store ignores If-None-Match, so claims on it prove nothing. Use a store that honours conditional puts."
);
create_exception!(
    rust_guard,
    DuplicateClaim,
    GuardError,
    "Another record ordered this attempt first. Skip this record and end it as a duplicate."
);
create_exception!(
    rust_guard,
    ClaimConflict,
    GuardError,
    "The key belongs to another spec, tenant or file: ids were reused. Tell the operator."
);
create_exception!(
    rust_guard,
    CorruptRecord,
    GuardError,
    "A stored claim is damaged or was not written by a guard. The next attempt has another key; keep the object to look into it."
);
create_exception!(
    rust_guard,
    OutOfOrder,
    GuardError,
    "What was asked for does not follow from where the start is: it has not sealed, or has ended. Nothing was done; correct the caller."
);
create_exception!(
    rust_guard,
    StaleAttempt,
    GuardError,
    "A later attempt at the job has been claimed, so this one is for nothing. Give it up."
);
create_exception!(
    rust_guard,
    ClaimLost,
    GuardError,
    "The claim is gone, damaged or another's: this start no longer owns its attempt. Give it up, and look at who writes to the bucket."
);
create_exception!(
    rust_guard,
    TooManyStarts,
    GuardError,
    "Ten starts of the attempt in a row ended without a checkpoint. Give the job to another slot and look at this one."
);
create_exception!(
    rust_guard,
    BadArtifact,
    GuardError,
    "The video failed a check and was not uploaded; `reason` names the check. Render it again."
);
create_exception!(
    rust_guard,
    BadCheckpoint,
    GuardError,
    "The checkpoint failed a check and was not uploaded, or could not be written; `reason` says which. Render on without it."
);
create_exception!(
    rust_guard,
    BadManifest,
    GuardError,
    "The manifest is not a JSON object of at most 64 KiB, or not the one that was sealed."
);
create_exception!(
    rust_guard,
    InvalidId,
    GuardError,
    "An id may not stand in a key. Correct the argument that is named."
);

const TREE: [(&str, &str); 14] = [
    ("GuardError", "unknown"),
    ("StoreUnavailable", "store_unavailable"),
    ("StoreUnsafe", "store_unsafe"),
    ("DuplicateClaim", "duplicate_claim"),
    ("ClaimConflict", "claim_conflict"),
    ("CorruptRecord", "corrupt_record"),
    ("OutOfOrder", "out_of_order"),
    ("StaleAttempt", "stale_attempt"),
    ("ClaimLost", "claim_lost"),
    ("TooManyStarts", "too_many_starts"),
    ("BadArtifact", "bad_output"),
    ("BadCheckpoint", "bad_output"),
    ("BadManifest", "bad_output"),
    ("InvalidId", "invalid_id"),
];

/// Adds the exceptions to the module, each with its `code` and `failure_class`.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    let types = [
        py.get_type::<GuardError>(),
        py.get_type::<StoreUnavailable>(),
        py.get_type::<StoreUnsafe>(),
        py.get_type::<DuplicateClaim>(),
        py.get_type::<ClaimConflict>(),
        py.get_type::<CorruptRecord>(),
        py.get_type::<OutOfOrder>(),
        py.get_type::<StaleAttempt>(),
        py.get_type::<ClaimLost>(),
        py.get_type::<TooManyStarts>(),
        py.get_type::<BadArtifact>(),
        py.get_type::<BadCheckpoint>(),
        py.get_type::<BadManifest>(),
        py.get_type::<InvalidId>(),
    ];
    for ((name, code), exception) in TREE.into_iter().zip(types) {
        exception.setattr("code", code)?;
        exception.setattr("failure_class", FailureClass::from(classify(code)))?;
        exception.setattr("reason", code)?;
        module.add(name, exception)?;
    }
    Ok(())
}

/// The Python exception of a shell's error.
pub fn raise(py: Python<'_>, error: impl Into<Error>) -> PyErr {
    let error = error.into();
    let text = error.to_string();
    match error {
        Error::StoreUnavailable { .. } => StoreUnavailable::new_err(text),
        Error::StoreUnsafe { .. } => StoreUnsafe::new_err(text),
        Error::DuplicateClaim(_) => DuplicateClaim::new_err(text),
        Error::ClaimConflict(_) => ClaimConflict::new_err(text),
        Error::CorruptRecord { .. } => CorruptRecord::new_err(text),
        Error::OutOfOrder { .. } => OutOfOrder::new_err(text),
        Error::StaleAttempt => StaleAttempt::new_err(text),
        Error::ClaimLost => ClaimLost::new_err(text),
        Error::TooManyStarts(_) => TooManyStarts::new_err(text),
        Error::BadManifest(_) => BadManifest::new_err(text),
        Error::InvalidId(_) => InvalidId::new_err(text),
        Error::BadArtifact(flaw) => with_reason(py, BadArtifact::new_err(text), flaw.name()),
        Error::BadCheckpoint(flaw) => with_reason(py, BadCheckpoint::new_err(text), flaw.name()),
    }
}

fn with_reason(py: Python<'_>, exception: PyErr, reason: &str) -> PyErr {
    match exception.value(py).setattr(intern!(py, "reason"), reason) {
        Ok(()) => exception,
        Err(other) => other,
    }
}
