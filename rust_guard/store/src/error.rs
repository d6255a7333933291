//! The error tree:
//!
//! ```text
//! GuardError
//! ├── StoreUnavailable   retryable             the store did not answer in time, or refused us
//! ├── StoreUnsafe        retryable elsewhere   the store ignores If-None-Match
//! ├── DuplicateClaim     conflict              another record ordered this attempt first
//! ├── ClaimConflict      conflict              another spec, tenant or file holds the key
//! ├── CorruptRecord      retryable             a stored claim or seal is not one
//! ├── OutOfOrder         retryable             the caller asked for what does not follow
//! ├── StaleAttempt       retryable             a later attempt at the job has been claimed
//! ├── ClaimLost          retryable             the claim is gone, damaged or another's
//! ├── TooManyStarts      retryable elsewhere   start after start ended without a checkpoint
//! ├── BadArtifact        retryable             the video failed its checks
//! ├── BadCheckpoint      retryable             the checkpoint failed its checks, or the disk failed
//! ├── BadManifest        retryable             the manifest failed its checks
//! └── InvalidId          permanent             an id may not stand in a key
//! ```

use guard_core::claim::{Denied, RecordRef};
use guard_core::container::Flaw;
use guard_core::failure::{FailureClass, classify};
use guard_core::ids::InvalidId;
use guard_core::lifecycle::Refused;
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
    /// The start is not where this can follow: nothing was done.
    #[error("out of order: {event} does not follow on {state}")]
    OutOfOrder {
        /// Where the start is.
        state: &'static str,
        /// What was asked for.
        event: &'static str,
    },
    /// A later attempt at the job has been claimed: this one is for nothing.
    #[error("a later attempt at the job has been claimed")]
    StaleAttempt,
    /// The claim that this start had is gone, damaged or another's.
    #[error("the claim is gone, damaged or another's")]
    ClaimLost,
    /// Start after start of the attempt ended without a checkpoint: it takes its process along.
    #[error("the attempt has been started {0} times, the last ones without a checkpoint")]
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
            Self::OutOfOrder { .. } => "out_of_order",
            Self::StaleAttempt => "stale_attempt",
            Self::ClaimLost => "claim_lost",
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

impl From<Refused> for GuardError {
    fn from(refused: Refused) -> Self {
        match refused {
            // Who holds it instead is known where the claim is read, and said there.
            Refused::Duplicate => Self::ClaimConflict("record"),
            Refused::Conflict(what) => Self::ClaimConflict(what),
            Refused::Stale => Self::StaleAttempt,
            Refused::LostClaim => Self::ClaimLost,
            Refused::OutOfOrder { state, event } => Self::OutOfOrder { state, event },
        }
    }
}
