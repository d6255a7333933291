"""``python -m ingest.worker``: the edge's background work until told to stop.

Crash-only: a task that ends, however it ends, ends the process, and the supervisor starts it anew.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import uvloop
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

from infra.settings import Settings, settings
from infra.telemetry import log, start
from ingest.db import engine
from ingest.failures import places
from ingest.produce import EdgeProducer
from ingest.worker.audit import publish_audit
from ingest.worker.completions import complete
from ingest.worker.progress import follow_progress
from ingest.worker.projection import project
from ingest.worker.relay import relay
from ingest.worker.sender import Sender
from ingest.worker.tenants import publish_tenants
from schemas.codec import codec

_THREADS = 32
_STOP_DEADLINE = 8.0
_FLUSH_MS = 2000


async def run(config: Settings) -> bool:
    """Run every task until one ends or a signal comes. Returns whether it was the signal."""
    loop = asyncio.get_running_loop()
    # Name look-ups of webhook targets share these threads with the codec: slow names need room.
    loop.set_default_executor(ThreadPoolExecutor(_THREADS))
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    database = engine(config)
    producer = EdgeProducer(config, codec(config.registry))
    parts: dict[str, Coroutine[Any, Any, object]] = {
        "projection": project(config, database),
        "progress": follow_progress(config, database),
        "relay": relay(config, database, producer),
        "completions": complete(config, database),
        "audit": publish_audit(database, producer),
        "tenants": publish_tenants(config, database, producer),
        "sender": Sender(config, database).run(),
        "signal": stop.wait(),
    }
    tasks = [asyncio.create_task(part, name=name) for name, part in parts.items()]
    log().info("worker.started", tasks=sorted(parts))
    done, running = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in done:
        if task.get_name() != "signal":
            _report(task)
    for task in running:
        task.cancel()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_STOP_DEADLINE):
            await asyncio.gather(*running, return_exceptions=True)
            await producer.close()
            await database.dispose()
    return stop.is_set()


def _report(task: asyncio.Task[object]) -> None:
    error = task.exception()
    log().error(
        "worker.task_ended",
        task=task.get_name(),
        error=type(error).__name__,
        frames=places(error),
    )


async def _run_and_exit(config: Settings) -> None:
    stopped = await run(config)
    provider = trace.get_tracer_provider()
    if isinstance(provider, TracerProvider):
        provider.force_flush(_FLUSH_MS)
    sys.stdout.flush()
    # The loop's own end would wait for threads, which may hang in a look-up or at the registry.
    os._exit(0 if stopped else 1)


def main() -> None:
    """Run; status 1 unless told to stop."""
    config = settings()
    start("worker", config)
    uvloop.run(_run_and_exit(config))


if __name__ == "__main__":
    main()
