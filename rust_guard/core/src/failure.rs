//! What a failure means for the job: a table of codes, declared once.

/// What may be done about a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FailureClass {
    /// The same may work later, on any slot.
    Retryable,
    /// It may work on another slot; this one should be avoided.
    RetryableElsewhere,
    /// It will never work: end the job.
    Permanent,
    /// Two claimants for one thing: skip, and tell the operator.
    Conflict,
}

impl FailureClass {
    /// Stable name, as it is stored and logged.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Retryable => "retryable",
            Self::RetryableElsewhere => "retryable_elsewhere",
            Self::Permanent => "permanent",
            Self::Conflict => "conflict",
        }
    }
}

/// Every failure code and its class. A code may be added, never renamed.
pub const FAILURE_CODES: &[(&str, FailureClass)] = &[
    // The render
    ("out_of_memory", FailureClass::RetryableElsewhere),
    ("render_crashed", FailureClass::Retryable),
    ("render_stuck", FailureClass::RetryableElsewhere),
    ("bad_output", FailureClass::Retryable),
    ("invalid_spec", FailureClass::Permanent),
    ("model_unavailable", FailureClass::RetryableElsewhere),
    // The slot
    ("slot_fenced", FailureClass::Retryable),
    ("too_many_starts", FailureClass::RetryableElsewhere),
    // The store
    ("store_unavailable", FailureClass::Retryable),
    ("store_unsafe", FailureClass::RetryableElsewhere),
    ("corrupt_record", FailureClass::Retryable),
    // The order of an attempt's life
    ("out_of_order", FailureClass::Retryable),
    ("stale_attempt", FailureClass::Retryable),
    ("claim_lost", FailureClass::Retryable),
    // The job's identity
    ("duplicate_claim", FailureClass::Conflict),
    ("claim_conflict", FailureClass::Conflict),
    ("invalid_id", FailureClass::Permanent),
    ("attempts_exhausted", FailureClass::Permanent),
    // Whatever nobody has named yet
    ("unknown", FailureClass::Retryable),
];

/// The class of a failure code; a code that is not in the table is `unknown`.
#[must_use]
pub fn classify(code: &str) -> FailureClass {
    FAILURE_CODES
        .iter()
        .find(|(name, _)| *name == code)
        .map_or(FailureClass::Retryable, |(_, class)| *class)
}
