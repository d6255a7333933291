//! What may be deleted of an ended job: what the guard wrote for it, and nothing else.

use guard_core::collect::Ended;
use guard_core::ids::{JobId, Ordinal, PoolIncarnation, TenantId};
use guard_core::keys::{Place, Subject};
use proptest::prelude::*;

const JOB: &str = "00000000-0000-4000-8000-000000000001";
const OTHER: &str = "00000000-0000-4000-8000-000000000002";

fn ordinal(number: u32) -> Ordinal {
    Ordinal::new("number", number.into()).unwrap()
}

fn subject(tenant: &str, job: &str, incarnation: &str, attempt: u32) -> Subject {
    Subject {
        pool_incarnation: PoolIncarnation::new(incarnation).unwrap(),
        tenant_id: TenantId::new(tenant).unwrap(),
        job_id: JobId::new(job).unwrap(),
        attempt: ordinal(attempt),
    }
}

fn ended(keep: Option<&str>) -> Ended {
    let (tenant, job) = (TenantId::new("a").unwrap(), JobId::new(JOB).unwrap());
    Ended::new(tenant, job, keep).unwrap()
}

/// Every key that a start of `subject`'s attempt may write, the claim left out.
fn keys(subject: &Subject, start: u32) -> Vec<String> {
    let place = Place {
        step: ordinal(8),
        attempt: subject.attempt,
        start: ordinal(start),
    };
    let start = place.start;
    vec![
        subject.start_key(start),
        subject.checkpoint_key(place),
        subject.checkpoint_record_key(place),
        subject.conditioning_key(subject.attempt, start),
        subject.video_key(subject.attempt, start),
        subject.seal_key(subject.attempt, start),
        subject.manifest_key(subject.attempt, start),
    ]
}

#[test]
fn everything_that_a_start_writes_may_go_but_the_claim() {
    let ended = ended(None);
    for incarnation in [JOB, OTHER] {
        let subject = subject("a", JOB, incarnation, 2);
        for key in keys(&subject, 3) {
            assert!(ended.may_go(&key), "{key}");
        }
        assert!(!ended.may_go(&subject.claim_key()));
    }
}

#[test]
fn the_video_that_is_named_stays_with_its_seal_and_manifest() {
    let kept = subject("a", JOB, OTHER, 2);
    let ended = ended(Some(&kept.video_key(ordinal(2), ordinal(3))));
    for key in &keys(&kept, 3)[4..] {
        assert!(!ended.may_go(key), "{key}");
    }
    // Of the same numbers in another incarnation, and of other numbers in this one.
    for (subject, start) in [
        (subject("a", JOB, JOB, 2), 3),
        (subject("a", JOB, OTHER, 3), 3),
        (kept, 2),
    ] {
        for key in &keys(&subject, start)[4..] {
            assert!(ended.may_go(key), "{key}");
        }
    }
}

#[test]
fn another_job_is_not_touched() {
    for other in [subject("b", JOB, JOB, 1), subject("a", OTHER, JOB, 1)] {
        for key in &keys(&other, 1)[1..] {
            assert!(!ended(None).may_go(key), "{key}");
        }
    }
    // Start markers carry no tenant: a job id belongs to one.
    assert!(!ended(None).may_go(&subject("a", OTHER, JOB, 1).start_key(ordinal(1))));
}

#[test]
fn what_is_kept_must_be_a_video_of_the_job() {
    let own = subject("a", JOB, JOB, 1);
    let video = own.video_key(ordinal(1), ordinal(1));
    let strangers = [
        String::new(),
        own.seal_key(ordinal(1), ordinal(1)),
        own.manifest_key(ordinal(1), ordinal(1)),
        own.start_key(ordinal(1)),
        own.claim_key(),
        subject("b", JOB, JOB, 1).video_key(ordinal(1), ordinal(1)),
        subject("a", OTHER, JOB, 1).video_key(ordinal(1), ordinal(1)),
        video.replace("1-1", "01-1"),
        video.replace("1-1", "0-1"),
        format!("{video}.mp4"),
        format!("/{video}"),
        format!("{}/../{JOB}/1-1.mp4", own.videos_prefix()),
    ];
    for keep in &strangers {
        let (tenant, job) = (TenantId::new("a").unwrap(), JobId::new(JOB).unwrap());
        let refused = Ended::new(tenant, job, Some(keep)).unwrap_err();
        assert_eq!(refused.field, "keep", "{keep}");
    }
}

#[test]
fn a_strangers_object_below_the_jobs_prefix_stays() {
    let own = subject("a", JOB, JOB, 1);
    for key in [
        format!("{}/notes.txt", own.videos_prefix()),
        format!("{}/1-1.webm", own.videos_prefix()),
        format!("{}/1-1.manifest.json.bak", own.videos_prefix()),
        format!("{}/x/1-1.mp4", own.videos_prefix()),
        format!("videos/a/{JOB}/1-1.mp4"),
        format!("videos/a/{JOB}/not-an-incarnation/1-1.mp4"),
        format!("{}/1-1/8.json", own.checkpoints_prefix()),
        format!("{}/00008.json", own.checkpoints_prefix()),
        format!("{}/conditioning.safetensors", own.checkpoints_prefix()),
        format!("{}/01-1/conditioning.safetensors", own.checkpoints_prefix()),
        format!("starts/{JOB}/{JOB}/1/01"),
        format!("starts/{JOB}/{JOB}/1"),
        "probe/x".to_owned(),
        String::new(),
    ] {
        assert!(!ended(None).may_go(&key), "{key}");
    }
}

#[test]
fn starts_are_looked_for_below_incarnations_alone() {
    let prefix = |folder: &str| ended(None).starts_prefix(folder);
    assert_eq!(
        prefix(&format!("starts/{OTHER}")),
        Some(format!("starts/{OTHER}/{JOB}"))
    );
    for folder in ["starts", "starts/", "starts/..", "claims/x", ""] {
        assert_eq!(prefix(folder), None, "{folder}");
    }
}

proptest! {
    #[test]
    fn whatever_may_go_lies_below_the_jobs_own_prefixes(name in ".{0,60}", at in 0..4usize) {
        let ended = ended(None);
        let prefixes = [ended.videos_prefix(), ended.checkpoints_prefix(), format!("starts/{JOB}/{JOB}"), String::new()];
        let key = format!("{}/{name}", prefixes[at]);
        for key in [&key, &name] {
            if ended.may_go(key) {
                prop_assert!(at < 3);
                let below = prefixes.iter().take(3).any(|prefix| key.starts_with(&format!("{prefix}/")));
                prop_assert!(below, "{}", key);
            }
        }
    }
}
