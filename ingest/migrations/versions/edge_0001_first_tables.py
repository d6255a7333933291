"""The edge's first tables: jobs and their timeline, keys, offsets, webhooks."""

from __future__ import annotations

from alembic import op

revision = "0001"
down_revision = None

_TABLES = """
CREATE TABLE api_keys (
    key_hash BYTEA NOT NULL,
    key_id UUID NOT NULL,
    tenant_id TEXT NOT NULL,
    role TEXT NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    revoked_at TIMESTAMP WITH TIME ZONE,
    PRIMARY KEY (key_hash),
    UNIQUE (key_id)
);
CREATE TABLE feed_offsets (
    feed TEXT NOT NULL,
    topic TEXT NOT NULL,
    partition INTEGER NOT NULL,
    next_offset BIGINT NOT NULL,
    PRIMARY KEY (feed, topic, partition)
);
CREATE TABLE idempotency_keys (
    tenant_id TEXT NOT NULL,
    key_hash BYTEA NOT NULL,
    job_id UUID NOT NULL,
    fingerprint TEXT NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    PRIMARY KEY (tenant_id, key_hash)
);
CREATE TABLE job_events (
    partition INTEGER NOT NULL,
    "offset" BIGINT NOT NULL,
    job_id UUID NOT NULL,
    event_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    status TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    slot INTEGER,
    reason JSONB,
    occurred_at TIMESTAMP WITH TIME ZONE NOT NULL,
    PRIMARY KEY (partition, "offset")
);
CREATE INDEX job_events_by_job ON job_events (job_id, "offset");
CREATE TABLE jobs (
    job_id UUID NOT NULL,
    tenant_id TEXT NOT NULL,
    status TEXT NOT NULL,
    phase TEXT NOT NULL,
    priority TEXT NOT NULL,
    pool TEXT NOT NULL,
    spec JSONB,
    spec_digest TEXT,
    attempt INTEGER DEFAULT '0' NOT NULL,
    slot INTEGER,
    reason JSONB,
    artifact JSONB,
    progress JSONB,
    metadata JSONB NOT NULL,
    webhook_url TEXT,
    expires_at TIMESTAMP WITH TIME ZONE,
    retention_s INTEGER,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    submitted_at TIMESTAMP WITH TIME ZONE,
    updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    started_at TIMESTAMP WITH TIME ZONE,
    completed_at TIMESTAMP WITH TIME ZONE,
    request JSONB,
    traceparent TEXT,
    confirmed_at TIMESTAMP WITH TIME ZONE,
    next_produce_at TIMESTAMP WITH TIME ZONE,
    produce_attempts INTEGER DEFAULT '0' NOT NULL,
    cancel_requested_at TIMESTAMP WITH TIME ZONE,
    next_cancel_at TIMESTAMP WITH TIME ZONE,
    event_partition INTEGER,
    event_offset BIGINT,
    PRIMARY KEY (job_id)
);
CREATE INDEX jobs_by_status ON jobs (tenant_id, status, created_at, job_id);
CREATE INDEX jobs_by_tenant ON jobs (tenant_id, created_at, job_id);
CREATE INDEX jobs_cancelling ON jobs (next_cancel_at) WHERE next_cancel_at IS NOT NULL;
CREATE INDEX jobs_unconfirmed
    ON jobs (next_produce_at)
    WHERE confirmed_at IS NULL AND request IS NOT NULL;
CREATE TABLE webhook_endpoints (
    endpoint_id UUID NOT NULL,
    tenant_id TEXT NOT NULL,
    url TEXT NOT NULL,
    events TEXT[],
    secret TEXT NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    disabled_at TIMESTAMP WITH TIME ZONE,
    disabled_reason TEXT,
    PRIMARY KEY (endpoint_id)
);
CREATE INDEX webhook_endpoints_by_tenant ON webhook_endpoints (tenant_id, created_at);
CREATE TABLE webhook_deliveries (
    delivery_id TEXT NOT NULL,
    endpoint_id UUID,
    tenant_id TEXT NOT NULL,
    job_id UUID NOT NULL,
    kind TEXT NOT NULL,
    url TEXT NOT NULL,
    target TEXT NOT NULL,
    payload TEXT NOT NULL,
    traceparent TEXT,
    pending BOOLEAN DEFAULT 'true' NOT NULL,
    delivered BOOLEAN DEFAULT 'false' NOT NULL,
    attempts INTEGER DEFAULT '0' NOT NULL,
    next_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    last_status INTEGER,
    last_error TEXT,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    ended_at TIMESTAMP WITH TIME ZONE,
    PRIMARY KEY (delivery_id),
    FOREIGN KEY(endpoint_id) REFERENCES webhook_endpoints (endpoint_id) ON DELETE CASCADE
);
CREATE INDEX webhook_deliveries_by_endpoint ON webhook_deliveries (endpoint_id, created_at);
CREATE INDEX webhook_deliveries_due ON webhook_deliveries (target, next_at) WHERE pending;
"""


def upgrade() -> None:
    """Make the tables and their indexes."""
    for statement in _TABLES.split(";"):
        if statement.strip():
            op.execute(statement)
