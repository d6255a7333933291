"""The connection's bounds, over real sockets, with deadlines of a fraction of a second."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from ingest.api import server
from ingest.api.server import BACKLOG, MAX_UNFINISHED_HEAD, BoundedProtocol

Open = Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]
GET = b"GET /ok HTTP/1.1\r\nHost: x\r\n\r\n"


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers at once; ``/big`` with more than any buffer holds, ``/read`` once the body is in."""
    assert scope["type"] == "http"
    if scope["path"] == "/read":
        while (await receive()).get("more_body"):
            pass
    body = b"x" * (64 << 20) if scope["path"] == "/big" else b"ok"
    length = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": length})
    await send({"type": "http.response.body", "body": body})


@asynccontextmanager
async def serving(connections: int = 100, keep_alive: int = 5) -> AsyncIterator[Open]:
    config = uvicorn.Config(
        app,
        host="127.0.0.1",
        port=0,
        http=BoundedProtocol,
        ws="none",
        lifespan="off",
        log_config=None,
        limit_concurrency=connections,
        timeout_keep_alive=keep_alive,
        backlog=BACKLOG,
        h11_max_incomplete_event_size=MAX_UNFINISHED_HEAD,
    )
    made = uvicorn.Server(config)
    made.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    running = asyncio.create_task(made._serve(None))
    clients: list[asyncio.StreamWriter] = []

    async def connect() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        clients.append(writer)
        return reader, writer

    try:
        while not made.started:  # noqa: ASYNC110 uvicorn tells in no other way
            await asyncio.sleep(0.005)
        port = made.servers[0].sockets[0].getsockname()[1]
        yield connect
    finally:
        for writer in clients:
            writer.transport.abort()
        made.should_exit = made.force_exit = True
        await running


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "HEAD_SECONDS", 0.3)
    monkeypatch.setattr(server, "LINGER_SECONDS", 0.3)
    monkeypatch.setattr(server, "READER_SECONDS", 0.3)


async def rest(reader: asyncio.StreamReader) -> bytes:
    """All until the connection ends; fails when it does not."""
    got = b""
    async with asyncio.timeout(20):
        with contextlib.suppress(ConnectionError):
            while more := await reader.read(1 << 20):
                got += more
    return got


def problem(raw: bytes, status: int, code: str) -> None:
    head, _, body = raw.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert b"application/problem+json" in head
    assert b"connection: close" in head.lower()
    found: dict[str, Any] = json.loads(body)
    assert (found["status"], found["code"]) == (status, code)


async def dripped(open_: Open, first: bytes, drip: bytes) -> bytes:
    """What a client gets that sends a few bytes now and then, for ever."""
    reader, writer = await open_()
    writer.write(first)

    async def send() -> None:
        while True:
            writer.write(drip)
            await asyncio.sleep(0.02)

    sending = asyncio.create_task(send())
    try:
        return await rest(reader)
    finally:
        sending.cancel()
        writer.close()


async def test_a_head_that_never_ends_is_cut_off_however_alive_it_looks() -> None:
    async with serving() as open_:
        got = await dripped(open_, b"GET /ok HTTP/1.1\r\nHost: x\r\n", b"X-A: b\r\n")
        problem(got, 408, "request_timeout")


async def test_a_connection_that_says_nothing_is_closed() -> None:
    async with serving() as open_:
        reader, writer = await open_()
        assert await rest(reader) == b""
        writer.close()


async def test_a_second_request_of_a_connection_is_under_the_clock_too() -> None:
    async with serving() as open_:
        got = await dripped(open_, GET + b"GET /ok HTTP/1.1\r\n", b"X-A: b\r\n")
        first, _, second = got.partition(b"\r\n\r\nok")
        assert first.startswith(b"HTTP/1.1 200")
        problem(second, 408, "request_timeout")


async def test_a_body_that_nobody_reads_ends_with_the_answer() -> None:
    async with serving() as open_:
        head = b"POST /ok HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n"
        got = await dripped(open_, head, b"x")
        assert got.startswith(b"HTTP/1.1 200")


async def test_a_connection_whose_late_body_ended_serves_the_next_request() -> None:
    async with serving() as open_:
        reader, writer = await open_()
        writer.write(b"POST /ok HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nab")
        await reader.readuntil(b"ok")
        writer.write(b"cd")
        await asyncio.sleep(0.6)  # past every deadline: the connection is idle, not slow
        writer.write(GET)
        assert (await reader.readuntil(b"ok")).startswith(b"HTTP/1.1 200")
        writer.close()


async def test_an_idle_connection_is_kept_for_its_time_and_no_longer() -> None:
    async with serving(keep_alive=1) as open_:
        reader, writer = await open_()
        writer.write(GET)
        await reader.readuntil(b"ok")
        await asyncio.sleep(0.6)  # past the head's deadline
        writer.write(GET)
        await reader.readuntil(b"ok")
        assert await rest(reader) == b""
        writer.close()


async def test_a_client_that_takes_nothing_of_its_answer_is_dropped() -> None:
    async with serving() as open_:
        reader, writer = await open_()
        reader._transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(b"GET /big HTTP/1.1\r\nHost: x\r\n\r\n")
        await asyncio.sleep(1.0)
        reader._transport.resume_reading()  # type: ignore[attr-defined]
        assert len(await rest(reader)) < 64 << 20
        writer.close()


async def test_one_connection_too_many_gets_503_at_once_and_a_place_when_one_is_free() -> None:
    async with serving(connections=2) as open_:
        held = [await open_() for _ in range(2)]
        for _, writer in held:
            writer.write(GET)
        for reader, _ in held:
            await reader.readuntil(b"ok")
        reader, writer = await open_()
        got = await rest(reader)
        problem(got, 503, "overloaded")
        assert b"retry-after" in got.lower()
        writer.close()
        held[0][1].close()
        await held[0][1].wait_closed()
        async with asyncio.timeout(10):
            got = b""
            while not got.startswith(b"HTTP/1.1 200"):
                reader, writer = await open_()
                writer.write(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
                got = await rest(reader)
                writer.close()
        held[1][1].close()


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00garbage\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET /a b HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: a\x00b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 5, 6\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: +5\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX : y\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding : chunked\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * (2 * MAX_UNFINISHED_HEAD),
    ],
)
async def test_what_is_no_http_is_a_problem_like_any_other(sent: bytes) -> None:
    async with serving() as open_:
        reader, writer = await open_()
        writer.write(sent)
        problem(await rest(reader), 400, "malformed_request")
        writer.close()


@pytest.mark.parametrize(
    "chunks", [b"zz\r\n", b"5\r\nabcdefgh\r\n", b"-1\r\n", b"1;" + b"x" * 99999]
)
async def test_broken_chunks_end_the_connection(chunks: bytes) -> None:
    async with serving() as open_:
        reader, writer = await open_()
        head = b"POST /read HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        writer.write(head + chunks)
        problem(await rest(reader), 400, "malformed_request")
        writer.close()
