"""Jobs in PostgreSQL: submit once, read, list, ask to cancel."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

from sqlalchemy import and_, func, literal, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from ingest.submission import Submission
from ingest.tables import idempotency_keys, jobs, timeline
from ingest.view import TERMINAL_STATUSES, as_submitted
from schemas.job import DEFAULT_POOL, spec_digest, spec_of

Row = Mapping[Any, Any]


class JobConflict(Exception):
    """The job id belongs to another request."""


class JobDeleted(Exception):
    """The job was deleted by its owner."""


class KeyConflict(Exception):
    """The Idempotency-Key was used for another request."""


class KeyInFlight(Exception):
    """The first request with this Idempotency-Key has not been answered yet."""


@dataclass(frozen=True, slots=True)
class Submitted:
    """The job's row, and whether this call made it."""

    row: Row
    created: bool


class KeyOfJob(NamedTuple):
    """What an Idempotency-Key is bound to, and since when."""

    job_id: uuid.UUID
    at: datetime


def job_id_for(submission: Submission) -> str:
    """The id of the job: given or new.

    An Idempotency-Key's row keeps the id: one that was made from the key could be guessed by other
    tenants, who could ask whether the job is there, or take its id first.
    """
    return submission.request.job_id or str(uuid.uuid4())


def row_for(
    submission: Submission, job_id: str, now: datetime, relay_after: float, traceparent: str | None
) -> dict[str, Any]:
    """The new job's columns; the request keeps its nulls, so that its digest stays the same."""
    request = submission.request.model_copy(update={"job_id": job_id})
    return {
        "job_id": uuid.UUID(job_id),
        "tenant_id": request.tenant_id,
        "status": "pending",
        "phase": "Submitted",
        "priority": submission.priority,
        "pool": request.pool or DEFAULT_POOL,
        "spec": spec_of(request, job_id).model_dump(),
        "spec_digest": spec_digest(request),
        "metadata": request.metadata,
        "webhook_url": request.webhook_url,
        "expires_at": request.expires_at,
        "retention_s": request.retention_s,
        "created_at": now,
        "updated_at": now,
        "request": request.model_dump(mode="json"),
        "traceparent": traceparent,
        "next_produce_at": now + timedelta(seconds=relay_after),
    }


async def submit(
    database: AsyncEngine, row: Mapping[str, Any], idempotency_key: str | None, fingerprint: str
) -> Submitted:
    """Commit the job and its idempotency key, or find the job that is there already.

    Raises:
        KeyConflict: the tenant used the key for another request.
        KeyInFlight: the first request with the key is under way.
        JobConflict: another tenant or another spec has the id.
        JobDeleted: the tenant deleted the job.
    """
    async with database.begin() as connection:
        if idempotency_key is not None:
            known = await _claim_key(connection, row, idempotency_key, fingerprint)
            if known is not None:
                return Submitted(known, created=False)
        return await add(connection, row)


async def add(connection: AsyncConnection, row: Mapping[str, Any]) -> Submitted:
    """Insert the job, or find the one that is there already.

    Raises:
        JobConflict: another tenant or another spec has the id.
        JobDeleted: the tenant deleted the job.
    """
    made = await connection.execute(
        insert(jobs).values(row).on_conflict_do_nothing().returning(*jobs.c)
    )
    new = made.mappings().one_or_none()
    if new is not None:
        return Submitted(new, created=True)
    found = await connection.execute(select(jobs).where(jobs.c.job_id == row["job_id"]))
    existing = found.mappings().one()
    if existing["deleted_at"] is not None and existing["tenant_id"] == row["tenant_id"]:
        raise JobDeleted
    if not same_request(existing, row):
        raise JobConflict
    return Submitted(existing, created=False)


def same_request(existing: Row, row: Mapping[str, Any]) -> bool:
    """Whether the job that has the id is the one that is asked for: tenant and picture."""
    return bool(
        existing["tenant_id"] == row["tenant_id"] and existing["spec_digest"] == row["spec_digest"]
    )


