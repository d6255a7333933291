"""Event streams and the queue: events by tenant, waiting and running jobs, a pool's outlook."""

from __future__ import annotations

from alembic import op

revision = "0006"
down_revision = "0005"

_STATEMENTS = """
ALTER TABLE job_events ADD COLUMN tenant_id TEXT NOT NULL DEFAULT '';
UPDATE job_events SET tenant_id = jobs.tenant_id FROM jobs WHERE jobs.job_id = job_events.job_id;
ALTER TABLE job_events ALTER COLUMN tenant_id DROP DEFAULT;
CREATE INDEX job_events_by_tenant ON job_events (tenant_id, partition, "offset");
CREATE TABLE secrets (
    name TEXT NOT NULL,
    secret BYTEA NOT NULL,
    PRIMARY KEY (name)
);
INSERT INTO secrets VALUES
    ('event_ids', sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())));
ALTER TABLE jobs
    ADD COLUMN queue_rank INTEGER GENERATED ALWAYS AS
        (CASE priority WHEN 'high' THEN 0 WHEN 'normal' THEN 1 WHEN 'low' THEN 2 ELSE 3 END) STORED,
    ADD COLUMN queue_at TIMESTAMP WITH TIME ZONE GENERATED ALWAYS AS
        (COALESCE(submitted_at, created_at)) STORED,
    ADD COLUMN work_steps INTEGER GENERATED ALWAYS AS
        ((spec ->> 'num_inference_steps')::INTEGER) STORED,
    ADD COLUMN work_frames INTEGER GENERATED ALWAYS AS ((spec ->> 'num_frames')::INTEGER) STORED,
    ADD COLUMN work_pixels INTEGER GENERATED ALWAYS AS
        ((spec ->> 'width')::INTEGER * (spec ->> 'height')::INTEGER) STORED,
    ADD COLUMN work_guided BOOLEAN GENERATED ALWAYS AS
        ((spec ->> 'guidance_scale')::DOUBLE PRECISION > 1) STORED;
CREATE INDEX jobs_waiting ON jobs (pool, queue_rank, queue_at, job_id)
    INCLUDE (work_steps, work_frames, work_pixels, work_guided)
    WHERE status = 'pending' AND phase <> 'Scheduled';
CREATE INDEX jobs_on_slots ON jobs (pool) WHERE phase IN ('Scheduled', 'Started');
CREATE INDEX jobs_rendered ON jobs (pool, completed_at) WHERE status = 'completed';
CREATE TABLE pool_outlooks (
    pool TEXT NOT NULL,
    slots INTEGER NOT NULL,
    coefficients JSONB NOT NULL,
    price_per_gpu_s DOUBLE PRECISION,
    next_offset BIGINT NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    PRIMARY KEY (pool)
)
"""


def upgrade() -> None:
    """Add them."""
    for statement in _STATEMENTS.split(";\n"):
        op.execute(statement)
