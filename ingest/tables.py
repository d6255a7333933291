"""The tables of the edge, as SQLAlchemy Core sees them. The migrations make them."""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Computed,
    DateTime,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, UUID

metadata: Final = MetaData()
_TIME: Final = DateTime(timezone=True)

#: Columns that are a function of jobs.events alone: a replay from zero gives them again.
PROJECTED: Final = (
    "tenant_id",
    "status",
    "phase",
    "priority",
    "pool",
    "spec",
    "spec_digest",
    "attempt",
    "slot",
    "reason",
    "artifact",
    "metadata",
    "webhook_url",
    "expires_at",
    "retention_s",
    "parent_job_id",
    "submitted_at",
    "updated_at",
    "started_at",
    "completed_at",
    "confirmed_at",
    "event_partition",
    "event_offset",
)

#: Conditions of partial indexes, for queries to repeat word by word: a parameter in their place
#: would hide the index from a generic plan.
WAITING: Final = "status = 'pending' AND phase <> 'Scheduled'"
ON_SLOTS: Final = "phase IN ('Scheduled', 'Started')"
RENDERED: Final = "status = 'completed'"

jobs: Final = Table(
    "jobs",
    metadata,
    Column("job_id", UUID(as_uuid=True), primary_key=True),
    Column("tenant_id", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("phase", Text, nullable=False),
    Column("priority", Text, nullable=False),
    Column("pool", Text, nullable=False),
    Column("spec", JSONB(none_as_null=True)),
    Column("spec_digest", Text),
    Column("attempt", Integer, nullable=False, server_default="0"),
    Column("slot", Integer),
    Column("reason", JSONB(none_as_null=True)),
    Column("artifact", JSONB(none_as_null=True)),
    Column("progress", JSONB(none_as_null=True)),
    Column("metadata", JSONB, nullable=False),
    Column("webhook_url", Text),
    Column("expires_at", _TIME),
    Column("retention_s", Integer),
    # Of a redriven job: the one whose dead letter it is.
    Column("parent_job_id", UUID(as_uuid=True)),
    Column("created_at", _TIME, nullable=False, server_default=func.now()),
    Column("submitted_at", _TIME),
    Column("updated_at", _TIME, nullable=False, server_default=func.now()),
    Column("started_at", _TIME),
    Column("completed_at", _TIME),
    # The request as it was sent: what the relay produces again. Null for direct producers' jobs.
    Column("request", JSONB(none_as_null=True)),
    Column("traceparent", Text),
    # When the first event was seen; until then the relay owns the job.
    Column("confirmed_at", _TIME),
    Column("next_produce_at", _TIME),
    Column("produce_attempts", Integer, nullable=False, server_default="0"),
    Column("cancel_requested_at", _TIME),
    Column("next_cancel_at", _TIME),
    Column("event_partition", Integer),
    Column("event_offset", BigInteger),
    # The scheduler's order of waiting jobs: by rank, then by time.
    Column(
        "queue_rank",
        Integer,
        Computed(
            "CASE priority WHEN 'high' THEN 0 WHEN 'normal' THEN 1 WHEN 'low' THEN 2 ELSE 3 END"
        ),
    ),
    Column("queue_at", _TIME, Computed("coalesce(submitted_at, created_at)")),
    # What a run time is estimated from; null without a spec.
    Column("work_steps", Integer, Computed("(spec ->> 'num_inference_steps')::integer")),
    Column("work_frames", Integer, Computed("(spec ->> 'num_frames')::integer")),
    Column(
        "work_pixels",
        Integer,
        Computed("(spec ->> 'width')::integer * (spec ->> 'height')::integer"),
    ),
    Column("work_guided", Boolean, Computed("(spec ->> 'guidance_scale')::double precision > 1")),
    Index(
        "jobs_waiting",
        "pool",
        "queue_rank",
        "queue_at",
        "job_id",
        postgresql_include=["work_steps", "work_frames", "work_pixels", "work_guided"],
        postgresql_where=text(WAITING),
    ),
    Index("jobs_on_slots", "pool", postgresql_where=text(ON_SLOTS)),
    Index("jobs_rendered", "pool", "completed_at", postgresql_where=text(RENDERED)),
    Index("jobs_by_tenant", "tenant_id", "created_at", "job_id"),
    Index("jobs_by_status", "tenant_id", "status", "created_at", "job_id"),
    Index(
        "jobs_unconfirmed",
        "next_produce_at",
        postgresql_where=text("confirmed_at IS NULL AND request IS NOT NULL"),
    ),
    Index("jobs_cancelling", "next_cancel_at", postgresql_where=text("next_cancel_at IS NOT NULL")),
)

timeline: Final = Table(
    "job_events",
    metadata,
    Column("partition", Integer, primary_key=True),
    Column("offset", BigInteger, primary_key=True),
    Column("job_id", UUID(as_uuid=True), nullable=False),
    Column("tenant_id", Text, nullable=False),
    Column("event_id", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("slot", Integer),
    Column("reason", JSONB(none_as_null=True)),
    Column("occurred_at", _TIME, nullable=False),
    Index("job_events_by_job", "job_id", "offset"),
    Index("job_events_by_tenant", "tenant_id", "partition", "offset"),
)

#: Random, made with the table, the same for all replicas.
secrets: Final = Table(
    "secrets",
    metadata,
    Column("name", Text, primary_key=True),
    Column("secret", LargeBinary, nullable=False),
)

pool_outlooks: Final = Table(
    "pool_outlooks",
    metadata,
    Column("pool", Text, primary_key=True),
    Column("slots", Integer, nullable=False),
    Column("coefficients", JSONB, nullable=False),
    Column("price_per_gpu_s", Double),
    Column("next_offset", BigInteger, nullable=False),
    Column("updated_at", _TIME, nullable=False, server_default=func.now()),
)

idempotency_keys: Final = Table(
    "idempotency_keys",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    Column("key_hash", LargeBinary, primary_key=True),
    Column("job_id", UUID(as_uuid=True), nullable=False),
    Column("fingerprint", Text, nullable=False),
    Column("created_at", _TIME, nullable=False, server_default=func.now()),
)

api_keys: Final = Table(
    "api_keys",
    metadata,
    Column("key_hash", LargeBinary, primary_key=True),
    Column("key_id", UUID(as_uuid=True), nullable=False, unique=True),
    Column("tenant_id", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("created_at", _TIME, nullable=False, server_default=func.now()),
    Column("revoked_at", _TIME),
)

feed_offsets: Final = Table(
    "feed_offsets",
    metadata,
    Column("feed", Text, primary_key=True),
    Column("topic", Text, primary_key=True),
    Column("partition", Integer, primary_key=True),
    Column("next_offset", BigInteger, nullable=False),
)

webhook_endpoints: Final = Table(
    "webhook_endpoints",
    metadata,
    Column("endpoint_id", UUID(as_uuid=True), primary_key=True),
    Column("tenant_id", Text, nullable=False),
    Column("url", Text, nullable=False),
    Column("events", ARRAY(Text)),
    Column("secret", Text, nullable=False),
    Column("created_at", _TIME, nullable=False, server_default=func.now()),
    Column("disabled_at", _TIME),
    Column("disabled_reason", Text),
    Index("webhook_endpoints_by_tenant", "tenant_id", "created_at"),
)

deliveries: Final = Table(
    "webhook_deliveries",
    metadata,
    # The webhook-id: derived from the event and the endpoint, so a replay makes none twice.
    Column("delivery_id", Text, primary_key=True),
    # Null: the job's own webhook_url.
    Column(
        "endpoint_id",
        UUID(as_uuid=True),
        ForeignKey("webhook_endpoints.endpoint_id", ondelete="CASCADE"),
    ),
    Column("tenant_id", Text, nullable=False),
    Column("job_id", UUID(as_uuid=True), nullable=False),
    Column("kind", Text, nullable=False),
    Column("url", Text, nullable=False),
    # scheme://host:port, the unit of fairness between receivers.
    Column("target", Text, nullable=False),
    Column("payload", Text, nullable=False),
    Column("traceparent", Text),
    Column("pending", Boolean, nullable=False, server_default="true"),
    Column("delivered", Boolean, nullable=False, server_default="false"),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("next_at", _TIME, nullable=False, server_default=func.now()),
    Column("last_status", Integer),
    Column("last_error", Text),
    Column("created_at", _TIME, nullable=False, server_default=func.now()),
    Column("ended_at", _TIME),
    Index("webhook_deliveries_due", "target", "next_at", postgresql_where=text("pending")),
    Index("webhook_deliveries_by_endpoint", "endpoint_id", "created_at"),
)
