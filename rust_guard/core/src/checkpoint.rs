//! Checkpoints: the record beside a job's latents, and which of them a start goes on from.

use alloc::string::String;
use alloc::vec::Vec;
use core::cmp::Reverse;

use serde::{Deserialize, Serialize};

use crate::ids::{Digest, Fingerprint, InvalidId, Ordinal};
use crate::keys::{Place, Subject};
use crate::record::{self, Checked, Corrupt};
use crate::tensors::{MAX_BYTES, TensorFlaw};

/// What a start's checkpoints share: the prompts' embeddings, stored once, apart from the latents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conditioning {
    /// Of the file's bytes.
    pub sha256: Digest,
    /// Bytes.
    pub size: u64,
}

/// A stored checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Steps finished, and who finished them.
    pub place: Place,
    /// Steps of the whole job.
    pub total: Ordinal,
    /// Digest of the canonical spec it belongs to.
    pub spec_digest: Digest,
    /// Model, hardware and software that computed it.
    pub fingerprint: Fingerprint,
    /// Of the file's bytes.
    pub sha256: Digest,
    /// Bytes.
    pub size: u64,
    /// What is needed beside it, if that is kept apart.
    pub conditioning: Option<Conditioning>,
}

/// What is wrong with the conditioning that a checkpoint names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// It is not there.
    #[error("missing")]
    Missing,
    /// It has other bytes than the checkpoint's record says.
    #[error("of other bytes")]
    OtherBytes,
    /// It is what was stored, but no conditioning.
    #[error("unusable: {0}")]
    Flawed(#[from] TensorFlaw),
}

