"""The read model: jobs.events folded into rows, with the feed's offsets in the same transaction."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, and_, bindparam, case, func, null, or_
from sqlalchemy.dialects.postgresql import Insert, insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from infra.settings import Settings
from ingest.metrics import FEED_SKIPPED
from ingest.read_model import Placed, event_row, folded
from ingest.retention import FOR_EVER, Retention
from ingest.store.erasures import SAID, deleted_among
from ingest.store.live import EVENTS_CHANNEL, notify
from ingest.tables import jobs, timeline
from ingest.worker.feed import Happened, follow
from schemas.states import STATUS_OF_KIND
from schemas.topics import Topics

#: Kept from the first event, or from the submit, that had them.
_KEPT: Final = ("started_at", "confirmed_at", "submitted_at")
#: Only events that carry the admitted job say these.
_OF_JOB: Final = ("spec", "spec_digest", "expires_at", "retention_s", "parent_job_id")
_PLAIN: Final = (
    "tenant_id",
    "status",
    "phase",
    "priority",
    "pool",
    "attempt",
    "slot",
    "reason",
    "artifact",
    "metadata",
    "webhook_url",
    "updated_at",
    "completed_at",
    "video_expires_at",
    "event_partition",
    "event_offset",
)


async def project(settings: Settings, database: AsyncEngine) -> None:
    """Follow jobs.events for ever. Raises what :func:`ingest.worker.feed.follow` raises."""
    topic = Topics(settings.topic_prefix).events
    kept = Retention.of(settings)

    async def write(connection: AsyncConnection, batch: Sequence[Happened]) -> None:
        await apply(connection, batch, kept)

    await follow("projection", topic, settings, database, write)


async def apply(
    connection: AsyncConnection, batch: Sequence[Happened], kept: Retention = FOR_EVER
) -> None:
    """Write the rows of a batch. Events that were applied before change nothing.

    Args:
        connection: In a transaction.
        batch: Events in the log's order.
        kept: For how long videos are.
    """
    placed = [Placed(item.event, item.partition, item.offset) for item in batch]
    await connection.execute(
        insert(timeline).on_conflict_do_nothing(), [event_row(item) for item in placed]
    )
    rows = folded(placed)
    if rows:
        gone = await deleted_among(connection, [row["job_id"] for row in rows])
        made = [_kept(row, kept) | _tombstone(gone.get(row["job_id"])) for row in rows]
        await connection.execute(_upsert(), made)
    await notify(connection, EVENTS_CHANNEL)
    unknown = sum(item.event.kind not in STATUS_OF_KIND for item in batch)
    FEED_SKIPPED.labels("projection").inc(unknown)


def _kept(row: dict[str, Any], kept: Retention) -> dict[str, Any]:
    return row | {"video_expires_at": kept.expiry(row), "deleted_at": None}


def _tombstone(deleted_at: datetime | None) -> dict[str, Any]:
    """What a deleted job's row has instead of what the log says, also when it is made anew."""
    if deleted_at is None:
        return {}
    return SAID | {"deleted_at": deleted_at}


def _upsert() -> Insert:
    """The log wins over what a submit wrote, in everything but a job that has ended."""
    statement = insert(jobs)
    new = statement.excluded
    changed: dict[str, Any] = {name: new[name] for name in _PLAIN}
    changed |= {name: func.coalesce(jobs.c[name], new[name]) for name in _KEPT}
    changed |= {name: _if_job(new.spec, new[name], jobs.c[name]) for name in _OF_JOB}
    # Whatever the log still says: a deletion that came in between stands.
    deleted = func.coalesce(jobs.c.deleted_at, new.deleted_at)
    said = {name: bindparam(None, value, type_=jobs.c[name].type) for name, value in SAID.items()}
    changed |= {
        name: case((deleted.is_not(None), nothing), else_=changed[name])
        for name, nothing in said.items()
    }
    changed["deleted_at"] = deleted
    # Progress belongs to a running attempt.
    running = and_(new.status == "processing", jobs.c.attempt == new.attempt)
    changed["progress"] = case((running, jobs.c.progress), else_=null())
    ended = new.completed_at.is_not(None)
    changed["next_cancel_at"] = case((ended, null()), else_=jobs.c.next_cancel_at)
    return statement.on_conflict_do_update(
        index_elements=["job_id"],
        set_=changed,
        where=and_(
            # An event comes after a terminal one only by a fault elsewhere: the end stands.
            jobs.c.completed_at.is_(None),
            or_(
                jobs.c.event_partition.is_distinct_from(new.event_partition),
                jobs.c.event_offset < new.event_offset,
            ),
        ),
    )


def _if_job(
    spec: ColumnElement[Any], new: ColumnElement[Any], old: ColumnElement[Any]
) -> ColumnElement[Any]:
    return case((spec.is_not(None), new), else_=old)
