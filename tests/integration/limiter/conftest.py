from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from ingest.limiter.failover import FailoverStore
from ingest.limiter.store import BucketStore, memory_store
from ingest.limiter.valkey import ValkeyStore
from tests.support.valkey import running_valkey


@pytest.fixture(scope="package")
def valkey() -> Iterator[str]:
    """URL of a server of these tests."""
    with running_valkey() as url:
        yield url


@pytest.fixture(params=["memory", "valkey", "failover"])
async def store(request: pytest.FixtureRequest, valkey: str) -> AsyncIterator[BucketStore]:
    """Each implementation of the seam."""
    prefix = f"{request.node.name}."
    made: BucketStore
    if request.param == "memory":
        made = memory_store(prefix)
    elif request.param == "valkey":
        made = ValkeyStore(valkey, prefix)
    else:
        made = FailoverStore(ValkeyStore(valkey, prefix))
    yield made
    await made.close()
