"""Deliveries on their way: made due, leased, noted with how they went."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from sqlalchemy import func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.engine import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection

from ingest.store import audit
from ingest.tables import deliveries, webhook_endpoints
from ingest.webhooks.outcome import Outcome
from ingest.webhooks.payload import lane_of

#: The kind of a line in the log that says why an endpoint was disabled.
DISABLED: Final = "webhook.disabled"
GONE: Final = "the receiver answered 410"
#: Attempts that the log keeps of a delivery, the newest.
MAX_TRIES: Final = 20

#: Due deliveries, of each lane and each tenant as many as it has room for, tenants taking turns.
#: Walks the index from lane to lane (a loose index scan), so one with a long queue hides nobody.
_CLAIM: Final = text(
    """
    WITH RECURSIVE lanes AS (
        (SELECT target FROM webhook_deliveries WHERE pending ORDER BY target LIMIT 1)
        UNION ALL
        SELECT (SELECT d.target FROM webhook_deliveries d
                WHERE d.pending AND d.target > l.target ORDER BY d.target LIMIT 1)
        FROM lanes l WHERE l.target IS NOT NULL
    ), room AS (
        SELECT l.target, coalesce(b.more, :per_lane) AS more
        FROM lanes l
        LEFT JOIN unnest(CAST(:lanes AS text[]), CAST(:lane_room AS int[])) AS b(target, more)
            ON b.target = l.target
        WHERE l.target IS NOT NULL
    ), due AS (
        SELECT d.delivery_id, d.next_at, d.tenant_id,
            row_number() OVER (PARTITION BY d.tenant_id ORDER BY d.next_at) AS turn
        FROM room r
        CROSS JOIN LATERAL (
            SELECT delivery_id, next_at, tenant_id FROM webhook_deliveries
            WHERE pending AND target = r.target AND next_at <= now()
            ORDER BY next_at LIMIT r.more
        ) d
    ), chosen AS (
        SELECT due.delivery_id FROM due
        LEFT JOIN unnest(CAST(:tenants AS text[]), CAST(:tenant_room AS int[])) AS b(tenant, more)
            ON b.tenant = due.tenant_id
        WHERE due.turn <= coalesce(b.more, :per_tenant)
        ORDER BY due.turn, due.next_at LIMIT :most
    ), taken AS (
        SELECT w.delivery_id, w.endpoint_id FROM webhook_deliveries w
        WHERE w.delivery_id IN (SELECT delivery_id FROM chosen)
            AND w.pending AND w.next_at <= now()
        FOR UPDATE SKIP LOCKED
    )
    UPDATE webhook_deliveries w
    SET next_at = now() + make_interval(secs => :lease), attempts = attempts + 1
    FROM taken LEFT JOIN webhook_endpoints e ON e.endpoint_id = taken.endpoint_id
    WHERE w.delivery_id = taken.delivery_id
    RETURNING w.delivery_id, w.endpoint_id, w.tenant_id, w.job_id, w.url, w.target, w.payload,
        w.traceparent, w.attempts, w.kind, e.secret, e.failing_since,
        CASE WHEN e.previous_until > now() THEN e.previous_secret END AS previous_secret
    """
)

#: One statement for many outcomes, whatever they are.
_NOTE: Final = text(
    """
    WITH told AS (
        SELECT * FROM unnest(
            CAST(:ids AS text[]), CAST(:made AS bool[]), CAST(:delivered AS bool[]),
            CAST(:statuses AS int[]), CAST(:errors AS text[]), CAST(:after AS float8[]),
            CAST(:tries AS text[])
        ) AS t(id, made, delivered, status, error, after, try)
    ), held AS (
        SELECT delivery_id FROM webhook_deliveries
        WHERE delivery_id = ANY(CAST(:ids AS text[])) AND pending ORDER BY delivery_id FOR UPDATE
    )
    UPDATE webhook_deliveries w
    SET pending = told.after IS NOT NULL,
        delivered = told.delivered,
        attempts = CASE WHEN told.made THEN w.attempts ELSE w.attempts - 1 END,
        next_at = CASE WHEN told.after IS NULL THEN w.next_at
            ELSE now() + make_interval(secs => told.after) END,
        ended_at = CASE WHEN told.after IS NULL THEN now() END,
        last_status = CASE WHEN told.made THEN told.status ELSE w.last_status END,
        last_error = CASE WHEN told.made THEN told.error ELSE w.last_error END,
        tries = CASE WHEN NOT told.made THEN w.tries
            WHEN jsonb_array_length(w.tries) < :most THEN w.tries || CAST(told.try AS jsonb)
            ELSE (w.tries - 0) || CAST(told.try AS jsonb) END
    FROM told JOIN held ON held.delivery_id = told.id
    WHERE w.delivery_id = told.id
    """
)


@dataclass(frozen=True, slots=True)
class Room:
    """How much a claim may take.

    Attributes:
        most: Deliveries in all.
        per_lane: Of a lane that is not in ``lanes``.
        per_tenant: Of a tenant that is not in ``tenants``.
        lanes: How much room those have in which some are under way.
        tenants: Likewise.
    """

    most: int
    per_lane: int
    per_tenant: int
    lanes: Mapping[str, int]
    tenants: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Patience:
    """When an endpoint that fails is disabled: after so many ``seconds`` and ``failures``."""

    seconds: float
    failures: int

    @property
    def reason(self) -> str:
        """What its owner is told."""
        return f"every delivery failed for {self.seconds / 86_400:.3g} days"


async def add_deliveries(connection: AsyncConnection, rows: Sequence[dict[str, Any]]) -> None:
    """Make deliveries due; those that exist stay as they are."""
    await connection.execute(insert(deliveries).on_conflict_do_nothing(), rows)


async def claim(connection: AsyncConnection, room: Room, lease: float) -> Sequence[RowMapping]:
    """Take due deliveries for ``lease`` seconds; after that they are due again.

    Args:
        connection: In a transaction, or in none.
        room: How many.
        lease: Longer than an attempt may take.

    Returns:
        The deliveries, with their endpoint's stored secrets and ``failing_since``.
    """
    parameters = {
        "most": room.most,
        "per_lane": room.per_lane,
        "per_tenant": room.per_tenant,
        "lanes": list(room.lanes),
        "lane_room": list(room.lanes.values()),
        "tenants": list(room.tenants),
        "tenant_room": list(room.tenants.values()),
        "lease": lease,
    }
    return (await connection.execute(_CLAIM, parameters)).mappings().all()


async def note(
    connection: AsyncConnection, outcomes: Sequence[Outcome], patience: Patience
) -> Sequence[RowMapping]:
    """Write down what came of attempts, and disable the endpoints that have earned it.

    Returns:
        The endpoints that were disabled.
    """
    disabled = await _health(connection, [item for item in outcomes if item.made], patience)
    parameters = {
        "ids": [item.delivery_id for item in outcomes],
        "made": [item.made for item in outcomes],
        "delivered": [item.delivered for item in outcomes],
        "statuses": [item.answer.status for item in outcomes],
        "errors": [item.answer.error for item in outcomes],
        "after": [item.after for item in outcomes],
        "tries": [item.line() for item in outcomes],
        "most": MAX_TRIES,
    }
    await connection.execute(_NOTE, parameters)
    for row in disabled:
        await end_all(connection, [row["endpoint_id"]], row["disabled_reason"])
        await connection.execute(insert(deliveries).values(_notice(row)))
        await audit.note(
            connection,
            DISABLED,
            "sender",
            row["tenant_id"],
            str(row["endpoint_id"]),
            details={"reason": row["disabled_reason"]},
        )
    return disabled


async def _health(
    connection: AsyncConnection, made: Sequence[Outcome], patience: Patience
) -> Sequence[RowMapping]:
    """Count what failed and forget what recovered; returns the endpoints disabled by it."""
    well = {item.endpoint_id for item in made if item.delivered and item.endpoint_id}
    recovered = {item.endpoint_id for item in made if item.delivered and item.was_failing}
    failed: Counter[uuid.UUID] = Counter()
    for item in made:
        if item.endpoint_id is not None and not item.delivered and item.endpoint_id not in well:
            failed[item.endpoint_id] += item.fresh
    touched = (recovered - {None}) | set(failed)
    if not touched:
        return []
    table = webhook_endpoints
    await connection.execute(
        select(table.c.endpoint_id)
        .where(table.c.endpoint_id.in_(touched))
        .order_by(table.c.endpoint_id)
        .with_for_update()
    )
    await connection.execute(
        update(table)
        .where(table.c.endpoint_id.in_(recovered))
        .values(failing_since=None, failures=0)
    )
    for endpoint_id, count in failed.items():
        await connection.execute(
            update(table)
            .where(table.c.endpoint_id == endpoint_id)
            .values(
                failing_since=func.coalesce(table.c.failing_since, func.now()),
                failures=table.c.failures + count,
            )
        )
    gone = {item.endpoint_id for item in made if item.gone}
    return await _disable(connection, gone, set(failed), patience)


async def _disable(
    connection: AsyncConnection,
    gone: set[uuid.UUID | None],
    failed: set[uuid.UUID],
    patience: Patience,
) -> Sequence[RowMapping]:
    table = webhook_endpoints
    enough = (
        table.c.endpoint_id.in_(failed),
        table.c.failures >= patience.failures,
        table.c.failing_since <= func.now() - timedelta(seconds=patience.seconds),
    )
    disabled: list[RowMapping] = []
    for conditions, reason in (((table.c.endpoint_id.in_(gone),), GONE), (enough, patience.reason)):
        done = await connection.execute(
            update(table)
            .where(*conditions, table.c.disabled_at.is_(None))
            .values(disabled_at=func.now(), disabled_reason=reason)
            .returning(*table.c)
        )
        disabled += done.mappings().all()
    return disabled


def _notice(row: RowMapping) -> dict[str, Any]:
    """The line in an endpoint's delivery log that says why there are no more."""
    return {
        "delivery_id": f"msg_{uuid.uuid4().hex}",
        "endpoint_id": row["endpoint_id"],
        "tenant_id": row["tenant_id"],
        "kind": DISABLED,
        "url": row["url"],
        "target": "",
        "payload": "",
        "pending": False,
        "last_error": row["disabled_reason"],
        "ended_at": func.now(),
    }


async def end_all(
    connection: AsyncConnection, endpoint_ids: Sequence[uuid.UUID], reason: str
) -> None:
    """End what is due at endpoints; a test that was asked for is still sent."""
    await connection.execute(
        update(deliveries)
        .where(
            deliveries.c.endpoint_id.in_(endpoint_ids),
            deliveries.c.pending,
            deliveries.c.job_id.is_not(None),
        )
        .values(pending=False, last_error=reason, ended_at=func.now())
    )


async def redirect(
    connection: AsyncConnection, endpoint_id: uuid.UUID, tenant_id: str, url: str
) -> None:
    """Send what is due at an endpoint to its new URL."""
    await connection.execute(
        update(deliveries)
        .where(deliveries.c.endpoint_id == endpoint_id, deliveries.c.pending)
        .values(url=url, target=lane_of(tenant_id, url))
    )
