//! The life of an attempt: every event is answered, and whatever actors do in whatever order, one
//! end is told and no key is written twice with different bytes.

use std::collections::BTreeMap;

use guard_core::checkpoint::Checkpoint;
use guard_core::claim::{ClaimRecord, RecordRef, decide};
use guard_core::container::Expected;
use guard_core::ids::{Digest, Fingerprint, JobId, Ordinal, PoolIncarnation, PutId, TenantId};
use guard_core::keys::{Place, Subject};
use guard_core::lifecycle::{End, Event, Refused, Relation, State};
use guard_core::seal::Seal;
use proptest::prelude::*;

mod cases;

fn uuid(n: u8) -> String {
    format!("00000000-0000-4000-8000-0000000000{n:02x}")
}

fn digest(n: u8) -> Digest {
    Digest::new(&format!("{n:02x}").repeat(32)).unwrap()
}

fn step(n: u8) -> Ordinal {
    Ordinal::new("step", i64::from(n)).unwrap()
}

fn ours(attempt: u8, record: u8, spec: u8, put: u8) -> ClaimRecord {
    ClaimRecord {
        subject: Subject {
            pool_incarnation: PoolIncarnation::new(&uuid(1)).unwrap(),
            tenant_id: TenantId::new("t").unwrap(),
            job_id: JobId::new(&uuid(2)).unwrap(),
            attempt: step(attempt),
        },
        record: RecordRef::new("orders", 0, record.into()).unwrap(),
        spec_digest: digest(spec),
        put_id: PutId::new(&uuid(put)).unwrap(),
    }
}

fn states() -> impl Strategy<Value = State> {
    prop_oneof![
        Just(State::Unclaimed),
        Just(State::Claimed),
        (1..4u8).prop_map(|n| State::Checkpointed(step(n))),
        (0..2u8).prop_map(|n| State::Sealed(digest(n))),
        ends().prop_map(State::Announced),
        Just(State::Released),
    ]
}

fn ends() -> impl Strategy<Value = End> {
    prop_oneof![
        (0..2u8).prop_map(|n| End::Completed(digest(n))),
        Just(End::Cancelled),
        Just(End::GivenBack),
    ]
}

fn events() -> impl Strategy<Value = Event> {
    prop_oneof![
        Just(Event::Claim),
        (1..4u8).prop_map(|n| Event::Checkpoint(step(n))),
        (0..2u8).prop_map(|n| Event::Adopt(digest(n))),
        (0..2u8).prop_map(|n| Event::Seal(digest(n))),
        ends().prop_map(Event::Announce),
        Just(Event::Release),
    ]
}

fn relations() -> impl Strategy<Value = Relation> {
    prop_oneof![
        Just(Relation::ThisRecord),
        Just(Relation::AnotherRecord),
        Just(Relation::AnotherSpec("spec")),
        Just(Relation::OlderAttempt),
        Just(Relation::LostClaim),
    ]
}

#[test]
fn a_job_goes_its_way() {
    let mut state = State::Unclaimed;
    for (event, name) in [
        (Event::Claim, "claimed"),
        (Event::Checkpoint(step(1)), "checkpointed"),
        (Event::Checkpoint(step(5)), "checkpointed"),
        (Event::Seal(digest(1)), "sealed"),
        (Event::Announce(End::Completed(digest(1))), "announced"),
        (Event::Release, "released"),
    ] {
        state = state.after(Relation::ThisRecord, &event).unwrap();
        assert_eq!(state.name(), name);
        assert_eq!(
            state.after(Relation::ThisRecord, &event),
            Ok(state.clone()),
            "{name} again"
        );
    }
}

#[test]
fn what_does_not_follow_is_named() {
    let refused = State::Claimed.after(Relation::ThisRecord, &Event::Release);
    let expected = Refused::OutOfOrder {
        state: "claimed",
        event: "release",
    };
    assert_eq!(refused, Err(expected.clone()));
    assert_eq!(expected.to_string(), "release does not follow on claimed");
}

#[test]
fn a_start_cannot_go_back() {
    let own = |state: &State, event| state.after(Relation::ThisRecord, &event);
    let stored = State::Checkpointed(step(3));
    assert!(
        own(&stored, Event::Checkpoint(step(2))).is_err(),
        "an older step"
    );
    let sealed = State::Sealed(digest(1));
    assert!(
        own(&sealed, Event::Checkpoint(step(4))).is_err(),
        "a checkpoint after the seal"
    );
    assert_eq!(
        own(&sealed, Event::Seal(digest(2))),
        Err(Refused::Conflict("artifact"))
    );
    assert!(
        own(&sealed, Event::Announce(End::Completed(digest(2)))).is_err(),
        "another artifact"
    );
    assert!(
        own(&sealed, Event::Announce(End::Cancelled)).is_err(),
        "a video is there"
    );
    let given_back = State::Announced(End::GivenBack);
    assert!(
        own(&given_back, Event::Release).is_err(),
        "the next attempt needs what is stored"
    );
    assert!(
        own(&State::Claimed, Event::Announce(End::Completed(digest(1)))).is_err(),
        "unsealed"
    );
}

