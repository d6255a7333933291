//! The budget of retries: bounded in every window, total, and not to be fooled by a clock.

use guard_core::budget::{BudgetPolicy, LONGEST_MS, take};
use proptest::prelude::*;

/// When each retry begins, of those asked for at `asked`.
fn begins(asked: &[u64], policy: &BudgetPolicy) -> Vec<u64> {
    let mut tat = 0;
    asked
        .iter()
        .map(|now| {
            let (next, delay) = take(tat, *now, policy);
            tat = next;
            now + delay
        })
        .collect()
}

const POLICY: BudgetPolicy = BudgetPolicy {
    interval_ms: 100,
    burst: 3,
};

#[test]
fn a_burst_begins_at_once_and_the_rest_one_by_one() {
    assert_eq!(
        begins(&[1_000; 6], &POLICY),
        [1_000, 1_000, 1_000, 1_100, 1_200, 1_300]
    );
}

#[test]
fn a_quiet_time_gives_the_burst_back_and_no_more() {
    let asked = [1_000, 1_000, 1_000, 1_000, 9_000, 9_000, 9_000, 9_000];
    assert_eq!(
        begins(&asked, &POLICY)[4..],
        [9_000, 9_000, 9_000, 9_100],
        "eight seconds of silence are worth one burst"
    );
}

#[test]
fn a_burst_of_none_is_a_burst_of_one() {
    let one = BudgetPolicy { burst: 1, ..POLICY };
    let none = BudgetPolicy { burst: 0, ..POLICY };
    assert_eq!(begins(&[5; 4], &none), begins(&[5; 4], &one));
}

#[test]
fn free_retries_never_wait() {
    let free = BudgetPolicy {
        interval_ms: 0,
        ..POLICY
    };
    assert_eq!(begins(&[7; 50], &free), [7; 50]);
}

#[test]
fn a_clock_that_jumped_to_the_end_of_time_costs_an_hour_at_most() {
    let (tat, delay) = take(0, u64::MAX, &POLICY);
    assert_eq!((tat, delay), (u64::MAX, 0));
    let (tat, delay) = take(tat, 1_000, &POLICY);
    assert!(delay <= LONGEST_MS, "{delay}");
    // The true clock is believed again from then on.
    assert_eq!(tat, 1_000 + LONGEST_MS + 100);
    assert_eq!(take(tat, 2 * LONGEST_MS, &POLICY).1, 0);
}

proptest! {
    #[test]
    fn no_window_has_more_than_the_burst_and_its_share(
        asked in prop::collection::vec(0_u64..20_000, 1..200),
        interval_ms in 1_u64..500,
        burst in 1_u32..20,
        sorted in any::<bool>(),
    ) {
        // Also with a clock that runs to and fro.
        let mut asked = asked;
        if sorted {
            asked.sort_unstable();
        }
        let policy = BudgetPolicy { interval_ms, burst };
        let mut begun = begins(&asked, &policy);
        begun.sort_unstable();
        for (first, from) in begun.iter().enumerate() {
            for (last, until) in begun.iter().enumerate().skip(first) {
                let most = u64::from(burst) + (until - from) / interval_ms;
                prop_assert!((last - first + 1) as u64 <= most, "{from}..={until}");
            }
        }
    }

    #[test]
    fn every_input_has_an_answer(
        tat in any::<u64>(), now in any::<u64>(), interval_ms in any::<u64>(), burst in any::<u32>(),
    ) {
        let (next, delay) = take(tat, now, &BudgetPolicy { interval_ms, burst });
        prop_assert!(next >= now);
        prop_assert!(delay <= LONGEST_MS);
    }

    #[test]
    fn a_fuller_budget_never_makes_a_retry_earlier(
        tat in any::<u64>(), more in any::<u64>(), now in any::<u64>(),
        interval_ms in any::<u64>(), burst in any::<u32>(),
    ) {
        let policy = BudgetPolicy { interval_ms, burst };
        let (less, emptier) = take(tat, now, &policy);
        let (greater, fuller) = take(tat.saturating_add(more), now, &policy);
        prop_assert!(less <= greater && emptier <= fuller);
    }

    #[test]
    fn nobody_waits_while_the_budget_is_full(
        tat in any::<u64>(), later in any::<u64>(), interval_ms in any::<u64>(), burst in any::<u32>(),
    ) {
        let (_, delay) = take(tat, tat.saturating_add(later), &BudgetPolicy { interval_ms, burst });
        prop_assert_eq!(delay, 0);
    }
}
