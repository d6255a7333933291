//! What a finished job no longer needs.

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use guard_core::keys::CHECKPOINT_RECORD_SUFFIX;

use crate::Guard;
use crate::claim::Claim;
use crate::deadline::Deadline;
use crate::error::GuardError;

/// Deletions in flight at once.
const AT_ONCE: usize = 8;

impl Guard {
    /// Deletes the job's start markers and its checkpoints of this pool incarnation, once its
    /// terminal event is committed. The claim stays: it is the proof. May be repeated.
    ///
    /// # Errors
    /// `StoreUnavailable`.
    pub async fn release(&self, claim: &Claim) -> Result<(), GuardError> {
        let deadline = self.deadline();
        let subject = &claim.subject;
        let starts = self
            .bucket
            .list(&subject.job_starts_prefix(), &deadline)
            .await?;
        let checkpoints = self
            .bucket
            .list(&subject.checkpoints_prefix(), &deadline)
            .await?;
        // Records first: a release that is cut short leaves no record without its file.
        let (records, files): (Vec<_>, Vec<_>) = checkpoints
            .into_iter()
            .partition(|key| key.ends_with(CHECKPOINT_RECORD_SUFFIX));
        for keys in [starts, records, files] {
            self.delete_all(keys, &deadline).await?;
        }
        Ok(())
    }

    async fn delete_all(&self, keys: Vec<String>, deadline: &Deadline) -> Result<(), GuardError> {
        stream::iter(keys)
            .map(|key| async move { self.bucket.delete(&key, deadline).await })
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await
    }
}
