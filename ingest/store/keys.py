"""API keys in PostgreSQL, known by their SHA-256 alone: who stands behind one."""

from __future__ import annotations

import uuid
from typing import Final

from sqlalchemy import func, or_, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from ingest.identity.api_key import MAX_LENGTH, hash_of, mistyped
from ingest.identity.caller import Identity
from ingest.identity.policy import Role
from ingest.tables import api_keys, tenants

#: How coarse the time of the last use is: a key in use is written so often, and no oftener.
_TOUCH: Final = text("interval '5 minutes'")
_LAST_USED_LONG_AGO: Final = func.coalesce(
    api_keys.c.last_used_at < func.now() - _TOUCH,
    True,
)

#: A valid key's row and its tenant's state: two look-ups by primary key, in one query. What was
#: revoked, has expired or was superseded for longer than the overlap is not found.
_IDENTIFY: Final = (
    select(
        api_keys.c.key_id,
        api_keys.c.tenant_id,
        api_keys.c.role,
        api_keys.c.scopes,
        func.coalesce(tenants.c.suspended, False).label("suspended"),
        _LAST_USED_LONG_AGO.label("due"),
    )
    .select_from(api_keys.outerjoin(tenants, tenants.c.tenant_id == api_keys.c.tenant_id))
    .where(
        api_keys.c.revoked_at.is_(None),
        or_(api_keys.c.expires_at.is_(None), api_keys.c.expires_at > func.now()),
    )
)


async def identify(connection: AsyncConnection, key: str) -> Identity | None:
    """The identity behind a key, or None: unknown, revoked or expired."""
    if not key or len(key) > MAX_LENGTH or mistyped(key):
        return None
    digest = hash_of(key)
    found = await connection.execute(_IDENTIFY.where(api_keys.c.key_hash == digest))
    row = found.one_or_none()
    if row is None:
        return None
    if row.due:
        await _touch(connection, digest)
    return Identity(
        key_id=row.key_id,
        tenant_id=row.tenant_id,
        role=row.role,
        actor=f"key:{row.key_id}",
        scopes=None if row.scopes is None else frozenset(row.scopes),
        suspended=row.suspended,
    )


async def _touch(connection: AsyncConnection, digest: bytes) -> None:
    """Note the use; of requests at the same moment one does it, and none waits for it."""
    free = (
        select(api_keys.c.key_hash)
        .where(api_keys.c.key_hash == digest, _LAST_USED_LONG_AGO)
        .with_for_update(skip_locked=True)
    )
    await connection.execute(
        update(api_keys)
        .where(api_keys.c.key_hash == free.scalar_subquery())
        .values(last_used_at=func.now())
    )


async def add(connection: AsyncConnection, key: str, tenant_id: str, role: Role) -> None:
    """Make a key of any shape valid, if it is not known yet; a revoked one stays revoked."""
    await connection.execute(
        insert(api_keys)
        .values(key_hash=hash_of(key), key_id=uuid.uuid4(), tenant_id=tenant_id, role=role)
        .on_conflict_do_nothing()
    )
