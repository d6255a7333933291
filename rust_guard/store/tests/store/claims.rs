//! The shell over an in-memory store that can be told to misbehave.

use std::sync::Arc;
use std::time::Duration;

use crate::cases::UUID;
use crate::faulty::{Fault, Faulty};
use guard_core::claim::{RecordRef, Standing};
use guard_core::ids::{Digest, JobId, Ordinal, PoolIncarnation, TenantId};
use guard_core::keys::Subject;
use guard_core::lifecycle::End;
use guard_store::{Bucket, Claim, Guard, GuardError};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

fn guard(store: &Arc<Faulty>) -> Guard {
    let store: Arc<dyn ObjectStore> = store.clone();
    Guard::new(Bucket::new(store), Duration::from_secs(3))
}

fn subject(attempt: i64) -> Subject {
    Subject {
        pool_incarnation: PoolIncarnation::new(UUID).unwrap(),
        tenant_id: TenantId::new("acme").unwrap(),
        job_id: JobId::new(UUID).unwrap(),
        attempt: Ordinal::new("attempt", attempt).unwrap(),
    }
}

fn record(offset: i64) -> RecordRef {
    RecordRef::new("assignments", 0, offset).unwrap()
}

fn digest(byte: &str) -> Digest {
    Digest::new(&byte.repeat(32)).unwrap()
}

async fn claim(store: &Arc<Faulty>, offset: i64, spec: &str) -> Result<Claim, GuardError> {
    guard(store)
        .claim(subject(1), record(offset), digest(spec), None)
        .await
}

#[tokio::test]
async fn a_new_claim_is_won_and_starts_at_one() {
    let claim = claim(&Faulty::sound(), 5, "aa").await.unwrap();
    assert_eq!((claim.standing, claim.start.get()), (Standing::Won, 1));
}

#[tokio::test]
async fn the_same_record_resumes_with_the_next_start() {
    let store = Faulty::sound();
    for start in 1..=4 {
        let claim = claim(&store, 5, "aa").await.unwrap();
        assert_eq!(claim.start.get(), start);
        assert_eq!(claim.standing == Standing::Resumed, start > 1);
    }
}

#[tokio::test]
async fn another_record_is_a_duplicate_and_another_spec_a_conflict() {
    let store = Faulty::sound();
    claim(&store, 5, "aa").await.unwrap();
    assert_eq!(
        claim(&store, 6, "aa").await,
        Err(GuardError::DuplicateClaim(record(5)))
    );
    assert_eq!(
        claim(&store, 5, "bb").await,
        Err(GuardError::ClaimConflict("spec"))
    );
}

#[tokio::test]
async fn sixteen_racers_of_different_records_leave_one_owner() {
    let store = Faulty::sound();
    let racers = (0..16).map(|offset| {
        let store = store.clone();
        tokio::spawn(async move { claim(&store, offset, "aa").await })
    });
    let mut won = 0;
    for racer in racers.collect::<Vec<_>>() {
        match racer.await.unwrap() {
            Ok(claim) => won += u32::from(claim.standing == Standing::Won),
            Err(error) => assert_eq!(error.code(), "duplicate_claim"),
        }
    }
    assert_eq!(won, 1);
}

#[tokio::test]
async fn ten_starts_of_one_record_get_ten_numbers() {
    let store = Faulty::sound();
    let starts = (0..10).map(|_| {
        let store = store.clone();
        tokio::spawn(async move { claim(&store, 5, "aa").await.unwrap().start.get() })
    });
    let mut numbers = Vec::new();
    for start in starts.collect::<Vec<_>>() {
        numbers.push(start.await.unwrap());
    }
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=10).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_put_whose_answer_was_lost_still_won() {
    for lost in [1, 2, 3] {
        let store = Faulty::with(Fault::LoseAnswers(lost));
        let claim = claim(&store, 5, "aa").await.unwrap();
        assert_eq!(
            (claim.standing, claim.start.get()),
            (Standing::Won, 1),
            "{lost} lost"
        );
    }
}

#[tokio::test]
async fn a_conflict_in_flight_is_tried_again() {
    let store = Faulty::with(Fault::ConflictInFlight(3));
    assert_eq!(
        claim(&store, 5, "aa").await.unwrap().standing,
        Standing::Won
    );
}

#[tokio::test]
async fn errors_of_the_server_are_tried_again_until_the_deadline() {
    assert!(claim(&Faulty::with(Fault::Fail(4)), 5, "aa").await.is_ok());
    let error = claim(&Faulty::with(Fault::Fail(usize::MAX)), 5, "aa")
        .await
        .unwrap_err();
    assert_eq!(error.code(), "store_unavailable");
}

