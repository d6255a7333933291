"""What job events mean for a job's row. Pure: the same events give the same row, always."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from schemas.job import NAMESPACE, canonical_job_id
from schemas.records import JobEvent, Reason
from schemas.states import STATUS_OF_KIND, TERMINAL_KINDS


@dataclass(frozen=True, slots=True)
class Placed:
    """An event and its place in the log."""

    event: JobEvent
    partition: int
    offset: int


def job_uuid(job_id: str) -> uuid.UUID:
    """The key of a job's row. An id that is no UUID can only be that of a refused request."""
    canonical = canonical_job_id(job_id)
    return uuid.UUID(canonical) if canonical else uuid.uuid5(NAMESPACE, f"id\x00{job_id}")


def reason_json(reason: Reason | None) -> dict[str, str] | None:
    """A reason as stored; PostgreSQL's JSON has no NUL."""
    if reason is None:
        return None
    return {"code": reason.code, "message": reason.message.replace("\x00", "\ufffd")}


def event_row(placed: Placed) -> dict[str, Any]:
    """The timeline's row of an event, of any kind."""
    event = placed.event
    return {
        "partition": placed.partition,
        "offset": placed.offset,
        "job_id": job_uuid(event.job_id),
        "tenant_id": event.tenant_id,
        "event_id": event.event_id,
        "kind": event.kind,
        "status": event.status,
        "attempt": event.attempt,
        "slot": event.slot,
        "reason": reason_json(event.reason),
        "occurred_at": event.occurred_at,
    }


def job_columns(placed: Placed) -> dict[str, Any]:
    """The row that one event describes: every event carries its job's whole public state."""
    event = placed.event
    job = event.job
    terminal = event.kind in TERMINAL_KINDS
    return {
        "job_id": job_uuid(event.job_id),
        "tenant_id": event.tenant_id,
        "status": STATUS_OF_KIND[event.kind],
        "phase": event.kind,
        "priority": event.priority,
        "pool": event.pool,
        "spec": job and job.spec.model_dump(),
        "spec_digest": job and job.spec_digest,
        "attempt": event.attempt,
        "slot": event.slot,
        "reason": reason_json(event.reason),
        "artifact": event.artifact and event.artifact.model_dump(),
        "metadata": event.metadata,
        "webhook_url": event.webhook_url,
        "expires_at": job and job.expires_at,
        "retention_s": job and job.retention_s,
        "parent_job_id": job and job.parent_job_id and job_uuid(job.parent_job_id),
        "created_at": event.submitted_at,
        "submitted_at": event.submitted_at,
        "updated_at": event.occurred_at,
        "started_at": event.occurred_at if event.kind == "Started" else None,
        "completed_at": event.occurred_at if terminal else None,
        "confirmed_at": event.occurred_at,
        "event_partition": placed.partition,
        "event_offset": placed.offset,
    }


def folded(batch: Iterable[Placed]) -> list[dict[str, Any]]:
    """The rows that a batch leads to, one a job, sorted by job; unknown kinds change none.

    The first Started and the first event's time stay; nothing follows a terminal event.
    """
    rows: dict[str, dict[str, Any]] = {}
    for placed in batch:
        if placed.event.kind not in STATUS_OF_KIND:
            continue
        before = rows.get(placed.event.job_id)
        if before is not None and before["completed_at"] is not None:
            continue
        row = job_columns(placed)
        if before is not None:
            row["started_at"] = before["started_at"] or row["started_at"]
            row["confirmed_at"] = before["confirmed_at"]
            for name in ("spec", "spec_digest", "expires_at", "retention_s", "parent_job_id"):
                row[name] = row[name] if row["spec"] is not None else before[name]
        rows[placed.event.job_id] = row
    return [rows[job_id] for job_id in sorted(rows)]
