//! How long a call may still take, and how long it waits before it tries again.

use std::time::Duration;

use tokio::time::Instant;

/// A single request gets this share of the call's time, so that a silent one can be repeated.
const REQUESTS_PER_CALL: u32 = 3;
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// The end of one call's time.
#[derive(Debug, Clone, Copy)]
pub struct Deadline {
    at: Instant,
    request: Duration,
}

impl Deadline {
    /// A deadline `timeout` from now.
    #[must_use]
    pub fn after(timeout: Duration) -> Self {
        Self {
            at: Instant::now() + timeout,
            request: timeout / REQUESTS_PER_CALL,
        }
    }

    /// Time left to the call.
    #[must_use]
    pub fn left(&self) -> Duration {
        self.at.saturating_duration_since(Instant::now())
    }

    /// Time that the next request may take.
    #[must_use]
    pub fn request(&self) -> Duration {
        self.request.min(self.left())
    }

    /// Waits before try number `tries` + 1, full jitter; false when no time is left for another.
    pub async fn pause(&self, tries: u32) -> bool {
        let ceiling = FIRST_PAUSE
            .saturating_mul(1 << tries.min(10))
            .min(LONGEST_PAUSE);
        let pause = ceiling.mul_f64(fastrand::f64());
        if pause >= self.left() {
            return false;
        }
        tokio::time::sleep(pause).await;
        true
    }
}
