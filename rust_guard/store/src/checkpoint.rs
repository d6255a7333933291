//! Checkpoints in the bucket: put beside the denoising loop, found again by any later start.

use std::path::Path;

use bytes::Bytes;
use guard_core::checkpoint::{Checkpoint, Unusable, candidates, progress, rank};
use guard_core::ids::{Digest, Fingerprint};
use guard_core::keys::Place;
use guard_core::lifecycle::Event;
use guard_core::record::{Corrupt, MAX_BYTES as MAX_RECORD};
use guard_core::tensors::{MAX_BYTES, TensorFlaw, check};
use sha2::{Digest as _, Sha256};

use crate::bucket::{Found, hex};
use crate::claim::Claim;
use crate::conditioning::{BrokenOnes, StoredConditioning};
use crate::deadline::Deadline;
use crate::error::GuardError;
use crate::put_once::Once;
use crate::{Guard, local_file};

/// Records looked at before the job begins anew: no honest job leaves so many behind.
const MAX_TRIED: usize = 1_000;

/// A stored checkpoint and where it lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredCheckpoint {
    /// Key of the file in the bucket.
    pub key: String,
    /// What its record says.
    pub checkpoint: Checkpoint,
}

/// A checkpoint that was found and set aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RejectedCheckpoint {
    /// Key of its record.
    pub key: String,
    /// Why it was not used.
    pub why: Unusable,
}

impl Guard {
    /// Checks the safetensors file at `path` and stores it as this start's checkpoint after `step`
    /// of `total` steps; its record is written after it. `conditioning` is what [`Self::conditioning`]
    /// gave for the same claim, unless the file holds the embeddings itself.
    ///
    /// May be repeated with the same file.
    ///
    /// # Errors
    /// `BadCheckpoint` or `OutOfOrder` (nothing was uploaded), `ClaimConflict` when this start stored other bytes
    /// for that step, `InvalidId`, `StoreUnavailable`.
    pub async fn checkpoint(
        &self,
        claim: &Claim,
        path: &Path,
        (step, total): (i64, i64),
        fingerprint: Fingerprint,
        conditioning: Option<&StoredConditioning>,
    ) -> Result<StoredCheckpoint, GuardError> {
        let conditioning = conditioning.map(|apart| apart.of(claim)).transpose()?;
        let (step, total) = progress(step, total)?;
        let storing = Event::Checkpoint(step);
        claim.life.may(&storing)?;
        let bytes = load(path)?;
        check(&bytes)?;
        let checkpoint = Checkpoint {
            place: Place {
                step,
                attempt: claim.subject.attempt,
                start: claim.start,
            },
            total,
            spec_digest: claim.spec_digest.clone(),
            fingerprint,
            sha256: Digest::new(&hex(&Sha256::digest(&bytes)))?,
            size: bytes.len() as u64,
            conditioning,
        };
        let stored = stored(claim, checkpoint);
        let deadline = self.deadline_for(stored.checkpoint.size);
        let file = Once {
            key: &stored.key,
            sha256: &stored.checkpoint.sha256,
            content_type: "application/octet-stream",
            what: "checkpoint",
        };
        self.put_once(&file, bytes, &deadline).await?;
        self.write_record(claim, &stored.checkpoint, &deadline)
            .await?;
        claim.life.did(&storing)?;
        Ok(stored)
    }

    async fn write_record(
        &self,
        claim: &Claim,
        checkpoint: &Checkpoint,
        deadline: &Deadline,
    ) -> Result<(), GuardError> {
        let key = claim.subject.checkpoint_record_key(checkpoint.place);
        let body = checkpoint.to_json(&claim.subject);
        match self
            .bucket
            .create_or_read(&key, &body, MAX_RECORD, deadline)
            .await?
        {
            None => Ok(()),
            Some(Found::Body(held)) if held == body => Ok(()),
            Some(_) => Err(GuardError::ClaimConflict("checkpoint")),
        }
    }

