//! A slot's process, as `gpu_consumer/slot_log.py` and `worker.py` have it.

use guard_core::lifecycle::{Event, Refused, Relation, State};

use crate::bugs::Bug;
use crate::ending::{commit, end, prepare};
use crate::facts::{Identity, Incarnation, Job, Order, Outcome, SlotNo};
use crate::kafka::{Key, Who};
use crate::properties::Wrong;
use crate::store::{Claim, content, digest};
use crate::world::{SlotWorld, World};

/// Denoising steps of a job; a checkpoint is stored after all but the last.
pub const STEPS: u8 = 2;

/// An attempt in hand.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Work {
    /// Order number.
    pub n: i32,
    /// The job.
    pub job: Job,
    /// Its tenant and spec.
    pub identity: Identity,
    /// Attempt number.
    pub attempt: u32,
    /// Start number, from 1.
    pub start: u8,
    /// Steps done.
    pub step: u8,
    /// Steps that a checkpoint held when it started.
    pub readable: u8,
    /// The guard's own view of it.
    pub life: State,
    /// The artifact to announce.
    pub artifact: Option<(Key, u32)>,
}

/// What a process is at.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Doing {
    /// It has taken the slot and will say so.
    Opening,
    /// It waits for orders.
    Idle,
    /// It renders.
    Working(Work),
    /// It will commit this end.
    Ending(Work, Outcome),
}

/// A process that holds, or held, a slot.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Process {
    /// Its opening.
    pub incarnation: Incarnation,
    /// Orders read, in the partition's list.
    pub read: usize,
    /// Last order whose end it has committed.
    pub done: i32,
    /// Commits of this slot's place since the last that it knows of.
    pub behind: u8,
    /// Whether it has a producer of a fresh epoch.
    pub ready: bool,
    /// A transaction of its is half done (only with a bug).
    pub half: bool,
    /// Where it begins to read when no offset is committed (only with a bug).
    pub reset: bool,
    /// What it is at.
    pub doing: Doing,
}

/// How an EndTxn fares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fate {
    /// It commits and the answer arrives.
    Told,
    /// It commits and the answer is lost.
    Untold,
    /// It is held back: the process sees a time-out.
    Late,
}

/// What a slot's process can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Do {
    /// Read the next order and claim what it asks for.
    Take {
        /// The claim's first 200 is lost, and the put repeated.
        lost: bool,
    },
    /// Compute to the checkpoint and store it.
    Checkpoint,
    /// Compute to the end, seal, and take a fresh epoch for the commit.
    Seal,
    /// Give the job back: the render failed.
    Fail,
    /// Give the job back: the process is told to stop.
    Drain,
    /// Take a fresh epoch and learn whether the last commit happened.
    Prepare,
    /// Commit what is to be said.
    Commit(Fate),
    /// See that another holds the slot, and end.
    Leave,
}

/// The process starts: it fences whoever holds the slot and learns where it stands.
pub fn start(world: &mut World, slot: SlotNo) {
    let bug = world.bug;
    let here = world.slot_mut(slot);
    here.id.init(Some(Who::Current));
    here.openings += 1;
    here.processes[0] = Some(Process {
        incarnation: here.openings,
        read: here.committed_or(bug),
        done: here.partition.mark.as_ref().map_or(0, |mark| mark.n),
        behind: 0,
        ready: true,
        half: false,
        reset: here.partition.mark.is_none(),
        doing: Doing::Opening,
    });
}

impl SlotWorld {
    /// Whether a process may open the slot: orders without a committed offset mean a loss.
    #[must_use]
    pub fn may_start(&self, bug: Option<Bug>) -> bool {
        let resets = matches!(bug, Some(Bug::OffsetResetLatest | Bug::OffsetResetEarliest));
        self.processes[0].is_none()
            && (resets || self.partition.mark.is_some() || !self.partition.used)
    }

    fn committed_or(&self, bug: Option<Bug>) -> usize {
        if self.partition.mark.is_none() && bug == Some(Bug::OffsetResetLatest) {
            self.partition.orders.len()
        } else {
            self.partition.committed
        }
    }
}

/// What the process can do next, faults apart.
pub fn next_moves(here: &SlotWorld, process: &Process, moves: &mut Vec<Do>) {
    let holder = here.partition.mark.as_ref().and_then(|mark| mark.holder);
    if process.doing != Doing::Opening && holder != Some(process.incarnation) {
        moves.push(Do::Leave);
    }
    let unread = process.read < here.partition.orders.len();
    match &process.doing {
        Doing::Opening | Doing::Ending(..) if process.ready => moves.push(Do::Commit(Fate::Told)),
        Doing::Opening | Doing::Ending(..) => moves.push(Do::Prepare),
        Doing::Idle if unread => moves.push(Do::Take { lost: false }),
        Doing::Idle => {}
        Doing::Working(work) => {
            if unread {
                moves.push(Do::Take { lost: false });
            }
            moves.push(if work.step + 1 < STEPS {
                Do::Checkpoint
            } else {
                Do::Seal
            });
        }
    }
}

/// Does it.
pub fn act(world: &mut World, slot: SlotNo, who: Who, what: Do) {
    let Some(mut process) = world.slot_mut(slot).processes[who as usize].take() else {
        return;
    };
    let stays = match what {
        Do::Take { lost } => take(world, slot, &mut process, lost),
        Do::Checkpoint => checkpoint(world, slot, &mut process),
        Do::Seal => seal(world, slot, &mut process),
        Do::Fail => give_back(&mut process, Outcome::Failed("render_crashed")),
        Do::Drain => give_back(&mut process, Outcome::Preempted),
        Do::Prepare | Do::Commit(_) => true,
        Do::Leave => false,
    };
    let ending = matches!(process.doing, Doing::Ending(..) | Doing::Opening);
    let stays = match what {
        Do::Commit(fate) => commit(world, slot, who, &mut process, fate),
        _ => stays && (!ending || prepare(world, slot, who, &mut process)),
    };
    if stays {
        world.slot_mut(slot).processes[who as usize] = Some(process);
    } else if world.slot_mut(slot).id.owner == Some(who) {
        world.slot_mut(slot).id.owner = None;
    }
}

