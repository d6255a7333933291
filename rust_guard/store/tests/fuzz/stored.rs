//! Objects in the bucket: a damaged one is set aside or a typed error, and the next best is taken.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use guard_core::claim::RecordRef;
use guard_core::container::Expected;
use guard_core::ids::{Digest, Fingerprint, JobId, Ordinal, PoolIncarnation, TenantId};
use guard_core::keys::Subject;
use guard_store::{Artifact, Bucket, Claim, Guard, GuardError};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

use crate::Run;
use crate::damage::{Draw, damaged};

const ID: &str = "00000000-0000-4000-8000-000000000001";
const MANIFEST: &str = r#"{"format":"ttv-manifest-1","spec":{"seed":7},"model":"mochi-1"}"#;
const VIDEO: Expected = Expected {
    frames: 7,
    fps: 30,
    width: 32,
    height: 32,
};

/// What a damaged object is of the job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Claim,
    Seal,
    Video,
    Manifest,
    Record,
    Latents,
    Conditioning,
}

/// A job that was rendered, with two checkpoints left, and what lies in the bucket.
struct Job {
    store: Arc<InMemory>,
    guard: Guard,
    folder: PathBuf,
    subject: Subject,
    claim: Claim,
    sealed: Artifact,
    objects: Vec<(Kind, Path, Vec<u8>)>,
}

fn digest() -> Digest {
    Digest::new(&"aa".repeat(32)).unwrap()
}

fn record() -> RecordRef {
    RecordRef::new("assignments", 3, 17).unwrap()
}

impl Job {
    async fn new() -> Self {
        let store = Arc::new(InMemory::new());
        let bucket: Arc<dyn ObjectStore> = store.clone();
        let guard = Guard::new(Bucket::new(bucket), Duration::from_secs(30));
        let subject = Subject {
            pool_incarnation: PoolIncarnation::new(ID).unwrap(),
            tenant_id: TenantId::new("acme").unwrap(),
            job_id: JobId::new(ID).unwrap(),
            attempt: Ordinal::FIRST,
        };
        let claim = guard.claim(subject.clone(), record(), digest(), None);
        let claim = claim.await.unwrap();
        let folder = folder();
        let path = folder.join("file");
        std::fs::write(&path, tensors("prompt_embeds", 0.25)).unwrap();
        let apart = guard.conditioning(&claim, &path).await.unwrap();
        let mut keys = vec![
            (Kind::Claim, subject.claim_key()),
            (Kind::Conditioning, apart.key.clone()),
        ];
        for step in [8_u8, 16] {
            std::fs::write(&path, tensors("latents", step.into())).unwrap();
            let of = Fingerprint::new("h100").unwrap();
            let stored = guard.checkpoint(&claim, &path, (step.into(), 64), of, Some(&apart));
            let stored = stored.await.unwrap();
            if step == 16 {
                keys.push((
                    Kind::Record,
                    subject.checkpoint_record_key(stored.checkpoint.place),
                ));
                keys.push((Kind::Latents, stored.key));
            }
        }
        let clip = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/store/clip.mp4");
        let sealed = guard
            .seal(&claim, &clip, VIDEO, Some(MANIFEST))
            .await
            .unwrap();
        keys.push((Kind::Seal, subject.seal_key(Ordinal::FIRST, claim.start)));
        keys.push((Kind::Video, sealed.key.clone()));
        keys.push((Kind::Manifest, sealed.manifest.clone().unwrap().0));
        let mut objects = Vec::new();
        for (kind, key) in keys {
            let path = Path::from(key);
            let bytes = store.get(&path).await.unwrap().bytes().await.unwrap();
            objects.push((kind, path, bytes.to_vec()));
        }
        Self {
            store,
            guard,
            folder,
            subject,
            claim,
            sealed,
            objects,
        }
    }

