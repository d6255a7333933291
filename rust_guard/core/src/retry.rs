//! When a failed job is tried again: full jitter, drawn from the job's id, so a fold that is
//! replayed decides the same.
//!
//! Full jitter: the delay is uniform in `0..=min(cap, base * 2^(attempt - 1))`
//! (M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015).

use crate::failure::{FailureClass, classify};
use crate::record::fnv1a;

/// Bounds of the backoff, and how many attempts a failure of each class may cost in all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RetryPolicy {
    /// Ceiling of the first delay, in milliseconds.
    pub base_ms: u64,
    /// Ceiling of every delay, in milliseconds.
    pub cap_ms: u64,
    /// Attempts after which a retryable failure ends the job.
    pub retryable: u32,
    /// Attempts after which a failure that is retryable elsewhere ends the job.
    pub elsewhere: u32,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            base_ms: 500,
            cap_ms: 60_000,
            retryable: 5,
            elsewhere: 3,
        }
    }
}

/// What to do about a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryDecision {
    /// Try again, not before `delay_ms` from the failure.
    Retry {
        /// Milliseconds to wait.
        delay_ms: u64,
        /// Whether the slot that failed should be avoided.
        elsewhere: bool,
    },
    /// End the job.
    Fail,
}

/// Decides about attempt number `attempt` (from 1; the number of attempts that failed, this one
/// included), which ended with failure `code`.
///
/// Deterministic: the draw is splitmix64 over FNV-1a of the job id's bytes, advanced by the attempt.
#[must_use]
pub fn retry(code: &str, attempt: u32, job_id: &str, policy: &RetryPolicy) -> RetryDecision {
    let class = classify(code);
    let limit = match class {
        FailureClass::Retryable => policy.retryable,
        FailureClass::RetryableElsewhere => policy.elsewhere,
        FailureClass::Permanent | FailureClass::Conflict => return RetryDecision::Fail,
    };
    if attempt >= limit {
        return RetryDecision::Fail;
    }
    RetryDecision::Retry {
        delay_ms: uniform(draw(job_id, attempt), ceiling(attempt, policy)),
        elsewhere: class == FailureClass::RetryableElsewhere,
    }
}

/// The longest delay after attempt `attempt`, in milliseconds.
#[must_use]
pub fn ceiling(attempt: u32, policy: &RetryPolicy) -> u64 {
    let doublings = attempt.saturating_sub(1);
    let factor = 1_u64.checked_shl(doublings).unwrap_or(u64::MAX);
    policy.base_ms.saturating_mul(factor).min(policy.cap_ms)
}

/// Maps 64 random bits onto `0..=top` (Lemire's multiply-shift, without rejection: the bias is
/// below 2^-40 for delays of hours).
fn uniform(bits: u64, top: u64) -> u64 {
    let wide = u128::from(bits) * (u128::from(top) + 1);
    u64::try_from(wide >> 64).unwrap_or(top)
}

/// FNV-1a 64 of `job_id`, then splitmix64's output for the state advanced `attempt` times.
fn draw(job_id: &str, attempt: u32) -> u64 {
    let seed = fnv1a(job_id.as_bytes());
    let step = u64::from(attempt).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut z = seed.wrapping_add(step);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
