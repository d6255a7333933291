//! The scheduler's fold, rule by rule as `streams/scheduler/fold.py` has it.
//!
//! What there depends on time or on a policy is asked of a [`Chooser`]: which waiting job a slot
//! gets, whether a failure is retried, which deadlines have passed.

use crate::bugs::Bug;
use crate::facts::{Fact, Identity, Incarnation, Job, Kind, Order, Out, Outcome, SlotNo};
use crate::sorted::Sorted;

/// A slot whose last order is not known yet: its first SlotFree tells.
pub const UNKNOWN: i32 = -1;
/// Openings of a slot with the same order in hand, after which the order is taken back.
pub const MAX_OPENINGS: u8 = 3;

/// What the rules leave open.
pub trait Chooser {
    /// The waiting job that the free `slot` gets, if any.
    fn choose(&mut self, fold: &Fold, slot: SlotNo) -> Option<Job>;
    /// Whether failure number `failures` of the job, with `code`, is tried again.
    fn retries(&mut self, job: Job, code: &'static str, failures: u32) -> bool;
    /// Waiting jobs whose deadline is found passed.
    fn expired(&mut self, fold: &Fold) -> Vec<Job>;
    /// Whether a job that is asked for now is too old to be let in.
    fn too_old(&mut self, job: Job) -> bool;
}

/// A waiting or running job.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Alive {
    /// Tenant.
    pub tenant: u32,
    /// Tenant and spec.
    pub identity: Identity,
    /// The attempt that runs, or the next one.
    pub attempt: u32,
    /// Attempts that failed.
    pub failures: u32,
    /// Slot and order number while it runs.
    pub place: Option<(SlotNo, i32)>,
    /// Its owner wants it stopped.
    pub cancel: bool,
}

/// What the fold knows of a job.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Known {
    /// It waits or runs.
    Alive(Alive),
    /// It ended this way.
    Ended(Kind, Identity),
}

/// Whether a slot gets work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// It does.
    Open,
    /// It has been silent: its fence is decided.
    Fencing,
    /// It was fenced.
    Closed,
}

/// What the fold knows of a slot.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Slot {
    /// Its last opening.
    pub incarnation: Incarnation,
    /// Whether it gets work.
    pub phase: Phase,
    /// Number of the last order sent.
    pub last_n: i32,
    /// Number of the last order that it takes.
    pub accept: i32,
    /// The job it works on.
    pub job: Option<Job>,
    /// Openings with that job in hand.
    pub openings: u8,
}

/// The scheduler's state.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Fold {
    /// Jobs, ended ones for the dedupe window.
    pub jobs: Sorted<Job, Known>,
    /// Slots.
    pub slots: Sorted<SlotNo, Slot>,
    /// Cancels for jobs not seen yet, with their tenant.
    pub early: Sorted<(Job, u32), ()>,
}

/// One step: the state, what it writes, and whom it asks.
pub struct Step<'a> {
    pub(crate) fold: &'a mut Fold,
    pub(crate) outs: Vec<Out>,
    pub(crate) chooser: &'a mut dyn Chooser,
    pub(crate) bug: Option<Bug>,
}

impl Fold {
    /// Folds one fact and returns what is to be written because of it.
    pub fn step(&mut self, fact: &Fact, chooser: &mut dyn Chooser, bug: Option<Bug>) -> Vec<Out> {
        let mut step = Step {
            fold: self,
            outs: Vec::new(),
            chooser,
            bug,
        };
        step.fact(fact);
        step.expire();
        step.dispatch();
        step.outs
    }

    /// Finds `slot` silent at a Tick: its fence is decided.
    pub fn suspect(
        &mut self,
        slot: SlotNo,
        chooser: &mut dyn Chooser,
        bug: Option<Bug>,
    ) -> Vec<Out> {
        let mut step = Step {
            fold: self,
            outs: Vec::new(),
            chooser,
            bug,
        };
        step.suspect(slot);
        step.dispatch();
        step.outs
    }

    /// The job, while it waits or runs.
    #[must_use]
    pub fn alive(&self, job: Job) -> Option<&Alive> {
        match self.jobs.get(job) {
            Some(Known::Alive(alive)) => Some(alive),
            _ => None,
        }
    }

    /// The slot, if `incarnation` holds it and it is not closed.
    #[must_use]
    pub fn held(&self, slot: SlotNo, incarnation: Incarnation) -> Option<&Slot> {
        self.slots
            .get(slot)
            .filter(|known| known.incarnation == incarnation && known.phase != Phase::Closed)
    }
}

