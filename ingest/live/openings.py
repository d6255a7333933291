"""Jobs that streams begin with, looked up together: a thousand at once are few queries."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncEngine

from ingest.store import live

Row = Mapping[Any, Any]
Opened = tuple[Row, Sequence[Row]]
_BATCH: Final = 500


class Openings:
    """Answers for one job; a query runs for all that came while the last one ran."""

    def __init__(self, database: AsyncEngine) -> None:
        self._database = database
        self._asked: dict[uuid.UUID, asyncio.Future[Opened | None]] = {}
        self._running: asyncio.Task[None] | None = None

    async def look(self, job_id: uuid.UUID) -> Opened | None:
        """Tenant and status of the job, and its events in order, as they are from now on.

        Raises:
            sqlalchemy.exc.SQLAlchemyError, OSError, TimeoutError: the database does not answer.
        """
        future = self._asked.get(job_id)
        if future is None:
            future = self._asked[job_id] = asyncio.get_running_loop().create_future()
            if self._running is None or self._running.done():
                self._running = asyncio.create_task(self._run())
        return await asyncio.shield(future)

    async def _run(self) -> None:
        while self._asked:
            batch = {job_id: self._asked[job_id] for job_id in list(self._asked)[:_BATCH]}
            for job_id in batch:
                del self._asked[job_id]
            try:
                async with self._database.connect() as connection:
                    found = await live.jobs_and_events(connection, batch)
            except Exception as error:  # noqa: BLE001 told to each who asked
                for future in batch.values():
                    _fail(future, error)
            else:
                for job_id, future in batch.items():
                    if not future.done():
                        future.set_result(found.get(job_id))


def _fail(future: asyncio.Future[Opened | None], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
        future.exception()  # whoever asked may have gone
