//! What travels: the facts of a pool's inbox, the orders to its slots, the events of its jobs.

#![allow(missing_docs, reason = "fields are named as in the schemas")]

/// A job, by number.
pub type Job = u32;
/// A slot, by number.
pub type SlotNo = u8;
/// One opening of a slot, by number; every opening has its own.
pub type Incarnation = u32;
/// Tenant and spec of a job, by number: what a repeat must share with the first.
pub type Identity = u32;

/// How an attempt ended, as the slot says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// With a sealed artifact and its event.
    Completed,
    /// On its owner's wish, with its event.
    Cancelled,
    /// With this code of the guard's table.
    Failed(&'static str),
    /// Another record holds the claim.
    Duplicate,
    /// Handed over while the slot shuts down.
    Preempted,
}

/// A fact of the inbox.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Fact {
    /// Admission let a job in.
    Admitted {
        job: Job,
        tenant: u32,
        identity: Identity,
    },
    /// Admission refused a job.
    Refused { job: Job, identity: Identity },
    /// A tenant asks to cancel a job.
    CancelRequested { job: Job, tenant: u32 },
    /// A process took a slot.
    SlotOpened {
        slot: SlotNo,
        incarnation: Incarnation,
    },
    /// All through `done` is committed, orders through `accept` are taken.
    SlotFree {
        slot: SlotNo,
        incarnation: Incarnation,
        done: i32,
        accept: i32,
    },
    /// A slot lives.
    SlotBeat,
    /// An attempt ended.
    AttemptEnded {
        slot: SlotNo,
        incarnation: Incarnation,
        n: i32,
        job: Job,
        attempt: u32,
        outcome: Outcome,
    },
    /// The scheduler fenced a slot and moved its offset past order `through`.
    SlotFenced {
        slot: SlotNo,
        incarnation: Incarnation,
        through: i32,
    },
    /// Time went on.
    Tick,
    /// A tenant's limits changed.
    TenantChanged,
}

/// An order to a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Order {
    /// Work on this.
    Assign {
        n: i32,
        job: Job,
        attempt: u32,
        identity: Identity,
    },
    /// Stop the work of that number.
    Cancel { n: i32, job: Job },
}

/// Kind of a job's event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Waiting.
    Admitted,
    /// Given to a slot.
    Scheduled,
    /// Waiting again after a failure.
    Retrying,
    /// Waiting again without one.
    Preempted,
    /// Ended with an artifact.
    Completed,
    /// Ended by failures.
    Failed,
    /// Ended on the owner's wish.
    Cancelled,
    /// Never let in.
    Refused,
    /// Ended by its deadline.
    Expired,
}

impl Kind {
    /// Whether nothing follows it.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        matches!(
            self,
            Self::Completed | Self::Failed | Self::Cancelled | Self::Refused | Self::Expired
        )
    }
}

/// What the scheduler writes beside its state.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Out {
    /// A job's event.
    Event { kind: Kind, job: Job, attempt: u32 },
    /// An order to a slot.
    Order { slot: SlotNo, order: Order },
    /// A dead letter.
    Letter { job: Job, code: &'static str },
    /// Nothing: an end that a slot committed was not taken.
    Ignored { job: Job },
}
