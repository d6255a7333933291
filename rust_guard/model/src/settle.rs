//! Liveness: from every world that can be reached, without further faults, every job ends.
//!
//! A run without faults is a fair run: whoever can go on does, in turn. It is followed until it meets
//! a world that is known to be good, so that each world costs about one step.

use std::collections::HashSet;
use std::sync::Mutex;

use ahash::RandomState;

use crate::kafka::Who;
use crate::moves::progress;
use crate::protocol::{Action, Protocol, happen};
use crate::slot::Do;
use crate::world::World;

/// A run that is longer goes round in a circle.
const LIMIT: usize = 2_000;
const SHARDS: usize = 64;

/// Fingerprints of worlds from which every job ends.
pub struct Settled {
    hasher: RandomState,
    shards: Vec<Mutex<HashSet<u64, RandomState>>>,
}

impl Default for Settled {
    fn default() -> Self {
        let hasher = RandomState::with_seeds(1, 2, 3, 4);
        let shards = (0..SHARDS)
            .map(|_| Mutex::new(HashSet::with_hasher(hasher.clone())))
            .collect();
        Self { hasher, shards }
    }
}

impl Settled {
    /// Notes a world; false when it was known.
    fn add(&self, print: u64) -> bool {
        let shard = &self.shards[print as usize % SHARDS];
        shard.lock().is_ok_and(|mut known| known.insert(print))
    }

    fn knows(&self, print: u64) -> bool {
        let shard = &self.shards[print as usize % SHARDS];
        shard.lock().is_ok_and(|known| known.contains(&print))
    }
}

/// Whether every job ends in the fair runs from here.
#[must_use]
pub fn settles(protocol: &Protocol, world: &World) -> bool {
    Dead::ALL
        .into_iter()
        .all(|dead| run(&protocol.settled, world, dead))
}

/// What becomes of dead slots in a fair run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Dead {
    /// They start again at once.
    Return,
    /// They stay dead while another slot lives.
    Stay,
}

impl Dead {
    const ALL: [Self; 2] = [Self::Return, Self::Stay];
}

fn run(settled: &Settled, world: &World, dead: Dead) -> bool {
    let mut way = Vec::new();
    let mut now = world.clone();
    let mut actions = Vec::new();
    loop {
        let print = settled.hasher.hash_one((&now, dead));
        if now.wrong.is_some() || settled.knows(print) {
            break; // wrong worlds are reported as such
        }
        way.push(print);
        if way.len() > LIMIT {
            return false;
        }
        actions.clear();
        progress(&now, &mut actions);
        let fair = actions
            .iter()
            .copied()
            .filter(|action| is_fair(&now, *action, dead));
        match fair.min_by_key(|action| turn(*action)) {
            Some(action) => {
                happen(&mut now, action);
                now.tidy();
            }
            None if now.ends.iter().all(|ends| !ends.is_empty()) => break,
            None => return false,
        }
    }
    for print in way {
        settled.add(print);
    }
    true
}

/// Zombies stay frozen, and what is late never arrives: nobody may depend on them.
fn is_fair(world: &World, action: Action, dead: Dead) -> bool {
    match action {
        Action::Slot(_, Who::Zombie, _) | Action::LateSlot(_) => false,
        Action::StartSlot(_) if dead == Dead::Stay => {
            world.slots.iter().all(|here| here.processes[0].is_none())
        }
        _ => true,
    }
}

/// Who goes first.
fn turn(action: Action) -> u8 {
    match action {
        Action::StartScheduler => 0,
        Action::Slot(_, _, Do::Leave) => 1,
        Action::Fold(_) => 2,
        Action::StartSlot(_) => 3,
        Action::Slot(_, _, Do::Take { .. }) => 4,
        Action::Slot(..) => 5,
        Action::Fence(..) => 6,
        Action::Suspect(_) => 7,
        _ => 8,
    }
}
