//! Values that cross to Python, and the pure functions on them.

use guard_core::budget::{BudgetPolicy, take};
use guard_core::container::{Expected, check};
use guard_core::retry::RetryDecision as Decision;
use guard_core::{failure, retry as policy};
use guard_store::GuardError;
use pyo3::prelude::*;

use crate::errors::raise;

/// What may be done about a failure.
#[pyclass(module = "rust_guard", frozen, eq, hash)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FailureClass {
    /// The same may work later, on any slot.
    #[pyo3(name = "RETRYABLE")]
    Retryable,
    /// It may work on another slot.
    #[pyo3(name = "RETRYABLE_ELSEWHERE")]
    RetryableElsewhere,
    /// It will never work.
    #[pyo3(name = "PERMANENT")]
    Permanent,
    /// Two claimants for one thing.
    #[pyo3(name = "CONFLICT")]
    Conflict,
}

impl From<failure::FailureClass> for FailureClass {
    fn from(class: failure::FailureClass) -> Self {
        match class {
            failure::FailureClass::Retryable => Self::Retryable,
            failure::FailureClass::RetryableElsewhere => Self::RetryableElsewhere,
            failure::FailureClass::Permanent => Self::Permanent,
            failure::FailureClass::Conflict => Self::Conflict,
        }
    }
}

impl From<FailureClass> for failure::FailureClass {
    fn from(class: FailureClass) -> Self {
        match class {
            FailureClass::Retryable => Self::Retryable,
            FailureClass::RetryableElsewhere => Self::RetryableElsewhere,
            FailureClass::Permanent => Self::Permanent,
            FailureClass::Conflict => Self::Conflict,
        }
    }
}

#[pymethods]
impl FailureClass {
    /// Stable name: `retryable`, `retryable_elsewhere`, `permanent` or `conflict`.
    #[getter]
    fn value(&self) -> &'static str {
        failure::FailureClass::from(*self).name()
    }

    fn __str__(&self) -> &'static str {
        self.value()
    }
}

/// Where the assignment record lies in Kafka.
#[pyclass(module = "rust_guard", frozen, get_all, eq, hash, from_py_object)]
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Record {
    /// Topic name.
    topic: String,
    /// Partition number.
    partition: i32,
    /// Offset in the partition.
    offset: i64,
}

#[pymethods]
impl Record {
    #[new]
    const fn new(topic: String, partition: i32, offset: i64) -> Self {
        Self {
            topic,
            partition,
            offset,
        }
    }

    fn __repr__(&self) -> String {
        format!(
            "Record({:?}, {}, {})",
            self.topic, self.partition, self.offset
        )
    }
}

impl Record {
    /// Checked, for the core.
    pub fn checked(&self) -> Result<guard_core::claim::RecordRef, GuardError> {
        Ok(guard_core::claim::RecordRef::new(
            &self.topic,
            self.partition,
            self.offset,
        )?)
    }
}

/// The right to work on one attempt at a job.
#[pyclass(module = "rust_guard", frozen)]
#[derive(Debug)]
pub struct Claim(pub guard_store::Claim);

#[pymethods]
impl Claim {
    /// The job.
    #[getter]
    fn job_id(&self) -> &str {
        self.0.subject.job_id.as_str()
    }

    /// Its owner.
    #[getter]
    fn tenant_id(&self) -> &str {
        self.0.subject.tenant_id.as_str()
    }

    /// Life of the pool's state.
    #[getter]
    fn pool_incarnation(&self) -> &str {
        self.0.subject.pool_incarnation.as_str()
    }

    /// Digest of the job's canonical spec.
    #[getter]
    fn spec_digest(&self) -> &str {
        self.0.spec_digest.as_str()
    }

    /// Which attempt, from 1.
    #[getter]
    const fn attempt(&self) -> u32 {
        self.0.subject.attempt.get()
    }

    /// Which start of that attempt, from 1: no other process has it.
    #[getter]
    const fn start(&self) -> u32 {
        self.0.start.get()
    }

    /// Whether the same record was claimed before.
    #[getter]
    fn resumed(&self) -> bool {
        self.0.standing == guard_core::claim::Standing::Resumed
    }

    fn __repr__(&self) -> String {
        format!(
            "Claim({}, attempt={}, start={})",
            self.job_id(),
            self.attempt(),
            self.start()
        )
    }
}