#[tokio::test]
async fn a_store_that_never_answers_costs_the_deadline_and_no_more() {
    let begun = std::time::Instant::now();
    let error = claim(&Faulty::with(Fault::Hang), 5, "aa")
        .await
        .unwrap_err();
    assert_eq!(error.code(), "store_unavailable");
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "{:?}",
        begun.elapsed()
    );
}

#[tokio::test]
async fn a_corrupt_claim_is_a_typed_error() {
    for body in [&b""[..], b"{}", b"\xff\xfe", b"null", &[b'{'; 40_000]] {
        let store = Faulty::sound();
        let key = subject(1).claim_key();
        store
            .put(&Path::from(key), body.to_vec().into())
            .await
            .unwrap();
        assert_eq!(
            claim(&store, 5, "aa").await.unwrap_err().code(),
            "corrupt_record"
        );
    }
}

/// Puts an object that tells that a start came somewhere.
async fn leave(store: &Arc<Faulty>, key: &str) {
    let path = Path::from(key);
    store.put(&path, b"{}".to_vec().into()).await.unwrap();
}

#[tokio::test]
async fn an_attempt_that_ends_ten_starts_in_a_row_is_poison() {
    let store = Faulty::sound();
    for start in 1..=10 {
        assert_eq!(claim(&store, 5, "aa").await.unwrap().start.get(), start);
    }
    for _ in 0..2 {
        let refused = claim(&store, 5, "aa").await.unwrap_err();
        assert_eq!(refused, GuardError::TooManyStarts(10));
        assert_eq!(refused.code(), "too_many_starts");
    }
    // Another attempt, as on another slot, begins anew.
    let (second, spec) = (subject(2), digest("aa"));
    let other = guard(&store).claim(second, record(9), spec, None).await;
    assert_eq!(other.unwrap().start.get(), 1);
}

#[tokio::test]
async fn only_starts_after_the_last_checkpoint_count_towards_poison() {
    let store = Faulty::sound();
    for start in 1..=25 {
        let claim = claim(&store, 5, "aa").await.unwrap();
        assert_eq!(claim.start.get(), start);
        if start % 9 == 0 {
            let prefix = claim.subject.checkpoints_prefix();
            leave(&store, &format!("{prefix}/1-{start}/00008.json")).await;
        }
    }
    // A checkpoint of another attempt says nothing about this one.
    let prefix = subject(1).checkpoints_prefix();
    leave(&store, &format!("{prefix}/2-99/00008.json")).await;
    for start in 26..=28 {
        assert_eq!(claim(&store, 5, "aa").await.unwrap().start.get(), start);
    }
    let refused = claim(&store, 5, "aa").await;
    assert_eq!(refused, Err(GuardError::TooManyStarts(28)));
}

#[tokio::test]
async fn a_sealed_job_is_adopted_however_often_it_is_started() {
    let store = Faulty::sound();
    let prefix = subject(1).videos_prefix();
    leave(&store, &format!("{prefix}/2-1.json")).await;
    for start in 1..=30 {
        assert_eq!(claim(&store, 5, "aa").await.unwrap().start.get(), start);
    }
}

#[tokio::test]
async fn release_frees_the_starts_of_every_attempt_and_keeps_the_claims() {
    let store = Faulty::sound();
    let first = guard(&store)
        .claim(subject(1), record(5), digest("aa"), None)
        .await
        .unwrap();
    let second = guard(&store)
        .claim(subject(2), record(9), digest("aa"), None)
        .await
        .unwrap();
    guard(&store).announce(&second, End::Cancelled).unwrap();
    guard(&store).release(&second).await.unwrap();
    guard(&store).release(&second).await.unwrap();
    let bucket = Bucket::new(store.clone());
    let deadline = guard_store::Deadline::after(Duration::from_secs(3));
    assert_eq!(
        bucket
            .list(&first.subject.job_starts_prefix(), &deadline)
            .await,
        Ok(vec![])
    );
    assert_eq!(bucket.list("claims", &deadline).await.unwrap().len(), 2);
}

#[tokio::test]
async fn the_probe_passes_a_sound_store_and_leaves_nothing() {
    let store = Faulty::sound();
    guard(&store).probe().await.unwrap();
    let deadline = guard_store::Deadline::after(Duration::from_secs(3));
    assert_eq!(
        Bucket::new(store.clone()).list("probe", &deadline).await,
        Ok(vec![])
    );
}

#[tokio::test]
async fn the_probe_passes_a_store_that_loses_answers() {
    guard(&Faulty::with(Fault::LoseAnswers(40)))
        .probe()
        .await
        .unwrap();
}

#[tokio::test]
async fn the_probe_refuses_a_store_that_ignores_the_condition() {
    let error = guard(&Faulty::with(Fault::IgnoreCondition))
        .probe()
        .await
        .unwrap_err();
    assert_eq!(
        error,
        GuardError::StoreUnsafe {
            winners: 64,
            writers: 64
        }
    );
}
