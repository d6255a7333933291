"""Jobs in PostgreSQL as ``/v1/videos`` lists them: in either order, after a job."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Literal

from sqlalchemy import select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from ingest.cursor import Position
from ingest.store.jobs import Row
from ingest.tables import jobs

Order = Literal["asc", "desc"]


async def position(
    connection: AsyncConnection, tenant_id: str, job_id: uuid.UUID
) -> Position | None:
    """Where the tenant's job stands in its lists; None when there is none."""
    found = await connection.execute(
        select(jobs.c.created_at, jobs.c.job_id).where(
            jobs.c.job_id == job_id, jobs.c.tenant_id == tenant_id
        )
    )
    row = found.one_or_none()
    return None if row is None else Position(row.created_at, row.job_id)


async def page(
    connection: AsyncConnection, tenant_id: str, after: Position | None, limit: int, order: Order
) -> Sequence[Row]:
    """Up to ``limit`` of the tenant's jobs by their age, after a position."""
    place = tuple_(jobs.c.created_at, jobs.c.job_id)
    query = select(jobs).where(jobs.c.tenant_id == tenant_id).limit(limit)
    if order == "asc":
        query = query.order_by(jobs.c.created_at, jobs.c.job_id)
    else:
        query = query.order_by(jobs.c.created_at.desc(), jobs.c.job_id.desc())
    if after is not None:
        bound = tuple_(after.created_at, after.job_id)
        query = query.where(place > bound if order == "asc" else place < bound)
    return (await connection.execute(query)).mappings().all()
