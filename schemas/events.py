"""How a job event is made: one constructor for the scheduler and the slots. Pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from schemas.job import event_id
from schemas.records import Artifact, Job, JobEvent, Reason, Refusal
from schemas.states import STATUS_OF_KIND, TERMINAL_KINDS

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def broker_time(timestamp_ms: int) -> datetime:
    """A Kafka timestamp (milliseconds since the epoch) as an aware datetime."""
    return _EPOCH + timedelta(milliseconds=timestamp_ms)


def job_event(
    kind: str,
    job: Job,
    at: datetime,
    attempt: int,
    *,
    slot: int | None = None,
    reason: Reason | None = None,
    artifact: Artifact | None = None,
) -> JobEvent:
    """The event that ``kind`` happened to ``job`` at ``at``."""
    return JobEvent(
        kind=kind,
        event_id=event_id(job.job_id, kind, 0 if kind in TERMINAL_KINDS else attempt),
        job_id=job.job_id,
        tenant_id=job.tenant_id,
        pool=job.pool,
        priority=job.priority,
        status=STATUS_OF_KIND[kind],
        occurred_at=at,
        submitted_at=job.submitted_at,
        attempt=attempt,
        slot=slot,
        job=job,
        reason=reason,
        artifact=artifact,
        webhook_url=job.webhook_url,
        metadata=job.metadata,
    )


def refused_event(refusal: Refusal, at: datetime) -> JobEvent:
    """The terminal event of a request that admission turned down."""
    return JobEvent(
        kind="Refused",
        event_id=event_id(refusal.job_id, "Refused", 0),
        job_id=refusal.job_id,
        tenant_id=refusal.tenant_id,
        pool=refusal.pool,
        priority=refusal.priority,
        status=STATUS_OF_KIND["Refused"],
        occurred_at=at,
        submitted_at=refusal.submitted_at,
        attempt=0,
        reason=refusal.reason,
        webhook_url=refusal.webhook_url,
        metadata=refusal.metadata,
    )
