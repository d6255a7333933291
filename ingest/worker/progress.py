"""Progress reports into the rows of running jobs: best effort, the newest a job, in batches."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterable
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from sqlalchemy import bindparam, func, update
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncEngine

from infra.kafka_login import aiokafka_login
from infra.settings import Settings
from ingest.metrics import PROGRESS_DROPPED
from ingest.store.live import PROGRESS_CHANNEL, notify
from ingest.tables import jobs
from schemas.codec import Codec, codec
from schemas.errors import CodecError
from schemas.records import JobProgress
from schemas.topics import Topics

_BATCH: Final = 2000
_WAIT_MS: Final = 250
_START_DEADLINE: Final = 30.0


def newest(reports: Iterable[JobProgress]) -> dict[str, JobProgress]:
    """The last report of each job's newest attempt."""
    found: dict[str, JobProgress] = {}
    for report in reports:
        known = found.get(report.job_id)
        if known is None or report.attempt >= known.attempt:
            found[report.job_id] = report
    return found


def progress_json(report: JobProgress) -> dict[str, Any]:
    """A report as the API shows it."""
    return {
        "phase": report.phase,
        "step": report.step,
        "total": report.total,
        "eta_s": report.eta_s,
        "gpu_utilisation": report.gpu_utilisation,
    }


async def follow_progress(settings: Settings, database: AsyncEngine) -> None:
    """Follow jobs.progress from its end, for ever. Raises when Kafka or PostgreSQL fails."""
    topic = Topics(settings.topic_prefix).progress
    consumer = AIOKafkaConsumer(
        bootstrap_servers=settings.kafka,
        **aiokafka_login(settings),
        client_id="ttv-progress",
        enable_auto_commit=False,
        auto_offset_reset="latest",
    )
    decoder = codec(settings.registry)
    try:
        async with asyncio.timeout(_START_DEADLINE):
            await consumer.start()
            await consumer._client._wait_on_metadata(topic)  # noqa: SLF001 no public way
        consumer.assign([TopicPartition(topic, n) for n in consumer.partitions_for_topic(topic)])
        while True:
            polled = await consumer.getmany(timeout_ms=_WAIT_MS, max_records=_BATCH)
            values = [record.value for records in polled.values() for record in records]
            reports = newest([r for r in [await _read(decoder, v) for v in values] if r])
            if reports:
                await _store(database, reports)
            await asyncio.sleep(_WAIT_MS / 1000)
    finally:
        async with asyncio.timeout(_START_DEADLINE / 10):
            await consumer.stop()


async def _read(decoder: Codec, value: bytes | None) -> JobProgress | None:
    try:
        if decoder.needs_registry(value):
            return await asyncio.to_thread(decoder.decode, JobProgress, value)
        return decoder.decode(JobProgress, value)
    except CodecError:
        PROGRESS_DROPPED.inc()
        return None


async def _store(database: AsyncEngine, reports: dict[str, JobProgress]) -> None:
    statement = (
        update(jobs)
        .where(
            jobs.c.job_id == bindparam("of"),
            jobs.c.completed_at.is_(None),
            jobs.c.attempt <= bindparam("in_attempt"),
        )
        .values(progress=func.cast(bindparam("report", type_=JSONB), JSONB))
    )
    rows = [
        {
            "of": uuid.UUID(job_id),
            "in_attempt": report.attempt,
            "report": progress_json(report),
        }
        for job_id, report in sorted(reports.items())
    ]
    async with database.begin() as connection:
        await connection.execute(statement, rows)
        await notify(connection, PROGRESS_CHANNEL)