async def _claim_key(
    connection: AsyncConnection, row: Mapping[str, Any], key: str, fingerprint: str
) -> Row | None:
    """Bind the key to the job; the job it is bound to already, if that is the same request."""
    known = await claim_key(connection, row["tenant_id"], row["job_id"], key, fingerprint)
    if known is None:
        return None
    found = await get(connection, row["tenant_id"], known.job_id)
    if found is None:
        raise KeyConflict
    if found["deleted_at"] is not None:
        raise JobDeleted
    return as_submitted(found)


async def claim_key(
    connection: AsyncConnection,
    tenant_id: str,
    job_id: uuid.UUID,
    key: str,
    fingerprint: str,
) -> KeyOfJob | None:
    """Bind the key to an id; what it is bound to already, if that is the same request.

    The key's lock is held until the transaction ends; whoever finds it taken has come while the
    first request is under way.

    Raises:
        KeyInFlight, KeyConflict.
    """
    hashed = hash_of_key(key)
    lock = int.from_bytes(hashlib.sha256(tenant_id.encode() + b"\x00" + hashed).digest()[:8])
    free = func.pg_try_advisory_xact_lock(lock - 2**63)
    wanted = select(
        literal(tenant_id), literal(hashed), literal(job_id), literal(fingerprint)
    ).where(free)
    columns = ["tenant_id", "key_hash", "job_id", "fingerprint"]
    made = await connection.execute(
        insert(idempotency_keys).from_select(columns, wanted).on_conflict_do_nothing()
    )
    if made.rowcount:
        return None
    bound = await connection.execute(
        select(
            idempotency_keys.c.job_id,
            idempotency_keys.c.fingerprint,
            idempotency_keys.c.created_at,
        ).where(idempotency_keys.c.tenant_id == tenant_id, idempotency_keys.c.key_hash == hashed)
    )
    found = bound.one_or_none()
    if found is None:
        raise KeyInFlight
    if found.fingerprint != fingerprint:
        raise KeyConflict
    return KeyOfJob(found.job_id, found.created_at)


def hash_of_key(key: str) -> bytes:
    """SHA-256 of a key: nothing that a client chose or must keep secret is stored as it is."""
    return hashlib.sha256(key.encode()).digest()


async def unconfirmed(connection: AsyncConnection, at_most: int) -> int:
    """How many submitted jobs await their first event; counting stops at ``at_most``."""
    waiting = (
        select(jobs.c.next_produce_at)
        .where(jobs.c.confirmed_at.is_(None), jobs.c.request.is_not(None))
        .limit(at_most)
        .subquery()
    )
    return int(await connection.scalar(select(func.count()).select_from(waiting)) or 0)


async def get(connection: AsyncConnection, tenant_id: str, job_id: uuid.UUID) -> Row | None:
    """The tenant's job, or None: another tenant's is none."""
    found = await connection.execute(
        select(jobs).where(jobs.c.job_id == job_id, jobs.c.tenant_id == tenant_id)
    )
    return found.mappings().one_or_none()


async def ask_cancel(
    connection: AsyncConnection, tenant_id: str, job_id: uuid.UUID, again_after: float
) -> Row | None:
    """Note durably that the job is to be cancelled, unless it has ended.

    Returns:
        The job's row as it is now, ended, deleted or not; None when the tenant has no such job.
    """
    now = datetime.now(UTC)
    asked = await connection.execute(
        update(jobs)
        .where(
            and_(
                jobs.c.job_id == job_id,
                jobs.c.tenant_id == tenant_id,
                jobs.c.status.not_in(TERMINAL_STATUSES),
                jobs.c.deleted_at.is_(None),
            )
        )
        .values(
            cancel_requested_at=func.coalesce(jobs.c.cancel_requested_at, now),
            next_cancel_at=now + timedelta(seconds=again_after),
        )
        .returning(*jobs.c)
    )
    row = asked.mappings().one_or_none()
    return row if row is not None else await get(connection, tenant_id, job_id)


async def events(
    connection: AsyncConnection, job_id: uuid.UUID, limit: int = 1000
) -> Sequence[Row]:
    """The job's events in the order of the log."""
    query = (
        select(timeline).where(timeline.c.job_id == job_id).order_by(timeline.c.offset).limit(limit)
    )
    return (await connection.execute(query)).mappings().all()


#: Longest Idempotency-Key that is taken.
MAX_KEY: Final = 255
