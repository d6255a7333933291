//! Artifacts: sealed once, adopted by whoever comes later, never believed without a look.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use crate::cases::{self, CLIP, UUID, VIDEO, clip};
use crate::faulty::{Fault, Faulty};
use guard_core::container::Flaw;
use guard_core::manifest::ManifestFlaw;
use guard_core::seal::Unusable;
use guard_store::{Bucket, Claim, Guard, GuardError};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

fn guard(store: &Arc<Faulty>) -> Guard {
    let store: Arc<dyn ObjectStore> = store.clone();
    Guard::new(Bucket::new(store), Duration::from_secs(3))
}

async fn claim(store: &Arc<Faulty>, attempt: i64, spec: &str) -> Claim {
    cases::claim(&guard(store), UUID, attempt, spec)
        .await
        .unwrap()
}

#[tokio::test]
async fn a_later_attempt_adopts_what_an_earlier_one_sealed() {
    let store = Faulty::sound();
    let first = claim(&store, 1, "aa").await;
    assert_eq!(guard(&store).sealed(&first).await, Ok((None, vec![])));
    let sealed = guard(&store)
        .seal(&first, &clip(), VIDEO, None)
        .await
        .unwrap();
    assert_eq!(sealed.key, format!("videos/acme/{UUID}/{UUID}/1-1.mp4"));
    let second = claim(&store, 2, "aa").await;
    assert_eq!(
        guard(&store).sealed(&second).await,
        Ok((Some(sealed), vec![]))
    );
}

#[tokio::test]
async fn sealing_again_is_harmless_and_other_bytes_are_a_conflict() {
    let store = Faulty::sound();
    let claim = claim(&store, 1, "aa").await;
    let first = guard(&store)
        .seal(&claim, &clip(), VIDEO, None)
        .await
        .unwrap();
    assert_eq!(
        guard(&store).seal(&claim, &clip(), VIDEO, None).await,
        Ok(first.clone())
    );
    for other in [b"shorter".to_vec(), vec![7; CLIP.len()]] {
        store
            .put(&Path::from(first.key.as_str()), other.into())
            .await
            .unwrap();
        let again = guard(&store).seal(&claim, &clip(), VIDEO, None).await;
        assert_eq!(again, Err(GuardError::ClaimConflict("artifact")));
    }
}

#[tokio::test]
async fn an_upload_whose_answer_was_lost_is_sealed() {
    // The claim and the start are puts as well: the upload is the third, its seal the fourth.
    let store = Faulty::with(Fault::LoseAnswers(12));
    let claim = claim(&store, 1, "aa").await;
    let sealed = guard(&store)
        .seal(&claim, &clip(), VIDEO, None)
        .await
        .unwrap();
    assert_eq!(guard(&store).sealed(&claim).await.unwrap().0, Some(sealed));
}

#[tokio::test]
async fn an_upload_that_its_own_repetition_meets_is_no_conflict() {
    let store = Faulty::with(Fault::AppearLate);
    let claim = claim(&store, 1, "aa").await;
    let sealed = guard(&store).seal(&claim, &clip(), VIDEO, None).await;
    assert_eq!(
        guard(&store).sealed(&claim).await.unwrap().0,
        Some(sealed.unwrap())
    );
}

#[tokio::test]
async fn an_artifact_of_another_spec_is_not_adopted() {
    let store = Faulty::sound();
    guard(&store)
        .seal(&claim(&store, 1, "aa").await, &clip(), VIDEO, None)
        .await
        .unwrap();
    let (found, rejected) = guard(&store)
        .sealed(&claim(&store, 2, "bb").await)
        .await
        .unwrap();
    assert_eq!(found, None);
    assert_eq!(rejected[0].why, Unusable::OtherSpec);
}

