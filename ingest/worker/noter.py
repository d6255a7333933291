"""Outcomes into PostgreSQL: whatever has come in while the last were written goes in one go."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from infra.telemetry import log
from ingest.metrics import DELIVERIES, ENDPOINTS_DISABLED
from ingest.store import deliveries as store
from ingest.webhooks.outcome import Outcome

_MOST: Final = 256
#: Times that a transaction is tried which others' locks threw out, and that is safe to repeat.
_TRIES: Final = 3
_THROWN_OUT: Final = frozenset({"40P01", "40001"})


class Noter:
    """Writes the outcomes of one sender, in batches."""

    def __init__(self, database: AsyncEngine, patience: store.Patience) -> None:
        self._database = database
        self._patience = patience
        self._waiting: asyncio.Queue[Outcome] = asyncio.Queue()

    def tell(self, outcome: Outcome) -> None:
        """Have an outcome written soon."""
        self._waiting.put_nowait(outcome)

    async def run(self) -> None:
        """Write for ever. Raises when PostgreSQL fails."""
        async with self._database.connect() as connection:
            await self._follow(connection)

    async def _follow(self, connection: AsyncConnection) -> None:
        while True:
            batch = [await self._waiting.get()]
            while len(batch) < _MOST and not self._waiting.empty():
                batch.append(self._waiting.get_nowait())
            writing = asyncio.ensure_future(self._write(connection, batch))
            try:
                await asyncio.shield(writing)
            except asyncio.CancelledError:
                # What has been posted is noted before the process stops: nobody hears it twice.
                await writing
                if rest := [self._waiting.get_nowait() for _ in range(self._waiting.qsize())]:
                    await self._write(connection, rest)
                raise

    async def _write(self, connection: AsyncConnection, batch: Sequence[Outcome]) -> None:
        for last in (False,) * (_TRIES - 1) + (True,):
            try:
                async with connection.begin():
                    disabled = await store.note(connection, batch, self._patience)
                break
            except DBAPIError as error:
                if last or getattr(error.orig, "sqlstate", None) not in _THROWN_OUT:
                    raise
        for item in batch:
            DELIVERIES.labels(item.name).inc()
        for row in disabled:
            why = "gone" if row["disabled_reason"] == store.GONE else "failing"
            ENDPOINTS_DISABLED.labels(why).inc()
            log().warning("webhook.disabled", endpoint=str(row["endpoint_id"]), why=why)
