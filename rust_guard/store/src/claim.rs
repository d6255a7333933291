//! Claims and starts in the bucket.

use guard_core::claim::{
    ClaimRecord, Denied, MAX_FRUITLESS, RecordRef, Standing, decide, fruitless, start_is_ours,
    start_json,
};
use guard_core::ids::{Digest, Ordinal, PutId};
use guard_core::keys::Subject;
use guard_core::lifecycle::Relation;
use guard_core::record::{Corrupt, MAX_BYTES};

use crate::Guard;
use crate::bucket::Found;
use crate::deadline::Deadline;
use crate::error::GuardError;
use crate::life::Life;

/// However many checkpoints it leaves, no honest attempt is started more often; it bounds the
/// search for a free number.
const MAX_STARTS: u32 = 10_000;

/// The right to work on an attempt, and the number of this start of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// What is claimed.
    pub subject: Subject,
    /// Digest of the job's canonical spec.
    pub spec_digest: Digest,
    /// Whether this claim is new, or the same record came again.
    pub standing: Standing,
    /// Number of this start: no other process has it, so nobody else writes its keys.
    pub start: Ordinal,
    /// Where this start is.
    pub life: Life,
    /// What was put, or would have been.
    pub(crate) ours: ClaimRecord,
}

impl Guard {
    /// Claims an attempt for the record that ordered it, and takes a start number.
    ///
    /// `put_id` names this call; drawn from the operating system when none is given.
    ///
    /// # Errors
    /// `DuplicateClaim`, `ClaimConflict`, `CorruptRecord`, `StaleAttempt`, `TooManyStarts`,
    /// `StoreUnavailable`.
    pub async fn claim(
        &self,
        subject: Subject,
        record: RecordRef,
        spec_digest: Digest,
        put_id: Option<PutId>,
    ) -> Result<Claim, GuardError> {
        let deadline = self.deadline();
        let put_id = put_id.map_or_else(fresh_put_id, Ok)?;
        let ours = ClaimRecord {
            subject,
            record,
            spec_digest,
            put_id,
        };
        let standing = self.stand(&ours, &deadline).await?;
        let newest = self.newest_attempt(&ours.subject, &deadline).await?;
        let life = Life::claimed(Relation::of_claimant(&ours, &ours, newest))?;
        let start = self.take_start(&ours, &deadline).await?;
        Ok(Claim {
            subject: ours.subject.clone(),
            spec_digest: ours.spec_digest.clone(),
            standing,
            start,
            life,
            ours,
        })
    }

    /// The newest attempt at the job that anybody has claimed.
    async fn newest_attempt(
        &self,
        subject: &Subject,
        deadline: &Deadline,
    ) -> Result<Ordinal, GuardError> {
        let keys = self
            .bucket
            .list(&subject.job_claims_prefix(), deadline)
            .await?;
        let attempts = keys.iter().filter_map(|key| subject.parse_claim_key(key));
        Ok(attempts.max().unwrap_or(subject.attempt))
    }

    async fn stand(&self, ours: &ClaimRecord, deadline: &Deadline) -> Result<Standing, GuardError> {
        let key = ours.subject.claim_key();
        let found = self
            .bucket
            .create_or_read(&key, &ours.to_json(), MAX_BYTES, deadline)
            .await?;
        let verdict = match found {
            None => return Ok(Standing::Won),
            Some(Found::Body(body)) => ClaimRecord::from_json(&body)
                .map_err(Denied::from)
                .and_then(|held| decide(ours, &held)),
            Some(_) => Err(Corrupt::TooLong.into()),
        };
        verdict.map_err(|denied| GuardError::denied(denied, &key))
    }

    async fn take_start(
        &self,
        ours: &ClaimRecord,
        deadline: &Deadline,
    ) -> Result<Ordinal, GuardError> {
        let body = start_json(&ours.put_id);
        let mut start = Ordinal::FIRST;
        while start.get() <= MAX_STARTS {
            let key = ours.subject.start_key(start);
            match self
                .bucket
                .create_or_read(&key, &body, MAX_BYTES, deadline)
                .await?
            {
                None => return Ok(start),
                Some(Found::Body(held)) if start_is_ours(&held, &ours.put_id) => return Ok(start),
                // The first refusal is worth a listing; after it, numbers are tried one by one.
                Some(_) if start == Ordinal::FIRST => {
                    let last = self.last_start(&ours.subject, deadline).await?;
                    self.refuse_poison(&ours.subject, last, deadline).await?;
                    start = last.next();
                }
                Some(_) => start = start.next(),
            }
        }
        Err(GuardError::TooManyStarts(start.get()))
    }

    /// Refuses an attempt that ended start after start without a checkpoint. A sealed video of the
    /// job, whoever made it, leaves nothing to render that could do harm.
    async fn refuse_poison(
        &self,
        subject: &Subject,
        last: Ordinal,
        deadline: &Deadline,
    ) -> Result<(), GuardError> {
        if last.get() < MAX_FRUITLESS {
            return Ok(());
        }
        let (checkpoints, videos) = (subject.checkpoints_prefix(), subject.videos_prefix());
        let (checkpoints, videos) = tokio::try_join!(
            self.bucket.list(&checkpoints, deadline),
            self.bucket.list(&videos, deadline),
        )?;
        let marks = checkpoints
            .iter()
            .filter_map(|key| subject.parse_checkpoint_record_key(key))
            .filter(|place| place.attempt == subject.attempt)
            .map(|place| place.start);
        let sealed = videos
            .iter()
            .any(|key| subject.parse_seal_key(key).is_some());
        if sealed || fruitless(last, marks) < MAX_FRUITLESS {
            return Ok(());
        }
        Err(GuardError::TooManyStarts(last.get()))
    }

    async fn last_start(
        &self,
        subject: &Subject,
        deadline: &Deadline,
    ) -> Result<Ordinal, GuardError> {
        let keys = self.bucket.list(&subject.starts_prefix(), deadline).await?;
        let starts = keys.iter().filter_map(|key| subject.parse_start_key(key));
        Ok(starts.max().unwrap_or(Ordinal::FIRST))
    }
}

fn fresh_put_id() -> Result<PutId, GuardError> {
    Ok(PutId::new(&uuid::Uuid::new_v4().to_string())?)
}
