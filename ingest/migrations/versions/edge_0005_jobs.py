"""Jobs that are deleted, videos that are not kept for ever, lists that stay flat."""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"

_CHANGES = """
ALTER TABLE jobs ADD COLUMN deleted_at TIMESTAMP WITH TIME ZONE;
ALTER TABLE jobs ADD COLUMN video_expires_at TIMESTAMP WITH TIME ZONE;
ALTER TABLE jobs ADD COLUMN video_gone_at TIMESTAMP WITH TIME ZONE;
DROP INDEX jobs_by_status;
DROP INDEX jobs_by_tenant;
CREATE INDEX jobs_by_tenant ON jobs (tenant_id, created_at, job_id) WHERE deleted_at IS NULL;
CREATE INDEX jobs_by_state
    ON jobs (tenant_id, status, priority, created_at, job_id)
    WHERE deleted_at IS NULL;
CREATE INDEX jobs_by_label
    ON jobs USING gin (metadata jsonb_path_ops)
    WHERE deleted_at IS NULL AND metadata <> '{}'::jsonb;
CREATE INDEX jobs_expiring
    ON jobs (video_expires_at)
    WHERE video_expires_at IS NOT NULL AND video_gone_at IS NULL;
CREATE INDEX idempotency_keys_by_age ON idempotency_keys (created_at);
CREATE TABLE erasures (
    job_id UUID NOT NULL,
    tenant_id TEXT NOT NULL,
    cause TEXT NOT NULL,
    asked_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    next_at TIMESTAMP WITH TIME ZONE DEFAULT now(),
    passes INTEGER DEFAULT '0' NOT NULL,
    failures INTEGER DEFAULT '0' NOT NULL,
    PRIMARY KEY (job_id)
);
CREATE INDEX erasures_due ON erasures (next_at) WHERE next_at IS NOT NULL;
"""


def upgrade() -> None:
    """Make the columns, the table and the indexes."""
    for statement in _CHANGES.split(";"):
        if statement.strip():
            op.execute(statement)
