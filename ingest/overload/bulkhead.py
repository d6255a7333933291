"""A bulkhead: how many use a dependency at once, and how many may wait for how long."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class BulkheadFull(Exception):
    """Too many use the dependency, and too many wait: fail now, it is no use to queue."""


class Bulkhead:
    """One dependency's bulkhead, for one event loop.

    Args:
        slots: Most users at once.
        waiting: Most that wait; one more fails at once.
        wait: Seconds after which one that waits fails.
    """

    def __init__(self, slots: int, waiting: int, wait: float) -> None:
        self._free = asyncio.Semaphore(slots)
        self._most_waiting = waiting
        self._wait = wait
        self._waiting = 0

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """A slot for the block.

        Raises:
            BulkheadFull: there was none in time.
        """
        await self._take()
        try:
            yield
        finally:
            self._free.release()

    async def _take(self) -> None:
        if not self._free.locked():
            await self._free.acquire()
            return
        if self._waiting >= self._most_waiting:
            raise BulkheadFull
        self._waiting += 1
        try:
            async with asyncio.timeout(self._wait):
                await self._free.acquire()
        except TimeoutError:
            raise BulkheadFull from None
        finally:
            self._waiting -= 1
