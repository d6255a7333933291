//! What requests mean to the fold, and what becomes of attempts that fail.

use crate::bugs::Bug;
use crate::facts::{Identity, Job, Kind, Order, Out};
use crate::fold::{Alive, Known, Step};

impl Step<'_> {
    pub(crate) fn admitted(&mut self, job: Job, tenant: u32, identity: Identity) {
        if self.seen_before(job, identity) {
            return;
        }
        if self.chooser.too_old(job) {
            self.end(job, identity, Kind::Refused, 0);
            return;
        }
        let alive = Alive {
            tenant,
            identity,
            attempt: 1,
            failures: 0,
            place: None,
            cancel: false,
        };
        self.fold.jobs.put(job, Known::Alive(alive));
        self.event(Kind::Admitted, job, 1);
        if self.fold.early.take((job, tenant)).is_some() {
            self.end(job, identity, Kind::Cancelled, 0);
        }
    }

    pub(crate) fn refused(&mut self, job: Job, identity: Identity) {
        if !self.seen_before(job, identity) {
            self.end(job, identity, Kind::Refused, 0);
        }
    }

    pub(crate) fn seen_before(&mut self, job: Job, identity: Identity) -> bool {
        let before = match self.fold.jobs.get(job) {
            Some(Known::Alive(alive)) => alive.identity,
            Some(Known::Ended(_, identity)) => *identity,
            None => return false,
        };
        if before != identity {
            self.outs.push(Out::Letter {
                job,
                code: "job_conflict",
            });
        }
        true
    }

    pub(crate) fn cancel_requested(&mut self, job: Job, tenant: u32) {
        let Some(known) = self.fold.jobs.get_mut(job) else {
            if !self.has(Bug::EarlyCancelForgotten) {
                self.fold.early.put((job, tenant), ());
            }
            return;
        };
        let Known::Alive(alive) = known else { return };
        if alive.tenant != tenant || (alive.cancel && self.bug != Some(Bug::CancelTwice)) {
            return;
        }
        alive.cancel = true;
        let (identity, attempt, place) = (alive.identity, alive.attempt, alive.place);
        match place {
            None => self.end(job, identity, Kind::Cancelled, attempt - 1),
            Some((slot, n)) => {
                self.outs.push(Out::Order {
                    slot,
                    order: Order::Cancel { n, job },
                });
                if self.has(Bug::CancelTwice) {
                    self.end(job, identity, Kind::Cancelled, attempt);
                }
            }
        }
    }

    pub(crate) fn failed(&mut self, job: Job, code: &'static str) {
        let Some(Known::Alive(alive)) = self.fold.jobs.get_mut(job) else {
            return;
        };
        let (identity, attempt) = (alive.identity, alive.attempt);
        if alive.cancel {
            self.end(job, identity, Kind::Cancelled, attempt - 1);
            return;
        }
        let failures = alive.failures + 1;
        if self.chooser.retries(job, code, failures) {
            self.requeue(job, Kind::Retrying, true);
        } else {
            self.outs.push(Out::Letter { job, code });
            self.end(job, identity, Kind::Failed, attempt);
        }
    }

    pub(crate) fn requeue(&mut self, job: Job, kind: Kind, failed: bool) {
        let same = self.has(Bug::RetryWithoutAttempt);
        let Some(Known::Alive(alive)) = self.fold.jobs.get_mut(job) else {
            return;
        };
        if alive.cancel {
            let (identity, attempt) = (alive.identity, alive.attempt);
            self.end(job, identity, Kind::Cancelled, attempt - 1);
            return;
        }
        alive.failures += u32::from(failed);
        alive.attempt += u32::from(!same);
        alive.place = None;
        let attempt = alive.attempt;
        self.event(kind, job, attempt);
    }
}
