//! What can happen next in a world: what goes on by itself, and what goes wrong.

use crate::bugs::Bug;
use crate::facts::{Fact, Job, SlotNo};
use crate::faults::Fault;
use crate::fold::Phase;
use crate::kafka::Who;
use crate::protocol::Action;
use crate::scheduler;
use crate::slot::{Do, Doing, Fate, next_moves};
use crate::world::{SlotWorld, World};

/// What happens without faults.
pub fn progress(world: &World, actions: &mut Vec<Action>) {
    if world.scheduler {
        if !world.inbox.is_empty() {
            actions.push(Action::Fold(Fate::Told));
        }
        let fencing = world
            .fold
            .slots
            .iter()
            .filter(|(_, known)| known.phase == Phase::Fencing);
        for (slot, known) in fencing {
            let said = |fact: &Fact| matches!(fact, Fact::SlotFenced { slot: of, incarnation, .. } if of == slot && *incarnation == known.incarnation);
            if !world.inbox.iter().any(said) {
                actions.push(Action::Fence(*slot, Fate::Told));
            }
        }
    } else {
        actions.push(Action::StartScheduler);
    }
    for (slot, here) in numbered(world) {
        slot_progress(slot, here, world, actions);
    }
    // Requests are alike: they may as well be admitted in order.
    if let Some(job) = world
        .requests
        .iter()
        .position(|request| !request.acknowledged)
    {
        actions.push(Action::Admit(job as Job));
    }
}

fn slot_progress(slot: SlotNo, here: &SlotWorld, world: &World, actions: &mut Vec<Action>) {
    // Slots are alike: they may as well open for the first time in order.
    let turn = slot == 0 || world.slots[usize::from(slot) - 1].openings > 0;
    if turn && here.may_start(world.bug) {
        actions.push(Action::StartSlot(slot));
    }
    let silent = here.processes[0].is_none() && world.scheduler;
    if silent
        && world
            .fold
            .slots
            .get(slot)
            .is_some_and(|known| known.phase == Phase::Open)
    {
        actions.push(Action::Suspect(slot));
    }
    for who in [Who::Current, Who::Zombie] {
        if let Some(process) = &here.processes[who as usize] {
            let mut moves = Vec::new();
            next_moves(here, process, &mut moves);
            actions.extend(moves.into_iter().map(|what| Action::Slot(slot, who, what)));
        }
    }
    if here.id.late {
        actions.push(Action::LateSlot(slot));
    }
}

pub(crate) fn collections(world: &World, actions: &mut Vec<Action>) {
    let early = world.bug == Some(Bug::CollectorBeforeTerminal);
    for (job, ends) in world.ends.iter().enumerate() {
        let of_job = |key: &crate::kafka::Key| key.1 as usize == job && key.0 == world.life;
        let named = |key: &crate::kafka::Key| {
            ends.iter()
                .any(|end| end.artifact.is_some_and(|(named, _)| named == *key))
        };
        let garbage = world.bucket.videos.iter().any(|(key, _)| {
            of_job(key) && (!named(key) || world.bug == Some(Bug::CollectorDeletesNamed))
        });
        if garbage && (early || !ends.is_empty()) {
            actions.push(Action::Collect(job as Job));
        }
    }
}

pub(crate) fn faults(world: &World, actions: &mut Vec<Action>) {
    let allows = |fault| world.left.allows(fault);
    for (slot, here) in numbered(world) {
        slot_faults(slot, here, world, actions);
    }
    if world.fold_id.late {
        actions.push(Action::LateFold);
    }
    if world.scheduler {
        if allows(Fault::Crash) {
            actions.push(Action::CrashScheduler);
        }
        if allows(Fault::Split) && world.overtaken.is_none() {
            actions.push(Action::ReplaceScheduler);
        }
        if allows(Fault::Net) && !world.inbox.is_empty() {
            actions.push(Action::Fold(Fate::Late));
        }
    }
    for (job, request) in world.requests.iter().enumerate() {
        if allows(Fault::Cancel) && !request.cancelled && world.ends[job].is_empty() {
            actions.push(Action::Cancel(job as Job));
        }
    }
    if let Some(job) = world
        .requests
        .iter()
        .position(|request| !request.acknowledged)
        && allows(Fault::Repeat)
    {
        actions.push(Action::AdmitAndDie(job as Job));
    }
    if allows(Fault::Recreate) && world.generation == 0 {
        actions.push(Action::Recreate);
    }
}

