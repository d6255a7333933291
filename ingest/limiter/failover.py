"""Buckets in the shared store, and in memory while that is away: a limiter is never an outage."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from redis.exceptions import RedisError
from throttled.exceptions import StoreUnavailableError

from ingest.limiter.rules import Quota
from ingest.limiter.store import BucketStore, Taken, memory_store
from ingest.limiter.valkey import CONNECTIONS, DEADLINE
from ingest.metrics import LIMITER_FALLBACKS
from ingest.overload.breaker import Breaker
from ingest.overload.bulkhead import Bulkhead
from ingest.overload.dependency import Dependency, Unavailable

_FAILURES: Final = (StoreUnavailableError, RedisError, OSError)


class FailoverStore:
    """Asks ``shared``, behind a breaker; judges by itself what that does not answer.

    While the shared store is away every replica has buckets of its own, full at first: callers
    get up to as many times their limit as there are replicas, and no more.
    """

    def __init__(self, shared: BucketStore) -> None:
        self._shared = shared
        self._own = memory_store()
        self._dependency = Dependency(
            "limiter",
            lambda error: isinstance(error, _FAILURES),
            DEADLINE,
            breaker=Breaker(failures=3),
            bulkhead=Bulkhead(slots=CONNECTIONS, waiting=1000, wait=DEADLINE),
        )

    async def take(self, key: str, quota: Quota, cost: int = 1) -> Taken:
        """See :class:`ingest.limiter.store.BucketStore`."""
        return await self._ask(lambda store: store.take(key, quota, cost))

    async def peek(self, key: str, quota: Quota) -> Taken:
        """See :class:`ingest.limiter.store.BucketStore`."""
        return await self._ask(lambda store: store.peek(key, quota))

    async def close(self) -> None:
        """Close the shared store."""
        await self._shared.close()

    async def _ask(self, ask: Callable[[BucketStore], Awaitable[Taken]]) -> Taken:
        try:
            async with self._dependency.use():
                return await ask(self._shared)
        except (Unavailable, TimeoutError, *_FAILURES):
            LIMITER_FALLBACKS.inc()
            return await ask(self._own)
