//! Manifests: what is needed to render a video again, written by the renderer, kept beside it.
//!
//! The document is the renderer's own; the guard keeps it small and whole, and its hash in the seal.

use core::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};

/// A manifest is never longer than this many bytes.
pub const MAX_BYTES: usize = 64 * 1024;

/// What is wrong with a manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ManifestFlaw {
    /// Longer than [`MAX_BYTES`].
    #[error("the manifest is longer than {MAX_BYTES} bytes")]
    TooLong,
    /// Not one JSON object.
    #[error("the manifest is not a JSON object")]
    Malformed,
    /// Not there, though a seal speaks of it.
    #[error("the manifest is missing")]
    Missing,
    /// Other bytes than the seal says.
    #[error("the manifest has other bytes")]
    OtherBytes,
}

/// Checks a manifest: one JSON object of at most [`MAX_BYTES`].
///
/// # Errors
/// [`ManifestFlaw::TooLong`] or [`ManifestFlaw::Malformed`].
pub fn check(bytes: &[u8]) -> Result<(), ManifestFlaw> {
    if bytes.len() > MAX_BYTES {
        return Err(ManifestFlaw::TooLong);
    }
    serde_json::from_slice::<Object>(bytes)
        .map(|_| ())
        .map_err(|_| ManifestFlaw::Malformed)
}

/// Any JSON object; nothing of it is kept.
struct Object;

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = Object;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Object)
            }
        }
        deserializer.deserialize_map(Fields)
    }
}
