"""429 over the socket: limits of callers and of addresses, shared by replicas."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator

import httpx2
import pytest

from infra.stack.identity import free_port
from ingest.db import engine
from ingest.store import keys
from tests.integration.ingest.edge_stack import EdgeStack

pytestmark = pytest.mark.stack


@pytest.fixture(scope="module")
def replicas(edge: EdgeStack) -> Iterator[tuple[httpx2.Client, httpx2.Client]]:
    """Two APIs with narrow limits, on the Valkey of the stack."""
    env = {
        "TTV_LIMIT_TENANT": "submit=4 write=1000 read=1000",
        "TTV_LIMIT_KEY": "read=5",
        "TTV_LIMIT_FAILURES": "5",
    }
    made = [edge.api(env) for _ in range(2)]
    yield made[0][1], made[1][1]
    for process, _ in made:
        process.stop()


def test_replicas_share_a_tenants_limit_and_say_so(
    replicas: tuple[httpx2.Client, httpx2.Client],
) -> None:
    answers = [replicas[n % 2].post("/v1/jobs", json={"prompt": "x"}) for n in range(6)]
    assert [answer.status_code for answer in answers] == [202] * 4 + [429] * 2
    assert answers[0].headers["RateLimit-Policy"] == '"tenant";q=4;w=60;pk=:c3VibWl0:'
    assert answers[0].headers["RateLimit"].startswith('"tenant";r=3;t=15;')
    refused = answers[-1]
    assert refused.json()["code"] == "rate_limited"
    assert refused.headers["RateLimit"].startswith('"tenant";r=0;')
    assert 1 <= int(refused.headers["Retry-After"]) <= 15
    # What is over one class's limit leaves the others alone.
    assert replicas[0].get("/v1/webhooks").status_code == 200


def test_each_key_has_a_limit_of_its_own(
    edge: EdgeStack, replicas: tuple[httpx2.Client, httpx2.Client]
) -> None:
    other = "ttv_" + uuid.uuid4().hex
    add_key(edge, other)
    url = str(replicas[0].base_url)
    with edge.client(other, url) as client:
        answers = [client.get("/v1/jobs") for _ in range(7)]
        assert [answer.status_code for answer in answers].count(200) == 5
        missing = client.get(f"/v1/jobs/{uuid.uuid4()}")
        assert missing.status_code == 429
    third = "ttv_" + uuid.uuid4().hex
    add_key(edge, third)
    with edge.client(third, url) as client:
        missing = client.get(f"/v1/jobs/{uuid.uuid4()}")
        assert missing.status_code == 404
        assert '"key";r=4' in missing.headers["RateLimit"]


def test_an_address_that_guesses_keys_is_stopped_before_the_database_is_asked(
    edge: EdgeStack,
) -> None:

    env = {"TTV_LIMIT_FAILURES": "5", "TTV_HTTP_PORT": str(free_port(set()))}
    process, good = edge.api(env)
    try:
        with edge.client("wrong", str(good.base_url)) as guesser:
            answers = [guesser.get("/v1/jobs").status_code for _ in range(8)]
            refused = guesser.get("/v1/jobs")
        assert answers == [401] * 5 + [429] * 3
        assert refused.json()["code"] == "rate_limited"
        assert refused.headers["RateLimit-Policy"].startswith('"peer";q=5;w=60')
        assert int(refused.headers["Retry-After"]) >= 1
        assert good.get("/healthz").status_code == 200
    finally:
        process.stop()


def add_key(edge: EdgeStack, key: str) -> None:
    """Make a key of the default tenant."""

    async def add() -> None:
        database = engine(edge.settings, pool_size=1)
        async with database.begin() as connection:
            await keys.add(connection, key, "default", "creator")
        await database.dispose()

    asyncio.run(add())
