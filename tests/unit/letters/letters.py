"""A dead letter, the request it may hold, and the admitted job that it may be about."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from schemas.job import spec_digest, spec_of
from schemas.records import DeadLetter, Job, JobRequested, PoolFact

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
PARENT = "0b0f6c1e-7f7e-4d51-9c1c-3b0e6a0f7f11"


def letter(**fields: Any) -> DeadLetter:
    """A letter about a job that failed."""
    made: dict[str, Any] = {
        "topic": "t.pool.mochi-1.inbox",
        "partition": 0,
        "offset": 41,
        "value": b"the admitted fact",
        "error_class": "retryable",
        "code": "render_crashed",
        "reason": "The render process died.",
        "attempts": 5,
        "tenant_id": "acme",
        "job_id": PARENT,
        "occurred_at": NOW,
    }
    return DeadLetter(**{**made, **fields})


def request(**fields: Any) -> JobRequested:
    """A valid request."""
    return JobRequested(**{"tenant_id": "acme", "prompt": "a fox", **fields})


def admitted(**fields: Any) -> PoolFact:
    """The fact that a job was admitted."""
    asked = request(seed=7)
    made: dict[str, Any] = {
        "job_id": PARENT,
        "tenant_id": "acme",
        "pool": "mochi-1",
        "priority": "high",
        "spec": spec_of(asked, PARENT),
        "spec_digest": spec_digest(asked),
        "submitted_at": NOW - timedelta(hours=1),
        "retention_s": 3600,
        "webhook_url": "https://example.com/hook",
        "metadata": {"order": "42"},
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    }
    return PoolFact(kind="Admitted", admitted=Job(**{**made, **fields}))