#[test]
fn who_asks_follows_from_what_lies_in_the_store() {
    let mine = ours(2, 5, 1, 1);
    let of = |held: &ClaimRecord, newest| Relation::of_claimant(&mine, held, step(newest));
    assert_eq!(of(&mine, 2), Relation::ThisRecord);
    assert_eq!(of(&ours(2, 5, 1, 9), 2), Relation::ThisRecord);
    assert_eq!(of(&mine, 3), Relation::OlderAttempt);
    assert_eq!(of(&ours(2, 6, 1, 9), 3), Relation::AnotherRecord);
    assert_eq!(of(&ours(2, 5, 2, 9), 2), Relation::AnotherSpec("spec"));
    assert_eq!(of(&ours(3, 5, 1, 9), 2), Relation::LostClaim);
    assert_eq!(
        Relation::of_holder(&mine, Some(&mine)),
        Relation::ThisRecord
    );
    assert_eq!(
        Relation::of_holder(&mine, Some(&ours(2, 6, 1, 9))),
        Relation::LostClaim
    );
    assert_eq!(Relation::of_holder(&mine, None), Relation::LostClaim);
}

/// A bucket that keeps conditional puts apart; what was written under a key, ever.
#[derive(Default)]
struct Store {
    claims: BTreeMap<String, ClaimRecord>,
    starts: BTreeMap<String, u8>,
    objects: BTreeMap<String, Vec<u8>>,
    /// Of each record, the process that took its slot last: Kafka takes commits of no other.
    epochs: BTreeMap<String, u8>,
    /// Ends that Kafka took, by attempt, with the record whose offset they moved.
    told: Vec<(Ordinal, String)>,
    rewritten: bool,
}

impl Store {
    /// A conditional put; the same bytes there are as good.
    fn put(&mut self, key: String, bytes: Vec<u8>) -> bool {
        let held = self.objects.entry(key).or_insert_with(|| bytes.clone());
        *held == bytes
    }

    fn newest(&self) -> Ordinal {
        let attempts = self.claims.values().map(|claim| claim.subject.attempt);
        attempts.max().unwrap_or(Ordinal::FIRST)
    }
}

/// A process: its claim, its start and where the guard says it is.
struct Actor {
    ours: ClaimRecord,
    put: u8,
    start: Option<Ordinal>,
    state: State,
}

impl Actor {
    /// Whether the event happened.
    fn act(&mut self, store: &mut Store, event: &Event) -> Result<(), Refused> {
        let relation = self.relation(store, event);
        let next = self.state.after(relation, event)?;
        match event {
            Event::Claim => self.claim(store),
            Event::Checkpoint(at) => self.checkpoint(store, *at),
            Event::Seal(hash) => {
                if !self.seal(store, hash) {
                    return Err(Refused::Conflict("artifact"));
                }
            }
            Event::Announce(End::GivenBack) | Event::Adopt(_) | Event::Release => {}
            Event::Announce(_) => self.commit(store),
        }
        self.state = next;
        Ok(())
    }

    fn relation(&self, store: &Store, event: &Event) -> Relation {
        let held = store.claims.get(&self.ours.subject.claim_key());
        match (event, held) {
            (Event::Claim, None) => Relation::of_claimant(&self.ours, &self.ours, store.newest()),
            (Event::Claim, Some(held)) => Relation::of_claimant(&self.ours, held, store.newest()),
            _ if self.state == State::Unclaimed => Relation::ThisRecord,
            (_, held) => Relation::of_holder(&self.ours, held),
        }
    }

    /// Kafka's part: the record's slot is this process's, and its offset moves once.
    fn commit(&self, store: &mut Store) {
        let record = format!("{:?}", self.ours.record);
        let attempt = self.ours.subject.attempt;
        let moved = store.told.iter().any(|(_, told)| *told == record);
        if store.epochs.get(&record) == Some(&self.put) && !moved {
            store.told.push((attempt, record));
        }
    }

    fn claim(&mut self, store: &mut Store) {
        store
            .epochs
            .insert(format!("{:?}", self.ours.record), self.put);
        let key = self.ours.subject.claim_key();
        store.claims.entry(key).or_insert_with(|| self.ours.clone());
        let mut start = Ordinal::FIRST;
        while self.start.is_none() {
            let key = self.ours.subject.start_key(start);
            if *store.starts.entry(key).or_insert(self.put) == self.put {
                self.start = Some(start);
            }
            start = start.next();
        }
    }

    fn checkpoint(&self, store: &mut Store, at: Ordinal) {
        let Some(start) = self.start else { return };
        let place = Place {
            step: at,
            attempt: self.ours.subject.attempt,
            start,
        };
        let checkpoint = Checkpoint {
            place,
            total: step(9),
            spec_digest: self.ours.spec_digest.clone(),
            fingerprint: Fingerprint::new("cpu").unwrap(),
            sha256: digest(self.put),
            size: 1,
            conditioning: None,
        };
        let key = self.ours.subject.checkpoint_record_key(place);
        store.rewritten |= !store.put(key, checkpoint.to_json(&self.ours.subject));
    }

