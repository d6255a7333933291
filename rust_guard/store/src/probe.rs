//! Does this store keep conditional puts apart? Asked before any claim is made on it.

use futures_util::future::try_join_all;

use guard_core::claim::{start_is_ours, start_json};
use guard_core::ids::PutId;
use guard_core::record::MAX_BYTES;

use crate::Guard;
use crate::bucket::Found;
use crate::deadline::Deadline;
use crate::error::GuardError;

/// Conditional puts that race for one key.
const WRITERS: usize = 64;

impl Guard {
    /// Races 64 conditional puts to a fresh key: exactly one must win, and its bytes must stay.
    ///
    /// # Errors
    /// `StoreUnsafe` when the store ignores `If-None-Match`; `StoreUnavailable`.
    pub async fn probe(&self) -> Result<(), GuardError> {
        let deadline = self.deadline();
        let key = format!("probe/{}", uuid::Uuid::new_v4());
        let outcome = self.race(&key, &deadline).await;
        // The key is fresh and nobody's proof: a probe that failed cleans up as well.
        let cleaned = self.bucket.delete(&key, &deadline).await;
        outcome.and(cleaned)
    }

    async fn race(&self, key: &str, deadline: &Deadline) -> Result<(), GuardError> {
        let ids = (0..WRITERS)
            .map(|_| PutId::new(&uuid::Uuid::new_v4().to_string()))
            .collect::<Result<Vec<_>, _>>()?;
        let puts = ids.iter().map(|id| self.wins(key, id, deadline));
        let won = try_join_all(puts).await?;
        let winners = won.iter().filter(|won| **won).count();
        let kept = match self.bucket.read(key, MAX_BYTES, deadline).await? {
            Found::Body(body) => ids
                .iter()
                .zip(&won)
                .any(|(id, won)| *won && start_is_ours(&body, id)),
            Found::Missing | Found::TooLong => false,
        };
        if winners == 1 && kept {
            return Ok(());
        }
        Err(GuardError::StoreUnsafe {
            winners,
            writers: WRITERS,
        })
    }

    async fn wins(&self, key: &str, id: &PutId, deadline: &Deadline) -> Result<bool, GuardError> {
        let body = start_json(id);
        Ok(
            match self
                .bucket
                .create_or_read(key, &body, MAX_BYTES, deadline)
                .await?
            {
                None => true,
                Some(Found::Body(held)) => start_is_ours(&held, id),
                Some(_) => false,
            },
        )
    }
}
