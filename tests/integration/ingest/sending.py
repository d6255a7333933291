"""A sender in the test's own event loop, over a database of its own."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from infra.settings import Settings
from ingest.db import engine
from ingest.store import deliveries, webhooks
from ingest.webhooks.payload import lane_of
from ingest.webhooks.sealing import Keyring
from ingest.worker.sender import Sender


class Sending:
    """Endpoints and deliveries, and what became of them."""

    def __init__(self, settings: Settings, database: AsyncEngine) -> None:
        self.settings = settings
        self.database = database
        self.tenant = f"t-{uuid.uuid4().hex[:8]}"

    async def endpoint(self, url: str, **fields: Any) -> tuple[uuid.UUID, str]:
        """A new endpoint: its id and secret."""
        keyring = Keyring.of(self.settings.secrets_key.get_secret_value())
        async with self.database.begin() as connection:
            made = await webhooks.add_endpoint(
                connection, self.tenant, {"url": url, **fields}, keyring
            )
        assert made is not None
        return made[0]["endpoint_id"], made[1]

    async def due(
        self, url: str, count: int = 1, endpoint: uuid.UUID | None = None, tenant: str = ""
    ) -> list[str]:
        """Deliveries that are due: their ids."""
        tenant = tenant or self.tenant
        rows = [
            {
                "delivery_id": f"msg_{uuid.uuid4().hex}",
                "endpoint_id": endpoint,
                "tenant_id": tenant,
                "job_id": uuid.uuid4(),
                "kind": "Completed",
                "url": url,
                "target": lane_of(tenant, url),
                "payload": '{"type":"job.completed"}',
            }
            for _ in range(count)
        ]
        async with self.database.begin() as connection:
            await deliveries.add_deliveries(connection, rows)
        return [str(row["delivery_id"]) for row in rows]

    async def sql(self, query: str, **parameters: Any) -> list[dict[str, Any]]:
        """The rows of one statement."""
        async with self.database.begin() as connection:
            found = await connection.execute(text(query), parameters)
            return [dict(row) for row in found.mappings()] if found.returns_rows else []

    async def row(self, delivery_id: str) -> dict[str, Any]:
        """A delivery's row."""
        query = "SELECT * FROM webhook_deliveries WHERE delivery_id = :id"
        [row] = await self.sql(query, id=delivery_id)
        return row

    async def tried(self, *delivery_ids: str, times: int = 1, seconds: float = 30) -> None:
        """Wait until each delivery's attempt has been noted ``times`` times."""
        query = (
            "SELECT count(*) AS n FROM webhook_deliveries "
            "WHERE delivery_id = ANY(:ids) AND jsonb_array_length(tries) >= :times"
        )

        async def all_tried() -> bool:
            [row] = await self.sql(query, ids=list(delivery_ids), times=times)
            return bool(row["n"] == len(delivery_ids))

        await stored(all_tried, seconds)

    async def again(self, *delivery_ids: str) -> None:
        """Have deliveries that wait for another attempt tried now."""
        await self.sql(
            "UPDATE webhook_deliveries SET next_at = now() WHERE delivery_id = ANY(:ids)",
            ids=list(delivery_ids),
        )

    @asynccontextmanager
    async def sender(self, **changes: Any) -> AsyncIterator[Sender]:
        """A sender that runs; its failure is the test's."""
        made = Sender(self.settings.model_copy(update=changes), self.database, lambda: 0.5)
        task = asyncio.create_task(made.run())
        try:
            yield made
        finally:
            failed = task.done()
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            assert not failed


async def come(condition: Callable[[], bool], seconds: float = 30) -> None:
    """Wait until ``condition`` holds."""

    async def holds() -> bool:
        return condition()

    await stored(holds, seconds)


async def stored(condition: Callable[[], Awaitable[bool]], seconds: float = 30) -> None:
    """Wait until ``condition``, which asks the database, holds."""
    async with asyncio.timeout(seconds):
        while not await condition():  # noqa: ASYNC110 nobody tells of it
            await asyncio.sleep(0.01)


@asynccontextmanager
async def sending(settings: Settings) -> AsyncIterator[Sending]:
    """Over the database that the settings name."""
    database = engine(settings)
    try:
        yield Sending(settings, database)
    finally:
        await database.dispose()
