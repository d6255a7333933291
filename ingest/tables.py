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
    Identity,
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
    # A deleted job's row stays as a tombstone, without what its owner said.
    Column("deleted_at", _TIME),
    Column("video_expires_at", _TIME),
    # From then on nobody is given the video, and its objects go.
    Column("video_gone_at", _TIME),
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
        "jobs_by_tenant",
        "tenant_id",
        "created_at",
        "job_id",
        postgresql_where=text("deleted_at IS NULL"),
    ),
    Index(
        "jobs_by_state",
        "tenant_id",
        "status",
        "priority",
        "created_at",
        "job_id",
        postgresql_where=text("deleted_at IS NULL"),
    ),
    Index(
        "jobs_by_label",
        text("metadata jsonb_path_ops"),
        postgresql_using="gin",
        postgresql_where=text("deleted_at IS NULL AND metadata <> '{}'::jsonb"),
    ),
    Index(
        "jobs_expiring",
        "video_expires_at",
        postgresql_where=text("video_expires_at IS NOT NULL AND video_gone_at IS NULL"),
    ),
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
    Index(
        "jobs_unconfirmed",
        "next_produce_at",
        postgresql_where=text("confirmed_at IS NULL AND request IS NOT NULL"),
    ),
    Index("jobs_cancelling", "next_cancel_at", postgresql_where=text("next_cancel_at IS NOT NULL")),
)

# Jobs whose objects are to be deleted. A replay of the log leaves this table alone: by it the read
# model knows what it must not show again.
erasures: Final = Table(
    "erasures",
    metadata,
    Column("job_id", UUID(as_uuid=True), primary_key=True),
    Column("tenant_id", Text, nullable=False),
    # deleted, or expired: the video alone.
    Column("cause", Text, nullable=False),
    Column("asked_at", _TIME, nullable=False, server_default=func.now()),
    # Null: all is done.
    Column("next_at", _TIME, server_default=func.now()),
    Column("passes", Integer, nullable=False, server_default="0"),
    Column("failures", Integer, nullable=False, server_default="0"),
    Index("erasures_due", "next_at", postgresql_where=text("next_at IS NOT NULL")),
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
    Index("idempotency_keys_by_age", "created_at"),
)

# A row is a secret of a key: a key that is rotated has several, of which one is not superseded.
api_keys: Final = Table(
    "api_keys",
    metadata,
    Column("key_hash", LargeBinary, primary_key=True),
    Column("key_id", UUID(as_uuid=True), nullable=False),
    Column("tenant_id", Text, nullable=False),
    Column("role", Text, nullable=False),
    # How the secret begins; null: of a shape of its own.
    Column("prefix", Text),
    Column("name", Text, nullable=False, server_default=""),
    # Null: all that the role may.
    Column("scopes", ARRAY(Text)),
    Column("created_at", _TIME, nullable=False, server_default=func.now()),
    Column("rotated_at", _TIME),
    Column("expires_at", _TIME),
    Column("superseded_at", _TIME),
    Column("revoked_at", _TIME),
    # To within minutes.
    Column("last_used_at", _TIME),
    Index(
        "api_keys_current", "key_id", unique=True, postgresql_where=text("superseded_at IS NULL")
    ),
    Index("api_keys_by_id", "key_id"),
    Index("api_keys_by_tenant", "tenant_id", "key_id"),
)

# Tokens that their issuer gave a subject up to a moment are refused.
revoked_subjects: Final = Table(
    "revoked_subjects",
    metadata,
    Column("issuer", Text, primary_key=True),
    Column("subject", Text, primary_key=True),
    Column("revoked_at", _TIME, nullable=False),
)

# A tenant without a row has the service's defaults.
tenants: Final = Table(
    "tenants",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    Column("rate_per_s", Double),
    Column("burst", Integer),
    Column("max_in_flight", Integer),
    Column("weight", Double, nullable=False, server_default="1"),
    Column("suspended", Boolean, nullable=False, server_default="false"),
    Column("created_at", _TIME, nullable=False, server_default=func.now()),
    Column("updated_at", _TIME, nullable=False, server_default=func.now()),
    Column("version", BigInteger, nullable=False, server_default="1"),
    # The version that Kafka has.
    Column("told_version", BigInteger, nullable=False, server_default="0"),
    Column("next_at", _TIME, nullable=False, server_default=func.now()),
    Index("tenants_untold", "next_at", postgresql_where=text("told_version <> version")),
)

