//! The choices of a recorded history, as far as the rules allow them.

use std::collections::HashMap;

use guard_core::retry::{RetryDecision, RetryPolicy, retry};

use crate::facts::{Job, SlotNo};
use crate::fold::{Chooser, Fold};
use crate::history::Effect;
use crate::store::uuid;

/// Lost starts after which a job may be given up whatever its failures were.
const MAX_LOSSES: u32 = 50;

/// The record's choices for one fact.
pub(crate) struct Recorded<'a> {
    pub(crate) effects: &'a [(Effect, Option<Job>)],
    pub(crate) crashed: &'a HashMap<Job, u32>,
    pub(crate) taken: Vec<usize>,
}

impl Recorded<'_> {
    fn event(&self, job: Job, wanted: &str) -> bool {
        self.effects.iter().any(|(effect, of)| {
            *of == Some(job) && matches!(effect, Effect::Event { event, .. } if event == wanted)
        })
    }
}

impl Chooser for Recorded<'_> {
    fn choose(&mut self, fold: &Fold, slot: SlotNo) -> Option<Job> {
        let at = self
            .effects
            .iter()
            .enumerate()
            .position(|(at, (effect, _))| {
                matches!(effect, Effect::Assign { slot: of, .. } if *of == slot)
                    && !self.taken.contains(&at)
            })?;
        let job = self.effects[at].1?;
        let waits = fold.alive(job).is_some_and(|alive| alive.place.is_none());
        self.taken.push(at);
        waits.then_some(job)
    }

    fn retries(&mut self, job: Job, code: &'static str, failures: u32) -> bool {
        let policy = RetryPolicy::default();
        // How many of the lost starts count, the record does not say: at least one, at most all.
        let failures = failures + self.crashed.get(&job).copied().unwrap_or(0);
        let may_retry = retry(code, 1, &uuid(job), &policy) != RetryDecision::Fail;
        let may_fail = failures >= MAX_LOSSES
            || retry(code, failures, &uuid(job), &policy) == RetryDecision::Fail;
        if self.event(job, "Failed") {
            !may_fail
        } else {
            may_retry
        }
    }

    fn expired(&mut self, _: &Fold) -> Vec<Job> {
        let of = |(effect, job): &(Effect, Option<Job>)| match effect {
            Effect::Event { event, .. } if event == "Expired" => *job,
            _ => None,
        };
        self.effects.iter().filter_map(of).collect()
    }

    fn too_old(&mut self, job: Job) -> bool {
        self.event(job, "Refused")
    }
}
