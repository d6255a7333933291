"""Webhook endpoints and deliveries in PostgreSQL."""

from __future__ import annotations

import base64
import secrets
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import delete, func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.engine import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection

from ingest.tables import deliveries, webhook_endpoints

MAX_ENDPOINTS: Final = 50
_SECRET_BYTES: Final = 24

#: Due deliveries, at most :per_target of each receiver: walks the index from receiver to receiver
#: (a loose index scan), so one with a long queue hides nobody.
_CLAIM: Final = text(
    """
    WITH RECURSIVE targets AS (
        (SELECT target FROM webhook_deliveries WHERE pending ORDER BY target LIMIT 1)
        UNION ALL
        SELECT (SELECT d.target FROM webhook_deliveries d
                WHERE d.pending AND d.target > t.target ORDER BY d.target LIMIT 1)
        FROM targets t WHERE t.target IS NOT NULL
    ), due AS (
        SELECT d.delivery_id FROM targets t
        CROSS JOIN LATERAL (
            SELECT delivery_id, next_at FROM webhook_deliveries
            WHERE pending AND target = t.target AND next_at <= now()
            ORDER BY next_at LIMIT :per_target
        ) d
        WHERE t.target IS NOT NULL AND t.target <> ALL(:busy)
        ORDER BY d.next_at LIMIT :most
    )
    UPDATE webhook_deliveries w
    SET next_at = now() + make_interval(secs => :lease), attempts = attempts + 1
    WHERE w.delivery_id IN (
        SELECT delivery_id FROM webhook_deliveries
        WHERE delivery_id IN (SELECT delivery_id FROM due) AND pending AND next_at <= now()
        FOR UPDATE SKIP LOCKED
    )
    RETURNING w.delivery_id, w.endpoint_id, w.job_id, w.url, w.target, w.payload, w.traceparent,
        w.attempts, w.kind,
        (SELECT e.secret FROM webhook_endpoints e WHERE e.endpoint_id = w.endpoint_id) AS secret
    """
)


async def add_endpoint(
    connection: AsyncConnection, tenant_id: str, url: str, kinds: Sequence[str] | None
) -> RowMapping | None:
    """Register an endpoint with a fresh secret; None when the tenant has too many."""
    held = await connection.scalar(
        select(func.count())
        .select_from(webhook_endpoints)
        .where(webhook_endpoints.c.tenant_id == tenant_id)
    )
    if (held or 0) >= MAX_ENDPOINTS:
        return None
    secret = "whsec_" + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()
    made = await connection.execute(
        insert(webhook_endpoints)
        .values(endpoint_id=uuid.uuid4(), tenant_id=tenant_id, url=url, events=kinds, secret=secret)
        .returning(*webhook_endpoints.c)
    )
    return made.mappings().one()


async def endpoints(connection: AsyncConnection, tenant_id: str) -> Sequence[RowMapping]:
    """The tenant's endpoints, oldest first."""
    found = await connection.execute(
        select(webhook_endpoints)
        .where(webhook_endpoints.c.tenant_id == tenant_id)
        .order_by(webhook_endpoints.c.created_at, webhook_endpoints.c.endpoint_id)
    )
    return found.mappings().all()


async def remove_endpoint(
    connection: AsyncConnection, tenant_id: str, endpoint_id: uuid.UUID
) -> bool:
    """Remove an endpoint with its deliveries; False when the tenant has no such endpoint."""
    gone = await connection.execute(
        delete(webhook_endpoints).where(
            webhook_endpoints.c.endpoint_id == endpoint_id,
            webhook_endpoints.c.tenant_id == tenant_id,
        )
    )
    return bool(gone.rowcount)


async def deliveries_of(
    connection: AsyncConnection, tenant_id: str, endpoint_id: uuid.UUID, limit: int
) -> Sequence[RowMapping] | None:
    """The endpoint's newest deliveries; None when the tenant has no such endpoint."""
    owned = await connection.scalar(
        select(webhook_endpoints.c.endpoint_id).where(
            webhook_endpoints.c.endpoint_id == endpoint_id,
            webhook_endpoints.c.tenant_id == tenant_id,
        )
    )
    if owned is None:
        return None
    found = await connection.execute(
        select(deliveries)
        .where(deliveries.c.endpoint_id == endpoint_id)
        .order_by(deliveries.c.created_at.desc(), deliveries.c.delivery_id)
        .limit(limit)
    )
    return found.mappings().all()


async def listening(
    connection: AsyncConnection, tenants: Sequence[str]
) -> dict[str, list[RowMapping]]:
    """The enabled endpoints of each of ``tenants``."""
    found = await connection.execute(
        select(webhook_endpoints).where(
            webhook_endpoints.c.tenant_id.in_(tenants), webhook_endpoints.c.disabled_at.is_(None)
        )
    )
    by_tenant: dict[str, list[RowMapping]] = {}
    for row in found.mappings():
        by_tenant.setdefault(row["tenant_id"], []).append(row)
    return by_tenant


async def add_deliveries(connection: AsyncConnection, rows: Sequence[dict[str, Any]]) -> None:
    """Make deliveries due; those that exist stay as they are."""
    await connection.execute(insert(deliveries).on_conflict_do_nothing(), rows)


async def claim(
    connection: AsyncConnection, most: int, per_target: int, busy: Sequence[str], lease: float
) -> Sequence[RowMapping]:
    """Take due deliveries for ``lease`` seconds; after that they are due again.

    Args:
        connection: In a transaction.
        most: At most so many.
        per_target: At most so many of one receiver.
        busy: Receivers that have enough under way.
        lease: Longer than an attempt may take.
    """
    parameters = {"most": most, "per_target": per_target, "busy": list(busy), "lease": lease}
    return (await connection.execute(_CLAIM, parameters)).mappings().all()


async def succeeded(connection: AsyncConnection, delivery_id: str, status: int) -> None:
    """The receiver took it."""
    await _end(connection, delivery_id, delivered=True, status=status, error=None)


async def gave_up(
    connection: AsyncConnection, delivery_id: str, status: int | None, error: str
) -> None:
    """It is not tried again."""
    await _end(connection, delivery_id, delivered=False, status=status, error=error)


async def _end(
    connection: AsyncConnection,
    delivery_id: str,
    *,
    delivered: bool,
    status: int | None,
    error: str | None,
) -> None:
    await connection.execute(
        update(deliveries)
        .where(deliveries.c.delivery_id == delivery_id, deliveries.c.pending)
        .values(
            pending=False,
            delivered=delivered,
            last_status=status,
            last_error=error,
            ended_at=datetime.now(UTC),
        )
    )


async def try_again(
    connection: AsyncConnection, delivery_id: str, status: int | None, error: str, after: float
) -> None:
    """It is due again in ``after`` seconds."""
    await connection.execute(
        update(deliveries)
        .where(deliveries.c.delivery_id == delivery_id, deliveries.c.pending)
        .values(
            last_status=status,
            last_error=error,
            next_at=func.now() + func.make_interval(0, 0, 0, 0, 0, 0, after),
        )
    )


async def disable(connection: AsyncConnection, endpoint_id: uuid.UUID, reason: str) -> None:
    """Stop sending to an endpoint, and end what was due there."""
    now = datetime.now(UTC)
    await connection.execute(
        update(webhook_endpoints)
        .where(webhook_endpoints.c.endpoint_id == endpoint_id)
        .values(disabled_at=now, disabled_reason=reason)
    )
    await connection.execute(
        update(deliveries)
        .where(deliveries.c.endpoint_id == endpoint_id, deliveries.c.pending)
        .values(pending=False, last_error=reason, ended_at=now)
    )
