"""The records of schemas/avro as types: one class a record, one field a field.

A test holds the two together. Times are aware datetimes in UTC with millisecond precision.
"""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field


class Record(BaseModel):
    """An immutable value of one Avro record."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Spec(Record):
    """What decides the picture, with every default filled in."""

    prompt: str
    negative_prompt: str
    width: int
    height: int
    num_frames: int
    num_inference_steps: int
    guidance_scale: float
    seed: int


class Job(Record):
    """A job as admitted: immutable from then on."""

    job_id: str
    tenant_id: str
    pool: str
    priority: str
    spec: Spec
    spec_digest: str
    submitted_at: datetime
    expires_at: datetime | None = None
    retention_s: int | None = None
    webhook_url: str | None = None
    metadata: dict[str, str]
    traceparent: str | None = None
    parent_job_id: str | None = None


class Reason(Record):
    """Why a job did not simply go on. Safe to show to its owner."""

    code: str
    message: str


class Artifact(Record):
    """A sealed video: parsed, counted and hashed before it was announced."""

    bucket: str
    key: str
    sha256: str
    size: int
    frames: int
    fps: int
    width: int
    height: int
    duration_s: float
    frames_sha256: str | None = None


class Refusal(Record):
    """A request that admission turned down."""

    job_id: str
    tenant_id: str
    pool: str
    priority: str
    spec_digest: str
    submitted_at: datetime
    reason: Reason
    webhook_url: str | None = None
    metadata: dict[str, str]
    traceparent: str | None = None


class CancelRequested(Record):
    """Someone who may asks that a job be cancelled."""

    job_id: str
    tenant_id: str
    pool: str | None = None


class JobRequested(Record):
    """A request for one video. Null means the service's default."""

    job_id: str | None = None
    tenant_id: str
    prompt: str
    negative_prompt: str | None = None
    width: int | None = None
    height: int | None = None
    num_frames: int | None = None
    num_inference_steps: int | None = None
    guidance_scale: float | None = None
    seed: int | None = None
    pool: str | None = None
    expires_at: datetime | None = None
    retention_s: int | None = None
    webhook_url: str | None = None
    metadata: dict[str, str] = Field(default_factory=dict)
    parent_job_id: str | None = None


class Tenant(Record):
    """A tenant's limits; null: the service's default."""

    tenant_id: str
    rate_per_s: float | None = None
    burst: int | None = None
    max_in_flight: int | None = None
    weight: float = 1.0
    suspended: bool = False


class SlotOpened(Record):
    """A process took the slot: whoever held it before is fenced."""

    slot: int
    incarnation: str
    device: str


class SlotFree(Record):
    """The slot has committed all work through one number and takes work through another."""

    slot: int
    incarnation: str
    done_through: int
    accept_through: int


class SlotBeat(Record):
    """The slot's process lives. Sent outside transactions, but for the one with Started."""

    slot: int
    incarnation: str
    job_id: str | None = None
    n: int | None = None
    steps_stored: int | None = None


class AttemptEnded(Record):
    """An attempt at a job ended on a slot."""

    slot: int
    incarnation: str
    n: int
    job_id: str
    attempt: int
    outcome: str
    reason: Reason | None = None
    steps_stored: int | None = None


class SlotFenced(Record):
    """The scheduler fenced a silent slot and moved its offset past its work."""

    slot: int
    incarnation: str
    through: int


class TenantChanged(Record):
    """A tenant's limits changed."""

    tenant: Tenant


class PoolFact(Record):
    """One fact in a pool's inbox: all that its scheduler may know, in one order."""

    kind: str
    admitted: Job | None = None
    refused: Refusal | None = None
    cancel_requested: CancelRequested | None = None
    tenant_changed: TenantChanged | None = None
    slot_opened: SlotOpened | None = None
    slot_free: SlotFree | None = None
    slot_beat: SlotBeat | None = None
    attempt_ended: AttemptEnded | None = None
    slot_fenced: SlotFenced | None = None


class Cursor(Record):
    """How far the state has folded the inbox. Written in every transaction."""

    offset: int
    pool_incarnation: str
    now: datetime
    at: datetime | None = None
    unsettled_until: datetime | None = None
    retry_tat_ms: int = 0


class PastAttempt(Record):
    """How one start of an attempt at a job ended."""

    attempt: int
    slot: int | None = None
    outcome: str
    code: str | None = None
    message: str | None = None
    at: datetime
    steps: int | None = None
    counted: bool


class JobState(Record):
    """A job that waits or runs."""

    job: Job
    phase: str
    attempt: int
    arrival: int
    slot: int | None = None
    n: int | None = None
    not_before: datetime | None = None
    avoid_slot: int | None = None
    failures: int
    cancel_requested: bool
    steps: int = 0
    begun_at: int | None = None
    losses: int = 0
    history: tuple[PastAttempt, ...] = ()


class SlotState(Record):
    """A slot as the scheduler knows it."""

    slot: int
    incarnation: str
    phase: str
    last_n: int
    accept_through: int
    job_id: str | None = None
    last_beat: datetime
    openings: int
    quarantined: bool = False


class EndedJob(Record):
    """A job that ended: kept for the dedupe window."""

    job_id: str
    tenant_id: str
    spec_digest: str
    kind: str
    ended_at: datetime


class EarlyCancel(Record):
    """A cancel for a job not seen yet."""

    job_id: str
    tenant_id: str
    asked_at: datetime


class PoolState(Record):
    """One entry of a scheduler's state, keyed kind:id; compacted."""

    kind: str
    cursor: Cursor | None = None
    job: JobState | None = None
    slot: SlotState | None = None
    ended: EndedJob | None = None
    early_cancel: EarlyCancel | None = None
    tenant: Tenant | None = None


class Assignment(Record):
    """An order to one slot."""

    kind: str
    n: int
    job_id: str
    attempt: int
    pool_incarnation: str
    job: Job | None = None


class PoolOutlook(Record):
    """What a finish time and a dry run are computed from."""

    pool: str
    slots: int
    busy: int
    waiting: dict[str, int]
    coefficients: dict[str, float] = Field(default_factory=dict)
    price_per_gpu_s: float | None = None


class JobEvent(Record):
    """What happened to a job, with its whole public state. Nothing follows a terminal kind."""

    kind: str
    event_id: str
    job_id: str
    tenant_id: str
    pool: str
    priority: str
    status: str
    occurred_at: datetime
    submitted_at: datetime
    attempt: int
    slot: int | None = None
    job: Job | None = None
    reason: Reason | None = None
    artifact: Artifact | None = None
    webhook_url: str | None = None
    metadata: dict[str, str]


class JobProgress(Record):
    """Best effort: how far a running attempt is."""

    job_id: str
    tenant_id: str
    attempt: int
    slot: int
    phase: str
    step: int
    total: int
    gpu_utilisation: float | None = None
    eta_s: float | None = None


class DeadLetter(Record):
    """A record that could not be used, or a job that could not be done, kept whole."""

    topic: str
    partition: int
    offset: int
    key: bytes | None = None
    value: bytes | None = None
    headers: dict[str, bytes] = Field(default_factory=dict)
    error_class: str
    code: str
    reason: str
    attempts: int
    tenant_id: str | None = None
    job_id: str | None = None
    occurred_at: datetime
    history: tuple[PastAttempt, ...] = ()


class AuditEvent(Record):
    """Who changed or tried what. Written at least once: the same event_id is the same event."""

    event_id: str
    occurred_at: datetime
    kind: str
    tenant_id: str | None = None
    actor: str
    subject: str | None = None
    outcome: str
    details: dict[str, str] = Field(default_factory=dict)
