//! The scheduler's process around the fold, as `streams/scheduler/__main__.py` and `fencing.py` have it.

use std::sync::Arc;

use guard_core::retry::{RetryDecision, RetryPolicy, retry};

use crate::bugs::Bug;
use crate::facts::{Fact, Job, Order, Out, SlotNo};
use crate::fold::{Chooser, Fold, Known, Phase};
use crate::kafka::{Mark, SlotTransaction, Who};
use crate::properties::Wrong;
use crate::slot::Fate;
use crate::store::uuid;
use crate::world::World;

/// A transaction of the scheduler: state, outputs and input offset.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FoldTransaction {
    /// The state after it.
    pub fold: Arc<Fold>,
    /// What it writes.
    pub outs: Vec<Out>,
    /// Facts that it reads.
    pub facts: usize,
}

/// A scheduler that was overtaken and still runs.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Zombie {
    /// The state it had.
    pub fold: Arc<Fold>,
    /// Facts that were folded without it since (kept only for a bug that lets it commit).
    pub missed: Vec<Fact>,
}

/// The model's choices: jobs in order of their number, retries as the guard's policy has them.
pub struct InOrder;

impl Chooser for InOrder {
    fn choose(&mut self, fold: &Fold, _: SlotNo) -> Option<Job> {
        let mut waiting = fold.jobs.iter().filter_map(|(job, known)| match known {
            Known::Alive(alive) if alive.place.is_none() => Some((alive.failures > 0, *job)),
            _ => None,
        });
        let first = waiting.next()?;
        Some(waiting.fold(first, std::cmp::min).1)
    }

    fn retries(&mut self, job: Job, code: &'static str, failures: u32) -> bool {
        retry(code, failures, &uuid(job), &RetryPolicy::default()) != RetryDecision::Fail
    }

    fn expired(&mut self, _: &Fold) -> Vec<Job> {
        Vec::new()
    }

    fn too_old(&mut self, _: Job) -> bool {
        false
    }
}

/// A scheduler starts: it takes the id and restores to the committed offset.
pub fn start(world: &mut World) {
    world.fold_id.init(Some(Who::Current));
    world.scheduler = true;
    if world.bug == Some(Bug::RestoreUntilSilence)
        && let Some(older) = world.older.take()
    {
        world.fold = older;
    }
}

/// Folds the next fact and commits.
pub fn fold(world: &mut World, fate: Fate) {
    let Some(fact) = world.inbox.first().cloned() else {
        return;
    };
    let bug = world.bug;
    let mut after = (*world.fold).clone();
    let outs = after.step(&fact, &mut InOrder, bug);
    finish(
        world,
        FoldTransaction {
            fold: Arc::new(after),
            outs,
            facts: 1,
        },
        fate,
    );
}

/// Folds a Tick that finds a slot silent.
pub fn suspect(world: &mut World, slot: SlotNo) {
    let bug = world.bug;
    let mut after = (*world.fold).clone();
    let outs = after.suspect(slot, &mut InOrder, bug);
    finish(
        world,
        FoldTransaction {
            fold: Arc::new(after),
            outs,
            facts: 0,
        },
        Fate::Told,
    );
}

fn finish(world: &mut World, transaction: FoldTransaction, fate: Fate) {
    match fate {
        Fate::Told | Fate::Untold => world.commit_fold(transaction),
        Fate::Late if world.bug == Some(Bug::PollOnAfterAbort) => {
            let outs = Vec::new();
            world.commit_fold(FoldTransaction {
                outs,
                ..transaction
            });
        }
        Fate::Late => {
            world.fold_id.hold_back(transaction);
            world.scheduler = false; // crash-only: the next one restores
        }
    }
}

/// The overtaken scheduler folds its next fact and commits, for nobody stops it.
pub fn zombie_fold(world: &mut World) {
    let Some(zombie) = &mut world.overtaken else {
        return;
    };
    let fact = if zombie.missed.is_empty() {
        world.inbox.first().cloned()
    } else {
        Some(zombie.missed.remove(0))
    };
    let Some(fact) = fact else { return };
    let mut after = (*zombie.fold).clone();
    let outs = after.step(&fact, &mut InOrder, None);
    zombie.fold = Arc::new(after);
    world.send(&outs);
}

/// What a fence of `slot`, decided by `fold`, would say; none when it does not fence it.
#[must_use]
pub fn decided(fold: &Fold, slot: SlotNo) -> Option<(crate::facts::Incarnation, i32)> {
    let known = fold.slots.get(slot)?;
    (known.phase == Phase::Fencing).then_some((known.incarnation, known.last_n))
}

/// Fences a slot: takes its id, moves its offset past its last order, says so.
///
/// One step: between the epoch and the commit nobody can get in without having it refused, which is
/// as good as not having begun.
pub fn fence(world: &mut World, slot: SlotNo, zombie: bool, fate: Fate) {
    let bug = world.bug;
    let fold = match (&world.overtaken, zombie) {
        (Some(overtaken), true) => Arc::clone(&overtaken.fold),
        _ => Arc::clone(&world.fold),
    };
    let Some((incarnation, through)) = decided(&fold, slot) else {
        return;
    };
    let here = world.slot_mut(slot);
    let holder = here.partition.mark.as_ref().and_then(|mark| mark.holder);
    let moot = holder.is_some_and(|holder| holder != incarnation);
    let blind = matches!(
        bug,
        Some(Bug::FenceSkipsToEnd | Bug::FencedOfAnyIncarnation)
    );
    if moot && !blind {
        // Opened since by another process. The epoch that the fence has taken costs that one a
        // refused commit, which it begins again.
        return;
    }
    if bug != Some(Bug::FenceWithoutInit) {
        here.id.init(None);
    }
    let done = here.partition.mark.as_ref().map_or(0, |mark| mark.n);
    if through > done && !here.partition.holds(through) {
        return; // not found: repeated with the next Tick
    }
    let transaction = SlotTransaction {
        facts: vec![Fact::SlotFenced {
            slot,
            incarnation,
            through,
        }],
        end: None,
        mark: Some(Mark {
            holder: None,
            n: done.max(through),
        }),
        to_end: bug == Some(Bug::FenceSkipsToEnd),
    };
    match fate {
        Fate::Told | Fate::Untold => world.commit_slot(slot, transaction),
        Fate::Late => here.id.hold_back(transaction),
    }
}

/// Writes orders and events, as a commit makes them visible.
pub fn deliver(world: &mut World, outs: &[Out]) {
    for out in outs {
        match out {
            Out::Order { slot, order } => {
                let here = world.slot_mut(*slot);
                here.partition.orders.push(*order);
                here.partition.used |= matches!(order, Order::Assign { .. });
            }
            Out::Event { kind, job, .. } => world.event(*job, *kind),
            Out::Letter { .. } => {}
            Out::Ignored { .. } => world.go_wrong(Wrong::EndIgnored),
        }
    }
}
