//! Large files go in parts: whole or not at all, once, and nothing unfinished is left behind.

use std::sync::Arc;
use std::time::Duration;

use crate::cases::{self, CLIP, UUID, VIDEO, clip};
use crate::faulty::{Fault, Faulty};
use guard_core::ids::Ordinal;
use guard_store::{Artifact, Bucket, Claim, Guard, GuardError, Parts};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

/// A guard for which everything above `above` bytes is large, in parts of 400.
fn guard(store: &Arc<Faulty>, above: u64) -> Guard {
    let bucket: Arc<dyn ObjectStore> = store.clone();
    let parts = Parts {
        store: store.clone(),
        above,
        size: 400,
    };
    Guard::new(Bucket::new(bucket).in_parts(parts), Duration::from_secs(3))
}

async fn claim(store: &Arc<Faulty>) -> Claim {
    cases::claim(&guard(store, 0), UUID, 1, "aa").await.unwrap()
}

async fn seal(store: &Arc<Faulty>, claim: &Claim) -> Result<Artifact, GuardError> {
    guard(store, 1_000).seal(claim, &clip(), VIDEO, None).await
}

#[tokio::test]
async fn a_large_video_goes_in_parts_and_is_the_same() {
    let store = Faulty::sound();
    let claim = claim(&store).await;
    let sealed = seal(&store, &claim).await.unwrap();
    assert_eq!(store.parts(), CLIP.len().div_ceil(400));
    let path = Path::from(sealed.key.as_str());
    let bytes = store.get(&path).await.unwrap().bytes().await.unwrap();
    assert_eq!(bytes, CLIP);
    assert_eq!(seal(&store, &claim).await, Ok(sealed.clone()));
    assert_eq!(store.parts(), CLIP.len().div_ceil(400), "it was there");
    let adopted = guard(&store, 0).sealed(&claim).await.unwrap().0;
    assert_eq!(adopted, Some(sealed));
    assert_eq!(store.unfinished(), 0);
}

#[tokio::test]
async fn a_small_video_goes_in_one_piece() {
    let store = Faulty::sound();
    let claim = claim(&store).await;
    let guard = guard(&store, CLIP.len() as u64);
    guard.seal(&claim, &clip(), VIDEO, None).await.unwrap();
    assert_eq!(store.parts(), 0);
}

#[tokio::test]
async fn a_part_that_fails_is_sent_again_alone() {
    let store = Faulty::with(Fault::FailParts(3));
    let claim = claim(&store).await;
    seal(&store, &claim).await.unwrap();
    assert_eq!(store.parts(), CLIP.len().div_ceil(400) + 3);
}

#[tokio::test]
async fn a_completion_whose_answer_was_lost_is_found_out() {
    let store = Faulty::with(Fault::LoseCompletion);
    let claim = claim(&store).await;
    let sealed = seal(&store, &claim).await.unwrap();
    assert_eq!(
        guard(&store, 0).sealed(&claim).await.unwrap().0,
        Some(sealed)
    );
    assert_eq!(store.unfinished(), 0);
}

#[tokio::test]
async fn an_upload_that_cannot_be_finished_is_given_up_whole() {
    for fault in [Fault::FailParts(usize::MAX), Fault::FailCompletions] {
        let store = Faulty::with(fault);
        let claim = claim(&store).await;
        let failed = seal(&store, &claim).await.unwrap_err();
        assert_eq!(failed.code(), "store_unavailable", "{fault:?}");
        assert_eq!(store.unfinished(), 0, "{fault:?}");
        assert_eq!(guard(&store, 0).sealed(&claim).await, Ok((None, vec![])));
    }
}

#[tokio::test]
async fn other_bytes_under_the_key_are_a_conflict_and_stay() {
    let store = Faulty::sound();
    let claim = claim(&store).await;
    let key = claim.subject.video_key(Ordinal::FIRST, claim.start);
    let path = Path::from(key);
    for other in [b"shorter".to_vec(), vec![7; CLIP.len()]] {
        store.put(&path, other.clone().into()).await.unwrap();
        let refused = seal(&store, &claim).await;
        assert_eq!(refused, Err(GuardError::ClaimConflict("artifact")));
        let kept = store.get(&path).await.unwrap().bytes().await.unwrap();
        assert_eq!(kept, other);
    }
    assert_eq!(store.parts(), 0);
}
