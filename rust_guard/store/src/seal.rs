//! Artifacts: checked, hashed, put conditionally, and sealed by a record beside them.

use std::path::Path;

use bytes::Bytes;
use guard_core::container::{Expected, Flaw, check};
use guard_core::ids::Digest;
use guard_core::lifecycle::Event;
use guard_core::record::{Corrupt, MAX_BYTES};
use guard_core::seal::{Seal, Unusable};
use sha2::{Digest as _, Sha256};

use crate::bucket::{Found, hex};
use crate::claim::Claim;
use crate::deadline::Deadline;
use crate::error::GuardError;
use crate::manifest::Document;
use crate::put_once::Once;
use crate::{Guard, local_file, mp4};

/// Longer videos are refused: ten seconds of 768p stay far below it.
const MAX_ARTIFACT: u64 = 512 << 20;

/// A sealed artifact, as it is announced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    /// Key in the bucket.
    pub key: String,
    /// SHA-256 of its bytes, hex.
    pub sha256: String,
    /// Bytes.
    pub size: u64,
    /// Frames, rate and size of the video.
    pub video: Expected,
    /// Key and SHA-256 (hex) of the manifest beside it, if there is one.
    pub manifest: Option<(String, String)>,
}

/// A seal that was found and set aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// Key of the seal.
    pub key: String,
    /// Why it was not used.
    pub why: Unusable,
}

impl Guard {
    /// Checks the MP4 at `path` against `expected`, uploads it under this start's key and seals it.
    /// A `manifest` is put beside it before the seal, which vouches for both.
    ///
    /// May be repeated with the same file, not with another: a new render is a new start.
    ///
    /// # Errors
    /// `BadArtifact`, `BadManifest`, `OutOfOrder` or `ClaimLost` (nothing was uploaded),
    /// `ClaimConflict` when this start sealed other bytes, `StoreUnavailable`.
    pub async fn seal(
        &self,
        claim: &Claim,
        path: &Path,
        expected: Expected,
        manifest: Option<&str>,
    ) -> Result<Artifact, GuardError> {
        let manifest = manifest.map(Document::new).transpose()?;
        let bytes = load(path)?;
        check(&mp4::contents(&bytes)?, &expected)?;
        let seal = Seal {
            attempt: claim.subject.attempt,
            start: claim.start,
            spec_digest: claim.spec_digest.clone(),
            sha256: Digest::new(&hex(&Sha256::digest(&bytes)))?,
            size: bytes.len() as u64,
            video: expected,
            manifest: manifest.as_ref().map(|document| document.sha256.clone()),
        };
        let deadline = self.deadline_for(seal.size);
        let video = Once {
            key: &artifact(claim, &seal).key,
            sha256: &seal.sha256,
            content_type: "video/mp4",
            what: "artifact",
        };
        let sealing = Event::Seal(seal.sha256.clone());
        self.may_still(claim, &sealing, &deadline).await?;
        self.put_once(&video, bytes, &deadline).await?;
        if let Some(document) = manifest {
            let key = claim.subject.manifest_key(seal.attempt, seal.start);
            self.put_manifest(&key, document, &deadline).await?;
        }
        self.write_seal(claim, &seal, &deadline).await?;
        claim.life.did(&sealing)?;
        Ok(artifact(claim, &seal))
    }

    async fn write_seal(
        &self,
        claim: &Claim,
        seal: &Seal,
        deadline: &Deadline,
    ) -> Result<(), GuardError> {
        let key = claim.subject.seal_key(seal.attempt, seal.start);
        let body = seal.to_json(&claim.subject);
        match self
            .bucket
            .create_or_read(&key, &body, MAX_BYTES, deadline)
            .await?
        {
            None => Ok(()),
            Some(Found::Body(held)) if held == body => Ok(()),
            Some(_) => Err(GuardError::ClaimConflict("seal")),
        }
    }

    /// The sealed artifact of this job and spec, of whichever attempt and start sealed first.
    ///
    /// Its bytes are hashed again. Seals that cannot be used are set aside and reported.
    ///
    /// # Errors
    /// `StoreUnavailable`.
    pub async fn sealed(
        &self,
        claim: &Claim,
    ) -> Result<(Option<Artifact>, Vec<Rejected>), GuardError> {
        let deadline = self.deadline();
        let keys = self
            .bucket
            .list(&claim.subject.videos_prefix(), &deadline)
            .await?;
        let mut seals: Vec<_> = keys
            .iter()
            .filter_map(|key| Some((claim.subject.parse_seal_key(key)?, key)))
            .collect();
        seals.sort_unstable();
        let mut rejected = Vec::new();
        for (_, key) in seals {
            match self.adopt(claim, key, &deadline).await? {
                Ok(seal) => {
                    // Whoever has sealed another, or has ended, may look and not announce it.
                    let _ = claim.life.did(&Event::Adopt(seal.sha256.clone()));
                    return Ok((Some(artifact(claim, &seal)), rejected));
                }
                Err(why) => rejected.push(Rejected {
                    key: key.clone(),
                    why,
                }),
            }
        }
        Ok((None, rejected))
    }

    async fn adopt(
        &self,
        claim: &Claim,
        key: &str,
        deadline: &Deadline,
    ) -> Result<Result<Seal, Unusable>, GuardError> {
        let body = match self.bucket.read(key, MAX_BYTES, deadline).await? {
            Found::Body(body) => body,
            Found::TooLong => return Ok(Err(Corrupt::TooLong.into())),
            Found::Missing => return Ok(Err(Unusable::Missing)),
        };
        let seal = match Seal::from_json(&body, &claim.subject, key) {
            Ok(seal) => seal,
            Err(corrupt) => return Ok(Err(corrupt.into())),
        };
        if let Err(why) = seal.serves(&claim.spec_digest) {
            return Ok(Err(why));
        }
        if seal.size > MAX_ARTIFACT {
            return Ok(Err(Unusable::OtherBytes));
        }
        let deadline = self.deadline_for(seal.size);
        let video = seal.video_key(&claim.subject);
        Ok(
            match self.bucket.sha256(&video, seal.size, &deadline).await? {
                Some(sha256) if sha256 == seal.sha256.as_str() => Ok(seal),
                Some(_) => Err(Unusable::OtherBytes),
                None => Err(Unusable::Missing),
            },
        )
    }
}

fn artifact(claim: &Claim, seal: &Seal) -> Artifact {
    Artifact {
        key: seal.video_key(&claim.subject),
        sha256: seal.sha256.as_str().to_owned(),
        size: seal.size,
        video: seal.video,
        manifest: seal.manifest.as_ref().map(|sha256| {
            let key = claim.subject.manifest_key(seal.attempt, seal.start);
            (key, sha256.as_str().to_owned())
        }),
    }
}

/// Reads the file once: what is checked is what is uploaded, whatever happens to the file.
fn load(path: &Path) -> Result<Bytes, Flaw> {
    let bytes = local_file::read(path, MAX_ARTIFACT).map_err(|_| Flaw::Unreadable)?;
    bytes.map(Bytes::from).ok_or(Flaw::TooLarge)
}
