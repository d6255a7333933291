"""Buckets in Valkey or Redis, shared by every replica of the API."""

from __future__ import annotations

from typing import Final, cast

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from throttled.asyncio import RedisStore, RedisStoreBackend
from throttled.types import AsyncRedisClientP

from ingest.limiter.store import ThrottledStore

#: Seconds that a limit may wait for the server: then this process judges by itself.
DEADLINE: Final = 0.5
#: Most connections of a process; a script takes a fraction of a millisecond.
CONNECTIONS: Final = 16


class _Backend(RedisStoreBackend):
    """The library's backend over a client of ours: deadlines, no retries, and it can be closed."""

    def __init__(self, client: Redis) -> None:
        super().__init__()
        self._client = cast("AsyncRedisClientP", client)


class _Store(RedisStore):
    def __init__(self, client: Redis) -> None:
        super().__init__()
        self._backend = _Backend(client)


class ValkeyStore(ThrottledStore):
    """Buckets in the server at a ``redis://`` or ``rediss://`` URL; nothing is asked of it yet."""

    def __init__(self, url: str, prefix: str) -> None:
        pool = BlockingConnectionPool.from_url(
            url,
            timeout=DEADLINE,
            socket_timeout=DEADLINE,
            socket_connect_timeout=DEADLINE,
            retry=Retry(NoBackoff(), 0),
            max_connections=CONNECTIONS,
        )
        self._client = Redis.from_pool(pool)
        super().__init__(_Store(self._client), prefix)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()
