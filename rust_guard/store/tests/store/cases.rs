//! What the tests of the store share: one job, one clip.

use std::path::PathBuf;

use guard_core::claim::RecordRef;
use guard_core::container::Expected;
use guard_core::ids::{Digest, JobId, Ordinal, PoolIncarnation, TenantId};
use guard_core::keys::Subject;
use guard_store::{Claim, Guard, GuardError};

/// The job's id, and its pool's incarnation.
pub const UUID: &str = "00000000-0000-4000-8000-000000000001";
/// A real MP4.
pub const CLIP: &[u8] = include_bytes!("clip.mp4");
/// What it is.
pub const VIDEO: Expected = Expected {
    frames: 7,
    fps: 30,
    width: 32,
    height: 32,
};

/// Where it lies.
pub fn clip() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/store/clip.mp4")
}

/// Claims an attempt at the job, of the spec whose digest repeats two hex digits, in a pool's life.
pub async fn claim(
    guard: &Guard,
    life: &str,
    attempt: i64,
    spec: &str,
) -> Result<Claim, GuardError> {
    let subject = Subject {
        pool_incarnation: PoolIncarnation::new(life).unwrap(),
        tenant_id: TenantId::new("acme").unwrap(),
        job_id: JobId::new(UUID).unwrap(),
        attempt: Ordinal::new("attempt", attempt).unwrap(),
    };
    let record = RecordRef::new("assignments", 0, attempt).unwrap();
    let digest = Digest::new(&spec.repeat(32)).unwrap();
    guard.claim(subject, record, digest, None).await
}
