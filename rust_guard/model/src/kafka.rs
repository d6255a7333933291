//! Kafka, as far as the protocol leans on it: epochs, transactions, committed offsets.
//!
//! A transaction is appended to the logs when it commits. Where its records were placed while it was
//! open does not matter to a read_committed reader, who waits at the first open record.

use crate::facts::{Fact, Incarnation, Job, Kind, Order};

/// Who holds the epoch of a transactional id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Who {
    /// The process that serves now.
    Current,
    /// One that was replaced and still runs.
    Zombie,
}

/// The coordinator's side of a transactional id.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TransactionalId<T> {
    /// Whose epoch is the newest; nobody's when it died or the scheduler fenced it.
    pub owner: Option<Who>,
    /// A transaction that was begun and not ended.
    pub open: Option<Box<T>>,
    /// An EndTxn of this epoch is still under way.
    pub late: bool,
}

impl<T> Default for TransactionalId<T> {
    fn default() -> Self {
        Self {
            owner: None,
            open: None,
            late: false,
        }
    }
}

impl<T> TransactionalId<T> {
    /// `init_transactions`: a new epoch; what was open is aborted, what is late will be refused.
    pub fn init(&mut self, owner: Option<Who>) {
        *self = Self {
            owner,
            open: None,
            late: false,
        };
    }

    /// Leaves a transaction open, its EndTxn under way.
    pub fn hold_back(&mut self, transaction: T) {
        self.open = Some(Box::new(transaction));
        self.late = true;
    }

    /// The late EndTxn arrives: what is open commits.
    pub fn arrive(&mut self) -> Option<T> {
        self.late = false;
        self.open.take().map(|open| *open)
    }

    /// Whoever served becomes the zombie.
    pub fn replace(&mut self) {
        if self.owner == Some(Who::Current) {
            self.owner = Some(Who::Zombie);
        }
    }
}

/// Where an artifact lies: pool incarnation, job, attempt, start.
pub type Key = (u8, Job, u32, u8);

/// A terminal event.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct End {
    /// Its kind.
    pub kind: Kind,
    /// The artifact it names, and that one's content.
    pub artifact: Option<(Key, u32)>,
}

/// The committed place of a slot, apart from its offset.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Mark {
    /// Who committed it; none: the scheduler, by a fence.
    pub holder: Option<Incarnation>,
    /// Last order whose end is committed.
    pub n: i32,
}

/// What a transaction under a slot's id holds.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct SlotTransaction {
    /// For the inbox.
    pub facts: Vec<Fact>,
    /// For the feeds.
    pub end: Option<(Job, End)>,
    /// The slot's place.
    pub mark: Option<Mark>,
    /// Whether the offset goes to the end of the log, wherever the mark is.
    pub to_end: bool,
}

/// A slot's partition and what is committed about it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Partition {
    /// Orders that somebody may still read.
    pub orders: Vec<Order>,
    /// How many of them lie below the committed offset.
    pub committed: usize,
    /// The committed offset's metadata; none: nothing is committed.
    pub mark: Option<Mark>,
    /// Whether an order was ever sent.
    pub used: bool,
}

impl Partition {
    /// Commits a place: the offset goes past the order numbered `mark.n`, never back.
    pub fn place(&mut self, mark: Mark, to_end: bool) {
        let past = |order: &Order| matches!(order, Order::Assign { n, .. } if *n == mark.n);
        if to_end {
            self.committed = self.orders.len();
        } else if let Some(at) = self.orders.iter().position(past) {
            self.committed = self.committed.max(at + 1);
        }
        self.mark = Some(mark);
    }

    /// Whether order `through` lies beyond the committed offset.
    #[must_use]
    pub fn holds(&self, through: i32) -> bool {
        self.orders[self.committed..]
            .iter()
            .any(|order| matches!(order, Order::Assign { n, .. } if *n == through))
    }
}
