//! Where everything lies in the bucket.
//!
//! | key | what |
//! |---|---|
//! | `claims/INCARNATION/JOB/ATTEMPT` | the claim: proof of who owns the attempt, kept |
//! | `starts/INCARNATION/JOB/ATTEMPT/START` | one per start of that attempt, until released |
//! | `videos/TENANT/JOB/INCARNATION/ATTEMPT-START.mp4` | an artifact |
//! | `videos/TENANT/JOB/INCARNATION/ATTEMPT-START.json` | its seal, written after it |
//! | `videos/TENANT/JOB/INCARNATION/ATTEMPT-START.manifest.json` | its manifest, written before the seal |
//! | `checkpoints/TENANT/JOB/INCARNATION/ATTEMPT-START/STEP.safetensors` | a checkpoint, until released |
//! | `checkpoints/TENANT/JOB/INCARNATION/ATTEMPT-START/STEP.json` | its record, written after it |
//! | `checkpoints/TENANT/JOB/INCARNATION/ATTEMPT-START/conditioning.safetensors` | what they share |
//!
//! The incarnation is in every key, so a recreated cluster over an old bucket neither trusts nor
//! trips over what the old one left. Ids are validated types: no key leaves its prefix.

use alloc::format;
use alloc::string::String;

use crate::ids::{JobId, Ordinal, PoolIncarnation, TenantId};

/// What an artifact's key ends with.
pub const VIDEO_SUFFIX: &str = ".mp4";
/// What a seal's key ends with.
pub const SEAL_SUFFIX: &str = ".json";
/// What a manifest's key ends with.
pub const MANIFEST_SUFFIX: &str = ".manifest.json";
/// What a checkpoint's key ends with.
pub const CHECKPOINT_SUFFIX: &str = ".safetensors";
/// What the key of a checkpoint's record ends with.
pub const CHECKPOINT_RECORD_SUFFIX: &str = ".json";

/// Name of what the checkpoints of one start share.
const CONDITIONING: &str = "conditioning.safetensors";

/// Where one checkpoint of a job stands: the later in this order, the better to go on from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Denoising steps finished.
    pub step: Ordinal,
    /// Attempt that made it.
    pub attempt: Ordinal,
    /// Start of that attempt which made it.
    pub start: Ordinal,
}

/// Who claims what: the part of a claim that decides its keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// Life of the pool's state.
    pub pool_incarnation: PoolIncarnation,
    /// Owner of the job.
    pub tenant_id: TenantId,
    /// The job.
    pub job_id: JobId,
    /// Which attempt at it.
    pub attempt: Ordinal,
}

impl Subject {
    /// Key of the claim.
    #[must_use]
    pub fn claim_key(&self) -> String {
        format!("{}/{}", self.job_claims_prefix(), self.attempt)
    }

    /// Prefix (without a final slash) of the claims of every attempt at the job.
    #[must_use]
    pub fn job_claims_prefix(&self) -> String {
        format!("claims/{}/{}", self.pool_incarnation, self.job_id)
    }

    /// Attempt of a claim's key, if `key` is one of this job's.
    #[must_use]
    pub fn parse_claim_key(&self, key: &str) -> Option<Ordinal> {
        let prefix = self.job_claims_prefix();
        let attempt = ordinal(key.strip_prefix(prefix.as_str())?.strip_prefix('/')?)?;
        (format!("{prefix}/{attempt}") == key).then_some(attempt)
    }

    /// Prefix (without a final slash) of the start markers of this attempt.
    #[must_use]
    pub fn starts_prefix(&self) -> String {
        format!("{}/{}", self.job_starts_prefix(), self.attempt)
    }

    /// Prefix (without a final slash) of the start markers of every attempt at the job.
    #[must_use]
    pub fn job_starts_prefix(&self) -> String {
        format!("starts/{}/{}", self.pool_incarnation, self.job_id)
    }

    /// Key of one start marker.
    #[must_use]
    pub fn start_key(&self, start: Ordinal) -> String {
        format!("{}/{start}", self.starts_prefix())
    }

    /// Prefix (without a final slash) of the job's artifacts and seals.
    #[must_use]
    pub fn videos_prefix(&self) -> String {
        format!(
            "videos/{}/{}/{}",
            self.tenant_id, self.job_id, self.pool_incarnation
        )
    }

    /// Key of the artifact that start `start` of attempt `attempt` may write.
    #[must_use]
    pub fn video_key(&self, attempt: Ordinal, start: Ordinal) -> String {
        format!("{}/{attempt}-{start}{VIDEO_SUFFIX}", self.videos_prefix())
    }

    /// Key of that artifact's seal.
    #[must_use]
    pub fn seal_key(&self, attempt: Ordinal, start: Ordinal) -> String {
        format!("{}/{attempt}-{start}{SEAL_SUFFIX}", self.videos_prefix())
    }

