"""How this service talks to Kafka with confluent-kafka: client configurations, in one place.

A consumer that is told of no broker, as a broker answers that has been frozen or cut off from its
controller, may forget those it knew and never connect again (librdkafka issue 5301; producers begin
anew). No setting prevents it: whoever gets no answer takes a new consumer.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

from infra.kafka_login import librdkafka_login
from infra.settings import Settings
from infra.telemetry import Headers

#: aiokafka and the Java client hash keys with murmur2; librdkafka must be told to.
PARTITIONER: Final = "murmur2_random"


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A record to be produced. ``partition`` None: by the key's hash. ``value`` None: tombstone."""

    topic: str
    value: bytes | None
    key: bytes | None = None
    partition: int | None = None
    headers: Headers = field(default_factory=list)

    def produce_to(self, producer: Producer, **extra: Any) -> None:
        """Hand the record to ``producer``'s queue. Raises BufferError when that is full."""
        if self.partition is not None:
            extra["partition"] = self.partition
        producer.produce(self.topic, self.value, self.key, headers=list(self.headers), **extra)


def common(settings: Settings) -> dict[str, Any]:
    """What every client sets. Short back-offs: the default of 100 ms costs 70 ms a transaction."""
    return {
        "bootstrap.servers": settings.kafka,
        "retry.backoff.ms": 2,
        "reconnect.backoff.ms": 50,
        "reconnect.backoff.max.ms": 1000,
        "socket.timeout.ms": 10_000,
        "allow.auto.create.topics": False,
    } | librdkafka_login(settings)


def plain_producer(settings: Settings, **extra: Any) -> Producer:
    """An idempotent producer outside transactions: beats, ticks, progress."""
    return Producer(
        common(settings)
        | {
            "enable.idempotence": True,
            "acks": "all",
            "linger.ms": 0,
            "partitioner": PARTITIONER,
            "message.timeout.ms": 10_000,
            "message.max.bytes": 3 * 1024 * 1024,
        }
        | extra
    )


def committed_consumer(settings: Settings, group: str, **extra: Any) -> Consumer:
    """A consumer of committed records that never commits by itself and never guesses an offset."""
    return Consumer(
        common(settings)
        | {
            "group.id": group,
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "error",
            "fetch.wait.max.ms": 100,
            "fetch.message.max.bytes": 3 * 1024 * 1024,
        }
        | extra
    )


def committed_offset(
    consumer: Consumer, topic: str, partition: int, timeout: float = 15.0
) -> TopicPartition | None:
    """What the group last committed for a partition, with its metadata; None: nothing yet.

    Open transactions are waited for: the answer is stable.

    Raises:
        KafkaException: not answered within the deadline.
    """
    found = consumer.committed([TopicPartition(topic, partition)], timeout=timeout)[0]
    if found.error is not None:
        raise KafkaException(found.error)
    return found if found.offset >= 0 else None


def is_end(error: KafkaError | None) -> bool:
    """Whether a polled message only says that the end of its partition is reached."""
    return error is not None and error.code() == KafkaError._PARTITION_EOF  # noqa: SLF001
