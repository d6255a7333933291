//! Seals: read back as written, bound to their key, refused when damaged.

use guard_core::container::Expected;
use guard_core::ids::{Digest, JobId, Ordinal, PoolIncarnation, TenantId};
use guard_core::keys::Subject;
use guard_core::record::Corrupt;
use guard_core::seal::{Seal, Unusable};
use proptest::prelude::*;

fn subject(tenant: &str) -> Subject {
    let id = "00000000-0000-4000-8000-000000000001";
    Subject {
        pool_incarnation: PoolIncarnation::new(id).unwrap(),
        tenant_id: TenantId::new(tenant).unwrap(),
        job_id: JobId::new(id).unwrap(),
        attempt: Ordinal::FIRST,
    }
}

fn seal(size: u64) -> Seal {
    Seal {
        attempt: Ordinal::FIRST,
        start: Ordinal::FIRST.next(),
        spec_digest: Digest::new(&"a1".repeat(32)).unwrap(),
        sha256: Digest::new(&"b2".repeat(32)).unwrap(),
        size,
        video: Expected {
            frames: 7,
            fps: 30,
            width: 64,
            height: 48,
        },
        manifest: None,
    }
}

fn key(subject: &Subject, seal: &Seal) -> String {
    subject.seal_key(seal.attempt, seal.start)
}

#[test]
fn a_seal_of_another_job_or_place_is_refused() {
    let (ours, theirs, seal) = (subject("a"), subject("b"), seal(10));
    let copied = seal.to_json(&theirs);
    assert_eq!(
        Seal::from_json(&copied, &ours, &key(&ours, &seal)),
        Err(Corrupt::Misplaced("artifact"))
    );
    assert_eq!(
        Seal::from_json(&copied, &ours, &key(&theirs, &seal)),
        Err(Corrupt::Misplaced("job"))
    );
    let moved = ours.seal_key(seal.attempt, seal.start.next());
    assert_eq!(
        Seal::from_json(&seal.to_json(&ours), &ours, &moved),
        Err(Corrupt::Misplaced("start"))
    );
}

#[test]
fn an_empty_artifact_is_never_sealed() {
    let (subject, seal) = (subject("a"), seal(0));
    assert!(matches!(
        Seal::from_json(&seal.to_json(&subject), &subject, &key(&subject, &seal)),
        Err(Corrupt::Field(_))
    ));
}

#[test]
fn a_seal_serves_its_own_spec_only() {
    let seal = seal(1);
    assert_eq!(seal.serves(&seal.spec_digest.clone()), Ok(()));
    assert_eq!(seal.serves(&seal.sha256.clone()), Err(Unusable::OtherSpec));
}

#[test]
fn a_seal_knows_its_manifest_or_that_there_is_none() {
    let (subject, plain) = (subject("a"), seal(1));
    assert!(
        !String::from_utf8(plain.to_json(&subject))
            .unwrap()
            .contains("manifest")
    );
    let with = Seal {
        manifest: Some(plain.sha256.clone()),
        ..plain
    };
    let read = Seal::from_json(&with.to_json(&subject), &subject, &key(&subject, &with));
    assert_eq!(read, Ok(with));
}

#[test]
fn a_seal_without_its_check_is_refused() {
    let (subject, seal) = (subject("a"), seal(10));
    let text = String::from_utf8(seal.to_json(&subject)).unwrap();
    let (old, _) = text.split_once(",\"check\"").unwrap();
    let old = format!("{old}}}");
    let read = Seal::from_json(old.as_bytes(), &subject, &key(&subject, &seal));
    assert_eq!(read, Err(Corrupt::Malformed));
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(size in 1..u64::MAX) {
        let (subject, seal) = (subject("a"), seal(size));
        let read = Seal::from_json(&seal.to_json(&subject), &subject, &key(&subject, &seal));
        prop_assert_eq!(read, Ok(seal));
    }

    #[test]
    fn a_seal_that_is_cut_or_damaged_is_refused(at: prop::sample::Index, byte: u8) {
        let (subject, seal) = (subject("a"), seal(10));
        let whole = seal.to_json(&subject);
        let (mut damaged, at) = (whole.clone(), at.index(whole.len()));
        prop_assert!(Seal::from_json(&whole[..at], &subject, &key(&subject, &seal)).is_err());
        damaged[at] = byte;
        if damaged != whole {
            prop_assert!(Seal::from_json(&damaged, &subject, &key(&subject, &seal)).is_err());
        }
    }
}
