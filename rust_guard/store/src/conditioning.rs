//! What the checkpoints of one start share: the prompts' embeddings, stored once.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use guard_core::checkpoint::{Broken, Checkpoint, Conditioning};
use guard_core::ids::{Digest, InvalidId};
use guard_core::keys::Place;
use guard_core::tensors::{TensorFlaw, check_conditioning};
use sha2::{Digest as _, Sha256};

use crate::bucket::{Found, hex};
use crate::checkpoint::load;
use crate::claim::Claim;
use crate::error::GuardError;
use crate::put_once::Once;
use crate::{Guard, local_file};

/// A stored conditioning and where it lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredConditioning {
    /// Key of the file in the bucket.
    pub key: String,
    /// What the records of its checkpoints say of it.
    pub conditioning: Conditioning,
}

impl StoredConditioning {
    /// As the record of a checkpoint made under `claim` names it.
    pub(crate) fn of(&self, claim: &Claim) -> Result<Conditioning, InvalidId> {
        if self.key == key(claim) {
            Ok(self.conditioning.clone())
        } else {
            Err(InvalidId {
                field: "conditioning",
                rule: "stored under the same claim",
            })
        }
    }
}

impl Guard {
    /// Checks the safetensors file at `path` and stores it for the checkpoints of this start: the
    /// prompts' embeddings and their masks.
    ///
    /// May be repeated with the same file.
    ///
    /// # Errors
    /// `BadCheckpoint` (nothing was uploaded), `ClaimConflict` when this start stored other bytes,
    /// `StoreUnavailable`.
    pub async fn conditioning(
        &self,
        claim: &Claim,
        path: &Path,
    ) -> Result<StoredConditioning, GuardError> {
        let bytes = load(path)?;
        check_conditioning(&bytes)?;
        let stored = StoredConditioning {
            key: key(claim),
            conditioning: Conditioning {
                sha256: Digest::new(&hex(&Sha256::digest(&bytes)))?,
                size: bytes.len() as u64,
            },
        };
        let file = Once {
            key: &stored.key,
            sha256: &stored.conditioning.sha256,
            content_type: "application/octet-stream",
            what: "conditioning",
        };
        let deadline = self.deadline_for(stored.conditioning.size);
        self.put_once(&file, bytes, &deadline).await?;
        Ok(stored)
    }

    /// Writes the conditioning of `checkpoint` to `path`, checked like it; where it has none, no
    /// file is left there that could be taken for it.
    pub(crate) async fn fetch_conditioning(
        &self,
        claim: &Claim,
        checkpoint: &Checkpoint,
        path: &Path,
    ) -> Result<Result<(), Broken>, GuardError> {
        let Some(apart) = &checkpoint.conditioning else {
            remove(path)?;
            return Ok(Ok(()));
        };
        let Place { attempt, start, .. } = checkpoint.place;
        let key = claim.subject.conditioning_key(attempt, start);
        let size = usize::try_from(apart.size).unwrap_or(usize::MAX);
        let deadline = self.deadline_for(apart.size);
        let bytes = match self.bucket.read(&key, size, &deadline).await? {
            Found::Body(bytes) => bytes,
            Found::TooLong => return Ok(Err(Broken::OtherBytes)),
            Found::Missing => return Ok(Err(Broken::Missing)),
        };
        if hex(&Sha256::digest(&bytes)) != apart.sha256.as_str() {
            return Ok(Err(Broken::OtherBytes));
        }
        if let Err(flaw) = check_conditioning(&bytes) {
            return Ok(Err(flaw.into()));
        }
        local_file::replace(path, &bytes).map_err(|_| TensorFlaw::Unwritable)?;
        Ok(Ok(()))
    }
}

/// The conditionings found broken in one search, so that each is fetched once.
#[derive(Debug, Default)]
pub struct BrokenOnes(Vec<(Place, Conditioning, Broken)>);

impl BrokenOnes {
    /// What is wrong with the conditioning of `checkpoint`, if that is known.
    pub fn known(&self, checkpoint: &Checkpoint) -> Option<Broken> {
        let same = |(place, apart, _): &&(Place, Conditioning, Broken)| {
            (place.attempt, place.start) == (checkpoint.place.attempt, checkpoint.place.start)
                && Some(apart) == checkpoint.conditioning.as_ref()
        };
        self.0.iter().find(same).map(|(_, _, why)| *why)
    }

    /// Remembers it.
    pub fn note(&mut self, checkpoint: &Checkpoint, why: Broken) {
        if let Some(apart) = &checkpoint.conditioning {
            self.0.push((checkpoint.place, apart.clone(), why));
        }
    }
}

fn key(claim: &Claim) -> String {
    let subject = &claim.subject;
    subject.conditioning_key(subject.attempt, claim.start)
}

fn remove(path: &Path) -> Result<(), TensorFlaw> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(TensorFlaw::Unwritable),
        _ => Ok(()),
    }
}