/// Bounds of the backoff and of the number of attempts.
#[pyclass(module = "rust_guard", frozen, get_all, eq, hash, from_py_object)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RetryPolicy {
    /// Ceiling of the first delay, milliseconds.
    base_ms: u64,
    /// Ceiling of every delay, milliseconds.
    cap_ms: u64,
    /// Attempts a retryable failure may cost.
    retryable: u32,
    /// Attempts a failure that is retryable elsewhere may cost.
    elsewhere: u32,
}

#[pymethods]
impl RetryPolicy {
    #[new]
    #[pyo3(signature = (base_ms=500, cap_ms=60_000, retryable=5, elsewhere=3))]
    const fn new(base_ms: u64, cap_ms: u64, retryable: u32, elsewhere: u32) -> Self {
        Self {
            base_ms,
            cap_ms,
            retryable,
            elsewhere,
        }
    }

    fn __repr__(&self) -> String {
        format!(
            "RetryPolicy(base_ms={}, cap_ms={}, retryable={}, elsewhere={})",
            self.base_ms, self.cap_ms, self.retryable, self.elsewhere
        )
    }
}

/// What to do about a failed attempt.
#[pyclass(module = "rust_guard", frozen, get_all, eq)]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryDecision {
    /// `retry` or `fail`.
    action: &'static str,
    /// Milliseconds to wait before the next attempt; 0 when there is none.
    delay_ms: u64,
    /// Whether the slot that failed should be avoided.
    elsewhere: bool,
}

#[pymethods]
impl RetryDecision {
    fn __repr__(&self) -> String {
        let elsewhere = if self.elsewhere { "True" } else { "False" };
        format!(
            "RetryDecision({:?}, delay_ms={}, elsewhere={elsewhere})",
            self.action, self.delay_ms
        )
    }
}

/// The class of a failure code; a code that is not in the table is `unknown`.
#[pyfunction]
pub fn classify(code: &str) -> FailureClass {
    failure::classify(code).into()
}

/// Every failure code with its class.
#[pyfunction]
pub fn failure_codes() -> Vec<(&'static str, FailureClass)> {
    failure::FAILURE_CODES
        .iter()
        .map(|(code, class)| (*code, (*class).into()))
        .collect()
}

/// Decides about attempt number `attempt`, which ended with failure `code`.
#[pyfunction]
#[pyo3(signature = (code, attempt, job_id, policy=None))]
pub fn retry(code: &str, attempt: u32, job_id: &str, policy: Option<RetryPolicy>) -> RetryDecision {
    let bounds = policy.map_or_else(policy::RetryPolicy::default, |given| policy::RetryPolicy {
        base_ms: given.base_ms,
        cap_ms: given.cap_ms,
        retryable: given.retryable,
        elsewhere: given.elsewhere,
    });
    match policy::retry(code, attempt, job_id, &bounds) {
        Decision::Retry {
            delay_ms,
            elsewhere,
        } => RetryDecision {
            action: "retry",
            delay_ms,
            elsewhere,
        },
        Decision::Fail => RetryDecision {
            action: "fail",
            delay_ms: 0,
            elsewhere: false,
        },
    }
}

/// Reserves the next retry of a pool's budget: the new state, and the milliseconds to wait.
#[pyfunction]
#[pyo3(signature = (tat_ms, now_ms, *, interval_ms=1_000, burst=30))]
pub fn retry_budget(tat_ms: u64, now_ms: u64, interval_ms: u64, burst: u32) -> (u64, u64) {
    take(tat_ms, now_ms, &BudgetPolicy { interval_ms, burst })
}

/// Checks the bytes of an MP4 as `Guard.seal` does, without a store.
#[pyfunction]
pub fn check_video(
    py: Python<'_>,
    data: &[u8],
    frames: u32,
    fps: u32,
    width: u32,
    height: u32,
) -> PyResult<()> {
    let expected = Expected {
        frames,
        fps,
        width,
        height,
    };
    guard_store::mp4::contents(data)
        .and_then(|contents| check(&contents, &expected))
        .map_err(|flaw| raise(py, flaw))
}

/// Checks the bytes of a conditioning's safetensors file as `Guard.conditioning` does.
#[pyfunction]
pub fn check_conditioning(py: Python<'_>, data: &[u8]) -> PyResult<()> {
    guard_core::tensors::check_conditioning(data).map_err(|flaw| raise(py, flaw))
}

/// Checks the bytes of a checkpoint's safetensors file as `Guard.checkpoint` does, without a store.
#[pyfunction]
pub fn check_checkpoint(py: Python<'_>, data: &[u8]) -> PyResult<()> {
    guard_core::tensors::check(data).map_err(|flaw| raise(py, flaw))
}
