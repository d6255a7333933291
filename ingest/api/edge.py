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
from ingest.api.authentication import Authentication
from ingest.api.problems import Problem
from ingest.db import engine
from ingest.identity.caller import Identity
from ingest.identity.policy import BARRED_WHEN_SUSPENDED, Action, permits
from ingest.identity.seldom import Seldom
from ingest.letters import LetterReader
from ingest.limiter.limiter import limiter_of
from ingest.limiter.rules import Caller
from ingest.live.streams import Streams
from ingest.moderation import Moderation
from ingest.overload import dependencies
from ingest.overload.dependencies import ObjectStoreFailed
from ingest.overload.dependency import Unavailable
from ingest.overload.shared import Shared
from ingest.preview_pool import PreviewPool
from ingest.produce import EdgeProducer
from ingest.queue_watch import QueueWatch
from ingest.store.jobs import unconfirmed
from schemas.codec import codec
from schemas.job import Violation

#: How old the count of unconfirmed jobs may be when a submit looks at it.
_COUNT_AGE: Final = 0.2
#: What a caller does again and again is told to the audit topic once in so many seconds.
_SAME_AGAIN: Final = 60.0
#: What a route may answer with because it asks who calls.
_GUARD: Final = (
    "unauthenticated",
    "invalid_token",
    "forbidden",
    "rate_limited",
    "dependency_unavailable",
)
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
        self.letters = LetterReader(settings)
        self.seldom = Seldom(_SAME_AGAIN)
        self.authentication = Authentication(settings, self.http, self.connection, self.seldom)
        self.previews = PreviewPool()
        self.streams = Streams(settings, self.database)
        self.queues = QueueWatch(self.connection, settings.price_per_gpu_s)
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
        await self.streams.close()
        await self.authentication.close()
        self.letters.close()
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


def _credential_of(request: Request) -> str:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return token.strip()
    return request.headers.get("x-api-key", "")


async def caller(request: Request, edge: UsesEdge) -> Identity:
    """Who asks.

    Raises:
        Problem: unauthenticated, invalid_token or dependency_unavailable; rate_limited after too
            many failures.
    """
    await limits.before_sign_in(request, edge.limiter)
    try:
        return await edge.authentication.identify(_credential_of(request))
    except Problem as problem:
        if problem.code != "dependency_unavailable":
            await limits.failed_sign_in(request, edge.limiter)
        raise


def counted_as(identity: Identity) -> Caller:
    """How the limiter knows a caller."""
    return Caller(str(identity.key_id), identity.tenant_id, (identity.role,))


class Allowed:
    """The dependency of a route: its caller, if the policy lets them do ``action`` now.

    Args:
        action: What the route does.
        kind: Which limit it counts against; None: reads are reads, all else writes.
        suspended: Whether a suspended tenant may do it all the same.
    """

    def __init__(
        self, action: Action, kind: RequestClass | None = None, *, suspended: bool = False
    ) -> None:
        self.action: Action = action
        self.kind: RequestClass = kind or limits.class_of(action)
        self._barred = action in BARRED_WHEN_SUSPENDED and not suspended
        #: What its routes may answer with because of it.
        self.codes = (*_GUARD, "tenant_suspended") if self._barred else _GUARD

    async def __call__(
        self, request: Request, edge: UsesEdge, identity: Annotated[Identity, Depends(caller)]
    ) -> Identity:
        """The caller.

        Raises:
            Problem: unauthenticated, invalid_token, rate_limited, forbidden or tenant_suspended.
        """
        await limits.count(request, edge.limiter, counted_as(identity), self.kind)
        if not permits(identity.role, self.action, identity.scopes):
            await edge.authentication.denied(identity, self.action)
            raise Problem("forbidden")
        if self._barred and identity.suspended:
            raise Problem("tenant_suspended")
        return identity


ReadsJobs = Annotated[Identity, Depends(Allowed("jobs:read"))]
SubmitsJobs = Annotated[Identity, Depends(Allowed("jobs:write", "submit"))]
WritesJobs = Annotated[Identity, Depends(Allowed("jobs:write"))]
#: To cancel or delete: a suspended tenant may end what it has.
EndsJobs = Annotated[Identity, Depends(Allowed("jobs:write", suspended=True))]
ReadsWebhooks = Annotated[Identity, Depends(Allowed("webhooks:read"))]
WritesWebhooks = Annotated[Identity, Depends(Allowed("webhooks:write"))]
ReadsKeys = Annotated[Identity, Depends(Allowed("keys:read"))]
WritesKeys = Annotated[Identity, Depends(Allowed("keys:write"))]
ReadsTenants = Annotated[Identity, Depends(Allowed("tenants:read"))]
WritesTenants = Annotated[Identity, Depends(Allowed("tenants:write"))]
ReadsLetters = Annotated[Identity, Depends(Allowed("letters:read"))]
RedrivesLetters = Annotated[Identity, Depends(Allowed("letters:redrive"))]
