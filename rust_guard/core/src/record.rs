//! Stored JSON, read with suspicion: bounded, versioned, every field checked again.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::ids::InvalidId;

/// Version written into every stored record.
pub const VERSION: u32 = 1;
/// A stored record is never longer than this many bytes.
pub const MAX_BYTES: usize = 16 * 1024;

/// A stored object is not what the guard writes: cut short, damaged or made by another.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Corrupt {
    /// Longer than [`MAX_BYTES`].
    #[error("longer than {MAX_BYTES} bytes")]
    TooLong,
    /// Not JSON, or not the fields that belong there.
    #[error("not a record of this kind")]
    Malformed,
    /// Written by another version.
    #[error("of version {0}, this is version {VERSION}")]
    Version(u32),
    /// A field holds what it may not.
    #[error("{0}")]
    Field(#[from] InvalidId),
    /// The record stands under a key that is not its own.
    #[error("names another {0} than its key")]
    Misplaced(&'static str),
}

/// Reads a record that was stored as JSON.
///
/// # Errors
/// [`Corrupt::TooLong`] and [`Corrupt::Malformed`]. Unknown and repeated fields are malformed.
pub(crate) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Corrupt> {
    if bytes.len() > MAX_BYTES {
        return Err(Corrupt::TooLong);
    }
    serde_json::from_slice(bytes).map_err(|_| Corrupt::Malformed)
}

/// The JSON of a record; empty only if serde could not write it, which no record here makes happen.
pub(crate) fn to_json<T: Serialize>(record: &T) -> Vec<u8> {
    serde_json::to_string(record)
        .map(String::into_bytes)
        .unwrap_or_default()
}

/// A record that carries a check of its own: nothing else tells that a digit of it has changed.
pub(crate) trait Checked: Serialize {
    /// Where the check stands.
    fn check(&mut self) -> &mut Option<String>;
}

/// The JSON of a record with its check: FNV-1a of the same JSON with an empty check.
pub(crate) fn to_checked_json<T: Checked>(mut record: T) -> Vec<u8> {
    *record.check() = Some(String::new());
    let check = fnv1a(&to_json(&record));
    *record.check() = Some(format!("{check:016x}"));
    to_json(&record)
}

/// Refuses `bytes` that are not, byte for byte, what this crate writes for `record`.
pub(crate) fn verify<T: Checked>(record: T, bytes: &[u8]) -> Result<(), Corrupt> {
    if to_checked_json(record) == bytes {
        Ok(())
    } else {
        Err(Corrupt::Malformed)
    }
}

/// Refuses other versions.
pub(crate) fn check_version(version: u32) -> Result<(), Corrupt> {
    if version == VERSION {
        Ok(())
    } else {
        Err(Corrupt::Version(version))
    }
}

/// FNV-1a 64: tells damage, not malice. Source: <http://www.isthe.com/chongo/tech/comp/fnv/>.
pub(crate) fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
