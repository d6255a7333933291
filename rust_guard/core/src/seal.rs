//! Seals: the record beside an artifact which says that it was checked, and what it was.

use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::container::Expected;
use crate::ids::{Digest, InvalidId, Ordinal};
use crate::keys::Subject;
use crate::record::{self, Checked, Corrupt};

/// A sealed artifact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seal {
    /// Attempt that made it.
    pub attempt: Ordinal,
    /// Start of that attempt which made it.
    pub start: Ordinal,
    /// Digest of the canonical spec it was made for.
    pub spec_digest: Digest,
    /// Of the MP4's bytes.
    pub sha256: Digest,
    /// Bytes.
    pub size: u64,
    /// Frames, rate and size of the video.
    pub video: Expected,
    /// SHA-256 of the manifest beside it, if there is one.
    pub manifest: Option<Digest>,
}

/// Why a seal that was found is not used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// It is not a seal.
    #[error("the seal is {0}")]
    Corrupt(#[from] Corrupt),
    /// It is of another spec.
    #[error("the seal is of another spec")]
    OtherSpec,
    /// The artifact it speaks of is not there.
    #[error("the sealed artifact is missing")]
    Missing,
    /// The artifact has other bytes than the seal says.
    #[error("the sealed artifact has other bytes")]
    OtherBytes,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    version: u32,
    key: String,
    attempt: i64,
    start: i64,
    spec_digest: String,
    sha256: String,
    size: u64,
    frames: u32,
    fps: u32,
    width: u32,
    height: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    manifest_sha256: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    check: Option<String>,
}

impl Checked for Stored {
    fn check(&mut self) -> &mut Option<String> {
        &mut self.check
    }
}

impl Seal {
    /// Key of the artifact, for a job whose keys `subject` makes.
    #[must_use]
    pub fn video_key(&self, subject: &Subject) -> String {
        subject.video_key(self.attempt, self.start)
    }

    /// As it is stored: JSON, with a check of its own. The same seal gives the same bytes.
    #[must_use]
    pub fn to_json(&self, subject: &Subject) -> Vec<u8> {
        record::to_checked_json(self.stored(subject))
    }

    fn stored(&self, subject: &Subject) -> Stored {
        Stored {
            version: record::VERSION,
            key: self.video_key(subject),
            attempt: self.attempt.get().into(),
            start: self.start.get().into(),
            spec_digest: self.spec_digest.as_str().into(),
            sha256: self.sha256.as_str().into(),
            size: self.size,
            frames: self.video.frames,
            fps: self.video.fps,
            width: self.video.width,
            height: self.video.height,
            manifest_sha256: self.manifest.as_ref().map(|digest| digest.as_str().into()),
            check: None,
        }
    }

    /// Reads the seal stored under `key`; nothing in it is trusted. It is taken only byte for byte as
    /// this crate writes it.
    ///
    /// # Errors
    /// [`Corrupt`], also when the seal names another artifact than the one beside it.
    pub fn from_json(bytes: &[u8], subject: &Subject, key: &str) -> Result<Self, Corrupt> {
        let (attempt, start) = subject
            .parse_seal_key(key)
            .ok_or(Corrupt::Misplaced("job"))?;
        let stored: Stored = record::parse(bytes)?;
        record::check_version(stored.version)?;
        if Ordinal::new("attempt", stored.attempt)? != attempt {
            return Err(Corrupt::Misplaced("attempt"));
        }
        if Ordinal::new("start", stored.start)? != start {
            return Err(Corrupt::Misplaced("start"));
        }
        if stored.key != subject.video_key(attempt, start) {
            return Err(Corrupt::Misplaced("artifact"));
        }
        if [stored.frames, stored.fps, stored.width, stored.height].contains(&0) || stored.size == 0
        {
            return Err(InvalidId {
                field: "video",
                rule: "of at least one frame, pixel and byte",
            }
            .into());
        }
        let read = Self {
            attempt,
            start,
            spec_digest: Digest::new(&stored.spec_digest)?,
            sha256: Digest::new(&stored.sha256)?,
            size: stored.size,
            video: Expected {
                frames: stored.frames,
                fps: stored.fps,
                width: stored.width,
                height: stored.height,
            },
            manifest: stored
                .manifest_sha256
                .map(|digest| Digest::new(&digest))
                .transpose()?,
        };
        record::verify(read.stored(subject), bytes)?;
        Ok(read)
    }

    /// Whether this seal may be adopted by a job of spec `wanted`.
    ///
    /// # Errors
    /// [`Unusable::OtherSpec`] when it was made for another spec.
    pub fn serves(&self, wanted: &Digest) -> Result<(), Unusable> {
        if self.spec_digest == *wanted {
            Ok(())
        } else {
            Err(Unusable::OtherSpec)
        }
    }
}
