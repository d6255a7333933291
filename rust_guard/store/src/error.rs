//! The error tree:
//!
//! ```text
//! GuardError
//! ├── StoreUnavailable   retryable             the store did not answer in time, or refused us
//! ├── StoreUnsafe        retryable elsewhere   the store ignores If-None-Match
//! ├── DuplicateClaim     conflict              another record ordered this attempt first
//! ├── ClaimConflict      conflict              another spec, tenant or file holds the key
//! ├── CorruptRecord      retryable             a stored claim or seal is not one
//! ├── TooManyStarts      retryable elsewhere   the attempt was started thousands of times
//! ├── BadArtifact        retryable             the video failed its checks
//! ├── BadCheckpoint      retryable             the checkpoint failed its checks, or the disk failed
//! ├── BadManifest        retryable             the manifest failed its checks
//! └── InvalidId          permanent             an id may not stand in a key
//! ```

use guard_core::claim::{Denied, RecordRef};
use guard_core::container::Flaw;
use guard_core::failure::{FailureClass, classify};
use guard_core::ids::InvalidId;
use guard_core::manifest::ManifestFlaw;
use guard_core::record::Corrupt;
use guard_core::tensors::TensorFlaw;

/// Why the guard refused or failed. Nothing here carries a prompt or a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GuardError {
    /// The store did not do what was asked within the deadline.
    #[error("object store: {doing}: {cause}")]
    StoreUnavailable {
        /// Verb and key.
        doing: String,
        /// What went wrong last.
        cause: String,
    },
    /// The store does not keep conditional puts apart: claims on it prove nothing.
    #[error("object store is unsafe: {winners} of {writers} conditional puts to one key succeeded")]
    StoreUnsafe {
        /// Puts that the store accepted.
        winners: usize,
        /// Puts that were made.
        writers: usize,
    },
    /// Another record ordered the same attempt first: skip this one.
    #[error("duplicate: {}[{}]@{} holds the claim", .0.topic(), .0.partition(), .0.offset())]
    DuplicateClaim(RecordRef),
    /// The key belongs to another spec, tenant or file: ids were reused.
    #[error("conflict: the key belongs to another {0}")]
    ClaimConflict(&'static str),
    /// A stored record is damaged, or was not written by a guard.
    #[error("corrupt record {key}: {problem}")]
    CorruptRecord {
        /// Where it lies.
        key: String,
        /// What is wrong with it.
        problem: Corrupt,
    },
    /// The attempt was started more often than any honest attempt is.
    #[error("the attempt has been started {0} times")]
    TooManyStarts(u32),
    /// The video failed a check and was not uploaded.
    #[error("bad artifact: {0}")]
    BadArtifact(#[from] Flaw),
    /// The checkpoint failed a check and was not uploaded, or could not be written to disk.
    #[error("bad checkpoint: {0}")]
    BadCheckpoint(#[from] TensorFlaw),
    /// The manifest is not one, or not the one that was sealed.
    #[error("bad manifest: {0}")]
    BadManifest(#[from] ManifestFlaw),
    /// An id was refused.
    #[error("invalid id: {0}")]
    InvalidId(#[from] InvalidId),
}

impl GuardError {
    /// Stable code, one of `FAILURE_CODES`.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::StoreUnavailable { .. } => "store_unavailable",
            Self::StoreUnsafe { .. } => "store_unsafe",
            Self::DuplicateClaim(_) => "duplicate_claim",
            Self::ClaimConflict(_) => "claim_conflict",
            Self::CorruptRecord { .. } => "corrupt_record",
            Self::TooManyStarts(_) => "too_many_starts",
            Self::BadArtifact(_) | Self::BadCheckpoint(_) | Self::BadManifest(_) => "bad_output",
            Self::InvalidId(_) => "invalid_id",
        }
    }

    /// What may be done about it.
    #[must_use]
    pub fn class(&self) -> FailureClass {
        classify(self.code())
    }

    /// The judgement `denied` about the claim stored under `key`.
    pub(crate) fn denied(denied: Denied, key: &str) -> Self {
        match denied {
            Denied::Duplicate(record) => Self::DuplicateClaim(record),
            Denied::Conflict(what) => Self::ClaimConflict(what),
            Denied::Corrupt(problem) => Self::CorruptRecord {
                key: key.to_owned(),
                problem,
            },
        }
    }
}
