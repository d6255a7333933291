"""The kinds of job events and the public status each one means."""

from __future__ import annotations

from typing import Final, Literal

Status = Literal["pending", "processing", "completed", "failed", "cancelled"]

#: Public status of a job after an event of this kind. Readers skip kinds that are not here.
STATUS_OF_KIND: Final[dict[str, Status]] = {
    "Admitted": "pending",
    "Scheduled": "pending",
    "Started": "processing",
    "Retrying": "pending",
    "Preempted": "pending",
    "Completed": "completed",
    "Failed": "failed",
    "Cancelled": "cancelled",
    "Refused": "failed",
    "Expired": "failed",
}

#: Kinds after which nothing follows for a job.
TERMINAL_KINDS: Final = frozenset({"Completed", "Failed", "Cancelled", "Refused", "Expired"})

STATUSES: Final[tuple[Status, ...]] = ("pending", "processing", "completed", "failed", "cancelled")
