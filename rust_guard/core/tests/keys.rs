//! Keys: none leaves its prefix, and each is read back as what it was made from.

use guard_core::ids::{JobId, Ordinal, PoolIncarnation, TenantId};
use guard_core::keys::Subject;
use proptest::prelude::*;

fn uuid() -> impl Strategy<Value = String> {
    "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
}

fn subject() -> impl Strategy<Value = Subject> {
    let tenant = prop_oneof![any::<String>(), "[A-Za-z0-9._-]{1,64}"];
    (uuid(), tenant, uuid(), 1..=i64::from(i32::MAX)).prop_filter_map(
        "not a tenant",
        |(pool, tenant, job, attempt)| {
            Some(Subject {
                pool_incarnation: PoolIncarnation::new(&pool).ok()?,
                tenant_id: TenantId::new(&tenant).ok()?,
                job_id: JobId::new(&job).ok()?,
                attempt: Ordinal::new("attempt", attempt).ok()?,
            })
        },
    )
}

proptest! {
    #[test]
    fn a_key_has_its_prefix_and_no_odd_segment(subject in subject(), start in 1..1000i64) {
        let start = Ordinal::new("start", start).unwrap();
        let keys = [
            (subject.claim_key(), "claims", 4),
            (subject.start_key(start), "starts", 5),
            (subject.video_key(subject.attempt, start), "videos", 5),
            (subject.seal_key(subject.attempt, start), "videos", 5),
            (subject.conditioning_key(subject.attempt, start), "checkpoints", 6),
        ];
        for (key, root, depth) in keys {
            let segments: Vec<_> = key.split('/').collect();
            prop_assert_eq!(segments[0], root);
            prop_assert_eq!(segments.len(), depth);
            prop_assert!(segments.iter().all(|s| !s.is_empty() && *s != "." && *s != ".."));
            prop_assert!(key.is_ascii() && key.len() < 400);
        }
    }

    #[test]
    fn keys_are_read_back(subject in subject(), attempt in 1..1000i64, start in 1..1000i64) {
        let attempt = Ordinal::new("attempt", attempt).unwrap();
        let start = Ordinal::new("start", start).unwrap();
        prop_assert_eq!(subject.parse_seal_key(&subject.seal_key(attempt, start)), Some((attempt, start)));
        prop_assert_eq!(subject.parse_seal_key(&subject.video_key(attempt, start)), None);
        prop_assert_eq!(subject.parse_seal_key(&subject.manifest_key(attempt, start)), None);
        prop_assert_eq!(subject.parse_start_key(&subject.start_key(start)), Some(start));
    }

    #[test]
    fn a_strangers_key_is_not_ours(subject in subject(), name in ".{0,40}") {
        if let Some((attempt, start)) = subject.parse_seal_key(&format!("{}/{name}", subject.videos_prefix())) {
            prop_assert_eq!(&name, &format!("{attempt}-{start}.json"));
        }
        prop_assert_eq!(subject.parse_seal_key(&name), None);
    }

    #[test]
    fn two_tenants_never_share_a_key(a in subject(), b in subject()) {
        prop_assume!(a.tenant_id != b.tenant_id);
        prop_assert_ne!(a.video_key(a.attempt, Ordinal::FIRST), b.video_key(b.attempt, Ordinal::FIRST));
    }
}

#[test]
fn a_key_with_leading_zeros_or_signs_is_not_ours() {
    let id = "00000000-0000-4000-8000-000000000001";
    let subject = Subject {
        pool_incarnation: PoolIncarnation::new(id).unwrap(),
        tenant_id: TenantId::new("a").unwrap(),
        job_id: JobId::new(id).unwrap(),
        attempt: Ordinal::FIRST,
    };
    let prefix = subject.videos_prefix();
    for name in [
        "01-1.json",
        "+1-1.json",
        "0-1.json",
        "1-.json",
        "1-1.json.json",
        "1.json",
        "9999999999-1.json",
    ] {
        assert_eq!(
            subject.parse_seal_key(&format!("{prefix}/{name}")),
            None,
            "{name}"
        );
    }
}
