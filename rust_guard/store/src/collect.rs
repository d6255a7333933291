//! What an ended job leaves behind in the bucket, deleted page by page.

use guard_core::collect::{Ended, STARTS};
use guard_core::ids::{JobId, TenantId};

use crate::Guard;
use crate::error::GuardError;

/// Keys listed, and then deleted, at once.
const PAGE: usize = 1_000;
/// What vouches for another object ends like this, and goes before it.
const RECORD: &str = ".json";

impl Guard {
    /// Deletes what a job has left in the bucket, of every incarnation, attempt and start: start
    /// markers, checkpoints, and its videos with their seals and manifests, except those of the
    /// video under `keep`. Claims stay: they are the proof. Gives the number of objects deleted.
    ///
    /// For when its terminal event is committed and read: `keep` is the key that it names. May be
    /// repeated, and should be later if a start of the job may still be at work. Each page of 1,000
    /// objects has the guard's time to itself.
    ///
    /// # Errors
    /// `InvalidId` when `keep` is no video of this job (nothing is deleted); `StoreUnavailable`.
    pub async fn collect(
        &self,
        tenant_id: TenantId,
        job_id: JobId,
        keep: Option<&str>,
    ) -> Result<usize, GuardError> {
        let ended = Ended::new(tenant_id, job_id, keep)?;
        let folders = self.bucket.folders(STARTS, &self.deadline()).await?;
        let mut prefixes: Vec<String> = folders
            .iter()
            .filter_map(|folder| ended.starts_prefix(folder))
            .collect();
        prefixes.extend([ended.checkpoints_prefix(), ended.videos_prefix()]);
        let mut deleted = 0;
        for prefix in prefixes {
            deleted += self.clear(&ended, &prefix).await?;
        }
        Ok(deleted)
    }

    async fn clear(&self, ended: &Ended, prefix: &str) -> Result<usize, GuardError> {
        let mut after: Option<String> = None;
        let mut deleted = 0;
        loop {
            let deadline = self.deadline();
            let page = self.bucket.page(prefix, after.as_deref(), PAGE, &deadline);
            let mut keys = page.await?;
            let Some(last) = keys.last().cloned() else {
                return Ok(deleted);
            };
            keys.retain(|key| ended.may_go(key));
            let (records, files): (Vec<_>, Vec<_>) =
                keys.into_iter().partition(|key| key.ends_with(RECORD));
            for some in [records, files] {
                self.bucket.delete_all(&some, &deadline).await?;
                deleted += some.len();
            }
            after = Some(last);
        }
    }
}
