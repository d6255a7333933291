"""A dependency stops, hangs and comes back: fast refusals, no pile of waiters, and it heals."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple
from urllib.parse import urlsplit

import httpx2
import pytest

from infra.stack.identity import HOST, free_port
from tests.integration.ingest.edge_stack import EdgeStack
from tests.support.passage import passage
from tests.support.wait import until

pytestmark = pytest.mark.stack

AT_ONCE = 60


class Way(NamedTuple):
    """An API, the port by which it reaches PostgreSQL, where that leads, and its metrics' port."""

    client: httpx2.Client
    port: int
    there: tuple[str, int]
    metrics: int


def metric(port: int, name: str, **labels: str) -> float:
    """A sample of an API's metrics page; 0 when it is not there."""
    page = httpx2.get(f"http://{HOST}:{port}/metrics", timeout=10).text
    wanted = ",".join(f'{label}="{value}"' for label, value in sorted(labels.items()))
    found = re.search(rf"^{name}{{{re.escape(wanted)}}} (\S+)$", page, re.MULTILINE)
    return float(found[1]) if found else 0.0


def burst(client: httpx2.Client) -> list[httpx2.Response]:
    """Many lists at once; none may hang for longer than the client's 30 s."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(lambda _: client.get("/v1/jobs"), range(AT_ONCE)))


def refused(answers: list[httpx2.Response]) -> None:
    assert {answer.status_code for answer in answers} == {503}
    assert {answer.json()["code"] for answer in answers} == {"dependency_unavailable"}
    assert all(1 <= int(answer.headers["Retry-After"]) <= 10 for answer in answers)


@pytest.fixture
def by_way(edge: EdgeStack) -> Iterator[Way]:
    """An API whose way to PostgreSQL a test opens and closes; closed at first after one burst."""
    dsn = edge.env["TTV_POSTGRES"]
    upstream, port, metrics = urlsplit(dsn).port or 0, free_port(set()), free_port(set())
    env = {
        "TTV_POSTGRES": dsn.replace(f":{upstream}/", f":{port}/"),
        "TTV_METRICS_PORT": str(metrics),
    }
    there = (HOST, upstream)
    with passage(port, there):
        process, client = edge.api(env)
        until(lambda: {answer.status_code for answer in burst(client)} == {200}, 60)
    yield Way(client, port, there, metrics)
    assert process.alive()
    process.stop()


def heals(way: Way) -> None:
    """PostgreSQL is back: so is the API, by itself."""
    with passage(way.port, way.there):
        until(lambda: {answer.status_code for answer in burst(way.client)} == {200}, 60)
        assert metric(way.metrics, "ttv_breaker_state", dependency="postgres") == 0
        assert way.client.post("/v1/jobs", json={"prompt": "x"}).status_code == 202


def test_with_postgres_away_requests_fail_at_once_and_with_it_back_they_succeed(
    by_way: Way,
) -> None:
    refused(burst(by_way.client))
    refused(burst(by_way.client))
    # Once it is known to be away it is not asked: the breaker answers, and a few probes.
    assert metric(by_way.metrics, "ttv_breaker_state", dependency="postgres") > 0
    rejected = metric(
        by_way.metrics, "ttv_dependency_rejected_total", dependency="postgres", why="open"
    )
    assert rejected > AT_ONCE
    assert by_way.client.get("/healthz").status_code == 200
    heals(by_way)


@pytest.mark.strike
def test_a_postgres_that_takes_connections_and_says_nothing_piles_nobody_up(by_way: Way) -> None:
    with socket.create_server((HOST, by_way.port)):
        refused(burst(by_way.client))
        refused(burst(by_way.client))
    full = metric(
        by_way.metrics, "ttv_dependency_rejected_total", dependency="postgres", why="full"
    )
    assert full > 0
    heals(by_way)
