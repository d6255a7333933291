//! A pool's budget of retries: how many may begin in a time, over all its jobs, so that a failing
//! dependency does not turn into a storm of retries.
//!
//! It is the generic cell rate algorithm (ITU-T I.371, annex A), used to reserve instead of to
//! refuse: each retry takes the next free place in time. The whole state is one number, the
//! theoretical arrival time (TAT) of the next retry, so that a fold can keep it and replay it.

/// A place farther ahead than this is the work of a clock that lied: nothing waits longer.
pub const LONGEST_MS: u64 = 3_600_000;

/// What a pool may spend on retries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BudgetPolicy {
    /// Milliseconds that one retry costs; 0: retries are free.
    pub interval_ms: u64,
    /// Retries that may begin at once after a quiet time; 0 counts as 1.
    pub burst: u32,
}

impl Default for BudgetPolicy {
    fn default() -> Self {
        Self {
            interval_ms: 1_000,
            burst: 30,
        }
    }
}

/// Reserves the next retry: the new TAT, and how many milliseconds from `now_ms` it has to wait.
///
/// `tat_ms` is what the last call returned, 0 at first. A retry is put off, never dropped. Whatever
/// the clock says, no window of `w` milliseconds has more than `burst + w / interval_ms` retries, as
/// long as fewer wait than fit into [`LONGEST_MS`]; beyond that the longest wait is kept instead.
#[must_use]
pub fn take(tat_ms: u64, now_ms: u64, policy: &BudgetPolicy) -> (u64, u64) {
    let interval = policy.interval_ms.min(LONGEST_MS);
    let ahead = tat_ms.saturating_sub(now_ms).min(LONGEST_MS);
    let tat = now_ms.saturating_add(ahead);
    let tolerance = interval.saturating_mul(u64::from(policy.burst.saturating_sub(1)));
    (
        tat.saturating_add(interval),
        ahead.saturating_sub(tolerance),
    )
}
