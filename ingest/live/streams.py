"""The live side of one API process: its hub, the watcher that feeds it, and how streams open."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from typing import Final

from sqlalchemy.ext.asyncio import AsyncEngine

from infra.settings import Settings
from ingest.identity.caller import Identity
from ingest.live.hub import Hub
from ingest.live.mailbox import Mailbox
from ingest.live.openings import Openings
from ingest.live.position import Position
from ingest.live.watcher import Watcher
from ingest.metrics import STREAMS_ENDED

_START_DEADLINE: Final = 3.0
#: Long catch-ups that read at the same time: the rest of the pool is for requests.
_CATCHING_UP: Final = 3


class Streams:
    """What routes use. Made inside the event loop that serves them."""

    def __init__(self, settings: Settings, database: AsyncEngine) -> None:
        self.hub = Hub(settings.streams_per_tenant, settings.streams_per_process)
        self.openings = Openings(database)
        self.catching_up = asyncio.Semaphore(_CATCHING_UP)
        self._watcher = Watcher(settings, self.hub)
        self._task = asyncio.create_task(self._watcher.run(), name="streams")

    async def begun(self) -> None:
        """Return once positions are known. Raises TimeoutError: the database does not answer."""
        if not self._watcher.ready.is_set():
            async with asyncio.timeout(_START_DEADLINE):
                await self._watcher.ready.wait()

    def join(
        self,
        identity: Identity,
        job_id: uuid.UUID | None,
        since: Position,
        *,
        events_only: bool = False,
    ) -> Mailbox:
        """See :meth:`ingest.live.hub.Hub.join`."""
        box = self.hub.join(identity, job_id, since, events_only=events_only)
        if job_id is not None and not events_only:
            self._watcher.look_soon()
        return box

    def leave(self, box: Mailbox) -> None:
        """Forget a stream that has ended."""
        if box.end is not None and not box.events_only:
            STREAMS_ENDED.labels(box.end).inc()
        self.hub.leave(box)

    def end_all(self) -> None:
        """End every stream at once: their clients go to another replica."""
        self.hub.close()

    async def close(self) -> None:
        """End the streams and stop watching."""
        self.end_all()
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
