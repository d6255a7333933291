//! The retry policy: bounded, spread, and the same everywhere.

use guard_core::failure::{FAILURE_CODES, FailureClass, classify};
use guard_core::retry::{RetryDecision, RetryPolicy, ceiling, retry};
use proptest::prelude::*;

const JOB: &str = "7f2c1f0e-6a0b-4c55-9d0e-2f3f6b1c9a10";

#[test]
fn codes_are_declared_once() {
    for (index, (code, class)) in FAILURE_CODES.iter().enumerate() {
        assert_eq!(classify(code), *class);
        assert!(
            FAILURE_CODES[index + 1..]
                .iter()
                .all(|(other, _)| other != code),
            "{code} twice"
        );
    }
}

#[test]
fn an_unknown_code_is_treated_as_unknown() {
    assert_eq!(classify("never heard of it"), classify("unknown"));
}

#[test]
fn permanent_failures_and_conflicts_end_the_job_at_once() {
    for (code, class) in FAILURE_CODES {
        if matches!(class, FailureClass::Permanent | FailureClass::Conflict) {
            assert_eq!(
                retry(code, 1, JOB, &RetryPolicy::default()),
                RetryDecision::Fail,
                "{code}"
            );
        }
    }
}

#[test]
fn each_class_has_its_limit() {
    let policy = RetryPolicy::default();
    let ends = |code, attempt| retry(code, attempt, JOB, &policy) == RetryDecision::Fail;
    assert!(!ends("render_crashed", 4) && ends("render_crashed", 5));
    assert!(!ends("out_of_memory", 2) && ends("out_of_memory", 3));
}

#[test]
fn golden_delays_hold_on_every_machine() {
    // Computed once by an independent implementation in Python; a change would break replays.
    let policy = RetryPolicy::default();
    let delays: Vec<_> = (1..=4)
        .map(
            |attempt| match retry("render_crashed", attempt, JOB, &policy) {
                RetryDecision::Retry {
                    delay_ms,
                    elsewhere: false,
                } => delay_ms,
                other => panic!("{other:?}"),
            },
        )
        .collect();
    assert_eq!(delays, GOLDEN);
}

const GOLDEN: [u64; 4] = [471, 443, 1687, 1229];

#[test]
fn delays_of_many_jobs_are_spread_over_the_whole_range() {
    let policy = RetryPolicy {
        base_ms: 1000,
        ..RetryPolicy::default()
    };
    let mut tenths = [0_u32; 10];
    for job in 0..10_000 {
        if let RetryDecision::Retry { delay_ms, .. } =
            retry("unknown", 1, &job.to_string(), &policy)
        {
            tenths[usize::try_from(delay_ms.min(999) / 100).unwrap()] += 1;
        }
    }
    assert!(
        tenths.iter().all(|count| (850..1150).contains(count)),
        "{tenths:?}"
    );
}

proptest! {
    #[test]
    fn a_delay_never_exceeds_its_ceiling_nor_the_cap(
        code in proptest::sample::select(FAILURE_CODES),
        attempt: u32,
        job in ".{0,64}",
        base_ms: u64,
        cap_ms: u64,
        limits: (u32, u32),
    ) {
        let policy = RetryPolicy { base_ms, cap_ms, retryable: limits.0, elsewhere: limits.1 };
        let decision = retry(code.0, attempt, &job, &policy);
        prop_assert_eq!(decision, retry(code.0, attempt, &job, &policy));
        if let RetryDecision::Retry { delay_ms, elsewhere } = decision {
            prop_assert!(delay_ms <= ceiling(attempt, &policy));
            prop_assert!(ceiling(attempt, &policy) <= cap_ms);
            prop_assert_eq!(elsewhere, code.1 == FailureClass::RetryableElsewhere);
        }
    }

    #[test]
    fn the_ceiling_never_shrinks(attempt in 0..u32::MAX, base_ms: u64, cap_ms: u64) {
        let policy = RetryPolicy { base_ms, cap_ms, ..RetryPolicy::default() };
        prop_assert!(ceiling(attempt, &policy) <= ceiling(attempt + 1, &policy));
    }
}
