//! The life of a start: what it may do next is decided before the store is touched.

use std::sync::Arc;
use std::time::Duration;

use crate::cases::{self, UUID, VIDEO, clip};
use crate::faulty::Faulty;
use guard_core::ids::Digest;
use guard_core::lifecycle::{End, State};
use guard_store::{Artifact, Bucket, Claim, Deadline, Guard, GuardError};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

fn guard(store: &Arc<Faulty>) -> Guard {
    let store: Arc<dyn ObjectStore> = store.clone();
    Guard::new(Bucket::new(store), Duration::from_secs(3))
}

async fn try_claim(store: &Arc<Faulty>, attempt: i64) -> Result<Claim, GuardError> {
    cases::claim(&guard(store), UUID, attempt, "aa").await
}

async fn claim(store: &Arc<Faulty>, attempt: i64) -> Claim {
    try_claim(store, attempt).await.unwrap()
}

async fn seal(store: &Arc<Faulty>, claim: &Claim) -> Result<Artifact, GuardError> {
    guard(store).seal(claim, &clip(), VIDEO, None).await
}

async fn everything(store: &Arc<Faulty>, prefix: &str) -> Vec<String> {
    let bucket: Arc<dyn ObjectStore> = store.clone();
    let deadline = Deadline::after(Duration::from_secs(3));
    Bucket::new(bucket).list(prefix, &deadline).await.unwrap()
}

fn completed(artifact: &Artifact) -> End {
    End::Completed(Digest::new(&artifact.sha256).unwrap())
}

fn refused(state: &'static str, event: &'static str) -> GuardError {
    GuardError::OutOfOrder { state, event }
}

#[tokio::test]
async fn only_what_was_sealed_is_announced_and_only_what_was_announced_is_released() {
    let store = Faulty::sound();
    let claim = claim(&store, 1).await;
    let other = End::Completed(Digest::new(&"0f".repeat(32)).unwrap());
    let told = guard(&store).announce(&claim, other.clone());
    assert_eq!(told, Err(refused("claimed", "announce completed")));
    let sealed = seal(&store, &claim).await.unwrap();
    let told = guard(&store).announce(&claim, other);
    assert_eq!(told, Err(refused("sealed", "announce completed")));
    let released = guard(&store).release(&claim).await;
    assert_eq!(released, Err(refused("sealed", "release")));
    assert_eq!(
        everything(&store, "starts").await.len(),
        1,
        "nothing was deleted"
    );
    assert_eq!(guard(&store).announce(&claim, completed(&sealed)), Ok(()));
    assert_eq!(guard(&store).announce(&claim, completed(&sealed)), Ok(()));
    assert_eq!(guard(&store).release(&claim).await, Ok(()));
    assert_eq!(claim.life.now(), State::Released);
    assert_eq!(everything(&store, "starts").await, Vec::<String>::new());
}

#[tokio::test]
async fn an_adopted_artifact_is_announced_as_if_sealed() {
    let store = Faulty::sound();
    let sealed = seal(&store, &claim(&store, 1).await).await.unwrap();
    let later = claim(&store, 2).await;
    assert_eq!(
        guard(&store).sealed(&later).await.unwrap().0,
        Some(sealed.clone())
    );
    assert_eq!(guard(&store).announce(&later, completed(&sealed)), Ok(()));
}

#[tokio::test]
async fn what_a_job_under_way_needs_outlives_a_start_that_gives_it_back() {
    let store = Faulty::sound();
    let claim = claim(&store, 1).await;
    assert_eq!(guard(&store).announce(&claim, End::GivenBack), Ok(()));
    let released = guard(&store).release(&claim).await;
    assert_eq!(released, Err(refused("announced", "release")));
    let sealed = seal(&store, &claim).await;
    assert_eq!(sealed, Err(refused("announced", "seal")));
    assert_eq!(everything(&store, "videos").await, Vec::<String>::new());
}

#[tokio::test]
async fn an_older_attempt_is_stale_once_a_later_one_is_claimed() {
    let store = Faulty::sound();
    claim(&store, 1).await;
    claim(&store, 3).await;
    let late = try_claim(&store, 2).await;
    assert_eq!(late, Err(GuardError::StaleAttempt));
    assert_eq!(late.unwrap_err().code(), "stale_attempt");
    assert_eq!(
        try_claim(&store, 1).await,
        Err(GuardError::StaleAttempt),
        "its own record, again"
    );
}

#[tokio::test]
async fn a_start_whose_claim_is_gone_or_damaged_seals_nothing() {
    for damaged in [false, true] {
        let store = Faulty::sound();
        let claim = claim(&store, 1).await;
        let key = Path::from(claim.subject.claim_key());
        if damaged {
            store.put(&key, "{".into()).await.unwrap();
        } else {
            store.delete(&key).await.unwrap();
        }
        assert_eq!(seal(&store, &claim).await, Err(GuardError::ClaimLost));
        assert_eq!(everything(&store, "videos").await, Vec::<String>::new());
    }
}
