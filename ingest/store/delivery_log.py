"""The log of an endpoint's deliveries: read, replayed, cut off at its end."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal, NamedTuple

from sqlalchemy import ColumnElement, delete, func, literal, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.engine import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection

from ingest.cursor import Position
from ingest.store.deliveries import DISABLED
from ingest.tables import deliveries
from ingest.webhooks.payload import TEST, lane_of, trial_payload

Status = Literal["pending", "delivered", "failed", "notice"]

#: Deliveries that one call replays; more than a batch of the feed makes at one time.
MAX_REPLAY: Final = 1000
_TIDY_BATCH: Final = 1000
_table: Final = deliveries


class Replayed(NamedTuple):
    """How many deliveries are due again, and when the first was made that was not reached."""

    replayed: int
    next_since: datetime | None


def delivery_uuid(delivery_id: str) -> uuid.UUID:
    """The UUID in ``msg_...``, for cursors."""
    return uuid.UUID(hex=delivery_id.removeprefix("msg_"))


def _is(status: Status) -> ColumnElement[bool]:
    notice = _table.c.kind == DISABLED
    return {
        "pending": _table.c.pending,
        "delivered": _table.c.delivered,
        "failed": ~_table.c.pending & ~_table.c.delivered & ~notice,
        "notice": notice,
    }[status]


async def page(
    connection: AsyncConnection,
    endpoint_id: uuid.UUID,
    status: Status | None,
    after: Position | None,
    limit: int,
) -> Sequence[RowMapping]:
    """The endpoint's deliveries, newest first."""
    query = select(_table).where(_table.c.endpoint_id == endpoint_id)
    if status is not None:
        query = query.where(_is(status))
    if after is not None:
        last = tuple_(
            literal(after.created_at, _table.c.created_at.type), literal(f"msg_{after.job_id.hex}")
        )
        query = query.where(tuple_(_table.c.created_at, _table.c.delivery_id) < last)
    found = await connection.execute(
        query.order_by(_table.c.created_at.desc(), _table.c.delivery_id.desc()).limit(limit)
    )
    return found.mappings().all()


async def get(
    connection: AsyncConnection, endpoint_id: uuid.UUID, delivery_id: str
) -> RowMapping | None:
    """One delivery of the endpoint."""
    found = await connection.execute(
        select(_table).where(
            _table.c.endpoint_id == endpoint_id, _table.c.delivery_id == delivery_id
        )
    )
    return found.mappings().one_or_none()


async def replay(
    connection: AsyncConnection, endpoint: RowMapping, delivery_id: str
) -> RowMapping | None:
    """Make one delivery due again, with the same webhook-id; one under way stays as it is.

    Returns:
        The delivery; None when the endpoint has no such delivery, or its body is erased.
    """
    await _again(connection, endpoint, [delivery_id])
    row = await get(connection, endpoint["endpoint_id"], delivery_id)
    return row if row is not None and row["payload"] else None


async def replay_between(
    connection: AsyncConnection,
    endpoint: RowMapping,
    since: datetime,
    until: datetime,
    *,
    only_failed: bool,
) -> Replayed:
    """Make the ended deliveries of events due again, oldest first, ``MAX_REPLAY`` at most.

    Args:
        connection: In a transaction that holds the endpoint's lock.
        endpoint: Whose.
        since: Made at this time or later.
        until: Made before this time.
        only_failed: Leave those out that the receiver has taken.
    """
    query = select(_table.c.delivery_id, _table.c.created_at).where(
        _table.c.endpoint_id == endpoint["endpoint_id"],
        ~_table.c.pending,
        _table.c.job_id.is_not(None),
        _table.c.created_at >= since,
        _table.c.created_at < until,
    )
    if only_failed:
        query = query.where(~_table.c.delivered)
    ordered = query.order_by(_table.c.created_at, _table.c.delivery_id)
    found = (await connection.execute(ordered.limit(MAX_REPLAY + 1))).mappings().all()
    chosen = [row["delivery_id"] for row in found[:MAX_REPLAY]]
    more = found[MAX_REPLAY]["created_at"] if len(found) > MAX_REPLAY else None
    return Replayed(await _again(connection, endpoint, chosen), more)


async def _again(
    connection: AsyncConnection, endpoint: RowMapping, delivery_ids: Sequence[str]
) -> int:
    held = (
        select(_table.c.delivery_id)
        .where(
            _table.c.endpoint_id == endpoint["endpoint_id"],
            _table.c.delivery_id.in_(delivery_ids),
            ~_table.c.pending,
            _table.c.payload != "",
        )
        .order_by(_table.c.delivery_id)
        .with_for_update()
    )
    ids = list(await connection.scalars(held))
    await connection.execute(
        update(_table)
        .where(_table.c.delivery_id.in_(ids))
        .values(
            pending=True,
            delivered=False,
            attempts=0,
            next_at=func.now(),
            ended_at=None,
            url=endpoint["url"],
            target=lane_of(endpoint["tenant_id"], endpoint["url"]),
        )
    )
    return len(ids)


async def add_test(
    connection: AsyncConnection, endpoint: RowMapping, traceparent: str | None
) -> RowMapping:
    """Make a test of the endpoint due, whether it is enabled or not."""
    event, now = uuid.uuid4(), datetime.now(UTC)
    body = trial_payload(endpoint["format"], str(endpoint["endpoint_id"]), now, event.hex)
    values: dict[str, Any] = {
        "delivery_id": f"msg_{event.hex}",
        "endpoint_id": endpoint["endpoint_id"],
        "tenant_id": endpoint["tenant_id"],
        "kind": TEST,
        "url": endpoint["url"],
        "target": lane_of(endpoint["tenant_id"], endpoint["url"]),
        "payload": body,
        "traceparent": traceparent,
    }
    made = await connection.execute(insert(_table).values(values).returning(*_table.c))
    return made.mappings().one()


async def tidy(connection: AsyncConnection, keep: float) -> int:
    """Delete some deliveries that ended more than ``keep`` seconds ago; returns how many."""
    old = (
        select(_table.c.delivery_id)
        .where(~_table.c.pending, _table.c.ended_at < func.now() - timedelta(seconds=keep))
        .order_by(_table.c.ended_at)
        .limit(_TIDY_BATCH)
        .with_for_update(skip_locked=True)
    )
    gone = await connection.execute(
        delete(_table).where(_table.c.delivery_id.in_(old.scalar_subquery()))
    )
    return int(gone.rowcount)
