//! Checkpoints: the newest that can be trusted is found by whoever comes later, whatever lies there.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::cases::{self, UUID};
use crate::faulty::{Fault, Faulty};
use guard_core::checkpoint::Unusable;
use guard_core::ids::{Digest, Fingerprint, Ordinal};
use guard_core::lifecycle::End;
use guard_core::record::Corrupt;
use guard_core::tensors::TensorFlaw;
use guard_store::{Bucket, Claim, Guard, GuardError, StoredCheckpoint};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

const OTHER_LIFE: &str = "00000000-0000-4000-8000-000000000002";
const TOTAL: i64 = 64;

fn guard(store: &Arc<Faulty>) -> Guard {
    let store: Arc<dyn ObjectStore> = store.clone();
    Guard::new(Bucket::new(store), Duration::from_secs(3))
}

/// Claims attempt `attempt` of the job in a life of the pool, for a spec.
async fn claim_of(store: &Arc<Faulty>, attempt: i64, spec: &str, life: &str) -> Claim {
    cases::claim(&guard(store), life, attempt, spec)
        .await
        .unwrap()
}

async fn claim(store: &Arc<Faulty>, attempt: i64) -> Claim {
    claim_of(store, attempt, "aa", UUID).await
}

/// A checkpoint file whose latents are all `value`.
fn file(value: f32) -> Vec<u8> {
    let header = br#"{"latents":{"dtype":"F32","shape":[1,12,2,2],"data_offsets":[0,192]}}"#;
    let data = value.to_le_bytes().repeat(48);
    [&(header.len() as u64).to_le_bytes(), &header[..], &data].concat()
}

