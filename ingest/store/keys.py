"""API keys in PostgreSQL: known by their SHA-256 alone."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from ingest.identity.policy import Role
from ingest.store.jobs import hash_of_key
from ingest.tables import api_keys

_MAX_KEY: Final = 512


@dataclass(frozen=True, slots=True)
class Identity:
    """Who asks: the tenant of the key, and what the key may do."""

    key_id: uuid.UUID
    tenant_id: str
    role: str


async def identify(connection: AsyncConnection, key: str) -> Identity | None:
    """The identity behind a key, or None: unknown or revoked."""
    if not key or len(key) > _MAX_KEY:
        return None
    found = await connection.execute(
        select(api_keys.c.key_id, api_keys.c.tenant_id, api_keys.c.role).where(
            api_keys.c.key_hash == hash_of_key(key), api_keys.c.revoked_at.is_(None)
        )
    )
    row = found.one_or_none()
    return None if row is None else Identity(row.key_id, row.tenant_id, row.role)


async def add(connection: AsyncConnection, key: str, tenant_id: str, role: Role) -> None:
    """Make a key valid, if it is not known yet; a revoked one stays revoked."""
    await connection.execute(
        insert(api_keys)
        .values(key_hash=hash_of_key(key), key_id=uuid.uuid4(), tenant_id=tenant_id, role=role)
        .on_conflict_do_nothing()
    )


async def revoke(connection: AsyncConnection, key: str) -> None:
    """End a key's life, at once and for good."""
    await connection.execute(
        api_keys.update()
        .where(api_keys.c.key_hash == hash_of_key(key))
        .values(revoked_at=datetime.now(UTC))
    )
