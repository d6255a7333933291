//! Checkpoints: read back as written, bound to their place, ordered, refused when damaged.

mod cases;

use guard_core::checkpoint::{Checkpoint, Conditioning, Unusable, candidates, progress, rank};
use guard_core::ids::{Digest, Fingerprint, JobId, Ordinal, PoolIncarnation, TenantId};
use guard_core::keys::{Place, Subject};
use guard_core::record::Corrupt;
use proptest::prelude::*;

const JOB: &str = "00000000-0000-4000-8000-000000000001";
const OTHER: &str = "00000000-0000-4000-8000-000000000002";

fn subject(tenant: &str, job: &str, incarnation: &str) -> Subject {
    Subject {
        pool_incarnation: PoolIncarnation::new(incarnation).unwrap(),
        tenant_id: TenantId::new(tenant).unwrap(),
        job_id: JobId::new(job).unwrap(),
        attempt: Ordinal::FIRST,
    }
}

fn ours() -> Subject {
    subject("a", JOB, JOB)
}

fn place(step: i64, attempt: i64, start: i64) -> Place {
    Place {
        step: Ordinal::new("step", step).unwrap(),
        attempt: Ordinal::new("attempt", attempt).unwrap(),
        start: Ordinal::new("start", start).unwrap(),
    }
}

fn checkpoint(place: Place, fingerprint: &str) -> Checkpoint {
    Checkpoint {
        place,
        total: Ordinal::new("total", 64).unwrap(),
        spec_digest: Digest::new(&"a1".repeat(32)).unwrap(),
        fingerprint: Fingerprint::new(fingerprint).unwrap(),
        sha256: Digest::new(&"b2".repeat(32)).unwrap(),
        size: 4_300_000,
        conditioning: None,
    }
}

fn conditioning(size: u64) -> Conditioning {
    Conditioning {
        sha256: Digest::new(&"c3".repeat(32)).unwrap(),
        size,
    }
}

#[test]
fn a_record_without_a_conditioning_is_read() {
    let old = format!(
        concat!(
            r#"{{"version":1,"key":"checkpoints/a/{id}/{id}/1-2/00008.safetensors","attempt":1,"#,
            r#""start":2,"step":8,"total":64,"spec_digest":"{spec}","fingerprint":"h100","#,
            r#""sha256":"{sha}","size":4300000,"check":"4758aa9cfa112b57"}}"#
        ),
        id = JOB,
        spec = "a1".repeat(32),
        sha = "b2".repeat(32),
    );
    let at = place(8, 1, 2);
    assert_eq!(
        Checkpoint::from_json(old.as_bytes(), &ours(), at),
        Ok(checkpoint(at, "h100"))
    );
}

