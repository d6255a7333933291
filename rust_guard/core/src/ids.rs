//! Ids as types: a value of one of these can stand in a key without escaping its place.

use alloc::borrow::ToOwned;
use alloc::string::String;
use core::fmt;

/// An id was refused; nothing was read or written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} must be {rule}")]
pub struct InvalidId {
    /// The argument that is wrong.
    pub field: &'static str,
    /// What it must be. The value itself is not repeated: it may be hostile.
    pub rule: &'static str,
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $field:literal, $rule:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// Takes `text` if it follows the rule.
            ///
            /// # Errors
            /// [`InvalidId`], naming the field and the rule.
            pub fn new(text: &str) -> Result<Self, InvalidId> {
                let check: fn(&str) -> bool = $check;
                if check(text) {
                    Ok(Self(text.to_owned()))
                } else {
                    Err(InvalidId { field: $field, rule: $rule })
                }
            }

            /// The id as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text_id!(
    /// Whose job it is.
    TenantId, "tenant_id", "1 to 64 of A-Z a-z 0-9 . _ -, and neither . nor ..", is_tenant);
text_id!(
    /// A job: a lower-case UUID.
    JobId, "job_id", "a lower-case UUID", is_uuid);
text_id!(
    /// One life of a pool's state: a lower-case UUID, minted when the state is empty.
    PoolIncarnation, "pool_incarnation", "a lower-case UUID", is_uuid);
text_id!(
    /// Names one put, so that its writer knows its own object again: a lower-case UUID.
    PutId, "put_id", "a lower-case UUID", is_uuid);
text_id!(
    /// SHA-256 in lower-case hex: of a canonical spec, or of an artifact's bytes.
    Digest, "digest", "64 lower-case hexadecimal digits", is_digest);

text_id!(
    /// Names the model, hardware and software that computed something, in the caller's own words.
    Fingerprint, "fingerprint", "1 to 512 printable ASCII characters", is_fingerprint);

/// Counts attempts at a job and starts of an attempt, and denoising steps; from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ordinal(u32);

impl Ordinal {
    /// The first one.
    pub const FIRST: Self = Self(1);

    /// Takes `number` if it is at least 1 and fits in 31 bits (an Avro int).
    ///
    /// # Errors
    /// [`InvalidId`] for `field` otherwise.
    pub fn new(field: &'static str, number: i64) -> Result<Self, InvalidId> {
        match u32::try_from(number) {
            Ok(n) if n >= 1 && i32::try_from(n).is_ok() => Ok(Self(n)),
            _ => Err(InvalidId {
                field,
                rule: "from 1 to 2147483647",
            }),
        }
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }

    /// The one after it; the last one is its own successor.
    #[must_use]
    pub const fn next(self) -> Self {
        if self.0 < i32::MAX as u32 {
            Self(self.0 + 1)
        } else {
            self
        }
    }
}

impl fmt::Display for Ordinal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

fn is_tenant(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text != "."
        && text != ".."
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

fn is_lower_hex(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

fn is_digest(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(is_lower_hex)
}

fn is_fingerprint(text: &str) -> bool {
    (1..=512).contains(&text.len()) && text.bytes().all(|b| (b' '..=b'~').contains(&b))
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => is_lower_hex(byte),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_tricks_are_refused() {
        for bad in [
            "",
            ".",
            "..",
            "a/b",
            "a\\b",
            "a b",
            "a\0",
            "ä",
            "%2e",
            &"x".repeat(65),
        ] {
            assert!(TenantId::new(bad).is_err(), "{bad:?}");
        }
        for good in ["a", "...", "A-1_b.c", &"x".repeat(64)] {
            assert!(TenantId::new(good).is_ok(), "{good:?}");
        }
    }

    #[test]
    fn a_job_id_is_a_lower_case_uuid() {
        assert!(JobId::new("0b1e2f3a-0000-4000-8000-00000000abcd").is_ok());
        assert!(JobId::new("0B1E2F3A-0000-4000-8000-00000000ABCD").is_err());
        assert!(JobId::new("0b1e2f3a0000-4000-8000-00000000abcd-").is_err());
        assert!(JobId::new("{0b1e2f3a-0000-4000-8000-00000000abc").is_err());
    }

    #[test]
    fn ordinals_start_at_one_and_stop_at_an_avro_int() {
        assert!(Ordinal::new("attempt", 0).is_err());
        assert!(Ordinal::new("attempt", -1).is_err());
        assert!(Ordinal::new("attempt", 1 << 31).is_err());
        let last = Ordinal::new("attempt", i64::from(i32::MAX)).unwrap();
        assert_eq!(last.next(), last);
        assert_eq!(Ordinal::FIRST.next().get(), 2);
    }
}
