"""Alembic's environment: runs on the connection that ``ingest.db.migrate`` hands over."""

from __future__ import annotations

from alembic import context

from ingest.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table="edge_version",
)
with context.begin_transaction():
    context.run_migrations()
