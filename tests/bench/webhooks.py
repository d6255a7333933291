"""Webhook deliveries through the sender and PostgreSQL beside a bare loop of aiohttp posts.

``python -m tests.bench.webhooks [--postgres URL] [--deliveries N] [--rounds N]``; without a URL it
starts servers of its own. Both sides post the same bodies to the same receivers (a process of its
own; ``--receivers`` of them on as many ports) with the same number of posts at once, in one run and
in turns; figures are medians over the rounds. The bare side neither signs, nor traces, nor keeps
anything. The first row is made due before a round's clock starts, the clock stops when the last
delivery has been noted in PostgreSQL. The processor time of this process stands beside the rates:
on a machine that is busy with other things it says more than they do.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import multiprocessing
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import aiohttp
import uvloop
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from infra.settings import Settings
from infra.stack import Stack
from infra.stack.services import environment
from ingest.db import engine, migrate
from ingest.store.deliveries import add_deliveries
from ingest.store.webhooks import add_endpoint
from ingest.webhooks.payload import lane_of
from ingest.webhooks.sealing import Keyring
from ingest.worker.places import PER_LANE
from ingest.worker.sender import Sender

BODY = json.dumps({"type": "job.completed", "data": {"prompt": "x" * 1200}})
TENANTS = 4
ANSWER = b"HTTP/1.1 204 No Content\r\n\r\n"
DEADLINE = 60.0


class Receiver(asyncio.Protocol):
    """Answers every post at once, as cheaply as can be: the receivers are not what is measured."""

    def __init__(self) -> None:
        self._data = b""

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._data += data
        while (end := self._data.find(b"\r\n\r\n")) >= 0:
            head = self._data[:end].lower()
            begin = head.index(b"content-length:") + len(b"content-length:")
            total = end + 4 + int(head[begin:].split(b"\r\n", 1)[0])
            if len(self._data) < total:
                return
            self._data = self._data[total:]
            self._transport.write(ANSWER)


def receive(count: int, told: Connection) -> None:
    async def listen() -> None:
        loop = asyncio.get_running_loop()
        servers = [await loop.create_server(Receiver, "127.0.0.1", 0) for _ in range(count)]
        told.send([server.sockets[0].getsockname()[1] for server in servers])
        await asyncio.Event().wait()

    uvloop.run(listen())


@contextlib.contextmanager
def receivers(count: int) -> Iterator[list[str]]:
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=receive, args=(count, theirs))
    process.start()
    try:
        yield [f"http://127.0.0.1:{port}/hook" for port in ours.recv()]
    finally:
        process.kill()
        process.join()


@contextlib.contextmanager
def postgres(url: str | None) -> Iterator[str]:
    if url is not None:
        yield url
        return
    with tempfile.TemporaryDirectory() as data, Stack.start(data, only="infra") as stack:
        yield environment(stack.info)["TTV_POSTGRES"]


class Cost(NamedTuple):
    per_second: float
    cpu_ms: float


class Clock:
    def __init__(self) -> None:
        self._began, self._used = time.perf_counter(), time.process_time()

    def cost(self, count: int) -> Cost:
        seconds, used = time.perf_counter() - self._began, time.process_time() - self._used
        return Cost(count / seconds, 1000 * used / count)


class Rounds:
    def __init__(self, settings: Settings, database: AsyncEngine, urls: Sequence[str]) -> None:
        self.settings, self.database, self.urls = settings, database, urls
        self.endpoints: list[tuple[str, str, uuid.UUID]] = []

    async def prepare(self) -> None:
        async with self.database.begin() as connection:
            await connection.execute(text("DELETE FROM webhook_endpoints"))
            for tenant in range(TENANTS):
                for url in self.urls:
                    fields = {"url": url, "events": None, "format": "native"}
                    made = await add_endpoint(connection, f"t{tenant}", fields, Keyring())
                    assert made is not None
                    self.endpoints.append((f"t{tenant}", url, made[0]["endpoint_id"]))

    async def sent(self, count: int) -> Cost:
        rows = []
        for n in range(count):
            tenant, url, endpoint = self.endpoints[n % len(self.endpoints)]
            rows.append(
                {
                    "delivery_id": f"msg_{uuid.uuid4().hex}",
                    "endpoint_id": endpoint,
                    "tenant_id": tenant,
                    "job_id": uuid.uuid4(),
                    "kind": "Completed",
                    "url": url,
                    "target": lane_of(tenant, url),
                    "payload": BODY,
                }
            )
        async with self.database.begin() as connection:
            await add_deliveries(connection, rows)
        clock = Clock()
        sender = asyncio.create_task(Sender(self.settings, self.database).run())
        async with asyncio.timeout(DEADLINE), self.database.connect() as connection:
            left = text("SELECT EXISTS (SELECT FROM webhook_deliveries WHERE pending)")
            while await connection.scalar(left):  # noqa: ASYNC110 nobody tells of it
                await asyncio.sleep(0.05)
        cost = clock.cost(count)
        sender.cancel()
        await asyncio.gather(sender, return_exceptions=True)
        async with self.database.begin() as connection:
            failed = text("SELECT count(*) FROM webhook_deliveries WHERE NOT delivered")
            assert await connection.scalar(failed) == 0
            await connection.execute(text("DELETE FROM webhook_deliveries"))
        return cost

    async def bare(self, count: int, at_once: int) -> Cost:
        urls = iter([self.urls[n % len(self.urls)] for n in range(count)])
        data, headers = BODY.encode(), {"Content-Type": "application/json"}

        async def loop(session: aiohttp.ClientSession) -> None:
            for url in urls:
                async with session.post(url, data=data, headers=headers) as response:
                    await response.read()

        clock = Clock()
        connector = aiohttp.TCPConnector(limit=at_once)
        async with aiohttp.ClientSession(connector=connector) as session:
            await asyncio.gather(*(loop(session) for _ in range(at_once)))
        return clock.cost(count)


async def measure(args: argparse.Namespace, settings: Settings, urls: Sequence[str]) -> None:
    database = engine(settings)
    rounds = Rounds(settings, database, urls)
    at_once = min(PER_LANE * TENANTS * len(urls), 128)
    await rounds.prepare()
    await rounds.bare(200, at_once)
    await rounds.sent(200)
    pairs = []
    for _ in range(args.rounds):
        ours = await rounds.sent(args.deliveries)
        pairs.append((ours, await rounds.bare(args.deliveries, at_once)))
    ratios = [ours.per_second / bare.per_second for ours, bare in pairs]
    line = {
        "receivers": len(urls),
        "at_once": at_once,
        "deliveries_per_s": round(statistics.median(ours.per_second for ours, _ in pairs)),
        "bare_posts_per_s": round(statistics.median(bare.per_second for _, bare in pairs)),
        "ratio": round(statistics.median(ratios), 3),
        "ratios": [round(ratio, 3) for ratio in ratios],
        "cpu_ms_per_delivery": round(statistics.median(ours.cpu_ms for ours, _ in pairs), 3),
        "cpu_ms_per_bare_post": round(statistics.median(bare.cpu_ms for _, bare in pairs), 3),
    }
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()
    await database.dispose()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--postgres")
    parser.add_argument("--deliveries", type=int, default=3000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--receivers", type=int, default=4)
    args = parser.parse_args()
    with postgres(args.postgres) as url, receivers(args.receivers) as urls:
        settings = Settings.model_validate({"postgres": url, "webhook_allow_private": True})
        migrate(settings)
        uvloop.run(measure(args, settings, urls))


if __name__ == "__main__":
    main()