impl Step<'_> {
    pub(crate) fn has(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }

    fn fact(&mut self, fact: &Fact) {
        match *fact {
            Fact::Admitted {
                job,
                tenant,
                identity,
            } => self.admitted(job, tenant, identity),
            Fact::Refused { job, identity } => self.refused(job, identity),
            Fact::CancelRequested { job, tenant } => self.cancel_requested(job, tenant),
            Fact::SlotOpened { slot, incarnation } => self.opened(slot, incarnation),
            Fact::SlotFree {
                slot,
                incarnation,
                done,
                accept,
            } => self.free(slot, incarnation, done, accept),
            Fact::AttemptEnded {
                slot,
                incarnation,
                n,
                job,
                attempt,
                outcome,
            } => {
                let ours = self
                    .fold
                    .held(slot, incarnation)
                    .is_some_and(|known| known.last_n == n && known.job == Some(job));
                if ours {
                    self.attempt_ended(slot, job, attempt, outcome);
                } else {
                    self.outs.push(Out::Ignored { job });
                }
            }
            Fact::SlotFenced {
                slot,
                incarnation,
                through,
            } => self.fenced(slot, incarnation, through),
            Fact::Tick | Fact::SlotBeat | Fact::TenantChanged => {}
        }
    }

    fn opened(&mut self, slot: SlotNo, incarnation: Incarnation) {
        let mut known = self.fold.slots.get(slot).cloned().unwrap_or(Slot {
            incarnation,
            phase: Phase::Open,
            last_n: UNKNOWN,
            accept: UNKNOWN,
            job: None,
            openings: 0,
        });
        known.openings = if known.job.is_some() {
            known.openings + 1
        } else {
            0
        };
        known.incarnation = incarnation;
        known.phase = if known.openings < MAX_OPENINGS {
            Phase::Open
        } else {
            Phase::Fencing
        };
        self.fold.slots.put(slot, known);
    }

    fn free(&mut self, slot: SlotNo, incarnation: Incarnation, done: i32, accept: i32) {
        let unchecked = self.has(Bug::SlotFreeUnchecked);
        if self.fold.held(slot, incarnation).is_none() {
            return;
        }
        let Some(known) = self.fold.slots.get_mut(slot) else {
            return;
        };
        if known.last_n == UNKNOWN {
            known.last_n = done;
        }
        if done != known.last_n && !unchecked {
            return;
        }
        known.accept = if unchecked { known.last_n + 1 } else { accept };
        // Done without an end that the fold took: nobody else will do it.
        if let Some(lost) = known.job.take() {
            self.failed(lost, "slot_fenced");
        }
    }

    fn attempt_ended(&mut self, slot: SlotNo, job: Job, attempt: u32, outcome: Outcome) {
        if let Some(known) = self.fold.slots.get_mut(slot) {
            known.job = None;
            known.openings = 0;
        }
        let Some(alive) = self
            .fold
            .alive(job)
            .filter(|alive| alive.attempt == attempt)
        else {
            self.outs.push(Out::Ignored { job });
            return;
        };
        let identity = alive.identity;
        match outcome {
            Outcome::Completed => self.remember(job, identity, Kind::Completed),
            Outcome::Cancelled => self.remember(job, identity, Kind::Cancelled),
            Outcome::Preempted => self.requeue(job, Kind::Preempted, false),
            Outcome::Duplicate => self.failed(job, "slot_fenced"),
            Outcome::Failed(code) => self.failed(job, code),
        }
    }

    fn suspect(&mut self, slot: SlotNo) {
        let early = self.has(Bug::RequeueBeforeFence);
        let Some(known) = self.fold.slots.get_mut(slot) else {
            return;
        };
        known.phase = Phase::Fencing;
        if early && let Some(lost) = known.job.take() {
            self.failed(lost, "slot_fenced");
        }
    }

    fn fenced(&mut self, slot: SlotNo, incarnation: Incarnation, through: i32) {
        let any = self.has(Bug::FencedOfAnyIncarnation);
        let Some(known) = self.fold.slots.get_mut(slot) else {
            return;
        };
        if known.phase == Phase::Closed || (known.incarnation != incarnation && !any) {
            return; // what became of the order, the slot's next SlotFree tells
        }
        if known.last_n > through && !any {
            return; // what was sent since then lies beyond the fence
        }
        known.phase = Phase::Closed;
        known.accept = known.last_n;
        known.openings = 0;
        if let Some(lost) = known.job.take() {
            self.failed(lost, "slot_fenced");
        }
    }

    pub(crate) fn expire(&mut self) {
        for job in self.chooser.expired(self.fold) {
            if let Some(alive) = self.fold.alive(job).filter(|alive| alive.place.is_none()) {
                let (identity, attempt) = (alive.identity, alive.attempt);
                self.end(job, identity, Kind::Expired, attempt - 1);
            }
        }
    }

    /// Ends a job that the scheduler owns, with its terminal event.
    pub(crate) fn end(&mut self, job: Job, identity: Identity, kind: Kind, attempt: u32) {
        self.event(kind, job, attempt);
        self.remember(job, identity, kind);
    }

    pub(crate) fn remember(&mut self, job: Job, identity: Identity, kind: Kind) {
        if self.has(Bug::NoDedupeWindow) {
            self.fold.jobs.take(job);
        } else {
            self.fold.jobs.put(job, Known::Ended(kind, identity));
        }
    }

    fn dispatch(&mut self) {
        let beyond = self.has(Bug::AssignBeyondCredit);
        let free: Vec<SlotNo> = self
            .fold
            .slots
            .iter()
            .filter(|(_, slot)| {
                slot.phase == Phase::Open
                    && (beyond || (slot.job.is_none() && slot.last_n < slot.accept))
                    && slot.last_n != UNKNOWN
            })
            .map(|(number, _)| *number)
            .collect();
        for slot in free {
            if let Some(job) = self.chooser.choose(self.fold, slot) {
                self.assign(slot, job);
            }
        }
    }

    fn assign(&mut self, slot: SlotNo, job: Job) {
        let Some(known) = self.fold.slots.get_mut(slot) else {
            return;
        };
        let Some(Known::Alive(alive)) = self.fold.jobs.get_mut(job) else {
            return;
        };
        known.last_n += 1;
        known.job = Some(job);
        alive.place = Some((slot, known.last_n));
        let (n, attempt, identity) = (known.last_n, alive.attempt, alive.identity);
        self.event(Kind::Scheduled, job, attempt);
        self.outs.push(Out::Order {
            slot,
            order: Order::Assign {
                n,
                job,
                attempt,
                identity,
            },
        });
    }

    pub(crate) fn event(&mut self, kind: Kind, job: Job, attempt: u32) {
        self.outs.push(Out::Event { kind, job, attempt });
    }
}
