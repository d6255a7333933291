"""Terminal events into deliveries: one an endpoint that listens, one for the job's own URL."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.engine import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from infra.settings import Settings
from ingest.metrics import FEED_SKIPPED
from ingest.read_model import Placed, job_columns, job_uuid
from ingest.store.deliveries import add_deliveries
from ingest.store.erasures import SAID
from ingest.store.webhooks import listening
from ingest.tables import jobs
from ingest.view import TERMINAL_STATUSES
from ingest.webhooks.payload import delivery_id, lane_of, openai_payload, payload
from ingest.worker.feed import Happened, follow
from schemas.job import valid_url
from schemas.states import TERMINAL_KINDS
from schemas.topics import Topics

_PROJECTION_DEADLINE: Final = 5.0
_PROJECTION_POLL: Final = 0.02


async def complete(settings: Settings, database: AsyncEngine) -> None:
    """Follow jobs.completed for ever. Raises what :func:`ingest.worker.feed.follow` raises."""
    base = settings.public_url or f"http://{settings.http_host}:{settings.http_port}"

    async def apply(connection: AsyncConnection, batch: Sequence[Happened]) -> None:
        ended = [item for item in batch if item.event.kind in TERMINAL_KINDS]
        FEED_SKIPPED.labels("completions").inc(len(batch) - len(ended))
        tenants = sorted({item.event.tenant_id for item in ended})
        listeners = await listening(connection, tenants)
        known = await _projected(connection, ended)
        rows = [
            row
            for item in ended
            for row in deliveries_for(item, known, listeners.get(item.event.tenant_id, []), base)
        ]
        if rows:
            await add_deliveries(connection, rows)

    await follow("completions", Topics(settings.topic_prefix).completed, settings, database, apply)


async def _projected(
    connection: AsyncConnection, ended: Sequence[Happened]
) -> dict[Any, RowMapping]:
    """The read model's rows of these jobs, once they show the end.

    A receiver that asks the API at once should find what the webhook said. The projection reads the
    same events from another topic; it is waited for, but not for ever.
    """
    ids = {job_uuid(item.event.job_id) for item in ended}
    deadline = time.monotonic() + _PROJECTION_DEADLINE
    while True:
        found = await connection.execute(select(jobs).where(jobs.c.job_id.in_(ids)))
        rows = {row["job_id"]: row for row in found.mappings()}
        shown = sum(row["status"] in TERMINAL_STATUSES for row in rows.values())
        if shown == len(ids) or time.monotonic() > deadline:
            return rows
        await asyncio.sleep(_PROJECTION_POLL)


def deliveries_for(
    item: Happened, known: dict[Any, RowMapping], listeners: Iterable[RowMapping], base: str
) -> list[dict[str, Any]]:
    """The deliveries of one terminal event. Pure.

    An endpoint that is disabled gets one that has ended already: it can be replayed.
    """
    event = item.event
    columns = job_columns(Placed(event, item.partition, item.offset))
    row = merged(columns, known.get(columns["job_id"]))
    native = payload(row, event.occurred_at, base)
    found = []
    for endpoint in listeners:
        if endpoint["events"] is not None and event.kind not in endpoint["events"]:
            continue
        body: str | None = native
        if endpoint["format"] == "openai":
            body = openai_payload(event.kind, row["job_id"], event.occurred_at, event.event_id)
        if body is not None:
            delivery = _delivery(item, row["job_id"], endpoint["url"], body)
            found.append(delivery | _addressed(event.event_id, event.occurred_at, endpoint))
    # A deleted job's own URL is erased with it.
    own = event.webhook_url if row["webhook_url"] is not None else None
    if own is not None and valid_url(own):
        found.append(_delivery(item, row["job_id"], own, native))
    return found


def _delivery(item: Happened, job_id: uuid.UUID, url: str, body: str) -> dict[str, Any]:
    event = item.event
    return {
        "delivery_id": delivery_id(event.event_id, url),
        "endpoint_id": None,
        "tenant_id": event.tenant_id,
        "job_id": job_id,
        "kind": event.kind,
        "url": url,
        "target": lane_of(event.tenant_id, url),
        "payload": body,
        "traceparent": item.traceparent,
        "pending": True,
        "last_error": None,
        "ended_at": None,
    }


def _addressed(event_id: str, at: datetime, endpoint: RowMapping) -> dict[str, Any]:
    """What an endpoint's delivery has in place of that to a job's own URL."""
    held = endpoint["disabled_at"] is not None
    return {
        "delivery_id": delivery_id(event_id, str(endpoint["endpoint_id"])),
        "endpoint_id": endpoint["endpoint_id"],
        "pending": not held,
        "last_error": endpoint["disabled_reason"] if held else None,
        "ended_at": at if held else None,
    }


def merged(columns: dict[str, Any], known: RowMapping | None) -> dict[str, Any]:
    """The event's columns over the known row of the same tenant, which fills what it leaves out."""
    if known is None or known["tenant_id"] != columns["tenant_id"]:
        return columns
    filled = {name: known[name] for name, value in columns.items() if value is None}
    said = SAID if known["deleted_at"] is not None else {}
    of_row = {"created_at": known["created_at"], "video_expires_at": known["video_expires_at"]}
    return columns | filled | said | of_row
