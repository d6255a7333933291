"""Pages of a tenant's jobs, from PostgreSQL, in the time that a page takes however many there are.

A filter by status or priority becomes one branch a pair, each in an index's order and cut at the
page's length; merging them needs no sort. Labels are found by containment, through an index.
"""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, select, text, tuple_, union_all
from sqlalchemy.ext.asyncio import AsyncConnection

from ingest.cursor import Position
from ingest.listing import Filters
from ingest.store.jobs import Row
from ingest.tables import jobs
from schemas.job import PRIORITIES
from schemas.states import STATUSES

#: As the partial index has it.
_LABELLED: Final = text("metadata <> '{}'::jsonb")


async def page(
    connection: AsyncConnection,
    tenant_id: str,
    filters: Filters,
    after: Position | None,
    limit: int,
) -> Sequence[Row]:
    """Up to ``limit`` of the tenant's jobs, in the order of ``filters``, after a position."""
    found = await connection.execute(statement(tenant_id, filters, after, limit))
    rows: Sequence[Row] = found.mappings().all()
    return rows


async def position(
    connection: AsyncConnection, tenant_id: str, job_id: uuid.UUID
) -> Position | None:
    """Where the tenant's job stands in its lists, also when it was deleted; None: no such job."""
    found = await connection.execute(
        select(jobs.c.created_at, jobs.c.job_id).where(
            jobs.c.job_id == job_id, jobs.c.tenant_id == tenant_id
        )
    )
    row = found.one_or_none()
    return None if row is None else Position(row.created_at, row.job_id)


def statement(tenant_id: str, filters: Filters, after: Position | None, limit: int) -> Select[Any]:
    """The query of :func:`page`."""
    shared = _shared(tenant_id, filters, after)
    pairs = _pairs(filters)
    branches = [
        _ordered(select(jobs).where(*shared, *pair), filters, jobs.c).limit(limit) for pair in pairs
    ]
    if len(branches) == 1:
        return branches[0]
    merged = union_all(*(branch.subquery().select() for branch in branches)).subquery("merged")
    return _ordered(select(merged), filters, merged.c).limit(limit)


def _shared(tenant_id: str, filters: Filters, after: Position | None) -> list[ColumnElement[bool]]:
    found: list[Any] = [jobs.c.tenant_id == tenant_id, jobs.c.deleted_at.is_(None)]
    if filters.after is not None:
        found.append(jobs.c.created_at >= filters.after)
    if filters.before is not None:
        found.append(jobs.c.created_at < filters.before)
    if filters.labels:
        found += [_LABELLED, jobs.c.metadata.contains(dict(filters.labels))]
    if after is not None:
        here = tuple_(jobs.c.created_at, jobs.c.job_id)
        there = tuple_(after.created_at, after.job_id)
        found.append(here > there if filters.ascending else here < there)
    return found


def _pairs(filters: Filters) -> list[tuple[ColumnElement[bool], ...]]:
    """Status and priority of each branch; one branch without either: all jobs."""
    if not filters.statuses and not filters.priorities:
        return [()]
    statuses = filters.statuses or STATUSES
    priorities = filters.priorities or PRIORITIES
    return [
        (jobs.c.status == status, jobs.c.priority == priority)
        for status, priority in itertools.product(statuses, priorities)
    ]


def _ordered(query: Select[Any], filters: Filters, columns: Any) -> Select[Any]:
    key = (columns.created_at, columns.job_id)
    return query.order_by(*(key if filters.ascending else (part.desc() for part in key)))
