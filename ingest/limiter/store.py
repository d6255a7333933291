"""The seam between the rules and where buckets are kept, and the store in memory.

Both stores are throttled-py's GCRA; in Valkey it is one Lua script a bucket, so it is atomic and
goes by the server's clock. A bucket lives for as long as it is not full.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Protocol

from throttled.asyncio import BaseStore, MemoryStore, RateLimiterRegistry, per_duration
from throttled.asyncio.rate_limiter import BaseRateLimiter

from ingest.limiter.rules import Quota

#: Buckets that a process keeps in memory; beyond it the least recently used is forgotten.
_CAPACITY: Final = 100_000
#: Quotas that limiters are kept for; tenants may have quotas of their own.
_MAX_QUOTAS: Final = 1000


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of a request at one bucket.

    Attributes:
        limited: It was refused, and not counted here.
        remaining: Requests that would still be let through now.
        reset_after: Seconds until the bucket is as if nothing had been taken.
        retry_after: Seconds until a refused request would be let through; 0 when it was.
    """

    limited: bool
    remaining: int
    reset_after: float
    retry_after: float


class BucketStore(Protocol):
    """Buckets by key."""

    async def take(self, key: str, quota: Quota, cost: int = 1) -> Taken:
        """Count ``cost`` requests in the bucket, if all fit; otherwise none."""

    async def peek(self, key: str, quota: Quota) -> Taken:
        """Whether one request would fit; counts nothing."""

    async def close(self) -> None:
        """Give back what is held."""


class ThrottledStore:
    """Buckets in a store of throttled-py.

    Args:
        store: Where.
        prefix: Before every key: deployments that share a server do not meet.
    """

    def __init__(self, store: BaseStore, prefix: str) -> None:
        self._store = store
        self._prefix = f"{prefix}limit"
        self._limiters: OrderedDict[Quota, BaseRateLimiter] = OrderedDict()

    async def take(self, key: str, quota: Quota, cost: int = 1) -> Taken:
        """See :class:`BucketStore`."""
        result = await self._limiter(quota).limit(key, cost)
        state = result.state
        return Taken(result.limited, state.remaining, state.reset_after, state.retry_after)

    async def peek(self, key: str, quota: Quota) -> Taken:
        """See :class:`BucketStore`."""
        state = await self._limiter(quota).peek(key)
        return Taken(state.remaining < 1, state.remaining, state.reset_after, state.retry_after)

    async def close(self) -> None:
        """Nothing is held."""

    def _limiter(self, quota: Quota) -> BaseRateLimiter:
        found = self._limiters.get(quota)
        if found is None:
            while len(self._limiters) >= _MAX_QUOTAS:
                self._limiters.popitem(last=False)
            rate = per_duration(timedelta(seconds=quota.window), quota.limit)
            made = RateLimiterRegistry.get("gcra")(rate, self._store, key_prefix=self._prefix)
            found = self._limiters[quota] = made
        self._limiters.move_to_end(quota)
        return found


def memory_store(prefix: str = "") -> ThrottledStore:
    """Buckets of this process alone, at most 100,000 of them."""
    return ThrottledStore(MemoryStore(options={"MAX_SIZE": _CAPACITY}), prefix)