    fn seal(&self, store: &mut Store, hash: &Digest) -> bool {
        let Some(start) = self.start else {
            return false;
        };
        let subject = &self.ours.subject;
        let seal = Seal {
            attempt: subject.attempt,
            start,
            spec_digest: self.ours.spec_digest.clone(),
            sha256: hash.clone(),
            size: 1,
            video: Expected {
                frames: 7,
                fps: 30,
                width: 32,
                height: 32,
            },
            manifest: None,
        };
        let taken = store.put(
            subject.seal_key(subject.attempt, start),
            seal.to_json(subject),
        );
        store.rewritten |= !taken;
        taken
    }
}

/// Up to three actors for one attempt: the same record twice, and one that differs somehow.
fn actors() -> impl Strategy<Value = Vec<(u8, u8, u8)>> {
    proptest::collection::vec((1..3u8, 0..2u8, 0..2u8), 1..=3)
}

proptest! {
    #![proptest_config(cases::config())]

    #[test]
    fn every_event_is_answered(state in states(), relation in relations(), event in events()) {
        match (relation, state.after(relation, &event)) {
            (Relation::ThisRecord, Ok(next)) => {
                // What was done may be done again.
                prop_assert_eq!(next.after(relation, &event), Ok(next.clone()));
            }
            (Relation::ThisRecord, Err(refused)) => {
                let named = matches!(refused, Refused::OutOfOrder { .. } | Refused::Conflict("artifact"));
                prop_assert!(named, "{:?}", refused);
            }
            (Relation::AnotherRecord, answer) => prop_assert_eq!(answer, Err(Refused::Duplicate)),
            (Relation::AnotherSpec(what), answer) => prop_assert_eq!(answer, Err(Refused::Conflict(what))),
            (Relation::OlderAttempt, answer) => prop_assert_eq!(answer, Err(Refused::Stale)),
            (Relation::LostClaim, answer) => prop_assert_eq!(answer, Err(Refused::LostClaim)),
        }
    }

    #[test]
    fn a_life_tells_one_end_and_nothing_follows_its_release(way in proptest::collection::vec(events(), 0..40)) {
        let (mut state, mut told, mut released) = (State::Unclaimed, None, false);
        for event in way {
            if let Ok(next) = state.after(Relation::ThisRecord, &event) {
                if let Event::Announce(end) = &event {
                    prop_assert_eq!(told.get_or_insert(end.clone()), end);
                    if let End::Completed(hash) = end {
                        prop_assert!(state == State::Sealed(hash.clone()) || state == next);
                    }
                }
                prop_assert!(!released || next == State::Released);
                released |= next == State::Released;
                prop_assert!(!released || told != Some(End::GivenBack));
                state = next;
            }
        }
    }

    #[test]
    fn actors_of_an_attempt_neither_share_a_key_nor_tell_two_ends(
        who in actors(),
        what in proptest::collection::vec((0..3usize, events()), 0..60),
    ) {
        let mut store = Store::default();
        let mut actors: Vec<Actor> = (1..).zip(who).map(|(put, (attempt, record, spec))| Actor {
            ours: ours(attempt, record, spec, put), put, start: None, state: State::Unclaimed,
        }).collect();
        for (which, event) in what {
            let at = which % actors.len();
            let before = actors[at].state.clone();
            let done = actors[at].act(&mut store, &event);
            prop_assert!(before != State::Released || actors[at].state == State::Released);
            prop_assert!(done.is_ok() || actors[at].state == before, "a refusal changes nothing");
        }
        prop_assert!(!store.rewritten, "a key got other bytes");
        let holders = |attempt: Ordinal| {
            let claim = store.claims.values().find(|claim| claim.subject.attempt == attempt);
            actors.iter().filter(move |actor| {
                actor.ours.subject.attempt == attempt && claim.is_some_and(|held| decide(&actor.ours, held).is_ok())
            })
        };
        let mut told: Vec<Ordinal> = store.told.iter().map(|(attempt, _)| *attempt).collect();
        let all = told.len();
        told.sort_unstable();
        told.dedup();
        prop_assert_eq!(told.len(), all, "two ends of one attempt");
        for actor in &actors {
            if matches!(actor.state, State::Announced(_) | State::Released) {
                let own = holders(actor.ours.subject.attempt);
                prop_assert!(own.into_iter().any(|holder| holder.put == actor.put), "told by who holds no claim");
            }
        }
        let mut starts: Vec<_> = actors.iter().filter_map(|a| Some((a.ours.subject.attempt, a.start?))).collect();
        let all = starts.len();
        starts.sort_unstable();
        starts.dedup();
        prop_assert_eq!(starts.len(), all, "two starts with one number");
    }
}
