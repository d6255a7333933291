"""Many jobs in one transaction, each made or not by itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from ingest.store.jobs import JobConflict, JobDeleted, Submitted, same_request
from ingest.tables import jobs

Outcome = Submitted | JobConflict | JobDeleted


async def submit_many(
    connection: AsyncConnection, rows: Sequence[Mapping[str, Any]]
) -> list[Outcome]:
    """Make the jobs that are not there yet; what became of each, in order.

    Args:
        connection: In a transaction.
        rows: From :func:`ingest.store.jobs.row_for`; two may have the same id.
    """
    if not rows:
        return []
    # In one order, so that two batches with the same ids never wait for each other.
    ordered = sorted((dict(row) for row in rows), key=lambda row: str(row["job_id"]))
    made = await connection.execute(
        insert(jobs).on_conflict_do_nothing().returning(*jobs.c), ordered
    )
    new = {row["job_id"]: row for row in made.mappings()}
    wanted = [row["job_id"] for row in rows]
    found = await connection.execute(select(jobs).where(jobs.c.job_id.in_(wanted)))
    known = {row["job_id"]: row for row in found.mappings()}
    outcomes: list[Outcome] = []
    for row in rows:
        existing = known[row["job_id"]]
        if existing["tenant_id"] == row["tenant_id"] and existing["deleted_at"] is not None:
            outcomes.append(JobDeleted())
        elif not same_request(existing, row):
            outcomes.append(JobConflict())
        else:
            outcomes.append(Submitted(existing, new.pop(row["job_id"], None) is not None))
    return outcomes
