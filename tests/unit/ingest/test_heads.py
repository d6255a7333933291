from __future__ import annotations

import asyncio
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from ingest.api.boundary import ANSWER_HEADERS, Boundary
from ingest.api.heads import objection


def scope(
    *headers: tuple[str, str], path: str = "/v1/jobs", query: str = "", version: str = "1.1"
) -> Scope:
    return {
        "type": "http",
        "method": "GET",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "http_version": version,
        "headers": [(name.encode(), value.encode()) for name, value in headers],
    }


def code(head: Scope) -> str | None:
    found = objection(head)
    return None if found is None else found.code


def test_an_ordinary_head_passes() -> None:
    usual = [("host", "x"), ("content-type", "application/json"), ("content-length", "9")]
    assert code(scope(*usual, *((f"x-{n}", "y" * 100) for n in range(50)))) is None
    assert code(scope(("transfer-encoding", "chunked"))) is None
    assert code(scope(("accept", "a"), ("accept", "b"))) is None


def test_what_is_too_big_is_named() -> None:
    assert code(scope(path="/" + "x" * 8192)) == "uri_too_long"
    assert code(scope(query="x" * 8192)) == "uri_too_long"
    assert code(scope(*((f"x-{n}", "") for n in range(65)))) == "headers_too_large"
    assert code(scope(("x", "y" * 16_384))) == "headers_too_large"


@pytest.mark.parametrize(
    "headers",
    [
        [("content-length", "5"), ("transfer-encoding", "chunked")],
        [("transfer-encoding", "chunked"), ("content-length", "5")],
        [("content-length", "5"), ("content-length", "5")],
        [("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")],
        [("host", "a"), ("host", "b")],
        [("authorization", "Bearer a"), ("authorization", "Bearer b")],
        [("x-api-key", "a"), ("x-api-key", "b")],
        [("idempotency-key", "a"), ("idempotency-key", "b")],
    ],
)
def test_what_can_be_read_in_two_ways_is_refused(headers: list[tuple[str, str]]) -> None:
    assert code(scope(*headers)) == "malformed_request"


def test_chunks_in_http_1_0_and_compressed_bodies_are_refused() -> None:
    assert code(scope(("transfer-encoding", "chunked"), version="1.0")) == "malformed_request"
    assert code(scope(version="9.9")) == "malformed_request"
    for encoding in ("gzip", "br", "identity", "gzip, gzip"):
        assert code(scope(("content-encoding", encoding))) == "unsupported_media_type"


async def ask(boundary: Boundary, head: Scope) -> list[Message]:
    sent: list[Message] = []

    async def send(message: Message) -> None:  # noqa: RUF100
        sent.append(message)

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    await boundary(head, receive, send)
    return sent


async def test_more_than_may_be_pending_is_refused_at_once_and_liveness_is_not() -> None:
    go, waiting = asyncio.Event(), 0

    async def app(scope: Scope, _receive: Receive, send: Send) -> None:
        nonlocal waiting
        if scope["path"] != "/healthz":
            waiting += 1
            await go.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    boundary = Boundary(app, most_pending=3)
    pending = [asyncio.create_task(ask(boundary, scope())) for _ in range(3)]
    await asyncio.sleep(0)
    refused = await ask(boundary, scope())
    assert refused[0]["status"] == 503
    assert dict(refused[0]["headers"])[b"retry-after"]
    assert (await ask(boundary, scope(path="/healthz")))[0]["status"] == 200
    assert waiting == 3
    go.set()
    answers = await asyncio.gather(*pending)
    assert [messages[0]["status"] for messages in answers] == [200] * 3
    assert (await ask(boundary, scope()))[0]["status"] == 200


async def test_an_answer_that_goes_on_is_not_pending_and_a_failed_one_leaks_nothing() -> None:
    forever = asyncio.Event()

    async def app(scope: Scope, _receive: Receive, send: Send) -> None:
        if scope["path"] == "/boom":
            raise RuntimeError
        await send({"type": "http.response.start", "status": 200, "headers": []})
        if scope["path"] == "/stream":
            await forever.wait()

    boundary = Boundary(app, most_pending=1)
    streams = [asyncio.create_task(ask(boundary, scope(path="/stream"))) for _ in range(5)]
    await asyncio.sleep(0)
    for _ in range(3):
        assert (await ask(boundary, scope(path="/boom")))[0]["status"] == 500
    assert (await ask(boundary, scope()))[0]["status"] == 200
    forever.set()
    await asyncio.gather(*streams)


async def test_headers_that_a_dependency_asked_for_are_on_the_answer_whatever_it_is() -> None:
    async def app(scope: Scope, _receive: Receive, _send: Send) -> None:
        scope[ANSWER_HEADERS] = {"RateLimit": '"tenant";r=1;t=1'}
        raise RuntimeError

    sent: Any = await ask(Boundary(app, most_pending=1), scope())
    assert sent[0]["status"] == 500
    assert dict(sent[0]["headers"])[b"ratelimit"] == b'"tenant";r=1;t=1'
