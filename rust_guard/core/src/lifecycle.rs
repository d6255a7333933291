//! The life of one start of an attempt: what its owner may do next, and what nobody else may do.
//!
//! ```text
//! Unclaimed ─claim─> Claimed ─checkpoint─> Checkpointed(k) ─┐   k grows
//!                       │  └────────────────────────────────┤
//!                       └─seal, adopt─> Sealed(hash) <──────┘
//!     Sealed(hash)                   ─announce Completed(hash)─> Announced ─release─> Released
//!     Claimed, Checkpointed          ─announce Cancelled──────> Announced ─release─> Released
//!     Claimed, Checkpointed, Sealed  ─announce GivenBack──────> Announced   (kept for who goes on)
//! ```
//!
//! Total: every (state, relation, event) has one answer, a next state or a [`Refused`]. Who asks is
//! looked at first, because to anybody else the state is not theirs to know; then the order. What
//! was done may be done again with the same content: an answer can get lost.

use core::fmt;

use crate::claim::{ClaimRecord, Denied, Standing, decide};
use crate::ids::{Digest, Ordinal};

/// Where a start of an attempt is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum State {
    /// Nothing is known to be ours.
    Unclaimed,
    /// The attempt is ours.
    Claimed,
    /// A checkpoint after this many steps is stored.
    Checkpointed(Ordinal),
    /// The artifact with this hash is sealed.
    Sealed(Digest),
    /// Its end is being told, or has been.
    Announced(End),
    /// What only work under way needs is gone; nothing follows.
    Released,
}

/// How an attempt ends.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum End {
    /// With the artifact of this hash.
    Completed(Digest),
    /// On its owner's wish.
    Cancelled,
    /// Not at all: failed, preempted or a duplicate. The scheduler decides what becomes of the job.
    GivenBack,
}

/// What an actor is to the attempt it speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Relation {
    /// Its record holds the claim, or nobody does yet.
    ThisRecord,
    /// Another record ordered the same attempt, and holds the claim.
    AnotherRecord,
    /// The claim is of another spec or tenant, which this names.
    AnotherSpec(&'static str),
    /// A later attempt at the job has been claimed.
    OlderAttempt,
    /// The claim that it had won is gone, damaged or another's.
    LostClaim,
}

impl Relation {
    /// What the claimant of `ours` is, going by the claim `held` in the store and the `newest`
    /// attempt at the job that is claimed there.
    #[must_use]
    pub fn of_claimant(ours: &ClaimRecord, held: &ClaimRecord, newest: Ordinal) -> Self {
        match Self::of_verdict(&decide(ours, held)) {
            Self::ThisRecord if newest > ours.subject.attempt => Self::OlderAttempt,
            relation => relation,
        }
    }

    /// What somebody is who has held `ours` for a while, going by what lies in the store now.
    #[must_use]
    pub fn of_holder(ours: &ClaimRecord, held: Option<&ClaimRecord>) -> Self {
        match held.map(|held| decide(ours, held)) {
            Some(Ok(_)) => Self::ThisRecord,
            Some(Err(_)) | None => Self::LostClaim,
        }
    }

    /// What a claimant is after the claim was judged.
    #[must_use]
    pub const fn of_verdict(verdict: &Result<Standing, Denied>) -> Self {
        match verdict {
            Ok(_) => Self::ThisRecord,
            Err(Denied::Duplicate(_)) => Self::AnotherRecord,
            Err(Denied::Conflict(what)) => Self::AnotherSpec(what),
            Err(Denied::Corrupt(_)) => Self::LostClaim,
        }
    }
}

/// What an actor wants to do, or has seen done.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Event {
    /// Take the attempt.
    Claim,
    /// Store what holds after this many steps.
    Checkpoint(Ordinal),
    /// Take over the sealed artifact of an earlier start or attempt.
    Adopt(Digest),
    /// Seal an artifact of this hash.
    Seal(Digest),
    /// Tell the end.
    Announce(End),
    /// Delete what only work under way needs.
    Release,
}