    /// Damages one object of one of the `kinds`, and looks at what comes of it.
    async fn judge(&self, kinds: &[Kind], draw: &mut Draw) {
        let objects: Vec<_> = self
            .objects
            .iter()
            .filter(|one| kinds.contains(&one.0))
            .collect();
        let (kind, path, whole) = objects[draw.below(objects.len())];
        let others: Vec<&[u8]> = self.objects.iter().map(|(.., bytes)| &bytes[..]).collect();
        let harmed = loop {
            let harmed = damaged(whole, &others, draw);
            if harmed != *whole {
                break harmed;
            }
        };
        self.store.put(path, harmed.into()).await.unwrap();
        match kind {
            Kind::Claim => self.judge_claim().await,
            Kind::Seal | Kind::Video => self.judge_seal().await,
            Kind::Manifest => {
                let read = self.guard.manifest(&self.sealed).await;
                assert!(matches!(read, Err(GuardError::BadManifest(_))), "{read:?}");
            }
            // Both checkpoints stand on the one conditioning.
            Kind::Conditioning => assert_eq!(self.resumed().await, (None, 2)),
            Kind::Record | Kind::Latents => {
                let eighth = (tensors("latents", 8.0), tensors("prompt_embeds", 0.25));
                assert_eq!(self.resumed().await, (Some(eighth), 1));
            }
        }
        self.store.put(path, whole.clone().into()).await.unwrap();
    }

    async fn judge_claim(&self) {
        let claim = self
            .guard
            .claim(self.subject.clone(), record(), digest(), None);
        let refused = claim.await;
        assert!(
            matches!(refused, Err(GuardError::CorruptRecord { .. })),
            "{refused:?}"
        );
    }

    async fn judge_seal(&self) {
        let (found, rejected) = self.guard.sealed(&self.claim).await.unwrap();
        assert_eq!((found, rejected.len()), (None, 1));
    }

    /// What is gone on from, latents and conditioning, and how many were set aside.
    async fn resumed(&self) -> (Option<(Vec<u8>, Vec<u8>)>, usize) {
        let (path, beside) = (self.folder.join("in"), self.folder.join("beside"));
        let found = self
            .guard
            .latest_checkpoint(&self.claim, &path, Some(&beside), None, "");
        let (found, rejected) = found.await.unwrap();
        let read = |path| std::fs::read(path).unwrap();
        (found.map(|_| (read(&path), read(&beside))), rejected.len())
    }
}

/// In memory where there is such a file system: each case makes files durable.
fn folder() -> PathBuf {
    let shm = PathBuf::from("/dev/shm");
    let parent = if shm.is_dir() {
        shm
    } else {
        std::env::temp_dir()
    };
    let folder = parent.join(format!("guard-fuzz-{}", uuid::Uuid::new_v4()));
    std::fs::create_dir(&folder).unwrap();
    folder
}

impl Drop for Job {
    fn drop(&mut self) {
        // After a failed case there may be nothing to remove.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// A safetensors file with one tensor, all of whose values are `value`.
fn tensors(name: &str, value: f32) -> Vec<u8> {
    let header =
        format!(r#"{{"{name}":{{"dtype":"F32","shape":[1,12,2,2],"data_offsets":[0,192]}}}}"#);
    let data = value.to_le_bytes().repeat(48);
    let length = (header.len() as u64).to_le_bytes();
    [&length, header.as_bytes(), &data].concat()
}

/// As many cases as the run has, each of them damaged for certain.
fn never_believed_and_never_fatal(kinds: &[Kind]) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let job = runtime.block_on(Job::new());
    Run::from_environment().each(|draw| runtime.block_on(job.judge(kinds, draw)));
    assert_eq!(
        runtime.block_on(job.guard.sealed(&job.claim)).unwrap().0,
        Some(job.sealed.clone())
    );
}

#[test]
fn a_damaged_checkpoint_or_manifest_is_never_believed_and_never_fatal() {
    never_believed_and_never_fatal(&[
        Kind::Record,
        Kind::Latents,
        Kind::Conditioning,
        Kind::Manifest,
    ]);
}

#[test]
fn a_damaged_claim_or_video_is_never_believed_and_never_fatal() {
    never_believed_and_never_fatal(&[Kind::Claim, Kind::Seal, Kind::Video]);
}
