//! What an ended job leaves behind is deleted; what its terminal event names, and others', stays.

use std::sync::Arc;
use std::time::Duration;

use crate::faulty::{Fault, Faulty};
use futures_util::TryStreamExt as _;
use guard_core::ids::{JobId, TenantId};
use guard_store::{Bucket, Guard, GuardError};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

const JOB: &str = "00000000-0000-4000-8000-000000000001";
const OTHER: &str = "00000000-0000-4000-8000-000000000002";

fn guard(store: &Arc<Faulty>) -> Guard {
    let store: Arc<dyn ObjectStore> = store.clone();
    Guard::new(Bucket::new(store), Duration::from_secs(3))
}

async fn put(store: &Arc<Faulty>, keys: &[String]) {
    for key in keys {
        let path = Path::from(key.as_str());
        store.put(&path, b"x".to_vec().into()).await.unwrap();
    }
}

async fn left(store: &Arc<Faulty>) -> Vec<String> {
    let found: Vec<_> = store.list(None).try_collect().await.unwrap();
    let mut keys: Vec<_> = found.iter().map(|meta| meta.location.to_string()).collect();
    keys.sort();
    keys
}

async fn collect(store: &Arc<Faulty>, keep: Option<&str>) -> Result<usize, GuardError> {
    let (tenant, job) = (TenantId::new("a").unwrap(), JobId::new(JOB).unwrap());
    guard(store).collect(tenant, job, keep).await
}

/// What start `number` of attempt 1 leaves, in incarnation `life`, of job `job`.
fn leavings(job: &str, life: &str, number: usize) -> Vec<String> {
    [
        format!("starts/{life}/{job}/1/{number}"),
        format!("checkpoints/a/{job}/{life}/1-{number}/00008.json"),
        format!("checkpoints/a/{job}/{life}/1-{number}/00008.safetensors"),
        format!("checkpoints/a/{job}/{life}/1-{number}/conditioning.safetensors"),
        format!("videos/a/{job}/{life}/1-{number}.json"),
        format!("videos/a/{job}/{life}/1-{number}.manifest.json"),
        format!("videos/a/{job}/{life}/1-{number}.mp4"),
    ]
    .into()
}

#[tokio::test]
async fn all_goes_but_the_claim_the_named_video_and_what_is_not_the_jobs() {
    let store = Faulty::sound();
    let kept = leavings(JOB, OTHER, 2);
    for (life, number) in [(JOB, 1), (JOB, 2), (OTHER, 1), (OTHER, 2)] {
        put(&store, &leavings(JOB, life, number)).await;
    }
    let mut stays = leavings(OTHER, JOB, 1);
    stays.extend([
        format!("claims/{JOB}/{JOB}/1"),
        format!("starts/not-a-life/{JOB}/1/1"),
        format!("videos/a/{JOB}/{JOB}/holiday.mp4"),
    ]);
    put(&store, &stays).await;
    stays.extend_from_slice(&kept[4..]);
    stays.sort();
    assert_eq!(collect(&store, Some(&kept[6])).await, Ok(4 * 7 - 3));
    assert_eq!(left(&store).await, stays);
    assert_eq!(collect(&store, Some(&kept[6])).await, Ok(0));
    // Once the video may go as well, as when its job is erased.
    assert_eq!(collect(&store, None).await, Ok(3));
}

#[tokio::test]
async fn a_key_of_another_job_deletes_nothing() {
    let store = Faulty::sound();
    put(&store, &leavings(JOB, JOB, 1)).await;
    for keep in &leavings(OTHER, JOB, 1) {
        let refused = collect(&store, Some(keep)).await;
        assert!(matches!(refused, Err(GuardError::InvalidId(_))), "{keep}");
    }
    assert_eq!(left(&store).await.len(), 7);
}

#[tokio::test]
async fn thousands_of_objects_are_deleted_page_by_page() {
    let store = Faulty::sound();
    let strangers: Vec<_> = (0..1_200)
        .map(|number| format!("videos/a/{JOB}/{JOB}/{number:05}.stranger"))
        .collect();
    put(&store, &strangers).await;
    for number in 1..=700 {
        put(&store, &leavings(JOB, JOB, number)).await;
    }
    assert_eq!(collect(&store, None).await, Ok(700 * 7));
    assert_eq!(left(&store).await, strangers);
}

#[tokio::test]
async fn a_collection_that_fails_is_finished_by_the_next() {
    let store = Faulty::with(Fault::FailDeletes(100));
    put(&store, &leavings(JOB, JOB, 1)).await;
    let failed = collect(&store, None).await;
    let unavailable = matches!(failed, Err(GuardError::StoreUnavailable { .. }));
    assert!(unavailable, "{failed:?}");
    let store = Faulty::with(Fault::FailDeletes(2));
    put(&store, &leavings(JOB, JOB, 1)).await;
    assert_eq!(collect(&store, None).await, Ok(7));
    assert!(left(&store).await.is_empty());
}
