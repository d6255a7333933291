//! Replay: a recorded history through the model's own fold. What the model does not allow is an error.
//!
//! The model makes no choice of its own here. Which job a slot gets, whether a failure is retried and
//! which deadlines have passed is taken from the record, as far as the rules allow it; everything else
//! has to be exactly what the fold says.

use std::collections::{HashMap, HashSet};

use crate::facts::{Fact, Incarnation, Job, Kind, Order, Out, Outcome, SlotNo};
use crate::fold::{Fold, UNKNOWN};
use crate::history::{Book, Effect, Line, kind_of};
use crate::recorded::Recorded;

/// A history under replay.
#[derive(Default)]
pub struct Replay {
    fold: Fold,
    book: Book,
    ids: HashMap<Job, String>,
    opened: HashMap<(SlotNo, Incarnation), bool>,
    /// Openings of a slot with the job in hand: starts that were lost without an end.
    crashed: HashMap<Job, u32>,
    ended: HashSet<Job>,
    seen: HashSet<Job>,
    last_offset: Option<i64>,
    facts: usize,
}

/// What a replay saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Facts replayed.
    pub facts: usize,
    /// Jobs met.
    pub jobs: usize,
    /// Jobs that have ended.
    pub ended: usize,
}

impl Replay {
    /// Replays one line.
    ///
    /// # Errors
    /// What the model does not allow about it.
    pub fn line(&mut self, text: &str) -> Result<(), String> {
        let line: Line = serde_json::from_str(text)
            .map_err(|error| format!("not a line of a history: {error}"))?;
        if self.last_offset.is_some_and(|last| line.offset <= last) {
            return Err(format!(
                "offset {} follows {:?}",
                line.offset, self.last_offset
            ));
        }
        self.last_offset = Some(line.offset);
        self.facts += 1;
        let fact = line.fact(&mut self.book)?;
        if let (Fact::Admitted { job, .. } | Fact::Refused { job, .. }, Some(id)) =
            (&fact, &line.job_id)
        {
            self.seen.insert(*job);
            self.ids.insert(*job, id.clone());
        }
        self.slot_may(&fact)?;
        self.slot_told(&fact, &line)?;
        self.scheduler_did(&fact, &line)
    }

    /// The whole history, line by line.
    ///
    /// # Errors
    /// The number of the first line that is not allowed, from 1, and why.
    pub fn all(&mut self, text: &str) -> Result<Seen, (usize, String)> {
        for (at, line) in text.lines().enumerate() {
            if !line.trim().is_empty() {
                self.line(line).map_err(|why| (at + 1, why))?;
            }
        }
        Ok(Seen {
            facts: self.facts,
            jobs: self.seen.len(),
            ended: self.ended.len(),
        })
    }

    /// Jobs that have been met and have not ended.
    pub fn unended(&self) -> impl Iterator<Item = &str> {
        let open = self.seen.iter().filter(|job| !self.ended.contains(job));
        open.filter_map(|job| self.ids.get(job).map(String::as_str))
    }

