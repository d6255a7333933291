"""Creates through the OpenAI-compatible API, so that a client's retry finds the first one's job."""

from __future__ import annotations

from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Make the table."""
    op.execute(
        """
        CREATE TABLE video_creates (
            create_id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            credential TEXT NOT NULL,
            fingerprint TEXT NOT NULL,
            job_id UUID NOT NULL,
            retried INTEGER NOT NULL,
            first_seen BOOLEAN NOT NULL,
            created_at TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp()
        )
        """
    )
    op.execute(
        "CREATE INDEX video_creates_by_body ON video_creates (credential, fingerprint, create_id)"
    )
    op.execute("CREATE INDEX video_creates_by_age ON video_creates (created_at)")
