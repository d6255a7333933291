//! What the checkpoints of a start share is stored once, and a checkpoint without it is none.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::cases::{self, UUID};
use crate::faulty::{Fault, Faulty};
use futures_util::TryStreamExt as _;
use guard_core::checkpoint::{Broken, Unusable};
use guard_core::ids::{Digest, Fingerprint};
use guard_core::lifecycle::End;
use guard_core::tensors::TensorFlaw;
use guard_store::{Bucket, Claim, Guard, GuardError, StoredCheckpoint, StoredConditioning};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

/// A guard over a faulty store, with a folder of its own that goes with it.
struct Bench {
    store: Arc<Faulty>,
    guard: Guard,
    folder: PathBuf,
}

impl Bench {
    fn new(fault: Fault) -> Self {
        let store = Faulty::with(fault);
        let bucket: Arc<dyn ObjectStore> = store.clone();
        let folder = std::env::temp_dir().join(format!("guard-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir(&folder).unwrap();
        Self {
            store,
            guard: Guard::new(Bucket::new(bucket), Duration::from_secs(3)),
            folder,
        }
    }

    async fn claim(&self, attempt: i64) -> Claim {
        cases::claim(&self.guard, UUID, attempt, "aa")
            .await
            .unwrap()
    }

    fn file(&self, bytes: &[u8]) -> PathBuf {
        let path = self.folder.join("file");
        std::fs::write(&path, bytes).unwrap();
        path
    }

    async fn conditioning(
        &self,
        claim: &Claim,
        value: f32,
    ) -> Result<StoredConditioning, GuardError> {
        let path = self.file(&file("prompt_embeds", value));
        self.guard.conditioning(claim, &path).await
    }

    async fn checkpoint(
        &self,
        claim: &Claim,
        step: i64,
        apart: Option<&StoredConditioning>,
    ) -> Result<StoredCheckpoint, GuardError> {
        #[allow(clippy::cast_precision_loss, reason = "steps are small")]
        let path = self.file(&file("latents", step as f32));
        let of = Fingerprint::new("h100").unwrap();
        self.guard
            .checkpoint(claim, &path, (step, 64), of, apart)
            .await
    }

    /// Step and conditioning that `claim` goes on with, and why others are not used.
    async fn latest(&self, claim: &Claim) -> (Option<(u32, Option<Vec<u8>>)>, Vec<Unusable>) {
        let (path, beside) = (self.folder.join("in"), self.folder.join("beside"));
        let found = self
            .guard
            .latest_checkpoint(claim, &path, Some(&beside), None, "");
        let (found, rejected) = found.await.unwrap();
        let found = found.map(|found| {
            #[allow(clippy::cast_precision_loss, reason = "steps are small")]
            let latents = file("latents", found.checkpoint.place.step.get() as f32);
            assert_eq!(std::fs::read(&path).unwrap(), latents);
            (
                found.checkpoint.place.step.get(),
                std::fs::read(&beside).ok(),
            )
        });
        (found, rejected.into_iter().map(|one| one.why).collect())
    }

    async fn overwrite(&self, key: &str, bytes: &[u8]) {
        let path = Path::from(key);
        self.store.put(&path, bytes.to_vec().into()).await.unwrap();
    }

    async fn keys(&self, prefix: &str) -> usize {
        let found = self.store.list(Some(&Path::from(prefix)));
        found.try_collect::<Vec<_>>().await.unwrap().len()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.folder).unwrap();
    }
}

/// A safetensors file with one tensor, all of whose values are `value`.
fn file(name: &str, value: f32) -> Vec<u8> {
    let header =
        format!(r#"{{"{name}":{{"dtype":"F32","shape":[1,12,2,2],"data_offsets":[0,192]}}}}"#);
    let data = value.to_le_bytes().repeat(48);
    let length = (header.len() as u64).to_le_bytes();
    [&length, header.as_bytes(), &data].concat()
}

#[tokio::test]
async fn one_conditioning_serves_all_checkpoints_of_its_start() {
    let bench = Bench::new(Fault::None);
    let claim = bench.claim(1).await;
    let apart = bench.conditioning(&claim, 7.0).await.unwrap();
    let folder = format!("checkpoints/acme/{UUID}/{UUID}/1-1");
    assert_eq!(apart.key, format!("{folder}/conditioning.safetensors"));
    assert_eq!(bench.conditioning(&claim, 7.0).await.as_ref(), Ok(&apart));
    for step in [8, 16, 24] {
        bench.checkpoint(&claim, step, Some(&apart)).await.unwrap();
    }
    assert_eq!(bench.keys(&folder).await, 1 + 3 * 2);
    let later = bench.claim(2).await;
    let beside = Some(file("prompt_embeds", 7.0));
    assert_eq!(bench.latest(&later).await, (Some((24, beside)), vec![]));
    bench.guard.announce(&later, End::Cancelled).unwrap();
    bench.guard.release(&later).await.unwrap();
    assert_eq!(bench.keys("checkpoints").await, 0);
}

#[tokio::test]
async fn a_broken_conditioning_sets_its_checkpoints_aside_and_is_fetched_once() {
    let whole = file("prompt_embeds", 7.0);
    let mut changed = whole.clone();
    *changed.last_mut().unwrap() ^= 1;
    let longer = [whole.clone(), vec![0; 9]].concat();
    for (harm, why) in [
        (Some(changed), Broken::OtherBytes),
        (Some(whole[..90].to_vec()), Broken::OtherBytes),
        (Some(longer), Broken::OtherBytes),
        (Some(vec![]), Broken::OtherBytes),
        (None, Broken::Missing),
    ] {
        let bench = Bench::new(Fault::None);
        let good = bench.claim(1).await;
        let apart = bench.conditioning(&good, 3.0).await.unwrap();
        bench.checkpoint(&good, 4, Some(&apart)).await.unwrap();
        let claim = bench.claim(2).await;
        let apart = bench.conditioning(&claim, 7.0).await.unwrap();
        for step in [8, 16, 24] {
            bench.checkpoint(&claim, step, Some(&apart)).await.unwrap();
        }
        match harm {
            Some(bytes) => bench.overwrite(&apart.key, &bytes).await,
            None => bench
                .store
                .delete(&Path::from(apart.key.as_str()))
                .await
                .unwrap(),
        }
        let before = bench.store.reads_of(&apart.key);
        let (found, rejected) = bench.latest(&bench.claim(3).await).await;
        assert_eq!(found, Some((4, Some(file("prompt_embeds", 3.0)))));
        assert_eq!(rejected, vec![Unusable::Conditioning(why); 3]);
        assert_eq!(bench.store.reads_of(&apart.key) - before, 1);
    }
}

#[tokio::test]
async fn a_record_that_vouches_for_no_conditioning_is_not_believed() {
    let bench = Bench::new(Fault::None);
    let claim = bench.claim(1).await;
    let apart = bench.conditioning(&claim, 7.0).await.unwrap();
    let stored = bench.checkpoint(&claim, 8, Some(&apart)).await.unwrap();
    for (bytes, flaw) in [
        (b"no safetensors".to_vec(), TensorFlaw::Header),
        (file("latents", 1.0), TensorFlaw::Names),
        (file("prompt_embeds", f32::NAN), TensorFlaw::NotFinite),
    ] {
        let mut forged = stored.checkpoint.clone();
        let named = forged.conditioning.as_mut().unwrap();
        named.size = bytes.len() as u64;
        named.sha256 = Digest::new(&sha256(&bytes)).unwrap();
        bench.overwrite(&apart.key, &bytes).await;
        let key = claim.subject.checkpoint_record_key(forged.place);
        bench.overwrite(&key, &forged.to_json(&claim.subject)).await;
        let (found, rejected) = bench.latest(&claim).await;
        assert_eq!(found, None);
        assert_eq!(rejected, [Unusable::Conditioning(flaw.into())]);
    }
}

#[tokio::test]
async fn whoever_does_not_ask_for_the_conditioning_does_without() {
    let bench = Bench::new(Fault::None);
    let claim = bench.claim(1).await;
    let apart = bench.conditioning(&claim, 7.0).await.unwrap();
    bench.checkpoint(&claim, 8, Some(&apart)).await.unwrap();
    bench.overwrite(&apart.key, b"").await;
    let target = bench.folder.join("in");
    let found = bench
        .guard
        .latest_checkpoint(&claim, &target, None, None, "");
    let (found, rejected) = found.await.unwrap();
    assert_eq!((found.is_some(), rejected.len()), (true, 0));
}

#[tokio::test]
async fn a_file_of_an_earlier_search_is_not_taken_for_a_conditioning() {
    let bench = Bench::new(Fault::None);
    let claim = bench.claim(1).await;
    bench.checkpoint(&claim, 8, None).await.unwrap();
    std::fs::write(bench.folder.join("beside"), b"old").unwrap();
    assert_eq!(bench.latest(&claim).await, (Some((8, None)), vec![]));
}

#[tokio::test]
async fn a_conditioning_belongs_to_its_claim() {
    let bench = Bench::new(Fault::None);
    let (first, second) = (bench.claim(1).await, bench.claim(2).await);
    let apart = bench.conditioning(&first, 7.0).await.unwrap();
    let mixed_up = bench.checkpoint(&second, 8, Some(&apart)).await;
    assert!(matches!(mixed_up, Err(GuardError::InvalidId(_))));
    let other = bench.conditioning(&first, 8.0).await;
    assert_eq!(other, Err(GuardError::ClaimConflict("conditioning")));
    let path = bench.file(&file("latents", 1.0));
    let refused = bench.guard.conditioning(&second, &path).await;
    assert_eq!(refused, Err(GuardError::BadCheckpoint(TensorFlaw::Names)));
    assert_eq!(bench.keys("checkpoints").await, 1);
}

#[tokio::test]
async fn a_conditioning_whose_answers_were_lost_is_stored() {
    let bench = Bench::new(Fault::LoseAnswers(12));
    let claim = bench.claim(1).await;
    let apart = bench.conditioning(&claim, 7.0).await.unwrap();
    bench.checkpoint(&claim, 8, Some(&apart)).await.unwrap();
    let beside = Some(file("prompt_embeds", 7.0));
    assert_eq!(bench.latest(&claim).await, (Some((8, beside)), vec![]));
}

fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest as _;
    let digest = sha2::Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
