//! Manifests in the bucket: put beside an artifact, vouched for by its seal.

use bytes::Bytes;
use guard_core::ids::Digest;
use guard_core::manifest::{MAX_BYTES, ManifestFlaw, check};
use sha2::{Digest as _, Sha256};

use crate::bucket::{Found, hex};
use crate::deadline::Deadline;
use crate::error::GuardError;
use crate::put_once::Once;
use crate::{Artifact, Guard};

/// A manifest that passed its check.
pub struct Document {
    bytes: Bytes,
    /// Of the bytes.
    pub sha256: Digest,
}

impl Document {
    /// Checks `text`.
    ///
    /// # Errors
    /// `BadManifest`.
    pub fn new(text: &str) -> Result<Self, GuardError> {
        check(text.as_bytes())?;
        Ok(Self {
            bytes: Bytes::copy_from_slice(text.as_bytes()),
            sha256: Digest::new(&hex(&Sha256::digest(text)))?,
        })
    }
}

impl Guard {
    pub(crate) async fn put_manifest(
        &self,
        key: &str,
        document: Document,
        deadline: &Deadline,
    ) -> Result<(), GuardError> {
        let once = Once {
            key,
            sha256: &document.sha256,
            content_type: "application/json",
            what: "manifest",
        };
        self.put_once(&once, document.bytes, deadline).await
    }

    /// The manifest of a sealed artifact, if it has one; its bytes are hashed again.
    ///
    /// # Errors
    /// `BadManifest` when it is not what the seal vouches for; `StoreUnavailable`.
    pub async fn manifest(&self, artifact: &Artifact) -> Result<Option<String>, GuardError> {
        let Some((key, sha256)) = &artifact.manifest else {
            return Ok(None);
        };
        let bytes = match self.bucket.read(key, MAX_BYTES, &self.deadline()).await? {
            Found::Body(bytes) => bytes,
            Found::TooLong => return Err(ManifestFlaw::TooLong.into()),
            Found::Missing => return Err(ManifestFlaw::Missing.into()),
        };
        if hex(&Sha256::digest(&bytes)) != *sha256 {
            return Err(ManifestFlaw::OtherBytes.into());
        }
        check(&bytes)?;
        let text = String::from_utf8(bytes.into()).map_err(|_| ManifestFlaw::Malformed)?;
        Ok(Some(text))
    }
}
