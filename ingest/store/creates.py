"""Creates through ``/v1/videos``: a client's retry is the first request's job, and no second one.

The ``openai`` client repeats a create on time-outs and lost connections, with a count and without
a key. Each create therefore leaves a row, bound to the credential and to the digest of the body,
and all creates of one digest take turns at a lock of PostgreSQL: whichever replica a repeat comes
to, it sees what was committed before it. Two questions remain, and the row answers both:

- Which of several equal creates does a retry repeat? The newest that no retry of its count was
  given yet: so n parallel creates and their n retries stay n jobs.
- What if the retry overtakes the first request, which still waits for its turn? Then the retry
  makes the job, and a first request that had come in before that was done takes it over.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from sqlalchemy import Select, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from ingest.store.jobs import Row, Submitted, add
from ingest.tables import jobs, video_creates

#: How long after a create its retries are known.
WINDOW: Final = timedelta(minutes=10)
#: Old rows that a new one takes away: more than are made, so that the table stays small.
_SWEPT: Final = 4


@dataclass(frozen=True, slots=True)
class Create:
    """One request to create a video.

    Attributes:
        credential: Who asks, as closely as can be told: a key, not only its tenant.
        fingerprint: Digest of the whole body, its meaning and not its bytes.
        retries: As the client counts them; 0: its first try.
        began: When the request came in, by this process's monotonic clock: only its age is told
            to the database, so that the clocks of replicas need not agree.
    """

    credential: str
    fingerprint: str
    retries: int
    began: float


async def submit(database: AsyncEngine, row: Mapping[str, Any], asked: Create) -> Submitted:
    """Commit the job, or find the one that the request is a retry for.

    Raises:
        JobConflict: another tenant or another spec has the id.
        JobDeleted: the tenant deleted the job of the given id.
    """
    async with database.begin() as connection:
        await _take_turn(connection, asked)
        found = await _repeated(connection, asked)
        if found is not None:
            return Submitted(found, created=False)
        done = await add(connection, row)
        await _note(connection, asked, done.row)
        return done


async def _take_turn(connection: AsyncConnection, asked: Create) -> None:
    # Waits for as long as a statement may take; after that the client tries again.
    name = func.hashtextextended(f"{asked.credential}\x1f{asked.fingerprint}", 0)
    await connection.execute(select(func.pg_advisory_xact_lock(name)))


async def _repeated(connection: AsyncConnection, asked: Create) -> Row | None:
    """The job's row, if the request is a retry, or a first one that its retry overtook."""
    query: Select[Any] = (
        select(video_creates.c.create_id, *jobs.c)
        .join(jobs, jobs.c.job_id == video_creates.c.job_id)
        .where(
            video_creates.c.credential == asked.credential,
            video_creates.c.fingerprint == asked.fingerprint,
            video_creates.c.created_at > func.clock_timestamp() - WINDOW,
            jobs.c.deleted_at.is_(None),
        )
        .order_by(video_creates.c.create_id.desc())
        .limit(1)
    )
    change: dict[str, Any] = {"retried": asked.retries}
    if asked.retries > 0:
        query = query.where(video_creates.c.retried < asked.retries)
    else:
        change = {"first_seen": True}
        age = timedelta(seconds=time.monotonic() - asked.began)
        query = query.where(
            video_creates.c.first_seen.is_(False),
            video_creates.c.created_at > func.clock_timestamp() - age,
        )
    found: Row | None = (await connection.execute(query)).mappings().one_or_none()
    if found is not None:
        of = video_creates.c.create_id == found["create_id"]
        await connection.execute(update(video_creates).where(of).values(change))
    return found


async def _note(connection: AsyncConnection, asked: Create, row: Row) -> None:
    old = (
        select(video_creates.c.create_id)
        .where(video_creates.c.created_at < func.clock_timestamp() - WINDOW)
        .limit(_SWEPT)
        .with_for_update(skip_locked=True)
    )
    await connection.execute(delete(video_creates).where(video_creates.c.create_id.in_(old)))
    await connection.execute(
        insert(video_creates).values(
            credential=asked.credential,
            fingerprint=asked.fingerprint,
            job_id=row["job_id"],
            retried=asked.retries,
            first_seen=asked.retries == 0,
        )
    )
