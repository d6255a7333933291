"""What ended jobs leave in the object store, deleted: ``python -m streams.collector [late]``.

Reads jobs.completed, committed records alone, and deletes a job's start markers, checkpoints and
videos some time after its terminal event, but never the video which that event names. The late
pass, in a group of its own, does it once more, for what a frozen slot wrote after it awoke.
Deleting is harmless to repeat. Claims stay: they are the proof of who rendered.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from opentelemetry.trace import SpanKind
from prometheus_client import Counter, Gauge

import rust_guard
from infra.settings import Settings, settings
from infra.telemetry import context_of, log, span, traceparent_of
from schemas.codec import codec
from schemas.errors import CodecError
from schemas.records import JobEvent
from schemas.states import TERMINAL_KINDS
from schemas.topics import Topics
from streams.faust_app import Outbox, run
from streams.incoming import Incoming

NAME: Final = "collector"
LATE: Final = "collector-late"
#: The clock is looked at again this often, in case it was set.
_LOOK: Final = 5.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0

#: Objects deleted, by pass: collector or collector-late.
COLLECTED: Final = Counter("ttv_collected_objects_total", "Objects deleted.", ["app"])
#: Ended jobs of which nothing was deleted: unreadable, too_old, or the guard's reason.
SKIPPED: Final = Counter("ttv_collector_skipped_total", "Ended jobs left alone.", ["app", "why"])
#: Calls to the object store that failed and were made again.
RETRIES: Final = Counter("ttv_collector_retries_total", "Failed calls to the store.", ["app"])
#: How much later than it was due the last ended job was collected.
LAG: Final = Gauge("ttv_collector_lag_seconds", "Lateness of the last collection.", ["app"])


class Guard(Protocol):
    """What the collector needs of the guard."""

    def collect(self, tenant_id: str, job_id: str, keep: str | None = None) -> int:
        """Delete what the ended job left, but for the video ``keep``; how many objects."""


@dataclass(frozen=True, slots=True)
class Pass:
    """One of the two passes.

    Attributes:
        name: Of the process and its consumer group.
        after: Seconds from a job's end until it is collected.
        dedupe_window: Seconds for which job ids are remembered.
    """

    name: str
    after: float
    dedupe_window: float

    @classmethod
    def of(cls, config: Settings, *, late: bool) -> Pass:
        """The first pass, or the late one."""
        if late:
            return cls(LATE, config.collect_late_after, config.dedupe_window)
        return cls(NAME, config.collect_after, config.dedupe_window)


@dataclass(frozen=True, slots=True)
class Ended:
    """A job that may have left something, and the key of the video that stays."""

    tenant_id: str
    job_id: str
    keep: str | None


def ended(event: JobEvent) -> Ended | None:
    """What to collect after ``event``; None: nothing.

    A refused job was never given to a slot. Of the others any may have left something: even one
    that was cancelled while it waited may have been lost by a slot before.
    """
    if event.kind not in TERMINAL_KINDS or event.kind == "Refused":
        return None
    keep = None if event.artifact is None else event.artifact.key
    return Ended(event.tenant_id, event.job_id, keep)


def too_old(age: float, dedupe_window: float) -> bool:
    """Whether a job's id may mean another job by now, whose objects must not be touched.

    Args:
        age: Seconds since the terminal event.
        dedupe_window: Seconds for which ids are remembered; a tenth of it is kept as a margin.
    """
    return age > 0.9 * dedupe_window


class Collector:
    """Handles the records of jobs.completed, each once it is due.

    Events lie in the order of time, so waiting for the one in hand makes none late that could go
    before it.
    """

    def __init__(
        self,
        this: Pass,
        guard: Guard,
        outbox: Outbox,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Collects with ``guard``; ``clock`` counts seconds since the epoch."""
        self._pass = this
        self._guard = guard
        self._outbox = outbox
        self._clock = clock

    async def __call__(self, record: Incoming) -> None:
        """Handle one record; see :class:`streams.faust_app.Handler`."""
        lies = {"partition": record.partition, "offset": record.offset}
        try:
            event = await self._outbox.decode(JobEvent, record.value)
        except CodecError as error:
            SKIPPED.labels(self._pass.name, "unreadable").inc()
            log().error("collector.unreadable", code=error.code, **lies)
            return
        job = ended(event)
        if job is None:
            return
        at = record.timestamp_ms / 1000
        due = at + self._pass.after
        await self._wait(due)
        with span(self._pass.name, SpanKind.CONSUMER, context_of(traceparent_of(record.headers))):
            await self._collect(job, at)
        LAG.labels(self._pass.name).set(max(0.0, self._clock() - due))

    async def _wait(self, due: float) -> None:
        """Until the clock says ``due``, but no longer than the delay: a clock may be wrong."""
        most = time.monotonic() + self._pass.after
        while (left := min(due - self._clock(), most - time.monotonic())) > 0:  # noqa: ASYNC110 a time
            await asyncio.sleep(min(left, _LOOK))

    async def _collect(self, job: Ended, at: float) -> None:
        """Delete what ``job``, which ended ``at``, left; however long the store is away."""
        pause = _FIRST_PAUSE
        while not too_old(self._clock() - at, self._pass.dedupe_window):
            try:
                count = await asyncio.to_thread(
                    self._guard.collect, job.tenant_id, job.job_id, job.keep
                )
            except rust_guard.StoreUnavailable as error:
                RETRIES.labels(self._pass.name).inc()
                log().warning("collector.store_failed", code=error.code, retry_in=pause)
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
            except rust_guard.GuardError as error:
                self._left_alone(job, error.code)
                return
            else:
                COLLECTED.labels(self._pass.name).inc(count)
                if count:
                    log().info("job.collected", job_id=job.job_id, objects=count)
                return
        self._left_alone(job, "too_old")

    def _left_alone(self, job: Ended, why: str) -> None:
        SKIPPED.labels(self._pass.name, why).inc()
        log().error("collector.left_alone", job_id=job.job_id, why=why)


def guard_of(config: Settings) -> rust_guard.Guard:
    """The guard over the bucket of the settings."""
    return rust_guard.Guard(
        config.s3_endpoint,
        config.s3_bucket,
        config.s3_access_key,
        config.s3_secret_key.get_secret_value(),
        config.s3_region,
    )


def main(arguments: list[str]) -> None:
    """Run one pass until told to stop: the first, or the late one."""
    if arguments not in ([], ["late"]):
        sys.exit("usage: python -m streams.collector [late]")
    config = settings()
    this, guard = Pass.of(config, late=bool(arguments)), guard_of(config)
    run(
        config,
        this.name,
        [Topics(config.topic_prefix).completed],
        lambda outbox: Collector(this, guard, outbox),
        codec(config.registry),
        longest=2 * this.after + 300.0,
    )


if __name__ == "__main__":
    main(sys.argv[1:])
