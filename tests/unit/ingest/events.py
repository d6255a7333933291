"""Admitted jobs and what happens to them, as the scheduler and the slots would say it."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

from schemas.events import job_event
from schemas.job import spec_digest, spec_of
from schemas.records import Artifact, Job, JobEvent, JobRequested, Reason

BEGAN = datetime(2026, 3, 1, 12, tzinfo=UTC)


def job(job_id: str | None = None, tenant_id: str = "default", **fields: Any) -> Job:
    """An admitted job."""
    job_id = job_id or str(uuid.uuid4())
    labels: dict[str, Any] = {
        "priority": "normal",
        "webhook_url": None,
        "metadata": {},
        "parent_job_id": None,
    }
    shown = {name: fields.pop(name, value) for name, value in labels.items()}
    request = JobRequested(job_id=job_id, tenant_id=tenant_id, prompt="a fox", **fields)
    return Job(
        job_id=job_id,
        tenant_id=tenant_id,
        pool="mochi-1",
        spec=spec_of(request, job_id),
        spec_digest=spec_digest(request),
        submitted_at=BEGAN,
        **shown,
    )


def artifact(key: str = "videos/a.mp4", size: int = 1000, bucket: str = "ttv") -> Artifact:
    """A sealed video's description."""
    return Artifact(
        bucket=bucket,
        key=key,
        sha256="ab" * 32,
        size=size,
        frames=7,
        fps=30,
        width=64,
        height=64,
        duration_s=7 / 30,
    )


def happened(of: Job, *kinds: str, artifact_: Artifact | None = None) -> list[JobEvent]:
    """Events of these kinds, a second apart."""
    made = []
    for n, kind in enumerate(kinds):
        attempt = 0 if kind == "Admitted" else 1
        reason = Reason(code="bad_output", message="no") if kind in {"Failed", "Retrying"} else None
        video = artifact_ or artifact() if kind == "Completed" else None
        at = BEGAN + timedelta(seconds=n)
        made.append(job_event(kind, of, at, attempt, slot=0, reason=reason, artifact=video))
    return made
