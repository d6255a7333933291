//! Everything there is, and how commits change it.

use std::sync::Arc;

use crate::bugs::Bug;
use crate::facts::{Fact, Identity, Incarnation, Job, Kind, Out, Outcome, SlotNo};
use crate::faults::{Fault, Left};
use crate::fold::Fold;
use crate::kafka::{End, Partition, SlotTransaction, TransactionalId};
use crate::properties::Wrong;
use crate::scheduler::{FoldTransaction, Zombie, deliver};
use crate::slot::Process;
use crate::store::Bucket;

/// A request for a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Request {
    /// Admission has acknowledged it.
    pub acknowledged: bool,
    /// Its fact is in the inbox, or was.
    pub admitted: bool,
    /// Its owner asked to cancel it.
    pub cancelled: bool,
    /// ... before it was admitted.
    pub cancelled_first: bool,
}

/// A slot: its partition, its transactional id, its processes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct SlotWorld {
    /// Its orders and committed place.
    pub partition: Partition,
    /// Its transactional id.
    pub id: TransactionalId<SlotTransaction>,
    /// Openings so far.
    pub openings: Incarnation,
    /// Who serves now, and who was replaced and still runs.
    pub processes: [Option<Process>; 2],
}

/// A state of the whole system.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct World {
    /// Faults that may still happen.
    pub left: Left,
    /// Whether orders below the committed offset may be read again.
    pub keeps_orders: bool,
    /// The bug that is switched on.
    pub bug: Option<Bug>,
    /// Pool incarnation in keys.
    pub life: u8,
    /// How often the cluster was recreated.
    pub generation: u8,
    /// Requests, by job.
    pub requests: Vec<Request>,
    /// Facts beyond the scheduler's committed offset.
    pub inbox: Vec<Fact>,
    /// The scheduler's state at its committed offset.
    pub fold: Arc<Fold>,
    /// The state before that (kept only for a bug).
    pub older: Option<Arc<Fold>>,
    /// The scheduler's transactional id.
    pub fold_id: TransactionalId<FoldTransaction>,
    /// Whether a scheduler runs.
    pub scheduler: bool,
    /// One that was overtaken.
    pub overtaken: Option<Zombie>,
    /// Slots, by number.
    pub slots: Vec<SlotWorld>,
    /// The bucket.
    pub bucket: Arc<Bucket>,
    /// Terminal events that a read_committed reader sees, by job.
    pub ends: Vec<Vec<End>>,
    /// What went wrong.
    pub wrong: Option<Wrong>,
}

impl World {
    /// Nothing has happened yet.
    #[must_use]
    pub fn new(slots: SlotNo, jobs: Job, left: Left, bug: Option<Bug>) -> Self {
        Self {
            left,
            keeps_orders: left.allows(Fault::OffsetLoss),
            bug,
            life: 1,
            generation: 0,
            requests: vec![Request::default(); jobs as usize],
            inbox: Vec::new(),
            fold: Arc::default(),
            older: None,
            fold_id: TransactionalId::default(),
            scheduler: false,
            overtaken: None,
            slots: vec![SlotWorld::default(); slots.into()],
            bucket: Arc::default(),
            ends: vec![Vec::new(); jobs as usize],
            wrong: None,
        }
    }

    /// The slot, to change.
    pub fn slot_mut(&mut self, slot: SlotNo) -> &mut SlotWorld {
        &mut self.slots[usize::from(slot)]
    }

    /// The bucket, to change.
    pub fn bucket_mut(&mut self) -> &mut Bucket {
        Arc::make_mut(&mut self.bucket)
    }

    /// Tenant and spec of a job; after a recreation its id may be used for another spec.
    #[must_use]
    pub fn identity(&self, job: Job) -> Identity {
        job * 16 + u32::from(self.generation)
    }

    /// Notes the first thing that goes wrong.
    pub fn go_wrong(&mut self, wrong: Wrong) {
        self.wrong.get_or_insert(wrong);
    }

    /// An event of a job becomes visible.
    pub fn event(&mut self, job: Job, kind: Kind) {
        if kind.is_terminal() {
            self.ended(
                job,
                End {
                    kind,
                    artifact: None,
                },
            );
        } else if !self.ends[job as usize].is_empty() {
            self.go_wrong(Wrong::AfterTerminal);
        }
    }

    fn ended(&mut self, job: Job, end: End) {
        let request = self.requests[job as usize];
        let asked = match end.kind {
            Kind::Completed => true,
            Kind::Cancelled => request.cancelled,
            _ => false,
        };
        if !asked {
            self.go_wrong(Wrong::Blamed);
        }
        if request.cancelled_first && end.kind != Kind::Cancelled {
            self.go_wrong(Wrong::EarlyCancelIgnored);
        }
        if !self.ends[job as usize].is_empty() {
            self.go_wrong(Wrong::TwoTerminals);
        }
        self.ends[job as usize].push(end);
    }

    /// A transaction of the scheduler commits.
    pub fn commit_fold(&mut self, transaction: FoldTransaction) {
        if self.bug == Some(Bug::RestoreUntilSilence) {
            self.older = Some(Arc::clone(&self.fold));
        }
        self.fold = transaction.fold;
        let folded: Vec<Fact> = self.inbox.drain(..transaction.facts).collect();
        if let Some(zombie) = &mut self.overtaken
            && self.bug == Some(Bug::UnfencedScheduler)
        {
            zombie.missed.extend(folded);
        }
        self.send(&transaction.outs);
    }

    /// What the scheduler wrote becomes visible.
    pub fn send(&mut self, outs: &[Out]) {
        deliver(self, outs);
    }

    /// A transaction under a slot's id commits.
    pub fn commit_slot(&mut self, slot: SlotNo, transaction: SlotTransaction) {
        for fact in &transaction.facts {
            if let Fact::AttemptEnded { outcome, .. } = fact {
                self.judge(*outcome);
            }
        }
        self.inbox.extend(transaction.facts);
        if let Some((job, end)) = transaction.end {
            self.ended(job, end);
        }
        if let Some(mark) = transaction.mark {
            let here = self.slot_mut(slot);
            here.partition.place(mark, transaction.to_end);
            for process in here.processes.iter_mut().flatten() {
                process.behind = (process.behind + 1).min(3);
            }
        }
    }

    /// Whoever may say something in this world is never denied his own claim.
    fn judge(&mut self, outcome: Outcome) {
        let denied = match outcome {
            Outcome::Duplicate => true,
            Outcome::Failed(code) => code != "render_crashed",
            _ => false,
        };
        if denied {
            self.go_wrong(Wrong::OwnClaimDenied);
        }
    }

    /// A slot's EndTxn is held back; its records lie in the log, open.
    pub fn hold_back_slot(&mut self, slot: SlotNo, mut transaction: SlotTransaction) {
        if self.bug == Some(Bug::ReadUncommitted) {
            self.inbox.append(&mut transaction.facts); // read before they are committed
        }
        self.slot_mut(slot).id.hold_back(transaction);
    }

    /// Forgets orders that nobody will read again, so that equal states look equal.
    pub fn tidy(&mut self) {
        if self.keeps_orders {
            return;
        }
        for here in &mut self.slots {
            let read = here.processes.iter().flatten().map(|process| process.read);
            let keep = read.chain([here.partition.committed]).min().unwrap_or(0);
            if keep > 0 {
                here.partition.orders.drain(..keep);
                here.partition.committed -= keep;
                for process in here.processes.iter_mut().flatten() {
                    process.read -= keep;
                }
            }
        }
    }
}
