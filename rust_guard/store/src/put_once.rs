//! A file under a key that belongs to one start: put once, or found as it was put.

use bytes::Bytes;
use guard_core::ids::Digest;

use crate::Guard;
use crate::bucket::{Created, Found};
use crate::deadline::Deadline;
use crate::error::GuardError;

/// Times that a hash is asked for before a file that has none is taken for another one.
const LOOKS: u32 = 3;

/// What is put, apart from its bytes.
pub struct Once<'a> {
    /// Where: nobody but this start writes there.
    pub key: &'a str,
    /// Of the bytes.
    pub sha256: &'a Digest,
    /// Media type.
    pub content_type: &'static str,
    /// What a conflict calls it.
    pub what: &'static str,
}

impl Guard {
    /// Puts `bytes` under its key; the same bytes there already are as good.
    ///
    /// # Errors
    /// `ClaimConflict` when other bytes are there; `StoreUnavailable`.
    pub(crate) async fn put_once(
        &self,
        once: &Once<'_>,
        bytes: Bytes,
        deadline: &Deadline,
    ) -> Result<(), GuardError> {
        let size = bytes.len() as u64;
        for tries in 0.. {
            if self
                .bucket
                .create_file(once.key, &bytes, once.content_type, deadline)
                .await?
                == Created::New
            {
                return Ok(());
            }
            // The key is this start's alone: what is there came from this start, unless it differs.
            match self.bucket.sha256(once.key, size, deadline).await? {
                Some(sha256) if sha256 == once.sha256.as_str() => return Ok(()),
                Some(_) => return Err(GuardError::ClaimConflict(once.what)),
                None => {}
            }
            // Either another size, or a put in flight, which may be visible by the next look.
            if tries >= LOOKS && self.bucket.read(once.key, 0, deadline).await? != Found::Missing {
                return Err(GuardError::ClaimConflict(once.what));
            }
            if !deadline.pause(tries).await {
                break;
            }
        }
        Err(GuardError::StoreUnavailable {
            doing: format!("put {}", once.key),
            cause: "conflicting puts in flight".to_owned(),
        })
    }
}
