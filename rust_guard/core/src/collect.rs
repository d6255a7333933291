//! What an ended job leaves behind, and which of it may go.
//!
//! Only what the guard itself writes for this job is ever named, under keys parsed back exactly; a
//! stranger's object under the job's prefix stays. Claims stay too: they are the proof.

use alloc::format;
use alloc::string::{String, ToString};

use crate::ids::{InvalidId, JobId, Ordinal, PoolIncarnation, TenantId};
use crate::keys::{SEAL_SUFFIX, Subject, VIDEO_SUFFIX};

/// Where the start markers of all jobs lie: one folder a pool incarnation.
pub const STARTS: &str = "starts";

/// A job whose terminal event is committed, and the artifact which that event names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    tenant_id: TenantId,
    job_id: JobId,
    /// Incarnation, attempt and start of the artifact that stays.
    keep: Option<(PoolIncarnation, Ordinal, Ordinal)>,
}

impl Ended {
    /// Takes a job and the key of the artifact that stays, if one does.
    ///
    /// # Errors
    /// [`InvalidId`] when `keep` is not the key of a video of this job, so nothing is deleted by
    /// somebody who mixed two jobs up.
    pub fn new(tenant_id: TenantId, job_id: JobId, keep: Option<&str>) -> Result<Self, InvalidId> {
        let ended = Self {
            tenant_id,
            job_id,
            keep: None,
        };
        let Some(key) = keep else { return Ok(ended) };
        let kept = ended.video(key).ok_or(InvalidId {
            field: "keep",
            rule: "the key of a video of this job",
        })?;
        Ok(Self {
            keep: Some(kept),
            ..ended
        })
    }

    /// Prefix (without a final slash) of the job's videos, of every incarnation.
    #[must_use]
    pub fn videos_prefix(&self) -> String {
        format!("videos/{}/{}", self.tenant_id, self.job_id)
    }

    /// Prefix (without a final slash) of the job's checkpoints, of every incarnation.
    #[must_use]
    pub fn checkpoints_prefix(&self) -> String {
        format!("checkpoints/{}/{}", self.tenant_id, self.job_id)
    }

    /// Prefix (without a final slash) of the job's start markers in `folder`, one of those below
    /// [`STARTS`]; none if that is no incarnation's.
    #[must_use]
    pub fn starts_prefix(&self, folder: &str) -> Option<String> {
        let name = folder.strip_prefix(STARTS)?.strip_prefix('/')?;
        let incarnation = PoolIncarnation::new(name).ok()?;
        Some(self.subject(incarnation).job_starts_prefix())
    }

    /// Whether the object under `key` is this job's and may be deleted.
    #[must_use]
    pub fn may_go(&self, key: &str) -> bool {
        self.start(key).is_some() || self.is_checkpoint(key) || self.is_spare_video(key)
    }

    fn is_spare_video(&self, key: &str) -> bool {
        let Some(subject) = self.subject_of(key, &self.videos_prefix()) else {
            return false;
        };
        subject
            .parse_video_key(key)
            .is_some_and(|(attempt, start)| {
                self.keep != Some((subject.pool_incarnation, attempt, start))
            })
    }

    fn is_checkpoint(&self, key: &str) -> bool {
        self.subject_of(key, &self.checkpoints_prefix())
            .is_some_and(|subject| subject.owns_checkpoint_key(key))
    }

    /// Number of the start whose marker `key` is.
    fn start(&self, key: &str) -> Option<Ordinal> {
        let mut parts = key.strip_prefix(STARTS)?.strip_prefix('/')?.splitn(4, '/');
        let incarnation = PoolIncarnation::new(parts.next()?).ok()?;
        let attempt = parts.nth(1)?.parse().ok()?;
        let subject = Subject {
            attempt: Ordinal::new("key", attempt).ok()?,
            ..self.subject(incarnation)
        };
        subject.parse_start_key(key)
    }

    /// The incarnation, attempt and start whose video `key` is.
    fn video(&self, key: &str) -> Option<(PoolIncarnation, Ordinal, Ordinal)> {
        let subject = self.subject_of(key, &self.videos_prefix())?;
        let stem = key.strip_suffix(VIDEO_SUFFIX)?;
        let (attempt, start) = subject.parse_seal_key(&(stem.to_string() + SEAL_SUFFIX))?;
        Some((subject.pool_incarnation, attempt, start))
    }

    /// The subject whose folder below `prefix` holds `key`.
    fn subject_of(&self, key: &str, prefix: &str) -> Option<Subject> {
        let (folder, _) = key
            .strip_prefix(prefix)?
            .strip_prefix('/')?
            .split_once('/')?;
        Some(self.subject(PoolIncarnation::new(folder).ok()?))
    }

    fn subject(&self, pool_incarnation: PoolIncarnation) -> Subject {
        Subject {
            pool_incarnation,
            tenant_id: self.tenant_id.clone(),
            job_id: self.job_id.clone(),
            attempt: Ordinal::FIRST,
        }
    }
}
