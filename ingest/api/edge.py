"""What the routes share: database, Kafka, object store; and who asks."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Annotated, Final

import aiohttp
from fastapi import Depends, Request
from minio import Minio
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from infra.provision import object_store
from infra.rates import RequestClass
from infra.settings import Settings
from infra.telemetry import log
from ingest.api import limits
from ingest.api.problems import Problem
from ingest.db import engine
from ingest.identity.policy import Action, permits
from ingest.limiter.limiter import limiter_of
from ingest.limiter.rules import Caller
from ingest.moderation import Moderation
from ingest.overload import dependencies
from ingest.overload.dependencies import ObjectStoreFailed
from ingest.overload.dependency import Unavailable
from ingest.overload.shared import Shared
from ingest.produce import EdgeProducer
from ingest.store import keys
from ingest.store.jobs import unconfirmed
from ingest.store.keys import Identity
from schemas.codec import codec
from schemas.job import Violation

#: How old the count of unconfirmed jobs may be when a submit looks at it.
_COUNT_AGE: Final = 0.2
#: How old an answer of ``/readyz`` may be.
_READY_AGE: Final = 1.0


class Edge:
    """The resources of one API process. Nothing here matters to correctness: replicas agree.

    Args:
        settings: Where they are.
        unready: What keeps an edge from its work; asked by anyone, so at most once a second.
    """

    def __init__(
        self, settings: Settings, unready: Callable[[Edge], Awaitable[list[Violation]]]
    ) -> None:
        self.settings = settings
        self.database: AsyncEngine = engine(settings)
        self.producer = EdgeProducer(settings, codec(settings.registry))
        self.store: Minio = object_store(settings)
        self.limiter = limiter_of(settings)
        self.readiness = Shared(lambda: unready(self), _READY_AGE)
        self.postgres = dependencies.postgres()
        self.objects = dependencies.objects()
        self.moderation = Moderation(settings)
        self.http = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=None, connect=5, sock_read=30)
        )
        self._counted_at = 0.0
        self._unconfirmed = 0
        self._counting = asyncio.Lock()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[AsyncConnection]:
        """A connection in a transaction. Raises Problem when the database does not answer."""
        async with self.using_database(), self.database.begin() as connection:
            yield connection

    @asynccontextmanager
    async def using_database(self) -> AsyncIterator[None]:
        """A block that uses the database, bounded. Raises Problem when that does not answer."""
        with database_errors():
            async with self.postgres.use():
                yield

    async def fetch(self, link: str, headers: Mapping[str, str]) -> aiohttp.ClientResponse:
        """What the object store answers to a GET; its body is the caller's to read and close.

        Raises:
            Problem: the object store does not answer.
        """
        try:
            async with self.objects.use():
                return await self._get(link, headers)
        except Unavailable as error:
            raise _away("The object store is not asked now.", error) from None
        except (aiohttp.ClientError, OSError, TimeoutError, ObjectStoreFailed):
            raise Problem("dependency_unavailable", "The object store does not answer.") from None

    async def _get(self, link: str, headers: Mapping[str, str]) -> aiohttp.ClientResponse:
        answer = await self.http.get(link, headers=headers, allow_redirects=False)
        if answer.status >= 500:
            answer.release()
            raise ObjectStoreFailed
        return answer

    async def overloaded(self) -> bool:
        """Whether too many submitted jobs await their first event; counted five times a second."""
        most = self.settings.max_unconfirmed
        async with self._counting:
            if time.monotonic() - self._counted_at > _COUNT_AGE:
                async with self.connection() as connection:
                    self._unconfirmed = await unconfirmed(connection, most)
                self._counted_at = time.monotonic()
        return self._unconfirmed >= most

    def submitted(self) -> None:
        """Count one more unconfirmed job until the next look at the table."""
        self._unconfirmed += 1

    async def close(self) -> None:
        """Give everything back, within seconds."""
        await self.http.close()
        await self.producer.close()
        await self.limiter.close()
        await self.database.dispose()


@contextmanager
def database_errors() -> Iterator[None]:
    """Turn what a database raises into the problem that the client sees."""
    try:
        yield
    except Unavailable as error:
        raise _away("The database is not asked now.", error) from None
    except (SQLAlchemyError, OSError, TimeoutError) as error:
        log().error("database.failed", error=type(error).__name__)
        raise Problem("dependency_unavailable", "The database does not answer.") from error


def _away(detail: str, error: Unavailable) -> Problem:
    return Problem("dependency_unavailable", detail, retry_after=error.retry_after)


def edge_of(request: Request) -> Edge:
    """The resources of the process that serves ``request``."""
    edge: Edge = request.app.state.edge
    return edge


UsesEdge = Annotated[Edge, Depends(edge_of)]


def _key_of(request: Request) -> str:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return token.strip()
    return request.headers.get("x-api-key", "")


async def caller(request: Request, edge: UsesEdge) -> Identity:
    """Who asks.

    Raises:
        Problem: unauthenticated; rate_limited after too many of those.
    """
    await limits.before_sign_in(request, edge.limiter)
    key = _key_of(request)
    if not key:
        raise await limits.failed_sign_in(request, edge.limiter)
    async with edge.connection() as connection:
        identity = await keys.identify(connection, key)
    if identity is None:
        raise await limits.failed_sign_in(request, edge.limiter)
    return identity


class Allowed:
    """The dependency of a route: its caller, if the policy lets them do ``action`` now.

    Args:
        action: What the route does.
        kind: Which limit it counts against; None: reads are reads, all else writes.
    """

    def __init__(self, action: Action, kind: RequestClass | None = None) -> None:
        self.action: Action = action
        self.kind: RequestClass = kind or limits.class_of(action)

    async def __call__(
        self, request: Request, edge: UsesEdge, identity: Annotated[Identity, Depends(caller)]
    ) -> Identity:
        """The caller.

        Raises:
            Problem: unauthenticated, rate_limited or forbidden.
        """
        counted = Caller(str(identity.key_id), identity.tenant_id, (identity.role,))
        await limits.count(request, edge.limiter, counted, self.kind)
        if not permits(identity.role, self.action):
            raise Problem("forbidden")
        return identity


ReadsJobs = Annotated[Identity, Depends(Allowed("jobs:read"))]
SubmitsJobs = Annotated[Identity, Depends(Allowed("jobs:write", "submit"))]
WritesJobs = Annotated[Identity, Depends(Allowed("jobs:write"))]
ReadsWebhooks = Annotated[Identity, Depends(Allowed("webhooks:read"))]
WritesWebhooks = Annotated[Identity, Depends(Allowed("webhooks:write"))]
