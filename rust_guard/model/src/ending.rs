//! How an attempt ends: announced by leave of the guard, committed by leave of Kafka, released.

use guard_core::lifecycle::{End as Announced, Event};

use crate::bugs::Bug;
use crate::facts::{Fact, Kind, Outcome, SlotNo};
use crate::kafka::{End, Mark, SlotTransaction, Who};
use crate::properties::Wrong;
use crate::slot::{Doing, Fate, Process, Work, advance};
use crate::world::World;

/// Asks the guard whether this end may be announced, and goes on to commit it.
pub(crate) fn end(world: &mut World, process: &mut Process, mut work: Work, outcome: Outcome) {
    let bytes = work.artifact.map_or(0, |(_, bytes)| bytes);
    let announced = move |digest| match outcome {
        Outcome::Completed => Event::Announce(Announced::Completed(digest)),
        Outcome::Cancelled => Event::Announce(Announced::Cancelled),
        _ => Event::Announce(Announced::GivenBack),
    };
    advance(world, &mut work, announced, bytes);
    if world.bug == Some(Bug::ReleaseBeforeAnnounce) {
        release(world, &work);
    }
    process.doing = Doing::Ending(work, outcome);
}

pub(crate) fn release(world: &mut World, work: &Work) {
    let (life, job) = (world.life, work.job);
    if world.ends[job as usize].is_empty() && world.bucket.has_work_of(life, job) {
        world.go_wrong(Wrong::DeletedTooEarly);
    }
    world.bucket_mut().release(life, job);
}

/// A fresh epoch for the next transaction; false: the slot is someone else's.
pub(crate) fn prepare(world: &mut World, slot: SlotNo, who: Who, process: &mut Process) -> bool {
    let bug = world.bug;
    let here = world.slot_mut(slot);
    if bug == Some(Bug::SharedEpoch) && here.id.owner == Some(who) && here.id.late {
        here.id.open = None; // aborted by hand, the epoch kept: what is late stays late
    } else if !(bug == Some(Bug::UnfencedZombie) && who == Who::Zombie) {
        here.id.init(Some(who));
    }
    let holder = here.partition.mark.as_ref().and_then(|mark| mark.holder);
    let ours = holder == Some(process.incarnation);
    process.ready = true;
    match process.behind {
        0 => true,
        _ if bug == Some(Bug::RepeatUnknownCommit) && ours => true,
        1 if ours => {
            process.behind = 0;
            committed(world, slot, process)
        }
        _ => bug == Some(Bug::UnfencedZombie) && who == Who::Zombie,
    }
}

/// Commits what is to be said; false: the process ends with it.
pub(crate) fn commit(
    world: &mut World,
    slot: SlotNo,
    who: Who,
    process: &mut Process,
    fate: Fate,
) -> bool {
    let bug = world.bug;
    let transaction = transaction(slot, process);
    let here = world.slot_mut(slot);
    let unfenced = bug == Some(Bug::UnfencedZombie) && who == Who::Zombie;
    if here.id.owner != Some(who) && !unfenced {
        process.ready = false; // refused: ProducerFenced
        return true;
    }
    if bug == Some(Bug::SharedEpoch) && here.id.late && !process.half {
        let partial = SlotTransaction {
            mark: None,
            ..transaction
        };
        here.id.hold_back(partial);
        process.half = true;
        return true;
    }
    if process.half && bug == Some(Bug::SharedEpoch) && here.id.open.is_none() {
        (process.half, process.ready) = (false, false); // it was ended from behind
        return true;
    }
    if bug == Some(Bug::OffsetOutsideTransaction) && !process.half && transaction.end.is_some() {
        world.commit_slot(
            slot,
            SlotTransaction {
                mark: None,
                ..transaction
            },
        );
        process.half = true;
        return true;
    }
    match fate {
        Fate::Told => {
            here.id.open = None;
            let rest = process.half && bug == Some(Bug::OffsetOutsideTransaction);
            let mark_alone = SlotTransaction {
                mark: transaction.mark.clone(),
                ..Default::default()
            };
            world.commit_slot(slot, if rest { mark_alone } else { transaction });
            process.half = false;
            committed(world, slot, process)
        }
        Fate::Untold => {
            world.commit_slot(slot, transaction);
            process.behind += 1;
            process.ready = false;
            true
        }
        Fate::Late => {
            world.hold_back_slot(slot, transaction);
            process.ready = false;
            true
        }
    }
}

/// The process knows that its commit has happened; false: it was its last.
fn committed(world: &mut World, slot: SlotNo, process: &mut Process) -> bool {
    process.ready = false;
    match std::mem::replace(&mut process.doing, Doing::Idle) {
        Doing::Opening => {
            let here = world.slot_mut(slot);
            if !process.reset {
                process.read = here.partition.committed;
            }
            process.reset = false;
        }
        Doing::Ending(mut work, outcome) => {
            process.done = work.n;
            if matches!(outcome, Outcome::Completed | Outcome::Cancelled) {
                advance(world, &mut work, |_| Event::Release, 0);
                release(world, &work);
            }
            return outcome != Outcome::Preempted;
        }
        other => process.doing = other,
    }
    true
}

fn transaction(slot: SlotNo, process: &Process) -> SlotTransaction {
    let incarnation = process.incarnation;
    let free = |done| Fact::SlotFree {
        slot,
        incarnation,
        done,
        accept: done + 1,
    };
    let mark = |n| {
        Some(Mark {
            holder: Some(incarnation),
            n,
        })
    };
    match &process.doing {
        Doing::Ending(work, outcome) => {
            let (n, job, attempt) = (work.n, work.job, work.attempt);
            let ended = Fact::AttemptEnded {
                slot,
                incarnation,
                n,
                job,
                attempt,
                outcome: *outcome,
            };
            let kind = match outcome {
                Outcome::Completed => Some(Kind::Completed),
                Outcome::Cancelled => Some(Kind::Cancelled),
                _ => None,
            };
            let end = kind.map(|kind| {
                (
                    job,
                    End {
                        kind,
                        artifact: work.artifact,
                    },
                )
            });
            let facts = if *outcome == Outcome::Preempted {
                vec![ended]
            } else {
                vec![ended, free(n)]
            };
            SlotTransaction {
                facts,
                end,
                mark: mark(n),
                to_end: false,
            }
        }
        _ => SlotTransaction {
            facts: vec![Fact::SlotOpened { slot, incarnation }, free(process.done)],
            end: None,
            mark: mark(process.done),
            to_end: false,
        },
    }
}
