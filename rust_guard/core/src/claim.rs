//! Claims: the first writer owns an attempt, and everybody else learns who they are to it.

use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::ids::{Digest, InvalidId, JobId, Ordinal, PoolIncarnation, PutId, TenantId};
use crate::keys::Subject;
use crate::record::{self, Checked, Corrupt};

/// The assignment record that orders an attempt: where it lies in Kafka.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordRef {
    topic: String,
    partition: i32,
    offset: i64,
}

impl RecordRef {
    /// Takes a topic name as Kafka allows it, a partition and an offset from 0.
    ///
    /// # Errors
    /// [`InvalidId`], naming the field.
    pub fn new(topic: &str, partition: i32, offset: i64) -> Result<Self, InvalidId> {
        let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        if topic.is_empty() || topic.len() > 249 || !topic.bytes().all(legal) {
            return Err(InvalidId {
                field: "topic",
                rule: "a Kafka topic name",
            });
        }
        if partition < 0 {
            return Err(InvalidId {
                field: "partition",
                rule: "from 0",
            });
        }
        if offset < 0 {
            return Err(InvalidId {
                field: "offset",
                rule: "from 0",
            });
        }
        Ok(Self {
            topic: topic.into(),
            partition,
            offset,
        })
    }

    /// Topic name.
    #[must_use]
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// Partition number.
    #[must_use]
    pub const fn partition(&self) -> i32 {
        self.partition
    }

    /// Offset in the partition.
    #[must_use]
    pub const fn offset(&self) -> i64 {
        self.offset
    }
}

/// What a claim object says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimRecord {
    /// What is claimed.
    pub subject: Subject,
    /// The record that ordered it.
    pub record: RecordRef,
    /// Digest of the job's canonical spec.
    pub spec_digest: Digest,
    /// Of the put that wrote it.
    pub put_id: PutId,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    version: u32,
    pool_incarnation: String,
    tenant_id: String,
    job_id: String,
    attempt: i64,
    topic: String,
    partition: i32,
    offset: i64,
    spec_digest: String,
    put_id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    check: Option<String>,
}

impl Checked for Stored {
    fn check(&mut self) -> &mut Option<String> {
        &mut self.check
    }
}

impl ClaimRecord {
    /// As it is stored: JSON, with a check of its own.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        record::to_checked_json(self.stored())
    }

    fn stored(&self) -> Stored {
        Stored {
            version: record::VERSION,
            pool_incarnation: self.subject.pool_incarnation.as_str().into(),
            tenant_id: self.subject.tenant_id.as_str().into(),
            job_id: self.subject.job_id.as_str().into(),
            attempt: self.subject.attempt.get().into(),
            topic: self.record.topic.clone(),
            partition: self.record.partition,
            offset: self.record.offset,
            spec_digest: self.spec_digest.as_str().into(),
            put_id: self.put_id.as_str().into(),
            check: None,
        }
    }

    /// Reads a stored claim; nothing in it is trusted. It is taken only byte for byte as this crate
    /// writes it.
    ///
    /// # Errors
    /// [`Corrupt`], saying what is wrong with it.
    pub fn from_json(bytes: &[u8]) -> Result<Self, Corrupt> {
        let stored: Stored = record::parse(bytes)?;
        record::check_version(stored.version)?;
        let read = Self {
            subject: Subject {
                pool_incarnation: PoolIncarnation::new(&stored.pool_incarnation)?,
                tenant_id: TenantId::new(&stored.tenant_id)?,
                job_id: JobId::new(&stored.job_id)?,
                attempt: Ordinal::new("attempt", stored.attempt)?,
            },
            record: RecordRef::new(&stored.topic, stored.partition, stored.offset)?,
            spec_digest: Digest::new(&stored.spec_digest)?,
            put_id: PutId::new(&stored.put_id)?,
        };
        record::verify(read.stored(), bytes)?;
        Ok(read)
    }
}

/// What a claimant is to the attempt it asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// This very put wrote the claim: the attempt is new and its own.
    Won,
    /// The same record was claimed before: go on with the work.
    Resumed,
}

/// Why a claimant may not work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// Another record ordered the same attempt of the same job first.
    #[error("another record holds the claim: {}[{}]@{}", .0.topic, .0.partition, .0.offset)]
    Duplicate(RecordRef),
    /// The claim belongs to another spec or tenant: ids were reused.
    #[error("the claim belongs to another {0}")]
    Conflict(&'static str),
    /// The object under the claim's key is not a claim.
    #[error("the stored claim is {0}")]
    Corrupt(#[from] Corrupt),
}

/// Judges the claim `held` in the store against the claim `ours` that lost the put.
///
/// Total: every pair of claims has one answer. The put id is looked at first, because a put whose
/// answer was lost is repeated and then refused by its own first copy.
///
/// # Errors
/// [`Denied`] when the claimant may not work.
pub fn decide(ours: &ClaimRecord, held: &ClaimRecord) -> Result<Standing, Denied> {
    let (mine, theirs) = (&ours.subject, &held.subject);
    if theirs.pool_incarnation != mine.pool_incarnation {
        return Err(Corrupt::Misplaced("pool_incarnation").into());
    }
    if theirs.job_id != mine.job_id {
        return Err(Corrupt::Misplaced("job_id").into());
    }
    if theirs.attempt != mine.attempt {
        return Err(Corrupt::Misplaced("attempt").into());
    }
    if theirs.tenant_id != mine.tenant_id {
        return Err(Denied::Conflict("tenant"));
    }
    if held.spec_digest != ours.spec_digest {
        return Err(Denied::Conflict("spec"));
    }
    if held.record != ours.record {
        return Err(Denied::Duplicate(held.record.clone()));
    }
    Ok(if held.put_id == ours.put_id {
        Standing::Won
    } else {
        Standing::Resumed
    })
}

/// Starts of one attempt that may pass without a durable mark before the attempt is poison: each
/// ended the process that made it.
pub const MAX_FRUITLESS: u32 = 10;

/// How many starts of an attempt came after the last that left a checkpoint.
///
/// `last` is the newest start, `marks` are those with a checkpoint of this attempt.
#[must_use]
pub fn fruitless(last: Ordinal, marks: impl IntoIterator<Item = Ordinal>) -> u32 {
    let newest = marks.into_iter().map(Ordinal::get).max().unwrap_or(0);
    last.get().saturating_sub(newest)
}

/// Body of a start marker.
#[must_use]
pub fn start_json(put_id: &PutId) -> Vec<u8> {
    record::to_json(&Start {
        version: record::VERSION,
        put_id: put_id.as_str().into(),
    })
}

/// Whether a start marker was written by the put `put_id`. A marker that cannot be read is not.
#[must_use]
pub fn start_is_ours(bytes: &[u8], put_id: &PutId) -> bool {
    record::parse::<Start>(bytes).is_ok_and(|start| start.put_id == put_id.as_str())
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Start {
    version: u32,
    put_id: String,
}
