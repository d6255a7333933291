"""The outbox of the audit topic: an event commits with the change that it tells of, or not at all.

``ingest/worker/audit.py`` takes it from here to Kafka.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Final

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from ingest.identity.audit import Kind, Outcome, bounded, bounded_details
from ingest.tables import audit_outbox
from schemas.records import AuditEvent

_NOTHING: Final[Mapping[str, str]] = {}


async def note(
    connection: AsyncConnection,
    kind: Kind,
    actor: str,
    tenant_id: str | None,
    subject: str | None = None,
    outcome: Outcome = "done",
    details: Mapping[str, str] = _NOTHING,
) -> None:
    """Have the audit topic told, if the transaction commits.

    Args:
        connection: In the transaction that makes the change.
        kind: What happened.
        actor: Who did it: ``Identity.actor``, or the name of a part of the service.
        tenant_id: Whose it is; None: of the deployment.
        subject: The id of what it was done to.
        outcome: done, refused or seen.
        details: Short strings. Never a prompt, never a secret.
    """
    await connection.execute(
        insert(audit_outbox).values(
            event_id=uuid.uuid4(),
            kind=kind,
            tenant_id=tenant_id,
            actor=bounded(actor),
            subject=None if subject is None else bounded(subject),
            outcome=outcome,
            details=bounded_details(details),
        )
    )


async def lease(connection: AsyncConnection, most: int, seconds: float) -> list[AuditEvent]:
    """Up to ``most`` events that are due, oldest first; due again after ``seconds``."""
    due = (
        select(audit_outbox.c.sequence)
        .where(audit_outbox.c.next_at <= func.now())
        .order_by(audit_outbox.c.sequence)
        .limit(most)
        .with_for_update(skip_locked=True)
    )
    leased = await connection.execute(
        update(audit_outbox)
        .where(audit_outbox.c.sequence.in_(due.scalar_subquery()))
        .values(next_at=func.now() + func.make_interval(0, 0, 0, 0, 0, 0, seconds))
        .returning(*audit_outbox.c)
    )
    rows = sorted(leased.mappings(), key=lambda row: int(row["sequence"]))
    names = AuditEvent.model_fields
    return [
        AuditEvent.model_validate(
            {name: row[name] for name in names} | {"event_id": str(row["event_id"])}
        )
        for row in rows
    ]


async def remove(connection: AsyncConnection, event_ids: Sequence[str]) -> None:
    """Forget events that Kafka has."""
    found = [uuid.UUID(event_id) for event_id in event_ids]
    await connection.execute(delete(audit_outbox).where(audit_outbox.c.event_id.in_(found)))
