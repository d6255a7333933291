//! The protocol holds within its bounds, and each bug that is switched on is caught.

use std::time::Duration;

use guard_model::bugs::Bug;
use guard_model::facts::Kind;
use guard_model::faults::{Fault, Left, NAMES};
use guard_model::kafka::End;
use guard_model::properties::{Explored, Wrong, artifacts_are_there, explore};
use guard_model::protocol::Protocol;
use guard_model::world::World;

const LIMIT: Duration = Duration::from_secs(600);

fn one_of_any() -> Left {
    NAMES
        .iter()
        .fold(Left::NONE, |left, (_, fault)| left.with(*fault, 1))
        .at_most(1)
}

fn within(slots: u8, jobs: u32, left: Left) -> Explored {
    let mut protocol = Protocol::new(slots, jobs);
    (protocol.left, protocol.collector) = (left, true);
    let found = explore(protocol, 2, LIMIT);
    println!(
        "{} states, {} transitions, depth {}",
        found.states, found.transitions, found.depth
    );
    assert_eq!(found.violated, None);
    found
}

#[test]
fn two_slots_two_jobs_and_one_fault_of_any_kind() {
    let found = within(2, 2, one_of_any());
    assert!(
        found.states > 100_000,
        "the model has shrunk: {}",
        found.states
    );
    let mut reached = found.reached;
    reached.sort_unstable();
    let possible = [
        "a job is cancelled while it runs",
        "a job is completed",
        "a later attempt completes a job",
    ];
    assert_eq!(reached, possible);
}

#[test]
fn two_slots_two_jobs_a_crash_and_a_commit_of_unknown_outcome() {
    within(2, 2, Left::NONE.with(Fault::Crash, 1).with(Fault::Net, 1));
}

#[test]
fn one_slot_a_zombie_and_a_crash() {
    within(1, 1, Left::NONE.with(Fault::Split, 1).with(Fault::Crash, 1));
}

#[test]
fn a_second_terminal_event_an_event_after_one_and_an_unasked_end_are_noted() {
    let world = || World::new(1, 1, Left::NONE, None);
    let noted = |kinds: &[Kind]| {
        let mut world = world();
        world.requests[0].cancelled = true;
        kinds.iter().for_each(|kind| world.event(0, *kind));
        world.wrong
    };
    assert_eq!(noted(&[Kind::Scheduled, Kind::Cancelled]), None);
    assert_eq!(
        noted(&[Kind::Cancelled, Kind::Cancelled]),
        Some(Wrong::TwoTerminals)
    );
    assert_eq!(
        noted(&[Kind::Cancelled, Kind::Scheduled]),
        Some(Wrong::AfterTerminal)
    );
    assert_eq!(noted(&[Kind::Failed]), Some(Wrong::Blamed));
}

#[test]
fn a_completion_needs_its_sealed_artifact_of_the_same_bytes_and_spec() {
    let mut world = World::new(1, 1, Left::NONE, None);
    let (key, spec) = ((1, 0, 1, 1), world.identity(0));
    let end = |content| End {
        kind: Kind::Completed,
        artifact: Some((key, content)),
    };
    world.ends[0].push(end(7));
    assert!(!artifacts_are_there(&world), "nothing is stored");
    assert!(world.bucket_mut().seal(key, 7, spec));
    assert!(artifacts_are_there(&world));
    world.ends[0][0] = end(8);
    assert!(!artifacts_are_there(&world), "other bytes");
    world.ends[0][0] = end(7);
    world.generation = 1;
    assert!(!artifacts_are_there(&world), "another spec");
}

#[test]
fn every_bug_is_caught() {
    let mut missed = Vec::new();
    for bug in Bug::ALL {
        let mut protocol = bug.bounds();
        protocol.bug = Some(bug);
        let found = explore(protocol, 2, LIMIT);
        match found.violated {
            Some((property, way)) => println!("{bug:?}: {property}, after {} steps", way.len()),
            None => missed.push(bug),
        }
    }
    assert_eq!(missed, []);
}
