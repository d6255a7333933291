"""Open event streams on one API process: memory a stream, and the delay from commit to delivery.

``python -m tests.bench.streams [--data DIR] [--streams N]``; DIR is the data folder of a running
stack, without it servers of its own are started. Each stream follows a job of its own over
127.0.0.1. Events are committed straight to the read model, with the notification that the
projection sends, so that what is measured is what streams add. Ends by itself within minutes.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import resource
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import asyncpg

from infra.stack import Stack
from infra.stack.info import read
from infra.stack.services import environment
from ingest.store.live import EVENTS_CHANNEL
from tests.integration.ingest.edge_stack import EdgeStack

#: Connections that are being opened at once.
OPENING = 20
#: Seconds that a run may take, and more for each stream: opening is what takes long.
DEADLINE, MORE = 60.0, 0.045
SINGLE_EVENTS = 200


@contextlib.contextmanager
def edge_stack(data: Path | None) -> Iterator[EdgeStack]:
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        if data is None:
            info = stack.enter_context(Stack.start(folder / "data", only="infra")).info
        else:
            info = read(data / "stack.json")
        edge = EdgeStack(environment(info), folder)
        edge.provision()
        stack.callback(edge.close)
        yield edge


class Client(asyncio.Protocol):
    """One stream; notes when the first bytes of its answer and of each event came."""

    def __init__(self, request: bytes) -> None:
        self.opened = asyncio.get_running_loop().create_future()
        self.arrived: list[float] = []
        self.lost = False
        self.head = b""
        self._request = request

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        if not self.opened.done():
            self.head += data
            if b": open" in self.head:
                self.opened.set_result(self.head.startswith(b"HTTP/1.1 200"))
        self.arrived += [time.perf_counter()] * data.count(b"\nid: ")

    def connection_lost(self, _exc: Exception | None) -> None:
        self.lost = True
        if not self.opened.done():
            self.opened.set_result(False)


class Bench:
    def __init__(self, edge: EdgeStack, pid: int, streams: int) -> None:
        self.edge = edge
        self.jobs = [uuid.uuid4() for _ in range(streams)]
        self.clients: list[Client] = []
        self.offset = 0
        self._pid = pid

    def memory(self) -> int:
        status = Path(f"/proc/{self._pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
        return int(line.split()[1]) * 1024

    def cpu(self) -> float:
        fields = Path(f"/proc/{self._pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    async def add_jobs(self, database: asyncpg.Connection) -> None:
        await database.execute(
            "INSERT INTO jobs (job_id, tenant_id, status, phase, priority, pool, metadata) "
            "SELECT id, 'default', 'processing', 'Started', 'normal', 'mochi-1', '{}' "
            "FROM unnest($1::uuid[]) id",
            self.jobs,
        )

    async def open(self) -> float:
        """Open a stream a job; seconds that it took."""
        room, loop = asyncio.Semaphore(OPENING), asyncio.get_running_loop()

        async def one(job_id: uuid.UUID) -> None:
            request = (
                f"GET /v1/jobs/{job_id}/events HTTP/1.1\r\nHost: bench\r\n"
                f"Authorization: Bearer {self.edge.key}\r\n\r\n"
            )
            async with room:
                address = ("127.0.0.1", self.edge.port)
                _, client = await loop.create_connection(lambda: Client(request.encode()), *address)
                assert await client.opened, f"refused: {client.head!r}"
            self.clients.append(client)

        began = time.perf_counter()
        await asyncio.gather(*(one(job_id) for job_id in self.jobs))
        return time.perf_counter() - began

    async def commit(self, database: asyncpg.Connection, jobs: list[uuid.UUID]) -> float:
        """Commit an event for each of the jobs in one transaction; when it was committed."""
        async with database.transaction():
            await database.execute(
                'INSERT INTO job_events (partition, "offset", job_id, tenant_id, event_id, kind, '
                "status, attempt, occurred_at) SELECT 0, $2::bigint + n, id, 'default', "
                "id::text || n, 'Scheduled', 'pending', 1, now() "
                "FROM unnest($1::uuid[]) WITH ORDINALITY AS of(id, n)",
                jobs,
                self.offset,
            )
            self.offset += len(jobs)
            await database.execute(
                "INSERT INTO feed_offsets VALUES ('projection', $1, 0, $2) ON CONFLICT "
                "(feed, topic, partition) DO UPDATE SET next_offset = excluded.next_offset",
                self.edge.topics.events,
                self.offset + 1,
            )
            await database.execute("SELECT pg_notify($1, '')", EVENTS_CHANNEL)
        return time.perf_counter()

    async def arrivals(self, wanted: int) -> list[float]:
        """All arrivals, once there are so many."""
        async with asyncio.timeout(60):
            while True:
                found = [at for client in self.clients for at in client.arrived]
                if len(found) >= wanted:
                    break
                await asyncio.sleep(0.005)
        for client in self.clients:
            client.arrived.clear()
        return found

    async def singles(self, database: asyncpg.Connection) -> list[float]:
        """Delays of events that come one by one, milliseconds."""
        delays = []
        for n in range(SINGLE_EVENTS):
            committed = await self.commit(database, [self.jobs[n % len(self.jobs)]])
            delays.append(1000 * ((await self.arrivals(1))[0] - committed))
            await asyncio.sleep(0.03)
        return sorted(delays)


def report(**fields: float) -> None:
    sys.stdout.write(json.dumps(fields) + "\n")
    sys.stdout.flush()


async def measure(bench: Bench) -> None:
    count = len(bench.jobs)
    database = await asyncpg.connect(bench.edge.env["TTV_POSTGRES"])
    await bench.add_jobs(database)
    before = bench.memory()
    took = await bench.open()
    opened = bench.memory()
    report(
        streams=count,
        opened_in_s=round(took, 2),
        rss_before_mib=round(before / 2**20, 1),
        rss_open_mib=round(opened / 2**20, 1),
        rss_per_stream_kib=round((opened - before) / count / 1024, 2),
    )
    busy, began = bench.cpu(), time.perf_counter()
    await asyncio.sleep(10)
    report(idle_cores=round((bench.cpu() - busy) / (time.perf_counter() - began), 3))
    delays = await bench.singles(database)
    report(
        single_event_ms_median=round(statistics.median(delays), 2),
        single_event_ms_p99=round(delays[int(len(delays) * 0.99) - 1], 2),
    )
    committed = await bench.commit(database, bench.jobs)
    delays = sorted(1000 * (at - committed) for at in await bench.arrivals(count))
    report(
        events_in_one_commit=count,
        burst_ms_first=round(delays[0], 1),
        burst_ms_median=round(delays[count // 2], 1),
        burst_ms_last=round(delays[-1], 1),
        rss_after_mib=round(bench.memory() / 2**20, 1),
        streams_lost=sum(client.lost for client in bench.clients),
    )
    for client in bench.clients:
        client.transport.abort()
    await database.close()


async def bounded(bench: Bench) -> None:
    async with asyncio.timeout(DEADLINE + MORE * len(bench.jobs)):
        await measure(bench)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--streams", type=int, default=2000)
    args = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < args.streams + 1000:
        raise SystemExit(f"{args.streams} streams need ulimit -n {args.streams + 1000}: {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with edge_stack(args.data) as edge:
        limits = {
            "TTV_HTTP_PORT": str(edge.port),
            "TTV_STREAMS_PER_TENANT": str(args.streams),
            "TTV_STREAMS_PER_PROCESS": str(args.streams),
        }
        process, _ = edge.api(limits)
        asyncio.run(bounded(Bench(edge, process.pid, args.streams)))


if __name__ == "__main__":
    main()
