"""A job as its owner sees it: the JSON of the API and of webhooks. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from schemas.records import Spec

#: Statuses that nothing follows.
TERMINAL_STATUSES: Final = frozenset({"completed", "failed", "cancelled"})
_SPEC: Final = tuple(Spec.model_fields)
_ARTIFACT: Final = ("sha256", "size", "frames", "fps", "width", "height", "duration_s")

#: Columns that are null when a job is submitted.
_SINCE: Final = (
    "reason",
    "progress",
    "artifact",
    "cancel_requested_at",
    "started_at",
    "completed_at",
    "video_expires_at",
    "video_gone_at",
)


def moment(value: datetime | None) -> str | None:
    """RFC 3339 in UTC with milliseconds."""
    if value is None:
        return None
    return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _id(value: object) -> str | None:
    return None if value is None else str(value)


def job_json(
    row: Mapping[Any, Any], base: str = "", queue: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The public form of a job.

    Args:
        row: The columns of ``jobs``.
        base: Put before the links; empty where the reader knows the address.
        queue: A waiting job's place, where it was looked up.
    """
    spec, artifact = row["spec"] or {}, row["artifact"]
    link = f"{base}/v1/jobs/{row['job_id']}"
    kept = artifact and row.get("video_gone_at") is None
    return {
        "id": str(row["job_id"]),
        "object": "job",
        "status": row["status"],
        "phase": row["phase"],
        "priority": row["priority"],
        "tenant_id": row["tenant_id"],
        "pool": row["pool"],
        **{name: spec.get(name) for name in _SPEC},
        "attempt": row["attempt"],
        "reason": row["reason"],
        "progress": row.get("progress"),
        "queue": queue,
        "artifact": artifact and {name: artifact[name] for name in _ARTIFACT},
        "metadata": row["metadata"],
        "webhook_url": row["webhook_url"],
        "expires_at": moment(row["expires_at"]),
        "retention_s": row["retention_s"],
        "video_expires_at": moment(row.get("video_expires_at")),
        "parent_job_id": _id(row.get("parent_job_id")),
        "cancel_requested_at": moment(row.get("cancel_requested_at")),
        "created_at": moment(row["created_at"]),
        "updated_at": moment(row["updated_at"]),
        "started_at": moment(row["started_at"]),
        "completed_at": moment(row["completed_at"]),
        "links": {
            "self": link,
            "video": f"{link}/video" if kept else None,
            "manifest": f"{link}/manifest" if kept else None,
        },
    }


def as_submitted(row: Mapping[Any, Any]) -> Mapping[Any, Any]:
    """The row as its submit made it, whatever has happened since: what the first answer showed.

    Args:
        row: The columns of ``jobs``; of a job that was submitted over HTTP.
    """
    since = dict.fromkeys(_SINCE)
    first = {"status": "pending", "phase": "Submitted", "attempt": 0}
    return {**row, **since, **first, "updated_at": row["created_at"]}


def event_json(row: Mapping[Any, Any]) -> dict[str, Any]:
    """One line of a job's timeline, from the columns of ``job_events``."""
    return {
        "id": row["event_id"],
        "kind": row["kind"],
        "status": row["status"],
        "attempt": row["attempt"],
        "slot": row["slot"],
        "reason": row["reason"],
        "occurred_at": moment(row["occurred_at"]),
    }
