"""The object store over HTTP, away and failing: one of a few asks, the rest are told to wait."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from infra.settings import Settings
from infra.stack.identity import HOST, free_port
from ingest.api.edge import Edge
from ingest.api.health import unready
from ingest.api.problems import Problem


@pytest.fixture
async def edge() -> AsyncIterator[Edge]:
    made = Edge(Settings(kafka_tenant="field"), unready)
    yield made
    await made.close()


async def refused(edge: Edge, link: str) -> Problem:
    with pytest.raises(Problem) as raised:
        await edge.fetch(link, {})
    assert raised.value.code == "dependency_unavailable"
    return raised.value


async def test_a_store_that_is_away_is_soon_not_asked(edge: Edge) -> None:
    link = f"http://{HOST}:{free_port(set())}/video"
    found = [await refused(edge, link) for _ in range(8)]
    assert [problem.retry_after is None for problem in found] == [True] * 5 + [False] * 3


async def test_errors_of_the_server_open_the_breaker_and_those_of_a_request_do_not(
    edge: Edge,
) -> None:
    asked = 0

    async def handle(request: web.Request) -> web.Response:
        nonlocal asked
        asked += 1
        return web.Response(status=int(request.path[1:]))

    app = web.Application()
    app.router.add_get("/{status}", handle)
    runner = web.AppRunner(app)
    await runner.setup()
    port = free_port(set())
    await web.TCPSite(runner, HOST, port).start()
    for _ in range(8):
        answer = await edge.fetch(f"http://{HOST}:{port}/404", {})
        assert answer.status == 404
        answer.release()
    assert asked == 8
    for _ in range(8):
        await refused(edge, f"http://{HOST}:{port}/503")
    assert asked == 8 + 5
    await runner.cleanup()
