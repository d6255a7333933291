"""API keys as those see them who give them out: made, listed, changed, rotated, revoked.

A row of ``api_keys`` is a secret. The secrets of a key share its id, tenant, role and scopes; the
current one is not superseded, and a superseded one is valid for the overlap that the rotation said.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Select, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.engine import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection

from ingest.identity.api_key import hash_of, prefix_of
from ingest.identity.policy import Action, Role
from ingest.tables import api_keys

_old: Final = api_keys.alias("old")


def _in(seconds: float) -> Any:
    return func.now() + func.make_interval(0, 0, 0, 0, 0, 0, seconds)


def _current() -> Select[Any]:
    """Each key's current secret, until when an earlier one is valid, and the last use of any."""
    earlier = (
        select(func.max(_old.c.expires_at))
        .where(
            _old.c.key_id == api_keys.c.key_id,
            _old.c.superseded_at.is_not(None),
            _old.c.revoked_at.is_(None),
            _old.c.expires_at > func.now(),
        )
        .scalar_subquery()
    )
    used = (
        select(func.max(_old.c.last_used_at))
        .where(_old.c.key_id == api_keys.c.key_id)
        .scalar_subquery()
    )
    shown = [column for column in api_keys.c if column.name not in {"key_hash", "last_used_at"}]
    return select(*shown, earlier.label("earlier_valid_until"), used.label("last_used_at")).where(
        api_keys.c.superseded_at.is_(None)
    )


async def create(
    connection: AsyncConnection,
    key_id: uuid.UUID,
    secret: str,
    tenant_id: str,
    role: Role,
    name: str,
    scopes: Sequence[Action] | None,
    lives: float | None,
) -> RowMapping:
    """A new key.

    Args:
        connection: In a transaction.
        key_id: Fresh.
        secret: Of :func:`ingest.identity.api_key.new_secret`; its hash alone is kept.
        tenant_id: Whose jobs it sees.
        role: What it may do.
        name: What its owner calls it.
        scopes: Actions that it is limited to; None: all of its role.
        lives: Seconds until it expires; None: it does not.
    """
    await connection.execute(
        insert(api_keys).values(
            key_hash=hash_of(secret),
            key_id=key_id,
            tenant_id=tenant_id,
            role=role,
            prefix=prefix_of(key_id),
            name=name,
            scopes=scopes,
            expires_at=None if lives is None else _in(lives),
        )
    )
    found = await get(connection, key_id)
    assert found is not None  # noqa: S101 this transaction made it
    return found


async def get(connection: AsyncConnection, key_id: uuid.UUID) -> RowMapping | None:
    """A key, revoked and expired ones too."""
    found = await connection.execute(_current().where(api_keys.c.key_id == key_id))
    row: RowMapping | None = found.mappings().one_or_none()
    return row


async def page(
    connection: AsyncConnection, tenant_id: str | None, after: uuid.UUID | None, limit: int
) -> Sequence[RowMapping]:
    """Up to ``limit`` keys in the order of their ids, after one; of a tenant or of all."""
    query = _current()
    if tenant_id is not None:
        query = query.where(api_keys.c.tenant_id == tenant_id)
    if after is not None:
        query = query.where(api_keys.c.key_id > after)
    found = await connection.execute(query.order_by(api_keys.c.key_id).limit(limit))
    rows: Sequence[RowMapping] = found.mappings().all()
    return rows


async def lock(connection: AsyncConnection, key_id: uuid.UUID) -> RowMapping | None:
    """The key, which nobody else changes before this transaction ends; None: there is none.

    The row of its first secret is the lock: the row of the current one changes with a rotation.
    """
    await connection.execute(
        select(api_keys.c.key_id)
        .where(api_keys.c.key_id == key_id, api_keys.c.rotated_at.is_(None))
        .with_for_update()
    )
    return await get(connection, key_id)


async def alive(connection: AsyncConnection, key_id: uuid.UUID) -> bool:
    """Whether the key is neither revoked nor expired."""
    found = await connection.scalar(
        select(api_keys.c.key_id).where(
            api_keys.c.key_id == key_id,
            api_keys.c.superseded_at.is_(None),
            api_keys.c.revoked_at.is_(None),
            or_(api_keys.c.expires_at.is_(None), api_keys.c.expires_at > func.now()),
        )
    )
    return found is not None


async def rotate(
    connection: AsyncConnection, key: RowMapping, secret: str, overlap: float, lives: float | None
) -> None:
    """Give a key that is locked and alive a new secret; the old one ends after ``overlap`` seconds.

    Args:
        connection: The transaction that holds the lock.
        key: Of :func:`lock`.
        secret: The new one.
        overlap: Seconds; an earlier end of the old secret stays.
        lives: Seconds until the new secret expires; None: when the old one would have.
    """
    key_id = key["key_id"]
    await connection.execute(
        update(api_keys)
        .where(api_keys.c.key_id == key_id, api_keys.c.superseded_at.is_(None))
        .values(
            superseded_at=func.now(),
            expires_at=func.least(api_keys.c.expires_at, _in(overlap)),
        )
    )
    kept = {name: key[name] for name in ("tenant_id", "role", "name", "scopes", "created_at")}
    await connection.execute(
        insert(api_keys).values(
            **kept,
            key_hash=hash_of(secret),
            key_id=key_id,
            prefix=prefix_of(key_id),
            rotated_at=func.now(),
            expires_at=key["expires_at"] if lives is None else _in(lives),
        )
    )


async def change(
    connection: AsyncConnection, key_id: uuid.UUID, role: Role, scopes: Sequence[Action] | None
) -> None:
    """Set what every secret of the key may do, from its next request on."""
    await connection.execute(
        update(api_keys).where(api_keys.c.key_id == key_id).values(role=role, scopes=scopes)
    )


async def revoke(connection: AsyncConnection, key_id: uuid.UUID) -> bool:
    """End every secret of the key, at once and for good. False: it was revoked before."""
    ended = await connection.execute(
        update(api_keys)
        .where(api_keys.c.key_id == key_id, api_keys.c.revoked_at.is_(None))
        .values(revoked_at=func.now())
    )
    return bool(ended.rowcount)
