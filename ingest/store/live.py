"""What event streams read: the timeline by place in the log, running jobs' progress, who may read.

A NOTIFY says that something came, never what: it takes a lock that commits of other notifiers wait
for, so only the two followers of a feed send one, and it holds 8000 bytes at most. What came is
read from where the reader stands, for all its streams at once.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import (
    ARRAY,
    BigInteger,
    ColumnElement,
    Integer,
    TableValuedAlias,
    and_,
    cast,
    func,
    literal,
    or_,
    select,
    text,
    true,
    tuple_,
)
from sqlalchemy.dialects.postgresql import UUID
from sqlalchemy.ext.asyncio import AsyncConnection

from ingest.identity.caller import Holder, Identity
from ingest.identity.policy import permits
from ingest.tables import (
    ON_SLOTS,
    api_keys,
    feed_offsets,
    jobs,
    revoked_subjects,
    secrets,
    timeline,
)

Row = Mapping[Any, Any]
EVENTS_CHANNEL: Final = "ttv_job_events"
PROGRESS_CHANNEL: Final = "ttv_job_progress"
#: The feed whose offsets stand beside the timeline.
_FEED: Final = "projection"
#: Events of one job that a stream begins with.
_OF_JOB: Final = 1000


async def notify(connection: AsyncConnection, channel: str) -> None:
    """Have the watchers of all API processes look, once this transaction commits."""
    await connection.execute(select(func.pg_notify(channel, "")))


async def secret(connection: AsyncConnection, name: str) -> bytes:
    """A secret that all replicas share. Raises sqlalchemy.exc.NoResultFound."""
    found = await connection.execute(select(secrets.c.secret).where(secrets.c.name == name))
    return bytes(found.scalar_one())


async def heads(connection: AsyncConnection, topic: str) -> dict[int, int]:
    """The last offset that the timeline is complete to, of every partition that had an event."""
    found = await connection.execute(
        select(feed_offsets.c.partition, feed_offsets.c.next_offset).where(_of_feed(topic))
    )
    return {row.partition: row.next_offset - 1 for row in found}


async def events_after(
    connection: AsyncConnection, topic: str, seen: Mapping[int, int], limit: int
) -> Sequence[Row]:
    """All tenants' events after a place, by partition and offset.

    Args:
        connection: Where.
        topic: The projection's topic: the partitions that have had an event are looked up by it.
        seen: The last offset seen, by partition.
        limit: At most so many in all.
    """
    known = _vector(seen, "known")
    events = (
        select(timeline)
        .where(
            timeline.c.partition == feed_offsets.c.partition,
            timeline.c.offset > func.coalesce(known.c.number, -1),
        )
        .order_by(timeline.c.offset)
        .limit(limit)
        .lateral("events")
    )
    query = (
        select(events)
        .select_from(feed_offsets)
        .outerjoin(known, known.c.partition == feed_offsets.c.partition)
        .join(events, true())
        .where(_of_feed(topic))
        .order_by(events.c.partition, events.c.offset)
        .limit(limit)
    )
    return (await connection.execute(query)).mappings().all()


async def events_of_tenant(
    connection: AsyncConnection,
    tenant_id: str,
    after: Mapping[int, int],
    through: Mapping[int, int],
    limit: int,
) -> Sequence[Row]:
    """One tenant's events after one place and through another, by partition and offset.

    Args:
        connection: Where.
        tenant_id: Whose.
        after: The last offset seen, by partition; of others none.
        through: The last offset wanted, by partition; of others none.
        limit: At most so many in all.
    """
    since, until = _vector(after, "since"), _vector(through, "until")
    events = (
        select(timeline)
        .where(
            timeline.c.tenant_id == tenant_id,
            timeline.c.partition == until.c.partition,
            timeline.c.offset > func.coalesce(since.c.number, -1),
            timeline.c.offset <= until.c.number,
        )
        .order_by(timeline.c.offset)
        .limit(limit)
        .lateral("events")
    )
    query = (
        select(events)
        .select_from(until)
        .outerjoin(since, since.c.partition == until.c.partition)
        .join(events, true())
        .order_by(events.c.partition, events.c.offset)
        .limit(limit)
    )
    return (await connection.execute(query)).mappings().all()


async def jobs_and_events(
    connection: AsyncConnection, job_ids: Collection[uuid.UUID]
) -> dict[uuid.UUID, tuple[Row, list[Row]]]:
    """Tenant and status of each job that exists, and its events in order: two queries for all."""
    ids = sorted(job_ids)
    found = await connection.execute(
        select(jobs.c.job_id, jobs.c.tenant_id, jobs.c.status).where(jobs.c.job_id.in_(ids))
    )
    opened: dict[uuid.UUID, tuple[Row, list[Row]]] = {
        row["job_id"]: (row, []) for row in found.mappings()
    }
    asked = func.unnest(cast(literal(ids), ARRAY(UUID(as_uuid=True))))
    wanted = asked.table_valued("job_id").render_derived(name="wanted")
    events = (
        select(timeline)
        .where(timeline.c.job_id == wanted.c.job_id)
        .order_by(timeline.c.offset)
        .limit(_OF_JOB)
        .lateral("events")
    )
    query = select(events).select_from(wanted).join(events, true()).order_by(events.c.offset)
    for row in (await connection.execute(query)).mappings():
        if row["job_id"] in opened:
            opened[row["job_id"]][1].append(row)
    return opened


async def progress(connection: AsyncConnection) -> Sequence[Row]:
    """The newest report of every running job."""
    query = select(jobs.c.job_id, jobs.c.tenant_id, jobs.c.attempt, jobs.c.progress).where(
        text(ON_SLOTS), jobs.c.progress.is_not(None)
    )
    return (await connection.execute(query)).mappings().all()


async def fallen(
    connection: AsyncConnection, identities: Collection[Identity], now: datetime
) -> set[Identity]:
    """Those of ``identities`` that no longer stand: expired, revoked, or not what they were."""
    keys = {identity for identity in identities if identity.holder is None}
    return await _fallen_keys(connection, keys) | await _fallen_tokens(
        connection, {identity: identity.holder for identity in identities if identity.holder}, now
    )


async def _fallen_keys(connection: AsyncConnection, keys: Collection[Identity]) -> set[Identity]:
    ids = sorted({identity.key_id for identity in keys})
    found = await connection.execute(
        select(api_keys.c.key_id, api_keys.c.tenant_id, api_keys.c.role, api_keys.c.scopes).where(
            api_keys.c.key_id == func.any(cast(literal(ids), ARRAY(UUID(as_uuid=True)))),
            api_keys.c.revoked_at.is_(None),
            or_(api_keys.c.expires_at.is_(None), api_keys.c.expires_at > func.now()),
        )
    )
    standing = {
        (row.key_id, row.tenant_id) for row in found if permits(row.role, "jobs:read", row.scopes)
    }
    return {i for i in keys if (i.key_id, i.tenant_id) not in standing}


async def _fallen_tokens(
    connection: AsyncConnection, tokens: Mapping[Identity, Holder], now: datetime
) -> set[Identity]:
    named = sorted({(holder.issuer, holder.subject) for holder in tokens.values()})
    found = await connection.execute(
        select(revoked_subjects).where(
            tuple_(revoked_subjects.c.issuer, revoked_subjects.c.subject).in_(named)
        )
    )
    revoked = {(row.issuer, row.subject): row.revoked_at for row in found}
    return {
        identity
        for identity, of in tokens.items()
        if of.expires_at <= now
        or of.revocable_at <= revoked.get((of.issuer, of.subject), datetime.min.replace(tzinfo=UTC))
    }


def _of_feed(topic: str) -> ColumnElement[bool]:
    return and_(feed_offsets.c.feed == _FEED, feed_offsets.c.topic == topic)


def _vector(of: Mapping[int, int], name: str) -> TableValuedAlias:
    """A table of ``partition`` and ``number``."""
    return (
        func.unnest(
            cast(literal(list(of)), ARRAY(Integer)),
            cast(literal(list(of.values())), ARRAY(BigInteger)),
        )
        .table_valued("partition", "number")
        .render_derived(name=name)
    )
