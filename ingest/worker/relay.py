"""The relay: what was committed and not yet answered is produced again, until it is.

The job id makes a repeat harmless. A row is leased by moving its due time, so that two workers
never send the same one, and one that dies with it costs a delay.
"""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any, Final

from opentelemetry.trace import SpanKind
from sqlalchemy import ColumnElement, Select, func, select, update
from sqlalchemy.engine import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from infra.settings import Settings
from infra.telemetry import context_of, span, traceparent
from ingest.metrics import RELAYED
from ingest.produce import EdgeProducer, NotProduced
from ingest.tables import jobs
from schemas.records import JobRequested

_BATCH: Final = 100
_IDLE: Final = 0.5
_DEADLINE: Final = 10.0
#: The wait between two sends doubles up to so many times ``relay_after``.
_MOST: Final = 12


async def relay(settings: Settings, database: AsyncEngine, producer: EdgeProducer) -> None:
    """Send again what is due, for ever. Raises when PostgreSQL fails."""
    while True:
        async with database.begin() as connection:
            requests = await _lease(connection, _due_requests(), "next_produce_at", settings)
            cancels = await _lease(connection, _due_cancels(), "next_cancel_at", settings)
        await asyncio.gather(
            *(_request(producer, row) for row in requests),
            *(_cancel(producer, row) for row in cancels),
        )
        if max(len(requests), len(cancels)) < _BATCH:
            await asyncio.sleep(min(_IDLE, settings.relay_after))


def _due_requests() -> Select[Any]:
    return _first(
        jobs.c.next_produce_at,
        jobs.c.confirmed_at.is_(None),
        jobs.c.request.is_not(None),
    )


def _due_cancels() -> Select[Any]:
    return _first(jobs.c.next_cancel_at, jobs.c.next_cancel_at.is_not(None))


def _first(due: ColumnElement[datetime | None], *where: ColumnElement[bool]) -> Select[Any]:
    return (
        select(jobs.c.job_id)
        .where(due <= func.now(), *where)
        .order_by(due)
        .limit(_BATCH)
        .with_for_update(skip_locked=True)
    )


async def _lease(
    connection: AsyncConnection, due: Select[Any], column: str, settings: Settings
) -> list[RowMapping]:
    # now() + relay_after * 2^attempts, bounded.
    factor = func.least(func.power(2, func.least(jobs.c.produce_attempts, 10)), _MOST)
    seconds = factor * settings.relay_after
    leased = await connection.execute(
        update(jobs)
        .where(jobs.c.job_id.in_(due.scalar_subquery()))
        .values(
            {
                column: func.now() + func.make_interval(0, 0, 0, 0, 0, 0, seconds),
                "produce_attempts": jobs.c.produce_attempts + 1,
            }
        )
        .returning(*jobs.c)
    )
    return list(leased.mappings())


async def _request(producer: EdgeProducer, row: RowMapping) -> None:
    asked = JobRequested.model_validate(row["request"])
    parent = context_of(row["traceparent"])
    with span("relay publish", SpanKind.PRODUCER, parent, job_id=asked.job_id or ""):
        try:
            await producer.request(asked, row["priority"], traceparent(), _DEADLINE)
        except NotProduced:
            return  # due again later
    RELAYED.labels("JobRequested").inc()


async def _cancel(producer: EdgeProducer, row: RowMapping) -> None:
    job_id = str(row["job_id"])
    with span("relay cancel", SpanKind.PRODUCER, context_of(row["traceparent"]), job_id=job_id):
        try:
            await producer.cancel(job_id, row["tenant_id"], row["pool"], traceparent(), _DEADLINE)
        except NotProduced:
            return  # due again later
    RELAYED.labels("CancelRequested").inc()