#[tokio::test]
async fn a_sealed_artifact_that_is_gone_or_changed_is_set_aside_and_the_next_adopted() {
    let store = Faulty::sound();
    let mut sealed = Vec::new();
    for attempt in 1..=3 {
        let claim = claim(&store, attempt, "aa").await;
        sealed.push(
            guard(&store)
                .seal(&claim, &clip(), VIDEO, None)
                .await
                .unwrap(),
        );
    }
    store
        .delete(&Path::from(sealed[0].key.as_str()))
        .await
        .unwrap();
    let mut changed = CLIP.to_vec();
    changed[1000] ^= 1;
    store
        .put(&Path::from(sealed[1].key.as_str()), changed.into())
        .await
        .unwrap();
    let (found, rejected) = guard(&store)
        .sealed(&claim(&store, 4, "aa").await)
        .await
        .unwrap();
    assert_eq!(found.as_ref(), Some(&sealed[2]));
    let why: Vec<_> = rejected.into_iter().map(|rejected| rejected.why).collect();
    assert_eq!(why, [Unusable::Missing, Unusable::OtherBytes]);
}

#[tokio::test]
async fn hostile_seals_are_set_aside() {
    let store = Faulty::sound();
    let claim = claim(&store, 1, "aa").await;
    let huge = vec![b' '; 100_000];
    for (start, body) in [&b""[..], b"{}", b"\xff", b"[[[[", &huge]
        .into_iter()
        .enumerate()
    {
        let key = format!("{}/1-{}.json", claim.subject.videos_prefix(), start + 1);
        store
            .put(&Path::from(key), body.to_vec().into())
            .await
            .unwrap();
    }
    let (found, rejected) = guard(&store).sealed(&claim).await.unwrap();
    assert_eq!((found, rejected.len()), (None, 5));
}

#[tokio::test]
async fn a_manifest_is_vouched_for_by_the_seal() {
    let store = Faulty::sound();
    let first = claim(&store, 1, "aa").await;
    let text = r#"{"seed":7,"model":"mochi-1"}"#;
    let seal = async |text| guard(&store).seal(&first, &clip(), VIDEO, text).await;
    let long = "x".repeat(100_000);
    for bad in ["", "[]", &long] {
        assert!(matches!(
            seal(Some(bad)).await,
            Err(GuardError::BadManifest(_))
        ));
    }
    assert_eq!(guard(&store).sealed(&first).await, Ok((None, vec![])));
    let sealed = seal(Some(text)).await.unwrap();
    assert_eq!(seal(Some(text)).await, Ok(sealed.clone()));
    assert_eq!(
        seal(Some("{}")).await,
        Err(GuardError::ClaimConflict("manifest"))
    );
    let (found, rejected) = guard(&store)
        .sealed(&claim(&store, 2, "aa").await)
        .await
        .unwrap();
    assert_eq!((found.as_ref(), rejected), (Some(&sealed), vec![]));
    assert_eq!(
        guard(&store).manifest(&sealed).await,
        Ok(Some(text.to_owned()))
    );
    let key = sealed.manifest.clone().unwrap().0;
    assert_eq!(key, format!("videos/acme/{UUID}/{UUID}/1-1.manifest.json"));
    for (body, flaw) in [
        (&b"{}"[..], ManifestFlaw::OtherBytes),
        (&[b' '; 70_000], ManifestFlaw::TooLong),
    ] {
        let body = body.to_vec().into();
        store.put(&Path::from(key.as_str()), body).await.unwrap();
        assert_eq!(guard(&store).manifest(&sealed).await, Err(flaw.into()));
    }
    store.delete(&Path::from(key)).await.unwrap();
    assert_eq!(
        guard(&store).manifest(&sealed).await,
        Err(ManifestFlaw::Missing.into())
    );
}

#[tokio::test]
async fn a_bad_video_is_not_uploaded() {
    let store = Faulty::sound();
    let claim = claim(&store, 1, "aa").await;
    let path = std::env::temp_dir().join(format!("guard-{}.mp4", std::process::id()));
    std::fs::File::create(&path)
        .unwrap()
        .write_all(&CLIP[..CLIP.len() - 200])
        .unwrap();
    let outcome = guard(&store).seal(&claim, &path, VIDEO, None).await;
    std::fs::remove_file(&path).unwrap();
    assert!(
        matches!(outcome, Err(GuardError::BadArtifact(_))),
        "{outcome:?}"
    );
    let missing = guard(&store).seal(&claim, &path, VIDEO, None).await;
    assert_eq!(missing, Err(GuardError::BadArtifact(Flaw::Unreadable)));
    assert_eq!(guard(&store).sealed(&claim).await, Ok((None, vec![])));
}
