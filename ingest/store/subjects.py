"""Holders of tokens in PostgreSQL: whose tokens were revoked, and how their tenant stands."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import bindparam, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from ingest.tables import revoked_subjects, tenants

_STANDING: Final = select(
    select(revoked_subjects.c.revoked_at)
    .where(
        revoked_subjects.c.issuer == bindparam("issuer"),
        revoked_subjects.c.subject == bindparam("subject"),
    )
    .scalar_subquery()
    .label("revoked_at"),
    select(tenants.c.suspended)
    .where(tenants.c.tenant_id == bindparam("tenant_id"))
    .scalar_subquery()
    .label("suspended"),
)


@dataclass(frozen=True, slots=True)
class Standing:
    """How the holder of a token stands.

    Attributes:
        revoked_at: Tokens up to then are revoked; None: none are.
        suspended: The tenant is.
    """

    revoked_at: datetime | None
    suspended: bool


async def standing(
    connection: AsyncConnection, issuer: str, subject: str, tenant_id: str
) -> Standing:
    """How a subject and its tenant stand now: two look-ups by primary key, in one query."""
    given = {"issuer": issuer, "subject": subject, "tenant_id": tenant_id}
    row = (await connection.execute(_STANDING, given)).one()
    return Standing(row.revoked_at, bool(row.suspended))


async def revoke(connection: AsyncConnection, issuer: str, subject: str) -> datetime:
    """Revoke all tokens that ``issuer`` gave ``subject`` up to now; returns when now is."""
    moment: datetime | None = await connection.scalar(
        insert(revoked_subjects)
        .values(issuer=issuer, subject=subject, revoked_at=func.now())
        .on_conflict_do_update(
            index_elements=["issuer", "subject"], set_={"revoked_at": func.now()}
        )
        .returning(revoked_subjects.c.revoked_at)
    )
    assert moment is not None  # noqa: S101 an upsert returns its row
    return moment