/// A folder of this test's own, gone with it.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let name = format!("guard-{}", uuid::Uuid::new_v4());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn file(&self, bytes: &[u8]) -> PathBuf {
        let path = self.0.join("out.safetensors");
        std::fs::write(&path, bytes).unwrap();
        path
    }

    fn target(&self) -> PathBuf {
        self.0.join("in.safetensors")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

fn fingerprint(text: &str) -> Fingerprint {
    Fingerprint::new(text).unwrap()
}

async fn put(store: &Arc<Faulty>, claim: &Claim, step: i64, of: &str) -> StoredCheckpoint {
    #[allow(clippy::cast_precision_loss, reason = "steps are small")]
    let bytes = file(step as f32);
    let folder = Folder::new();
    let path = folder.file(&bytes);
    let guard = guard(store);
    let stored = guard.checkpoint(claim, &path, (step, TOTAL), fingerprint(of), None);
    stored.await.unwrap()
}

/// The checkpoint that `claim` would go on from, what is in its file, and why others are not used.
async fn latest(
    store: &Arc<Faulty>,
    claim: &Claim,
    preferred: Option<&str>,
) -> (Option<(StoredCheckpoint, Vec<u8>)>, Vec<Unusable>) {
    let folder = Folder::new();
    let target = folder.target();
    let preferred = preferred.map(fingerprint);
    let guard = guard(store);
    let found = guard.latest_checkpoint(claim, &target, None, preferred.as_ref(), "");
    let (found, rejected) = found.await.unwrap();
    let left = std::fs::read_dir(&folder.0).unwrap().count();
    assert_eq!(left, usize::from(found.is_some()), "nothing else is left");
    let found = found.map(|found| (found, std::fs::read(&target).unwrap()));
    (found, rejected.into_iter().map(|one| one.why).collect())
}

async fn overwrite(store: &Arc<Faulty>, key: &str, bytes: &[u8]) {
    let (key, bytes) = (Path::from(key), bytes.to_vec());
    store.put(&key, bytes.into()).await.unwrap();
}

fn record_key(stored: &StoredCheckpoint) -> String {
    stored.key.replace(".safetensors", ".json")
}

#[tokio::test]
async fn a_later_attempt_goes_on_from_the_newest_step() {
    let store = Faulty::sound();
    let first = claim(&store, 1).await;
    assert_eq!(latest(&store, &first, None).await, (None, vec![]));
    for step in [8, 16, 24] {
        put(&store, &first, step, "h100").await;
    }
    let second = claim(&store, 2).await;
    let (found, rejected) = latest(&store, &second, None).await;
    let (found, bytes) = found.unwrap();
    assert_eq!((bytes, rejected), (file(24.0), vec![]));
    assert_eq!(
        found.key,
        format!("checkpoints/acme/{UUID}/{UUID}/1-1/00024.safetensors")
    );
}

#[tokio::test]
async fn among_equal_steps_the_same_fingerprint_is_preferred() {
    let store = Faulty::sound();
    for (attempt, of) in [(1, "h100"), (2, "h200"), (3, "b200")] {
        put(&store, &claim(&store, attempt).await, 8, of).await;
    }
    let last = claim(&store, 4).await;
    for (preferred, expected) in [
        (Some("h100"), "h100"),
        (Some("h200"), "h200"),
        (Some("l40s"), "b200"),
        (None, "b200"),
    ] {
        let (found, _) = latest(&store, &last, preferred).await;
        let found = found.unwrap().0.checkpoint.fingerprint;
        assert_eq!(found.as_str(), expected, "{preferred:?}");
    }
}

#[tokio::test]
async fn another_spec_and_another_life_of_the_pool_are_not_gone_on_from() {
    let store = Faulty::sound();
    put(&store, &claim(&store, 1).await, 8, "h100").await;
    let spec = claim_of(&store, 2, "bb", UUID).await;
    assert_eq!(
        latest(&store, &spec, None).await,
        (None, vec![Unusable::OtherSpec])
    );
    let life = claim_of(&store, 1, "aa", OTHER_LIFE).await;
    assert_eq!(latest(&store, &life, None).await, (None, vec![]));
}

#[tokio::test]
async fn what_was_damaged_or_deleted_is_set_aside_and_the_next_best_taken() {
    let store = Faulty::sound();
    let claim = claim(&store, 1).await;
    let mut stored = Vec::new();
    for step in 1..=7 {
        stored.push(put(&store, &claim, step, "h100").await);
    }
    let mut changed = file(7.0);
    changed[200] ^= 1;
    overwrite(&store, &stored[6].key, &changed).await;
    overwrite(&store, &stored[5].key, &file(6.0)[..100]).await;
    let gone = Path::from(stored[4].key.as_str());
    store.delete(&gone).await.unwrap();
    overwrite(&store, &record_key(&stored[3]), b"{}").await;
    overwrite(&store, &record_key(&stored[2]), &[b' '; 100_000]).await;
    let longer = [file(2.0), vec![0; 1 << 20]].concat();
    overwrite(&store, &stored[1].key, &longer).await;
    let (found, rejected) = latest(&store, &claim, None).await;
    assert_eq!(found.unwrap(), (stored[0].clone(), file(1.0)));
    assert_eq!(
        rejected,
        [
            Unusable::OtherBytes,
            Unusable::OtherBytes,
            Unusable::Missing,
            Corrupt::Malformed.into(),
            Corrupt::TooLong.into(),
            Unusable::OtherBytes,
        ]
    );
}

#[tokio::test]
async fn a_record_that_vouches_for_something_else_is_not_believed() {
    let store = Faulty::sound();
    let claim = claim(&store, 1).await;
    let good = put(&store, &claim, 1, "h100").await;
    for (step, bytes) in [
        (2, b"no safetensors".to_vec()),
        (3, file(f32::NAN)),
        (4, file(f32::INFINITY)),
    ] {
        let mut forged = good.checkpoint.clone();
        forged.place.step = Ordinal::new("step", step).unwrap();
        forged.size = bytes.len() as u64;
        forged.sha256 = Digest::new(&sha256(&bytes)).unwrap();
        let subject = &claim.subject;
        overwrite(&store, &forged.key(subject), &bytes).await;
        let key = subject.checkpoint_record_key(forged.place);
        overwrite(&store, &key, &forged.to_json(subject)).await;
    }
    let (found, rejected) = latest(&store, &claim, None).await;
    assert_eq!(found.unwrap().0, good);
    assert_eq!(
        rejected,
        [
            TensorFlaw::NotFinite.into(),
            TensorFlaw::NotFinite.into(),
            TensorFlaw::Header.into(),
        ]
    );
}

fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest as _;
    let digest = sha2::Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn storing_again_is_harmless_and_other_bytes_are_a_conflict() {
    let store = Faulty::sound();
    let claim = claim(&store, 1).await;
    let first = put(&store, &claim, 8, "h100").await;
    assert_eq!(put(&store, &claim, 8, "h100").await, first);
    let folder = Folder::new();
    let conflict = Err(GuardError::ClaimConflict("checkpoint"));
    for (bytes, of) in [(file(9.0), "h100"), (file(8.0), "h200")] {
        let path = folder.file(&bytes);
        let guard = guard(&store);
        let again = guard.checkpoint(&claim, &path, (8, TOTAL), fingerprint(of), None);
        assert_eq!(again.await, conflict);
    }
    let (found, _) = latest(&store, &claim, None).await;
    assert_eq!(found.unwrap(), (first, file(8.0)));
}

#[tokio::test]
async fn a_file_that_is_no_checkpoint_is_not_uploaded() {
    let store = Faulty::sound();
    let claim = claim(&store, 1).await;
    let folder = Folder::new();
    let guard = guard(&store);
    for (bytes, flaw) in [
        (file(f32::NAN), TensorFlaw::NotFinite),
        (file(1.0)[..100].to_vec(), TensorFlaw::Truncated),
        (vec![0; (64 << 20) + 1], TensorFlaw::TooLarge),
    ] {
        let path = folder.file(&bytes);
        let refused = guard.checkpoint(&claim, &path, (8, TOTAL), fingerprint("h100"), None);
        assert_eq!(refused.await, Err(GuardError::BadCheckpoint(flaw)));
    }
    let missing = folder.target();
    let refused = guard.checkpoint(&claim, &missing, (8, TOTAL), fingerprint("h100"), None);
    let unreadable = Err(GuardError::BadCheckpoint(TensorFlaw::Unreadable));
    assert_eq!(refused.await, unreadable);
    let path = folder.file(&file(1.0));
    let beyond = guard.checkpoint(&claim, &path, (65, TOTAL), fingerprint("h100"), None);
    assert!(matches!(beyond.await, Err(GuardError::InvalidId(_))));
    assert_eq!(latest(&store, &claim, None).await, (None, vec![]));
}

#[tokio::test]
async fn a_target_that_cannot_be_written_is_a_typed_error() {
    let store = Faulty::sound();
    let claim = claim(&store, 1).await;
    put(&store, &claim, 8, "h100").await;
    let folder = Folder::new();
    let unwritable = Err(GuardError::BadCheckpoint(TensorFlaw::Unwritable));
    for target in [
        folder.target().join("x"),
        PathBuf::from("/"),
        folder.0.clone(),
    ] {
        let guard = guard(&store);
        let outcome = guard.latest_checkpoint(&claim, &target, None, None, "");
        assert_eq!(outcome.await, unwritable, "{target:?}");
    }
    assert_eq!(std::fs::read_dir(&folder.0).unwrap().count(), 0);
}

#[tokio::test]
async fn a_checkpoint_whose_answers_were_lost_is_stored() {
    let store = Faulty::with(Fault::LoseAnswers(12));
    let claim = claim(&store, 1).await;
    let stored = put(&store, &claim, 8, "h100").await;
    let (found, _) = latest(&store, &claim, None).await;
    assert_eq!(found.unwrap(), (stored, file(8.0)));
}

#[tokio::test]
async fn release_deletes_the_checkpoints_of_this_life_and_nothing_else() {
    let store = Faulty::sound();
    for attempt in 1..=2 {
        for step in 1..=20 {
            put(&store, &claim(&store, attempt).await, step, "h100").await;
        }
    }
    let other = claim_of(&store, 1, "aa", OTHER_LIFE).await;
    let kept = put(&store, &other, 8, "h100").await;
    let last = claim(&store, 3).await;
    guard(&store).announce(&last, End::Cancelled).unwrap();
    for _ in 0..2 {
        guard(&store).release(&last).await.unwrap();
        assert_eq!(latest(&store, &last, None).await, (None, vec![]));
    }
    let (found, _) = latest(&store, &other, None).await;
    assert_eq!(found.unwrap().0, kept);
    let bucket: Arc<dyn ObjectStore> = store.clone();
    let deadline = guard_store::Deadline::after(Duration::from_secs(3));
    let bucket = Bucket::new(bucket);
    let prefix = last.subject.checkpoints_prefix();
    let left = bucket.list(&prefix, &deadline).await.unwrap();
    assert_eq!(left, Vec::<String>::new());
}
