"""Erasure: the objects of deleted jobs and of videos that are kept no longer, deleted.

A deleted job's objects go once its end is in the log, for until then a slot may still write; and
again later, for what a slot that was frozen wrote after it awoke. Each pass deletes everything
that is there, so a crash, or two workers at once, cost a repetition and nothing else.
"""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Final

from minio import Minio
from minio.deleteobjects import DeleteObject
from minio.error import MinioException
from sqlalchemy.ext.asyncio import AsyncEngine
from urllib3.exceptions import HTTPError

from infra.crash import crash_point
from infra.provision import object_store
from infra.settings import Settings
from infra.telemetry import log
from ingest.metrics import ERASED_OBJECTS, ERASURES
from ingest.store import erasures as store
from ingest.store.erasures import EXPIRED, Due

_BATCH: Final = 50
_AT_ONCE: Final = 8
_IDLE: Final = 0.5
#: Longer than a pass may take; a worker that dies in one costs this much delay.
_LEASE: Final = 300.0
_SILENCE: Final = 20.0
_LONGEST_PAUSE: Final = 300.0
_KEYS_EVERY: Final = 60.0
#: Long after whoever read the job before it was deleted has written what he read.
_AFTERTHOUGHT: Final = timedelta(seconds=60)
#: Where the objects of a job lie, each in TENANT/JOB/; those that hold what its owner said.
_FOLDERS: Final = ("videos", "checkpoints", "previews")


async def erase(settings: Settings, database: AsyncEngine) -> None:
    """Erase what is due, for ever. Raises when PostgreSQL fails."""
    objects = object_store(settings, _SILENCE)
    keys_at = 0.0
    while True:
        async with database.begin() as connection:
            await store.expire(connection, _BATCH)
            due = await store.lease(connection, _AT_ONCE, _LEASE)
            if time.monotonic() >= keys_at:
                await store.forget_keys(connection, settings.dedupe_window)
                keys_at = time.monotonic() + _KEYS_EVERY
        await asyncio.gather(*(_pass(settings, database, objects, of) for of in due))
        if not due:
            await asyncio.sleep(_IDLE)


def wait(of: Due, now: datetime, dedupe_window: float) -> float | None:
    """Seconds until the job is looked at again, because it has not ended; None: go on.

    A request that no event answered, and that none can answer any more, is as good as ended. The
    longer it takes, the rarer the looks.
    """
    if of.cause == EXPIRED or of.ended_at is not None:
        return None
    age = (now - of.asked_at).total_seconds()
    if not of.confirmed and age > dedupe_window:
        return None
    return min(max(_IDLE, age / 10), 60.0)


def following(of: Due, now: datetime, delays: tuple[float, float]) -> datetime | None:
    """When the next pass is, after one at ``now``; None: that was the last.

    Args:
        of: What is erased.
        now: The time.
        delays: Seconds from a job's end to the looks at what late slots wrote.
    """
    if of.cause == EXPIRED:
        return None
    since = of.ended_at or of.asked_at
    later = [of.asked_at + _AFTERTHOUGHT, *(since + timedelta(seconds=delay) for delay in delays)]
    return min((at for at in later if at > now), default=None)


async def _pass(settings: Settings, database: AsyncEngine, objects: Minio, of: Due) -> None:
    now = datetime.now(UTC)
    pause, failed = wait(of, now, settings.dedupe_window), False
    if pause is None:
        try:
            count = await asyncio.to_thread(
                delete_objects, objects, settings.s3_bucket, of.tenant_id, str(of.job_id)
            )
            ERASED_OBJECTS.labels(of.cause).inc(count)
        except (MinioException, HTTPError, OSError) as error:
            log().warning("erasure.failed", job_id=str(of.job_id), error=type(error).__name__)
            pause, failed = min(2.0 ** min(of.failures, 10), _LONGEST_PAUSE), True
            ERASURES.labels(of.cause, "failed").inc()
    crash_point("erasure_before_note")
    async with database.begin() as connection:
        if pause is not None:
            await store.again(connection, of.job_id, pause, failed=failed)
            return
        delays = (settings.collect_after, settings.collect_late_after)
        await store.done(connection, of, following(of, now, delays))
    ERASURES.labels(of.cause, "done").inc()
    log().info("job.erased", job_id=str(of.job_id), cause=of.cause)


def delete_objects(objects: Minio, bucket: str, tenant_id: str, job_id: str) -> int:
    """Delete every object of a job; how many there were.

    What vouches for another object goes before it, as the guard has it.

    Raises:
        minio.error.MinioException, urllib3.exceptions.HTTPError, OSError: some may be left.
    """
    count = 0
    for folder in _FOLDERS:
        prefix = f"{folder}/{tenant_id}/{job_id}/"
        listed = objects.list_objects(bucket, prefix, recursive=True)
        names = [item.object_name for item in listed if item.object_name]
        names.sort(key=lambda name: not name.endswith(".json"))
        for error in objects.remove_objects(bucket, [DeleteObject(name) for name in names]):
            raise OSError(error.code)
        count += len(names)
    return count
