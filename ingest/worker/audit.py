"""The audit outbox to Kafka: at least once, in order as long as nothing fails.

An event is leased by moving its due time and removed once Kafka has it; a worker that dies between
the two leaves it to be sent again, under the same event id.
"""

from __future__ import annotations

import asyncio
from typing import Final

from sqlalchemy.ext.asyncio import AsyncEngine

from infra.crash import crash_point
from ingest.metrics import AUDITED
from ingest.produce import EdgeProducer, NotProduced
from ingest.store import audit
from schemas.records import AuditEvent

_BATCH: Final = 100
_IDLE: Final = 0.5
_DEADLINE: Final = 5.0
#: Longer than a batch whose every event takes long: then none is sent by two workers.
_LEASE: Final = 30.0
#: A batch ends within this, so that its lease holds.
_BATCH_SECONDS: Final = 20.0


async def publish_audit(database: AsyncEngine, producer: EdgeProducer) -> None:
    """Send what is in the outbox, for ever. Raises when PostgreSQL fails."""
    while True:
        async with database.begin() as connection:
            due = await audit.lease(connection, _BATCH, _LEASE)
        sent = await _send(producer, due)
        if sent:
            crash_point("audit_before_remove")
            async with database.begin() as connection:
                await audit.remove(connection, sent)
        if len(due) < _BATCH:
            await asyncio.sleep(_IDLE)


async def _send(producer: EdgeProducer, due: list[AuditEvent]) -> list[str]:
    """The ids of those that Kafka acknowledged; the first failure ends the batch."""
    sent: list[str] = []
    until = asyncio.get_running_loop().time() + _BATCH_SECONDS
    for event in due:
        if asyncio.get_running_loop().time() > until:
            break
        try:
            await producer.audit(event, _DEADLINE)
        except NotProduced:
            break  # due again later
        AUDITED.labels(event.kind).inc()
        sent.append(event.event_id)
    return sent
