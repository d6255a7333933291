"""Webhook endpoints in PostgreSQL.

Locks are taken in one order everywhere: endpoints by id, then their deliveries by id.
"""

from __future__ import annotations

import base64
import secrets
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import delete, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.engine import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection

from ingest.store.deliveries import end_all, redirect
from ingest.tables import webhook_endpoints
from ingest.webhooks.sealing import Keyring, Unreadable

MAX_ENDPOINTS: Final = 50
BY_OWNER: Final = "disabled by its owner"
_SECRET_BYTES: Final = 24
_table: Final = webhook_endpoints


def new_secret() -> str:
    """A fresh secret in the form of Standard Webhooks: whsec_ and 24 random bytes in base64."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()


async def add_endpoint(
    connection: AsyncConnection, tenant_id: str, fields: Mapping[str, Any], keyring: Keyring
) -> tuple[RowMapping, str] | None:
    """Register an endpoint with a fresh secret.

    Args:
        connection: In a transaction.
        tenant_id: Whose it is.
        fields: Its ``url``, ``events`` and ``format``.
        keyring: Seals the secret.

    Returns:
        The row and the secret as it is; None when the tenant has too many.
    """
    held = await connection.scalar(
        select(func.count()).select_from(_table).where(_table.c.tenant_id == tenant_id)
    )
    if (held or 0) >= MAX_ENDPOINTS:
        return None
    endpoint_id, secret = uuid.uuid4(), new_secret()
    sealed = keyring.seal(secret, str(endpoint_id))
    made = await connection.execute(
        insert(_table)
        .values(endpoint_id=endpoint_id, tenant_id=tenant_id, secret=sealed, **fields)
        .returning(*_table.c)
    )
    return made.mappings().one(), secret


async def endpoints(connection: AsyncConnection, tenant_id: str) -> Sequence[RowMapping]:
    """The tenant's endpoints, oldest first."""
    found = await connection.execute(
        select(_table)
        .where(_table.c.tenant_id == tenant_id)
        .order_by(_table.c.created_at, _table.c.endpoint_id)
    )
    return found.mappings().all()


async def endpoint(
    connection: AsyncConnection, tenant_id: str, endpoint_id: uuid.UUID, *, lock: bool = False
) -> RowMapping | None:
    """One endpoint, locked against changes until the transaction ends if asked; None: no such."""
    query = select(_table).where(
        _table.c.endpoint_id == endpoint_id, _table.c.tenant_id == tenant_id
    )
    found = await connection.execute(query.with_for_update() if lock else query)
    return found.mappings().one_or_none()


async def change_endpoint(
    connection: AsyncConnection,
    tenant_id: str,
    endpoint_id: uuid.UUID,
    fields: Mapping[str, Any],
    *,
    enabled: bool | None,
) -> RowMapping | None:
    """Change an endpoint, and what is still due there with it.

    Args:
        connection: In a transaction.
        tenant_id: Whose it is.
        endpoint_id: Which.
        fields: Any of ``url``, ``events`` and ``format``.
        enabled: True starts afresh, whatever was counted; False ends what is due; None: as it is.

    Returns:
        The changed row; None when the tenant has no such endpoint.
    """
    before = await endpoint(connection, tenant_id, endpoint_id, lock=True)
    if before is None:
        return None
    values = dict(fields)
    if enabled is True:
        values |= {"disabled_at": None, "disabled_reason": None}
        values |= {"failing_since": None, "failures": 0}
    elif enabled is False and before["disabled_at"] is None:
        values |= {"disabled_at": datetime.now(UTC), "disabled_reason": BY_OWNER}
    if not values:
        return before
    changed = await connection.execute(
        update(_table)
        .where(_table.c.endpoint_id == endpoint_id)
        .values(values)
        .returning(*_table.c)
    )
    row = changed.mappings().one()
    if row["disabled_at"] is not None:
        await end_all(connection, [endpoint_id], row["disabled_reason"])
    elif row["url"] != before["url"]:
        await redirect(connection, endpoint_id, tenant_id, row["url"])
    return row


async def rotate(
    connection: AsyncConnection,
    tenant_id: str,
    endpoint_id: uuid.UUID,
    keyring: Keyring,
    overlap: float,
) -> tuple[RowMapping, str] | None:
    """Give an endpoint a new secret; the one before it signs too for ``overlap`` seconds.

    Returns:
        The row and the new secret as it is; None when the tenant has no such endpoint.
    """
    secret = new_secret()
    until = datetime.now(UTC) + timedelta(seconds=overlap)
    changed = await connection.execute(
        update(_table)
        .where(_table.c.endpoint_id == endpoint_id, _table.c.tenant_id == tenant_id)
        .values(
            secret=keyring.seal(secret, str(endpoint_id)),
            previous_secret=_table.c.secret,
            previous_until=until,
        )
        .returning(*_table.c)
    )
    row = changed.mappings().one_or_none()
    return None if row is None else (row, secret)


async def remove_endpoint(
    connection: AsyncConnection, tenant_id: str, endpoint_id: uuid.UUID
) -> bool:
    """Remove an endpoint with its deliveries; False when the tenant has no such endpoint."""
    gone = await connection.execute(
        delete(_table).where(_table.c.endpoint_id == endpoint_id, _table.c.tenant_id == tenant_id)
    )
    return bool(gone.rowcount)


async def listening(
    connection: AsyncConnection, tenants: Sequence[str]
) -> dict[str, list[RowMapping]]:
    """The endpoints of each of ``tenants``; they stay until the transaction ends."""
    found = await connection.execute(
        select(_table)
        .where(_table.c.tenant_id.in_(tenants))
        .order_by(_table.c.endpoint_id)
        .with_for_update(read=True, key_share=True)
    )
    by_tenant: dict[str, list[RowMapping]] = {}
    for row in found.mappings():
        by_tenant.setdefault(row["tenant_id"], []).append(row)
    return by_tenant


async def reseal(connection: AsyncConnection, keyring: Keyring) -> tuple[int, int]:
    """Seal with the keyring's first key what is stored otherwise.

    Returns:
        How many endpoints were sealed anew, and how many no key opens: those keep what they have.
    """
    fresh = keyring.fresh()
    if fresh is None:
        return 0, 0
    stale = or_(
        ~_table.c.secret.startswith(fresh, autoescape=True),
        ~_table.c.previous_secret.startswith(fresh, autoescape=True),
    )
    found = await connection.execute(
        select(_table.c.endpoint_id, _table.c.secret, _table.c.previous_secret)
        .where(stale)
        .order_by(_table.c.endpoint_id)
        .with_for_update()
    )
    done = lost = 0
    for row in found.mappings().all():
        owner = str(row["endpoint_id"])
        try:
            values = {
                name: row[name] and keyring.seal(keyring.open(row[name], owner), owner)
                for name in ("secret", "previous_secret")
            }
        except Unreadable:
            lost += 1
            continue
        await connection.execute(
            update(_table).where(_table.c.endpoint_id == row["endpoint_id"]).values(values)
        )
        done += 1
    return done, lost


async def forget_previous(connection: AsyncConnection) -> None:
    """Drop rotated secrets whose time is over."""
    await connection.execute(
        update(_table)
        .where(_table.c.previous_until < func.now())
        .values(previous_secret=None, previous_until=None)
    )
