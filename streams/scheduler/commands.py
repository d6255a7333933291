"""What a step of the fold asks its shell to do."""

from __future__ import annotations

from dataclasses import dataclass

from schemas.records import Assignment, Job, JobEvent, PastAttempt, PoolOutlook


@dataclass(frozen=True, slots=True)
class Emit:
    """Publish a job event; terminal kinds also go to the completion feed."""

    event: JobEvent
    traceparent: str | None


@dataclass(frozen=True, slots=True)
class Send:
    """Send an order to a slot."""

    slot: int
    assignment: Assignment
    traceparent: str | None


@dataclass(frozen=True, slots=True)
class Fence:
    """After the commit: fence a silent slot and move its offset past assignment ``through``."""

    slot: int
    incarnation: str
    through: int


@dataclass(frozen=True, slots=True)
class Letter:
    """Write a dead letter: about ``job``, or about the record in hand when ``job`` is None.

    ``arrival`` is the inbox offset of the job's Admitted fact, ``history`` how its starts ended.
    """

    code: str
    error_class: str
    reason: str
    attempts: int
    job_id: str
    tenant_id: str
    job: Job | None = None
    arrival: int = -1
    history: tuple[PastAttempt, ...] = ()


@dataclass(frozen=True, slots=True)
class Publish:
    """Publish the pool's outlook."""

    outlook: PoolOutlook


Command = Emit | Send | Fence | Letter | Publish