    /// Key of that artifact's manifest.
    #[must_use]
    pub fn manifest_key(&self, attempt: Ordinal, start: Ordinal) -> String {
        format!(
            "{}/{attempt}-{start}{MANIFEST_SUFFIX}",
            self.videos_prefix()
        )
    }

    /// Attempt and start of a seal's key, if `key` is one of this job's.
    #[must_use]
    pub fn parse_seal_key(&self, key: &str) -> Option<(Ordinal, Ordinal)> {
        let name = key
            .strip_prefix(self.videos_prefix().as_str())?
            .strip_prefix('/')?;
        let (attempt, start) = name.strip_suffix(SEAL_SUFFIX)?.split_once('-')?;
        let pair = (ordinal(attempt)?, ordinal(start)?);
        // "01-1" and "+1-1" parse too, but are not keys this crate writes.
        (self.seal_key(pair.0, pair.1) == key).then_some(pair)
    }

    /// Attempt and start of the video, seal or manifest under `key`, if it is one of this job's.
    #[must_use]
    pub fn parse_video_key(&self, key: &str) -> Option<(Ordinal, Ordinal)> {
        // The longest suffix first: a manifest's ends as a seal's does.
        [MANIFEST_SUFFIX, SEAL_SUFFIX, VIDEO_SUFFIX]
            .into_iter()
            .find_map(|suffix| {
                let stem = key.strip_suffix(suffix)?;
                self.parse_seal_key(&format!("{stem}{SEAL_SUFFIX}"))
            })
    }

    /// Prefix (without a final slash) of the job's checkpoints, of whichever attempt and start.
    #[must_use]
    pub fn checkpoints_prefix(&self) -> String {
        format!(
            "checkpoints/{}/{}/{}",
            self.tenant_id, self.job_id, self.pool_incarnation
        )
    }

    /// Key of the checkpoint at `place`.
    #[must_use]
    pub fn checkpoint_key(&self, place: Place) -> String {
        format!("{}{CHECKPOINT_SUFFIX}", self.checkpoint_stem(place))
    }

    /// Key of that checkpoint's record.
    #[must_use]
    pub fn checkpoint_record_key(&self, place: Place) -> String {
        format!("{}{CHECKPOINT_RECORD_SUFFIX}", self.checkpoint_stem(place))
    }

    /// Key of what the checkpoints of start `start` of attempt `attempt` share.
    #[must_use]
    pub fn conditioning_key(&self, attempt: Ordinal, start: Ordinal) -> String {
        let prefix = self.checkpoints_prefix();
        format!("{prefix}/{attempt}-{start}/{CONDITIONING}")
    }

    fn checkpoint_stem(&self, place: Place) -> String {
        let Place {
            step,
            attempt,
            start,
        } = place;
        // Five digits, so that a listing reads in order; nothing relies on it.
        format!("{}/{attempt}-{start}/{step:05}", self.checkpoints_prefix())
    }

    /// Place of a checkpoint record's key, if `key` is one of this job's.
    #[must_use]
    pub fn parse_checkpoint_record_key(&self, key: &str) -> Option<Place> {
        let name = key
            .strip_prefix(self.checkpoints_prefix().as_str())?
            .strip_prefix('/')?;
        let (origin, step) = name
            .strip_suffix(CHECKPOINT_RECORD_SUFFIX)?
            .split_once('/')?;
        let (attempt, start) = origin.split_once('-')?;
        let place = Place {
            step: ordinal(step)?,
            attempt: ordinal(attempt)?,
            start: ordinal(start)?,
        };
        (self.checkpoint_record_key(place) == key).then_some(place)
    }

    /// Whether `key` is that of a checkpoint of this job, of a checkpoint's record, or of what its
    /// checkpoints share.
    #[must_use]
    pub fn owns_checkpoint_key(&self, key: &str) -> bool {
        if let Some(folder) = key.strip_suffix(CONDITIONING) {
            let record = format!("{folder}00001{CHECKPOINT_RECORD_SUFFIX}");
            return self.parse_checkpoint_record_key(&record).is_some();
        }
        let record = key
            .strip_suffix(CHECKPOINT_SUFFIX)
            .map(|stem| format!("{stem}{CHECKPOINT_RECORD_SUFFIX}"));
        self.parse_checkpoint_record_key(record.as_deref().unwrap_or(key))
            .is_some()
    }

    /// Number of a start marker's key, if `key` is one of this attempt's.
    #[must_use]
    pub fn parse_start_key(&self, key: &str) -> Option<Ordinal> {
        let start = ordinal(
            key.strip_prefix(self.starts_prefix().as_str())?
                .strip_prefix('/')?,
        )?;
        (self.start_key(start) == key).then_some(start)
    }
}

fn ordinal(text: &str) -> Option<Ordinal> {
    Ordinal::new("key", text.parse().ok()?).ok()
}
