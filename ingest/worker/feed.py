"""A feed: a topic of JobEvents followed in step with PostgreSQL.

Rows and offsets commit in one transaction: a crash at any point repeats nothing and loses nothing.
One process at a time follows a feed: it holds an advisory lock on the very connection that the
transactions run on, so that who loses the lock can commit nothing; PostgreSQL takes it from who is
not heard from. An unreadable record stops the
feed with an alarm: these topics are written by this service alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from infra.crash import crash_point
from infra.kafka_login import aiokafka_login
from infra.settings import Settings
from infra.telemetry import log, traceparent_of
from ingest.db import hold_lock
from ingest.metrics import FEED_EVENTS, FEED_LAG, FEED_UNREADABLE
from ingest.store import offsets
from schemas.codec import Codec, codec
from schemas.errors import CodecError, RegistryUnavailable
from schemas.records import JobEvent

#: Locks of the feeds, in the class of this service; 0 is the migrations'.
LOCKS: Final = {"projection": 1, "completions": 2}
#: Far longer than two steps of a feed are apart, or two questions to the registry.
_SILENCE: Final = 40.0
_BATCH: Final = 500
_WAIT_MS: Final = 500
_START_DEADLINE: Final = 30.0
_REGISTRY_DEADLINE: Final = 60.0
_REGISTRY_RETRY: Final = 1.0


class FeedHalted(Exception):
    """A record of an internal topic cannot be read: it is not skipped; someone must look."""


@dataclass(frozen=True, slots=True)
class Happened:
    """A JobEvent, where it stands in the log, and the trace it belongs to."""

    event: JobEvent
    partition: int
    offset: int
    traceparent: str | None


Apply = Callable[[AsyncConnection, Sequence[Happened]], Awaitable[None]]


async def follow(
    name: str, topic: str, settings: Settings, database: AsyncEngine, apply: Apply
) -> None:
    """Apply every event of ``topic``, in batches, for as long as the process lives.

    Args:
        name: The feed, a key of ``LOCKS``.
        topic: A topic of JobEvents.
        settings: Where Kafka and the registry are.
        database: Where rows and offsets go.
        apply: Writes a batch's rows; called inside the transaction, with events in log order.

    Raises:
        FeedHalted: a record is unreadable; those before it are applied.
        Exception: Kafka or PostgreSQL failed; start again.
    """
    async with database.connect() as connection:
        await hold_lock(connection, LOCKS[name], _SILENCE)
        consumer = AIOKafkaConsumer(
            bootstrap_servers=settings.kafka,
            **aiokafka_login(settings),
            client_id=f"ttv-{name}",
            isolation_level="read_committed",
            enable_auto_commit=False,
            auto_offset_reset="none",
            max_partition_fetch_bytes=3 * 1024 * 1024,
        )
        try:
            async with asyncio.timeout(_START_DEADLINE):
                await consumer.start()
                await _assign(consumer, connection, name, topic)
            reader = _Reader(name, topic, codec(settings.registry), connection)
            while True:
                await _step(name, topic, consumer, connection, reader, apply)
        finally:
            await _stop(consumer)


async def _assign(
    consumer: AIOKafkaConsumer, connection: AsyncConnection, name: str, topic: str
) -> None:
    known = await offsets.read(connection, name, topic)
    await connection.commit()
    await consumer._client._wait_on_metadata(topic)  # noqa: SLF001 no public way
    partitions = [TopicPartition(topic, n) for n in sorted(consumer.partitions_for_topic(topic))]
    consumer.assign(partitions)
    first = await consumer.beginning_offsets(partitions)
    for partition in partitions:
        consumer.seek(partition, known.get(partition.partition, first[partition]))
    log().info("feed.following", feed=name, topic=topic, partitions=len(partitions))


async def _step(
    name: str,
    topic: str,
    consumer: AIOKafkaConsumer,
    connection: AsyncConnection,
    reader: _Reader,
    apply: Apply,
) -> None:
    polled = await consumer.getmany(timeout_ms=_WAIT_MS, max_records=_BATCH)
    batch, halted = await reader.read(polled)
    if batch:
        async with connection.begin():
            await apply(connection, batch)
            crash_point(f"{name}_before_offsets")
            following = {item.partition: item.offset + 1 for item in batch}
            await offsets.write(connection, name, topic, following)
            crash_point(f"{name}_before_commit")
        crash_point(f"{name}_after_commit")
        FEED_EVENTS.labels(name).inc(len(batch))
    elif not polled:
        # The lock lives with the connection: notice soon when either is lost.
        await _be_heard(connection)
    FEED_LAG.labels(name).set(await _lag(consumer))
    if halted is not None:
        raise halted


async def _be_heard(connection: AsyncConnection) -> None:
    await connection.execute(text("SELECT 1"))
    await connection.commit()


async def _lag(consumer: AIOKafkaConsumer) -> int:
    behind = 0
    for partition in consumer.assignment():
        end = consumer.last_stable_offset(partition)
        if end is not None and end >= 0:
            behind += max(0, end - await consumer.position(partition))
    return behind


class _Reader:
    """Decodes a poll's records, up to the first that cannot be read."""

    def __init__(self, name: str, topic: str, decoder: Codec, connection: AsyncConnection) -> None:
        self._name = name
        self._topic = topic
        self._codec = decoder
        self._connection = connection

    async def read(
        self, polled: Mapping[TopicPartition, Sequence[ConsumerRecord[Any, Any]]]
    ) -> tuple[list[Happened], FeedHalted | None]:
        batch: list[Happened] = []
        for partition, records in polled.items():
            for record in records:
                try:
                    event = await self._decode(record.value)
                except CodecError as error:
                    return batch, self._alarm(partition.partition, record.offset, error)
                trace = traceparent_of(record.headers)
                batch.append(Happened(event, partition.partition, record.offset, trace))
        return batch, None

    async def _decode(self, value: bytes | None) -> JobEvent:
        if not self._codec.needs_registry(value):
            return self._codec.decode(JobEvent, value)
        async with asyncio.timeout(_REGISTRY_DEADLINE):
            while True:
                try:
                    return await asyncio.to_thread(self._codec.decode, JobEvent, value)
                except RegistryUnavailable:
                    await _be_heard(self._connection)
                    await asyncio.sleep(_REGISTRY_RETRY)

    def _alarm(self, partition: int, offset: int, error: CodecError) -> FeedHalted:
        FEED_UNREADABLE.labels(self._name).inc()
        log().error(
            "feed.halted",
            feed=self._name,
            topic=self._topic,
            partition=partition,
            offset=offset,
            error=type(error).__name__,
        )
        return FeedHalted(f"{self._topic}[{partition}]@{offset}: {error}")


async def _stop(consumer: AIOKafkaConsumer) -> None:
    try:
        async with asyncio.timeout(_START_DEADLINE / 10):
            await consumer.stop()
    except (TimeoutError, KafkaError):
        log().warning("feed.consumer_not_stopped")