    /// Finds the best checkpoint of this job, spec and incarnation, of whichever attempt and start,
    /// checks it and writes it to `path`.
    ///
    /// The newest step wins; among equal steps one of `preferred`; then the newest attempt and
    /// start. What cannot be used is set aside and reported, and the next best is tried. Where the
    /// embeddings are kept apart they are checked as well, and written to `conditioning`; without
    /// that path they are not looked at. Those whose fingerprint does not begin with `identity` were
    /// made by something else: they are passed over.
    ///
    /// # Errors
    /// `BadCheckpoint` when `path` cannot be written; `StoreUnavailable`.
    pub async fn latest_checkpoint(
        &self,
        claim: &Claim,
        path: &Path,
        conditioning: Option<&Path>,
        preferred: Option<&Fingerprint>,
        identity: &str,
    ) -> Result<(Option<StoredCheckpoint>, Vec<RejectedCheckpoint>), GuardError> {
        let deadline = self.deadline();
        let prefix = claim.subject.checkpoints_prefix();
        let keys = self.bucket.list(&prefix, &deadline).await?;
        let mut places = candidates(&claim.subject, keys.iter().map(String::as_str));
        places.truncate(MAX_TRIED);
        let mut rejected = Vec::new();
        let mut broken = BrokenOnes::default();
        for same_step in places.chunk_by(|a, b| a.step == b.step) {
            let mut found = Vec::new();
            for place in same_step {
                match self.read_record(claim, *place, &deadline).await? {
                    Ok(other) if !other.fingerprint.as_str().starts_with(identity) => {}
                    Ok(checkpoint) => found.push(checkpoint),
                    Err(why) => rejected.push(set_aside(claim, *place, why)),
                }
            }
            rank(&mut found, preferred);
            for checkpoint in found {
                match self
                    .fetch(claim, &checkpoint, conditioning, &mut broken)
                    .await?
                {
                    Ok(bytes) => {
                        local_file::replace(path, &bytes).map_err(|_| TensorFlaw::Unwritable)?;
                        return Ok((Some(stored(claim, checkpoint)), rejected));
                    }
                    Err(why) => rejected.push(set_aside(claim, checkpoint.place, why)),
                }
            }
        }
        Ok((None, rejected))
    }

    async fn read_record(
        &self,
        claim: &Claim,
        place: Place,
        deadline: &Deadline,
    ) -> Result<Result<Checkpoint, Unusable>, GuardError> {
        let key = claim.subject.checkpoint_record_key(place);
        let body = match self.bucket.read(&key, MAX_RECORD, deadline).await? {
            Found::Body(body) => body,
            Found::TooLong => return Ok(Err(Corrupt::TooLong.into())),
            Found::Missing => return Ok(Err(Unusable::Missing)),
        };
        Ok(Checkpoint::from_json(&body, &claim.subject, place)
            .map_err(Unusable::from)
            .and_then(|found| found.serves(&claim.spec_digest).map(|()| found)))
    }

    /// The checkpoint's bytes, once its conditioning lies at `conditioning`, if that is wanted.
    async fn fetch(
        &self,
        claim: &Claim,
        checkpoint: &Checkpoint,
        conditioning: Option<&Path>,
        broken: &mut BrokenOnes,
    ) -> Result<Result<Bytes, Unusable>, GuardError> {
        if let Some(why) = conditioning.and_then(|_| broken.known(checkpoint)) {
            return Ok(Err(why.into()));
        }
        let bytes = match self.download(claim, checkpoint).await? {
            Ok(bytes) => bytes,
            Err(why) => return Ok(Err(why)),
        };
        if let Some(path) = conditioning
            && let Err(why) = self.fetch_conditioning(claim, checkpoint, path).await?
        {
            broken.note(checkpoint, why);
            return Ok(Err(why.into()));
        }
        Ok(Ok(bytes))
    }

    /// The checkpoint's bytes: hashed first, and parsed only if they are what was stored.
    async fn download(
        &self,
        claim: &Claim,
        checkpoint: &Checkpoint,
    ) -> Result<Result<Bytes, Unusable>, GuardError> {
        let size = usize::try_from(checkpoint.size).unwrap_or(usize::MAX);
        let deadline = self.deadline_for(checkpoint.size);
        let key = checkpoint.key(&claim.subject);
        let bytes = match self.bucket.read(&key, size, &deadline).await? {
            Found::Body(bytes) => bytes,
            Found::TooLong => return Ok(Err(Unusable::OtherBytes)),
            Found::Missing => return Ok(Err(Unusable::Missing)),
        };
        if hex(&Sha256::digest(&bytes)) != checkpoint.sha256.as_str() || bytes.len() != size {
            return Ok(Err(Unusable::OtherBytes));
        }
        Ok(check(&bytes).map(|()| bytes).map_err(Unusable::from))
    }
}

fn stored(claim: &Claim, checkpoint: Checkpoint) -> StoredCheckpoint {
    StoredCheckpoint {
        key: checkpoint.key(&claim.subject),
        checkpoint,
    }
}

fn set_aside(claim: &Claim, place: Place, why: Unusable) -> RejectedCheckpoint {
    RejectedCheckpoint {
        key: claim.subject.checkpoint_record_key(place),
        why,
    }
}

/// Reads the file once: what is checked is what is uploaded, whatever happens to the file.
pub(crate) fn load(path: &Path) -> Result<Bytes, TensorFlaw> {
    let bytes = local_file::read(path, MAX_BYTES).map_err(|_| TensorFlaw::Unreadable)?;
    bytes.map(Bytes::from).ok_or(TensorFlaw::TooLarge)
}