# Until when the last link to a job's video works. Unlogged: it is but for an alarm.
issued_links: Final = Table(
    "issued_links",
    metadata,
    Column("job_id", UUID(as_uuid=True), primary_key=True),
    Column("valid_until", _TIME, nullable=False),
    Index("issued_links_by_end", "valid_until"),
    prefixes=["UNLOGGED"],
)

#: Each create through /v1/videos without an Idempotency-Key, for as long as it may be retried.
video_creates: Final = Table(
    "video_creates",
    metadata,
    Column("create_id", BigInteger, Identity(always=True), primary_key=True),
    Column("credential", Text, nullable=False),
    Column("fingerprint", Text, nullable=False),
    Column("job_id", UUID(as_uuid=True), nullable=False),
    # The highest retry that was given this job; 0: none.
    Column("retried", Integer, nullable=False),
    # Whether the first request is known to have come; not so when a retry was faster.
    Column("first_seen", Boolean, nullable=False),
    Column("created_at", _TIME, nullable=False, server_default=func.clock_timestamp()),
    Index("video_creates_by_body", "credential", "fingerprint", "create_id"),
    Index("video_creates_by_age", "created_at"),
)

feed_offsets: Final = Table(
    "feed_offsets",
    metadata,
    Column("feed", Text, primary_key=True),
    Column("topic", Text, primary_key=True),
    Column("partition", Integer, primary_key=True),
    Column("next_offset", BigInteger, nullable=False),
)

# What the audit topic is to be told; a row goes once Kafka has it.
audit_outbox: Final = Table(
    "audit_outbox",
    metadata,
    Column("sequence", BigInteger, Identity(always=True), primary_key=True),
    Column("event_id", UUID(as_uuid=True), nullable=False, unique=True),
    Column("occurred_at", _TIME, nullable=False, server_default=func.now()),
    Column("kind", Text, nullable=False),
    Column("tenant_id", Text),
    Column("actor", Text, nullable=False),
    Column("subject", Text),
    Column("outcome", Text, nullable=False),
    Column("details", JSONB, nullable=False),
    Column("next_at", _TIME, nullable=False, server_default=func.now()),
)

webhook_endpoints: Final = Table(
    "webhook_endpoints",
    metadata,
    Column("endpoint_id", UUID(as_uuid=True), primary_key=True),
    Column("tenant_id", Text, nullable=False),
    Column("url", Text, nullable=False),
    Column("events", ARRAY(Text)),
    # "native" or "openai": the shape of what it is sent.
    Column("format", Text, nullable=False, server_default="native"),
    # Sealed when the deployment has a key; the one before it signs too until previous_until.
    Column("secret", Text, nullable=False),
    Column("previous_secret", Text),
    Column("previous_until", _TIME),
    Column("created_at", _TIME, nullable=False, server_default=func.now()),
    # Since the last delivery that succeeded: when the first failed, and how many have.
    Column("failing_since", _TIME),
    Column("failures", Integer, nullable=False, server_default="0"),
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
    # Null: a test, or a note in the log.
    Column("job_id", UUID(as_uuid=True)),
    Column("kind", Text, nullable=False),
    Column("url", Text, nullable=False),
    # The lane: tenant and scheme://host:port, the unit of fairness between receivers.
    Column("target", Text, nullable=False),
    Column("payload", Text, nullable=False),
    Column("traceparent", Text),
    Column("pending", Boolean, nullable=False, server_default="true"),
    Column("delivered", Boolean, nullable=False, server_default="false"),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("next_at", _TIME, nullable=False, server_default=func.now()),
    Column("last_status", Integer),
    Column("last_error", Text),
    # The newest attempts: [{at, status, ms, error}, ...].
    Column("tries", JSONB, nullable=False, server_default="[]"),
    Column("created_at", _TIME, nullable=False, server_default=func.now()),
    Column("ended_at", _TIME),
    Index("webhook_deliveries_due", "target", "next_at", postgresql_where=text("pending")),
    Index("webhook_deliveries_by_endpoint", "endpoint_id", "created_at"),
    Index("webhook_deliveries_ended", "ended_at", postgresql_where=text("NOT pending")),
)
