"""The dependencies of the API: what each one's failures are, and how much of it is used at once."""

from __future__ import annotations

from typing import Final

import aiohttp
from sqlalchemy.exc import DataError, IntegrityError, ProgrammingError, SQLAlchemyError

from ingest.overload.breaker import Breaker
from ingest.overload.bulkhead import Bulkhead
from ingest.overload.dependency import Dependency
from schemas.errors import RegistryUnavailable

#: Connections of the API's pool: as many use the database at once.
POOL: Final = 10
#: Errors of statements, not of the server.
_STATEMENTS: Final = (DataError, IntegrityError, ProgrammingError)


class ObjectStoreFailed(Exception):
    """The object store answered that it cannot."""


def postgres() -> Dependency:
    """PostgreSQL: transactions of milliseconds; who waits seconds for one is turned away."""
    return Dependency(
        "postgres",
        _is_database_failure,
        deadline=5.0,
        bulkhead=Bulkhead(slots=POOL, waiting=500, wait=3.0),
    )


def objects() -> Dependency:
    """The object store: until an object's head is there; its bytes flow at the reader's pace."""
    return Dependency(
        "objects",
        lambda error: isinstance(error, (aiohttp.ClientError, OSError, ObjectStoreFailed)),
        deadline=10.0,
        bulkhead=Bulkhead(slots=64, waiting=256, wait=1.0),
    )


def kafka() -> Dependency:
    """Kafka: a producer that failed is made anew, so one failure is enough to rest."""
    return Dependency(
        "kafka",
        lambda _: True,
        deadline=10.0,
        breaker=Breaker(failures=1, pause=1.0, longest_pause=5.0),
        bulkhead=Bulkhead(slots=1000, waiting=0, wait=0.0),
    )


def registry() -> Dependency:
    """The schema registry: asked once a topic, on a thread that a dead one would keep."""
    return Dependency(
        "registry",
        lambda error: isinstance(error, RegistryUnavailable),
        deadline=1.5,
        breaker=Breaker(failures=2, pause=1.0, longest_pause=10.0),
        bulkhead=Bulkhead(slots=4, waiting=100, wait=2.0),
    )


def _is_database_failure(error: BaseException) -> bool:
    if isinstance(error, SQLAlchemyError):
        return not isinstance(error, _STATEMENTS)
    return isinstance(error, OSError)
