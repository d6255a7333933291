"""Tenants' limits to Kafka: the compacted topic, and the inbox of each pool's scheduler."""

from __future__ import annotations

import asyncio
from typing import Final

from sqlalchemy.engine import RowMapping
from sqlalchemy.ext.asyncio import AsyncEngine

from infra.crash import crash_point
from infra.settings import Settings
from ingest.produce import EdgeProducer, NotProduced
from ingest.store import tenants

_BATCH: Final = 20
_IDLE: Final = 0.5
_DEADLINE: Final = 5.0
#: Longer than telling a batch may take: see ``ingest.store.tenants``.
_LEASE: Final = 30.0


async def publish_tenants(
    settings: Settings, database: AsyncEngine, producer: EdgeProducer
) -> None:
    """Tell of every change, at least once, for ever. Raises when PostgreSQL fails."""
    while True:
        async with database.begin() as connection:
            due = await tenants.lease(connection, _BATCH, _LEASE)
        told = await asyncio.gather(*(_tell(settings, producer, row) for row in due))
        if any(told):
            crash_point("tenants_before_note")
        async with database.begin() as connection:
            for row in (row for row, done in zip(due, told, strict=True) if done):
                await tenants.told(connection, row["tenant_id"], row["version"])
        if len(due) < _BATCH:
            await asyncio.sleep(_IDLE)


async def _tell(settings: Settings, producer: EdgeProducer, row: RowMapping) -> bool:
    try:
        await producer.tenant(tenants.record_of(row), settings.pool, _DEADLINE)
    except NotProduced:
        return False  # due again later
    return True
