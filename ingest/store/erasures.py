"""Erasures in PostgreSQL: jobs that their owner deleted, videos that are kept no longer.

A deleted job's row stays as a tombstone: ids, times and how it ended, nothing that its owner said.
``erasures`` outlives a rebuild of the read model: by it the projection knows what to leave out.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Text,
    and_,
    case,
    cast,
    delete,
    func,
    literal,
    null,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, insert
from sqlalchemy.ext.asyncio import AsyncConnection

from ingest.store.jobs import Row, get
from ingest.tables import deliveries, erasures, idempotency_keys, jobs
from ingest.view import TERMINAL_STATUSES

#: Columns that hold what the owner said, and what a deleted job has there.
SAID: Final[dict[str, Any]] = {
    "spec": None,
    "spec_digest": None,
    "metadata": {},
    "webhook_url": None,
}
#: Where a delivery's payload says it; the shape of some payloads has none of them.
_IN_PAYLOAD: Final = {
    "prompt": "null",
    "negative_prompt": "null",
    "webhook_url": "null",
    "metadata": "{}",
}
_TEXTS: Final = ARRAY(Text)
DELETED: Final = "deleted"
EXPIRED: Final = "expired"


@dataclass(frozen=True, slots=True)
class Due:
    """An erasure whose time has come.

    Attributes:
        job_id: Of what.
        tenant_id: Whose.
        cause: ``deleted`` or ``expired``.
        asked_at: Since when it is to be erased.
        failures: Passes in a row that failed.
        confirmed: An event of the job was seen, or its row is not there.
        ended_at: When the job ended; None: it has not, as far as is known.
    """

    job_id: uuid.UUID
    tenant_id: str
    cause: str
    asked_at: datetime
    failures: int
    confirmed: bool
    ended_at: datetime | None


async def delete_job(
    connection: AsyncConnection,
    tenant_id: str,
    job_id: uuid.UUID,
    now: datetime,
    again_after: float,
) -> tuple[Row, bool] | None:
    """Make the job a tombstone, have it cancelled if it has not ended, and its objects erased.

    Args:
        connection: In a transaction.
        tenant_id: Whose it must be.
        job_id: Which.
        now: When it is deleted.
        again_after: Seconds until the relay asks for the cancel again.

    Returns:
        The tombstone, and whether this call made it; None when the tenant has no such job.
    """
    running = jobs.c.status.not_in(TERMINAL_STATUSES)
    gone = await connection.execute(
        update(jobs)
        .where(jobs.c.job_id == job_id, jobs.c.tenant_id == tenant_id, jobs.c.deleted_at.is_(None))
        .values(
            **SAID,
            request=None,
            progress=None,
            deleted_at=now,
            video_gone_at=func.coalesce(jobs.c.video_gone_at, now),
            cancel_requested_at=case(
                (running, func.coalesce(jobs.c.cancel_requested_at, now)),
                else_=jobs.c.cancel_requested_at,
            ),
            next_cancel_at=case((running, _in(again_after)), else_=null()),
        )
        .returning(*jobs.c)
    )
    row = gone.mappings().one_or_none()
    if row is None:
        known = await get(connection, tenant_id, job_id)
        return None if known is None else (known, False)
    asked = insert(erasures).values(
        job_id=job_id, tenant_id=tenant_id, cause=DELETED, asked_at=now, next_at=now
    )
    await connection.execute(
        asked.on_conflict_do_update(
            index_elements=["job_id"],
            set_={"cause": DELETED, "asked_at": now, "next_at": now, "passes": 0, "failures": 0},
        )
    )
    await redact(connection, job_id)
    return row, True


async def redact(connection: AsyncConnection, job_id: uuid.UUID) -> None:
    """Take what the owner said out of every row that the job has; harmless to repeat."""
    await connection.execute(
        update(jobs)
        .where(jobs.c.job_id == job_id, jobs.c.deleted_at.is_not(None))
        .values(**SAID, request=None, progress=None)
    )
    body: ColumnElement[Any] = cast(deliveries.c.payload, JSONB)
    for name, value in _IN_PAYLOAD.items():
        nothing = cast(literal(value, Text), JSONB)
        body = func.jsonb_set(body, cast(["data", name], _TEXTS), nothing, False)
    own = deliveries.c.endpoint_id.is_(None)
    ends = and_(own, deliveries.c.pending)
    await connection.execute(
        update(deliveries)
        .where(deliveries.c.job_id == job_id)
        .values(
            payload=cast(body, deliveries.c.payload.type),
            # The job's own URL is erased with it: nothing more is sent there.
            url=case((own, ""), else_=deliveries.c.url),
            target=case((own, ""), else_=deliveries.c.target),
            pending=case((own, False), else_=deliveries.c.pending),
            last_error=case((ends, "the job was deleted"), else_=deliveries.c.last_error),
            ended_at=case((ends, func.now()), else_=deliveries.c.ended_at),
        )
    )


async def deleted_among(
    connection: AsyncConnection, job_ids: Collection[uuid.UUID]
) -> dict[uuid.UUID, datetime]:
    """Those of ``job_ids`` that were deleted, and when."""
    found = await connection.execute(
        select(erasures.c.job_id, erasures.c.asked_at).where(
            erasures.c.job_id.in_(job_ids), erasures.c.cause == DELETED
        )
    )
    return {row.job_id: row.asked_at for row in found}


async def expire(connection: AsyncConnection, most: int) -> int:
    """Have up to ``most`` videos erased whose time is over; how many."""
    over = (
        select(jobs.c.job_id)
        .where(jobs.c.video_expires_at <= func.now(), jobs.c.video_gone_at.is_(None))
        .order_by(jobs.c.video_expires_at)
        .limit(most)
        .with_for_update(skip_locked=True)
    )
    gone = await connection.execute(
        update(jobs)
        .where(jobs.c.job_id.in_(over.scalar_subquery()))
        .values(video_gone_at=func.now())
        .returning(jobs.c.job_id, jobs.c.tenant_id)
    )
    rows = [{"job_id": r.job_id, "tenant_id": r.tenant_id, "cause": EXPIRED} for r in gone]
    if rows:
        await connection.execute(insert(erasures).on_conflict_do_nothing(), rows)
    return len(rows)


async def lease(connection: AsyncConnection, most: int, seconds: float) -> list[Due]:
    """Up to ``most`` erasures that are due; due again after ``seconds``."""
    due = (
        select(erasures.c.job_id)
        .where(erasures.c.next_at <= func.now())
        .order_by(erasures.c.next_at)
        .limit(most)
        .with_for_update(skip_locked=True)
    )
    leased = await connection.execute(
        update(erasures)
        .where(erasures.c.job_id.in_(due.scalar_subquery()))
        .values(next_at=_in(seconds))
        .returning(
            erasures.c.job_id,
            erasures.c.tenant_id,
            erasures.c.cause,
            erasures.c.asked_at,
            erasures.c.failures,
        )
    )
    rows = leased.all()
    ends = await connection.execute(
        select(jobs.c.job_id, jobs.c.confirmed_at, jobs.c.completed_at).where(
            jobs.c.job_id.in_([row.job_id for row in rows])
        )
    )
    known = {job_id: (confirmed, ended) for job_id, confirmed, ended in ends}
    found = []
    for job_id, tenant_id, cause, asked_at, failures in rows:
        confirmed, ended = known.get(job_id, (asked_at, None))
        seen = confirmed is not None
        found.append(Due(job_id, tenant_id, cause, asked_at, failures, seen, ended))
    return found


async def again(
    connection: AsyncConnection, job_id: uuid.UUID, after: float, *, failed: bool
) -> None:
    """Nothing was done: the erasure is due again in ``after`` seconds."""
    failures = erasures.c.failures + 1 if failed else 0
    await connection.execute(
        update(erasures)
        .where(erasures.c.job_id == job_id)
        .values(next_at=_in(after), failures=failures)
    )


async def done(connection: AsyncConnection, of: Due, next_at: datetime | None) -> None:
    """The objects are deleted: rows follow, and the next pass is at ``next_at``; None: no more."""
    if of.cause == DELETED:
        await redact(connection, of.job_id)
    if next_at is None:
        await connection.execute(
            update(jobs).where(jobs.c.job_id == of.job_id).values(next_cancel_at=None)
        )
    await connection.execute(
        update(erasures)
        .where(erasures.c.job_id == of.job_id, erasures.c.asked_at == of.asked_at)
        .values(next_at=next_at, failures=0, passes=erasures.c.passes + 1)
    )


async def finished(connection: AsyncConnection, job_id: uuid.UUID) -> bool:
    """Whether nothing of the deleted job is left to erase."""
    left = await connection.scalar(
        select(erasures.c.job_id).where(
            erasures.c.job_id == job_id, erasures.c.next_at.is_not(None)
        )
    )
    return left is None


async def forget_keys(connection: AsyncConnection, seconds: float) -> None:
    """Forget Idempotency-Keys, and the digests of their requests, that are older than that."""
    await connection.execute(
        delete(idempotency_keys).where(idempotency_keys.c.created_at < _in(-seconds))
    )


def _in(seconds: float) -> ColumnElement[datetime]:
    return func.now() + func.make_interval(0, 0, 0, 0, 0, 0, seconds)
