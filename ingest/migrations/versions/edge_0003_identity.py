"""Who asks and what they may: keys that expire and rotate, tenants, the audit outbox."""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"

_CHANGES = """
ALTER TABLE api_keys DROP CONSTRAINT api_keys_key_id_key;
ALTER TABLE api_keys ADD COLUMN prefix TEXT;
ALTER TABLE api_keys ADD COLUMN name TEXT DEFAULT '' NOT NULL;
ALTER TABLE api_keys ADD COLUMN scopes TEXT[];
ALTER TABLE api_keys ADD COLUMN rotated_at TIMESTAMP WITH TIME ZONE;
ALTER TABLE api_keys ADD COLUMN expires_at TIMESTAMP WITH TIME ZONE;
ALTER TABLE api_keys ADD COLUMN superseded_at TIMESTAMP WITH TIME ZONE;
ALTER TABLE api_keys ADD COLUMN last_used_at TIMESTAMP WITH TIME ZONE;
CREATE UNIQUE INDEX api_keys_current ON api_keys (key_id) WHERE superseded_at IS NULL;
CREATE INDEX api_keys_by_id ON api_keys (key_id);
CREATE INDEX api_keys_by_tenant ON api_keys (tenant_id, key_id);
CREATE TABLE revoked_subjects (
    issuer TEXT NOT NULL,
    subject TEXT NOT NULL,
    revoked_at TIMESTAMP WITH TIME ZONE NOT NULL,
    PRIMARY KEY (issuer, subject)
);
CREATE TABLE tenants (
    tenant_id TEXT NOT NULL,
    rate_per_s DOUBLE PRECISION,
    burst INTEGER,
    max_in_flight INTEGER,
    weight DOUBLE PRECISION DEFAULT '1' NOT NULL,
    suspended BOOLEAN DEFAULT 'false' NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    version BIGINT DEFAULT '1' NOT NULL,
    told_version BIGINT DEFAULT '0' NOT NULL,
    next_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    PRIMARY KEY (tenant_id)
);
CREATE INDEX tenants_untold ON tenants (next_at) WHERE told_version <> version;
CREATE UNLOGGED TABLE issued_links (
    job_id UUID NOT NULL,
    valid_until TIMESTAMP WITH TIME ZONE NOT NULL,
    PRIMARY KEY (job_id)
);
CREATE INDEX issued_links_by_end ON issued_links (valid_until);
CREATE TABLE audit_outbox (
    sequence BIGINT GENERATED ALWAYS AS IDENTITY,
    event_id UUID NOT NULL,
    occurred_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    kind TEXT NOT NULL,
    tenant_id TEXT,
    actor TEXT NOT NULL,
    subject TEXT,
    outcome TEXT NOT NULL,
    details JSONB NOT NULL,
    next_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    PRIMARY KEY (sequence),
    UNIQUE (event_id)
);
"""


def upgrade() -> None:
    """Make the tables and their indexes."""
    for statement in _CHANGES.split(";"):
        if statement.strip():
            op.execute(statement)
