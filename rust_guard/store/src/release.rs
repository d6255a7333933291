//! What a finished job no longer needs.

use guard_core::keys::CHECKPOINT_RECORD_SUFFIX;
use guard_core::lifecycle::Event;

use crate::Guard;
use crate::claim::Claim;
use crate::error::GuardError;

impl Guard {
    /// Deletes the job's start markers and its checkpoints of this pool incarnation, once its
    /// terminal event is committed. The claim stays: it is the proof. May be repeated.
    ///
    /// # Errors
    /// `OutOfOrder` before its end was announced, or when the job was given back; `StoreUnavailable`.
    pub async fn release(&self, claim: &Claim) -> Result<(), GuardError> {
        claim.life.may(&Event::Release)?;
        let deadline = self.deadline();
        let subject = &claim.subject;
        let (starts, checkpoints) = (subject.job_starts_prefix(), subject.checkpoints_prefix());
        let (starts, checkpoints) = tokio::try_join!(
            self.bucket.list(&starts, &deadline),
            self.bucket.list(&checkpoints, &deadline),
        )?;
        // Records first: a release that is cut short leaves no record without its file.
        let (records, files): (Vec<_>, Vec<_>) = checkpoints
            .into_iter()
            .partition(|key| key.ends_with(CHECKPOINT_RECORD_SUFFIX));
        let first = [starts, records].concat();
        self.bucket.delete_all(&first, &deadline).await?;
        self.bucket.delete_all(&files, &deadline).await?;
        claim.life.did(&Event::Release)
    }
}
