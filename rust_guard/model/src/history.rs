//! A recorded history, as the storm writes it: one JSON object a line, in the order of the inbox.

use std::collections::HashMap;

use guard_core::failure::FAILURE_CODES;
use serde::Deserialize;

use crate::facts::{Fact, Kind, Outcome};

/// A fact of the inbox with what came of it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "fields are named as in the schemas")]
pub struct Line {
    pub offset: i64,
    pub kind: String,
    #[serde(default)]
    pub at_ms: i64,
    #[serde(default)]
    pub job_id: Option<String>,
    #[serde(default)]
    pub tenant_id: Option<String>,
    #[serde(default)]
    pub spec_digest: Option<String>,
    #[serde(default)]
    pub slot: Option<u8>,
    #[serde(default)]
    pub incarnation: Option<String>,
    #[serde(default)]
    pub n: Option<i32>,
    #[serde(default)]
    pub attempt: Option<u32>,
    #[serde(default)]
    pub outcome: Option<String>,
    #[serde(default)]
    pub code: Option<String>,
    #[serde(default)]
    pub done_through: Option<i32>,
    #[serde(default)]
    pub accept_through: Option<i32>,
    #[serde(default)]
    pub through: Option<i32>,
    #[serde(default)]
    pub caused: Vec<Effect>,
    #[serde(default)]
    pub slot_events: Vec<SlotEvent>,
}

/// Something that the scheduler wrote because of a fact.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "kind")]
#[allow(missing_docs, reason = "fields are named as in the schemas")]
pub enum Effect {
    /// An order to work.
    Assign {
        slot: u8,
        n: i32,
        job_id: String,
        attempt: u32,
    },
    /// An order to stop.
    Cancel {
        slot: u8,
        n: i32,
        job_id: String,
        #[serde(default)]
        attempt: u32,
    },
    /// An order to hand over.
    Preempt {
        slot: u8,
        n: i32,
        job_id: String,
        #[serde(default)]
        attempt: u32,
    },
    /// A job's event.
    #[serde(rename = "event")]
    Event {
        event: String,
        job_id: String,
        #[serde(default)]
        attempt: u32,
    },
    /// A dead letter.
    #[serde(rename = "letter")]
    Letter {
        job_id: String,
        #[serde(default)]
        code: String,
    },
}

/// A terminal event that a slot wrote with the end of its attempt.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[allow(missing_docs, reason = "fields are named as in the schemas")]
pub struct SlotEvent {
    pub event: String,
    pub job_id: String,
    pub attempt: u32,
}

/// Numbers for the names of a history.
#[derive(Debug, Default)]
pub struct Names(HashMap<String, u32>);

impl Names {
    /// The number of a name, the next one if it is new.
    pub fn number(&mut self, name: &str) -> u32 {
        let next = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        *self.0.entry(name.to_owned()).or_insert(next)
    }
}

/// Numbers for all kinds of names.
#[derive(Debug, Default)]
pub struct Book {
    /// Jobs.
    pub jobs: Names,
    /// Tenants.
    pub tenants: Names,
    /// Tenant and spec together.
    pub identities: Names,
    /// Openings of slots.
    pub incarnations: Names,
}

impl Line {
    /// The fact that the line tells.
    ///
    /// # Errors
    /// What is missing or unknown.
    pub fn fact(&self, book: &mut Book) -> Result<Fact, String> {
        match self.kind.as_str() {
            "Admitted" => {
                let tenant = text(self.tenant_id.as_ref(), "tenant_id")?;
                Ok(Fact::Admitted {
                    job: self.job(book)?,
                    tenant: book.tenants.number(tenant),
                    identity: self.identity(book)?,
                })
            }
            "Refused" => Ok(Fact::Refused {
                job: self.job(book)?,
                identity: self.identity(book)?,
            }),
            "CancelRequested" => {
                let tenant = text(self.tenant_id.as_ref(), "tenant_id")?;
                Ok(Fact::CancelRequested {
                    job: self.job(book)?,
                    tenant: book.tenants.number(tenant),
                })
            }
            "Tick" => Ok(Fact::Tick),
            "SlotBeat" => Ok(Fact::SlotBeat),
            "TenantChanged" => Ok(Fact::TenantChanged),
            _ => self.slot_fact(book),
        }
    }

    fn slot_fact(&self, book: &mut Book) -> Result<Fact, String> {
        let slot = number(self.slot, "slot")?;
        let incarnation = book
            .incarnations
            .number(text(self.incarnation.as_ref(), "incarnation")?);
        match self.kind.as_str() {
            "SlotOpened" => Ok(Fact::SlotOpened { slot, incarnation }),
            "SlotFree" => Ok(Fact::SlotFree {
                slot,
                incarnation,
                done: number(self.done_through, "done_through")?,
                accept: number(self.accept_through, "accept_through")?,
            }),
            "AttemptEnded" => Ok(Fact::AttemptEnded {
                slot,
                incarnation,
                n: number(self.n, "n")?,
                job: self.job(book)?,
                attempt: number(self.attempt, "attempt")?,
                outcome: self.outcome()?,
            }),
            "SlotFenced" => Ok(Fact::SlotFenced {
                slot,
                incarnation,
                through: number(self.through, "through")?,
            }),
            other => Err(format!("unknown kind {other:?}")),
        }
    }

    fn job(&self, book: &mut Book) -> Result<u32, String> {
        Ok(book.jobs.number(text(self.job_id.as_ref(), "job_id")?))
    }

    /// A refusal may have no digest, for its request had none.
    fn identity(&self, book: &mut Book) -> Result<u32, String> {
        let tenant = text(self.tenant_id.as_ref(), "tenant_id")?;
        let digest = self.spec_digest.as_deref().unwrap_or_default();
        Ok(book.identities.number(&format!("{tenant}/{digest}")))
    }

    fn outcome(&self) -> Result<Outcome, String> {
        match text(self.outcome.as_ref(), "outcome")? {
            "completed" => Ok(Outcome::Completed),
            "cancelled" => Ok(Outcome::Cancelled),
            "preempted" => Ok(Outcome::Preempted),
            "duplicate" => Ok(Outcome::Duplicate),
            "failed" => Ok(Outcome::Failed(known_code(
                self.code.as_deref().unwrap_or("render_crashed"),
            ))),
            other => Err(format!("unknown outcome {other:?}")),
        }
    }
}

/// The code as the guard's table has it.
#[must_use]
pub fn known_code(code: &str) -> &'static str {
    let found = FAILURE_CODES.iter().find(|(known, _)| *known == code);
    found.map_or("unknown", |(known, _)| *known)
}

/// A kind of event by its name.
///
/// # Errors
/// When it is no such name.
pub fn kind_of(name: &str) -> Result<Kind, String> {
    Ok(match name {
        "Admitted" => Kind::Admitted,
        "Scheduled" => Kind::Scheduled,
        "Retrying" => Kind::Retrying,
        "Preempted" => Kind::Preempted,
        "Completed" => Kind::Completed,
        "Failed" => Kind::Failed,
        "Cancelled" => Kind::Cancelled,
        "Refused" => Kind::Refused,
        "Expired" => Kind::Expired,
        other => return Err(format!("unknown event {other:?}")),
    })
}

fn text<'a>(field: Option<&'a String>, name: &str) -> Result<&'a str, String> {
    field
        .map(String::as_str)
        .ok_or_else(|| format!("{name} is missing"))
}

fn number<T>(field: Option<T>, name: &str) -> Result<T, String> {
    field.ok_or_else(|| format!("{name} is missing"))
}
