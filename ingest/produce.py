"""Records to Kafka from the edge: an idempotent aiokafka producer that never makes anyone wait.

A call ends within its deadline whatever Kafka does. After an error the producer is thrown away and
a new one made: a stuck one does not heal; and until one record in a while gets through, the others
do not wait for Kafka at all. What failed is sent again by the relay.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaConnectionError, KafkaError

from infra.kafka import Outgoing
from infra.kafka_login import aiokafka_login
from infra.producers import Signer
from infra.settings import Settings
from infra.telemetry import Headers, log
from ingest.metrics import PRODUCED, PRODUCER_REBUILDS
from ingest.overload import dependencies
from ingest.overload.dependency import Unavailable
from schemas import cloudevents
from schemas.codec import Codec
from schemas.errors import CodecError
from schemas.records import (
    AuditEvent,
    CancelRequested,
    JobRequested,
    PoolFact,
    Record,
    Tenant,
    TenantChanged,
)
from schemas.topics import Topics

_START_DEADLINE: Final = 5.0
_STOP_DEADLINE: Final = 2.0
_MAX_BYTES: Final = 2 * 1024 * 1024


class NotProduced(Exception):
    """Kafka did not acknowledge the record in time; whether it has it is unknown."""


class EdgeProducer:
    """One process's way into Kafka."""

    def __init__(self, settings: Settings, codec: Codec) -> None:
        self._settings = settings
        self._codec = codec
        self._topics = Topics(settings.topic_prefix)
        self._signer = Signer(settings)
        self._producer: AIOKafkaProducer | None = None
        self._starting = asyncio.Lock()
        self._kafka = dependencies.kafka()
        self._registry = dependencies.registry()
        self._discards: set[asyncio.Task[None]] = set()
        self._warm: set[str] = set()

    async def request(
        self, request: JobRequested, priority: str, traceparent: str | None, deadline: float
    ) -> None:
        """Produce a JobRequested, keyed by its tenant.

        Raises:
            NotProduced: not acknowledged within ``deadline`` seconds.
        """
        topic, key = self._topics.requested(priority), request.tenant_id.encode()
        await self._produce("JobRequested", topic, request, key, None, traceparent, deadline)

    async def cancel(
        self, job_id: str, tenant_id: str, pool: str, traceparent: str | None, deadline: float
    ) -> None:
        """Tell the pool's scheduler that a job's owner wants it cancelled.

        Raises:
            NotProduced: not acknowledged within ``deadline`` seconds.
        """
        asked = CancelRequested(job_id=job_id, tenant_id=tenant_id, pool=pool)
        fact = PoolFact(kind="CancelRequested", cancel_requested=asked)
        topic = self._topics.inbox(pool)
        await self._produce("CancelRequested", topic, fact, None, 0, traceparent, deadline)

    async def audit(self, event: AuditEvent, deadline: float) -> None:
        """Tell the audit topic of an event, keyed by its tenant.

        Raises:
            NotProduced: not acknowledged within ``deadline`` seconds.
        """
        key = None if event.tenant_id is None else event.tenant_id.encode()
        await self._produce("AuditEvent", self._topics.audit, event, key, None, None, deadline)

    async def tenant(self, tenant: Tenant, pool: str, deadline: float) -> None:
        """Tell the compacted topic, and then a pool's scheduler, of a tenant's limits.

        Raises:
            NotProduced: not both acknowledged, within ``deadline`` seconds each.
        """
        topic, key = self._topics.tenants, tenant.tenant_id.encode()
        await self._produce("Tenant", topic, tenant, key, None, None, deadline)
        fact = PoolFact(kind="TenantChanged", tenant_changed=TenantChanged(tenant=tenant))
        inbox = self._topics.inbox(pool)
        await self._produce("TenantChanged", inbox, fact, None, 0, None, deadline)

    async def _produce(
        self,
        name: str,
        topic: str,
        record: Record,
        key: bytes | None,
        partition: int | None,
        traceparent: str | None,
        deadline: float,
    ) -> None:
        headers: Headers = [("traceparent", traceparent.encode())] if traceparent else []
        until = asyncio.get_running_loop().time() + deadline
        try:
            async with asyncio.timeout_at(until):
                value = await self._encode(topic, record)
                if isinstance(record, JobRequested):
                    headers += cloudevents.of_request(record)
                    headers += self._signer.headers(record.tenant_id, topic, value)
            # The guard is outermost: what ends by the deadline is a failure of Kafka's.
            async with self._kafka.use(), asyncio.timeout_at(until):
                await self._send(Outgoing(topic, value, key, partition, headers))
        except Unavailable as error:
            PRODUCED.labels(name, "skipped").inc()
            raise NotProduced(f"{error.name} failed a moment ago") from None
        except (TimeoutError, OSError, KafkaError, CodecError, AssertionError) as error:
            self._discard()
            PRODUCED.labels(name, "failed").inc()
            log().warning("produce.failed", record=name, error=type(error).__name__)
            raise NotProduced(type(error).__name__) from error
        PRODUCED.labels(name, "acknowledged").inc()

    async def _encode(self, topic: str, record: Record) -> bytes:
        if topic in self._warm:
            return self._codec.encode(topic, record)
        # The first record of a topic asks the registry, and blocks meanwhile.
        async with self._registry.use():
            value = await asyncio.to_thread(self._codec.encode, topic, record)
        self._warm.add(topic)
        return value

    async def _send(self, record: Outgoing) -> None:
        producer = await self._ready()
        acknowledged = await producer.send(
            record.topic,
            record.value,
            record.key,
            partition=await self._known(producer, record),
            headers=record.headers,
        )
        await acknowledged

    @staticmethod
    async def _known(producer: AIOKafkaProducer, record: Outgoing) -> int | None:
        if record.partition is not None:
            # A partition that was asked for must be in the metadata before send() looks.
            await producer.partitions_for(record.topic)
        return record.partition

    async def _ready(self) -> AIOKafkaProducer:
        async with self._starting:
            if self._producer is None:
                made = AIOKafkaProducer(
                    bootstrap_servers=self._settings.kafka,
                    **aiokafka_login(self._settings),
                    client_id="ttv-edge",
                    acks="all",
                    enable_idempotence=True,
                    linger_ms=0,
                    request_timeout_ms=5000,
                    retry_backoff_ms=50,
                    max_request_size=_MAX_BYTES,
                )
                try:
                    async with asyncio.timeout(_START_DEADLINE):
                        await made.start()
                except BaseException:
                    self._dispose(made)
                    raise
                self._producer = made
            return self._producer

    async def check(self, deadline: float) -> None:
        """Ask the brokers for their topics.

        Raises:
            TimeoutError, OSError, aiokafka.errors.KafkaError: they do not answer in time.
        """
        async with asyncio.timeout(deadline):
            producer = await self._ready()
            await producer.client.fetch_all_metadata()

    def _discard(self) -> None:
        if self._producer is not None:
            PRODUCER_REBUILDS.inc()
            self._dispose(self._producer)
            self._producer = None

    def _dispose(self, producer: AIOKafkaProducer) -> None:
        task = asyncio.get_running_loop().create_task(_close(producer))
        self._discards.add(task)
        task.add_done_callback(self._discards.discard)

    async def close(self) -> None:
        """Stop, within a few seconds."""
        if self._producer is not None:
            self._dispose(self._producer)
            self._producer = None
        if self._discards:
            await asyncio.wait(self._discards, timeout=2 * _STOP_DEADLINE)


async def _close(producer: AIOKafkaProducer) -> None:
    """Stop a producer that may be stuck: ``stop()`` waits for its unsent records without end.

    So these fail first; whoever waits for one learns at once that the relay has it.
    """
    producer._message_accumulator.fail_all(KafkaConnectionError())  # noqa: SLF001 no public way
    with contextlib.suppress(Exception):
        try:
            async with asyncio.timeout(_STOP_DEADLINE):
                await producer.stop()
        finally:
            async with asyncio.timeout(_STOP_DEADLINE):
                await producer.client.close()
