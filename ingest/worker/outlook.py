"""What the scheduler says of its pool, into a table: slots, coefficients, price."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from sqlalchemy.ext.asyncio import AsyncEngine

from infra.kafka_login import aiokafka_login
from infra.settings import Settings
from infra.telemetry import log
from ingest.store import queue as store
from schemas.codec import Codec, codec
from schemas.errors import CodecError
from schemas.records import PoolOutlook
from schemas.topics import Topics

_WAIT_MS: Final = 1000
_START_DEADLINE: Final = 30.0
#: A new table starts so many records before the end: the newest counts, and markers have offsets.
_BACK: Final = 1000


async def follow_outlook(settings: Settings, database: AsyncEngine) -> None:
    """Follow the pool's outlook for ever. Raises when Kafka or PostgreSQL fails."""
    partition = TopicPartition(Topics(settings.topic_prefix).outlook(settings.pool), 0)
    consumer = AIOKafkaConsumer(
        bootstrap_servers=settings.kafka,
        client_id="ttv-outlook",
        isolation_level="read_committed",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        **aiokafka_login(settings),
    )
    decoder = codec(settings.registry)
    try:
        async with asyncio.timeout(_START_DEADLINE):
            await consumer.start()
            await consumer._client._wait_on_metadata(partition.topic)  # noqa: SLF001 no public way
            consumer.assign([partition])
            first = (await consumer.beginning_offsets([partition]))[partition]
            end = (await consumer.end_offsets([partition]))[partition]
        async with database.begin() as connection:
            known = await store.outlook(connection, settings.pool)
        # A topic that was made anew ends before what is known.
        resumed = known["next_offset"] if known and known["next_offset"] <= end else end - _BACK
        consumer.seek(partition, max(first, resumed))
        while True:
            polled = await consumer.getmany(timeout_ms=_WAIT_MS)
            newest = await _newest(decoder, polled.get(partition, []))
            if newest is not None:
                async with database.begin() as connection:
                    await store.set_outlook(connection, *newest)
    finally:
        async with asyncio.timeout(_START_DEADLINE / 10):
            await consumer.stop()


async def _newest(
    decoder: Codec, records: list[ConsumerRecord[Any, Any]]
) -> tuple[PoolOutlook, int] | None:
    """The last record that can be read, and the offset after it: only estimates hang on it."""
    for record in reversed(records):
        try:
            said = await asyncio.to_thread(decoder.decode, PoolOutlook, record.value)
        except CodecError as error:
            log().error("outlook.unreadable", offset=record.offset, error=type(error).__name__)
        else:
            return said, record.offset + 1
    return None
