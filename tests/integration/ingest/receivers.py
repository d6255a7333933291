"""Webhook receivers in the test's own event loop: a good one, and those that mean harm."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from standardwebhooks import Webhook

Behaviour = Callable[[asyncio.StreamReader, asyncio.StreamWriter, "Server"], Awaitable[None]]


@dataclass
class Server:
    """What came in.

    Attributes:
        url: Where it listens.
        secrets: What signatures are checked with, if with any.
        events: Verified bodies by webhook-id, in the order they came.
        connections: How many were accepted.
        open: How many are open now.
        sent: Bytes of answers that were taken from it.
    """

    url: str = ""
    secrets: list[str] = field(default_factory=list)
    events: list[tuple[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    connections: int = 0
    open: int = 0
    sent: int = 0

    @property
    def ids(self) -> Counter[str]:
        """How often each webhook-id came."""
        return Counter(webhook_id for webhook_id, _ in self.events)


@asynccontextmanager
async def serve(behaviour: Behaviour, *secrets: str) -> AsyncIterator[Server]:
    """A server on loopback that treats each connection by ``behaviour``."""
    server = Server(secrets=list(secrets))

    handlers: set[asyncio.Task[Any]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if (task := asyncio.current_task()) is not None:
            handlers.add(task)
        server.connections += 1
        server.open += 1
        try:
            await behaviour(reader, writer, server)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the other side went, or the test is over
        finally:
            server.open -= 1
            writer.close()

    listening = await asyncio.start_server(connected, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    server.url = f"http://127.0.0.1:{port}/hook"
    try:
        yield server
    finally:
        listening.close()
        for task in handlers:
            task.cancel()
        await asyncio.gather(*handlers, return_exceptions=True)


async def request(reader: asyncio.StreamReader, server: Server) -> None:
    """Read one request, and check it with the reference library."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    pairs = (line.partition(":") for line in head[1:] if line)
    headers = {name.lower(): value.strip() for name, _, value in pairs}
    body = await reader.readexactly(int(headers["content-length"]))
    for secret in server.secrets:
        Webhook(secret).verify(body, headers)
    server.headers.append(headers)
    server.events.append((headers["webhook-id"], body))


def answering(*answers: bytes) -> Behaviour:
    """Keeps connections; gives each answer once, and the last for ever."""
    left = list(answers)

    async def behave(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter, server: Server
    ) -> None:
        while True:
            await request(reader, server)
            writer.write(left.pop(0) if len(left) > 1 else left[0])
            await writer.drain()

    return behave


def status(line: str, *headers: str) -> bytes:
    """An answer without a body."""
    lines = [f"HTTP/1.1 {line}", "Content-Length: 0", *headers, "", ""]
    return "\r\n".join(lines).encode()


NO_CONTENT = b"HTTP/1.1 204 No Content\r\n\r\n"
GOOD = answering(NO_CONTENT)


async def never_answers(
    reader: asyncio.StreamReader, _: asyncio.StreamWriter, server: Server
) -> None:
    """Takes the request and says nothing, until the other side goes."""
    await request(reader, server)
    await reader.read()


def drips(first: bytes) -> Behaviour:
    """Says ``first`` at once and then a byte a second."""

    async def behave(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter, server: Server
    ) -> None:
        await request(reader, server)
        writer.write(first)
        while not reader.at_eof():
            writer.write(b"a")
            await writer.drain()
            server.sent += 1
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1):
                    await reader.read()

    return behave


async def endless(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, server: Server
) -> None:
    """Answers 200 and ten gigabytes."""
    await request(reader, server)
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n")
    chunk = b"x" * 65_536
    for _ in range(10_000_000_000 // len(chunk)):
        writer.write(chunk)
        await writer.drain()
        server.sent += len(chunk)


async def closes(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, server: Server
) -> None:
    """Closes in the middle of its status line."""
    await request(reader, server)
    writer.write(b"HTTP/1.1 20")
    await writer.drain()


async def babbles(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, server: Server
) -> None:
    """Answers what is not HTTP."""
    await request(reader, server)
    writer.write(b"220 mail.example ESMTP\r\n" * 10)
    await writer.drain()
