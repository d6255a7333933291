//! The state machine of `guard-core` beside a claim: asked before the store is touched, moved on after.

use std::sync::{Arc, Mutex, PoisonError};

use guard_core::claim::ClaimRecord;
use guard_core::lifecycle::{End, Event, Relation, State};
use guard_core::record::MAX_BYTES;

use crate::Guard;
use crate::bucket::Found;
use crate::claim::Claim;
use crate::deadline::Deadline;
use crate::error::GuardError;

/// Where one start is; shared by the copies of its claim.
#[derive(Debug, Clone)]
pub struct Life(Arc<Mutex<State>>);

impl Life {
    /// The life of a start that `relation` lets claim.
    ///
    /// # Errors
    /// `StaleAttempt`, `ClaimConflict`, `ClaimLost` when it may not.
    pub(crate) fn claimed(relation: Relation) -> Result<Self, GuardError> {
        let claimed = State::Unclaimed.after(relation, &Event::Claim)?;
        Ok(Self(Arc::new(Mutex::new(claimed))))
    }

    fn after(&self, relation: Relation, event: &Event) -> Result<State, GuardError> {
        let now = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(now.after(relation, event)?)
    }

    /// Whether `event` may be begun; changes nothing.
    pub(crate) fn may(&self, event: &Event) -> Result<(), GuardError> {
        self.after(Relation::ThisRecord, event).map(|_| ())
    }

    /// Notes that `event` has happened.
    pub(crate) fn did(&self, event: &Event) -> Result<(), GuardError> {
        let mut now = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *now = now.after(Relation::ThisRecord, event)?;
        Ok(())
    }

    /// Where the start is.
    #[must_use]
    pub fn now(&self) -> State {
        let now = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        now.clone()
    }
}

impl PartialEq for Life {
    fn eq(&self, other: &Self) -> bool {
        self.now() == other.now()
    }
}

impl Eq for Life {}

impl Guard {
    /// Says that the start will announce `end`, before that is committed. Touches no store; may be
    /// repeated with the same end.
    ///
    /// # Errors
    /// `OutOfOrder` when this end does not follow from where the start is: above all a completion
    /// with another artifact than the one that was sealed or adopted, and a second end.
    pub fn announce(&self, claim: &Claim, end: End) -> Result<(), GuardError> {
        claim.life.did(&Event::Announce(end))
    }

    /// Whether `event` may be begun by whoever holds `claim`, going by what lies in the store now.
    pub(crate) async fn may_still(
        &self,
        claim: &Claim,
        event: &Event,
        deadline: &Deadline,
    ) -> Result<(), GuardError> {
        claim.life.may(event)?;
        let key = claim.ours.subject.claim_key();
        let held = match self.bucket.read(&key, MAX_BYTES, deadline).await? {
            Found::Body(body) => ClaimRecord::from_json(&body).ok(),
            Found::Missing | Found::TooLong => None,
        };
        let relation = Relation::of_holder(&claim.ours, held.as_ref());
        claim.life.after(relation, event).map(|_| ())
    }
}