#[test]
fn half_a_conditioning_is_none() {
    let at = place(8, 1, 1);
    let whole = Checkpoint {
        conditioning: Some(conditioning(7)),
        ..checkpoint(at, "h100")
    };
    let json = String::from_utf8(whole.to_json(&ours())).unwrap();
    for part in [
        r#""conditioning_size":7,"#.to_owned(),
        format!(r#""conditioning_sha256":"{}","#, "c3".repeat(32)),
    ] {
        let half = json.replace(&part, "");
        assert_ne!(half, json);
        let read = Checkpoint::from_json(half.as_bytes(), &ours(), at);
        assert_eq!(read, Err(Corrupt::Malformed));
    }
}

#[test]
fn a_record_of_another_job_or_place_is_refused() {
    let at = place(8, 1, 2);
    let json = checkpoint(at, "h100").to_json(&ours());
    for stranger in [
        subject("b", JOB, JOB),
        subject("a", OTHER, JOB),
        subject("a", JOB, OTHER),
    ] {
        assert_eq!(
            Checkpoint::from_json(&json, &stranger, at),
            Err(Corrupt::Misplaced("checkpoint"))
        );
    }
    for (elsewhere, what) in [
        (place(9, 1, 2), "step"),
        (place(8, 2, 2), "attempt"),
        (place(8, 1, 3), "start"),
    ] {
        assert_eq!(
            Checkpoint::from_json(&json, &ours(), elsewhere),
            Err(Corrupt::Misplaced(what))
        );
    }
}

#[test]
fn a_checkpoint_serves_its_own_spec_only() {
    let found = checkpoint(place(1, 1, 1), "h100");
    assert_eq!(found.serves(&found.spec_digest), Ok(()));
    assert_eq!(found.serves(&found.sha256), Err(Unusable::OtherSpec));
}

#[test]
fn a_step_is_between_one_and_the_total() {
    assert!(progress(1, 1).is_ok() && progress(64, 64).is_ok());
    for (step, total, field) in [
        (0, 64, "step"),
        (-1, 64, "step"),
        (65, 64, "step"),
        (1, 0, "total"),
        (1, 1 << 31, "total"),
        (i64::MIN, i64::MAX, "step"),
    ] {
        assert_eq!(progress(step, total).unwrap_err().field, field);
    }
}

#[test]
fn a_size_that_no_checkpoint_has_is_refused() {
    for size in [0, (64 << 20) + 1, u64::MAX] {
        let found = Checkpoint {
            size,
            ..checkpoint(place(8, 1, 1), "h100")
        };
        assert!(matches!(
            Checkpoint::from_json(&found.to_json(&ours()), &ours(), found.place),
            Err(Corrupt::Field(_))
        ));
    }
}

#[test]
fn the_newest_step_comes_first_whoever_made_it() {
    let subject = ours();
    let mut keys = Vec::new();
    for at in [
        place(8, 1, 1),
        place(16, 1, 1),
        place(16, 2, 1),
        place(16, 1, 2),
        place(100_000, 1, 1),
        place(9, 3, 1),
    ] {
        keys.push(subject.checkpoint_record_key(at));
        keys.push(subject.checkpoint_key(at));
    }
    let strangers = [
        self::subject("a", JOB, OTHER).checkpoint_record_key(place(60, 1, 1)),
        format!("{}/1-1/99.json", subject.checkpoints_prefix()),
        format!("{}/1-1/+0099.json", subject.checkpoints_prefix()),
        format!("{}/1-1/00000.json", subject.checkpoints_prefix()),
        format!("{}/00099.json", subject.checkpoints_prefix()),
        format!("{}/1-1/x/00099.json", subject.checkpoints_prefix()),
        String::new(),
    ];
    keys.extend(strangers);
    assert_eq!(
        candidates(&subject, keys.iter().map(String::as_str)),
        [
            place(100_000, 1, 1),
            place(16, 2, 1),
            place(16, 1, 2),
            place(16, 1, 1),
            place(9, 3, 1),
            place(8, 1, 1),
        ]
    );
}

#[test]
fn among_equal_steps_ones_own_fingerprint_is_preferred() {
    let own = Fingerprint::new("h100").unwrap();
    let mut found = vec![
        checkpoint(place(8, 3, 1), "h200"),
        checkpoint(place(8, 1, 1), "h100"),
        checkpoint(place(8, 2, 1), "h100"),
        checkpoint(place(7, 9, 1), "h100"),
    ];
    let order = |found: &[Checkpoint]| -> Vec<_> {
        found.iter().map(|one| one.place.attempt.get()).collect()
    };
    rank(&mut found, Some(&own));
    assert_eq!(order(&found), [2, 1, 3, 9]);
    rank(&mut found, None);
    assert_eq!(order(&found), [3, 2, 1, 9]);
}

#[test]
fn hostile_records_are_typed_errors() {
    let at = place(8, 1, 1);
    let nested = "[".repeat(16_000);
    for bytes in [
        &b""[..],
        b"{}",
        b"[]",
        b"null",
        b"\xff\xfe",
        nested.as_bytes(),
        &[b' '; 20_000],
    ] {
        assert!(Checkpoint::from_json(bytes, &ours(), at).is_err());
    }
}

proptest! {
    #![proptest_config(cases::config())]

    #[test]
    fn what_is_written_is_read_back(
        step in 1..=64i64, attempt in 1..1000i64, start in 1..1000i64,
        size in 1..=64u64 << 20, fingerprint in "[ -~]{1,512}", apart in prop::option::of(1..=64u64 << 20),
    ) {
        let written = Checkpoint {
            size,
            conditioning: apart.map(conditioning),
            ..checkpoint(place(step, attempt, start), &fingerprint)
        };
        let read = Checkpoint::from_json(&written.to_json(&ours()), &ours(), written.place);
        prop_assert_eq!(read, Ok(written));
    }

    #[test]
    fn a_damaged_record_is_refused(at: prop::sample::Index, byte: u8, cut: prop::sample::Index) {
        let written = Checkpoint {
            conditioning: Some(conditioning(4_200_000)),
            ..checkpoint(place(8, 1, 2), "h100/cuda 13/torch 2.15")
        };
        let json = written.to_json(&ours());
        let mut damaged = json.clone();
        damaged[at.index(json.len())] = byte;
        if damaged != json {
            prop_assert!(Checkpoint::from_json(&damaged, &ours(), written.place).is_err());
        }
        let cut = &json[..cut.index(json.len())];
        prop_assert!(Checkpoint::from_json(cut, &ours(), written.place).is_err());
    }

    #[test]
    fn arbitrary_bytes_are_no_record(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        prop_assert!(Checkpoint::from_json(&bytes, &ours(), place(8, 1, 1)).is_err());
    }

    #[test]
    fn keys_are_read_back(step in 1..1_000_000i64, attempt in 1..1000i64, start in 1..1000i64) {
        let (subject, at) = (ours(), place(step, attempt, start));
        prop_assert_eq!(subject.parse_checkpoint_record_key(&subject.checkpoint_record_key(at)), Some(at));
        prop_assert_eq!(subject.parse_checkpoint_record_key(&subject.checkpoint_key(at)), None);
    }

    #[test]
    fn a_strangers_key_is_not_ours(name in ".{0,40}") {
        let subject = ours();
        let key = format!("{}/{name}", subject.checkpoints_prefix());
        if let Some(at) = subject.parse_checkpoint_record_key(&key) {
            prop_assert_eq!(subject.checkpoint_record_key(at), key);
        }
        prop_assert_eq!(subject.parse_checkpoint_record_key(&name), None);
    }
}