/// Why an event was refused; nothing has changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Another record holds the claim.
    #[error("another record holds the claim")]
    Duplicate,
    /// The claim, or what is sealed, is another's.
    #[error("it belongs to another {0}")]
    Conflict(&'static str),
    /// A later attempt is under way.
    #[error("a later attempt has been claimed")]
    Stale,
    /// The claim was lost.
    #[error("the claim is gone or another's")]
    LostClaim,
    /// The owner asked for what does not follow from where it is.
    #[error("{event} does not follow on {state}")]
    OutOfOrder {
        /// Name of the state.
        state: &'static str,
        /// Name of the event.
        event: &'static str,
    },
}

impl State {
    /// The state after `event` of an actor with this `relation`.
    ///
    /// # Errors
    /// [`Refused`] when the event does not belong here.
    pub fn after(&self, relation: Relation, event: &Event) -> Result<Self, Refused> {
        match relation {
            Relation::ThisRecord => self.after_own(event),
            Relation::AnotherRecord => Err(Refused::Duplicate),
            Relation::AnotherSpec(what) => Err(Refused::Conflict(what)),
            Relation::OlderAttempt => Err(Refused::Stale),
            Relation::LostClaim => Err(Refused::LostClaim),
        }
    }

    fn after_own(&self, event: &Event) -> Result<Self, Refused> {
        match (self, event) {
            (Self::Unclaimed | Self::Claimed, Event::Claim) => Ok(Self::Claimed),
            (Self::Claimed, Event::Checkpoint(step)) => Ok(Self::Checkpointed(*step)),
            (Self::Checkpointed(before), Event::Checkpoint(step)) if step >= before => {
                Ok(Self::Checkpointed(*step))
            }
            (Self::Claimed | Self::Checkpointed(_), Event::Seal(hash) | Event::Adopt(hash)) => {
                Ok(Self::Sealed(hash.clone()))
            }
            (Self::Sealed(sealed), Event::Seal(hash) | Event::Adopt(hash)) => {
                if sealed == hash {
                    Ok(self.clone())
                } else {
                    Err(Refused::Conflict("artifact"))
                }
            }
            (_, Event::Announce(end)) => self.after_announcing(end, event),
            (
                Self::Announced(End::Completed(_) | End::Cancelled) | Self::Released,
                Event::Release,
            ) => Ok(Self::Released),
            _ => Err(self.refuses(event)),
        }
    }

    fn after_announcing(&self, end: &End, event: &Event) -> Result<Self, Refused> {
        let follows = match (self, end) {
            (Self::Announced(told), _) => told == end,
            (Self::Sealed(sealed), End::Completed(hash)) => sealed == hash,
            (Self::Claimed | Self::Checkpointed(_), End::Cancelled | End::GivenBack)
            | (Self::Sealed(_), End::GivenBack) => true,
            _ => false,
        };
        if follows {
            Ok(Self::Announced(end.clone()))
        } else {
            Err(self.refuses(event))
        }
    }

    fn refuses(&self, event: &Event) -> Refused {
        Refused::OutOfOrder {
            state: self.name(),
            event: event.name(),
        }
    }

    /// Stable name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Unclaimed => "unclaimed",
            Self::Claimed => "claimed",
            Self::Checkpointed(_) => "checkpointed",
            Self::Sealed(_) => "sealed",
            Self::Announced(_) => "announced",
            Self::Released => "released",
        }
    }
}

impl Event {
    /// Stable name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Claim => "claim",
            Self::Checkpoint(_) => "checkpoint",
            Self::Adopt(_) => "adopt",
            Self::Seal(_) => "seal",
            Self::Announce(End::Completed(_)) => "announce completed",
            Self::Announce(End::Cancelled) => "announce cancelled",
            Self::Announce(End::GivenBack) => "announce given back",
            Self::Release => "release",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