    /// What a slot, or a fence, may say at all, whatever the scheduler makes of it.
    fn slot_may(&mut self, fact: &Fact) -> Result<(), String> {
        match *fact {
            Fact::SlotOpened { slot, incarnation } => {
                match self.opened.insert((slot, incarnation), true) {
                    None => Ok(()),
                    Some(_) => Err("the incarnation has opened before".to_owned()),
                }
            }
            Fact::SlotFree {
                slot,
                incarnation,
                done,
                accept,
            } => {
                self.was_opened(slot, incarnation)?;
                let last = self.last_order(slot);
                if last != UNKNOWN && done > last {
                    return Err(format!(
                        "done through {done}, and {last} was the last order"
                    ));
                }
                if accept == done || accept == done + 1 {
                    return Ok(());
                }
                Err(format!("accepts through {accept}, done through {done}"))
            }
            Fact::AttemptEnded {
                slot, incarnation, ..
            } => self.was_opened(slot, incarnation),
            Fact::SlotFenced {
                slot,
                incarnation,
                through,
            } => {
                self.was_opened(slot, incarnation)?;
                let last = self.last_order(slot);
                if through > last {
                    return Err(format!(
                        "fenced through {through}, and {last} was the last order"
                    ));
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// The number of the last order that the slot was sent.
    fn last_order(&self, slot: SlotNo) -> i32 {
        let known = self.fold.slots.get(slot);
        known.map_or(UNKNOWN, |known| known.last_n)
    }

    fn was_opened(&self, slot: SlotNo, incarnation: Incarnation) -> Result<(), String> {
        if self.opened.contains_key(&(slot, incarnation)) {
            Ok(())
        } else {
            Err(format!("slot {slot} was never opened by this incarnation"))
        }
    }

    /// The terminal events that the slot wrote with the end of an attempt.
    fn slot_told(&mut self, fact: &Fact, line: &Line) -> Result<(), String> {
        let (wanted, job, attempt) = match *fact {
            Fact::AttemptEnded {
                outcome: Outcome::Completed,
                job,
                attempt,
                ..
            } => (Some("Completed"), job, attempt),
            Fact::AttemptEnded {
                outcome: Outcome::Cancelled,
                job,
                attempt,
                ..
            } => (Some("Cancelled"), job, attempt),
            Fact::AttemptEnded { job, attempt, .. } => (None, job, attempt),
            _ => {
                return if line.slot_events.is_empty() {
                    Ok(())
                } else {
                    Err("no end of an attempt, and events of one".to_owned())
                };
            }
        };
        let told: Vec<_> = line
            .slot_events
            .iter()
            .map(|event| event.event.as_str())
            .collect();
        if told != wanted.into_iter().collect::<Vec<_>>() {
            return Err(format!(
                "the slot told {told:?}, and {wanted:?} belongs to this end"
            ));
        }
        for event in &line.slot_events {
            if self.book.jobs.number(&event.job_id) != job || event.attempt != attempt {
                return Err("the slot told the end of another attempt".to_owned());
            }
            self.end(job)?;
        }
        Ok(())
    }

    fn end(&mut self, job: Job) -> Result<(), String> {
        if self.ended.insert(job) {
            Ok(())
        } else {
            Err("a second terminal event of the job".to_owned())
        }
    }

    /// The fold's step, with the record's choices, has to write what the scheduler wrote.
    fn scheduler_did(&mut self, fact: &Fact, line: &Line) -> Result<(), String> {
        let mut effects = Vec::new();
        for effect in &line.caused {
            if let Some(wrote) = effect.as_out(&mut self.book)? {
                effects.push((effect.clone(), Some(effect.job(&mut self.book)), wrote));
            }
        }
        let recorded: Vec<_> = effects
            .iter()
            .map(|(effect, job, _)| (effect.clone(), *job))
            .collect();
        if let Fact::SlotOpened { slot, .. } = *fact
            && let Some(job) = self.fold.slots.get(slot).and_then(|known| known.job)
        {
            *self.crashed.entry(job).or_default() += 1;
        }
        let mut chooser = Recorded {
            effects: &recorded,
            crashed: &self.crashed,
            taken: Vec::new(),
        };
        let mut outs = self.fold.step(fact, &mut chooser, None);
        for (_, _, wrote) in &effects {
            let at = outs.iter().position(|out| same(out, wrote));
            let Some(at) = at else {
                return Err(format!(
                    "the scheduler wrote {wrote:?}, which the model does not allow"
                ));
            };
            outs.swap_remove(at);
        }
        if let Some(missing) = outs.first() {
            return Err(format!(
                "the model has {missing:?}, which the scheduler did not write"
            ));
        }
        for (_, _, wrote) in effects {
            match wrote {
                Out::Event { kind, job, .. } if kind.is_terminal() => self.end(job)?,
                Out::Event { job, .. } if self.ended.contains(&job) => {
                    return Err("an event after the job's terminal one".to_owned());
                }
                _ => {}
            }
        }
        Ok(())
    }
}

impl Effect {
    fn id(&self) -> &str {
        match self {
            Self::Assign { job_id, .. }
            | Self::Cancel { job_id, .. }
            | Self::Preempt { job_id, .. }
            | Self::Event { job_id, .. }
            | Self::Letter { job_id, .. } => job_id,
        }
    }

    fn job(&self, book: &mut Book) -> Job {
        book.jobs.number(self.id())
    }

    /// As the fold would write it.
    fn as_out(&self, book: &mut Book) -> Result<Option<Out>, String> {
        let job = self.job(book);
        Ok(Some(match self {
            Self::Assign {
                slot, n, attempt, ..
            } => Out::Order {
                slot: *slot,
                order: Order::Assign {
                    n: *n,
                    job,
                    attempt: *attempt,
                    identity: 0,
                },
            },
            Self::Cancel { slot, n, .. } => Out::Order {
                slot: *slot,
                order: Order::Cancel { n: *n, job },
            },
            Self::Preempt { .. } => return Err("nobody preempts in this model".to_owned()),
            Self::Event { event, attempt, .. } => Out::Event {
                kind: kind_of(event)?,
                job,
                attempt: *attempt,
            },
            Self::Letter { .. } => Out::Letter { job, code: "" },
        }))
    }
}

/// Whether the scheduler's output is the model's; what the model leaves open is not compared.
fn same(model: &Out, wrote: &Out) -> bool {
    match (model, wrote) {
        (Out::Letter { job, .. }, Out::Letter { job: of, .. }) => job == of,
        (
            Out::Event { kind, job, attempt },
            Out::Event {
                kind: told,
                job: of,
                attempt: number,
            },
        ) => kind == told && job == of && (terminal(*kind) || attempt == number),
        (
            Out::Order {
                slot,
                order: Order::Assign {
                    n, job, attempt, ..
                },
            },
            Out::Order {
                slot: at,
                order:
                    Order::Assign {
                        n: number,
                        job: of,
                        attempt: tried,
                        ..
                    },
            },
        ) => (slot, n, job, attempt) == (at, number, of, tried),
        (model, wrote) => model == wrote,
    }
}

const fn terminal(kind: Kind) -> bool {
    kind.is_terminal()
}
