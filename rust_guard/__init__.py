"""The guard: claims, checkpoints, sealed artifacts, failure classes and the retry policy, in Rust.

A job's way through it::

    guard = Guard(endpoint, bucket, access_key, secret_key)
    guard.probe()                                # once, at start-up
    claim = guard.claim(pool_incarnation, tenant_id, job_id, attempt, record, spec_digest)
    artifact = guard.sealed(claim)               # of an earlier attempt or start
    if artifact is None:
        resumed = guard.latest_checkpoint(claim, path, fingerprint, conditioning_path)
        ...                                      # render on from there; once
        shared = guard.conditioning(claim, conditioning_path)
        ...                                      # and now and then
        guard.checkpoint(claim, path, step, total, fingerprint, shared)
        artifact = guard.seal(claim, path, frames=frames, fps=30, width=width, height=height)
    guard.announce(claim, artifact)              # may it be told?
    ...                                          # commit the terminal event
    guard.release(claim)

Errors::

    GuardError
    ├── StoreUnavailable   retryable             try again later
    ├── StoreUnsafe        retryable elsewhere   the store ignores If-None-Match
    ├── DuplicateClaim     conflict              skip this record
    ├── ClaimConflict      conflict              ids were reused: tell the operator
    ├── CorruptRecord      retryable             a stored claim is not one
    ├── OutOfOrder         retryable             correct the caller: it does not follow
    ├── StaleAttempt       retryable             give up: a later attempt is claimed
    ├── ClaimLost          retryable             give up: the claim is gone or another's
    ├── TooManyStarts      retryable elsewhere   look at this slot
    ├── BadArtifact        retryable             render again; ``reason`` names the check
    ├── BadCheckpoint      retryable             render on without it; ``reason`` names the check
    ├── BadManifest        retryable             no JSON object, or not the one that was sealed
    └── InvalidId          permanent             correct the argument that is named

Each has ``code`` (a key of :data:`FAILURE_CODES`) and ``failure_class``, on the class as well.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from rust_guard._rust import (
    Artifact,
    BadArtifact,
    BadCheckpoint,
    BadManifest,
    Checkpoint,
    Claim,
    ClaimConflict,
    ClaimLost,
    Conditioning,
    CorruptRecord,
    DuplicateClaim,
    FailureClass,
    Guard,
    GuardError,
    InvalidId,
    OutOfOrder,
    Record,
    RetryDecision,
    RetryPolicy,
    StaleAttempt,
    StoreUnavailable,
    StoreUnsafe,
    TooManyStarts,
    check_checkpoint,
    check_conditioning,
    check_video,
    classify,
    failure_codes,
    retry,
    retry_budget,
)

FAILURE_CODES: Final[Mapping[str, FailureClass]] = MappingProxyType(dict(failure_codes()))
"""Every failure code with its class. A code may be added, never renamed."""

__all__ = [
    "FAILURE_CODES",
    "Artifact",
    "BadArtifact",
    "BadCheckpoint",
    "BadManifest",
    "Checkpoint",
    "Claim",
    "ClaimConflict",
    "ClaimLost",
    "Conditioning",
    "CorruptRecord",
    "DuplicateClaim",
    "FailureClass",
    "Guard",
    "GuardError",
    "InvalidId",
    "OutOfOrder",
    "Record",
    "RetryDecision",
    "RetryPolicy",
    "StaleAttempt",
    "StoreUnavailable",
    "StoreUnsafe",
    "TooManyStarts",
    "check_checkpoint",
    "check_conditioning",
    "check_video",
    "classify",
    "retry",
    "retry_budget",
]