/// Why a checkpoint that was found is not used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// Its record is not one.
    #[error("the checkpoint's record is {0}")]
    Corrupt(#[from] Corrupt),
    /// It is of another spec.
    #[error("the checkpoint is of another spec")]
    OtherSpec,
    /// The file it speaks of is not there, or the record went while it was looked for.
    #[error("the checkpoint is missing")]
    Missing,
    /// The file has other bytes than the record says.
    #[error("the checkpoint has other bytes")]
    OtherBytes,
    /// The file is what was stored, but not a checkpoint.
    #[error("the checkpoint is unusable: {0}")]
    Flawed(#[from] TensorFlaw),
    /// The file is good, but what is needed beside it is not.
    #[error("the checkpoint's conditioning is {0}")]
    Conditioning(#[from] Broken),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    version: u32,
    key: String,
    attempt: i64,
    start: i64,
    step: i64,
    total: i64,
    spec_digest: String,
    fingerprint: String,
    sha256: String,
    size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    conditioning_sha256: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    conditioning_size: Option<u64>,
    #[serde(default)]
    check: Option<String>,
}

impl Checked for Stored {
    fn check(&mut self) -> &mut Option<String> {
        &mut self.check
    }
}

/// Takes a step and the number of steps of the job it belongs to.
///
/// # Errors
/// [`InvalidId`] when either is below 1, or the step is beyond the total.
pub fn progress(step: i64, total: i64) -> Result<(Ordinal, Ordinal), InvalidId> {
    let (step, total) = (Ordinal::new("step", step)?, Ordinal::new("total", total)?);
    if step > total {
        return Err(InvalidId {
            field: "step",
            rule: "at most the total",
        });
    }
    Ok((step, total))
}

impl Checkpoint {
    /// Key of the file, for a job whose keys `subject` makes.
    #[must_use]
    pub fn key(&self, subject: &Subject) -> String {
        subject.checkpoint_key(self.place)
    }

    /// As its record is stored: JSON. The same checkpoint gives the same bytes.
    #[must_use]
    pub fn to_json(&self, subject: &Subject) -> Vec<u8> {
        record::to_checked_json(Stored {
            version: record::VERSION,
            key: self.key(subject),
            attempt: self.place.attempt.get().into(),
            start: self.place.start.get().into(),
            step: self.place.step.get().into(),
            total: self.total.get().into(),
            spec_digest: self.spec_digest.as_str().into(),
            fingerprint: self.fingerprint.as_str().into(),
            sha256: self.sha256.as_str().into(),
            size: self.size,
            conditioning_sha256: self
                .conditioning
                .as_ref()
                .map(|apart| apart.sha256.as_str().into()),
            conditioning_size: self.conditioning.as_ref().map(|apart| apart.size),
            check: None,
        })
    }

    /// Reads the record stored at `place`; nothing in it is trusted.
    ///
    /// # Errors
    /// [`Corrupt`], also when the record names another checkpoint than the one beside it.
    pub fn from_json(bytes: &[u8], subject: &Subject, place: Place) -> Result<Self, Corrupt> {
        let stored: Stored = record::parse(bytes)?;
        record::check_version(stored.version)?;
        if Ordinal::new("attempt", stored.attempt)? != place.attempt {
            return Err(Corrupt::Misplaced("attempt"));
        }
        if Ordinal::new("start", stored.start)? != place.start {
            return Err(Corrupt::Misplaced("start"));
        }
        let (step, total) = progress(stored.step, stored.total)?;
        if step != place.step {
            return Err(Corrupt::Misplaced("step"));
        }
        if stored.key != subject.checkpoint_key(place) {
            return Err(Corrupt::Misplaced("checkpoint"));
        }
        let conditioning = match (stored.conditioning_sha256, stored.conditioning_size) {
            (None, None) => None,
            (Some(sha256), Some(size)) => Some(Conditioning {
                sha256: Digest::new(&sha256)?,
                size: bounded(size)?,
            }),
            _ => return Err(Corrupt::Malformed),
        };
        let read = Self {
            place,
            total,
            spec_digest: Digest::new(&stored.spec_digest)?,
            fingerprint: Fingerprint::new(&stored.fingerprint)?,
            sha256: Digest::new(&stored.sha256)?,
            size: bounded(stored.size)?,
            conditioning,
        };
        // Byte for byte what this crate writes, its check included.
        if read.to_json(subject) == bytes {
            Ok(read)
        } else {
            Err(Corrupt::Malformed)
        }
    }

    /// Whether a job of spec `wanted` may go on from this checkpoint.
    ///
    /// # Errors
    /// [`Unusable::OtherSpec`] when it belongs to another spec.
    pub fn serves(&self, wanted: &Digest) -> Result<(), Unusable> {
        if self.spec_digest == *wanted {
            Ok(())
        } else {
            Err(Unusable::OtherSpec)
        }
    }
}

fn bounded(size: u64) -> Result<u64, InvalidId> {
    if (1..=MAX_BYTES).contains(&size) {
        Ok(size)
    } else {
        Err(InvalidId {
            field: "size",
            rule: "from 1 to 64 MiB",
        })
    }
}

/// The checkpoints whose records are among the listed `keys`, the best to go on from first: the
/// newest step, then the newest attempt, then its newest start. Other keys are passed over.
#[must_use]
pub fn candidates<'a>(subject: &Subject, keys: impl IntoIterator<Item = &'a str>) -> Vec<Place> {
    let mut places: Vec<Place> = keys
        .into_iter()
        .filter_map(|key| subject.parse_checkpoint_record_key(key))
        .collect();
    places.sort_unstable_by_key(|place| Reverse(*place));
    places.dedup();
    places
}

/// Puts the best to go on from first: the newest step; among equal steps one computed by
/// `preferred`, which goes on bit for bit; then as [`candidates`].
pub fn rank(found: &mut [Checkpoint], preferred: Option<&Fingerprint>) {
    found.sort_by_key(|checkpoint| {
        let same = preferred.is_some_and(|wanted| *wanted == checkpoint.fingerprint);
        Reverse((checkpoint.place.step, same, checkpoint.place))
    });
}
