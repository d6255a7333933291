"""The queue of each pool, read when somebody asks and for a second from then on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from ingest.estimate import Model, model_of
from ingest.queue import MOST, Place, Queue, Row, work_of
from ingest.store import queue as store

Connect = Callable[[], AbstractAsyncContextManager[AsyncConnection]]
_QUEUE_AGE: Final = 1.0
#: A long queue takes longer to read: it is read for one part in so many of the time at most.
_SHARE: Final = 20
_MODEL_AGE: Final = 15.0
#: Finished renders that a model is learnt from.
_LEARNT_FROM: Final = 200


@dataclass(slots=True)
class _Known:
    """What was last read of one pool, when, and until when it serves (monotonic seconds)."""

    queue: Queue
    price: float | None
    coefficients: Mapping[str, float]
    serves_until: float
    model_at: float


class QueueWatch:
    """Reads and keeps queues. Whatever the rate of requests, a pool is read once a second.

    Args:
        connect: Gives a connection; raises what its caller shows.
        price: Money per GPU-second where the pool's scheduler says none.
    """

    def __init__(self, connect: Connect, price: float | None) -> None:
        self._connect = connect
        self._price = price
        self._known: dict[str, _Known] = {}
        self._reading = asyncio.Lock()

    async def queue(self, pool: str) -> Queue:
        """The pool's queue, at most a second old."""
        return (await self._fresh(pool)).queue

    async def price(self, pool: str) -> float | None:
        """Money per GPU-second of the pool; None: not set."""
        return (await self._fresh(pool)).price

    async def places(self, rows: Sequence[Row]) -> list[Place | None]:
        """The place of each job; None of those that do not wait."""
        return [
            (await self.queue(row["pool"])).place(row) if row["status"] == "pending" else None
            for row in rows
        ]

    async def _fresh(self, pool: str) -> _Known:
        async with self._reading:
            known, now = self._known.get(pool), time.monotonic()
            if known is None or now > known.serves_until:
                known = self._known[pool] = await self._read(pool, known, now)
            return known

    async def _read(self, pool: str, before: _Known | None, now: float) -> _Known:
        async with self._connect() as connection:
            said = await store.outlook(connection, pool)
            given = said["coefficients"] if said else {}
            if before is None or before.coefficients != given or now - before.model_at > _MODEL_AGE:
                model, model_at = await _model(connection, pool, given), now
            else:
                model, model_at = before.queue.model, before.model_at
            on_slots = await store.on_slots(connection, pool)
            waiting = await store.waiting(connection, pool, MOST)
        slots = said["slots"] if said else 0
        price = said["price_per_gpu_s"] if said else None
        queue = Queue(model, slots, on_slots, waiting, datetime.now(UTC))
        took = time.monotonic() - now
        serves_until = now + took + max(_QUEUE_AGE, _SHARE * took)
        if price is None:
            price = self._price
        return _Known(queue, price, given, serves_until, model_at)


async def _model(connection: AsyncConnection, pool: str, given: Mapping[str, float]) -> Model:
    rows = await store.rendered(connection, pool, _LEARNT_FROM)
    finished = [(work_of(row), row["took"].total_seconds()) for row in rows]
    return model_of(given, finished)
