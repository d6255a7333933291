//! Claims and starts in the bucket.

use guard_core::claim::{
    ClaimRecord, Denied, RecordRef, Standing, decide, start_is_ours, start_json,
};
use guard_core::ids::{Digest, Ordinal, PutId};
use guard_core::keys::Subject;
use guard_core::record::{Corrupt, MAX_BYTES};

use crate::Guard;
use crate::bucket::Found;
use crate::deadline::Deadline;
use crate::error::GuardError;

/// No honest attempt is started more often; it bounds the search for a free number.
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
}

impl Guard {
    /// Claims an attempt for the record that ordered it, and takes a start number.
    ///
    /// `put_id` names this call; drawn from the operating system when none is given.
    ///
    /// # Errors
    /// `DuplicateClaim`, `ClaimConflict`, `CorruptRecord`, `TooManyStarts`, `StoreUnavailable`.
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
        let start = self.take_start(&ours, &deadline).await?;
        Ok(Claim {
            subject: ours.subject,
            spec_digest: ours.spec_digest,
            standing,
            start,
        })
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
                    start = self.last_start(&ours.subject, deadline).await?.next();
                }
                Some(_) => start = start.next(),
            }
        }
        Err(GuardError::TooManyStarts(start.get()))
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
