//! The guard's shell: it carries the decisions of `guard-core` out in an S3 bucket.
//!
//! Every call has a deadline; what is worth trying again inside it is tried again with jitter. No
//! answer of the store is trusted further than it can be checked: a refused conditional put is read
//! back, a stored record is parsed with suspicion, an artifact is hashed again before it is adopted.

mod bucket;
mod checkpoint;
mod claim;
mod collect;
mod conditioning;
mod connect;
mod deadline;
mod error;
mod life;
mod listing;
mod local_file;
mod manifest;
pub mod mp4;
mod multipart;
mod probe;
mod put_once;
mod release;
mod seal;

pub use bucket::{Bucket, Created, Found};
pub use checkpoint::{RejectedCheckpoint, StoredCheckpoint};
pub use claim::Claim;
pub use conditioning::StoredConditioning;
pub use connect::{Endpoint, connect};
pub use deadline::Deadline;
pub use error::GuardError;
pub use guard_core as core;
pub use life::Life;
pub use multipart::Parts;
pub use seal::{Artifact, Rejected};

use std::time::Duration;

/// The guard of one bucket.
#[derive(Debug)]
pub struct Guard {
    bucket: Bucket,
    timeout: Duration,
}

impl Guard {
    /// A guard over `bucket`, each call of which takes `timeout` at most.
    ///
    /// Calls that carry an artifact or a checkpoint get a second more for each MiB of it.
    #[must_use]
    pub fn new(bucket: Bucket, timeout: Duration) -> Self {
        Self { bucket, timeout }
    }

    fn deadline(&self) -> Deadline {
        Deadline::after(self.timeout)
    }

    /// A deadline for a call that moves `bytes` bytes.
    fn deadline_for(&self, bytes: u64) -> Deadline {
        Deadline::after(self.timeout + Duration::from_secs(bytes >> 20))
    }
}
