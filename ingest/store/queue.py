"""What queue positions and estimates are read from: a pool's waiting, running and finished jobs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from ingest.tables import ON_SLOTS, RENDERED, WAITING, jobs, pool_outlooks
from schemas.records import PoolOutlook

Row = Mapping[Any, Any]
_WORK: Final = (jobs.c.work_steps, jobs.c.work_frames, jobs.c.work_pixels, jobs.c.work_guided)


async def waiting(connection: AsyncConnection, pool: str, limit: int) -> Sequence[Row]:
    """The pool's first waiting jobs, as its scheduler orders them."""
    order = (jobs.c.queue_rank, jobs.c.queue_at, jobs.c.job_id)
    query = (
        select(*order, *_WORK)
        .where(jobs.c.pool == pool, text(WAITING))
        .order_by(*order)
        .limit(limit)
    )
    return (await connection.execute(query)).mappings().all()


async def on_slots(connection: AsyncConnection, pool: str) -> Sequence[Row]:
    """The pool's jobs that have a slot."""
    query = select(jobs.c.phase, jobs.c.updated_at, jobs.c.progress, *_WORK).where(
        jobs.c.pool == pool, text(ON_SLOTS)
    )
    return (await connection.execute(query)).mappings().all()


async def rendered(connection: AsyncConnection, pool: str, limit: int) -> Sequence[Row]:
    """The pool's newest renders that went through undisturbed: ``took`` is an interval."""
    query = (
        select((jobs.c.completed_at - jobs.c.started_at).label("took"), *_WORK)
        .where(
            jobs.c.pool == pool,
            text(RENDERED),
            jobs.c.attempt == 1,
            jobs.c.started_at.is_not(None),
            jobs.c.work_steps.is_not(None),
        )
        .order_by(jobs.c.completed_at.desc())
        .limit(limit)
    )
    return (await connection.execute(query)).mappings().all()


async def outlook(connection: AsyncConnection, pool: str) -> Row | None:
    """What the pool's scheduler last said of it; None: nothing yet."""
    found = await connection.execute(select(pool_outlooks).where(pool_outlooks.c.pool == pool))
    return found.mappings().one_or_none()


async def set_outlook(connection: AsyncConnection, said: PoolOutlook, next_offset: int) -> None:
    """Store what a scheduler said, and where its topic goes on; an older one changes nothing."""
    new = insert(pool_outlooks).values(
        pool=said.pool,
        slots=said.slots,
        coefficients=said.coefficients,
        price_per_gpu_s=said.price_per_gpu_s,
        next_offset=next_offset,
    )
    names = ("slots", "coefficients", "price_per_gpu_s", "next_offset", "updated_at")
    await connection.execute(
        new.on_conflict_do_update(
            index_elements=["pool"],
            set_={name: new.excluded[name] for name in names},
            where=pool_outlooks.c.next_offset < next_offset,
        )
    )
