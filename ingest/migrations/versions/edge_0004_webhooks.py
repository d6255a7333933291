"""Webhooks: formats, rotated secrets, failing endpoints, and a log of every attempt."""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"

_CHANGES = """
ALTER TABLE webhook_endpoints
    ADD COLUMN format TEXT DEFAULT 'native' NOT NULL,
    ADD COLUMN previous_secret TEXT,
    ADD COLUMN previous_until TIMESTAMP WITH TIME ZONE,
    ADD COLUMN failing_since TIMESTAMP WITH TIME ZONE,
    ADD COLUMN failures INTEGER DEFAULT '0' NOT NULL;
ALTER TABLE webhook_deliveries
    ALTER COLUMN job_id DROP NOT NULL,
    ADD COLUMN tries JSONB DEFAULT '[]' NOT NULL;
CREATE INDEX webhook_deliveries_ended ON webhook_deliveries (ended_at) WHERE NOT pending;
"""


def upgrade() -> None:
    """Add columns with constant defaults, which rewrites no table, and an index."""
    for statement in _CHANGES.split(";"):
        if statement.strip():
            op.execute(statement)
