"""The one task of a process that watches the database for all its streams, on one connection.

A NOTIFY wakes it; should none come, it looks every second. It reads what came since its place in
the log, so a lost notification, connection or server costs time, never an event.
"""

from __future__ import annotations

import asyncio
import contextlib
from datetime import UTC, datetime
from typing import Any, Final

import asyncpg
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from infra.settings import Settings
from infra.telemetry import log
from ingest.db import engine
from ingest.failures import places
from ingest.live.hub import Hub
from ingest.live.position import Seal
from ingest.metrics import STREAM_FAILURES, STREAMS
from ingest.store import live
from schemas.topics import Topics

#: The longest wait for a notification.
_POLL: Final = 1.0
#: Looks are so far apart at least: what comes in between is read in one.
_APART: Final = 0.02
_PROGRESS_APART: Final = 0.25
#: A revoked key's streams end within so long.
_STANDING_APART: Final = 2.0
#: Events that are handed out before streams get to send them; fewer than a mailbox holds.
_BATCH: Final = 400
_RETRY: Final = 1.0


class Watcher:
    """Reads events and progress and hands them to a hub; ends streams whose caller has fallen."""

    def __init__(self, settings: Settings, hub: Hub) -> None:
        self.ready = asyncio.Event()
        self._settings = settings
        self._hub = hub
        self._topic = Topics(settings.topic_prefix).events
        self._bell = asyncio.Event()
        self._progress_due = False
        self._progress_at = 0.0
        self._standing_at = 0.0

    async def run(self) -> None:
        """Watch until cancelled; whatever fails is begun again from the same place."""
        while True:
            try:
                await self._watch()
            except Exception as error:  # noqa: BLE001 streams must not fall silent
                STREAM_FAILURES.inc()
                log().error("streams.failed", error=type(error).__name__, frames=places(error))
            await asyncio.sleep(_RETRY)

    def look_soon(self) -> None:
        """Have it look without waiting for a notification, progress included."""
        self._progress_due = True
        self._bell.set()

    async def _watch(self) -> None:
        database = engine(self._settings, pool_size=1)
        try:
            async with database.connect() as plain:
                # Each look is a statement of its own: no transaction stays open in between.
                connection = await plain.execution_options(isolation_level="AUTOCOMMIT")
                await self._listen(connection)
                if not self.ready.is_set():
                    self._hub.begin(Seal(await live.secret(connection, "event_ids")))
                    self._hub.position.update(await live.heads(connection, self._topic))
                    self.ready.set()
                while True:
                    await self._look(connection)
                    await asyncio.sleep(_APART)
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(
                            _PROGRESS_APART if self._progress_due else _POLL
                        ):
                            await self._bell.wait()
        finally:
            await database.dispose()

    async def _listen(self, connection: AsyncConnection) -> None:
        raw: Any = (await connection.get_raw_connection()).driver_connection
        try:
            await raw.add_listener(live.EVENTS_CHANNEL, self._on_events)
            await raw.add_listener(live.PROGRESS_CHANNEL, self._on_progress)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, SQLAlchemyError) as error:
            # A pooler between may refuse it: then it is a look a second.
            log().warning("streams.not_notified", error=type(error).__name__)

    def _on_events(self, *_: object) -> None:
        self._bell.set()

    def _on_progress(self, *_: object) -> None:
        self._progress_due = True
        self._bell.set()

    async def _look(self, connection: AsyncConnection) -> None:
        polled = not self._bell.is_set()
        self._bell.clear()
        now = asyncio.get_running_loop().time()
        if now - self._standing_at >= _STANDING_APART and len(self._hub):
            self._hub.revoke(
                await live.fallen(connection, self._hub.identities(), datetime.now(UTC))
            )
            self._standing_at = now
        await self._events(connection)
        due = polled or self._progress_due
        if due and now - self._progress_at >= _PROGRESS_APART and len(self._hub):
            self._progress_due = False
            self._progress_at = now
            self._hub.progressed(await live.progress(connection))
        self._hub.beat(now)
        STREAMS.set(len(self._hub))

    async def _events(self, connection: AsyncConnection) -> None:
        if not len(self._hub):
            heads = await live.heads(connection, self._topic)
            if not len(self._hub):  # a stream that joined meanwhile wants what came meanwhile
                self._hub.position.update(heads)
                return
        while True:
            rows = await live.events_after(connection, self._topic, self._hub.position, _BATCH)
            self._hub.happened(rows)
            if len(rows) < _BATCH:
                return