fn take(world: &mut World, slot: SlotNo, process: &mut Process, lost: bool) -> bool {
    let Some(order) = world
        .slot_mut(slot)
        .partition
        .orders
        .get(process.read)
        .copied()
    else {
        return true;
    };
    process.read += 1;
    match (order, &process.doing) {
        (Order::Assign { n, .. }, _) if n <= process.done => true,
        (
            Order::Assign {
                n,
                job,
                attempt,
                identity,
            },
            Doing::Idle,
        ) if n == process.done + 1 => {
            claim(
                world,
                slot,
                process,
                Claimed {
                    n,
                    job,
                    attempt,
                    identity,
                    lost,
                },
            );
            true
        }
        (Order::Assign { .. }, _) => {
            let mark = world.slot_mut(slot).partition.mark.as_ref();
            if mark.is_some_and(|mark| mark.holder == Some(process.incarnation)) {
                world.go_wrong(Wrong::ImpossibleOrder); // a zombie may see what is not for it
            }
            false
        }
        (Order::Cancel { n, .. }, Doing::Working(work)) if work.n == n => {
            let work = work.clone();
            end(world, process, work, Outcome::Cancelled);
            true
        }
        (Order::Cancel { .. }, _) => true,
    }
}

struct Claimed {
    n: i32,
    job: Job,
    attempt: u32,
    identity: Identity,
    lost: bool,
}

fn claim(world: &mut World, slot: SlotNo, process: &mut Process, order: Claimed) {
    let Claimed {
        n,
        job,
        attempt,
        identity,
        lost,
    } = order;
    let (life, bug) = (world.life, world.bug);
    let ours = Claim {
        record: (slot, n),
        identity,
        put: (slot, process.incarnation),
    };
    let found = world
        .bucket_mut()
        .claim((life, job, attempt), ours, lost, bug);
    let mut work = Work {
        n,
        job,
        identity,
        attempt,
        start: 0,
        step: 0,
        readable: 0,
        life: State::Claimed,
        artifact: None,
    };
    let found = match found {
        Ok(found) => found,
        Err(refused) => {
            process.doing = Doing::Ending(work, outcome_of(&refused));
            return;
        }
    };
    (work.start, work.step, work.readable) = (found.start, found.resumed, found.readable);
    match found.adopted {
        Some((key, bytes)) => {
            advance(world, &mut work, Event::Adopt, bytes);
            work.artifact = Some((key, bytes));
            end(world, process, work, Outcome::Completed);
        }
        None => process.doing = Doing::Working(work),
    }
}

fn outcome_of(refused: &Refused) -> Outcome {
    match refused {
        Refused::Duplicate => Outcome::Duplicate,
        Refused::Conflict(_) => Outcome::Failed("claim_conflict"),
        Refused::Stale => Outcome::Failed("stale_attempt"),
        Refused::LostClaim => Outcome::Failed("lost_claim"),
        Refused::OutOfOrder { .. } => Outcome::Failed("out_of_order"),
    }
}

/// Moves the guard's state machine on; in a correct protocol it never refuses its owner.
pub(crate) fn advance(
    world: &mut World,
    work: &mut Work,
    event: impl Fn(guard_core::ids::Digest) -> Event,
    bytes: u32,
) {
    let next = digest(bytes)
        .ok()
        .map(|digest| work.life.after(Relation::ThisRecord, &event(digest)));
    match next {
        Some(Ok(life)) => work.life = life,
        _ => world.go_wrong(Wrong::RefusedOwner),
    }
}

fn compute(world: &mut World, work: &mut Work, through: u8) {
    if work.step < work.readable {
        world.go_wrong(Wrong::StepTwice);
    }
    work.step = through;
}

fn checkpoint(world: &mut World, slot: SlotNo, process: &mut Process) -> bool {
    let life = world.life;
    let Doing::Working(work) = &mut process.doing else {
        return true;
    };
    compute(world, work, STEPS - 1);
    let key = (life, work.job, work.attempt, work.start);
    let step = guard_core::ids::Ordinal::FIRST;
    advance(world, work, |_| Event::Checkpoint(step), 0);
    world.bucket_mut().checkpoint(key, work.step, work.identity);
    let _ = slot;
    true
}

fn seal(world: &mut World, slot: SlotNo, process: &mut Process) -> bool {
    let (life, bug) = (world.life, world.bug);
    let Doing::Working(work) = &process.doing else {
        return true;
    };
    let mut work = work.clone();
    compute(world, &mut work, STEPS);
    let key = (life, work.job, work.attempt, work.start);
    let bytes = content((slot, process.incarnation), work.attempt);
    if bug != Some(Bug::AnnounceBeforeSeal) && !world.bucket_mut().seal(key, bytes, work.identity) {
        world.go_wrong(Wrong::ContestedKey);
    }
    advance(world, &mut work, Event::Seal, bytes);
    work.artifact = Some((key, bytes));
    end(world, process, work, Outcome::Completed);
    true
}

fn give_back(process: &mut Process, outcome: Outcome) -> bool {
    if let Doing::Working(work) = &process.doing {
        process.doing = Doing::Ending(work.clone(), outcome);
    }
    true
}
