//! Claims: every pair of claims has one answer, and stored bytes are never trusted.

use guard_core::claim::{
    ClaimRecord, Denied, RecordRef, Standing, decide, fruitless, start_is_ours, start_json,
};
use guard_core::ids::{Digest, JobId, Ordinal, PoolIncarnation, PutId, TenantId};
use guard_core::keys::Subject;
use guard_core::record::Corrupt;
use proptest::prelude::*;

fn uuid(n: u8) -> String {
    format!("00000000-0000-4000-8000-0000000000{n:02x}")
}

fn claim(tenant: u8, spec: u8, offset: u8, put: u8) -> ClaimRecord {
    ClaimRecord {
        subject: Subject {
            pool_incarnation: PoolIncarnation::new(&uuid(1)).unwrap(),
            tenant_id: TenantId::new(&format!("tenant-{tenant}")).unwrap(),
            job_id: JobId::new(&uuid(2)).unwrap(),
            attempt: Ordinal::new("attempt", 3).unwrap(),
        },
        record: RecordRef::new("ttv.pool.mochi-1.assignments", 4, offset.into()).unwrap(),
        spec_digest: Digest::new(&format!("{spec:02x}").repeat(32)).unwrap(),
        put_id: PutId::new(&uuid(put)).unwrap(),
    }
}

#[test]
fn ones_own_put_id_means_that_the_refused_put_had_won() {
    assert_eq!(
        decide(&claim(1, 1, 1, 1), &claim(1, 1, 1, 1)),
        Ok(Standing::Won)
    );
}

#[test]
fn the_same_record_resumes() {
    assert_eq!(
        decide(&claim(1, 1, 1, 2), &claim(1, 1, 1, 1)),
        Ok(Standing::Resumed)
    );
}

#[test]
fn another_record_is_a_duplicate_and_is_named() {
    let held = claim(1, 1, 1, 1);
    assert_eq!(
        decide(&claim(1, 1, 2, 2), &held),
        Err(Denied::Duplicate(held.record.clone()))
    );
}

#[test]
fn another_spec_or_tenant_is_a_conflict_even_from_the_same_record() {
    assert_eq!(
        decide(&claim(1, 2, 1, 2), &claim(1, 1, 1, 1)),
        Err(Denied::Conflict("spec"))
    );
    assert_eq!(
        decide(&claim(2, 1, 1, 2), &claim(1, 1, 1, 1)),
        Err(Denied::Conflict("tenant"))
    );
}

#[test]
fn a_claim_under_a_key_that_is_not_its_own_is_corrupt() {
    let ours = claim(1, 1, 1, 1);
    let mut held = ours.clone();
    held.subject.job_id = JobId::new(&uuid(9)).unwrap();
    assert_eq!(
        decide(&ours, &held),
        Err(Corrupt::Misplaced("job_id").into())
    );
}

#[test]
fn another_version_and_unknown_fields_are_refused() {
    let text = String::from_utf8(claim(1, 1, 1, 1).to_json()).unwrap();
    let newer = text.replace("\"version\":1", "\"version\":2");
    assert_eq!(
        ClaimRecord::from_json(newer.as_bytes()),
        Err(Corrupt::Version(2))
    );
    let more = text.replace("{\"version\"", "{\"owner\":\"me\",\"version\"");
    assert_eq!(
        ClaimRecord::from_json(more.as_bytes()),
        Err(Corrupt::Malformed)
    );
    let twice = text.replace("{\"version\":1", "{\"version\":1,\"version\":1");
    assert_eq!(
        ClaimRecord::from_json(twice.as_bytes()),
        Err(Corrupt::Malformed)
    );
}

#[test]
fn a_record_that_is_too_long_is_not_parsed() {
    assert_eq!(
        ClaimRecord::from_json(&[b' '; 20_000]),
        Err(Corrupt::TooLong)
    );
}

#[test]
fn deep_nesting_does_not_overflow_the_stack() {
    assert_eq!(
        ClaimRecord::from_json("[".repeat(16_000).as_bytes()),
        Err(Corrupt::Malformed)
    );
}

proptest! {
    #[test]
    fn one_claim_is_won_by_one_put_only(a in any::<[u8; 3]>(), b in any::<[u8; 3]>(), puts in any::<(u8, u8)>()) {
        // Few distinct values, so that equal ones meet often.
        let small = |x: [u8; 3], put| claim(x[0] % 2, x[1] % 2, x[2] % 2, put);
        let (ours, held) = (small(a, puts.0), small(b, puts.1));
        let won = decide(&ours, &held) == Ok(Standing::Won);
        prop_assert_eq!(won, ours == held);
    }

    #[test]
    fn the_verdict_follows_from_what_differs(tenant in 0..2u8, spec in 0..2u8, offset in 0..2u8, put in 0..2u8) {
        let verdict = decide(&claim(tenant, spec, offset, put), &claim(0, 0, 0, 0));
        match (tenant, spec, offset, put) {
            (1, ..) => prop_assert_eq!(verdict, Err(Denied::Conflict("tenant"))),
            (_, 1, ..) => prop_assert_eq!(verdict, Err(Denied::Conflict("spec"))),
            (_, _, 1, _) => prop_assert!(matches!(verdict, Err(Denied::Duplicate(_)))),
            (.., 1) => prop_assert_eq!(verdict, Ok(Standing::Resumed)),
            _ => prop_assert_eq!(verdict, Ok(Standing::Won)),
        }
    }

    #[test]
    fn what_is_written_is_read_back(tenant: u8, spec: u8, offset: u8, put: u8) {
        let written = claim(tenant, spec, offset, put);
        prop_assert_eq!(ClaimRecord::from_json(&written.to_json()), Ok(written));
    }

    #[test]
    fn arbitrary_bytes_never_panic_and_are_never_a_claim(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        prop_assert!(ClaimRecord::from_json(&bytes).is_err());
        prop_assert!(!start_is_ours(&bytes, &PutId::new(&uuid(1)).unwrap()));
    }

    #[test]
    fn a_damaged_claim_is_refused(at: prop::sample::Index, byte: u8, cut: prop::sample::Index) {
        let whole = claim(1, 1, 1, 1).to_json();
        let mut damaged = whole.clone();
        damaged[at.index(whole.len())] = byte;
        if damaged != whole {
            prop_assert!(ClaimRecord::from_json(&damaged).is_err());
        }
        prop_assert!(ClaimRecord::from_json(&whole[..cut.index(whole.len())]).is_err());
    }
}

#[test]
fn a_claim_without_its_check_is_refused() {
    let text = String::from_utf8(claim(1, 1, 1, 1).to_json()).unwrap();
    let (old, _) = text.split_once(",\"check\"").unwrap();
    let old = format!("{old}}}");
    assert_eq!(
        ClaimRecord::from_json(old.as_bytes()),
        Err(Corrupt::Malformed)
    );
}

#[test]
fn only_what_came_after_the_last_checkpoint_is_fruitless() {
    let start = |number| Ordinal::new("start", number).unwrap();
    assert_eq!(fruitless(start(7), []), 7);
    assert_eq!(fruitless(start(7), [start(2), start(5), start(3)]), 2);
    assert_eq!(fruitless(start(7), [start(7)]), 0);
    assert_eq!(fruitless(start(7), [start(9)]), 0);
}

#[test]
fn a_start_marker_knows_its_writer() {
    let (mine, other) = (PutId::new(&uuid(1)).unwrap(), PutId::new(&uuid(2)).unwrap());
    assert!(start_is_ours(&start_json(&mine), &mine));
    assert!(!start_is_ours(&start_json(&other), &mine));
}
