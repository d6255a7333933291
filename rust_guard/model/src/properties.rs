//! What must never happen, and what must come about.

use std::time::Duration;

use stateright::{Checker, Expectation, HasDiscoveries, Model, Property};

use crate::facts::Kind;
use crate::kafka::End;
use crate::protocol::{Action, Protocol};
use crate::settle::settles;
use crate::world::World;

/// What went wrong, noted where it happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Wrong {
    /// A second terminal event of a job.
    TwoTerminals,
    /// An event after a terminal one.
    AfterTerminal,
    /// A job ended in a way that nobody asked for.
    Blamed,
    /// A step was computed that a checkpoint held which was readable at the start.
    StepTwice,
    /// Two writers for one artifact key.
    ContestedKey,
    /// An order that the slot cannot take.
    ImpossibleOrder,
    /// Something that a job under way needs was deleted.
    DeletedTooEarly,
    /// The guard's state machine refused the owner of an attempt.
    RefusedOwner,
    /// An owner was told that its own claim is another's.
    OwnClaimDenied,
    /// The scheduler does not take an end that a slot has committed.
    EndIgnored,
    /// A job whose cancel came first was rendered.
    EarlyCancelIgnored,
}

fn never(world: &World, wrong: Wrong) -> bool {
    world.wrong != Some(wrong)
}

/// Whether what each completion names is sealed, of that content and of that job's spec.
#[must_use]
pub fn artifacts_are_there(world: &World) -> bool {
    world.ends.iter().enumerate().all(|(job, ends)| {
        ends.iter()
            .all(|end| end.kind != Kind::Completed || is_there(world, job, end))
    })
}

fn is_there(world: &World, job: usize, end: &End) -> bool {
    end.artifact.is_some_and(|(key, content)| {
        world.bucket.videos.get(key).is_some_and(|video| {
            video.sealed
                && video.content == content
                && key.1 as usize == job
                && video.identity == world.identity(key.1)
        })
    })
}

/// Safety and liveness.
#[must_use]
pub fn properties() -> Vec<Property<Protocol>> {
    vec![
        Property::always("one terminal event a job", |_, world| {
            never(world, Wrong::TwoTerminals)
        }),
        Property::always("nothing follows a terminal event", |_, world| {
            never(world, Wrong::AfterTerminal)
        }),
        Property::always("no job ends as nobody asked for", |_, world| {
            never(world, Wrong::Blamed)
        }),
        Property::always("no step is computed twice", |_, world| {
            never(world, Wrong::StepTwice)
        }),
        Property::always("no artifact key has two writers", |_, world| {
            never(world, Wrong::ContestedKey)
        }),
        Property::always(
            "a completion names a sealed artifact of its spec",
            |_, world| artifacts_are_there(world),
        ),
        Property::always("no slot gets an order that it cannot take", |_, world| {
            never(world, Wrong::ImpossibleOrder)
        }),
        Property::always("nothing is deleted too early", |_, world| {
            never(world, Wrong::DeletedTooEarly)
        }),
        Property::always("the guard never refuses an owner", |_, world| {
            never(world, Wrong::RefusedOwner)
        }),
        Property::always("nobody is denied his own claim", |_, world| {
            never(world, Wrong::OwnClaimDenied)
        }),
        Property::always("the scheduler takes every end", |_, world| {
            never(world, Wrong::EndIgnored)
        }),
        Property::always("a cancel that came first is honoured", |_, world| {
            never(world, Wrong::EarlyCancelIgnored)
        }),
        Property::always("every job ends once faults stop", settles),
        Property::sometimes("a job is completed", |_, world| completed_by(world, 1)),
        Property::sometimes("a later attempt completes a job", |_, world| {
            completed_by(world, 2)
        }),
        Property::sometimes("a job is cancelled while it runs", |_, world: &World| {
            world
                .ends
                .iter()
                .flatten()
                .any(|end| end.kind == Kind::Cancelled && end.artifact.is_none())
        }),
    ]
}

fn completed_by(world: &World, attempt: u32) -> bool {
    let named = world.ends.iter().flatten().filter_map(|end| end.artifact);
    named.into_iter().any(|(key, _)| key.2 >= attempt)
}

/// Explores every state within the bounds; the violated property with the way to it, if there is one.
///
/// `limit`: the check is given up after it.
pub fn explore(protocol: Protocol, threads: usize, limit: Duration) -> Explored {
    let checker = protocol
        .checker()
        .threads(threads)
        .timeout(limit)
        .finish_when(HasDiscoveries::AnyFailures)
        .spawn_bfs()
        .join();
    let expectations: Vec<_> = properties()
        .into_iter()
        .map(|each| (each.name, each.expectation))
        .collect();
    let fails = |name: &str| {
        expectations
            .iter()
            .any(|(of, expectation)| *of == name && *expectation == Expectation::Always)
    };
    let (mut violated, mut reached) = (None, Vec::new());
    for (name, path) in checker.discoveries() {
        if fails(name) {
            violated = Some((name, path.into_actions()));
        } else {
            reached.push(name);
        }
    }
    Explored {
        states: checker.unique_state_count(),
        transitions: checker.state_count(),
        depth: checker.max_depth(),
        violated,
        reached,
    }
}

/// What an exploration found.
#[derive(Debug, Clone)]
pub struct Explored {
    /// Different states.
    pub states: usize,
    /// Steps between them.
    pub transitions: usize,
    /// Length of the longest way to one.
    pub depth: usize,
    /// The property that is violated, and the way to where it is.
    pub violated: Option<(&'static str, Vec<Action>)>,
    /// What ought to be possible, and is.
    pub reached: Vec<&'static str>,
}