fn slot_faults(slot: SlotNo, here: &SlotWorld, world: &World, actions: &mut Vec<Action>) {
    let allows = |fault| world.left.allows(fault);
    let open = world
        .fold
        .slots
        .get(slot)
        .is_some_and(|known| known.phase == Phase::Open);
    if world.scheduler && open && here.processes[0].is_some() && allows(Fault::Suspect) {
        actions.push(Action::Suspect(slot));
    }
    if let Some(zombie) = &world.overtaken {
        if scheduler::decided(&zombie.fold, slot).is_some() {
            actions.push(Action::ZombieFence(slot));
        }
        if world.bug == Some(Bug::UnfencedScheduler) && slot == 0 {
            actions.push(Action::ZombieFold);
        }
    }
    if world.scheduler && allows(Fault::Net) && scheduler::decided(&world.fold, slot).is_some() {
        actions.push(Action::Fence(slot, Fate::Late));
    }
    if allows(Fault::OffsetLoss) && here.partition.mark.is_some() && here.partition.used {
        actions.push(Action::LoseOffset(slot));
    }
    if let Some(process) = &here.processes[0] {
        if allows(Fault::Crash) {
            actions.push(Action::CrashSlot(slot));
        }
        if allows(Fault::Split) && here.processes[1].is_none() {
            actions.push(Action::ReplaceSlot(slot));
        }
        let unread = process.read < here.partition.orders.len();
        let moves = match &process.doing {
            Doing::Opening | Doing::Ending(..) if process.ready && allows(Fault::Net) => {
                vec![Do::Commit(Fate::Untold), Do::Commit(Fate::Late)]
            }
            Doing::Idle if unread && allows(Fault::Store) => vec![Do::Take { lost: true }],
            Doing::Working(_) if allows(Fault::Failure) => vec![Do::Fail, Do::Drain],
            _ => Vec::new(),
        };
        actions.extend(
            moves
                .into_iter()
                .map(|what| Action::Slot(slot, Who::Current, what)),
        );
    }
}

fn numbered(world: &World) -> impl Iterator<Item = (SlotNo, &SlotWorld)> {
    (0..).zip(&world.slots)
}

/// The fault that an action is, if it is one.
pub(crate) fn fault_of(world: &World, action: Action) -> Option<Fault> {
    match action {
        Action::AdmitAndDie(_) => Some(Fault::Repeat),
        Action::Cancel(_) => Some(Fault::Cancel),
        Action::CrashScheduler | Action::CrashSlot(_) => Some(Fault::Crash),
        Action::ReplaceScheduler | Action::ReplaceSlot(_) => Some(Fault::Split),
        Action::Recreate => Some(Fault::Recreate),
        Action::LoseOffset(_) => Some(Fault::OffsetLoss),
        Action::Suspect(slot) => world.slots[usize::from(slot)].processes[0]
            .as_ref()
            .map(|_| Fault::Suspect),
        Action::Fold(fate) | Action::Fence(_, fate) | Action::Slot(_, _, Do::Commit(fate)) => {
            (fate != Fate::Told).then_some(Fault::Net)
        }
        Action::Slot(_, _, Do::Take { lost: true }) => Some(Fault::Store),
        Action::Slot(_, _, Do::Fail | Do::Drain) => Some(Fault::Failure),
        _ => None,
    }
}
