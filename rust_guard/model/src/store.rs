//! The bucket, and the guard's calls on it with the guard core's own judgement.

use guard_core::claim::{ClaimRecord, RecordRef};
use guard_core::ids::{Digest, InvalidId, JobId, Ordinal, PoolIncarnation, PutId, TenantId};
use guard_core::keys::Subject;
use guard_core::lifecycle::{Event, Refused, Relation, State};

use crate::bugs::Bug;
use crate::facts::{Identity, Incarnation, Job, SlotNo};
use crate::kafka::Key;
use crate::sorted::Sorted;

/// Names a put: each process draws its own.
pub type Put = (SlotNo, Incarnation);

/// What a claim object says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Claim {
    /// Slot and number of the order: its place in Kafka.
    pub record: (SlotNo, i32),
    /// Tenant and spec.
    pub identity: Identity,
    /// Of the put that wrote it.
    pub put: Put,
}

/// A video and its seal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Video {
    /// Stands for its bytes: no two renders share them.
    pub content: u32,
    /// Spec it was made for.
    pub identity: Identity,
    /// Whether its seal is there.
    pub sealed: bool,
}

/// Everything that lies in the bucket.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Bucket {
    /// By pool incarnation, job and attempt.
    pub claims: Sorted<(u8, Job, u32), Claim>,
    /// Start markers, with the put that wrote each.
    pub starts: Sorted<Key, Put>,
    /// Newest checkpointed step, by who made it.
    pub checkpoints: Sorted<Key, (u8, Identity)>,
    /// Videos.
    pub videos: Sorted<Key, Video>,
}

/// What a start found of earlier ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// Its start number.
    pub start: u8,
    /// A sealed artifact.
    pub adopted: Option<(Key, u32)>,
    /// Steps of the newest checkpoint that it can read.
    pub readable: u8,
    /// Steps of the checkpoint that it goes on from.
    pub resumed: u8,
}

impl Bucket {
    /// Claims an attempt, takes a start number and looks for what is there of the job.
    ///
    /// # Errors
    /// [`Refused`], as the guard's core decides.
    pub fn claim(
        &mut self,
        at: (u8, Job, u32),
        ours: Claim,
        lost: bool,
        bug: Option<Bug>,
    ) -> Result<Found, Refused> {
        let won = bug == Some(Bug::StoreIgnoresCondition) || !self.claims.has(at);
        if won {
            self.claims.put(at, ours);
        }
        // A 200 that was lost is a put that is repeated, and refused by its own first copy.
        let relation = if won && !lost {
            Relation::ThisRecord
        } else if bug == Some(Bug::OwnPutIsDuplicate) {
            Relation::AnotherRecord
        } else {
            let held = *self.claims.get(at).unwrap_or(&ours);
            judge(at, ours, held, self.newest(at)).unwrap_or(Relation::LostClaim)
        };
        State::Unclaimed.after(relation, &Event::Claim)?;
        let start = self.take_start(at, ours.put, bug);
        Ok(self.look(at, start, ours.identity, bug))
    }

    fn newest(&self, at: (u8, Job, u32)) -> u32 {
        let of_job = self
            .claims
            .iter()
            .filter(|((life, job, _), _)| (*life, *job) == (at.0, at.1));
        of_job
            .map(|((_, _, attempt), _)| *attempt)
            .max()
            .unwrap_or(at.2)
    }

    fn take_start(&mut self, at: (u8, Job, u32), put: Put, bug: Option<Bug>) -> u8 {
        let mut start = 1;
        loop {
            let key = (at.0, at.1, at.2, start);
            let taken = match bug {
                Some(Bug::StoreIgnoresCondition | Bug::EqualContentOwns | Bug::ConflictIsWin) => {
                    false
                }
                _ => self.starts.get(key).is_some_and(|held| *held != put),
            };
            if !taken {
                self.starts.put(key, put);
                return start;
            }
            start += 1;
        }
    }

