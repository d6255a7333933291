"""The shared store away, back, and silent: requests are judged all the while."""

from __future__ import annotations

import asyncio
import contextlib
import time

from prometheus_client import REGISTRY

from infra.stack.identity import HOST, free_port
from ingest.limiter.failover import FailoverStore
from ingest.limiter.rules import Quota
from ingest.limiter.valkey import ValkeyStore
from tests.support.valkey import running_valkey

SLOW = Quota(3, 3600)


def sample(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


async def test_while_it_is_away_this_process_limits_and_then_it_limits_again() -> None:
    port = free_port(set())
    store = FailoverStore(ValkeyStore(f"redis://{HOST}:{port}/0", "t."))
    before = sample("ttv_limiter_fallback_total")
    taken = [await store.take("a", SLOW) for _ in range(5)]
    assert [one.limited for one in taken] == [False, False, False, True, True]
    assert sample("ttv_limiter_fallback_total") == before + 5
    assert sample("ttv_breaker_state", dependency="limiter") == 2
    with running_valkey(port):
        deadline = time.monotonic() + 20
        while sample("ttv_breaker_state", dependency="limiter"):
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)
            await store.take("b", Quota(10_000, 3600))
        taken = [await store.take("a", SLOW) for _ in range(4)]
        assert [one.limited for one in taken] == [False, False, False, True]
    assert [(await store.take("a", SLOW)).limited for _ in range(3)] == [True] * 3
    await store.close()


async def test_a_store_that_takes_connections_and_never_answers_holds_nobody_up() -> None:
    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            await reader.read(-1)
        writer.close()

    server = await asyncio.start_server(mute, HOST, 0)
    port = server.sockets[0].getsockname()[1]
    store = FailoverStore(ValkeyStore(f"redis://{HOST}:{port}/0", "t."))
    began = time.monotonic()
    taken = [await store.take("a", SLOW) for _ in range(200)]
    assert sum(not one.limited for one in taken) == 3
    # Three fail by the deadline; all after them are judged here at once.
    assert time.monotonic() - began < 10
    await store.close()
    server.close()
    await server.wait_closed()
