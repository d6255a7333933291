"""Tenants' limits in PostgreSQL, and which of them Kafka has yet to be told of.

A change raises the row's version; the worker tells Kafka of the row as it is and then notes the
version it told. A row is leased meanwhile, so that no older version overtakes a newer one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import case, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.engine import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection

from ingest.tables import tenants
from schemas.records import Tenant

#: What an operator sets.
LIMITS: Final = ("rate_per_s", "burst", "max_in_flight", "weight", "suspended")


async def get(connection: AsyncConnection, tenant_id: str) -> RowMapping | None:
    """A tenant's row; None: it has the service's defaults."""
    found = await connection.execute(select(tenants).where(tenants.c.tenant_id == tenant_id))
    return found.mappings().one_or_none()


async def page(connection: AsyncConnection, after: str, limit: int) -> Sequence[RowMapping]:
    """Up to ``limit`` tenants in the order of their ids, after one ("": from the first)."""
    found = await connection.execute(
        select(tenants)
        .where(tenants.c.tenant_id > after)
        .order_by(tenants.c.tenant_id)
        .limit(limit)
    )
    return found.mappings().all()


async def put(connection: AsyncConnection, tenant: Tenant) -> RowMapping | None:
    """Set a tenant's limits; its row as it is now, or None when that is what they were."""
    values = tenant.model_dump()
    wanted = insert(tenants).values(values)
    differs = or_(*(tenants.c[name].is_distinct_from(wanted.excluded[name]) for name in LIMITS))
    done = await connection.execute(
        wanted.on_conflict_do_update(
            index_elements=["tenant_id"],
            set_={name: wanted.excluded[name] for name in LIMITS}
            | {"updated_at": func.now(), "version": tenants.c.version + 1},
            where=differs,
        ).returning(*tenants.c)
    )
    return done.mappings().one_or_none()


async def lease(connection: AsyncConnection, most: int, seconds: float) -> Sequence[RowMapping]:
    """Up to ``most`` rows that Kafka has not been told of; due again after ``seconds``."""
    due = (
        select(tenants.c.tenant_id)
        .where(tenants.c.told_version != tenants.c.version, tenants.c.next_at <= func.now())
        .order_by(tenants.c.next_at)
        .limit(most)
        .with_for_update(skip_locked=True)
    )
    leased = await connection.execute(
        update(tenants)
        .where(tenants.c.tenant_id.in_(due.scalar_subquery()))
        .values(next_at=func.now() + func.make_interval(0, 0, 0, 0, 0, 0, seconds))
        .returning(*tenants.c)
    )
    return leased.mappings().all()


async def told(connection: AsyncConnection, tenant_id: str, version: int) -> None:
    """Note what Kafka was told.

    Whoever froze for longer than its lease may have told an old version after a newer one: then
    the row is due again, and the newest is told last.
    """
    overtaken = tenants.c.told_version > version
    await connection.execute(
        update(tenants)
        .where(tenants.c.tenant_id == tenant_id)
        .values(told_version=case((overtaken, 0), else_=version), next_at=func.now())
    )


def record_of(row: RowMapping) -> Tenant:
    """The row as Kafka is told of it."""
    values: dict[str, Any] = {name: row[name] for name in ("tenant_id", *LIMITS)}
    return Tenant.model_validate(values)