    fn look(&self, at: (u8, Job, u32), start: u8, identity: Identity, bug: Option<Bug>) -> Found {
        let any_life = bug == Some(Bug::AdoptsAnySpec);
        let adopted = self
            .videos
            .iter()
            .filter(|(key, _)| key.1 == at.1 && (any_life || key.0 == at.0))
            .find(|(_, video)| video.sealed && (any_life || video.identity == identity))
            .map(|(key, video)| (*key, video.content));
        let steps = |own: bool| {
            let of_job = self.checkpoints.iter().filter(|(key, (_, spec))| {
                (key.0, key.1) == (at.0, at.1) && *spec == identity && (!own || key.2 == at.2)
            });
            of_job.map(|(_, (step, _))| *step).max().unwrap_or(0)
        };
        let readable = steps(false);
        let (adopted, resumed) = match bug {
            Some(Bug::RedeliveredIsNew) => (None, 0),
            Some(Bug::CheckpointOfOwnAttempt) => (adopted, steps(true)),
            _ => (adopted, readable),
        };
        Found {
            start,
            adopted,
            readable,
            resumed,
        }
    }

    /// Stores the checkpoint after `step` steps.
    pub fn checkpoint(&mut self, key: Key, step: u8, identity: Identity) {
        self.checkpoints.put(key, (step, identity));
    }

    /// Puts and seals a video; false when other bytes are there, or were overwritten.
    pub fn seal(&mut self, key: Key, content: u32, identity: Identity) -> bool {
        let before = self.videos.get(key).map(|video| video.content);
        if before.is_none() {
            self.videos.put(
                key,
                Video {
                    content,
                    identity,
                    sealed: true,
                },
            );
        }
        before.is_none_or(|before| before == content)
    }

    /// Deletes the job's start markers and checkpoints.
    pub fn release(&mut self, life: u8, job: Job) {
        self.starts.keep(|key, _| (key.0, key.1) != (life, job));
        self.checkpoints
            .keep(|key, _| (key.0, key.1) != (life, job));
    }

    /// Whether there is anything that [`Self::release`] would delete.
    #[must_use]
    pub fn has_work_of(&self, life: u8, job: Job) -> bool {
        self.checkpoints
            .iter()
            .any(|(key, _)| (key.0, key.1) == (life, job))
    }

    /// Deletes the job's videos but those of the pass.
    pub fn collect(&mut self, life: u8, job: Job, named: impl Fn(&Key) -> bool) {
        self.videos
            .keep(|key, _| (key.0, key.1) != (life, job) || named(key));
    }
}

/// The content that stands for the bytes of a render.
#[must_use]
pub fn content(put: Put, attempt: u32) -> u32 {
    (u32::from(put.0) << 24) | (put.1 << 8) | attempt
}

/// A digest that stands for `number`.
///
/// # Errors
/// Never, for the digits are right; the core's type has it.
pub fn digest(number: u32) -> Result<Digest, InvalidId> {
    Digest::new(&format!("{number:064x}"))
}

/// The job's id as the guard knows it.
#[must_use]
pub fn uuid(number: u32) -> String {
    format!("00000000-0000-4000-8000-{number:012x}")
}

fn judge(at: (u8, Job, u32), ours: Claim, held: Claim, newest: u32) -> Result<Relation, InvalidId> {
    let newest = Ordinal::new("attempt", newest.into())?;
    Ok(Relation::of_claimant(
        &record(at, ours)?,
        &record(at, held)?,
        newest,
    ))
}

fn record((life, job, attempt): (u8, Job, u32), claim: Claim) -> Result<ClaimRecord, InvalidId> {
    let (slot, n) = claim.record;
    Ok(ClaimRecord {
        subject: Subject {
            pool_incarnation: PoolIncarnation::new(&uuid(life.into()))?,
            tenant_id: TenantId::new("tenant")?,
            job_id: JobId::new(&uuid(job))?,
            attempt: Ordinal::new("attempt", attempt.into())?,
        },
        record: RecordRef::new("assignments", slot.into(), n.into())?,
        spec_digest: digest(claim.identity)?,
        put_id: PutId::new(&uuid(content(claim.put, 0)))?,
    })
}
