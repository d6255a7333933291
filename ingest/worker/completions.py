"""Terminal events into deliveries: one an endpoint that listens, one for the job's own URL."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Sequence
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.engine import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from infra.settings import Settings
from ingest.metrics import FEED_SKIPPED
from ingest.read_model import Placed, job_columns, job_uuid
from ingest.store import webhooks as store
from ingest.store.erasures import SAID
from ingest.tables import jobs
from ingest.view import TERMINAL_STATUSES
from ingest.webhooks.payload import delivery_id, payload, target_of
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
        listeners = await store.listening(connection, tenants)
        known = await _projected(connection, ended)
        rows = [
            row
            for item in ended
            for row in deliveries_for(item, known, listeners.get(item.event.tenant_id, []), base)
        ]
        if rows:
            await store.add_deliveries(connection, rows)

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
    """The deliveries of one terminal event. Pure."""
    event = item.event
    columns = job_columns(Placed(event, item.partition, item.offset))
    row = merged(columns, known.get(columns["job_id"]))
    body = payload(row, event.occurred_at, base)
    targets = [
        (endpoint["endpoint_id"], endpoint["url"])
        for endpoint in listeners
        if endpoint["events"] is None or event.kind in endpoint["events"]
    ]
    # A deleted job's own URL is erased with it.
    own = event.webhook_url if row["webhook_url"] is not None else None
    if own is not None and valid_url(own):
        targets.append((None, own))
    return [
        {
            "delivery_id": delivery_id(event.event_id, str(endpoint_id or url)),
            "endpoint_id": endpoint_id,
            "tenant_id": event.tenant_id,
            "job_id": row["job_id"],
            "kind": event.kind,
            "url": url,
            "target": target_of(url),
            "payload": body,
            "traceparent": item.traceparent,
        }
        for endpoint_id, url in targets
    ]


def merged(columns: dict[str, Any], known: RowMapping | None) -> dict[str, Any]:
    """The event's columns over the known row of the same tenant, which fills what it leaves out."""
    if known is None or known["tenant_id"] != columns["tenant_id"]:
        return columns
    filled = {name: known[name] for name, value in columns.items() if value is None}
    said = SAID if known["deleted_at"] is not None else {}
    of_row = {"created_at": known["created_at"], "video_expires_at": known["video_expires_at"]}
    return columns | filled | said | of_row
