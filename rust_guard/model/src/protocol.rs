//! The protocol as stateright explores it: what can happen in a world, and what follows.

use std::sync::Arc;

use stateright::{Model, Property};

use crate::bugs::Bug;
use crate::facts::{Fact, Job, SlotNo};
use crate::faults::Left;
use crate::fold::Fold;
use crate::kafka::{Partition, TransactionalId, Who};
use crate::moves::{collections, fault_of, faults, progress};
use crate::properties::properties;
use crate::scheduler::{self, Zombie};
use crate::settle::Settled;
use crate::slot::{self, Do, Fate};
use crate::world::{Request, World};

/// Bounds of a model.
pub struct Protocol {
    /// Slots.
    pub slots: SlotNo,
    /// Jobs.
    pub jobs: Job,
    /// Faults.
    pub left: Left,
    /// Whether unnamed artifacts are collected.
    pub collector: bool,
    /// A bug, if one is to be caught.
    pub bug: Option<Bug>,
    /// Worlds from which every job is known to end.
    pub settled: Settled,
}

impl Protocol {
    /// A protocol without faults, collector and bug.
    #[must_use]
    pub fn new(slots: SlotNo, jobs: Job) -> Self {
        Self {
            slots,
            jobs,
            left: Left::NONE,
            collector: false,
            bug: None,
            settled: Settled::default(),
        }
    }
}

/// Something that happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// Admission lets a job in and acknowledges the request.
    Admit(Job),
    /// Admission dies between the two.
    AdmitAndDie(Job),
    /// A job's owner asks to cancel it.
    Cancel(Job),
    /// A scheduler starts and restores.
    StartScheduler,
    /// It folds the next fact.
    Fold(Fate),
    /// It folds a Tick that finds a slot silent.
    Suspect(SlotNo),
    /// It fences a slot.
    Fence(SlotNo, Fate),
    /// It dies.
    CrashScheduler,
    /// It is overtaken and still runs.
    ReplaceScheduler,
    /// The overtaken one fences a slot.
    ZombieFence(SlotNo),
    /// The overtaken one commits (only with a bug).
    ZombieFold,
    /// The scheduler's late EndTxn arrives.
    LateFold,
    /// A process opens a slot.
    StartSlot(SlotNo),
    /// A slot's process does something.
    Slot(SlotNo, Who, Do),
    /// It dies.
    CrashSlot(SlotNo),
    /// It is replaced and still runs.
    ReplaceSlot(SlotNo),
    /// A late EndTxn under a slot's id arrives.
    LateSlot(SlotNo),
    /// The collector deletes a job's unnamed artifacts.
    Collect(Job),
    /// The cluster is lost and made anew; the bucket stays.
    Recreate,
    /// A slot's committed offset is lost.
    LoseOffset(SlotNo),
}

impl Model for Protocol {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        vec![World::new(self.slots, self.jobs, self.left, self.bug)]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        if world.wrong.is_some() {
            return; // what went wrong is reported where it did
        }
        progress(world, actions);
        if self.collector {
            collections(world, actions);
        }
        faults(world, actions);
    }

    fn next_state(&self, world: &World, action: Action) -> Option<World> {
        let mut next = world.clone();
        happen(&mut next, action);
        next.tidy();
        (next != *world).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        properties()
    }
}

/// Changes the world by what happens in it.
pub fn happen(world: &mut World, action: Action) {
    if let Some(fault) = fault_of(world, action) {
        world.left.spend(fault);
    }
    match action {
        Action::Admit(job) => admit(world, job, true),
        Action::AdmitAndDie(job) => admit(world, job, false),
        Action::Cancel(job) => cancel(world, job),
        Action::StartScheduler => scheduler::start(world),
        Action::Fold(fate) => scheduler::fold(world, fate),
        Action::Suspect(slot) => scheduler::suspect(world, slot),
        Action::Fence(slot, fate) => scheduler::fence(world, slot, false, fate),
        Action::ZombieFence(slot) => {
            scheduler::fence(world, slot, true, Fate::Told);
            world.overtaken = None; // its next commit is refused
        }
        Action::ZombieFold => scheduler::zombie_fold(world),
        Action::CrashScheduler => (world.scheduler, world.fold_id.owner) = (false, None),
        Action::ReplaceScheduler => {
            world.scheduler = false;
            world.overtaken = Some(Zombie {
                fold: Arc::clone(&world.fold),
                missed: Vec::new(),
            });
        }
        Action::LateFold => {
            if let Some(transaction) = world.fold_id.arrive() {
                world.commit_fold(transaction);
            }
        }
        Action::StartSlot(slot) => slot::start(world, slot),
        Action::Slot(slot, who, what) => slot::act(world, slot, who, what),
        Action::CrashSlot(slot) => {
            let here = world.slot_mut(slot);
            here.processes[0] = None;
            here.id.owner = None;
        }
        Action::ReplaceSlot(slot) => {
            let here = world.slot_mut(slot);
            here.processes.swap(0, 1);
            here.id.replace();
        }
        Action::LateSlot(slot) => {
            if let Some(transaction) = world.slot_mut(slot).id.arrive() {
                world.commit_slot(slot, transaction);
            }
        }
        Action::Collect(job) => collect(world, job),
        Action::Recreate => recreate(world),
        Action::LoseOffset(slot) => {
            let here = &mut world.slot_mut(slot).partition;
            (here.mark, here.committed) = (None, 0);
        }
    }
}

fn admit(world: &mut World, job: Job, acknowledge: bool) {
    let lost = world.bug == Some(Bug::AckBeforeOutput) && !acknowledge;
    let identity = world.identity(job);
    let request = &mut world.requests[job as usize];
    request.acknowledged |= acknowledge || lost;
    if !lost {
        request.admitted = true;
        world.inbox.push(Fact::Admitted {
            job,
            tenant: 0,
            identity,
        });
    }
}

fn cancel(world: &mut World, job: Job) {
    let request = &mut world.requests[job as usize];
    request.cancelled = true;
    request.cancelled_first = !request.admitted;
    world.inbox.push(Fact::CancelRequested { job, tenant: 0 });
}

fn collect(world: &mut World, job: Job) {
    let deletes_named = world.bug == Some(Bug::CollectorDeletesNamed);
    let ends = world.ends[job as usize].clone();
    let life = world.life;
    world.bucket_mut().collect(life, job, |key| {
        !deletes_named
            && ends
                .iter()
                .any(|end| end.artifact.is_some_and(|(named, _)| named == *key))
    });
}

/// Kafka is empty, the bucket is not; the owners of unfinished jobs ask again, maybe for other specs.
fn recreate(world: &mut World) {
    world.generation += 1;
    if !matches!(world.bug, Some(Bug::SameIncarnation)) {
        world.life += 1;
    }
    world.requests.fill(Request::default());
    world.inbox.clear();
    world.fold = Arc::new(Fold::default());
    world.fold_id = TransactionalId::default();
    (world.scheduler, world.overtaken, world.older) = (false, None, None);
    for here in &mut world.slots {
        here.processes = [None, None];
        here.id = TransactionalId::default();
        here.partition = Partition::default();
    }
    world.ends.iter_mut().for_each(Vec::clear);
}
